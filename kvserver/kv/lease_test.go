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
)

// fewLeases are limits that a short log reaches. A tick ends at most two leases.
var fewLeases = rules{
	sessions: 4, lanes: 5, lanesTotal: 11, records: 40, events: 60, historyMin: 500,
	leases: lease.Limits{Leases: 6, Keys: 3, Bytes: 45, EndLeases: 2, EndKeys: 4},
}

// plainLease is a lease as the model has it.
type plainLease struct {
	ttl, deadline uint64
	note          string
}

// leaseModel says what leases are in maps and by looking at everything. It shares no
// code with what it judges.
type leaseModel struct {
	limits        lease.Limits
	store         *truth.Model
	time          uint64
	origin, stamp uint64
	free          int64
	leases        map[int64]*plainLease
	ends          map[string]uint64 // keys with a time of their own
	locks         lockModel
}

func (m *leaseModel) pass(c Command) {
	switch {
	case c.Time == 0:
	case c.ID.Origin != m.origin:
		m.origin, m.stamp = c.ID.Origin, c.Time
	case c.Time > m.stamp:
		m.time += min(c.Time-m.stamp, 1000)
		m.stamp = c.Time
	}
}

func (m *leaseModel) keysOf(id int64) (keys []string, bytes int) {
	for key, item := range m.store.Items {
		if item.Lease == id {
			keys = append(keys, key)
			bytes += len(key) + len(item.Value)
		}
	}
	slices.Sort(keys)
	return keys, bytes
}

func (m *leaseModel) charged() int {
	n := 0
	for key, item := range m.store.Items {
		n += len(key) + len(item.Value)
		if _, own := m.ends[key]; own || item.Lease != 0 {
			n += 64
		}
	}
	return n
}

func (m *leaseModel) end(id int64, reason string) int {
	keys, _ := m.keysOf(id)
	names := m.locks.of(id)
	m.store.End(keys, m.endLocks(id, names, reason))
	delete(m.leases, id)
	for _, name := range names {
		m.handOver(name)
	}
	return len(keys)
}

// apply is what one command does, given what is in its body.
func (m *leaseModel) apply(index uint64, g leaseCommand) Result {
	c := g.Command
	m.pass(c)
	key := string(c.Key)
	old, found := m.store.Items[key]
	refused := func(s Status) Result { return Result{Status: s, Revision: m.store.Revision} }
	switch c.Op {
	case OpTick:
		return m.tick()
	case OpGrant:
		id := g.id
		if m.leases[id] != nil {
			return refused(StatusLeaseExists)
		}
		if len(m.leases) == m.limits.Leases {
			return refused(StatusLeasesFull)
		}
		if id == 0 {
			for id = int64(index); m.leases[id] != nil; m.free++ {
				id = m.free
			}
		}
		m.leases[id] = &plainLease{g.ttl, m.time + g.ttl, g.note}
		return Result{Revision: m.store.Revision, Version: uint64(id)}
	case OpKeepAlive:
		r := Result{Revision: m.store.Revision}
		for _, id := range g.ids {
			ttl := uint64(0)
			if l := m.leases[id]; l != nil {
				l.deadline, ttl = m.time+l.ttl, l.ttl
			}
			r.Value = appendUvarint(r.Value, ttl)
		}
		return r
	case OpRevoke:
		if m.leases[g.id] == nil {
			return refused(StatusLeaseNotFound)
		}
		n := m.end(g.id, "revoked")
		return Result{Revision: m.store.Revision, Length: uint64(n)}
	case OpTouch:
		switch {
		case !found:
			return refused(StatusNotFound)
		case old.Lease != 0:
			return Result{Status: StatusConditionFailed, Revision: old.Revision, Version: old.Version, Length: 1}
		}
		if _, own := m.ends[key]; !own && c.Quota != 0 && m.charged()+64 > int(c.Quota) {
			return refused(StatusQuota)
		}
		m.ends[key] = m.time + c.Tie.TTL
		return Result{Revision: old.Revision, Version: old.Version, Length: uint64(len(old.Value))}
	case OpDelete:
		m.store.Delete(key)
		delete(m.ends, key)
		return Result{Revision: m.store.Revision, Deleted: found}
	}
	return m.write(c, old, found, refused)
}

