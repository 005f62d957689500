package wal

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// script is the result of runScript.
type script struct {
	machine  *machine
	opened   error
	prepared error   // the first error of Prepare
	snapped  []error // of WriteSnapshot and receiving
	saved    error   // the first error of Save
	later    []error // what Save answered after that
	closed   error
}

// err is the first error of the script.
func (s *script) err() error {
	for _, err := range append([]error{s.opened, s.prepared, s.saved, s.closed}, s.snapped...) {
		if err != nil {
			return err
		}
	}
	return nil
}

// runScript is a short run that takes every step there is: create, save, prepare,
// roll with and without a spare, a batch larger than a segment, take snapshots
// until segments become superfluous, use some again ('x' until none waits) and remove
// others, install one, close. It goes on after an error, as a careless caller would.
func runScript(m *machine, fsys vfs.FS) *script {
	s := &script{machine: m}
	w, err := m.open(fsys)
	if s.opened = err; err != nil {
		return s
	}
	draw := seeded(4)
	steps := []int{10, 'm', 900, 'p', 900, 's', 10, 900, 900, 'm', 'S', 3000, 's', 'p', 900, 'm', 900, 's', 3000, 900, 900, 900, 'S', 'S', 'x', 3000, 3000, 3000, 'p', 9000, 's', 3000, 's', 3000, 's', 'p', 'i', 'p', 10, 'm'}
	for step, size := range steps {
		s.step(w, draw, size)
		if s.saved != nil {
			s.later = append(s.later, w.Save(&core.Write{Seq: uint64(m.acked + 1), Term: 100 + uint64(step)}))
		}
	}
	m.died = "close"
	s.closed = w.Close()
	return s
}

// step takes one step: a batch with entries of a size, or what a letter stands for.
func (s *script) step(w *WAL, draw *rand.Rand, size int) {
	m := s.machine
	switch size {
	case 'p':
		m.died = "prepare"
		if err := w.Prepare(); s.prepared == nil {
			s.prepared = err
		}
	case 's':
		s.record(w, draw, 10, m.saved.nextCompaction)
	case 'S':
		s.record(w, draw, 3000*m.sizes, m.saved.nextCompaction)
	case 'i':
		s.record(w, draw, 10, m.saved.nextInstallation)
	case 'x':
		for n := 0; n < 40 && s.saved == nil && (w.spare != nil || len(w.retired) > 0); n++ {
			s.save(w, m.saved.next(draw, 3, 3000*m.sizes))
		}
	case 'm':
		m.died = "settle"
		if s.saved == nil {
			s.saved = w.Settle()
		}
	default:
		if s.saved == nil {
			s.save(w, m.saved.next(draw, 3, size*m.sizes))
		}
	}
}

// record makes a snapshot and saves the batch that records it; without the
// snapshot, the batch without the record.
func (s *script) record(w *WAL, draw *rand.Rand, size int, next func(*rand.Rand, int, int) *core.Write) {
	if s.saved != nil {
		return
	}
	m := s.machine
	b := next(draw, 3, size)
	if b.Snapshot == nil { // there is nothing new to take one of
		s.save(w, b)
		return
	}
	m.died = "snapshot"
	do := func() error { return w.WriteSnapshot(*b.Snapshot, writePayload(positionOf(*b.Snapshot))) }
	if b.From == b.Snapshot.Index+1 {
		m.died = "receive"
		do = func() error { return receive(w, *b.Snapshot, draw) }
	}
	if err := do(); err != nil {
		s.snapped = append(s.snapped, err)
		m.saved.forgetAfter(m.saved.batches() - 1)
		b = m.saved.next(draw, 3, 10)
	} else {
		m.died = "record"
	}
	s.save(w, b)
}

func (s *script) save(w *WAL, b *core.Write) {
	m := s.machine
	if b.Snapshot == nil {
		m.died = "save"
	}
	b.Seq = uint64(m.acked + 1)
	if s.saved = w.Save(b); s.saved == nil {
		m.acked++
	}
}

// runWith runs the script on a new disk with one fault.
func runWith(fault vfs.Fault) *script {
	m := newMachine(1)
	fsys := vfs.NewFaulty(m.disk)
	fsys.Inject(fault)
	return runScript(m, fsys)
}

