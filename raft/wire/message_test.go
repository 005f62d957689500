package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

var longestID = core.ID(strings.Repeat("x", core.MaxIDBytes))

func sampleRequests() []core.Request {
	const most = math.MaxUint64
	many := make([]core.Entry, 2000) // far shorter than what an entry has to pay for
	for i := range many {
		many[i] = core.NewEntry(uint64(i)+1, 0, core.KindCommand, nil)
	}
	return []core.Request{
		&core.RequestVote{},
		&core.RequestVote{Term: 1, CandidateID: "n1", LastLogIndex: 127, LastLogTerm: 128, Pre: true},
		&core.RequestVote{Term: most, CandidateID: longestID, LastLogIndex: most, LastLogTerm: most, Pre: true, Transfer: true},
		&core.AppendEntries{},
		&core.AppendEntries{Term: most, LeaderID: longestID, PrevLogIndex: most, PrevLogTerm: most, LeaderCommit: most},
		&core.AppendEntries{Term: 3, LeaderID: "n1", PrevLogIndex: 41, PrevLogTerm: 2, LeaderCommit: 40, Entries: []core.Entry{
			core.NewEntry(42, 2, core.KindNoop, nil),
			core.NewEntry(43, 3, core.KindCommand, []byte("a")),
			core.NewEntry(44, 3, core.KindCommand, bytes.Repeat([]byte{0xff}, 70_000)),
		}},
		&core.AppendEntries{Entries: many},
		&core.TimeoutNow{Term: 255, LeaderID: "n2"},
		&core.ReadIndex{Term: 1 << 32},
		&core.Rejoin{},
	}
}

func sampleReplies() []core.Reply {
	const most = math.MaxUint64
	return []core.Reply{
		nil,
		&core.RequestVoteReply{},
		&core.RequestVoteReply{Term: most, VoteGranted: true},
		&core.AppendEntriesReply{Term: 7, ConflictTerm: 256, ConflictIndex: 65536},
		&core.AppendEntriesReply{Term: most, Success: true, ConflictTerm: most, ConflictIndex: most},
		&core.TimeoutNowReply{Term: 9},
		&core.InstallSnapshotReply{Term: most},
		&core.ReadIndexReply{Term: most, Success: true, Index: most},
		&core.RejoinReply{Term: most, Rejoining: true, Leads: true, LastIndex: most, UID: core.UID{1, 15: 255}},
	}
}

// splitFrame checks the header of the one frame in b and returns its parts.
func splitFrame(t testing.TB, b []byte, allowed limits) (kind, []byte) {
	t.Helper()
	k := kind(b[0])
	if err := allowed.check(k); err != nil {
		t.Fatal(err)
	}
	n, err := allowed.bodyLength(b[:k.headerBytes()])
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != k.headerBytes()+n {
		t.Fatalf("the header announces %d bytes, there are %d", n, len(b)-k.headerBytes())
	}
	return k, b[k.headerBytes():]
}

