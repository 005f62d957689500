package wal

import (
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

var everyBoundary = flag.Bool("every-boundary", false, "crash every recovery between any two operations, not a sample of them")

// boundaries are the steps of a snapshot's life, and of a recycled segment's, each
// with the call it belongs to. A crash has to be tried before each of them. Segments
// keep the name that they had as a spare.
var boundaries = []string{
	"snapshot: create snapshot.tmp", "snapshot: write snapshot.tmp", "snapshot: sync snapshot.tmp",
	"snapshot: rename snapshot.tmp", "snapshot: syncdir the directory",
	"receive: create received.tmp", "receive: write received.tmp", "receive: read received.tmp", "receive: sync received.tmp",
	"receive: rename received.tmp", "receive: syncdir the directory",
	"record: write spare", "record: sync spare", "record: rename spare", "record: syncdir the directory",
	"prepare: remove a segment", "prepare: rename a segment", "prepare: remove a snapshot", "prepare: syncdir the directory", "prepare: open spare.1",
	"save: remove a segment", "save: syncdir the directory",
	"save: write spare.1", "save: sync spare.1", "save: rename spare.1", "settle: write spare", "settle: write spare.1",
	"open: remove a segment", "open: remove a snapshot", "open: remove snapshot.tmp", "open: remove received.tmp", "open: syncdir the directory",
}

// Goal: the same, without luck: a crash between any two operations of a short run
// that creates, rolls, prepares, takes snapshots, removes what they made
// superfluous, installs one and closes, followed by a crash between any two
// operations of the recovery. Method: all pairs of moments, under every model,
// and with kill -9 as the first crash too; the recovery of a sample of the
// moments only, unless told otherwise.
func TestCrashBetweenAnyTwoOperations(t *testing.T) {
	var workers sync.WaitGroup
	var mu sync.Mutex // guards all
	all := newTally()
	for _, model := range vfs.Models {
		workers.Go(func() {
			mine := newTally()
			if err := crashEverywhere(model, &mine); err != nil {
				t.Errorf("%v: %v", model, err)
			}
			mu.Lock()
			defer mu.Unlock()
			all.add(mine)
		})
	}
	workers.Wait()
	all.report(t)
	for _, b := range boundaries {
		if all.boundaries[b] == 0 {
			t.Errorf("no crash before %s", b)
		}
	}
}

// crashEverywhere tries all moments under one model.
func crashEverywhere(model vfs.Model, all *tally) error {
	cut := func(m *machine) { m.cut(model) }
	kill := func(m *machine) { m.next = m.disk.Kill() }
	for _, first := range []func(*machine){cut, kill} {
		for crashAt := 1; ; crashAt++ {
			m, crashed, err := scriptUntil(crashAt, first)
			all.add(m.tally)
			if err != nil {
				return err
			}
			if !crashed {
				break
			}
			if !*everyBoundary && crashAt%17 != 3*int(model) {
				if err := m.live(0, 3); err != nil {
					return fmt.Errorf("crash before operation %d, next start: %w", crashAt, err)
				}
				continue
			}
			if err := crashInRecovery(crashAt, cut, first, all); err != nil {
				return err
			}
		}
	}
	return nil
}

// scriptUntil runs the script until it crashes before an operation, if it gets
// that far.
func scriptUntil(crashAt int, crash func(*machine)) (m *machine, crashed bool, err error) {
	m = newMachine(uint64(crashAt))
	l := runScript(m, crashBefore(m, crashAt, crash))
	if m.next == nil {
		return m, false, l.err()
	}
	if err := l.err(); err != nil && !errors.Is(err, vfs.ErrCrashed) {
		return m, true, fmt.Errorf("crash before operation %d: %w", crashAt, err)
	}
	m.tally.boundaries[m.at]++
	m.disk, m.next = m.next, nil
	return m, true, nil
}

// crashInRecovery crashes the script before an operation and starts the machine
// again and again, crashes each start before another operation and checks the
// start that follows.
func crashInRecovery(crashAt int, again, first func(*machine), all *tally) error {
	for step := 1; ; step++ {
		m, _, err := scriptUntil(crashAt, first)
		if err != nil {
			return err
		}
		m.tally = newTally() // it was counted before
		m.rng = seeded(uint64(crashAt*1000 + step))
		err = m.run(crashBefore(m, step, again), 0)
		if err != nil && !errors.Is(err, vfs.ErrCrashed) {
			return fmt.Errorf("crash before operation %d, then before %d of the recovery: %w", crashAt, step, err)
		}
		done := m.died != "open" || m.next == nil
		if m.next != nil {
			m.tally.boundaries[m.at]++
		}
		m.crash()
		m.disk, m.next = m.next, nil
		all.add(m.tally)
		if err := m.live(0, 3); err != nil {
			return fmt.Errorf("crash before operation %d, then before %d of the recovery, next start: %w", crashAt, step, err)
		}
		if done {
			return nil
		}
	}
}

// crashBefore wraps the machine's disk so that it crashes before an operation.
func crashBefore(m *machine, step int, crash func(*machine)) *vfs.Faulty {
	fsys := vfs.NewFaulty(m.disk)
	fsys.Hook(func(op vfs.Op) error {
		if op.Step == step {
			m.at = boundary(m.died, op)
			crash(m)
		}
		return nil
	})
	return fsys
}

// Goal: a restore that a crash interrupts never passes for an empty log: either
// nothing at all is there, or Open says that a restore was interrupted; and one
// that was finished is there whole. Method: a crash before every operation of
// Initialize, under every model.
func TestCrashInInitialize(t *testing.T) {
	p := position{77, 3}
	outcomes := map[string]int{}
	for _, model := range vfs.Models {
		for crashAt, done := 1, false; !done; crashAt++ {
			m := newMachine(uint64(crashAt))
			fsys := crashBefore(m, crashAt, func(m *machine) { m.cut(model) })
			err := Initialize(testOptions(fsys), 5, core.Snapshot{Index: p.index, Term: p.term}, writePayload(p))
			if done = m.next == nil; done {
				must(t, err)
				m.cut(model)
			}
			left, _ := list(m.next, testDir)
			nothing := len(left.snapshots)+len(left.unfinished)+len(left.segments) == 0
			w, state, opened := Open(testOptions(m.next))
			var damage *CorruptionError
			switch {
			case errors.As(opened, &damage) && err != nil:
				outcomes["refused"]++
			case opened != nil:
				t.Fatalf("%v, crash before operation %d: %v, then %v", model, crashAt, err, opened)
			case positionOf(state.Snapshot) == p && state.Term == 5 && len(state.Entries) == 0:
				outcomes["whole"]++
				must(t, readSnapshot(w, p))
			case err != nil && nothing:
				outcomes["nothing"]++
			default:
				t.Fatalf("%v, crash before operation %d: %v, then %+v", model, crashAt, err, state)
			}
		}
	}
	if len(outcomes) != 3 {
		t.Errorf("outcomes %v", outcomes)
	}
}
