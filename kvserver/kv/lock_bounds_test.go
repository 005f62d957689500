package kv

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/lock"
	"raftkv/kvserver/txn"
)

// lockStore returns a store with the leases 1 to n, of 2 s each.
func lockStore(n int64) *Store {
	s := NewAt(LevelHistory)
	for id := int64(1); id <= n; id++ {
		apply(s, at(1, Grant(id, 2000, fmt.Sprint("n", id))))
	}
	return s
}

// try asks for a lock of one holder.
func try(s *Store, name string, id int64, queue bool) Result {
	return apply(s, AcquireCommand(Acquire{Lock: name, Lease: id, Limit: 1, Queue: queue}))
}

// Goal (K2, K3, K4, K8; planted bugs 12 and 13): the queue is served in its order, a lease
// that has ended is not in it, a token is the revision of the grant and greater than all
// before, also when the lock was gone in between, and each grant and release is an event.
// Method: one holder and three that wait, of which one ends and one leaves; then the lock
// anew, and again behind a restore that lifts the revision.
func TestALockIsHandedOverInOrder(t *testing.T) {
	s := lockStore(4)
	first := try(s, "jobs", 1, true)
	if first.Status != StatusOK || first.Token() != 2 || first.Lease() != 1 {
		t.Fatalf("the first: %+v", first)
	}
	for id := int64(2); id <= 4; id++ {
		if r := try(s, "jobs", id, true); r.Status != StatusQueued || r.Revision != 2 {
			t.Fatalf("lease %d: %+v", id, r)
		}
	}
	if r := try(s, "jobs", 3, true); r.Status != StatusQueued || s.Locks().Waiting() != 3 {
		t.Errorf("a repetition has another place: %v, %d wait", r.Status, s.Locks().Waiting())
	}
	apply(s, Revoke(2)) // it only waits: no event
	if s.Revision() != 2 {
		t.Errorf("a lease that only waits ends with the revision %d", s.Revision())
	}
	if r := apply(s, Release("jobs", 7)); r.Status != StatusLockLost {
		t.Errorf("another token: %v", r.Status)
	}
	apply(s, Release("jobs", 2))
	if got := s.HoldersOf("jobs"); len(got) != 1 || got[0].Lease != 3 || got[0].Item.Revision != 4 {
		t.Fatalf("then it is held by %+v", got)
	}
	apply(s, LeaveQueue("jobs", 4, false))
	apply(s, Revoke(3))
	if s.Locks().Len() != 0 {
		t.Fatalf("there are %d locks", s.Locks().Len())
	}
	if r := try(s, "jobs", 4, false); r.Token() != 6 {
		t.Errorf("the lock is made anew with the token %d", r.Token())
	}
	if err := s.Lift(1 << 40); err != nil {
		t.Fatal(err)
	}
	apply(s, Release("jobs", 6))
	if r := try(s, "jobs", 4, false); r.Token() <= 1<<40 {
		t.Errorf("behind a restore the token is %d", r.Token())
	}
}

