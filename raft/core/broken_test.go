package core

import (
	"errors"
	"strings"
	"testing"
)

// brokenBy returns what a server says when do makes two histories meet.
func brokenBy(t *testing.T, do func()) (b *Broken) {
	t.Helper()
	defer func() {
		if failed, ok := recover().(error); !ok || !errors.As(failed, &b) || !strings.Contains(b.Error(), "--rejoin") {
			t.Errorf("the server does not end with a sentence for people: %v", failed)
		}
	}()
	do()
	return nil
}

// Goal: a follower ends if a leader's log contradicts what is committed here.
// Method: entries of term 1 are committed; the leader of term 2 sends each message
// that cannot be true, and one that can.
func TestBroken_ALeaderContradictsWhatIsCommitted(t *testing.T) {
	for name, req := range map[string]Request{
		"an entry":            &AppendEntries{Term: 2, LeaderID: "3", Entries: entriesOf(1, 2)},
		"a lone entry":        &AppendEntries{Term: 2, LeaderID: "3", PrevLogIndex: 2, PrevLogTerm: 1, Entries: []Entry{{Index: 3, Term: 2}}},
		"the place before":    &AppendEntries{Term: 2, LeaderID: "3", PrevLogIndex: 2, PrevLogTerm: 2},
		"the last committed":  &AppendEntries{Term: 2, LeaderID: "3", PrevLogIndex: 3, PrevLogTerm: 2},
		"entries and more":    &AppendEntries{Term: 2, LeaderID: "3", PrevLogIndex: 1, PrevLogTerm: 1, Entries: []Entry{{Index: 2, Term: 1}, {Index: 3, Term: 2}, {Index: 4, Term: 2}}},
		"a snapshot of these": &InstallSnapshot{Term: 2, LeaderID: "3", Snapshot: Snapshot{Index: 3, Term: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSubject(t)
			s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1, 1, 1, 1), LeaderCommit: 3})
			s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: 1, PrevLogTerm: 1, LeaderCommit: 3}) // is no contradiction
			brokenBy(t, func() { s.receive("3", req) })
		})
	}
}

// Goal: a leader ends if a follower in its term has committed what it lacks.
// Method: a follower's answers of each kind with a commit index at and beyond the
// end of the leader's log.
func TestBroken_AFollowerHasCommittedMore(t *testing.T) {
	for name, reply := range map[string]AppendEntriesReply{
		"success": {Term: 1, Success: true}, "pending": {Term: 1, Pending: true}, "refused": {Term: 1, ConflictIndex: 1},
	} {
		s := newSubject(t, withNoop)
		call := s.to("2", s.lead())
		fine, wrong := reply, reply
		fine.Commit, wrong.Commit = s.log.lastIndex(), s.log.lastIndex()+1
		t.Run(name, func(t *testing.T) {
			s.giveBack(call, &fine)
			brokenBy(t, func() { s.giveBack(call, &wrong) })
		})
	}
}

// Goal: a follower ends if a confirmed leader would have it read an earlier state
// than it has shown already. Method: read indices at and below the commit index.
func TestBroken_AReadIndexBelowWhatIsCommitted(t *testing.T) {
	s := newSubject(t)
	s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", Entries: entriesOf(1, 1, 1), LeaderCommit: 2})
	ask := func(index uint64) {
		if err := s.Read(7); err != nil {
			t.Fatal(err)
		}
		s.run()
		call := s.to("2", s.takeCalls())
		// What is committed after the question proves nothing.
		s.receive("2", &AppendEntries{Term: 1, LeaderID: "2", PrevLogIndex: s.log.lastIndex(), PrevLogTerm: 1,
			Entries: entriesOf(s.log.lastIndex()+1, 1), LeaderCommit: s.commitIndex + 1})
		s.giveBack(call, &ReadIndexReply{Term: 1, Success: true, Index: index})
	}
	ask(2)
	brokenBy(t, func() { ask(2) })
}
