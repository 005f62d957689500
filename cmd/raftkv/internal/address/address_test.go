package address

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
)

// Goal: a list of members is read as it is meant.
// Method: lists with spaces, case and IPv6, compared with what they mean.
func TestMembersAreRead(t *testing.T) {
	m, err := ParseMembers("n1=Host.Example:9701, n2=[::1]:9702,west-3.b=10.0.0.3:9701")
	if err != nil {
		t.Fatal(err)
	}
	want := host.Members{"n1": "host.example:9701", "n2": "[::1]:9702", "west-3.b": "10.0.0.3:9701"}
	for id, address := range want {
		if m[id] != address {
			t.Errorf("%s is at %q, not %q", id, m[id], address)
		}
	}
	if len(m) != len(want) {
		t.Errorf("read %v", m)
	}
	if m, err := ParseMembers("n1=h:1,n2=i:1, "); err != nil || len(m) != 2 {
		t.Errorf("with a comma at the end: %v, %v", m, err)
	}
}

// Goal: each mistake in --cluster has a sentence that names it.
// Method: one list per mistake, and words that the sentence must hold.
func TestMistakesInTheMemberListAreNamed(t *testing.T) {
	for _, c := range []struct {
		list string
		want []string
	}{
		{"", []string{"--cluster", "id=host:port"}},
		{"n1", []string{`"n1"`, "id=host:port"}},
		{" , ", []string{"names no node", "id=host:port"}},
		{"n1=0.0.0.0:9701", []string{`"0.0.0.0:9701"`, "could not find it"}},
		{"n1=[::]:9701", []string{"could not find it"}},
		{"=h:1", []string{`"=h:1"`, "0 characters"}},
		{"n 1=h:1", []string{`' '`, "letters"}},
		{"-n=h:1", []string{`'-'`, "beginning"}},
		{strings.Repeat("x", 65) + "=h:1", []string{"65 characters", "64"}},
		{"n1=", []string{"n1", "host:port"}},
		{"n1=h", []string{`"h"`, "no port"}},
		{"n1=:9701", []string{`":9701"`, "could not find it"}},
		{"n1=9701", []string{`"9701"`, "could not find it"}},
		{"n1=h:0", []string{`"h:0"`, "could not find it"}},
		{"n1=h:x", []string{`port "x"`}},
		{"n1=h:65536", []string{`port "65536"`}},
		{"n1=h:09701", []string{`port "09701"`}},
		{"n1=::1:9701", []string{`"::1:9701"`}},
		{"n1=a:1,n2=b:1,n1=c:1", []string{"node n1 twice"}},
		{"n1=a:1,n2=A:1", []string{"n1 and n2", "a:1"}},
	} {
		m, err := ParseMembers(c.list)
		if err == nil {
			t.Errorf("%q was read as %v", c.list, m)
			continue
		}
		for _, word := range c.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %q does not say %q", c.list, err, word)
			}
		}
	}
}