// documented turns "kind body", in hexadecimal, into the bytes of a frame as
// docs/protocol.md draws it, without the code that makes frames.
func documented(t *testing.T, short string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(short, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	body, table := b[1:], crc32.MakeTable(crc32.Castagnoli)
	if b[0] == 1 || b[0] == 2 || b[0] == 4 {
		frame := binary.LittleEndian.AppendUint32(b[:1:1], uint32(len(body)+4))
		frame = append(frame, body...)
		return hex.EncodeToString(binary.LittleEndian.AppendUint32(frame, crc32.Checksum(frame, table)))
	}
	head := binary.LittleEndian.AppendUint32(append(b[:1:1], 1, 0, 0, 0), uint32(len(body)))
	sum := crc32.Checksum(append(bytes.Clone(head), body...), table)
	return hex.EncodeToString(append(binary.LittleEndian.AppendUint32(head, sum), body...))
}

// same says whether two requests are equal, nil and empty data being the same.
func same(a, b core.Request) bool {
	x, ok := a.(*core.AppendEntries)
	y, ok2 := b.(*core.AppendEntries)
	if !ok || !ok2 {
		return reflect.DeepEqual(a, b)
	}
	if len(x.Entries) != len(y.Entries) {
		return false
	}
	for i, e := range x.Entries {
		f := y.Entries[i]
		if e.Index != f.Index || e.Term != f.Term || e.Kind != f.Kind || !bytes.Equal(e.Data, f.Data) {
			return false
		}
	}
	xx, yy := *x, *y
	xx.Entries, yy.Entries = nil, nil
	return reflect.DeepEqual(xx, yy)
}

// Goal: what is encoded is what is decoded, for every message and the extremes
// of its fields. Method: encode all into one buffer through one encoder, as a
// burst does, and decode each.
func TestEveryMessageComesBackEqual(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	var prefix []byte
	for _, request := range sampleRequests() {
		b, err := e.request(prefix, request)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[:len(prefix)], prefix) {
			t.Fatalf("encoding a %T changed what was in the buffer", request)
		}
		frame := b[len(prefix):]
		if len(frame) > frameBound(request) {
			t.Fatalf("%T: %d bytes, bound %d", request, len(frame), frameBound(request))
		}
		k, body := splitFrame(t, frame, requestFrames)
		got, err := d.request(k, bytes.Clone(body))
		if err != nil {
			t.Fatalf("%T: %v", request, err)
		}
		if !same(got, request) {
			t.Fatalf("got %+v\nwant %+v", got, request)
		}
		prefix = b
	}
	for _, reply := range sampleReplies() {
		k, body := splitFrame(t, e.reply(nil, reply), everything())
		got, err := d.reply(k, body)
		if err != nil {
			t.Fatalf("%T: %v", reply, err)
		}
		if !reflect.DeepEqual(got, reply) {
			t.Fatalf("got %+v, want %+v", got, reply)
		}
	}
}

// documentedLife is that of the hello in docs/protocol.md.
var documentedLife = identity.Life{Incarnation: identity.Incarnation(bytes.Repeat([]byte{10}, 16)), Boot: 7, Nonces: []uint64{0x0102030405060708}}

const zeros = "00000000000000000000000000000000"

// documentedHello is the hello in docs/protocol.md.
func documentedHello() *hello {
	return (&hello{
		Magic: magic, Version: 3, ClusterID: "c", From: "n1", To: "n2", ClientAddr: "h:1",
		UID: bytes.Repeat([]byte{11}, 16), Bootstrap: bytes.Repeat([]byte{12}, 32), LevelMin: 2, LevelMax: 2, Addresses: packedBytes{},
		Build: "v1", Term: 5, Last: 300, Commit: 200,
	}).of(documentedLife)
}

// documentedContent is its body without the checksum, in hexadecimal.
var documentedContent = strings.ReplaceAll("dc0016 ab726166746b762d70656572 03 a163 a26e31 a26e32 a3683a31 d801"+strings.Repeat("0a", 16)+"07 d701 0102030405060708 c2"+
	"d801"+strings.Repeat("0b", 16)+"00 c72001"+strings.Repeat("0c", 32)+"02 02 00 c70001 c2 a27631 05 cd012c ccc8", " ", "")