func appendUvarint(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func (m *leaseModel) write(c Command, old truth.Item, found bool, refused func(Status) Result) Result {
	key, value := string(c.Key), string(c.Value)
	if (c.Tie.Keep || c.KeepValue) && !found {
		return refused(StatusNotFound)
	}
	before := m.charged()
	ownEnd, own := m.ends[key]
	oldTied := own || old.Lease != 0
	id, end := c.Tie.Lease, uint64(0)
	switch {
	case c.Op == OpAppend:
		value = old.Value + value
		id, end = old.Lease, ownEnd
	case c.Tie.Keep:
		id, end = old.Lease, ownEnd
	case c.Tie.TTL != 0:
		end = m.time + c.Tie.TTL
	}
	if c.KeepValue {
		value = old.Value
	}
	if id != 0 {
		if m.leases[id] == nil {
			return refused(StatusLeaseNotFound)
		}
		keys, bytes := m.keysOf(id)
		n := len(keys) + 1 + len(m.locks.of(id))
		bytes += len(key) + len(value)
		if old.Lease == id {
			n, bytes = n-1, bytes-len(key)-len(old.Value)
		}
		if n > m.limits.Keys || bytes > int(m.limits.Bytes) {
			return refused(StatusLeaseFull)
		}
	}
	after := before + len(value) - len(old.Value)
	if !found {
		after += len(key)
	}
	if oldTied {
		after -= 64
	}
	if id != 0 || end != 0 {
		after += 64
	}
	if c.Quota != 0 && after > before && after > int(c.Quota) {
		return refused(StatusQuota)
	}
	m.store.PutTied(key, value, id)
	delete(m.ends, key)
	if end != 0 {
		m.ends[key] = end
	}
	return Result{Revision: m.store.Revision, Version: old.Version + 1, Length: uint64(len(value)), Created: !found}
}

type plainDue struct {
	at   uint64
	kind int
	id   int64
	key  string
}

func (m *leaseModel) tick() Result {
	var due []plainDue
	for id, l := range m.leases {
		due = append(due, plainDue{at: l.deadline, kind: 1, id: id})
	}
	for key, at := range m.ends {
		due = append(due, plainDue{at: at, kind: 2, key: key})
	}
	due = append(due, m.locks.due()...)
	slices.SortFunc(due, func(a, b plainDue) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id), cmp.Compare(a.key, b.key))
	})
	leases, keys, ended := 0, 0, 0
	for i, d := range due {
		if d.at > m.time {
			break
		}
		n := 1
		if d.kind == 1 {
			all, _ := m.keysOf(d.id)
			n = len(all) + len(m.locks.of(d.id))
		}
		if i > 0 && (leases == m.limits.EndLeases || keys+n > m.limits.EndKeys) {
			return Result{Revision: m.store.Revision, Length: uint64(ended), Deleted: true}
		}
		keys += n
		switch d.kind {
		case 1:
			leases++
			ended += m.end(d.id, "expired")
		case 2:
			ended++
			m.store.Expire(d.key)
			delete(m.ends, d.key)
		default:
			m.endDelay(d.key, d.at)
		}
	}
	return Result{Revision: m.store.Revision, Length: uint64(ended)}
}

// difference compares what a store shows of leases with the model.
func (m *leaseModel) difference(s *Store) string {
	if s.LeaseTime() != m.time || int64(s.leases.Free()) != m.free {
		return fmt.Sprintf("lease time %d, next id %d; the model has %d, %d", s.LeaseTime(), s.leases.Free(), m.time, m.free)
	}
	got := map[int64]plainLease{}
	diff := ""
	s.leases.Ascend(-1<<63, func(id int64, l lease.Lease, keys int) bool {
		got[id] = plainLease{l.TTL, l.Deadline, l.Note}
		want, _ := m.keysOf(id)
		if fmt.Sprint(s.leases.Keys(id)) != fmt.Sprint(want) || keys != len(want) {
			diff = fmt.Sprintf("lease %d has the keys %q (%d), the model %q", id, s.leases.Keys(id), keys, want)
		}
		return true
	})
	want := map[int64]plainLease{}
	for id, l := range m.leases {
		want[id] = *l
	}
	if !maps.Equal(got, want) {
		return fmt.Sprintf("leases %v, the model has %v", got, want)
	}
	ties := map[string]uint64{}
	s.leases.ScanTies(func(key string, t lease.Tie) bool {
		if t.Lease == 0 {
			ties[key] = t.Deadline
		}
		return true
	})
	if !maps.Equal(ties, m.ends) {
		return fmt.Sprintf("own times %v, the model has %v", ties, m.ends)
	}
	return diff
}

// leaseCommand is a command and what is in its body.
type leaseCommand struct {
	Command
	id   int64
	ids  []int64
	ttl  uint64
	note string
}

// leaseTraffic draws commands: few keys and leases, ids that clients choose, servers
// that change, clocks that jump, and ticks.
type leaseTraffic struct {
	r      *rand.Rand
	clocks [3]uint64
	server int
	given  []int64
}

func (g *leaseTraffic) lease(index uint64) int64 {
	switch g.r.IntN(6) {
	case 0:
		return []int64{-5, 7, 1 << 62, 1<<62 + 1, -1 << 63}[g.r.IntN(5)]
	case 1:
		return int64(index) + int64(g.r.IntN(4)) // of a log index to come
	}
	if len(g.given) == 0 {
		return 99
	}
	return g.given[len(g.given)-min(len(g.given), 1+g.r.IntN(4))]
}

