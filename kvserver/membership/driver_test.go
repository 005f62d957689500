package membership

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// newcomer is a server that may be added.
func newcomer(id members.ID) Addition {
	return Addition{ID: id, Role: members.Learner, Peer: string(id) + ":1", Promote: true, Incarnation: incarnationOf(id), Levels: levels.Range{Min: 2, Max: 3}}
}

// Goal: a cluster without a record begins one by itself when every member knows the
// level, at that level and with all members as voters; one that does not know it, or was
// not heard, holds it back, and going back to an older build does, too. Method: a cluster
// in which one node after the other is upgraded.
func TestTheLeaderBeginsTheRecordWhenAllKnowTheLevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, false)
		defer f.close()
		f.static, f.unheard = []members.ID{"n1", "n2"}, "n2" // before any driver looks
		f.add(t, "n1", 3)
		f.add(t, "n2", 3)
		show := func(id members.ID, level uint32) {
			f.mu.Lock()
			f.unheard = ""
			f.show(id, Shown{Levels: levels.Range{Min: 2, Max: level}, Build: "b", Incarnation: incarnationOf(id)})
			f.mu.Unlock()
		}
		time.Sleep(time.Minute)
		if f.record() != nil {
			t.Fatal("a member that was never heard does not hold the level back")
		}
		show("n2", 2)
		time.Sleep(time.Minute)
		v := f.nodes["n1"].driver.View()
		if _, held := v.Raise(); f.record() != nil || len(held) != 1 || held[0].ID != "n2" {
			t.Fatalf("an old member does not hold the level back: %v", held)
		}
		show("n2", 3)
		f.mu.Lock()
		f.silent["n2"] = true // it need not be connected
		f.mu.Unlock()
		time.Sleep(time.Second)
		r := f.record()
		if r == nil || r.Level != 3 || r.UID != f.uid || joinIDs(r.Voters()) != "n1, n2" || r.Member("n2").Peer != "n2:1" {
			t.Fatalf("the record is %+v", r)
		}
		time.Sleep(time.Minute)
		if f.entries() != 1 {
			t.Errorf("%d changes were made, not 1", f.entries())
		}
	})
}

// Goal: only the leader acts. Method: all members know the level, and the leader's
// program does not.
func TestOnlyTheLeaderActs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, false, "n2", "n3")
		defer f.close()
		f.add(t, "n1", 2)
		f.set(func() { f.static = append(f.static, "n1") })
		time.Sleep(time.Minute)
		if f.entries() != 0 {
			t.Errorf("%d changes were made", f.entries())
		}
		if _, err := f.nodes["n2"].driver.Change(t.Context(), Ask{ID: "c", Remove: []members.ID{"n3"}}); !errors.Is(err, failure.NoLeader) {
			t.Errorf("a follower makes a change: %v", err)
		}
	})
}

// Goal: M11 and planted bug 11: a learner is promoted after it has kept up for
// PromoteAfter without a break, and growing from one to three is one change. Method: two
// learners and one voter; one of them lags, keeps up, lags again for a moment, and
// keeps up.
func TestLearnersArePromotedInPairsWhenTheyHaveKeptUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d := f.nodes["n1"].driver
		lag := func(id members.ID, lags bool) { f.mu.Lock(); f.behind[id] = lags; f.mu.Unlock() }
		for _, id := range []members.ID{"n2", "n3"} {
			f.add(t, id, 3)
			lag(id, true)
			if _, err := d.Change(t.Context(), Ask{ID: "add " + string(id), Add: []Addition{newcomer(id)}}); err != nil {
				t.Fatal(err)
			}
		}
		lag("n2", false)
		time.Sleep(time.Minute)
		if got := joinIDs(f.record().Voters()); got != "n1" {
			t.Fatalf("the voters are %s before n3 has caught up", got)
		}
		lag("n3", false)
		time.Sleep(9 * time.Second)
		lag("n3", true)
		time.Sleep(time.Second)
		lag("n3", false)
		time.Sleep(9 * time.Second)
		if got := joinIDs(f.record().Voters()); got != "n1" {
			t.Fatalf("the voters are %s after a break", got)
		}
		before := f.entries()
		time.Sleep(2 * time.Second)
		if got := joinIDs(f.record().Voters()); got != "n1, n2, n3" || f.entries() != before+2 {
			t.Fatalf("the voters are %s after %d entries", got, f.entries()-before)
		}
	})
}

