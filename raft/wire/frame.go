package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"raftkv/raft/core"
)

// MaxFrameBytes is the length of the longest frame, header included. It is part of
// the protocol: a receiver takes a longer frame for garbage.
const MaxFrameBytes = 8 << 20

// MaxEntryBytes is the length of the longest Data of an entry that fits in a frame.
// A log that holds a longer one cannot be replicated, so a server must refuse longer
// commands.
const MaxEntryBytes = MaxFrameBytes - 2*entryRoom

// entryRoom is room for a frame's header and all fields of AppendEntries except
// the entries. These take fewer than 130 bytes, so it is generous.
const entryRoom = 256

// headerBytes is the length of the header of every frame after the hellos: kind
// u8, group u32, body length u32, CRC-32C u32, all little-endian. The checksum
// covers the nine bytes before it and the body.
const headerBytes = 13

// greetingHeaderBytes is the length of the header of a hello and of a refusal:
// kind u8, body length u32. It is the same in every version of the protocol, so
// that versions can refuse each other. The checksum of these frames is the last
// four bytes of their body.
const greetingHeaderBytes = 5

// sumBytes is the length of a checksum.
const sumBytes = 4

// onlyGroup is the Raft group that every frame belongs to. A process has one.
const onlyGroup = 1

// kind names the content of a frame. Values are part of the protocol: new ones may
// be added, and none changes. From 0x10 on, a request is even and its answer is the
// number above.
type kind uint8

const (
	kindHello   kind = 0x01 // names the sender; the first frame in both directions
	kindRefusal kind = 0x02 // instead of the receiver's hello: the reason for which it refuses to talk
	kindNoReply kind = 0x03 // instead of an answer: there will be none

	// kindStanding tells how far the sender's disk has come. It has no answer.
	kindStanding kind = 0x05

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

	// A server that is no member asks to become one, behind the hellos of a connection for
	// nobody in particular. What the bodies say is the callers' (Config.Join).
	kindJoin      kind = 0x1e
	kindJoinReply kind = 0x1f

	// Snapshots travel on connections of their own (snapshot_frames.go), to which 0x20
	// to 0x2f belong.
	kindSnapshotOffer        kind = 0x20
	kindSnapshotOfferReply   kind = 0x21
	kindSnapshotChunk        kind = 0x22 // has no answer
	kindInstallSnapshotReply kind = 0x23 // the answer to all of it
	kindSnapshotFailed       kind = 0x24 // instead of 0x21 or 0x23: the receiver gives up
)

// limits maps the kinds that may come to the greatest length of their bodies. The
// kinds that may come depend on the moment and the direction, so that none is ever
// accepted where it has no meaning.
type limits map[kind]uint32

const (
	maxHelloBody   = 2 << 10 // the longest is 1,297 bytes
	maxRefusalBody = 3 << 10 // a hello of that length, and a sentence
	maxSmallBody   = 256     // the longest, RequestVote's, is 96 bytes
	maxJoinBody    = 4 << 10
	maxJoinReply   = 64 << 10
	maxLargeBody   = MaxFrameBytes - headerBytes
	maxChunkBody   = snapshotChunkBytes + chunkRoom
)

var (
	strangerFrames         = limits{kindHello: maxHelloBody, kindTransferHello: maxHelloBody, kindRefusal: maxRefusalBody}
	greetingFrames         = limits{kindHello: maxHelloBody, kindRefusal: maxRefusalBody}
	transferGreetingFrames = limits{kindTransferHello: maxHelloBody, kindRefusal: maxRefusalBody}

	requestFrames = limits{
		kindRequestVote:   maxSmallBody,
		kindAppendEntries: maxLargeBody,
		kindTimeoutNow:    maxSmallBody,
		kindReadIndex:     maxSmallBody,
		kindRejoin:        maxSmallBody,
		kindStanding:      maxSmallBody,
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

	joinFrames      = limits{kindJoin: maxJoinBody}
	joinReplyFrames = limits{kindJoinReply: maxJoinReply}

	offerFrames        = limits{kindSnapshotOffer: maxSmallBody}
	offerReplyFrames   = limits{kindSnapshotOfferReply: maxSmallBody, kindSnapshotFailed: maxSmallBody}
	chunkFrames        = limits{kindSnapshotChunk: maxChunkBody}
	installReplyFrames = limits{kindInstallSnapshotReply: maxSmallBody, kindSnapshotFailed: maxSmallBody, kindNoReply: 0}
)

// answer is the kind of the answer to a request of kind k.
func (k kind) answer() kind { return k + 1 }

// errMalformed is in the chain of every error that means that a peer's bytes are
// not the protocol. The errors name kinds, fields and lengths, never the content of
// the bytes.
var errMalformed = errors.New("malformed frame")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// greeting reports whether frames of kind k are exchanged before a connection
// stands. Their header has another form.
func (k kind) greeting() bool { return k == kindHello || k == kindTransferHello || k == kindRefusal }

// headerBytes returns the length of the header of frames of kind k.
func (k kind) headerBytes() int {
	if k.greeting() {
		return greetingHeaderBytes
	}
	return headerBytes
}

// check refuses a kind of frame that may not come.
func (l limits) check(k kind) error {
	if _, known := l[k]; !known {
		return malformed("kind 0x%02x has no meaning here", uint8(k))
	}
	return nil
}

// bodyLength returns the length of the body that a whole header announces.
func (l limits) bodyLength(header []byte) (int, error) {
	k := kind(header[0])
	lengthAt := 1
	if !k.greeting() {
		lengthAt = 5
		if group := binary.LittleEndian.Uint32(header[1:]); group != onlyGroup {
			return 0, malformed("a frame of group %d; this build knows group %d only", group, onlyGroup)
		}
	}
	length := binary.LittleEndian.Uint32(header[lengthAt:])
	if limit := l[k]; length > limit {
		return 0, malformed("a body of %d bytes; one of kind 0x%02x has at most %d", length, uint8(k), limit)
	}
	return int(length), nil
}

// frameSum returns the checksum of a frame after the hellos.
func frameSum(header, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:headerBytes-sumBytes], castagnoli), castagnoli, body)
}

// checkSum compares a frame after the hellos with its checksum.
func checkSum(header, body []byte) error {
	if sum, said := frameSum(header, body), binary.LittleEndian.Uint32(header[headerBytes-sumBytes:]); sum != said {
		return malformed("a frame of kind 0x%02x has checksum %08x and should have %08x", header[0], sum, said)
	}
	return nil
}

// greetingSum returns the checksum of a hello or a refusal whose body, without
// the checksum, is content.
func greetingSum(k kind, content []byte) uint32 {
	var header [greetingHeaderBytes]byte
	header[0] = byte(k)
	binary.LittleEndian.PutUint32(header[1:], uint32(len(content)+sumBytes))
	return crc32.Update(crc32.Checksum(header[:], castagnoli), castagnoli, content)
}

// greetingContent returns the body of a hello or a refusal without its checksum,
// which it compares.
func greetingContent(k kind, body []byte) ([]byte, error) {
	if len(body) < sumBytes {
		return nil, malformed("a greeting of %d bytes, too short for its checksum", len(body))
	}
	content := body[:len(body)-sumBytes]
	if sum, said := greetingSum(k, content), binary.LittleEndian.Uint32(body[len(content):]); sum != said {
		return nil, malformed("a frame of kind 0x%02x has checksum %08x and should have %08x", uint8(k), sum, said)
	}
	return content, nil
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

// replyKind returns the kind of the frame for a reply, kindNoReply for nil.
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
