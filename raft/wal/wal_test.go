package wal

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Goal: what is saved is there after every restart, through many segments.
// Method: random batches with a restart now and then, on a real disk and in
// memory, against the oracle.
func TestSaveAndReopen(t *testing.T) {
	systems := map[string]func(t *testing.T) Options{
		"memory": func(*testing.T) Options { return testOptions(vfs.NewCrashable()) },
		"disk": func(t *testing.T) Options {
			o := testOptions(vfs.OS{})
			o.Dir = filepath.Join(t.TempDir(), "deep", "down", "wal")
			return o
		},
	}
	for name, options := range systems {
		t.Run(name, func(t *testing.T) {
			o, h, rng := options(t), newHistory(), seeded(3)
			for range 6 {
				w, state, err := Open(o)
				must(t, err)
				must(t, h.check(state, h.batches()))
				for i := range 40 {
					b := h.next(rng, 6, 300)
					b.Seq = uint64(i + 1)
					must(t, w.Save(b))
					if rng.IntN(10) == 0 {
						must(t, w.Prepare())
					}
				}
				must(t, w.Close())
				must(t, w.Close())
			}
			w, state, err := Open(o)
			must(t, err)
			defer w.Close()
			must(t, h.check(state, h.batches()))
			if s := w.Stats(); s.Segments < 10 || s.Cut != (Cut{}) || s.RecoveredTo != uint64(h.batches()) {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// Goal: one batch costs one write and one sync, whatever is in it, and nothing else
// on the way to its acknowledgement; the mark costs one write more, once, when the log
// settles. Method: count operations.
func TestOneBatchIsOneWriteAndOneSync(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewCrashable())
	w, _, err := Open(testOptions(fsys))
	must(t, err)
	defer w.Close()
	writes, syncs := fsys.Count(vfs.OpWrite), fsys.Count(vfs.OpSync)
	must(t, w.Save(&core.Write{Seq: 1, Term: 3, VotedFor: "n2", From: 1, Entries: []core.Entry{core.NewEntry(1, 2, core.KindCommand, nil), core.NewEntry(2, 3, core.KindCommand, []byte("x"))}}))
	must(t, w.Save(&core.Write{Seq: 2, Term: 4, VotedFor: "n1", From: 2}))
	if got := fsys.Count(vfs.OpWrite) - writes; got != 2 {
		t.Errorf("two batches took %d writes, want one each", got)
	}
	must(t, w.Settle())
	must(t, w.Settle())
	if got := fsys.Count(vfs.OpWrite) - writes; got != 3 {
		t.Errorf("two batches and a mark took %d writes", got)
	}
	if got := fsys.Count(vfs.OpSync) - syncs; got != 2 {
		t.Errorf("two batches and a mark took %d syncs", got)
	}
	if s := w.Stats(); s.Batches != 2 || s.Entries != 2 || s.AppendedBytes == 0 {
		t.Errorf("stats %+v", s)
	}
}

// Goal: a thousand batches take a thousand writes and a thousand syncs, and each change of
// segments two more of both, so one too many in fifty is noticed. Method: count the
// operations of each Save; Prepare is called between them, as a node does when it has time.
func TestAThousandBatchesAreAThousandWritesAndSyncs(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewCrashable())
	o := testOptions(fsys)
	o.SegmentBytes = 4 * MinSegmentBytes
	w, _, err := Open(o)
	must(t, err)
	defer w.Close()
	writes, syncs := 0, 0
	for i := range uint64(1000) {
		must(t, w.Prepare())
		writes, syncs = writes-fsys.Count(vfs.OpWrite), syncs-fsys.Count(vfs.OpSync)
		must(t, w.Save(&core.Write{Seq: i + 1, Term: 1, From: i + 1, Entries: []core.Entry{core.NewEntry(i+1, 1, core.KindCommand, make([]byte, 300))}}))
		writes, syncs = writes+fsys.Count(vfs.OpWrite), syncs+fsys.Count(vfs.OpSync)
	}
	changes := w.Stats().Segments - 1
	if want := 1000 + 2*changes; changes == 0 || writes != want || syncs != want {
		t.Errorf("1,000 batches took %d writes and %d syncs with %d changes of segments, want %d of both", writes, syncs, changes, want)
	}
}

// Goal: a batch never spans segments: one that does not fit goes to the next,
// one that is larger than a segment gets a segment of its own size. Method:
// batches of all sizes around the limits, read back one by one.
func TestBatchesOfEverySizeFindASegment(t *testing.T) {
	disk, h := vfs.NewCrashable(), newHistory()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	const room = MinSegmentBytes - segmentHeaderBytes - 2*recordHeaderBytes - batchFixedBytes
	seq, index := uint64(0), uint64(0)
	for _, size := range []int{1, room - 20, room - 8, room - 4, room, room + 1, 3 * MinSegmentBytes, 1, room / 2, room / 2, room / 2} {
		seq, index = seq+1, index+1
		b := &core.Write{Seq: seq, Term: 1, From: index, Entries: []core.Entry{core.NewEntry(index, 1, core.KindCommand, slices.Repeat([]byte{byte(seq)}, size))}}
		h.add(b)
		must(t, w.Save(b))
	}
	must(t, w.Close())
	must(t, reopen(t, disk, h, h.batches()).Close())
	sizes := map[int64]bool{}
	for _, r := range records(t, disk) {
		if r.Type == TypeSegment {
			sizes[r.SegmentBytes] = true
		}
		if r.Offset%recordAlign != 0 {
			t.Errorf("a %v at byte %d", r.Type, r.Offset)
		}
	}
	if !sizes[MinSegmentBytes] || len(sizes) < 2 {
		t.Errorf("sizes of segments: %v", sizes)
	}
}

// Goal: a log belongs to one server; another is refused with a sentence that
// names both, and nothing is changed. Method: open with another id each way.
func TestAnotherServersLogIsRefused(t *testing.T) {
	disk, h := build(t, 1, 3, false)
	for _, o := range []Options{{ClusterID: "c2", NodeID: "n1"}, {ClusterID: "c1", NodeID: "n2"}} {
		watched := vfs.NewFaulty(disk)
		o.FS, o.Dir = watched, testDir
		_, _, err := Open(o)
		var mismatch *IdentityError
		if !errors.As(err, &mismatch) || mismatch.NodeID != "n1" || mismatch.WantNodeID != o.NodeID {
			t.Fatalf("Open: %v", err)
		}
		for _, part := range []string{`"c1"`, `"n1"`, fmt.Sprintf("%q", o.ClusterID), fmt.Sprintf("%q", o.NodeID), testDir} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not name %s: %v", part, err)
			}
		}
		if watched.Count(vfs.OpWrite) != 0 {
			t.Error("another server's log was written to")
		}
	}
	must(t, reopen(t, disk, h, 3).Close())
}

// Goal: one log, one server at a time. Method: open twice; then after Close, and
// after the holder was killed.
func TestSecondOpenIsRefusedWhileTheFirstLives(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	if _, _, err := Open(testOptions(disk)); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), testDir) {
		t.Fatalf("second open: %v, want ErrLocked and the directory", err)
	}
	must(t, w.Close())
	_, _, err = Open(testOptions(disk))
	must(t, err)
	w, _, err = Open(testOptions(disk.Kill()))
	must(t, err)
	must(t, w.Close())
	// An Open that fails must not keep the lock.
	disk, _ = build(t, 1, 1, false)
	bad := testOptions(disk)
	bad.NodeID = "n2"
	if _, _, err := Open(bad); err == nil {
		t.Fatal("another server's log was opened")
	}
	w, _, err = Open(testOptions(disk))
	must(t, err)
	must(t, w.Close())
}