// Goal: the same change id gets the result of the first request, at the same leader, at
// the next one, and when the change is long over; nothing is appended twice (M6). Method:
// a change is asked for four times, across a change of leader.
func TestTheSameChangeIDGetsTheSameAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		ask := Ask{ID: "remove n3", Remove: []members.ID{"n3"}}
		first, err := f.nodes["n1"].driver.Change(t.Context(), ask)
		if err != nil || first.State != api.ChangeDone {
			t.Fatalf("%+v, %v", first, err)
		}
		appends := f.entries()
		again, err := f.nodes["n1"].driver.Change(t.Context(), ask)
		if err != nil || again.Index != first.Index || again.State != api.ChangeDone {
			t.Errorf("again at the same leader: %+v, %v", again, err)
		}
		f.lead("n2")
		next, err := f.nodes["n2"].driver.Change(t.Context(), ask)
		if err != nil || next.Index != first.Index {
			t.Errorf("at the next leader: %+v, %v", next, err)
		}
		if state, found := f.nodes["n1"].driver.State("remove n3"); state != api.ChangeDone || !found {
			t.Errorf("a follower says %s, %v", state, found)
		}
		if _, found := f.nodes["n1"].driver.State("another"); found {
			t.Error("a change is known that nobody made")
		}
		if f.entries() != appends {
			t.Errorf("%d entries more were appended", f.entries()-appends)
		}
	})
}

// Goal: a change goes on after its request has ended, says so meanwhile, and a second one
// is refused until it has ended (M5). Method: the joint configuration is not committed
// until later.
func TestAChangeGoesOnWithoutItsRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		f.set(func() { f.hold = true })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := d.Change(ctx, Ask{ID: "c1", Remove: []members.ID{"n3"}})
		if err != nil || r.State != api.ChangeJoint {
			t.Fatalf("%+v, %v", r, err)
		}
		_, err = d.Change(t.Context(), Ask{ID: "c2", Remove: []members.ID{"n2"}})
		if failure.KindOf(err).Code != api.CodeChangeInProgress || failure.RetryIn(err) == 0 {
			t.Errorf("a second change: %v", err)
		}
		f.set(func() { f.hold = false })
		f.finish()
		if state, _ := d.State("c1"); state != api.ChangeDone {
			t.Errorf("in the end it is %s", state)
		}
		if _, err := d.Change(t.Context(), Ask{ID: "c1", Remove: []members.ID{"n3"}}); err != nil {
			t.Errorf("asked for again: %v", err)
		}
	})
}

// Goal: a leader that is to leave hands leadership to a voter that stays, which makes the
// change under the same id. Method: the leader removes itself.
func TestALeaderHandsOverBeforeItLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		f.mu.Lock()
		f.silent["n2"] = true // n3 is the fit one
		f.mu.Unlock()
		ask := Ask{ID: "c", Remove: []members.ID{"n1", "n2"}, IfMatch: at(2)} // pins are no change that it asks about
		if _, err := f.nodes["n1"].driver.Change(t.Context(), ask); !errors.Is(err, failure.NoLeader) {
			t.Fatalf("the leader that leaves: %v", err)
		}
		f.mu.Lock()
		leader := f.leader
		f.mu.Unlock()
		if leader != "n3" {
			t.Fatalf("%s leads", leader)
		}
		if r, err := f.nodes["n3"].driver.Change(t.Context(), ask); err != nil || r.State != api.ChangeDone {
			t.Fatalf("the new leader: %+v, %v", r, err)
		}
		// The directories that the record had never named are in it before they go.
		for _, id := range []members.ID{"n1", "n2"} {
			if !f.record().IsRemoved(id, incarnationOf(id)) {
				t.Errorf("the directory of %s is not among the removed: %+v", id, f.record().Removed)
			}
		}
	})
}

