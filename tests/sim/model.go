package main

import (
	"sort"

	"raftkv/kvserver/kv"
)

// model is what the commands mean, written a second time in the plainest way:
// no sharing, no eviction.
type model struct {
	applied  uint64
	revision uint64
	cells    map[string]*cell
	sessions map[uint64]map[uint32]call
	tokens   map[string]uint64 // where each token took effect
	bytes    int               // of keys and values
	clock    logClock
	keyedAt  map[string]keyedMoment // by callOf: when a request under an idempotency key was applied
	keyed    map[string]*keyedCall
	eldest   []*keyedCall // keyed in the order in which they came
}

// keyedCall is what is remembered of a request under an idempotency key.
type keyedCall struct {
	key    string
	c      kv.Command
	time   uint64
	result kv.Result
}

// cell is one key: its present state and all it ever had.
type cell struct {
	moment
	history []moment
}

// moment is a key's state from a log index on.
type moment struct {
	index    uint64
	exists   bool
	value    string
	version  uint64
	revision uint64
}

// call is the last call of a session's lane.
type call struct {
	seq    uint64
	result kv.Result
}

func newModel() *model {
	return &model{cells: map[string]*cell{}, sessions: map[uint64]map[uint32]call{}, tokens: map[string]uint64{}, keyed: map[string]*keyedCall{}, keyedAt: map[string]keyedMoment{}}
}

func (m *model) cell(key string) *cell {
	if m.cells[key] == nil {
		m.cells[key] = &cell{}
	}
	return m.cells[key]
}

// at returns a key's state after index was applied.
func (m *model) at(key string, index uint64) moment {
	c := m.cells[key]
	if c == nil {
		return moment{}
	}
	n := sort.Search(len(c.history), func(i int) bool { return c.history[i].index > index })
	if n == 0 {
		return moment{}
	}
	return c.history[n-1]
}

// run gives the result that a command has at an index.
func (m *model) run(index uint64, c kv.Command) kv.Result {
	m.clock.pass(c.ID, c.Time)
	m.forget()
	switch {
	case c.Op == kv.OpOpenSession:
		m.sessions[index] = map[uint32]call{}
		return kv.Result{Session: index, Revision: m.revision}
	case c.IdempotencyKey != "":
		return m.runKeyed(index, c)
	case c.Session.ID == 0 || c.Op == kv.OpGet:
		return m.change(index, c)
	}
	last := m.sessions[c.Session.ID][c.Session.Lane]
	if c.Session.Seq == last.seq {
		r := last.result
		r.Replayed = true
		return r
	}
	if c.Session.Seq < last.seq {
		return kv.Result{Status: kv.StatusStale, Revision: m.revision}
	}
	r := m.change(index, c)
	m.sessions[c.Session.ID][c.Session.Lane] = call{c.Session.Seq, r}
	return r
}

// forget drops the eldest answers that were promised to be kept long enough, as
// many as the store drops with one command.
func (m *model) forget() {
	for n := 0; n < 64 && len(m.eldest) > 0 && m.clock.time-m.eldest[0].time >= kv.IdempotencyWindow; n++ {
		delete(m.keyed, m.eldest[0].key)
		m.eldest = m.eldest[1:]
	}
}

// after is log time once a command is applied.
func (m *model) after(c kv.Command) uint64 {
	clock := m.clock
	clock.pass(c.ID, c.Time)
	return clock.time
}

func (m *model) runKeyed(index uint64, c kv.Command) kv.Result {
	if k := m.keyed[c.IdempotencyKey]; k != nil {
		if k.c.Op != c.Op || k.c.Condition != c.Condition || string(k.c.Key) != string(c.Key) || string(k.c.Value) != string(c.Value) {
			return kv.Result{Status: kv.StatusIdempotencyMismatch, Revision: m.revision}
		}
		r := k.result
		r.Replayed = true
		return r
	}
	r := m.change(index, c)
	if r.Status == kv.StatusOK || r.Status == kv.StatusConditionFailed {
		k := &keyedCall{c.IdempotencyKey, c, m.clock.time, r}
		m.keyed[k.key] = k
		m.eldest = append(m.eldest, k)
	}
	return r
}

func (m *model) change(index uint64, c kv.Command) kv.Result {
	k := m.cell(string(c.Key))
	next := moment{index: index, exists: true, value: string(c.Value), version: k.version + 1, revision: m.revision + 1}
	if c.Op == kv.OpAppend {
		next.value = k.value + next.value
	}
	bytes := m.bytes + len(next.value) - len(k.value)
	if !k.exists {
		bytes += len(c.Key)
	}
	switch {
	case c.Op == kv.OpGet && !k.exists:
		return kv.Result{Status: kv.StatusNotFound, Revision: m.revision}
	case c.Op == kv.OpGet:
		return kv.Result{Revision: k.revision, Version: k.version, Length: uint64(len(k.value)), Value: []byte(k.value)}
	case !k.meets(c.Condition):
		return kv.Result{Status: kv.StatusConditionFailed, Revision: k.revision, Version: k.version}
	case c.Op == kv.OpDelete && !k.exists:
		return kv.Result{Revision: m.revision}
	case c.Op == kv.OpDelete:
		next = moment{index: index}
		bytes = m.bytes - len(c.Key) - len(k.value)
	case c.Quota != 0 && bytes > m.bytes && uint64(bytes) > c.Quota:
		return kv.Result{Status: kv.StatusQuota, Revision: m.revision}
	}
	m.revision++
	m.bytes = bytes
	r := kv.Result{Revision: m.revision, Version: next.version, Length: uint64(len(next.value)), Created: !k.exists}
	if c.Op == kv.OpDelete {
		r = kv.Result{Revision: m.revision, Deleted: true}
	} else {
		m.tokens[string(c.Value)] = index
	}
	k.moment = next
	k.history = append(k.history, next)
	return r
}

// meets reports whether a condition holds for a key.
func (m moment) meets(c kv.Condition) bool {
	switch c.Kind {
	case kv.IfVersion:
		return m.version == c.Number
	case kv.IfRevision:
		return m.revision == c.Number
	case kv.IfPresent:
		return m.exists
	case kv.IfAbsent:
		return !m.exists
	}
	return true
}

func sameResult(a, b kv.Result) bool {
	return a.Status == b.Status && a.Revision == b.Revision && a.Version == b.Version && a.Length == b.Length &&
		a.Created == b.Created && a.Deleted == b.Deleted && a.Replayed == b.Replayed && a.Session == b.Session &&
		string(a.Value) == string(b.Value)
}
