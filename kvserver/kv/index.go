package kv

// index finds the row of a key by the key's hash. Only the live table has one, and
// nothing walks over it.
//
// It keeps 32 bits of the hash: a million keys take about 20 MB, which hold no
// pointer for the collector to follow. A million keys have about 116 pairs whose
// bits are equal. The index counts such keys together, and the table finds them
// in its tree. A client that chooses colliding keys on purpose gains only that
// its own requests cost a search.
type index struct {
	keys  int // that are in the table
	slots map[uint32]uint32
}

// shared marks an entry that stands for more than one key: its other bits
// count them. Once shared, an entry stays so until the last of them is gone.
const shared = 1 << 31

// newIndex returns an index with room for this number of keys.
func newIndex(keys int) *index { return &index{slots: make(map[uint32]uint32, keys)} }

// indexed returns the part of a key's hash that the index looks at.
func indexed(hash uint64) uint32 { return uint32(hash >> 32) }

// find returns the number of the row that a key with this hash has, if there is
// such a key. If several keys share the entry it only reports that.
func (x *index) find(hash uint64) (at uint32, found, several bool) {
	at, found = x.slots[indexed(hash)]
	return at, found, at&shared != 0
}

// add adds a key that the table did not have.
func (x *index) add(hash uint64, at uint32) {
	x.keys++
	slot, taken := x.slots[indexed(hash)]
	switch {
	case !taken:
		slot = at
	case slot&shared == 0:
		slot = shared | 2
	default:
		slot++
	}
	x.slots[indexed(hash)] = slot
}

// move notes that a key has another row now.
func (x *index) move(hash uint64, at uint32) {
	if x.slots[indexed(hash)]&shared == 0 {
		x.slots[indexed(hash)] = at
	}
}

// remove removes a key that the table had.
func (x *index) remove(hash uint64) {
	x.keys--
	slot := x.slots[indexed(hash)]
	if slot&shared == 0 || slot == shared|1 {
		delete(x.slots, indexed(hash))
	} else {
		x.slots[indexed(hash)] = slot - 1
	}
}
