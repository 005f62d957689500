package kv

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/lease"
)

// at returns a command with a stamp of server 5.
func at(ms uint64, c Command) Command {
	c.ID, c.Time = RequestID{Origin: 5, Number: ms}, ms
	return c
}

// tickUntil lets lease time pass on s by ticks of server 5 from one stamp to another.
func tickUntil(s *Store, from, to uint64) {
	for ms := from; ms <= to; ms += 500 {
		apply(s, at(ms, Command{Op: OpTick}))
	}
}

// Goal (L1, L6; planted bugs 10 and 11): a keep-alive counts from its own stamp, however
// long ago the last command was, and what has ended stays away.
// Method: a lease of 2 s is kept at stamps between the ticks; the keep-alive of an ended
// lease, and a put that names it, change nothing.
func TestAKeepAliveCountsFromItsOwnStamp(t *testing.T) {
	s := NewAt(LevelHistory)
	granted := apply(s, at(1000, Grant(0, 2000, "")))
	id := granted.Lease()
	apply(s, Command{Op: OpPut, Key: []byte("k"), Tie: Tie{Lease: id}})
	apply(s, at(1900, Command{Op: OpTick}))
	if r := apply(s, at(2800, KeepAlive(id))); fmt.Sprint(r.Kept()) != "[2000]" {
		t.Fatalf("kept %v", r.Kept())
	}
	apply(s, at(3700, Command{Op: OpTick}))
	apply(s, at(4700, Command{Op: OpTick}))
	if s.Leases().Len() != 1 {
		t.Fatal("a lease that was kept at 2,800 for 2,000 ms ended at 4,700")
	}
	apply(s, at(4800, Command{Op: OpTick}))
	if _, found := s.Get([]byte("k")); found || s.Leases().Len() != 0 {
		t.Fatal("a lease that was kept at 2,800 for 2,000 ms lives at 4,800")
	}
	revision := s.Revision()
	if r := apply(s, at(4900, KeepAlive(id, 77))); fmt.Sprint(r.Kept()) != "[0 0]" || s.Leases().Len() != 0 {
		t.Errorf("the keep-alive of an ended lease: %v", r.Kept())
	}
	if r := apply(s, Command{Op: OpPut, Key: []byte("k"), Tie: Tie{Lease: id}}); r.Status != StatusLeaseNotFound || s.Revision() != revision {
		t.Errorf("a put with an ended lease: %v", r.Status)
	}
}

// Goal (L3, L4; planted bugs 8 and 9): what nobody could use does not count, and a change
// of leader gives and takes nothing.
// Method: gaps of hours between two stamps of one server, and stamps of servers whose
// clocks are far apart; then the same by turns.
func TestOutagesAndChangesOfLeaderExtendLeases(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1000, Grant(1, 10_000, "")))
	for day := range uint64(5) {
		apply(s, at(1000+(day+1)*86_400_000, Command{Op: OpTick}))
	}
	if l, _ := s.Leases().Get(1); s.LeaseTime() != 5000 || l.Deadline != 10_000 {
		t.Fatalf("after five outages of a day it is %d ms, the deadline %d", s.LeaseTime(), l.Deadline)
	}
	for i := range uint64(20) { // leaders by turns, each at another reading
		c := Command{Op: OpTick, ID: RequestID{Origin: 6 + i%2, Number: i}, Time: 1 + i*50 + i%2*1_000_000}
		apply(s, c)
	}
	if s.LeaseTime() != 5000 {
		t.Errorf("readings of different servers were compared: %d ms", s.LeaseTime())
	}
	for i := range uint64(12) {
		apply(s, Command{Op: OpTick, ID: RequestID{Origin: 9, Number: i}, Time: 1 + i*500})
	}
	if s.Leases().Len() != 0 {
		t.Error("a lease of 10 s lives after 5 s and 5.5 s")
	}
}

