package kv

import (
	"bytes"
	"encoding/binary"
	"errors"

	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// What a command does to locks, and how they end with leases. The table of locks decides
// (package lock); here it is put into revisions, events and results.

// Guard lets a change of keys happen only while a token holds a lock, at the command's
// place in the log. The zero value is none.
type Guard struct {
	Lock  string // its name
	Token uint64
}

func (g Guard) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.Lock)))
	return binary.AppendUvarint(append(dst, g.Lock...), g.Token)
}

func (f *reader) guard() (g Guard) {
	g.Lock = string(f.Bytes())
	g.Token = f.Number()
	f.Check(lockNameFits(len(g.Lock)), "a guard by no lock")
	return g
}

// Keeps reports whether the token of a guard holds its lock; always, if there is no guard.
func (v *View) Keeps(g Guard) bool { return g == (Guard{}) || v.locks.Holds(g.Lock, g.Token) }

func lockNameFits(length int) bool { return length >= 1 && length <= lock.MaxNameBytes }

// onLocks reports whether the operation is about a lock.
func (o Op) onLocks() bool { return o >= OpAcquire && o <= OpPublish }

// Acquire is a request for a lock.
type Acquire struct {
	Lock string
	// Lease holds the lock. 0: a lease is made for it in the same command, with this TTL in
	// milliseconds.
	Lease int64
	TTL   uint64
	Limit int    // of holders, 1 to lock.MaxLimit
	Delay uint64 // see lock.Holder; lock.MaxDelay at most
	Value []byte // that is published while it is held
	Queue bool   // wait if all places are taken
}

// flagQueue is the flag of an acquire that waits, and of a leave-queue that ends the lease.
// flagWithdraw is that of a leave-queue under the idempotency key of the request that waits.
const (
	flagQueue    = 1
	flagWithdraw = 2
)

// AcquireCommand returns the command of a request for a lock:
//
//	version u8 = 1 | lease | TTL | limit | delay | flags: 1 waits | value length | value
func AcquireCommand(a Acquire) Command {
	b := []byte{bodyVersion}
	for _, n := range []uint64{uint64(a.Lease), a.TTL, uint64(a.Limit), a.Delay, bit(a.Queue) * flagQueue, uint64(len(a.Value))} {
		b = binary.AppendUvarint(b, n)
	}
	return Command{Op: OpAcquire, Key: []byte(a.Lock), Value: append(b, a.Value...)}
}

func (f *reader) acquire() (a Acquire) {
	a.Lease, a.TTL = int64(f.Number()), f.Number()
	limit, delay, flags := f.Number(), f.Number(), f.Number()
	value := f.Bytes()
	f.End()
	f.Check((a.Lease != 0) == (a.TTL == 0) && (a.Lease != 0 || a.TTL >= lease.MinTTL && a.TTL <= lease.MaxTTL), "neither a lease nor a TTL")
	f.Check(limit >= 1 && limit <= lock.MaxLimit && delay <= lock.MaxDelay && flags <= flagQueue && len(value) <= lock.MaxValueBytes, "beyond a limit")
	a.Limit, a.Delay, a.Queue, a.Value = int(limit), delay, flags == flagQueue, bytes.Clone(value)
	return a
}

// Release returns the command that ends holding a lock.
func Release(name string, token uint64) Command {
	return Command{Op: OpRelease, Key: []byte(name), Value: body(token)}
}

// LeaveQueue returns the command that ends waiting for a lock. With end a lease that waited
// ends with it, which was made by the request that waits. A lease that holds the lock
// meanwhile keeps it, and the result has its token.
func LeaveQueue(name string, lease int64, end bool) Command {
	return Command{Op: OpLeaveQueue, Key: []byte(name), Value: binary.AppendUvarint(body(uint64(lease)), bit(end)*flagQueue)}
}

// Withdraw is LeaveQueue for the request under an idempotency key: its repetition waits
// anew, and so does that of any other request with its lease. That of a request which holds the
// lock finds that it does.
func Withdraw(name string, lease int64, end bool, key string) Command {
	return Command{Op: OpLeaveQueue, Key: []byte(name), Value: binary.AppendUvarint(body(uint64(lease)), bit(end)*flagQueue|flagWithdraw), IdempotencyKey: key}
}

