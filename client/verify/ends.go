package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"raftkv/client"
)

// ends judges the ends of keys: those with a TTL and those of leases. None comes before its
// time, all keys of a lease go together, what has ended stays so, and nothing that only
// gives a key another end is seen by a watch. It is safe for concurrent use.
type ends struct {
	*ledger
	config *Config

	mu    sync.Mutex // guards the field below, and all lives
	byKey map[string]*life
}

// life is that of some keys with one end, which is that of a lease or a TTL.
type life struct {
	prefix string
	keys   []string // that go at the end
	// deadline is before the earliest end that is allowed: a TTL behind the time when the
	// last request was sent that was answered, and gave them this TTL.
	deadline time.Time
	begun    time.Time // when the first of these requests was sent
	sent     time.Time // when the one was sent that the deadline is of
	ended    time.Time // when a watch, or a read, has shown the end; zero: not yet
	puts     int       // that were made
	shown    int       // puts that the watch has shown
	doubt    bool      // the outcome of a write is not known
}

// RunEnds gives keys ends, by TTLs and leases, keeps some of them alive for a while, and
// looks on, by reads and by a watch, as they end. The cluster must work at level 3.
func RunEnds(ctx context.Context, clerks []*client.Clerk, config Config) (Report, error) {
	e := &ends{ledger: newLedger(), config: &config, byKey: map[string]*life{}}
	calls, endCalls := context.WithCancel(context.Background())
	defer endCalls()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(interruptGrace, endCalls) })()
	begins, err := newestRevision(calls, clerks[0], &config)
	if err != nil {
		return Report{}, err
	}
	watching, endWatching := context.WithCancel(calls)
	var looking sync.WaitGroup
	w := clerks[0].NewWatcher(client.Prefix(config.Prefix), client.AfterRevision(begins))
	looking.Go(func() { e.look(watching, w) })
	many := config
	many.Clients = livesPerClient * config.Clients
	drive(ctx, &many, func(driving context.Context, number int) {
		r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
		clerk := clerks[number%len(clerks)]
		for n := 0; driving.Err() == nil; n++ {
			l := &life{prefix: fmt.Sprintf("%s%d.%d/", config.Prefix, number, n)}
			if r.IntN(2) == 0 {
				e.key(calls, clerk, r, l)
			} else {
				e.lease(calls, clerk, r, l)
			}
		}
	})
	if ctx.Err() == nil {
		e.sync(calls, w)
	}
	endWatching()
	looking.Wait()
	e.countShown()
	cleaning, cancel := context.WithTimeout(context.Background(), interruptedGrace)
	defer cancel()
	_, _ = clerks[0].DeletePrefix(cleaning, config.Prefix, client.Partially()) // keys that are left behind do no harm
	return e.report("ends seen"), nil
}

const (
	// livesPerClient is how many lives a client has at one time: most of each is waiting.
	livesPerClient = 4
	// endPatience is how long behind its time an end may come while reads are answered.
	endPatience = 30 * time.Second
	// maxLifeTTL bounds the TTLs, of which the least is client.MinTTL.
	maxLifeTTL = 3 * time.Second
)

// begin makes the keys of a life known to the watch.
func (e *ends) begin(l *life, keys ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.keys = keys
	for _, key := range keys {
		e.byKey[key] = l
	}
}

// extend notes that a request which was sent at a time has given a TTL.
func (e *ends) extend(l *life, sent time.Time, ttl time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !l.ended.IsZero() && sent.After(l.ended) {
		e.fault("%s had ended, and was kept alive by a request that was sent %v later (L6)", l.prefix, sent.Sub(l.ended))
		l.doubt = true
		return
	}
	// Two clocks differ by less than a thousandth.
	if deadline := sent.Add(ttl - ttl/1000); deadline.After(l.deadline) {
		l.deadline, l.sent = deadline, sent
	}
	if l.begun.IsZero() {
		l.begun = sent
	}
	e.early(l)
}

// over notes that a life has been seen to have ended by a time.
func (e *ends) over(l *life, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.ended.IsZero() {
		l.ended = at
		e.count("ends seen", 1)
		if !l.deadline.IsZero() { // it may end before its write was answered
			e.most("latest end, ms behind its time", int(at.Sub(l.deadline).Milliseconds()))
			e.count("milliseconds lived", int(at.Sub(l.begun).Milliseconds()))
			if e.config.Outages.within(l.sent, l.deadline) > 0 {
				e.count("lives over outages", 1)
			}
		}
	}
	e.early(l)
}

