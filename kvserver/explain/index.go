package explain

import (
	"slices"
	"sort"

	"raftkv/kvserver/recorder"
)

// index finds events by time and kind. Events stand in an order that is that of their
// times but for what the protocol says, so a time has a range of positions.
type index struct {
	latest   []int64 // of the events up to a position
	earliest []int64 // of the events from a position on
	byKind   map[recorder.Kind][]int
}

func newIndex(events []event) index {
	x := index{latest: make([]int64, len(events)), earliest: make([]int64, len(events)), byKind: map[recorder.Kind][]int{}}
	latest, earliest := -unbound, unbound
	for i := range events {
		latest = max(latest, events[i].at)
		x.latest[i] = latest
		x.byKind[events[i].Kind] = append(x.byKind[events[i].Kind], i)
	}
	for i := len(events) - 1; i >= 0; i-- {
		earliest = min(earliest, events[i].at)
		x.earliest[i] = earliest
	}
	return x
}

// positions returns the range of positions that holds all events of a time.
func (x *index) positions(from, to int64) (low, high int) {
	low = sort.Search(len(x.latest), func(i int) bool { return x.latest[i] >= from })
	high = sort.Search(len(x.earliest), func(i int) bool { return x.earliest[i] > to })
	return low, high
}

// each calls yield with the positions of all events of a time, of these kinds if there
// are any, in order or backwards, until it returns false.
func (t *teller) each(from, to int64, backwards bool, kinds []recorder.Kind, yield func(i int) bool) {
	low, high := t.index.positions(from, to)
	within := func(i int) bool { return t.events[i].at >= from && t.events[i].at <= to }
	if len(kinds) == 0 {
		for n := range max(high-low, 0) {
			i := low + n
			if backwards {
				i = high - 1 - n
			}
			if within(i) && !yield(i) {
				return
			}
		}
		return
	}
	var found []int
	for _, k := range kinds {
		of := t.index.byKind[k]
		begin, _ := slices.BinarySearch(of, low)
		end, _ := slices.BinarySearch(of, high)
		found = append(found, of[begin:max(begin, end)]...)
	}
	if len(kinds) > 1 {
		slices.Sort(found)
	}
	for n := range found {
		i := found[n]
		if backwards {
			i = found[len(found)-1-n]
		}
		if within(i) && !yield(i) {
			return
		}
	}
}

// find returns the position of the first event for which is holds, of those from one
// time to another, and of these kinds if there are any; -1 if there is none.
func (t *teller) find(from, to int64, is func(e *event) bool, kinds ...recorder.Kind) (found int) {
	return t.one(from, to, false, is, kinds)
}

// last is find from the end.
func (t *teller) last(from, to int64, is func(e *event) bool, kinds ...recorder.Kind) (found int) {
	return t.one(from, to, true, is, kinds)
}

func (t *teller) one(from, to int64, backwards bool, is func(e *event) bool, kinds []recorder.Kind) int {
	found := -1
	t.each(from, to, backwards, kinds, func(i int) bool {
		if is(&t.events[i]) {
			found = i
		}
		return found < 0
	})
	return found
}

// all returns the positions of all events for which is holds, in order.
func (t *teller) all(from, to int64, is func(e *event) bool, kinds ...recorder.Kind) (found []int) {
	t.each(from, to, false, kinds, func(i int) bool {
		if is(&t.events[i]) {
			found = append(found, i)
		}
		return true
	})
	return found
}
