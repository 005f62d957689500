package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"
	"unicode/utf8"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// ErrLeaseLost: there is no such lease, or not any more, or it cannot be relied on any
// longer. It is also the cause with which the context of a Lease ends.
var ErrLeaseLost = errors.New("the lease is lost")

// Bounds of the TTL of a lease or a key.
const (
	MinTTL = time.Second
	MaxTTL = 9_000_000_000 * time.Second // 285 years
)

// Lease is a lease that the Clerk keeps alive. Keys that are tied to it, by WithLease,
// end with it. All methods are safe for concurrent use.
type Lease struct {
	clerk *Clerk
	id    int64
	ttl   time.Duration
	owned bool // Close revokes it
	ctx   context.Context
	end   context.CancelCauseFunc

	// Under keeper.mu:
	sent   moment // of the last request that was answered
	again  moment // when a request may be sent next, after one that failed
	asking bool   // a request is under way
	// refused is how servers refused the caller last, since a request was answered; nil: they did
	// not.
	refused *Error
	locks   map[*Lock]bool
	// leading, if not nil, is closed when the function has returned that leads under the lease.
	leading chan struct{}
	// releasing are grants of which releases are under way, or of unknown outcome: how many.
	releasing map[grant]int
}

// GrantOption says more of a lease that is to be made.
type GrantOption func(*clerkwire.Grant)

// LeaseID chooses the id of a lease, any number but 0. Without it the cluster gives one,
// and none twice. If a lease of this id is alive, the error is ErrLeaseExists.
func LeaseID(id int64) GrantOption { return func(m *clerkwire.Grant) { m.Lease = id } }

// LeaseNote says for people what a lease is for: up to 256 bytes of UTF-8.
func LeaseNote(text string) GrantOption { return func(m *clerkwire.Grant) { m.Note = text } }

// Grant makes a lease and keeps it alive until its Revoke or Abandon, or until the Clerk
// is closed, which revokes it. The TTL, MinTTL or more, is how long the lease lives on
// when this program has died. As in Put, the lease is made once.
func (c *Clerk) Grant(ctx context.Context, ttl time.Duration, options ...GrantOption) (*Lease, error) {
	for {
		begun := c.keeper.now()
		id, err := c.GrantUnkept(ctx, ttl, options...)
		if err != nil {
			return nil, err
		}
		l, err := c.hold(ctx, id, ttl, begun, true)
		if !errors.Is(err, ErrLeaseLost) || ctx.Err() != nil || c.lifetime.Err() != nil {
			return l, err
		}
		// It took so long to hear of the lease that it has ended. Nothing was tied to it.
	}
}

// GrantUnkept makes a lease that nobody keeps alive, for whoever gets its id.
func (c *Clerk) GrantUnkept(ctx context.Context, ttl time.Duration, options ...GrantOption) (id int64, err error) {
	m := clerkwire.Grant{}
	for _, o := range options {
		o(&m)
	}
	if m.TTL, err = milliseconds(ttl); err != nil {
		return 0, err
	}
	if len(m.Note) > api.MaxNoteBytes || !utf8.ValidString(m.Note) {
		return 0, invalid("the note has %d bytes; the longest may have %d, of UTF-8", len(m.Note), api.MaxNoteBytes)
	}
	w := c.newCall(clerkwire.KindGrant)
	defer c.free(w)
	w.needs = needsLeases
	err = inLane(ctx, c, w, func(session, lane, seq uint64) clerkwire.Grant {
		m.Session, m.Lane, m.Seq = session, lane, seq
		return m
	})
	if err != nil {
		return 0, err
	}
	return w.granted.Lease, nil
}

// needsLeases is what an old server does not have.
const needsLeases = "leases"

// milliseconds returns a TTL as it travels.
func milliseconds(ttl time.Duration) (uint64, error) {
	if ttl < MinTTL || ttl > MaxTTL {
		return 0, invalid("the ttl is %v; choose %v to %.0fs", ttl, MinTTL, MaxTTL.Seconds())
	}
	return uint64((ttl + time.Millisecond - 1) / time.Millisecond), nil
}

