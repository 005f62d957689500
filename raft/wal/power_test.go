package wal

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
)

var (
	powerCuts = flag.Int("power-cuts", 5000, "how many simulated power cuts TestPowerCuts makes")
	firstSeed = flag.Uint64("seed", 1, "where TestPowerCuts starts to count its seeds")
)

// machine is a server's life on one disk: it saves, dies, starts again and
// checks what it finds. Between the lives it keeps what it promised.
type machine struct {
	rng   *rand.Rand
	disk  *vfs.Crashable
	saved *history
	acked int  // batches that Save or Open vouched for
	spoil bool // the current snapshot was damaged from outside

	next *vfs.Crashable // the disk after the crash; nil while the machine runs
	died string         // in which of our calls
	last vfs.Op         // the operation before which it died

	// For the test to see that the run was worth something.
	tally tally
}

// tally counts what happened to machines.
type tally struct {
	cuts                                                          map[vfs.Model]int
	deaths                                                        map[string]int // by the call
	boundaries                                                    map[string]int // by the call and the operation that did not happen any more
	tornEnds, rolls, snapshots, installs, fallbacks, kills, trims int
}

func newTally() tally {
	return tally{cuts: map[vfs.Model]int{}, deaths: map[string]int{}, boundaries: map[string]int{}}
}

func (t *tally) add(o tally) {
	for model, n := range o.cuts {
		t.cuts[model] += n
	}
	for call, n := range o.deaths {
		t.deaths[call] += n
	}
	for boundary, n := range o.boundaries {
		t.boundaries[boundary] += n
	}
	t.tornEnds += o.tornEnds
	t.rolls += o.rolls
	t.snapshots += o.snapshots
	t.installs += o.installs
	t.fallbacks += o.fallbacks
	t.kills += o.kills
	t.trims += o.trims
}

func (t *tally) powerCuts() (n int) {
	for _, cuts := range t.cuts {
		n += cuts
	}
	return n
}

func newMachine(seed uint64) *machine {
	return &machine{rng: seeded(seed), disk: vfs.NewCrashable(), saved: newHistory(), tally: newTally()}
}

// crash ends the present life, by a power cut of a random model or, now and then,
// by kill -9.
func (m *machine) crash() {
	if m.next != nil {
		return
	}
	if m.rng.IntN(6) == 0 {
		m.next = m.disk.Kill()
		m.tally.kills++
		return
	}
	m.cut(vfs.Models[m.rng.IntN(len(vfs.Models))])
}

func (m *machine) cut(model vfs.Model) {
	m.next = m.disk.Crash(m.rng, model)
	m.tally.cuts[model]++
}

// boundary names an operation: what it does to which of the log's files.
func boundary(call string, op vfs.Op) string {
	name := filepath.Base(op.Path)
	switch {
	case name == "wal":
		name = "the directory"
	case strings.HasSuffix(name, segmentSuffix):
		name = "a segment"
	case strings.HasSuffix(name, snapshotSuffix):
		name = "a snapshot"
	}
	return fmt.Sprintf("%s: %v %s", call, op.Kind, name)
}

// live runs one life of at most the given number of saves. Before its file-system
// operation number crashAt, or at its end, the machine crashes; now and then a
// sync fails first, and some of those lie afterwards.
func (m *machine) live(crashAt, saves int) error {
	fsys := vfs.NewFaulty(m.disk)
	fsys.Hook(func(op vfs.Op) error {
		if op.Step == crashAt {
			m.last = op
			m.crash()
		}
		return nil
	})
	failing := crashAt > 0 && m.rng.IntN(5) == 0
	if failing {
		lies := m.rng.IntN(2) == 0
		fsys.Inject(vfs.Fault{Kind: vfs.OpSync, Nth: 1 + m.rng.IntN(30), Err: syscall.EIO, Lie: lies})
	}
	err := m.run(fsys, saves)
	switch {
	case failing && errors.Is(err, syscall.EIO):
		m.died = "failed sync"
		m.crash()
		err = nil
	case m.next == nil:
		m.died = "rest"
		m.crash()
	case errors.Is(err, vfs.ErrCrashed):
		m.tally.boundaries[boundary(m.died, m.last)]++
		err = nil
	}
	m.tally.deaths[m.died]++
	m.disk, m.next = m.next, nil
	return err
}

