package members

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// roles lists the members, each with its role: "n1 voter, n2 learner<-voter".
func roles(r *Record) string {
	text := ""
	for i := range r.Members {
		m := &r.Members[i]
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %v", m.ID, m.Role)
		if m.WasVoter != (m.Role == Voter) {
			text += map[bool]string{true: "<-voter", false: "<-other"}[m.WasVoter]
		}
	}
	return text
}

// Goal: §6: other voters take a joint edition and a final one, the same voters one
// edition; one that leaves stays in the joint one and is removed by the final one.
// Method: one change after the other, with what the log gets of each.
func TestNext_MakesAJointEditionWhereVotersDiffer(t *testing.T) {
	for _, c := range []struct {
		name         string
		change       func(*Record)
		joint, final string // final "" where one edition suffices
		removed      []ID
	}{
		{"nothing", func(*Record) {}, "n1 voter, n2 voter, n3 voter", "", nil},
		{"an address", func(r *Record) { r.Member("n1").Peer = "h:1" }, "n1 voter, n2 voter, n3 voter", "", nil},
		{"a learner joins", func(r *Record) { r.Put(Member{ID: "n4", Role: Learner}) }, "n1 voter, n2 voter, n3 voter, n4 learner", "", nil},
		{"a voter more", func(r *Record) { r.Put(Member{ID: "n4", Role: Voter}) },
			"n1 voter, n2 voter, n3 voter, n4 voter<-other", "n1 voter, n2 voter, n3 voter, n4 voter", nil},
		{"a voter goes", func(r *Record) { r.Delete("n2") },
			"n1 voter, n2 leaving<-voter, n3 voter", "n1 voter, n3 voter", []ID{"n2"}},
		{"a voter is demoted", func(r *Record) { r.Member("n3").Role = Learner },
			"n1 voter, n2 voter, n3 learner<-voter", "n1 voter, n2 voter, n3 learner", nil},
		{"all others", func(r *Record) { r.Members = []Member{{ID: "n4", Role: Voter}, {ID: "n5", Role: Voter}} },
			"n1 leaving<-voter, n2 leaving<-voter, n3 leaving<-voter, n4 voter<-other, n5 voter<-other", "n4 voter, n5 voter", []ID{"n1", "n2", "n3"}},
	} {
		now := three()
		wanted := now.Clone()
		c.change(&wanted)
		next, err := Next(now.Configuration(), now, wanted)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		next.Stamp(20)
		if got := roles(&next); got != c.joint || next.Joint() != (c.final != "") || next.Follows(now) != nil {
			t.Errorf("%s: %s, joint %v, %v; want %s", c.name, got, next.Joint(), next.Follows(now), c.joint)
		}
		if c.final == "" {
			continue
		}
		final := next.Final()
		final.Stamp(21)
		if err := final.Valid(); err != nil || roles(&final) != c.final || final.Joint() || final.Follows(&next) != nil {
			t.Errorf("%s: in the end %s (%v), want %s", c.name, roles(&final), err, c.final)
		}
		var gone []ID
		for _, r := range final.Removed {
			gone = append(gone, r.ID)
			if r.Index != 21 || r.Added != 2 {
				t.Errorf("%s: removed as %+v", c.name, r)
			}
		}
		if !slices.Equal(gone, c.removed) {
			t.Errorf("%s: removed are %v, want %v", c.name, gone, c.removed)
		}
	}
}

