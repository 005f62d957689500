package main

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

// coordination is what leases, locks and transactions mean, written a second time in the
// plainest way, and what coordinators were promised. It is held to the store at each index at
// which one of their commands is applied for the first time.
type coordination struct {
	w        *world
	leases   map[int64]*plainLease // those that are alive
	promises map[int64]int64       // until when a lease lives at least, in true time
	expired  map[int64]int64       // when it ended by itself, in true time
	locks    map[string]*plainLock
	fenced   map[string]uint64 // by lock: the token of the last write that it guards
	accounts map[string]plainAccount
	changes  uint64 // that the present command makes
}

type plainLease struct {
	ttl, deadline uint64
	tied          []string
}

type plainLock struct {
	lease  int64 // 0: nobody holds it
	token  uint64
	newest uint64 // token
	queue  []int64
}

type plainAccount struct {
	balance  int
	revision uint64
}

func newCoordination(w *world) *coordination {
	k := &coordination{
		w: w, leases: map[int64]*plainLease{}, promises: map[int64]int64{}, expired: map[int64]int64{},
		locks: map[string]*plainLock{}, fenced: map[string]uint64{}, accounts: map[string]plainAccount{},
	}
	for i := range coordinatedLocks {
		k.locks[strconv.Itoa(i)] = &plainLock{}
	}
	for _, name := range accountNames {
		k.accounts[name] = plainAccount{balance: accountsFirst}
	}
	return k
}

// promised: a lease lives until a time, in true time. (L1)
func (k *coordination) promised(lease, until int64) {
	if at, ended := k.expired[lease]; ended && at < until {
		k.w.fail("lease", "lease %d ended at %s, and its holder was promised that it lives until %s", lease, clock(at), clock(until))
	}
	k.promises[lease] = max(k.promises[lease], until)
}

// believed: a coordinator is told that it holds a lock. Nobody else may believe so. (K9)
func (k *coordination) believed(c *coordinator) {
	k.w.counts.LockGrants++
	for _, other := range k.w.coordinators {
		if other != c && other.lock == c.lock && other.believes() && c.believes() {
			k.w.fail("lock", "the coordinators %d and %d believe to hold lock %s, with the tokens %d and %d", other.index+1, c.index+1, c.lock, other.token, c.token)
		}
	}
}

// applied holds a command to what it means. before is the store's revision before it, now is
// lease time behind it.
func (k *coordination) applied(index uint64, c *kv.Command, got kv.Result, store *kv.Store, before, now uint64) {
	want := kv.StatusOK
	k.changes = 0
	switch c.Op {
	case kv.OpTick:
		k.tick(now)
	case kv.OpGrant:
		k.grant(index, c, got, now)
	case kv.OpKeepAlive:
		k.keep(c, got, now)
	case kv.OpRevoke:
		want = k.revoke(c)
	case kv.OpAcquire:
		want = k.acquire(c, got)
	case kv.OpRelease:
		want = k.release(c)
	case kv.OpTxn:
		want = k.transact(c, before+1)
	case kv.OpPut:
		want = k.guarded(c)
	}
	if got.Status != want {
		k.w.fail("coordination", "%v at %d ends with status %d; by what stands before it that is %d", c.Op, index, got.Status, want)
	}
	if is := store.Revision() - before; is != k.changes {
		k.w.fail("coordination", "%v at %d makes %d changes, and is to make %d (T3, L7, L9)", c.Op, index, is, k.changes)
	}
	k.compare(index, store)
}

func (k *coordination) grant(index uint64, c *kv.Command, got kv.Result, now uint64) {
	var ttl uint64
	for _, can := range []uint64{1000, 2000, 5000} {
		if want := kv.Grant(0, can, ""); string(c.Value) == string(want.Value) {
			ttl = can
		}
	}
	if got.Version != index {
		k.w.fail("lease", "the lease that was granted at %d has the number %d (L6)", index, got.Version)
	}
	k.leases[int64(index)] = &plainLease{ttl: ttl, deadline: now + ttl}
	k.w.counts.Leases++
}

// named returns the one of the known numbers that a command is about; 0: none of them.
func named[N int64 | uint64](c *kv.Command, make func(N) kv.Command, known []N) N {
	for _, n := range known {
		if want := make(n); string(want.Value) == string(c.Value) {
			return n
		}
	}
	return 0
}

func (k *coordination) alive() []int64 { return slices.Sorted(maps.Keys(k.leases)) }

