package machine

import "raftkv/kvserver/kv"

const (
	// markEvery is the distance, in the log, of the indices at which every node
	// notes the digest of its store.
	markEvery = 256
	// marksKept is how many are kept: as many as a million entries have, so that
	// nodes which look some seconds later find a common one.
	marksKept = 4096
)

// marks are the digests of a store at the multiples of markEvery that it passed
// last.
type marks struct {
	slots  [marksKept]mark
	newest uint64 // index; 0: none
}

type mark struct {
	index   uint64
	digest  kv.Digest
	version int // of the digest
}

// note takes down the digest of a store that has come to a new index, if it is
// one of those at which this is done.
func (m *marks) note(store *kv.Store) {
	index := store.AppliedIndex()
	if index%markEvery != 0 {
		return
	}
	m.slots[slotOf(index)] = mark{index, store.Digest(), store.DigestVersion()}
	m.newest = index
}

func slotOf(index uint64) uint64 { return index / markEvery % marksKept }

// at returns what was noted of an index, if it was and is still there.
func (m *marks) at(index uint64) (mark, bool) {
	kept := m.slots[slotOf(index)]
	return kept, index != 0 && kept.index == index
}

// DigestAt returns the digest of this node's state at an index: the present one
// or one that was noted. The version of the digest follows from the level there; of a
// digest that is not known it is that of the present one.
func (m *Machine) DigestAt(index uint64) (digest kv.Digest, version int, known bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index == m.store.AppliedIndex() {
		return m.store.Digest(), m.store.DigestVersion(), true
	}
	if noted, known := m.marks.at(index); known {
		return noted.digest, noted.version, true
	}
	return 0, m.store.DigestVersion(), false
}

// MarksProgress returns how far the store has come and the last index at
// which its digest was noted, 0 if there is none.
func (m *Machine) MarksProgress() (applied, newest uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.store.AppliedIndex(), m.marks.newest
}
