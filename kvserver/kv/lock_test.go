package kv

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// fewLocks are limits that a short log reaches.
var fewLocks = rules{
	sessions: 4, lanes: 5, lanesTotal: 11, records: 40, events: 60, historyMin: 500,
	leases: lease.Limits{Leases: 9, Keys: 3, Bytes: 60, EndLeases: 2, EndKeys: 4},
	locks:  lock.Limits{Locks: 4, Places: 6, Queue: 2, Waiting: 4},
}

// plainUse is a lease that holds a lock, or waits for it.
type plainUse struct {
	token uint64 // 0: it waits
	lease int64
	delay uint64
	value string
}

// plainLock is a lock as the model has it: a list of holders and one of those that wait.
type plainLock struct {
	limit          int
	holders, queue []plainUse
	delays         []uint64
}

// lockModel says what locks are in a map and by looking at everything. It shares no code
// with what it judges.
type lockModel struct {
	limits lock.Limits
	locks  map[string]*plainLock
	tokens map[string]uint64 // the greatest that each lock was ever granted with
}

func (m *lockModel) names() []string { return slices.Sorted(maps.Keys(m.locks)) }

// of returns the locks that a lease holds or waits for.
func (m *lockModel) of(id int64) (names []string) {
	for _, name := range m.names() {
		l := m.locks[name]
		if slices.ContainsFunc(slices.Concat(l.holders, l.queue), func(u plainUse) bool { return u.lease == id }) {
			names = append(names, name)
		}
	}
	return names
}

func (m *lockModel) due() (due []plainDue) {
	for _, name := range m.names() {
		for i, at := range m.locks[name].delays {
			if i == 0 || at != m.locks[name].delays[i-1] {
				due = append(due, plainDue{at: at, kind: 3, key: name})
			}
		}
	}
	return due
}

func (m *lockModel) count() (places, waiting int) {
	for _, l := range m.locks {
		places += len(l.holders) + len(l.delays)
		waiting += len(l.queue)
	}
	return places, waiting
}

// lockEvent is the event of a holder before and behind a change.
func lockEvent(op, name string, before, behind *plainUse) truth.Event {
	item := func(u *plainUse) *truth.Item {
		if u == nil {
			return nil
		}
		return &truth.Item{Value: u.value, Revision: u.token, Version: 1, Lease: u.lease}
	}
	return truth.Event{Op: op, Key: name, Item: item(behind), Prev: item(before)}
}

// grant lets a lease hold a lock, in a change of its own, and checks K1 and K2.
func (m *leaseModel) grant(name string, u plainUse) {
	l := m.locks.locks[name]
	u.token = m.store.Revision + 1
	l.holders = append(l.holders, u)
	m.store.End(nil, []truth.Event{lockEvent("granted", name, nil, &u)})
	if u.token <= m.locks.tokens[name] || len(l.holders)+len(l.delays) > l.limit || m.leases[u.lease] == nil {
		panic("the model itself breaks a promise")
	}
	m.locks.tokens[name] = u.token
}

func (m *leaseModel) handOver(name string) {
	l := m.locks.locks[name]
	for l != nil && len(l.queue) > 0 && len(l.holders)+len(l.delays) < l.limit {
		first := l.queue[0]
		l.queue = slices.Delete(l.queue, 0, 1)
		m.grant(name, first)
	}
	m.sweep(name)
}

// sweep forgets a lock of which nothing is left.
func (m *leaseModel) sweep(name string) {
	if l := m.locks.locks[name]; l != nil && len(l.holders)+len(l.queue)+len(l.delays) == 0 {
		delete(m.locks.locks, name)
	}
}

func (m *leaseModel) endDelay(name string, at uint64) {
	l := m.locks.locks[name]
	l.delays = slices.DeleteFunc(l.delays, func(until uint64) bool { return until == at })
	m.handOver(name)
}

// endLocks takes a lease from locks and queues, and returns what happened to those it held.
func (m *leaseModel) endLocks(id int64, names []string, reason string) (events []truth.Event) {
	for _, name := range names {
		l := m.locks.locks[name]
		l.queue = slices.DeleteFunc(l.queue, func(u plainUse) bool { return u.lease == id })
		if at := slices.IndexFunc(l.holders, func(u plainUse) bool { return u.lease == id }); at >= 0 {
			events = append(events, m.unseat(name, at, reason))
		}
	}
	return events
}

