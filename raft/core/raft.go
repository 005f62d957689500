package core

import (
	"fmt"

	"raftkv/raft/members"
)

// Raft is one server's part in consensus: a plain object that its driver tells what
// happened, and that says what is to be done. It is not safe for concurrent use; see
// the package comment for the driver's four duties.
//
// The fields stand in Figure 2's order. Everything below them is this
// implementation's own.
type Raft struct {
	config        Config                 // as given, with defaults filled in
	configuration *members.Configuration // the members of the cluster, and which of them count in its decisions (package members)
	members       []memberState          // what is kept of each member, sorted by ID (configuration.go); votes, progress, answers to Rejoin

	// Persistent state on all servers. Every change marks itself in dirty, so
	// that nothing which depends on it leaves before it is saved (durable.go).

	currentTerm uint64 // latest term seen; never falls (roles.go, election.go)
	votedFor    ID     // candidate that got this server's vote in currentTerm; set at most once a term (election.go)
	log         log    // entries since the last snapshot (log.go); changed by appendentries.go, snapshot.go and Propose

	// Volatile state on all servers.

	commitIndex uint64 // highest index known to be committed; never falls (commit_apply.go)
	lastApplied uint64 // highest index the state machine has applied; never falls (commit_apply.go)

	// Volatile state on leaders: servers[i].progress holds nextIndex, matchIndex and
	// what is in flight for each follower. Reset by becomeLeader; of no meaning
	// otherwise.

	// Volatile state of the role (roles.go, election.go).

	role             Role   // follower, pre-candidate, candidate or leader
	leader           ID     // whose AppendEntries this server follows in currentTerm; None if unknown
	campaign         uint64 // number of the present campaign: answers to an earlier one are not counted
	campaigned       bool   // a campaign was begun since a leader was heard or a vote was given
	ownVoteCounted   bool   // the own vote is saved and the requests for the others' have been made
	transferred      bool   // this campaign was asked for by the leader (thesis 3.10)
	electionElapsed  int    // ticks since the leader was heard, a vote was given or a campaign began; on a leader since the last quorum check
	electionTimeout  int    // ticks after which a campaign begins; drawn anew for each wait
	heartbeatElapsed int    // leader: ticks since the last heartbeats

	// Durability (durable.go).

	dirty   dirty  // what changed since the last write was handed out
	written write  // the last write handed out
	saved   uint64 // sequence number of the last write known to be on the disk
	durable uint64 // last index of the log known to be on the disk: the leader's matchIndex for itself
	held    []held // answers that wait for a write, in the order they were given

	writeAge  int  // ticks that the outstanding write has taken (slow.go)
	syncTicks int  // what writes have taken lately (slow.go)
	yielded   bool // this wait for a leader was made longer for somebody's campaign (slow.go)
	drewAgain bool // the end of this campaign, which went on beyond its timeout, was drawn anew (slow.go)

	// The state machine's door (commit_apply.go).

	applying         uint64 // last index handed out for applying; lastApplied until the batch is acknowledged
	uncommittedBytes int    // leader: size of the entries above commitIndex
	unsavedBytes     int    // leader: size of the entries above durable
	unappliedBytes   int    // size of the entries in memory above lastApplied, up to commitIndex

	// What stays in memory (forget.go).

	previous     uint64 // index of the snapshot before the newest in this life; 0 if there was none
	taking       uint64 // index of the snapshot that the service is taking; 0 if there is none
	lostSnapshot uint64 // index of the newest snapshot whose file was found damaged; 0 if there is none
	appliedBytes int    // size of the entries applied since something was last forgotten

	// Linearizable reads (reads.go).

	round  uint64        // the latest question "am I still leader?"; never falls
	reads  []pendingRead // leader: reads that wait for their round, oldest first
	asking []Tag         // follower: reads to ask the leader about with the next ReadIndex
	asked  ID            // follower: whom the latest ReadIndex was sent to; None if it has returned
	asks   uint64        // number of that ReadIndex
	askAge int           // ticks since the latest round began or the latest ReadIndex left

	// Servers that had better not lead (transfer.go).

	ratherNot bool // this is one
	waited    int  // waits for a leader that this one let pass; since the last leader or vote

	// Changes of the membership (membership.go).

	leaving []leaver       // leader: servers that were removed and do not know it yet
	told    Configurations // those that the last Ready has told of

	// Leadership transfer (transfer.go).

	transferee ID   // leader: the server that shall lead next; None if there is no transfer
	timeoutNow bool // TimeoutNow has been sent to the transferee

	// The way back after the disk was lost (rejoin.go).

	rejoining   Rejoining // durable, like term and vote
	agreed      position  // how far the log is known to be that of the leader of agreed.Term
	goalUID     UID       // named by all whose answers made the goal, in this process
	rejoinRound uint64    // rises with every other server that turns out to be rejoining, too

	counts     Counts     // what happened in this life, for people (status.go)
	generation uint64     // the last generation given to a follower's progress; unique over terms
	calls      []Call     // requests made since the last Ready
	answers    []Answer   // answers released since the last Ready
	forgot     []ID       // followers that were found to have forgotten something since the last Ready
	notes      []Note     // what happened since the last Ready, and why (status.go)
	readsDone  []ReadDone // ends of reads since the last Ready
	observed   Observed   // the state at the last Ready, for the delta checks
}