// Goal: nothing is opened to the network that was not asked for, and what was
// asked for is opened.
func TestListenAddressIsLoopbackUnlessAHostIsNamed(t *testing.T) {
	for given, want := range map[string]string{
		"8701":           "127.0.0.1:8701",
		":8701":          "127.0.0.1:8701",
		":0":             "127.0.0.1:0",
		"0.0.0.0:8701":   "0.0.0.0:8701",
		"[::]:8701":      "[::]:8701",
		"localhost:8701": "localhost:8701",
	} {
		if got, err := normal(given); err != nil || got != want {
			t.Errorf("%q became %q, %v; want %q", given, got, err, want)
		}
	}
	for _, bad := range []string{"", "host", "host:", "h:http", "h:-1", "h:99999", "::1"} {
		if got, err := normal(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// Goal: peers are told an address at which they can reach this node's clients'
// port, also when it listens on all addresses.
func TestReachableAddress(t *testing.T) {
	for _, c := range []struct{ listening, asPeer, want string }{
		{"127.0.0.1:8701", "10.0.0.1:9701", "127.0.0.1:8701"},
		{"0.0.0.0:8701", "10.0.0.1:9701", "10.0.0.1:8701"},
		{"[::]:8701", "n1.example:9701", "n1.example:8701"},
		{"[::]:8701", "[fd00::1]:9701", "[fd00::1]:8701"},
	} {
		address, err := net.ResolveTCPAddr("tcp", c.listening)
		if err != nil {
			t.Fatal(err)
		}
		if got := host.ReachableAddress(address, c.asPeer); got != c.want {
			t.Errorf("%s with peers at %s: %s, want %s", c.listening, c.asPeer, got, c.want)
		}
	}
}

type fixedListener struct {
	net.Listener
	at string
}

func (f fixedListener) Addr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", f.at)
	return a
}

// Goal: addresses that mean another machine to whoever gets them are warned
// about, and no others.
func TestDoubtfulAddressesAreWarnedAbout(t *testing.T) {
	for _, c := range []struct {
		cluster, http, peer string
		want                []string
	}{
		{"n1=127.0.0.1:9701,n2=127.0.0.1:9702", "127.0.0.1:8701", "127.0.0.1:9701", nil},
		{"n1=127.0.0.1:9701,n2=localhost:9702", "0.0.0.0:8701", "127.0.0.1:9701", nil},
		{"n1=10.0.0.1:9701,n2=10.0.0.2:9701", "127.0.0.1:8701", "10.0.0.1:9701", []string{"the client address"}},
		{"n1=kv1:9701,n2=kv2:9701", "127.0.0.1:8701", "10.0.0.1:9701", []string{"the client address"}},
		{"n1=[2001:db8::1]:9701,n2=[2001:db8::2]:9701", "[::1]:8701", "[2001:db8::1]:9701", []string{"the client address"}},
		{"n1=10.0.0.1:9701,n2=10.0.0.2:9701", "0.0.0.0:8701", "10.0.0.1:9701", nil},
		{"n1=10.0.0.1:9701,n2=10.0.0.2:9701", "10.0.0.1:8701", "127.0.0.1:9701", []string{"listens for them on a loopback"}},
		{"n1=127.0.0.1:9701,n2=10.0.0.2:9701", "0.0.0.0:8701", "127.0.0.1:9701", []string{"the client address", "listens for them", "--cluster gives some"}},
		{"n1=10.0.0.1:9701,n2=127.0.0.1:9702", "10.0.0.1:8701", "10.0.0.1:9701", []string{"--cluster gives some"}},
		{"n1=10.0.0.1:9701", "127.0.0.1:8701", "127.0.0.1:9701", nil},
	} {
		m, err := ParseMembers(c.cluster)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range doubtful(host.Config{ID: "n1", Members: m, HTTP: fixedListener{at: c.http}, Peer: fixedListener{at: c.peer}}) {
			got = append(got, w.message)
		}
		if !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s, %s, %s: %q; want %q", c.cluster, c.http, c.peer, got, c.want)
		}
	}
}

// Goal: an address of this machine that is not there yet is waited for, and in the
// end, or when the process is told to end, the message says what needs no name.
func TestAnAddressThatIsNotThereYetIsWaitedFor(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	_, err := ListenPatiently(ctx, "peers", "--peer", "192.0.2.1:9701", slog.New(slog.DiscardHandler)) // reserved for documents, so nobody has it
	var failed *exit.Failure
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "--peer 0.0.0.0:9701 listens on all addresses") {
		t.Errorf("%v", err)
	}
	if !mayComeYet(&net.OpError{Op: "listen", Err: &net.DNSError{Err: "no such host", Name: "kv1", IsNotFound: true}}) {
		t.Error("a name without a record is not waited for")
	}
	used, err := Listen("peers", "--peer", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if _, err := ListenPatiently(t.Context(), "peers", "--peer", used.Addr().String(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "the port is in use") {
		t.Errorf("a port in use: %v", err)
	}
}
