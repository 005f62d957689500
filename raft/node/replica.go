package node

import (
	"maps"
	"slices"

	"raftkv/raft/core"
)

// Replica is a core.Raft together with everybody who waits for it: peers for
// answers, proposals for their place and their fate, reads for an index. It is
// a plain object, not safe for concurrent use; callbacks run inside its
// methods and must not call back into it.
type Replica struct {
	raft      *core.Raft
	lastTag   core.Tag
	answers   map[core.Tag]func(core.Reply)
	reads     map[core.Tag]func(index uint64, err error)
	proposals map[uint64]*Proposal // by index; several of different terms are chained
	stopped   bool
}

// Work is what a Replica wants done after a turn. A Write and a Batch, once
// handed out, are outstanding until Saved and Applied.
type Work struct {
	Calls []core.Call
	Write *core.Write
	Apply *core.Batch
	// Forgot names peers that must not be talked to any more; see core.Ready.
	Forgot []core.ID
}

// NewReplica returns a server that continues from state.
func NewReplica(config core.Config, state core.State) *Replica {
	return &Replica{
		raft:      core.New(config, state),
		answers:   map[core.Tag]func(core.Reply){},
		reads:     map[core.Tag]func(uint64, error){},
		proposals: map[uint64]*Proposal{},
	}
}

// Tick tells that one tick has passed.
func (r *Replica) Tick() { r.raft.Tick() }

// Receive takes a peer's request. answer is called once, in this or a later
// turn, when everything that the answer promises is on the disk; never after
// Stop.
func (r *Replica) Receive(from core.ID, request core.Request, answer func(core.Reply)) {
	r.lastTag++
	r.answers[r.lastTag] = answer
	r.raft.Receive(r.lastTag, from, request)
}

// Returned takes the end of a call: the reply, or nil if it was lost.
func (r *Replica) Returned(call core.Call, reply core.Reply) { r.raft.Returned(call, reply) }

// Suspect tells that the connection to a peer died from its side.
func (r *Replica) Suspect(peer core.ID) { r.raft.Suspect(peer) }

// Saved tells that a write is on the disk.
func (r *Replica) Saved(seq uint64) { r.raft.Saved(seq) }

// Applied tells that everything up to index has been delivered.
func (r *Replica) Applied(index uint64) { r.raft.Applied(index) }

// Compact lets a snapshot of the service stand for the log up to its index; see
// core.Raft.Compact.
func (r *Replica) Compact(snapshot core.Snapshot) { r.raft.Compact(snapshot) }

// Taking tells that the service is taking a snapshot at index, 0 that it is not
// any more; see core.Raft.Taking.
func (r *Replica) Taking(index uint64) { r.raft.Taking(index) }

// SnapshotLost tells that the file of a snapshot is damaged; see
// core.Raft.SnapshotLost.
func (r *Replica) SnapshotLost(index uint64) { r.raft.SnapshotLost(index) }

// Term returns the term of the entry at index; see core.Raft.Term.
func (r *Replica) Term(index uint64) (uint64, bool) { return r.raft.Term(index) }

// UID returns the cluster's UID, zero until it is known to be committed.
func (r *Replica) UID() core.UID { return r.raft.UID() }

// UIDAt returns the UID that a snapshot at index carries; see core.Raft.UIDAt.
func (r *Replica) UIDAt(index uint64) core.UID { return r.raft.UIDAt(index) }

// Transfer begins to hand leadership to another server; see core.Raft.Transfer.
func (r *Replica) Transfer(to core.ID) error { return r.raft.Transfer(to) }

// RatherNot says whether this server would rather not lead; see core.Raft.RatherNot.
func (r *Replica) RatherNot(ratherNot bool) { r.raft.RatherNot(ratherNot) }

// Status returns a copy of the present state.
func (r *Replica) Status() core.Status { return r.raft.Status() }

// Observe returns the part of the state that changes with every step. O(1).
func (r *Replica) Observe() core.Observed { return r.raft.Observe() }

// Entries returns the entries the log holds from index from on, for inspection.
func (r *Replica) Entries(from uint64) []core.Entry { return r.raft.Entries(from) }

// Check walks the whole state and reports what the rules do not allow.
func (r *Replica) Check() error { return r.raft.Check() }

// Propose appends a command to the log if this server leads. What becomes of
// it is told to the proposal's functions; see Proposal.
func (r *Replica) Propose(p *Proposal) {
	if r.stopped {
		p.fail(ErrStopped)
		return
	}
	index, term, err := r.raft.Propose(p.Command)
	if err != nil {
		p.fail(err)
		return
	}
	p.term = term
	p.next = r.proposals[index]
	r.proposals[index] = p
	if p.Placed != nil {
		p.Placed(index, term)
	}
}

// Read asks for an index at which a read is linearizable. done is called once,
// in this or a later turn.
func (r *Replica) Read(done func(index uint64, err error)) {
	if r.stopped {
		done(0, ErrStopped)
		return
	}
	r.lastTag++
	if err := r.raft.Read(r.lastTag); err != nil {
		done(0, err)
		return
	}
	r.reads[r.lastTag] = done
}

// Flush ends a turn: it gives the answers and ends the reads that are due and
// returns the rest of the work.
func (r *Replica) Flush() Work {
	ready := r.raft.Ready()
	for _, a := range ready.Answers {
		answer := r.answers[a.Tag]
		delete(r.answers, a.Tag)
		answer(a.Reply)
	}
	for _, d := range ready.Reads {
		done := r.reads[d.Tag]
		delete(r.reads, d.Tag)
		done(d.Index, d.Err)
	}
	if ready.Apply != nil {
		r.settleProposals(ready.Apply)
	}
	return Work{Calls: ready.Calls, Write: ready.Write, Apply: ready.Apply, Forgot: ready.Forgot}
}

// settleProposals decides the proposals at the indices that a batch covers: the
// one whose term the committed entry has was chosen and will hear from the
// state machine; any other can never be chosen any more. A snapshot does not
// tell what it was made of.
func (r *Replica) settleProposals(batch *core.Batch) {
	if len(r.proposals) == 0 {
		return
	}
	if batch.Snapshot != nil {
		for _, index := range slices.Sorted(maps.Keys(r.proposals)) {
			if index <= batch.Snapshot.Index {
				r.settle(index, 0, ErrUnknown)
			}
		}
	}
	for _, e := range batch.Entries {
		r.settle(e.Index, e.Term, ErrLost)
	}
}

// settle fails the proposals at index, but for the one of the term that was
// chosen.
func (r *Replica) settle(index, chosen uint64, err error) {
	p := r.proposals[index]
	delete(r.proposals, index)
	for p != nil {
		next := p.next
		p.next = nil
		if p.term != chosen {
			p.fail(err)
		}
		p = next
	}
}

// Stop ends everybody's waiting: proposals that were placed and reads get
// ErrStopped, peers get no answer. Nothing may be called afterwards but
// Propose and Read, which fail.
func (r *Replica) Stop() {
	r.stopped = true
	for _, index := range slices.Sorted(maps.Keys(r.proposals)) {
		for p := r.proposals[index]; p != nil; p = p.next {
			p.fail(ErrStopped)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(r.reads)) {
		r.reads[tag](0, ErrStopped)
	}
	r.proposals, r.reads, r.answers = nil, nil, nil
}
