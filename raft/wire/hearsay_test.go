package wire

import (
	"strings"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// Goal: a server without a uid that is offered two clusters talks to neither, says
// so with both uids, believes neither of its directory, and goes on when the stray
// is gone and the member is there, if it has taken nothing from the stray. Method:
// n1, new or coming back, whose n2 is of one cluster; at the address of n3 is one of
// another cluster, and later the member.
func TestAServerWithoutAUIDTakesNoSides(t *testing.T) {
	ours, theirs := core.UID{1}, core.UID{2}
	for _, rejoins := range []bool{false, true} {
		s := newSite(t, 3)
		if rejoins {
			s.lives["n1"] = rejoined(s.lives["n1"])
		}
		of := func(uid core.UID) func(*Config) { return func(c *Config) { c.UID = uid } }
		n2 := s.start(t, "n2", of(ours))
		n1 := s.start(t, "n1", nil)
		eventually(t, "n1 talks to n2", func() bool { return n1.Stats().Peers["n2"].Connected && n2.Stats().Peers["n1"].Connected })
		member := s.lives["n3"]
		s.lives["n3"] = newLife()
		n3 := s.start(t, "n3", of(theirs))
		eventually(t, "n1 takes part in nothing", n1.muted.Load)
		o := newOutcomes()
		n1.Send(ping("n2", 1), o.done)
		if o.countLost() != 1 {
			t.Error("n1 talks while it does not know to whom it belongs")
		}
		eventually(t, "n1 names both", func() bool {
			log := s.logs["n1"].String()
			return strings.Contains(log, "peers name different uids") && strings.Contains(log, "n2 names "+ours.String()) && strings.Contains(log, "n3 names "+theirs.String())
		})
		if len(s.told["n1"].told) != 0 {
			t.Error("n1 was ended")
		}
		n3.Close()
		s.listeners["n3"], s.lives["n3"] = listen(t, s.addrs["n3"]), member
		n3 = s.start(t, "n3", of(ours))
		connected(t, n1, 2)
		eventually(t, "n1 takes part again", func() bool { return !n1.muted.Load() })
		for _, server := range []*server{n1, n2, n3} {
			server.Close()
		}
	}
}

// Goal: a refusal of one of two clusters ends no server that cannot tell which is
// its own. Method: n1 is new; n2 names a uid and takes it; the stray at n3's address
// names another one, and turns n1 down as wiped.
func TestAServerWithoutAUIDIsNotEndedByAStray(t *testing.T) {
	s := newSite(t, 3)
	s.memories["n3"]["n1"], _, _ = identity.Known{}.Meet(newLife())
	n2 := s.start(t, "n2", func(c *Config) { c.UID = core.UID{1} })
	n1 := s.start(t, "n1", func(c *Config) { c.VerdictWait = time.Hour })
	eventually(t, "n1 talks to n2", func() bool { return n1.Stats().Peers["n2"].Connected })
	n3 := s.start(t, "n3", func(c *Config) { c.UID = core.UID{2} })
	eventually(t, "n3's word does not count", func() bool { return n1.distrusted.Load() > 0 })
	n1.Transport.mu.Lock()
	words, atOdds := n1.words.Len(), n1.atOdds
	n1.Transport.mu.Unlock()
	if words != 0 || !atOdds || len(s.told["n1"].told) != 0 {
		t.Errorf("%d words count, at odds %v, told %v", words, atOdds, s.told["n1"].last)
	}
	for _, server := range []*server{n1, n2, n3} {
		server.Close()
	}
}

// Goal: a server whose disk holds something from one cluster takes nothing from
// another, though all servers that are there name it, also after a restart; one whose disk
// is empty may. Method: n1, whose memory names a uid, starts with either disk; n2
// names another one.
func TestAServerStaysWithTheClusterItHasPromisedTo(t *testing.T) {
	ours, theirs := core.UID{1}, core.UID{2}
	for _, void := range []bool{false, true} {
		s := newSite(t, 3)
		k, _, _ := identity.Known{}.Meet(newLife())
		k.UID = ours
		s.memories["n1"]["n3"] = k
		n1 := s.start(t, "n1", func(c *Config) {
			if !void {
				c.Standing = func() identity.Standing { return identity.Standing{Term: 3, Last: 2} }
			}
		})
		n2 := s.start(t, "n2", func(c *Config) { c.UID = theirs })
		eventually(t, "n2 is judged", func() bool {
			st := n1.Stats()
			return void && st.Peers["n2"].Connected || !void && st.Rejected[identity.OtherCluster] > 0
		})
		if !void {
			eventually(t, "n1 names both", func() bool {
				log := s.logs["n1"].String()
				return strings.Contains(log, ours.String()) && strings.Contains(log, theirs.String())
			})
		}
		n1.Close()
		n2.Close()
	}
}

// Goal: a server that is turned down leaves no trace in what is heard of the
// cluster's uid. Method: n1 knows n3's directory and no uid; a stray at n3's address,
// on another directory, names a uid and is refused as wiped; then n2 names another
// uid and is talked to.
func TestARefusedStrayNamesNoCluster(t *testing.T) {
	s := newSite(t, 3)
	s.memories["n1"]["n3"], _, _ = identity.Known{}.Meet(newLife())
	n1 := s.start(t, "n1", func(*Config) {})
	stray := s.start(t, "n3", func(c *Config) { c.UID = core.UID{2} })
	eventually(t, "the stray is refused", func() bool { return n1.Stats().Rejected[identity.Wiped] > 0 })
	n1.Transport.mu.Lock()
	heard := n1.hearsay.Heard()
	bound, _ := n1.hearsay.Presume(3)
	n1.Transport.mu.Unlock()
	if heard || bound != (core.UID{}) {
		t.Errorf("a peer counts as heard: %v; the server belongs to %v", heard, bound)
	}
	n2 := s.start(t, "n2", func(c *Config) { c.UID = core.UID{1} })
	eventually(t, "n1 talks to n2", func() bool { return n1.Stats().Peers["n2"].Connected })
	for _, server := range []*server{n1, n2, stray} {
		server.Close()
	}
}

// Goal: a server that has its goal, and so knows the uid of its cluster, does not count
// a server that names none as told of it: that may be a stray in the place of a member
// that was not met before. When the member names the uid, it counts. Method: n1 comes
// back with its goal and the uid and remembers nobody; n2 names the uid, and n3 first
// names none.
func TestAGoalIsNotAnnouncedToWhoeverNamesNoUID(t *testing.T) {
	s, ours := newSite(t, 3), core.UID{1}
	of := func(uid core.UID) func(*Config) { return func(c *Config) { c.UID = uid } }
	s.lives["n1"] = rejoined(newLife())
	n2, n3 := s.start(t, "n2", of(ours)), s.start(t, "n3", nil)
	n1 := s.start(t, "n1", func(c *Config) {
		c.UID, c.Standing = ours, func() identity.Standing { return identity.Standing{Term: 7} }
	})
	done := make(chan bool, 1)
	n1.Hush()
	go func() { done <- n1.Announce() }()
	connected(t, n1, 2)
	eventually(t, "n2 counts", func() bool { n1.Transport.mu.Lock(); defer n1.Transport.mu.Unlock(); return !n1.unaware["n2"] })
	n1.Transport.mu.Lock()
	waits := n1.unaware["n3"]
	n1.Transport.mu.Unlock()
	if !waits || len(done) != 0 || !n1.muted.Load() {
		t.Error("n1 takes part though only a server that names no uid stands at n3's address")
	}
	n3.Close()
	s.listeners["n3"] = listen(t, s.addrs["n3"])
	n3 = s.start(t, "n3", of(ours))
	if !<-done {
		t.Error("the announcement failed")
	}
	for _, server := range []*server{n1, n2, n3} {
		server.Close()
	}
}
