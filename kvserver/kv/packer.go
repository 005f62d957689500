package kv

import "fmt"

// packer fills an empty live table with items that come in order of their keys.
// A row is made for each, and none is searched for. The index comes last: to grow it
// along the way would cost as much as the items.
//
// A tree that is simply filled in order keeps all its nodes half full: a full
// node is split in the middle, and later items go to the right of that. The
// packer leaves out every other item at first. It inserts the item when the node
// there has been split off and has room. Nodes end up nearly full, which saves a
// third of the tree's memory. Only that saving depends on how the tree splits
// its nodes; the content does not.
type packer struct {
	table *table
	last  string // key
	count int
	// late are keys that were left out, in order: of the group before this one
	// up to mark, then of this one.
	late []lateKey
	mark int
}

type lateKey struct {
	key string
	row uint32
}

const (
	// packedFirst is the number of items of a group that go into the tree at once:
	// the items of a node that was split off, and the one that separates it from
	// the next.
	packedFirst = 32
	// packedLate is the number of items of a group that go in later. If nodes were
	// completely full, the first item that is new to them would split them.
	packedLate = 25
)

// add adds the next item. It panics at a key that is not greater than the one before
// it, because two rows would have one key; "" is no key.
func (p *packer) add(key string, item Item) {
	if key <= p.last { // assert would allocate its arguments for each item
		panic(fmt.Sprintf("kv: the key %q cannot be loaded behind %q", key, p.last))
	}
	p.last = key
	row := p.table.push(key, item)
	position := p.count % (packedFirst + packedLate)
	p.count++
	if position < 2*packedLate && position%2 == 1 {
		p.late = append(p.late, lateKey{key, row})
		return
	}
	p.table.order.Load(key, row)
	if position == packedFirst+packedLate-1 {
		p.insert(p.mark)
		p.mark = len(p.late)
	}
}

// insert puts the first n of the late keys into the tree.
func (p *packer) insert(n int) {
	for _, l := range p.late[:n] {
		p.table.order.Set(l.key, l.row)
	}
	rest := copy(p.late, p.late[n:])
	clear(p.late[rest:])
	p.late = p.late[:rest]
}

// finish inserts the keys that were left out, makes the index, whose size is known
// now, and checks that no key is missing.
func (p *packer) finish() {
	p.insert(len(p.late))
	p.table.index = newIndex(p.table.len())
	p.table.rows.scan(func(at uint32, r *row) { p.table.index.add(keyHash(r.key), at) })
	p.table.check()
}
