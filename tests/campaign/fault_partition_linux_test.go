package campaign

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/cluster"
)

var (
	realFaults = flag.Int("faults", 0, "how often each fault of TestPartialPartitions, TestFaultyDisks and TestSlowSyncs is made; 0 skips them")
	awayFor    = flag.Duration("away", 2*time.Minute, "how long TestAFollowerCutOffForLong cuts it off")
)

// shape is a network in which not everybody sees everybody.
type shape struct {
	name string
	// ways lists what is cut when a node leads; followers are the others.
	ways func(leader int, followers []int) []way
	// flaps: the cut comes and goes.
	flaps bool
	// quiet: the leader need not change, so nobody's term may.
	quiet bool
}

// shapes are those in which a majority sees each other, or one server sees a
// majority: writes must go on.
func shapes(size int) []shape {
	all := []shape{
		{"the leader and a follower do not see each other", func(l int, f []int) []way { return bothWays([]int{l}, f[:1]) }, false, true},
		{"two followers do not see each other", func(_ int, f []int) []way { return bothWays(f[:1], f[1:2]) }, false, true},
		{"the leader cannot be heard (it hears all)", func(l int, f []int) []way { return oneWay([]int{l}, f) }, false, false},
		{"the leader hears nobody (all hear it)", func(l int, f []int) []way { return oneWay(f, []int{l}) }, false, false},
		{"the leader is cut off", func(l int, f []int) []way { return bothWays([]int{l}, f) }, false, false},
		{"a follower hears nobody (all hear it)", func(l int, f []int) []way { return oneWay(append([]int{l}, f[1:]...), f[:1]) }, false, true},
		{"a follower cannot be heard (it hears all)", func(l int, f []int) []way { return oneWay(f[:1], append([]int{l}, f[1:]...)) }, false, true},
		{"a link of the leader flaps", func(l int, f []int) []way { return bothWays([]int{l}, f[:1]) }, true, false},
		{"all links of the leader flap", func(l int, f []int) []way { return bothWays([]int{l}, f) }, true, false},
	}
	if size < 5 {
		return all
	}
	return append(all, []shape{
		{"all see only one follower", func(l int, f []int) []way {
			rest := append([]int{l}, f[1:]...)
			return bothWays(rest, rest)
		}, false, false},
		{"all see only the leader", func(_ int, f []int) []way { return bothWays(f, f) }, false, true},
		{"a chain, the leader at its end", func(l int, f []int) []way { return chain(append([]int{l}, f...)) }, false, false},
		{"two pairs that see only each other and one follower", func(l int, f []int) []way {
			return bothWays([]int{l, f[1]}, []int{f[2], f[3]})
		}, false, false},
		{"the leader and one follower, cut off from three", func(l int, f []int) []way {
			return bothWays([]int{l, f[0]}, f[1:])
		}, false, false},
	}...)
}

// chain cuts all ways but those between neighbours.
func chain(nodes []int) (ways []way) {
	for i, a := range nodes {
		for j, b := range nodes {
			if i-j > 1 || j-i > 1 {
				ways = append(ways, way{a, b})
			}
		}
	}
	return ways
}

// Goal: whatever part of the network is lost, writes flow again within four
// election timeouts as long as one server sees a majority, and terms do not run
// away.
// Method: three and five processes, each in a network namespace of its own,
// under appends through all of them; iptables drops packets between them for five
// seconds. The longest time without an acknowledged append is measured. After
// the mend all must follow one leader again and hold every acknowledged append.
func TestPartialPartitions(t *testing.T) {
	if *realFaults == 0 {
		t.Skip("say -faults")
	}
	need(t, "ip", "nsenter", "iptables", "iptables-restore")
	for _, size := range []int{3, 5} {
		t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
			u := newUndo(t)
			c, n := newClusterOn(t, u, size, "--log-level", "warn")
			u.killLater(c)
			c.Start()
			var p pauses
			defer func() { p.print(t, "writes stop for") }()
			for range *realFaults {
				for _, s := range shapes(size) {
					s.measure(t, c, n, &p)
				}
			}
		})
	}
}

// held is how long a cut lasts.
const held = 5 * time.Second

func (s shape) measure(t *testing.T, c *cluster.Cluster, n *network, p *pauses) {
	var a acks
	l := startImpatientLoad(fmt.Sprintf("shape%d", time.Now().UnixNano()), 2*len(c.Nodes), cluster.Addresses(c.Nodes), a.note)
	l.AwaitProgress(t, 200)
	leader := c.Leader()
	var followers []int
	for _, other := range c.Others(leader) {
		followers = append(followers, other.Place())
	}
	term := c.Term()
	from := time.Now()
	hit := s.hold(t, n, s.ways(leader.Place(), followers))
	healed := time.Now()
	pause, grown := a.longestPause(from, healed), c.Term()-term
	l.AwaitProgress(t, 200)
	c.Leader()
	after := a.longestPause(healed, time.Now())
	l.End()
	for _, node := range c.Nodes {
		c.AwaitServing()
		l.Verify(t, node)
	}
	p.add(s.name, pause, fmt.Sprintf("terms +%d; %.2f s after the mend", grown, after.Seconds()))
	switch {
	case hit == 0:
		t.Errorf("%s: void: no packet was dropped", s.name)
	case pause > 4*electionTimeout:
		t.Errorf("%s: no write for %v", s.name, pause)
	case after > 4*electionTimeout:
		t.Errorf("%s: no write for %v after the mend", s.name, after)
	case s.quiet && grown != 0:
		t.Errorf("%s: the term grew by %d, though the leader kept its majority", s.name, grown)
	case grown > uint64(healed.Sub(from)/electionTimeout):
		t.Errorf("%s: the term grew by %d in %v", s.name, grown, healed.Sub(from))
	}
}

