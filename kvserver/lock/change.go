package lock

import (
	"fmt"
	"slices"
)

// Verdict says what a request for a lock comes to.
type Verdict uint8

// The verdicts.
const (
	Free     Verdict = 1 // there is a place: Grant gives it
	Holds    Verdict = 2 // the lease holds the lock already
	Waits    Verdict = 3 // the lease waits for the lock already
	Taken    Verdict = 4 // all places are taken: Enqueue makes it wait, if MayWait lets it
	Mismatch Verdict = 5 // the lock has another limit
	Long     Verdict = 6 // the queue is full
	Full     Verdict = 7 // there is no room in the table
)

// Judge says what a request of a lease for a lock with a limit comes to. Lease 0 is one
// that is not made yet.
func (t *Table) Judge(name string, lease int64, limit int) Verdict {
	l, found := t.locks.Get(name)
	room := t.held+t.delayed < t.limits.Places
	switch {
	case !found && (t.locks.Len() >= t.limits.Locks || !room):
		return Full
	case !found:
		return Free
	case l.Limit != limit:
		return Mismatch
	case l.HolderOf(lease) >= 0:
		return Holds
	case l.waiterOf(lease) >= 0:
		return Waits
	case l.places() < l.Limit && !room:
		return Full
	case l.places() < l.Limit:
		return Free
	}
	return Taken
}

// MayWait returns Taken if there is room in the queue of a lock whose places are taken,
// and else Long or Full.
func (t *Table) MayWait(name string) Verdict {
	l, _ := t.locks.Get(name)
	switch {
	case len(l.Queue) >= t.limits.Queue:
		return Long
	case t.waiting >= t.limits.Waiting:
		return Full
	}
	return Taken
}

// edit changes a lock, which is made if it is not there, and removed if nothing of it is
// left.
func (t *Table) edit(name string, limit int, change func(l *Lock)) {
	l, found := t.locks.Get(name)
	if !found {
		l.Limit = limit
		t.Sum += t.hashes.Lock(name, limit)
	}
	change(&l)
	if l.places() == 0 && len(l.Queue) == 0 {
		t.locks.Delete(name)
		t.Sum -= t.hashes.Lock(name, l.Limit)
		return
	}
	t.locks.Set(name, l)
}

// A lock that was frozen shares its lists with the present one. So what is in them never
// changes: they grow behind the ends that others see, lose their beginning, or are copied.

// Grant gives a free place of a lock to a holder, whose token is greater than all before
// it. The limit is that of a lock that is not there yet.
func (t *Table) Grant(name string, limit int, h Holder) {
	t.edit(name, limit, func(l *Lock) { t.seat(name, l, h) })
}

func (t *Table) seat(name string, l *Lock, h Holder) {
	if l.places() >= l.Limit || len(l.Holders) > 0 && l.Holders[len(l.Holders)-1].Token >= h.Token {
		panic(fmt.Sprintf("lock: %d of %d places are taken, and the token %d is to be granted", l.places(), l.Limit, h.Token))
	}
	l.Holders = append(l.Holders, h)
	t.held++
	t.uses.Set(use{h.Lease, name})
	t.Sum += t.hashes.Holder(name, &h)
}

// Enqueue puts a waiter at the end of the queue of a lock.
func (t *Table) Enqueue(name string, w Waiter) {
	t.edit(name, 0, func(l *Lock) {
		l.Queue = append(l.Queue, w)
		t.waiting++
		t.uses.Set(use{w.Lease, name})
		t.Sum += t.hashes.Waiter(name, &w)
	})
}

// Leave takes a lease out of the queue of a lock, and reports whether it was there.
func (t *Table) Leave(name string, lease int64) bool {
	l, _ := t.locks.Get(name)
	at := l.waiterOf(lease)
	if at < 0 {
		return false
	}
	t.edit(name, 0, func(l *Lock) {
		t.unqueue(name, &l.Queue[at])
		l.Queue = slices.Delete(slices.Clone(l.Queue), at, at+1)
	})
	return true
}

// unqueue takes what follows from a waiter away.
func (t *Table) unqueue(name string, w *Waiter) {
	t.waiting--
	t.uses.Delete(use{w.Lease, name})
	t.Sum -= t.hashes.Waiter(name, w)
}

// Release takes a lock from the holder with a token, which is returned. If until is not
// 0, the place stays free up to that lease time. It reports false if no holder has the
// token.
func (t *Table) Release(name string, token, until uint64) (h Holder, held bool) {
	l, _ := t.locks.Get(name)
	at := l.withToken(token)
	if at < 0 {
		return Holder{}, false
	}
	h = l.Holders[at]
	t.edit(name, 0, func(l *Lock) {
		l.Holders = slices.Delete(slices.Clone(l.Holders), at, at+1)
		t.held--
		t.uses.Delete(use{h.Lease, name})
		t.Sum -= t.hashes.Holder(name, &h)
		if until != 0 {
			t.keepFree(name, l, until)
		}
	})
	return h, true
}

// keepFree lets a place of a lock stay free.
func (t *Table) keepFree(name string, l *Lock, until uint64) {
	at, _ := slices.BinarySearch(l.Delays, until)
	l.Delays = slices.Insert(slices.Clone(l.Delays), at, until)
	t.delayed++
	t.delays.Set(delay{until, name})
	t.Sum += t.hashes.Delay(name, until)
}

// EndDelay frees the places of a lock that stay free up to a lease time and no longer.
func (t *Table) EndDelay(name string, until uint64) {
	t.delays.Delete(delay{until, name})
	t.edit(name, 0, func(l *Lock) {
		n := 0
		for ; n < len(l.Delays) && l.Delays[n] == until; n++ {
			t.delayed--
			t.Sum -= t.hashes.Delay(name, until)
		}
		l.Delays = l.Delays[n:]
	})
}

// Next returns the first in the queue of a lock, if there is a place for it.
func (t *Table) Next(name string) (w Waiter, ok bool) {
	l, _ := t.locks.Get(name)
	if len(l.Queue) == 0 || l.places() >= l.Limit {
		return Waiter{}, false
	}
	return l.Queue[0], true
}

// Promote gives a free place of a lock to the first in its queue, with a token.
func (t *Table) Promote(name string, token uint64) (h Holder) {
	t.edit(name, 0, func(l *Lock) {
		w := l.Queue[0]
		t.unqueue(name, &w)
		if l.Queue = l.Queue[1:]; len(l.Queue) == 0 {
			l.Queue = nil
		}
		h = Holder{Token: token, Lease: w.Lease, Delay: w.Delay, Value: w.Value}
		t.seat(name, l, h)
	})
	return h
}

// Publish changes the value of the holder with a token, and returns the holder as it was.
// It reports false if no holder has the token.
func (t *Table) Publish(name string, token uint64, value []byte) (old Holder, held bool) {
	l, _ := t.locks.Get(name)
	at := l.withToken(token)
	if at < 0 {
		return Holder{}, false
	}
	old = l.Holders[at]
	t.edit(name, 0, func(l *Lock) {
		l.Holders = slices.Clone(l.Holders)
		l.Holders[at].Value = value
		t.Sum += t.hashes.Holder(name, &l.Holders[at]) - t.hashes.Holder(name, &old)
	})
	return old, true
}
