package clerkwire

import (
	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// The frames of leases. An id is a number of 64 bits and not 0; in a body it stands in
// two's complement. Times are milliseconds.

const (
	// MaxKept is how many leases one request keeps alive at most.
	MaxKept = api.MaxKeptAlive
	// MaxLeases is how many leases a page has at most.
	MaxLeases = api.MaxLeasePage
	// maxLeaseKeys bounds the keys of one lease.
	maxLeaseKeys = api.MaxLeaseKeys

	maxKeepAliveBody = MaxKept*9 + 16
	// maxLeasesBody has room for all keys of a lease, which only one that is asked for by
	// itself shows; a page of leases without their keys is shorter.
	maxLeasesBody = maxLeaseKeys*(api.MaxKeyBytes+3) + api.MaxNoteBytes + 128
)

// Grant makes a lease. It is in a session, as writes are.
type Grant struct {
	Session uint64
	Lane    uint64
	Seq     uint64
	Lease   int64 // the id that the client chooses; 0: none
	TTL     uint64
	Note    string // says for people what the lease is for
}

func (m Grant) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 6)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	dst = msgpack.AppendUint(dst, m.TTL)
	return msgpack.AppendString(dst, clip(m.Note, api.MaxNoteBytes))
}

// Parse reads a body.
func (m *Grant) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(6)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Lease = int64(r.Uint())
	m.TTL = r.Uint()
	m.Note = r.String(api.MaxNoteBytes)
	return r.Close()
}

// Granted answers a Grant.
type Granted struct {
	Lease    int64
	Replayed bool // an earlier attempt had made it
}

func (m Granted) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 2)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	return msgpack.AppendBool(dst, m.Replayed)
}

// Parse reads a body.
func (m *Granted) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(2)
	m.Lease = int64(r.Uint())
	m.Replayed = r.Bool()
	return r.Close()
}

// KeepAlive gives leases their whole TTL again. It is in no session, because repeating it
// is harmless.
type KeepAlive struct{ Leases []int64 }

func (m KeepAlive) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 1)
	dst = msgpack.AppendArray(dst, len(m.Leases))
	for _, id := range m.Leases {
		dst = msgpack.AppendUint(dst, uint64(id))
	}
	return dst
}

// Parse reads a body.
func (m *KeepAlive) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	n := r.Array(MaxKept)
	m.Leases = make([]int64, 0, n)
	for range n {
		m.Leases = append(m.Leases, int64(r.Uint()))
	}
	return r.Close()
}

// Kept answers a KeepAlive.
type Kept struct {
	// TTLs has the TTL of each lease in the order in which they were named, 0 for one that
	// is not there any more.
	TTLs []uint64
}

func (m Kept) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 1)
	dst = msgpack.AppendArray(dst, len(m.TTLs))
	for _, ttl := range m.TTLs {
		dst = msgpack.AppendUint(dst, ttl)
	}
	return dst
}

// Parse reads a body.
func (m *Kept) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	n := r.Array(MaxKept)
	m.TTLs = make([]uint64, 0, n)
	for range n {
		m.TTLs = append(m.TTLs, r.Uint())
	}
	return r.Close()
}

// Revoke ends a lease now. It is in a session, as writes are.
type Revoke struct {
	Session uint64
	Lane    uint64
	Seq     uint64
	Lease   int64
}

func (m Revoke) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 4)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	return msgpack.AppendUint(dst, uint64(m.Lease))
}

// Parse reads a body.
func (m *Revoke) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(4)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Lease = int64(r.Uint())
	return r.Close()
}

// Leases asks for one lease, or for a page of them in the order of their ids.
type Leases struct {
	Consistency Consistency
	MinRevision uint64
	Lease       int64  // 0: a page
	Keys        bool   // of one lease: with the names of its keys
	From        int64  // of a page: the least id
	Limit       uint64 // of a page: greatest number of leases in it; 0: MaxLeases
}

func (m Leases) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 6)
	dst = msgpack.AppendUint(dst, uint64(m.Consistency))
	dst = msgpack.AppendUint(dst, m.MinRevision)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	dst = msgpack.AppendBool(dst, m.Keys)
	dst = msgpack.AppendUint(dst, uint64(m.From))
	return msgpack.AppendUint(dst, m.Limit)
}

// Parse reads a body.
func (m *Leases) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(6)
	m.Consistency = readConsistency(&r)
	m.MinRevision = r.Uint()
	m.Lease = int64(r.Uint())
	m.Keys = r.Bool()
	m.From = int64(r.Uint())
	m.Limit = r.Uint()
	switch {
	case m.Lease != 0 && (m.From != 0 || m.Limit != 0):
		r.Reject("one lease, and the bounds of a page")
	case m.Lease == 0 && m.Keys:
		r.Reject("the keys of a page of leases, which shows none")
	}
	return r.Close()
}

// LeaseShown is a lease as a read shows it.
type LeaseShown struct {
	Lease     int64
	TTL       uint64 // as it was granted
	Remaining uint64 // at least
	Note      string
	Count     uint64   // how many keys it has
	Keys      [][]byte // those that the client may list, if they were asked for
}

// LeasesShown answers Leases.
type LeasesShown struct {
	More   bool  // there are leases behind the last one
	Next   int64 // where the next page begins; 0 without More
	Leases []LeaseShown
}

func (m LeasesShown) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 3)
	dst = msgpack.AppendBool(dst, m.More)
	dst = msgpack.AppendUint(dst, uint64(m.Next))
	dst = msgpack.AppendArray(dst, len(m.Leases))
	for i := range m.Leases {
		l := &m.Leases[i]
		dst = msgpack.AppendArray(dst, 6)
		dst = msgpack.AppendUint(dst, uint64(l.Lease))
		dst = msgpack.AppendUint(dst, l.TTL)
		dst = msgpack.AppendUint(dst, l.Remaining)
		dst = msgpack.AppendString(dst, clip(l.Note, api.MaxNoteBytes))
		dst = msgpack.AppendUint(dst, l.Count)
		dst = msgpack.AppendArray(dst, len(l.Keys))
		for _, key := range l.Keys {
			dst = msgpack.AppendBytes(dst, key)
		}
	}
	return dst
}

// Parse reads a body.
func (m *LeasesShown) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(3)
	m.More = r.Bool()
	m.Next = int64(r.Uint())
	m.Leases = nil
	for range r.Array(MaxLeases) {
		var l LeaseShown
		r.Fields(6)
		l.Lease = int64(r.Uint())
		l.TTL = r.Uint()
		l.Remaining = r.Uint()
		l.Note = r.String(api.MaxNoteBytes)
		l.Count = r.Uint()
		for range r.Array(maxLeaseKeys) {
			l.Keys = append(l.Keys, r.Bytes(api.MaxKeyBytes))
		}
		if r.Fault() != "" {
			break
		}
		m.Leases = append(m.Leases, l)
	}
	return r.Close()
}

// Touch gives a key another end, counted from now. It is in no session, because repeating
// it is harmless.
type Touch struct {
	Key []byte
	TTL uint64
}

func (m Touch) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 2)
	dst = msgpack.AppendBytes(dst, m.Key)
	return msgpack.AppendUint(dst, m.TTL)
}

// Parse reads a body.
func (m *Touch) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(2)
	m.Key = r.Bytes(api.MaxKeyBytes)
	m.TTL = r.Uint()
	return r.Close()
}
