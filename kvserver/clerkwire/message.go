package clerkwire

import (
	"fmt"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// Empty is a body without content: a request to open a session, a goodbye.
type Empty struct{}

func (Empty) append(dst []byte) []byte { return msgpack.AppendArray(dst, 0) }

// Parse reads a body. Of this and every other Parse: byte strings alias the body, and
// errors wrap msgpack.ErrMalformed.
func (*Empty) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(0)
	return r.Close()
}

// maxTokenBytes bounds a token.
const maxTokenBytes = 128

// Auth gives a connection another token: from its answer on requests are those of the
// token's identity.
type Auth struct {
	Token []byte
}

func (m Auth) append(dst []byte) []byte {
	return msgpack.AppendBytes(msgpack.AppendArray(dst, 1), m.Token)
}

// Parse reads a body.
func (m *Auth) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	m.Token = r.Bytes(maxTokenBytes)
	return r.Close()
}

// Opened answers a request to open a session.
type Opened struct{ Session uint64 }

func (m Opened) append(dst []byte) []byte {
	return msgpack.AppendUint(msgpack.AppendArray(dst, 1), m.Session)
}

// Parse reads a body.
func (m *Opened) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(1)
	m.Session = r.Uint()
	return r.Close()
}

// Configuration tells a Clerk that the members have changed: the number of the newest
// committed configuration, an api.ConfigurationNumber.
type Configuration struct{ Generation, Version uint64 }

func (m Configuration) append(dst []byte) []byte {
	return msgpack.AppendUint(msgpack.AppendUint(msgpack.AppendArray(dst, 2), m.Generation), m.Version)
}

// Parse reads a body.
func (m *Configuration) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(2)
	m.Generation = r.Uint()
	m.Version = r.Uint()
	return r.Close()
}

// Consistency is the freshness that a read asks for.
type Consistency uint8

// The consistencies.
const (
	Linearizable Consistency = 0
	Stale        Consistency = 1
)

func readConsistency(r *msgpack.Reader) Consistency {
	v := r.Uint()
	if v > uint64(Stale) {
		r.Reject(fmt.Sprintf("a consistency of %d, which has no meaning here", v))
	}
	return Consistency(v)
}

// Get asks for the value of a key.
type Get struct {
	Consistency Consistency
	MinRevision uint64 // the store must have reached this revision
	Key         []byte
	Pinned      Pinned // of Protocol2; it travels only if it says something
}

// Pinned asks for the store as it was at a revision, whatever the rest of a read says.
type Pinned struct {
	Set bool
	At  uint64
}

func (m Get) append(dst []byte) []byte {
	fields := 3
	if m.Pinned.Set {
		fields++
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendUint(dst, uint64(m.Consistency))
	dst = msgpack.AppendUint(dst, m.MinRevision)
	dst = msgpack.AppendBytes(dst, m.Key)
	if m.Pinned.Set {
		dst = msgpack.AppendUint(dst, m.Pinned.At)
	}
	return dst
}

// Parse reads a body.
func (m *Get) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(4)
	m.Consistency = readConsistency(&r)
	m.MinRevision = r.Uint()
	m.Key = r.Bytes(api.MaxKeyBytes)
	if m.Pinned = (Pinned{}); fields == 4 {
		m.Pinned = Pinned{true, r.Uint()}
	}
	if fields < 3 {
		r.Reject(fmt.Sprintf("a get of %d fields, which has no meaning here", fields))
	}
	return r.Close()
}

// Got answers Get.
type Got struct {
	Found    bool
	Revision uint64 // of the key's value
	Version  uint64
	Store    uint64 // the store's revision
	Value    []byte
	// Created and Lease are of Protocol2. What is 0 does not travel, and Lease is 0 where
	// Created is.
	Created uint64
	Lease   int64
}

func (m Got) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 5+originFields(m.Created, m.Lease))
	dst = msgpack.AppendBool(dst, m.Found)
	dst = msgpack.AppendUint(dst, m.Revision)
	dst = msgpack.AppendUint(dst, m.Version)
	dst = msgpack.AppendUint(dst, m.Store)
	dst = msgpack.AppendBytes(dst, m.Value)
	return appendOrigin(dst, m.Created, m.Lease)
}

// originFields is how many fields say where an item comes from: when it was created, and
// to which lease it is tied.
func originFields(created uint64, lease int64) int {
	switch {
	case lease != 0:
		return 2
	case created != 0:
		return 1
	}
	return 0
}

func appendOrigin(dst []byte, created uint64, lease int64) []byte {
	if created != 0 || lease != 0 {
		dst = msgpack.AppendUint(dst, created)
	}
	if lease != 0 {
		dst = msgpack.AppendUint(dst, uint64(lease))
	}
	return dst
}

