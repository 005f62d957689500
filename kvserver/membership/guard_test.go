package membership

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// Goal: each refusal has its code and status, and its sentence says the arithmetic.
// Method: a table of situations and asks.
func TestEachRefusalSaysItsArithmetic(t *testing.T) {
	three, old := newView("n1", "n2", "n3"), levels.Range{Min: 2, Max: 2}
	newcomer := Addition{ID: "n4", Role: members.Learner, Peer: "n4:1", HTTP: "n4:2", Levels: levels.Range{Min: 2, Max: 3}, Incarnation: members.Incarnation{4}}
	with := func(change func(*Addition)) []Addition { a := newcomer; change(&a); return []Addition{a} }
	static := View{Self: "n1", Level: 3, Static: []Static{{ID: "n1"}}, Settled: true}
	unsettled := three
	unsettled.Settled = false
	for _, c := range []struct {
		name     string
		view     View
		ask      Ask
		status   int
		code     api.Code
		sentence string
	}{
		{"nothing", three, Ask{}, 400, api.CodeBadRequest, "names nodes to add|the change says nothing"},
		{"no id", three, Ask{ID: strings.Repeat("x", 129), Remove: []members.ID{"n1"}}, 400, api.CodeBadRequest, "has 129 bytes: give it 1 to 128"},
		{"twice", three, Ask{Remove: []members.ID{"n2"}, Demote: []members.ID{"n2"}}, 400, api.CodeBadRequest, `"n2" is named twice`},
		{"added as a voter", three, Ask{Add: with(func(a *Addition) { a.Role = members.Voter })}, 400, api.CodeBadRequest, "as a voter: add it as a learner"},
		{"an id without a byte", three, Ask{Remove: []members.ID{""}}, 400, api.CodeBadRequest, "has 0 bytes"},
		{"no record", static, Ask{Remove: []members.ID{"n1"}}, 501, api.CodeNotActive, "changes of the membership need level 3"},
		{"an old newcomer", three, Ask{Add: with(func(a *Addition) { a.Levels = old })}, 409, api.CodeLevelTooLow, "n4 works at levels 2 to 2, and the cluster at level 3"},
		{"an old learner", three.learner("n4").with(func(_ *members.Record, n map[members.ID]Node) {
			n["n4"] = Node{Ready: true, Shown: &Shown{Levels: old, Build: "v0"}}
		}), Ask{Promote: []members.ID{"n4"}}, 409, api.CodeLevelTooLow, "n4 (build v0) works at levels 2 to 2"},
		{"another version", three, Ask{Remove: []members.ID{"n9"}, IfMatch: at(9)}, 412, api.CodePreconditionFailed, "has version 10, not 9"},
		{"no such member", three, Ask{Remove: []members.ID{"n9"}, IfMatch: at(10)}, 404, api.CodeNotFound, `"n9" is no member of the cluster; its members are n1, n2, n3`},
		{"its id is taken", three, Ask{Add: with(func(a *Addition) { a.ID = "n2" })}, 409, api.CodeIDTaken, "n2 is a voter of the cluster"},
		{"its address is taken", three, Ask{Add: with(func(a *Addition) { a.Peer = "n3:1" })}, 409, api.CodeAddressTaken, "n3 has the addresses n3:1 and n3:2"},
		{"its directory was removed", three.with(func(r *members.Record, _ map[members.ID]Node) {
			r.Removed = []members.Removed{{ID: "n4", Incarnation: members.Incarnation{4}, Index: 5}}
		}), Ask{Add: with(func(*Addition) {})}, 409, api.CodeIDTaken, "was removed and is never a member again"},
		{"a place that is none", three, Ask{Add: with(func(a *Addition) { a.Replaces = "n8" })}, 400, api.CodeBadRequest, `"n8", which is no voter`},
		{"a place that is not free", three, Ask{Add: with(func(a *Addition) { a.Replaces = "n2" })}, 412, api.CodePreconditionFailed, "n2 answers, and replacing is for a node that is lost"},
		{"votes already", three, Ask{Promote: []members.ID{"n2"}}, 400, api.CodeBadRequest, "n2 votes already"},
		{"has no vote", three.learner("n4"), Ask{Demote: []members.ID{"n4"}}, 400, api.CodeBadRequest, "n4 is a learner and has no vote to lose"},
		{"replaced alive", three.learner("n4"), Ask{Replace: []Replacement{{"n3", "n4"}}}, 412, api.CodePreconditionFailed, "n3 answers"},
		{"replaced by a voter", three.dead("n3"), Ask{Replace: []Replacement{{"n3", "n2"}}}, 400, api.CodeBadRequest, "n2 votes already"},
		{"a change has not ended", unsettled, Ask{Remove: []members.ID{"n3"}}, 409, api.CodeChangeInProgress, "the change of entry 10 has not ended"},
		{"three catch up", three.with(func(r *members.Record, nodes map[members.ID]Node) {
			for _, id := range []members.ID{"n5", "n6"} {
				r.Put(members.Member{ID: id, Role: members.Learner, Promote: true})
				nodes[id] = Node{Answers: true, Behind: "is at 5 of 100"}
			}
		}), Ask{Add: with(func(*Addition) {})}, 409, api.CodeChangeInProgress, "2 learners are catching up (n5, n6) and 1 more are to be added: 2 do so"},
		{"a place that is to be free although its voter lives", three, Ask{EvenIfAlive: true, Add: with(func(a *Addition) { a.Replaces = "n2" })}, 400, api.CodeBadRequest, "raftkv member replace n2 --with n4 --even-if-alive"},
		{"not caught up", three.learner("n4").with(func(_ *members.Record, n map[members.ID]Node) {
			n["n4"] = Node{Healthy: true, Answers: true, Behind: "has entry 5 of 100", Shown: n["n4"].Shown}
		}), Ask{Promote: []members.ID{"n4"}}, 409, api.CodeNotCaughtUp, "n4 has not caught up: it has entry 5 of 100"},
		{"not met", three.learner("n4").with(func(_ *members.Record, n map[members.ID]Node) { delete(n, "n4") }),
			Ask{Promote: []members.ID{"n4"}}, 409, api.CodeNotCaughtUp, "n4 has not caught up: it has not been heard"},
		{"the rest would hang", three.dead("n3"), Ask{Remove: []members.ID{"n2"}}, 409, api.CodeWouldLoseQuorum,
			"of the 2 new voters (n1, n3) 1 are healthy and 2 are needed: n3 has not answered for 3s"},
		{"the present half hangs", three.dead("n2", "n3").learner("n4").learner("n5"), Ask{Promote: []members.ID{"n4", "n5"}}, 409, api.CodeWouldLoseQuorum,
			"of the 3 present voters (n1, n2, n3) 1 are healthy and 2 are needed"},
		{"nobody votes", newView("n1"), Ask{Remove: []members.ID{"n1"}}, 409, api.CodeTooFew, "no voter would be left of n1"},
		{"a level that a member lacks", three.dead("n3").with(func(r *members.Record, n map[members.ID]Node) {
			r.Level = 2
			n["n2"] = Node{Shown: &Shown{Levels: old, Build: "v0"}}
			n["n3"] = Node{}
		}), Ask{Level: 3}, 409, api.CodeLevelTooLow, "not every member knows level 3: n2 (build v0) works at levels 2 to 2; n3 has not been heard"},
		{"a level that it has", three, Ask{Level: 3}, 400, api.CodeBadRequest, "works at level 3, which never falls"},
		{"the autopilot is to act on a restart", three, Ask{Settings: func(s *members.Settings) { s.ReplaceAfter = 9999 }}, 400, api.CodeBadRequest, "silent for 9999 ms (replace_after_ms): choose 10000"},
		{"the autopilot is to remove on a restart", three, Ask{Settings: func(s *members.Settings) { s.DeadAfter = 599999 }}, 400, api.CodeBadRequest, "(dead_after_ms): choose 600000"},
		{"an even number is wanted", three, Ask{Settings: func(s *members.Settings) { s.Wanted = 4 }}, 400, api.CodeBadRequest, "choose an odd number from 1 to 9"},
	} {
		if c.ask.ID == "" {
			c.ask.ID = "c1"
		}
		_, err := Decide(c.view, c.ask)
		kind := failure.KindOf(err)
		sentences := strings.Split(c.sentence, "|")
		if err == nil || kind.Status != c.status || kind.Code != c.code || kind.Outcome != api.OutcomeNotApplied || !strings.Contains(failure.Detail(err), sentences[len(sentences)-1]) {
			t.Errorf("%s: %d %s: %v; want %d %s: %s", c.name, kind.Status, kind.Code, err, c.status, c.code, c.sentence)
		}
	}
}

