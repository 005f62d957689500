package campaign

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Each node of the campaign of members stands in a network namespace of its own, where that
// can be made, so that what goes between two processes can be cut while both of them run. A
// process that is only stopped is silent to everybody; a cut may go one way, or between two
// nodes alone.

// membersPlaces is how many nodes may run at one time, and one more that is on its way.
const membersPlaces = 8

// cuttable makes the network of the campaign. It returns false, and the site stays on
// loopback, where namespaces cannot be made.
func (s *membersSite) cuttable() bool {
	for _, program := range []string{"ip", "nsenter", "iptables", "iptables-restore"} {
		if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
			s.t.Logf("NOT RUN: cuts of the network need root, and %s", program)
			return false
		}
	}
	s.network = newNetwork(s.t, newUndo(s.t), membersPlaces)
	for place := range membersPlaces {
		s.free = append(s.free, place)
	}
	return true
}

// wrapper is the command that becomes a node's process where it stands.
func (s *membersSite) wrapper(n *membersNode) []string {
	if s.network == nil {
		return nil
	}
	return []string{"nsenter", "--net=" + filepath.Join("/run/netns", s.network.space(n.place))}
}

// settle gives a node another place on the network, and so another address.
func (s *membersSite) settle(n *membersNode) {
	s.t.Helper()
	if len(s.free) == 0 {
		s.t.Fatal("there is no place for another node")
	}
	place := s.free[0]
	s.free = s.free[1:]
	if n.http != "" {
		s.leavePlace(n)
	}
	n.place = place
	n.http, n.peer = s.network.address(place)+":8701", s.network.address(place)+":9701"
}

// leavePlace lets another node stand where one stood. Nobody ever stands where the first one
// began: the Clerk was given that address, and is to go on without it.
func (s *membersSite) leavePlace(n *membersNode) {
	if s.network != nil && n.place != 0 {
		s.free = append(s.free, n.place)
	}
}

// places returns where nodes stand.
func places(nodes ...*membersNode) (all []int) {
	for _, n := range nodes {
		all = append(all, n.place)
	}
	return all
}

// cuts returns the actions that cut the network, none where there is no network of its own.
func (c *membersCampaign) cuts() []membersAction {
	if c.network == nil {
		return nil
	}
	// A cut may leave a majority that goes on. What is cut is drawn from all nodes and from
	// the leader.
	cutOff := func(n *membersNode) []way { return bothWays(places(n), places(c.without(n)...)) }
	does := func(name string, do func()) membersAction { return membersAction{name: name, do: do} }
	return []membersAction{
		does("cut off", func() { c.cut(cutOff(c.some()), nil) }),
		does("leader cut off", func() { c.cut(cutOff(c.leader()), nil) }),
		does("leader hears nobody", func() { l := c.leader(); c.cut(oneWay(places(c.without(l)...), places(l)), nil) }),
		does("leader not heard", func() { l := c.leader(); c.cut(oneWay(places(l), places(c.without(l)...)), nil) }),
		does("two do not see each other", func() { a := c.some(); c.cut(bothWays(places(a), places(c.without(a)[0])), nil) }),
		does("join across a cut", func() {
			n := c.without(c.leader())[0]
			c.cut(cutOff(n), c.grow)
		}),
		does("remove across a cut", func() {
			if len(c.nodes) <= 3 {
				c.join()
				c.whole()
			}
			others := c.without(c.leader())
			c.cut(cutOff(others[0]), func() { c.leave(others[1], false) })
		}),
	}
}

// some returns any node.
func (c *membersCampaign) some() *membersNode { return c.nodes[c.rand.IntN(len(c.nodes))] }

// without returns the other nodes.
func (c *membersCampaign) without(n *membersNode) []*membersNode {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(m *membersNode) bool { return m == n })
}

// cut cuts ways for one to three seconds, and does something meanwhile. After the mend writes
// must go on: a majority of both halves of the newest configuration sees itself again.
func (c *membersCampaign) cut(ways []way, meanwhile func()) {
	c.t.Helper()
	cut, err := c.network.cutWays(ways)
	if err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(time.Second + time.Duration(c.rand.Int64N(int64(2*time.Second))))
	if meanwhile != nil {
		meanwhile()
	}
	hit := cut.hit()
	cut.mend()
	if hit == 0 {
		c.t.Errorf("%s: void: no packet was dropped", c.doing)
	}
	mended := time.Now()
	c.flows()
	took := time.Since(mended)
	c.mends = append(c.mends, took)
	c.mu.Lock()
	late := c.late
	c.mu.Unlock()
	if limit := 4*membersTimeout + membersSlack + 10*late; took > limit {
		c.t.Errorf("%s: after the mend ten writes took %v; M23 allows 4 election timeouts, with all else %v", c.doing, took.Round(time.Millisecond), limit.Round(time.Millisecond))
	}
	c.held["M23"]++
	c.held["cut"]++
}

// reportCuts says how many cuts there were, and how soon writes went on.
func (c *membersCampaign) reportCuts() string {
	if len(c.mends) == 0 {
		return "no cuts of the network"
	}
	return fmt.Sprintf("%d cuts of the network; after the mend ten writes were acknowledged within %v", len(c.mends), slices.Max(c.mends).Round(time.Millisecond))
}