// withdraws reports whether the command is one of Withdraw.
func (c *Command) withdraws() bool {
	f := read(c.Value)
	return c.Op == OpLeaveQueue && f.Byte() == bodyVersion && f.Number() != 0 && f.Number()&flagWithdraw != 0
}

// Publish returns the command that changes the value of a holder.
func Publish(name string, token uint64, value []byte) Command {
	return Command{Op: OpPublish, Key: []byte(name), Value: append(body(token), value...)}
}

// lockFieldsFit is fieldsFit for operations on locks.
func (c *Command) lockFieldsFit() bool {
	plain := Command{Op: c.Op, ID: c.ID, Session: c.Session, Time: c.Time, IdempotencyKey: c.IdempotencyKey, Caller: c.Caller}
	return lockNameFits(len(c.Key)) && (c.Session == (SessionCall{}) || c.IdempotencyKey == "") &&
		c.MaxLength == plain.MaxLength && c.Quota == plain.Quota && c.Condition == plain.Condition &&
		!c.Previous && c.Tie == plain.Tie && !c.KeepValue && c.Guard == plain.Guard
}

// checkLockAsked is CheckAsked for the body of an operation on a lock.
func (c *Command) checkLockAsked() error {
	f := read(c.Value)
	f.Check(f.Byte() == bodyVersion, "another version")
	if c.Op == OpAcquire {
		f.acquire()
	} else {
		f.Number()
	}
	if f.Bad() {
		return errors.New("the command has a body that no client writes")
	}
	return nil
}

// makesLease reports whether the command asks for a lock with a lease that is made for it.
func (c *Command) makesLease() bool {
	f := read(c.Value)
	return c.Op == OpAcquire && f.Byte() == bodyVersion && f.acquire().Lease == 0
}

// runLock applies an operation on a lock.
func (s *Store) runLock(c Command) Result {
	f := read(c.Value)
	f.Check(f.Byte() == bodyVersion, "another version")
	switch c.Op {
	case OpAcquire:
		return s.acquire(&f, &c)
	case OpRelease:
		return s.release(&f, &c)
	case OpLeaveQueue:
		return s.leaveQueue(&f, &c)
	}
	return s.publish(&f, &c)
}

func (s *Store) refusedLock(status Status) Result {
	return Result{Status: status, Revision: s.revision}
}

func (s *Store) acquire(f *reader, c *Command) Result {
	a, name := f.acquire(), string(c.Key)
	switch {
	case f.Bad():
		return s.malformed()
	case a.Lease != 0 && !s.uses(c, a.Lease):
		return s.refusedByLeases(lease.NotFound)
	}
	verdict := s.locks.Judge(name, a.Lease, a.Limit)
	if verdict == lock.Taken && a.Queue {
		if may := s.locks.MayWait(name); may != lock.Taken {
			verdict = may
		}
	}
	switch verdict {
	case lock.Holds:
		l, _ := s.locks.Get(name)
		return Result{Revision: l.Holders[l.HolderOf(a.Lease)].Token, Version: uint64(a.Lease)}
	case lock.Waits:
		if a.Queue { // it keeps its place
			return Result{Status: StatusQueued, Revision: s.revision, Version: uint64(a.Lease)}
		}
		// A client that hears that the lock is held must not be given it later.
		s.leave(name, a.Lease)
		return s.refusedLock(StatusLockHeld)
	case lock.Taken:
		if !a.Queue {
			return s.refusedLock(StatusLockHeld)
		}
	case lock.Mismatch:
		return s.refusedLock(StatusLimitMismatch)
	case lock.Long:
		return s.refusedLock(StatusLockQueueFull)
	case lock.Full:
		return s.refusedLock(StatusLocksFull)
	}
	return s.enter(name, a, c, verdict == lock.Free)
}

