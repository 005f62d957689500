package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// payloadOf is the payload that the state machine at a position writes in every
// test.
func payloadOf(p position) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "state at %d of term %d. ", p.index, p.term), 20)
}

func writePayload(p position) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(payloadOf(p))
		return err
	}
}

// wantSnapshot checks that the snapshot at an index is there and right.
func wantSnapshot(t testing.TB, w *WAL, p position) {
	t.Helper()
	must(t, readSnapshot(w, p))
}

func readSnapshot(w *WAL, p position) error {
	r, err := w.OpenSnapshot(p.index)
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(b, payloadOf(p)) {
		err = fmt.Errorf("the snapshot at index %d holds something else", p.index)
	}
	return err
}

// appendEntries saves n entries of one term behind the log's last.
func appendEntries(t testing.TB, w *WAL, seq *uint64, term, last uint64, n int) {
	t.Helper()
	for i := range uint64(n) {
		*seq++
		index := last + 1 + i
		must(t, w.Save(&core.Write{Seq: *seq, Term: term, From: index, Entries: []core.Entry{core.NewEntry(index, term, core.KindCommand, bytes.Repeat([]byte{byte(index)}, 500))}}))
	}
}

// Goal: a recorded snapshot is where the next start begins, the one before it and
// the log behind that one stay, and what is older goes. Method: four snapshots
// of a log of many segments, with a restart after each.
func TestSnapshotsReplaceTheLog(t *testing.T) {
	disk := vfs.NewCrashable()
	last := uint64(0)
	var taken []position
	for range 4 {
		w, _, err := Open(testOptions(disk))
		must(t, err)
		seq := uint64(0)
		appendEntries(t, w, &seq, 3, last, 60)
		last += 60
		p := position{last - 7, 3}
		must(t, w.WriteSnapshot(core.Snapshot{Index: p.index, Term: p.term}, writePayload(p)))
		seq++
		must(t, w.Save(&core.Write{Seq: seq, Term: 3, Snapshot: &core.Snapshot{Index: p.index, Term: p.term}}))
		taken = append(taken, p)
		appendEntries(t, w, &seq, 3, last, 3)
		last += 3
		must(t, w.Prepare())
		wantSnapshot(t, w, p)
		if s := w.Stats(); s.SnapshotIndex != p.index || s.SnapshotTerm != 3 || s.SnapshotBytes < 400 {
			t.Errorf("stats %+v", s)
		}
		must(t, w.Close())

		w, state, err := Open(testOptions(disk))
		must(t, err)
		if state.Snapshot.Index != p.index || state.Snapshot.Term != 3 || state.Snapshot.Data != nil || len(state.Entries) != 10 || state.Entries[0].Index != p.index+1 {
			t.Fatalf("found %+v and %d entries", state.Snapshot, len(state.Entries))
		}
		wantSnapshot(t, w, p)
		if n := len(taken); n > 1 {
			wantSnapshot(t, w, taken[n-2])
		}
		if n := len(taken); n > 2 {
			if _, err := w.OpenSnapshot(taken[n-3].index); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an old snapshot: %v", err)
			}
		}
		must(t, w.Close())
	}
	l, err := list(disk, testDir)
	must(t, err)
	if len(l.snapshots) != 2 || l.segments[0] < 10 || len(l.segments) > 12 {
		t.Errorf("left: %+v", l)
	}
	// Without the newest the one before it serves, with all of the log.
	must(t, disk.Remove(testDir+"/"+snapshotName(taken[3])))
	w, state, err := Open(testOptions(disk))
	must(t, err)
	if state.Snapshot.Index != taken[2].index || state.Entries[len(state.Entries)-1].Index != last || uint64(len(state.Entries)) != last-taken[2].index {
		t.Errorf("found %+v and %d entries", state.Snapshot, len(state.Entries))
	}
	if w.Stats().PassedOver == nil {
		t.Error("nothing was said of the missing snapshot")
	}
	must(t, w.Close())
	must(t, disk.Remove(testDir+"/"+snapshotName(taken[2])))
	var damage *CorruptionError
	if _, _, err := Open(testOptions(disk)); !errors.As(err, &damage) || damage.File != testDir+"/"+snapshotName(taken[3]) {
		t.Errorf("without any snapshot: %v", err)
	}
}

