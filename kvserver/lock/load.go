package lock

import (
	"fmt"
	"slices"
)

// Load adds a lock that a snapshot says, to a table of locks with smaller names. What it
// says of leases is for the caller to check; revision is the store's, index that of the
// last entry which it has applied, and time its lease time. The error says what cannot be.
func (t *Table) Load(name string, l Lock, revision, index, time uint64) error {
	switch {
	case t.locks.Len() >= t.limits.Locks:
		return fmt.Errorf("there are more than %d locks", t.limits.Locks)
	case l.Limit < 1 || l.Limit > MaxLimit || l.places() > l.Limit || len(l.Queue) > t.limits.Queue:
		return fmt.Errorf("the lock %.40q has %d holders, %d delays and %d waiting, and the limit %d", name, len(l.Holders), len(l.Delays), len(l.Queue), l.Limit)
	case l.places() == 0:
		return fmt.Errorf("the lock %.40q has neither holder nor delay", name)
	case l.places() < l.Limit && len(l.Queue) > 0:
		return fmt.Errorf("the lock %.40q has a free place, and %d wait for it", name, len(l.Queue))
	case t.held+t.delayed+l.places() > t.limits.Places, t.waiting+len(l.Queue) > t.limits.Waiting:
		return fmt.Errorf("locks have more than %d places, or more than %d wait", t.limits.Places, t.limits.Waiting)
	}
	last := uint64(1) // the first change of a store has revision 2
	for i := range l.Holders {
		h := &l.Holders[i]
		if h.Token <= last || h.Token > revision || h.Delay > MaxDelay || l.HolderOf(h.Lease) != i {
			return fmt.Errorf("the lock %.40q has the holder %d of lease %d, which cannot be", name, h.Token, h.Lease)
		}
		last = h.Token
	}
	last = 0
	for i := range l.Queue {
		w := &l.Queue[i]
		if w.Since <= last || w.Since > index || w.Delay > MaxDelay || l.waiterOf(w.Lease) != i || l.HolderOf(w.Lease) >= 0 {
			return fmt.Errorf("for the lock %.40q waits the lease %d since %d, which cannot be", name, w.Lease, w.Since)
		}
		last = w.Since
	}
	for _, until := range l.Delays {
		if until == 0 || until > time+MaxDelay {
			return fmt.Errorf("the lock %.40q has a place that is free at %d, and it is %d", name, until, time)
		}
	}
	if !slices.IsSorted(l.Delays) {
		return fmt.Errorf("the delays of the lock %.40q do not rise", name)
	}
	t.edit(name, l.Limit, func(to *Lock) {
		for _, h := range l.Holders {
			t.seat(name, to, h)
		}
		for _, until := range l.Delays {
			t.keepFree(name, to, until)
		}
	})
	for _, w := range l.Queue {
		t.Enqueue(name, w)
	}
	return nil
}
