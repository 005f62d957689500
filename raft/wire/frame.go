package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"raftkv/raft/core"
)

// MaxFrameBytes is the longest frame there is, header included. It is part of
// the protocol: a receiver takes a longer one for garbage.
const MaxFrameBytes = 8 << 20

// MaxEntryBytes is the longest Data of an entry that fits in a frame. A log
// that holds a longer one cannot be replicated, so whoever accepts commands
// must stay below it.
const MaxEntryBytes = MaxFrameBytes - 2*entryRoom

// entryRoom is room for a frame's header and all fields of AppendEntries but
// the entries, generously: they take fewer than 130 bytes.
const entryRoom = 256

// headerBytes is the length of a frame's header: kind u8, body length u32
// little-endian.
const headerBytes = 5

// kind says what a frame holds. Values are part of the protocol and are only
// ever added to. Requests are even and their answer is the number above.
type kind uint8

const (
	kindHello   kind = 0x01 // who is talking; the first frame in both directions
	kindRefusal kind = 0x02 // instead of the receiver's hello: why it does not want to talk
	kindNoReply kind = 0x03 // instead of an answer: there will be none

	// kindTransferHello is the hello of a connection that carries a snapshot.
	kindTransferHello kind = 0x04

	// kindOvertakes comes before an answer that is not the oldest call's.
	kindOvertakes kind = 0x06

	kindRequestVote        kind = 0x10
	kindRequestVoteReply   kind = 0x11
	kindAppendEntries      kind = 0x12
	kindAppendEntriesReply kind = 0x13
	kindTimeoutNow         kind = 0x14
	kindTimeoutNowReply    kind = 0x15
	kindReadIndex          kind = 0x16
	kindReadIndexReply     kind = 0x17
	kindRejoin             kind = 0x18
	kindRejoinReply        kind = 0x19

	// Snapshots travel on connections of their own (transfer.go), to which 0x20
	// to 0x2f belong.
	kindSnapshotOffer        kind = 0x20
	kindSnapshotOfferReply   kind = 0x21
	kindSnapshotChunk        kind = 0x22 // has no answer
	kindInstallSnapshotReply kind = 0x23 // the answer to all of it
	kindSnapshotFailed       kind = 0x24 // instead of 0x21 or 0x23: the receiver gives up
)

// limits says which kinds may come and how long their bodies may be. What may
// come depends on the moment and the direction, so that no kind is ever
// accepted where it has no meaning.
type limits map[kind]uint32

const (
	maxHelloBody = 2 << 10 // the longest is 1,084 bytes
	maxSmallBody = 256     // the longest, RequestVote's, is 96 bytes
	maxLargeBody = MaxFrameBytes - headerBytes
	maxChunkBody = snapshotChunkBytes + chunkRoom
)

var (
	strangerFrames         = limits{kindHello: maxHelloBody, kindTransferHello: maxHelloBody, kindRefusal: maxSmallBody}
	greetingFrames         = limits{kindHello: maxHelloBody, kindRefusal: maxSmallBody}
	transferGreetingFrames = limits{kindTransferHello: maxHelloBody, kindRefusal: maxSmallBody}

	requestFrames = limits{
		kindRequestVote:   maxSmallBody,
		kindAppendEntries: maxLargeBody,
		kindTimeoutNow:    maxSmallBody,
		kindReadIndex:     maxSmallBody,
		kindRejoin:        maxSmallBody,
	}

	answerFrames = limits{
		kindNoReply:            0,
		kindOvertakes:          maxSmallBody,
		kindRequestVoteReply:   maxSmallBody,
		kindAppendEntriesReply: maxSmallBody,
		kindTimeoutNowReply:    maxSmallBody,
		kindReadIndexReply:     maxSmallBody,
		kindRejoinReply:        maxSmallBody,
	}

	offerFrames        = limits{kindSnapshotOffer: maxSmallBody}
	offerReplyFrames   = limits{kindSnapshotOfferReply: maxSmallBody, kindSnapshotFailed: maxSmallBody}
	chunkFrames        = limits{kindSnapshotChunk: maxChunkBody}
	installReplyFrames = limits{kindInstallSnapshotReply: maxSmallBody, kindSnapshotFailed: maxSmallBody, kindNoReply: 0}
)

// answer is the kind of the answer to a request of kind k.
func (k kind) answer() kind { return k + 1 }

// errMalformed is in the chain of every error that says that the bytes a peer
// sent are not the protocol. The errors name kinds, fields and lengths, never
// what the bytes hold.
var errMalformed = errors.New("malformed frame")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// check returns how long the body of the frame with this header is, or why the
// frame may not come.
func (l limits) check(header []byte) (kind, int, error) {
	k, length := kind(header[0]), binary.LittleEndian.Uint32(header[1:])
	limit, known := l[k]
	if !known {
		return 0, 0, malformed("kind 0x%02x has no meaning here", uint8(k))
	}
	if length > limit {
		return 0, 0, malformed("a body of %d bytes; kind 0x%02x may have %d", length, uint8(k), limit)
	}
	return k, int(length), nil
}

func requestKind(request core.Request) kind {
	switch request.(type) {
	case *core.RequestVote:
		return kindRequestVote
	case *core.AppendEntries:
		return kindAppendEntries
	case *core.TimeoutNow:
		return kindTimeoutNow
	case *core.ReadIndex:
		return kindReadIndex
	case *core.Rejoin:
		return kindRejoin
	}
	panic(fmt.Sprintf("wire: a request of type %T has no frame; give it a kind", request))
}

// replyKind is the kind of the frame for a reply; no reply is one, too.
func replyKind(reply core.Reply) kind {
	switch reply.(type) {
	case nil:
		return kindNoReply
	case *core.RequestVoteReply:
		return kindRequestVoteReply
	case *core.AppendEntriesReply:
		return kindAppendEntriesReply
	case *core.TimeoutNowReply:
		return kindTimeoutNowReply
	case *core.ReadIndexReply:
		return kindReadIndexReply
	case *core.RejoinReply:
		return kindRejoinReply
	case *core.InstallSnapshotReply:
		return kindInstallSnapshotReply
	}
	panic(fmt.Sprintf("wire: a reply of type %T has no frame; give it a kind", reply))
}
