package clerkwire

import (
	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// The frames of locks. Ids of leases and times travel as in the frames of leases.

const (
	// MaxLocks is how many locks a page has at most.
	MaxLocks = api.MaxLockPage
	// MaxLockWait is for how long one request waits for a lock at most, in milliseconds.
	// The client asks again then.
	MaxLockWait = 15_000

	maxLockHolders = api.MaxLockLimit
	// maxLocksBody has room for a page: its holders are no more than its locks, unless one
	// lock alone has more.
	maxLocksBody = MaxLocks*(api.MaxLockNameBytes+32) + maxLockHolders*(api.MaxLockValueBytes+api.MaxNoteBytes+32) + 64
)

// Acquire asks for a lock. In a session it comes into the log, and is answered at once:
// the lease holds the lock then, or waits for it with Queue. In no session it asks for
// nothing: it waits until the lease of a former Acquire waits no longer, at any server, for
// Wait at most.
type Acquire struct {
	Session uint64
	Lane    uint64
	Seq     uint64
	Lock    []byte
	Lease   int64  // that is to hold the lock; 0: one that is made for it, with TTL
	TTL     uint64 // milliseconds
	Limit   uint64 // of holders
	Delay   uint64 // milliseconds for which the place stays free if the lease ends without a release
	Value   []byte // that is published while the lock is held
	Queue   bool   // wait if all places are taken

	// Of one in no session:
	After uint64 // of the answer that said that the lease waits
	Wait  uint64 // milliseconds
}

func (m Acquire) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 12)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendBytes(dst, m.Lock)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	dst = msgpack.AppendUint(dst, m.TTL)
	dst = msgpack.AppendUint(dst, m.Limit)
	dst = msgpack.AppendUint(dst, m.Delay)
	dst = msgpack.AppendBytes(dst, m.Value)
	dst = msgpack.AppendBool(dst, m.Queue)
	dst = msgpack.AppendUint(dst, m.After)
	return msgpack.AppendUint(dst, m.Wait)
}

// Parse reads a body.
func (m *Acquire) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(12)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Lock = r.Bytes(api.MaxLockNameBytes)
	m.Lease = int64(r.Uint())
	m.TTL = r.Uint()
	m.Limit = r.Uint()
	m.Delay = r.Uint()
	m.Value = r.Bytes(api.MaxLockValueBytes)
	m.Queue = r.Bool()
	m.After = r.Uint()
	m.Wait = r.Uint()
	asks := m.Lane != 0 || m.Seq != 0 || m.TTL != 0 || m.Limit != 0 || m.Delay != 0 || len(m.Value) > 0 || m.Queue
	switch {
	case m.Session == 0 && asks:
		r.Reject("a request for a lock in no session, which can only wait")
	case m.Session != 0 && (m.After != 0 || m.Wait != 0):
		r.Reject("a request for a lock that waits, in a session")
	}
	return r.Close()
}

// Acquired answers an Acquire.
type Acquired struct {
	Lease int64
	// Token is that with which the lease holds the lock; 0: it waits.
	Token uint64
	// After, of a lease that waits: its token will be greater.
	After    uint64
	Replayed bool // an earlier attempt had done it
}

func (m Acquired) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 4)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	dst = msgpack.AppendUint(dst, m.Token)
	dst = msgpack.AppendUint(dst, m.After)
	return msgpack.AppendBool(dst, m.Replayed)
}

// Parse reads a body.
func (m *Acquired) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(4)
	m.Lease = int64(r.Uint())
	m.Token = r.Uint()
	m.After = r.Uint()
	m.Replayed = r.Bool()
	if m.Token != 0 && m.After != 0 {
		r.Reject("a lease that holds a lock and waits for it")
	}
	return r.Close()
}

// Release ends holding a lock. It is in a session, as writes are.
type Release struct {
	Session uint64
	Lane    uint64
	Seq     uint64
	Lock    []byte
	Token   uint64
}

func (m Release) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 5)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendBytes(dst, m.Lock)
	return msgpack.AppendUint(dst, m.Token)
}

// Parse reads a body.
func (m *Release) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(5)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Lock = r.Bytes(api.MaxLockNameBytes)
	m.Token = r.Uint()
	return r.Close()
}

// LeaveQueue ends waiting for a lock. It is in a session, as writes are. If the lease holds
// the lock meanwhile it is refused as lock_held, with the token as the revision.
type LeaveQueue struct {
	Session uint64
	Lane    uint64
	Seq     uint64
	Lock    []byte
	Lease   int64
	End     bool // the lease ends with it, if it waited
}

func (m LeaveQueue) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 6)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendBytes(dst, m.Lock)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	return msgpack.AppendBool(dst, m.End)
}

// Parse reads a body.
func (m *LeaveQueue) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(6)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Lock = r.Bytes(api.MaxLockNameBytes)
	m.Lease = int64(r.Uint())
	m.End = r.Bool()
	return r.Close()
}

// Publish changes the value of a holder. It is in a session, as writes are.
type Publish struct {
	Session uint64
	Lane    uint64
	Seq     uint64
	Lock    []byte
	Token   uint64
	Value   []byte
}

