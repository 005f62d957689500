package clerkwire

import (
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// MaxForwardBody is the length of the longest body of a forward frame. Such a frame
// is read without memory of its own, and holds up those behind it for 0.3 ms on a
// network of 1 Gbit/s. Nodes pass longer commands on over HTTP.
const MaxForwardBody = SmallBytes

// Forwards are the frames that may come to the leader on a connection of another node,
// ForwardAnswers those that may come back.
var (
	Forwards       = Limits{KindForward: MaxForwardBody}
	ForwardAnswers = Limits{KindRefused: maxRefusedBody, KindGoodbye: maxSmallBody, KindForwarded: maxRefusedBody}
)

// Forward carries a client's command from the node that has the client to the leader.
type Forward struct {
	RequestID string        // names the request in answers and logs
	Left      time.Duration // of the request's time, whole milliseconds
	Token     []byte        // of the client; empty: it has none
	// Command is encoded. What only the leader may decide is empty in it: identity,
	// time, limit and quota.
	Command []byte
	// Sum is the CRC-32C of Command, made where that is made: from there on to the leader's
	// log nobody else would notice a flipped bit, which all nodes would then apply alike.
	Sum uint32
}

// Intact reports whether the command is what was sent.
func (m *Forward) Intact() bool { return m.Sum == SumOf(m.Command) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SumOf returns the checksum of an encoded command, for Forward.Sum.
func SumOf(command []byte) uint32 { return crc32.Checksum(command, castagnoli) }

// ForwardRoom is how much longer the body of a Forward can be than its command.
const ForwardRoom = api.MaxRequestIDBytes + maxTokenBytes + 40

// maxLeft is the longest time that a request can have left.
const maxLeft = time.Hour

func (m Forward) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 5)
	dst = msgpack.AppendString(dst, clip(m.RequestID, api.MaxRequestIDBytes))
	dst = msgpack.AppendUint(dst, uint64(max(m.Left, 0)/time.Millisecond))
	dst = msgpack.AppendBytes(dst, m.Token)
	dst = msgpack.AppendBytes(dst, m.Command)
	return msgpack.AppendUint(dst, uint64(m.Sum))
}

// Parse reads a body.
func (m *Forward) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(5)
	m.RequestID = r.String(api.MaxRequestIDBytes)
	m.Left = time.Duration(min(r.Uint(), uint64(maxLeft/time.Millisecond))) * time.Millisecond
	m.Token = r.Bytes(maxTokenBytes)
	m.Command = r.Bytes(MaxForwardBody)
	sum := r.Uint()
	m.Sum = uint32(sum)
	if err := r.Close(); err != nil {
		return err
	}
	if sum > math.MaxUint32 {
		return fmt.Errorf("clerkwire: the checksum %d has more than 32 bits", sum)
	}
	return nil
}

// Forwarded is the log's answer to a Forward. If the log was not asked, or has not
// answered, the answer is a Refused.
type Forwarded struct {
	Node   string // the node that answers
	Leader string // the leader as far as that node knows
	Term   uint64
	Status uint64 // of the command's result; 0: it was done
	// Revision to Replayed are those of the result. Of a condition that did not hold,
	// Revision and Version are the key's.
	Revision uint64
	Version  uint64
	Length   uint64
	Created  bool
	Deleted  bool
	Replayed bool
	Detail   string // says why it was not done
}

func (m Forwarded) append(dst []byte) []byte {
	dst = msgpack.AppendArray(dst, 11)
	dst = msgpack.AppendString(dst, clip(m.Node, maxNameBytes))
	dst = msgpack.AppendString(dst, clip(m.Leader, maxNameBytes))
	dst = msgpack.AppendUint(dst, m.Term)
	dst = msgpack.AppendUint(dst, m.Status)
	dst = msgpack.AppendUint(dst, m.Revision)
	dst = msgpack.AppendUint(dst, m.Version)
	dst = msgpack.AppendUint(dst, m.Length)
	dst = msgpack.AppendBool(dst, m.Created)
	dst = msgpack.AppendBool(dst, m.Deleted)
	dst = msgpack.AppendBool(dst, m.Replayed)
	return msgpack.AppendString(dst, clip(m.Detail, maxDetailBytes))
}

// Parse reads a body.
func (m *Forwarded) Parse(body []byte) error {
	r := msgpack.NewReader(body)
	r.Fields(11)
	m.Node = r.String(maxNameBytes)
	m.Leader = r.String(maxNameBytes)
	m.Term = r.Uint()
	m.Status = r.Uint()
	m.Revision = r.Uint()
	m.Version = r.Uint()
	m.Length = r.Uint()
	m.Created = r.Bool()
	m.Deleted = r.Bool()
	m.Replayed = r.Bool()
	m.Detail = r.String(maxDetailBytes)
	return r.Close()
}
