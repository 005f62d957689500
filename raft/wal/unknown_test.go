package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// wantUnknown checks that Open refuses the log by the number of what it does not
// know, with file and offset, tells to start a newer raftkv, and changes nothing.
func wantUnknown(t *testing.T, disk *vfs.Crashable, offset int64, what string) {
	t.Helper()
	watched := vfs.NewFaulty(disk)
	_, _, err := Open(testOptions(watched))
	var unknown *UnknownError
	if !errors.As(err, &unknown) || unknown.File != segmentPath(1) || unknown.Offset != offset ||
		!strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "newer raftkv") {
		t.Errorf("Open: %v, want an UnknownError at byte %d that names %q", err, offset, what)
	}
	if n := watched.Count(vfs.OpWrite) + watched.Count(vfs.OpRemove) + watched.Count(vfs.OpRename); n != 0 {
		t.Errorf("%s: the log was changed by %d operations", what, n)
	}
}

// Goal: what this build does not know stops it, by its number, wherever a later
// one can put it: a type of record, a reserved byte of a record's header, of a batch
// or of the record of a snapshot, a kind of entry, a no-op with more in it. It is
// never skipped, and never taken for a torn end, which would be cut off. Method: one
// such record with valid checksums behind two batches, at rest behind the mark's
// place.
func TestWhatIsUnknownStopsTheStart(t *testing.T) {
	_, h := build(t, 18, 2, true)
	last, term := h.now().last(), h.now().Term
	batch := func(entries ...core.Entry) []byte {
		return appendBatch(nil, &core.Write{Term: term, VotedFor: h.now().VotedFor, From: last + 1, Entries: entries, Commit: h.now().Commit})
	}
	withByte := func(at int, b []byte) []byte {
		b = slices.Clone(b)
		b[at] = 3
		return b
	}
	plain := batch(core.NewEntry(last+1, term, core.KindCommand, []byte("x")))
	record := appendSnapshotRecord(nil, snapshotRecord{position: position{last, term}, keep: 1})
	cases := map[string]struct {
		h       recordHeader
		payload []byte
		what    string
	}{
		"flags of a batch":      {recordHeader{kind: TypeBatch}, withByte(30, plain), "flags 0x300 in a batch"},
		"flags of a record":     {recordHeader{kind: TypeSnapshot}, append(withByte(46, record), plain...), "in the record of a snapshot"},
		"kind of an entry":      {recordHeader{kind: TypeBatch}, batch(core.NewEntry(last+1, term, core.KindConfiguration, nil)), "of kind 2 with 0 bytes of data (members: this is no record"},
		"another kind":          {recordHeader{kind: TypeBatch}, batch(core.NewEntry(last+1, term, 77, []byte("x"))), fmt.Sprintf("log entry %d of kind 77", last+1)},
		"a no-op with a uid+1":  {recordHeader{kind: TypeBatch}, batch(core.NewEntry(last+1, term, core.KindNoop, make([]byte, 17))), "kind 1 with 17 bytes"},
		"a no-op with no uid":   {recordHeader{kind: TypeBatch}, batch(core.NewEntry(last+1, term, core.KindNoop, make([]byte, 16))), "kind 1 with 16 bytes"},
		"reserved byte, batch":  {recordHeader{kind: TypeBatch, reserved: 1}, plain, "a record with flags 0x1"},
		"reserved byte, last":   {recordHeader{kind: TypeBatch, reserved: 0x800000}, plain, "a record with flags 0x800000"},
		"reserved byte, a mark": {recordHeader{kind: TypeMark, reserved: 4, number: 2}, nil, "a record with flags 0x4"},
		"type 0":                {recordHeader{}, plain, "a record of type 0"},
	}
	for kind := 5; kind <= 255; kind++ {
		cases[fmt.Sprintf("type %d", kind)] = struct {
			h       recordHeader
			payload []byte
			what    string
		}{recordHeader{kind: Type(kind)}, plain, fmt.Sprintf("a record of type %d,", kind)}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			disk, _ := build(t, 18, 2, true)
			image, _, err := readOnly(disk)
			must(t, err)
			c.h.length = uint64(len(c.payload))
			forge(t, disk, c.h, c.payload)
			wantUnknown(t, disk, image.at.offset, c.what)
		})
	}
	disk, _ := build(t, 18, 2, true)
	forge(t, disk, recordHeader{kind: TypeBatch, length: uint64(len(plain))}, plain)
	if image, _, err := readOnly(disk); err != nil || image.at.number != 3 {
		t.Errorf("void: the batch without anything unknown is refused: %v", err)
	}
}

// Goal: a segment whose header holds more than this version knows is refused, and
// so is one of a version before the first release, in words of its own. Method: a
// byte in each reserved part of the header, with valid checksums; version 1.
func TestAnUnknownSegmentHeaderIsRefused(t *testing.T) {
	disk, _ := build(t, 18, 2, true)
	whole := content(t, disk, segmentPath(1))
	for _, at := range []int{clusterIDAt + len("c1"), nodeIDAt - 1, nodeIDAt + len("n1"), headerFieldsTo - 1, headerFieldsTo, segmentHeaderBytes - 1} {
		b := slices.Clone(whole)
		b[at] = 1
		replace(t, disk, segmentPath(1), reseal(b))
		wantUnknown(t, disk, clusterIDAt, "a header with more fields")
	}
	b := slices.Clone(whole)
	binary.LittleEndian.PutUint32(b[8:], 1)
	replace(t, disk, segmentPath(1), reseal(b))
	_, _, err := Open(testOptions(disk))
	var version *VersionError
	if !errors.As(err, &version) || !strings.Contains(err.Error(), "log version 1 was never released; start with an empty directory") {
		t.Errorf("version 1: %v", err)
	}
}