// Goal: after any error of the disk the log is dead: the error comes out of that
// Save and, the same, of every later one; nothing is tried again; and the next
// start finds all that was acknowledged. Method: make every single operation of a
// run fail in turn, with EIO, with ENOSPC, with a short write; then kill the
// process or cut the power in every way.
func TestEveryFailingOperation(t *testing.T) {
	struck := 0
	for _, kind := range vfs.Kinds {
		for nth := range operations(t)[kind] {
			for _, fault := range []vfs.Fault{{Err: syscall.EIO}, {Err: syscall.ENOSPC}, {Err: syscall.ENOSPC, Short: 7, Sticky: true}, {Err: syscall.EIO, Short: 100}} {
				fault.Kind, fault.Nth = kind, nth+1
				if kind != vfs.OpWrite && fault.Short > 0 {
					continue
				}
				for ending := range 1 + len(vfs.Models) {
					l := runWith(fault)
					if l.err() == nil {
						if kind != vfs.OpClose {
							t.Fatalf("%+v: nobody was told", fault)
						}
						break
					}
					struck++
					checkDeath(t, l, fault)
					endLife(t, l.machine, ending, fault)
				}
			}
		}
	}
	if struck < 500 {
		t.Errorf("only %d faults struck", struck)
	}
}

// operations returns the number of operations that the script does on a healthy
// disk.
func operations(t *testing.T) map[vfs.Kind]int {
	t.Helper()
	m := newMachine(1)
	fsys := vfs.NewFaulty(m.disk)
	must(t, runScript(m, fsys).err())
	counts := map[vfs.Kind]int{}
	for _, kind := range vfs.Kinds {
		counts[kind] = fsys.Count(kind)
	}
	return counts
}

// checkDeath checks what the caller was told.
func checkDeath(t *testing.T, l *script, fault vfs.Fault) {
	t.Helper()
	for _, err := range append([]error{l.opened, l.prepared, l.saved, l.closed}, l.snapped...) {
		if err == nil {
			continue
		}
		if !errors.Is(err, fault.Err) {
			t.Fatalf("%+v: the error %v does not wrap %v", fault, err, fault.Err)
		}
		if fault.Err == syscall.ENOSPC && !strings.Contains(err.Error(), "disk is full") {
			t.Fatalf("%+v: a full disk is called %v", fault, err)
		}
	}
	for _, err := range l.later {
		if err != l.saved {
			t.Fatalf("%+v: first %v, later %v", fault, l.saved, err)
		}
	}
	if l.prepared != nil && fault.Err == syscall.EIO && l.saved == nil {
		t.Fatalf("%+v: Prepare failed with %v, yet Save went on", fault, l.prepared)
	}
	changes := fault.Kind != vfs.OpRead && fault.Kind != vfs.OpOpen && fault.Kind != vfs.OpSize
	if len(l.snapped) > 0 && fault.Err == syscall.EIO && changes && l.saved == nil {
		t.Fatalf("%+v: a snapshot failed with %v, yet Save went on", fault, l.snapped)
	}
	if len(l.snapped) > 0 && fault.Err == syscall.ENOSPC && !fault.Sticky && fault.Kind != vfs.OpSyncDir && fault.Kind != vfs.OpRemove && l.saved != nil {
		t.Fatalf("%+v: there was no room for a snapshot, and the log died of it: %v", fault, l.saved)
	}
}

// endLife cuts the power or kills the process and checks two more starts.
func endLife(t *testing.T, m *machine, ending int, fault vfs.Fault) {
	t.Helper()
	if ending < len(vfs.Models) {
		m.disk = m.disk.Crash(m.rng, vfs.Models[ending])
	} else {
		m.disk = m.disk.Kill()
	}
	for start := range 2 {
		if err := m.live(0, start); err != nil {
			t.Fatalf("%+v, ending %d, start %d: %v", fault, ending, start+1, err)
		}
	}
}

