package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	"raftkv/raft/core"
	"raftkv/raft/snapshot"
	"raftkv/raft/vfs"
)

// machine is a server on one disk, over many boots: it saves, dies, starts again
// and checks what it finds. Between the boots it keeps what it promised.
type machine struct {
	rng   *rand.Rand
	disk  *vfs.Crashable
	saved *history
	acked int      // batches that Save or Open vouched for
	spoil position // the snapshot that was damaged from outside, zero for none
	again position // the last snapshot of which the writing was begun
	sizes int      // how many times the room of the smallest its segments have

	next *vfs.Crashable // the disk after the crash; nil while the machine runs
	died string         // in which of our calls
	at   string         // before which operation; see boundary

	// For the test to see that the run was worth something.
	tally tally
}

// newMachine returns a machine whose segments have room for two blocks behind the
// header. So a recycled one shows what stood in it before: the first block is blank
// when it is begun.
func newMachine(seed uint64) *machine {
	return &machine{rng: seeded(seed), disk: vfs.NewCrashable(), saved: newHistory(), sizes: 2, tally: newTally()}
}

func (m *machine) options(fsys vfs.FS) Options {
	o := testOptions(fsys)
	o.SegmentBytes += segmentAlign * int64(m.sizes-1)
	return o
}

// crash ends the present run, by a power cut of a random model or, now and then,
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

// live runs one run of at most the given number of saves. Before its file-system
// operation number crashAt, or at its end, the machine crashes; now and then a
// sync fails first, and some of those lie afterwards.
func (m *machine) live(crashAt, saves int) error {
	fsys := vfs.NewFaulty(m.disk)
	fsys.Hook(func(op vfs.Op) error {
		if op.Step == crashAt {
			m.at = boundary(m.died, op)
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
		m.tally.boundaries[m.at]++
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
		size := 200 * m.sizes
		if m.rng.IntN(30) == 0 {
			size = 5000 * m.sizes
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
	w, state, err := Open(m.options(fsys))
	if err != nil {
		return nil, err
	}
	stats := w.Stats()
	found := stats.RecoveredTo
	if found < uint64(m.acked) || found > uint64(m.saved.batches()) {
		return nil, fmt.Errorf("%d batches found, %d acknowledged and %d begun", found, m.acked, m.saved.batches())
	}
	m.saved.forgetAfter(int(found))
	if m.spoil != (position{}) && m.spoil == m.saved.now().current {
		m.saved.now().fallBack()
	}
	m.spoil = position{} // else its record was lost with the power
	if now := m.saved.now(); now.spoilt != (position{}) && now.spoilt == m.again && positionOf(state.Snapshot) == m.again {
		now.mend()
	}
	if err := m.saved.check(state, int(found)); err != nil {
		return nil, err
	}
	if err := m.tidy(stats); err != nil {
		return nil, err
	}
	if p := positionOf(state.Snapshot); p != (position{}) {
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

// tidy names a file that a start left behind and nothing needs.
func (m *machine) tidy(stats Stats) error {
	l, err := list(m.disk, testDir)
	if err != nil {
		return nil // it has crashed just now
	}
	if len(l.segments) != stats.Segments || len(l.unfinished) > 0 {
		return fmt.Errorf("it found %d segments and left %+v", stats.Segments, l)
	}
	now := m.saved.now()
	for _, p := range l.snapshots {
		if p != now.current && p != now.previous && now.spoilt == (position{}) {
			return fmt.Errorf("it begins with the snapshot %v and left %v", now.current, p)
		}
	}
	return nil
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
	before := w.Stats()
	m.died = "save"
	if s := b.Snapshot; s != nil {
		m.tally.snapshots++
		m.again = positionOf(*s)
		m.died = "snapshot"
		do := func() error { return w.WriteSnapshot(*s, writePayload(positionOf(*s))) }
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
	after := w.Stats()
	m.tally.rolls += int(after.Rolls - before.Rolls)
	m.tally.recycled += int(after.Recycled - before.Recycled)
	if m.rng.IntN(2) == 0 {
		m.died = "settle"
		return w.Settle()
	}
	return nil
}

// receive receives the snapshot of a place in a few pieces.
func receive(w *WAL, s core.Snapshot, rng *rand.Rand) error {
	var b bytes.Buffer
	c, err := snapshot.NewWriter(&b, snapshot.Header{ClusterID: "c1", Index: s.Index, Term: s.Term})
	if err == nil {
		err = writePayload(positionOf(s))(c)
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
	if m.spoil != (position{}) || m.acked == 0 || m.rng.IntN(12) > 0 {
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
	m.spoil = state.current
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