func (m *leaseModel) unseat(name string, at int, reason string) truth.Event {
	l := m.locks.locks[name]
	was := l.holders[at]
	l.holders = slices.Delete(l.holders, at, at+1)
	if was.delay > 0 && reason != "released" {
		l.delays = append(l.delays, m.time+was.delay)
		slices.Sort(l.delays)
	}
	return lockEvent("released "+reason, name, &was, nil)
}

// lockCommand is a command on a lock and what is in its body.
type lockCommand struct {
	leaseCommand
	acquire Acquire
	token   uint64
	end     bool
	value   string
}

// applyLock is what a command does, if it is one on locks, or has a guard.
func (m *leaseModel) applyLock(index uint64, g lockCommand) Result {
	c, name := g.Command, string(g.Key)
	if !c.Op.onLocks() {
		if c.Guard != (Guard{}) && !slices.ContainsFunc(m.holders(c.Guard.Lock), func(u plainUse) bool { return u.token == c.Guard.Token }) {
			m.pass(c)
			return Result{Status: StatusLockLost, Revision: m.store.Revision}
		}
		return m.apply(index, g.leaseCommand)
	}
	m.pass(c)
	l := m.locks.locks[name]
	refused := func(s Status) Result { return Result{Status: s, Revision: m.store.Revision} }
	holds := func(id int64) int {
		return slices.IndexFunc(m.holders(name), func(u plainUse) bool { return u.lease == id })
	}
	byToken := slices.IndexFunc(m.holders(name), func(u plainUse) bool { return u.token == g.token })
	switch c.Op {
	case OpAcquire:
		return m.acquireLock(index, name, g.acquire)
	case OpRelease:
		if byToken < 0 {
			return refused(StatusLockLost)
		}
		m.store.End(nil, []truth.Event{m.unseat(name, byToken, "released")})
		r := Result{Revision: m.store.Revision}
		m.handOver(name)
		return r
	case OpPublish:
		if byToken < 0 {
			return refused(StatusLockLost)
		}
		old := l.holders[byToken]
		l.holders[byToken].value = g.value
		m.store.End(nil, []truth.Event{lockEvent("granted published", name, &old, &l.holders[byToken])})
		return Result{Revision: m.store.Revision, Version: uint64(old.lease), Length: uint64(len(g.value))}
	}
	switch { // leave the queue
	case m.leases[g.id] == nil:
		return refused(StatusLeaseNotFound)
	case holds(g.id) >= 0:
		return Result{Status: StatusLockHeld, Revision: l.holders[holds(g.id)].token, Version: uint64(g.id)}
	case l == nil || !slices.ContainsFunc(l.queue, func(u plainUse) bool { return u.lease == g.id }):
		return refused(StatusLockNotFound)
	}
	l.queue = slices.DeleteFunc(l.queue, func(u plainUse) bool { return u.lease == g.id })
	m.sweep(name)
	if g.end {
		m.end(g.id, "revoked")
	}
	return Result{Revision: m.store.Revision}
}

func (m *leaseModel) holders(name string) []plainUse {
	if l := m.locks.locks[name]; l != nil {
		return l.holders
	}
	return nil
}

func (m *leaseModel) acquireLock(index uint64, name string, a Acquire) Result {
	refused := func(s Status) Result { return Result{Status: s, Revision: m.store.Revision} }
	if a.Lease != 0 && m.leases[a.Lease] == nil {
		return refused(StatusLeaseNotFound)
	}
	l := m.locks.locks[name]
	if l != nil && l.limit != a.Limit {
		return refused(StatusLimitMismatch)
	}
	free := true
	places, waiting := m.locks.count()
	if l != nil {
		if i := slices.IndexFunc(l.holders, func(u plainUse) bool { return u.lease == a.Lease }); i >= 0 {
			return Result{Revision: l.holders[i].token, Version: uint64(a.Lease)}
		}
		if i := slices.IndexFunc(l.queue, func(u plainUse) bool { return u.lease == a.Lease }); i >= 0 {
			if a.Queue {
				return Result{Status: StatusQueued, Revision: m.store.Revision, Version: uint64(a.Lease)}
			}
			l.queue = slices.Delete(l.queue, i, i+1)
			return refused(StatusLockHeld)
		}
		free = len(l.holders)+len(l.delays) < l.limit
	}
	switch {
	case free && (places == m.locks.limits.Places || l == nil && len(m.locks.locks) == m.locks.limits.Locks):
		return refused(StatusLocksFull)
	case !free && !a.Queue:
		return refused(StatusLockHeld)
	case !free && len(l.queue) == m.locks.limits.Queue:
		return refused(StatusLockQueueFull)
	case !free && waiting == m.locks.limits.Waiting:
		return refused(StatusLocksFull)
	}
	id := a.Lease
	if id == 0 {
		r := m.apply(index, leaseCommand{Command: Command{Op: OpGrant}, ttl: a.TTL})
		if r.Status != StatusOK {
			return r
		}
		id = r.Lease()
	} else if keys, _ := m.keysOf(id); len(keys)+len(m.locks.of(id)) == m.limits.Keys {
		return refused(StatusLeaseFull)
	}
	use := plainUse{lease: id, delay: a.Delay, value: string(a.Value)}
	if !free {
		l.queue = append(l.queue, use)
		return Result{Status: StatusQueued, Revision: m.store.Revision, Version: uint64(id)}
	}
	if l == nil {
		m.locks.locks[name] = &plainLock{limit: a.Limit}
	}
	m.grant(name, use)
	return Result{Revision: m.store.Revision, Version: uint64(id)}
}

