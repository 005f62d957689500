package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/txn"
)

// Lock is a lock, or a place of a semaphore, that a lease holds. All methods are safe for
// concurrent use.
type Lock struct {
	lease *Lease
	name  string
	token uint64
	ctx   context.Context
	end   context.CancelCauseFunc
}

// LockOption says more of a lock that is asked for.
type LockOption interface {
	applyLock(*clerkwire.Acquire) error
}

type lockOption func(*clerkwire.Acquire) error

func (o lockOption) applyLock(m *clerkwire.Acquire) error { return o(m) }

// LockValue publishes a value, up to 1 KiB, for as long as the lock is held.
func LockValue(value []byte) LockOption {
	return lockOption(func(m *clerkwire.Acquire) error {
		m.Value = value
		return checkLockValue(value)
	})
}

// LockDelay lets the place stay free for some time, up to a minute, if the lease ends and
// the lock was not released: for resources that check no tokens.
func LockDelay(d time.Duration) LockOption {
	return lockOption(func(m *clerkwire.Acquire) error {
		if d < 0 || d > time.Minute {
			return invalid("the delay is %v; choose 0s to 1m", d)
		}
		m.Delay = uint64((d + time.Millisecond - 1) / time.Millisecond)
		return nil
	})
}

func checkLockName(name string) error {
	if len(name) == 0 || len(name) > api.MaxLockNameBytes {
		return invalid("the name of the lock has %d bytes; it has 1 to %d", len(name), api.MaxLockNameBytes)
	}
	return nil
}

func checkLockValue(value []byte) error {
	if len(value) > api.MaxLockValueBytes {
		return invalid("the value has %d bytes; that of a lock has at most %d", len(value), api.MaxLockValueBytes)
	}
	return nil
}

// Lock waits until the lease holds a lock. Those that ask are served in the order in which
// the log has their requests; waiting makes no entry in it. Only one of several leases has
// the lock, so goroutines that exclude each other need a lease each: the lease that holds
// it is given the same token again.
//
// If ctx ends first, the lease leaves the queue, for which Lock takes up to a second more:
// the error is ErrLockHeld and the lease will not be given the lock later. If that could not
// be settled it is an ErrOutcomeUnknown as well, and the Clerk goes on giving the lock back.
// ErrLeaseLost says that the lease is lost.
func (l *Lease) Lock(ctx context.Context, name string, options ...LockOption) (*Lock, error) {
	return l.seek(ctx, name, true, options)
}

// TryLock is Lock without waiting: the error is ErrLockHeld if all places are taken.
func (l *Lease) TryLock(ctx context.Context, name string, options ...LockOption) (*Lock, error) {
	return l.seek(ctx, name, false, options)
}

// Name returns the name of the lock.
func (k *Lock) Name() string { return k.name }

// Token returns the number of the grant. It is greater than those of all grants of this lock
// before it, so a resource can refuse what earlier holders send; see Fences.
func (k *Lock) Token() uint64 { return k.token }

// Lease returns the lease that holds the lock.
func (k *Lock) Lease() *Lease { return k.lease }

// Context returns a context that ends with the lock: with the lease's context, which ends
// before the servers can give the lock to others (see Lease.Context), and with Release. The
// cause is that of the lease, as ErrLeaseLost; ErrLockLost, if a server said so;
// context.Canceled after Release, and ErrClosed after Close. If somebody takes the lease or the
// lock away by hand, others may have it at once: the end of a lease is told by the next keep-alive, and that of a lock by
// the next guarded write or Publish, and by nothing else.
func (k *Lock) Context() context.Context { return k.ctx }

// Guard lets a write happen only while the lock is held, at the write's place in the log.
// Otherwise the error is ErrLockLost, and nothing happened.
func (k *Lock) Guard() WriteOption { return WithGuard(k.name, k.token) }

// Held compares in a transaction whether the lock is held.
func (k *Lock) Held() Compare { return LockHeld(k.name, k.token) }

// WithGuard is Lock.Guard for a lock that somebody else holds.
func WithGuard(name string, token uint64) WriteOption {
	return guard{name, token}
}

type guard clerkwire.Guard

func (g guard) applyWrite(w *clerkwire.Write) error {
	if w.More.Guard != (clerkwire.Guard{}) {
		return invalid("a write is guarded by one lock; a transaction compares several")
	}
	if g.Token == 0 {
		return invalid("the token is 0, which holds no lock")
	}
	w.More.Guard = clerkwire.Guard(g)
	return checkLockName(g.Lock)
}

// LockHeld compares whether a token holds a lock.
func LockHeld(name string, token uint64) Compare {
	return Compare{txn.Compare{Span: txn.Span{From: name}, Subject: txn.LockHeld, Is: txn.Equal, Number: token}}
}

