package kvserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/lock"
	"raftkv/kvserver/machine"
)

// Lock is a lock as a read shows it.
type Lock = machine.Lock

// Limits of locks, for doors.
const (
	MaxLockPage  = api.MaxLockPage
	MaxLockDelay = lock.MaxDelay * time.Millisecond
	// MaxLockWait is how long a request may wait for a lock.
	MaxLockWait = 10 * time.Minute
)

// Acquire is a request for a lock. Its client may wait, if Queue is set.
type Acquire struct {
	kv.Acquire
	IdempotencyKey string
	Wait           time.Duration
	// KeepAlive: the lease is kept alive while the request waits. Otherwise its client does
	// that.
	KeepAlive bool
}

// Road carries the commands of one request to the leader on another node.
type Road interface {
	// Carry returns what carries a command; nil, if it may not travel.
	Carry(c kv.Command) Remote
	// Queued reports whether the log's answer to the last command that was carried is that a
	// lease waits for a lock, and which one.
	Queued() (lease int64, yes bool)
	// Result returns the log's answer to the last command that was carried.
	Result() (kv.Result, bool)
}

// Acquire takes a request for a lock through the log, wherever the leader is, and waits for
// the lock if the request does; see Write. The result is kv.StatusOK or a refusal by the
// store. elsewhere says that the answer is with the road.
//
// The waiting is on this node, which need not lead: it hears of a grant as it applies it.
// An answer says what is final: behind an error that leaves the outcome open the same
// request, with the same lease or idempotency key, has the place that it had.
func (s *Server) Acquire(client context.Context, who *Caller, a Acquire, road Road) (r kv.Result, elsewhere bool, err error) {
	if a.Queue {
		if err := s.enterWatches(Watches, 0); err != nil {
			return r, false, err
		}
		defer s.leaveWatches(Watches, 0)
	}
	until := time.NewTimer(a.Wait)
	defer until.Stop()
	c := kv.AcquireCommand(a.Acquire)
	c.IdempotencyKey = a.IdempotencyKey
	r, elsewhere, err = s.acquireNow(client, who, c, road)
	w := lockWait{server: s, client: client, who: who, acquire: a, lease: r.Lease(), road: road}
	switch {
	case err != nil:
		return r, elsewhere, err
	case elsewhere:
		id, queued := road.Queued()
		if !queued {
			return r, true, nil
		}
		w.lease = id
	case r.Status != kv.StatusQueued:
		return r, false, nil
	}
	got, err := w.wait(until.C)
	got.Replayed = r.Replayed
	return got, false, err
}

// acquireNow is the part of Acquire that does not wait.
func (s *Server) acquireNow(client context.Context, who *Caller, c kv.Command, road Road) (kv.Result, bool, error) {
	ctx, cancel := s.Context(client)
	defer cancel()
	size := int64(len(c.Value))
	if err := s.Wait(ctx, Writes, size); err != nil {
		return kv.Result{}, false, err
	}
	defer s.Leave(Writes, size)
	return s.Write(ctx, who, c, nil, road.Carry(c))
}

// lockWait is a request whose lease is in the queue of a lock.
type lockWait struct {
	server  *Server
	client  context.Context
	who     *Caller
	acquire Acquire
	lease   int64
	road    Road
	kept    chan struct{} // a keep-alive has ended
}