// Keep keeps a lease alive that somebody has made. Its end is for others to make: Close
// does not revoke it. ErrLeaseLost says that there is no such lease.
func (c *Clerk) Keep(ctx context.Context, id int64) (*Lease, error) {
	begun := c.keeper.now()
	ttls, err := c.KeepAlive(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case ttls[0] == 0:
		return nil, noSuchLease(id)
	}
	return c.hold(ctx, id, ttls[0], begun, false)
}

// hold begins to keep a lease alive that was alive after begun.
func (c *Clerk) hold(ctx context.Context, id int64, ttl time.Duration, begun moment, owned bool) (*Lease, error) {
	if c.keeper.since(begun) >= ttl/3 {
		now := c.keeper.now()
		if ttls, err := c.KeepAlive(ctx, id); err != nil {
			return nil, err
		} else if ttls[0] == 0 {
			return nil, noSuchLease(id)
		}
		begun = now
	}
	l := &Lease{clerk: c, id: id, ttl: ttl, owned: owned, sent: begun, again: begun, locks: map[*Lock]bool{}, releasing: map[grant]int{}}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	if !c.keeper.add(l) {
		l.end(ErrClosed)
		return nil, ErrClosed
	}
	return l, nil
}

func noSuchLease(id int64) *Error {
	return &Error{Code: api.CodeLeaseNotFound, Outcome: api.OutcomeNotApplied, Detail: fmt.Sprintf("there is no lease %d, or not any more", id)}
}

// ID returns the number of the lease, which is not 0.
func (l *Lease) ID() int64 { return l.id }

// TTL returns how long the lease lives without being kept alive.
func (l *Lease) TTL() time.Duration { return l.ttl }

// Context returns a context that ends with the lease, at the latest 0.9 times the TTL
// after the last request was sent that has kept it alive; so it ends before the servers
// end the lease, if this machine's clock runs at most a tenth slower than theirs. The time that the
// machine has slept counts, where the system tells it (on Linux). The cause is
// ErrLeaseLost; context.Canceled after Revoke or Abandon, and ErrClosed after Close. Where
// the lease was lost because the servers did not take the token or the identity lacked the
// right, errors.Is finds ErrUnauthenticated or ErrForbidden in the cause, too.
func (l *Lease) Context() context.Context { return l.ctx }

// Revoke ends the lease now, and its keys in one change. The lease's context ends first.
// It is no error if the lease has ended already.
func (l *Lease) Revoke(ctx context.Context) error {
	l.Abandon()
	err := l.clerk.Revoke(ctx, l.id)
	if errors.Is(err, ErrLeaseLost) {
		return nil
	}
	return err
}

// Abandon keeps the lease alive no longer. It ends when its TTL is over.
func (l *Lease) Abandon() { l.clerk.keeper.drop(l, context.Canceled) }

// KeepAlive gives leases their whole TTL again, once: 1 to 1,024 of them. It returns the
// TTL of each in the order in which they were named, 0 for one that is not there any
// more. A lease that Grant or Keep has returned needs no KeepAlive.
func (c *Clerk) KeepAlive(ctx context.Context, ids ...int64) (ttls []time.Duration, err error) {
	if len(ids) == 0 || len(ids) > clerkwire.MaxKept {
		return nil, invalid("%d leases are to be kept alive; name 1 to %d", len(ids), clerkwire.MaxKept)
	}
	w := c.newCall(clerkwire.KindKeepAlive)
	defer c.free(w)
	w.needs = needsLeases
	if _, err := run(ctx, c, &c.route, w, clerkwire.KeepAlive{Leases: ids}); err != nil {
		return nil, err
	}
	return keptOf(w, len(ids))
}

// keptOf returns what a call that kept n leases alive was answered.
func keptOf(w *call, n int) ([]time.Duration, error) {
	if len(w.kept.TTLs) != n {
		return nil, &Error{Outcome: api.OutcomeUnknown, Detail: fmt.Sprintf("the server answers for %d leases, and was asked about %d", len(w.kept.TTLs), n)}
	}
	ttls := make([]time.Duration, n)
	for i, ms := range w.kept.TTLs {
		ttls[i] = durationOf(ms)
	}
	return ttls, nil
}