func (k *coordination) keep(c *kv.Command, got kv.Result, now uint64) {
	id := named(c, func(id int64) kv.Command { return kv.KeepAlive(id) }, k.alive())
	ttls := got.Kept()
	switch l := k.leases[id]; {
	case len(ttls) != 1 || (l == nil) != (ttls[0] == 0):
		k.w.fail("lease", "a lease that is alive (%v) is kept for %v (L6)", l != nil, ttls)
	case l != nil:
		l.deadline = now + l.ttl
	}
}

func (k *coordination) revoke(c *kv.Command) kv.Status {
	id := named(c, kv.Revoke, k.alive())
	if id == 0 {
		return kv.StatusLeaseNotFound
	}
	k.end(id)
	return kv.StatusOK
}

// tick ends what is due.
func (k *coordination) tick(now uint64) {
	var due []int64
	for _, id := range k.alive() {
		if k.leases[id].deadline <= now {
			due = append(due, id)
		}
	}
	slices.SortStableFunc(due, func(a, b int64) int { return cmp.Compare(k.leases[a].deadline, k.leases[b].deadline) })
	for _, id := range due {
		k.end(id)
		k.expired[id] = k.w.now
		k.w.counts.LeasesExpired++
		if until := k.promises[id]; k.w.now < until {
			k.w.fail("lease", "lease %d ends at %s, and its holder was promised that it lives until %s (L1)", id, clock(k.w.now), clock(until))
		}
	}
}

// end ends a lease, with its places in locks and queues: its keys and locks in one change.
func (k *coordination) end(id int64) {
	had := len(k.leases[id].tied) > 0
	delete(k.leases, id)
	for _, l := range k.locks { // each by itself
		l.queue = slices.DeleteFunc(l.queue, func(waiting int64) bool { return waiting == id })
		if l.lease == id {
			had = true
			k.free(l)
		}
	}
	if had {
		k.changes++
	}
}

// free gives a lock to the first that waits, in a change.
func (k *coordination) free(l *plainLock) {
	l.lease, l.token = 0, 0
	if len(l.queue) > 0 {
		l.lease, l.queue = l.queue[0], l.queue[1:]
		k.changes++
	}
}

func (k *coordination) acquire(c *kv.Command, got kv.Result) kv.Status {
	l := k.locks[string(c.Key)]
	for _, id := range k.alive() {
		for _, queue := range []bool{true, false} {
			if want := kv.AcquireCommand(kv.Acquire{Lock: string(c.Key), Lease: id, Limit: 1, Queue: queue}); string(want.Value) != string(c.Value) {
				continue
			}
			at := slices.Index(l.queue, id)
			switch {
			case l.lease == id:
				if got.Revision != l.token {
					k.w.fail("lock", "a lease that holds lock %s with the token %d is told of %d", c.Key, l.token, got.Revision)
				}
				return kv.StatusOK
			case l.lease == 0:
				l.lease = id
				k.changes++
				return kv.StatusOK
			case at >= 0 && queue:
			case at >= 0:
				l.queue = slices.Delete(l.queue, at, at+1)
				return kv.StatusLockHeld
			case queue:
				l.queue = append(l.queue, id)
				k.w.counts.LockWaits++
			default:
				return kv.StatusLockHeld
			}
			return kv.StatusQueued
		}
	}
	return kv.StatusLeaseNotFound
}

func (k *coordination) release(c *kv.Command) kv.Status {
	l := k.locks[string(c.Key)]
	if l.lease == 0 || named(c, func(token uint64) kv.Command { return kv.Release(string(c.Key), token) }, []uint64{l.token}) == 0 {
		return kv.StatusLockLost
	}
	k.changes++
	k.free(l)
	return kv.StatusOK
}

// guarded: a write happens if its token holds the lock, and no earlier token's comes behind a
// later one's. (K5)
func (k *coordination) guarded(c *kv.Command) kv.Status {
	l := k.locks[c.Guard.Lock]
	if l.lease == 0 || l.token != c.Guard.Token {
		k.w.counts.FencedOff++
		return kv.StatusLockLost
	}
	if c.Guard.Token < k.fenced[c.Guard.Lock] {
		k.w.fail("lock", "a write of the token %d comes behind one of %d (K5)", c.Guard.Token, k.fenced[c.Guard.Lock])
	}
	k.fenced[c.Guard.Lock] = c.Guard.Token
	k.changes++
	return kv.StatusOK
}

