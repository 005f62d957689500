package discover

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/tests/virtual"
)

// fakeDNS answers from tables, which a test may change.
type fakeDNS struct {
	mu    sync.Mutex
	hosts map[string][]string
	srv   map[string][]*net.SRV
	asked int
}

var errNoSuchHost = errors.New("no such host")

func (d *fakeDNS) LookupHost(_ context.Context, host string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if all, there := d.hosts[host]; there {
		return all, nil
	}
	return nil, errNoSuchHost
}

// count returns how often it was asked.
func (d *fakeDNS) count() int { d.mu.Lock(); defer d.mu.Unlock(); return d.asked }

func (d *fakeDNS) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if all, there := d.srv[name]; there && service+proto == "" {
		return name, all, nil
	}
	return "", nil, errNoSuchHost
}

// Goal: what --discover says is read, and what cannot be meant is refused with the part
// that is wrong. Method: a table.
func TestSourcesAreRead(t *testing.T) {
	for _, c := range []struct{ text, wrong string }{
		{"", ""},
		{"dns:raftkv-peers:9701, srv:_peer._tcp.raftkv.local,10.0.0.1:9701,[::1]:9701,", ""},
		{"raftkv-peers", `"raftkv-peers"`},
		{"dns:raftkv-peers", `"dns:raftkv-peers"`},
		{"dns:raftkv-peers:0", "1 to 65535"},
		{":9701", "no host"},
		{"srv:", "srv:NAME"},
		{"srv:name:9701", "says the port"},
		{strings.Repeat("a:1,", 65), "65 places"},
	} {
		s, err := Parse(c.text)
		if c.wrong == "" && (err != nil || len(s) != strings.Count(strings.TrimSuffix(c.text, ","), ",")+min(len(c.text), 1)) {
			t.Errorf("%q: %d sources, %v", c.text, len(s), err)
		}
		if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%q: %v; want %q", c.text, err, c.wrong)
		}
	}
}

// FuzzParse: no text makes Parse panic, and what it takes has as many sources as parts.
func FuzzParse(f *testing.F) {
	f.Add("dns:raftkv-peers:9701,srv:_peer._tcp.raftkv.local,10.0.0.1:9701")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err == nil && len(s) > strings.Count(text, ",")+1 {
			t.Errorf("%q has %d sources", text, len(s))
		}
	})
}

// Goal: every address that DNS names is there once, and a name that cannot be resolved
// costs the others nothing. Method: a table of names.
func TestSourcesAreResolved(t *testing.T) {
	dns := &fakeDNS{
		hosts: map[string][]string{"peers": {"10.0.0.2", "10.0.0.1", "fe80::1"}},
		srv:   map[string][]*net.SRV{"_peer._tcp.x": {{Target: "n1.x.", Port: 9701}, {Target: "n2.x.", Port: 9702}}},
	}
	s, err := Parse("dns:peers:9701,srv:_peer._tcp.x,10.0.0.1:9701,dns:gone:1,n3:9701")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Addresses(t.Context(), dns)
	want := []string{"10.0.0.1:9701", "10.0.0.2:9701", "[fe80::1]:9701", "n1.x:9701", "n2.x:9702", "n3:9701"}
	if !slices.Equal(all, want) || !errors.Is(err, errNoSuchHost) {
		t.Errorf("%q, %v; want %q", all, err, want)
	}
}

// Goal: M15 and M16, the part of discovery: a node looks only while it is not connected with
// a majority, asks DNS anew each time, after pauses of 30 s at most, and tells only of
// members that it misses: not of those that it has, nor of strangers. Method: a node in
// virtual time whose members move.
func TestASeekerLooksWhileMembersAreMissing(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		dns := &fakeDNS{hosts: map[string][]string{"peers": {"a", "b"}}}
		var mu sync.Mutex
		var lacks []string
		is := map[string]string{"a:1": "n1", "b:1": "n7", "c:1": "n2"} // which server is where
		found := map[string]string{}
		sources, err := Parse("dns:peers:1")
		if err != nil {
			t.Fatal(err)
		}
		s := &Seeker[string]{
			Sources: sources, DNS: dns,
			Missing: func() []string { mu.Lock(); defer mu.Unlock(); return lacks },
			Found:   func(id, address string) { mu.Lock(); defer mu.Unlock(); found[id] = address },
			Ask: func(_ context.Context, address string) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				if id, there := is[address]; there {
					return id, nil
				}
				return "", errNoSuchHost
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go s.Run(ctx)
		time.Sleep(time.Hour)
		if dns.count() != 0 {
			t.Fatal("it looks although it misses nobody")
		}
		mu.Lock()
		lacks = []string{"n1", "n2"}
		mu.Unlock()
		time.Sleep(2 * time.Second)
		if mu.Lock(); len(found) != 1 || found["n1"] != "a:1" {
			t.Errorf("it found %v", found)
		}
		asked := dns.count()
		mu.Unlock()
		time.Sleep(time.Hour)
		if n := dns.count() - asked; n < 115 || n > 250 {
			t.Errorf("it looked %d times in an hour", n)
		}
		dns.mu.Lock()
		dns.hosts["peers"] = []string{"c"}
		dns.mu.Unlock()
		time.Sleep(31 * time.Second)
		if mu.Lock(); found["n2"] != "c:1" {
			t.Errorf("it did not ask DNS anew: %v", found)
		}
		lacks = nil
		mu.Unlock()
		time.Sleep(time.Minute)
		asked = dns.count()
		time.Sleep(time.Hour)
		if dns.count() != asked {
			t.Error("it goes on although it misses nobody")
		}
	})
}