// Goal: the guards are asked in their order, so that the first thing to mend is said
// first. Method: an ask that fails at all of them, mended one after the other.
func TestTheGuardsHaveAnOrder(t *testing.T) {
	v := newView("n1", "n2", "n3").dead("n2", "n3").learner("n4")
	lagging, old := v.Nodes["n4"], &Shown{Levels: levels.Range{Min: 2, Max: 2}}
	lagging.Ready, lagging.Behind, lagging.Shown = false, "lags", old
	v.Nodes["n4"], v.Settled = lagging, false
	ask := Ask{ID: "c", Promote: []members.ID{"n4"}, Remove: []members.ID{"n2", "n3"}, IfMatch: at(1)}
	for _, step := range []struct {
		want api.Code
		mend func()
	}{
		{api.CodeLevelTooLow, func() { n := v.Nodes["n4"]; n.Shown = v.Nodes["n1"].Shown; v.Nodes["n4"] = n }},
		{api.CodePreconditionFailed, func() { ask.IfMatch = nil }},
		{api.CodeChangeInProgress, func() { v.Settled = true }},
		{api.CodeNotCaughtUp, func() { n := v.Nodes["n4"]; n.Ready = true; v.Nodes["n4"] = n }},
		{api.CodeWouldLoseQuorum, func() { v.Nodes["n2"] = healthyNode("v1") }},
	} {
		_, err := Decide(v, ask)
		if code := failure.KindOf(err).Code; err == nil || code != step.want {
			t.Errorf("refused with %v (%s), want %s", err, code, step.want)
		}
		step.mend()
	}
	if _, err := Decide(v, ask); err != nil {
		t.Errorf("mended, it is refused: %v", err)
	}
}

