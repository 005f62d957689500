package machine

import (
	"raftkv/kvserver/auth"
	"raftkv/kvserver/kv"
)

// Query names a page of keys in the order of their bytes.
type Query struct {
	Prefix, After string // keys that begin with Prefix, behind After
	// Limit is how many items the page may have. MaxBytes is how many bytes of keys
	// and values, with ItemBytes more for each item; the item that reaches it is the
	// last.
	Limit, MaxBytes, ItemBytes int
	KeysOnly                   bool // values count for nothing
}

// Range returns what the page is cut from, for deciding about it.
func (q *Query) Range() auth.Range { return auth.KeysWith(q.Prefix, q.After) }

// Page is a page of a list. Its values are the store's own, which never change.
type Page struct {
	Items    []PageItem
	Revision uint64 // of the store
	More     bool   // there are keys behind the last one
}

// PageItem is one key of a page.
type PageItem struct {
	Key   string
	Item  kv.Item
	Lease int64 // to which it is tied; 0: none
}

// List reads a page at one moment.
func (m *Machine) List(q Query) Page {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return q.page(m.store)
}

// ListAt reads a page of the store as it was at a revision; see GetAt.
func (m *Machine) ListAt(q Query, revision uint64) (Page, error) {
	view, err := m.FreezeAt(q.Prefix, revision)
	if err != nil {
		return Page{}, err
	}
	return q.page(view), nil
}

// Listed is what a list can be made of.
type Listed interface {
	Revision() uint64
	LeaseOf(key string) int64 // to which a key is tied; 0: none
	Ascend(after, prefix string, fn func(key string, item kv.Item) bool)
}

// page cuts a page.
func (q *Query) page(from Listed) (p Page) {
	p.Revision = from.Revision()
	size := 0
	from.Ascend(q.After, q.Prefix, func(key string, item kv.Item) bool {
		if len(p.Items) == q.Limit || size >= q.MaxBytes {
			p.More = true
			return false
		}
		p.Items = append(p.Items, PageItem{Key: key, Item: item, Lease: from.LeaseOf(key)})
		size += len(key) + q.ItemBytes
		if !q.KeysOnly {
			size += len(item.Value)
		}
		return true
	})
	return p
}