// New returns a server that continues from what is on its disk. It panics if
// the configuration or the state contradicts itself: starting on either could
// break a promise made earlier.
func New(config Config, state State) *Raft {
	config = config.withDefaults()
	r := &Raft{
		config:      config,
		currentTerm: state.Term,
		votedFor:    state.VotedFor,
		log:         newLog(static(config.Peers, config.ID), state.Snapshot, state.Entries),
		commitIndex: max(state.Snapshot.Index, state.Commit),
		lastApplied: state.Snapshot.Index,
		applying:    state.Snapshot.Index,
	}
	r.adopt()
	assert(state.Term >= r.log.lastTerm(), "term %d is older than the log's last entry, of term %d", state.Term, r.log.lastTerm())
	assert(state.Commit <= r.log.lastIndex(), "the log ends with entry %d, and those up to %d are known to be committed", r.log.lastIndex(), state.Commit)
	r.durable = r.log.lastIndex()
	r.unappliedBytes = r.log.sizeOf(state.Snapshot.Index+1, r.commitIndex)
	r.written.last = r.durable
	r.written.commit = state.Commit
	r.rejoining = state.Rejoining
	r.resetElectionTimer()
	if config.PromptStart && r.currentTerm == 0 {
		r.electionTimeout -= config.ElectionTicks
	}
	r.syncTicks = config.StallTicks
	r.observed = r.Observe()
	return r
}

// withDefaults fills in the limits that were left at 0 and checks the rest.
func (c Config) withDefaults() Config {
	setDefault(&c.MaxAppendBytes, 1<<20)
	setDefault(&c.Window, 64)
	setDefault(&c.WindowBytes, 8<<20)
	setDefault(&c.BatchBytes, 64<<10)
	setDefault(&c.MaxEntryBytes, 4<<20)
	setDefault(&c.MaxApplyBytes, 4<<20)
	setDefault(&c.MaxWriteBytes, 8<<20)
	setDefault(&c.MaxUncommittedBytes, 64<<20)
	setDefault(&c.FollowerBytes, 256<<20)
	setDefault(&c.MaxUnappliedBytes, 256<<20)
	if c.SnapshotPatience == 0 {
		c.SnapshotPatience = 10
	}
	assert(c.ID != None && len(c.ID) <= MaxIDBytes, "a server's ID has 1 to %d bytes, not %d", MaxIDBytes, len(c.ID))
	assert(c.HeartbeatTicks > 0 && c.ElectionTicks > c.HeartbeatTicks,
		"ElectionTicks %d must exceed HeartbeatTicks %d, which must be positive", c.ElectionTicks, c.HeartbeatTicks)
	assert(c.Rand != nil, "Config.Rand must be given")
	return c
}