// Goal (L7, L8): the keys of a lease go in one change, and one tick ends at most 1,000
// leases or 4,096 keys; what is left counts as alive until the next.
// Method: 2,500 leases that are due at one moment, and two of 3,000 keys each.
func TestATickEndsABoundedNumber(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1, Grant(1, 1000, "")))
	for i := range 2500 {
		apply(s, Grant(int64(10+i), 1000, ""))
	}
	apply(s, at(900, Command{Op: OpTick}))
	var ended []int
	for ms := uint64(1001); ; ms++ {
		before := s.Leases().Len()
		r := apply(s, at(ms, Command{Op: OpTick}))
		ended = append(ended, before-s.Leases().Len())
		if !r.Deleted {
			break
		}
	}
	if !slices.Equal(ended, []int{1000, 1000, 501}) {
		t.Errorf("ticks ended %v leases", ended)
	}
	for id := int64(1); id <= 2; id++ {
		apply(s, Grant(id, 1000, ""))
		for i := range 3000 {
			apply(s, Command{Op: OpPut, Key: fmt.Appendf(nil, "%d/%d", id, i), Tie: Tie{Lease: id}})
		}
	}
	tickUntil(s, 1400, 1900)
	revision := s.Revision()
	r := apply(s, at(2600, Command{Op: OpTick}))
	if r.Length != 3000 || !r.Deleted || s.Revision() != revision+1 || s.Len() != 3000 {
		t.Errorf("%d keys went in %d changes, %d are left", r.Length, s.Revision()-revision, s.Len())
	}
	if r = apply(s, at(2601, Command{Op: OpTick})); r.Length != 3000 || r.Deleted || s.Len() != 0 {
		t.Errorf("then %d keys, %d are left", r.Length, s.Len())
	}
}

// Goal (L12): 131,072 leases, 4,096 keys and 16 MiB each, and no more.
// Method: one more of each.
func TestLeasesAreBounded(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, Settings(0))
	for i := range 131_072 {
		if r := apply(s, Grant(int64(1+i), 1000, "")); r.Status != StatusOK {
			t.Fatalf("lease %d: %v", i, r.Status)
		}
	}
	if r := apply(s, Grant(0, 1000, "")); r.Status != StatusLeasesFull {
		t.Errorf("one more lease: %v", r.Status)
	}
	put := func(key string, value []byte, id int64) Status {
		return apply(s, Command{Op: OpPut, Key: []byte(key), Value: value, Tie: Tie{Lease: id}}).Status
	}
	for i := range 4096 {
		put(fmt.Sprint("k", i), nil, 1)
	}
	if got := put("more", nil, 1); got != StatusLeaseFull {
		t.Errorf("one more key: %v", got)
	}
	if got := put("k7", []byte("x"), 1); got != StatusOK {
		t.Errorf("a key that it has: %v", got)
	}
	half := bytes.Repeat([]byte("x"), 8<<20)
	if got := []Status{put("b", half[1:], 2), put("c", half[1:], 2), put("c", half, 2)}; fmt.Sprint(got) != fmt.Sprint([]Status{StatusOK, StatusOK, StatusLeaseFull}) {
		t.Errorf("16 MiB, and a byte more: %v", got)
	}
	if r := apply(s, Command{Op: OpAppend, Key: []byte("b"), Value: []byte("1")}); r.Status != StatusLeaseFull {
		t.Errorf("an append beyond 16 MiB: %v", r.Status)
	}
}

// Goal (L12): a key that is tied counts 64 bytes of the quota.
// Method: a quota that has room for the key and not for the tie.
func TestATieCountsForTheQuota(t *testing.T) {
	s := NewAt(LevelHistory)
	write := Command{Op: OpPut, Key: []byte("key"), Value: []byte("v"), Quota: 67, Tie: Tie{TTL: 1000}}
	if r := apply(s, write); r.Status != StatusQuota {
		t.Errorf("4 bytes and a tie in 67: %v", r.Status)
	}
	write.Quota = 68
	if r := apply(s, write); r.Status != StatusOK {
		t.Errorf("in 68: %v", r.Status)
	}
	if r := apply(s, Command{Op: OpPut, Key: []byte("l"), Value: []byte("v"), Quota: 69}); r.Status != StatusQuota {
		t.Errorf("two bytes more in 69: %v", r.Status)
	}
}

