package kv

import "github.com/tidwall/btree"

// packer fills a tree with items that come in order of their keys.
//
// A tree that is simply filled in order keeps all its nodes half full: a full
// node is split in the middle, and what comes goes to the right of that. The
// packer leaves out every other item at first, and puts it in its place when
// the node there has been split off and has room: nodes end up nearly full,
// which saves a sixth of the memory that the store takes. Only that depends on how the
// tree splits its nodes, the content does not.
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
	// packedFirst is how many items of a group go into the tree at once: as many
	// as are in a node that was split off, and the one that parts it from the
	// next.
	packedFirst = 32
	// packedLate is how many of a group go in later. Nodes that are quite full
	// would be split by the first item that is new to them.
	packedLate = 25
)

func (p *packer) add(key string, item Item) {
	place := p.count % (packedFirst + packedLate)
	p.count++
	if place < 2*packedLate && place%2 == 1 {
		p.late = append(p.late, lateItem{key, item})
		return
	}
	p.tree.Load(key, item)
	if place == packedFirst+packedLate-1 {
		p.insert(p.mark)
		p.mark = len(p.late)
	}
}

// insert puts the first n of the late items in their places.
func (p *packer) insert(n int) {
	for _, l := range p.late[:n] {
		p.tree.Set(l.key, l.item)
	}
	rest := copy(p.late, p.late[n:])
	clear(p.late[rest:])
	p.late = p.late[:rest]
}

// finish puts in what was left out.
func (p *packer) finish() { p.insert(len(p.late)) }
