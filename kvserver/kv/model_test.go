package kv

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"raftkv/kvserver/internal/truth"
)

// model is the state machine written as plainly as possible: Go maps, values
// copied whole, eviction by looking at everything.
type model struct {
	rules    rules
	revision uint64
	items    map[string]Item
	sessions map[uint64]*modelSession
	time     uint64
	origin   uint64 // of the last command with a stamp
	stamp    uint64
	requests []modelRequest
	// many does what concerns several keys; nil: there is nothing of the kind.
	many *truth.Model
}

// modelRequest is a request under an idempotency key.
type modelRequest struct {
	key    string
	what   string
	time   uint64
	result Result
}

type modelSession struct {
	lastUsed uint64
	lanes    map[uint32]modelLane
}

type modelLane struct {
	seq    uint64
	result Result
}

func newModel(r rules) *model {
	return &model{rules: r, items: map[string]Item{}, sessions: map[uint64]*modelSession{}}
}

func (m *model) apply(index uint64, c Command) Result {
	if c.Time != 0 {
		if c.ID.Origin == m.origin && c.Time > m.stamp {
			m.time += min(c.Time-m.stamp, maxTimeStep)
		}
		if c.ID.Origin != m.origin || c.Time > m.stamp {
			m.origin, m.stamp = c.ID.Origin, c.Time
		}
	}
	for i := 0; i < 64 && len(m.requests) > 0 && m.time-m.requests[0].time >= 3_600_000; i++ {
		m.requests = m.requests[1:]
	}
	if c.IdempotencyKey != "" {
		return m.runKeyed(c)
	}
	if c.Op == OpOpenSession {
		if len(m.sessions) == m.rules.sessions {
			m.evict()
		}
		m.sessions[index] = &modelSession{lastUsed: index, lanes: map[uint32]modelLane{}}
		return Result{Revision: m.revision, Session: index}
	}
	if c.Session == (SessionCall{}) {
		return m.run(c)
	}
	s := m.sessions[c.Session.ID]
	if s == nil {
		return Result{Status: StatusSessionExpired, Revision: m.revision}
	}
	s.lastUsed = index
	if int(c.Session.Lane) >= m.rules.lanes || c.Session.Seq == 0 {
		return Result{Status: StatusBadCall, Revision: m.revision}
	}
	if c.Op == OpGet {
		return m.run(c)
	}
	if last, ok := s.lanes[c.Session.Lane]; ok {
		switch {
		case c.Session.Seq == last.seq:
			return again(last.result)
		case c.Session.Seq < last.seq:
			return Result{Status: StatusStale, Revision: m.revision}
		}
	}
	r := m.run(c)
	s.lanes[c.Session.Lane] = modelLane{seq: c.Session.Seq, result: r}
	for m.lanes() > m.rules.lanesTotal || m.rules.answers > 0 && m.answered(false) > m.rules.answers && len(m.sessions) > 1 {
		m.evict()
	}
	return r
}

func (m *model) runKeyed(c Command) Result {
	what := fmt.Sprint(c.Op, c.Condition, c.Key, c.Value, c.Previous)
	for _, r := range m.requests {
		switch {
		case r.key == c.IdempotencyKey && r.what == what:
			return again(r.result)
		case r.key == c.IdempotencyKey:
			return Result{Status: StatusIdempotencyMismatch, Revision: m.revision}
		}
	}
	if len(m.requests) == m.rules.records || c.HasOutcome() && m.answered(true) >= m.rules.answers {
		return Result{Status: StatusIdempotencyFull, Revision: m.revision}
	}
	r := m.run(c)
	if r.Status == StatusOK || r.Status == StatusConditionFailed || r.Status == StatusNotFound {
		m.requests = append(m.requests, modelRequest{c.IdempotencyKey, what, m.time, r})
	}
	return r
}

func (m *model) bytes() (n int) {
	for key, item := range m.items {
		n += len(key) + len(item.Value)
	}
	return n
}

func (m *model) holds(c Condition, key string) bool {
	old, found := m.items[key]
	switch c.Kind {
	case IfVersion:
		return found && old.Version == c.Number || !found && c.Number == 0
	case IfRevision:
		return found && old.Revision == c.Number || !found && c.Number == 0
	case IfPresent:
		return found
	case IfAbsent:
		return !found
	}
	return true
}

func (m *model) lanes() (n int) {
	for _, s := range m.sessions {
		n += len(s.lanes)
	}
	return n
}

func (m *model) evict() {
	var oldest uint64
	for id, s := range m.sessions {
		if oldest == 0 || s.lastUsed < m.sessions[oldest].lastUsed {
			oldest = id
		}
	}
	delete(m.sessions, oldest)
}

