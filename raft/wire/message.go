package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"reflect"
	"slices"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"raftkv/raft/core"
	"raftkv/raft/msgpack"
)

// handle configures the library: structs are arrays in the order of their fields,
// in today's msgpack with its byte strings and extensions. It is not changed after
// it is made, so every connection shares it.
var handle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.StructToArray = true
	h.ErrorIfNoField = true
	h.MaxDepth = 4
	if err := h.SetBytesExt(reflect.TypeFor[packedBytes](), packedExtension, packedCodec{}); err != nil {
		panic(fmt.Sprintf("wire: the msgpack library does not take our extension: %v", err))
	}
	return h
}()

// The shapes of the bodies, field by field as in raft/core/rpc.go.
var (
	requestVoteShape        = shape{uintElement, idElement, uintElement, uintElement, boolElement, boolElement}
	requestVoteReplyShape   = shape{uintElement, boolElement}
	appendEntriesReplyShape = shape{uintElement, boolElement, uintElement, uintElement, boolElement, boolElement, uintElement}
	timeoutNowShape         = shape{uintElement, idElement}
	timeoutNowReplyShape    = shape{uintElement}
	readIndexShape          = shape{uintElement}
	readIndexReplyShape     = shape{uintElement, boolElement, uintElement}
	rejoinShape             = shape{}
	rejoinReplyShape        = shape{uintElement, boolElement, boolElement, uintElement, packedElement}

	installSnapshotReplyShape = shape{uintElement}
)

// encoder turns messages into frames. It keeps its buffers from one frame to
// the next and belongs to one goroutine.
type encoder struct {
	enc  *codec.Encoder
	body []byte // where the library writes; inside the frame's buffer
}

func newEncoder() *encoder {
	e := &encoder{}
	e.enc = codec.NewEncoderBytes(&e.body, handle)
	return e
}

// request appends the frame of a request to dst. If the frame would be longer than
// MaxFrameBytes, it returns dst unchanged and an error.
func (e *encoder) request(dst []byte, request core.Request) ([]byte, error) {
	bound := frameBound(request)
	if bound > MaxFrameBytes {
		return dst, fmt.Errorf("wire: a message with %d bytes of entries does not fit in a frame of %d; let fewer travel together", bound, MaxFrameBytes)
	}
	if m, ok := request.(*core.AppendEntries); ok {
		return e.appendEntries(dst, m, bound), nil
	}
	return e.frame(dst, requestKind(request), request, bound), nil
}

// reply appends the frame of an answer to dst. A nil reply means that there is no
// answer.
func (e *encoder) reply(dst []byte, reply core.Reply) []byte {
	if reply == nil {
		return e.seal(append(dst, make([]byte, headerBytes)...), len(dst), kindNoReply)
	}
	var body any = reply
	switch m := reply.(type) {
	case *core.AppendEntriesReply:
		return e.appendEntriesReply(dst, m)
	case *core.RejoinReply:
		body = &rejoinReplyBody{Term: m.Term, Rejoining: m.Rejoining, Leads: m.Leads, LastIndex: m.LastIndex, UID: m.UID[:]}
	}
	return e.frame(dst, replyKind(reply), body, headerBytes+maxSmallBody)
}

// frame appends one frame of at most bound bytes to dst. The library encodes
// straight into dst's spare room, so that a body is not copied once more.
func (e *encoder) frame(dst []byte, k kind, message any, bound int) []byte {
	dst = slices.Grow(dst, bound)
	start := len(dst)
	body := start + k.headerBytes()
	e.body = dst[body:body:cap(dst)]
	e.enc.ResetBytes(&e.body)
	if err := e.enc.Encode(message); err != nil {
		panic(fmt.Sprintf("wire: a %T cannot be encoded: %v", message, err))
	}
	dst = dst[:body+len(e.body)]
	e.body = nil
	return e.sealed(dst, start, k, bound)
}

// sealed is seal for a frame that must have at most bound bytes.
func (e *encoder) sealed(dst []byte, start int, k kind, bound int) []byte {
	dst = e.seal(dst, start, k)
	if n := len(dst) - start; n > bound {
		panic(fmt.Sprintf("wire: a frame of kind 0x%02x took %d bytes where at most %d were expected", uint8(k), n, bound))
	}
	return dst
}

// seal fills in the header and the checksum of the frame that begins at start and
// ends where dst does.
func (e *encoder) seal(dst []byte, start int, k kind) []byte {
	header, body := dst[start:start+k.headerBytes()], dst[start+k.headerBytes():]
	header[0] = byte(k)
	if k.greeting() {
		binary.LittleEndian.PutUint32(header[1:], uint32(len(body)+sumBytes))
		return binary.LittleEndian.AppendUint32(dst, greetingSum(k, body))
	}
	binary.LittleEndian.PutUint32(header[1:], onlyGroup)
	binary.LittleEndian.PutUint32(header[5:], uint32(len(body)))
	binary.LittleEndian.PutUint32(header[headerBytes-sumBytes:], frameSum(header, body))
	return dst
}

