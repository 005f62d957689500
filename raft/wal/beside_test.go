package wal

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// A stage is a run up to a Save, and that Save. Letters are as in runScript.
type stage struct {
	name  string
	steps []int
	batch int // size of the batch that the Save under test brings, or a letter
	spare bool
}

// The ways a Save can go: into the present segment, into the next one with a spare
// and without, as a batch that is larger than a segment, and with the record of a
// snapshot that was taken or installed, each time behind snapshots that have left
// something to remove.
var stages = []stage{
	{"plain", []int{10, 900, 's', 10}, 10, true},
	{"into a new segment", []int{10, 3000, 's', 3000, 2500}, 3000, true},
	{"into a new segment without a spare", []int{10, 3000, 's', 3000, 's', 2500}, 3000, false},
	{"larger than a segment", []int{10, 3000, 's', 900}, 12000, true},
	{"a snapshot that was taken", []int{10, 3000, 3000, 's', 3000, 3000, 'p'}, 's', true},
	{"a snapshot that was installed", []int{10, 3000, 's', 3000, 's'}, 'i', true},
}

// beside is an operation that runs while Save does, and the locks of the log that
// it needs: where Save holds one, nothing can come between.
type beside struct {
	name  string
	locks func(*WAL) []*sync.Mutex
	run   func(m *machine, w *WAL) error
}

var besides = []beside{
	{"Prepare", func(w *WAL) []*sync.Mutex { return []*sync.Mutex{&w.spareMu, &w.removing} },
		func(_ *machine, w *WAL) error { return w.Prepare() }},
	{"WriteSnapshot", func(w *WAL) []*sync.Mutex { return []*sync.Mutex{&w.writing, &w.removing} },
		func(m *machine, w *WAL) error { return besideSnapshot(m, w, false) }},
	{"a transfer", func(w *WAL) []*sync.Mutex { return []*sync.Mutex{&w.receiving, &w.removing} },
		func(m *machine, w *WAL) error { return besideSnapshot(m, w, true) }},
	{"all three", func(w *WAL) []*sync.Mutex {
		return []*sync.Mutex{&w.spareMu, &w.writing, &w.receiving, &w.removing}
	}, func(m *machine, w *WAL) error {
		return errors.Join(w.Prepare(), besideSnapshot(m, w, false), besideSnapshot(m, w, true), w.Prepare())
	}},
}

// besideSnapshot makes the file of a snapshot that no batch records: of what the
// log ends with, or one that came from a leader.
func besideSnapshot(m *machine, w *WAL, received bool) error {
	w.mu.Lock()
	index := w.current.index + 5
	w.mu.Unlock()
	s := core.Snapshot{Index: index, Term: m.saved.now().Term}
	if received {
		s.Index, s.Term = index+50, s.Term+1
		return receive(w, s, seeded(3))
	}
	return w.WriteSnapshot(s, writePayload(positionOf(s)))
}

// Goal: whatever Prepare, the writing of a snapshot or a transfer do between two
// operations of a Save, a power cut at any later moment of that Save loses
// nothing that was acknowledged, leaves no half batch, and the next start
// succeeds and leaves no litter. Method: every way a Save can go, with each of
// the three and all of them run as a whole before one of the Save's operations,
// and the power cut before one of the operations from there on, or behind the
// last; under every model of what a power cut leaves. Each start is followed by a
// short run.
func TestWhatRunsBesideASave(t *testing.T) {
	var workers sync.WaitGroup
	for _, s := range stages {
		for _, b := range besides {
			workers.Go(func() {
				between := 0
				for _, model := range vfs.Models {
					n, err := s.interleave(b, model)
					if err != nil {
						t.Errorf("%s, beside a Save %s, %v: %v", b.name, s.name, model, err)
						return
					}
					between += n
				}
				if between < 4*len(vfs.Models) {
					t.Errorf("%s came between the operations of a Save %s only %d times", b.name, s.name, between)
				}
			})
		}
	}
	workers.Wait()
}

