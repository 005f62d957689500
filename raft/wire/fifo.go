package wire

// fifo is a queue whose elements can be looked at by position. The zero value
// is empty.
type fifo[T any] struct {
	items []T
	first int // items[:first] have been taken out
}

func (q *fifo[T]) len() int { return len(q.items) - q.first }

// at returns the i-th oldest element.
func (q *fifo[T]) at(i int) *T { return &q.items[q.first+i] }

func (q *fifo[T]) push(item T) {
	// Moving down once half of the array is free makes push O(1) on average
	// and keeps the array below twice the longest queue.
	if len(q.items) == cap(q.items) && q.first > len(q.items)/2 {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// pop takes out the oldest element, of which there must be one.
func (q *fifo[T]) pop() T {
	item := q.items[q.first]
	var none T
	q.items[q.first] = none // what it points to may be large
	q.first++
	if q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	}
	return item
}

// remove takes out the i-th oldest element, of which there must be so many. It
// moves those that are older.
func (q *fifo[T]) remove(i int) T {
	older := q.items[q.first : q.first+i+1]
	item := older[i]
	copy(older[1:], older[:i])
	older[0] = item
	return q.pop()
}

// drain takes out everything, oldest first.
func (q *fifo[T]) drain() []T {
	items := q.items[q.first:]
	q.items, q.first = nil, 0
	return items
}