// wait waits until the lease holds the lock, or does not wait for it any more.
func (w *lockWait) wait(until <-chan time.Time) (kv.Result, error) {
	s, name := w.server, w.acquire.Lock
	queued := s.machine.Queue(name, w.lease)
	defer func() { queued.Close() }()
	// This node may not have come to the place in the log where the lease began to wait.
	if err := w.catchUp(); err != nil {
		return w.leave(err)
	}
	keep := time.NewTimer(0)
	defer keep.Stop()
	w.kept = make(chan struct{}, 1)
	keeping, stop := context.WithCancel(w.client)
	var keepers sync.WaitGroup // at most one
	defer keepers.Wait()       // the road is the request's, and ends with it
	defer stop()
	for {
		token, waits, ttl := s.machine.LockPlace(name, w.lease)
		if err := s.Allow(w.who, auth.Acquire, auth.OneLock(name)); err != nil {
			return w.expel(err) // it was granted before, or will be, to a lease and not to a token
		}
		if s.machine.Quarantined() != nil { // what it says may be wrong
			return kv.Result{}, failure.Of(failure.LeadershipLost, nil, "this node found its state to be wrong while the request waited for the lock; it keeps its place: ask another node, with the same lease or idempotency key")
		}
		if token != 0 {
			return kv.Result{Revision: token, Version: uint64(w.lease)}, nil
		}
		if !waits {
			if r, over, err := w.again(ttl != 0); over || err != nil {
				return r, err
			}
			queued.Close()
			queued = s.machine.Queue(name, w.lease) // which may be another one
			continue
		}
		select {
		case <-queued.Woken():
		case <-keep.C:
			if lease := w.lease; w.acquire.KeepAlive {
				keepers.Go(func() { w.keepAlive(keeping, lease) })
			}
		case <-w.kept:
			keep.Reset(time.Duration(ttl/3) * time.Millisecond)
		case <-until:
			return w.leave(nil)
		case <-w.client.Done():
			w.forsake()
			return kv.Result{}, context.Cause(w.client)
		case <-s.leaving:
			return kv.Result{}, failure.StoppedDuring(nil) // it keeps its place
		case <-s.machine.Lifetime().Done():
			return kv.Result{}, failure.StoppedDuring(nil)
		}
	}
}

// catchUp waits until this node has applied all that was answered before.
func (w *lockWait) catchUp() error {
	ctx, cancel := w.server.Context(w.client)
	defer cancel()
	return w.server.awaitLinearizable(ctx)
}

// again asks once more for a request whose lease is not in the queue any more. Under an
// idempotency key another copy of the request, or another request of the lease, may have been
// withdrawn, since its client went away: then this one has a new place, if not the lock. over
// says that the result, or the error, is the end of it.
func (w *lockWait) again(alive bool) (r kv.Result, over bool, err error) {
	if w.acquire.IdempotencyKey == "" {
		return r, true, w.refused(alive)
	}
	c := kv.AcquireCommand(w.acquire.Acquire)
	c.IdempotencyKey = w.acquire.IdempotencyKey
	if r, err = w.heard(w.server.acquireNow(w.client, w.who, c, w.road)); err == nil && r.Status == kv.StatusQueued {
		err = w.catchUp()
	}
	switch {
	case failure.OfCaller(err): // nothing was asked for
		return r, true, err
	case err != nil:
		return r, true, failure.Of(failure.Timeout, err, "the lease left the queue of the lock, and the request could not be made again: ask again with the same lease or idempotency key")
	case r.Status == kv.StatusOK:
		return r, true, nil
	case r.Status != kv.StatusQueued:
		return r, true, w.server.RefusedByStore(r)
	}
	w.lease = r.Lease()
	token, waits, ttl := w.server.machine.LockPlace(w.acquire.Lock, w.lease)
	if token == 0 && !waits && r.Replayed {
		return kv.Result{}, true, w.refused(ttl != 0)
	}
	return kv.Result{}, false, nil
}

// keepAlive keeps a lease alive. If that fails, it is tried again in its time.
func (w *lockWait) keepAlive(while context.Context, lease int64) {
	s := w.server
	ctx, cancel := s.Context(while)
	defer cancel()
	c := kv.KeepAlive(lease)
	by := w.who.Author()
	_, _ = s.AtLeader(ctx, func(ctx context.Context) error {
		_, err := s.machine.KeepAlive(ctx, by, []int64{lease})
		return err
	}, w.road.Carry(c))
	w.kept <- struct{}{}
}

// refused is why a lease that waited neither waits nor holds the lock any more.
func (w *lockWait) refused(alive bool) error {
	if !alive && w.acquire.Lease != 0 {
		return failure.Of(failure.LeaseGone, nil, "the lease %d has ended while it waited for the lock: grant another one", w.lease)
	}
	if w.acquire.IdempotencyKey != "" {
		return failure.Of(failure.LockHeld, nil, "the request under this idempotency key is over: its wait has ended, or its lease has left the queue of the lock or given it back; ask again under another key")
	}
	return failure.Of(failure.LockHeld, nil, "the lease has left the queue of the lock, and the request does not wait any more: ask again")
}

