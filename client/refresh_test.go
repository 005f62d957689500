package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// ofCluster is the uid of the cluster that the tests' Clerks have met.
const ofCluster = "0f8fad5bd9cb469fa16570867728950e"

// changeTo makes nodes the members by a configuration, of the version n.
func (f *fakeCluster) changeTo(n uint64, nodes ...string) {
	f.set(func() {
		f.configuration = api.ConfigurationNumber{Generation: 1, Version: n}
		f.endpoints = api.Endpoints{Generation: 1, Version: n, UID: ofCluster}
		for _, node := range nodes {
			f.endpoints.Addresses = append(f.endpoints.Addresses, addressOf(node))
		}
	})
}

// tell sends the frame that names the configuration on every connection.
func (f *fakeCluster) tell() {
	f.mu.Lock()
	var all []*fakeConn
	for c := range f.conns {
		all = append(all, c)
	}
	n := f.configuration
	f.mu.Unlock()
	for _, c := range all {
		sendFrame(c, clerkwire.KindConfiguration, 0, clerkwire.Configuration(n))
	}
}

// fetches returns which servers were asked where clients are served.
func (f *fakeCluster) fetches() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.fetched)
}

// knows returns the addresses that the Clerk would ask, sorted.
func (c *Clerk) knows() (all []string) {
	for _, s := range *c.serverList.Load() {
		if !s.gone.Load() {
			all = append(all, s.address)
		}
	}
	slices.Sort(all)
	return all
}

// Goal: a Clerk outlives the replacement of every node that it was given, one after the
// other, and asks for the new addresses once for each change (M22). It forgets the nodes
// that it has learned and that are members no more, and never those that it was given.
// Method: fake servers that tell of the change by a frame on the open connection; nothing is
// left of the old nodes at the end.
func TestAClerkOutlivesAllItsNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.changeTo(5, "n1", "n2", "n3")
		c := f.dial(nil)
		defer f.end(c)
		put := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := c.Put(ctx, "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		put()
		time.Sleep(refreshPause)
		for i, step := range []struct{ stays, gone, leads string }{{"n2 n3 n4", "n1", "n2"}, {"n3 n4 n5", "n2", "n4"}, {"n4 n5 n6", "n3", "n4"}, {"n5 n6 n7", "n4", "n7"}} {
			var nodes []string
			for j := range 3 {
				nodes = append(nodes, step.stays[3*j:3*j+2])
			}
			f.changeTo(uint64(10+i), nodes...)
			f.tell()
			time.Sleep(refreshPause)
			synctest.Wait()
			f.kill(step.gone)
			f.set(func() { f.leader = step.leads })
			put()
		}
		if got, want := c.knows(), []string{"n1:1", "n2:1", "n3:1", "n5:1", "n6:1", "n7:1"}; !slices.Equal(got, want) {
			t.Errorf("the Clerk knows %v, want %v", got, want)
		}
		if n := len(f.fetches()); n != 5 {
			t.Errorf("%d questions for addresses after one greeting and four changes: %v", n, f.fetches())
		}
	})
}

// Goal: a Clerk finds its cluster again where it was told that a node is no member, and that one
// has come back, and all others have moved, before the Clerk heard of it; and it learns the new
// addresses there. Method: n4 goes; behind that the members are n4 and n5, nobody tells of it, and
// the others end.
func TestAClerkTriesWhatIsNoMemberAnyMoreLast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.changeTo(5, "n1", "n2", "n3", "n4")
		c := f.dial(nil)
		defer f.end(c)
		time.Sleep(refreshPause)
		for _, leader := range []string{"n4", "n1"} { // it has met both
			f.set(func() { f.leader = leader })
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(refreshPause)
		}
		f.changeTo(6, "n1", "n2", "n3")
		f.tell()
		time.Sleep(refreshPause)
		synctest.Wait()
		f.changeTo(8, "n4", "n5")
		f.set(func() { f.leader = "n4" })
		for _, node := range []string{"n1", "n2", "n3"} {
			f.kill(node)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := c.Put(ctx, "k", []byte("v")); err != nil {
			t.Error(err)
		}
		time.Sleep(8 * refreshPause)
		if known := c.knows(); !slices.Contains(known, "n4:1") || !slices.Contains(known, "n5:1") {
			t.Errorf("the Clerk knows %v", known)
		}
	})
}

