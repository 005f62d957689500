package main

import (
	"errors"

	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/node"
)

// oracles hold what is known about the run and end it when a promise breaks.
// The checks are in the files oracle_*.go.
type oracles struct {
	w         *world
	observed  int
	leaders   map[uint64]core.ID    // election safety: by term
	votes     map[ballot]core.ID    // votes given
	committed []core.Entry          // state-machine safety: committed[i] has index i+1
	chosenIn  []uint64              // the term of the server that first called committed[i] committed
	model     *model                // what the commands mean
	refusedID map[kv.RequestID]bool // proposals that were said not to happen
	hashes    map[uint64][32]byte   // of the state, by applied index
	floor     uint64                // see operation.floor
	acked     map[string]uint64     // tokens of acknowledged writes
}

type ballot struct {
	voter core.ID
	term  uint64
}

func newOracles(w *world) *oracles {
	return &oracles{
		w: w, leaders: map[uint64]core.ID{}, votes: map[ballot]core.ID{}, model: newModel(),
		refusedID: map[kv.RequestID]bool{}, hashes: map[uint64][32]byte{}, acked: map[string]uint64{},
	}
}

// observe looks at a server after each of its turns.
func (o *oracles) observe(s *server) {
	o.observed++
	now := s.replica.Observe()
	if now.Role == core.Leader {
		o.electionSafety(s, now)
	}
	o.commitment(s, now)
	if o.observed%64 == 0 {
		if err := s.replica.Check(); err != nil {
			o.w.fail("%v", err)
		}
		o.logMatching(s)
		o.countOldTermMajority(s, now)
	}
}

// proposalOf wraps a command so that its failure is remembered: what was
// refused must never be applied.
func proposalOf(s *server, id kv.RequestID, command []byte, a *attempt) *node.Proposal {
	return &node.Proposal{Command: command, Failed: func(err error) {
		delete(s.waiting, id)
		if errors.Is(err, node.ErrUnknown) {
			s.w.counts.Unknown++
			return // the client finds out by waiting in vain
		}
		if errors.Is(err, node.ErrLost) {
			s.w.counts.Lost++
		}
		s.w.oracles.refusedID[id] = true
		a.answer(outcome{status: refused, err: err})
	}}
}

// finish makes the checks that need the whole run.
func (o *oracles) finish() {
	var first *server
	for _, s := range o.w.servers {
		if !s.up {
			continue
		}
		if first == nil {
			first = s
		}
		if s.store.AppliedIndex() == first.store.AppliedIndex() && s.store.Hash() != first.store.Hash() {
			o.w.fail("%s and %s rest at index %d with different states", s.id, first.id, first.store.AppliedIndex())
		}
	}
	for token, index := range o.acked { // order does not matter: any missing one ends the run
		if at, ok := o.model.tokens[token]; !ok || at != index {
			o.w.fail("acknowledged write %s is not in the final history at %d", token, index)
		}
	}
}
