package clerkwire

import (
	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// MaxListed is the greatest number of items in a page.
const MaxListed = api.MaxPageItems

// List asks for a page of keys in the order of their bytes.
type List struct {
	Consistency Consistency
	MinRevision uint64
	Limit       uint64 // greatest number of items in the page; 0: MaxListed
	KeysOnly    bool
	Prefix      []byte
	After       []byte // the page begins after this key
}

func (m List) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 6)
	dst = msgpack.AppendUint(dst, uint64(m.Consistency))
	dst = msgpack.AppendUint(dst, m.MinRevision)
	dst = msgpack.AppendUint(dst, m.Limit)
	dst = msgpack.AppendBool(dst, m.KeysOnly)
	dst = msgpack.AppendBytes(dst, m.Prefix)
	return msgpack.AppendBytes(dst, m.After)
}

// Parse reads a body.
func (m *List) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(6)
	m.Consistency = readConsistency(&r)
	m.MinRevision = r.Uint()
	m.Limit = r.Uint()
	m.KeysOnly = r.Bool()
	m.Prefix = r.Bytes(api.MaxKeyBytes)
	m.After = r.Bytes(api.MaxKeyBytes)
	return r.Close()
}

// Item is one key of a page.
type Item struct {
	Key      []byte
	Value    []byte // empty if only keys were asked for
	Revision uint64
	Version  uint64
}

// Bytes returns the number of bytes by which the item counts towards MaxListedBytes.
func (i Item) Bytes() int { return len(i.Key) + len(i.Value) + itemRoom }

// Listed answers List.
type Listed struct {
	Store uint64 // the store's revision
	More  bool   // there are keys after the last one
	Items []Item
}

func (m Listed) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 3)
	dst = msgpack.AppendUint(dst, m.Store)
	dst = msgpack.AppendBool(dst, m.More)
	dst = msgpack.AppendArray(dst, len(m.Items))
	for _, i := range m.Items {
		dst = msgpack.AppendArray(dst, 4)
		dst = msgpack.AppendBytes(dst, i.Key)
		dst = msgpack.AppendBytes(dst, i.Value)
		dst = msgpack.AppendUint(dst, i.Revision)
		dst = msgpack.AppendUint(dst, i.Version)
	}
	return dst
}

// Parse reads a body.
func (m *Listed) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(3)
	m.Store = r.Uint()
	m.More = r.Bool()
	n := r.Array(MaxListed)
	m.Items = make([]Item, 0, n)
	for range n {
		r.Fields(4)
		item := Item{Key: r.Bytes(api.MaxKeyBytes), Value: r.Bytes(api.MaxValueBytes)}
		item.Revision, item.Version = r.Uint(), r.Uint()
		m.Items = append(m.Items, item)
	}
	return r.Close()
}