// Goal: an entry that was damaged in memory never reaches the disk, and the log
// accepts nothing after it. Method: save a batch whose second entry has one flipped
// bit; then a sound one; then read the disk.
func TestADamagedEntryIsNotWritten(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	entries := []core.Entry{core.NewEntry(1, 1, core.KindCommand, []byte("a")), core.NewEntry(2, 1, core.KindCommand, []byte("b"))}
	entries[1].Data[0] ^= 0x40
	var damage *core.DamageError
	if err := w.Save(&core.Write{Seq: 1, Term: 1, From: 1, Entries: entries}); !errors.As(err, &damage) || damage.Index != 2 ||
		!strings.Contains(err.Error(), "this machine's memory is damaged") {
		t.Fatalf("Save: %v", err)
	}
	if err := w.Save(&core.Write{Seq: 1, Term: 1, From: 1, Entries: entries[:1]}); !errors.As(err, &damage) {
		t.Errorf("the next Save: %v", err)
	}
	if _, state, err := readOnly(disk.Kill()); err != nil || len(state.Entries) != 0 || state.Term != 0 {
		t.Errorf("on the disk: %+v, %v", state, err)
	}
}

// Goal: what is recorded as committed is found again, and acknowledged entries that
// lack are told of, with numbers and what to do. Method: a log of three, two of them
// committed; then a batch with valid checksums that takes the second away.
func TestTheCommitIndexIsKept(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	var entries []core.Entry
	for i := range uint64(3) {
		entries = append(entries, core.NewEntry(i+1, 1, core.KindCommand, nil))
	}
	must(t, w.Save(&core.Write{Seq: 1, Term: 1, From: 1, Entries: entries, Commit: 1}))
	must(t, w.Save(&core.Write{Seq: 2, Term: 1, Commit: 2}))
	must(t, w.Close())
	_, state, err := readOnly(disk)
	must(t, err)
	if report, err := Check(disk, testDir); err != nil || state.Commit != 2 || report.Commit != 2 {
		t.Fatalf("found %d and %d, %v", state.Commit, report.Commit, err)
	}
	for _, w := range []*core.Write{
		{Term: 2, From: 2, Commit: 1},
		{Term: 2, From: 2, Commit: 2},
		{Term: 2, From: 3, Commit: 3},
	} {
		disk := disk.Crash(seeded(1), vfs.KeepBlocks) // a copy: the log was closed
		payload := appendBatch(nil, w)
		forge(t, disk, recordHeader{kind: TypeBatch, length: uint64(len(payload))}, payload)
		damage := wantCorruption(t, disk, segmentPath(1))
		if w.Commit == 3 && !strings.Contains(damage.Error(), "up to index 3 are recorded as committed, and the log ends with index 2: 1 acknowledged entries are lost") ||
			w.Commit == 2 && !strings.Contains(damage.Reason, "those up to index 2 are recorded as committed") ||
			w.Commit == 1 && !strings.Contains(damage.Reason, "falls from 2 to 1") || !strings.Contains(damage.Error(), "--rejoin") {
			t.Errorf("commit index %d: %v", w.Commit, damage)
		}
	}
}

// Goal: the cluster's uid is in the file of a snapshot, however that came to be, and
// a start gives it back; a transfer of another cluster's is refused. Method: write
// one, restart, receive a newer one, restart; a file whose header has another uid
// than was announced.
func TestASnapshotKeepsTheUID(t *testing.T) {
	disk, uid := vfs.NewCrashable(), core.UID{1, 2, 3}
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 3, 0, 5)
	taken := core.Snapshot{Index: 4, Term: 3, UID: uid}
	must(t, w.WriteSnapshot(taken, writePayload(positionOf(taken))))
	must(t, w.Save(&core.Write{Seq: seq + 1, Term: 3, Snapshot: &taken, Commit: 4}))
	must(t, w.Close())
	w, state, err := Open(testOptions(disk))
	must(t, err)
	if state.Snapshot.UID != uid || state.Snapshot.Index != 4 {
		t.Fatalf("a start begins with %+v", state.Snapshot)
	}
	installed := core.Snapshot{Index: 9, Term: 4, UID: uid}
	other := installed
	other.UID = core.UID{7}
	if err := receive(w, other, seeded(1)); err == nil { // receive makes a file of uid zero
		t.Error("a snapshot of uid zero passed for one of another")
	}
	b := packedUID(t, "c1", positionOf(installed), uid)
	_, err = w.BeginReceive(installed, int64(len(b)), [32]byte{})
	must(t, err)
	must(t, w.ReceiveAt(b, 0))
	must(t, w.FinishReceive())
	must(t, w.Save(&core.Write{Seq: 1, Term: 4, Snapshot: &installed, From: 10, Commit: 9}))
	must(t, w.Close())
	_, state, err = Open(testOptions(disk))
	must(t, err)
	if state.Snapshot.UID != uid || state.Snapshot.Index != 9 || state.Commit != 9 {
		t.Fatalf("after an installation a start begins with %+v, committed up to %d", state.Snapshot, state.Commit)
	}
}