func (m Publish) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 6)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendBytes(dst, m.Lock)
	dst = msgpack.AppendUint(dst, m.Token)
	return msgpack.AppendBytes(dst, m.Value)
}

// Parse reads a body.
func (m *Publish) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(6)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	m.Lock = r.Bytes(api.MaxLockNameBytes)
	m.Token = r.Uint()
	m.Value = r.Bytes(api.MaxLockValueBytes)
	return r.Close()
}

// Locks asks for one lock, or for a page of them in the order of their names.
type Locks struct {
	Consistency Consistency
	MinRevision uint64
	Lock        []byte // empty: a page
	Token       uint64 // of one lock: it must hold the lock, else it is refused as lock_lost
	Prefix      []byte // of a page: names begin with it
	After       []byte // of a page: names stand behind it
	Limit       uint64 // of a page: greatest number of locks in it; 0: MaxLocks
}

func (m Locks) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 7)
	dst = msgpack.AppendUint(dst, uint64(m.Consistency))
	dst = msgpack.AppendUint(dst, m.MinRevision)
	dst = msgpack.AppendBytes(dst, m.Lock)
	dst = msgpack.AppendUint(dst, m.Token)
	dst = msgpack.AppendBytes(dst, m.Prefix)
	dst = msgpack.AppendBytes(dst, m.After)
	return msgpack.AppendUint(dst, m.Limit)
}

// Parse reads a body.
func (m *Locks) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(7)
	m.Consistency = readConsistency(&r)
	m.MinRevision = r.Uint()
	m.Lock = r.Bytes(api.MaxLockNameBytes)
	m.Token = r.Uint()
	m.Prefix = r.Bytes(api.MaxLockNameBytes)
	m.After = r.Bytes(api.MaxLockNameBytes)
	m.Limit = r.Uint()
	switch {
	case len(m.Lock) > 0 && (len(m.Prefix) > 0 || len(m.After) > 0 || m.Limit != 0):
		r.Reject("one lock, and the bounds of a page")
	case len(m.Lock) == 0 && m.Token != 0:
		r.Reject("a token, and no lock that it may hold")
	}
	return r.Close()
}

// LockHolder is a lease that holds a lock.
type LockHolder struct {
	Token uint64
	Lease int64
	Value []byte
	Note  string // of the lease
}

// LockShown is a lock as a read shows it.
type LockShown struct {
	Lock    []byte
	Limit   uint64
	Waiting uint64
	Holders []LockHolder // in the order of their tokens
}

// LocksShown answers Locks.
type LocksShown struct {
	More  bool // there are locks behind the last one
	Locks []LockShown
}

func (m LocksShown) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 2)
	dst = msgpack.AppendBool(dst, m.More)
	dst = msgpack.AppendArray(dst, len(m.Locks))
	for i := range m.Locks {
		l := &m.Locks[i]
		dst = msgpack.AppendArray(dst, 4)
		dst = msgpack.AppendBytes(dst, l.Lock)
		dst = msgpack.AppendUint(dst, l.Limit)
		dst = msgpack.AppendUint(dst, l.Waiting)
		dst = msgpack.AppendArray(dst, len(l.Holders))
		for j := range l.Holders {
			h := &l.Holders[j]
			dst = msgpack.AppendArray(dst, 4)
			dst = msgpack.AppendUint(dst, h.Token)
			dst = msgpack.AppendUint(dst, uint64(h.Lease))
			dst = msgpack.AppendBytes(dst, h.Value)
			dst = msgpack.AppendString(dst, clip(h.Note, api.MaxNoteBytes))
		}
	}
	return dst
}

// Parse reads a body.
func (m *LocksShown) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(2)
	m.More = r.Bool()
	m.Locks = nil
	for range r.Array(MaxLocks) {
		var l LockShown
		r.Fields(4)
		l.Lock = r.Bytes(api.MaxLockNameBytes)
		l.Limit = r.Uint()
		l.Waiting = r.Uint()
		for range r.Array(maxLockHolders) {
			r.Fields(4)
			h := LockHolder{Token: r.Uint(), Lease: int64(r.Uint()), Value: r.Bytes(api.MaxLockValueBytes), Note: r.String(api.MaxNoteBytes)}
			if r.Fault() != "" {
				break
			}
			l.Holders = append(l.Holders, h)
		}
		if r.Fault() != "" {
			break
		}
		m.Locks = append(m.Locks, l)
	}
	return r.Close()
}

// Guard lets a write happen only while a token holds a lock, at the write's place in the
// log. The zero value is none, and does not travel.
type Guard struct {
	Lock  string
	Token uint64
}

// append adds the two fields of a guard.
func (g Guard) append(dst []byte) []byte {
	dst = msgpack.AppendBytes(dst, g.Lock)
	return msgpack.AppendUint(dst, g.Token)
}

func readGuard(r *msgpack.Reader) (g Guard) {
	g.Lock = string(r.Bytes(api.MaxLockNameBytes))
	g.Token = r.Uint()
	if g.Lock == "" || g.Token == 0 {
		r.Reject("a guard without a lock or a token")
	}
	return g
}