func (m *model) run(c Command) Result {
	if c.Op == OpTxn || c.Op == OpDeleteRange {
		return m.runMany(c)
	}
	old, found := m.items[string(c.Key)]
	if len(c.Key) < 1 || len(c.Key) > 1024 {
		return Result{Status: StatusBadKey, Revision: m.revision}
	}
	if !m.holds(c.Condition, string(c.Key)) {
		return Result{Status: StatusConditionFailed, Revision: old.Revision, Version: old.Version}
	}
	value := slices.Clone(c.Value)
	switch c.Op {
	case OpGet:
		if !found {
			return Result{Status: StatusNotFound, Revision: m.revision}
		}
		return Result{Revision: old.Revision, Version: old.Version, Length: uint64(len(old.Value)), Value: old.Value}
	case OpDelete:
		if found {
			m.revision++
			delete(m.items, string(c.Key))
		}
		return m.withPrevious(c, Result{Revision: m.revision, Deleted: found}, old)
	case OpAppend:
		value = append(slices.Clone(old.Value), value...)
	}
	if c.MaxLength != 0 && uint64(len(value)) > c.MaxLength || len(value) > 8<<20 {
		return Result{Status: StatusTooLong, Revision: m.revision}
	}
	size := m.bytes()
	grown := size + len(value) - len(old.Value)
	if !found {
		grown += len(c.Key)
	}
	if c.Quota != 0 && grown > size && uint64(grown) > c.Quota {
		return Result{Status: StatusQuota, Revision: m.revision}
	}
	m.revision++
	m.items[string(c.Key)] = Item{Value: value, Revision: m.revision, Version: old.Version + 1}
	return m.withPrevious(c, Result{Revision: m.revision, Version: old.Version + 1, Length: uint64(len(value)), Created: !found}, old)
}

// difference compares everything that a store shows with the model.
func (m *model) difference(v *View) string {
	if v.Revision() != m.revision || v.Len() != len(m.items) || v.Sessions() != len(m.sessions) || v.IdempotencyRecords() != len(m.requests) {
		return fmt.Sprintf("revision %d, %d keys, %d sessions, %d records; the model has %d, %d, %d, %d",
			v.Revision(), v.Len(), v.Sessions(), v.IdempotencyRecords(), m.revision, len(m.items), len(m.sessions), len(m.requests))
	}
	if v.Bytes() != m.bytes() {
		return fmt.Sprintf("%d bytes, the model has %d", v.Bytes(), m.bytes())
	}
	keys := slices.Sorted(maps.Keys(m.items))
	diff := ""
	v.Ascend("", "", func(key string, item Item) bool {
		want := m.items[key]
		if key != keys[0] || !bytes.Equal(item.Value, want.Value) || item.Revision != want.Revision || item.Version != want.Version {
			diff = fmt.Sprintf("%q: %+v, the model has next %q: %+v", key, item, keys[0], m.items[keys[0]])
			return false
		}
		keys = keys[1:]
		return true
	})
	return diff
}

