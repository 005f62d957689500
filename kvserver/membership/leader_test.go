package membership

import (
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/members"
)

// Goal: a leader that is to leave hands over to a voter that stays, and where none does it makes
// the change itself (R9): a learner that the change promotes cannot lead before it. Of those that
// stay it takes one that would lead, which consensus asks for, and of those the one that has most
// of the log. Method: leaders that leave, with others of each kind.
func TestALeaderHandsOverOnlyToAVoter(t *testing.T) {
	for name, c := range map[string]struct {
		view View
		ask  Ask
		to   members.ID
	}{
		"another voter stays":       {newView("n1", "n2", "n3"), Ask{Remove: []members.ID{"n1"}}, "n2"},
		"a learner takes its place": {newView("n7", "n8", "n9").learner("n10"), Ask{Replace: []Replacement{{"n7", "n10"}}, EvenIfAlive: true}, "n8"},
		"all voters are new":        {newView("n1", "n2", "n3").learner("n4").learner("n5").learner("n6"), Ask{Promote: []members.ID{"n4", "n5", "n6"}, Remove: []members.ID{"n1", "n2", "n3"}}, members.None},
		"the sole voter is swapped": {newView("n2").learner("n1"), Ask{Replace: []Replacement{{"n2", "n1"}}, EvenIfAlive: true}, members.None},
		"the first is loading":      {newView("n1", "n2", "n3", "n4").fit("n2", true, 100).fit("n3", false, 90).fit("n4", false, 95), Ask{Remove: []members.ID{"n1"}}, "n4"},
		"all are loading":           {newView("n1", "n2", "n3").fit("n2", true, 90).fit("n3", true, 100), Ask{Remove: []members.ID{"n1"}}, "n3"},
		"the last is loading":       {newView("n1", "n2", "n3").fit("n2", false, 90).fit("n3", true, 100), Ask{Remove: []members.ID{"n1"}}, "n2"},
		"the one that stays is dead": {newView("n1", "n2", "n3").learner("n4").learner("n5").dead("n2"),
			Ask{Promote: []members.ID{"n4", "n5"}, Remove: []members.ID{"n1", "n3"}}, members.None},
	} {
		c.ask.ID = "c"
		p, err := Decide(c.view, c.ask)
		if err != nil || !p.Leaves || p.HandOver != c.to {
			t.Errorf("%s: the leader leaves: %v, and hands over to %q, not %q (%v)", name, p.Leaves, p.HandOver, c.to, err)
		}
	}
}

// Goal: as before; a leader goes by what its status says of the others. Method: n2 would rather
// not lead.
func TestALeaderHandsOverByItsStatus(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		f.set(func() { f.shows = func(s *raft.Status) { s.Peers[0].RatherNot = true } })
		if r, err := f.nodes["n1"].driver.Plan(Ask{ID: "c", Remove: []members.ID{"n1"}}); err != nil || r.Plan.HandOver != "n3" {
			t.Errorf("the leader hands over to %q, not n3 (%v)", r.Plan.HandOver, err)
		}
	})
}

// fit says how well a voter would lead.
func (v View) fit(id members.ID, ratherNot bool, match uint64) View {
	return v.with(func(_ *members.Record, nodes map[members.ID]Node) {
		n := nodes[id]
		n.RatherNot, n.Match = ratherNot, match
		nodes[id] = n
	})
}

// Goal: the sole voter can be swapped for a learner with one change, which the leader makes
// itself. Method: consensus that lets only voters lead.
func TestTheSoleVoterIsSwapped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		f.add(t, "n2", 3)
		if _, err := f.nodes["n1"].driver.Change(t.Context(), Ask{ID: "add", Add: []Addition{newcomer("n2")}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		ask := Ask{ID: "swap", Replace: []Replacement{{"n1", "n2"}}, EvenIfAlive: true}
		if r, err := f.nodes["n1"].driver.Change(t.Context(), ask); err != nil || r.State != api.ChangeDone || joinIDs(f.record().Voters()) != "n2" {
			t.Errorf("%+v, %v; the voters are %v", r.State, err, f.record().Voters())
		}
	})
}

