package main

// What the explorer of raft/core must find alone (docs/testing.md), each row with
// the bounds within which it is found soonest. One bug that was planted, too, is not
// here: answers of an earlier term that count in a later one. With three servers the
// shortest way that we know from there to a broken promise takes five terms and four
// entries.

var membersExplorerMutants = []mutant{
	inExplorer("EX14", "T1 E0 async", "a minority is a majority", "raft/members/quorum.go",
		"func Majority(n int) int { return n/2 + 1 }",
		"func Majority(n int) int { return (n + 1) / 3 }"),
}

var coreExplorerMutants = []mutant{
	inExplorer("EX1", "T1 E0 async", "answers are not held until the disk has what they say", "raft/core/durable.go",
		"\tif h.seq > r.saved || h.index > r.durable {\n\t\tr.held",
		"\tif h.seq > r.saved+9 {\n\t\tr.held"),
	inExplorer("EX2", "T1 E0 async", "the vote is forgotten whenever a server becomes a follower", "raft/core/roles.go",
		"\tif term > r.currentTerm {\n\t\tr.currentTerm = term\n\t\tr.votedFor = None\n",
		"\tr.votedFor = None\n\tif term > r.currentTerm {\n\t\tr.currentTerm = term\n"),
	inExplorer("EX3", "T2 E1 sync timeouts2", "an answer to a heartbeat confirms the leader's whole log", "raft/core/replication.go",
		"p.raiseMatch(req.PrevLogIndex + uint64(len(req.Entries)))",
		"p.raiseMatch(r.log.lastIndex())"),
	inExplorer("EX4", "T2 E0 async", "a candidate asks for votes before its own is on the disk", "raft/core/election.go",
		"if r.role != Candidate || r.ownVoteCounted || r.promised() > r.saved {",
		"if r.role != Candidate || r.ownVoteCounted {"),
	inExplorer("EX5", "T3 E0 noop sync fifo timeouts3", "the longer of two logs wins, whatever its last term (§5.4.1)", "raft/core/election.go",
		"\tif lastLogTerm != r.log.lastTerm() {\n\t\treturn lastLogTerm > r.log.lastTerm()\n\t}\n",
		""),
	inExplorer("EX6", "T1 E2 sync copy1", "a log is truncated where nothing conflicts", "raft/core/appendentries.go",
		"\t\tif ok && term == e.Term {\n\t\t\tcontinue\n\t\t}\n",
		"\t\tif ok && term == e.Term && e.Index <= r.commitIndex {\n\t\t\tcontinue\n\t\t}\n"),
	inExplorer("EX7", "T4 E0 noop single silent sync fifo timeouts4", "entries of older terms are committed by counting (§5.4.2, Figure 8)", "raft/core/commit_apply.go",
		"index > r.commitIndex && term == r.currentTerm {",
		"index > r.commitIndex && term > 0 {"),
	inExplorer("EX8", "T2 E1 noop sync timeouts2 loss1", "a follower commits beyond what its log was compared to", "raft/core/appendentries.go",
		"r.commitTo(min(req.LeaderCommit, index))",
		"r.commitTo(min(req.LeaderCommit, r.log.lastIndex()))"),
	inExplorer("EX9", "T1 E1 async", "the leader counts its own entry before its disk has it", "raft/core/commit_apply.go",
		"\t\treturn r.durable\n",
		"\t\treturn r.log.lastIndex()\n"),
	inExplorer("EX10", "T2 E0 noop async fifo timeouts2 cut1", "a write confirms entries that were truncated while it was under way (the clamp)", "raft/core/durable.go",
		"\tr.written.last = min(r.written.last, index-1)\n",
		""),
	inExplorer("EX11", "T3 E0 noop sync fifo timeouts3", "the term before the entries is not compared", "raft/core/appendentries.go",
		"!ok || term != req.PrevLogTerm {",
		"!ok || term > req.PrevLogTerm+99 {"),
	inExplorer("EX12", "T2 E0 sync dead timeouts3", "votes of an earlier campaign count in a later one", "raft/core/election.go",
		"\tif call.generation != r.campaign {\n\t\treturn\n\t}\n\tcampaigning := r.role == Candidate && !req.Pre && req.Term == r.currentTerm\n",
		"\tcampaigning := r.role == Candidate && !req.Pre\n"),
}