// hold makes the cut for a while, without a break or with many, and returns how
// many packets it dropped.
func (s shape) hold(t *testing.T, n *network, ways []way) (hit int) {
	for begun := time.Now(); time.Since(begun) < held; {
		c, err := n.cutWays(ways)
		if err != nil {
			t.Fatal(err)
		}
		if s.flaps {
			time.Sleep(electionTimeout / 2)
		} else {
			time.Sleep(held)
		}
		hit += c.hit()
		c.mend()
		if s.flaps {
			time.Sleep(electionTimeout / 2)
		}
	}
	return hit
}

// startCuttable starts three nodes whose links can be cut.
func startCuttable(t *testing.T) (*cluster.Cluster, *network) {
	t.Helper()
	if *realFaults == 0 {
		t.Skip("say -faults")
	}
	need(t, "ip", "nsenter", "iptables", "iptables-restore")
	u := newUndo(t)
	c, n := newClusterOn(t, u, 3, "--log-level", "warn")
	u.killLater(c)
	c.Start()
	return c, n
}

// Goal: a follower that was cut off for minutes and comes back causes no
// election, and has everything soon.
// Method: cut it off in both directions, from clients, too, under appends.
func TestAFollowerCutOffForLong(t *testing.T) {
	c, n := startCuttable(t)
	leader := c.Leader()
	follower := c.Others(leader)[0]
	l := cluster.StartLoad("away", 3, cluster.Addresses([]*cluster.Node{leader}), nil)
	l.AwaitProgress(t, 100)
	term := c.Term()
	cut, err := n.cutWays(bothWays([]int{follower.Place()}, []int{leader.Place(), c.Others(leader)[1].Place()}))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(*awayFor)
	hit := cut.hit()
	cut.mend()
	healed := time.Now()
	follower.AwaitServing()
	caughtUp := time.Since(healed)
	l.AwaitProgress(t, 100)
	l.End()
	time.Sleep(4 * electionTimeout) // an election would come by now
	l.Verify(t, follower)
	cluster.AwaitEqual(t, c)
	status := cluster.MustStatus(t, leader)
	t.Logf("\nfollower cut off for %v, %d packets dropped; it served %.2f s after the mend; %d appends meanwhile; the term is still %d",
		*awayFor, hit, caughtUp.Seconds(), l.Acknowledged(), status.Term)
	if status.Term != term || status.Leader != leader.ID || hit == 0 {
		t.Errorf("leader %s in term %d became %s in term %d", leader.ID, term, status.Leader, status.Term)
	}
}

// Goal: nobody waits long for a leader that was cut off while it had a write: not
// a Clerk, nor a client of that leader, nor one of a follower that had passed the
// write on.
// Method: a few of each write with no end; the leader is cut off from the others,
// not from clients. The longest call counts.
func TestNobodyWaitsForALeaderThatIsCutOff(t *testing.T) {
	c, n := startCuttable(t)
	leader := c.Leader()
	others := c.Others(leader)
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: cluster.Addresses(c.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	calls := []struct {
		name string
		do   func(i int)
		max  atomic.Int64
	}{
		{name: "a Clerk", do: func(int) { _, _ = clerk.Put(context.Background(), "waits", []byte("v")) }},
		{name: "a client of the leader", do: func(int) { _, _, _, _ = leader.Ask("PUT", "/v1/kv/waits", "v") }},
		{name: "a client of a follower", do: func(i int) { _, _, _, _ = others[i%2].Ask("PUT", "/v1/kv/waits", "v") }},
	}
	ctx, stop := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	for k := range calls {
		for i := range 4 {
			calling.Go(func() {
				for ctx.Err() == nil {
					begun := time.Now()
					calls[k].do(i)
					for took := int64(time.Since(begun)); ; {
						if longest := calls[k].max.Load(); took <= longest || calls[k].max.CompareAndSwap(longest, took) {
							break
						}
					}
				}
			})
		}
	}
	cluster.Sleep(ctx, time.Second)
	cut, err := n.cutWays(bothWays([]int{leader.Place()}, []int{others[0].Place(), others[1].Place()}))
	if err != nil {
		t.Fatal(err)
	}
	cluster.Sleep(ctx, 2*held)
	hit := cut.hit()
	cut.mend()
	stop()
	calling.Wait()
	for k := range calls {
		longest := time.Duration(calls[k].max.Load())
		t.Logf("%s waits %.2f s at most", calls[k].name, longest.Seconds())
		if longest > 4*electionTimeout || hit == 0 {
			t.Errorf("%s has waited %v; %d packets were dropped", calls[k].name, longest, hit)
		}
	}
}
