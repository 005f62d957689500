package kv

import "github.com/tidwall/btree"

// packer fills a tree with items that come in order of their keys.
//
// A tree that is simply filled in order keeps all its nodes half full: a full
// node is split in the middle, and later items go to the right of that. The
// packer leaves out every other item at first. It inserts the item when the node
// there has been split off and has room. Nodes end up nearly full, which saves a
// sixth of the store's memory. Only that saving depends on how the tree splits
// its nodes; the content does not.
type packer struct {
	tree  *btree.Map[string, Item]
	count int
	// late are items that were left out, in order: of the group before this one
	// up to mark, then of this one.
	late []lateItem
	mark int
}

type lateItem struct {
	key  string
	item Item
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

func (p *packer) add(key string, item Item) {
	position := p.count % (packedFirst + packedLate)
	p.count++
	if position < 2*packedLate && position%2 == 1 {
		p.late = append(p.late, lateItem{key, item})
		return
	}
	p.tree.Load(key, item)
	if position == packedFirst+packedLate-1 {
		p.insert(p.mark)
		p.mark = len(p.late)
	}
}

// insert puts the first n of the late items into the tree.
func (p *packer) insert(n int) {
	for _, l := range p.late[:n] {
		p.tree.Set(l.key, l.item)
	}
	rest := copy(p.late, p.late[n:])
	clear(p.late[rest:])
	p.late = p.late[:rest]
}

// finish inserts the items that were left out.
func (p *packer) finish() { p.insert(len(p.late)) }