// Goal: a Clerk takes addresses only from its own cluster, only of a newer configuration, as
// many as there is room for, and none if it is told to keep to its endpoints; it asks the
// next server if one does not know yet. Method: each case, and what the Clerk knows after a
// minute.
func TestWhatAClerkLearns(t *testing.T) {
	seeds := []string{"n1:1", "n2:1", "n3:1"}
	many := make([]string, 70)
	for i := range many {
		many[i] = fmt.Sprintf("m%d", i)
	}
	for name, test := range map[string]struct {
		fixed  bool
		change func(f *fakeCluster)
		learns int
		asks   int // at least; -1: none at all
	}{
		"a node more":          {change: func(f *fakeCluster) { f.changeTo(9, "n1", "n2", "n3", "n4") }, learns: 1, asks: 1},
		"fixed":                {fixed: true, change: func(f *fakeCluster) { f.changeTo(9, "n4") }, asks: -1},
		"another cluster":      {change: func(f *fakeCluster) { f.changeTo(9, "n4"); f.endpoints.UID = ofCluster[1:] + "0" }, asks: 3},
		"an older list":        {change: func(f *fakeCluster) { f.changeTo(9, "n4"); f.endpoints.Version = 5 }, asks: 3},
		"an older generation":  {change: func(f *fakeCluster) { f.changeTo(9, "n4"); f.endpoints.Generation = 0 }, asks: 3},
		"after a recovery":     {change: func(f *fakeCluster) { f.changeTo(2, "n4"); f.endpoints.Generation, f.configuration.Generation = 2, 2 }, learns: 1, asks: 1},
		"nobody knows":         {change: func(f *fakeCluster) { f.changeTo(9) }, asks: 6},
		"more than there may":  {change: func(f *fakeCluster) { f.changeTo(9, many...) }, learns: maxServers - 3, asks: 1},
		"what is no address":   {change: func(f *fakeCluster) { f.changeTo(9, "n4", "a b") }, learns: 1, asks: 1},
		"nothing has changed":  {change: func(*fakeCluster) {}, asks: -1},
		"an old configuration": {change: func(f *fakeCluster) { f.changeTo(4, "n4") }, asks: -1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFakeCluster(t, "n1")
				f.changeTo(5, "n1", "n2", "n3")
				c := f.dial(func(c *Config) { c.FixedEndpoints = test.fixed })
				defer f.end(c)
				time.Sleep(refreshPause)
				synctest.Wait()
				before := len(f.fetches())
				f.set(func() {}) // after all that was sent
				test.change(f)
				f.tell()
				time.Sleep(time.Minute)
				known := c.knows()
				if got := len(known) - 3; got != test.learns || !slices.Contains(known, seeds[0]) || !slices.Contains(known, seeds[1]) || !slices.Contains(known, seeds[2]) {
					t.Errorf("%d addresses are learned, want %d: %v", got, test.learns, known)
				}
				if asks := len(f.fetches()) - before; asks < test.asks || test.asks < 0 && asks > 0 {
					t.Errorf("the servers were asked %d times", asks)
				}
			})
		})
	}
}

// Goal: addresses that a client cannot reach, since they are of another network, do not hold
// it up: they are tried last, and for a while not again. Method: the cluster names addresses
// that nobody answers; the leader moves five times among the servers that were given.
func TestAddressesOfAnotherNetworkHoldNothingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.changeTo(5, "x1", "x2", "x3")
		const slow = 2 * time.Second
		c := f.dial(func(c *Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, address string) (conn net.Conn, err error) {
				if address[0] == 'x' {
					f.set(func() { f.dials[address[:2]]++ })
					<-ctx.Done() // as long as the DialTimeout is
					return nil, ctx.Err()
				}
				return dial(ctx, address)
			}
		})
		defer f.end(c)
		time.Sleep(refreshPause)
		if n := len(c.knows()); n != 6 {
			t.Fatalf("%d addresses are known", n)
		}
		begun := time.Now()
		for i := range 5 {
			f.set(func() { f.leader = "" })
			time.AfterFunc(100*time.Millisecond, func() { f.set(func() { f.leader = []string{"n2", "n3", "n1"}[i%3] }) })
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took > 3*slow+5*time.Second {
			t.Errorf("five changes of the leader took %v", took)
		}
		f.set(func() {
			if f.dials["x1"] > 2 || f.dials["x1"] == 0 {
				t.Errorf("x1 was tried %d times", f.dials["x1"])
			}
		})
	})
}
