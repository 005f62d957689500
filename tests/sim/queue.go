package main

// Times are virtual, in microseconds.
const (
	microsecond = int64(1)
	millisecond = 1000 * microsecond
	second      = 1000 * millisecond
)

// happening is something that takes place at a time.
type happening interface{ happen() }

// then is a happening made of a function.
type then func()

func (f then) happen() { f() }

// event is a happening that waits for its time.
type event struct {
	at     int64
	number uint64 // in the order of scheduling: breaks ties in time
	what   happening
}

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.number < f.number }

// eventQueue is a heap of events with four children to a node. It is written out
// because container/heap would put every event into an interface, twice.
type eventQueue struct {
	heap      []event
	scheduled uint64 // so far
}

// next is when the first event is due; false if there is none.
func (q *eventQueue) next() (at int64, waiting bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

func (q *eventQueue) push(at int64, what happening) {
	q.scheduled++
	e := event{at: at, number: q.scheduled, what: what}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// pop takes the first event out; there must be one.
func (q *eventQueue) pop() event {
	first := q.heap[0]
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	if last == 0 {
		return first
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= last {
			break
		}
		least := child
		for other := child + 1; other < min(child+4, last); other++ {
			if q.heap[other].before(&q.heap[least]) {
				least = other
			}
		}
		if !q.heap[least].before(&e) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = e
	return first
}
