package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"raftkv/raft/core"
)

// world is one simulated cluster with its clients, from the first event to the
// last. Nothing in it is concurrent.
type world struct {
	seed         uint64
	options      options
	now          int64
	queue        eventQueue
	servers      []*server
	clients      []*client
	coordinators []*coordinator
	network      *network
	nemesis      *nemesis
	oracles      *oracles
	trace        *trace
	counts       *counts

	serverDice dice
	diskDice   dice
	clientDice dice

	identityDice dice
	strays       [maxServers]*stray // at the addresses of servers that are down

	healed  bool // the phase of faults is over
	flipped bool // a bit changed in the memory of a server
	calm    calm
	core    []*server
	ticks   uint64
}

// violation is what an oracle ends a run with.
type violation struct{ oracle, text string }

// fail ends the run: a promise was broken.
func (w *world) fail(oracle, format string, args ...any) {
	panic(violation{oracle, fmt.Sprintf(format, args...)})
}

// result is the outcome of one run.
type result struct {
	seed    uint64
	options options
	hash    uint64 // of everything that happened, in order
	events  uint64
	ticks   uint64
	virtual int64 // virtual time that passed
	counts  *counts
	oracle  string // that ended the run, if one did
	err     error
	at      int64 // when it did
	faults  int   // planned
	began   []int // numbers of the faults that took place
	rows    []string
}

// run plays one world to its end.
func run(seed uint64, o options, t *trace) (r result) {
	w := newWorld(seed, o, t)
	defer func() {
		if p := recover(); p != nil {
			v, broken := p.(violation)
			if !broken {
				v = violation{nameOfPanic(p), fmt.Sprintf("%v\n%s", p, debug.Stack())}
			}
			r.oracle, r.at = v.oracle, w.now
			r.err = fmt.Errorf("seed %d at %s: %s: %s", seed, clock(w.now), v.oracle, v.text)
		}
		r.hash, r.events, r.ticks, r.virtual, r.rows = t.sum, t.events, w.ticks, w.now, t.last()
		r.faults, r.began = len(w.nemesis.plan), w.nemesis.began
	}()
	r = result{seed: seed, options: o, counts: w.counts}
	w.play()
	return r
}

// nameOfPanic is the text of a panic up to its first figure, which tells panics
// apart as the oracles' names do.
func nameOfPanic(p any) string {
	text := fmt.Sprint(p)
	if at := strings.IndexAny(text, "0123456789\n"); at >= 0 {
		text = text[:at]
	}
	return "panic: " + text
}

func newWorld(seed uint64, o options, t *trace) *world {
	w := &world{
		seed: seed, options: o, trace: t, counts: &counts{},
		serverDice: newDice(seed, streamServers), diskDice: newDice(seed, streamDisk), clientDice: newDice(seed, streamClients),
		identityDice: newDice(seed, streamIdentity),
	}
	w.network = newNetwork(w)
	w.oracles = newOracles(w)
	for i := range o.Servers {
		w.servers = append(w.servers, newServer(w, i))
	}
	for i := range o.Clients {
		w.clients = append(w.clients, newClient(w, i))
	}
	for i := range o.Coordinators {
		w.coordinators = append(w.coordinators, newCoordinator(w, i))
	}
	w.nemesis = newNemesis(w)
	return w
}

// play is the whole run: a phase of faults, then a healed majority that must
// come to rest.
func (w *world) play() {
	w.startUpgrades()
	for _, s := range w.servers {
		s.start()
	}
	for _, c := range w.clients {
		c.start()
	}
	for _, c := range w.coordinators {
		c.start()
	}
	w.nemesis.start()
	w.startChanges()
	w.runUntil(w.options.Faulty, nil)
	w.nemesis.heal()
	w.calm.begin(w)
	w.runUntil(w.now+w.options.Calm, w.atRest)
	if !w.atRest() {
		w.fail("liveness", "no rest within %s after the last fault:%s", clock(w.options.Calm), w.describe())
	}
	w.calm.end(w)
	w.oracles.finish()
	for _, s := range w.servers {
		if s.up {
			s.end()
		}
	}
}

// runUntil lets things happen until the time is reached, or done says so.
func (w *world) runUntil(end int64, done func() bool) {
	for steps := 1; w.step(end); steps++ {
		if done != nil && steps%64 == 0 && done() {
			return
		}
	}
	w.now = end
}

// step lets the next thing happen, unless it comes after end. Ticks are not in
// the queue: they are as many as everything else and never taken back.
func (w *world) step(end int64) bool {
	var ticking *server
	at, waiting := w.queue.next()
	if !waiting {
		at = end + 1
	}
	for _, s := range w.servers {
		if s.up && s.nextTick < at {
			ticking, at = s, s.nextTick
		}
	}
	if at > end {
		return false
	}
	w.now = at
	if ticking != nil {
		w.ticks++
		ticking.tick()
		return true
	}
	e := w.queue.pop()
	e.what.happen()
	return true
}

// after schedules something.
func (w *world) after(delay int64, what happening) { w.queue.push(w.now+max(delay, 0), what) }

// server returns the server with this ID.
func (w *world) server(id core.ID) *server { return w.servers[id[1]-'1'] }

// number is a server's place as rows show it, from 1; 0 for nobody.
func (w *world) number(id core.ID) uint64 {
	if id == core.None {
		return 0
	}
	return uint64(w.server(id).index + 1)
}

// atRest reports whether all that was asked for is done and everybody in the
// healed majority has applied the same log to its end and follows a leader. That
// one may be outside, if its disk hangs and nobody asks for anything.
func (w *world) atRest() bool {
	for _, c := range w.clients {
		if !c.idle() {
			return false
		}
	}
	for _, c := range w.coordinators {
		if !c.done {
			return false
		}
	}
	all := w.resting()
	if len(all) == 0 {
		return false
	}
	first := all[0].replica.Observe()
	for _, s := range all {
		o := s.replica.Observe()
		if o.LastIndex != first.LastIndex || o.LastApplied != first.LastIndex || o.Durable != first.LastIndex ||
			s.store.AppliedIndex() != first.LastIndex || o.Term != first.Term || o.Leader != first.Leader {
			return false
		}
	}
	if first.Leader == core.None {
		return false
	}
	leader := w.server(first.Leader)
	return leader.up && leader.replica.Observe().Role == core.Leader
}

// describe lists where everybody stands, for a failure's message.
func (w *world) describe() string {
	text := ""
	for _, s := range w.servers {
		text += "\n  " + s.describe()
	}
	for _, c := range w.clients {
		text += "\n  " + c.describe()
	}
	for _, c := range w.coordinators {
		text += "\n  " + c.describe()
	}
	return text
}