// Goal: a member that does not vote goes with the first edition; one that votes anew no
// longer says whose place it takes; the index of an entry stands where it is meant.
// Method: a spare takes the place of a voter while a learner goes, at index 30 and 31.
func TestNext_ReplacesAVoterByASpare(t *testing.T) {
	now := three()
	now.Put(Member{ID: "n4", Role: Learner, Added: 9, Promote: true, Replaces: "n2"})
	now.Put(Member{ID: "n5", Role: Replica, Added: 10, Incarnation: Incarnation{5}})
	wanted := now.Clone()
	wanted.Member("n4").Role = Voter
	wanted.Delete("n2")
	wanted.Delete("n5")
	wanted.Put(Member{ID: "n6", Role: Learner})
	wanted.Changes = append(wanted.Changes, Change{ID: "c"})
	next, err := Next(now.Configuration(), now, wanted)
	if err != nil {
		t.Fatal(err)
	}
	next.Stamp(30)
	if got, want := roles(&next), "n1 voter, n2 leaving<-voter, n3 voter, n4 voter<-other, n6 learner"; got != want {
		t.Errorf("joint: %s, want %s", got, want)
	}
	if want := []Removed{{ID: "n5", Incarnation: Incarnation{5}, Added: 10, Index: 30}}; !reflect.DeepEqual(next.Removed, want) {
		t.Errorf("removed with the joint edition: %+v, want %+v", next.Removed, want)
	}
	final := next.Final()
	final.Stamp(31)
	if got, want := roles(&final), "n1 voter, n3 voter, n4 voter, n6 learner"; got != want {
		t.Errorf("final: %s, want %s", got, want)
	}
	if n4, n6 := final.Member("n4"), final.Member("n6"); n4.Replaces != None || n4.Added != 9 || n6.Added != 30 {
		t.Errorf("n4 is %+v, n6 is %+v", n4, n6)
	}
	if change, ok := final.ChangeOf("c"); !ok || change.Index != 30 {
		t.Errorf("the change stands at %+v", change)
	}
	if n := len(final.Removed); n != 2 || final.Removed[1].ID != "n2" || final.Removed[1].Index != 31 {
		t.Errorf("removed: %+v", final.Removed)
	}
}

// Goal: a static list becomes a record, with or without other voters.
// Method: the same servers; then one of them goes with the very first record.
func TestNext_FromAStaticList(t *testing.T) {
	static := Static([]ID{"n1", "n2", "n3"})
	first := First(UID{7}, 3, []ID{"n1", "n2", "n3"})
	next, err := Next(static, nil, first)
	if err != nil || next.Joint() || !slices.Equal(next.Configuration().Voters(), static.Voters()) {
		t.Fatalf("%s (%v)", roles(&next), err)
	}
	first.Delete("n2")
	next, err = Next(static, nil, first)
	if want := "n1 voter, n2 leaving<-voter, n3 voter"; err != nil || roles(&next) != want {
		t.Errorf("%s (%v), want %s", roles(&next), err, want)
	}
	for voters, wanted := range map[int]int{1: 3, 2: 3, 3: 3, 4: 5, 5: 5, 9: 9} {
		if s := DefaultSettings(voters); s.Wanted != wanted {
			t.Errorf("%d voters: %d are wanted, want %d", voters, s.Wanted, wanted)
		}
	}
}

// Goal: what cannot be is refused with a sentence.
// Method: one impossible wish at a time.
func TestNext_RefusesWhatCannotBe(t *testing.T) {
	joint := three()
	joint.Member("n3").WasVoter = false
	_, err := Next(joint.Configuration(), joint, joint.Clone())
	wantError(t, "while joint", err, "has not ended")
	for words, change := range map[string]func(*Record){
		"the cluster is 07":                  func(r *Record) { r.UID = UID{8} },
		"the generation is 1, not 2":         func(r *Record) { r.Generation = 2 },
		"never falls, not to 2":              func(r *Record) { r.Level = 2 },
		"a member that is to go is left out": func(r *Record) { r.Member("n1").Role = Leaving },
		"0 voters: choose 1 to 9":            func(r *Record) { r.Members = nil },
		"10 voters: choose 1 to 9": func(r *Record) {
			for i := range 7 {
				r.Put(Member{ID: ID(fmt.Sprint("m", i)), Role: Voter})
			}
		},
		"33 members": func(r *Record) {
			for i := range 30 {
				r.Put(Member{ID: ID(fmt.Sprint("m", i)), Role: Learner})
			}
		},
		"was added by entry 2, not by 5":                 func(r *Record) { r.Member("n1").Added = 5 },
		"claims to have been added by entry 5":           func(r *Record) { r.Put(Member{ID: "n4", Role: Learner, Added: 5}) },
		"remove it first, and add it again with another": func(r *Record) { r.Member("n2").Incarnation = Incarnation{9} },
		"never is a member again: empty it first":        func(r *Record) { r.Put(Member{ID: "n4", Role: Learner, Incarnation: Incarnation{4}}) },
		"choose an odd number from 1 to 9":               func(r *Record) { r.Settings.Wanted = 4 },
	} {
		now := three()
		now.Member("n2").Incarnation = Incarnation{2}
		now.Removed = []Removed{{ID: "n4", Incarnation: Incarnation{4}, Index: 1}}
		wanted := now.Clone()
		change(&wanted)
		_, err := Next(now.Configuration(), now, wanted)
		wantError(t, words, err, words)
	}
}

