package machine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// waiters are the writes that were proposed here and whose end is not known
// yet, by the number that this machine drew for each. A number is never used for
// two proposals, not even for two attempts at the same request.
type waiters struct {
	mu       sync.Mutex // guards the fields below
	last     uint64
	byNumber map[uint64]*waiter

	ended []*waiter // finish's own
}

// waiter is one write that waits. It ends once: whoever takes it out of the map
// decides how, so an end that was decided is always there to be received.
type waiter struct {
	number   uint64
	proposal raft.Proposal // of the command; one object with its waiter
	term     atomic.Uint64 // in which the command was placed in the log; 0: not placed
	place    *Place        // is told where the command was placed; nil: nobody asks
	done     chan Ending   // has room for the one Ending; nil for an asynchronous write
	// onEnd, of an asynchronous write, is called with the Ending, without a lock, by
	// the goroutine that ended it. Such a write has no goroutine of its own that
	// withdraws it when its time is over: watchAsync ends it at its deadline.
	onEnd    func(Ending)
	deadline time.Time
	// over, of a patient asynchronous write, ends when the grace period is over of the
	// leader that has it. nil: the write ends as soon as that leader is replaced.
	over context.Context
}

// end hands over the ending. Whoever calls it has taken the waiter out of the
// map and holds no lock.
func (w *waiter) end(e Ending) {
	if w.onEnd != nil {
		w.onEnd(e)
		return
	}
	w.done <- e
}

// overdue returns the error of a patient write whose leader was replaced so long ago
// that it need not wait any more.
func (w *waiter) overdue() error {
	if w.over.Err() != nil {
		return failure.Deposed()
	}
	return nil
}

// Ending is how a proposal ended.
type Ending struct {
	Result kv.Result // if Err is nil
	Err    error     // of package failure; it says whether the command took effect
	At     time.Time // about, for measuring
}

// add draws a number and waits under it.
func (ws *waiters) add() *waiter { return ws.enroll(&waiter{done: make(chan Ending, 1)}) }

// addAsync draws a number for an asynchronous write, which is patient if over is not
// nil.
func (ws *waiters) addAsync(deadline time.Time, over context.Context, onEnd func(Ending)) *waiter {
	return ws.enroll(&waiter{onEnd: onEnd, deadline: deadline, over: over})
}

func (ws *waiters) enroll(w *waiter) *waiter {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byNumber == nil {
		ws.byNumber = make(map[uint64]*waiter)
	}
	ws.last++
	w.number = ws.last
	ws.byNumber[w.number] = w
	return w
}

// finish ends the writes whose results came, if they still wait. Only the
// applier calls it.
func (ws *waiters) finish(results []kv.Result) {
	if len(results) == 0 {
		return
	}
	ws.ended = ws.ended[:0]
	ws.mu.Lock()
	for _, r := range results {
		ws.ended = append(ws.ended, ws.takeLocked(r.ID.Number))
	}
	ws.mu.Unlock()
	now := time.Now() // once for all: asking the clock costs as much as the rest
	for i, w := range ws.ended {
		if w != nil {
			w.end(Ending{Result: results[i], At: now})
		}
	}
	clear(ws.ended)
}

// fail ends one write with an error, if it still waits.
func (ws *waiters) fail(number uint64, err error) {
	ws.mu.Lock()
	w := ws.takeLocked(number)
	ws.mu.Unlock()
	if w != nil {
		w.end(Ending{Err: err, At: time.Now()})
	}
}

// failAsync ends the asynchronous writes for which judge returns an error.
func (ws *waiters) failAsync(judge func(*waiter) error) {
	ws.failWhere(func(w *waiter) error {
		if w.onEnd == nil {
			return nil
		}
		return judge(w)
	})
}

// failWhere ends the writes for which judge returns an error.
func (ws *waiters) failWhere(judge func(*waiter) error) {
	type failed struct {
		w   *waiter
		err error
	}
	var all []failed
	ws.mu.Lock()
	for number, w := range ws.byNumber { // each by itself, in any order
		if err := judge(w); err != nil {
			delete(ws.byNumber, number)
			all = append(all, failed{w, err})
		}
	}
	ws.mu.Unlock()
	for _, f := range all {
		f.w.end(Ending{Err: f.err, At: time.Now()})
	}
}

// count returns how many writes wait.
func (ws *waiters) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.byNumber)
}

// takeLocked takes a waiter out; nil if it does not wait any more.
func (ws *waiters) takeLocked(number uint64) *waiter {
	w := ws.byNumber[number]
	delete(ws.byNumber, number)
	return w
}

// withdraw stops waiting and reports whether the write was still without an
// end. If not, its end is in w.done.
func (ws *waiters) withdraw(w *waiter) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	_, waits := ws.byNumber[w.number]
	delete(ws.byNumber, w.number)
	return waits
}
