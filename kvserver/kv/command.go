package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/fields"
)

// Op is the operation of a command. Values are stored in logs: they are only ever
// added to.
type Op uint8

// The operations. Zero is none of them, so that a zeroed record is not a command.
const (
	OpOpenSession Op = 1 // start a session; its ID is the command's log index
	OpPut         Op = 2 // set Key to Value
	OpAppend      Op = 3 // add Value at the end of Key's value; a missing key counts as empty
	OpDelete      Op = 4 // remove Key
	OpGet         Op = 5 // read Key at this position in the log

	// From LevelHistory on. Value holds the body: its version u8 = 1, a number uvarint.
	OpSettings Op = 7  // set how many bytes the history may be charged with
	OpForget   Op = 22 // drop the changes before a revision
	OpLift     Op = 21 // raise the revision; only the recovery of a cluster that lost its majority writes it

	// From LevelHistory on; see txn.go. Value holds the body.
	OpTxn         Op = 8 // do one branch of a transaction
	OpDeleteRange Op = 9 // remove the keys of a range
	// Of leases; see lease.go.
	OpTick      Op = 6  // end what is due
	OpGrant     Op = 10 // make a lease
	OpKeepAlive Op = 11 // give leases their whole TTL again
	OpRevoke    Op = 12 // end a lease now
	OpTouch     Op = 13 // give Key another deadline of its own
	// Of locks, whose name is Key; see lock.go.
	OpAcquire    Op = 14 // hold a lock, or wait for it
	OpRelease    Op = 15 // hold it no longer
	OpLeaveQueue Op = 16 // wait for it no longer
	OpPublish    Op = 17 // change the value of a holder
)

// opMax is the greatest operation of LevelBase.
const opMax = OpGet

// known reports whether this version knows the operation.
func (o Op) known() bool {
	return o != 0 && o <= opMax || o == OpSettings || o == OpForget || o == OpLift || o.onAuth() || o.onMany() || o.onLeases() || o.onLocks()
}