// Goal: where the log still reaches back behind an older snapshot, because nothing
// was removed yet, that one serves when two are damaged, now and at every later
// start. Method: three snapshots without a Prepare, the newer two damaged; starts,
// another snapshot, that one damaged too.
func TestOlderSnapshotServesWhileTheLogIsThere(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq, last := uint64(0), uint64(0)
	take := func() position {
		appendEntries(t, w, &seq, 3, last, 40)
		last += 40
		p := position{last - 3, 3}
		s := core.Snapshot{Index: p.index, Term: p.term}
		must(t, w.WriteSnapshot(s, writePayload(p)))
		seq++
		must(t, w.Save(&core.Write{Seq: seq, Term: 3, Snapshot: &s}))
		return p
	}
	spoil := func(p position) {
		path := w.snapshotPath(p)
		b := content(t, disk, path)
		b[len(b)/2] ^= 1
		replace(t, disk, path, b)
	}
	start := func(from position) {
		t.Helper()
		must(t, w.Close())
		var state core.State
		w, state, err = Open(testOptions(disk))
		must(t, err)
		must(t, w.Prepare())
		if positionOf(state.Snapshot) != from || uint64(len(state.Entries)) != last-from.index {
			t.Fatalf("found %+v and %d entries, want %v", state.Snapshot, len(state.Entries), from)
		}
		wantSnapshot(t, w, from)
		seq = 0
	}
	oldest, older, newest := take(), take(), take()
	spoil(older)
	spoil(newest)
	start(oldest)
	start(oldest)
	newer := take()
	start(newer)
	spoil(newer)
	start(oldest)
	must(t, w.Close())
}

// Goal: a snapshot that was damaged and is taken once more, at the very same
// entry, is not removed as the damaged one it replaces. Method: damage the newest,
// start from the one before, record one between the two, then that entry's again.
func TestDamagedSnapshotIsTakenAgain(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 3, 0, 40)
	record := func(p position) {
		t.Helper()
		s := core.Snapshot{Index: p.index, Term: p.term}
		must(t, w.WriteSnapshot(s, writePayload(p)))
		seq++
		must(t, w.Save(&core.Write{Seq: seq, Term: 3, Snapshot: &s}))
	}
	record(position{10, 3})
	record(position{30, 3})
	must(t, w.Close())
	path := w.snapshotPath(position{30, 3})
	replace(t, disk, path, content(t, disk, path)[:200])
	w, state, err := Open(testOptions(disk))
	must(t, err)
	if state.Snapshot.Index != 10 {
		t.Fatalf("found %+v", state.Snapshot)
	}
	seq = 0
	record(position{20, 3})
	record(position{30, 3})
	must(t, w.Prepare())
	wantSnapshot(t, w, position{30, 3})
	must(t, w.Close())
	w, state, err = Open(testOptions(disk))
	must(t, err)
	if state.Snapshot.Index != 30 || w.Stats().PassedOver != nil {
		t.Errorf("found %+v, passed over %v", state.Snapshot, w.Stats().PassedOver)
	}
	must(t, w.Close())
}