// lockDifference compares what a store shows of locks with the model.
func (m *leaseModel) lockDifference(s *Store) string {
	got, want := map[string]string{}, map[string]string{}
	s.Locks().Ascend("", func(name string, l lock.Lock) bool {
		var holders, queue []plainUse
		for _, h := range l.Holders {
			holders = append(holders, plainUse{h.Token, h.Lease, h.Delay, string(h.Value)})
		}
		for _, w := range l.Queue {
			queue = append(queue, plainUse{0, w.Lease, w.Delay, string(w.Value)})
		}
		got[name] = fmt.Sprint(l.Limit, holders, queue, l.Delays)
		return true
	})
	for name, l := range m.locks.locks {
		want[name] = fmt.Sprint(l.limit, l.holders, l.queue, l.delays)
	}
	if !maps.Equal(got, want) {
		return fmt.Sprintf("locks %v, the model has %v", got, want)
	}
	for id := range m.leases {
		if got, want := s.Locks().Of(id), m.locks.of(id); !slices.Equal(got, want) {
			return fmt.Sprintf("lease %d has the locks %q, the model %q", id, got, want)
		}
	}
	places, waiting := m.locks.count()
	delays := 0
	for _, l := range m.locks.locks {
		delays += len(l.delays)
	}
	if s.Locks().Held() != places-delays || s.Locks().Waiting() != waiting {
		return fmt.Sprintf("%d hold and %d wait, the model has %d and %d", s.Locks().Held(), s.Locks().Waiting(), places-delays, waiting)
	}
	return ""
}

// lockTraffic draws commands on few locks among those on leases and keys.
type lockTraffic struct {
	leaseTraffic
	model  *lockModel
	tokens []uint64 // of all holders so far
}

// holder returns a lock with the token of one of its holders, if there is one.
func (g *lockTraffic) holder() (name string, token uint64) {
	name = g.name()
	if l := g.model.locks[name]; l != nil && len(l.holders) > 0 && g.r.IntN(4) > 0 {
		return name, l.holders[g.r.IntN(len(l.holders))].token
	}
	return name, g.token()
}

func (g *lockTraffic) token() uint64 {
	if len(g.tokens) == 0 || g.r.IntN(8) == 0 {
		return uint64(g.r.IntN(30))
	}
	return g.tokens[len(g.tokens)-min(len(g.tokens), 1+g.r.IntN(6))]
}

func (g *lockTraffic) next(index uint64) (c lockCommand) {
	if g.r.IntN(5) < 2 {
		c.leaseCommand = g.leaseTraffic.next(index)
		if c.Op == OpPut || c.Op == OpAppend || c.Op == OpDelete || c.Op == OpTouch {
			if g.r.IntN(2) == 0 {
				c.Guard.Lock, c.Guard.Token = g.holder()
			}
		}
		return c
	}
	at, id := g.leaseTraffic.next(index).Command, RequestID{} // for its stamp
	name := g.name()
	switch n := g.r.IntN(20); {
	case n < 13:
		c.acquire = Acquire{Lock: name, Limit: 1 + int(name[0]-'a')%3, Queue: g.r.IntN(4) > 0, Delay: uint64(g.r.IntN(3) / 2 * g.r.IntN(3000)), Value: randomBytes(g.r, g.r.IntN(9))}
		if g.r.IntN(12) == 0 {
			c.acquire.Limit++
		}
		if c.acquire.Lease = g.lease(index); g.r.IntN(4) == 0 {
			c.acquire.Lease, c.acquire.TTL = 0, uint64(1000+g.r.IntN(6000))
		}
		c.Command = AcquireCommand(c.acquire)
	case n < 16:
		name, c.token = g.holder()
		c.Command = Release(name, c.token)
	case n < 18:
		c.id, c.end = g.lease(index), g.r.IntN(2) == 0
		c.Command = LeaveQueue(name, c.id, c.end)
	default:
		name, c.token = g.holder()
		c.value = string(randomBytes(g.r, g.r.IntN(9)))
		c.Command = Publish(name, c.token, []byte(c.value))
	}
	id = at.ID
	c.ID, c.Time = id, at.Time
	return c
}

