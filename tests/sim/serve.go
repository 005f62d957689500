package main

import (
	"errors"
	"strings"

	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/node"
)

// errNotActive refuses what the cluster's level does not have yet.
var errNotActive = errors.New("the cluster works at a lower level")

// serve takes a client's request.
func (s *server) serve(a *attempt) {
	switch kind := a.op.kind; {
	case kind == opStale:
		s.serveStale(a)
	case kind == opList, kind == opGet && !s.w.options.Labs:
		s.serveRead(a)
	default:
		s.propose(a)
	}
}

// serveRead serves a linearizable read, by read index, on any server.
func (s *server) serveRead(a *attempt) {
	w := s.w
	follower := s.replica.Observe().Role != core.Leader
	s.replica.Read(func(index uint64, err error) {
		if err != nil {
			a.answer(outcome{err: err})
			return
		}
		ready := func() bool { return index <= s.store.AppliedIndex() || w.options.Canary }
		serve := func() {
			out := s.read(a.op)
			w.oracles.readServed(s, a.op, out)
			w.counts.Reads++
			if follower {
				w.counts.FollowerReads++
			}
			a.answer(out)
		}
		if ready() {
			serve()
			return
		}
		w.counts.ParkedReads++
		s.parked = append(s.parked, parkedRead{ready, serve})
	})
}

// serveStale serves a read of the server's own copy, once that shows what the
// client has seen already.
func (s *server) serveStale(a *attempt) {
	w := s.w
	ready := func() bool { return s.store.Revision() >= a.op.minRevision }
	serve := func() {
		out := s.read(a.op)
		w.oracles.staleServed(s, a.op, out)
		w.counts.StaleReads++
		a.answer(out)
	}
	if ready() {
		serve()
		return
	}
	w.counts.ParkedReads++
	s.parked = append(s.parked, parkedRead{ready, serve})
}

// read reads a key, or all that begin with a prefix.
func (s *server) read(op *operation) outcome {
	out := outcome{index: s.store.AppliedIndex(), revision: s.store.Revision(), items: make([]item, 0, 1)}
	if op.kind != opList {
		i, found := s.store.Get([]byte(op.key))
		out.items = append(out.items, item{key: op.key, value: string(i.Value), found: found, Item: i})
		return out
	}
	s.store.Ascend("", folder(op.key), func(key string, i kv.Item) bool {
		out.items = append(out.items, item{key: strings.Clone(key), value: string(i.Value), found: true, Item: i})
		return true
	})
	return out
}

// folder is the part of a key that a list asks for.
func folder(key string) string { return key[:2] }

// propose brings a command on its way into the log.
func (s *server) propose(a *attempt) {
	s.submit(a.op.command(kv.RequestID{}, 0, s.w.options.Quota), a)
}

// submit brings a command on its way, under an identity and with the time of this life.
func (s *server) submit(c kv.Command, a answerer) {
	w := s.w
	if c.MinLevel() > s.store.Level() {
		w.counts.NotActive++
		a.answer(outcome{err: errNotActive})
		return
	}
	s.number++
	id := kv.RequestID{Origin: s.origin(), Number: s.number}
	c.ID, c.Time = id, s.stamp()
	s.waiting[id] = a
	s.replica.Propose(&node.Proposal{
		Command: kv.EncodeCommand(c),
		Failed: func(err error) {
			delete(s.waiting, id)
			if errors.Is(err, node.ErrUnknown) {
				w.counts.Unknown++
				if t, mine := a.(*ticked); mine {
					t.answer(outcome{err: err})
				}
				return // the client finds out by waiting in vain
			}
			if errors.Is(err, node.ErrLost) {
				w.counts.Lost++
			}
			w.oracles.refused(id)
			a.answer(outcome{err: err})
		},
	})
}
