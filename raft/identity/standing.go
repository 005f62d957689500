package identity

import (
	"fmt"

	"raftkv/raft/core"
)

// Boots tell a directory that was put back from one that went on, but only from one
// start to the next. Within a boot a server tells its peers how far its disk has
// come, and they remember it, because what is durable stays so. A directory that
// comes back with less was put back.
//
// This is why no honest server is mistaken for such a one. Let a peer have said that
// its disk holds term T and entries up to Last, that the last of them is of term
// LastTerm, and that the entries up to Commit are committed.
//
//   - Terms never fall. So a later term below T is a loss.
//   - Committed entries are never truncated. So an end of the log below the lower
//     of Last and Commit is a loss.
//   - An entry that is not committed may be truncated, but only by a leader whose
//     log conflicts with it. If LastTerm is T, all entries came from the leader of
//     T, or were accepted as equal to its log, and that leader truncates nothing
//     that it sent. So in term T an end of the log below Last is a loss. In a later
//     term it is none. If LastTerm is below T, the end of the log may be truncated
//     in T itself, and says nothing.
//
// All of this is about the disk and not about memory: a server that crashes may lose
// what was not durable.

// Standing says how far a server's disk has come.
type Standing struct {
	Term     uint64 // the latest term that is durable
	Last     uint64 // the end of the durable log
	LastTerm uint64 // the term of that entry; 0: not said
	Commit   uint64 // an index up to which the durable log is known to be committed, as far as the log reaches
}

// StandingOf returns how far a disk has come that holds the given state.
func StandingOf(state *core.State) Standing {
	s := Standing{Term: state.Term, Last: state.Snapshot.Index, LastTerm: state.Snapshot.Term, Commit: max(state.Snapshot.Index, state.Commit)}
	if n := len(state.Entries); n > 0 {
		s.Last, s.LastTerm = state.Entries[n-1].Index, state.Entries[n-1].Term
	}
	return s
}

// After returns the standing of the disk once w is durable.
func (s Standing) After(w *core.Write) Standing {
	s.Term = w.Term
	// w.Commit is about the log as this write leaves it. What memory knows to be
	// committed may be other entries than those on the disk.
	s.Commit = max(s.Commit, w.Commit)
	if w.From > 0 {
		s.Last, s.LastTerm = w.From-1, 0
	}
	if w.Snapshot != nil && w.Snapshot.Index >= s.Last {
		s.Last, s.LastTerm = w.Snapshot.Index, w.Snapshot.Term
	}
	if n := len(w.Entries); n > 0 {
		s.Last, s.LastTerm = w.Entries[n-1].Index, w.Entries[n-1].Term
	}
	if w.Snapshot != nil {
		s.Commit = max(s.Commit, w.Snapshot.Index)
	}
	return s
}

// Lost returns what a peer that states s has lost, although its directory had it,
// and "" if it has lost nothing.
func (k Known) Lost(s Standing) string {
	switch {
	case s.Term < k.Term:
		return fmt.Sprintf("it had reached term %d, and is in term %d", k.Term, s.Term)
	case s.Last < k.Held:
		return fmt.Sprintf("it held the committed entries up to %d, and its log ends at %d", k.Held, s.Last)
	case s.Term == k.Term && s.Last < k.Firm:
		return fmt.Sprintf("its log reached to %d in term %d, and ends at %d", k.Firm, k.Term, s.Last)
	}
	return ""
}

// Note returns what is known of a peer after it has stated s on a connection that
// stands.
func (k Known) Note(s Standing) Known {
	if s.Term > k.Term {
		k.Term, k.Firm = s.Term, 0
	}
	k.Held = max(k.Held, min(s.Last, s.Commit))
	if s.Term == k.Term && s.LastTerm == s.Term {
		k.Firm = max(k.Firm, s.Last)
	}
	return k
}

// SameProgress reports whether two entries of one peer say the same of how far its
// disk has come and to which cluster it belongs.
func (k Known) SameProgress(o Known) bool {
	return k.Term == o.Term && k.Held == o.Held && k.Firm == o.Firm && k.UID == o.UID
}