// sameResult compares results, taking nil and empty values for equal.
func sameResult(a, b Result) bool {
	if !bytes.Equal(a.Value, b.Value) {
		return false
	}
	if (a.Outcome == nil) != (b.Outcome == nil) || a.Outcome != nil && !bytes.Equal(a.Outcome.Encode(), b.Outcome.Encode()) {
		return false
	}
	if (a.Refused == nil) != (b.Refused == nil) || a.Refused != nil && *a.Refused != *b.Refused {
		return false
	}
	a.Value, b.Value, a.Outcome, b.Outcome, a.Refused, b.Refused = nil, nil, nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// traffic draws commands that meet every rule: few keys, few sessions, repeats
// of earlier calls, sessions that are long gone, limits.
type traffic struct {
	r    *rand.Rand
	sent []Command
	seq  uint64
	ids  []uint64
	time uint64
}

func (g *traffic) next(index uint64) Command {
	if len(g.sent) > 0 && g.r.IntN(5) == 0 {
		back := min(len(g.sent), 1+g.r.IntN(60))
		return g.sent[len(g.sent)-back]
	}
	c := Command{
		Op: []Op{OpPut, OpPut, OpAppend, OpAppend, OpAppend, OpDelete, OpGet, OpOpenSession}[g.r.IntN(8)],
		ID: RequestID{Origin: 5 + uint64(g.r.IntN(20)/19), Number: index}, // now and then another server
	}
	if g.r.IntN(2) == 0 { // mostly some seconds on, at times long ago, now and then a jump
		g.time += uint64(g.r.IntN(40_000) + g.r.IntN(2)*g.r.IntN(2)*g.r.IntN(2)*g.r.IntN(2)*g.r.IntN(4_000_000))
		c.Time = g.time - min(g.time, uint64(g.r.IntN(2)*g.r.IntN(10_000)))
	}
	if c.Op == OpOpenSession {
		if g.r.IntN(6) == 0 || len(g.ids) == 0 {
			g.ids = append(g.ids, index)
			return c
		}
		c.Op = OpPut
	}
	c.Key = fmt.Appendf(nil, "key/%d", g.r.IntN(12))
	if g.r.IntN(50) == 0 {
		c.Key = bytes.Repeat([]byte("k"), []int{0, 1024, 1025}[g.r.IntN(3)])
	}
	if c.Op == OpPut || c.Op == OpAppend {
		c.Value = randomBytes(g.r, g.r.IntN(30))
		if g.r.IntN(4) == 0 {
			c.MaxLength = uint64(1 + g.r.IntN(60))
		}
		if g.r.IntN(3) == 0 {
			c.Quota = uint64(1 + g.r.IntN(400))
		}
	}
	if c.Op != OpGet && g.r.IntN(3) == 0 {
		c.Condition.Kind = ConditionKind(1 + g.r.IntN(int(conditionMax)))
		switch c.Condition.Kind {
		case IfVersion:
			c.Condition.Number = uint64(g.r.IntN(4))
		case IfRevision:
			c.Condition.Number = index/2 - min(index/2, uint64(g.r.IntN(40)))
		}
	}
	if c.Op != OpGet && g.r.IntN(4) == 0 {
		c.IdempotencyKey = fmt.Sprintf("request-%d", int(index)-g.r.IntN(2)*g.r.IntN(10))
		return c
	}
	if len(g.ids) > 0 && g.r.IntN(4) != 0 {
		back := min(len(g.ids), 1+g.r.IntN(6))
		g.seq++
		c.Session = SessionCall{ID: g.ids[len(g.ids)-back], Lane: uint32(g.r.IntN(4)), Seq: g.seq}
		if g.r.IntN(60) == 0 {
			c.Session.Lane = uint32(g.r.IntN(20))
		}
		if g.r.IntN(60) == 0 {
			c.Session.Seq = 0
		}
	}
	return c
}

// Goal: the store does what the rules say, whatever the order of puts, appends,
// deletes, gets, retries, late retries and evictions.
// Method: random traffic to the store and to the plain model with small session
// limits; every result and, now and then, the whole content must agree, and
// views frozen on the way must still agree with the model of their time.
func TestStoreAgreesWithAPlainModel(t *testing.T) {
	seen := map[Status]int{}
	replays, evictions := 0, 0
	for seed := range uint64(30) {
		r := rules{sessions: 4, lanes: 5, lanesTotal: 11, records: 40}
		store, plain := newStore(r), newModel(r)
		g := &traffic{r: rand.New(rand.NewPCG(seed, 77))}
		type frozen struct {
			view   *View
			hash   [32]byte
			digest Digest
		}
		var views []frozen
		for index := uint64(1); index <= 1500; index++ {
			if g.r.IntN(40) == 0 {
				store.Advance(index)
				continue
			}
			c := g.next(index)
			g.sent = append(g.sent, c)
			sessions := store.Sessions()
			got, want := store.Apply(index, EncodeCommand(c)), plain.apply(index, c)
			want.ID = c.ID
			if !sameResult(got, want) {
				t.Fatalf("seed %d, index %d, %+v:\n store %+v\n model %+v", seed, index, c, got, want)
			}
			seen[got.Status]++
			if got.Replayed {
				replays++
			}
			if c.Op == OpOpenSession && store.Sessions() == sessions || store.Sessions() < sessions {
				evictions++
			}
			if index%100 == 0 {
				if diff := plain.difference(&store.state); diff != "" {
					t.Fatalf("seed %d, index %d: %s", seed, index, diff)
				}
				v := store.Freeze()
				views = append(views, frozen{v, v.Hash(), v.Digest()})
			}
		}
		for _, f := range views {
			if f.view.Hash() != f.hash || f.view.Digest() != f.digest {
				t.Fatalf("seed %d: the view frozen at %d changed", seed, f.view.AppliedIndex())
			}
		}
	}
	for s := range statusMaxBase + 1 {
		if s == StatusUnknownCommand {
			continue
		}
		if seen[s] < 10 {
			t.Errorf("%q was met only %d times: the traffic does not test it", s, seen[s])
		}
	}
	if replays < 100 || evictions < 100 {
		t.Errorf("%d replays and %d evictions are too few to test them", replays, evictions)
	}
}

// Goal: the state depends on the commands and on nothing else, and the hash
// shows every difference.
// Method: two stores get the same random traffic and must hash alike all along;
// then each kind of command is applied to one of them only.
func TestEqualLogsGiveEqualHashes(t *testing.T) {
	g := &traffic{r: rand.New(rand.NewPCG(3, 4))}
	a, b := New(), New()
	for index := uint64(1); index <= 3000; index++ {
		c := g.next(index)
		g.sent = append(g.sent, c)
		a.Apply(index, EncodeCommand(c))
		b.Apply(index, EncodeCommand(c))
		if index%250 == 0 && (a.Hash() != b.Hash() || a.Digest() != b.Digest()) {
			t.Fatalf("different hashes after the same %d commands", index)
		}
	}
	session := g.ids[len(g.ids)-1]
	for _, c := range []Command{
		{Op: OpPut, Key: []byte("key/1"), Value: []byte("x")},
		{Op: OpAppend, Key: []byte("key/1")},
		{Op: OpOpenSession},
		{Op: OpPut, Key: []byte("k"), Session: SessionCall{ID: session, Seq: 1 << 40}},
		{Op: OpGet, Key: []byte("k"), Session: SessionCall{ID: session, Seq: 1 << 40}},
		{Op: OpGet, Key: []byte("k"), Time: 1 << 50},
		{Op: OpPut, Key: []byte("k"), IdempotencyKey: "last", Condition: Condition{Kind: IfAbsent}},
	} {
		next := a.AppliedIndex() + 1
		a.Apply(next, EncodeCommand(c))
		b.Advance(next)
		if a.Hash() == b.Hash() || a.Digest() == b.Digest() {
			t.Errorf("%+v changed the state of one store but not its hashes", c)
		}
		// Level them again, so that the next command is the only difference.
		b = a.clone()
	}
}

// Goal: the hash covers what is only remembered for duplicate detection: two
// stores that would answer a retry differently must not look equal.
// Method: pairs of stores with equal items whose sessions or lanes differ in
// one thing each.
func TestTheHashCoversSessionsAndLanes(t *testing.T) {
	history := func(calls ...SessionCall) *Store {
		s := New()
		for range 2 {
			apply(s, Command{Op: OpOpenSession})
		}
		for _, call := range calls {
			apply(s, Command{Op: OpPut, Key: []byte("k"), Session: call})
		}
		return s
	}
	a := history(SessionCall{ID: 1, Lane: 0, Seq: 1})
	for _, other := range []SessionCall{{ID: 1, Lane: 0, Seq: 2}, {ID: 1, Lane: 1, Seq: 1}, {ID: 2, Lane: 0, Seq: 1}, {}} {
		b := history(other)
		if a.Revision() != b.Revision() || a.AppliedIndex() != b.AppliedIndex() {
			t.Fatal("the stores differ in more than their sessions")
		}
		if a.Hash() == b.Hash() || a.Digest() == b.Digest() {
			t.Errorf("call %+v left the same hashes as the first", other)
		}
	}
}

// clone copies a store for tests, appended values included.
func (s *Store) clone() *Store {
	c := &Store{state: *s.Freeze(), recency: s.recency.Copy(), recordAt: maps.Clone(s.recordAt), rules: s.rules}
	c.records = recordQueue{}
	s.records.scan(func(r *record) bool {
		c.recordAt[r.name()] = c.records.push(*r)
		return true
	})
	c.items = newTable()
	s.items.scan(func(key string, item Item) bool {
		c.items.insert(key, keyHash(key), item)
		return true
	})
	return c
}

// Fuzz target: any bytes may be a command. Two stores take them without panic
// and stay equal.
func FuzzApply(f *testing.F) {
	for _, c := range sampleCommands() {
		f.Add(EncodeCommand(c), EncodeCommand(Command{Op: OpGet, Key: []byte("k")}))
	}
	f.Add(EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Session: SessionCall{ID: 1, Seq: 1}}),
		EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Session: SessionCall{ID: 1, Seq: 1}}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		a, b := New(), New()
		index := uint64(0)
		for _, command := range [][]byte{EncodeCommand(Command{Op: OpOpenSession}), first, second, first} {
			index++
			ra, rb := a.Apply(index, command), b.Apply(index, bytes.Clone(command))
			if !sameResult(ra, rb) {
				t.Fatalf("command %x gave %+v and %+v", command, ra, rb)
			}
			if ra.Replayed && index == 2 {
				t.Fatalf("the first call %x was answered as a repeat", command)
			}
		}
		if a.Hash() != b.Hash() {
			t.Fatalf("%x, %x: equal logs, different states", first, second)
		}
		if a.Revision() > 3 {
			t.Fatalf("three commands made %d changes", a.Revision())
		}
	})
}