// Goal (L6): a grant that is repeated under an idempotency key, or
// in its lane, is one lease; and what decides is in the fingerprint.
// Method: repeat; then the same key with another TTL, and a put with another lease.
func TestARepeatedGrantIsOneLease(t *testing.T) {
	s := NewAt(LevelHistory)
	g := Grant(0, 5000, "n")
	g.IdempotencyKey = "one"
	first, again := apply(s, g), apply(s, g)
	if first.Lease() != again.Lease() || !again.Replayed || s.Leases().Len() != 1 {
		t.Errorf("%d, then %d", first.Lease(), again.Lease())
	}
	other := Grant(0, 6000, "n")
	other.IdempotencyKey = "one"
	if r := apply(s, other); r.Status != StatusIdempotencyMismatch {
		t.Errorf("another TTL: %v", r.Status)
	}
	id := openSession(s)
	g = Grant(0, 5000, "")
	g.Session = SessionCall{ID: id, Lane: 1, Seq: 1}
	first, again = apply(s, g), apply(s, g)
	if first.Lease() != again.Lease() || !again.Replayed {
		t.Errorf("in a lane %d, then %d", first.Lease(), again.Lease())
	}
	p := Command{Op: OpPut, Key: []byte("k"), IdempotencyKey: "two", Tie: Tie{Lease: first.Lease()}}
	apply(s, p)
	p.Tie = Tie{TTL: 1000}
	if r := apply(s, p); r.Status != StatusIdempotencyMismatch {
		t.Errorf("another tie: %v", r.Status)
	}
	p = Command{Op: OpPut, Key: []byte("k"), IdempotencyKey: "three", Tie: Tie{Lease: 999}}
	apply(s, p)
	if r := apply(s, p); r.Status != StatusLeaseNotFound || !r.Replayed {
		t.Errorf("a refusal that content decided is not remembered: %+v", r)
	}
}

// Goal (section 11): a state that begins with a copy gives each lease its whole TTL.
// Method: let half of it pass, and lift.
func TestALiftedStoreRenewsItsLeases(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1, Grant(1, 4000, "")))
	tickUntil(s, 500, 2500)
	if err := s.Lift(1 << 40); err != nil {
		t.Fatal(err)
	}
	if l, _ := s.Leases().Get(1); l.Deadline != s.LeaseTime()+4000 {
		t.Errorf("at %d its deadline is %d", s.LeaseTime(), l.Deadline)
	}
	if again := copied(t, s); again.Digest() != s.Digest() {
		t.Error("it cannot be copied")
	}
}

// Goal (S1): a lease belongs to the identity that made it; to others it might as well
// not be there, but for an admin.
// Method: two identities and an admin, enforced.
func TestALeaseBelongsToItsIdentity(t *testing.T) {
	w := newAuthWorld(t)
	may := auth.Rule{Space: auth.Keys, Text: "a/", Rights: auth.RightsOf(auth.Lease, auth.Write)}
	who := map[string]auth.Author{"ann": w.add("ann", "ann00000", may), "bob": w.add("bob", "bob00000", may)}
	w.enforce()
	root, _ := auth.ParseTokenID("root0000")
	who["root"] = auth.Author{Identity: w.s.Auth().Named("root").Number, Token: root}
	s := w.s
	g := Grant(5, 60_000, "")
	g.Caller = who["ann"]
	if r := apply(s, g); r.Status != StatusOK {
		t.Fatal(r.Status)
	}
	for name, want := range map[string]string{"ann": "[60000]", "bob": "[0]", "root": "[60000]"} {
		k := KeepAlive(5)
		k.Caller = who[name]
		if r := apply(s, k); fmt.Sprint(r.Kept()) != want {
			t.Errorf("%s keeps %v, want %s", name, r.Kept(), want)
		}
	}
	for name, want := range map[string]Status{"ann": StatusOK, "bob": StatusLeaseNotFound, "root": StatusOK} {
		put := Command{Op: OpPut, Key: []byte("a/k"), Tie: Tie{Lease: 5}, Caller: who[name]}
		if r := apply(s, put); r.Status != want {
			t.Errorf("%s ties a key to it: %v, want %v", name, r.Status, want)
		}
		many := txnOf(t, `{"then":[{"op":"put","key":"a/m","text":"","lease":5}]}`)
		many.Caller = who[name]
		if r := apply(s, many); r.Status != want {
			t.Errorf("%s ties a key to it in a transaction: %v, want %v", name, r.Status, want)
		}
	}
	r := Revoke(5)
	if r.Caller = who["bob"]; apply(s, r).Status != StatusLeaseNotFound {
		t.Error("bob ends ann's lease")
	}
	if r.Caller = (auth.Author{}); apply(s, r).Status != StatusForbidden {
		t.Error("nobody ends ann's lease")
	}
	if r.Caller = who["root"]; apply(s, r).Status != StatusOK {
		t.Error("an admin cannot end it")
	}
	tick := apply(s, Command{Op: OpTick})
	if tick.Status != StatusOK {
		t.Errorf("a tick: %v", tick.Status)
	}
}