// readOrigin reads what appendOrigin has written, of which there are so many fields.
func readOrigin(r *msgpack.Reader, fields int) (created uint64, lease int64) {
	if fields > 0 {
		created = r.Uint()
	}
	if fields > 1 {
		lease = int64(r.Uint())
	}
	if fields > 0 && created == 0 || fields > 1 && lease == 0 {
		r.Reject("an item with a field that says nothing")
	}
	return created, lease
}

// Parse reads a body.
func (m *Got) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(7)
	m.Found = r.Bool()
	m.Revision = r.Uint()
	m.Version = r.Uint()
	m.Store = r.Uint()
	m.Value = r.Bytes(api.MaxValueBytes)
	m.Created, m.Lease = readOrigin(&r, fields-5)
	if fields < 5 {
		r.Reject(fmt.Sprintf("an answer to a get with %d fields, which has no meaning here", fields))
	}
	return r.Close()
}

// ConditionKind is the kind of condition on which a write depends.
type ConditionKind uint8

// The conditions. Zero is none.
const (
	Always     ConditionKind = 0
	IfRevision ConditionKind = 2 // the key's value has this revision
	IfPresent  ConditionKind = 3
	IfAbsent   ConditionKind = 4
)

// Write is a put, append or delete in a session; the frame's kind tells which.
type Write struct {
	Session   uint64
	Lane      uint64
	Seq       uint64
	Condition ConditionKind
	Number    uint64 // of IfRevision
	Key       []byte
	Value     []byte    // empty in a delete
	More      WriteMore // of Protocol2; it travels only if it says something
}

// WriteMore is what few writes ask for.
type WriteMore struct {
	Lease int64  // a put: the key ends with this lease; 0: with none
	TTL   uint64 // a put: milliseconds until the key ends; 0: it does not
	Keep  bool   // a put: the key's end stays as it is, and there must be such a key
	// Previous: the answer has what was there before.
	Previous bool
	Guard    Guard
}

func (m Write) append(dst []byte) []byte {
	fields := 7
	if m.More != (WriteMore{}) {
		fields++
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendUint(dst, m.Session)
	dst = msgpack.AppendUint(dst, m.Lane)
	dst = msgpack.AppendUint(dst, m.Seq)
	dst = msgpack.AppendUint(dst, uint64(m.Condition))
	dst = msgpack.AppendUint(dst, m.Number)
	dst = msgpack.AppendBytes(dst, m.Key)
	dst = msgpack.AppendBytes(dst, m.Value)
	if m.More != (WriteMore{}) {
		dst = m.More.append(dst)
	}
	return dst
}

func (m *WriteMore) append(dst []byte) []byte {
	fields := 4
	if m.Guard != (Guard{}) {
		fields += 2
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendUint(dst, uint64(m.Lease))
	dst = msgpack.AppendUint(dst, m.TTL)
	dst = msgpack.AppendBool(dst, m.Keep)
	dst = msgpack.AppendBool(dst, m.Previous)
	if m.Guard != (Guard{}) {
		dst = m.Guard.append(dst)
	}
	return dst
}

// Parse reads a body.
func (m *Write) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(8)
	m.Session = r.Uint()
	m.Lane = r.Uint()
	m.Seq = r.Uint()
	condition := r.Uint()
	m.Number = r.Uint()
	m.Key = r.Bytes(api.MaxKeyBytes)
	m.Value = r.Bytes(api.MaxValueBytes)
	m.Condition = ConditionKind(condition)
	if m.More = (WriteMore{}); fields == 8 {
		m.More.read(&r)
	}
	switch {
	case fields < 7:
		r.Reject(fmt.Sprintf("a write of %d fields, which has no meaning here", fields))
	case condition != uint64(Always) && (condition < uint64(IfRevision) || condition > uint64(IfAbsent)):
		r.Reject(fmt.Sprintf("a condition of kind %d, which has no meaning here", condition))
	case m.Condition != IfRevision && m.Number != 0:
		r.Reject("a number that its condition does not take")
	}
	return r.Close()
}

func (m *WriteMore) read(r *msgpack.Reader) {
	fields := r.Array(6)
	m.Lease = int64(r.Uint())
	m.TTL = r.Uint()
	m.Keep = r.Bool()
	m.Previous = r.Bool()
	if fields == 6 {
		m.Guard = readGuard(r)
	}
	switch {
	case fields != 4 && fields != 6:
		r.Reject(fmt.Sprintf("a write with %d more fields, which have no meaning here", fields))
	case *m == (WriteMore{}):
		r.Reject("a write with more fields that say nothing")
	}
}

// Written answers a put, append or delete that was done.
type Written struct {
	Revision uint64 // that the change took, or the store's if nothing changed
	Version  uint64
	Length   uint64 // of the value
	Created  bool
	Deleted  bool
	Replayed bool // an earlier attempt had done it
	// Outcome has what was there before, if that was asked for; see txn.Outcome.Encode.
	// Empty it does not travel.
	Outcome string
}

func (m Written) append(dst []byte) []byte {
	fields := 6
	if len(m.Outcome) > 0 {
		fields++
	}
	dst = msgpack.AppendArray(dst, fields)
	dst = msgpack.AppendUint(dst, m.Revision)
	dst = msgpack.AppendUint(dst, m.Version)
	dst = msgpack.AppendUint(dst, m.Length)
	dst = msgpack.AppendBool(dst, m.Created)
	dst = msgpack.AppendBool(dst, m.Deleted)
	dst = msgpack.AppendBool(dst, m.Replayed)
	if len(m.Outcome) > 0 {
		dst = msgpack.AppendBytes(dst, m.Outcome)
	}
	return dst
}

// Parse reads a body.
func (m *Written) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	fields := r.Array(7)
	m.Revision = r.Uint()
	m.Version = r.Uint()
	m.Length = r.Uint()
	m.Created = r.Bool()
	m.Deleted = r.Bool()
	m.Replayed = r.Bool()
	if m.Outcome = ""; fields == 7 {
		m.Outcome = string(r.Bytes(maxOutcomeBytes))
	}
	if fields < 6 || fields == 7 && len(m.Outcome) == 0 {
		r.Reject(fmt.Sprintf("an answer to a write with %d fields, which has no meaning here", fields))
	}
	return r.Close()
}