// command takes a command through the log.
func (w *lockWait) command(ctx context.Context, c kv.Command) (kv.Result, error) {
	return w.heard(w.server.Write(ctx, w.who, c, nil, w.road.Carry(c)))
}

// heard is a command's result, which may have come by the road.
func (w *lockWait) heard(r kv.Result, elsewhere bool, err error) (kv.Result, error) {
	if elsewhere {
		carried, known := w.road.Result()
		if r = carried; !known {
			err = failure.Unheard()
		}
	}
	return r, err
}

// leave takes the lease out of the queue, through the log, unless the grant came first.
// because, if not nil, is why it does not wait.
func (w *lockWait) leave(because error) (kv.Result, error) {
	ctx, cancel := w.server.Context(w.client)
	defer cancel()
	c := kv.LeaveQueue(w.acquire.Lock, w.lease, w.acquire.Lease == 0)
	if because != nil && w.acquire.IdempotencyKey != "" { // the client is told to ask again
		c = kv.Withdraw(w.acquire.Lock, w.lease, w.acquire.Lease == 0, w.acquire.IdempotencyKey)
	}
	r, err := w.command(ctx, c)
	switch {
	case err != nil:
		return kv.Result{}, failure.Of(failure.Timeout, err, "the lease %d waits for the lock, and could not be taken out of its queue: ask again with the same lease or idempotency key", w.lease)
	case r.Status == kv.StatusLockHeld:
		return kv.Result{Revision: r.Token(), Version: r.Version}, nil
	case r.Status == kv.StatusOK && because != nil:
		return kv.Result{}, because
	case r.Status == kv.StatusOK, r.Status == kv.StatusLockNotFound:
		return kv.Result{}, failure.Of(failure.LockHeld, nil, "the lock was held for as long as the request waits (%v)", w.acquire.Wait)
	case r.Status == kv.StatusLeaseNotFound:
		return kv.Result{}, w.refused(false)
	}
	return kv.Result{}, w.server.RefusedByStore(r)
}

// goingAway is the command by which the request gives its place up, and the lease that was
// made for it. Under an idempotency key the client may come back.
func (w *lockWait) goingAway() kv.Command {
	made, key := w.acquire.Lease == 0, w.acquire.IdempotencyKey
	if key != "" {
		return kv.Withdraw(w.acquire.Lock, w.lease, made, key)
	}
	return kv.LeaveQueue(w.acquire.Lock, w.lease, made)
}

// expel ends the wait of a caller that may not acquire the lock any more, which is why. Where
// this node leads, it gives the place up in the name of the caller's identity, for nothing
// may be granted later to a request that did not happen; and what was granted already, to a
// lease that nobody else knows. Elsewhere no node speaks for an identity: the place stays for
// as long as the lease, which nothing keeps alive any more.
func (w *lockWait) expel(why error) (kv.Result, error) {
	s, name := w.server, w.acquire.Lock
	ctx, cancel := s.OwnContext()
	defer cancel()
	made, key := w.acquire.Lease == 0, w.acquire.IdempotencyKey
	r, err := w.giveBack(ctx, w.goingAway())
	if err == nil && r.Status == kv.StatusLockHeld && made && key == "" {
		// Released first, as in forsake.
		if r, err = w.giveBack(ctx, kv.Release(name, r.Token())); err == nil {
			r, err = w.giveBack(ctx, kv.Revoke(w.lease))
		}
	}
	switch {
	case err != nil, r.Status == kv.StatusLockHeld, r.Status == kv.StatusForbidden:
		return kv.Result{}, failure.Of(failure.Timeout, why, "the caller may not acquire the lock any more, and the lease %d, which waits for it or holds it, was not taken from it: that ends with the lease", w.lease)
	}
	return kv.Result{}, why
}

