package sorted

// Diff calls yield for the keys that only one of two Maps has, and for those of which
// equal says that their values differ, in order, until yield returns false. It looks at
// no subtree that the Maps share.
func Diff[V any](a, b Map[V], equal func(a, b V) bool, yield func(key string) bool) {
	of, to := walk[V]{}, walk[V]{}
	of.push(a.root)
	to.push(b.root)
	for len(of) > 0 || len(to) > 0 {
		x, y := of.top(), to.top()
		switch {
		case x.tree != nil && x.tree == y.tree:
			of.pop()
			to.pop()
		case x.tree.len() > 0 && x.tree.len() >= y.tree.len():
			of.open()
		case y.tree != nil:
			to.open()
		case y.entry == nil || x.entry != nil && x.entry.key < y.entry.key:
			if of.pop(); !yield(x.entry.key) {
				return
			}
		case x.entry == nil || y.entry.key < x.entry.key:
			if to.pop(); !yield(y.entry.key) {
				return
			}
		default:
			of.pop()
			to.pop()
			if !equal(x.entry.value, y.entry.value) && !yield(x.entry.key) {
				return
			}
		}
	}
}

// walk is what is left of a tree, the next of it last: whole subtrees, and the entries
// of single nodes.
type walk[V any] []step[V]

// step has one of both. Of an end it has none.
type step[V any] struct{ tree, entry *node[V] }

func (w walk[V]) top() (s step[V]) {
	if len(w) > 0 {
		s = w[len(w)-1]
	}
	return s
}

func (w *walk[V]) push(tree *node[V]) {
	if tree != nil {
		*w = append(*w, step[V]{tree: tree})
	}
}

func (w *walk[V]) pop() { *w = (*w)[:len(*w)-1] }

// open puts the parts of a subtree in its place.
func (w *walk[V]) open() {
	tree := w.top().tree
	w.pop()
	w.push(tree.right)
	*w = append(*w, step[V]{entry: tree})
	w.push(tree.left)
}