func setDefault(limit *int, value int) {
	if *limit <= 0 {
		*limit = value
	}
}

// Tick tells the server that one unit of time has passed. A driver that was itself
// held up drops the ticks it missed: a stalled process must not believe that every
// timer has run out at once.
func (r *Raft) Tick() {
	r.tickDisk()
	r.tickCommit()
	r.askAge++
	switch {
	case r.role == Leader:
		r.tickLeader()
		return
	case r.rejoining.On:
		r.tickRejoin()
		return
	}
	r.electionElapsed++
	switch {
	case r.stalled():
		r.abandonCampaign()
	case r.promised() > r.saved:
		r.electionTimeout++ // the term and the vote are being written: that time does not count (slow.go)
	case r.electionElapsed < r.electionTimeout || r.awaitsVotes() || r.drawsAgain():
		r.tickCampaign()
	default:
		r.timeOut()
	}
}

// tickLeader keeps followers from campaigning (§5.2). It steps down if the disk hangs
// or, with CheckQuorum, if no majority answered for an election timeout.
func (r *Raft) tickLeader() {
	if r.stalled() && !r.isAlone() {
		r.stepDownStalled()
		return
	}
	r.heartbeatElapsed++
	if r.heartbeatElapsed >= r.config.HeartbeatTicks {
		r.heartbeatElapsed = 0
		for p := range r.followers {
			p.heartbeat()
		}
	}
	r.tickEntries()
	r.tickMembers()
	r.tickPrompt()
	r.tickSnapshots()
	r.electionElapsed++
	if r.electionElapsed < r.config.ElectionTicks {
		return
	}
	r.electionElapsed = 0
	if r.isOutside() {
		r.stepAside()
		return
	}
	r.abandonTransfer()
	if r.config.CheckQuorum && !r.heardFromQuorum() {
		r.counts.LostQuorum++
		r.note(Note{Kind: NoteSteppedDown, Why: WhyLostMajority, A: uint64(r.config.ElectionTicks)})
		r.becomeFollower(r.currentTerm, None)
	}
}

// Receive takes a peer's request. Its answer appears under tag, once, in one of
// the next Readys: when what it promises is on the disk. A server that cannot
// answer yet says so with an answer that has no Reply.
func (r *Raft) Receive(tag Tag, from ID, request Request) {
	if _, same := request.(*Rejoin); r.asksToRejoin() && !same {
		r.answers = append(r.answers, Answer{Tag: tag})
		return
	}
	switch req := request.(type) {
	case *RequestVote:
		r.handleRequestVote(tag, req)
	case *AppendEntries:
		r.handleAppendEntries(tag, req)
	case *InstallSnapshot:
		r.handleInstallSnapshot(tag, req)
	case *TimeoutNow:
		r.handleTimeoutNow(tag, req)
	case *ReadIndex:
		r.handleReadIndex(tag, from, req)
	case *Rejoin:
		r.handleRejoin(tag, from)
	default:
		panic(fmt.Sprintf("core: unknown request %T", request))
	}
}

// Returned takes the end of a call that this server made: the peer's reply, or nil
// if the call or its reply was lost. It must be called at most once per call.
func (r *Raft) Returned(call Call, reply Reply) {
	switch req := call.Request.(type) {
	case *RequestVote:
		rep, _ := reply.(*RequestVoteReply)
		r.handleVote(call, req, rep)
	case *AppendEntries:
		rep, _ := reply.(*AppendEntriesReply)
		r.handleAppendEntriesReply(call, req, rep)
	case *InstallSnapshot:
		rep, _ := reply.(*InstallSnapshotReply)
		r.handleInstallSnapshotReply(call, req, rep)
	case *TimeoutNow:
		if rep, ok := reply.(*TimeoutNowReply); ok {
			r.observeTerm(rep.Term)
		}
	case *ReadIndex:
		rep, _ := reply.(*ReadIndexReply)
		r.handleReadIndexReply(call, rep)
	case *Rejoin:
		rep, _ := reply.(*RejoinReply)
		r.handleRejoinReply(call, rep)
	default:
		panic(fmt.Sprintf("core: unknown request %T", call.Request))
	}
}

