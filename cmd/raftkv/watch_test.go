package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// Goal: a node without a leader names the nodes that it hears and those that it
// lacks, and says how many it needs.
func TestANodeSaysWhomItLacks(t *testing.T) {
	now := time.Now()
	heard := wire.PeerStats{Accepted: true, LastContact: now}
	for _, c := range []struct {
		size    int
		peers   map[core.ID]wire.PeerStats
		message string
		missing string
	}{
		{3, nil, "no leader: 1 of 3 nodes is heard, 2 are needed", "n2,n3"},
		{5, map[core.ID]wire.PeerStats{"n4": heard}, "no leader: 2 of 5 nodes are heard, 3 are needed", "n2,n3,n5"},
		{3, map[core.ID]wire.PeerStats{"n2": heard}, "which is a majority, and none was elected yet", "n3"},
		{3, map[core.ID]wire.PeerStats{"n2": {Connected: true, LastContact: now.Add(-time.Minute)}}, "1 of 3 nodes is heard", "n2,n3"},
	} {
		m := members{}
		for i := range c.size {
			m[devID(i)] = "a:1"
		}
		message, _, missing := describeMissing("n1", m, wire.Stats{Peers: c.peers}, now)
		if !strings.Contains(message, c.message) || core.JoinIDs(missing, ",") != c.missing {
			t.Errorf("%q, missing %s; want %q and %s", message, core.JoinIDs(missing, ","), c.message, c.missing)
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
		m, err := parseMembers(c.cluster)
		must(t, err)
		var got []string
		for _, w := range doubtfulAddresses(nodeConfig{ID: "n1", Members: m, HTTP: fixedListener{at: c.http}, Peer: fixedListener{at: c.peer}}) {
			got = append(got, w.message)
		}
		if !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s, %s, %s: %q; want %q", c.cluster, c.http, c.peer, got, c.want)
		}
	}
}

// Goal: a file system that cannot do what a log needs is named as the cause,
// with what to do; other errors of the disk are left as they are.
func TestAFileSystemThatCannotIsNamed(t *testing.T) {
	for _, c := range []struct {
		op   string
		err  error
		want string
	}{
		{"lock", syscall.ENOLCK, "cannot lock files"},
		{"lock", syscall.EBADF, "cannot lock files"},
		{"sync", syscall.EINVAL, "cannot make a directory durable"},
		{"sync", syscall.EIO, ""},
		{"open", syscall.EINVAL, ""},
	} {
		err := &failure{fmt.Errorf("wal: %w", &fs.PathError{Op: c.op, Path: "/d/wal", Err: c.err})}
		got := explainFileSystem(err)
		if c.want == "" && got != error(err) || c.want != "" && (!strings.Contains(got.Error(), c.want) || !strings.Contains(got.Error(), "/d/wal") || exitCodeOf(got) != exitFailed || !errors.Is(got, c.err)) {
			t.Errorf("%s %v: %v", c.op, c.err, got)
		}
	}
}

// Goal: an address of this machine that is not there yet is waited for, and in the
// end, or when the process is told to end, the message says what needs no name.
func TestAnAddressThatIsNotThereYetIsWaitedFor(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	_, err := listenPatiently(ctx, "peers", "--peer", "192.0.2.1:9701", slog.New(slog.DiscardHandler)) // reserved for documents, so nobody has it
	if exitCodeOf(err) != exitFailed || !strings.Contains(err.Error(), "--peer 0.0.0.0:9701 listens on all addresses") {
		t.Errorf("%v", err)
	}
	if !mayComeYet(&net.OpError{Op: "listen", Err: &net.DNSError{Err: "no such host", Name: "kv1", IsNotFound: true}}) {
		t.Error("a name without a record is not waited for")
	}
	used, err := listen("peers", "--peer", "127.0.0.1:0")
	must(t, err)
	defer used.Close()
	if _, err := listenPatiently(t.Context(), "peers", "--peer", used.Addr().String(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "the port is in use") {
		t.Errorf("a port in use: %v", err)
	}
}
