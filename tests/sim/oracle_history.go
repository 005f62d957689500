package main

import (
	"strings"

	"raftkv/kvserver/kv"
)

// What clients see must be explained by one order that agrees with real time.
// This file knows that order, the log: an operation that began after another was
// acknowledged stands behind it, and every answer is the one that the log gives.

// refused: a client is told that a proposal did not happen and never will.
func (o *oracles) refused(id kv.RequestID) {
	if at, applied := o.machines.appliedID[id]; applied {
		o.w.fail("honest refusal", "a client is told that its command did not happen, and it was applied at %d", at)
	}
	o.refusedID[id] = true
	o.w.counts.ProposalsRefused++
}

// acknowledged: a client is told that its operation is done.
func (o *oracles) acknowledged(op *operation, out outcome) {
	o.clients.add(op, out, o.w.now)
	if op.kind == opStale {
		return
	}
	o.floor = max(o.floor, out.index)
	if !op.kind.writes() {
		return
	}
	o.w.counts.Acknowledged++
	if out.result.Status != kv.StatusOK || op.deletes() {
		return
	}
	at, happened := o.machines.model.tokens[op.token]
	switch {
	case !happened:
		o.w.fail("exactly once", "%v was acknowledged but never applied", op)
	case at <= op.floor:
		o.w.fail("real time", "%v took effect at %d, before %d, which was acknowledged before it began", op, at, op.floor)
	}
}

// gaveUp: a client will never learn what became of its operation.
func (o *oracles) gaveUp(op *operation) { o.clients.add(op, outcome{}, never) }

// readServed: a read shows everything that was acknowledged before it began.
func (o *oracles) readServed(s *server, op *operation, out outcome) {
	if out.index < op.floor {
		o.w.fail("fresh reads", "%s served %v at %d; %d had been acknowledged before it began", s.id, op, out.index, op.floor)
	}
	o.checkRead(s, op, out)
}

// staleServed: a stale read may be old, but not older than it was asked to be.
func (o *oracles) staleServed(s *server, op *operation, out outcome) {
	if out.revision < op.minRevision {
		o.w.fail("min revision", "%s served %v at revision %d, asked for %d", s.id, op, out.revision, op.minRevision)
	}
	o.checkRead(s, op, out)
}

// checkRead: a read shows what its keys held at the index it was served at.
func (o *oracles) checkRead(s *server, op *operation, out outcome) {
	m := o.machines.model
	if op.kind != opList {
		if got, want := out.items[0], m.at(op.key, out.index); !want.is(got) {
			o.w.fail("model", "%s served %v at %d: %+v, the history says %+v", s.id, op, out.index, got, want)
		}
		return
	}
	n := 0
	for _, key := range keyNames[:o.w.options.Keys] {
		want := m.at(key, out.index)
		if !want.exists || !strings.HasPrefix(key, folder(op.key)) {
			continue
		}
		if n == len(out.items) || out.items[n].key != key || !want.is(out.items[n]) {
			o.w.fail("model", "%s served %v at %d: %+v, the history says %+v under %s", s.id, op, out.index, out.items, want, key)
		}
		n++
	}
	if n != len(out.items) {
		o.w.fail("model", "%s served %v at %d with keys that are not there: %+v", s.id, op, out.index, out.items)
	}
}

func (m moment) is(i item) bool {
	return m.exists == i.found && m.value == i.value && m.version == i.Version && m.revision == i.Revision
}

// checkAcknowledged: at the end, everything acknowledged is where it was.
func (o *oracles) checkAcknowledged() {
	for _, r := range o.clients.records {
		if r.op.kind.writes() && !r.op.deletes() && r.ended != never && r.out.result.Status == kv.StatusOK {
			if at, there := o.machines.model.tokens[r.op.token]; !there {
				o.w.fail("exactly once", "%v was acknowledged and is not in the history", r.op)
			} else if !r.out.result.Replayed && at != r.out.index {
				o.w.fail("exactly once", "%v was acknowledged at %d and stands at %d", r.op, r.out.index, at)
			}
		}
	}
}