// Propose appends a command to the leader's log and returns its position. That is a
// proposal only: the command is chosen when an entry of this index and this term is
// handed out for applying. It is lost when an entry of another term is.
// Errors: ErrNotLeader, ErrTransferring, ErrOverloaded, ErrTooLarge; then
// nothing was appended. The core keeps data; the caller must not change it.
func (r *Raft) Propose(data []byte) (index, term uint64, err error) {
	switch {
	case r.role != Leader:
		return 0, 0, ErrNotLeader
	case r.transferee != None:
		return 0, 0, ErrTransferring
	case len(data) > r.config.MaxEntryBytes:
		return 0, 0, ErrTooLarge
	case r.log.lastTerm() == r.currentTerm && r.backlog() > 0 &&
		r.backlog()+(Entry{Data: data}).size() > r.config.MaxUncommittedBytes:
		// The first entry of a term is always taken: what earlier leaders left
		// can only be committed together with it (§5.4.2).
		return 0, 0, ErrOverloaded
	}
	entry := NewEntry(r.log.lastIndex()+1, r.currentTerm, KindCommand, data)
	r.appendToLog(entry)
	return entry.Index, entry.Term, nil
}

// appendToLog appends an entry of the leader's own (Figure 2 "Rules for
// Leaders": command received from client).
func (r *Raft) appendToLog(entry Entry) {
	r.log.append(entry)
	r.dirty.entry(entry.Index)
	r.uncommittedBytes += entry.size()
	r.unsavedBytes += entry.size()
	r.adopt()
}

// backlog returns the size of the entries that are not committed or not on this
// server's own disk, whichever is more: a majority may be quicker than its leader.
func (r *Raft) backlog() int { return max(r.uncommittedBytes, r.unsavedBytes) }

// Ready returns the work that has gathered since the last call. It returns each
// piece of work once.
func (r *Raft) Ready() Ready {
	r.endRejoin()
	r.askLeader()
	r.serveReads()
	if r.role == Leader {
		r.replicate()
		r.sendTimeoutNow()
	}
	ready := Ready{
		Calls:   r.calls,
		Answers: r.answers,
		Write:   r.nextWrite(),
		Apply:   r.nextBatch(),
		Reads:   r.readsDone,
		Forgot:  r.forgot,
		Notes:   r.notes,
	}
	r.calls, r.answers, r.readsDone, r.forgot, r.notes = nil, nil, nil, nil, nil
	if now := r.Configurations(); now != r.told {
		r.told = now
		ready.Configuration = &Configurations{now.Newest, now.Committed}
	}
	now := r.Observe()
	if err := CheckStep(r.observed, now); err != nil {
		panic(err)
	}
	r.observed = now
	return ready
}

func (r *Raft) call(to ID, request Request) {
	r.calls = append(r.calls, Call{To: to, Request: request})
}

// assert stops the process if a rule that the proof of Raft rests on is
// broken: a dead server is harmless, a wrong one is not.
func assert(condition bool, format string, args ...any) {
	if !condition {
		broken(format, args...)
	}
}

// broken serves assertions that are made with every entry. The arguments of assert
// are put on the heap whether the condition holds or not; those of broken only if
// its caller has tested the condition and found that it does not hold.
func broken(format string, args ...any) {
	panic("core: " + fmt.Sprintf(format, args...))
}
