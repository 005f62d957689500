package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// pilotWorld is a cluster of which everything is known, and all that its leader has seen.
type pilotWorld struct {
	rng   *rand.Rand
	now   time.Time
	view  View
	looks []look
	added uint64
}

// look is one look of the leader: when, in which term, and which members did not answer.
type look struct {
	at     time.Time
	term   uint64
	silent map[occupant]bool
}

func newPilotWorld(seed uint64) *pilotWorld {
	w := &pilotWorld{rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1, 0), added: 20}
	ids := []members.ID{"n1", "n2", "n3", "n4", "n5"}
	w.view = newView(ids[:1+w.rng.IntN(5)]...)
	s := &w.view.Newest.Record.Settings
	s.Autopilot, s.Wanted, s.ReplaceAfter, s.DeadAfter = true, 1+2*w.rng.IntN(3), 60_000, minDeadAfter
	for range w.rng.IntN(3) {
		w.join()
	}
	return w
}

// join adds a member that does not vote.
func (w *pilotWorld) join() {
	w.added++
	r := w.view.Newest.Record
	m := members.Member{ID: members.ID(fmt.Sprintf("m%d", w.rng.IntN(4))), Role: members.Learner, Added: w.added, Promote: w.rng.IntN(4) > 0}
	if w.rng.IntN(5) == 0 {
		m.Role, m.Promote = members.Replica, false
	}
	if voters := r.Voters(); m.Promote && w.rng.IntN(4) == 0 {
		m.Replaces = voters[w.rng.IntN(len(voters))]
	}
	if r.Member(m.ID) == nil {
		r.Put(m)
		w.view.Nodes[m.ID] = healthyNode("v1")
	}
}

// shake lets something happen, or nothing, and time go on.
func (w *pilotWorld) shake() {
	w.now = w.now.Add(time.Duration(1+w.rng.IntN(10)) * time.Second)
	r := w.view.Newest.Record
	ids := w.view.ids()
	id := ids[w.rng.IntN(len(ids))]
	n := w.view.Nodes[id]
	switch w.rng.IntN(120) {
	case 0:
		if id != w.view.Self {
			n = Node{Why: "is silent", Behind: "is silent", Shown: n.Shown}
		}
	case 3:
		n = healthyNode("v1")
	case 1, 2, 4, 5, 6, 7: // what is wrong with those that answer passes
		for _, other := range ids {
			if w.view.Nodes[other].Answers {
				w.view.Nodes[other] = healthyNode("v1")
			}
		}
		n = w.view.Nodes[id]
	case 8:
		n.Ready, n.Behind = false, "lags"
		n.Healthy = n.Healthy && w.rng.IntN(2) == 0
	case 9, 17, 18, 19, 20:
		if n.Shown != nil {
			n.Shown = &Shown{Levels: levels.Range{Min: 2, Max: 3}, Build: []string{"v1", "v2"}[w.rng.IntN(2)]}
		}
	case 10:
		n.Shown = nil
	case 11:
		w.join()
	case 12:
		r.Settings.Autopilot = w.rng.IntN(3) > 0
	case 13:
		w.view.Settled = w.rng.IntN(3) > 0
	case 14:
		r.Settings.Wanted = 1 + 2*w.rng.IntN(3)
	case 15:
		if w.rng.IntN(5) == 0 {
			w.view.Term++
		}
	case 16:
		w.now = w.now.Add(time.Hour) // the leader was stopped
	}
	w.view.Nodes[id] = n
	seen := look{w.now, w.view.Term, map[occupant]bool{}}
	for i := range r.Members {
		m := &r.Members[i]
		seen.silent[occupant{m.ID, m.Added}] = !w.view.Nodes[m.ID].Answers
	}
	w.looks = append(w.looks, seen)
}

// seen returns for how long something was so in all looks of this term up to the last.
func (w *pilotWorld) seen(was func(look) bool) (long time.Duration) {
	for i := len(w.looks) - 1; i >= 0 && w.looks[i].term == w.view.Term && was(w.looks[i]); i-- {
		if before := i - 1; before >= 0 && w.looks[before].term == w.view.Term && was(w.looks[before]) {
			long += min(w.looks[i].at.Sub(w.looks[before].at), maxLookGap)
		}
	}
	return long
}

