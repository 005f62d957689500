package core

import "raftkv/raft/members"

// Status is a copy of the state that an operator may want to see.
type Status struct {
	Observed
	FirstIndex uint64 // first index that the log holds in memory; the disk holds it from behind SnapshotIndex on
	LogBytes   int    // size of the log in memory
	// SnapshotWanted says that the service should take a snapshot now, because a
	// follower is to get one and the newest is too old.
	SnapshotWanted bool
	// SnapshotLost says that the file of the newest snapshot was found damaged and
	// there is no newer one yet.
	SnapshotLost bool
	Stalled      bool   // the disk hangs: a write has been outstanding for Config.StallTicks
	WriteTicks   int    // ticks that the outstanding write has taken; 0 if there is none
	UID          UID    // of the cluster; zero until it is known to be committed
	Counts       Counts // what happened since this server started
	Transferee   ID     // the server that leadership is being handed to; None if there is none
	// Rejoining is how far a server has come back that lost its disk. While it has no
	// goal, it waits for the servers in RejoinUnheard; those in RejoinToo have lost
	// their disks as well.
	Rejoining     Rejoining
	RejoinUnheard []ID
	RejoinToo     []ID
	RatherNot     bool // this server would rather not lead
	// UncommittedBytes is, on a leader, the size of the entries above CommitIndex.
	UncommittedBytes int
	// CommittedInTerm says that a leader has committed an entry of its own term. Before
	// that, entries above CommitIndex may be committed already.
	CommittedInTerm bool
	Peers           []PeerStatus // leader only: the other members, sorted by ID, and behind them the servers that leave
	Configurations
}

// Counts are totals since New.
type Counts struct {
	PreVotes    uint64 // campaigns that began by asking (thesis 9.6)
	Campaigns   uint64 // elections in which this server was a candidate
	Elected     uint64 // elections won in a campaign of its own decision
	Transferred uint64 // elections won in a campaign that the leader asked for (thesis 3.10)
	LostQuorum  uint64 // times it stepped down because no majority answered
	StalledDisk uint64 // times it stepped down because its disk hung
}

// PeerStatus is a copy of what a leader knows of a follower.
type PeerStatus struct {
	ID         ID
	MatchIndex uint64
	// LacksBytes is the size of the entries above MatchIndex. Where MatchIndex+1 is below
	// Status.FirstIndex, only what is in memory counts.
	LacksBytes int
	NextIndex  uint64
	Pipelining bool
	Silent     bool // its last call was lost
	RatherNot  bool // it would rather not lead
	Inflight   int  // AppendEntries with entries in flight
	// InflightBytes is the size of those entries.
	InflightBytes int
	// Installing is the index of the snapshot that is being sent to it; 0 if there is none.
	Installing uint64
	// Votes names the halves of the configuration in which it votes; 0: in none, it is
	// a learner or leaves.
	Votes members.Half
	// Leaving says that it was removed and is sent the entries that tell it so.
	Leaving bool
	Unheard int // ticks since it answered
	// Rounds counts, for a learner, the rounds of catching up that have ended (thesis
	// 4.2.1). RoundTicks is how long the last one took, RoundAge the age of the present
	// one. CaughtUp says that both, and Unheard, are below Config.ElectionTicks, and that
	// no snapshot is on its way to it.
	Rounds               uint64
	RoundTicks, RoundAge int
	CaughtUp             bool
}

