package wal

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

var everyBit = flag.Bool("every-bit", false, "flip every bit and cut at every byte, not a sample")

// frozen is a directory that can only be read, from memory and without a lock.
type frozen struct {
	vfs.FS
	files map[string][]byte // by base name
}

func (f frozen) List(string) ([]string, error) { return slices.Sorted(maps.Keys(f.files)), nil }

func (f frozen) Open(name string) (vfs.File, error) {
	b, there := f.files[filepath.Base(name)]
	if !there {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return frozenFile{b: b}, nil
}

// with returns the directory with other bytes under one name.
func (f frozen) with(name string, b []byte) frozen {
	files := maps.Clone(f.files)
	files[name] = b
	return frozen{files: files}
}

// without returns the directory without a name.
func (f frozen) without(name string) frozen {
	files := maps.Clone(f.files)
	delete(files, name)
	return frozen{files: files}
}

type frozenFile struct {
	vfs.File
	b []byte
}

func (f frozenFile) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f frozenFile) Size() (int64, error) { return int64(len(f.b)), nil }

func (frozenFile) DropCache() {}

func (frozenFile) Close() error { return nil }

// specimen is a log in eight segments, the first of which are gone, with the two
// snapshots that it keeps. The machine stopped behind the mark of the last batch.
// Segments as small as these show nothing of an earlier life if they are recycled
// ones; see newRecycledSpecimen.
type specimen struct {
	frozen
	h        *history
	segments []string
	current  string // name of the snapshot that it begins with
	previous string

	segmentsOnly bool // everywhere leaves the snapshots alone
}

func newSpecimen(t testing.TB) *specimen {
	t.Helper()
	disk, h, rng := vfs.NewCrashable(), newHistory(), seeded(23)
	w, _, err := Open(testOptions(disk))
	must(t, err)
	seq := uint64(0)
	save := func(b *core.Write) {
		seq++
		b.Seq = seq
		if b.Snapshot != nil {
			must(t, w.WriteSnapshot(*b.Snapshot, writePayload(positionOf(*b.Snapshot))))
		}
		must(t, w.Save(b))
		must(t, w.Prepare())
	}
	fill := func(segments int) {
		for until := w.Stats().Rolls + uint64(segments); w.Stats().Rolls < until; {
			save(h.next(rng, 4, 120))
		}
	}
	for _, segments := range []int{2, 1, 2, 5, 1} {
		fill(segments)
		save(h.nextCompaction(rng, 1, 120))
	}
	for w.Stats().Segments < 8 {
		fill(1)
	}
	save(h.next(rng, 2, 50))
	must(t, w.Settle())
	s := &specimen{h: h}
	s.collect(t, disk.Kill())
	first, _ := parseSegmentName(s.segments[0])
	if len(s.segments) != 8 || first == 1 || len(s.files) != 10 || s.files[s.current] == nil || s.files[s.previous] == nil {
		t.Fatalf("void: the specimen is %v", slices.Sorted(maps.Keys(s.files)))
	}
	return s
}

// verdicts of a start on a damaged specimen.
type outcome string

const (
	refused    outcome = "refused, with file and offset"
	complete   outcome = "complete"
	fellBack   outcome = "complete, from the snapshot before"
	unexpected outcome = "something else"
)

// judge returns the result of a start on a damaged specimen. There are three
// outcomes, and only a damaged snapshot may lead to the third.
func (s *specimen) judge(damaged frozen, file string) (outcome, error) {
	w, err := newWAL(testOptions(damaged))
	if err != nil {
		return unexpected, err
	}
	found, err := w.read()
	if err != nil {
		var damage *CorruptionError
		if errors.As(err, &damage) && strings.HasPrefix(damage.File, testDir) && damage.Offset >= 0 {
			return refused, nil
		}
		return unexpected, fmt.Errorf("refused without file and offset: %w", err)
	}
	h := &history{states: []model{*s.h.now()}}
	result := complete
	if len(found.passed) > 0 {
		if damage := found.passed[0].err; file != s.current || damage.File != filepath.Join(testDir, s.current) {
			return unexpected, fmt.Errorf("passed over %w", damage)
		}
		h.now().fallBack()
		result = fellBack
	}
	if n := found.image.at.number; n != uint64(s.h.batches()) {
		return unexpected, fmt.Errorf("%d batches found, want %d", n, s.h.batches())
	}
	shape := found.replay.shape
	return result, h.check(core.State{Term: shape.term, VotedFor: shape.votedFor,
		Snapshot: core.Snapshot{Index: found.current.index, Term: found.current.term}, Entries: found.replay.entries, Commit: shape.commit}, 0)
}

