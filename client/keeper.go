package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"raftkv/client/internal/asleep"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// A lease is kept alive at a third of its TTL. What is due soon goes along with what is due
// now, so that leases which came at different times share one request. A request that is
// not answered is given up after an eighth of the TTL, the next after twice as long, and so
// on, and another server is asked: neither a silent server nor a slow network loses a lease.
const (
	keepAt    = 3  // the part of the TTL after which a lease is due
	keepEarly = 12 // the part of the TTL by which it may go along with others
	keepGiven = 8  // the part of the TTL for which the first attempt waits
	keepAgain = 20 // the part of the TTL that passes between two requests that failed
	// A timer does not know that the machine slept, so the clock is looked at now and then:
	// after longestNap at most, and after this part of the shortest TTL.
	longestNap = time.Second
	napPart    = 20
	// closeLimit bounds the time in which Close revokes leases, closeWorkers how many at
	// the same time.
	closeLimit   = time.Second
	closeWorkers = 64
)

// moment is when something happened, by a clock that goes on while the machine sleeps.
type moment struct {
	at    time.Time // of the monotonic clock, which does not
	slept time.Duration
}

// keeper keeps the leases of a Clerk alive: one goroutine says what is due and what is
// lost, and each request has one. It runs while there are leases.
type keeper struct {
	clerk *Clerk
	slept func() time.Duration // how long the machine has slept so far
	wake  chan struct{}        // holds a token when there is something new
	given chan struct{}        // closed when the first close has done what it can

	mu      sync.Mutex // guards the fields below and those of Lease that say so
	leases  map[*Lease]bool
	seeks   map[lockUse]chan struct{} // leases that ask for a lock; closed when they do not any more
	until   time.Time                 // when it looks next
	running bool
	closed  bool
}

func (k *keeper) set(c *Clerk) {
	k.clerk, k.slept, k.wake, k.given = c, asleep.Total, make(chan struct{}, 1), make(chan struct{})
	k.leases, k.seeks = map[*Lease]bool{}, map[lockUse]chan struct{}{}
}

func (k *keeper) now() moment { return moment{time.Now(), k.slept()} }

// since returns how long ago a moment was.
func (k *keeper) since(m moment) time.Duration { return k.now().since(m) }

// since returns how much later n is than m. Sleep is never negative, whatever the system says.
func (n moment) since(m moment) time.Duration { return n.at.Sub(m.at) + max(n.slept-m.slept, 0) }

// limit is after how long a lease counts as lost.
func (l *Lease) limit() time.Duration { return l.ttl - l.ttl/10 }

// add begins to keep a lease alive. It reports false if the Clerk is closed.
func (k *keeper) add(l *Lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	if !k.running {
		if !k.clerk.start(k.run) {
			return false
		}
		k.running = true
	}
	k.leases[l] = true
	if time.Until(k.until) > l.ttl/napPart {
		k.rouse()
	}
	return true
}

// drop keeps a lease alive no longer, and ends its context.
func (k *keeper) drop(l *Lease, cause error) {
	k.mu.Lock()
	delete(k.leases, l)
	k.mu.Unlock()
	l.end(cause)
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run looks after the leases until there are none, or the Clerk ends.
func (k *keeper) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, lost, nap, more := k.look()
		for l, cause := range lost { // any order will do
			l.end(cause)
		}
		for len(due) > 0 {
			batch := due[:min(len(due), clerkwire.MaxKept)]
			due = due[len(batch):]
			if !k.clerk.start(func() { k.ask(batch) }) {
				return // the Clerk has ended, and the contexts with it
			}
		}
		if !more {
			return
		}
		timer.Reset(nap)
		select {
		case <-timer.C:
		case <-k.wake:
		case <-k.clerk.lifetime.Done():
			return
		}
	}
}

// look returns which leases are due, which are lost and why, and when to look again. more is false
// if there are none.
func (k *keeper) look() (due []*Lease, lost map[*Lease]error, nap time.Duration, more bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	nap = longestNap
	now := k.now()
	early := []*Lease{}
	lost = map[*Lease]error{}
	for l := range k.leases { // any order will do
		age := now.since(l.sent)
		if age >= l.limit() {
			delete(k.leases, l)
			lost[l] = l.lost()
			continue
		}
		nap = min(nap, l.ttl/napPart, l.limit()-age)
		if l.asking {
			continue
		}
		at := max(l.ttl/keepAt-age, -now.since(l.again)) // how long it is until then
		switch {
		case at <= 0:
			due = append(due, l)
		case at <= l.ttl/keepEarly && now.since(l.again) >= 0:
			early = append(early, l)
		}
		if at > 0 {
			nap = min(nap, at)
		}
	}
	if len(due) > 0 {
		due = append(due, early...)
	}
	for _, l := range due {
		l.asking = true
	}
	k.running, k.until = len(k.leases) > 0, now.at.Add(nap)
	return due, lost, nap, k.running
}

