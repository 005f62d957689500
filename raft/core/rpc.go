package core

import "fmt"

// The messages of the paper, fields only: Figure 2's two boxes, the
// leadership transfer of the thesis (3.10) and the read index of §8 (thesis
// 6.4) for readers on followers, and Rejoin (rejoin.go). Every reply belongs to
// its call; there are no ids in them.

// Request is one of *RequestVote, *AppendEntries, *InstallSnapshot,
// *TimeoutNow, *ReadIndex, *Rejoin.
type Request interface{ request() }

// Reply is one of *RequestVoteReply, *AppendEntriesReply,
// *InstallSnapshotReply, *TimeoutNowReply, *ReadIndexReply, *RejoinReply: the one
// that goes with the request.
type Reply interface{ reply() }

// RequestVote is sent by a candidate to gather votes (§5.2, §5.4.1).
type RequestVote struct {
	Term         uint64 // the term of the candidacy; with Pre, the term that it would have
	CandidateID  ID
	LastLogIndex uint64
	LastLogTerm  uint64
	Pre          bool // thesis 9.6: would you vote for me? Changes nothing at the receiver
	Transfer     bool // thesis 3.10: the leader asked for this election; do not withhold the vote
}

// RequestVoteReply answers RequestVote.
type RequestVoteReply struct {
	Term        uint64 // the voter's currentTerm
	VoteGranted bool
}

// AppendEntries replicates entries; without any it is a heartbeat (§5.2, §5.3).
// Entries have the indices PrevLogIndex+1, PrevLogIndex+2, …
type AppendEntries struct {
	Term         uint64
	LeaderID     ID
	PrevLogIndex uint64
	PrevLogTerm  uint64
	Entries      []Entry
	LeaderCommit uint64
}

// AppendEntriesReply answers AppendEntries. On a rejection the Conflict fields
// let the leader skip a whole term at a time (end of §5.3).
type AppendEntriesReply struct {
	Term    uint64
	Success bool
	// ConflictTerm is the term of the follower's entry at PrevLogIndex; 0 when
	// its log is shorter than that.
	ConflictTerm uint64
	// ConflictIndex is the first index the follower holds of ConflictTerm, or
	// the index after its last entry when the log is too short.
	ConflictIndex uint64
	// Pending, without Success, says that the log matches as far as Success would say,
	// but the follower confirms nothing: its disk does not hold all of it yet, or its
	// state machine is too far behind. While only the disk is late, calls with entries
	// are not answered so.
	Pending bool
	// RatherNot says that the follower had better not lead: leadership should go to
	// another server.
	RatherNot bool
	// Commit is the follower's commit index when it answered; 0 if it says nothing.
	Commit uint64
}

// InstallSnapshot brings a follower that needs what the leader's log has
// forgotten up to the leader's snapshot, in one piece (Figure 13).
type InstallSnapshot struct {
	Term     uint64
	LeaderID ID
	Snapshot Snapshot
}

// InstallSnapshotReply answers InstallSnapshot. With the request's term it says
// that the follower holds everything up to the snapshot's index on its disk.
type InstallSnapshotReply struct {
	Term uint64
}

// TimeoutNow asks the receiver to campaign at once (thesis 3.10).
type TimeoutNow struct {
	Term     uint64
	LeaderID ID
}

// TimeoutNowReply answers TimeoutNow.
type TimeoutNowReply struct {
	Term uint64
}

// ReadIndex asks the leader for an index at which a read is linearizable.
type ReadIndex struct {
	Term uint64 // the follower's currentTerm
}

// ReadIndexReply answers ReadIndex. Index means something only if Success.
type ReadIndexReply struct {
	Term    uint64
	Success bool
	Index   uint64
}

// Rejoin is sent to every other server by one that has lost its disk, to learn
// what it may have promised. A leader forgets what it knew of the sender.
type Rejoin struct{}

// RejoinReply answers Rejoin.
type RejoinReply struct {
	Term      uint64 // the server's currentTerm
	Rejoining bool   // it has lost its disk itself: the rest says nothing
	Leads     bool   // it leads that term
	LastIndex uint64 // the end of its log
	UID       UID    // of its cluster; zero: it does not know it yet
}

func (*RequestVote) request()     {}
func (*AppendEntries) request()   {}
func (*InstallSnapshot) request() {}
func (*TimeoutNow) request()      {}
func (*ReadIndex) request()       {}
func (*Rejoin) request()          {}

func (*RequestVoteReply) reply()     {}
func (*AppendEntriesReply) reply()   {}
func (*InstallSnapshotReply) reply() {}
func (*TimeoutNowReply) reply()      {}
func (*ReadIndexReply) reply()       {}
func (*RejoinReply) reply()          {}

// Valid reports whether the message could have come from a server that keeps
// the rules: its entries follow PrevLogIndex without gaps, their terms never
// fall and none is later than the leader's. A transport checks it before it
// hands the message over.
func (req *AppendEntries) Valid() error {
	index, term := req.PrevLogIndex, req.PrevLogTerm
	for _, e := range req.Entries {
		index++
		if e.Index != index || e.Term < term {
			return fmt.Errorf("core: entry %d of term %d follows entry %d of term %d", e.Index, e.Term, index-1, term)
		}
		term = e.Term
	}
	if term > req.Term {
		return fmt.Errorf("core: an entry of term %d from a leader of term %d", term, req.Term)
	}
	return nil
}