// Goal: the bytes on the wire never change by accident. Method: compare with
// frames written down by hand from docs/protocol.md.
func TestFramesHaveTheDocumentedBytes(t *testing.T) {
	e := newEncoder()
	request := func(r core.Request) []byte {
		b, err := e.request(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"request vote", request(&core.RequestVote{Term: 5, CandidateID: "n1", LastLogIndex: 300, LastLogTerm: 4, Pre: true}),
			"10 96 05 a26e31 cd012c 04 c3 c2"},
		{"heartbeat", request(&core.AppendEntries{Term: 5, LeaderID: "n1", PrevLogIndex: 7, PrevLogTerm: 4, LeaderCommit: 6}),
			"12 98 05 a26e31 07 04 06 00 c70001 c70001"},
		{"append", request(&core.AppendEntries{Term: 5, LeaderID: "n1", PrevLogIndex: 7, PrevLogTerm: 4, LeaderCommit: 6,
			Entries: []core.Entry{core.NewEntry(8, 5, core.KindCommand, []byte("hi"))}}),
			"12 98 05 a26e31 07 04 06 01 c70901 0500 67ce86ab 026869 c70001"},
		{"append reply", e.reply(nil, &core.AppendEntriesReply{Term: 5, ConflictTerm: 3, ConflictIndex: 200}),
			"13 97 05 c2 03 ccc8 c2 c2 00"},
		{"pending reply", e.reply(nil, &core.AppendEntriesReply{Term: 5, Pending: true, RatherNot: true, Commit: 6}), "13 97 05 c2 00 00 c3 c3 06"},
		{"no reply", e.reply(nil, nil), "03"},
		{"rejoin", request(&core.Rejoin{}), "18 90"},
		{"rejoin reply", e.reply(nil, &core.RejoinReply{Term: 5, Leads: true, LastIndex: 200, UID: core.UID{15: 9}}), "19 95 05 c2 c3 ccc8 d801 00000000000000000000000000000009"},
		{"standing", e.standing(nil, identity.Standing{Term: 5, Last: 300, LastTerm: 4, Commit: 200}, core.UID{}), "05 95 05 cd012c 04 ccc8 d801" + zeros},
		{"hello", e.hello(nil, kindHello, documentedHello()), "01" + documentedContent},
		{"transfer hello", e.hello(nil, kindTransferHello, documentedHello()), "04" + documentedContent},
		{"snapshot offer", e.frame(nil, kindSnapshotOffer, sampleOffer(), headerBytes+maxSmallBody),
			"20 97 05 a26e31 cd012c 04 ce00100000 d801" + strings.Repeat("09", 16) + " c72001" + strings.Repeat("07", snapshotIDBytes)},
		{"snapshot offer reply", e.frame(nil, kindSnapshotOfferReply, &snapshotOfferReply{65536}, headerBytes+maxSmallBody),
			"21 91 ce00010000"},
		{"snapshot chunk", e.chunk(nil, 65536, []byte("hi")), "22 93 ce00010000 ceae1d235c d5016869"},
		{"install snapshot reply", e.reply(nil, &core.InstallSnapshotReply{Term: 5}), "23 91 05"},
		{"snapshot failed", e.frame(nil, kindSnapshotFailed, &snapshotFailed{failureStorage}, headerBytes+maxSmallBody),
			"24 91 a773746f72616765"},
		{"refusal", e.refusal(nil, &rejection{reason: identity.OtherCluster, detail: "no"}, documentedHello()),
			"02 94 a7636c7573746572 03 a26e6f c7" + fmt.Sprintf("%02x", len(documentedContent)/2) + "01" + documentedContent},
	} {
		if got, want := hex.EncodeToString(c.got), documented(t, c.want); got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
		}
	}
}

// Goal: a frame above the limit is refused on encoding and one that just fits
// is not. Method: an entry of MaxEntryBytes, and one so long that it cannot fit.
func TestFrameLimitOnEncode(t *testing.T) {
	e := newEncoder()
	largest := &core.AppendEntries{LeaderID: longestID, Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, make([]byte, MaxEntryBytes))}}
	b, err := e.request(nil, largest)
	if err != nil {
		t.Fatalf("an entry of MaxEntryBytes must fit: %v", err)
	}
	if len(b) > MaxFrameBytes {
		t.Fatalf("a frame of %d bytes left", len(b))
	}
	over := &core.AppendEntries{Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, make([]byte, MaxFrameBytes))}}
	if b, err := e.request([]byte("before"), over); err == nil || string(b) != "before" {
		t.Fatalf("a frame above the limit gave %d bytes, %v", len(b), err)
	}
}

