package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// allocated returns how much memory f takes in all. Others allocate, too, so
// the least of a few runs counts.
func allocated(limit uint64, f func()) uint64 {
	least := ^uint64(0)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
		if least <= limit {
			break
		}
	}
	return least
}

// allowance is the number of bytes that reading and decoding input bytes may allocate.
func allowance(input int) uint64 { return 4*uint64(input) + 64<<10 }

// readOne reads the first frame of b from a fresh reader and decodes it. The
// reader's buffer is that of the connection on which the kind comes.
func readOne(b []byte, allowed limits) (kind, any, error) {
	buffer := answerBuffer
	if len(b) > 0 && kind(b[0]) == kindSnapshotChunk {
		buffer = chunkBuffer
	}
	f := newFrameReader(bytes.NewReader(b), buffer)
	k, body, err := f.next(allowed)
	if err != nil {
		return k, nil, err
	}
	message, err := decodeAny(newDecoder(), k, body)
	return k, message, err
}

func decodeAny(d *decoder, k kind, body []byte) (any, error) {
	switch k {
	case kindSnapshotOffer:
		return d.offer(body)
	case kindSnapshotOfferReply:
		var m snapshotOfferReply
		return m, d.decode(body, snapshotOfferReplyShape, &m)
	case kindSnapshotChunk:
		return d.chunk(body)
	case kindStanding:
		s, uid, err := d.standing(body)
		return statement{s, uid}, err
	case kindOvertakes:
		older, err := d.overtakes(body)
		return overtakes{older}, err
	case kindSnapshotFailed:
		var m snapshotFailed
		return m, d.decode(body, snapshotFailedShape, &m)
	}
	switch {
	case k == kindHello || k == kindTransferHello:
		return d.hello(k, body)
	case k == kindRefusal:
		return d.refusal(body)
	case k == kindNoReply || k&1 == 1:
		return d.reply(k, body)
	}
	return d.request(k, body)
}

