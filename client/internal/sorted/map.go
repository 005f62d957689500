package sorted

// Map holds values by keys, in the order of the keys' bytes. The zero Map is empty. Any
// number of goroutines may use one.
type Map[V any] struct{ root *node[V] }

type node[V any] struct {
	key         string
	value       V
	size        int
	left, right *node[V]
}

// Of returns a Map of n entries, which entry returns by their numbers, the keys rising.
func Of[V any](n int, entry func(i int) (key string, value V)) Map[V] {
	return Map[V]{build(0, n, entry)}
}

func build[V any](from, to int, entry func(i int) (string, V)) *node[V] {
	if from == to {
		return nil
	}
	middle := (from + to) / 2
	n := &node[V]{size: to - from, left: build(from, middle, entry), right: build(middle+1, to, entry)}
	n.key, n.value = entry(middle)
	return n
}

// Len returns the number of entries.
func (m Map[V]) Len() int { return m.root.len() }

func (n *node[V]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

// Get returns the value of a key.
func (m Map[V]) Get(key string) (value V, found bool) {
	for n := m.root; n != nil; {
		switch {
		case key < n.key:
			n = n.left
		case key > n.key:
			n = n.right
		default:
			return n.value, true
		}
	}
	return value, false
}

// With returns a Map in which a key has a value.
func (m Map[V]) With(key string, value V) Map[V] { return Map[V]{m.root.with(key, value)} }

func (n *node[V]) with(key string, value V) *node[V] {
	switch {
	case n == nil:
		return &node[V]{key: key, value: value, size: 1}
	case key < n.key:
		return balanced(n, n.left.with(key, value), n.right)
	case key > n.key:
		return balanced(n, n.left, n.right.with(key, value))
	}
	return joined(&node[V]{key: key, value: value}, n.left, n.right)
}

// Without returns a Map without a key, which need not be there.
func (m Map[V]) Without(key string) Map[V] {
	if _, found := m.Get(key); !found {
		return m
	}
	return Map[V]{m.root.without(key)}
}

// without takes out a key that is there.
func (n *node[V]) without(key string) *node[V] {
	switch {
	case key < n.key:
		return balanced(n, n.left.without(key), n.right)
	case key > n.key:
		return balanced(n, n.left, n.right.without(key))
	case n.left == nil:
		return n.right
	case n.right == nil:
		return n.left
	}
	first := n.right
	for first.left != nil {
		first = first.left
	}
	return balanced(first, n.left, n.right.without(first.key))
}

// joined returns a node with the entry of n and other subtrees.
func joined[V any](n, left, right *node[V]) *node[V] {
	return &node[V]{key: n.key, value: n.value, size: left.len() + right.len() + 1, left: left, right: right}
}

// A subtree may weigh heavy times as much as its sibling, the weight being one more than
// the size. Where it weighs more, the node is rotated, twice if the inner grandchild
// weighs inner times as much as the outer one.
const (
	heavy = 3
	inner = 2
)

func (n *node[V]) weight() int { return n.len() + 1 }

// balanced is joined where one of the subtrees has got, or lost, one entry.
func balanced[V any](n, left, right *node[V]) *node[V] {
	switch {
	case right.weight() > heavy*left.weight():
		if right.left.weight() >= inner*right.right.weight() {
			middle := right.left
			return joined(middle, joined(n, left, middle.left), joined(right, middle.right, right.right))
		}
		return joined(right, joined(n, left, right.left), right.right)
	case left.weight() > heavy*right.weight():
		if left.right.weight() >= inner*left.left.weight() {
			middle := left.right
			return joined(middle, joined(left, left.left, middle.left), joined(n, middle.right, right))
		}
		return joined(left, left.left, joined(n, left.right, right))
	}
	return joined(n, left, right)
}

// Ascend calls yield for the entries from a key on, up to but not including another one,
// or to the last if that is "", until it returns false.
func (m Map[V]) Ascend(from, to string, yield func(key string, value V) bool) {
	m.root.ascend(from, to, yield)
}

func (n *node[V]) ascend(from, to string, yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if n.key >= from && !n.left.ascend(from, to, yield) {
		return false
	}
	if to != "" && n.key >= to {
		return false
	}
	if n.key >= from && !yield(n.key, n.value) {
		return false
	}
	return n.right.ascend(from, to, yield)
}