// Goal: what becomes of a change in consensus is told with the right outcome: not applied
// only if it never happens. Method: consensus that ends a change in each way.
func TestTheOutcomeOfAChangeIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		time.Sleep(time.Second) // what the leader does by itself is done
		place := func(c *raft.Reconfiguration, err error) error { c.Placed(99, 1); return err }
		for name, c := range map[string]struct {
			decide  func(c *raft.Reconfiguration) error
			code    api.Code
			outcome api.Outcome
		}{
			"not the leader":        {func(*raft.Reconfiguration) error { return raft.ErrNotLeader }, api.CodeNoLeader, api.OutcomeNotApplied},
			"handing over":          {func(*raft.Reconfiguration) error { return raft.ErrTransferring }, api.CodeNoLeader, api.OutcomeNotApplied},
			"another took it":       {func(c *raft.Reconfiguration) error { return place(c, raft.ErrLost) }, api.CodeNoLeader, api.OutcomeNotApplied},
			"behind a snapshot":     {func(c *raft.Reconfiguration) error { return place(c, raft.ErrUnknown) }, api.CodeLeadershipLost, api.OutcomeUnknown},
			"stopped before":        {func(*raft.Reconfiguration) error { return raft.ErrStopped }, api.CodeStopping, api.OutcomeNotApplied},
			"stopped meanwhile":     {func(c *raft.Reconfiguration) error { return place(c, raft.ErrStopped) }, api.CodeStopping, api.OutcomeUnknown},
			"an impossible wish":    {func(*raft.Reconfiguration) error { return errors.New("members: it cannot be") }, api.CodeBadRequest, api.OutcomeNotApplied},
			"lost from the log":     {func(c *raft.Reconfiguration) error { return place(c, errKept) }, api.CodeLeadershipLost, api.OutcomeUnknown},
			"no answer in its time": {func(*raft.Reconfiguration) error { return errKept }, api.CodeTimeout, api.OutcomeUnknown},
		} {
			f.mu.Lock()
			f.decide = c.decide
			f.mu.Unlock()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := f.nodes["n1"].driver.Change(ctx, Ask{ID: name, Remove: []members.ID{"n3"}})
			cancel()
			if k := failure.KindOf(err); err == nil || k.Code != c.code || k.Outcome != c.outcome {
				t.Errorf("%s: %v (%s, %s)", name, err, k.Code, k.Outcome)
			}
		}
		synctest.Wait()
	})
}

// Goal: a new address is written down after it has stood for five seconds, if it comes
// from the directory that the record names and a dial back finds that directory there: a wrong
// --advertise-peer does not replace the right one. Method: a node that moves, moves back, moves;
// moves between two addresses; a stranger under its name, and another node at its address.
func TestANewAddressIsWrittenDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2")
		defer f.close()
		move := func(to string, from members.Incarnation) {
			f.mu.Lock()
			f.show("n2", Shown{Levels: levels.Range{Min: 2, Max: 3}, Incarnation: from, Peer: to})
			f.mu.Unlock()
		}
		peer := func() string { return f.record().Member("n2").Peer }
		r := f.record().Clone()
		r.Member("n2").Incarnation, r.Member("n2").Peer = incarnationOf("n2"), "old:1"
		f.mu.Lock()
		f.append(r)
		f.mu.Unlock()
		f.tell()
		move("new:1", members.Incarnation{9})
		time.Sleep(10 * time.Second)
		move("new:1", incarnationOf("n2"))
		time.Sleep(4 * time.Second)
		move("old:1", incarnationOf("n2"))
		time.Sleep(time.Second)
		move("new:1", incarnationOf("n2"))
		time.Sleep(4 * time.Second)
		if peer() != "old:1" {
			t.Fatalf("the address is %s too early, or by a stranger's word", peer())
		}
		time.Sleep(20 * time.Second)
		if peer() != "old:1" {
			t.Fatalf("the address is %s, where nobody answers", peer())
		}
		answers := func(g Greeting) { f.set(func() { f.listens["new:1"] = g }) }
		answers(Greeting{ID: "n1"})
		time.Sleep(20 * time.Second)
		if peer() != "old:1" {
			t.Fatalf("the address is %s, which is that of n1", peer())
		}
		answers(Greeting{ID: "n2", Shown: Shown{Incarnation: incarnationOf("n2")}})
		for range 5 { // neither stands for five seconds
			move("other:1", incarnationOf("n2"))
			time.Sleep(4 * time.Second)
			move("new:1", incarnationOf("n2"))
			time.Sleep(4 * time.Second)
		}
		if peer() != "old:1" {
			t.Fatalf("the address is %s, and has not stood for five seconds", peer())
		}
		time.Sleep(2 * time.Second)
		if peer() != "new:1" {
			t.Errorf("the address is %s", peer())
		}
	})
}