// Goal: damage that comes while the server runs is found when the snapshot is
// read, with file and offset, and never handed out as the end or as data. Method:
// flip a bit in each part of a snapshot of a running log and read it.
func TestDamageIsFoundWhileReading(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 3, 0, 4)
	p := position{3, 3}
	must(t, w.WriteSnapshot(core.Snapshot{Index: 3, Term: 3}, writePayload(p)))
	whole := content(t, disk, w.snapshotPath(p))
	for _, at := range []int{3, 30, 130, 300, len(whole) - 1} {
		b := bytes.Clone(whole)
		b[at] ^= 4
		replace(t, disk, w.snapshotPath(p), b)
		var damage *CorruptionError
		if err := readSnapshot(w, p); !errors.As(err, &damage) || damage.File != w.snapshotPath(p) || damage.Offset > int64(at) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	must(t, w.Close())
}

// Goal: a snapshot travels from one log to another in pieces, with a cut in the
// middle, and replaces what the receiver had. Method: send it, install it, open.
func TestReceivedSnapshotReplacesTheLog(t *testing.T) {
	from, to := vfs.NewCrashable(), vfs.NewCrashable()
	sender, _, err := Open(testOptions(from))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, sender, &seq, 5, 0, 40)
	p := position{30, 5}
	s := core.Snapshot{Index: p.index, Term: p.term}
	must(t, sender.WriteSnapshot(s, writePayload(p)))

	receiver, _, err := Open(testOptions(to))
	must(t, err)
	seq = 0
	appendEntries(t, receiver, &seq, 2, 0, 35)
	for done := false; !done; {
		r, closer, err := sender.SnapshotFile(s)
		must(t, err)
		have, err := receiver.BeginReceive(s, r.Size(), [32]byte{1})
		must(t, err)
		for range 3 {
			b := make([]byte, 100)
			n, _ := r.ReadAt(b, have)
			must(t, receiver.ReceiveAt(b[:n], have))
			have += int64(n)
		}
		if done = have == r.Size(); done {
			must(t, receiver.FinishReceive())
		} else if receiver.FinishReceive() == nil {
			t.Error("half a snapshot was finished")
		}
		must(t, closer.Close())
	}
	must(t, receiver.Save(&core.Write{Seq: seq + 1, Term: 5, Snapshot: &s, From: 31}))
	must(t, receiver.Prepare())
	must(t, receiver.Close())
	receiver, state, err := Open(testOptions(to))
	must(t, err)
	if state.Term != 5 || state.Snapshot.Index != 30 || state.Snapshot.Term != 5 || len(state.Entries) != 0 {
		t.Errorf("found %+v", state)
	}
	wantSnapshot(t, receiver, p)
	must(t, receiver.Close())
}

// Goal: behind a snapshot that replaced the log there is nothing to fall back on:
// the older snapshot and the entries before it are of a log that the server has
// promised to forget, and it has confirmed what is behind them. It is told how to
// come back. Method: damage an installed snapshot while the one before
// and the whole log are still there.
func TestNothingIsFoundBehindAReplacedLog(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 3, 0, 4)
	taken, installed := core.Snapshot{Index: 3, Term: 3}, core.Snapshot{Index: 4, Term: 5}
	must(t, w.WriteSnapshot(taken, writePayload(positionOf(taken))))
	must(t, w.Save(&core.Write{Seq: 5, Term: 3, Snapshot: &taken}))
	must(t, receive(w, installed, seeded(1)))
	must(t, w.Save(&core.Write{Seq: 6, Term: 5, Snapshot: &installed, From: 5, Entries: []core.Entry{core.NewEntry(5, 5, core.KindCommand, nil)}}))
	must(t, w.Close())
	path := w.snapshotPath(positionOf(installed))
	b := content(t, disk, path)
	b[len(b)-1] ^= 1
	replace(t, disk, path, b)
	wantCorruption(t, disk, path)
	must(t, disk.Remove(path))
	if damage := wantCorruption(t, disk, path); !strings.Contains(damage.Reason, "missing") || !strings.Contains(damage.Error(), "--rejoin") {
		t.Errorf("without the snapshot: %v", damage)
	}
}