func (o Op) String() string {
	switch o {
	case OpOpenSession:
		return "open-session"
	case OpPut:
		return "put"
	case OpAppend:
		return "append"
	case OpDelete:
		return "delete"
	case OpGet:
		return "get"
	case OpSettings:
		return "settings"
	case OpForget:
		return "forget"
	case OpLift:
		return "lift"
	case OpTxn:
		return "txn"
	case OpDeleteRange:
		return "delete-range"
	case OpTick:
		return "tick"
	case OpGrant:
		return "grant"
	case OpKeepAlive:
		return "keep-alive"
	case OpRevoke:
		return "revoke"
	case OpTouch:
		return "touch"
	case OpAcquire:
		return "acquire"
	case OpRelease:
		return "release"
	case OpLeaveQueue:
		return "leave-queue"
	case OpPublish:
		return "publish"
	case OpIdentity:
		return "identity"
	case OpToken:
		return "token"
	case OpAuthState:
		return "auth-state"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// RequestID names one proposal of one server. The proposing server draws it so
// that it can recognise its own command when the log brings it back. An index
// alone cannot do that, because after a change of leader another command may
// stand there. The store only hands it on in the Result.
type RequestID struct {
	Origin uint64 // drawn at random by the server each time it starts
	Number uint64 // counts that server's proposals
}

// SessionCall places a command in a session, for duplicate detection. The zero
// value means that the command may be applied each time it occurs in the log.
type SessionCall struct {
	ID   uint64 // from the Result of OpOpenSession
	Lane uint32 // 0 to MaxLanes-1; calls in flight at the same time need different lanes
	Seq  uint64 // number of the call in its lane, from 1, rising; equal numbers are the same call
}

// Command is one entry of the log as the store understands it. Fields that an
// operation does not use must be zero.
type Command struct {
	Op      Op
	ID      RequestID
	Session SessionCall
	// Time is the reading of the proposing server's clock, in milliseconds since
	// that server started, in the incarnation that ID.Origin stands for; 0: no
	// reading. See View.LogTime.
	Time uint64
	// MaxLength is the longest value, in bytes, that the proposing server lets an
	// append make; 0 leaves only MaxValueBytes. It travels in the command, because
	// a limit that each server configures for itself would let equal logs lead to
	// different states.
	MaxLength uint64
	// Quota is the number of bytes of keys and values together that the proposing
	// server lets the store hold. A put or append that would make it grow beyond
	// is refused. 0: no limit. It travels in the command for the same reason.
	Quota uint64
	// Condition lets a put, append or delete happen only if it holds.
	Condition Condition
	// IdempotencyKey names the request, for duplicate detection without a
	// session: 1 to MaxIdempotencyKeyBytes visible ASCII characters, for a put,
	// append or delete that is in no session. "": none.
	IdempotencyKey string
	// Previous: the result has what was there before a put, append, delete or
	// delete-range.
	Previous bool
	// Tie says how long the key of a put or touch lives.
	Tie Tie
	// KeepValue: a put leaves the value as it is, and there must be one.
	KeepValue bool
	// Guard lets a change of keys happen only while a token holds a lock.
	Guard Guard
	// Caller is the identity for which the proposing server has taken the command, with
	// the token that was used; zero for nobody. What is remembered of the command belongs
	// to that identity.
	Caller auth.Author
	Key    []byte // of operations on locks the name of the lock
	Value  []byte

	body *manyBody // of OpTxn and OpDeleteRange, once it was read
}

// ErrMalformed is wrapped by the errors of DecodeCommand about bytes that no
// version writes.
var ErrMalformed = errors.New("kv: not a command")

const commandVersion = 1

// Flags say which optional fields follow. Later versions take further bits. An
// unknown bit stops the server, because it might stand for a condition.
const (
	flagID          = 1 << 0
	flagSession     = 1 << 1
	flagTime        = 1 << 2
	flagMaxLength   = 1 << 3
	flagIfVersion   = 1 << 4
	flagQuota       = 1 << 5
	flagIdempotency = 1 << 6
	flagCondition   = 1 << 7
	flagGuard       = 1 << 8
	flagLease       = 1 << 9
	flagTTL         = 1 << 10
	flagPrevious    = 1 << 11
	flagCaller      = 1 << 12
	flagKeepValue   = 1 << 13
	flagsKnown      = 1<<8 - 1 | flagGuard | flagLease | flagTTL | flagPrevious | flagCaller | flagKeepValue
)

// appendCommand appends the encoding of c to dst and returns the extended slice:
//
//	version u8 = 1 | op u8 | flags uvarint
//	flagID:          origin uvarint | number uvarint
//	flagSession:     session uvarint | lane uvarint | seq uvarint
//	flagTime:        milliseconds uvarint
//	flagMaxLength:   bytes uvarint
//	flagIfVersion:   version uvarint; the condition IfVersion
//	flagQuota:       bytes uvarint
//	flagIdempotency: key length uvarint | key
//	flagCondition:   kind u8 | number uvarint; the other conditions
//	flagGuard:       name length uvarint | name of the lock | token uvarint
//	flagPrevious:    nothing
//	flagLease:       id uvarint, in two's complement
//	flagTTL:         milliseconds uvarint; 0 keeps the tie that there is
//	flagKeepValue:   nothing
//	flagCaller:      identity uvarint | token id 8 bytes
//	key length uvarint | key | value length uvarint | value
//
// A flag is set when its fields are not all zero; flagIfVersion and flagTTL are also set
// with the number 0. Every uvarint is as short as possible. So a command has exactly
// one encoding. The number of a condition without a kind is not encoded.
func appendCommand(dst []byte, c Command) []byte {
	dst = appendFields(dst, &c)
	dst = binary.AppendUvarint(dst, uint64(len(c.Key)))
	dst = append(dst, c.Key...)
	dst = binary.AppendUvarint(dst, uint64(len(c.Value)))
	return append(dst, c.Value...)
}

// appendFields appends everything that stands before the key.
func appendFields(dst []byte, c *Command) []byte {
	flags := c.flags()
	dst = append(dst, commandVersion, byte(c.Op))
	dst = binary.AppendUvarint(dst, flags)
	if flags&flagID != 0 {
		dst = binary.AppendUvarint(dst, c.ID.Origin)
		dst = binary.AppendUvarint(dst, c.ID.Number)
	}
	if flags&flagSession != 0 {
		dst = binary.AppendUvarint(dst, c.Session.ID)
		dst = binary.AppendUvarint(dst, uint64(c.Session.Lane))
		dst = binary.AppendUvarint(dst, c.Session.Seq)
	}
	if flags&flagTime != 0 {
		dst = binary.AppendUvarint(dst, c.Time)
	}
	if flags&flagMaxLength != 0 {
		dst = binary.AppendUvarint(dst, c.MaxLength)
	}
	if flags&flagIfVersion != 0 {
		dst = binary.AppendUvarint(dst, c.Condition.Number)
	}
	if flags&flagQuota != 0 {
		dst = binary.AppendUvarint(dst, c.Quota)
	}
	if flags&flagIdempotency != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(c.IdempotencyKey)))
		dst = append(dst, c.IdempotencyKey...)
	}
	if flags&flagCondition != 0 {
		dst = append(dst, byte(c.Condition.Kind))
		dst = binary.AppendUvarint(dst, c.Condition.Number)
	}
	if flags&flagGuard != 0 {
		dst = c.Guard.append(dst)
	}
	if flags&flagLease != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Tie.Lease))
	}
	if flags&flagTTL != 0 {
		dst = binary.AppendUvarint(dst, c.Tie.TTL)
	}
	if flags&flagCaller != 0 {
		dst = binary.AppendUvarint(dst, c.Caller.Identity)
		dst = append(dst, c.Caller.Token[:]...)
	}
	return dst
}

