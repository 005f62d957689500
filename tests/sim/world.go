package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"runtime/debug"

	"raftkv/raft/core"
)

// Times are virtual, in microseconds.
const (
	microsecond = int64(1)
	millisecond = 1000 * microsecond
	second      = 1000 * millisecond
)

// world is one simulated cluster with its clients, from the first event to the
// last. Nothing in it is concurrent.
type world struct {
	seed    uint64
	options options
	rng     *rand.Rand
	now     int64
	queue   eventQueue
	events  uint64 // events scheduled so far: breaks ties in time
	servers []*server
	clients []*client
	network *network
	oracles *oracles
	trace   *trace
	counts  *counts
	healed  bool // the phase of faults is over
}

// violation is what an oracle ends a run with.
type violation struct{ text string }

// fail ends the run: a promise was broken.
func (w *world) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

// result is the outcome of one run.
type result struct {
	seed     uint64
	options  options
	hash     uint64 // of everything that happened, in order
	virtual  int64  // virtual time that passed
	counts   *counts
	err      error // the broken promise, if any
	lastRows []string
}

// run plays one seed to its end.
func run(seed uint64, t *trace) (r result) {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x72616674)), trace: t, counts: &counts{}}
	w.options = drawOptions(w.rng)
	w.network = newNetwork(w)
	w.oracles = newOracles(w)
	r = result{seed: seed, options: w.options, counts: w.counts}
	defer func() {
		if p := recover(); p != nil {
			if v, broken := p.(violation); broken {
				r.err = fmt.Errorf("seed %d at %s: %s", seed, clock(w.now), v.text)
			} else {
				r.err = fmt.Errorf("seed %d at %s: panic: %v\n%s", seed, clock(w.now), p, debug.Stack())
			}
		}
		r.hash, r.virtual, r.lastRows = t.sum(), w.now, t.last()
	}()
	w.play()
	return r
}

// play is the whole run: a phase of faults, then a healed world that must come
// to rest.
func (w *world) play() {
	for i := range w.options.servers {
		w.servers = append(w.servers, newServer(w, i))
	}
	for _, s := range w.servers {
		s.start()
	}
	for i := range w.options.clients {
		c := newClient(w, i)
		w.clients = append(w.clients, c)
		c.begin()
	}
	w.scheduleFaults()
	w.runUntil(w.options.faultyTime, nil)
	w.heal()
	w.runUntil(w.now+w.options.calmTime, w.atRest)
	if !w.atRest() {
		w.fail("no rest within %s after the last fault:%s", clock(w.options.calmTime), w.describe())
	}
	w.oracles.finish()
}

// runUntil lets events happen until the time is reached, or done says so.
func (w *world) runUntil(end int64, done func() bool) {
	for steps := 0; len(w.queue) > 0 && w.queue[0].at <= end; steps++ {
		if done != nil && steps%64 == 0 && done() {
			return
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = max(w.now, end)
}

// after schedules something.
func (w *world) after(delay int64, do func()) {
	w.events++
	heap.Push(&w.queue, event{at: w.now + max(delay, 0), number: w.events, do: do})
}

// chance is true with probability p.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// between draws from [low, high].
func (w *world) between(low, high int64) int64 {
	if high <= low {
		return low
	}
	return low + w.rng.Int64N(high-low+1)
}

// server returns the server with this ID.
func (w *world) server(id core.ID) *server {
	for _, s := range w.servers {
		if s.id == id {
			return s
		}
	}
	panic("no server " + string(id))
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
	return text
}

// event is something that will happen.
type event struct {
	at     int64
	number uint64
	do     func()
}

// eventQueue is a heap of events by time, then in the order of scheduling.
type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].number < q[j].number
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(e any)   { *q = append(*q, e.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// clock writes a virtual time in seconds.
func clock(t int64) string { return fmt.Sprintf("%d.%06d s", t/second, t%second) }