func (m *machine) run(fsys vfs.FS, saves int) error {
	w, err := m.open(fsys)
	if err != nil {
		return err
	}
	for i := range saves {
		if m.rng.IntN(4) == 0 {
			if err := m.prepare(w); err != nil {
				return err
			}
		}
		size := 200
		if m.rng.IntN(30) == 0 {
			size = 5000
		}
		var b *core.Write
		switch m.rng.IntN(12) {
		case 0:
			b = m.saved.nextCompaction(m.rng, 5, size)
		case 1:
			if m.rng.IntN(3) == 0 {
				b = m.saved.nextInstallation(m.rng, 5, size)
				break
			}
			fallthrough
		default:
			b = m.saved.next(m.rng, 5, size)
		}
		b.Seq = uint64(i + 1)
		if err := m.save(w, b); err != nil {
			return err
		}
	}
	if m.rng.IntN(3) > 0 {
		return nil
	}
	m.died = "close"
	return w.Close()
}

// open starts the server and compares what it finds with what was promised.
func (m *machine) open(fsys vfs.FS) (*WAL, error) {
	m.died = "open"
	w, state, err := Open(testOptions(fsys))
	if err != nil {
		return nil, err
	}
	stats := w.Stats()
	found := stats.RecoveredTo
	if found < uint64(m.acked) || found > uint64(m.saved.batches()) {
		return nil, fmt.Errorf("%d batches found, %d acknowledged and %d begun", found, m.acked, m.saved.batches())
	}
	m.saved.forgetAfter(int(found))
	if m.spoil {
		m.saved.now().fallBack()
		m.spoil = false
	}
	if err := m.saved.check(state, int(found)); err != nil {
		return nil, err
	}
	if p := placeOf(state.Snapshot); p != (place{}) {
		m.died = "read"
		if err := readSnapshot(w, p); err != nil {
			return nil, err
		}
	}
	m.acked = int(found)
	if stats.Cut.Bytes > 0 {
		m.tally.tornEnds++
	}
	return w, nil
}

func (m *machine) prepare(w *WAL) error {
	m.died = "prepare"
	before := w.Stats().Removed
	err := w.Prepare()
	if w.Stats().Removed > before {
		m.tally.trims++
	}
	return err
}

// save makes the file of a batch's snapshot, by writing or by receiving it, and
// saves the batch.
func (m *machine) save(w *WAL, b *core.Write) error {
	rolls := w.Stats().Rolls
	m.died = "save"
	if s := b.Snapshot; s != nil {
		m.tally.snapshots++
		m.died = "snapshot"
		do := func() error { return w.WriteSnapshot(*s, writePayload(placeOf(*s))) }
		if b.From == s.Index+1 && m.rng.IntN(4) > 0 {
			m.tally.installs++
			m.died = "receive"
			do = func() error { return receive(w, *s, m.rng) }
		}
		if err := do(); err != nil {
			return err
		}
		m.died = "record"
	}
	if err := w.Save(b); err != nil {
		return err
	}
	m.acked++
	if w.Stats().Rolls > rolls {
		m.tally.rolls++
	}
	return nil
}

// receive receives the snapshot of a place in a few pieces.
func receive(w *WAL, s core.Snapshot, rng *rand.Rand) error {
	var b bytes.Buffer
	c, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: "c1", Index: s.Index, Term: s.Term})
	if err == nil {
		err = writePayload(placeOf(s))(c)
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return err
	}
	have, err := w.BeginReceive(s, int64(b.Len()), [32]byte{})
	for err == nil && have < int64(b.Len()) {
		piece := b.Bytes()[have:min(int64(b.Len()), have+1+int64(rng.IntN(400)))]
		err = w.ReceiveAt(piece, have)
		have += int64(len(piece))
	}
	if err != nil {
		return err
	}
	return w.FinishReceive()
}

