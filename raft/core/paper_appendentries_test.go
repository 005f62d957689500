package core

import (
	"slices"
	"testing"
)

// The box "AppendEntries RPC" of Figure 2, rule by rule.

// Goal: step 1: entries of an older leader are refused, and it is told the term.
// Method: a follower in term 5 gets a fitting entry of term 4.
func TestFigure2_AppendEntries_Receiver1_RefusesOlderTerm(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(5))
	reply := s.append(AppendEntries{Term: 4, LeaderID: "2", Entries: entriesOf(1, 4), LeaderCommit: 1})
	if reply.Success || reply.Term != 5 || s.leader != None {
		t.Fatalf("answered %+v, follows %q", reply, s.leader)
	}
	s.wantLog()
}

// Goal: step 2: entries fit only behind an entry of the same index and term.
// Method: every previous entry around the log 1 1 2 2; only those it holds fit.
func TestFigure2_AppendEntries_Receiver2_RefusesWithoutTheEntryBefore(t *testing.T) {
	defer failOnPanic(t)
	terms := []uint64{0, 1, 1, 2, 2} // of indices 0 to 4
	for index := uint64(0); index <= 6; index++ {
		for term := uint64(1); term <= 3; term++ {
			s := newSubject(t, withLog(terms[1:]...))
			before := s.log.lastIndex()
			req := AppendEntries{Term: 9, LeaderID: "2", PrevLogIndex: index, PrevLogTerm: term}
			if index == 0 {
				req.PrevLogTerm = 0
			}
			want := index < 5 && terms[index] == req.PrevLogTerm
			if reply := s.append(req); reply.Success != want {
				t.Errorf("previous entry %d of term %d: success %v, want %v", index, req.PrevLogTerm, reply.Success, want)
			}
			if s.log.lastIndex() != before {
				t.Errorf("previous entry %d of term %d: the log changed", index, req.PrevLogTerm)
			}
		}
	}
}

// Goal: §5.3 end: a refusal says where the logs may still agree: the first index
// of the conflicting term, or the end of a log that is too short.
// Method: a follower with log 1 2 2 2 5 refuses probes at every index.
func TestSection5_3_Refusal_NamesTheConflictingTerm(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct{ index, conflictTerm, conflictIndex uint64 }{
		{1, 1, 1}, {2, 2, 2}, {3, 2, 2}, {4, 2, 2}, {5, 5, 5}, {6, 0, 6}, {9, 0, 6},
	} {
		s := newSubject(t, withLog(1, 2, 2, 2, 5))
		reply := s.append(AppendEntries{Term: 9, LeaderID: "2", PrevLogIndex: c.index, PrevLogTerm: 8})
		if want := (AppendEntriesReply{Term: 9, ConflictTerm: c.conflictTerm, ConflictIndex: c.conflictIndex}); reply != want {
			t.Errorf("at %d answered %+v, want %+v", c.index, reply, want)
		}
	}
}

// Goal: step 3: an entry that conflicts goes, and all behind it, even if they
// are of later terms than what comes.
// Method: a log 1 1 2 3 gets 2 of term 4 behind index 2; the write says so too.
func TestFigure2_AppendEntries_Receiver3_DeletesAConflictAndAllBehindIt(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 2, 3))
	s.append(AppendEntries{Term: 4, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 1, Entries: entriesOf(3, 4)})
	s.wantLog(1, 1, 4)
	if w := s.writes[len(s.writes)-1]; w.From != 3 || len(w.Entries) != 1 {
		t.Fatalf("the write replaces from %d with %d entries", w.From, len(w.Entries))
	}
}

// Goal: step 3: what does not conflict stays: a message that is shorter or older
// than the log takes nothing away, nor does it cause a write.
// Method: every prefix of what the follower holds, entries or none, comes again.
func TestFigure2_AppendEntries_Receiver3_KeepsWhatDoesNotConflict(t *testing.T) {
	defer failOnPanic(t)
	terms := []uint64{1, 1, 2, 2}
	for from := range len(terms) {
		for to := from; to <= len(terms); to++ {
			s := newSubject(t, withLog(terms...), inTerm(2))
			req := AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: uint64(from), Entries: entriesOf(uint64(from+1), terms[from:to]...)}
			if from > 0 {
				req.PrevLogTerm = terms[from-1]
			}
			if reply := s.append(req); !reply.Success {
				t.Fatalf("entries %d to %d were refused", from+1, to)
			}
			s.wantLog(terms...)
			if len(s.writes) != 0 {
				t.Fatalf("entries %d to %d were written again: %+v", from+1, to, s.writes)
			}
		}
	}
}

// Goal: step 4: what is not in the log yet is appended, behind what is.
// Method: entries of which the first two are there already.
func TestFigure2_AppendEntries_Receiver4_AppendsWhatIsNew(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 2))
	s.append(AppendEntries{Term: 3, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1, Entries: entriesOf(2, 1, 2, 3, 3)})
	s.wantLog(1, 1, 2, 3, 3)
	if w := s.writes[len(s.writes)-1]; w.From != 4 || len(w.Entries) != 2 {
		t.Fatalf("the write replaces from %d with %d entries", w.From, len(w.Entries))
	}
}