// Goal: a record of a snapshot that is whole and cannot be is refused like any
// other damage. Method: records with valid checksums, each breaking one rule.
func TestImpossibleRecordsOfSnapshotsAreRefused(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	appendEntries(t, w, &seq, 3, 0, 4)
	for _, p := range []position{{2, 3}, {3, 3}, {4, 3}, {3, 2}, {9, 4}, {1, 3}} {
		must(t, w.WriteSnapshot(core.Snapshot{Index: p.index, Term: p.term}, writePayload(p)))
	}
	must(t, w.Save(&core.Write{Seq: 5, Term: 4, Snapshot: &core.Snapshot{Index: 2, Term: 3}}))
	must(t, w.Close())
	good := snapshotRecord{position: position{3, 3}, keep: 1, previous: position{2, 3}}
	for name, spoil := range map[string]func(r *snapshotRecord, b *core.Write){
		"another term than the log's": func(r *snapshotRecord, _ *core.Write) { r.term = 2 },
		"behind the log":              func(r *snapshotRecord, _ *core.Write) { r.index = 9 },
		"of a later term":             func(r *snapshotRecord, _ *core.Write) { r.term = 9 },
		"replaces what the log holds": func(r *snapshotRecord, b *core.Write) { r.replaces, b.From = true, 4 },
		"replaces, with a gap": func(r *snapshotRecord, b *core.Write) {
			*r, b.From = snapshotRecord{position: position{9, 4}, keep: 1, replaces: true}, 11
		},
		"replaces an older one": func(r *snapshotRecord, b *core.Write) {
			*r, b.From = snapshotRecord{position: position{1, 4}, keep: 1, replaces: true}, 2
		},
		"entries under an older one": func(_ *snapshotRecord, b *core.Write) { b.From = 2 },
		"keeps nothing":              func(r *snapshotRecord, _ *core.Write) { r.keep = 0 },
		"keeps less than itself":     func(r *snapshotRecord, _ *core.Write) { r.keep = 2 },
		"a later one before it":      func(r *snapshotRecord, _ *core.Write) { r.previous.index = 3 },
		"nothing":                    func(*snapshotRecord, *core.Write) {},
	} {
		t.Run(name, func(t *testing.T) {
			disk := disk.Crash(seeded(1), vfs.KeepBlocks) // a copy: the log was closed
			for _, p := range []position{{3, 3}, {3, 2}, {9, 4}, {1, 3}} {
				replace(t, disk, w.snapshotPath(p), packed(t, "c1", p))
			}
			r, b := good, core.Write{Term: 4}
			spoil(&r, &b)
			payload := appendBatch(appendSnapshotRecord(nil, r), &b)
			forge(t, disk, recordHeader{kind: TypeSnapshot, length: uint64(len(payload))}, payload)
			if name == "nothing" {
				_, state, err := readOnly(disk)
				if must(t, err); positionOf(state.Snapshot) != r.position {
					t.Errorf("the record that breaks no rule was not believed: %+v", state.Snapshot)
				}
				return
			}
			wantCorruption(t, disk, segmentPath(1))
		})
	}
}

// Goal: a restored log begins with its snapshot, and only in an empty directory.
// Method: restore, open, restore again.
func TestInitialize(t *testing.T) {
	disk := vfs.NewCrashable()
	p := position{1000, 4}
	s := core.Snapshot{Index: p.index, Term: p.term}
	must(t, Initialize(testOptions(disk), 9, s, writePayload(p)))
	for range 2 {
		w, state, err := Open(testOptions(disk))
		must(t, err)
		if state.Term != 9 || state.VotedFor != core.None || state.Snapshot.Index != 1000 || state.Snapshot.Term != 4 || len(state.Entries) != 0 {
			t.Errorf("found %+v", state)
		}
		wantSnapshot(t, w, p)
		must(t, w.Close())
		if err := Initialize(testOptions(disk), 9, s, writePayload(p)); err == nil {
			t.Error("a log was overwritten")
		}
	}
}