// decoder turns bodies into messages. It belongs to one goroutine.
type decoder struct {
	dec    *codec.Decoder
	leader core.ID // the last one that an AppendEntries named
}

func newDecoder() *decoder {
	return &decoder{dec: codec.NewDecoderBytes([]byte{}, handle)}
}

// request decodes the body of a request. The entries of an AppendEntries alias
// body, which must then belong to the message for good.
func (d *decoder) request(k kind, body []byte) (core.Request, error) {
	switch k {
	case kindRequestVote:
		m := new(core.RequestVote)
		return m, d.decode(body, requestVoteShape, m)
	case kindAppendEntries:
		m, err := d.appendEntries(body)
		if err != nil {
			return nil, err
		}
		return m, nil
	case kindTimeoutNow:
		m := new(core.TimeoutNow)
		return m, d.decode(body, timeoutNowShape, m)
	case kindReadIndex:
		m := new(core.ReadIndex)
		return m, d.decode(body, readIndexShape, m)
	case kindRejoin:
		m := new(core.Rejoin)
		return m, d.decode(body, rejoinShape, m)
	}
	return nil, malformed("kind 0x%02x is not a request", uint8(k))
}

// reply decodes the body of an answer; nil without an error is kindNoReply.
func (d *decoder) reply(k kind, body []byte) (core.Reply, error) {
	switch k {
	case kindNoReply:
		return nil, nil
	case kindRequestVoteReply:
		m := new(core.RequestVoteReply)
		return m, d.decode(body, requestVoteReplyShape, m)
	case kindAppendEntriesReply:
		m, err := d.appendEntriesReply(body)
		if err != nil {
			return nil, err
		}
		return m, nil
	case kindTimeoutNowReply:
		m := new(core.TimeoutNowReply)
		return m, d.decode(body, timeoutNowReplyShape, m)
	case kindReadIndexReply:
		m := new(core.ReadIndexReply)
		return m, d.decode(body, readIndexReplyShape, m)
	case kindRejoinReply:
		return d.rejoinReply(body)
	case kindInstallSnapshotReply:
		m := new(core.InstallSnapshotReply)
		return m, d.decode(body, installSnapshotReplyShape, m)
	}
	return nil, malformed("kind 0x%02x is not an answer", uint8(k))
}

// rejoinReplyBody is a RejoinReply as it travels.
type rejoinReplyBody struct {
	Term      uint64
	Rejoining bool
	Leads     bool
	LastIndex uint64
	UID       packedBytes // zeros: not known
}

// rejoinReply decodes the body of the answer to a Rejoin.
func (d *decoder) rejoinReply(body []byte) (core.Reply, error) {
	var b rejoinReplyBody
	if err := d.decode(body, rejoinReplyShape, &b); err != nil {
		return nil, err
	}
	if len(b.UID) != len(core.UID{}) {
		return nil, malformed("a uid of %d bytes, not %d", len(b.UID), len(core.UID{}))
	}
	return &core.RejoinReply{Term: b.Term, Rejoining: b.Rejoining, Leads: b.Leads, LastIndex: b.LastIndex, UID: core.UID(b.UID)}, nil
}

