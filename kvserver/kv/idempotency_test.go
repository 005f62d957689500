package kv

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

// keyed returns an append under an idempotency key.
func keyed(key, value string) Command {
	return Command{Op: OpAppend, Key: []byte("k"), Value: []byte(value), IdempotencyKey: key}
}

// Goal: a request under an idempotency key is applied once and gets its first
// answer each time, also from a store that was restored. Method: repeat it at
// once, after other changes and after a restore; proposer's fields may differ.
func TestARequestUnderAnIdempotencyKeyIsAppliedOnce(t *testing.T) {
	s := New()
	first := apply(s, keyed("one", "a"))
	if first.Status != StatusOK || first.Replayed || !first.Created {
		t.Fatalf("%+v", first)
	}
	again := first
	again.Replayed = true
	for i := range 3 {
		c := keyed("one", "a")
		c.Time, c.MaxLength, c.Quota = uint64(1000*i), uint64(10*i), uint64(i)
		if r := apply(s, c); !sameResult(r, again) {
			t.Errorf("repeat %d: %+v, want %+v", i, r, again)
		}
		put(s, "k", "z")
		s = restored(t, s)
	}
	if s.IdempotencyRecords() != 1 || valueOf(s, "k") != "z" {
		t.Errorf("%d records, value %q", s.IdempotencyRecords(), valueOf(s, "k"))
	}
}