// noteRefusal remembers if the servers refused the caller. The caller has keeper.mu.
func (l *Lease) noteRefusal(err error) {
	var e *Error
	if errors.As(err, &e) && (errors.Is(e, ErrUnauthenticated) || errors.Is(e, ErrForbidden)) {
		refused := *e
		refused.Outcome = api.OutcomeNotApplied // it kept nothing alive
		l.refused = &refused
	}
}

// lost returns why a lease is lost that could not be kept alive. The caller has keeper.mu.
func (l *Lease) lost() error {
	if l.refused == nil {
		return ErrLeaseLost
	}
	return fmt.Errorf("%w: %w", ErrLeaseLost, l.refused)
}

// ask sends one request that keeps leases alive.
func (k *keeper) ask(batch []*Lease) {
	defer k.rouse()
	ids := make([]int64, len(batch))
	patience, left := batch[0].ttl, batch[0].ttl
	k.mu.Lock()
	for i, l := range batch {
		ids[i] = l.id
		patience, left = min(patience, l.ttl), min(left, l.limit()-k.since(l.sent))
	}
	k.mu.Unlock()
	ttls, sent, err := k.keep(ids, patience/keepGiven, left)
	var gone []*Lease
	k.mu.Lock()
	for i, l := range batch {
		l.asking = false
		switch {
		case err != nil:
			l.again = k.now()
			l.again.at = l.again.at.Add(l.ttl / keepAgain)
			l.noteRefusal(err)
		case ttls[i] == 0:
			if k.leases[l] {
				delete(k.leases, l)
				gone = append(gone, l)
			}
		default:
			l.sent, l.refused = sent, nil
		}
	}
	k.mu.Unlock()
	for _, l := range gone {
		l.end(ErrLeaseLost)
	}
}

// keep makes attempts until one is answered, for as long as none of the leases can be
// lost. sent is when the attempt began that was answered.
func (k *keeper) keep(ids []int64, patience, left time.Duration) (ttls []time.Duration, sent moment, err error) {
	c := k.clerk
	ctx, cancel := context.WithTimeout(c.lifetime, left)
	defer cancel()
	w := c.newCall(clerkwire.KindKeepAlive)
	defer c.free(w)
	w.needs = needsLeases
	var t trail
	last, _ := c.route.retry(ctx, func(ctx context.Context, server int) verdict {
		sent = k.now()
		attempt, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		patience *= 2
		return c.note(&t, server, exchange(attempt, c, server, w, clerkwire.KeepAlive{Leases: ids}))
	})
	switch {
	case last.outcome != done:
		return nil, sent, c.givenUp(ctx, &t, true)
	case last.err != nil:
		return nil, sent, last.err
	}
	ttls, err = keptOf(w, len(ids))
	return ttls, sent, err
}

// close ends the contexts of all leases, gives back their locks, and revokes those that the
// Clerk has made, as far as that can be done soon. The others end when their TTL is over.
func (k *keeper) close() {
	ends, first := k.endAll()
	if !first {
		<-k.given // or the first call could not give back what it is about to
		return
	}
	defer close(k.given)
	var ending sync.WaitGroup
	queue := make(chan leaseEnd, len(ends))
	for _, end := range ends {
		if end.leading != nil { // in the way of no other lease
			ending.Go(func() { k.endLeader(end) })
			continue
		}
		queue <- end
	}
	close(queue)
	ctx, cancel := context.WithTimeout(k.clerk.lifetime, closeLimit)
	defer cancel()
	for range min(len(queue), closeWorkers) {
		ending.Go(func() {
			for end := range queue {
				end.lease.finish(ctx, end.locks)
			}
		})
	}
	ending.Wait()
}

// leaseEnd is what is to be done of a lease at the servers.
type leaseEnd struct {
	lease   *Lease
	locks   []string
	leading chan struct{} // is closed when nobody leads under it any more; nil: nobody does
}

// endAll ends the contexts of all leases, and returns what is to be done of each at the
// servers. first says that it was not called before.
func (k *keeper) endAll() (ends []leaseEnd, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first = !k.closed
	k.closed = true
	for l := range k.leases { // any order will do
		delete(k.leases, l)
		l.end(ErrClosed)
		end := leaseEnd{l, k.locksOf(l), l.leading}
		if l.owned || len(end.locks) > 0 {
			ends = append(ends, end)
		}
	}
	return ends, first
}

// lockUse is a lease that asks for a lock.
type lockUse struct {
	lease int64
	lock  string
}

// enterSeek waits until no other call asks for a lock with the same lease.
func (k *keeper) enterSeek(ctx context.Context, l *Lease, name string) error {
	for {
		k.mu.Lock()
		busy := k.seeks[lockUse{l.id, name}]
		if busy == nil {
			k.seeks[lockUse{l.id, name}] = make(chan struct{})
		}
		k.mu.Unlock()
		if busy == nil {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return notGot(ctx, api.OutcomeNotApplied)
		case <-l.ctx.Done():
			return k.clerk.givenUp(l.ctx, new(trail), false)
		}
	}
}