// allowed returns all actions that may be made now, by the sentences of the contract.
func (w *pilotWorld) allowed() (all []Action) {
	r, nodes := w.view.Newest.Record, w.view.Nodes
	builds := map[string]bool{}
	for i := range r.Members {
		switch n := nodes[r.Members[i].ID]; {
		case n.Answers && n.Shown == nil:
			return nil
		case n.Answers:
			builds[n.Shown.Build] = true
		}
	}
	if !r.Settings.Autopilot || !w.view.Settled || len(builds) > 1 || w.seen(func(look) bool { return true }) < electionRest {
		return nil
	}
	for i := range r.Members {
		m := r.Members[i]
		silence := w.seen(func(l look) bool { return l.silent[occupant{m.ID, m.Added}] })
		healthy := 0
		for _, id := range r.Voters() {
			if id != m.ID && nodes[id].Healthy {
				healthy++
			}
		}
		others := len(without(r.Voters(), m.ID))
		dead := silence >= time.Duration(r.Settings.DeadAfter)*time.Millisecond
		switch {
		case nodes[m.ID].Answers || healthy < others:
		case m.Role != members.Voter && dead:
			all = append(all, Action{Kind: ActionRemoveLearner, Target: m.ID})
		case m.Role == members.Voter && healthy >= members.Majority(len(r.Voters())):
			if dead && healthy >= r.Settings.Wanted {
				all = append(all, Action{Kind: ActionRemoveVoter, Target: m.ID})
			}
			for _, s := range r.Members {
				kept := s.Replaces != members.None && s.Replaces != m.ID && slices.Contains(r.Voters(), s.Replaces)
				if s.Role == members.Learner && s.Promote && nodes[s.ID].Ready && !kept && silence >= time.Duration(r.Settings.ReplaceAfter)*time.Millisecond {
					all = append(all, Action{Kind: ActionReplace, Target: m.ID, Spare: s.ID})
				}
			}
		}
	}
	return all
}

// make does what the autopilot decided.
func (w *pilotWorld) make(t *testing.T, p Plan) {
	current := w.view.Newest.Record
	next, err := members.Next(current.Configuration(), current, p.Wanted)
	if err != nil {
		t.Fatal(err)
	}
	w.view.Newest.Index += 10
	next.Stamp(w.view.Newest.Index)
	if next.Joint() {
		next = next.Final()
		w.view.Newest.Index += 10
		next.Stamp(w.view.Newest.Index)
	}
	w.view.Newest.Record = &next
}

// Goal: M21: off, the autopilot does nothing; on, the voters never fall below those that
// are wanted by it. It acts if, and only if, a sentence of the contract allows it: after
// enough silence that this leader has seen itself, not soon after an election, not while
// programs differ, another voter is unhealthy or a change is under way.
// Method: random worlds, and a plain model that looks through all that the leader has ever
// seen.
func TestTheAutopilotAgreesWithAPlainModel(t *testing.T) {
	did := map[string]int{}
	for seed := range uint64(60) {
		w := newPilotWorld(seed)
		var pilot Autopilot
		for step := range 400 {
			w.shake()
			pilot.Observe(w.now, &w.view)
			d, allowed := pilot.Next(&w.view), w.allowed()
			if d.Due != (len(allowed) > 0) || d.Due && !slices.Contains(allowed, d.Action) {
				t.Fatalf("seed %d, step %d: it decides %+v (%s), and allowed are %+v", seed, step, d.Action, d.Waits, allowed)
			}
			if !d.Due {
				did["waits"] += min(len(d.Waits), 1)
				continue
			}
			before := w.view.Newest.Record.Voters()
			w.make(t, d.Plan)
			r := w.view.Newest.Record
			if n := len(r.Voters()); n < min(len(before), r.Settings.Wanted) || !r.Settings.Autopilot {
				t.Fatalf("seed %d, step %d: %s: the voters %v become %v, and %d are wanted", seed, step, d.Action, before, r.Voters(), r.Settings.Wanted)
			}
			did[d.Action.Kind]++
		}
	}
	t.Logf("it did %v", did)
	for _, kind := range append([]string{"waits"}, Actions...) {
		if did[kind] == 0 {
			t.Errorf("no world in which it does %s", kind)
		}
	}
}