// Goal: a change that is asked of a leader which was elected a moment ago waits until that has
// committed something, and has heard the voters or waited for two election timeouts: it is not
// refused for what the leader cannot know yet, and a voter that is dead is still counted as that.
// Method: n2 is elected and hears n3 late or never.
func TestANewLeaderWaitsBeforeItRefuses(t *testing.T) {
	for _, dead := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			f := newFakeLog(t, true, "n1", "n2", "n3")
			defer f.close()
			time.Sleep(time.Second)
			begun := time.Now()
			f.set(func() {
				f.silent["n3"] = true
				f.decide = func(*raft.Reconfiguration) error {
					if time.Since(begun) < 100*time.Millisecond {
						return raft.ErrChangeInProgress // nothing is committed yet
					}
					return nil
				}
			})
			f.lead("n2")
			if !dead {
				time.AfterFunc(200*time.Millisecond, func() { f.set(func() { f.silent["n3"] = false }) })
			}
			_, err := f.nodes["n2"].driver.Change(t.Context(), Ask{ID: "c", Remove: []members.ID{"n1"}})
			took := time.Since(begun)
			switch {
			case dead && failure.KindOf(err).Code != api.CodeWouldLoseQuorum:
				t.Errorf("with a dead voter: %v", err)
			case !dead && (err != nil || took > 2*fakeTimeout):
				t.Errorf("with a voter that is heard late: %v after %v", err, took)
			}
		})
	}
}

// Goal: a node that is deposed while a change waits for the one before, or while it is planned,
// says at once that it does not lead, and names no change that is none. Method: n1 waits for the
// end of a joint change when n2 is elected; nothing is under way, and n1 leads at the first look
// of a plan and not at the second.
func TestADeposedLeaderSaysThatItDoesNotLead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		time.Sleep(time.Second)
		f.set(func() { f.hold = true })
		go d.Change(t.Context(), Ask{ID: "before", Demote: []members.ID{"n3"}})
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		time.AfterFunc(200*time.Millisecond, func() { f.lead("n2") })
		_, err := d.Change(t.Context(), Ask{ID: "c", Remove: []members.ID{"n2"}})
		if took := time.Since(begun); !errors.Is(err, failure.NoLeader) || took > 2*fakeTimeout {
			t.Errorf("a change at a deposed leader: %v after %v", err, took)
		}
		f.set(func() { f.hold = false })
		f.finish()
		f.lead("n1")
		time.Sleep(time.Second)
		looks := 0
		f.set(func() {
			f.shows = func(s *raft.Status) {
				if looks++; looks > 1 {
					s.Role = core.Follower
				}
			}
		})
		if _, err := d.Plan(Ask{ID: "d", Remove: []members.ID{"n3"}}); err != nil && !errors.Is(err, failure.NoLeader) {
			t.Errorf("a plan at a deposed leader: %v", err)
		}
	})
}

// Goal: M6: a change that has a place in the log is never said not to have happened, also when
// its request's time ends in the moment in which this node stops. Method: the place and the end
// are both known when the time is over; the choice between the two is drawn 64 times.
func TestAChangeWhoseTimeIsOverHasItsPlace(t *testing.T) {
	d := New(Config{Self: "n1", ElectionTimeout: time.Second})
	for ended, want := range map[error]error{raft.ErrStopped: failure.StoppingUnknown, nil: nil} {
		for range 64 {
			places, ends := make(chan uint64, 1), make(chan error, 1)
			places <- 12
			ends <- ended
			index, err := d.overdue(t.Context(), "c", places, ends)
			if err == nil && index != 12 || err != nil && !errors.Is(err, want) {
				t.Fatalf("the change of entry 12 ended with %v, and is said to have index %d and the error %v", ended, index, err)
			}
		}
	}
}

// Goal: a change that is refused for the time being says for what it waits, and a leader that
// cannot hand over says why. Method: consensus that refuses a change, with and without a first
// commit, and a transfer.
func TestTheReasonOfARefusalIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		time.Sleep(time.Second)
		f.set(func() { f.decide = func(*raft.Reconfiguration) error { return raft.ErrChangeInProgress } })
		for committed, want := range map[bool]string{true: "another change has not ended", false: "has not committed anything"} {
			f.set(func() { f.shows = func(s *raft.Status) { s.CommittedInTerm = committed } })
			_, err := d.Change(t.Context(), Ask{ID: "c", Remove: []members.ID{"n3"}})
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), " or ") {
				t.Errorf("with a first commit: %v; the refusal is %v", committed, err)
			}
		}
		f.set(func() { f.refusesLead = errors.New("core: n2 is loading") })
		if _, err := d.Change(t.Context(), Ask{ID: "d", Remove: []members.ID{"n1"}}); err == nil || !strings.HasSuffix(failure.Detail(err), "n2 is loading") {
			t.Errorf("a transfer that is refused: %v", err)
		}
	})
}