// events returns the events of a store as text.
func lockEvents(s *Store) string {
	var all []string
	h := s.History()
	h.Scan(h.Oldest()-1, func(e *Event) bool {
		if !e.OfLock() {
			all = append(all, fmt.Sprintf("%d:%s %s", e.Revision, e.Op, e.Key))
			return true
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%d:%s %s %d,%d %s", e.Revision, e.Op, e.Key, max(e.Item.Revision, e.Prev.Revision), max(e.Lease, e.PrevLease), e.Op.Reason())))
		return true
	})
	return strings.Join(all, "; ")
}

// Goal (K3, K8, L7): a lease that ends frees its keys and locks in one change, and then the
// locks are handed over, each in a change of its own; events say to which client, and why.
// Method: a lease with a key and two locks expires, for which others wait.
func TestTheLocksOfALeaseEndWithIt(t *testing.T) {
	s := lockStore(1)
	apply(s, at(900, Grant(2, 60_000, "")))
	apply(s, Command{Op: OpPut, Key: []byte("k"), Tie: Tie{Lease: 1}})
	for _, name := range []string{"b", "a"} {
		try(s, name, 1, false)
	}
	try(s, "a", 2, true)
	apply(s, Publish("b", 3, []byte("here")))
	tickUntil(s, 1500, 2500)
	want := "2:put k; 3:granted b 3,1; 4:granted a 4,1; 5:granted b 3,1 published; " +
		"6:expire k; 6:released a 4,1 expired; 6:released b 3,1 expired; 7:granted a 7,2"
	if got := lockEvents(s); got != want {
		t.Errorf("events\n %s, want\n %s", got, want)
	}
	apply(s, LeaveQueue("a", 2, true)) // it holds it by now
	apply(s, Revoke(2))
	if got := lockEvents(s); !strings.HasSuffix(got, "; 8:released a 7,2 revoked") {
		t.Errorf("events end with %s", got)
	}
}

// Goal (K10): only behind an end that was no release a lock stays free for its delay, of
// lease time; a tick ends that, though there is no lease any more.
// Method: one release, and one lease that is revoked, with a lease that waits and without.
func TestADelayKeepsALockFree(t *testing.T) {
	acquire := func(s *Store, id int64) Result {
		return apply(s, AcquireCommand(Acquire{Lock: "a", Lease: id, Limit: 1, Delay: 700, Queue: true}))
	}
	s := lockStore(3)
	first := acquire(s, 1)
	apply(s, Release("a", first.Token()))
	if r := acquire(s, 1); r.Status != StatusOK {
		t.Fatalf("behind a release: %v", r.Status)
	}
	apply(s, Revoke(1))
	if r := acquire(s, 2); r.Status != StatusQueued || len(s.HoldersOf("a")) != 0 {
		t.Fatalf("within the delay: %v", r.Status)
	}
	apply(s, at(700, Command{Op: OpTick}))
	if len(s.HoldersOf("a")) != 0 {
		t.Error("a millisecond early it is held")
	}
	apply(s, at(701, Command{Op: OpTick}))
	if got := s.HoldersOf("a"); len(got) != 1 || got[0].Lease != 2 {
		t.Errorf("behind the delay it is held by %+v", got)
	}
	apply(s, Revoke(2))
	apply(s, Revoke(3))
	if !s.CanEnd() || s.Leases().Len() != 0 || s.Locks().Len() != 1 {
		t.Error("without a lease nothing ends the delay")
	}
	if again := copied(t, s); !again.CanEnd() {
		t.Error("behind a snapshot nothing ends the delay")
	}
	apply(s, at(1500, Command{Op: OpTick}))
	if s.CanEnd() || s.Locks().Len() != 0 {
		t.Error("the delay does not end")
	}
}

// Goal (K5; planted bug 14): a guarded write is applied exactly if the token holds the lock
// at its place in the log, whatever kind of write it is, and a compare of a transaction says
// the same. Method: each kind while it is held, once it is another's, and by a lock that is
// not there.
func TestAGuardIsJudgedInTheLog(t *testing.T) {
	tx := &txn.Txn{Then: []txn.Op{{Kind: txn.Put, Span: txn.Key("t")}}}
	compared := func(token uint64, is txn.Relation) *txn.Txn {
		return &txn.Txn{If: []txn.Compare{{Span: txn.Key("jobs"), Subject: txn.LockHeld, Is: is, Number: token}}}
	}
	writes := map[string]Command{
		"put":    {Op: OpPut, Key: []byte("p"), Value: []byte("v")},
		"append": {Op: OpAppend, Key: []byte("a"), Value: []byte("v")},
		"delete": {Op: OpDelete, Key: []byte("p")},
		"touch":  {Op: OpTouch, Key: []byte("k"), Tie: Tie{TTL: 5000}},
		"txn":    TxnCommand(tx, 100),
		"range":  DeleteRangeCommand(&txn.DeleteRange{From: "t"}, 0),
	}
	for name, c := range writes {
		s := lockStore(2)
		put(s, "k", "v")
		put(s, "p", "v")
		token := try(s, "jobs", 1, false).Token()
		try(s, "jobs", 2, true)
		for _, by := range []uint64{0, token, token, token + 1} {
			c.Guard = Guard{Lock: "jobs", Token: by}
			revision := s.Revision()
			l, _ := s.Locks().Get("jobs")
			want, r := l.Holders[0].Token == by, apply(s, c)
			if want != (r.Status == StatusOK) || !want && (r.Status != StatusLockLost || s.Revision() != revision) {
				t.Errorf("%s by %d while %d holds it: %v", name, by, l.Holders[0].Token, r.Status)
			}
			if got := s.Read(compared(by, txn.Equal), 0).Outcome.Succeeded; got != want {
				t.Errorf("a compare with %d while %d holds it: %t", by, l.Holders[0].Token, got)
			}
			if got := s.Read(compared(by, txn.NotEqual), 0).Outcome.Succeeded; got == want {
				t.Errorf("its opposite: %t", got)
			}
			if by == token {
				apply(s, Release("jobs", token)) // the second time it is 2's
			}
		}
	}
}

// Goal: what the answer to a guarded write was is told again under its key, and the guard
// is part of the request. Method: repeat it behind the loss of the lock, and with another.
func TestAGuardIsPartOfTheRequest(t *testing.T) {
	s := lockStore(1)
	token := try(s, "jobs", 1, false).Token()
	c := Command{Op: OpPut, Key: []byte("k"), IdempotencyKey: "one", Guard: Guard{Lock: "jobs", Token: token}}
	apply(s, c)
	apply(s, Release("jobs", token))
	if r := apply(s, c); r.Status != StatusOK || !r.Replayed {
		t.Errorf("again: %+v", r)
	}
	c.Guard.Token++
	if r := apply(s, c); r.Status != StatusIdempotencyMismatch {
		t.Errorf("with another token: %v", r.Status)
	}
	c.IdempotencyKey, c.Guard.Lock = "two", "none"
	first, again := apply(s, c), apply(s, c)
	if first.Status != StatusLockLost || again.Status != StatusLockLost || !again.Replayed {
		t.Errorf("a refusal that content decided is not remembered: %+v, %+v", first, again)
	}
}

// Goal (K7): a request for a lock that is repeated under its key, or in its lane, has one
// lease, and whoever hears that the lock is held is not given it later.
// Method: a waiting request with a lease of its own, twice; a lease that waits asks again
// without waiting.
func TestARepeatedRequestForALockIsOne(t *testing.T) {
	s := lockStore(2)
	try(s, "a", 1, false)
	c := AcquireCommand(Acquire{Lock: "a", TTL: 5000, Limit: 1, Queue: true})
	c.IdempotencyKey = "one"
	first, again := apply(s, c), apply(s, c)
	if first.Status != StatusQueued || again.Lease() != first.Lease() || !again.Replayed || s.Leases().Len() != 3 || s.Locks().Waiting() != 1 {
		t.Errorf("%+v, then %+v", first, again)
	}
	session := openSession(s)
	c = AcquireCommand(Acquire{Lock: "b", TTL: 5000, Limit: 1})
	c.Session = SessionCall{ID: session, Lane: 1, Seq: 1}
	first, again = apply(s, c), apply(s, c)
	if first.Status != StatusOK || again.Token() != first.Token() || again.Lease() != first.Lease() {
		t.Errorf("in a lane %+v, then %+v", first, again)
	}
	try(s, "a", 2, true)
	if r := try(s, "a", 2, false); r.Status != StatusLockHeld || s.Locks().Waiting() != 1 {
		t.Errorf("without waiting: %v, %d wait", r.Status, s.Locks().Waiting())
	}
	leases := s.Leases().Len()
	if r := apply(s, AcquireCommand(Acquire{Lock: "a", TTL: 5000, Limit: 1})); r.Status != StatusLockHeld || s.Leases().Len() != leases {
		t.Errorf("a request that is refused has made a lease: %v", r.Status)
	}
}

// Goal: 1,024 wait for a lock and no more, a lock has at most 1,024 holders, and a lease at
// most 4,096 keys and locks. Method: one more of each; the other limits are those of the
// contract, and the model reaches smaller ones.
func TestLocksAreBounded(t *testing.T) {
	if lock.Standard != (lock.Limits{Locks: 65_536, Places: 131_072, Queue: 1024, Waiting: 65_536}) {
		t.Errorf("the limits are %+v", lock.Standard)
	}
	s := lockStore(1030)
	for id := int64(1); id <= 1025; id++ {
		try(s, "a", id, true)
	}
	if r := try(s, "a", 1026, true); r.Status != StatusLockQueueFull {
		t.Errorf("one more waits: %v", r.Status)
	}
	for i := range 4095 {
		try(s, fmt.Sprint("l", i), 1, false)
	}
	if r := try(s, "more", 1, false); r.Status != StatusLeaseFull {
		t.Errorf("one more lock of a lease: %v", r.Status)
	}
	if r := apply(s, Command{Op: OpPut, Key: []byte("k"), Tie: Tie{Lease: 1}}); r.Status != StatusLeaseFull {
		t.Errorf("a key of a lease with 4,096 locks: %v", r.Status)
	}
	if r := apply(s, Revoke(1)); r.Status != StatusOK || s.Locks().Held() != 1 || s.HoldersOf("a")[0].Lease != 2 {
		t.Errorf("it ends: %+v", r)
	}
}

// Goal (S1): a lock is used by the identity whose lease holds it, and taken with the right
// to acquire it; that of another one might as well not be held.
// Method: two identities, enforced.
func TestALockBelongsToItsIdentity(t *testing.T) {
	w := newAuthWorld(t)
	may := auth.Rule{Space: auth.Locks, Text: "jobs/", Rights: auth.RightsOf(auth.Acquire, auth.Lease)}
	ann, bob := w.add("ann", "ann00000", may), w.add("bob", "bob00000", may)
	w.enforce()
	s := w.s
	as := func(by auth.Author, c Command) Result {
		c.Caller = by
		return apply(s, c)
	}
	r := as(ann, AcquireCommand(Acquire{Lock: "jobs/1", TTL: 60_000, Limit: 1}))
	if r.Status != StatusOK {
		t.Fatal(r.Status)
	}
	for what, c := range map[string]Command{"publishes": Publish("jobs/1", r.Token(), nil), "releases": Release("jobs/1", r.Token())} {
		if r := as(bob, c); r.Status != StatusLockLost {
			t.Errorf("bob %s ann's lock: %v", what, r.Status)
		}
	}
	if r := as(bob, AcquireCommand(Acquire{Lock: "jobs/2", Lease: r.Lease(), Limit: 1})); r.Status != StatusLeaseNotFound {
		t.Errorf("bob uses ann's lease: %v", r.Status)
	}
	if r := as(bob, AcquireCommand(Acquire{Lock: "other", TTL: 5000, Limit: 1})); r.Status != StatusForbidden {
		t.Errorf("bob takes a lock that no rule grants: %v", r.Status)
	}
	if r := as(ann, Release("jobs/1", r.Token())); r.Status != StatusOK {
		t.Errorf("ann releases it: %v", r.Status)
	}
}

// Goal: what a command on a lock may not hold is malformed, by content; a body of a later
// version stops the server. Method: one thing wrong each.
func TestCommandsOnLocksAreChecked(t *testing.T) {
	good := Acquire{Lock: "a", Lease: 1, Limit: 1}
	with := func(change func(*Acquire)) Command {
		a := good
		change(&a)
		return AcquireCommand(a)
	}
	guarded := Grant(0, 1000, "")
	guarded.Guard = Guard{Lock: "a", Token: 1}
	tied := AcquireCommand(good)
	tied.Tie = Tie{Lease: 1}
	twice := AcquireCommand(good)
	twice.IdempotencyKey, twice.Session = "k", SessionCall{ID: 1, Seq: 1}
	for name, c := range map[string]Command{
		"no name":                 with(func(a *Acquire) { a.Lock = "" }),
		"a long name":             with(func(a *Acquire) { a.Lock = strings.Repeat("n", lock.MaxNameBytes+1) }),
		"no limit":                with(func(a *Acquire) { a.Limit = 0 }),
		"a limit too large":       with(func(a *Acquire) { a.Limit = lock.MaxLimit + 1 }),
		"a delay too long":        with(func(a *Acquire) { a.Delay = lock.MaxDelay + 1 }),
		"a value too long":        with(func(a *Acquire) { a.Value = make([]byte, lock.MaxValueBytes+1) }),
		"a lease and a TTL":       with(func(a *Acquire) { a.TTL = 1000 }),
		"neither":                 with(func(a *Acquire) { a.Lease = 0 }),
		"a TTL that is too short": with(func(a *Acquire) { a.Lease, a.TTL = 0, 999 }),
		"no body":                 {Op: OpAcquire, Key: []byte("a")},
		"more":                    {Op: OpAcquire, Key: []byte("a"), Value: append(AcquireCommand(good).Value, 0)},
		"a release with more":     {Op: OpRelease, Key: []byte("a"), Value: append(Release("a", 3).Value, 0)},
		"a leave with a flag":     {Op: OpLeaveQueue, Key: []byte("a"), Value: []byte{1, 1, 4}},
		"a value that is long":    Publish("a", 3, make([]byte, lock.MaxValueBytes+1)),
		"a guarded grant":         guarded,
		"a tie":                   tied,
		"remembered twice":        twice,
	} {
		s := lockStore(1)
		if r := apply(s, c); r.Status != StatusUnknownCommand || s.Locks().Len() != 0 || s.Leases().Len() != 1 {
			t.Errorf("%s: %v", name, r.Status)
		}
	}
	if _, err := NewAt(LevelHistory).ApplyKnown(1, EncodeCommand(Command{Op: OpAcquire, Key: []byte("a"), Value: []byte{2}})); err == nil {
		t.Error("a body of a later version is applied")
	}
	for _, c := range []Command{AcquireCommand(good), Release("a", 1), LeaveQueue("a", 1, false), Publish("a", 1, nil), {Op: OpPut, Key: []byte("k"), Guard: Guard{Lock: "a"}}} {
		if c.CheckKnown(LevelBase) == nil || c.CheckKnown(LevelHistory) != nil || c.CheckAsked() != nil {
			t.Errorf("%v: %v at level 2, %v at level 3, asked for: %v", c.Op, c.CheckKnown(LevelBase), c.CheckKnown(LevelHistory), c.CheckAsked())
		}
	}
}

// lockParts returns the contents of a payload with locks and their events.
func lockParts(t testing.TB) parts {
	s := lockStore(4)
	try(s, "a", 1, false)
	try(s, "a", 2, true)
	try(s, "a", 3, true)
	apply(s, AcquireCommand(Acquire{Lock: "b", Lease: 1, Limit: 3, Delay: 500, Value: []byte("v")}))
	apply(s, Publish("b", 3, []byte("w")))
	apply(s, AcquireCommand(Acquire{Lock: "b", Lease: 4, Limit: 3, Delay: 500}))
	apply(s, Revoke(4))
	return contentsOf(t, written(t, s))
}

// Goal: locks that no store wrote are refused, under the digest that they would have.
// Method: one change each.
func TestWhatLocksInASnapshotMayNotHoldIsRefused(t *testing.T) {
	good := lockParts(t)
	if _, err := Restore(bytes.NewReader(historyPayload(good))); err != nil {
		t.Fatal(err)
	}
	locks := func(b ...byte) parts { return parts{"locks": b} }
	more := func(b ...byte) parts { return parts{"locks": slices.Concat(good["locks"], b)} }
	for name, change := range map[string]parts{
		"a lock twice":                more(1, 'b', 1, 1, 2, 1, 0, 0, 0, 0),
		"no holder":                   more(1, 'c', 1, 0, 0, 0),
		"more holders than its limit": more(1, 'c', 1, 2, 2, 1, 0, 0, 3, 2, 0, 0, 0, 0),
		"tokens that fall":            more(1, 'c', 2, 2, 3, 1, 0, 0, 2, 2, 0, 0, 0, 0),
		"one lease twice":             more(1, 'c', 2, 2, 2, 1, 0, 0, 3, 1, 0, 0, 0, 0),
		"a token to come":             more(1, 'c', 1, 1, 99, 1, 0, 0, 0, 0),
		"a holder without a lease":    more(1, 'c', 1, 1, 2, 9, 0, 0, 0, 0),
		"a queue with a free place":   more(1, 'c', 2, 1, 2, 1, 0, 0, 1, 5, 2, 0, 0, 0),
		"a holder that waits":         more(1, 'c', 1, 1, 2, 1, 0, 0, 1, 5, 1, 0, 0, 0),
		"one that waits to come":      more(1, 'c', 1, 1, 2, 1, 0, 0, 1, 99, 2, 0, 0, 0),
		"delays that fall":            more(1, 'c', 3, 0, 0, 2, 9, 8),
		"a delay too far":             more(1, 'c', 1, 0, 0, 1, 0xe1, 0xd4, 3),
		"no limit":                    locks(1, 'c', 0, 1, 2, 1, 0, 0, 0, 0),
		"a lock that is cut":          {"locks": good["locks"][:len(good["locks"])-1]},
		"an event of no lease":        {"history": {4, 2, 1, 'a', 2, 0, 0, 0}},
		"a grant of another token":    {"history": {4, 3, 1, 'a', 2, 1, 0, 0}},
		"a release of its own grant":  {"history": {5, 3, 1, 'a', 3, 1, 0, 0}},
		"a grant with a value before": {"history": {4, 2, 1, 'a', 2, 1, 1, 'v', 0}},
		"a release with one behind":   {"history": {5, 3, 1, 'a', 2, 1, 0, 1, 'v'}},
	} {
		contents := maps.Clone(good)
		maps.Copy(contents, change)
		if _, err := Restore(bytes.NewReader(historyPayload(contents))); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// FuzzLocks: arbitrary contents of the sections of locks and of their events, under the
// right lengths and digest. What is accepted has exactly the bytes that it was read from.
func FuzzLocks(f *testing.F) {
	good := lockParts(f)
	f.Add(good["locks"], good["history"])
	f.Add([]byte{}, good["history"])
	f.Fuzz(func(t *testing.T, locks, events []byte) {
		contents := maps.Clone(good)
		contents["locks"], contents["history"] = locks, events
		b := historyPayload(contents)
		s, err := Restore(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := written(t, s); !bytes.Equal(again, b) {
			t.Fatalf("%x was read and written as %x", b, again)
		}
		tickUntil(s, 500, 5000)
	})
}

// FuzzLockBody: any body of an operation on locks has one answer on two stores, which stay
// equal, also through a snapshot.
func FuzzLockBody(f *testing.F) {
	for _, c := range []Command{
		AcquireCommand(Acquire{Lease: 2, Limit: 1, Queue: true, Value: []byte("v")}), Release("", 2), LeaveQueue("", 2, true), Publish("", 2, []byte("w")),
	} {
		f.Add(byte(c.Op), c.Value)
	}
	f.Fuzz(func(t *testing.T, op byte, value []byte) {
		a := lockStore(2)
		try(a, "jobs", 1, false)
		b := copied(t, a)
		c := EncodeCommand(Command{Op: OpAcquire + Op(op%4), Key: []byte("jobs"), Value: value})
		next := a.AppliedIndex() + 1
		ra, errA := a.ApplyKnown(next, c)
		rb, errB := b.ApplyKnown(next, c)
		if (errA == nil) != (errB == nil) || !sameResult(ra, rb) || a.Digest() != b.Digest() || copied(t, a).Digest() != a.Digest() {
			t.Fatalf("%x: %+v, %v and %+v, %v", value, ra, errA, rb, errB)
		}
	})
}

// Goal (L5 of locks): two states in which the same leases wait for a lock in another order
// have different digests, for the lock will have other holders. Method: two stores at the
// same index; their queues, one turned round.
func TestTheOrderOfALocksQueueIsInTheDigest(t *testing.T) {
	digests := map[Digest]bool{}
	for _, order := range [][]int64{{1, 2, 3}, {1, 3, 2}} {
		s := lockStore(3)
		for _, id := range order {
			try(s, "a", id, true)
		}
		digests[s.Digest()] = true
	}
	if len(digests) != 2 {
		t.Error("the digests are equal")
	}
}
