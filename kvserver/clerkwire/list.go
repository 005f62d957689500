package clerkwire

import (
	"fmt"

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
	// More is of Protocol2 and travels only if it is there.
	More *ListMore
}

// ListMore is what few lists ask for.
type ListMore struct {
	Pinned   Pinned
	From, To []byte // instead of Prefix: the keys from one on that are less than To; "": no end
	Count    bool   // the keys of the whole range are counted
	// CountOnly: they are, and the page has no items.
	CountOnly bool
}

func (m List) append(dst []byte) []byte {
	fields := 6
	if m.More != nil {
		fields++
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendUint(dst, uint64(m.Consistency))
	dst = msgpack.AppendUint(dst, m.MinRevision)
	dst = msgpack.AppendUint(dst, m.Limit)
	dst = msgpack.AppendBool(dst, m.KeysOnly)
	dst = msgpack.AppendBytes(dst, m.Prefix)
	dst = msgpack.AppendBytes(dst, m.After)
	if m.More != nil {
		dst = msgpack.AppendArray(dst, 6)
		dst = msgpack.AppendBool(dst, m.More.Pinned.Set)
		dst = msgpack.AppendUint(dst, m.More.Pinned.At)
		dst = msgpack.AppendBytes(dst, m.More.From)
		dst = msgpack.AppendBytes(dst, m.More.To)
		dst = msgpack.AppendBool(dst, m.More.Count)
		dst = msgpack.AppendBool(dst, m.More.CountOnly)
	}
	return dst
}

// Parse reads a body.
func (m *List) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(7)
	m.Consistency = readConsistency(&r)
	m.MinRevision = r.Uint()
	m.Limit = r.Uint()
	m.KeysOnly = r.Bool()
	m.Prefix = r.Bytes(api.MaxKeyBytes)
	m.After = r.Bytes(api.MaxKeyBytes)
	if m.More = nil; fields == 7 {
		m.More = readListMore(&r)
	}
	switch {
	case fields < 6:
		r.Reject(fmt.Sprintf("a list of %d fields, which has no meaning here", fields))
	case m.More != nil && len(m.Prefix) > 0 && len(m.More.From)+len(m.More.To) > 0:
		r.Reject("a list of a prefix and of a range")
	}
	return r.Close()
}

func readListMore(r *msgpack.Reader) *ListMore {
	r.Fields(6)
	m := new(ListMore)
	m.Pinned.Set = r.Bool()
	m.Pinned.At = r.Uint()
	m.From = r.Bytes(api.MaxKeyBytes)
	m.To = r.Bytes(api.MaxKeyBytes)
	m.Count = r.Bool()
	m.CountOnly = r.Bool()
	if !m.Pinned.Set && m.Pinned.At != 0 {
		r.Reject("a revision of a list that is not pinned")
	}
	return m
}

// Item is one key of a page.
type Item struct {
	Key      []byte
	Value    []byte // empty if only keys were asked for
	Revision uint64
	Version  uint64
	// Created and Lease are as in Got.
	Created uint64
	Lease   int64
}

// Bytes returns the number of bytes by which the item counts towards MaxListedBytes.
func (i Item) Bytes() int { return len(i.Key) + len(i.Value) + itemRoom }

// Listed answers List.
type Listed struct {
	Store uint64 // the store's revision
	More  bool   // there are keys after the last one
	Items []Item
	// Counted says that Count is the number of keys in the whole range. It was asked for.
	Counted bool
	Count   uint64
}

func (m Listed) append(dst []byte) []byte {
	fields := 3
	if m.Counted {
		fields++
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendUint(dst, m.Store)
	dst = msgpack.AppendBool(dst, m.More)
	dst = msgpack.AppendArray(dst, len(m.Items))
	for _, i := range m.Items {
		dst = msgpack.AppendArray(dst, 4+originFields(i.Created, i.Lease))
		dst = msgpack.AppendBytes(dst, i.Key)
		dst = msgpack.AppendBytes(dst, i.Value)
		dst = msgpack.AppendUint(dst, i.Revision)
		dst = msgpack.AppendUint(dst, i.Version)
		dst = appendOrigin(dst, i.Created, i.Lease)
	}
	if m.Counted {
		dst = msgpack.AppendUint(dst, m.Count)
	}
	return dst
}

// Parse reads a body.
func (m *Listed) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(4)
	m.Store = r.Uint()
	m.More = r.Bool()
	n := r.Array(MaxListed)
	m.Items = make([]Item, 0, n)
	for range n {
		fields := r.Array(6)
		item := Item{Key: r.Bytes(api.MaxKeyBytes), Value: r.Bytes(api.MaxValueBytes)}
		item.Revision, item.Version = r.Uint(), r.Uint()
		item.Created, item.Lease = readOrigin(&r, fields-4)
		if fields < 4 {
			r.Reject(fmt.Sprintf("an item of %d fields, which has no meaning here", fields))
		}
		m.Items = append(m.Items, item)
	}
	if m.Counted, m.Count = fields == 4, 0; m.Counted {
		m.Count = r.Uint()
	}
	if fields < 3 {
		r.Reject(fmt.Sprintf("a page of %d fields, which has no meaning here", fields))
	}
	return r.Close()
}