// Refused answers a request that was not served, with the reason.
type Refused struct {
	Code      api.Code
	Outcome   api.Outcome
	Retryable bool
	// Decided means that the log decided so and the session remembers it. No other
	// attempt at the same call will end differently.
	Decided    bool
	RetryAfter time.Duration // whole milliseconds
	Node       string        // the node that refuses
	Leader     string        // the leader as far as that node knows
	LeaderAddr string        // the leader's address for clients, if that node knows it
	Term       uint64
	Revision   uint64 // of the key, of a condition that did not hold; 0: there is no such key
	Version    uint64
	RequestID  string // names the request in the server's log
	Detail     string
}

func (m Refused) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 13)
	dst = msgpack.AppendString(dst, clip(string(m.Code), maxNameBytes))
	dst = msgpack.AppendString(dst, clip(string(m.Outcome), maxNameBytes))
	dst = msgpack.AppendBool(dst, m.Retryable)
	dst = msgpack.AppendBool(dst, m.Decided)
	dst = msgpack.AppendUint(dst, uint64(max(m.RetryAfter, 0)/time.Millisecond))
	dst = msgpack.AppendString(dst, clip(m.Node, maxNameBytes))
	dst = msgpack.AppendString(dst, clip(m.Leader, maxNameBytes))
	dst = msgpack.AppendString(dst, clip(m.LeaderAddr, maxNameBytes))
	dst = msgpack.AppendUint(dst, m.Term)
	dst = msgpack.AppendUint(dst, m.Revision)
	dst = msgpack.AppendUint(dst, m.Version)
	dst = msgpack.AppendString(dst, clip(m.RequestID, maxNameBytes))
	return msgpack.AppendString(dst, clip(m.Detail, maxDetailBytes))
}

func clip(s string, limit int) string { return s[:min(len(s), limit)] }

// maxRetryAfter is the longest time for which a server can make a client wait.
const maxRetryAfter = time.Hour

// Parse reads a body.
func (m *Refused) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	m.read(&r)
	return r.Close()
}

func (m *Refused) read(r *msgpack.Reader) {
	r.Fields(13)
	m.Code = api.Code(r.String(maxNameBytes))
	m.Outcome = api.Outcome(r.String(maxNameBytes))
	m.Retryable = r.Bool()
	m.Decided = r.Bool()
	m.RetryAfter = time.Duration(min(r.Uint(), uint64(maxRetryAfter/time.Millisecond))) * time.Millisecond
	m.Node = r.String(maxNameBytes)
	m.Leader = r.String(maxNameBytes)
	m.LeaderAddr = r.String(maxNameBytes)
	m.Term = r.Uint()
	m.Revision = r.Uint()
	m.Version = r.Uint()
	m.RequestID = r.String(maxNameBytes)
	m.Detail = r.String(maxDetailBytes)
	switch m.Outcome {
	case "", api.OutcomeNotApplied, api.OutcomeUnknown:
	default:
		// An outcome that is unknown here must not be taken for a promise.
		r.Reject(fmt.Sprintf("the outcome %q, which has no meaning here", m.Outcome))
	}
}