// Goal: a leader says which members answer it, how many learners wait for a vote, and how changes ended; a
// spare that has caught up does not wait, and another node says nothing. Method: changes that are
// made and refused, a silent voter, a spare that lags and catches up.
func TestALeaderSaysWhoAnswersAndWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		before := d.Changes()
		f.set(func() { f.behind["n4"] = true })
		if _, err := d.Change(t.Context(), Ask{ID: "add", Add: []Addition{newcomer("n4")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Change(t.Context(), Ask{ID: "none", Remove: []members.ID{"n9"}}); err == nil {
			t.Fatal("a stranger was removed")
		}
		after := d.Changes()
		if after[resultDone] != before[resultDone]+1 || after[resultRefused] != before[resultRefused]+1 || after[resultUnknown] != 0 {
			t.Errorf("the changes are %v, and were %v", after, before)
		}
		f.set(func() { f.silent["n3"] = true })
		time.Sleep(time.Second)
		answers, waiting, leads := d.Answers()
		if !leads || waiting != 1 || !answers["n1"] || !answers["n2"] || answers["n3"] || len(answers) != 4 {
			t.Errorf("%v answer, and %d wait", answers, waiting)
		}
		f.set(func() { f.behind["n4"] = false })
		time.Sleep(12 * time.Second)
		if _, waiting, _ := d.Answers(); waiting != 0 {
			t.Errorf("%d wait when the spare has caught up", waiting)
		}
		if _, _, leads := f.nodes["n2"].driver.Answers(); leads {
			t.Error("n2 says who answers it")
		}
	})
}

// Goal: a dry run says the plan and appends nothing. Method: one.
func TestADryRunAppendsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		before := f.entries()
		r, err := f.nodes["n1"].driver.Plan(Ask{ID: "c", Remove: []members.ID{"n3"}})
		if err != nil || r.State != api.ChangePlanned || joinIDs(r.Plan.After.Voters) != "n1, n2" || f.entries() != before {
			t.Errorf("%+v, %v, %d entries", r, err, f.entries())
		}
	})
}

// Goal: what a leader has seen of a learner does not count in its next term, and nothing that
// was seen of one counts for another of the same name: it has to keep up for its whole time
// again. Method: a leader that has seen a learner keep up is not one for an hour, and leads again.
func TestATimeOfKeepingUpEndsWithTheTerm(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		f.add(t, "n4", 3)
		if _, err := f.nodes["n1"].driver.Change(t.Context(), Ask{ID: "add", Add: []Addition{newcomer("n4")}}); err != nil {
			t.Fatal(err)
		}
		ready := func() bool { return f.nodes["n1"].driver.View().Nodes["n4"].Ready }
		time.Sleep(20 * time.Second)
		if !ready() {
			t.Fatal("n4 is not ready after 20 s")
		}
		f.lead("n2")
		time.Sleep(time.Hour)
		f.lead("n1")
		time.Sleep(9 * time.Second)
		if ready() {
			t.Error("n4 is ready at once, by what was seen an hour ago")
		}
		if _, err := f.nodes["n1"].driver.Plan(Ask{ID: "early", Promote: []members.ID{"n4"}}); err == nil || !strings.Contains(err.Error(), "it has not kept up for long enough (9s of 10s)") {
			t.Errorf("a promotion that is too early: %v", err)
		}
		time.Sleep(2 * time.Second)
		if !ready() {
			t.Error("n4 is not ready after it has kept up for its time")
		}
	})
}