// Status returns a copy of the present state.
func (r *Raft) Status() Status {
	s := Status{
		Observed: r.Observe(), FirstIndex: r.log.firstIndex(), LogBytes: r.log.size, SnapshotWanted: r.snapshotWanted(), SnapshotLost: r.lostNewest(), Transferee: r.transferee,
		Stalled: r.stalled(), WriteTicks: r.writeAge, UncommittedBytes: r.uncommittedBytes, Counts: r.counts, Rejoining: r.rejoining,
		UID:       r.UID(),
		RatherNot: r.ratherNot, Configurations: r.Configurations(),
	}
	s.RejoinUnheard, s.RejoinToo = r.rejoinWaits()
	if r.role != Leader {
		return s
	}
	s.CommittedInTerm = r.committedInTerm()
	for p := range r.followers {
		at := r.configuration.Position(p.id)
		s.Peers = append(s.Peers, PeerStatus{
			Leaving: at < 0, Unheard: p.unheard,
			ID: p.id, MatchIndex: p.matchIndex, LacksBytes: r.log.bytes(p.matchIndex + 1), NextIndex: p.nextIndex,
			Pipelining: p.pipelining, Silent: p.silent, RatherNot: p.ratherNot, Inflight: len(p.inflight),
			InflightBytes: p.inflightBytes, Installing: p.installing,
			Rounds: p.catchUp.rounds, RoundTicks: p.catchUp.last, RoundAge: p.catchUp.age,
		})
		if at >= 0 {
			peer := &s.Peers[len(s.Peers)-1]
			peer.Votes = r.configuration.Places[at].Votes
			peer.CaughtUp = peer.Votes == 0 && p.caughtUp(r.config.ElectionTicks)
		}
	}
	return s
}

// Entries returns the entries the log holds from index from on, for inspection.
func (r *Raft) Entries(from uint64) []Entry {
	return r.log.slice(max(from, r.log.firstIndex()), r.log.lastIndex(), unlimited)
}

// Note is one thing that happened to a server, noted where its reason is known. It is
// pure data for people: the core never reads one back. There is none per entry, and
// none while nothing changes. What Index, A and B hold is said with each kind; a note
// that leaves Term at 0 gets the term in which it was made.
type Note struct {
	Kind  NoteKind
	Why   Why
	Peer  ID // the other server concerned; None if there is none
	Term  uint64
	Index uint64
	A, B  uint64
}

// NoteKind says what happened.
type NoteKind uint8

// The kinds of notes. Ages are in ticks.
const (
	_                   NoteKind = iota
	NoteTimeout                  // no leader was heard for A ticks; Peer was followed before, if anybody
	NoteSuspected                // the connection to Peer, the leader, was ended by its side, A ticks after it was heard
	NotePreVote                  // it asks for votes that would be given to it in Term; its log ends at Index, of term A
	NoteCampaign                 // it campaigns in Term; its log ends at Index, of term A
	NotePreVoteGranted           // it would vote for Peer in Term
	NotePreVoteRefused           // it would not, for the reason in Why; see NoteVoteRefused
	NoteVoteGranted              // it votes for Peer in Term
	NoteVoteRefused              // it does not: Peer's log ends at Index, its own at A, of term B
	NoteElected                  // it leads Term, with A votes of B voters
	NoteSteppedDown              // it led Term and leads no more, for the reason in Why
	NoteTransfer                 // it begins to hand leadership to Peer
	NoteTransferGivenUp          // Peer did not take over in time
	NoteTransferTaken            // Peer, the leader, asks it to campaign at once
	NoteFollowed                 // it follows Peer as the leader of Term
	NoteFirstCommit              // as leader it commits up to Index, for the first time in Term
	NoteTruncated                // it drops its entries from Index to A; the first is of term B
	NoteMismatch                 // its log, which ends at A of term B, differs from Peer's at Index
	NoteSilent                   // a call to Peer, a follower with the log up to Index, was lost; this log ends at A
	NoteHeard                    // Peer, which was silent, answers; it has the log up to Index, this log ends at A
	NoteSnapshotSent             // Peer, which has the log up to A, gets the snapshot at Index: memory begins at B
	NoteSnapshotTaken            // Peer has the snapshot at Index on its disk
	NoteInstalled                // it takes the snapshot at Index in the place of its log up to A
	NoteForgot                   // Peer has forgotten entries up to Index that it had confirmed
	NoteDiskHangs                // write Index has been with the disk for A ticks
	NoteDiskBack                 // write Index, which took A ticks, is on the disk
	NoteRejoinGoal               // it votes again when it has the log up to Index
	NoteRejoined                 // it has come so far, and votes again
)

// Why is the reason of a note.
type Why uint8