// everywhere runs do for every name of the specimen and every offset in its file,
// on all processors, or for every stride-th of them, and counts outcomes.
func (s *specimen) everywhere(t *testing.T, do func(count func(outcome, error), name string, at int)) map[string]map[outcome]int {
	type job struct {
		name string
		at   int
	}
	jobs := make(chan job, 1000)
	counts := map[string]map[outcome]int{}
	var mu sync.Mutex // guards counts
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			mine := map[string]map[outcome]int{}
			for j := range jobs {
				do(func(o outcome, err error) {
					if err != nil {
						t.Errorf("%s byte %d: %v", j.name, j.at, err)
					}
					if mine[j.name] == nil {
						mine[j.name] = map[outcome]int{}
					}
					mine[j.name][o]++
				}, j.name, j.at)
			}
			mu.Lock()
			defer mu.Unlock()
			for name, outcomes := range mine {
				if counts[name] == nil {
					counts[name] = map[outcome]int{}
				}
				for o, n := range outcomes {
					counts[name][o] += n
				}
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if s.segmentsOnly && !IsSegment(name) {
			continue
		}
		for at := range s.files[name] {
			if t.Failed() {
				break
			}
			jobs <- job{name, at}
		}
	}
	close(jobs)
	workers.Wait()
	return counts
}

// Goal: no single flipped bit anywhere in a log or in a snapshot is ever read as
// data, and none ever shortens the log: it is found, or of no consequence, or the
// snapshot before serves. Method: every bit of the specimen in turn, or a sample
// that still has every byte of every header of a record.
func TestEveryFlippedBit(t *testing.T) {
	t.Run("recycled", func(t *testing.T) { everyFlippedBit(t, newRecycledSpecimen(t)) })
	everyFlippedBit(t, newSpecimen(t))
}

// newRecycledSpecimen returns a specimen of few segments. The last is a recycled one,
// with something of its earlier life behind the end of the log, and another recycled
// one is full.
func newRecycledSpecimen(t testing.TB) *specimen {
	t.Helper()
	disk, h, _ := recycledLog(t)
	s := &specimen{h: h, segmentsOnly: true}
	s.collect(t, disk)
	full := s.segments[len(s.segments)-2]
	header, err := decodeSegmentHeader(s.files[full], full)
	must(t, err)
	if !header.recycled() {
		t.Fatalf("void: %s is not a recycled segment", full)
	}
	return s
}

// collect takes over the files of a log.
func (s *specimen) collect(t testing.TB, disk vfs.FS) {
	t.Helper()
	s.frozen = frozen{files: map[string][]byte{}}
	s.current, s.previous = snapshotName(s.h.now().current), snapshotName(s.h.now().previous)
	names, err := disk.List(testDir)
	must(t, err)
	for _, name := range names {
		if name == lockName || name == spareName || isRetiredName(name) {
			continue
		}
		s.files[name] = content(t, disk, filepath.Join(testDir, name))
		if IsSegment(name) {
			s.segments = append(s.segments, name)
		}
	}
}