func (g *leaseTraffic) next(index uint64) (c leaseCommand) {
	switch g.r.IntN(18) {
	case 0, 1:
		if c.id = g.lease(index); g.r.IntN(3) > 0 {
			c.id = 0
		}
		c.ttl, c.note = uint64(1000+g.r.IntN(5000)*(1+g.r.IntN(8))), fmt.Sprint("note ", g.r.IntN(4))
		c.Command = Grant(c.id, c.ttl, c.note)
	case 2:
		for range 1 + g.r.IntN(4) {
			c.ids = append(c.ids, g.lease(index))
		}
		c.Command = KeepAlive(c.ids...)
	case 3:
		c.id = g.lease(index)
		c.Command = Revoke(c.id)
	case 4, 5, 6, 7:
		c.Op = OpTick
	case 8:
		c.Op, c.Tie.TTL = OpTouch, uint64(1000+g.r.IntN(4000))
	case 9:
		c.Op = OpDelete
	case 10:
		c.Op, c.Value = OpAppend, randomBytes(g.r, g.r.IntN(12))
	default:
		c.Op, c.Value = OpPut, randomBytes(g.r, g.r.IntN(20))
		switch g.r.IntN(6) {
		case 0, 1, 2:
			c.Tie.Lease = g.lease(index)
		case 3:
			c.Tie.TTL = uint64(1000 + g.r.IntN(4000))
		case 4:
			c.Tie.Keep = true
		}
		if g.r.IntN(6) == 0 {
			c.KeepValue, c.Value = true, nil
		}
	}
	switch c.Op {
	case OpPut, OpAppend, OpDelete, OpTouch:
		c.Key = fmt.Appendf(nil, "key/%d", g.r.IntN(10))
		if c.Op != OpDelete && g.r.IntN(4) == 0 {
			c.Quota = uint64(100 + g.r.IntN(900))
		}
	}
	if g.r.IntN(25) == 0 {
		g.server = g.r.IntN(3)
	}
	if g.r.IntN(6) > 0 {
		clock := &g.clocks[g.server]
		*clock += uint64(1 + g.r.IntN(700) + g.r.IntN(12)/11*g.r.IntN(100_000))
		c.Time = *clock - min(*clock, uint64(g.r.IntN(8)/7*g.r.IntN(900)))
	}
	c.ID = RequestID{Origin: uint64(5 + g.server), Number: index}
	return c
}

// Goal (L5 to L10, L12; planted bugs 8 to 11): leases, ties and what ends are what the
// rules say, in one order, and equal on every server, whatever way its state came there.
// Method: random commands and ticks to two stores, of which one is replaced by its
// snapshot at random, and to a plain model: every answer, then lease time, leases, ties,
// items, events and digests. Limits are so low that each is met.
func TestLeasesAgreeWithAPlainModel(t *testing.T) {
	seen, chosen, left, snapshots, expired := map[Status]int{}, 0, 0, 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 21))
		p := &pair{t: t, here: newStore(fewLeases), there: newStore(fewLeases), truth: truth.New()}
		p.truth.MaxEvents = fewLeases.events
		m := &leaseModel{limits: fewLeases.leases, store: p.truth, free: 1 << 62, leases: map[int64]*plainLease{}, ends: map[string]uint64{}}
		g := &leaseTraffic{r: r}
		for _, s := range []*Store{p.here, p.there} {
			if err := s.AdvanceLevel(1, LevelHistory); err != nil {
				t.Fatal(err)
			}
		}
		p.truth.Activate()
		for index := uint64(2); index <= 900; index++ {
			c := g.next(index)
			b := EncodeCommand(c.Command)
			got, also, want := p.here.Apply(index, b), p.there.Apply(index, b), m.apply(index, c)
			want.ID = c.ID
			if !sameResult(got, want) || !sameResult(also, want) {
				t.Fatalf("seed %d, index %d, %+v:\n store %+v\n other %+v\n model %+v", seed, index, c, got, also, want)
			}
			if c.Op == OpGrant && got.Status == StatusOK {
				g.given = append(g.given, got.Lease())
				if c.id == 0 && got.Lease() >= 1<<62 {
					chosen++
				}
			}
			if c.Op == OpTick {
				left += int(bit(got.Deleted))
				expired += int(got.Length)
			}
			seen[got.Status]++
			if diff := m.difference(p.here); diff != "" {
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
	for _, s := range []Status{StatusOK, StatusNotFound, StatusConditionFailed, StatusQuota, StatusLeaseNotFound, StatusLeaseExists, StatusLeaseFull, StatusLeasesFull} {
		if seen[s] < 30 {
			t.Errorf("void: %q was met %d times", s, seen[s])
		}
	}
	if chosen < 5 || left < 30 || snapshots < 100 || expired < 500 {
		t.Errorf("void: %d ids beside the index, %d ticks that left work, %d snapshots, %d keys expired", chosen, left, snapshots, expired)
	}
}