// transact does what a transaction does, at a revision: all of it, or nothing. (T1, T6)
func (k *coordination) transact(c *kv.Command, revision uint64) kv.Status {
	if _, err := c.Results(); err != nil { // which reads the transaction
		k.w.fail("transaction", "one that nobody asked for: %v", err)
	}
	t := c.Txn()
	for i := range t.If {
		if t.If[i].Number != k.accounts[t.If[i].From].revision {
			k.w.counts.TxnsRefused++
			return kv.StatusOK // the other branch, which is empty
		}
	}
	for i := range t.Then {
		o := &t.Then[i]
		switch {
		case o.Kind == txn.Touch:
			k.w.counts.TxnsRefused++
			return kv.StatusNotFound
		case o.Tie.Lease != 0 && k.leases[o.Tie.Lease] == nil:
			return kv.StatusLeaseNotFound
		}
	}
	for i := range t.Then {
		o := &t.Then[i]
		if l := k.leases[o.Tie.Lease]; l != nil {
			if !slices.Contains(l.tied, o.From) {
				l.tied = append(l.tied, o.From)
			}
			continue
		}
		balance, _ := strconv.Atoi(string(o.Value))
		k.accounts[o.From] = plainAccount{balance, revision}
	}
	k.w.counts.Txns++
	k.changes++
	return kv.StatusOK
}

// compare holds the store to what it must be now.
func (k *coordination) compare(index uint64, store *kv.Store) {
	if n := store.Leases().Len(); n != len(k.leases) {
		k.w.fail("lease", "at %d there are %d leases, and %d are alive (L5)", index, n, len(k.leases))
	}
	tied := 0
	for id, l := range k.leases { // each by itself
		if _, found := store.Leases().Get(id); !found {
			k.w.fail("lease", "at %d there is no lease %d, which has time until %d (L1)", index, id, l.deadline)
		}
		for _, key := range l.tied {
			if _, found := store.Get([]byte(key)); !found {
				k.w.fail("lease", "at %d there is no key %s, whose lease is alive (L7)", index, key)
			}
		}
		tied += len(l.tied)
	}
	if n := store.Leases().Ties(); n != tied {
		k.w.fail("lease", "at %d %d keys are tied to leases, and that is to be %d: those of a lease go with it (L7)", index, n, tied)
	}
	for name, l := range k.locks { // each by itself
		k.compareLock(index, store, name, l)
	}
	sum := 0
	for _, name := range accountNames {
		item, balance := accountOf(store, name)
		if want := k.accounts[name]; balance != want.balance || item.Revision != want.revision {
			k.w.fail("transaction", "at %d %s has %d of revision %d, and is to have %d of %d (T1)", index, name, balance, item.Revision, want.balance, want.revision)
		}
		sum += balance
	}
	if sum != len(accountNames)*accountsFirst {
		k.w.fail("transaction", "at %d the accounts have %d (T1)", index, sum)
	}
}

func (k *coordination) compareLock(index uint64, store *kv.Store, name string, l *plainLock) {
	is, _ := store.Locks().Get(name)
	switch {
	case len(is.Holders) > 1:
		k.w.fail("lock", "at %d lock %s has %d holders (K1)", index, name, len(is.Holders))
	case len(is.Queue) != len(l.queue):
		k.w.fail("lock", "at %d %d wait for lock %s, and that is to be %d (K3)", index, len(is.Queue), name, len(l.queue))
	case (l.lease == 0) != (len(is.Holders) == 0):
		k.w.fail("lock", "at %d lock %s has %d holders, and it is lease %d's (K3)", index, name, len(is.Holders), l.lease)
	case l.lease == 0:
		return
	}
	h := &is.Holders[0]
	switch {
	case h.Lease != l.lease:
		k.w.fail("lock", "at %d lock %s is held by lease %d, and %d is next (K4)", index, name, h.Lease, l.lease)
	case l.token == 0 && (h.Token <= l.newest || h.Token > store.Revision()):
		k.w.fail("lock", "at %d the token of lock %s is %d, behind %d (K2)", index, name, h.Token, l.newest)
	case l.token != 0 && h.Token != l.token:
		k.w.fail("lock", "at %d the token of lock %s is %d, and was %d (K2)", index, name, h.Token, l.token)
	}
	l.token, l.newest = h.Token, h.Token
}
