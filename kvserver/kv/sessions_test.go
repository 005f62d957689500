package kv

import (
	"fmt"
	"math"
	"testing"
)

func openSession(s *Store) uint64 { return apply(s, Command{Op: OpOpenSession}).Session }

func appendIn(s *Store, session uint64, lane uint32, seq uint64, value string) Result {
	return apply(s, Command{
		Op: OpAppend, Key: []byte("k"), Value: []byte(value),
		Session: SessionCall{ID: session, Lane: lane, Seq: seq},
	})
}

func valueOf(s *Store, key string) string {
	item, _ := s.Get([]byte(key))
	return string(item.Value)
}

// Goal: a call of a session is applied once, however often and late it comes.
// Method: repeat calls at once, after other lanes, and after later calls.
func TestACallOfASessionIsAppliedOnce(t *testing.T) {
	s := New()
	id := openSession(s)
	first := appendIn(s, id, 0, 1, "a")
	if first.Replayed || first.Status != StatusOK || first.Length != 1 || !first.Created {
		t.Fatalf("first call: %+v", first)
	}
	again := first
	again.Replayed = true
	appendIn(s, id, 1, 1, "b")
	for range 3 {
		if r := appendIn(s, id, 0, 1, "a"); !sameResult(r, again) {
			t.Errorf("repeat: %+v, want %+v", r, again)
		}
	}
	if r := appendIn(s, id, 0, 3, "c"); r.Replayed || r.Length != 3 {
		t.Errorf("next call, numbers may skip: %+v", r)
	}
	for _, seq := range []uint64{1, 2} {
		if r := appendIn(s, id, 0, seq, "a"); r.Status != StatusStale || r.Replayed {
			t.Errorf("late repeat of %d: %+v", seq, r)
		}
	}
	if got := valueOf(s, "k"); got != "abc" {
		t.Errorf("value %q, want abc", got)
	}
	if s.Revision() != 3 {
		t.Errorf("revision %d, want 3", s.Revision())
	}
}

// Goal: a repeat gets the first answer even when that was a refusal, and when
// the store would answer differently by now.
// Method: make an append fail by its length, make room, repeat it.
func TestARepeatGetsTheFirstAnswerEvenARefusal(t *testing.T) {
	s := New()
	id := openSession(s)
	put(s, "k", "1234")
	c := Command{
		Op: OpAppend, Key: []byte("k"), Value: []byte("5"), MaxLength: 4,
		Session: SessionCall{ID: id, Seq: 1},
	}
	if r := apply(s, c); r.Status != StatusTooLong || r.Replayed {
		t.Fatalf("%+v", r)
	}
	put(s, "k", "1")
	if r := apply(s, c); r.Status != StatusTooLong || !r.Replayed {
		t.Errorf("repeat: %+v", r)
	}
	if got := valueOf(s, "k"); got != "1" {
		t.Errorf("value %q: the refused append was applied", got)
	}
}

// Goal: a get is read afresh each time and leaves the lane alone, but keeps its
// session alive.
// Method: repeat a get around a change; then let other sessions push out the
// one that only reads.
func TestGetsAreReadAfreshAndKeepTheirSessionAlive(t *testing.T) {
	s := newStore(rules{sessions: 2, lanes: 4, lanesTotal: 8})
	reader := openSession(s)
	get := func() Result {
		return apply(s, Command{Op: OpGet, Key: []byte("k"), Session: SessionCall{ID: reader, Seq: 7}})
	}
	put(s, "k", "old")
	if r := get(); string(r.Value) != "old" || r.Replayed {
		t.Fatalf("%+v", r)
	}
	put(s, "k", "new")
	if r := get(); string(r.Value) != "new" || r.Replayed {
		t.Errorf("repeated get: %+v", r)
	}
	if r := appendIn(s, reader, 0, 1, "!"); r.Status != StatusOK || r.Replayed {
		t.Errorf("a write numbered below a get: %+v", r)
	}
	for range 3 {
		openSession(s)
		if r := get(); r.Status != StatusOK {
			t.Fatalf("the session that was just used is gone: %+v", r)
		}
	}
}

