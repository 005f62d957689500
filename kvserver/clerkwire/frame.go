package clerkwire

import (
	"encoding/binary"
	"fmt"
	"maps"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// Path and one of the protocols are named in a client's first request: GET Path with
// Upgrade: Protocol2. A server that does not know Protocol2 does not upgrade, and the
// client asks for Protocol. A node that passes commands on to another one names
// Protocol2 and, in the header Kv-Forwarded, itself.
const (
	Path      = "/v1/clerk"
	Protocol  = "raftkv-clerk/1"
	Protocol2 = "raftkv-clerk/2" // has watches, transactions, leases and locks
)

// headerBytes is the length of a frame's header: kind u8, number u32, length of
// the body u32, both little-endian.
const headerBytes = 9

// Kind names the content of a frame. Values are part of the protocol: new ones may
// be added, and none changes. The answer to a request has the kind above it, or is
// KindRefused.
type Kind uint8

// The kinds.
const (
	KindRefused Kind = 0x02 // instead of an answer: the reason for which there is none
	KindGoodbye Kind = 0x03 // from the server, number 0: send no more requests here

	// KindConfiguration comes from the server, number 0, of Protocol2: the members have
	// changed.
	KindConfiguration Kind = 0x04

	KindOpen   Kind = 0x10
	KindOpened Kind = 0x11
	KindGet    Kind = 0x12
	KindGot    Kind = 0x13
	KindPut    Kind = 0x14 // answered with a Written, like the next two
	KindAppend Kind = 0x16
	KindDelete Kind = 0x18
	KindList   Kind = 0x1a
	KindListed Kind = 0x1b

	KindAuth   Kind = 0x1c // from servers on that have identities
	KindAuthed Kind = 0x1d // answers it with an Empty

	KindForward   Kind = 0x1e // between nodes only
	KindForwarded Kind = 0x1f

	// Of Protocol2.
	KindTxn         Kind = 0x20 // answered with a TxnDone, like the next
	KindDeleteRange Kind = 0x22

	KindGrant       Kind = 0x24
	KindGranted     Kind = 0x25
	KindKeepAlive   Kind = 0x26
	KindKept        Kind = 0x27
	KindRevoke      Kind = 0x28 // answered with a Written, whose Length is the number of keys that went
	KindLeases      Kind = 0x2a
	KindLeasesShown Kind = 0x2b
	KindTouch       Kind = 0x2c // answered with a Written

	KindAcquire    Kind = 0x30
	KindAcquired   Kind = 0x31
	KindRelease    Kind = 0x32 // answered with a Written, like the next two
	KindLeaveQueue Kind = 0x34
	KindPublish    Kind = 0x36
	KindLocks      Kind = 0x38
	KindLocksShown Kind = 0x39

	// Of Protocol2. Frames of a running watch have the number of its request.
	KindWatch    Kind = 0x40
	KindWatching Kind = 0x41 // the watch is in place
	KindChanges  Kind = 0x43 // from the server: what a watch brings, or a part of it
	KindCredit   Kind = 0x44 // from the client, without an answer: how much it has taken
	KindSync     Kind = 0x46 // a bookmark is wanted now
	KindSynced   Kind = 0x47
	KindUnwatch  Kind = 0x48
	KindEnded    Kind = 0x49 // answers it, and comes unasked
)

// Answer returns the kind of the answer to a request of kind k.
func (k Kind) Answer() Kind { return k + 1 }

// Limits of bodies.
const (
	maxSmallBody = api.MaxKeyBytes + 64
	// maxWriteBody has room for the longest key, the longest value and the numbers of a
	// write.
	maxWriteBody = api.MaxValueBytes + api.MaxKeyBytes + 128
	// maxGuard is how much longer a write with a guard can be.
	maxGuard = api.MaxLockNameBytes + 64
	// maxLockBody has room for the longest name of a lock, its longest value and numbers.
	maxLockBody = api.MaxLockNameBytes + api.MaxLockValueBytes + 128
	// maxOutcomeBytes has room for one item, as an outcome shows it.
	maxOutcomeBytes = api.MaxValueBytes + api.MaxKeyBytes + 128
	// MaxListedBytes is the size of the largest page: keys and values of its items, and
	// itemRoom for each. One item may be larger than that, so a page's body has room for
	// a whole one more.
	MaxListedBytes = api.MaxPageBytes
	itemRoom       = 48
	maxListedBody  = MaxListedBytes + api.MaxValueBytes + api.MaxKeyBytes + 128
	maxRefusedBody = 4 << 10
	maxDetailBytes = 512
	maxNameBytes   = 255
)

// Limits maps the kinds that may come to the greatest length of their bodies.
type Limits map[Kind]uint32

// Requests are the frames that may come to a server, Answers those that may come to
// a client. Requests2 and Answers2 are those of Protocol2.
var (
	Requests = Limits{
		KindOpen: maxSmallBody, KindGet: maxSmallBody,
		KindPut: maxWriteBody, KindAppend: maxWriteBody, KindDelete: maxSmallBody,
		KindList: 2 * maxSmallBody, KindAuth: maxSmallBody,
	}
	Answers = Limits{
		KindRefused: maxRefusedBody, KindGoodbye: maxSmallBody, KindOpened: maxSmallBody, KindGot: maxWriteBody,
		KindPut.Answer(): maxSmallBody, KindAppend.Answer(): maxSmallBody, KindDelete.Answer(): maxSmallBody,
		KindListed: maxListedBody, KindAuthed: maxSmallBody,
	}
	Requests2 = Requests.with(Limits{
		KindPut: maxWriteBody + maxGuard, KindAppend: maxWriteBody + maxGuard, KindDelete: maxSmallBody + maxGuard,
		KindTxn: maxTxnBody, KindDeleteRange: maxTxnBody,
		KindGrant: maxSmallBody, KindKeepAlive: maxKeepAliveBody, KindRevoke: maxSmallBody, KindLeases: maxSmallBody, KindTouch: maxSmallBody,
		KindAcquire: maxLockBody, KindRelease: maxLockBody, KindLeaveQueue: maxLockBody, KindPublish: maxLockBody, KindLocks: maxLockBody,
		KindList:  3 * maxSmallBody,
		KindWatch: MaxWatchBody, KindCredit: maxSmallBody, KindSync: maxSmallBody, KindUnwatch: maxSmallBody,
	})
	Answers2 = Answers.with(Limits{
		KindConfiguration: maxSmallBody,
		KindPut.Answer():  maxSmallBody + maxOutcomeBytes, KindAppend.Answer(): maxSmallBody + maxOutcomeBytes,
		KindDelete.Answer(): maxSmallBody + maxOutcomeBytes,
		KindTxn.Answer():    maxDoneBody, KindDeleteRange.Answer(): maxDoneBody,
		KindGranted: maxSmallBody, KindKept: maxKeepAliveBody, KindRevoke.Answer(): maxSmallBody, KindLeasesShown: maxLeasesBody,
		KindTouch.Answer(): maxSmallBody,
		KindAcquired:       maxSmallBody, KindRelease.Answer(): maxSmallBody, KindLeaveQueue.Answer(): maxSmallBody, KindPublish.Answer(): maxSmallBody,
		KindLocksShown: maxLocksBody,
		KindWatching:   maxSmallBody, KindChanges: MaxPieceBytes + 16, KindSynced: maxSmallBody, KindEnded: maxRefusedBody + 16,
	})
)

// with returns the kinds of both.
func (l Limits) with(more Limits) Limits {
	both := maps.Clone(l)
	maps.Copy(both, more)
	return both
}

// Header is the header of a frame.
type Header struct {
	Kind   Kind
	Number uint32
	Length int // of the body
}

// parse reads a header. The error says why the frame may not come.
func (l Limits) parse(b []byte) (Header, error) {
	h := Header{Kind: Kind(b[0]), Number: binary.LittleEndian.Uint32(b[1:])}
	length := binary.LittleEndian.Uint32(b[5:])
	limit, known := l[h.Kind]
	if !known {
		return h, fmt.Errorf("%w: kind 0x%02x has no meaning here", msgpack.ErrMalformed, uint8(h.Kind))
	}
	if length > limit {
		return h, fmt.Errorf("%w: a body of %d bytes; one of kind 0x%02x has at most %d", msgpack.ErrMalformed, length, uint8(h.Kind), limit)
	}
	h.Length = int(length)
	return h, nil
}

// Message is a body that can be written.
type Message interface {
	append(dst []byte) []byte
}

// AppendFrame adds a frame to dst.
func AppendFrame[M Message](dst []byte, kind Kind, number uint32, message M) []byte {
	start := len(dst)
	dst = append(dst, byte(kind), 0, 0, 0, 0, 0, 0, 0, 0)
	dst = message.append(dst)
	binary.LittleEndian.PutUint32(dst[start+1:], number)
	binary.LittleEndian.PutUint32(dst[start+5:], uint32(len(dst)-start-headerBytes))
	return dst
}
