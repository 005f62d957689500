package membership

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// waiting starts a cluster of n1, n2 and n3 with a learner n4 that is to take the place of n3,
// which was lost, and has not caught up.
func waiting(t *testing.T) *fakeLog {
	t.Helper()
	f := newFakeLog(t, true, "n1", "n2", "n3")
	f.add(t, "n4", 3)
	f.set(func() { f.silent["n3"], f.behind["n4"] = true, true })
	time.Sleep(5 * time.Second)
	add := newcomer("n4")
	add.Replaces = "n3"
	if _, err := f.nodes["n1"].driver.Change(t.Context(), Ask{ID: "add n4", Add: []Addition{add}}); err != nil {
		t.Fatal(err)
	}
	return f
}

// Goal: a learner that waits for the place of a lost voter does not get it when the voter has
// come back and is silent for a moment, and stops waiting once it has been healthy for a minute:
// a restart a week later does not cost the voter its place. Method: n3 comes back before n4 has
// caught up, is silent for five seconds, is well for more than a minute, and is silent for an
// hour.
func TestAVoterThatCameBackKeepsItsPlace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := waiting(t)
		defer f.close()
		quiet := func(is bool, long time.Duration) { f.set(func() { f.silent["n3"] = is }); time.Sleep(long) }
		votes := func(when string) {
			t.Helper()
			if got := joinIDs(f.record().Voters()); got != "n1, n2, n3" {
				t.Fatalf("%s the voters are %s", when, got)
			}
		}
		quiet(false, time.Second)
		f.set(func() { f.behind["n4"] = false })
		time.Sleep(20 * time.Second)
		quiet(true, 5*time.Second)
		votes("after n3 was silent for five seconds")
		quiet(false, 70*time.Second)
		if m := f.record().Member("n4"); m.Replaces != members.None {
			t.Errorf("n4 still waits for the place of %s, which is well", m.Replaces)
		}
		quiet(true, time.Hour)
		votes("after n3 was well, and then silent for an hour,")
	})
}

// Goal: a learner that waits for the place of a lost voter gets it when it has caught up.
// Method: n3 stays silent.
func TestALearnerTakesThePlaceOfALostVoter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := waiting(t)
		defer f.close()
		f.set(func() { f.behind["n4"] = false })
		time.Sleep(20 * time.Second)
		if got := joinIDs(f.record().Voters()); got != "n1, n2, n4" {
			t.Errorf("the voters are %s", got)
		}
	})
}

// Goal: a new leader gives no place away before it has seen the voter silent for a while
// itself. Method: n2 is elected while n3 is silent, and is asked at once and later.
func TestANewLeaderDoesNotTakeAVoterForLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := waiting(t)
		defer f.close()
		f.set(func() { f.behind["n4"] = false })
		f.edit(func(r *members.Record) { r.Member("n4").Promote = false })
		time.Sleep(20 * time.Second)
		f.lead("n2")
		ask := Ask{ID: "c", Replace: []Replacement{{Old: "n3", New: "n4"}}}
		// What is asked is only whether n3 may go: n4 is to be ready meanwhile.
		time.Sleep(time.Second)
		if _, err := f.nodes["n2"].driver.Plan(ask); failure.KindOf(err).Err != failure.StillAlive {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(20 * time.Second)
		if _, err := f.nodes["n2"].driver.Change(t.Context(), ask); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})
}

// Goal: nobody waits for the place of a voter that was removed: its name may come back as
// another directory. Method: n3 is removed while n4 waits for its place.
func TestNobodyWaitsForThePlaceOfAMemberThatIsGone(t *testing.T) {
	v := newView("n1", "n2", "n3").learner("n4").dead("n3").with(func(r *members.Record, _ map[members.ID]Node) { r.Member("n4").Replaces = "n3" })
	p, err := Decide(v, Ask{ID: "c", Remove: []members.ID{"n3"}})
	if err != nil {
		t.Fatal(err)
	}
	if m := p.Wanted.Member("n4"); m.Replaces != members.None {
		t.Errorf("n4 waits for the place of %s", m.Replaces)
	}
}

