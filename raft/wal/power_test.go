package wal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

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
	acked int // batches that Save or Open vouched for

	next *vfs.Crashable // the disk after the crash; nil while the machine runs
	died string         // in which of our calls

	// For the test to see that the run was worth something.
	powerCuts, tornEnds, rolls int
	deaths                     map[string]int
}

func newMachine(seed uint64) *machine {
	return &machine{rng: seeded(seed), disk: vfs.NewCrashable(), saved: newHistory(), deaths: map[string]int{}}
}

// crash ends the present life, by a power cut of a random model or, now and then,
// by kill -9.
func (m *machine) crash() {
	if m.next != nil {
		return
	}
	if m.rng.IntN(6) == 0 {
		m.next = m.disk.Kill()
		return
	}
	m.next = m.disk.Crash(m.rng, vfs.Models[m.rng.IntN(len(vfs.Models))])
	m.powerCuts++
}

// live runs one life of at most the given number of saves. Before its file-system
// operation number crashAt, or at its end, the machine crashes; now and then a
// sync fails first, and some of those lie afterwards.
func (m *machine) live(crashAt, saves int) error {
	fsys := vfs.NewFaulty(m.disk)
	fsys.Hook(func(op vfs.Op) error {
		if op.Step == crashAt {
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
		err = nil
	}
	m.deaths[m.died]++
	m.disk, m.next = m.next, nil
	return err
}

func (m *machine) run(fsys vfs.FS, saves int) error {
	m.died = "open"
	w, state, err := Open(testOptions(fsys))
	if err != nil {
		return err
	}
	found := w.Stats().RecoveredTo
	if found < uint64(m.acked) || found > uint64(m.saved.batches()) {
		return fmt.Errorf("%d batches found, %d acknowledged and %d begun", found, m.acked, m.saved.batches())
	}
	if err := m.saved.check(state, int(found)); err != nil {
		return err
	}
	m.saved.forgetAfter(int(found))
	m.acked = int(found)
	if w.Stats().Cut.Bytes > 0 {
		m.tornEnds++
	}
	for i := range saves {
		if m.rng.IntN(4) == 0 {
			m.died = "prepare"
			if err := w.Prepare(); err != nil {
				return err
			}
		}
		m.died = "save"
		size := 200
		if m.rng.IntN(30) == 0 {
			size = 5000
		}
		b := m.saved.next(m.rng, 5, size)
		b.Seq = uint64(i + 1)
		rolls := w.Stats().Rolls
		if err := w.Save(b); err != nil {
			return err
		}
		m.acked++
		if w.Stats().Rolls > rolls {
			m.rolls++
		}
	}
	if m.rng.IntN(3) > 0 {
		return nil
	}
	m.died = "close"
	return w.Close()
}

// Goal: whatever moment the power goes, everything acknowledged is there at the
// next start, and the one batch that was under way is there whole or not at all.
// Recovery itself is no exception. Method: random lives of random machines that
// crash before a random file-system operation, over and over on the same disk,
// under all models of what a power cut leaves, with a failed sync and a killed
// process among them; an oracle beside it.
func TestPowerCuts(t *testing.T) {
	cuts, torn, rolls, deaths := 0, 0, 0, map[string]int{}
	for seed := *firstSeed; cuts < *powerCuts; seed++ {
		m := newMachine(seed)
		for life := range 8 {
			crashAt := 1 + m.rng.IntN(120)
			if m.rng.IntN(2) == 0 {
				crashAt = 1 + m.rng.IntN(30) // in Open, most of the time
			}
			if err := m.live(crashAt, m.rng.IntN(30)); err != nil {
				t.Fatalf("seed %d, life %d, died in %s: %v (to see it again: go test -run PowerCuts -args -seed %d -power-cuts 1)", seed, life+1, m.died, err, seed)
			}
		}
		if err := m.live(0, 0); err != nil {
			t.Fatalf("seed %d, last start: %v", seed, err)
		}
		cuts, torn, rolls = cuts+m.powerCuts, torn+m.tornEnds, rolls+m.rolls
		for where, n := range m.deaths {
			deaths[where] += n
		}
	}
	t.Logf("%d power cuts, deaths in %v, %d torn ends cut, %d rolls", cuts, deaths, torn, rolls)
	if *powerCuts < 1000 {
		return
	}
	// A run in which the faults did not happen proves nothing.
	for _, where := range []string{"open", "prepare", "save", "close", "rest", "failed sync"} {
		if deaths[where] < cuts/500 {
			t.Errorf("only %d deaths in %s", deaths[where], where)
		}
	}
	if torn < cuts/100 || rolls < cuts/100 {
		t.Error("too few torn ends or rolls")
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
				copied.saved = &history{states: slices.Clone(left.saved.states)}
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