// Publish changes the value of the holder. ErrLockLost says that the lock is not held any
// more.
func (k *Lock) Publish(ctx context.Context, value []byte) error {
	if err := checkLockValue(value); err != nil {
		return err
	}
	c := k.lease.clerk
	err := c.onLock(ctx, clerkwire.KindPublish, func(session, lane, seq uint64) clerkwire.Message {
		return clerkwire.Publish{Session: session, Lane: lane, Seq: seq, Lock: []byte(k.name), Token: k.token, Value: value}
	})
	if errors.Is(err, ErrLockLost) {
		c.keeper.dropLock(k, ErrLockLost)
	}
	return err
}

// Release gives the lock back. The lock's context ends first. ErrLockLost says that the lock
// had been lost before, so what was done under it may not have been alone. If the outcome is
// not known, the lock ends with its lease at the latest; a Lock of the same lease gives it
// back first, and then gets it anew.
func (k *Lock) Release(ctx context.Context) error {
	return k.lease.release(ctx, grant{k.name, k.token})
}

// onLock makes a call about a lock in a lane of its own, whose answer says only that it is
// done.
func (c *Clerk) onLock(ctx context.Context, kind clerkwire.Kind, message func(session, lane, seq uint64) clerkwire.Message) error {
	w := c.newCall(kind)
	defer c.free(w)
	w.needs = needsLocks
	return inLane(ctx, c, w, message)
}

// needsLocks is what an old server does not have.
const needsLocks = "locks"

// A seek is one request of a lease for a lock, up to its answer or to its undoing. It has a
// goroutine, which goes on when the caller has left: the lease must not be given later what
// nobody knows of.
//
//	ask ──► granted ──► the caller
//	 │ ▲                   │ has left
//	 ▼ │ lost its place    ▼
//	wait ─────────────► giveBack
type seek struct {
	clerk   *Clerk
	lease   *Lease
	name    string
	message clerkwire.Acquire
	caller  context.Context
	route   route // of waiting, which any server lets
	result  chan sought

	queued bool // of the goroutine: the lease waits, or has waited

	mu   sync.Mutex
	left bool // nobody takes the result
}

// sought is how a seek ends.
type sought struct {
	lock *Lock
	err  error
}

// settleLimit is how long a caller whose context has ended waits for the end of its seek.
const settleLimit = time.Second

func (l *Lease) seek(ctx context.Context, name string, queue bool, options []LockOption) (*Lock, error) {
	c := l.clerk
	s := &seek{clerk: c, lease: l, name: name, caller: ctx, result: make(chan sought, 1)}
	s.message = clerkwire.Acquire{Lock: []byte(name), Lease: l.id, Limit: 1, Queue: queue}
	if err := checkLockName(name); err != nil {
		return nil, err
	}
	for _, o := range options {
		if err := o.applyLock(&s.message); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, notGot(ctx, api.OutcomeNotApplied)
	}
	s.route.servers, s.route.worth, s.route.pause, s.route.lifetime = c.anyone.servers, c.worth, jitter, c.lifetime
	if err := c.keeper.enterSeek(ctx, l, name); err != nil {
		return nil, err
	}
	if !c.start(s.run) {
		c.keeper.leaveSeek(l, name)
		return nil, ErrClosed
	}
	select {
	case r := <-s.result:
		return r.lock, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(settleLimit)
	defer timer.Stop()
	select {
	case r := <-s.result:
		return r.lock, r.err
	case <-timer.C:
	}
	if r, came := s.leave(); came {
		return r.lock, r.err
	}
	return nil, notGot(ctx, api.OutcomeUnknown)
}

// notGot is the error of a seek whose caller has left.
func notGot(caller context.Context, outcome api.Outcome) error {
	e := &Error{Code: api.CodeLockHeld, Outcome: outcome, Detail: "the lock was not got before the call ended", cause: context.Cause(caller)}
	if outcome == api.OutcomeUnknown {
		e.Detail = "the lock was not got before the call ended, and is still being given back"
	}
	return e
}

// leave gives up the result, unless it has come.
func (s *seek) leave() (r sought, came bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case r = <-s.result:
		return r, true
	default:
		s.left = true
		return r, false
	}
}

// deliver hands the result over, and reports whether anybody takes it.
func (s *seek) deliver(r sought) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.left {
		s.result <- r
	}
	return !s.left
}

