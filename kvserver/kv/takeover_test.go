package kv

import (
	"testing"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/lease"
)

// Goal (S4, S9): a session that was opened before identities counted belongs to the first
// identity that uses it, and tells it nothing of what was read in it before; how the calls
// ended stays known, and so does what the new owner reads himself. Method: puts that asked for
// what was there before, repeated by an identity with rights elsewhere only, in the lane that
// it used first and in another one.
func TestASessionOfNobodyTellsItsNextOwnerNothing(t *testing.T) {
	w := newAuthWorld(t)
	call := func(by auth.Author, id uint64, lane uint32, seq uint64, key, value string) Result {
		return w.apply(Command{
			Op: OpPut, Key: []byte(key), Value: []byte(value), Previous: true, Caller: by,
			Session: SessionCall{ID: id, Lane: lane, Seq: seq},
		})
	}
	id := w.apply(Command{Op: OpOpenSession}).Session
	for lane := range uint32(2) {
		call(auth.Author{}, id, lane, 1, "secret/pw", "hunter2")
		if r := call(auth.Author{}, id, lane, 2, "secret/pw", "hunter3"); r.Outcome == nil || string(r.Outcome.Results[0].Prev[0].Value) != "hunter2" {
			t.Fatalf("void: before, %+v", r.Outcome)
		}
	}
	small := w.add("small", "small000", auth.Rule{Space: auth.Keys, Text: "b/", Rights: auth.RightsOf(auth.Write, auth.Read)})
	w.enforce()
	for lane := range uint32(2) {
		r := call(small, id, lane, 2, "b/x", "y")
		if !r.Replayed || r.Outcome == nil || !r.Outcome.Dropped || len(r.Outcome.Results[0].Prev) != 0 || r.Revision == 0 {
			t.Errorf("lane %d: the next owner is answered %+v with %+v", lane, r, r.Outcome)
		}
	}
	call(small, id, 0, 3, "b/x", "one")
	call(small, id, 0, 4, "b/x", "two")
	if r := call(small, id, 0, 4, "b/x", "two"); !r.Replayed || r.Outcome.Dropped || string(r.Outcome.Results[0].Prev[0].Value) != "one" {
		t.Errorf("what the new owner has read is answered with %+v", r.Outcome)
	}
	if again := restored(t, w.s); again.Digest() != w.s.Digest() {
		t.Error("a snapshot has another digest")
	}
}

// Goal (S9): a lease that was granted before identities counted may be kept by whoever may use
// leases, for his program may have been given a token since; but to end it takes the right to
// delete all its keys and to acquire all its locks. Method: a lease with a key and a lock, and
// one with nothing, and identities that may do all, one or none of it.
func TestALeaseOfNobodyIsEndedByWhoMayDeleteItsKeys(t *testing.T) {
	w := newAuthWorld(t)
	grant := func() int64 { return w.apply(Grant(0, lease.MinTTL, "")).Lease() }
	tied, locked, empty := grant(), grant(), grant()
	w.apply(Command{Op: OpPut, Key: []byte("secret/reg"), Value: []byte("x"), Tie: Tie{Lease: tied}})
	if r := w.apply(AcquireCommand(Acquire{Lock: "jobs", Lease: locked, Limit: 1})); r.Status != StatusOK {
		t.Fatalf("void: %v", r.Status)
	}
	held := auth.RightsOf(auth.Lease)
	rule := func(space auth.Space, text string, rights auth.Rights) auth.Rule {
		return auth.Rule{Space: space, Text: text, Rights: rights | held}
	}
	small := w.add("small", "small000", rule(auth.Keys, "b/", auth.RightsOf(auth.Delete)))
	cleaner := w.add("cleaner", "clean000", rule(auth.Keys, "secret/", auth.RightsOf(auth.Delete)))
	worker := w.add("worker", "worker00", rule(auth.Locks, "jobs", auth.RightsOf(auth.Acquire)))
	w.enforce()
	as := func(by auth.Author, c Command) Result { c.Caller = by; return w.apply(c) }
	for _, c := range []struct {
		name string
		by   auth.Author
		id   int64
		want Status
	}{
		{"a key, by one with rights elsewhere", small, tied, StatusLeaseNotFound},
		{"a key, by one with the lock's right", worker, tied, StatusLeaseNotFound},
		{"a lock, by one with the key's right", cleaner, locked, StatusLeaseNotFound},
		{"nothing, by anybody with the right lease", small, empty, StatusOK},
		{"a key, by one who may delete it", cleaner, tied, StatusOK},
		{"a lock, by one who may acquire it", worker, locked, StatusOK},
	} {
		if kept := as(small, KeepAlive(c.id)).Kept(); len(kept) != 1 || kept[0] == 0 {
			t.Errorf("%s: it cannot be kept alive: %v", c.name, kept)
		}
		if r := as(c.by, Revoke(c.id)); r.Status != c.want {
			t.Errorf("%s: %v, want %v", c.name, r.Status, c.want)
		}
	}
	if _, found := w.s.Get([]byte("secret/reg")); found {
		t.Error("the key of a lease that ended is there")
	}
}