// Goal: what a command on leases may not hold is malformed, by content; a body of a
// later version stops the server.
// Method: one thing wrong each.
func TestCommandsOnLeasesAreChecked(t *testing.T) {
	k := []byte("k")
	note := strings.Repeat("n", lease.MaxNoteBytes+1)
	many := make([]int64, lease.MaxKept+1)
	for name, c := range map[string]Command{
		"a TTL that is too short":   Grant(0, lease.MinTTL-1, ""),
		"a TTL that is too long":    Grant(0, lease.MaxTTL+1, ""),
		"a note that is too long":   Grant(0, 1000, note),
		"a grant without a body":    {Op: OpGrant},
		"a grant with more":         {Op: OpGrant, Value: append(Grant(1, 1000, "").Value, 0)},
		"a grant of a key":          {Op: OpGrant, Key: k, Value: Grant(1, 1000, "").Value},
		"a grant with a condition":  {Op: OpGrant, Value: Grant(1, 1000, "").Value, Condition: Condition{Kind: IfAbsent}},
		"nothing to keep":           KeepAlive(),
		"too many to keep":          KeepAlive(many...),
		"fewer than it says":        {Op: OpKeepAlive, Value: []byte{1, 3, 1}},
		"a keep-alive in a session": {Op: OpKeepAlive, Value: KeepAlive(1).Value, Session: SessionCall{ID: 1, Seq: 1}},
		"a keep-alive under a key":  {Op: OpKeepAlive, Value: KeepAlive(1).Value, IdempotencyKey: "k"},
		"a tick with a body":        {Op: OpTick, Value: []byte{1}},
		"a tick with a TTL":         {Op: OpTick, Tie: Tie{TTL: 1000}},
		"a touch without a TTL":     {Op: OpTouch, Key: k},
		"a touch with a lease":      {Op: OpTouch, Key: k, Tie: Tie{Lease: 1}},
		"a touch with a value":      {Op: OpTouch, Key: k, Value: []byte{1}, Tie: Tie{TTL: 1000}},
		"a put with both":           {Op: OpPut, Key: k, Tie: Tie{Lease: 1, TTL: 1000}},
		"a put with a short TTL":    {Op: OpPut, Key: k, Tie: Tie{TTL: 999}},
		"an append with a TTL":      {Op: OpAppend, Key: k, Tie: Tie{TTL: 1000}},
		"a delete with a lease":     {Op: OpDelete, Key: k, Tie: Tie{Lease: 1}},
		"a value that is kept":      {Op: OpPut, Key: k, Value: k, KeepValue: true},
	} {
		s := NewAt(LevelHistory)
		put(s, "k", "v")
		if r := apply(s, c); r.Status != StatusUnknownCommand || s.Revision() != 2 || s.Leases().Len() != 0 {
			t.Errorf("%s: %v", name, r.Status)
		}
	}
	if _, err := NewAt(LevelHistory).ApplyKnown(1, EncodeCommand(Command{Op: OpGrant, Value: []byte{2}})); err == nil {
		t.Error("a body of a later version is applied")
	}
	for _, c := range []Command{Grant(0, 1000, ""), {Op: OpTick}, {Op: OpPut, Key: k, Tie: Tie{TTL: 1000}}, {Op: OpPut, Key: k, KeepValue: true}} {
		if c.CheckKnown(LevelBase) == nil || c.CheckKnown(LevelHistory) != nil {
			t.Errorf("%v: %v at level 2, %v at level 3", c.Op, c.CheckKnown(LevelBase), c.CheckKnown(LevelHistory))
		}
	}
}

// leaseParts returns the contents of a payload with leases.
func leaseParts(t testing.TB) parts {
	s := NewAt(LevelHistory)
	put(s, "a", "1")
	apply(s, Grant(7, 1000, "note"))
	apply(s, Grant(-7, 2000, ""))
	apply(s, Command{Op: OpPut, Key: []byte("b"), Tie: Tie{Lease: 7}})
	apply(s, Command{Op: OpPut, Key: []byte("c"), Tie: Tie{TTL: 5000}})
	return contentsOf(t, written(t, s))
}