// The reasons. WhyNone stands where the kind says all.
const (
	WhyNone         Why = iota
	WhyOlderTerm        // the candidate's term is over
	WhyHearsLeader      // it hears its leader, or leads
	WhyVoted            // it has voted for another candidate
	WhyLogBehind        // the candidate's log is less complete than its own
	WhyDiskHangs        // its disk hangs
	WhyRejoining        // it has lost its disk and may not vote yet
	WhyNewerTerm        // it saw a newer term
	WhyLostMajority     // no majority answered for ElectionTicks
	WhyTransfer         // it handed leadership over
)

// note keeps a note for the next Ready.
func (r *Raft) note(n Note) {
	if n.Term == 0 {
		n.Term = r.currentTerm
	}
	r.notes = append(r.notes, n)
}

// noteVote notes the answer to a RequestVote, after it was decided.
func (r *Raft) noteVote(req *RequestVote, granted bool) {
	n := Note{Kind: NoteVoteRefused, Peer: req.CandidateID, Term: req.Term, Index: req.LastLogIndex, A: r.log.lastIndex(), B: r.log.lastTerm()}
	switch {
	case granted && req.Pre:
		n.Kind = NotePreVoteGranted
	case granted:
		n.Kind = NoteVoteGranted
	default:
		if req.Pre {
			n.Kind = NotePreVoteRefused
		}
		n.Why = r.whyNoVote(req)
	}
	r.note(n)
}

// whyNoVote returns why a vote was refused. The reasons that handleRequestVote looks
// at first stand first.
func (r *Raft) whyNoVote(req *RequestVote) Why {
	switch {
	case req.Term < r.currentTerm:
		return WhyOlderTerm
	case r.withholdsVote(req), r.role == Leader && req.Term == r.currentTerm:
		return WhyHearsLeader
	case r.rejoining.On:
		return WhyRejoining
	case !r.isUpToDate(req.LastLogIndex, req.LastLogTerm):
		return WhyLogBehind
	case req.Pre && r.stalled():
		return WhyDiskHangs
	case req.Pre && req.Term == r.currentTerm:
		return WhyOlderTerm
	}
	return WhyVoted
}

// noteElected notes an election with the votes that decided it.
func (r *Raft) noteElected() {
	votes := 0
	for i := range r.members {
		if r.members[i].vote == voteGranted {
			votes++
		}
	}
	r.note(Note{Kind: NoteElected, A: uint64(votes), B: uint64(len(r.configuration.Voters()))})
}

// noteNewerTerm notes that a leader is about to lose its office, if term is a newer one.
func (r *Raft) noteNewerTerm(term uint64) {
	if r.role != Leader || term <= r.currentTerm {
		return
	}
	n := Note{Kind: NoteSteppedDown, Why: WhyNewerTerm, A: term}
	if r.timeoutNow && r.transferee != None {
		n.Why, n.Peer = WhyTransfer, r.transferee
	}
	r.note(n)
}

// noteFirstCommit notes that a leader's writes are possible from now on.
func (r *Raft) noteFirstCommit(index uint64) {
	if !r.committedInTerm() {
		r.note(Note{Kind: NoteFirstCommit, Index: index})
	}
}

// noteTruncated notes that entries from index on are about to be dropped.
func (r *Raft) noteTruncated(index uint64) {
	term, _ := r.log.term(index)
	r.note(Note{Kind: NoteTruncated, Peer: r.leader, Index: index, A: r.log.lastIndex(), B: term})
}

// noteSilent notes that a follower has become silent.
func (r *Raft) noteSilent(p *progress) {
	if !p.silent {
		r.note(Note{Kind: NoteSilent, Peer: p.id, Index: p.matchIndex, A: r.log.lastIndex()})
	}
}

// noteHanging notes, once, that the outstanding write is taken for one that hangs.
func (r *Raft) noteHanging() {
	if r.config.StallTicks > 0 && r.writeAge == r.config.StallTicks {
		r.note(Note{Kind: NoteDiskHangs, Index: r.written.seq, A: uint64(r.writeAge)})
	}
}

// noteDiskBack notes that a write which hung is on the disk after all.
func (r *Raft) noteDiskBack() {
	if r.stalled() {
		r.note(Note{Kind: NoteDiskBack, Index: r.written.seq, A: uint64(r.writeAge)})
	}
}