// enter lets a lease hold a lock of which a place is free, or else wait for it.
func (s *Store) enter(name string, a Acquire, c *Command, free bool) Result {
	id, refused := a.Lease, lease.Refusal(0)
	if id == 0 {
		id, refused = s.leases.Grant(s.leaseNumber(), 0, lease.Lease{TTL: a.TTL, Owner: c.owner()})
	} else {
		refused = s.leases.TakesLock(id)
	}
	if refused != 0 {
		return s.refusedByLeases(refused)
	}
	s.leases.CountLock(id, 1)
	if !free {
		s.locks.Enqueue(name, lock.Waiter{Since: s.applied, Lease: id, Delay: a.Delay, Value: a.Value})
		return Result{Status: StatusQueued, Revision: s.revision, Version: uint64(id)}
	}
	s.revision++
	h := lock.Holder{Token: s.revision, Lease: id, Delay: a.Delay, Value: a.Value}
	s.locks.Grant(name, a.Limit, h)
	s.note(granted(name, h))
	return Result{Revision: s.revision, Version: uint64(id)}
}

// leave takes a lease out of the queue of a lock, and reports whether it was there.
func (s *Store) leave(name string, id int64) bool {
	left := s.locks.Leave(name, id)
	if left {
		s.leases.CountLock(id, -1)
		s.departed(name, id)
	}
	return left
}

// usedHolder returns the holder with a token, if the command's caller may use its lease.
func (s *Store) usedHolder(name string, token uint64, c *Command) bool {
	l, _ := s.locks.Get(name)
	for i := range l.Holders {
		if h := &l.Holders[i]; h.Token == token {
			return s.uses(c, h.Lease)
		}
	}
	return false
}

func (s *Store) release(f *reader, c *Command) Result {
	token, name := f.Number(), string(c.Key)
	f.End()
	switch {
	case f.Bad():
		return s.malformed()
	case !s.usedHolder(name, token, c):
		return s.refusedLock(StatusLockLost)
	}
	s.revision++
	s.note(s.unseat(name, token, EventReleased))
	r := Result{Revision: s.revision}
	s.handOver(name)
	return r
}

// unseat takes a lock from the holder with a token, and returns the event of that. A place
// that was not released stays free for the holder's delay.
func (s *Store) unseat(name string, token uint64, op EventOp) Event {
	l, _ := s.locks.Get(name)
	until := uint64(0)
	for i := range l.Holders {
		if h := &l.Holders[i]; h.Token == token && h.Delay > 0 && op != EventReleased {
			until = s.leases.Time() + h.Delay
		}
	}
	h, held := s.locks.Release(name, token, until)
	assert(held, "kv: the lock %q is to be taken from the token %d, which does not hold it", name, token)
	s.leases.CountLock(h.Lease, -1)
	return Event{Revision: s.revision, Key: name, Op: op, hash: lockHash(name), Prev: heldItem(h), PrevLease: h.Lease}
}

// handOver gives the free places of a lock to the first in its queue, in one change each.
func (s *Store) handOver(name string) {
	for {
		if _, ok := s.locks.Next(name); !ok {
			return
		}
		s.revision++
		h := s.locks.Promote(name, s.revision)
		s.note(granted(name, h))
		s.departed(name, h.Lease)
	}
}

// endLocks takes a lease that ends from its locks and queues. It returns the events of the
// locks that it held, of which the caller makes a change, and then hands them over.
func (s *Store) endLocks(id int64, op EventOp) (events []Event) {
	for _, name := range s.locks.Of(id) {
		l, _ := s.locks.Get(name)
		if at := l.HolderOf(id); at >= 0 {
			events = append(events, s.unseat(name, l.Holders[at].Token, op))
			continue
		}
		s.leave(name, id)
	}
	return events
}

func (s *Store) leaveQueue(f *reader, c *Command) Result {
	id, flags, name := int64(f.Number()), f.Number(), string(c.Key)
	f.Check(len(f.Rest) == 0 && flags <= flagQueue|flagWithdraw, "bytes after the end")
	if f.Bad() {
		return s.malformed()
	}
	if !s.uses(c, id) {
		return s.refusedByLeases(lease.NotFound)
	}
	l, _ := s.locks.Get(name)
	if at := l.HolderOf(id); at >= 0 {
		return Result{Status: StatusLockHeld, Revision: l.Holders[at].Token, Version: uint64(id)}
	}
	if !s.leave(name, id) {
		return s.refusedLock(StatusLockNotFound)
	}
	if flags&flagWithdraw != 0 {
		s.withdraw(name, id)
	}
	if flags&flagQueue != 0 {
		s.endLease(id, EventLockRevoked)
		s.leases.Revoked++
	}
	return Result{Revision: s.revision}
}

