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
	index  uint64
	digest kv.Digest
}

// note takes down the digest of a store that has come to a new index, if it is
// one of those at which this is done.
func (m *marks) note(store *kv.Store) {
	index := store.AppliedIndex()
	if index%markEvery != 0 {
		return
	}
	m.slots[slotOf(index)] = mark{index, store.Digest()}
	m.newest = index
}

func slotOf(index uint64) uint64 { return index / markEvery % marksKept }

// at returns the digest that the store had at an index, if that was noted and
// is still there.
func (m *marks) at(index uint64) (kv.Digest, bool) {
	kept := m.slots[slotOf(index)]
	return kept.digest, index != 0 && kept.index == index
}

// DigestAt returns the digest of this node's state at an index: the present one
// or one that was noted.
func (m *Machine) DigestAt(index uint64) (digest kv.Digest, known bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if index == m.store.AppliedIndex() {
		return m.store.Digest(), true
	}
	return m.marks.at(index)
}

// MarksProgress returns how far the store has come and the last index at
// which its digest was noted, 0 if there is none.
func (m *Machine) MarksProgress() (applied, newest uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.store.AppliedIndex(), m.marks.newest
}
