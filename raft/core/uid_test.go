package core

import (
	"strings"
	"testing"
)

var testUID = UID{1, 2, 3}

func withUID(u UID) func(*Config) {
	return func(c *Config) { c.Noop, c.NewUID = true, u }
}

// wantPanic runs f, which must stop the server with a sentence that holds these
// words.
func wantPanic(t *testing.T, words string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		text := "nothing"
		switch v := recover().(type) {
		case string:
			text = v
		case error:
			text = v.Error()
		}
		if !strings.Contains(text, words) {
			t.Errorf("stopped by %q, want %q", text, words)
		}
	}()
	f()
}

// Goal: the first leader gives the cluster its uid, which is in force when it is
// committed and not before. Method: a server with an empty log leads; look at its
// no-op, at Status before and after a follower has it, and at the write.
func TestTheFirstLeaderGivesTheClusterItsUID(t *testing.T) {
	s := newSubject(t, withUID(testUID))
	calls := s.lead()
	req := s.entriesTo("2", calls)
	if len(req.Entries) != 1 || req.Entries[0].Kind != KindNoop || string(req.Entries[0].Data) != string(testUID[:]) {
		t.Fatalf("the first no-op is %+v", req.Entries)
	}
	if s.Status().UID != (UID{}) || s.UIDAt(1) != testUID {
		t.Fatalf("before it is committed: uid %q, and %q in the log", s.Status().UID, s.UIDAt(1))
	}
	s.accept(s.to("2", calls))
	if s.Status().UID != testUID || s.UIDAt(0) != (UID{}) {
		t.Fatalf("once it is committed: uid %q", s.Status().UID)
	}
}

// Goal: nobody draws a uid where there is one, committed or not, in the log or in
// the snapshot, nor where none is to be drawn. Method: leaders of such logs, and
// one without no-ops; their own first entry, and what a later no-op holds.
func TestALeaderDrawsNoSecondUID(t *testing.T) {
	has := NewEntry(1, 1, KindNoop, testUID[:])
	for name, state := range map[string]State{
		"in the log":       {Term: 1, Entries: []Entry{has}},
		"in the snapshot":  {Term: 1, Snapshot: Snapshot{Index: 5, Term: 1, UID: testUID}},
		"and is committed": {Term: 1, Entries: []Entry{has}, Commit: 1},
	} {
		s := newSubject(t, withUID(UID{9}), func(disk *State) { *disk = state })
		calls := s.lead()
		for _, e := range s.log.entries {
			if e.Kind == KindNoop && e.Index != 1 && len(e.Data) != 0 {
				t.Errorf("%s: a second uid %x", name, e.Data)
			}
		}
		s.accept(s.to("2", calls))
		if s.Status().UID != testUID {
			t.Errorf("%s: the uid became %q", name, s.Status().UID)
		}
	}
	s := newSubject(t, func(c *Config) { c.Noop = true })
	s.accept(s.to("2", s.lead()))
	if e := s.log.entries[0]; len(e.Data) != 0 || s.Status().UID != (UID{}) {
		t.Errorf("without a uid to give, the no-op holds %x", e.Data)
	}
}

// Goal: a uid that was never committed goes with its entry, and then another may
// be drawn. Method: a follower's uncommitted uid is overwritten by a leader whose
// log has none; the follower then leads itself.
func TestAnOverwrittenUIDIsForgotten(t *testing.T) {
	s := newSubject(t, withUID(UID{9}), func(disk *State) {
		*disk = State{Term: 1, Entries: []Entry{NewEntry(1, 1, KindNoop, testUID[:])}}
	})
	s.append(AppendEntries{Term: 2, LeaderID: "2", Entries: []Entry{NewEntry(1, 2, KindCommand, []byte("x"))}})
	if s.UIDAt(1) != (UID{}) {
		t.Fatalf("the log holds uid %q", s.UIDAt(1))
	}
	s.lead()
	if s.UIDAt(2) != (UID{9}) {
		t.Fatalf("the new leader put %q into its no-op", s.UIDAt(2))
	}
}

// Goal: a snapshot carries the uid if the log up to it holds it, to the disk and to
// a follower, which then knows it. Method: compact before and behind the entry with
// the uid; install the leader's snapshot.
func TestASnapshotCarriesTheUID(t *testing.T) {
	s := newSubject(t, func(disk *State) {
		*disk = State{Term: 2, Entries: []Entry{NewEntry(1, 1, KindCommand, nil), NewEntry(2, 2, KindNoop, testUID[:]), NewEntry(3, 2, KindCommand, nil)}, Commit: 3}
	})
	s.run()
	for index, want := range map[uint64]UID{1: {}, 2: testUID} {
		if s.UIDAt(index) != want {
			t.Errorf("a snapshot at %d would carry %q", index, s.UIDAt(index))
		}
	}
	s.Compact(Snapshot{Index: 1})
	s.run()
	s.Compact(Snapshot{Index: 3, UID: UID{7}}) // what the service says is not asked
	s.run()
	before, after := s.writes[len(s.writes)-2].Snapshot, s.writes[len(s.writes)-1].Snapshot
	if before == nil || before.UID != (UID{}) || after == nil || after.UID != testUID {
		t.Fatalf("the snapshots are written as %+v and %+v", before, after)
	}
	if s.Status().UID != testUID {
		t.Errorf("behind its snapshot the server knows %q", s.Status().UID)
	}

	f := newSubject(t)
	f.receive("2", &InstallSnapshot{Term: 2, LeaderID: "2", Snapshot: *after})
	if f.Status().UID != testUID || f.restored[0].UID != testUID {
		t.Errorf("after the leader's snapshot the follower knows %q", f.Status().UID)
	}
}

// Goal: a second uid stops a server, wherever it comes from. Method: an entry and a
// snapshot with another uid than the committed one.
func TestASecondUIDStopsTheServer(t *testing.T) {
	disk := func(disk *State) {
		*disk = State{Term: 1, Entries: []Entry{NewEntry(1, 1, KindNoop, testUID[:])}, Commit: 1}
	}
	wantPanic(t, "entry 2 of term 2 gives the cluster the uid", func() {
		newSubject(t, disk).append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1,
			Entries: []Entry{NewEntry(2, 2, KindNoop, []byte("0123456789abcdef"))}})
	})
	for _, other := range []UID{{}, {9}} {
		wantPanic(t, "sent a snapshot of the cluster", func() {
			newSubject(t, disk).receive("2", &InstallSnapshot{Term: 2, LeaderID: "2", Snapshot: Snapshot{Index: 9, Term: 2, UID: other}})
		})
	}
}