// Goal: M9 and M10: no accepted change leaves fewer healthy voters than a majority of
// either half, and while a majority of either half is healthy, every other voter can be
// removed. Method: all clusters of up to five voters, all sets of dead ones among them,
// all sets of voters to remove.
func TestTheGuardCountsHealthyVotersOfBothHalves(t *testing.T) {
	accepted, refused := 0, 0
	for n := 1; n <= 5; n++ {
		var all []members.ID
		for i := range n {
			all = append(all, members.ID(fmt.Sprintf("n%d", i+1)))
		}
		subset := func(mask int) (ids []members.ID) {
			for i, id := range all {
				if mask&(1<<i) != 0 {
					ids = append(ids, id)
				}
			}
			return ids
		}
		for dead := 0; dead < 1<<n; dead += 2 { // n1 leads, and lives
			v := newView(all...).dead(subset(dead)...)
			for gone := 1; gone < 1<<n-1; gone++ {
				_, err := Decide(v, Ask{ID: "c", Remove: subset(gone)})
				left, alive, aliveLeft := 0, 0, 0
				for i := range n {
					if dead&(1<<i) == 0 {
						alive++
					}
					if gone&(1<<i) == 0 {
						left++
						if dead&(1<<i) == 0 {
							aliveLeft++
						}
					}
				}
				want := alive > n/2 && aliveLeft > left/2
				if (err == nil) != want {
					t.Errorf("%d voters, %v dead, %v removed: %v", n, subset(dead), subset(gone), err)
				}
				if err == nil {
					accepted++
				} else {
					refused++
				}
			}
		}
	}
	if accepted < 100 || refused < 100 {
		t.Errorf("%d accepted, %d refused: the test looks at too little", accepted, refused)
	}
}