// giveBack takes a command through the log that gives up what a lease of the caller's
// identity has, whatever the caller may. It works where this node leads.
func (w *lockWait) giveBack(ctx context.Context, c kv.Command) (kv.Result, error) {
	c.Caller = auth.Author{Identity: w.who.Author().Identity}
	r, _, err := w.server.propose(ctx, c, nil, nil)
	return r, err
}

// forsake does what is left to do for a client that is gone: it waits no longer, and does
// not hold what it was granted with a lease that it does not know. Under an idempotency key
// the client may come back: then it finds the grant, while the lease lives, or waits anew.
func (w *lockWait) forsake() {
	ctx, cancel := w.server.OwnContext()
	defer cancel()
	made, key := w.acquire.Lease == 0, w.acquire.IdempotencyKey
	r, err := w.command(ctx, w.goingAway())
	if err == nil && r.Status == kv.StatusLockHeld && made && key == "" {
		// Released first: the delay of the lock is for holders that may be at work.
		if _, err = w.command(ctx, kv.Release(w.acquire.Lock, r.Token())); err == nil {
			_, err = w.command(ctx, kv.Revoke(w.lease))
		}
	}
	if err != nil && !errors.Is(err, failure.NoLeader) {
		w.server.config.Logger.Debug("a client that waited for a lock is gone, and its lease waits until it ends", "error", err)
	}
}

// AwaitLock waits until a lease that was in the queue of a lock holds it, for some time at
// most, on any node. It returns the token, which is greater than after; 0: the lease waits
// still. Nothing comes into the log, and the place in the queue stays what it is, however
// this ends. The errors are failure.NotWaiting, LeaseGone, Stopping, TooManyWatches and
// IdentityLimited, those of access.Gate.Allow and those of a linearizable read.
func (s *Server) AwaitLock(ctx context.Context, who *Caller, name string, lease int64, after uint64, limit time.Duration) (token uint64, err error) {
	if err := s.Serving(); err != nil {
		return 0, err
	}
	if err := s.EnterOrRefuse(Watches); err != nil { // before anything is waited for
		return 0, err
	}
	defer s.Leave(Watches, 0)
	if err := s.gate.Hold(who, access.Watches); err != nil { // nothing else counts it for its caller
		return 0, err
	}
	defer s.gate.Drop(who, access.Watches)
	if err := s.awaitLevel(ctx, kv.LevelHistory, "locks"); err != nil {
		return 0, err
	}
	queued := s.machine.Queue(name, lease)
	defer queued.Close()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for expired, fresh := false, false; ; {
		token, waits, _ := s.machine.LockPlace(name, lease)
		if err := s.Allow(who, auth.Acquire, auth.OneLock(name)); err != nil {
			return 0, err // it may have been revoked meanwhile
		}
		if err := s.machine.Quarantined(); err != nil { // what it says may be wrong
			return 0, err
		}
		switch l, alive := s.machine.Lease(lease, false); {
		case alive && !s.machine.Auth().MayUseLease(who.Author(), l.Owner):
			return 0, failure.Of(failure.LeaseGone, nil, "there is no lease %d, or not any more", lease)
		case token > after: // one of an earlier time says nothing
			return token, nil
		case fresh && !alive:
			return 0, failure.Of(failure.LeaseGone, nil, "the lease %d has ended: grant another one", lease)
		case fresh && !waits:
			return 0, failure.Of(failure.NotWaiting, nil, "the lease %d does not wait for the lock any more", lease)
		case !waits: // or this node has not come so far
			if fresh, err = true, s.freshWithin(ctx); err != nil {
				return 0, err
			}
			continue
		case expired:
			return 0, nil
		}
		fresh = false
		select {
		case <-queued.Woken():
		case <-timer.C:
			expired = true
		case <-s.leaving:
			return 0, failure.NodeStopping(nil)
		case <-s.machine.Lifetime().Done():
			return 0, failure.NodeStopping(nil)
		case <-ctx.Done():
			return 0, failure.NodeStopping(nil)
		}
	}
}

// freshWithin waits until this node has applied all that was answered before, for as long
// as a request may take.
func (s *Server) freshWithin(ctx context.Context) error {
	ctx, cancel := s.Context(ctx)
	defer cancel()
	return s.awaitLinearizable(ctx)
}

