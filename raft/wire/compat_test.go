package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/tests/compat/golden"
)

// Goal: frames that an earlier release sent are read by this one, and mean the
// same. Method: see golden.Check. The table has every kind, hellos in both uses.
func TestWhatEarlierReleasesSentIsRead(t *testing.T) {
	golden.Check(t, []golden.Format{
		{Release: "v0.1.0", Name: "peer-frames", Write: writeReleasedFrames, Read: readReleasedFrames},
	})
}

// releasedUID is the cluster's in every frame.
var releasedUID = core.UID{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8}

// releasedHello has something in every field, but for those that are kept.
func releasedHello() hello {
	members := bootstrapOf([]core.ID{"n1", "n2", "n3"})
	h := hello{
		Magic: magic, Version: 3, ClusterID: "compat", From: "n1", To: "n2", ClientAddr: "10.0.0.1:8701",
		UID: releasedUID[:], Bootstrap: members[:], LevelMin: 2, LevelMax: 2, Addresses: packedBytes{},
		Build: "v0.1.0", Term: 1 << 33, Last: 70_000, Commit: 300,
	}
	return *h.of(identity.Life{Incarnation: identity.Incarnation{0xa0, 0xa1, 15: 0xaf}, Boot: 300, Nonces: []uint64{1 << 63, 0x0102030405060708}, Rejoined: true})
}

// releasedFrame is a frame: what it says and how to write it, which encodeAny
// knows unless write is set.
type releasedFrame struct {
	kind  kind
	means any
	write func(e *encoder) []byte
}

func releasedFrames() map[string]releasedFrame {
	h := releasedHello()
	entries := []core.Entry{
		core.NewEntry(42, 2, core.KindNoop, releasedUID[:]), core.NewEntry(43, 3, core.KindNoop, nil), core.NewEntry(44, 3, core.KindCommand, bytes.Repeat([]byte{0xff}, 200)),
	}
	var short []core.Entry // need padding
	for i := range uint64(freeEntries + 3) {
		short = append(short, core.NewEntry(i+1, 1, core.KindCommand, nil))
	}
	id := bytes.Repeat([]byte{7}, snapshotIDBytes)
	all := map[string]releasedFrame{
		"hello":          {kind: kindHello, means: h},
		"transfer-hello": {kind: kindTransferHello, means: h},
		"standing": {kindStanding, statement{identity.Standing{Term: 5, Last: 300, LastTerm: 4, Commit: 200}, releasedUID}, func(e *encoder) []byte {
			return e.standing(nil, identity.Standing{Term: 5, Last: 300, LastTerm: 4, Commit: 200}, releasedUID)
		}},
		"overtakes":              {kind: kindOvertakes, means: overtakes{Older: 300}},
		"no-reply":               {kind: kindNoReply},
		"append-entries":         {kind: kindAppendEntries, means: &core.AppendEntries{Term: 3, LeaderID: "n1", PrevLogIndex: 41, PrevLogTerm: 2, LeaderCommit: 40, Entries: entries}},
		"append-entries-padded":  {kind: kindAppendEntries, means: &core.AppendEntries{Term: 1, LeaderID: "n1", Entries: short}},
		"heartbeat":              {kind: kindAppendEntries, means: &core.AppendEntries{Term: 1 << 33, LeaderID: "n1", PrevLogIndex: 70_000, PrevLogTerm: 300, LeaderCommit: 200, Entries: []core.Entry{}}},
		"append-entries-reply":   {kind: kindAppendEntriesReply, means: &core.AppendEntriesReply{Term: 7, Success: true, Commit: 300}},
		"append-entries-refused": {kind: kindAppendEntriesReply, means: &core.AppendEntriesReply{Term: 7, ConflictTerm: 256, ConflictIndex: 65_536, RatherNot: true, Commit: 9}},
		"append-entries-pending": {kind: kindAppendEntriesReply, means: &core.AppendEntriesReply{Term: 7, Pending: true, Commit: 300}},
		"snapshot-offer":         {kind: kindSnapshotOffer, means: snapshotOffer{Term: 5, LeaderID: "n1", SnapshotIndex: 300, SnapshotTerm: 4, Size: 1 << 20, UID: releasedUID[:], ID: id}},
		"snapshot-offer-reply":   {kind: kindSnapshotOfferReply, means: snapshotOfferReply{Have: 65_536}},
		"snapshot-chunk":         {kind: kindSnapshotChunk, means: snapshotChunk{Offset: 65_536, Checksum: 0xae1d235c, Data: []byte("hi")}},
		"snapshot-failed":        {kind: kindSnapshotFailed, means: snapshotFailed{Reason: failureStorage}},
	}
	for name, m := range map[string]any{
		"request-vote":           &core.RequestVote{Term: 5, CandidateID: "n1", LastLogIndex: 300, LastLogTerm: 4, Pre: true, Transfer: true},
		"request-vote-reply":     &core.RequestVoteReply{Term: 5, VoteGranted: true},
		"timeout-now":            &core.TimeoutNow{Term: 255, LeaderID: "n2"},
		"timeout-now-reply":      &core.TimeoutNowReply{Term: 9},
		"read-index":             &core.ReadIndex{Term: 1 << 32},
		"read-index-reply":       &core.ReadIndexReply{Term: 5, Success: true, Index: 300},
		"rejoin":                 &core.Rejoin{},
		"rejoin-reply":           &core.RejoinReply{Term: 5, Rejoining: true, Leads: true, LastIndex: 200},
		"install-snapshot-reply": &core.InstallSnapshotReply{Term: 5},
	} {
		if request, ok := m.(core.Request); ok {
			all[name] = releasedFrame{kind: requestKind(request), means: m}
		} else {
			all[name] = releasedFrame{kind: replyKind(m.(core.Reply)), means: m}
		}
	}
	for _, r := range reasons {
		if r == ReasonMalformed || r == ReasonSilent || r == ReasonCrowded {
			continue // only counted
		}
		if r == ReasonRemoved || r == ReasonGeneration || r == ReasonIdentity {
			continue // newer than the release
		}
		no := &rejection{reason: r, detail: "because of " + string(r)}
		content := newEncoder().content(&h)
		all["refusal-"+string(r)] = releasedFrame{kindRefusal, &refusedError{refusal{r, 3, no.detail, content}, h}, func(e *encoder) []byte { return e.refusal(nil, no, &h) }}
	}
	return all
}