// durationOf returns milliseconds as a duration, the longest there is for more than that.
func durationOf(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(MaxTTL/time.Millisecond))) * time.Millisecond
}

// Revoke ends a lease now, and its keys in one change. As in Put, it happens once.
// ErrLeaseLost says that there is no such lease.
func (c *Clerk) Revoke(ctx context.Context, id int64) error {
	w := c.newCall(clerkwire.KindRevoke)
	defer c.free(w)
	w.needs = needsLeases
	return inLane(ctx, c, w, func(session, lane, seq uint64) clerkwire.Revoke {
		return clerkwire.Revoke{Session: session, Lane: lane, Seq: seq, Lease: id}
	})
}

// Touch gives a key another end, ttl from now, and changes nothing else of it: no watch
// hears of it. A key that is tied to a lease is ErrConflict, and one that is not there
// ErrNotFound.
func (c *Clerk) Touch(ctx context.Context, key string, ttl time.Duration) error {
	ms, err := milliseconds(ttl)
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return err
	}
	w := c.newCall(clerkwire.KindTouch)
	defer c.free(w)
	w.needs = needsLeases
	doubt, refused := run(ctx, c, &c.route, w, clerkwire.Touch{Key: []byte(key), TTL: ms})
	switch {
	case refused == nil:
		return nil
	case doubt: // an earlier attempt may have done it
		refused.Outcome = api.OutcomeUnknown
	}
	return refused
}

// LeaseInfo is a lease as a read shows it.
type LeaseInfo struct {
	ID        int64
	TTL       time.Duration // as it was granted
	Remaining time.Duration // at least
	Note      string
	Count     int      // how many keys it has
	Keys      []string // those that the caller may list, of Clerk.Lease
}

// Lease shows a lease and its keys. ErrLeaseLost says that there is no such lease.
func (c *Clerk) Lease(ctx context.Context, id int64) (LeaseInfo, error) {
	if id == 0 {
		return LeaseInfo{}, noSuchLease(id)
	}
	shown, err := c.leases(ctx, clerkwire.Leases{Lease: id, Keys: true})
	if err == nil && len(shown.Leases) != 1 {
		err = &Error{Outcome: api.OutcomeNotApplied, Detail: fmt.Sprintf("the server shows %d leases, and was asked about one", len(shown.Leases))}
	}
	if err != nil {
		return LeaseInfo{}, err
	}
	return infoOf(&shown.Leases[0]), nil
}

// Leases yields all leases that the caller may use, in the order of their ids, page after
// page. An error ends the sequence.
func (c *Clerk) Leases(ctx context.Context) iter.Seq2[LeaseInfo, error] {
	return func(yield func(LeaseInfo, error) bool) {
		m := clerkwire.Leases{From: math.MinInt64}
		for {
			shown, err := c.leases(ctx, m)
			if err != nil {
				yield(LeaseInfo{}, err)
				return
			}
			for i := range shown.Leases {
				if !yield(infoOf(&shown.Leases[i]), nil) {
					return
				}
			}
			if !shown.More || shown.Next <= m.From {
				return
			}
			m.From = shown.Next
		}
	}
}

func (c *Clerk) leases(ctx context.Context, m clerkwire.Leases) (clerkwire.LeasesShown, error) {
	w := c.newCall(clerkwire.KindLeases)
	defer c.free(w)
	w.needs = needsLeases
	if _, err := run(ctx, c, &c.route, w, m); err != nil {
		return clerkwire.LeasesShown{}, asRead(err)
	}
	return w.leases, nil
}

func infoOf(l *clerkwire.LeaseShown) LeaseInfo {
	info := LeaseInfo{ID: l.Lease, TTL: durationOf(l.TTL), Remaining: durationOf(l.Remaining), Note: l.Note, Count: int(l.Count)}
	for _, key := range l.Keys {
		info.Keys = append(info.Keys, string(key))
	}
	return info
}
