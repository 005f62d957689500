package clerkwire

import (
	"fmt"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

const (
	// MaxWatchBody is the length of the longest body of a watch: room for as many
	// selectors as there may be, of usual lengths.
	MaxWatchBody = api.MaxWatchBytes
	// MaxPieceBytes is the most content that one frame of changes carries.
	MaxPieceBytes = 1 << 20
	// FirstCredit is how many bytes of changes a watch may be sent before the client has
	// returned any.
	FirstCredit = 256 << 10
	// maxClusterBytes bounds the uid of a cluster.
	maxClusterBytes = 64
)

// KeyRange selects the keys from From on, up to but not including To; without To up to
// the last.
type KeyRange struct{ From, To []byte }

// Watch asks for what changes. A key or lock is followed that any of the selectors selects.
type Watch struct {
	Cluster  string // uid of the cluster that After is of; "": any
	Resume   bool   // go on behind After; otherwise from now
	After    uint64
	Mirror   bool // the state first, and again after a gap
	Prev     bool // with the item before each event
	KeysOnly bool // without values
	// ProgressMs is how often a bookmark comes, in milliseconds; 0: as the server likes.
	ProgressMs uint64
	Keys       [][]byte
	Prefixes   [][]byte
	Ranges     []KeyRange
	Locks      [][]byte // names of locks; without any they do not travel
}

func (m Watch) append(dst []byte) []byte {
	fields := 10
	if len(m.Locks) > 0 {
		fields++
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendString(dst, m.Cluster)
	dst = msgpack.AppendBool(dst, m.Resume)
	dst = msgpack.AppendUint(dst, m.After)
	dst = msgpack.AppendBool(dst, m.Mirror)
	dst = msgpack.AppendBool(dst, m.Prev)
	dst = msgpack.AppendBool(dst, m.KeysOnly)
	dst = msgpack.AppendUint(dst, m.ProgressMs)
	dst = appendTexts(dst, m.Keys)
	dst = appendTexts(dst, m.Prefixes)
	dst = msgpack.AppendArray(dst, len(m.Ranges))
	for _, r := range m.Ranges {
		dst = msgpack.AppendArray(dst, 2)
		dst = msgpack.AppendBytes(dst, r.From)
		dst = msgpack.AppendBytes(dst, r.To)
	}
	if len(m.Locks) > 0 {
		dst = appendTexts(dst, m.Locks)
	}
	return dst
}

func appendTexts(dst []byte, texts [][]byte) []byte {
	dst = msgpack.AppendArray(dst, len(texts))
	for _, text := range texts {
		dst = msgpack.AppendBytes(dst, text)
	}
	return dst
}

// Parse reads a body.
func (m *Watch) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(11)
	m.Cluster = r.String(maxClusterBytes)
	m.Resume = r.Bool()
	m.After = r.Uint()
	m.Mirror = r.Bool()
	m.Prev = r.Bool()
	m.KeysOnly = r.Bool()
	m.ProgressMs = r.Uint()
	m.Keys = readTexts(&r, api.MaxKeyBytes)
	m.Prefixes = readTexts(&r, api.MaxKeyBytes)
	n := r.Array(api.MaxSelectors)
	m.Ranges = make([]KeyRange, 0, n)
	for range n {
		r.Fields(2)
		m.Ranges = append(m.Ranges, KeyRange{From: r.Bytes(api.MaxKeyBytes), To: r.Bytes(api.MaxKeyBytes)})
	}
	if m.Locks = nil; fields == 11 {
		m.Locks = readTexts(&r, api.MaxLockNameBytes)
	}
	switch {
	case fields < 10 || fields == 11 && len(m.Locks) == 0:
		r.Reject(fmt.Sprintf("a watch of %d fields, which has no meaning here", fields))
	case !m.Resume && m.After != 0:
		r.Reject("a revision to go on from where nothing is gone on from")
	}
	return r.Close()
}

func readTexts(r *msgpack.Reader, longest int) [][]byte {
	n := r.Array(api.MaxSelectors)
	texts := make([][]byte, 0, n)
	for range n {
		texts = append(texts, r.Bytes(longest))
	}
	return texts
}

// Watching says that a watch is in place.
type Watching struct {
	StateFirst bool   // so it begins with items, and After is no bookmark
	After      uint64 // where it begins
	Revision   uint64 // of the store now
	Oldest     uint64 // first revision whose change is kept
}

func (m Watching) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 4)
	dst = msgpack.AppendBool(dst, m.StateFirst)
	dst = msgpack.AppendUint(dst, m.After)
	dst = msgpack.AppendUint(dst, m.Revision)
	return msgpack.AppendUint(dst, m.Oldest)
}

// Parse reads a body.
func (m *Watching) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(4)
	m.StateFirst = r.Bool()
	m.After = r.Uint()
	m.Revision = r.Uint()
	m.Oldest = r.Uint()
	return r.Close()
}

// Changes carries a piece of what a watch brings. The pieces up to one without More
// belong together: joined they are notes, see Notes. A frame without content and with
// the number 0 is a sign of life of the connection.
type Changes struct {
	More    bool
	Content []byte
}

func (m Changes) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 2)
	dst = msgpack.AppendBool(dst, m.More)
	return msgpack.AppendBytes(dst, m.Content)
}

// Parse reads a body.
func (m *Changes) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(2)
	m.More = r.Bool()
	m.Content = r.Bytes(MaxPieceBytes)
	if m.More && len(m.Content) == 0 {
		r.Reject("a piece without content, and more behind it")
	}
	return r.Close()
}

// Credit says that a client has taken Bytes bytes of the content of a watch, and has
// room for as many more.
type Credit struct{ Bytes uint64 }

func (m Credit) append(dst []byte) []byte {
	return msgpack.AppendUint(msgpack.AppendArray(dst, 1), m.Bytes)
}

// Parse reads a body.
func (m *Credit) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	m.Bytes = r.Uint()
	return r.Close()
}

// Sync asks for a bookmark of a watch, which has the number Watch.
type Sync struct{ Watch uint32 }

func (m Sync) append(dst []byte) []byte {
	return msgpack.AppendUint(msgpack.AppendArray(dst, 1), uint64(m.Watch))
}

// Parse reads a body.
func (m *Sync) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	watch := r.Uint()
	if watch > 1<<32-1 {
		r.Reject(fmt.Sprintf("a watch of the number %d, which no request has", watch))
	}
	m.Watch = uint32(watch)
	return r.Close()
}

// Synced answers Sync: every write that was answered before it was sent is at or before
// Revision, and everything up to there that matches was sent before this.
type Synced struct{ Revision uint64 }

func (m Synced) append(dst []byte) []byte {
	return msgpack.AppendUint(msgpack.AppendArray(dst, 1), m.Revision)
}

// Parse reads a body.
func (m *Synced) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	m.Revision = r.Uint()
	return r.Close()
}

// Ended is the end of a watch. Its code is empty if the client asked for it.
type Ended struct {
	// Oldest and Why.Revision say how far the history reaches, at api.CodeRevisionGone.
	Oldest uint64
	Why    Refused
}

func (m Ended) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 2)
	dst = msgpack.AppendUint(dst, m.Oldest)
	return m.Why.append(dst)
}

// Parse reads a body.
func (m *Ended) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(2)
	m.Oldest = r.Uint()
	m.Why.read(&r)
	return r.Close()
}