// Goal: leases and ties that no store wrote are refused, under the digest that they
// would have. Method: one change each.
func TestWhatLeasesInASnapshotMayNotHoldIsRefused(t *testing.T) {
	good := leaseParts(t)
	if _, err := Restore(bytes.NewReader(historyPayload(good))); err != nil {
		t.Fatal(err)
	}
	more := func(section string, b ...byte) parts { return parts{section: slices.Concat(good[section], b)} }
	for name, change := range map[string]parts{
		"a tie of no key":        more("ties", 1, 'z', 7, 0),
		"a tie of two things":    {"ties": {1, 'b', 7, 9}},
		"a tie of nothing":       {"ties": {1, 'b', 0, 0}},
		"a tie twice":            {"ties": slices.Concat(good["ties"][:5], good["ties"])},
		"a tie of no lease":      {"ties": {1, 'b', 8, 0}},
		"a lease twice":          more("leases", 7, 0xe8, 7, 0, 0, 0),
		"a lease without a TTL":  more("leases", 8, 0, 0, 0, 0),
		"a deadline too far":     more("leases", 8, 0xe8, 7, 0xe9, 7, 0, 0),
		"a lease that is cut":    {"leases": good["leases"][:len(good["leases"])-1]},
		"a number that is given": {"leases": slices.Concat([]byte{5}, good["leases"][9:])},
	} {
		contents := maps.Clone(good)
		maps.Copy(contents, change)
		if _, err := Restore(bytes.NewReader(historyPayload(contents))); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// FuzzLeases: arbitrary contents of the sections of leases, under the right lengths and
// digest. What is accepted has exactly the bytes that it was read from.
func FuzzLeases(f *testing.F) {
	good := leaseParts(f)
	f.Add(good["ties"], good["leases"])
	f.Add([]byte{}, good["leases"])
	f.Fuzz(func(t *testing.T, ties, leases []byte) {
		contents := maps.Clone(good)
		contents["ties"], contents["leases"] = ties, leases
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

// FuzzLeaseBody: any body of an operation on leases has one answer on two stores, which
// stay equal, also through a snapshot.
func FuzzLeaseBody(f *testing.F) {
	for op, c := range map[Op]Command{OpGrant: Grant(1, 2000, "n"), OpKeepAlive: KeepAlive(7, 8), OpRevoke: Revoke(7)} {
		f.Add(byte(op), c.Value)
	}
	f.Fuzz(func(t *testing.T, op byte, value []byte) {
		a := NewAt(LevelHistory)
		apply(a, Grant(7, 2000, ""))
		apply(a, Command{Op: OpPut, Key: []byte("k"), Tie: Tie{Lease: 7}})
		b := copied(t, a)
		c := EncodeCommand(Command{Op: OpGrant + Op(op%3), Value: value})
		ra, errA := a.ApplyKnown(3, c)
		rb, errB := b.ApplyKnown(3, c)
		if (errA == nil) != (errB == nil) || !sameResult(ra, rb) || a.Digest() != b.Digest() {
			t.Fatalf("%x: %+v, %v and %+v, %v", value, ra, errA, rb, errB)
		}
		ra.Kept()
	})
}

// Goal: nodes that differ only in when a key ends have different digests (planted bug
// LE23). Method: the same put with two TTLs.
func TestTheDigestKnowsWhenATieEnds(t *testing.T) {
	digests := map[Digest]bool{}
	for _, ttl := range []uint64{1000, 2000} {
		s := NewAt(LevelHistory)
		apply(s, Command{Op: OpPut, Key: []byte("k"), Value: []byte("v"), Tie: Tie{TTL: ttl}})
		digests[s.Digest()] = true
	}
	if len(digests) != 2 {
		t.Error("one digest for two deadlines")
	}
}

// Goal (L6): a cluster that begins with a backup gives no id that the old one has given since:
// a client of the old one keeps nobody's lease alive. It is the same after a second restore,
// and below that the ids are log indices. Method: a copy of a store, which is lifted; both
// grant leases, for a lock, too.
func TestARestoredClusterGivesOtherLeases(t *testing.T) {
	s := NewAt(LevelHistory)
	give := func(s *Store) []int64 {
		granted := apply(s, at(1000, Grant(0, 60_000, "")))
		made := apply(s, at(1000, AcquireCommand(Acquire{Lock: fmt.Sprint(s.AppliedIndex()), TTL: 60_000, Limit: 1})))
		return []int64{granted.Lease(), made.Lease()}
	}
	if first := give(s); first[0] != 1 || first[1] != 2 {
		t.Errorf("the first ids are %v", first)
	}
	seen := map[int64]int{1: 0, 2: 0}
	for restore := range 3 {
		again := restored(t, s)
		for _, id := range give(s) { // the old one goes on
			if _, twice := seen[id]; twice {
				t.Errorf("behind %d restores the id %d is given twice", restore, id)
			}
			seen[id] = restore
		}
		if err := again.Lift(RevisionLift); err != nil {
			t.Fatal(err)
		}
		s = again
	}
	if again := restored(t, s); again.Digest() != s.Digest() {
		t.Error("another state after a snapshot")
	}
}