// decode fills message from a body that must have the shape s.
func (d *decoder) decode(body []byte, s shape, message any) error {
	if err := s.check(body); err != nil {
		return err
	}
	d.dec.ResetBytes(body)
	if err := d.dec.Decode(message); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// The library that decodes bodies is made to be lenient: it takes a number for a
// truth value, an array for a byte string and nil for anything. It ignores bytes
// after the end, and skips items that it does not expect, however deep and long they
// claim to be. So every body is first compared with the one shape that its kind
// has, byte by byte and without decoding anything. A body that passes holds no
// length that exceeds the bytes behind it and is exactly what the library itself
// would write. Only such a body is given to the library.

// element is the kind of item that stands at one place of a body's array.
type element uint8

const (
	uintElement    element = iota // unsigned, in the shortest form
	boolElement                   // true or false
	idElement                     // string of at most core.MaxIDBytes
	clusterElement                // string of at most maxClusterIDBytes
	textElement                   // string of at most maxClientAddrBytes
	detailElement                 // string of at most maxDetailBytes
	packedElement                 // extension packedExtension
)

// shape describes a body: an array of these elements, and nothing after it.
type shape []element

// check returns nil if body has the shape s.
func (s shape) check(body []byte) error {
	r := msgpack.NewReader(body)
	if r.Fields(len(s)); r.Fault() != "" {
		return malformed("the body is not an array of %d", len(s))
	}
	for i, e := range s {
		e.skip(&r)
		if r.Fault() != "" {
			return malformed("field %d of %d is cut off or of the wrong type", i+1, len(s))
		}
	}
	if r.Left() != 0 {
		return malformed("%d bytes after the end of the body", r.Left())
	}
	return nil
}

// skip steps over one element. If it is not there, r has a fault.
func (e element) skip(r *msgpack.Reader) {
	switch e {
	case uintElement:
		r.Uint()
	case boolElement:
		r.Bool()
	case idElement:
		r.Text(core.MaxIDBytes)
	case clusterElement:
		r.Text(maxClusterIDBytes)
	case textElement:
		r.Text(maxClientAddrBytes)
	case detailElement:
		r.Text(maxDetailBytes)
	case packedElement:
		r.Extension(packedExtension)
	}
}

// helloVersion returns the version of the protocol that the sender of a hello
// speaks, without anything else of it: these two fields come first in every
// version. It reports false if the body is not the hello of a raftkv peer.
func helloVersion(body []byte) (v uint64, ok bool) {
	r := msgpack.NewReader(body)
	r.ArrayHeader()
	word, v := r.Text(maxClientAddrBytes), r.Uint()
	return v, r.Fault() == "" && string(word) == magic && v != 0
}

// appendEntries is AppendEntries in the form in which it travels: the entries are
// one byte string, encoded as on disk. That is several times cheaper than an array
// of arrays.
type appendEntries struct {
	Term         uint64
	LeaderID     core.ID
	PrevLogIndex uint64
	PrevLogTerm  uint64
	LeaderCommit uint64
	Count        uint64 // entries in Entries
	Entries      packedBytes
	Padding      packedBytes // zeros; see paddingFor
}

var appendEntriesShape = shape{
	uintElement, idElement, uintElement, uintElement, uintElement,
	uintElement, packedElement, packedElement,
}

// packedBytes are bytes that mean nothing to msgpack, such as a run of entries
// in the encoding of core.EncodeEntries.
type packedBytes []byte

// packedExtension is the type of the msgpack extension that carries packed bytes.
// An extension is the one kind of byte string that the library decodes without
// copying it.
const packedExtension = 1

// packedCodec converts packed bytes to an extension and back, for the library.
// Decoded ones alias the body from which they were decoded.
type packedCodec struct{}

func (packedCodec) WriteExt(v any) []byte {
	switch packed := v.(type) {
	case packedBytes:
		return packed
	case *packedBytes:
		return *packed
	}
	panic(fmt.Sprintf("wire: %T is not packed bytes", v))
}

func (packedCodec) ReadExt(dst any, src []byte) {
	*dst.(*packedBytes) = packedBytes(src[:len(src):len(src)])
}

// An encoded entry can be as short as seven bytes and takes 48 in memory, so a
// frame of nothing but such entries would make its receiver take seven times as much
// memory as was sent. Therefore freeEntries entries are free, and each further one
// must come with bytesPerEntry bytes. A sender whose entries are shorter than that on
// average adds padding. Real commands are longer, so padding is very rare.
const (
	freeEntries   = 512
	bytesPerEntry = 24
)

// paddingFor returns the number of bytes of padding that count entries need, which
// are encoded in entryBytes bytes.
func paddingFor(count, entryBytes int) int {
	return max(0, (count-freeEntries)*bytesPerEntry-entryBytes)
}

// unpack returns the message of a received body. Its entries alias the body.
func (m *appendEntries) unpack() (*core.AppendEntries, error) {
	if m.Count > MaxFrameBytes {
		return nil, malformed("%d entries cannot fit in any frame", m.Count)
	}
	if want := paddingFor(int(m.Count), len(m.Entries)); len(m.Padding) != want {
		return nil, malformed("%d bytes of padding where %d belong", len(m.Padding), want)
	}
	for _, b := range m.Padding {
		if b != 0 {
			return nil, malformed("the padding holds a byte that is not 0")
		}
	}
	entries, err := core.DecodeEntries(m.Entries, m.PrevLogIndex+1, int(m.Count))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	request := &core.AppendEntries{
		Term:         m.Term,
		LeaderID:     m.LeaderID,
		PrevLogIndex: m.PrevLogIndex,
		PrevLogTerm:  m.PrevLogTerm,
		Entries:      entries,
		LeaderCommit: m.LeaderCommit,
	}
	if err := request.Valid(); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return request, nil
}

// encodedLen returns the exact length of core.EncodeEntries(nil, entries).
func encodedLen(entries []core.Entry) int {
	n := 0
	for i := range entries {
		data := len(entries[i].Data)
		n += uvarintLen(entries[i].Term) + 1 + 4 + uvarintLen(uint64(data)) + data
	}
	return n
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// frameBound returns an upper bound of the length of a request's frame. It is close
// enough to count against limits, and computed without encoding anything.
func frameBound(request core.Request) int {
	m, ok := request.(*core.AppendEntries)
	if !ok {
		return headerBytes + maxSmallBody
	}
	n := encodedLen(m.Entries)
	return entryRoom + n + paddingFor(len(m.Entries), n)
}
