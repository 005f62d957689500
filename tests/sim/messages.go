package main

import (
	"fmt"

	"raftkv/raft/core"
)

// gotRequest records that a server takes a request.
func (w *world) gotRequest(s, from *server, request core.Request) {
	n := uint64(from.index + 1)
	switch req := request.(type) {
	case *core.RequestVote:
		w.event(s.index, evGotVote, n, req.Term, req.LastLogIndex, req.LastLogTerm, bit(req.Pre), bit(req.Transfer))
	case *core.AppendEntries:
		w.event(s.index, evGotAppend, n, req.Term, req.PrevLogIndex, req.PrevLogTerm, uint64(len(req.Entries)), req.LeaderCommit)
	case *core.InstallSnapshot:
		w.event(s.index, evGotSnapshot, n, req.Term, req.Snapshot.Index, req.Snapshot.Term)
	case *core.TimeoutNow:
		w.oracles.elections.told[ballot{s, req.Term + 1}] = true
		w.event(s.index, evGotTimeoutNow, n, req.Term)
	case *core.ReadIndex:
		w.event(s.index, evGotReadIndex, n, req.Term)
	case *core.Rejoin:
		w.event(s.index, evGotRejoin, n)
	default:
		panic(fmt.Sprintf("unknown request %T", request))
	}
}

// callEnded records that a server learns how its call ended.
func (w *world) callEnded(s, to *server, request core.Request, reply core.Reply) {
	n := uint64(to.index + 1)
	if reply == nil {
		w.event(s.index, evLost, n, kindOf(request))
		return
	}
	switch rep := reply.(type) {
	case *core.RequestVoteReply:
		w.event(s.index, evVoteEnd, n, request.(*core.RequestVote).Term, rep.Term, bit(rep.VoteGranted))
	case *core.AppendEntriesReply:
		req := request.(*core.AppendEntries)
		w.event(s.index, evAppendEnd, n, req.PrevLogIndex+uint64(len(req.Entries)), rep.Term, bit(rep.Success), rep.ConflictIndex, rep.ConflictTerm)
	case *core.InstallSnapshotReply:
		w.event(s.index, evSnapshotEnd, n, request.(*core.InstallSnapshot).Snapshot.Index, rep.Term)
	case *core.TimeoutNowReply:
		w.event(s.index, evTimeoutNowEnd, n, rep.Term)
	case *core.ReadIndexReply:
		w.event(s.index, evReadIndexEnd, n, rep.Term, bit(rep.Success), rep.Index)
	case *core.RejoinReply:
		w.event(s.index, evRejoinEnd, n, rep.Term, bit(rep.Rejoining), bit(rep.Leads), rep.LastIndex)
	default:
		panic(fmt.Sprintf("unknown reply %T", reply))
	}
}

func kindOf(request core.Request) uint64 {
	switch request.(type) {
	case *core.RequestVote:
		return 1
	case *core.AppendEntries:
		return 2
	case *core.InstallSnapshot:
		return 3
	case *core.TimeoutNow:
		return 4
	case *core.ReadIndex:
		return 5
	case *core.Rejoin:
		return 6
	}
	panic(fmt.Sprintf("unknown request %T", request))
}
