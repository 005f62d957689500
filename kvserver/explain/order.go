package explain

import (
	"cmp"
	"container/heap"
	"math"
	"slices"

	"raftkv/kvserver/recorder"
)

// event is an event of one node among those of all.
type event struct {
	recorder.Event
	process int    // position in order.processes
	node    string // that recorded it
	peer    string // the name of Event.Peer
	at      int64  // when, in nanoseconds of the common clock, which is about Unix time
}

// process is one boot of a node. Its events have a clock in common.
type process struct {
	node   string
	boot   uint64
	tick   int64
	offset int64 // of its clock: at = Mono + offset
	events []int // positions in order.events, by Seq
	now    int64 // by its clock, when its events were asked for; 0: not known
	// skew is by how much the machine's wall clock is ahead of the common clock, and
	// width how exactly that is known; 0 where nothing contradicts the wall clock.
	skew, width int64
}

// order is all events in an order that breaks no rule of the protocol.
type order struct {
	processes []process
	events    []event
	disorder  []int // events that contradict each other: a bug of ours
	names     int   // the most nodes that a recording names
}

// newOrder orders the events of rings. Rings of the same boot are joined, and events
// that are in several of them count once.
func newOrder(rings []recorder.Ring) *order {
	o := &order{}
	o.gather(rings)
	edges := o.edges()
	o.setClocks(edges)
	o.sort(edges)
	return o
}

// maxBoots is how many of the latest boots of a node are looked at: setClocks compares
// each with all others.
const maxBoots = 40

// gather makes the processes and their events.
func (o *order) gather(rings []recorder.Ring) {
	rings = latest(apart(rings))
	slices.SortStableFunc(rings, func(a, b recorder.Ring) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Boot, b.Boot), cmp.Compare(first(a), first(b)))
	})
	for i := range rings {
		ring := &rings[i]
		if len(ring.Events) == 0 || ring.Node == "" {
			continue
		}
		n := len(o.processes)
		if n == 0 || o.processes[n-1].node != ring.Node || o.processes[n-1].boot != ring.Boot {
			o.processes = append(o.processes, process{node: ring.Node, boot: ring.Boot, tick: ring.Tick})
			n++
		}
		p := &o.processes[n-1]
		p.now = max(p.now, ring.NowMono)
		o.names = max(o.names, len(ring.Names))
		for _, e := range ring.Events {
			if len(p.events) > 0 && e.Seq <= o.events[p.events[len(p.events)-1]].Seq {
				continue
			}
			p.events = append(p.events, len(o.events))
			o.events = append(o.events, event{Event: e, process: n - 1, node: ring.Node, peer: ring.Name(e.Peer)})
		}
	}
}