// Goal: a body that is cut off or continued anywhere is refused. Method: every
// prefix of every sample, and each sample with one byte more.
func TestBodiesMustEndWhereTheyEnd(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	check := func(k kind, body []byte, decode func([]byte) error) {
		t.Helper()
		step := 1 + len(body)/500
		for n := 0; n < len(body); n += step {
			if err := decode(body[:n:n]); !errors.Is(err, errMalformed) {
				t.Fatalf("kind 0x%02x, %d of %d bytes: %v", uint8(k), n, len(body), err)
			}
		}
		for _, extra := range []byte{0x00, 0xc0, 0xff} {
			if err := decode(append(bytes.Clone(body), extra)); !errors.Is(err, errMalformed) {
				t.Fatalf("kind 0x%02x and a byte 0x%02x behind: %v", uint8(k), extra, err)
			}
		}
	}
	for _, request := range sampleRequests() {
		b, err := e.request(nil, request)
		if err != nil {
			t.Fatal(err)
		}
		k, body := splitFrame(t, b, requestFrames)
		check(k, body, func(b []byte) error { _, err := d.request(k, b); return err })
	}
	for _, reply := range sampleReplies()[1:] {
		k, body := splitFrame(t, e.reply(nil, reply), everything())
		check(k, body, func(b []byte) error { _, err := d.reply(k, b); return err })
	}
}

