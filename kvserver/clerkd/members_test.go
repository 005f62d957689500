package clerkd

import (
	"bufio"
	"net/http"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/membership"
	"raftkv/raft"
	"raftkv/raft/members"
)

// Goal: a Clerk hears of the newest committed configuration of the members in the greeting,
// and of another one on the connection that it has, once; a Clerk of protocol 1 and a node
// that forwards hear nothing, since they do not know the frame (M22). Method: the door over
// a driver that is told of configurations; what comes on the connections. An answer to a
// request follows on each, so that nothing can come late.
func TestClerksHearOfTheMembers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		driver := membership.New(membership.Config{})
		version := func(index uint64) members.Version {
			r := members.First(members.UID{7}, 3, []members.ID{"n1"})
			return members.Version{Index: index, Record: &r}
		}
		driver.Configured(raft.Configurations{Newest: version(5), Committed: version(5)})
		s, _ := newServer(t, func(c *settings) { c.Membership = driver })
		network := servePipes(t, s)
		open := func(protocol, header string) (*rawClerk, string) {
			conn := network.Open(t, "GET /v1/clerk HTTP/1.1\r\nHost: kv\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n"+header+"\r\n")
			early := bufio.NewReader(conn)
			response, err := http.ReadResponse(early, &http.Request{Method: "GET"})
			if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("the upgrade: %v, %v", response, err)
			}
			limits := clerkwire.Answers2
			if header != "" {
				limits = clerkwire.ForwardAnswers
			}
			return &rawClerk{t: t, conn: conn, frames: clerkwire.NewFrameReader(conn, early, limits)}, response.Header.Get(api.HeaderConfiguration)
		}
		newest, said := open(clerkwire.Protocol2, "")
		if said != "1.5" {
			t.Errorf("the greeting names the configuration %q, want 1.5", said)
		}
		old, _ := open(clerkwire.Protocol, "")
		node, _ := open(clerkwire.Protocol2, "Kv-Forwarded: n2\r\nKv-Cluster: c1\r\n")

		driver.Configured(raft.Configurations{Newest: version(8), Committed: version(5)}) // not committed
		synctest.Wait()
		driver.Configured(raft.Configurations{Newest: version(9), Committed: version(9)})
		synctest.Wait()
		driver.Configured(raft.Configurations{Newest: version(9), Committed: version(9)}) // nothing new
		synctest.Wait()
		var m clerkwire.Configuration
		newest.want(0, clerkwire.KindConfiguration, &m)
		if m != (clerkwire.Configuration{Generation: 1, Version: 9}) {
			t.Errorf("the frame names %+v", m)
		}
		for name, r := range map[string]*rawClerk{"the Clerk": newest, "a Clerk of protocol 1": old} {
			number := askClerk(r, clerkwire.KindGet, clerkwire.Get{Consistency: clerkwire.Stale, Key: []byte("k")})
			if h, _ := r.next(); h.Number != number {
				t.Errorf("%s gets a frame of kind %#x", name, h.Kind)
			}
		}
		number := forwardCommand(node, putCommand("v"))
		if h, _ := node.next(); h.Number != number {
			t.Errorf("a node that forwards gets a frame of kind %#x", h.Kind)
		}
	})
}