// apart tells what a node recorded before it came back without its disk from what it
// recorded since: there it counts its boots anew. What is older is of boot 0.
func apart(rings []recorder.Ring) (all []recorder.Ring) {
	anew := map[string]uint64{} // the Seq of the first event since then
	for _, r := range rings {
		for i := range r.Events {
			if e := &r.Events[i]; e.Kind == recorder.Started && e.B == 1 {
				anew[r.Node] = max(anew[r.Node], e.Seq)
			}
		}
	}
	for _, r := range rings {
		at, _ := slices.BinarySearchFunc(r.Events, anew[r.Node], func(e recorder.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
		if at > 0 {
			before := r
			before.Boot, before.Events = 0, r.Events[:at]
			all = append(all, before)
			r.Events = r.Events[at:]
		}
		all = append(all, r)
	}
	return all
}

// latest returns the rings of the latest boots of each node.
func latest(rings []recorder.Ring) []recorder.Ring {
	boots := map[string][]uint64{}
	for _, r := range rings {
		boots[r.Node] = append(boots[r.Node], r.Boot)
	}
	oldest := map[string]uint64{}
	for node, all := range boots { // each by itself
		slices.Sort(all)
		all = slices.Compact(all)
		oldest[node] = all[max(0, len(all)-maxBoots)]
	}
	return slices.DeleteFunc(slices.Clone(rings), func(r recorder.Ring) bool { return r.Boot < oldest[r.Node] })
}

func first(r recorder.Ring) uint64 {
	if len(r.Events) == 0 {
		return 0
	}
	return r.Events[0].Seq
}

// edge says that one event came before another one of another process.
type edge struct{ from, to int }

// key names what two events of different nodes have in common.
type key struct {
	kind  recorder.Kind
	node  string
	peer  string
	term  uint64
	index uint64
}

// edges returns what the protocol says about the order of events of different processes.
func (o *order) edges() (all []edge) {
	at := map[key]int{} // the first event of a key
	note := func(k key, i int) {
		if _, known := at[k]; !known {
			at[k] = i
		}
	}
	votes := map[key][]int{}
	anew := map[string]bool{} // nodes that came back without their disks, and count their boots anew
	for i := range o.events {
		e := &o.events[i]
		switch e.Kind {
		case recorder.Campaign, recorder.PreVote, recorder.Elected:
			note(key{kind: e.Kind, node: e.node, term: e.Term}, i)
		case recorder.Transfer, recorder.TransferTaken:
			note(key{kind: e.Kind, node: e.node, peer: e.peer, term: e.Term}, i)
		case recorder.SnapshotSent:
			note(key{kind: e.Kind, node: e.node, peer: e.peer, index: e.Index}, i)
		case recorder.Installed:
			note(key{kind: e.Kind, node: e.node, peer: e.peer, index: e.Index}, i)
		case recorder.Started:
			note(key{kind: e.Kind, node: e.node, index: o.processes[e.process].boot}, i)
			anew[e.node] = anew[e.node] || e.B == 1
		case recorder.VoteGranted:
			k := key{kind: e.Kind, node: e.peer, term: e.Term}
			votes[k] = append(votes[k], i)
		}
	}
	add := func(from key, to int) {
		if i, known := at[from]; known && o.events[i].process != o.events[to].process {
			all = append(all, edge{i, to})
		}
	}
	for i := range o.events {
		e := &o.events[i]
		switch e.Kind {
		case recorder.VoteGranted, recorder.VoteRefused:
			add(key{kind: recorder.Campaign, node: e.peer, term: e.Term}, i)
		case recorder.PreVoteGranted, recorder.PreVoteRefused:
			add(key{kind: recorder.PreVote, node: e.peer, term: e.Term}, i)
		case recorder.Elected:
			// Which votes decided is known only if there are just as many.
			if v := votes[key{kind: recorder.VoteGranted, node: e.node, term: e.Term}]; int64(len(v)) == e.A-1 {
				for _, vote := range v {
					all = append(all, edge{vote, i})
				}
			}
		case recorder.Followed:
			add(key{kind: recorder.Elected, node: e.peer, term: e.Term}, i)
		case recorder.SteppedDown:
			if e.Why == recorder.HandedOver {
				add(key{kind: recorder.TransferTaken, node: e.peer, peer: e.node, term: e.Term}, i)
			}
		case recorder.TransferTaken:
			add(key{kind: recorder.Transfer, node: e.peer, peer: e.node, term: e.Term}, i)
		case recorder.Connected, recorder.Accepted:
			if !anew[e.peer] { // otherwise it may be a boot of the directory that was lost
				add(key{kind: recorder.Started, node: e.peer, index: uint64(e.A)}, i)
			}
		case recorder.Installed:
			add(key{kind: recorder.SnapshotSent, node: e.peer, peer: e.node, index: e.Index}, i)
		case recorder.SnapshotTaken:
			if anew[e.peer] {
				break // it may have taken it before, into the directory that was lost
			}
			add(key{kind: recorder.Installed, node: e.peer, peer: e.node, index: e.Index}, i)
		}
	}
	for i := 1; i < len(o.processes); i++ { // a boot ends before the next begins
		if before, p := &o.processes[i-1], &o.processes[i]; before.node == p.node {
			all = append(all, edge{before.events[len(before.events)-1], p.events[0]})
		}
	}
	return all
}

// unbound is more than any clock differs.
const unbound = int64(1) << 61

// setClocks gives each process the offset of its clock. Wall clocks are a first guess.
// Each edge bounds the difference of two clocks from one side. Where the guess is beyond
// a bound, the middle of what the bounds leave is taken, or the bound that is nearest.
func (o *order) setClocks(edges []edge) {
	n := len(o.processes)
	if n == 0 {
		return
	}
	// least[p][q] is the smallest value that offset(q) − offset(p) can have.
	least := make([][]int64, n)
	for p := range least {
		least[p] = slices.Repeat([]int64{-unbound}, n)
		least[p][p] = 0
	}
	for _, e := range edges {
		from, to := &o.events[e.from], &o.events[e.to]
		b := &least[from.process][to.process]
		*b = max(*b, from.Mono-to.Mono)
	}
	for k := range n {
		for p := range n {
			for q := range n {
				if least[p][k] > -unbound && least[k][q] > -unbound {
					least[p][q] = max(least[p][q], least[p][k]+least[k][q])
				}
			}
		}
	}
	guesses := make([]int64, n)
	busiest := 0
	for i := range o.processes {
		guesses[i] = o.guess(i)
		if len(o.processes[i].events) > len(o.processes[busiest].events) {
			busiest = i
		}
	}
	o.processes[busiest].offset = guesses[busiest]
	placed := []int{busiest}
	for len(placed) < n {
		i := o.tightest(placed, least)
		o.place(i, placed, guesses, least)
		placed = append(placed, i)
	}
	o.agree()
	for i := range o.events {
		o.events[i].at = o.events[i].Mono + o.processes[o.events[i].process].offset
	}
}

// agree moves the common clock to the median of the machines' wall clocks, so that it is
// the odd one that is called wrong.
func (o *order) agree() {
	var skews []int64 // of each node's latest boot
	for i := range o.processes {
		if i+1 == len(o.processes) || o.processes[i+1].node != o.processes[i].node {
			skews = append(skews, o.processes[i].skew)
		}
	}
	slices.Sort(skews)
	median := skews[(len(skews)-1)/2]
	for i := range o.processes {
		o.processes[i].offset += median
		o.processes[i].skew -= median
	}
}

// guess returns the offset of a process by its machine's wall clock: the median, since
// that clock may have been set meanwhile.
func (o *order) guess(i int) int64 {
	p := &o.processes[i]
	offsets := make([]int64, 0, len(p.events))
	for _, e := range p.events {
		offsets = append(offsets, saturated(o.events[e].Wall, 1_000_000)-o.events[e].Mono)
	}
	slices.Sort(offsets)
	return offsets[len(offsets)/2]
}

// saturated multiplies, and stays within a range in which sums cannot overflow.
func saturated(a, b int64) int64 {
	return min(max(a, -unbound/b), unbound/b) * b
}

// bounds returns between what the offset of a process lies, by those that were placed.
func (o *order) bounds(i int, placed []int, least [][]int64) (low, high int64) {
	low, high = -unbound, unbound
	for _, q := range placed {
		if least[q][i] > -unbound {
			low = max(low, o.processes[q].offset+least[q][i])
		}
		if least[i][q] > -unbound {
			high = min(high, o.processes[q].offset-least[i][q])
		}
	}
	return low, high
}

// tightest returns the process that is not placed and whose bounds leave least.
func (o *order) tightest(placed []int, least [][]int64) (best int) {
	best, room := -1, int64(0)
	for i := range o.processes {
		if slices.Contains(placed, i) {
			continue
		}
		low, high := o.bounds(i, placed, least)
		if best < 0 || high-low < room {
			best, room = i, high-low
		}
	}
	return best
}

// place sets the offset of a process within its bounds. The boots of a node have one wall
// clock: what is known of it from another boot corrects the guess.
func (o *order) place(i int, placed []int, guesses []int64, least [][]int64) {
	p := &o.processes[i]
	low, high := o.bounds(i, placed, least)
	p.offset = guesses[i]
	for _, q := range placed {
		if o.processes[q].node == p.node {
			p.offset -= o.processes[q].skew
			break
		}
	}
	switch {
	case low > high: // the order will show that events contradict each other
	case p.offset >= low && p.offset <= high:
	case low > -unbound && high < unbound:
		p.offset = low + (high-low)/2
		p.width = (high - low) / 2
	case low > -unbound:
		p.offset = max(p.offset, low)
	default:
		p.offset = min(p.offset, high)
	}
	p.skew = guesses[i] - p.offset
}

// sort puts the events into an order that keeps all edges. Between events without a
// path the common clock decides, and then the name of the node.
func (o *order) sort(edges []edge) {
	before := make([]int, len(o.events)) // how many must come first
	after := make([][]int, len(o.events))
	for _, e := range edges {
		before[e.to]++
		after[e.from] = append(after[e.from], e.to)
	}
	for _, p := range o.processes {
		for i := 1; i < len(p.events); i++ {
			before[p.events[i]]++
			after[p.events[i-1]] = append(after[p.events[i-1]], p.events[i])
		}
	}
	due := &queue{o: o}
	for i, n := range before {
		if n == 0 {
			due.next = append(due.next, i)
		}
	}
	heap.Init(due)
	sorted := make([]int, 0, len(o.events))
	for due.Len() > 0 {
		i := heap.Pop(due).(int)
		sorted = append(sorted, i)
		for _, j := range after[i] {
			if before[j]--; before[j] == 0 {
				heap.Push(due, j)
			}
		}
	}
	if len(sorted) < len(o.events) {
		for i, n := range before {
			if n > 0 {
				o.disorder = append(o.disorder, i)
			}
		}
		slices.SortFunc(o.disorder, o.compare)
		sorted = append(sorted, o.disorder...)
	}
	o.apply(sorted)
}

// apply makes an order of positions that of the events.
func (o *order) apply(sorted []int) {
	events := make([]event, len(sorted))
	place := make([]int, len(sorted))
	for to, from := range sorted {
		events[to], place[from] = o.events[from], to
	}
	o.events = events
	for i := range o.processes {
		for j, from := range o.processes[i].events {
			o.processes[i].events[j] = place[from]
		}
		slices.Sort(o.processes[i].events)
	}
	for i, from := range o.disorder {
		o.disorder[i] = place[from]
	}
}

func (o *order) compare(i, j int) int {
	a, b := &o.events[i], &o.events[j]
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.node, b.node), cmp.Compare(a.process, b.process), cmp.Compare(a.Seq, b.Seq))
}

