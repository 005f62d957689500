package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Each calls job once for every number from 0 to n-1 and returns when all calls have
// ended. It may run them at the same time: they do not depend on each other.
type Each func(n int, job func(i int))

// inTurn is the Each that runs one job after the other.
func inTurn(n int, job func(i int)) {
	for i := range n {
		job(i)
	}
}

const (
	// itemsWindow is how much of the items is decoded at a time: some 900 of 256 bytes.
	itemsWindow = 256 << 10
	// itemsPerJob is how many items one job makes, in about 50 microseconds.
	itemsPerJob = 128
)

// itemLoader loads the section of the items. It takes a window of bytes, finds the
// items that lie in it as a whole, lets jobs make them, and puts them into the store
// in order. Everything else is read slowly, number by number: an item that is longer
// than the window, and one that is wrong, so that one place says what is wrong.
type itemLoader struct {
	store   *Store
	created bool // the items say when their keys were created
	load    packer
	last    string // key
	found   []foundItem
	made    []madeItem
}

// foundItem is an item inside of the window.
type foundItem struct {
	key, value                 []byte
	revision, version, created uint64
}

// madeItem is an item as the store keeps it.
type madeItem struct {
	key  string
	item Item
	hash uint64
}

func (d *snapshotReader) items(s *Store)        { d.loadItems(s, false) }
func (d *snapshotReader) createdItems(s *Store) { d.loadItems(s, true) }

func (d *snapshotReader) loadItems(s *Store, created bool) {
	l := &itemLoader{store: s, created: created, load: packer{table: &s.items}}
	defer l.load.finish()
	for d.more() {
		if l.loadWindow(d) {
			continue
		}
		f := foundItem{
			key: d.bytes("key", 1, MaxKeyBytes), value: d.bytes("value", 0, MaxValueBytes),
			revision: d.number(), version: d.number(),
		}
		if created {
			f.created = d.number()
		}
		if d.err != nil {
			return
		}
		l.add(d, madeItem{string(f.key), f.item(f.value), 0}.hashed())
	}
}

// loadWindow loads the items at the beginning of the next window. It reports false,
// and has read nothing, if there is none.
func (l *itemLoader) loadWindow(d *snapshotReader) bool {
	window, _ := d.from.Peek(int(min(d.left, int64(d.from.Size())))) // the error comes again
	used := l.find(window)
	if used == 0 {
		return false
	}
	l.made = append(l.made[:0], make([]madeItem, len(l.found))...)
	d.each((len(l.found)+itemsPerJob-1)/itemsPerJob, l.make)
	d.skip(used)
	for i := range l.made {
		l.add(d, l.made[i])
	}
	return true
}

// find finds the whole items at the beginning of the window and returns their length.
func (l *itemLoader) find(window []byte) (used int) {
	l.found = l.found[:0]
	rest := cursor{window}
	for {
		var f foundItem
		ok := rest.bytes(&f.key, 1, MaxKeyBytes) && rest.bytes(&f.value, 0, MaxValueBytes) &&
			rest.number(&f.revision) && rest.number(&f.version) && (!l.created || rest.number(&f.created))
		if !ok {
			return used
		}
		l.found = append(l.found, f)
		used = len(window) - len(rest.b)
	}
}

// make is a job: it makes itemsPerJob of the items that were found. The window is
// used again, so keys and values are copied.
func (l *itemLoader) make(job int) {
	first := job * itemsPerJob
	for i := first; i < min(first+itemsPerJob, len(l.found)); i++ {
		f := &l.found[i]
		l.made[i] = madeItem{string(f.key), f.item(bytes.Clone(f.value)), 0}.hashed()
	}
}

// item returns the item with this value.
func (f *foundItem) item(value []byte) Item {
	return Item{Value: value, Revision: f.revision, Version: f.version, Created: f.created, checksum: checksumOf(0, value)}
}

func (m madeItem) hashed() madeItem {
	m.hash = m.item.hash(keyHash(m.key))
	return m
}

// add puts the next item into the store, unless it cannot be the next.
func (l *itemLoader) add(d *snapshotReader, m madeItem) {
	if d.err != nil {
		return
	}
	if m.key <= l.last || m.item.Version == 0 || m.item.Revision > l.store.revision || m.item.Created > m.item.Revision {
		d.bad("an item that cannot stand where it stands")
		return
	}
	l.last = m.key
	l.load.add(m.key, m.item)
	l.store.state.bytes += len(m.key) + len(m.item.Value)
	l.store.sum += m.hash
}

// cursor reads from the front of a window. Its methods report false at what is not
// whole or not in its shortest form.
type cursor struct{ b []byte }

func (c *cursor) number(n *uint64) bool {
	v, length := binary.Uvarint(c.b)
	if length <= 0 || length > 1 && c.b[length-1] == 0 {
		return false
	}
	*n, c.b = v, c.b[length:]
	return true
}

func (c *cursor) bytes(b *[]byte, minLength, maxLength uint64) bool {
	var n uint64
	if !c.number(&n) || n < minLength || n > maxLength || n > uint64(len(c.b)) {
		return false
	}
	*b, c.b = c.b[:n], c.b[n:]
	return true
}

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