// Goal: a log whose Prepare failed for any reason but a full disk accepts nothing
// more; with a full disk it goes on until its segment is used up and then says
// so. Method: fail the spare's write.
func TestPrepareFails(t *testing.T) {
	for _, test := range []struct {
		err  error
		dies bool
	}{{syscall.EIO, true}, {syscall.ENOSPC, false}} {
		disk := vfs.NewCrashable()
		fsys := vfs.NewFaulty(disk)
		w, _, err := Open(testOptions(fsys))
		must(t, err)
		fsys.Inject(vfs.Fault{Kind: vfs.OpCreate, Nth: 2, Err: test.err, Sticky: true})
		if err := w.Prepare(); !errors.Is(err, test.err) {
			t.Fatalf("Prepare: %v", err)
		}
		h, rng, saved := newHistory(), seeded(2), 0
		for i := range 100 {
			b := h.next(rng, 4, 200)
			b.Seq = uint64(i + 1)
			if err = w.Save(b); err != nil {
				break
			}
			saved++
		}
		if !errors.Is(err, test.err) || test.dies != (saved == 0) {
			t.Errorf("%v: %d batches saved, then %v", test.err, saved, err)
		}
		must(t, w.Close())
		must(t, reopen(t, disk, h, saved).Close()) // there is room again
	}
}

// Goal: a disk that fails a sync and then pretends never gets a second chance, so
// the lie costs nothing that was acknowledged. Method: every sync of a run fails
// with the lie; then the power goes.
func TestLyingSyncThenPowerCut(t *testing.T) {
	struck := 0
	for nth := 1; nth <= operations(t)[vfs.OpSync]; nth++ {
		for _, model := range vfs.Models {
			l := runWith(vfs.Fault{Kind: vfs.OpSync, Nth: nth, Err: syscall.EIO, Lie: true})
			if l.err() == nil {
				continue
			}
			struck++
			m := l.machine
			m.disk = m.disk.Crash(m.rng, model)
			for range 2 {
				if err := m.live(0, 3); err != nil {
					t.Fatalf("sync %d, %v: %v", nth, model, err)
				}
			}
		}
	}
	if struck < 40 {
		t.Errorf("only %d lies were told", struck)
	}
}

// Goal: the worst form of the lie: the process restarts on the living machine,
// where the cache shows what the disk never got, and only then the power goes. No
// start may come up without a batch that an earlier start vouched for. Where the
// cache can be dropped, every start comes up; where it cannot, a start may refuse
// the log. Method: every sync of a run fails in turn; restart, save some, cut the
// power, start.
func TestLyingSyncThenRestartThenPowerCut(t *testing.T) {
	for name, platform := range map[string]func(vfs.FS) vfs.FS{
		"cache dropped": func(fsys vfs.FS) vfs.FS { return fsys },
		"cache kept":    func(fsys vfs.FS) vfs.FS { return stubbornCache{fsys} },
	} {
		t.Run(name, func(t *testing.T) {
			struck, refused := 0, 0
			for nth := 1; nth <= operations(t)[vfs.OpSync]; nth++ {
				for saves := range 3 {
					for _, model := range vfs.Models {
						l := runWith(vfs.Fault{Kind: vfs.OpSync, Nth: nth, Err: syscall.EIO, Lie: true})
						if l.err() == nil {
							continue
						}
						struck++
						m := l.machine
						m.disk = m.disk.Kill()
						if err := m.run(platform(m.disk), saves); err != nil {
							t.Fatalf("sync %d, restart: %v", nth, err)
						}
						m.disk = m.disk.Crash(m.rng, model)
						err := m.live(0, 3)
						var damage *CorruptionError
						if errors.As(err, &damage) {
							refused++
						} else if err != nil {
							t.Fatalf("sync %d, %d saves, %v: %v", nth, saves, model, err)
						}
					}
				}
			}
			if struck < 100 || (refused > 0) != (name == "cache kept") || refused == struck {
				t.Errorf("%d lies were told, %d logs refused", struck, refused)
			}
		})
	}
}

// stubbornCache is a file system on a platform that cannot drop its cache.
type stubbornCache struct{ vfs.FS }

func (s stubbornCache) Open(name string) (vfs.File, error) {
	f, err := s.FS.Open(name)
	return stubbornFile{f}, err
}

type stubbornFile struct{ vfs.File }

func (stubbornFile) DropCache() {}
