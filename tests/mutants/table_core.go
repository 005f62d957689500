package main

// Who may lead (raft/core: election.go, roles.go, quorum.go, durable.go).
var electionMutants = []mutant{
	{
		id: "M02", bug: "votes are given without a look at the candidate's log (§5.4.1)",
		file:    "raft/core/election.go",
		old:     "\tif lastLogTerm != r.log.lastTerm() {\n\t\treturn lastLogTerm > r.log.lastTerm()\n\t}\n\treturn lastLogIndex >= r.log.lastIndex()",
		new:     "\treturn true",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M04", bug: "a vote is answered before it is on the disk",
		file:    "raft/core/election.go",
		old:     "\t\tr.campaigned = false\n\t}\n\tr.answer(tag, &RequestVoteReply{Term: r.currentTerm, VoteGranted: granted}, 0)",
		new:     "\t\tr.campaigned = false\n\t}\n\tr.answers = append(r.answers, Answer{Tag: tag, Reply: &RequestVoteReply{Term: r.currentTerm, VoteGranted: granted}})",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M06", bug: "the vote is forgotten whenever a server becomes a follower",
		file:    "raft/core/roles.go",
		old:     "\tif term > r.currentTerm {\n\t\tr.currentTerm = term\n\t\tr.votedFor = None\n",
		new:     "\tr.votedFor = None\n\tif term > r.currentTerm {\n\t\tr.currentTerm = term\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M11", bug: "half of the servers count as a majority",
		file:    "raft/core/quorum.go",
		old:     "func majority(n int) int { return n/2 + 1 }",
		new:     "func majority(n int) int { return (n + 1) / 2 }",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M12", bug: "every request for a vote starts the election timer anew, also one that is refused",
		file:    "raft/core/election.go",
		old:     "func (r *Raft) handleRequestVote(tag Tag, req *RequestVote) {\n",
		new:     "func (r *Raft) handleRequestVote(tag Tag, req *RequestVote) {\n\tr.resetElectionTimer()\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M37", bug: "a pre-vote raises the own term",
		file:    "raft/core/roles.go",
		old:     "\tr.role = PreCandidate\n\tr.counts.PreVotes++\n",
		new:     "\tr.role = PreCandidate\n\tr.currentTerm++\n\tr.votedFor = None\n\tr.dirty.hard = true\n\tr.counts.PreVotes++\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C1", bug: "a candidate asks for votes before its own is on the disk",
		file:    "raft/core/election.go",
		old:     "if r.role != Candidate || r.ownVoteCounted || r.promised() > r.saved {",
		new:     "if r.role != Candidate || r.ownVoteCounted {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C2", bug: "votes of an earlier campaign count in a later one",
		file:    "raft/core/election.go",
		old:     "\tif call.generation != r.campaign {\n\t\treturn\n\t}\n",
		new:     "",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C3", bug: "followers depose a leader that they hear",
		file:    "raft/core/election.go",
		old:     "return r.role == Leader || r.leader != None && r.electionElapsed < r.config.ElectionTicks",
		new:     "return false",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C4", bug: "election time-outs are not drawn at random (§5.2)",
		file:    "raft/core/election.go",
		old:     "r.electionTimeout = r.config.ElectionTicks + r.config.Rand.IntN(r.config.ElectionTicks)",
		new:     "r.electionTimeout = r.config.ElectionTicks",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C5", bug: "a leader without a majority does not step down",
		file:    "raft/core/raft.go",
		old:     "if r.config.CheckQuorum && !r.heardFromQuorum() {",
		new:     "if r.config.CheckQuorum && !r.heardFromQuorum() && r.role != Leader {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C6", bug: "all followers stand at once when the connection to the leader dies",
		file:    "raft/core/election.go",
		old:     "r.electionTimeout = r.electionElapsed + 1 + 2*turn",
		new:     "r.electionTimeout = r.electionElapsed + 1",
		oracles: []string{"test ./raft/core", "test ./raft/node", "sim"},
	},
	{
		id: "C7", bug: "an answer to entries leaves with any write, though a later one holds the entries",
		file:    "raft/core/durable.go",
		old:     "\t\tif h.seq > r.saved || h.index > r.durable {\n",
		new:     "\t\tif h.seq > r.saved {\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
}

// What is replicated and committed (raft/core: replication.go, commitment.go,
// progress.go).
var replicationMutants = []mutant{
	{
		id: "M01", bug: "entries of older terms are committed by counting (§5.4.2, Figure 8)",
		file:    "raft/core/commitment.go",
		old:     "ok && index > r.commitIndex && term == r.currentTerm {",
		new:     "ok && index > r.commitIndex && term <= r.currentTerm {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M07", bug: "AppendEntries always truncates, also where the logs agree",
		file:    "raft/core/replication.go",
		old:     "\t\tif ok && term == e.Term {\n\t\t\tcontinue\n\t\t}\n",
		new:     "\t\t_ = term\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M08", bug: "conflicting entries are kept",
		file:    "raft/core/replication.go",
		old:     "\t\t\tr.truncateLog(e.Index) // step 3: only on a real conflict\n",
		new:     "\t\t\tcontinue\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M09", bug: "a follower commits beyond the last entry that the leader vouched for",
		file:    "raft/core/replication.go",
		old:     "r.commitTo(min(req.LeaderCommit, index))",
		new:     "r.commitTo(min(req.LeaderCommit, r.log.lastIndex()))",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M10", bug: "the term before the new entries is not compared",
		file:    "raft/core/replication.go",
		old:     "if term, ok := r.log.term(req.PrevLogIndex); !ok || term != req.PrevLogTerm { // step 2",
		new:     "if _, ok := r.log.term(req.PrevLogIndex); !ok {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M13", bug: "answers count in a term in which they were not asked for",
		file:    "raft/core/replication.go",
		old:     staleAnswers,
		new:     staleAccepted,
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C8", bug: "a follower is believed to hold one entry more than it has",
		file:    "raft/core/replication.go",
		old:     "p.raiseMatch(req.PrevLogIndex + uint64(len(req.Entries)))",
		new:     "p.raiseMatch(min(req.PrevLogIndex+uint64(len(req.Entries))+1, r.log.lastIndex()))",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C9", bug: "a leader counts its own entries before they are on its disk",
		file:    "raft/core/commitment.go",
		old:     "return r.durable",
		new:     "return r.log.lastIndex()",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C10", bug: "entries are acknowledged before they are on the disk",
		file:    "raft/core/replication.go",
		old:     "Success: true, RatherNot: r.ratherNot, Commit: r.commitIndex}, index)",
		new:     "Success: true, RatherNot: r.ratherNot, Commit: r.commitIndex}, 0)",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C11", bug: "entries that were truncated still count as durable",
		file:    "raft/core/durable.go",
		old:     "\tr.durable = min(r.durable, index-1)\n",
		new:     "",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C12", bug: "a write that was under way confirms entries that were truncated meanwhile",
		file:    "raft/core/durable.go",
		old:     "\tr.written.last = min(r.written.last, index-1)\n",
		new:     "",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C13", bug: "with an even number of servers half of them commit",
		file:    "raft/core/quorum.go",
		old:     "return values[len(values)-majority(len(values))]",
		new:     "return values[len(values)/2]",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C14", bug: "a follower's log is backed up over one entry at a time (§5.3)",
		file:    "raft/core/replication.go",
		old:     "reply.ConflictIndex = r.log.firstOfTerm(req.PrevLogIndex)",
		new:     "reply.ConflictIndex = req.PrevLogIndex",
		oracles: []string{"test ./raft/core", "test ./raft 2B"},
	},
	{
		id: "C15", bug: "the first entry of a term is refused for what earlier leaders left",
		file:    "raft/core/raft.go",
		old:     "case r.log.lastTerm() == r.currentTerm && r.backlog() > 0 &&",
		new:     "case r.backlog() > 0 &&",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C16", bug: "a refusal of an older generation moves the place to send from",
		file:    "raft/core/replication.go",
		old:     "case present && p.installing == 0:",
		new:     "case p.installing == 0:",
		oracles: []string{"test ./raft/core", "sim"},
	},
}

// Reads and transfers of leadership (raft/core: reads.go, transfer.go).
var readMutants = []mutant{
	{
		id: "M26", bug: "a new leader gives a read index before it has committed in its term (§8)",
		file:    "raft/core/reads.go",
		old:     "if r.role != Leader || len(r.reads) == 0 || !r.committedInTerm() {",
		new:     "if r.role != Leader || len(r.reads) == 0 {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C17", bug: "a read that came before the leader had committed in its term keeps the index of that time",
		file:    "raft/core/reads.go",
		old:     "\tif r.committedInTerm() {\n\t\tr.joinRound(&read)\n\t}\n",
		new:     "\tr.joinRound(&read)\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C18", bug: "reads join a round that has left already",
		file:    "raft/core/replication.go",
		old:     "\tr.roundOpen = false\n}\n",
		new:     "}\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C19", bug: "reads are released by the round before theirs",
		file:    "raft/core/reads.go",
		old:     "case read.round > answered && !r.isAlone():",
		new:     "case read.round > answered+1 && !r.isAlone():",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C20", bug: "proposals are taken while leadership is being handed over",
		file:    "raft/core/raft.go",
		old:     "case r.transferee != None:\n\t\treturn 0, 0, ErrTransferring\n",
		new:     "",
		oracles: []string{"test ./raft/core", "test ./raft/node", "sim"},
	},
	{
		id: "C21", bug: "leadership is handed to a server whose log is not complete",
		file:    "raft/core/transfer.go",
		old:     "if r.member(r.transferee).progress.matchIndex == r.log.lastIndex() {",
		new:     "if r.member(r.transferee).progress.matchIndex <= r.log.lastIndex() {",
		oracles: []string{"test ./raft/core", "test ./raft/node", "sim"},
	},
}

// Snapshots in the core (raft/core: snapshot.go, forget.go, slow.go).
var snapshotMutants = []mutant{
	{
		id: "M17", bug: "a snapshot is installed that is older than what is committed",
		file:    "raft/core/snapshot.go",
		old:     "} else if s.Index > r.commitIndex { // steps 5 and 7; 8 is the next batch",
		new:     "} else {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M18", bug: "a snapshot drops entries behind it that agree with it",
		file:    "raft/core/snapshot.go",
		old:     "if term, ok := r.log.term(s.Index); ok && term == s.Term {",
		new:     "if term, ok := r.log.term(s.Index); ok && term == s.Term && r.log.lastIndex() == s.Index {",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "M19", bug: "after a restart everything counts as not yet applied, though a snapshot was loaded",
		file:    "raft/core/raft.go",
		old:     "\t\tlastApplied: state.Snapshot.Index,\n\t\tapplying:    state.Snapshot.Index,\n",
		new:     "\t\tlastApplied: 0,\n\t\tapplying:    0,\n",
		oracles: []string{"test ./raft/core", "test ./raft 2D", "sim"},
	},
	{
		id: "C22", bug: "a snapshot may stand for entries that were not handed out for applying",
		file:    "raft/core/snapshot.go",
		old:     "if snapshot.Index <= r.log.snapshot.Index || snapshot.Index > r.applying {",
		new:     "if snapshot.Index <= r.log.snapshot.Index {",
		oracles: []string{"test ./raft/core", "test ./raft", "sim"},
	},
	{
		id: "C23", bug: "entries count as durable that a snapshot has replaced",
		file:    "raft/core/snapshot.go",
		old:     "\tr.undo(r.commitIndex + 1)\n",
		new:     "\tr.written.last = min(r.written.last, r.commitIndex)\n",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C24", bug: "a leader forgets what a follower lacks that answers",
		file:    "raft/core/forget.go",
		old:     "keep = min(keep, max(r.firstMissing(), r.previous+1))",
		new:     "keep = min(keep, r.log.lastIndex()+1)",
		oracles: []string{"test ./raft/core", "sim"},
	},
	{
		id: "C25", bug: "a leader whose disk hangs goes on leading",
		file:    "raft/core/slow.go",
		old:     "return r.config.StallTicks > 0 && r.writeAge >= r.config.StallTicks",
		new:     "return false",
		oracles: []string{"test ./raft/core", "test ./raft/node", "sim"},
	},
}

// The threads around the core (raft/node).
var nodeMutants = []mutant{
	{
		id: "M23", bug: "a proposal counts as chosen by its index, whatever the term of the entry there",
		file:    "raft/node/replica.go",
		old:     "if p.term != chosen {",
		new:     "if p.term != chosen && chosen == 0 {",
		oracles: []string{"test ./raft/node", "sim"},
	},
	{
		id: "N1", bug: "a deposed leader's proposals are called failed",
		file:    "raft/node/replica.go",
		old:     "\tfor _, a := range ready.Answers {",
		new:     "\tif r.Observe().Role != core.Leader {\n\t\tfor _, index := range sortedKeys(r.proposals) {\n\t\t\tr.settle(index, 0, ErrLost)\n\t\t}\n\t}\n\tfor _, a := range ready.Answers {",
		oracles: []string{"test ./raft/node", "sim"},
	},
	{
		id: "N2", bug: "a snapshot calls the proposals that it covers failed, not unknown",
		file:    "raft/node/replica.go",
		old:     "r.settle(index, 0, ErrUnknown)",
		new:     "r.settle(index, 0, ErrLost)",
		oracles: []string{"test ./raft/node", "sim"},
	},
	{
		id: "N3", bug: "a failed write to the disk is taken for one that succeeded",
		file:    "raft/node/node.go",
		old:     "if err := n.storage.Save(w); err != nil {",
		new:     "if err := n.storage.Save(w); err != nil && w == nil {",
		oracles: []string{"test ./raft/node"},
	},
	{
		id: "N4", bug: "the loop waits for the service to take what is committed, as with a lock held",
		file:    "raft/node/node.go",
		old:     "n.batches <- work.Apply",
		new:     "if n.service.Deliver(work.Apply, n.stop) {\n\t\t\tn.inbox.post(event{kind: eventApplied, number: work.Apply.Last()})\n\t\t}",
		oracles: []string{"test ./raft/node", "test ./raft"},
	},
}

// Answers that belong to another term are recognised twice, by the call's term
// and by the answer's: either alone would do.
const (
	staleAnswers = `	if s == nil || r.role != Leader || sentTerm != r.currentTerm {
		return nil
	}
	p := &s.progress
	switch {
	case call.generation < p.minGeneration:
		return nil
	case lost && call.generation == p.generation:
		r.lost(p)
		return nil
	case lost, replyTerm != r.currentTerm:
`
	staleAccepted = `	if s == nil || r.role != Leader {
		return nil
	}
	p := &s.progress
	switch {
	case call.generation < p.minGeneration:
		return nil
	case lost && call.generation == p.generation:
		r.lost(p)
		return nil
	case lost:
`
)
