package kvserver

import (
	"sync"
	"sync/atomic"

	"raftkv/kvserver/kv"
)

// waiters are the writes that were proposed here and whose end is not known
// yet, by the number that this server drew for each. A number is never used for
// two proposals, not even for two attempts at the same request.
type waiters struct {
	mu       sync.Mutex // guards the fields below
	last     uint64
	byNumber map[uint64]*waiter
}

// waiter is one write that waits. It ends once: whoever takes it out of the map
// decides how, so an end that was decided is always there to be received.
type waiter struct {
	number uint64
	term   atomic.Uint64 // in which the command was placed in the log; 0: not placed
	done   chan ending   // has room for the one ending
}

// ending is how a proposal ended.
type ending struct {
	result kv.Result
	err    error
}

// add draws a number and waits under it.
func (ws *waiters) add() *waiter {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byNumber == nil {
		ws.byNumber = make(map[uint64]*waiter)
	}
	ws.last++
	w := &waiter{number: ws.last, done: make(chan ending, 1)}
	ws.byNumber[w.number] = w
	return w
}

// finish ends the writes whose results came, if they still wait.
func (ws *waiters) finish(results []kv.Result) {
	if len(results) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, r := range results {
		ws.endLocked(r.ID.Number, ending{result: r})
	}
}

// fail ends one write with an error, if it still waits.
func (ws *waiters) fail(number uint64, err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.endLocked(number, ending{err: err})
}

// failAll ends all writes that wait.
func (ws *waiters) failAll(err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for number := range ws.byNumber { // any order will do
		ws.endLocked(number, ending{err: err})
	}
}

func (ws *waiters) endLocked(number uint64, e ending) {
	if w, ok := ws.byNumber[number]; ok {
		delete(ws.byNumber, number)
		w.done <- e
	}
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