func (k *keeper) leaveSeek(l *Lease, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.seeks[lockUse{l.id, name}])
	delete(k.seeks, lockUse{l.id, name})
}

// grant is one grant of a lock to a lease.
type grant struct {
	lock  string
	token uint64
}

// hold notes that a lease holds a lock. It returns nil if a release of this grant is under
// way, or may be still: nobody may rely on it any more.
func (k *keeper) hold(l *Lease, name string, token uint64) *Lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.releasing[grant{name, token}] > 0 {
		return nil
	}
	held := &Lock{lease: l, name: name, token: token}
	held.ctx, held.end = context.WithCancelCause(l.ctx)
	l.locks[held] = true
	return held
}

// dropLock ends the context of a lock, and of others that stand for the same grant.
func (k *keeper) dropLock(held *Lock, cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held.lease.dropGrant(grant{held.name, held.token}, cause)
}

// dropGrant ends the contexts of locks that stand for a grant. The caller has keeper.mu.
func (l *Lease) dropGrant(g grant, cause error) {
	for held := range l.locks { // any order will do
		if held.name == g.lock && held.token == g.token {
			delete(l.locks, held)
			held.end(cause)
		}
	}
}

// release gives a grant back. From its beginning on nobody relies on it; and nobody does so
// anew as long as a request may come into the log behind the answer to another one.
func (l *Lease) release(ctx context.Context, g grant) error {
	k := &l.clerk.keeper
	k.mu.Lock()
	l.releasing[g]++
	l.dropGrant(g, context.Canceled)
	k.mu.Unlock()
	err := l.clerk.onLock(ctx, clerkwire.KindRelease, func(session, lane, seq uint64) clerkwire.Message {
		return clerkwire.Release{Session: session, Lane: lane, Seq: seq, Lock: []byte(g.lock), Token: g.token}
	})
	if errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.releasing[g]--; l.releasing[g] <= 0 { // settled may have forgotten it
		delete(l.releasing, g)
	}
	return err
}

// settled forgets releases of a grant that the lease certainly has no more.
func (k *keeper) settled(l *Lease, g grant) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(l.releasing, g)
}

// dropOne ends the context of a lock that nobody was given, and of no other one.
func (k *keeper) dropOne(held *Lock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(held.lease.locks, held)
	held.end(context.Canceled)
}

// stands reports whether somebody was given this grant of a lock, and has not given it back.
func (k *keeper) stands(l *Lease, name string, token uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for held := range l.locks { // any order will do
		if held.name == name && held.token == token {
			return true
		}
	}
	return false
}

// lockLost ends the contexts of all locks that stand for a grant of which a server has said
// that it is no more.
func (k *keeper) lockLost(name string, token uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for l := range k.leases { // any order will do
		for held := range l.locks {
			if held.name == name && held.token == token {
				delete(l.locks, held)
				held.end(ErrLockLost)
			}
		}
	}
}

// locksOf returns the names of the locks that a lease holds or asks for. The caller has mu.
func (k *keeper) locksOf(l *Lease) (names []string) {
	seen := map[string]bool{}
	for held := range l.locks { // any order will do
		seen[held.name] = true
	}
	for use := range k.seeks {
		if use.lease == l.id {
			seen[use.lock] = true
		}
	}
	for name := range seen {
		names = append(names, name)
	}
	return names
}

// finish gives back locks of a lease whose context has ended, and then the lease, if it was
// made here. Both end by themselves otherwise.
func (l *Lease) finish(ctx context.Context, locks []string) {
	for _, name := range locks {
		_ = l.giveBack(ctx, name, nil)
	}
	if l.owned {
		_ = l.clerk.Revoke(ctx, l.id)
	}
}

// giveBack sees to it that the lease neither holds a lock nor waits for it. A grant that
// stays, by its token, is left alone.
func (l *Lease) giveBack(ctx context.Context, name string, stays func(l *Lease, name string, token uint64) bool) error {
	c := l.clerk
	err := c.onLock(ctx, clerkwire.KindLeaveQueue, func(session, lane, seq uint64) clerkwire.Message {
		return clerkwire.LeaveQueue{Session: session, Lane: lane, Seq: seq, Lock: []byte(name), Lease: l.id}
	})
	var e *Error
	switch {
	case !errors.As(err, &e) || e.Outcome == api.OutcomeUnknown:
		return err
	case e.Code == api.CodeLockHeld && stays != nil && stays(l, name, e.Revision):
		return nil
	case e.Code == api.CodeLockHeld: // the grant came first
		if err = l.release(ctx, grant{name, e.Revision}); errors.Is(err, ErrLockLost) {
			return nil
		}
		return err
	case e.Code == api.CodeLockNotFound, e.Code == api.CodeLeaseNotFound:
		return nil
	}
	return err
}
