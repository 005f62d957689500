package core

import (
	"fmt"
	"slices"
)

// log holds in memory the entries that may still be needed: those since the last
// snapshot or, where Config bounds what is held, the end of them; see forget.go.
// Entries are never changed in place and a slice handed out is clipped, so its
// receiver may keep it and read it at any time.
type log struct {
	snapshot Snapshot // the newest: what the disk begins with, and a follower far behind is sent
	base     position // what comes before the first entry
	entries  []Entry  // entries[i] has index base.Index+1+i
	size     int      // of the entries, in bytes
	// sums holds, for every index in memory that is a multiple of sumEvery, the size of the
	// entries up to it. With them the size of any part of a long log takes a look at no more
	// than 2*sumEvery entries, and an append pays an eighth of a byte for that.
	sums   []int
	uid    UID     // that the log holds, committed or not; zero if none
	uidAt  uint64  // index of the entry that brought it, or of a snapshot that carries it
	static edition // the configuration before the first record
	// editions are the configurations that the log holds, ascending. The first is that
	// at or below the newest snapshot, the last is in force (configuration.go).
	editions []edition
}

// sumEvery is the distance of the entries up to which the log knows its size.
const sumEvery = 64

// position is one entry's position in the log.
type position struct{ Index, Term uint64 }

// newLog returns the log of a snapshot and the entries behind it. The entries belong
// to the log from now on.
func newLog(static edition, snapshot Snapshot, entries []Entry) log {
	l := log{snapshot: snapshot, base: position{snapshot.Index, snapshot.Term}, entries: slices.Clip(entries)}
	l.uid, l.uidAt = snapshot.UID, snapshot.Index
	l.begin(static)
	last := l.base
	for i := range entries {
		e := &entries[i]
		if e.Index != last.Index+1 || e.Term < last.Term {
			broken("entry %d of term %d follows %d of term %d", e.Index, e.Term, last.Index, last.Term)
		}
		last = position{e.Index, e.Term}
		l.noteUID(e)
		l.noteConfiguration(e)
		l.count(e)
	}
	return l
}

func (l *log) firstIndex() uint64 { return l.base.Index + 1 }
func (l *log) lastIndex() uint64  { return l.base.Index + uint64(len(l.entries)) }

func (l *log) lastTerm() uint64 {
	if len(l.entries) == 0 {
		return l.base.Term
	}
	return l.entries[len(l.entries)-1].Term
}

// term returns the term of the entry at index; false if the log does not
// reach there or has forgotten it.
func (l *log) term(index uint64) (uint64, bool) {
	switch {
	case index == l.base.Index:
		return l.base.Term, true
	case index < l.base.Index || index > l.lastIndex():
		return 0, false
	}
	return l.entries[index-l.base.Index-1].Term, true
}

// append adds one entry at the end.
func (l *log) append(e Entry) {
	if e.Index != l.lastIndex()+1 || e.Term < l.lastTerm() {
		broken("entry %d of term %d appended after %d of term %d", e.Index, e.Term, l.lastIndex(), l.lastTerm())
	}
	l.noteUID(&e)
	l.noteConfiguration(&e)
	l.entries = append(l.entries, e)
	l.count(&e)
}

// count takes an entry at the end into the sizes.
func (l *log) count(e *Entry) {
	l.size += e.size()
	if e.Index%sumEvery == 0 {
		l.sums = append(l.sums, l.size)
	}
}

// sumsUpTo returns how many of the sums stand for entries up to index.
func (l *log) sumsUpTo(index uint64) int { return int(index/sumEvery - l.base.Index/sumEvery) }

// truncate drops the entries at index and above. The capacity is clipped, so
// that what is appended later never overwrites a slice handed out before.
func (l *log) truncate(index uint64) {
	assert(index > l.snapshot.Index && index <= l.lastIndex(), "truncation at %d outside (%d, %d]", index, l.snapshot.Index, l.lastIndex())
	keep := int(index - l.base.Index - 1)
	sums := l.sumsUpTo(index - 1)
	l.size -= l.bytes(index)
	l.entries, l.sums = l.entries[:keep:keep], l.sums[:sums:sums]
	if l.uidAt >= index {
		l.uid, l.uidAt = UID{}, 0
	}
	l.truncateEditions(index)
}

// forget drops the entries below keep. The others move to a new array, so that the
// garbage collector can take the old one.
func (l *log) forget(keep uint64) {
	if keep <= l.firstIndex() {
		return
	}
	term, ok := l.term(keep - 1)
	assert(ok, "the log would forget up to %d and ends at %d", keep-1, l.lastIndex())
	dropped := keep - l.firstIndex()
	before := l.sizeUpTo(keep - 1)
	l.size -= before
	l.entries, l.sums = slices.Clone(l.entries[dropped:]), slices.Clone(l.sums[l.sumsUpTo(keep-1):])
	for i := range l.sums {
		l.sums[i] -= before
	}
	l.base = position{keep - 1, term}
}

