package access

import (
	"cmp"
	"net"
	"net/netip"
	"sync"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// meter counts what one identity uses of this node.
type meter struct {
	mu       sync.Mutex
	inFlight int64
	held     [heldCount]int64
	requests bucket
	bytes    bucket
}

// bucket is a rate: it fills with a number of tokens per second, up to those of a
// second, and each use takes some out.
type bucket struct {
	level float64
	at    time.Time
}

// take takes n out, if that many are there or the bucket is full: what is larger than
// a second's share must pass at some time. It returns how long to wait otherwise.
func (b *bucket) take(n, perSecond float64, now time.Time) (wait time.Duration, ok bool) {
	if perSecond == 0 || n == 0 {
		return 0, true
	}
	b.fill(perSecond, now)
	if b.level < min(n, perSecond) {
		return time.Duration((min(n, perSecond) - b.level) / perSecond * float64(time.Second)), false
	}
	b.level -= n
	return 0, true
}

// spend is take for what was used already: n is taken out also where take would refuse it,
// and is owed then. With n = 0 it asks whether something is owed.
func (b *bucket) spend(n, perSecond float64, now time.Time) (wait time.Duration, ok bool) {
	if perSecond == 0 {
		return 0, true
	}
	b.fill(perSecond, now)
	need := min(n, perSecond)
	ok = b.level >= need
	b.level -= n
	if n == 0 {
		need = perSecond // what comes may be of any size
	}
	return time.Duration((need - b.level) / perSecond * float64(time.Second)), ok
}

// fill brings the level to that of a moment.
func (b *bucket) fill(perSecond float64, now time.Time) {
	b.level = min(perSecond, b.level+perSecond*now.Sub(b.at).Seconds())
	if b.at.IsZero() {
		b.level = perSecond
	}
	b.at = now
}

// Enter counts a request in, whose body has this number of bytes, before it takes any place
// that others need; a length below 0 is not known, see Charge. A request that was counted in
// must call Leave. An error of kind failure.IdentityLimited says that the caller has used what
// it may, one of kind failure.Overloaded that callers without an identity, together, have;
// nothing happened.
func (g *Gate) Enter(c *Caller, bytes int64) error {
	l, m := g.limitsOf(c), g.counts(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Time{}
	if l.RequestsPerSecond|l.BytesPerSecond != 0 {
		now = time.Now()
	}
	if share := g.config.Strangers; c.identity == nil && share > 0 && m.inFlight >= share && g.State() == auth.Enforcing {
		return failure.Of(failure.Overloaded, nil, "too many requests without an identity in flight (limit %d); send a token, or retry after 1 s", share)
	}
	if l.InFlight != 0 && m.inFlight >= int64(l.InFlight) {
		return g.limited(c, time.Second, "requests in flight", l.InFlight)
	}
	if wait, ok := m.requests.take(1, float64(l.RequestsPerSecond), now); !ok {
		return g.limited(c, wait, "requests per second", l.RequestsPerSecond)
	}
	if wait, ok := m.bytes.take(float64(max(bytes, 0)), float64(l.BytesPerSecond), now); !ok {
		return g.limited(c, wait, "bytes per second", l.BytesPerSecond)
	}
	m.inFlight++
	return nil
}

// Charge counts the bytes of a body whose length Enter did not know, when they have been
// read. They count also where that is an error, of kind failure.IdentityLimited: whoever sends
// more than it may has used the node all the same. Of 0 bytes it is an error while the caller
// owes for earlier ones, so that a body need not be read that will not be taken.
func (g *Gate) Charge(c *Caller, bytes int64) error {
	l, m := g.limitsOf(c), g.counts(c)
	if l.BytesPerSecond == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if wait, ok := m.bytes.spend(float64(bytes), float64(l.BytesPerSecond), time.Now()); !ok {
		return g.limited(c, wait, "bytes per second", l.BytesPerSecond)
	}
	return nil
}

// Leave counts out n requests that Enter has counted in.
func (g *Gate) Leave(c *Caller, n int) {
	m := g.counts(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight -= int64(n)
}

// Held is what an identity may have so many of at one time on a node.
type Held int

// The things that are held.
const (
	Connections Held = iota
	Watches
	heldCount
)

// Hold counts in one more thing that a caller holds; Drop must follow at its end, unless there
// was an error. It is of kind failure.IdentityLimited, or of kind failure.TooManyWatches where
// the callers without an identity have their share of the watches. The nil Caller is not
// counted.
func (g *Gate) Hold(c *Caller, h Held) error {
	if c == nil {
		return nil
	}
	l := g.limitsOf(c)
	limit, what := l.Connections, "connections"
	if h == Watches {
		limit, what = l.Watches, "watches"
	}
	m := g.counts(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	if limit != 0 && m.held[h] >= int64(limit) && g.State() != auth.Off {
		return g.limited(c, time.Second, what, limit)
	}
	if share := g.config.StrangersWatches; c.identity == nil && h == Watches && share > 0 && m.held[h] >= share && g.State() == auth.Enforcing {
		return failure.Of(failure.TooManyWatches, nil, "too many watches without an identity are open (limit %d); send a token, or retry after 1 s", share)
	}
	m.held[h]++
	return nil
}

// Drop counts out what Hold has counted in.
func (g *Gate) Drop(c *Caller, h Held) {
	if c == nil {
		return
	}
	m := g.counts(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[h]--
}

// MayOpenSession refuses one more session of a caller whose identity has this number of them.
func (g *Gate) MayOpenSession(c *Caller, has int) error {
	if c.identity == nil || g.State() == auth.Off {
		return nil
	}
	if limit := g.limitsOf(c).Sessions; limit != 0 && uint64(has) >= limit {
		g.config.Observer.Limited(c.name)
		return failure.RetryAfter(failure.IdentityLimited, time.Second, "the identity %s has %d sessions of Clerks in the cluster (limit %d), and the cluster keeps them; raise its limit sessions, or write over HTTP, which needs none", c.name, has, limit)
	}
	return nil
}

// limitsOf returns the limits of a caller's identity as the table has it now, whichever token
// is good: a connection lasts longer than both. They are the node's where it has none. A
// caller without an identity has those in the record of auth.Anonymous, and beyond them the
// share of all such.
func (g *Gate) limitsOf(c *Caller) auth.Limits {
	i, t := c.identity, g.config.Table()
	if i == nil {
		if i = t.Named(auth.Anonymous); i == nil {
			return auth.Limits{}
		}
		return i.Limits
	}
	if t != c.table {
		if now := t.Numbered(c.author.Identity); now != nil {
			i = now
		}
	}
	l, d := i.Limits, &g.config.Limits
	for _, pair := range [][2]*uint64{
		{&l.RequestsPerSecond, &d.RequestsPerSecond}, {&l.BytesPerSecond, &d.BytesPerSecond}, {&l.InFlight, &d.InFlight},
		{&l.Connections, &d.Connections}, {&l.Watches, &d.Watches}, {&l.Sessions, &d.Sessions},
	} {
		if *pair[0] == 0 {
			*pair[0] = *pair[1]
		}
	}
	return l
}

// counts returns the meter of a caller. Those without an identity have one meter.
func (g *Gate) counts(c *Caller) *meter {
	if c.meter == nil {
		return &g.strangers
	}
	return c.meter
}

// meterOf returns the meter of an identity.
func (g *Gate) meterOf(identity uint64) *meter {
	g.metersMu.RLock()
	m := g.meters[identity]
	g.metersMu.RUnlock()
	if m != nil {
		return m
	}
	g.metersMu.Lock()
	defer g.metersMu.Unlock()
	if m = g.meters[identity]; m == nil {
		m = new(meter)
		g.meters[identity] = m
	}
	return m
}

func (g *Gate) limited(c *Caller, wait time.Duration, what string, limit uint64) error {
	name := cmp.Or(c.name, auth.Anonymous)
	g.config.Observer.Limited(name)
	wait = max(1, (wait+time.Second-1)/time.Second) * time.Second // rounded up: sooner, it would be refused again
	return failure.RetryAfter(failure.IdentityLimited, wait, "the identity %s has used its %s on this node (limit %d)", name, what, limit)
}

// slowdown remembers from which addresses wrong tokens came.
type slowdown struct {
	mu   sync.Mutex
	seen map[string]refusals
}

type refusals struct {
	since time.Time
	count int
}

const (
	// freeRefusals is how many wrong tokens an address may send in a minute before each
	// answer is held back for refusalDelay.
	freeRefusals = 20
	refusalDelay = time.Second
	// maxAddresses bounds what is remembered of addresses.
	maxAddresses = 8192
)

// Refused notes that a request from an address was answered with 401, and returns how
// long the answer is to be held back.
func (g *Gate) Refused(remote string) time.Duration {
	host := neighbourhood(remote)
	s := &g.slow
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	r := s.seen[host]
	if at.Sub(r.since) > time.Minute {
		r = refusals{since: at}
	}
	if len(s.seen) >= maxAddresses {
		clear(s.seen)
	}
	r.count++
	s.seen[host] = r
	if r.count > freeRefusals {
		return refusalDelay
	}
	return 0
}

// neighbourhood is whom an address is counted with: itself, or where it is one of IPv6 the
// 2^64 of its network, of which one machine may have all.
func neighbourhood(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() && !ip.IsLoopback() {
		const network = 64
		if p, err := ip.Prefix(network); err == nil {
			return p.String()
		}
	}
	return host
}