// Lock reads a lock. If token is not 0, it must hold the lock: else the error is
// failure.LockLost. It is failure.NoSuchLock where there is none.
func (s *Server) Lock(ctx context.Context, who *Caller, name string, token uint64, f Freshness) (Lock, error) {
	if err := s.readLocks(ctx, who, auth.OneLock(name), f); err != nil {
		return Lock{}, err
	}
	defer s.Leave(Reads, 0)
	l, found := s.machine.Lock(name)
	switch {
	case token != 0 && !l.HeldBy(token):
		return Lock{}, failure.Of(failure.LockLost, nil, "the token %d does not hold the lock", token)
	case !found:
		return Lock{}, failure.Of(failure.NoSuchLock, nil, "nobody holds the lock, and nobody waits for it")
	}
	return l, nil
}

// Locks reads a page of the locks whose names begin with prefix and stand behind after, in
// the order of their names.
func (s *Server) Locks(ctx context.Context, who *Caller, prefix, after string, limit int, f Freshness) (page []Lock, more bool, err error) {
	if err := s.readLocks(ctx, who, auth.LocksWith(prefix), f); err != nil {
		return nil, false, err
	}
	defer s.Leave(Reads, 0)
	page, more = s.machine.Locks(prefix, after, limit)
	return page, more, nil
}

// readLocks lets a read of locks in, which must leave.
func (s *Server) readLocks(ctx context.Context, who *Caller, r auth.Range, f Freshness) error {
	if err := s.Allow(who, auth.Observe, r); err != nil {
		return err
	}
	if err := s.awaitLevel(ctx, kv.LevelHistory, "locks"); err != nil {
		return err
	}
	if err := s.AdmitRead(ctx, f.MinRevision); err != nil {
		return err
	}
	if err := s.freshen(ctx, f, who, auth.Observe, r); err != nil {
		s.Leave(Reads, 0)
		return err
	}
	return nil
}

// Holders returns a lock as this node has it, to a caller that may observe it.
func (s *Server) Holders(who *Caller, name string) (l Lock, may bool) {
	if s.Allow(who, auth.Observe, auth.OneLock(name)) != nil {
		return Lock{}, false
	}
	return s.machine.Lock(name)
}

// CheckLockName refuses a name that no lock can have.
func CheckLockName(name string) error {
	if len(name) == 0 || len(name) > lock.MaxNameBytes {
		return failure.Of(failure.BadRequest, nil, "the name of the lock has %d bytes; it has 1 to %d", len(name), lock.MaxNameBytes)
	}
	return nil
}

// ParseGuard reads the guard of a write, such as jobs;token=57. The name of the lock is as
// it was sent.
func ParseGuard(text string) (name, token string, ok bool) {
	name, token, ok = strings.Cut(text, ";")
	if ok {
		token, ok = strings.CutPrefix(strings.TrimSpace(token), "token=")
	}
	return name, token, ok
}

// whyLockRefused returns the sentence for a result that is a refusal by the locks, "" for
// another.
func whyLockRefused(r kv.Result) string {
	switch r.Status {
	case kv.StatusLockHeld:
		if r.Version != 0 {
			return fmt.Sprintf("the lease %d holds the lock, with the token %d: release it", r.Lease(), r.Token())
		}
		return "the lock is held; wait for it with wait=30s, or ask again"
	case kv.StatusQueued:
		return "the lease waits for the lock"
	case kv.StatusLimitMismatch:
		return "the lock is used with another limit of holders; name the same"
	case kv.StatusLockQueueFull:
		return fmt.Sprintf("%d wait for the lock, and no more may; ask again later", lock.Standard.Queue)
	case kv.StatusLocksFull:
		return fmt.Sprintf("there are as many locks (%d), holders (%d) or waiting requests (%d) as there may be; release some", lock.Standard.Locks, lock.Standard.Places, lock.Standard.Waiting)
	case kv.StatusLockLost:
		return "the token does not hold the lock: it was released, or its lease has ended"
	case kv.StatusLockNotFound:
		return "the lease does not wait for this lock"
	}
	return ""
}
