package raft

import (
	"raftkv/raft/core"
)

// The labs' RPCs. labrpc and labgob determine their names, that they take
// pointers and that all fields are exported. A zero Term in a reply means that
// the server was stopped before it could answer: once any server campaigns, no
// term is 0. Only a pre-vote is granted in term 0.

// RequestVoteArgs is Figure 2's RequestVote.
type RequestVoteArgs struct {
	Term         uint64
	CandidateId  string
	LastLogIndex uint64
	LastLogTerm  uint64
	PreVote      bool // would you vote for me in Term? Changes nothing at the receiver
}

// RequestVoteReply answers RequestVoteArgs.
type RequestVoteReply struct {
	Term        uint64
	VoteGranted bool
}

// AppendEntriesArgs is Figure 2's AppendEntries. Count entries are encoded one
// after the other in Entries, because gob would describe a slice of structs at
// length in every call.
type AppendEntriesArgs struct {
	Term         uint64
	LeaderId     string
	PrevLogIndex uint64
	PrevLogTerm  uint64
	Count        int
	Entries      []byte
	LeaderCommit uint64
}

// AppendEntriesReply answers AppendEntriesArgs; see core.AppendEntriesReply for
// the two fields that speed up backing up, and for Pending.
type AppendEntriesReply struct {
	Term          uint64
	Success       bool
	ConflictTerm  uint64
	ConflictIndex uint64
	Pending       bool
}

// InstallSnapshotArgs is Figure 13's InstallSnapshot, in one piece.
type InstallSnapshotArgs struct {
	Term              uint64
	LeaderId          string
	LastIncludedIndex uint64
	LastIncludedTerm  uint64
	Data              []byte
}

// InstallSnapshotReply answers InstallSnapshotArgs.
type InstallSnapshotReply struct {
	Term uint64
}

// RequestVote is called by candidates over labrpc.
func (rf *Raft) RequestVote(args *RequestVoteArgs, reply *RequestVoteReply) {
	answer, ok := rf.handle(core.ID(args.CandidateId), &core.RequestVote{
		Term: args.Term, CandidateID: core.ID(args.CandidateId),
		LastLogIndex: args.LastLogIndex, LastLogTerm: args.LastLogTerm, Pre: args.PreVote,
	})
	if ok {
		*reply = RequestVoteReply(*answer.(*core.RequestVoteReply))
	}
}

// AppendEntries is called by leaders over labrpc.
func (rf *Raft) AppendEntries(args *AppendEntriesArgs, reply *AppendEntriesReply) {
	entries, err := core.DecodeEntries(args.Entries, args.PrevLogIndex+1, args.Count)
	if err != nil {
		return // not from a server of this cluster: treated as lost
	}
	request := &core.AppendEntries{
		Term: args.Term, LeaderID: core.ID(args.LeaderId),
		PrevLogIndex: args.PrevLogIndex, PrevLogTerm: args.PrevLogTerm,
		Entries: entries, LeaderCommit: args.LeaderCommit,
	}
	if request.Valid() != nil {
		return
	}
	if answer, ok := rf.handle(request.LeaderID, request); ok {
		a := answer.(*core.AppendEntriesReply)
		*reply = AppendEntriesReply{
			Term: a.Term, Success: a.Success, ConflictTerm: a.ConflictTerm, ConflictIndex: a.ConflictIndex, Pending: a.Pending,
		}
	}
}

// InstallSnapshot is called by leaders over labrpc.
func (rf *Raft) InstallSnapshot(args *InstallSnapshotArgs, reply *InstallSnapshotReply) {
	answer, ok := rf.handle(core.ID(args.LeaderId), &core.InstallSnapshot{
		Term: args.Term, LeaderID: core.ID(args.LeaderId),
		Snapshot: core.Snapshot{Index: args.LastIncludedIndex, Term: args.LastIncludedTerm, Data: args.Data},
	})
	if ok {
		*reply = InstallSnapshotReply(*answer.(*core.InstallSnapshotReply))
	}
}

// handle gives a request to the node and waits for the answer; false if the
// server was stopped first.
func (rf *Raft) handle(from core.ID, request core.Request) (core.Reply, bool) {
	answers := make(chan core.Reply, 1)
	rf.node.Receive(from, request, func(reply core.Reply) { answers <- reply })
	select {
	case reply := <-answers:
		return reply, true
	case <-rf.node.Stopping():
		return nil, false
	}
}

// labTransport carries calls over the labs' network: a goroutine each, since
// Call blocks for as long as the network likes.
type labTransport struct{ peers map[core.ID]Peer }

// Send makes the call that goes with the request.
func (t labTransport) Send(call core.Call, done func(core.Call, core.Reply)) {
	peer := t.peers[call.To]
	go func() { done(call, callPeer(peer, call.Request)) }()
}

// callPeer returns the reply, or nil if the call was lost.
func callPeer(peer Peer, request core.Request) core.Reply {
	switch req := request.(type) {
	case *core.RequestVote:
		var reply RequestVoteReply
		args := &RequestVoteArgs{
			Term: req.Term, CandidateId: string(req.CandidateID),
			LastLogIndex: req.LastLogIndex, LastLogTerm: req.LastLogTerm, PreVote: req.Pre,
		}
		if peer.Call("Raft.RequestVote", args, &reply) && (reply.Term != 0 || reply.VoteGranted) {
			answer := core.RequestVoteReply(reply)
			if req.Pre && answer.VoteGranted && answer.Term == req.Term {
				answer.Term-- // a peer that knows no pre-vote has voted, and will vote again when it is asked
			}
			return &answer
		}
	case *core.AppendEntries:
		var reply AppendEntriesReply
		args := &AppendEntriesArgs{
			Term: req.Term, LeaderId: string(req.LeaderID),
			PrevLogIndex: req.PrevLogIndex, PrevLogTerm: req.PrevLogTerm,
			Count: len(req.Entries), Entries: core.EncodeEntries(nil, req.Entries), LeaderCommit: req.LeaderCommit,
		}
		if peer.Call("Raft.AppendEntries", args, &reply) && reply.Term != 0 {
			answer := core.AppendEntriesReply{
				Term: reply.Term, Success: reply.Success, Pending: reply.Pending,
				ConflictTerm: reply.ConflictTerm, ConflictIndex: reply.ConflictIndex,
			}
			return &answer
		}
	case *core.InstallSnapshot:
		var reply InstallSnapshotReply
		args := &InstallSnapshotArgs{
			Term: req.Term, LeaderId: string(req.LeaderID),
			LastIncludedIndex: req.Snapshot.Index, LastIncludedTerm: req.Snapshot.Term, Data: req.Snapshot.Data,
		}
		if peer.Call("Raft.InstallSnapshot", args, &reply) && reply.Term != 0 {
			answer := core.InstallSnapshotReply(reply)
			return &answer
		}
	}
	return nil
}