// oldRefusalFrame is what servers of versions 1 and 2 are told. This version only
// writes it: it has no checksum.
const oldRefusalFrame = "\x02\x0a\x00\x00\x00\x92\xa7version\x03"

func writeReleasedFrames(t *testing.T) golden.Files {
	all := golden.Files{"refusal-of-old-versions": newEncoder().oldRefusal(nil)}
	for name, f := range releasedFrames() {
		if f.write == nil {
			all[name] = encodeAny(t, f.kind, f.means)
		} else {
			all[name] = f.write(newEncoder())
		}
	}
	return all
}

func readReleasedFrames(t *testing.T, f golden.Files) {
	for name, want := range releasedFrames() {
		k, message, err := readOne(f[name], everything())
		if err != nil || k != want.kind {
			t.Errorf("%s is read as kind 0x%02x, %v", name, uint8(k), err)
			continue
		}
		if got, want := inWords(message), inWords(want.means); got != want {
			t.Errorf("%s is read as\n%s\nand said\n%s", name, got, want)
		}
	}
	if got := string(f["refusal-of-old-versions"]); got != oldRefusalFrame {
		t.Errorf("the refusal of old versions is %q", got)
	}
}

// inWords prints all fields of a message; of a refusal also the sender's hello.
func inWords(message any) string {
	if r, ok := message.(*refusedError); ok {
		return fmt.Sprintf("%+v %+v", r.refusal, r.by)
	}
	return strings.TrimPrefix(fmt.Sprintf("%+v", message), "&")
}

// Goal: no kind of frame is without a file. Method: the kinds that may come at
// any moment, against those in the table.
func TestEveryKindOfFrameWasKept(t *testing.T) {
	kept := map[kind]bool{}
	for _, f := range releasedFrames() {
		kept[f.kind] = true
	}
	for k := range everything() {
		if !kept[k] {
			t.Errorf("no file has a frame of kind 0x%02x", uint8(k))
		}
	}
}