// Goal: a plan says both halves, the tolerance before, during and after, what to think of,
// and the leader of then. Method: typical changes.
func TestAPlanSaysWhatItWillBeLike(t *testing.T) {
	for _, c := range []struct {
		name                  string
		view                  View
		ask                   Ask
		after                 string
		before, during, later int
		warnings              []string
		handOver              members.ID
	}{
		{"a voter goes", newView("n1", "n2", "n3"), Ask{Remove: []members.ID{"n3"}}, "n1, n2", 1, 0, 0,
			[]string{"2 voters tolerate no more failures than 1", "no voter may fail afterwards: 2 of 2"}, ""},
		{"the leader goes", newView("n1", "n2", "n3", "n4"), Ask{Remove: []members.ID{"n1"}}, "n2, n3, n4", 1, 1, 1, nil, "n2"},
		{"the leader goes and n2 is dead", newView("n1", "n2", "n3", "n4").dead("n2"), Ask{Remove: []members.ID{"n1"}}, "n2, n3, n4", 0, 0, 0,
			[]string{"no voter may fail afterwards: 2 of 3"}, "n3"},
		{"a pair comes", newView("n1").learner("n2").learner("n3"), Ask{Promote: []members.ID{"n2", "n3"}}, "n1, n2, n3", 0, 0, 1, nil, ""},
		{"a dead one is replaced", newView("n1", "n2", "n3").dead("n3").learner("n4"), Ask{Replace: []Replacement{{"n3", "n4"}}}, "n1, n2, n4", 0, 0, 1, nil, ""},
		{"a learner goes", newView("n1", "n2", "n3").learner("n4"), Ask{Remove: []members.ID{"n4"}}, "n1, n2, n3", 1, 1, 1, nil, ""},
	} {
		c.ask.ID = "c"
		p, err := Decide(c.view, c.ask)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if joinIDs(p.After.Voters) != c.after || p.Before.Tolerance() != c.before || p.ToleranceDuring() != c.during || p.After.Tolerance() != c.later ||
			p.HandOver != c.handOver || p.Leaves != (c.handOver != "") || p.From != 10 || len(p.Warnings) != len(c.warnings) {
			t.Errorf("%s: %+v", c.name, p)
			continue
		}
		for i, words := range c.warnings {
			if !strings.Contains(p.Warnings[i], words) {
				t.Errorf("%s: warned of %q, want %q", c.name, p.Warnings[i], words)
			}
		}
		if change, taken := p.Wanted.ChangeOf("c"); !taken || change.Index != 0 {
			t.Errorf("%s: the record does not name the change", c.name)
		}
	}
}

// Goal: a directory that the record never named is named before its member is removed,
// so that it can be told apart for ever. Method: members with and without a directory.
func TestADirectoryIsPinnedBeforeItIsRemoved(t *testing.T) {
	v := newView("n1", "n2", "n3").with(func(r *members.Record, nodes map[members.ID]Node) {
		for _, id := range []members.ID{"n2", "n3"} {
			n := nodes[id]
			n.Shown = &Shown{Levels: n.Shown.Levels, Incarnation: members.Incarnation{9}}
			nodes[id] = n
		}
		r.Member("n3").Incarnation = members.Incarnation{9}
	})
	for gone, want := range map[members.ID]int{"n2": 1, "n3": 0} {
		p, err := Decide(v, Ask{ID: "c", Remove: []members.ID{gone}})
		if err != nil || len(p.Pin) != want {
			t.Errorf("%s is removed after pinning %v (%v)", gone, p.Pin, err)
		}
	}
}