// interleave tries every point of the Save for the other operation, and every
// later moment for the power cut. It returns how often it came between.
func (s stage) interleave(b beside, model vfs.Model) (between int, err error) {
	for at := 1; ; at++ {
		for cutAt := at; ; cutAt++ {
			r := &meeting{at: at, cutAt: cutAt, model: model, with: b}
			if err := s.run(r); err != nil {
				return between, fmt.Errorf("it runs before operation %d of the Save, the power fails before operation %d: %w", at, cutAt, err)
			}
			if r.came && r.operations >= at {
				between++
			}
			if r.operations < at { // it ran behind the Save, and so has every place been tried
				return between, nil
			}
			if r.operations < cutAt { // the power failed behind the Save
				break
			}
		}
	}
}

// meeting is one interleaving.
type meeting struct {
	at, cutAt  int
	model      vfs.Model
	with       beside
	operations int  // of the Save
	came       bool // the other operation did come between
	err        error
}

// run lives up to the Save, makes the meeting happen, cuts the power and starts
// again.
func (s stage) run(r *meeting) error {
	m, draw := newMachine(uint64(r.at*100+r.cutAt)), seeded(4)
	fsys := vfs.NewFaulty(m.disk)
	w, err := m.open(fsys)
	if err != nil {
		return err
	}
	l := &script{machine: m}
	for _, size := range s.steps {
		l.step(w, draw, size)
	}
	if s.spare {
		l.step(w, draw, 'p')
	}
	if err := l.err(); err != nil {
		return fmt.Errorf("on the way: %w", err)
	}
	b, err := s.last(m, w)
	if err != nil {
		return fmt.Errorf("on the way: %w", err)
	}
	fsys.Hook(func(vfs.Op) error { r.before(m, w); return nil })
	m.died = "save"
	if err = w.Save(b); err == nil {
		m.acked++
	}
	fsys.Hook(nil)
	if err == nil && r.err == nil && m.next == nil && !r.came {
		r.come(m, w)
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", r.with.name, r.err)
	}
	if err != nil && !errors.Is(err, vfs.ErrCrashed) {
		return fmt.Errorf("the Save: %w", err)
	}
	if m.next == nil {
		m.cut(r.model)
	}
	m.disk, m.next = m.next, nil
	return m.live(0, 3)
}

// last draws the batch of the Save under test; the file of its snapshot is made by
// then.
func (s stage) last(m *machine, w *WAL) (*core.Write, error) {
	var b *core.Write
	switch s.batch {
	case 's':
		b = m.saved.nextCompaction(seeded(9), 3, 10)
	case 'i':
		b = m.saved.nextInstallation(seeded(9), 3, 10)
	default:
		segment := int(m.options(nil).SegmentBytes)
		for seed := uint64(0); b == nil || len(b.Entries) == 0 || s.batch > MinSegmentBytes && batchSize(b) < segment; seed++ {
			if b != nil {
				m.saved.forgetAfter(m.saved.batches() - 1)
			}
			b = m.saved.next(seeded(seed), 3, s.batch*m.sizes)
		}
	}
	b.Seq = uint64(m.acked + 1)
	if b.Snapshot == nil {
		return b, nil
	}
	return b, w.WriteSnapshot(*b.Snapshot, writePayload(positionOf(*b.Snapshot)))
}

func batchSize(b *core.Write) int { return len(appendBatch(nil, b)) }

// before is called before each operation on the disk. Those of the operation
// during Save are not counted.
func (r *meeting) before(m *machine, w *WAL) {
	if r.operations < 0 {
		return
	}
	r.operations++
	if r.operations == r.at {
		operations := r.operations
		r.operations = -1
		r.come(m, w)
		r.operations = operations
	}
	if r.operations == r.cutAt {
		m.cut(r.model)
	}
}

// come runs the other operation, unless Save holds a lock that it needs.
func (r *meeting) come(m *machine, w *WAL) {
	for _, lock := range r.with.locks(w) {
		if !lock.TryLock() {
			return
		}
		lock.Unlock()
	}
	r.came = true
	if err := r.with.run(m, w); err != nil && !errors.Is(err, ErrObsolete) {
		r.err = err
	}
}