// Goal: options that cannot work are refused with a reason. Method: one of each.
func TestBadOptionsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Options){
		"no directory":     func(o *Options) { o.Dir = "" },
		"no cluster id":    func(o *Options) { o.ClusterID = "" },
		"no node id":       func(o *Options) { o.NodeID = "" },
		"long node id":     func(o *Options) { o.NodeID = strings.Repeat("x", core.MaxIDBytes+1) },
		"tiny segments":    func(o *Options) { o.SegmentBytes = MinSegmentBytes - 1 },
		"huge segments":    func(o *Options) { o.SegmentBytes = MaxSegmentBytes + 1 },
		"negative segment": func(o *Options) { o.SegmentBytes = -1 },
	} {
		o := testOptions(vfs.NewCrashable())
		spoil(&o)
		if _, _, err := Open(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Goal: what no Raft server may ever save stops the process instead of reaching
// the disk. Method: break each invariant once, on a log with two entries.
func TestImpossibleWritesPanic(t *testing.T) {
	entry := func(index, term uint64) core.Entry { return core.NewEntry(index, term, core.KindCommand, nil) }
	for name, b := range map[string]*core.Write{
		"sequence repeats":      {Seq: 1, Term: 5, VotedFor: "n1"},
		"sequence skips":        {Seq: 3, Term: 5, VotedFor: "n1"},
		"term falls":            {Seq: 2, Term: 4, VotedFor: "n1"},
		"vote changes":          {Seq: 2, Term: 5, VotedFor: "n2"},
		"vote is taken back":    {Seq: 2, Term: 5},
		"vote too long":         {Seq: 2, Term: 6, VotedFor: core.ID(strings.Repeat("x", 65))},
		"gap in the log":        {Seq: 2, Term: 5, VotedFor: "n1", From: 4, Entries: []core.Entry{entry(4, 5)}},
		"gap in the batch":      {Seq: 2, Term: 5, VotedFor: "n1", From: 3, Entries: []core.Entry{entry(3, 5), entry(5, 5)}},
		"entry out of place":    {Seq: 2, Term: 5, VotedFor: "n1", From: 3, Entries: []core.Entry{entry(2, 5)}},
		"entry's term falls":    {Seq: 2, Term: 5, VotedFor: "n1", From: 3, Entries: []core.Entry{entry(3, 2)}},
		"entry of a later term": {Seq: 2, Term: 5, VotedFor: "n1", From: 3, Entries: []core.Entry{entry(3, 6)}},
		"entries without index": {Seq: 2, Term: 5, VotedFor: "n1", Entries: []core.Entry{entry(3, 5)}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewFaulty(vfs.NewCrashable())
			w, _, err := Open(testOptions(fsys))
			must(t, err)
			must(t, w.Save(&core.Write{Seq: 1, Term: 5, VotedFor: "n1", From: 1, Entries: []core.Entry{entry(1, 1), entry(2, 3)}}))
			writes := fsys.Count(vfs.OpWrite)
			defer func() {
				if recover() == nil {
					t.Error("it was saved")
				}
				if fsys.Count(vfs.OpWrite) != writes {
					t.Error("it was written before it was refused")
				}
			}()
			w.Save(b)
		})
	}
}

// Goal: a new log is small, so that three servers on one disk start at once; its
// later segments have the full size. Method: a new log with the default sizes on
// a real disk.
func TestNewLogStartsSmall(t *testing.T) {
	w, state, err := Open(Options{Dir: t.TempDir(), ClusterID: "c1", NodeID: "n1"})
	must(t, err)
	defer w.Close()
	if state.Term != 0 || state.VotedFor != core.None || len(state.Entries) != 0 {
		t.Errorf("a new log holds %+v", state)
	}
	if s := w.Stats(); s.Segments != 1 || s.Bytes > 4<<20 {
		t.Errorf("a new log takes %+v", s)
	}
}

// Goal: nothing works after Close, and a loop over NeedsSpare ends. Method: use
// everything.
func TestClosedLog(t *testing.T) {
	w, _, err := Open(testOptions(vfs.NewCrashable()))
	must(t, err)
	must(t, w.Close())
	if err := w.Save(&core.Write{Seq: 1, Term: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("Save: %v", err)
	}
	if err := w.Prepare(); !errors.Is(err, ErrClosed) {
		t.Errorf("Prepare: %v", err)
	}
	for range w.NeedsSpare() { // the value of Open, then the end
	}
}

// Goal: Prepare and Stats may run at the same time as Save, and every roll asks
// for a spare. Method: a goroutine as the node has it, under the race detector,
// on a disk.
func TestPrepareBesideSave(t *testing.T) {
	o := testOptions(vfs.OS{})
	o.Dir = t.TempDir()
	w, _, err := Open(o)
	must(t, err)
	var preparing sync.WaitGroup
	preparing.Go(func() {
		for range w.NeedsSpare() {
			if err := w.Prepare(); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			w.Stats()
		}
	})
	h, rng := newHistory(), seeded(9)
	for i := range 300 {
		b := h.next(rng, 6, 400)
		b.Seq = uint64(i + 1)
		must(t, w.Save(b))
	}
	rolls := w.Stats().Rolls
	must(t, w.Close())
	preparing.Wait()
	if rolls < 10 {
		t.Errorf("only %d rolls", rolls)
	}
	w, state, err := Open(o)
	must(t, err)
	defer w.Close()
	must(t, h.check(state, h.batches()))
}

// Goal: a spare of an earlier run is used again if it is blank and of the right
// size, and made anew if not. Method: leave one, spoil it in two ways, count the
// files that are created.
func TestSpareOfAnEarlierRun(t *testing.T) {
	spare := filepath.Join(testDir, spareName)
	spoiled := make([]byte, MinSegmentBytes)
	spoiled[MinSegmentBytes-1] = 1
	for name, test := range map[string]struct {
		spare   []byte
		creates int
	}{
		"blank":    {make([]byte, MinSegmentBytes), 0},
		"too long": {make([]byte, 2*MinSegmentBytes), 1},
		"half":     {make([]byte, 100), 1},
		"not zero": {spoiled, 1},
	} {
		t.Run(name, func(t *testing.T) {
			disk, h := build(t, 5, 3, false)
			replace(t, disk, spare, test.spare)
			fsys := vfs.NewFaulty(disk)
			w := reopen(t, fsys, h, 3)
			must(t, w.Prepare())
			must(t, w.Prepare())
			if !w.Stats().SpareReady {
				t.Error("no spare is ready")
			}
			if got := fsys.Count(vfs.OpCreate); got != test.creates {
				t.Errorf("%d files created, want %d", got, test.creates)
			}
			if b := content(t, disk, spare); len(b) != MinSegmentBytes || strings.Trim(string(b), "\x00") != "" {
				t.Error("the spare is not blank")
			}
			for i := range 60 {
				b := h.next(seeded(uint64(i)), 4, 120)
				b.Seq = uint64(i + 1)
				must(t, w.Save(b))
			}
			must(t, w.Close())
			must(t, reopen(t, disk, h, 63).Close())
		})
	}
}

// Goal: Prepare leaves a spare that needs nothing more: full size, durable, with
// its name. Method: cut the power behind it and look.
func TestPreparedSpareIsDurable(t *testing.T) {
	disk := vfs.NewCrashable()
	w, _, err := Open(testOptions(disk))
	must(t, err)
	must(t, w.Prepare())
	after := disk.Crash(seeded(1), vfs.LoseUnsynced)
	if b := content(t, after, filepath.Join(testDir, spareName)); len(b) != MinSegmentBytes {
		t.Errorf("%d bytes of the spare are durable, want %d", len(b), MinSegmentBytes)
	}
}

// Goal: Inspect shows every record with its place and content. Method: a log of
// three segments, compared with what was saved.
func TestInspectShowsEverything(t *testing.T) {
	disk, h := build(t, 2, 80, true)
	var segments, batches, marks, seals int
	for _, r := range records(t, disk) {
		switch r.Type {
		case TypeSegment:
			segments++
			if r.ClusterID != "c1" || r.NodeID != "n1" || r.Generation != uint64(segments) || r.File != segmentPath(r.Generation) {
				t.Errorf("segment %+v", r)
			}
		case TypeBatch:
			batches++
			entries, err := r.Entries()
			must(t, err)
			state := h.states[batches]
			if r.Number != uint64(batches) || r.Term != state.Term || r.VotedFor != state.VotedFor || len(entries) != r.Count {
				t.Errorf("batch %+v", r)
			}
		case TypeMark:
			marks++
		case TypeSeal:
			seals++
		default:
			t.Errorf("record %+v", r)
		}
	}
	if segments < 3 || batches != 80 || seals != segments-1 || marks != 1 {
		t.Errorf("%d segments, %d batches, %d seals, %d marks", segments, batches, seals, marks)
	}
	stop := errors.New("enough")
	if err := Inspect(disk, testDir, func(Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the callback's error became %v", err)
	}
}

// Goal: the largest batch that a server saves fits into a segment of the usual size,
// so that no batch is written twice: once as the zeros of a segment of its own.
// Method: 8 MiB of entries, as their sizes are counted, with the longest encodings:
// one, and as many as there can be.
func TestTheLargestWriteFitsIntoAUsualSegment(t *testing.T) {
	const maxBytes, counted = 8 << 20, 16 // what an entry counts for beyond its data
	for _, data := range []int{0, maxBytes - counted} {
		count := maxBytes / (data + counted)
		longest := core.AppendEntry(nil, core.NewEntry(math.MaxUint64, math.MaxUint64, core.KindCommand, make([]byte, data)))
		size := uint64(snapshotRecordBytes + batchFixedBytes + core.MaxIDBytes + count*len(longest))
		h := segmentHeader{size: (&spare{size: DefaultSegmentBytes, recycled: true}).room()}
		if !h.holds(recordHeader{kind: TypeSnapshot, length: size}, segmentHeaderBytes) {
			t.Errorf("%d entries with %d bytes each make a batch of %d bytes, and a segment has %d", count, data, size, DefaultSegmentBytes)
		}
	}
}