// tail returns the lowest index from which on the entries up to index have no
// more than maxBytes.
func (l *log) tail(index uint64, maxBytes int) uint64 {
	for bytes := 0; index > l.base.Index; index-- {
		if bytes += l.entries[index-l.base.Index-1].size(); bytes > maxBytes {
			break
		}
	}
	return index + 1
}

// slice returns the entries from index from up to and including to, fewer if
// they exceed maxBytes, but at least one if there is one.
func (l *log) slice(from, to uint64, maxBytes int) []Entry {
	if from <= l.base.Index {
		broken("entry %d was compacted (the log starts at %d)", from, l.firstIndex())
	}
	to = min(to, l.lastIndex())
	if from > to {
		return nil
	}
	start, end := int(from-l.base.Index-1), int(to-l.base.Index)
	bytes := 0
	for i := start; i < end; i++ {
		bytes += l.entries[i].size()
		if bytes > maxBytes && i > start {
			end = i
			break
		}
	}
	return l.entries[start:end:end]
}

// bytes returns the size of the entries at index and above that are in memory.
func (l *log) bytes(index uint64) int { return l.sizeOf(index, l.lastIndex()) }

// isSmaller reports whether the entries at index and above, all in memory, have fewer
// bytes than the limit. It looks at no more of them than that takes.
func (l *log) isSmaller(index uint64, bytes int) bool {
	for i := max(index, l.firstIndex()); i <= l.lastIndex() && bytes > 0; i++ {
		bytes -= l.entries[i-l.base.Index-1].size()
	}
	return bytes > 0
}

// sizeOf returns the size of the entries in memory from index from up to and
// including to.
func (l *log) sizeOf(from, to uint64) int {
	from, to = max(from, l.firstIndex()), min(to, l.lastIndex())
	if to >= from+sumEvery {
		return l.sizeUpTo(to) - l.sizeUpTo(from-1)
	}
	return l.walk(from, to)
}

// sizeUpTo returns the size of the entries in memory up to and including index, which is
// the base's or that of one of them.
func (l *log) sizeUpTo(index uint64) int {
	n := l.sumsUpTo(index)
	if n == 0 {
		return l.walk(l.firstIndex(), index)
	}
	return l.sums[n-1] + l.walk(index-index%sumEvery+1, index)
}

// walk adds up the sizes of the entries from index from up to and including to, all in
// memory.
func (l *log) walk(from, to uint64) (total int) {
	for i := from; i <= to; i++ {
		total += l.entries[i-l.base.Index-1].size()
	}
	return total
}

// firstOfTerm returns the first index the log holds of the entries with the
// same term as the one at index.
func (l *log) firstOfTerm(index uint64) uint64 {
	term, ok := l.term(index)
	assert(ok, "no term known at %d", index)
	position, _ := slices.BinarySearchFunc(l.entries, term, compareTerm)
	return min(index, l.base.Index+1+uint64(position))
}

// lastOfTerm returns the index of the last entry with the given term, if any.
func (l *log) lastOfTerm(term uint64) (uint64, bool) {
	position, _ := slices.BinarySearchFunc(l.entries, term+1, compareTerm)
	index := l.base.Index + uint64(position) // the entry before the first of a later term
	found, _ := l.term(index)
	return index, found == term && index > 0
}

func compareTerm(e Entry, term uint64) int {
	switch {
	case e.Term < term:
		return -1
	case e.Term > term:
		return 1
	}
	return 0
}

// check reports a log that could not have come about by the rules.
func (l *log) check() error {
	term, size := l.base.Term, 0
	for i, e := range l.entries {
		if want := l.base.Index + 1 + uint64(i); e.Index != want {
			return fmt.Errorf("core: entry %d stands at index %d", e.Index, want)
		}
		if e.Term < term {
			return fmt.Errorf("core: entry %d of term %d follows one of term %d", e.Index, e.Term, term)
		}
		term = e.Term
		size += e.size()
		if n := l.sumsUpTo(e.Index); e.Index%sumEvery == 0 && (n > len(l.sums) || l.sums[n-1] != size) {
			return fmt.Errorf("core: the entries in memory up to %d are %d bytes, and are counted otherwise", e.Index, size)
		}
	}
	if want := l.sumsUpTo(l.lastIndex()); len(l.sums) != want {
		return fmt.Errorf("core: the log holds %d sums of sizes, and its entries make %d", len(l.sums), want)
	}
	if size != l.size {
		return fmt.Errorf("core: the entries in memory are counted as %d bytes, are %d", l.size, size)
	}
	if term, ok := l.term(l.snapshot.Index); ok && term != l.snapshot.Term {
		return fmt.Errorf("core: the snapshot at %d is of term %d, the log has term %d there", l.snapshot.Index, l.snapshot.Term, term)
	}
	if l.snapshot.Index > l.lastIndex() {
		return fmt.Errorf("core: the snapshot at %d lies beyond the log's end %d", l.snapshot.Index, l.lastIndex())
	}
	return l.checkEditions()
}