// Goal: only the newest of those removed and of the changes are kept.
// Method: one more than the limits.
func TestNext_KeepsTheLastOfWhatIsKept(t *testing.T) {
	now := three()
	for i := range uint64(MaxRemoved) {
		now.Removed = append(now.Removed, Removed{ID: "x", Incarnation: Incarnation{byte(i + 1)}, Index: i + 1})
	}
	for i := range MaxChanges {
		now.Changes = append(now.Changes, Change{ID: fmt.Sprint(i), Index: uint64(i + 1)})
	}
	wanted := now.Clone()
	wanted.Delete("n1")
	wanted.Changes = append(wanted.Changes, Change{ID: "new"})
	wanted.Removed = nil // it is not for the change to say
	next, err := Next(now.Configuration(), now, wanted)
	if err != nil {
		t.Fatal(err)
	}
	final := next.Final()
	if n := len(final.Removed); n != MaxRemoved || final.Removed[0].Index != 2 || final.Removed[n-1].ID != "n1" {
		t.Errorf("%d removed, from %+v to %+v", n, final.Removed[0], final.Removed[n-1])
	}
	if n := len(next.Changes); n != MaxChanges || next.Changes[0].ID != "1" || next.Changes[n-1].ID != "new" {
		t.Errorf("%d changes, from %+v to %+v", n, next.Changes[0], next.Changes[n-1])
	}
}

// Goal: no two editions stand behind each other that could decide apart; a recovered
// cluster may begin with anything.
// Method: editions that no change leads to.
func TestFollows_RefusesWhatCouldDecideTwice(t *testing.T) {
	now := three()
	other := now.Clone()
	other.Delete("n3")
	wantError(t, "other voters at once", other.Follows(now), "begins with the voters [n1 n2] follows a configuration of the voters [n1 n2 n3]")
	wanted := now.Clone()
	wanted.Delete("n3")
	joint, _ := Next(now.Configuration(), now, wanted)
	wantError(t, "two joint ones", joint.Follows(&joint), "a joint configuration of [n1 n2] follows the joint one of [n1 n2]")
	wantError(t, "back to the old half", now.Follows(&joint), "follows a configuration of the voters [n1 n2]")
	stranger := now.Clone()
	stranger.UID = UID{9}
	wantError(t, "another cluster", stranger.Follows(now), "the cluster is")
	alone := First(now.UID, 3, []ID{"n1"})
	alone.Generation = 2
	if err := alone.Follows(&joint); err != nil {
		t.Errorf("a recovered cluster: %v", err)
	}
}

// Goal: a copy shares nothing, and a number names one member for ever.
// Method: every list of a clone is changed; numbers of IDs that come again.
func TestRecord_ClonesAndNumbers(t *testing.T) {
	a := full()
	b := a.Clone()
	b.Members[2].Others[0].Name, b.Members[0].ID, b.Removed[0].Index, b.Changes[0].Index, b.Tokens[0].Uses = "x", "x", 1, 1, 1
	if want := full(); !reflect.DeepEqual(a, want) {
		t.Errorf("the copy changed what it was made of: %+v", a)
	}
	m := Member{ID: "n1", Added: 2}
	again := Member{ID: "n1", Added: 9}
	if n := a.UID.MemberNumber(&m); n == 0 || n == a.UID.MemberNumber(&again) || n == (UID{9}).MemberNumber(&m) {
		t.Errorf("the number of n1 is %d", n)
	}
	if got := a.UID.ClusterNumber(); got != 0x0102030000000000 {
		t.Errorf("the number of the cluster is %x", got)
	}
	if late, none := (UID{15: 5}).ClusterNumber(), (UID{}).ClusterNumber(); late != 5 || none == 0 {
		t.Errorf("uids that begin with zeros have the numbers %d and %d", late, none)
	}
}