// Goal: a server that may not join costs nobody a vote: whether there is room for it, and
// whether its addresses, levels and directory are acceptable, is asked before the old directory
// is removed. Learners that are dead take no room (they would bar every join). Method: two
// learners that catch up, and a voter that comes back; then they die, and it comes back with the
// address of another member, at a lower level, from a removed directory, and as it should.
func TestThereIsRoomBeforeAVoteGoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		d := f.nodes["n1"].driver
		for _, id := range []members.ID{"n4", "n5"} {
			f.set(func() { f.behind[id] = true })
			if _, err := d.Change(t.Context(), Ask{ID: "add " + string(id), Add: []Addition{newcomer(id)}}); err != nil {
				t.Fatal(err)
			}
		}
		f.set(func() { f.silent["n3"] = true })
		time.Sleep(4 * time.Second)
		b, fresh := joinBody("n3", ""), members.Incarnation{3, 3}
		b.Incarnation, b.Replaces = hex.EncodeToString(fresh[:]), "n3"
		f.listen("n3", fresh)
		if _, err := d.Join(t.Context(), b); failure.KindOf(err).Code != api.CodeChangeInProgress || !strings.Contains(failure.Detail(err), "(n4, n5)") {
			t.Errorf("while two catch up: %v", err)
		}
		if got := joinIDs(f.record().Voters()); got != "n1, n2, n3" {
			t.Errorf("the voters are %s: a vote went for nothing", got)
		}
		f.set(func() { f.silent["n4"], f.silent["n5"] = true, true })
		f.edit(func(r *members.Record) {
			r.Member("n2").HTTP = "n2:2"
			r.Removed = append(r.Removed, members.Removed{ID: "n3", Incarnation: members.Incarnation{4}})
		})
		time.Sleep(time.Second)
		for code, change := range map[api.Code]func(*api.Join){
			api.CodeAddressTaken: func(b *api.Join) { b.HTTP = "n2:2" },
			api.CodeLevelTooLow:  func(b *api.Join) { b.LevelMin, b.LevelMax = 2, 2 },
			api.CodeIDTaken: func(b *api.Join) {
				removed := members.Incarnation{4}
				b.Incarnation = hex.EncodeToString(removed[:])
				f.listen("n3", removed)
			},
		} {
			wrong := b
			change(&wrong)
			if _, err := d.Join(t.Context(), wrong); failure.KindOf(err).Code != code {
				t.Errorf("a newcomer that is to be refused with %s: %v", code, err)
			}
			f.listen("n3", fresh)
			if got := joinIDs(f.record().Voters()); got != "n1, n2, n3" {
				t.Fatalf("the voters are %s: a vote went for a newcomer that was refused with %s", got, code)
			}
		}
		if _, err := d.Join(t.Context(), b); err != nil {
			t.Errorf("when they are dead: %v", err)
		}
	})
}

// Goal: the record gives no address to two members, and says so once; members that exchange
// their addresses get them. Method: n2 names the client address of n1; then n2 and n3 name each
// other's, and n1, which is elsewhere now, names a new one beside them.
func TestAnAddressOfAnotherMemberIsNotWrittenDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		var said bytes.Buffer
		f.set(func() {
			f.nodes["n1"].driver.config.Logger = slog.New(slog.NewTextHandler(&said, nil))
		})
		f.edit(func(r *members.Record) {
			for i, id := range f.static {
				r.Member(id).Peer, r.Member(id).HTTP = string(id)+":1", "host:"+strconv.Itoa(i+1)
			}
		})
		names := func(id members.ID, http string) {
			f.set(func() {
				f.show(id, Shown{Levels: levels.Range{Min: 2, Max: 3}, Incarnation: incarnationOf(id), Peer: string(id) + ":1", HTTP: http})
			})
		}
		have := func(want string) {
			t.Helper()
			r := f.record()
			if got := r.Member("n1").HTTP + " " + r.Member("n2").HTTP + " " + r.Member("n3").HTTP; got != want {
				t.Errorf("the members have the addresses %s, not %s", got, want)
			}
		}
		names("n2", "host:1")
		time.Sleep(20 * time.Second)
		have("host:1 host:2 host:3")
		if n := strings.Count(said.String(), "another member has"); n != 1 || !strings.Contains(said.String(), "n1 has the addresses n1:1 and host:1") {
			t.Errorf("it was said %d times: %s", n, said.String())
		}
		names("n2", "host:3")
		names("n3", "host:2")
		names("n1", "host:4")
		time.Sleep(20 * time.Second)
		have("host:4 host:3 host:2")
	})
}