// flags returns the flags of the fields that are there.
func (c *Command) flags() uint64 {
	var flags uint64
	if c.ID != (RequestID{}) {
		flags |= flagID
	}
	if c.Session != (SessionCall{}) {
		flags |= flagSession
	}
	if c.Time != 0 {
		flags |= flagTime
	}
	if c.MaxLength != 0 {
		flags |= flagMaxLength
	}
	switch c.Condition.Kind {
	case 0:
	case IfVersion:
		flags |= flagIfVersion
	default:
		flags |= flagCondition
	}
	if c.Quota != 0 {
		flags |= flagQuota
	}
	if c.IdempotencyKey != "" {
		flags |= flagIdempotency
	}
	if c.Guard != (Guard{}) {
		flags |= flagGuard
	}
	if c.Previous {
		flags |= flagPrevious
	}
	flags |= c.Tie.flags()
	if c.KeepValue {
		flags |= flagKeepValue
	}
	if c.Caller != (auth.Author{}) {
		flags |= flagCaller
	}
	return flags
}

// EncodeCommand returns the encoding of c in a slice of its own. The slice is no
// longer than necessary, because the log keeps it for a while. See appendCommand.
func EncodeCommand(c Command) []byte {
	var scratch [256]byte
	fields := appendFields(scratch[:0], &c)
	n := len(fields) + lengthOf(len(c.Key)) + len(c.Key) + lengthOf(len(c.Value)) + len(c.Value)
	b := append(make([]byte, 0, n), fields...)
	b = binary.AppendUvarint(b, uint64(len(c.Key)))
	b = append(b, c.Key...)
	b = binary.AppendUvarint(b, uint64(len(c.Value)))
	return append(b, c.Value...)
}

// lengthOf returns the length of the encoding of a length.
func lengthOf(length int) int {
	n := 1
	for ; length >= 0x80; length >>= 7 {
		n++
	}
	return n
}

