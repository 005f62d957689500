package explore

import "math/bits"

// Key is the hash of a world's canonical form.
type Key [2]uint64

// Less orders keys, so that the least of several forms of a world can stand for all.
func (k Key) Less(other Key) bool {
	return k[0] < other[0] || k[0] == other[0] && k[1] < other[1]
}

// Plus returns the sum of two keys: the key of a collection without an order.
func (k Key) Plus(other Key) Key { return Key{k[0] + other[0], k[1] + other[1]} }

// Hash makes a Key of numbers, in their order. The zero Hash is ready, and its seed
// is fixed. It mixes as MurmurHash3 does, in its variant of 128 bits.
type Hash struct{ a, b uint64 }

const (
	mixA = 0x87c37b91114253d5
	mixB = 0x4cf5ad432745937f
)

// Add appends a number.
func (h *Hash) Add(x uint64) {
	h.a ^= bits.RotateLeft64(x*mixA, 31) * mixB
	h.a = (bits.RotateLeft64(h.a, 27)+h.b)*5 + 0x52dce729
	h.b ^= bits.RotateLeft64(x*mixB, 33) * mixA
	h.b = (bits.RotateLeft64(h.b, 31)+h.a)*5 + 0x38495ab5
}

// AddKey appends a key.
func (h *Hash) AddKey(k Key) {
	h.Add(k[0])
	h.Add(k[1])
}

// AddInt appends a number that may be below 0.
func (h *Hash) AddInt(x int) { h.Add(uint64(x)) }

// AddBool appends a yes or no.
func (h *Hash) AddBool(yes bool) {
	if yes {
		h.Add(1)
	} else {
		h.Add(0)
	}
}

// Sum returns the key of all that was added.
func (h *Hash) Sum() Key {
	a, b := h.a, h.b
	a += b
	b += a
	a, b = avalanche(a), avalanche(b)
	a += b
	return Key{a, b + a}
}

func avalanche(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// seen is a set of keys: an open table, at most three quarters full.
type seen struct {
	slots []Key // the zero Key is an empty slot
	count int
}

// add puts a key into the set and reports whether it was not there.
func (s *seen) add(k Key) bool {
	if k == (Key{}) {
		k = Key{^uint64(0), ^uint64(0)}
	}
	if 4*(s.count+1) > 3*len(s.slots) {
		s.grow()
	}
	i := s.find(k)
	if s.slots[i] != (Key{}) {
		return false
	}
	s.slots[i] = k
	s.count++
	return true
}

// find returns the slot that holds a key, or the empty one in which it belongs.
func (s *seen) find(k Key) uint64 {
	mask := uint64(len(s.slots) - 1)
	i := k[0] & mask
	for s.slots[i] != k && s.slots[i] != (Key{}) {
		i = (i + 1) & mask
	}
	return i
}

func (s *seen) grow() {
	old := s.slots
	s.slots = make([]Key, max(1<<10, 2*len(old)))
	for _, k := range old {
		if k != (Key{}) {
			s.slots[s.find(k)] = k
		}
	}
}