// Departure says that a lease does not wait for a lock any more: it holds it, or has left
// the queue.
type Departure struct {
	Lock  string
	Lease int64
}

// maxDepartures bounds the departures that are kept.
const maxDepartures = 4096

// departed notes a departure for whoever waits for one on this server. It is no part of the
// state.
func (s *Store) departed(name string, id int64) {
	if len(s.departures) < maxDepartures {
		s.departures = append(s.departures, Departure{name, id})
	} else {
		s.departuresLost = true
	}
}

// TakeDepartures returns the departures since the last call, and whether some are missing.
func (s *Store) TakeDepartures() (all []Departure, lost bool) {
	all, lost = s.departures, s.departuresLost
	s.departures, s.departuresLost = nil, false
	return all, lost
}

func (s *Store) publish(f *reader, c *Command) Result {
	token, name := f.Number(), string(c.Key)
	switch {
	case f.Bad() || len(f.Rest) > lock.MaxValueBytes:
		return s.malformed()
	case !s.usedHolder(name, token, c):
		return s.refusedLock(StatusLockLost)
	}
	s.revision++
	value := bytes.Clone(f.Rest)
	old, _ := s.locks.Publish(name, token, value)
	new := old
	new.Value = value
	e := granted(name, new)
	e.Op, e.Revision, e.Prev, e.PrevLease = EventPublished, s.revision, heldItem(old), old.Lease
	s.note(e)
	return Result{Revision: s.revision, Version: uint64(old.Lease), Length: uint64(len(value))}
}

// granted returns the event of a grant.
func granted(name string, h lock.Holder) Event {
	return Event{Revision: h.Token, Key: name, Op: EventGranted, hash: lockHash(name), Item: heldItem(h), Lease: h.Lease}
}

// heldItem is what an event of a lock has in the place of an item: the value of a holder,
// with the token as revision.
func heldItem(h lock.Holder) Item {
	return Item{Value: h.Value, Revision: h.Token, Version: 1, checksum: checksumOf(0, h.Value)}
}

// Held is a holder of a lock as events show it.
type Held struct {
	Item  Item // its value, with the token as revision
	Lease int64
}

// HoldersOf returns the holders of a lock, in the order of their tokens.
func (v *View) HoldersOf(name string) (all []Held) {
	l, _ := v.locks.Get(name)
	for i := range l.Holders {
		all = append(all, Held{heldItem(l.Holders[i]), l.Holders[i].Lease})
	}
	return all
}

// Locks returns the table of locks, which must not be changed.
func (v *View) Locks() *lock.Table { return &v.locks }

// CanEnd reports whether ticks are needed: something has a deadline.
func (v *View) CanEnd() bool {
	_, _, delay := v.locks.Due()
	return delay || v.leases.CanEnd()
}

// lockHash is the common beginning of the hashes of all that belongs to a lock.
func lockHash(name string) uint64 { return bytesHash(hashLock, name) }

// lockHashes make the hashes of locks in the digest. Each begins with another number.
var lockHashes = lock.Hashes{
	Lock: func(name string, limit int) uint64 { return mix(mix(lockHash(name), 1), uint64(limit)) },
	Holder: func(name string, h *lock.Holder) uint64 {
		return mix(mix(mix(mix(mix(lockHash(name), 2), h.Token), uint64(h.Lease)), h.Delay), bytesHash(hashLock, h.Value))
	},
	Waiter: func(name string, w *lock.Waiter) uint64 {
		return mix(mix(mix(mix(mix(lockHash(name), 3), w.Since), uint64(w.Lease)), w.Delay), bytesHash(hashLock, w.Value))
	},
	Delay: func(name string, until uint64) uint64 { return mix(mix(lockHash(name), 4), until) },
}