// Goal: learners are promoted to an odd number of voters up to the wanted one, when they
// are ready, and the one that takes a place only when its holder is silent. Method: a
// table of clusters.
func TestPromotionMakesOddNumbers(t *testing.T) {
	lagging := func(v View, ids ...members.ID) View {
		return v.with(func(_ *members.Record, nodes map[members.ID]Node) {
			for _, id := range ids {
				n := nodes[id]
				n.Ready, n.Behind = false, "has not kept up for 10s"
				nodes[id] = n
			}
		})
	}
	off := func(v View) View {
		return v.with(func(r *members.Record, _ map[members.ID]Node) { r.Settings.Promotion = false })
	}
	held := func(v View, id members.ID) View {
		return v.with(func(r *members.Record, _ map[members.ID]Node) { r.Member(id).Promote = false })
	}
	replacing := func(v View) View {
		return v.learner("n4").with(func(r *members.Record, _ map[members.ID]Node) { r.Member("n4").Replaces = "n3" })
	}
	for _, c := range []struct {
		name    string
		view    View
		promote string
		why     string
	}{
		{"one beside one", newView("n1").learner("n2"), "", "waiting_for_pair"},
		{"a pair", newView("n1").learner("n2").learner("n3"), "n2, n3", ""},
		{"a pair, one of which lags", lagging(newView("n1").learner("n2").learner("n3"), "n3"), "", "waiting_for_pair"},
		{"three of which two are wanted", newView("n1").learner("n2").learner("n3").learner("n4"), "n2, n3", ""},
		{"the third", newView("n1", "n2").learner("n3"), "n3", ""},
		{"a spare", newView("n1", "n2", "n3").learner("n4"), "", "spare: n4 would be a voter more than the 3 that are wanted"},
		{"one that is not to be", held(newView("n1", "n2").learner("n3"), "n3"), "", ""},
		{"switched off", off(newView("n1", "n2").learner("n3")), "", ""},
		{"one that lags", lagging(newView("n1", "n2").learner("n3"), "n3"), "", "waits for n3, which has not kept up"},
		{"a place whose holder answers", replacing(newView("n1", "n2", "n3")), "", "take the place of n3, which has answered"},
		{"a place whose holder is silent", replacing(newView("n1", "n2", "n3").dead("n3")), "n3 by n4", ""},
	} {
		ask, due, why := c.view.Promotion()
		got := joinIDs(ask.Promote)
		for _, r := range ask.Replace {
			got = string(r.Old + " by " + r.New)
		}
		if got != c.promote || due != (c.promote != "") || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q is due (%v), %q; want %q, %q", c.name, got, due, why, c.promote, c.why)
		}
		if ask.ID = "auto"; due {
			if _, err := Decide(c.view, ask); err != nil {
				t.Errorf("%s: the guards refuse it: %v", c.name, err)
			}
		}
	}
}