// Goal: only the one form of each body is taken, whatever the library would
// make of others. Method: a table of bodies that a lenient decoder accepts.
func TestBodiesOfAnotherShapeAreRefused(t *testing.T) {
	d := newDecoder()
	for _, c := range []struct {
		name string
		kind kind
		body string
	}{
		{"nil for the struct", kindReadIndex, "c0"},
		{"map for the struct", kindReadIndex, "81 a454 65726d 01"},
		{"too few fields", kindTimeoutNow, "91 01"},
		{"too many fields", kindReadIndex, "92 01 01"},
		{"array16 header", kindReadIndex, "dc0001 01"},
		{"negative number that looks like an array", kindReadIndex, "f1 01"},
		{"negative number", kindReadIndex, "91 ff"},
		{"signed number", kindReadIndex, "91 d001"},
		{"float", kindReadIndex, "91 ca3f800000"},
		{"number in a longer form", kindReadIndex, "91 cc01"},
		{"number in the longest form", kindReadIndex, "91 cf00000000ffffffff"},
		{"nil for a number", kindReadIndex, "91 c0"},
		{"number for a truth value", kindRequestVoteReply, "92 01 01"},
		{"nil for a string", kindTimeoutNow, "92 01 c0"},
		{"byte string for a string", kindTimeoutNow, "92 01 c4026e31"},
		{"array for a string", kindTimeoutNow, "92 01 926e31"},
		{"string in a longer form", kindTimeoutNow, "92 01 d9026e31"},
		{"id of 65 bytes", kindTimeoutNow, "92 01 d941" + strings.Repeat("78", 65)},
		{"string32 bomb", kindTimeoutNow, "92 01 dbffffffff"},
		{"array32 bomb", kindAppendEntries, "dd ff ff ff ff"},
		{"map32 bomb", kindAppendEntries, "df ff ff ff ff"},
		{"byte string bomb", kindAppendEntries, "98 05 a26e31 07 04 06 01 c6ffffffff c70001"},
		{"extension bomb", kindAppendEntries, "98 05 a26e31 07 04 06 01 c9ffffffff01 c70001"},
		{"deep nesting", kindAppendEntries, strings.Repeat("91", 100_000)},
		{"nested array16", kindAppendEntries, strings.Repeat("dcffff", 24_000)},
		{"other extension type", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70902 050067ce86ab026869 c70001"},
		{"extension in a longer form", kindAppendEntries, "98 05 a26e31 07 04 06 01 c80009 01 050067ce86ab026869 c70001"},
		{"extension that has a fixed form", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70801 0500f31949b10168 c70001"},
		{"byte string for the entries", kindAppendEntries, "98 05 a26e31 07 04 06 01 c409 050067ce86ab026869 c70001"},
		{"nil for the padding", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70901 050067ce86ab026869 c0"},
		{"more entries than bytes", kindAppendEntries, "98 05 a26e31 07 04 06 02 c70901 050067ce86ab026869 c70001"},
		{"fewer entries than bytes", kindAppendEntries, "98 05 a26e31 07 04 06 00 c70901 050067ce86ab026869 c70001"},
		{"a huge number of entries", kindAppendEntries, "98 05 a26e31 07 04 06 cfffffffffffffffff c70901 050067ce86ab026869 c70001"},
		{"a negative number of entries", kindAppendEntries, "98 05 a26e31 07 04 06 cf8000000000000001 c70901 050067ce86ab026869 c70001"},
		{"padding where none belongs", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70901 050067ce86ab026869 d40100"},
		{"entries behind the end of the numbers", kindAppendEntries, "98 05 a26e31 cfffffffffffffffff 04 06 01 c70901 050067ce86ab026869 c70001"},
		{"an entry of a later term than the leader's", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70901 0600d5a0f817026869 c70001"},
		{"an entry of an earlier term than its predecessor's", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70901 0300f26596d6026869 c70001"},
		{"an entry that does not match its checksum", kindAppendEntries, "98 05 a26e31 07 04 06 01 c70901 050067ce86ab026868 c70001"},
		{"a body where there is none", kindHello, "96"},
	} {
		body, err := hex.DecodeString(strings.ReplaceAll(c.body, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if c.kind == kindRequestVoteReply {
			_, err = d.reply(c.kind, body)
		} else {
			_, err = d.request(c.kind, body)
		}
		if !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Goal: an entry of a kind that this build does not know is refused by its number,
// and so is a no-op with more in it. Method: messages with valid checksums.
func TestEntriesOfUnknownKindsAreRefusedByNumber(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	for want, entry := range map[string]core.Entry{
		"kind 2 with 9 bytes of data":  core.NewEntry(8, 5, core.KindConfiguration, []byte("remove n2")),
		"kind 77,":                     core.NewEntry(8, 5, 77, nil),
		"kind 1 with 17 bytes of data": core.NewEntry(8, 5, core.KindNoop, make([]byte, 17)),
	} {
		b, err := e.request(nil, &core.AppendEntries{Term: 5, LeaderID: "n1", PrevLogIndex: 7, PrevLogTerm: 4, Entries: []core.Entry{entry}})
		if err != nil {
			t.Fatal(err)
		}
		k, body := splitFrame(t, b, requestFrames)
		var unknown *core.UnknownKindError
		if _, err := d.request(k, body); !errors.Is(err, errMalformed) || !errors.As(err, &unknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want one that names %q", entry.Kind, err, want)
		}
	}
}

// Goal: entries that are too short to pay for their memory are padded, by
// exactly what is missing, and padding that holds something, or is too short, is refused.
// Method: look at the frame of 2,000 empty entries, then spoil its padding and cut it.
func TestShortEntriesArePadded(t *testing.T) {
	e, d := newEncoder(), newDecoder()
	entries := make([]core.Entry, 2000)
	for i := range entries {
		entries[i].Index = uint64(i) + 1
	}
	b, err := e.request(nil, &core.AppendEntries{Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	k, body := splitFrame(t, b, requestFrames)
	if least := (2000 - freeEntries) * bytesPerEntry; len(body) < least || len(body) > least+100 {
		t.Fatalf("the body has %d bytes, about %d were expected", len(body), least)
	}
	body[len(body)-1] = 1
	if _, err := d.request(k, body); !errors.Is(err, errMalformed) {
		t.Fatalf("spoiled padding: %v", err)
	}
	for i := range entries {
		entries[i] = core.NewEntry(uint64(i)+1, 1, core.KindCommand, nil)
	}
	packed := core.EncodeEntries(packedBytes{}, entries)
	for _, missing := range []int{0, 1, paddingFor(len(entries), len(packed))} {
		m := appendEntries{Term: 1, LeaderID: "n1", Count: uint64(len(entries)), Entries: packed, Padding: make(packedBytes, paddingFor(len(entries), len(packed))-missing)}
		if _, err := m.unpack(); (err == nil) != (missing == 0) || err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("%d bytes of padding are missing: %v", missing, err)
		}
	}
	if paddingFor(64, 64*256) != 0 || paddingFor(freeEntries, 0) != 0 {
		t.Fatal("usual batches need no padding")
	}
}

func sampleOffer() *snapshotOffer {
	return &snapshotOffer{Term: 5, LeaderID: "n1", SnapshotIndex: 300, SnapshotTerm: 4, Size: 1 << 20, UID: bytes.Repeat([]byte{9}, 16), ID: bytes.Repeat([]byte{7}, snapshotIDBytes)}
}