// DecodeCommand reads one command, which must be all of b. Key and Value alias b.
// Only the idempotency key is allocated, whatever the lengths inside claim. The
// error is an *UnknownError if b begins as a command of a later version. It is
// one, too, if b has an operation, a flag or a condition that only a later
// version can know. All other errors wrap ErrMalformed.
func DecodeCommand(b []byte) (Command, error) {
	switch {
	case len(b) > 0 && b[0] != commandVersion:
		return Command{}, &UnknownError{What: "version of a command", Number: uint64(b[0])}
	case len(b) > 1 && !Op(b[1]).known():
		return Command{}, &UnknownError{What: "operation", Number: uint64(b[1])}
	case len(b) < 3:
		return Command{}, fmt.Errorf("%w: %d bytes are too few", ErrMalformed, len(b))
	}
	r := read(b[2:])
	c := r.command(Op(b[1]))
	r.End()
	switch unknown, fault := r.Fault(); {
	case unknown != nil:
		return Command{}, unknownOf(unknown)
	case fault != "":
		return Command{}, fmt.Errorf("%w: %s", ErrMalformed, fault)
	}
	return c, nil
}

// CheckKnown returns an *UnknownError if this version has no encoding for c, or if
// the servers of a cluster at this level need not know it. It is for the doors of a
// server: their proposals must never stop the servers that apply them.
func (c *Command) CheckKnown(level uint64) error {
	switch {
	case !c.Op.known():
		return &UnknownError{What: "operation", Number: uint64(c.Op)}
	case c.Condition.Kind > conditionMax:
		return &UnknownError{What: "condition", Number: uint64(c.Condition.Kind)}
	}
	return c.checkLevel(level)
}

// reader reads the body of a command, or the whole of it, from the front.
type reader struct{ fields.Reader }

func read(b []byte) reader { return reader{fields.Reader{Rest: b}} }

// command reads the fields that follow the operation.
func (r *reader) command(op Op) Command {
	c := Command{Op: op}
	flags := r.Number()
	if later := flags &^ flagsKnown; later != 0 {
		r.Stop("flag", later&-later)
	}
	if flags&flagID != 0 {
		c.ID = RequestID{Origin: r.Number(), Number: r.Number()}
		r.Check(c.ID != (RequestID{}), "an empty identity")
	}
	if flags&flagSession != 0 {
		id, lane, seq := r.Number(), r.Number(), r.Number()
		r.Check(lane <= math.MaxUint32, "a lane beyond 32 bits")
		c.Session = SessionCall{ID: id, Lane: uint32(lane), Seq: seq}
		r.Check(c.Session != (SessionCall{}), "an empty session")
	}
	if flags&flagTime != 0 {
		c.Time = r.Number()
		r.Check(c.Time != 0, "an empty time")
	}
	if flags&flagMaxLength != 0 {
		c.MaxLength = r.Number()
		r.Check(c.MaxLength != 0, "an empty limit")
	}
	if flags&flagIfVersion != 0 {
		r.Check(flags&flagCondition == 0, "two conditions")
		c.Condition = Condition{Kind: IfVersion, Number: r.Number()}
	}
	if flags&flagQuota != 0 {
		c.Quota = r.Number()
		r.Check(c.Quota != 0, "an empty quota")
	}
	if flags&flagIdempotency != 0 {
		c.IdempotencyKey = string(r.Bytes())
		r.Check(c.IdempotencyKey != "", "an empty idempotency key")
	}
	if flags&flagCondition != 0 {
		c.Condition.Kind = ConditionKind(r.Byte())
		if c.Condition.Kind > conditionMax {
			r.Stop("condition", uint64(c.Condition.Kind))
		}
		r.Check(c.Condition.Kind > IfVersion, "a condition that has another encoding")
		c.Condition.Number = r.Number()
	}
	if flags&flagGuard != 0 {
		c.Guard = r.guard()
	}
	c.Previous = flags&flagPrevious != 0
	c.Tie = r.tie(flags)
	c.KeepValue = flags&flagKeepValue != 0
	if flags&flagCaller != 0 {
		c.Caller.Identity = r.Number()
		r.Fill(c.Caller.Token[:])
		r.Check(c.Caller != (auth.Author{}), "an empty caller")
	}
	c.Key, c.Value = r.Bytes(), r.Bytes()
	return c
}
