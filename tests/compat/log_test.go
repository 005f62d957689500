package compat

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver"
	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// uid is the cluster's in every file.
var uid = core.UID{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8}

// sample returns entry index of the logs: a no-op with the uid, commands of several
// lengths, a no-op without.
func sample(index uint64) core.Entry {
	switch {
	case index == 1:
		return core.NewEntry(1, 1, core.KindNoop, uid[:])
	case index == 5:
		return core.NewEntry(5, 3, core.KindNoop, nil)
	case index < 5:
		return core.NewEntry(index, 1, core.KindCommand, fmt.Append(nil, "command ", index))
	}
	return core.NewEntry(index, 3, core.KindCommand, bytes.Repeat([]byte{byte(index)}, int(index%10)*100))
}

func samples(first, last uint64) (entries []core.Entry) {
	for i := first; i <= last; i++ {
		entries = append(entries, sample(i))
	}
	return entries
}

func same(a, b []core.Entry) bool {
	return slices.EqualFunc(a, b, func(a, b core.Entry) bool {
		return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && a.Sum == b.Sum && bytes.Equal(a.Data, b.Data)
	})
}

// The encoding of entries, on disk and wire.

func writeEntries(*testing.T) files { return files{"entries": core.EncodeEntries(nil, samples(1, 20))} }

func readEntries(t *testing.T, f files) {
	entries, err := core.DecodeEntries(f["entries"], 1, 20)
	if err != nil || !same(entries, samples(1, 20)) {
		t.Errorf("read as %d other entries, %v", len(entries), err)
	}
}

// A log with every type of record: batches with and without entries, one that
// truncates, two snapshots that were taken, marks, seals. And one in which a
// snapshot that was installed replaced the log.

const logDir = "wal"

func options(disk vfs.FS) wal.Options {
	return wal.Options{FS: disk, Dir: logDir, ClusterID: "compat", NodeID: "n1", SegmentBytes: wal.MinSegmentBytes}
}

func writeLog(t *testing.T) files {
	writes := []core.Write{
		{Term: 1, VotedFor: "n2"},
		{Term: 1, VotedFor: "n2", From: 1, Entries: samples(1, 4), Commit: 2},
		{Term: 2, VotedFor: "n1", From: 5, Entries: []core.Entry{core.NewEntry(5, 2, core.KindCommand, []byte("overwritten"))}, Commit: 4},
		{Term: 3, From: 5, Entries: samples(5, 12), Commit: 5},
		{Term: 3, Snapshot: &core.Snapshot{Index: 3, Term: 1, UID: uid}, Commit: 12},
	}
	for i := uint64(13); i <= 40; i++ {
		writes = append(writes, core.Write{Term: 3, From: i, Entries: samples(i, i), Commit: i - 1})
	}
	return logOf(t, append(writes, core.Write{Term: 3, Snapshot: &core.Snapshot{Index: 12, Term: 3, UID: uid}, Commit: 40}))
}

func writeInstalledLog(t *testing.T) files {
	return logOf(t, []core.Write{
		{Term: 1, From: 1, Entries: samples(1, 2), Commit: 1},
		{Term: 3, Snapshot: &core.Snapshot{Index: 12, Term: 3, UID: uid}, From: 13, Entries: samples(13, 14), Commit: 12},
	})
}

// logOf returns the files of a log with these batches, closed in order.
func logOf(t *testing.T, writes []core.Write) files {
	t.Helper()
	disk := vfs.NewCrashable()
	log, _, err := wal.Open(options(disk))
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range writes {
		w.Seq = uint64(i) + 1
		if w.Snapshot != nil {
			if err := log.WriteSnapshot(*w.Snapshot, writeState); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Save(&w); err != nil {
			t.Fatal(err)
		}
		if err := log.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List(logDir)
	if err != nil {
		t.Fatal(err)
	}
	all := files{}
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") || strings.HasSuffix(name, ".snap") {
			all[name] = content(t, disk, filepath.Join(logDir, name))
		}
	}
	return all
}

func readLog(t *testing.T, f files) {
	types := readLogOf(t, f, core.State{Term: 3, Commit: 40, Entries: samples(13, 40)})
	for _, want := range []wal.Type{wal.TypeSegment, wal.TypeBatch, wal.TypeMark, wal.TypeSeal, wal.TypeSnapshot} {
		if !types[want] {
			t.Errorf("the log has no record of type %v", want)
		}
	}
}

