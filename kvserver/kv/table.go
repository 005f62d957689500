package kv

import (
	"fmt"

	"github.com/tidwall/btree"
)

// maxKeys is the number of keys that a table can hold.
const maxKeys = shared - 1

// table holds the items in rows. A tree knows the order of the keys and the row of
// each; it changes only when a key is created or deleted. The live table also has
// an index by hash. With it, a change of an item costs some five cache misses. A
// search of the tree costs some forty among a million keys, because each
// comparison reads a key that lies somewhere else.
//
// A frozen table has no index and is read through its tree.
type table struct {
	order *btree.Map[string, uint32] // a key's row
	rows  rows
	index *index // nil: the table is frozen
}

func newTable() table {
	return table{order: btree.NewMap[string, uint32](0), index: newIndex(0)}
}

// freeze returns a copy that only reads. Its cost does not depend on the size of
// the table.
func (t *table) freeze() table {
	t.check()
	return table{order: t.order.Copy(), rows: t.rows.freeze()}
}

// check panics if the parts of a live table do not have the same number of keys.
func (t *table) check() {
	assert(t.index != nil, "kv: a frozen table of %d keys is used as the live one", t.rows.count)
	assert(t.order.Len() == t.rows.count && t.index.keys == t.rows.count,
		"kv: %d rows, but %d keys in order and %d in the index", t.rows.count, t.order.Len(), t.index.keys)
}

func (t *table) len() int { return t.rows.count }

// find returns the number of the key's row; hash is the key's.
func (t *table) find(key []byte, hash uint64) (at uint32, found bool) {
	several := true
	if t.index != nil {
		at, found, several = t.index.find(hash)
	}
	if several {
		return t.order.Get(string(key))
	}
	return at, found && t.rows.at(at).key == string(key)
}

// get returns the item under the key.
func (t *table) get(key []byte) (Item, bool) {
	at, found := t.find(key, keyHash(key))
	if !found {
		return Item{}, false
	}
	return t.rows.at(at).Item, true
}

// replace puts an item in the place of the one in a row.
func (t *table) replace(at uint32, item Item) { t.rows.edit(at).Item = item }

// insert adds a key that the table does not have, and returns the number of its row.
func (t *table) insert(key string, hash uint64, item Item) (row uint32) {
	at := t.push(key, item)
	t.index.add(hash, at)
	t.order.Set(key, at)
	return at
}

// push gives a new key its row, and returns the number of that.
func (t *table) push(key string, item Item) uint32 {
	if t.rows.count >= maxKeys {
		panic(fmt.Sprintf("kv: the store has %d keys and can hold no more", t.rows.count))
	}
	return t.rows.push(row{key, item})
}

// remove removes a key with its row. The last row takes the place of that one, so
// that rows have no gaps, however many keys come and go.
func (t *table) remove(at uint32, hash uint64) {
	t.order.Delete(t.rows.at(at).key)
	t.index.remove(hash)
	if last := uint32(t.rows.count - 1); at != last {
		moved := *t.rows.at(last)
		*t.rows.edit(at) = moved
		t.order.Set(moved.key, at)
		t.index.move(keyHash(moved.key), at)
	}
	t.rows.pop()
}

// scan calls fn for all keys in the order of their bytes, until fn returns false.
func (t *table) scan(fn func(key string, item Item) bool) {
	t.order.Scan(func(key string, at uint32) bool { return fn(key, t.rows.at(at).Item) })
}

// ascend is scan from the first key that is not less than this one.
func (t *table) ascend(from string, fn func(key string, item Item) bool) {
	t.order.Ascend(from, func(key string, at uint32) bool { return fn(key, t.rows.at(at).Item) })
}

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