func (g *lockTraffic) name() string { return string([]byte{"aaabbcde"[g.r.IntN(8)]}) }

// Goal (K1 to K5, K8, K10, L5, L7; planted bugs 12 to 14): locks, their queues, tokens and
// delays are what the rules say, ends of leases and guarded writes included, and equal on
// every server, whatever way its state came there.
// Method: random commands and ticks to two stores, of which one is replaced by its
// snapshot at random, and to a plain model: every answer, then locks, leases, items, events
// and digests. Limits are so low that each is met.
func TestLocksAgreeWithAPlainModel(t *testing.T) {
	seen, handed, delayed, guarded, snapshots := map[Status]int{}, 0, 0, 0, 0
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 31))
		p := &pair{t: t, here: newStore(fewLocks), there: newStore(fewLocks), truth: truth.New()}
		p.truth.MaxEvents = fewLocks.events
		m := &leaseModel{
			limits: fewLocks.leases, store: p.truth, free: 1 << 62, leases: map[int64]*plainLease{}, ends: map[string]uint64{},
			locks: lockModel{limits: fewLocks.locks, locks: map[string]*plainLock{}, tokens: map[string]uint64{}},
		}
		g := &lockTraffic{leaseTraffic: leaseTraffic{r: r}, model: &m.locks}
		for _, s := range []*Store{p.here, p.there} {
			if err := s.AdvanceLevel(1, LevelHistory); err != nil {
				t.Fatal(err)
			}
		}
		p.truth.Activate()
		for index := uint64(2); index <= 700; index++ {
			c := g.next(index)
			b := EncodeCommand(c.Command)
			waited := p.here.Locks().Waiting()
			got, also, want := p.here.Apply(index, b), p.there.Apply(index, b), m.applyLock(index, c)
			want.ID = c.ID
			if !sameResult(got, want) || !sameResult(also, want) {
				t.Fatalf("seed %d, index %d, %+v:\n store %+v\n other %+v\n model %+v", seed, index, c, got, also, want)
			}
			switch {
			case (c.Op == OpGrant || c.Op == OpAcquire && c.acquire.Lease == 0) && (got.Status == StatusOK || got.Status == StatusQueued):
				g.given = append(g.given, got.Lease())
			case c.Guard != (Guard{}) && got.Status == StatusOK:
				guarded++
			}
			for _, l := range m.locks.locks {
				for _, u := range l.holders {
					if !slices.Contains(g.tokens, u.token) {
						g.tokens = append(g.tokens, u.token)
					}
				}
				delayed += min(len(l.delays), 1)
			}
			if c.Op != OpAcquire && c.Op != OpLeaveQueue {
				handed += max(waited-p.here.Locks().Waiting(), 0)
			}
			seen[got.Status]++
			if diff := cmp.Or(m.difference(p.here), m.lockDifference(p.here)); diff != "" {
				t.Fatalf("seed %d, index %d, %+v: %s", seed, index, c, diff)
			}
			if p.here.Digest() != p.there.Digest() {
				t.Fatalf("seed %d, index %d: behind a snapshot the digest is another", seed, index)
			}
			if r.IntN(25) == 0 {
				p.there = copied(t, p.there)
				snapshots++
			}
			if index%60 == 0 {
				if p.here.Hash() != p.there.Hash() {
					t.Fatalf("seed %d, index %d: behind a snapshot the state is another", seed, index)
				}
				p.compareHistory(index)
			}
		}
	}
	for _, s := range []Status{
		StatusOK, StatusLeaseNotFound, StatusLeaseFull, StatusLockHeld, StatusQueued, StatusLimitMismatch, StatusLockQueueFull,
		StatusLocksFull, StatusLockLost, StatusLockNotFound,
	} {
		if seen[s] < 20 {
			t.Errorf("void: %q was met %d times", s, seen[s])
		}
	}
	if handed < 150 || delayed < 200 || guarded < 50 || snapshots < 100 {
		t.Errorf("void: %d were handed over, %d steps with a delay, %d guarded writes, %d snapshots", handed, delayed, guarded, snapshots)
	}
}