// early finds an end before its time. It is called with the lock.
func (e *ends) early(l *life) {
	if l.ended.IsZero() || l.doubt || l.deadline.IsZero() {
		return
	}
	if l.ended.Before(l.deadline) {
		e.fault("%s ended %v before its time (L1)", l.prefix, l.deadline.Sub(l.ended))
		l.doubt = true // it is told once
		return
	}
	down := e.config.Outages.within(l.sent, l.deadline)
	if down == 0 {
		return
	}
	if missing := l.deadline.Add(down).Sub(l.ended); missing > 0 {
		e.fault("%s ended %v before its time, which does not pass while no server runs (L3)", l.prefix, missing)
		l.doubt = true
	}
}

// Outages are times in which no server of the cluster ran. It is safe for concurrent use. No
// time of leases and TTLs passes in them, but for a second each.
type Outages struct {
	mu  sync.Mutex
	all []outage
}

type outage struct{ from, to time.Time }

// Add notes an outage, before a server runs again.
func (o *Outages) Add(from, to time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, outage{from, to})
}

// within returns how much later what was to end at a time ends because of outages behind
// another time.
func (o *Outages) within(sent, deadline time.Time) (down time.Duration) {
	if o == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.all {
		if x.from.After(sent) && x.from.Before(deadline.Add(down)) {
			down += max(x.to.Sub(x.from)-time.Second, 0)
		}
	}
	return down
}

// doubted notes that nobody knows what became of a write, so that nothing of the life is
// judged any more.
func (e *ends) doubted(l *life) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.doubt = true
	e.count("lives in doubt", 1)
}

// wrote notes a put, before it is made.
func (e *ends) wrote(l *life) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.puts++
}

// look takes what the watch brings until ctx ends.
func (e *ends) look(ctx context.Context, w *client.Watcher) {
	for event, err := range w.Events(ctx) {
		if err != nil {
			if ctx.Err() == nil {
				e.missing("the watch has ended: %v", err)
			}
			return
		}
		e.take(event.Changes, time.Now())
	}
}

// take judges one change, which came at a time.
func (e *ends) take(changes []client.Change, at time.Time) {
	gone := map[*life]int{}
	e.mu.Lock()
	for i := range changes {
		l := e.byKey[changes[i].Key]
		switch {
		case l == nil:
		case changes[i].Op == client.ChangePut:
			l.shown++
		default:
			gone[l]++
		}
	}
	e.mu.Unlock()
	for l, n := range gone { // each is judged by itself
		e.mu.Lock()
		if whole := len(l.keys); n != whole && !l.doubt {
			e.fault("%d of the %d keys of %s went in a change of their own (L7)", n, whole, l.prefix)
		}
		e.mu.Unlock()
		e.over(l, at)
	}
}

// sync waits until the watch has brought what happened.
func (e *ends) sync(ctx context.Context, w *client.Watcher) {
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	if _, err := w.Sync(ctx); err != nil {
		e.missing("the watch did not come to the end: %v", err)
	}
}

// countShown finds lives of which the watch has shown more puts than there were.
func (e *ends) countShown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	var seen []*life
	for _, l := range e.byKey { // faults come in any order
		if l.shown > l.puts && !slices.Contains(seen, l) {
			e.fault("the watch brought %d puts of %s, and %d were made: what gives another end is no change (L9)", l.shown, l.prefix, l.puts)
			seen = append(seen, l)
		}
	}
}

// ttl draws a TTL.
func (e *ends) ttl(r *rand.Rand) time.Duration {
	return client.MinTTL + time.Duration(r.Int64N(int64(maxLifeTTL-client.MinTTL)))
}

// request makes a call of a life, within the time of one.
func (e *ends) request(ctx context.Context, call func(ctx context.Context) error) (sent time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	sent = time.Now()
	return sent, call(ctx)
}

