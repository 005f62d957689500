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
	// boots are the events that can show first that a node has begun anew: its own starts, and
	// where an observer is connected with another boot of it than before. Connections with the same
	// boot may be many.
	boots map[string][]int
}

// sight is a node as a process of another one sees it.
type sight struct {
	observer int
	node     string
}

func newIndex(events []event) index {
	x := index{latest: make([]int64, len(events)), earliest: make([]int64, len(events)), byKind: map[recorder.Kind][]int{}, boots: map[string][]int{}}
	latest, earliest := -unbound, unbound
	seen := map[sight]int64{}
	for i := range events {
		latest = max(latest, events[i].at)
		x.latest[i] = latest
		x.byKind[events[i].Kind] = append(x.byKind[events[i].Kind], i)
		switch e := &events[i]; e.Kind {
		case recorder.Started:
			x.boots[e.node] = append(x.boots[e.node], i)
		case recorder.Connected, recorder.Accepted:
			of := sight{e.process, e.peer}
			if boot, known := seen[of]; !known || boot != e.A {
				x.boots[e.peer] = append(x.boots[e.peer], i)
			}
			seen[of] = e.A
		}
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
	left := make([][]int, 0, 8) // of each kind, the positions that have not come yet
	for _, k := range kinds {
		of := t.index.byKind[k]
		begin, _ := slices.BinarySearch(of, low)
		end, _ := slices.BinarySearch(of, high)
		if begin < end {
			left = append(left, of[begin:end])
		}
	}
	for len(left) > 0 {
		i := take(&left, backwards)
		if within(i) && !yield(i) {
			return
		}
	}
}

// take removes the first of the positions in some sorted lists, or the last, and returns it.
func take(lists *[][]int, last bool) (position int) {
	of := *lists
	next := 0
	for n := range of {
		if last && of[n][len(of[n])-1] > of[next][len(of[next])-1] || !last && of[n][0] < of[next][0] {
			next = n
		}
	}
	if l := of[next]; last {
		position, of[next] = l[len(l)-1], l[:len(l)-1]
	} else {
		position, of[next] = l[0], l[1:]
	}
	if len(of[next]) == 0 {
		*lists = slices.Delete(of, next, next+1)
	}
	return position
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
