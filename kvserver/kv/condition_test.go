package kv

import "testing"

// Goal: a condition is met by exactly the states it names, for put, append and
// delete alike, and a failed one changes nothing and tells the key's present
// numbers. Method: every kind with every number around a key's, on a missing
// key and on one at revision 3 and version 2.
func TestConditionsHoldForTheStatesTheyName(t *testing.T) {
	type numbers struct{ revision, version uint64 }
	for _, present := range []numbers{{}, {revision: 3, version: 2}} {
		for kind := IfVersion; kind <= conditionMax; kind++ {
			for number := range uint64(6) {
				met := map[ConditionKind]bool{
					IfVersion: number == present.version, IfRevision: number == present.revision,
					IfPresent: present.version != 0, IfAbsent: present.version == 0,
				}[kind]
				if number != 0 && kind >= IfPresent {
					continue // see below
				}
				for _, op := range []Op{OpPut, OpAppend, OpDelete} {
					s := New()
					put(s, "other", "1")
					if present.version != 0 {
						put(s, "k", "a")
						put(s, "k", "b")
					}
					before := s.clone()
					r := apply(s, Command{Op: op, Key: []byte("k"), Condition: Condition{kind, number}})
					name := op.String() + " " + kind.String()
					if ok := r.Status == StatusOK; ok != met || !ok && r.Status != StatusConditionFailed {
						t.Errorf("%s %d of a key at %+v: %v", name, number, present, r.Status)
					}
					if met {
						continue
					}
					if r.Revision != present.revision || r.Version != present.version {
						t.Errorf("%s %d: told revision %d and version %d of a key at %+v", name, number, r.Revision, r.Version, present)
					}
					before.Advance(s.AppliedIndex())
					if before.Hash() != s.Hash() || before.Digest() != s.Digest() {
						t.Errorf("%s %d: failed and changed the store", name, number)
					}
				}
			}
		}
	}
}

// Goal: a condition that would be ignored or cannot be is refused. Method:
// numbers where none is compared, and operations without conditions.
func TestConditionsThatMakeNoSenseAreRefused(t *testing.T) {
	s := New()
	put(s, "k", "")
	for _, c := range []Command{
		{Op: OpPut, Key: []byte("k"), Condition: Condition{IfPresent, 1}},
		{Op: OpPut, Key: []byte("k"), Condition: Condition{IfAbsent, 1}},
		{Op: OpGet, Key: []byte("k"), Condition: Condition{Kind: IfPresent}},
		{Op: OpOpenSession, Condition: Condition{Kind: IfPresent}},
	} {
		if r := apply(s, c); r.Status != StatusUnknownCommand {
			t.Errorf("%+v: %v", c, r.Status)
		}
	}
}

// Goal: a condition that failed is remembered in its lane. Method: repeat the
// call when the condition would hold.
func TestAFailedConditionIsTheCallsAnswer(t *testing.T) {
	s := New()
	id := openSession(s)
	put(s, "k", "1")
	c := Command{Op: OpPut, Key: []byte("k"), Value: []byte("2"), Condition: Condition{Kind: IfAbsent}, Session: SessionCall{ID: id, Seq: 1}}
	if r := apply(s, c); r.Status != StatusConditionFailed || r.Revision != 1 || r.Version != 1 || r.Replayed {
		t.Fatalf("%+v", r)
	}
	apply(s, Command{Op: OpDelete, Key: []byte("k")})
	if r := apply(s, c); r.Status != StatusConditionFailed || r.Revision != 1 || r.Version != 1 || !r.Replayed {
		t.Errorf("repeat: %+v", r)
	}
	if _, found := s.Get([]byte("k")); found {
		t.Error("the put that had failed was applied")
	}
}