// Goal: the level rises when every member, connected or not, has shown in its newest boot
// that it knows the next one, and nobody holds it; the member that holds it back is named. Method: a
// cluster without a record and one with, with each obstacle.
func TestTheLevelRisesWhenEveryMemberKnowsTheNext(t *testing.T) {
	static := View{Self: "n1", Level: 3, Static: []Static{{ID: "n1", Peer: "a:1"}, {ID: "n2"}}, Settled: true, UID: members.UID{7},
		Nodes: map[members.ID]Node{"n1": healthyNode("v1"), "n2": healthyNode("v1")}}
	record := newView("n1", "n2").with(func(r *members.Record, _ map[members.ID]Node) { r.Level = 2 })
	change := func(v View, f func(*View)) View {
		v.Nodes = map[members.ID]Node{"n1": v.Nodes["n1"], "n2": v.Nodes["n2"]}
		f(&v)
		return v
	}
	for name, v := range map[string]View{"static": static, "record": record} {
		for _, c := range []struct {
			name string
			view View
			to   uint32
			held string
		}{
			{"all know it", v, 3, ""},
			{"a silent one has shown it", change(v, func(v *View) { v.Nodes["n2"] = Node{Shown: v.Nodes["n2"].Shown} }), 3, ""},
			{"one was never heard", change(v, func(v *View) { v.Nodes["n2"] = Node{} }), 0, "n2 has not been heard"},
			{"one went back", change(v, func(v *View) { v.Nodes["n2"] = Node{Shown: &Shown{Levels: levels.Range{Min: 2, Max: 2}, Build: "v0"}} }), 0, "n2 (build v0) works at levels 2 to 2"},
			{"this program is not released so far", change(v, func(v *View) { v.Level = 2 }), 0, ""},
			{"a change has not ended", change(v, func(v *View) { v.Settled = false }), 0, ""},
			{"no uid yet", change(v, func(v *View) { v.UID = members.UID{} }), 0, ""},
		} {
			to, held := c.view.Raise()
			if to != c.to || !strings.Contains(describeHolders(held), c.held) || c.held == "" && len(held) > 0 {
				t.Errorf("%s, %s: raised to %d, held by %v", name, c.name, to, held)
			}
		}
	}
	hold := record.with(func(r *members.Record, _ map[members.ID]Node) { r.Settings.Hold = true })
	if to, _ := hold.Raise(); to != 0 {
		t.Errorf("held, it is raised to %d", to)
	}
	here := change(static, func(v *View) { v.Holds = true })
	if to, held := here.Raise(); to != 0 || !strings.Contains(describeHolders(held), "n1 was told to hold the level") {
		t.Errorf("held by this node, it is raised to %d, held by %v", to, held)
	}
	first := static.First(3)
	if err := first.Valid(); err != nil || first.Level != 3 || first.Member("n1").Peer != "a:1" || !slices.Equal(first.Voters(), []members.ID{"n1", "n2"}) {
		t.Errorf("the first record is %+v (%v)", first, err)
	}
}

// Goal: a token lets those join for whom it was made, as often and as long as it says,
// and a refusal says nothing of the tokens there are. Method: a token and everything that
// is wrong with it.
func TestATokenIsGoodForWhatItSays(t *testing.T) {
	text, kept := NewToken(members.JoinToken{ID: "t1", Role: members.Learner, For: "n4", Uses: 2, Expiry: 1000}, "secret")
	r := newView("n1").Newest.Record
	r.Tokens = putToken(nil, kept, 10)
	if got, err := CheckToken(r, text, "n4", 1000); err != nil || got.ID != "t1" {
		t.Fatalf("%+v, %v", got, err)
	}
	sentence := ""
	for name, c := range map[string]struct {
		text string
		id   members.ID
		now  uint64
	}{
		"another secret": {"t1.Secret", "n4", 10}, "no secret": {"t1", "n4", 10}, "no such token": {"t2.secret", "n4", 10},
		"nothing": {"", "n4", 10}, "too late": {text, "n4", 1001}, "another node": {text, "n5", 10},
	} {
		_, err := CheckToken(r, c.text, c.id, c.now)
		if failure.KindOf(err).Code != api.CodeJoinRefused || failure.KindOf(err).Status != 403 {
			t.Errorf("%s: %v", name, err)
		}
		if c.id == "n4" && sentence != "" && err.Error() != sentence {
			t.Errorf("%s is told apart: %v", name, err)
		}
		if c.id == "n4" {
			sentence = err.Error()
		}
	}
	if left := spend(spend(r.Tokens, "t1"), "t1"); len(left) != 0 || r.Tokens[0].Uses != 2 {
		t.Errorf("after two uses there are %v, and the record has %v", left, r.Tokens)
	}
	if again := putToken(r.Tokens, members.JoinToken{ID: "a", Uses: 1, Expiry: 5000}, 2000); len(again) != 1 || again[0].ID != "a" {
		t.Errorf("expired tokens are kept: %v", again)
	}
}

