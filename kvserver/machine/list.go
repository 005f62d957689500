package machine

import (
	"context"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

// Query names a page of keys in the order of their bytes.
type Query struct {
	// Prefix, or From and To, name the range: the keys that begin with Prefix, or those from
	// From on that are less than To, an empty To being no end.
	Prefix, From, To string
	After            string // the page begins behind it
	// Limit is how many items the page may have. MaxBytes is how many bytes of keys
	// and values, with ItemBytes more for each item; the item that reaches it is the
	// last.
	Limit, MaxBytes, ItemBytes int
	KeysOnly                   bool // values count for nothing
	Count                      bool // the keys of the whole range are counted, too
}

// Range returns what is looked at, for deciding about it.
func (q *Query) Range() auth.Range {
	after := q.After
	if q.Count {
		after = ""
	}
	if q.From == "" && q.To == "" {
		return auth.KeysWith(q.Prefix, after)
	}
	return auth.KeysBetween(max(q.From, behind(after)), q.To)
}

// Bounds returns the range: the keys from one on that are less than to, an empty to being
// no end.
func (q *Query) Bounds() (from, to string) {
	if q.Prefix == "" {
		return q.From, q.To
	}
	span := txn.Prefix(q.Prefix)
	return span.From, span.To
}

// Ascend calls fn for the keys of the range that are behind After, in order, until it
// returns false.
func (q *Query) Ascend(from Listed, fn func(key string, item kv.Item) bool) {
	first, end := q.Bounds()
	from.AscendRange(max(first, behind(q.After)), end, fn)
}

// behind returns the first key that there can be behind another one; "" behind none.
func behind(key string) string {
	if key == "" {
		return ""
	}
	return key + "\x00"
}

// Page is a page of a list. Its values are the store's own, which never change.
type Page struct {
	Items    []PageItem
	Revision uint64 // of the store
	More     bool   // there are keys behind the last one
	Count    int    // of the keys of the whole range, if that was asked for
}

// PageItem is one key of a page.
type PageItem struct {
	Key   string
	Item  kv.Item
	Lease int64 // to which it is tied; 0: none
}

// List reads a page at one moment. The error is the cause of ctx's end, which ends a count.
func (m *Machine) List(ctx context.Context, q Query) (Page, error) {
	if q.Count { // which may take long, and locks nothing
		return q.page(ctx, m.Freeze())
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return q.page(ctx, m.store)
}

// ListAt reads a page of the store as it was at a revision; see GetAt and List.
func (m *Machine) ListAt(ctx context.Context, q Query, revision uint64) (Page, error) {
	view, err := m.FreezeAt(revision)
	if err != nil {
		return Page{}, err
	}
	return q.page(ctx, view)
}

// Listed is what a list can be made of.
type Listed interface {
	Revision() uint64
	// LeaseOf returns the lease to which the key is tied that AscendRange shows; 0: none.
	LeaseOf(key string) int64
	AscendRange(from, to string, fn func(key string, item kv.Item) bool)
}

// countedAtOnce is how many keys are counted, in about a tenth of a millisecond, before it is
// asked whether anybody waits for the count still.
const countedAtOnce = 1024

// page cuts a page. One without a limit has no items.
func (q *Query) page(ctx context.Context, from Listed) (p Page, err error) {
	p.Revision = from.Revision()
	if q.Count {
		first, end := q.Bounds()
		from.AscendRange(first, end, func(string, kv.Item) bool {
			p.Count++
			return p.Count%countedAtOnce != 0 || ctx.Err() == nil
		})
		if ctx.Err() != nil {
			return Page{}, context.Cause(ctx)
		}
	}
	if q.Limit == 0 {
		return p, nil
	}
	size := 0
	q.Ascend(from, func(key string, item kv.Item) bool {
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
	return p, nil
}
