package main

import (
	"raftkv/kvserver/kv"
	"raftkv/raft/core"
)

// model is what the commands mean, written a second time in the plainest way:
// maps, no sharing, no eviction.
type model struct {
	applied  uint64
	revision uint64
	cells    map[string]*cell
	sessions map[uint64]map[uint32]call
	tokens   map[string]uint64 // where each token took effect
	results  []kv.Result       // results[i] is the expected one at index i+1
	entries  []core.Entry
}

// cell is one key with its history.
type cell struct {
	exists  bool
	value   string
	version uint64
	history []moment
}

// moment is a key's value from a log index on.
type moment struct {
	index uint64
	value string
}

type call struct {
	seq    uint64
	result kv.Result
}

func newModel() *model {
	return &model{cells: map[string]*cell{}, sessions: map[uint64]map[uint32]call{}, tokens: map[string]uint64{}}
}

func (m *model) cell(key string) *cell {
	if m.cells[key] == nil {
		m.cells[key] = &cell{}
	}
	return m.cells[key]
}

// at returns a key's value after index was applied.
func (m *model) at(key string, index uint64) string {
	value := ""
	for _, h := range m.cell(key).history {
		if h.index > index {
			break
		}
		value = h.value
	}
	return value
}

// run gives the result of a command at index; "" means that it broke a rule.
func (m *model) run(index uint64, c kv.Command) kv.Result {
	if c.Op == kv.OpOpenSession {
		m.sessions[index] = map[uint32]call{}
		return kv.Result{Session: index, Revision: m.revision}
	}
	if c.Session.ID != 0 {
		last := m.sessions[c.Session.ID][c.Session.Lane]
		if c.Session.Seq == last.seq {
			r := last.result
			r.Replayed = true
			return r
		}
		if c.Session.Seq < last.seq {
			return kv.Result{Status: kv.StatusStale, Revision: m.revision}
		}
	}
	r := m.change(index, c)
	if c.Session.ID != 0 {
		m.sessions[c.Session.ID][c.Session.Lane] = call{c.Session.Seq, r}
	}
	return r
}

func (m *model) change(index uint64, c kv.Command) kv.Result {
	k := m.cell(string(c.Key))
	created := !k.exists
	switch c.Op {
	case kv.OpDelete:
		if !k.exists {
			return kv.Result{Revision: m.revision}
		}
		*k = cell{history: k.history}
	case kv.OpPut:
		k.value = string(c.Value)
	case kv.OpAppend:
		k.value += string(c.Value)
	}
	m.revision++
	r := kv.Result{Revision: m.revision}
	if c.Op == kv.OpDelete {
		r.Deleted = true
	} else {
		k.exists = true
		k.version++
		r.Version, r.Length, r.Created = k.version, uint64(len(k.value)), created
		m.tokens[string(c.Value)] = index
	}
	k.history = append(k.history, moment{index, k.value})
	return r
}

// applied: every server applies the same entries in the same order, gets the
// result that the model gets, and stands in the same state at the same index.
func (o *oracles) applied(s *server, e core.Entry, result kv.Result) {
	m := o.model
	if e.Index > m.applied+1 {
		o.w.fail("%s applied %d, but nobody applied %d", s.id, e.Index, m.applied+1)
	}
	if e.Index == m.applied+1 {
		m.applied++
		m.entries = append(m.entries, e)
		m.results = append(m.results, o.expected(s, e))
	}
	if !sameEntry(m.entries[e.Index-1], e) {
		o.w.fail("%s applied another entry at %d than others did", s.id, e.Index)
	}
	want, got := m.results[e.Index-1], result
	got.ID = kv.RequestID{}
	if !sameResult(got, want) {
		o.w.fail("%s got %+v at %d, the model %+v", s.id, got, e.Index, want)
	}
	if got.Replayed {
		o.w.counts.Replays++
	}
	if e.Index%32 == 0 {
		hash := s.store.Hash()
		if other, known := o.hashes[e.Index]; known && other != hash {
			o.w.fail("%s is in another state at index %d than others were", s.id, e.Index)
		}
		o.hashes[e.Index] = hash
	}
}

// restored: a snapshot is the state that everybody else had at its index.
func (o *oracles) restored(s *server) {
	index := s.store.AppliedIndex()
	if index > o.model.applied {
		o.w.fail("%s was restored to %d, but nobody applied %d", s.id, index, o.model.applied+1)
	}
	hash := s.store.Hash()
	if other, known := o.hashes[index]; known && other != hash {
		o.w.fail("%s was restored to another state at index %d than others had", s.id, index)
	}
	o.hashes[index] = hash
}

// expected runs an entry that is applied for the first time through the model.
func (o *oracles) expected(s *server, e core.Entry) kv.Result {
	if e.Kind != core.KindCommand {
		return kv.Result{}
	}
	c, err := kv.DecodeCommand(e.Data)
	if err != nil {
		o.w.fail("%s applied something at %d that nobody proposed: %v", s.id, e.Index, err)
	}
	if o.refusedID[c.ID] {
		o.w.fail("%s applied %v of %q at %d, which had been refused", s.id, c.Op, c.Value, e.Index)
	}
	if at, twice := o.model.tokens[string(c.Value)]; twice && c.Session.ID == 0 && len(c.Value) > 0 {
		o.w.fail("%q was applied at %d and again at %d", c.Value, at, e.Index)
	}
	return o.model.run(e.Index, c)
}

func sameResult(a, b kv.Result) bool {
	return a.Status == b.Status && a.Revision == b.Revision && a.Version == b.Version && a.Length == b.Length &&
		a.Created == b.Created && a.Deleted == b.Deleted && a.Replayed == b.Replayed && a.Session == b.Session
}