// Goal: step 5: commitIndex = min(leaderCommit, index of last new entry), and it
// never falls.
// Method: messages that match up to some index, with various leaderCommits; the
// log's own tail, which did not match, must not count.
func TestFigure2_AppendEntries_Receiver5_CommitsNoFurtherThanWhatMatched(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 1, 1))
	for i, step := range []struct {
		previous     uint64
		entries      []Entry
		leaderCommit uint64
		want         uint64
	}{
		{1, nil, 4, 1},               // a beat that matched at 1
		{1, nil, 0, 1},               // an older one
		{1, entriesOf(2, 1), 4, 2},   // an entry that was there
		{2, entriesOf(3, 1), 1, 2},   // leaderCommit is behind
		{2, entriesOf(3, 1), 3, 3},   // and is not
		{4, entriesOf(5, 1), 100, 5}, // far ahead
	} {
		s.append(AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: step.previous, PrevLogTerm: 1, Entries: step.entries, LeaderCommit: step.leaderCommit})
		if s.commitIndex != step.want || len(s.applied) != int(step.want) {
			t.Fatalf("step %d: commit index %d, %d applied, want %d", i, s.commitIndex, len(s.applied), step.want)
		}
	}
}

// Goal: an old message that starts below what is committed here is neither
// compared there nor able to touch it; what it has beyond is taken.
// Method: a follower that committed 3 gets messages from index 0 on.
func TestFigure2_AppendEntries_NeverTouchesWhatIsCommitted(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1, 1, 1))
	s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 3, PrevLogTerm: 1, LeaderCommit: 3})
	for _, entries := range [][]Entry{nil, entriesOf(1, 1), entriesOf(1, 1, 1, 1), entriesOf(1, 1, 1, 1, 2)} {
		reply := s.append(AppendEntries{Term: 2, LeaderID: "2", Entries: entries})
		if !reply.Success || s.commitIndex != 3 {
			t.Fatalf("%d entries from 1: %+v, commit index %d", len(entries), reply, s.commitIndex)
		}
	}
	s.wantLog(1, 1, 1, 2)
}

// Goal: a leader that would overwrite what is committed here is a broken
// promise: the server stops rather than follow.
// Method: entry 2 of another term than the committed one.
func TestFigure2_AppendEntries_StopsRatherThanLoseACommittedEntry(t *testing.T) {
	s := newSubject(t, withLog(1, 1, 1))
	s.append(AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: 1, LeaderCommit: 2})
	defer func() {
		if recover() == nil {
			t.Fatal("a committed entry was overwritten")
		}
	}()
	s.append(AppendEntries{Term: 3, LeaderID: "3", PrevLogIndex: 1, PrevLogTerm: 1, Entries: entriesOf(2, 3, 3)})
}

// Goal: "updated on stable storage before responding": success leaves when the
// disk holds the entries; what it holds already is acknowledged at once.
// Method: a slow disk, an append, and a heartbeat about an entry saved before.
func TestFigure2_AppendEntries_IsAnsweredOnlyAfterTheEntriesAreSaved(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withLog(1), inTerm(2))
	s.slowDisk = true
	tag := s.receive("2", &AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1, Entries: entriesOf(2, 2)})
	if s.answers[tag] != nil {
		t.Fatalf("answered %+v before the entry was saved", s.answers[tag])
	}
	beat := s.receive("2", &AppendEntries{Term: 2, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1})
	if s.answers[beat] == nil {
		t.Fatal("a heartbeat about a saved entry waits for the disk")
	}
	s.save()
	if reply, ok := s.answers[tag].(*AppendEntriesReply); !ok || !reply.Success {
		t.Fatalf("answered %+v after the save", s.answers[tag])
	}
}

// Goal: thesis 10.2.1: entries that come while a write is under way go into the
// next one together, and each answer waits for its own.
// Method: three appends, one write at a time.
func TestThesis10_2_1_OneWriteIsUnderWayAndTheRestGathers(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, inTerm(1))
	s.slowDisk = true
	var tags []Tag
	for i := range uint64(3) {
		tags = append(tags, s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: i, PrevLogTerm: min(i, 1), Entries: entriesOf(i+1, 1)}))
	}
	answered := func() []bool {
		return []bool{s.answers[tags[0]] != nil, s.answers[tags[1]] != nil, s.answers[tags[2]] != nil}
	}
	if len(s.writes) != 1 || !slices.Equal(answered(), []bool{false, false, false}) {
		t.Fatalf("%d writes, answered %v", len(s.writes), answered())
	}
	s.save()
	if len(s.writes) != 2 || len(s.writes[1].Entries) != 2 || !slices.Equal(answered(), []bool{true, false, false}) {
		t.Fatalf("writes %+v, answered %v", s.writes, answered())
	}
	s.save()
	if len(s.writes) != 2 || !slices.Equal(answered(), []bool{true, true, true}) {
		t.Fatalf("%d writes, answered %v", len(s.writes), answered())
	}
}