// key lives the life of a key with a TTL.
func (e *ends) key(ctx context.Context, clerk *client.Clerk, r *rand.Rand, l *life) {
	name, ttl := l.prefix+"k", e.ttl(r)
	e.begin(l, name)
	e.wrote(l)
	sent, err := e.request(ctx, func(ctx context.Context) error {
		_, err := clerk.Put(ctx, name, []byte("x"), client.WithTTL(ttl))
		return err
	})
	if err != nil {
		e.refused(l, err)
		return
	}
	e.extend(l, sent, ttl)
	e.count("keys with a ttl", 1)
	for range r.IntN(3) {
		wait(ctx, time.Duration(r.Int64N(int64(ttl*8/10))))
		sent, err := e.request(ctx, func(ctx context.Context) error { return clerk.Touch(ctx, name, ttl) })
		switch {
		case err == nil:
			e.extend(l, sent, ttl)
			e.count("keys touched", 1)
		case errors.Is(err, client.ErrNotFound):
			e.over(l, time.Now())
		}
	}
	e.await(ctx, l, func(ctx context.Context) (there bool, err error) {
		_, err = clerk.Get(ctx, name)
		if errors.Is(err, client.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
}

// refused notes that a life could not begin.
func (e *ends) refused(l *life, err error) {
	if errors.Is(err, client.ErrOutcomeUnknown) {
		e.doubted(l)
		return
	}
	e.count("lives refused", 1)
}

// await reads until a life has ended.
func (e *ends) await(ctx context.Context, l *life, read func(ctx context.Context) (there bool, err error)) {
	var patience time.Time
	for {
		var there bool
		_, err := e.request(ctx, func(ctx context.Context) (err error) {
			there, err = read(ctx)
			return err
		})
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !there:
			e.over(l, now)
			return
		case err != nil:
			patience = time.Time{} // the cluster does not serve, so nothing ends
		case patience.IsZero():
			e.mu.Lock()
			patience = now
			if l.deadline.After(now) {
				patience = l.deadline
			}
			e.mu.Unlock()
			patience = patience.Add(endPatience)
		case now.After(patience):
			e.fault("%s is there %v behind its time, though the cluster answers (L2)", l.prefix, endPatience)
			return
		}
		wait(ctx, 50*time.Millisecond)
	}
}

// lease lives the life of a lease with keys.
func (e *ends) lease(ctx context.Context, clerk *client.Clerk, r *rand.Rand, l *life) {
	ttl := e.ttl(r)
	var id int64
	sent, err := e.request(ctx, func(ctx context.Context) (err error) {
		id, err = clerk.GrantUnkept(ctx, ttl, client.LeaseNote("raftkv verify"))
		return err
	})
	if err != nil {
		e.refused(l, err)
		return
	}
	var ops []client.Op
	var keys []string
	for i := range 1 + r.IntN(4) {
		key := fmt.Sprintf("%sk%d", l.prefix, i)
		ops, keys = append(ops, client.OpPut(key, []byte("x")).WithLeaseID(id)), append(keys, key)
		e.wrote(l)
	}
	stays := l.prefix + "stays"
	ops = append(ops, client.OpPut(stays, []byte("x")).WithLeaseID(id))
	e.begin(l, keys...)
	if _, err := e.request(ctx, func(ctx context.Context) error {
		_, err := clerk.Txn(ctx).Then(ops...).Commit()
		return err
	}); err != nil {
		e.refused(l, err)
		return
	}
	if _, err := e.request(ctx, func(ctx context.Context) error {
		_, err := clerk.Put(ctx, stays, []byte("y"), client.IfPresent())
		return err
	}); err != nil {
		e.refused(l, err)
		return
	}
	e.extend(l, sent, ttl)
	e.count("leases", 1)
	for range r.IntN(4) {
		wait(ctx, time.Duration(r.Int64N(int64(ttl*8/10))))
		e.keep(ctx, clerk, l, id, ttl)
	}
	e.await(ctx, l, func(ctx context.Context) (there bool, err error) {
		page, err := clerk.List(ctx, l.prefix)
		if err != nil {
			return false, err
		}
		if n := len(page.Items); n != 1 && n != len(keys)+1 {
			e.fault("a list of %s shows %d keys; all %d go at one moment, and one stays (L7, L10)", l.prefix, n, len(keys))
		}
		return len(page.Items) > 1, nil
	})
	if !e.hasEnded(l) {
		return
	}
	e.keep(ctx, clerk, l, id, ttl) // which finds nothing
	if _, err := e.request(ctx, func(ctx context.Context) error {
		_, err := clerk.Put(ctx, keys[0], nil, client.WithLeaseID(id))
		return err
	}); err == nil {
		e.fault("%s had ended, and its lease took a key (L6)", l.prefix)
	}
}

func (e *ends) hasEnded(l *life) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !l.ended.IsZero()
}

// keep keeps a lease alive, once.
func (e *ends) keep(ctx context.Context, clerk *client.Clerk, l *life, id int64, ttl time.Duration) {
	var ttls []time.Duration
	sent, err := e.request(ctx, func(ctx context.Context) (err error) {
		ttls, err = clerk.KeepAlive(ctx, id)
		return err
	})
	switch {
	case err != nil:
	case ttls[0] == 0:
		e.over(l, time.Now())
	default:
		e.extend(l, sent, ttl)
		e.count("leases kept alive", 1)
	}
}