// Goal: joining by a token uses it up and adds the learner in one record. Method: a plan.
func TestJoiningSpendsTheToken(t *testing.T) {
	_, kept := NewToken(members.JoinToken{ID: "t1", Role: members.Learner, Uses: 1, Expiry: 1000}, "s")
	v := newView("n1").with(func(r *members.Record, _ map[members.ID]Node) { r.Tokens = putToken(nil, kept, 0) })
	p, err := Decide(v, Ask{ID: "j", Add: []Addition{{ID: "n4", Role: members.Learner, Promote: true, Levels: levels.Range{Min: 2, Max: 3}, Token: "t1"}}})
	if err != nil || len(p.Wanted.Tokens) != 0 || p.Wanted.Member("n4") == nil || !p.Wanted.Member("n4").Promote || p.Joint {
		t.Errorf("%+v, %v", p, err)
	}
}

// Goal: a change that a client has made conditional on a version is made although the
// leader's own upkeep has changed the record since, and refused after every other change.
// Method: records with changes of both kinds behind the version.
func TestUpkeepIsNoChangeThatAClientAsksAbout(t *testing.T) {
	with := func(changes ...members.Change) View {
		v := newView("n1", "n2", "n3").with(func(r *members.Record, _ map[members.ID]Node) { r.Changes = changes })
		v.Newest.Index = 20
		return v
	}
	for _, c := range []struct {
		name    string
		view    View
		version uint64
		taken   bool
	}{
		{"the newest", with(members.Change{ID: "a", Index: 20}), 20, true},
		{"upkeep since", with(members.Change{ID: "a", Index: 15}, members.Change{ID: Upkeep + "pin-1-15", Index: 20}), 15, true},
		{"upkeep twice", with(members.Change{ID: "a", Index: 10}, members.Change{ID: Upkeep + "x", Index: 15}, members.Change{ID: Upkeep + "y", Index: 20}), 10, true},
		{"another change since", with(members.Change{ID: "a", Index: 15}, members.Change{ID: "b", Index: 20}), 15, false},
		{"another change and upkeep", with(members.Change{ID: "a", Index: 10}, members.Change{ID: "b", Index: 15}, members.Change{ID: Upkeep + "y", Index: 20}), 10, false},
		{"a final entry since", with(members.Change{ID: "a", Index: 19}), 19, false},
		{"a version to come", with(members.Change{ID: Upkeep + "y", Index: 20}), 21, false},
		{"the first record", with(members.Change{ID: Upkeep + "y", Index: 20}), 2, true},
		{"longer ago than is known", with(slices.Repeat([]members.Change{{ID: Upkeep + "y", Index: 20}}, members.MaxChanges)...), 10, false},
	} {
		_, err := Decide(c.view, Ask{ID: "c", Remove: []members.ID{"n3"}, IfMatch: &c.version})
		if (err == nil) != c.taken {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Goal: nobody takes the id of a change that a node makes itself, which would then count as
// made: a token would not be dropped. Ids as clients choose them are theirs.
// Method: the ids of all such changes, and ids of clients that begin alike.
func TestIDsOfChangesThatNodesMakeAreTheirs(t *testing.T) {
	join := changeOf(api.Join{ID: "n4", Token: "secret"})
	for _, id := range []string{join, join + leaveSuffix, join + voterSuffix, "token-" + ThisProcess.tokenID(), "token-" + Nobody.tokenID() + "-drop", Upkeep + "pin"} {
		if !IsOwnID(id) {
			t.Errorf("a client may take the id %q", id)
		}
	}
	for _, id := range []string{"join-n4", "grow", "tokens", "7c3f", join + "0", "my-" + join} {
		if IsOwnID(id) {
			t.Errorf("a client may not choose the id %q", id)
		}
	}
}
