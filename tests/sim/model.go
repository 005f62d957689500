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
	return &model{cells: map[string]*cell{}, sessions: map[uint64]map[uint32]call{}, tokens: map[string]uint64{}}
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
	switch {
	case c.Op == kv.OpGet && !k.exists:
		return kv.Result{Status: kv.StatusNotFound, Revision: m.revision}
	case c.Op == kv.OpGet:
		return kv.Result{Revision: k.revision, Version: k.version, Length: uint64(len(k.value)), Value: []byte(k.value)}
	case c.Op == kv.OpDelete && !k.exists:
		return kv.Result{Revision: m.revision}
	case c.Conditional && c.IfVersion != k.version && !k.exists:
		return kv.Result{Status: kv.StatusNotFound, Revision: m.revision}
	case c.Conditional && c.IfVersion != k.version:
		return kv.Result{Status: kv.StatusWrongVersion, Revision: m.revision, Version: k.version}
	}
	m.revision++
	next := moment{index: index, exists: true, value: string(c.Value), version: k.version + 1, revision: m.revision}
	r := kv.Result{Revision: m.revision, Created: !k.exists}
	switch c.Op {
	case kv.OpAppend:
		next.value = k.value + next.value
	case kv.OpDelete:
		next = moment{index: index}
		r = kv.Result{Revision: m.revision, Deleted: true}
	}
	r.Version, r.Length = next.version, uint64(len(next.value))
	if c.Op != kv.OpDelete {
		m.tokens[string(c.Value)] = index
	}
	k.moment = next
	k.history = append(k.history, next)
	return r
}

func sameResult(a, b kv.Result) bool {
	return a.Status == b.Status && a.Revision == b.Revision && a.Version == b.Version && a.Length == b.Length &&
		a.Created == b.Created && a.Deleted == b.Deleted && a.Replayed == b.Replayed && a.Session == b.Session &&
		string(a.Value) == string(b.Value)
}