// Goal: what it waits for is said, and in the same words for as long as the reason stands,
// so that the log has one line of it. Method: one situation after the other.
func TestTheAutopilotSaysWhyItWaits(t *testing.T) {
	v := newView("n1", "n2", "n3")
	v.Newest.Record.Settings.Autopilot = true
	var pilot Autopilot
	now := time.Unix(1, 0)
	pass := func(long time.Duration) string {
		for end := now.Add(long); now.Before(end); now = now.Add(maxLookGap) {
			pilot.Observe(now, &v)
		}
		d := pilot.Next(&v)
		if d.Due {
			return d.Action.String()
		}
		return d.Waits
	}
	dead, spare := v.dead("n3"), v.learner("n4").dead("n3")
	for _, step := range []struct {
		view View
		pass time.Duration
		want string
	}{
		{v, time.Hour, ""},
		{dead, time.Minute, "n3 is silent, and has to be for 10m0s"},
		{dead, 8 * time.Minute, "n3 is silent, and has to be for 10m0s"},
		{dead, 2 * time.Minute, "there is no spare that is ready"},
		{spare.with(func(_ *members.Record, n map[members.ID]Node) {
			n["n2"] = Node{Answers: true, Why: "lags", Shown: n["n2"].Shown}
		}), time.Second, "the voter n2 is not healthy either"},
		{spare.with(func(_ *members.Record, n map[members.ID]Node) { n["n4"] = healthyNode("v2") }), time.Second, "the members run different programs: [v1 v2]"},
		{spare, time.Second, "autopilot: n4 votes in the place of n3"},
		{dead, 24 * time.Hour, "there is no spare that is ready"},
		{dead.with(func(r *members.Record, _ map[members.ID]Node) { r.Settings.Wanted = 1 }), time.Second, "autopilot: the voter n3 is removed"},
	} {
		v = step.view
		v.Newest.Record.Settings.Autopilot = true
		if got := pass(step.pass); !strings.Contains(got, step.want) || step.want == "" && got != "" {
			t.Errorf("it says %q, and not %q", got, step.want)
		}
	}
	v.Term++
	if pass(time.Second); pilot.Next(&v).Due || pass(9*time.Minute) == "" || pilot.Next(&v).Due {
		t.Error("a leader that was just elected acts")
	}
}

// Goal: M21, in a leader: off, it does nothing, and on, it replaces a dead voter with one
// change and says so; the directory that is gone stands in the record; only the leader acts.
// Method: a cluster with a spare, a voter that falls silent, virtual time.
func TestTheLeaderReplacesADeadVoterIfItMay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		f.add(t, "n4", 3)
		if _, err := d.Change(t.Context(), Ask{ID: "spare", Add: []Addition{newcomer("n4")}}); err != nil {
			t.Fatal(err)
		}
		f.set(func() { f.silent["n3"] = true })
		time.Sleep(11 * time.Minute)
		if got := joinIDs(f.record().Voters()); got != "n1, n2, n3" || d.Autopilot().On || d.Autopilot().SilentSeconds["n3"] < 600 {
			t.Fatalf("off: the voters are %s; %+v", got, d.Autopilot())
		}
		f.edit(func(r *members.Record) { r.Member("n3").Incarnation = members.Incarnation{} }) // as before it is pinned
		on := func(s *members.Settings) { s.Autopilot = true }
		if _, err := d.Change(t.Context(), Ask{ID: "on", Settings: on}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a := d.Autopilot()
		if got := joinIDs(f.record().Voters()); got != "n1, n2, n4" || !a.On || a.Actions[ActionReplace] != 1 || !strings.Contains(a.Last, "n4 votes in the place of n3") {
			t.Fatalf("on: the voters are %s; %+v", got, a)
		}
		if !f.record().IsRemoved("n3", incarnationOf("n3")) {
			t.Errorf("the directory of n3 may come back: %+v", f.record().Removed)
		}
		if n := len(f.nodes["n2"].driver.Autopilot().Actions); n != 0 {
			t.Error("a follower acts")
		}
	})
}
