package kv

import "slices"

const (
	// pageRows is the number of rows of a page: 2.25 KiB, which is what the first
	// change after a freeze copies.
	pageRows = 32
	// chunkPages is the number of pages of a chunk.
	chunkPages = 64
	chunkRows  = pageRows * chunkPages
)

// row is a key and its item: 72 bytes.
type row struct {
	key string
	Item
}

type page [pageRows]row

// chunk is a list of pages and when each was made, as the number of freezes
// before that.
type chunk struct {
	freezes uint64 // when the chunk itself was made
	made    [chunkPages]uint64
	pages   [chunkPages]*page
}

// rows is a list of rows, numbered from 0 without gaps, that can be frozen at no
// cost: a copy shares all pages, and the original copies a page before it
// changes the first row of it.
type rows struct {
	count   int
	freezes uint64 // how many copies were made; what is older is shared with one
	listed  uint64 // when the list of chunks was made
	chunks  []*chunk
}

// freeze returns a copy, which must not be changed. Later changes of r do not
// show in it.
func (r *rows) freeze() rows {
	frozen := *r
	r.freezes++
	return frozen
}

// at returns row i for reading. It must not be used after the next change.
func (r *rows) at(i uint32) *row {
	return &r.chunks[i/chunkRows].pages[i/pageRows%chunkPages][i%pageRows]
}

// edit returns row i for changing.
func (r *rows) edit(i uint32) *row {
	c, n := r.chunkFor(i), i/pageRows%chunkPages
	if c.made[n] != r.freezes {
		copied := *c.pages[n]
		c.pages[n], c.made[n] = &copied, r.freezes
	}
	return &c.pages[n][i%pageRows]
}

// chunkFor returns the chunk of row i, which no frozen copy shares any more.
func (r *rows) chunkFor(i uint32) *chunk {
	r.ownList()
	c := r.chunks[i/chunkRows]
	if c.freezes != r.freezes {
		copied := *c
		copied.freezes = r.freezes
		c = &copied
		r.chunks[i/chunkRows] = c
	}
	return c
}

func (r *rows) ownList() {
	if r.listed != r.freezes {
		r.chunks, r.listed = slices.Clone(r.chunks), r.freezes
	}
}

// push adds a row at the end and returns its number.
func (r *rows) push(new row) uint32 {
	i := uint32(r.count)
	if i%chunkRows == 0 {
		r.ownList()
		r.chunks = append(r.chunks, &chunk{freezes: r.freezes})
	}
	if i%pageRows == 0 {
		c, n := r.chunkFor(i), i/pageRows%chunkPages
		c.pages[n], c.made[n] = &page{}, r.freezes
	}
	r.count++
	*r.edit(i) = new
	return i
}

// pop removes the last row.
func (r *rows) pop() {
	r.count--
	i := uint32(r.count)
	*r.edit(i) = row{} // its key and value must not live on
	if i%pageRows == 0 {
		r.chunkFor(i).pages[i/pageRows%chunkPages] = nil
	}
	if i%chunkRows == 0 {
		last := len(r.chunks) - 1
		r.chunks[last] = nil
		r.chunks = r.chunks[:last]
	}
}

// scan calls fn for all rows in the order of their numbers.
func (r *rows) scan(fn func(at uint32, r *row)) {
	for i := range uint32(r.count) {
		fn(i, r.at(i))
	}
}