// queue is a heap of events of which all that must come first were taken.
type queue struct {
	o    *order
	next []int
}

func (q *queue) Len() int           { return len(q.next) }
func (q *queue) Less(i, j int) bool { return q.o.compare(q.next[i], q.next[j]) < 0 }
func (q *queue) Swap(i, j int)      { q.next[i], q.next[j] = q.next[j], q.next[i] }

// Push implements heap.Interface.
func (q *queue) Push(i any) { q.next = append(q.next, i.(int)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := q.next[len(q.next)-1]
	q.next = q.next[:len(q.next)-1]
	return last
}

// now returns what the time was when the events were asked for, by those nodes whose clocks
// agree to a minute or two; 0 if none says so. A recording in which nothing is said of this
// ended with its last event.
func (o *order) now() int64 {
	var all []int64
	for i := range o.processes {
		p := &o.processes[i]
		if last := o.events[p.events[len(p.events)-1]].Mono; p.now > 0 {
			all = append(all, min(max(p.now, last), last+24*60*minute)+p.offset)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	median := all[(len(all)-1)/2]
	now := median
	for _, one := range all {
		if one-median < lastAge {
			now = one
		}
	}
	return now
}

// end returns the latest time of any event.
func (o *order) end() int64 {
	end := int64(math.MinInt64)
	for i := range o.events {
		end = max(end, o.events[i].at)
	}
	return end
}