// spoilSnapshot damages the snapshot that the next start would begin with, now
// and then, if there is one to fall back on.
func (m *machine) spoilSnapshot() error {
	if m.spoil || m.acked == 0 || m.rng.IntN(12) > 0 {
		return nil
	}
	w, err := newWAL(testOptions(m.disk))
	if err != nil {
		return err
	}
	found, err := w.read()
	if err != nil || found.image == nil {
		return err
	}
	state := m.saved.states[found.image.at.number]
	if !state.fallback {
		return nil
	}
	m.spoil = true
	m.tally.fallbacks++
	path := w.snapshotPath(state.current)
	if m.rng.IntN(3) == 0 {
		return errors.Join(m.disk.Remove(path), m.disk.SyncDir(testDir))
	}
	f, err := m.disk.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, _ := f.Size()
	at, b := m.rng.Int64N(size), [1]byte{}
	f.ReadAt(b[:], at)
	b[0] ^= 1 << m.rng.IntN(8)
	_, err = f.WriteAt(b[:], at)
	return errors.Join(err, f.Sync())
}

// Goal: whatever moment the power goes, everything acknowledged is there at the
// next start, and the one batch that was under way is there whole or not at all;
// the snapshot that the log begins with is there and whole; and if that one is
// damaged from outside, the one before it and the log give the same. Recovery
// itself is no exception. Method: random lives of random machines that crash
// before a random file-system operation, over and over on the same disk, under
// all models of what a power cut leaves, with a failed sync and a killed process
// among them; an oracle beside it.
func TestPowerCuts(t *testing.T) {
	var workers sync.WaitGroup
	var mu sync.Mutex // guards all and seed
	all, seed := newTally(), *firstSeed
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !t.Failed() {
				mu.Lock()
				mine, enough := seed, all.powerCuts() >= *powerCuts
				seed++
				mu.Unlock()
				if enough {
					return
				}
				m := newMachine(mine)
				if err := m.liveOn(); err != nil {
					t.Errorf("seed %d, died in %s: %v (to see it again: go test -run PowerCuts -args -seed %d -power-cuts 1)", mine, m.died, err, mine)
				}
				mu.Lock()
				all.add(m.tally)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	all.report(t)
	cuts := all.powerCuts()
	if cuts < 1000 {
		return
	}
	// A run in which the faults did not happen proves nothing.
	for _, call := range []string{"open", "read", "prepare", "save", "snapshot", "receive", "record", "close", "rest", "failed sync"} {
		if all.deaths[call] < cuts/500 {
			t.Errorf("only %d deaths in %s", all.deaths[call], call)
		}
	}
	for what, n := range map[string]int{"torn ends": all.tornEnds, "rolls": all.rolls, "snapshots": all.snapshots, "installations": all.installs, "fallbacks": all.fallbacks, "trims": all.trims} {
		if n < cuts/200 {
			t.Errorf("only %d %s", n, what)
		}
	}
}

// liveOn is a machine's whole existence.
func (m *machine) liveOn() error {
	for range 8 {
		crashAt := 1 + m.rng.IntN(250)
		if m.rng.IntN(2) == 0 {
			crashAt = 1 + m.rng.IntN(40) // in Open, most of the time
		}
		if err := m.live(crashAt, m.rng.IntN(30)); err != nil {
			return err
		}
		if err := m.spoilSnapshot(); err != nil {
			return fmt.Errorf("looking at the disk: %w", err)
		}
	}
	return m.live(0, 0)
}

// report prints what happened.
func (t *tally) report(to *testing.T) {
	for _, model := range vfs.Models {
		to.Logf("%9d power cuts of %v", t.cuts[model], model)
	}
	to.Logf("%9d kills, %d torn ends cut, %d rolls, %d snapshots (%d received), %d trims, %d damaged snapshots passed over",
		t.kills, t.tornEnds, t.rolls, t.snapshots, t.installs, t.trims, t.fallbacks)
	to.Logf("deaths in %v", t.deaths)
	for _, b := range slices.Sorted(maps.Keys(t.boundaries)) {
		to.Logf("%9d died before %s", t.boundaries[b], b)
	}
}

// Goal: the same, without luck: a crash between any two operations of a short
// life that creates, rolls, prepares and closes, followed by a crash between any
// two operations of the recovery. Method: all pairs of moments, under every
// model, and with kill -9 as the first crash too.
func TestCrashBetweenAnyTwoOperations(t *testing.T) {
	moments, recoveries := 0, 0
	for _, model := range vfs.Models {
		for crashAt := 1; ; crashAt++ {
			m, crashed := scriptUntil(t, crashAt, func(m *machine) *vfs.Crashable { return m.disk.Crash(m.rng, model) })
			if !crashed {
				break
			}
			moments++
			left := *m // everything on its disk is durable, so it can be copied
			recoveries += crashInRecovery(t, crashAt, model, func() *machine {
				copied := left
				copied.disk = left.disk.Crash(left.rng, vfs.LoseUnsynced)
				copied.saved = left.saved.copy()
				return &copied
			})
		}
		if model == vfs.LoseUnsynced || model == vfs.TornPrefix {
			continue // what follows needs to lose one thing and to keep a later one
		}
		kill := func(m *machine) *vfs.Crashable { return m.disk.Kill() }
		for crashAt := 1; ; crashAt++ {
			if _, crashed := scriptUntil(t, crashAt, kill); !crashed {
				break
			}
			moments++
			recoveries += crashInRecovery(t, crashAt, model, func() *machine {
				m, _ := scriptUntil(t, crashAt, kill)
				return m
			})
		}
	}
	if moments < 6*50 || recoveries < 6*300 {
		t.Errorf("only %d moments and %d moments of recovery", moments, recoveries)
	}
	t.Logf("%d moments, %d moments of recovery", moments, recoveries)
}

// scriptUntil runs the script until it crashes before an operation, if it gets
// that far.
func scriptUntil(t *testing.T, crashAt int, crash func(*machine) *vfs.Crashable) (m *machine, crashed bool) {
	t.Helper()
	m = newMachine(uint64(crashAt))
	l := runScript(m, crashBefore(m, crashAt, crash))
	if err := l.err(); err != nil && (m.next == nil || !errors.Is(err, vfs.ErrCrashed)) {
		t.Fatalf("crash before operation %d: %v", crashAt, err)
	}
	if m.next == nil {
		return m, false
	}
	m.disk, m.next = m.next, nil
	return m, true
}

// crashInRecovery starts the machine again and again, crashes each start before
// another operation, checks the start that follows, and says how many operations
// the recovery has.
func crashInRecovery(t *testing.T, crashedAt int, model vfs.Model, machineAfterCrash func() *machine) int {
	t.Helper()
	for again := 1; ; again++ {
		m := machineAfterCrash()
		m.rng = seeded(uint64(crashedAt*1000 + again))
		err := m.run(crashBefore(m, again, func(m *machine) *vfs.Crashable { return m.disk.Crash(m.rng, model) }), 0)
		if err != nil && !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("%v, crash before operation %d, then before %d of the recovery: %v", model, crashedAt, again, err)
		}
		done := m.died != "open" || m.next == nil
		m.crash()
		m.disk, m.next = m.next, nil
		if err := m.live(0, 3); err != nil {
			t.Fatalf("%v, crash before operation %d, then before %d of the recovery, next start: %v", model, crashedAt, again, err)
		}
		if done {
			return again
		}
	}
}

// crashBefore wraps the machine's disk so that it crashes before an operation.
func crashBefore(m *machine, step int, crash func(*machine) *vfs.Crashable) *vfs.Faulty {
	fsys := vfs.NewFaulty(m.disk)
	fsys.Hook(func(op vfs.Op) error {
		if op.Step == step {
			m.next = crash(m)
		}
		return nil
	})
	return fsys
}

// Goal: the oracle bites. Method: compare a log with one batch more or less, and
// with data changed behind its back.
func TestOracleNoticesLossAndChange(t *testing.T) {
	disk, h := build(t, 21, 30, true)
	_, state, err := readOnly(disk)
	must(t, err)
	must(t, h.check(state, 30))
	for n := range 29 {
		if h.check(state, n) == nil {
			t.Errorf("a state of 30 batches passed for one of %d", n)
		}
	}
	for _, e := range state.Entries {
		if len(e.Data) > 0 {
			e.Data[0] ^= 1
			break
		}
	}
	if h.check(state, 30) == nil {
		t.Error("changed data passed")
	}
}
