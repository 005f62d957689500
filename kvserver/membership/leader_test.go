package membership

import (
	"errors"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/members"
)

// Goal: a leader that is to leave hands over to a voter that stays, and where none does it makes
// the change itself (R9): a learner that the change promotes cannot lead before it. Method:
// leaders that leave in five ways.
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