func everyFlippedBit(t *testing.T, s *specimen) {
	headers := map[string]map[int]bool{}
	must(t, Inspect(s, testDir, func(r Record) error {
		name := filepath.Base(r.File)
		if headers[name] == nil {
			headers[name] = map[int]bool{}
		}
		for i := range recordHeaderBytes {
			headers[name][int(r.Offset)+i] = true
		}
		return nil
	}))
	counts := s.everywhere(t, func(count func(outcome, error), name string, at int) {
		snapshot := !strings.HasSuffix(name, segmentSuffix)
		for bit := range 8 {
			if n := at*8 + bit; !*everyBit && !snapshot && n%491 != 0 && (!headers[name][at] || n%41 != 0) {
				continue
			}
			b := slices.Clone(s.files[name])
			b[at] ^= 1 << bit
			count(s.judge(s.with(name, b), name))
		}
	})
	last := s.segments[len(s.segments)-1]
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		c := counts[name]
		t.Logf("%s: %v", name, c)
		switch {
		case s.segmentsOnly && !IsSegment(name):
		case name == s.current && (c[refused] > 0 || c[complete] > 0 || c[fellBack] != 8*len(s.files[name])):
			t.Errorf("the snapshot that the log begins with: %v", c)
		case name == s.previous && (c[refused] > 0 || c[fellBack] > 0):
			t.Errorf("the snapshot that nothing needs now: %v", c)
		case strings.HasSuffix(name, segmentSuffix) && c[refused] == 0:
			t.Errorf("%s: no flipped bit was found", name)
		case strings.HasSuffix(name, segmentSuffix) && name != last && c[complete] > 0:
			t.Errorf("%s is full, yet %d flipped bits were not found", name, c[complete])
		}
	}
}

// Goal: a file that was cut is found, unless nothing of the log is missing.
// Method: cut each file of the specimen at every byte.
func TestEveryCut(t *testing.T) {
	t.Run("recycled", func(t *testing.T) { everyCut(t, newRecycledSpecimen(t)) })
	everyCut(t, newSpecimen(t))
}

func everyCut(t *testing.T, s *specimen) {
	counts := s.everywhere(t, func(count func(outcome, error), name string, at int) {
		if !*everyBit && at%13 != 0 && strings.HasSuffix(name, segmentSuffix) {
			return
		}
		count(s.judge(s.with(name, s.files[name][:at:at]), name))
	})
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		c := counts[name]
		t.Logf("%s: %v", name, c)
		if IsSegment(name) && c[refused] == 0 || !s.segmentsOnly && name == s.current && c[fellBack] != len(s.files[name]) {
			t.Errorf("%s: %v", name, c)
		}
	}
}

// Goal: a file that is missing, stands under another's name, or was copied over
// another is refused by name, or passed over if it is the snapshot that the log
// begins with. Method: each file, each pair.
func TestEveryMixUp(t *testing.T) {
	s := newSpecimen(t)
	names := slices.Sorted(maps.Keys(s.files))
	for _, name := range names {
		want, path := refused, filepath.Join(testDir, name)
		if name == s.current {
			want = fellBack
		} else if name == s.previous {
			want = complete
		}
		damaged := s.without(name)
		if got, err := s.judge(damaged, name); got != want || err != nil {
			t.Errorf("without %s: %v, %v", name, got, err)
		}
		if want == refused {
			w, err := newWAL(testOptions(damaged))
			must(t, err)
			_, err = w.read()
			var damage *CorruptionError
			if !errors.As(err, &damage) || damage.File != path || !strings.Contains(err.Error(), "missing") {
				t.Errorf("without %s: %v", name, err)
			}
		}
		for _, other := range names {
			if other == name {
				continue
			}
			over := s.with(name, s.files[other])
			if got, err := s.judge(over, name); got != want || err != nil {
				t.Errorf("%s over %s: %v, %v", other, name, got, err)
			}
			got, err := s.judge(over.with(other, s.files[name]), s.current)
			segment := strings.HasSuffix(name, segmentSuffix) || strings.HasSuffix(other, segmentSuffix)
			if err != nil || segment && got != refused {
				t.Errorf("%s and %s swapped: %v, %v", other, name, got, err)
			}
		}
	}
	// Both snapshots gone: the log does not reach back far enough.
	if got, err := s.judge(s.without(s.current).without(s.previous), s.current); got != refused || err != nil {
		t.Errorf("without snapshots: %v, %v", got, err)
	}
	// All segments gone.
	all := s.frozen
	for _, name := range s.segments {
		all = all.without(name)
	}
	if got, err := s.judge(all, ""); got != refused || err != nil {
		t.Errorf("without segments: %v, %v", got, err)
	}
}