func readInstalledLog(t *testing.T, f files) {
	readLogOf(t, f, core.State{Term: 3, Commit: 12, Entries: samples(13, 14)})
}

// readLogOf reads a log that begins with the snapshot at index 12, compares it and
// returns the types of its records.
func readLogOf(t *testing.T, f files, want core.State) map[wal.Type]bool {
	t.Helper()
	disk := vfs.NewCrashable()
	if err := disk.MkdirAll(logDir); err != nil {
		t.Fatal(err)
	}
	for name, b := range f {
		file, err := disk.Create(filepath.Join(logDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	types := map[wal.Type]bool{}
	err := wal.Inspect(disk, logDir, func(r wal.Record) error {
		types[r.Type] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log, state, err := wal.Open(options(disk))
	if err != nil {
		t.Fatal(err)
	}
	if state.Term != want.Term || state.VotedFor != want.VotedFor || state.Commit != want.Commit || state.Snapshot.Index != 12 || state.Snapshot.Term != 3 ||
		state.Snapshot.UID != uid || !same(state.Entries, want.Entries) {
		t.Errorf("read as term %d, vote %q, committed up to %d, snapshot %+v, %d entries", state.Term, state.VotedFor, state.Commit, state.Snapshot, len(state.Entries))
	}
	r, err := log.OpenSnapshot(12)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, stateBytes) {
		t.Errorf("its snapshot holds %d other bytes, %v", len(b), err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	return types
}

// The container of a snapshot.

var stateBytes = bytes.Repeat([]byte("state of the machine. "), 20)

func writeState(w io.Writer) error {
	_, err := w.Write(stateBytes)
	return err
}

func writeSnapshot(t *testing.T) files {
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: "compat", Index: 12, Term: 3, UID: uid})
	if err == nil {
		_, err = w.Write(stateBytes)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return files{"snapshot": b.Bytes()}
}

func readSnapshot(t *testing.T, f files) {
	r, err := snapshot.NewReader(bytes.NewReader(f["snapshot"]))
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Header(); h.ClusterID != "compat" || h.Index != 12 || h.Term != 3 || h.UID != uid {
		t.Errorf("its header is %+v", h)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, stateBytes) {
		t.Errorf("it holds %d other bytes, %v", len(b), err)
	}
}

func content(t *testing.T, disk vfs.FS, path string) []byte {
	t.Helper()
	file, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := file.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// The backup of a store with a key, a session and a record.

func writeBackup(t *testing.T) files {
	store := kv.New()
	for i, c := range []kv.Command{
		{Op: kv.OpOpenSession},
		{Op: kv.OpPut, Key: []byte("k"), Value: []byte("value"), Session: kv.SessionCall{ID: 1, Seq: 1}},
		{Op: kv.OpAppend, Key: []byte("k"), Value: []byte("s"), IdempotencyKey: "once", Time: 500},
	} {
		store.Apply(uint64(i)+1, kv.EncodeCommand(c))
	}
	return backupOf(t, func(w io.Writer) error {
		_, err := store.WriteTo(w)
		return err
	})
}

// backupOf puts a payload into the container of a backup.
func backupOf(t *testing.T, payload func(io.Writer) error) files {
	t.Helper()
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: "compat", Index: 3, Term: 2, UID: uid})
	if err == nil {
		err = payload(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return files{"backup": b.Bytes()}
}

func readBackup(t *testing.T, f files) {
	b, err := kvserver.ReadBackupState(bytes.NewReader(f["backup"]))
	if err != nil {
		t.Fatal(err)
	}
	want := kvserver.Backup{
		Cluster: "compat", UID: "1032547698badcfe0102030405060708", Index: 3, Term: 2,
		Keys: 1, Bytes: 7, Revision: 2, Sessions: 1, IdempotencyRecords: 1,
		Digest: "c0bc5918121477d7", Hash: "9b0f39c1ac460487e329ca96183c71371b67ffacc4a21ffed81b39ac26daf590",
	}
	if b.Backup != want {
		t.Errorf("it is read as %+v", b.Backup)
	}
	again := backupOf(t, func(w io.Writer) error {
		_, err := b.WriteTo(w)
		return err
	})
	if !bytes.Equal(again["backup"], f["backup"]) {
		t.Error("what was read is written as other bytes")
	}
}
