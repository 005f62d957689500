package machine

import (
	"context"
	"errors"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/lease"
	"raftkv/kvserver/past"
	"raftkv/kvserver/txn"
)

// Reading is what a read of one key saw.
type Reading struct {
	Item     kv.Item
	Found    bool
	Revision uint64 // of the store
	// Lease is what the key is tied to, 0 for none. Ends says that the key ends, by
	// itself or with that; Remaining is after how many milliseconds at least. Of the past
	// Lease alone is known.
	Lease     int64
	Ends      bool
	Remaining uint64
}

// Get reads a key as this node has it. The value is the store's own and never
// changes.
func (m *Machine) Get(key string) Reading {
	m.mu.RLock()
	defer m.mu.RUnlock()
	item, found := m.store.Get([]byte(key))
	r := Reading{Item: item, Found: found, Revision: m.store.Revision()}
	if tie := m.store.TieOf(key); tie != (lease.Tie{}) {
		table := m.store.Leases()
		r.Lease, r.Ends, r.Remaining = tie.Lease, true, table.Remaining(table.Deadline(tie))
	}
	return r
}

// GetAt reads a key as it was at a revision, which this node has come to. The error is
// of kind failure.RevisionGone.
func (m *Machine) GetAt(key string, revision uint64) (Reading, error) {
	m.mu.RLock()
	history := m.store.History()
	var now past.Key
	now.Item, now.Lease, now.Found = m.store.GetTied([]byte(key))
	m.mu.RUnlock()
	if err := reaches(&history, revision); err != nil {
		return Reading{}, err
	}
	// Nothing is locked: the history was copied, and what it holds never changes.
	was := past.Get(&history, key, now, revision)
	return Reading{Item: was.Item, Found: was.Found, Lease: was.Lease, Revision: revision}, nil
}

// FreezeAt returns the store as it was at a revision, like GetAt.
func (m *Machine) FreezeAt(revision uint64) (*past.View, error) {
	view := m.Freeze()
	history := view.History()
	if err := reaches(&history, revision); err != nil {
		return nil, err
	}
	return past.At(view, revision), nil
}

func reaches(h *kv.History, revision uint64) error {
	if h.Reaches(revision) {
		return nil
	}
	return failure.PastGone(revision, h.Oldest(), h.Revision())
}

// Lookup is one key to be read by GetAll, and what was read.
type Lookup struct {
	Key   []byte
	Item  kv.Item
	Lease int64 // to which the key is tied; 0: none
	Found bool
}

// GetAll reads keys as they are at one moment, and returns the store's revision
// then.
func (m *Machine) GetAll(lookups []Lookup) (revision uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i := range lookups {
		l := &lookups[i]
		l.Item, l.Lease, l.Found = m.store.GetTied(l.Key)
	}
	return m.store.Revision()
}

// ReadTxn serves a transaction without writes, at one moment; see kv.View.Read.
func (m *Machine) ReadTxn(t *txn.Txn, guard kv.Guard, results uint64) kv.Result {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.store.Keeps(guard) {
		return kv.Result{Status: kv.StatusLockLost, Revision: m.store.Revision()}
	}
	return m.store.Read(t, results)
}

// Freeze returns the state as it is now. It does not change any more, and keeps
// alive what later writes replace.
func (m *Machine) Freeze() *kv.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.Freeze()
}

// State describes a store at one moment.
type State struct {
	Applied            uint64 // index in the log
	Revision           uint64
	Keys               int
	Bytes              int    // of keys and values
	Quota              uint64 // of bytes; 0: no limit
	Sessions           int
	IdempotencyRecords int
	HistoryBytes       uint64 // that the history is charged with
	HistoryEvents      int
	Leases             int
	LocksHeld          int // holders of all locks
	LocksWaiting       int
	Ties               int    // keys that have an end
	LeaseTime          uint64 // milliseconds
	// LeasesExpired and LeasesRevoked count the leases that ended here since the store was
	// made or loaded; Ticks are those that this node proposed.
	LeasesExpired, LeasesRevoked, Ticks uint64
}

// Describe describes the store as it is now.
func (m *Machine) Describe() State {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return State{
		Applied: m.store.AppliedIndex(), Revision: m.store.Revision(),
		Keys: m.store.Len(), Bytes: m.store.Bytes(), Quota: m.quota(),
		Sessions: m.store.Sessions(), IdempotencyRecords: m.store.IdempotencyRecords(),
		HistoryBytes: m.store.HistoryBytes(), HistoryEvents: m.store.HistoryEvents(),
		LocksHeld: m.store.Locks().Held(), LocksWaiting: m.store.Locks().Waiting(),
		Leases: m.store.Leases().Len(), Ties: m.store.Leases().Ties(), LeaseTime: m.store.LeaseTime(),
		LeasesExpired: m.store.Leases().Expired, LeasesRevoked: m.store.Leases().Revoked, Ticks: m.ticked.Load(),
	}
}

// SessionsOf returns how many sessions of Clerks belong to an identity.
func (m *Machine) SessionsOf(identity uint64) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.store.SessionsOf(identity)
}

// Auth returns the table of identities as far as this node has applied the log. It is
// nil if nobody has set anything, and never changes.
func (m *Machine) Auth() *auth.Table { return m.auth.Load() }

// Revision returns the store's revision: how many writes have changed it, as far
// as this node has applied them.
func (m *Machine) Revision() uint64 { return m.revision.at() }

// ApplyLag returns how many committed entries this node has not applied yet.
func (m *Machine) ApplyLag() uint64 {
	commit := m.consensus.Status().CommitIndex
	return commit - min(commit, m.applied.at())
}

// AwaitApplied waits until the store has everything up to an index of the log.
// Its errors are failure.Stopping and, when ctx ends first, failure.Behind.
func (m *Machine) AwaitApplied(ctx context.Context, index uint64) error {
	err := m.applied.wait(ctx, index)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, failure.Stopping):
		return failure.NodeStopping(err)
	}
	return failure.Of(failure.Behind, err, "this node has not applied index %d of the log yet", index)
}

// HasRevision reports whether the store has come to a revision.
func (m *Machine) HasRevision(revision uint64) bool { return m.revision.reached(revision) == nil }

// AwaitRevision waits until the store has come to a revision. Its errors are those
// of AwaitApplied.
func (m *Machine) AwaitRevision(ctx context.Context, revision uint64) error {
	err := m.revision.wait(ctx, revision)
	switch {
	case err == nil:
		return nil
	case m.Stopping():
		return failure.NodeStopping(err)
	}
	return failure.Of(failure.Behind, err, "this node has come to revision %d and not to %d", m.revision.at(), revision)
}