func (s *seek) run() {
	defer s.clerk.keeper.leaveSeek(s.lease, s.name)
	token, err := s.get()
	for err == nil && s.caller.Err() == nil {
		held := s.clerk.keeper.hold(s.lease, s.name, token)
		if held == nil {
			if err = s.settle(token); err == nil {
				token, err = s.get()
			}
			continue
		}
		if s.deliver(sought{lock: held}) {
			return
		}
		s.clerk.keeper.dropOne(held)
		break
	}
	if errors.Is(err, ErrLeaseLost) {
		s.clerk.keeper.drop(s.lease, ErrLeaseLost) // with its places in queues
		s.deliver(sought{err: err})
		return
	}
	outcome := api.OutcomeNotApplied
	if err == nil || s.queued || s.caller.Err() != nil || errors.Is(err, ErrOutcomeUnknown) {
		// A grant that an earlier call has, and believes in, is not this one's to give back.
		if s.lease.giveBack(s.lease.ctx, s.name, s.clerk.keeper.stands) != nil {
			outcome = api.OutcomeUnknown
		}
	}
	if s.caller.Err() != nil {
		err = notGot(s.caller, outcome)
	}
	s.deliver(sought{err: err})
}

// settle gives back a grant of which a release may come into the log still, and take away what
// the caller was given. Behind that it finds nothing to take.
func (s *seek) settle(token uint64) error {
	if err := s.lease.giveBack(s.lease.ctx, s.name, nil); err != nil {
		return err
	}
	s.clerk.keeper.settled(s.lease, grant{s.name, token})
	return nil
}

// get asks for the lock and waits for it, until the lease holds it, the caller has left, or
// it will not be.
func (s *seek) get() (token uint64, err error) {
	for round := 1; ; round++ {
		a, err := s.ask()
		for err == nil && a.Token == 0 {
			s.queued = true
			a, err = s.wait(a.After)
		}
		var e *Error
		lostPlace := errors.As(err, &e) && e.Code == api.CodeLockNotFound // by somebody else's hand, or by Close
		if lostPlace && s.clerk.route.sleep(s.caller, jitter(round)) {
			continue
		}
		if lostPlace && s.lease.ctx.Err() != nil {
			err = s.clerk.givenUp(s.lease.ctx, new(trail), false)
		}
		return a.Token, err
	}
}

// ask asks for the lock once, however many attempts that takes. The caller's context does
// not end it, because its end must be known.
func (s *seek) ask() (clerkwire.Acquired, error) {
	w := s.clerk.newCall(clerkwire.KindAcquire)
	defer s.clerk.free(w)
	w.needs = needsLocks
	err := inLane(s.lease.ctx, s.clerk, w, func(session, lane, seq uint64) clerkwire.Acquire {
		m := s.message
		m.Session, m.Lane, m.Seq = session, lane, seq
		return m
	})
	return w.acquired, err
}

// wait lets a server tell when the lease waits no longer, for as long as an attempt may
// take.
func (s *seek) wait(after uint64) (clerkwire.Acquired, error) {
	ctx, cancel := context.WithCancelCause(s.caller)
	defer cancel(nil)
	defer context.AfterFunc(s.lease.ctx, func() { cancel(context.Cause(s.lease.ctx)) })()
	w := s.clerk.newCall(clerkwire.KindAcquire)
	defer s.clerk.free(w)
	w.needs = needsLocks
	s.route.leader.Store(s.clerk.route.leader.Load())
	m := clerkwire.Acquire{
		Lock: s.message.Lock, Lease: s.lease.id, After: after,
		Wait: min(uint64(s.clerk.config.AttemptTimeout.Milliseconds())*3/4, clerkwire.MaxLockWait),
	}
	if _, err := run(ctx, s.clerk, &s.route, w, m); err != nil {
		return clerkwire.Acquired{}, asRead(err)
	}
	return w.acquired, nil
}

// Fences are the greatest tokens that a resource has seen, by the names of locks. A resource
// that asks Admit in the same atomic step as it writes, and keeps Greatest with its data,
// never takes a write of an earlier holder after one of a later. All methods are safe for
// concurrent use.
type Fences struct {
	mu       sync.Mutex
	greatest map[string]uint64
}

// NewFences returns fences that go on where others were; nil: none have seen anything.
func NewFences(greatest map[string]uint64) *Fences {
	f := &Fences{greatest: map[string]uint64{}}
	for name, token := range greatest {
		f.greatest[name] = token
	}
	return f
}

// Admit reports whether what comes with a token may be done: it is not smaller than any that
// was admitted before.
func (f *Fences) Admit(name string, token uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.greatest[name] {
		return false
	}
	f.greatest[name] = token
	return true
}

// Greatest returns a copy of the tokens, to be kept with the data.
func (f *Fences) Greatest() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]uint64{}
	for name, token := range f.greatest {
		all[name] = token
	}
	return all
}
