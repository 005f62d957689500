package node

import (
	"maps"
	"slices"

	"raftkv/raft/core"
)

// Replica is a core.Raft together with the callers that wait for it: peers for
// answers, proposals for their position and their fate, reads for an index. It is a
// plain object, not safe for concurrent use. Callbacks run inside its methods and
// must not call back into it.
//
// The core's own methods are a Replica's, too. It takes the place of five of them,
// which deal in tags: Receive, Propose, Reconfigure, Read and Ready. The core's Ready must not be
// called past it, because the answers in it would be lost.
type Replica struct {
	*core.Raft
	lastTag   core.Tag
	answers   map[core.Tag]func(core.Reply)
	reads     map[core.Tag]func(index uint64, err error)
	proposals map[uint64]*Proposal // by index; several of different terms are chained
	stopped   bool
}

// Work is what a Replica wants done after a turn. A Write is outstanding until Saved
// is called, a Batch until Applied is.
type Work struct {
	Calls []core.Call
	Write *core.Write
	Apply *core.Batch
	// Forgot names peers that must be talked to no more; see core.Ready.
	Forgot []core.ID
	// Configuration, if not nil, says that the configuration in force or the newest
	// committed one has changed; see core.Ready.
	Configuration *core.Configurations
	// Notes says what happened, and why; see core.Ready.
	Notes []core.Note
}

// NewReplica returns a server that continues from state.
func NewReplica(config core.Config, state core.State) *Replica {
	return &Replica{
		Raft:      core.New(config, state),
		answers:   map[core.Tag]func(core.Reply){},
		reads:     map[core.Tag]func(uint64, error){},
		proposals: map[uint64]*Proposal{},
	}
}

// Receive takes a peer's request. answer is called once, in this or a later turn,
// when everything that the answer promises is on the disk. It is never called after
// Stop.
func (r *Replica) Receive(from core.ID, request core.Request, answer func(core.Reply)) {
	r.lastTag++
	r.answers[r.lastTag] = answer
	r.Raft.Receive(r.lastTag, from, request)
}

// Propose appends a command to the log if this server leads. The proposal's
// functions are told what becomes of it; see Proposal.
func (r *Replica) Propose(p *Proposal) {
	if r.stopped {
		p.fail(ErrStopped)
		return
	}
	index, term, err := r.Raft.Propose(p.Command)
	if err != nil {
		p.fail(err)
		return
	}
	r.place(p, index, term)
}

// Reconfigure begins a change of the members if this server leads. The functions of
// the change are told what becomes of it; see Reconfiguration.
func (r *Replica) Reconfigure(c *Reconfiguration) {
	p := c.proposal()
	if r.stopped {
		p.fail(ErrStopped)
		return
	}
	index, term, err := r.Raft.Reconfigure(c.Wanted, c.From)
	if err != nil {
		p.fail(err)
		return
	}
	r.place(p, index, term)
}

// place lets a proposal wait for its position in the log.
func (r *Replica) place(p *Proposal, index, term uint64) {
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
	if err := r.Raft.Read(r.lastTag); err != nil {
		done(0, err)
		return
	}
	r.reads[r.lastTag] = done
}

// Ready ends a turn: it gives the answers and ends the reads that are due, and
// returns the rest of the work.
func (r *Replica) Ready() Work {
	ready := r.Raft.Ready()
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
	return Work{Calls: ready.Calls, Write: ready.Write, Apply: ready.Apply, Forgot: ready.Forgot, Configuration: ready.Configuration, Notes: ready.Notes}
}

// settleProposals decides the proposals at the indices that a batch covers. The
// proposal with the term of the committed entry was chosen, and the state machine
// will answer it. Any other can never be chosen. A snapshot does not say which
// entries it was made of.
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

// settle fails the proposals at index, except the one of the term that was chosen,
// and tells that one if it wants to know.
func (r *Replica) settle(index, chosen uint64, err error) {
	p := r.proposals[index]
	delete(r.proposals, index)
	for p != nil {
		next := p.next
		p.next = nil
		if p.term != chosen {
			p.fail(err)
		} else if p.chosen != nil {
			p.chosen()
		}
		p = next
	}
}

// Stop answers all callers that wait: proposals that were placed and reads get
// ErrStopped, peers get no answer. Only Propose and Read may be called afterwards,
// and they fail.
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
