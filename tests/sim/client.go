package main

import (
	"fmt"

	"raftkv/kvserver/kv"
)

// Kinds of operations.
const (
	opAppend = "append"
	opPut    = "put"
	opDelete = "delete"
	opRead   = "read"
	opOpen   = "open-session"
)

// operation is one thing a client wants, however often it must ask for it.
type operation struct {
	kind    string
	key     string
	token   string // unique; part of what is written
	session kv.SessionCall
	floor   uint64 // log index that everything acknowledged to anybody before it began lies at or below
	began   int64
}

// attempt is one request for an operation to one server.
type attempt struct {
	c    *client
	op   *operation
	over bool // answered or given up
}

// status is how a server's answer ends an attempt.
type status int

const (
	done    status = iota // a write was applied, or a read served
	refused               // it did not happen and never will
)

// outcome is a server's answer.
type outcome struct {
	status status
	result kv.Result
	index  uint64 // done: where the command stands; of a read, what had been applied
	err    error
}

// client asks for one operation after the other. One with a session asks again
// until it is answered; one without asks for each write once and may never
// learn what became of it.
type client struct {
	w       *world
	index   int
	name    string
	careful bool // has a session
	session uint64
	seq     uint64
	count   int
	last    bool // the operation under way is the last one
	op      *operation
	server  int // whom to ask next
}

func newClient(w *world, i int) *client {
	return &client{w: w, index: i, name: fmt.Sprintf("c%d", i+1), careful: w.chance(0.6), server: w.rng.IntN(w.options.servers)}
}

func (c *client) idle() bool { return c.op == nil }

func (c *client) timeout() int64 {
	o := c.w.options
	return int64(o.electionTicks)*o.tick + 8*o.delayHigh + 4*o.saveHigh + 2*o.applyDelay
}

// begin starts the next operation, unless the world is healed and the client
// has done its last one.
func (c *client) begin() {
	w := c.w
	if w.healed && c.last {
		c.op = nil
		if c.index == 0 && !w.options.server {
			w.after(int64(w.options.electionTicks)*w.options.tick, c.nudge)
		}
		return
	}
	c.last = w.healed
	c.count++
	op := &operation{floor: w.oracles.floor, began: w.now, token: fmt.Sprintf("%s.%d;", c.name, c.count)}
	key := w.rng.IntN(w.options.keys)
	dice := w.rng.IntN(10)
	if c.last || !w.options.server {
		// The last operation is a write, and without a no-op all are: a leader
		// that has committed nothing in its term can neither read nor finish
		// what earlier leaders began.
		dice %= 6
	}
	switch {
	case c.careful && c.session == 0:
		op.kind = opOpen
	case dice < 4:
		op.kind, op.key = opAppend, fmt.Sprintf("list%d", key)
	case dice < 5:
		op.kind, op.key = opPut, fmt.Sprintf("cell%d", key)
	case dice < 6:
		op.kind, op.key = opDelete, fmt.Sprintf("cell%d", key)
	case dice < 8:
		op.kind, op.key = opRead, fmt.Sprintf("list%d", key)
	default:
		op.kind, op.key = opRead, fmt.Sprintf("cell%d", key)
	}
	if c.careful && op.kind != opRead && op.kind != opOpen {
		c.seq++
		op.session = kv.SessionCall{ID: c.session, Lane: uint32(c.index), Seq: c.seq}
	}
	c.op = op
	c.try()
}

// nudge asks for one more write if the world does not come to rest: without a
// no-op, what an earlier leader left is only committed together with a new
// command.
func (c *client) nudge() {
	c.last = false
	c.begin()
}

// try asks one server.
func (c *client) try() {
	w := c.w
	a := &attempt{c: c, op: c.op}
	s := w.servers[c.server]
	w.event(c.name, "%s %s %s asks %s", a.op.kind, a.op.key, a.op.token, s.id)
	w.after(w.between(10, 200), func() {
		if s.up {
			s.input(func() {
				if s.up {
					s.serve(a)
				}
			})
		}
	})
	w.after(c.timeout(), func() {
		if a.over {
			return
		}
		a.over = true
		c.lookElsewhere()
		if !c.careful && a.op.kind != opRead {
			w.counts.TimedOut++
			w.event(c.name, "%s %s unknown", a.op.kind, a.op.token)
			c.next()
			return
		}
		c.try()
	})
}

// answer carries a server's answer to the client, if it is still waiting.
func (a *attempt) answer(o outcome) {
	w := a.c.w
	if !w.healed && w.chance(0.1) {
		return // the answer is lost
	}
	w.after(w.between(10, 200), func() {
		if a.over {
			return
		}
		a.over = true
		a.c.answered(a.op, o)
	})
}

func (c *client) answered(op *operation, o outcome) {
	w := c.w
	if o.status == refused {
		w.counts.Refused++
		w.event(c.name, "%s %s refused: %v", op.kind, op.token, o.err)
		c.lookElsewhere()
		w.after(w.between(1000, int64(w.options.electionTicks)*w.options.tick/2), c.try)
		return
	}
	w.event(c.name, "%s %s done at %d", op.kind, op.token, o.index)
	w.oracles.acknowledged(op, o)
	if op.kind == opOpen {
		c.session = o.result.Session
	}
	c.next()
}

func (c *client) next() {
	c.op = &operation{kind: "pause"}
	c.w.after(c.w.between(0, 5*millisecond), c.begin)
}

func (c *client) lookElsewhere() { c.server = c.w.rng.IntN(len(c.w.servers)) }

func (c *client) describe() string {
	if c.op == nil {
		return c.name + " idle"
	}
	return fmt.Sprintf("%s waits for %s %s %s since %s", c.name, c.op.kind, c.op.key, c.op.token, clock(c.op.began))
}

// serve takes a client's request.
func (s *server) serve(a *attempt) {
	if a.op.kind == opRead {
		s.serveRead(a)
	} else {
		s.serveWrite(a)
	}
	s.turn()
}

func (s *server) serveRead(a *attempt) {
	w := s.w
	follower := s.replica.Observe().Role.String() != "leader"
	s.replica.Read(func(index uint64, err error) {
		if err != nil {
			a.answer(outcome{status: refused, err: err})
			return
		}
		serve := func() {
			item, _ := s.store.Get([]byte(a.op.key))
			applied := s.store.AppliedIndex()
			w.oracles.readServed(a.op, applied, string(item.Value))
			w.counts.Reads++
			if follower {
				w.counts.FollowerReads++
			}
			a.answer(outcome{status: done, index: applied})
		}
		if index <= s.store.AppliedIndex() {
			serve()
			return
		}
		s.parked = append(s.parked, parkedRead{index, serve})
	})
}

func (s *server) serveWrite(a *attempt) {
	w := s.w
	s.number++
	id := kv.RequestID{Origin: uint64(s.index)<<32 | uint64(s.life), Number: s.number}
	command := kv.Command{ID: id, Session: a.op.session, Key: []byte(a.op.key), Time: uint64(w.now / millisecond)}
	switch a.op.kind {
	case opOpen:
		command.Op, command.Key = kv.OpOpenSession, nil
	case opAppend:
		command.Op, command.Value = kv.OpAppend, []byte(a.op.token)
	case opPut:
		command.Op, command.Value = kv.OpPut, []byte(a.op.token)
	case opDelete:
		command.Op = kv.OpDelete
	}
	s.waiting[id] = a
	s.replica.Propose(proposalOf(s, id, kv.EncodeCommand(command), a))
}