// Goal: sessions are bounded; the one least recently used in the log goes, with
// its lanes, and is then definitely unknown.
// Method: fill the table, use one of the oldest, open more.
func TestTheLeastRecentlyUsedSessionIsEvicted(t *testing.T) {
	s := newStore(rules{sessions: 3, lanes: 4, lanesTotal: 12})
	a, b, c := openSession(s), openSession(s), openSession(s)
	appendIn(s, a, 0, 1, "a")
	appendIn(s, b, 0, 1, "b")
	appendIn(s, a, 0, 1, "a") // a repeat is a use
	d := openSession(s)       // evicts c
	e := openSession(s)       // evicts b
	if s.Sessions() != 3 {
		t.Fatalf("%d sessions, want 3", s.Sessions())
	}
	for id, want := range map[uint64]Status{a: StatusOK, b: StatusSessionExpired, c: StatusSessionExpired, d: StatusOK, e: StatusOK, 1 << 40: StatusSessionExpired} {
		if r := appendIn(s, id, 3, 1, ""); r.Status != want {
			t.Errorf("session %d: %v, want %v", id, r.Status, want)
		}
	}
	if s.lanes.Len() != 4 {
		t.Errorf("%d lanes, want two of a, one of d and one of e", s.lanes.Len())
	}
	if s.recency.Len() != s.Sessions() {
		t.Errorf("%d entries of recency for %d sessions", s.recency.Len(), s.Sessions())
	}
	if got := valueOf(s, "k"); got != "ab" {
		t.Errorf("value %q, want ab", got)
	}
}

// Goal: the lanes of all sessions together are bounded, and the session that
// opens one more lane is not the one to go.
// Method: fill the total with two sessions, open lanes in the elder one.
func TestLanesTogetherAreBounded(t *testing.T) {
	s := newStore(rules{sessions: 10, lanes: 4, lanesTotal: 6})
	elder, younger := openSession(s), openSession(s)
	for lane := range uint32(4) {
		appendIn(s, younger, lane, 1, "")
	}
	for lane := range uint32(4) {
		if r := appendIn(s, elder, lane, 1, ""); r.Status != StatusOK {
			t.Fatalf("lane %d: %v", lane, r.Status)
		}
	}
	if s.lanes.Len() != 4 || s.Sessions() != 1 {
		t.Errorf("%d lanes in %d sessions, want the elder session's four", s.lanes.Len(), s.Sessions())
	}
	if r := appendIn(s, elder, 0, 1, ""); !r.Replayed {
		t.Errorf("the session in use lost its memory: %+v", r)
	}
}

// Goal: lanes out of range and unnumbered calls are refused and leave nothing.
// Method: calls at the edges.
func TestBadLanesAndNumbersAreRefused(t *testing.T) {
	s := New()
	id := openSession(s)
	for _, c := range []struct {
		lane uint32
		seq  uint64
		want Status
	}{{MaxLanes, 1, StatusBadCall}, {1<<32 - 1, 1, StatusBadCall}, {0, 0, StatusBadCall}, {MaxLanes - 1, 1, StatusOK}} {
		if r := appendIn(s, id, c.lane, c.seq, "x"); r.Status != c.want {
			t.Errorf("lane %d, number %d: %v, want %v", c.lane, c.seq, r.Status, c.want)
		}
	}
	if s.lanes.Len() != 1 || valueOf(s, "k") != "x" {
		t.Errorf("%d lanes, value %q", s.lanes.Len(), valueOf(s, "k"))
	}
}

// Goal: log time only rises, by what one server's clock measured between two of
// its commands, and never by what two clocks differ.
// Method: stamps out of order, of servers whose clocks are far apart, and none, on
// commands that are refused.
func TestLogTimePassesByOneClockAtATime(t *testing.T) {
	s := New()
	for _, step := range []struct{ origin, stamp, want uint64 }{
		{1, 1000, 0}, {1, 1050, 50}, {1, 1020, 50}, {1, 0, 50}, {1, 1060, 60}, // one server's
		{2, 9_000_000, 60}, {2, 9_000_007, 67}, // another's, hours ahead
		{1, 1100, 67}, {1, 1101, 68}, // the first one's again
		{3, math.MaxUint64, 68}, {3, 5, 68}, {4, 1, 68}, {4, math.MaxUint64, 68 + maxTimeStep}, {4, math.MaxUint64, 68 + maxTimeStep},
	} {
		apply(s, Command{Op: OpDelete, ID: RequestID{Origin: step.origin}, Time: step.stamp})
		if s.LogTime() != step.want {
			t.Errorf("stamp %d of %d: log time %d, want %d", step.stamp, step.origin, s.LogTime(), step.want)
		}
	}
	s.logTime = math.MaxUint64 - 2
	apply(s, Command{Op: OpDelete, ID: RequestID{Origin: 5}, Time: 1})
	apply(s, Command{Op: OpDelete, ID: RequestID{Origin: 5}, Time: 10})
	if s.LogTime() != math.MaxUint64 {
		t.Errorf("log time went on from its end to %d", s.LogTime())
	}
}

// Goal: every status has a name of its own.
// Method: collect them.
func TestStatusesAreNamed(t *testing.T) {
	names := map[string]bool{}
	for s := StatusOK; s <= statusMax; s++ {
		names[s.String()] = true
	}
	if len(names) != int(statusMax)+1 || names[fmt.Sprintf("status(%d)", statusMax)] {
		t.Errorf("%v", names)
	}
}