func restored(t *testing.T, s *Store) *Store {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	r, err := Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Goal: a key that comes again for another request is refused, whatever part
// of the request differs. Method: each part in turn.
func TestAnIdempotencyKeyIsForOneRequest(t *testing.T) {
	s := New()
	apply(s, keyed("one", "a"))
	for _, change := range []func(*Command){
		func(c *Command) { c.Op = OpPut },
		func(c *Command) { c.Op, c.Value = OpDelete, nil },
		func(c *Command) { c.Key = []byte("l") },
		func(c *Command) { c.Key, c.Value = []byte("ka"), nil },
		func(c *Command) { c.Value = []byte("b") },
		func(c *Command) { c.Condition = Condition{Kind: IfPresent} },
		func(c *Command) { c.Condition = Condition{IfVersion, 1} },
	} {
		c := keyed("one", "a")
		change(&c)
		if r := apply(s, c); r.Status != StatusIdempotencyMismatch || r.Replayed {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	if s.Revision() != 1 {
		t.Errorf("%d changes, want 1", s.Revision())
	}
	// Of two conditions of one kind the number tells which.
	first := keyed("two", "a")
	first.Condition = Condition{IfRevision, 1}
	second := first
	second.Condition.Number = 2
	apply(s, first)
	if r := apply(s, second); r.Status != StatusIdempotencyMismatch || r.Replayed {
		t.Errorf("%+v: %+v", second, r)
	}
	if s.Revision() != 2 {
		t.Errorf("%d changes, want 2", s.Revision())
	}
}

// Goal: what the store's content decided is remembered; what a limit refused is
// not, so that it can succeed later, but never twice. Method: a condition that
// fails and would hold later; appends over a limit and over the quota, repeated
// when there is room, and once more.
func TestRefusalsByLimitsAreNotRemembered(t *testing.T) {
	s := New()
	put(s, "k", "1234")
	failed := keyed("condition", "x")
	failed.Condition = Condition{Kind: IfAbsent}
	long, full := keyed("long", "x"), keyed("full", "y")
	long.MaxLength, full.Quota = 4, 5
	for _, step := range []struct {
		c    Command
		want Status
	}{{failed, StatusConditionFailed}, {long, StatusTooLong}, {full, StatusQuota}} {
		if r := apply(s, step.c); r.Status != step.want || r.Replayed {
			t.Fatalf("%q: %+v", step.c.IdempotencyKey, r)
		}
	}
	apply(s, Command{Op: OpDelete, Key: []byte("k")})
	if r := apply(s, failed); r.Status != StatusConditionFailed || !r.Replayed || r.Version != 1 {
		t.Errorf("the failed condition again: %+v", r)
	}
	for range 2 {
		for _, c := range []Command{long, full} {
			if r := apply(s, c); r.Status != StatusOK {
				t.Errorf("%q when there is room: %+v", c.IdempotencyKey, r)
			}
		}
	}
	if got := valueOf(s, "k"); got != "xy" {
		t.Errorf("value %q, want xy", got)
	}
}

// Goal: a leader whose clock is hours ahead of the one before forgets nothing
// that was promised. Method: a request, and the same once more by way of each of
// two servers whose clocks differ by a day.
func TestALeaderWithAClockAheadForgetsNothing(t *testing.T) {
	s := New()
	send := func(origin, time uint64, want bool) {
		t.Helper()
		c := keyed("key", "a")
		c.ID.Origin, c.Time = origin, time
		if r := apply(s, c); r.Status != StatusOK || r.Replayed != want {
			t.Errorf("by way of server %d: %+v", origin, r)
		}
	}
	send(1, 1000, false)
	send(2, 24*IdempotencyWindow, true)
	send(2, 24*IdempotencyWindow+1000, true)
	send(1, 1500, true)
}

// pass lets log time go on from one stamp of a server to another by commands that
// come often enough, and returns the later stamp.
func pass(s *Store, from, to uint64) uint64 {
	for at := from; at < to; {
		at = min(to, at+maxTimeStep)
		apply(s, Command{Op: OpGet, Key: []byte("nothing"), Time: at})
	}
	return max(from, to)
}

// Goal: a request that is applied after an outage, or was answered just before
// it, is remembered by its retries for the whole window from there on, though the
// same server led before and after, and its clock went on. Method: outages of a
// minute to a month; after each the request and its retries, in steps of commands
// that come often; the retry when the window is over is applied.
func TestAnOutageForgetsNothing(t *testing.T) {
	const second, hour = 1000, 60 * 60 * 1000
	for _, outage := range []uint64{maxTimeStep, hour, IdempotencyWindow + second, 12 * hour, 720 * hour} {
		s := New()
		send := func(key string, time uint64) Result {
			c := keyed(key, key)
			c.ID, c.Time = RequestID{Origin: 1, Number: time}, time
			return apply(s, c)
		}
		send("before", 1000) // answered, then nobody leads
		applied := send("order-17", 1000)
		s.Advance(s.AppliedIndex() + 1) // the entry of the leader that committed it
		now := 1000 + outage
		for _, key := range []string{"order-17", "before"} {
			if r := send(key, now); !r.Replayed || r.Revision == 0 {
				t.Errorf("%d ms of outage: the retry of %q is applied again: %+v", outage, key, r)
			}
		}
		for range IdempotencyWindow/maxTimeStep - 2 { // the outage itself was one step
			now += maxTimeStep
			if r := send("order-17", now); !r.Replayed || r.Revision != applied.Revision {
				t.Fatalf("%d ms after the outage of %d: %+v", now-1000-outage, outage, r)
			}
		}
		if r := send("order-17", now+maxTimeStep); r.Replayed {
			t.Errorf("the window has no end after an outage of %d ms: %+v", outage, r)
		}
		if got := valueOf(s, "k"); got != "beforeorder-17order-17" {
			t.Errorf("after an outage of %d ms: %q", outage, got)
		}
	}
}

// Goal: one step of log time is a minute at most, whatever a clock showed, and
// shorter steps count in full. Method: pairs of stamps of one server.
func TestOneStepOfLogTimeIsAMinuteAtMost(t *testing.T) {
	for step, want := range map[uint64]uint64{0: 0, 1: 1, maxTimeStep - 1: maxTimeStep - 1, maxTimeStep: maxTimeStep,
		maxTimeStep + 1: maxTimeStep, IdempotencyWindow: maxTimeStep, math.MaxUint64 - 7: maxTimeStep} {
		s := New()
		for _, time := range []uint64{7, 7 + step} {
			apply(s, Command{Op: OpGet, Key: []byte("k"), ID: RequestID{Origin: 3}, Time: time})
		}
		if got := s.LogTime(); got != want {
			t.Errorf("two stamps %d ms apart make %d ms of log time, want %d", step, got, want)
		}
	}
}

// Goal: within the window nothing is forgotten, and a full table refuses; after
// it the eldest make room. Method: a table of three and stamps on both sides of
// the window's end.
func TestATableOfFreshRecordsRefusesRatherThanForgets(t *testing.T) {
	s := newStore(rules{sessions: 1, lanes: 1, lanesTotal: 1, records: 3})
	clock := uint64(0)
	at := func(c Command, time uint64) Result {
		clock = pass(s, clock, time)
		c.Time = time
		return apply(s, c)
	}
	for i := range 3 {
		at(keyed(fmt.Sprint(i), "a"), uint64(1000+100*i))
	}
	if r := at(keyed("3", "a"), 999+IdempotencyWindow); r.Status != StatusIdempotencyFull || s.Revision() != 3 {
		t.Fatalf("a fourth within the window: %+v", r)
	}
	if r := at(keyed("0", "a"), 0); !r.Replayed {
		t.Errorf("the first, still within the window: %+v", r)
	}
	if r := at(keyed("3", "a"), 1000+IdempotencyWindow); r.Status != StatusOK {
		t.Errorf("a fourth when the first is old enough: %+v", r)
	}
	if r := at(keyed("1", "a"), 0); !r.Replayed {
		t.Errorf("the second, still within the window: %+v", r)
	}
	if r := at(keyed("0", "a"), 1150+IdempotencyWindow); r.Status != StatusOK || r.Replayed {
		t.Errorf("the first, forgotten: %+v", r)
	}
	if s.IdempotencyRecords() != 3 {
		t.Errorf("%d records", s.IdempotencyRecords())
	}
}

// Goal: a long pause is not paid for by one command, and every record goes in
// the end. Method: a thousand records, the window passes, commands go by.
func TestOldRecordsGoAFewAtATime(t *testing.T) {
	s := New()
	for i := range 1000 {
		apply(s, keyed(fmt.Sprint(i), ""))
	}
	frozen := s.Freeze()
	hash := frozen.Hash()
	now := pass(s, 0, IdempotencyWindow-1)
	for left := 1000; left > 0; left -= expiredPerCommand {
		apply(s, Command{Op: OpGet, Key: []byte("k"), Time: now + 2})
		if n := s.IdempotencyRecords(); n != max(left-expiredPerCommand, 0) {
			t.Fatalf("%d records after a command that found %d", n, left)
		}
	}
	if len(s.recordAt) != 0 || len(s.records.chunks) > 1 {
		t.Errorf("%d places and %d chunks are left of no records", len(s.recordAt), len(s.records.chunks))
	}
	if frozen.IdempotencyRecords() != 1000 || frozen.Hash() != hash {
		t.Error("a frozen view lost its records")
	}
}

// Goal: keys are checked in the state machine too, and a command has one memory.
// Method: keys at and over the limits, a key together with a session, on a get.
func TestIdempotencyKeysThatCannotBeAreRefused(t *testing.T) {
	s := New()
	session := openSession(s)
	long := string(bytes.Repeat([]byte("k"), MaxIdempotencyKeyBytes))
	for key, want := range map[string]Status{
		long: StatusOK, "!~": StatusOK, long + "k": StatusUnknownCommand, " ": StatusUnknownCommand,
		"a\x7f": StatusUnknownCommand, "ä": StatusUnknownCommand, "a\n": StatusUnknownCommand,
	} {
		if r := apply(s, keyed(key, "")); r.Status != want {
			t.Errorf("key %q: %v, want %v", key, r.Status, want)
		}
	}
	inSession := keyed("one", "")
	inSession.Session = SessionCall{ID: session, Seq: 1}
	for _, c := range []Command{inSession, {Op: OpGet, Key: []byte("k"), IdempotencyKey: "one"}, {Op: OpOpenSession, IdempotencyKey: "one"}} {
		if r := apply(s, c); r.Status != StatusUnknownCommand {
			t.Errorf("%+v: %v", c, r.Status)
		}
	}
}

// Goal (K7): a request for a lock, under an idempotency key, that has left the queue without
// the lock is made anew when it is repeated; one that waits, holds the lock or has held it is
// not. It is the same in a snapshot, and when the records have ended.
// Method: a lock that another lease holds; requests with a lease and with one that is made
// for them, which wait, are withdrawn, whose lease ends, and which get the lock; a withdrawal
// that comes twice, or late.
func TestARequestThatLeftTheQueueIsMadeAnew(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1000, Grant(7, 1<<30, "")))
	apply(s, at(1000, Grant(8, 1<<30, "")))
	first := apply(s, AcquireCommand(Acquire{Lock: "l", Lease: 7, Limit: 1}))
	own := AcquireCommand(Acquire{Lock: "l", Lease: 8, Limit: 1, Queue: true})
	own.IdempotencyKey = "own"
	made := AcquireCommand(Acquire{Lock: "l", TTL: 5000, Limit: 1, Queue: true})
	made.IdempotencyKey = "made"
	wait := func(c Command, replayed bool, what string) int64 {
		t.Helper()
		r := apply(s, at(1000, c))
		if r.Status != StatusQueued || r.Replayed != replayed {
			t.Fatalf("%s: %v, replayed %v", what, r.Status, r.Replayed)
		}
		if again := restored(t, s); again.Digest() != s.Digest() || again.IdempotencyRecords() != s.IdempotencyRecords() {
			t.Fatalf("%s: another state after a snapshot", what)
		} else {
			s = again
		}
		return r.Lease()
	}
	wait(own, false, "one with a lease")
	wait(own, true, "it keeps its place")
	if r := apply(s, Withdraw("l", 8, false, "own")); r.Status != StatusOK || s.Locks().Waiting() != 0 {
		t.Fatalf("withdrawn: %v, %d wait", r.Status, s.Locks().Waiting())
	}
	wait(own, false, "it comes again")
	apply(s, LeaveQueue("l", 8, false))
	wait(own, true, "one that left by itself")
	if s.Locks().Waiting() != 0 {
		t.Errorf("that waits again")
	}

	// Two requests wait with one lease, each under its key: the one that is withdrawn takes the
	// lease out of the queue, and neither is bound to that. A request of later has its place.
	other := own
	other.IdempotencyKey = "other"
	fresh := own
	fresh.IdempotencyKey = "fresh"
	wait(fresh, false, "one with a lease")
	wait(other, false, "another with its lease")
	if r := apply(s, Withdraw("l", 8, false, "other")); r.Status != StatusOK {
		t.Fatalf("withdrawn: %v", r.Status)
	}
	wait(fresh, false, "its lease was withdrawn under another key")
	wait(fresh, true, "it keeps its place")
	wait(other, false, "the one that was withdrawn")
	if s.Locks().Waiting() != 1 {
		t.Errorf("%d wait", s.Locks().Waiting())
	}
	late := own
	late.IdempotencyKey = "late"
	wait(late, false, "one that came behind the withdrawal")
	apply(s, LeaveQueue("l", 8, false))
	wait(late, true, "and left by itself")

	one := wait(made, false, "one with a lease that is made")
	apply(s, Withdraw("l", one, true, "made"))
	two := wait(made, false, "it comes again")
	if _, alive := s.Leases().Get(one); alive || two == one || s.Locks().Waiting() != 1 {
		t.Errorf("the lease %d is alive: %v; then it waits with %d", one, alive, two)
	}
	apply(s, Withdraw("l", one, true, "made")) // late
	if again := wait(made, true, "it keeps its place"); again != two {
		t.Errorf("behind a late withdrawal it waits with the lease %d, not %d", again, two)
	}
	apply(s, Revoke(two))
	three := wait(made, false, "the lease has ended")
	other = made
	other.Value = AcquireCommand(Acquire{Lock: "l", TTL: 6000, Limit: 1, Queue: true}).Value
	if r := apply(s, other); r.Status != StatusIdempotencyMismatch {
		t.Errorf("another request under the key: %v", r.Status)
	}
	apply(s, Release("l", first.Revision))
	if r := apply(s, Withdraw("l", three, true, "made")); r.Status != StatusLockHeld {
		t.Errorf("a withdrawal behind the grant: %v", r.Status)
	}
	if again := wait(made, true, "it holds the lock"); again != three {
		t.Errorf("it has the lease %d, and the lock %d", again, three)
	}
	records := s.IdempotencyRecords()
	tick := func(ms uint64) { apply(s, at(ms, Command{Op: OpPut, Key: []byte("k")})) }
	for ms := uint64(1000); ms < 2*IdempotencyWindow; ms += 60_000 {
		tick(ms)
	}
	if s.IdempotencyRecords() != 0 || len(s.recordAt) != 0 || records < 5 {
		t.Errorf("of %d records %d are left, and %d names", records, s.IdempotencyRecords(), len(s.recordAt))
	}
	// The record that counts outlives those before it.
	clock := uint64(2 * IdempotencyWindow)
	pass := func(minutes int) {
		for range minutes {
			clock += 60_000
			tick(clock)
		}
	}
	wait(own, false, "once more")
	apply(s, Withdraw("l", 8, false, "own"))
	pass(40)
	wait(own, false, "it comes again")
	pass(30)
	wait(own, true, "behind the end of the first records")
}