// Goal: M6: the same change that is asked for twice at once, while another one is under way,
// gets one answer and is made once. Method: two requests wait for the end of a joint change.
func TestTheSameChangeTwiceAtOnceIsMadeOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		time.Sleep(time.Second)
		f.edit(func(r *members.Record) { r.Put(members.Member{ID: "n4", Role: members.Learner, Added: 2}) })
		f.set(func() { f.hold = true })
		begun := make(chan error, 1)
		go func() {
			_, err := d.Change(t.Context(), Ask{ID: "before", Demote: []members.ID{"n3"}})
			begun <- err
		}()
		time.Sleep(100 * time.Millisecond)
		appends := f.entries()
		var results [2]Result
		var errs [2]error
		var asking sync.WaitGroup
		for i := range results {
			asking.Go(func() { results[i], errs[i] = d.Change(t.Context(), Ask{ID: "twice", Remove: []members.ID{"n4"}}) })
		}
		time.Sleep(100 * time.Millisecond)
		f.set(func() { f.hold = false })
		f.finish()
		asking.Wait()
		if err := errors.Join(errs[0], errs[1], <-begun); err != nil || results[0].Index != results[1].Index || f.entries() != appends+2 {
			t.Errorf("%v; they stand at %d and %d, and %d entries were appended, not 2", err, results[0].Index, results[1].Index, f.entries()-appends)
		}
	})
}

// Goal: M12, M14: the record names the data directory of every member that talks to the leader,
// so that it can be told later that it was removed; a member that does not talk is not named.
// Method: a record without directories, and one that begins.
func TestTheRecordNamesTheDirectoriesOfItsMembers(t *testing.T) {
	for _, record := range []bool{true, false} {
		inBubble(t, func(t *testing.T) {
			all := []members.ID{"n1", "n2", "n3"}
			f := newFakeLog(t, false)
			defer f.close()
			f.static, f.silent["n3"] = all, true
			if record {
				r := members.First(f.uid, 3, all)
				r.Stamp(2)
				f.newest = members.Version{Index: 2, Record: &r}
			}
			for _, id := range all {
				f.add(t, id, 3)
			}
			time.Sleep(time.Second)
			named := func(id members.ID) bool { return f.record().Member(id).Incarnation == incarnationOf(id) }
			if !named("n1") || !named("n2") || named("n3") || f.entries() != 1 {
				t.Errorf("the record is %+v after %d changes", f.record().Members, f.entries())
			}
			f.set(func() { f.silent["n3"] = false })
			time.Sleep(time.Second)
			if !named("n3") {
				t.Error("n3 is not named when it talks")
			}
		})
	}
}

// Goal: a leader that is deposed while a server asks to come back says that it does not lead. To
// say that the old one may be alive would be false: it knows of nobody's silence any more. And a
// leader that is well counts as well, so that the place of a voter that leads is not kept.
// Method: leadership goes while the return waits for a change that is under way; then a look at
// the view of a leader that has led for some time.
func TestADeposedLeaderJudgesNobodysSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		f.set(func() { f.silent["n3"] = true })
		time.Sleep(4 * time.Second)
		if v := d.View(); v.node("n1").Well < 3*time.Second || v.node("n2").Well < 3*time.Second {
			t.Errorf("the leader is well for %v and a follower for %v, want both for seconds", v.node("n1").Well, v.node("n2").Well)
		}
		f.set(func() { f.hold = true })
		go d.Change(t.Context(), Ask{ID: "before", Demote: []members.ID{"n3"}})
		time.Sleep(100 * time.Millisecond)
		b, fresh := joinBody("n3", ""), members.Incarnation{3, 3}
		b.Incarnation, b.Replaces = hex.EncodeToString(fresh[:]), "n3"
		f.listen("n3", fresh)
		time.AfterFunc(200*time.Millisecond, func() { f.lead("n2") })
		if _, err := d.Join(t.Context(), b); !errors.Is(err, failure.NoLeader) {
			t.Errorf("a return at a deposed leader: %v", err)
		}
		f.set(func() { f.hold = false })
		f.finish()
	})
}