// encodeAny is the opposite of decodeAny; k says which kind of hello it is.
func encodeAny(t *testing.T, k kind, message any) []byte {
	e := newEncoder()
	switch m := message.(type) {
	case hello:
		return e.hello(nil, k, &m)
	case snapshotOffer:
		return e.frame(nil, k, &m, headerBytes+maxSmallBody)
	case snapshotOfferReply:
		return e.frame(nil, k, &m, headerBytes+maxSmallBody)
	case snapshotChunk:
		return e.chunk(nil, int64(m.Offset), m.Data)
	case overtakes:
		return e.frame(nil, k, &m, headerBytes+maxSmallBody)
	case snapshotFailed:
		return e.frame(nil, k, &m, headerBytes+maxSmallBody)
	case *refusedError:
		return e.frame(nil, kindRefusal, &m.refusal, greetingHeaderBytes+maxRefusalBody)
	case statement:
		return e.standing(nil, m.Standing, m.uid)
	case core.Request:
		b, err := e.request(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	case core.Reply:
		return e.reply(nil, m)
	case nil:
		return e.reply(nil, nil)
	}
	t.Fatalf("a %T came out of a frame", message)
	return nil
}

// everything is the limits of a place where every kind may come.
func everything() limits {
	all := limits{}
	for _, l := range []limits{strangerFrames, requestFrames, answerFrames, offerFrames, offerReplyFrames, chunkFrames, installReplyFrames} {
		for k, n := range l {
			all[k] = n
		}
	}
	return all
}

// seedFrames are frames of every kind, good and bad.
func seedFrames(t interface{ Fatal(...any) }) [][]byte {
	e := newEncoder()
	var seeds [][]byte
	for _, request := range sampleRequests() {
		b, err := e.request(nil, request)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	for _, reply := range sampleReplies() {
		seeds = append(seeds, e.reply(nil, reply))
	}
	seeds = append(seeds, e.hello(nil, kindHello, validHello("n1", "n2")), e.refusal(nil, &rejection{reason: ReasonSender, detail: "no"}, validHello("n2", "n1")), e.standing(nil, identity.Standing{Term: 1, Last: 2, LastTerm: 3, Commit: 4}, core.UID{1}))
	seeds = append(seeds, e.hello(nil, kindTransferHello, validHello("n1", "n2")), e.chunk(nil, 1<<40, []byte("data")),
		e.frame(nil, kindSnapshotOffer, sampleOffer(), headerBytes+maxSmallBody),
		e.frame(nil, kindSnapshotOfferReply, &snapshotOfferReply{70_000}, headerBytes+maxSmallBody),
		e.frame(nil, kindSnapshotFailed, &snapshotFailed{failureStorage}, headerBytes+maxSmallBody),
		e.frame(nil, kindOvertakes, &overtakes{3}, headerBytes+maxSmallBody))
	for _, bomb := range [][]byte{
		{0xdd, 0xff, 0xff, 0xff, 0xff},
		bytes.Repeat([]byte{0x91}, 10_000),
		bytes.Repeat([]byte{0xdc, 0xff, 0xff}, 3_000),
		{0x98, 5, 0xa2, 'n', '1', 7, 4, 6, 1, 0xc9, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		seeds = append(seeds, frameOf(kindAppendEntries, bomb))
	}
	// As dense with entries as a body can be: three zeros make an entry.
	for _, count := range []int{500, 1000, 50_000} {
		dense := binary.BigEndian.AppendUint16([]byte{0x98, 0, 0xa0, 0, 0, 0, 0xcd}, uint16(count))
		dense = append(binary.BigEndian.AppendUint32(append(dense, 0xc9), uint32(3*count)), 1)
		dense = append(append(dense, make([]byte, 3*count)...), 0xc7, 0, 1)
		seeds = append(seeds, frameOf(kindAppendEntries, dense))
	}
	return append(seeds, announce(kindAppendEntries, maxLargeBody), announce(kindSnapshotOffer, 0), []byte{})
}

// checkFrame is what holds for any bytes whatsoever.
func checkFrame(t *testing.T, b []byte) {
	var k kind
	var message any
	var err error
	limit := allowance(len(b))
	if len(b) > 0 && kind(b[0]) == kindSnapshotChunk {
		limit += chunkBuffer // what its connection has, for all chunks
	}
	if got := allocated(limit, func() { k, message, err = readOne(b, everything()) }); got > limit {
		t.Fatalf("%d bytes of input made us allocate %d; %d are allowed", len(b), got, limit)
	}
	var no *rejection
	switch {
	case err == nil:
		if h, ok := message.(hello); ok {
			if l, err := h.life(); err == nil && l.Check() != nil {
				t.Fatalf("a life that no server has was taken: %+v", l)
			}
		}
		// There is one form of every message, so what was taken is what we
		// would have sent, unless its entries have overlong numbers inside.
		again := encodeAny(t, k, message)
		if !bytes.HasPrefix(b, again) && k != kindAppendEntries {
			t.Fatalf("kind 0x%02x: took %x, would send %x", uint8(k), b, again)
		}
		_, back, err := readOne(again, everything())
		if err != nil || !reflect.DeepEqual(back, message) {
			t.Fatalf("encoded again: %v, %+v instead of %+v", err, back, message)
		}
	case errors.Is(err, errMalformed), errors.As(err, &no):
	case errors.Is(err, io.EOF) && len(b) == 0:
	case errors.Is(err, io.ErrUnexpectedEOF):
	default:
		t.Fatalf("an error of no known sort: %v", err)
	}
}

// FuzzDecodeFrame: whatever comes, there is no panic, no more memory is taken
// than the input pays for, and what is accepted is what we would have sent.
func FuzzDecodeFrame(f *testing.F) {
	for _, seed := range seedFrames(f) {
		if len(seed) < 4<<10 { // the engine spends its time on shrinking longer ones
			f.Add(seed)
		}
	}
	f.Fuzz(checkFrame)
}

// FuzzRoundTrip: decode(encode(x)) == x for requests made of any values.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(0), uint64(1), uint64(2), uint64(3), "n1", []byte("data"), uint16(3))
	f.Add(uint8(1), uint64(1<<63), uint64(1<<32), uint64(1<<16), "", []byte{}, uint16(3000))
	f.Add(uint8(2), uint64(255), uint64(256), uint64(65535), string(longestID), bytes.Repeat([]byte{7}, 300), uint16(1))
	f.Fuzz(func(t *testing.T, which uint8, a, b, c uint64, id string, data []byte, count uint16) {
		if len(id) > core.MaxIDBytes || len(data)*int(count) > 1<<20 {
			return
		}
		var request core.Request
		switch which % 4 {
		case 0:
			request = &core.RequestVote{Term: a, CandidateID: core.ID(id), LastLogIndex: b, LastLogTerm: c, Pre: a&1 == 1, Transfer: b&1 == 1}
		case 1:
			a, b, c := max(a, b, c), min(a, b, c), max(min(a, b), min(max(a, b), c)) // b ≤ c ≤ a
			m := &core.AppendEntries{Term: a, LeaderID: core.ID(id), PrevLogIndex: c / 2, PrevLogTerm: b, LeaderCommit: a}
			for i := range int(count) {
				n := i % (len(data) + 1)
				m.Entries = append(m.Entries, core.NewEntry(c/2+uint64(i)+1, c, core.KindCommand, data[:n]))
			}
			request = m
		case 2:
			request = &core.TimeoutNow{Term: a, LeaderID: core.ID(id)}
		case 3:
			request = &core.ReadIndex{Term: a}
		}
		_, got, err := readOne(encodeAny(t, requestKind(request), request), requestFrames)
		if err != nil {
			t.Fatal(err)
		}
		if !same(got.(core.Request), request) {
			t.Fatalf("got %+v, want %+v", got, request)
		}
		for _, reply := range []core.Reply{
			&core.RequestVoteReply{Term: a, VoteGranted: b&1 == 1},
			&core.AppendEntriesReply{Term: a, Success: c&1 == 1, ConflictTerm: b, ConflictIndex: c},
			&core.TimeoutNowReply{Term: b},
			&core.ReadIndexReply{Term: a, Success: b&1 == 1, Index: c},
			&core.InstallSnapshotReply{Term: c},
		} {
			_, got, err := readOne(encodeAny(t, replyKind(reply), reply), everything())
			if err != nil || !reflect.DeepEqual(got, reply) {
				t.Fatalf("got %+v, %v, want %+v", got, err, reply)
			}
		}
	})
}

// Goal: memory follows what has arrived, not what is announced. Method: the
// longest frame there may be, cut off after more and more of its bytes, and one
// as dense with entries as possible, each within the allowance.
func TestMemoryFollowsWhatArrives(t *testing.T) {
	announced := announce(kindAppendEntries, maxLargeBody)
	for _, seed := range seedFrames(t) {
		checkFrame(t, seed)
	}
	for _, n := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 10*chunkBytes + 7, 4 << 20} {
		checkFrame(t, append(bytes.Clone(announced), make([]byte, n)...))
	}
	entries := make([]core.Entry, 100_000)
	for i := range entries {
		entries[i].Index = uint64(i) + 1
	}
	b, err := newEncoder().request(nil, &core.AppendEntries{Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	checkFrame(t, b)
	b, err = newEncoder().request(nil, &core.AppendEntries{Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, make([]byte, 5<<20))}})
	if err != nil {
		t.Fatal(err)
	}
	checkFrame(t, b)
}
