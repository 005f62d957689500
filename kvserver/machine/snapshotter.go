package machine

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// snapshotRetry is how long the machine waits after a snapshot that failed, for
// lack of room on the disk for instance, before it takes the next.
const snapshotRetry = 10 * time.Second

// snapshotPause is the time after the end of a snapshot at which the machine looks
// whether the next one is due, though nothing is written.
const snapshotPause = 200 * time.Millisecond

// snapshotter takes snapshots of the store, one at a time, while writes go on.
//
// One is due when the log since the last has Config.SnapshotBytes and a start would
// take longer to apply it than to load that one's state; see snapshotDue.
//
// One is also due when a follower is to get one and the last is too old for that.
type snapshotter struct {
	busy atomic.Bool // one is being taken, or failed a moment ago
	// ended holds a token snapshotPause after busy has ended: the next may be due
	// already, and perhaps nothing is written for a long time.
	ended chan struct{}
	// last is the one that was begun last, until the applier has taken note of how
	// it ended. It belongs to the snapshotter's goroutine while busy.
	last  *attempt
	taken uint64 // index of the last one that was written; the applier's
}

// base is the state in a snapshot.
type base struct {
	index uint64
	state extent
}

// present returns the state as it is now, as the base of the log that follows: its keys and
// the events of its history, which take about as long to load. The applier calls it, or Open.
func (m *Machine) present() base {
	keys, events := m.store.Len(), m.store.HistoryEvents()
	return base{m.store.AppliedIndex(), extent{int64(keys + events), int64(m.store.Bytes()) + int64(m.store.HistoryBytes())}}
}

// sinceBase returns the extent of the log since the last snapshot.
func (m *Machine) sinceBase() extent {
	return extent{int64(m.store.AppliedIndex() - m.base.index), m.logBytes}
}

// attempt is one snapshot.
type attempt struct {
	view    *kv.View // nil when it has ended
	covers  int64    // bytes of log
	base             // the state
	written bool
}

// snapshotIfDue begins a snapshot if it is time for one. The applier calls it
// after each batch, when consensus wants one, and when the last has ended.
func (m *Machine) snapshotIfDue() {
	if m.snapshots.busy.Load() || m.Fault() != "" {
		return // a state that is wrong must not last, nor come to others
	}
	m.noteSnapshot()
	if !snapshotDue(m.sinceBase(), m.base.state, m.config.SnapshotBytes) && !m.snapshotWanted() {
		return
	}
	view := m.Freeze()
	a := &attempt{view: view, base: m.present(), covers: m.logBytes}
	m.logBytes = 0
	m.snapshots.last = a
	m.snapshots.busy.Store(true)
	go m.takeSnapshot(a)
}

// noteSnapshot takes note of how the last snapshot ended.
func (m *Machine) noteSnapshot() {
	a := m.snapshots.last
	if a == nil {
		return
	}
	m.snapshots.last = nil
	if !a.written {
		m.logBytes += a.covers
		return
	}
	if a.index > m.base.index { // none that was installed meanwhile is newer
		m.base = a.base
	}
	m.snapshots.taken = a.index
}

// snapshotWanted reports whether consensus wants a snapshot that the store can
// give. The status may be older than the last snapshot: then it says nothing.
func (m *Machine) snapshotWanted() bool {
	status := m.consensus.Status()
	applied := m.store.AppliedIndex()
	return status.SnapshotWanted && status.SnapshotIndex >= m.snapshots.taken &&
		(status.SnapshotIndex < applied || status.SnapshotIndex == applied && status.SnapshotLost)
}

// takeSnapshot writes a state to the disk, in a goroutine of its own. If that
// fails, the server goes on with a longer log: whether a disk can still be
// trusted is for consensus to say.
func (m *Machine) takeSnapshot(a *attempt) {
	defer m.snapshots.finish()
	begun, view := time.Now(), a.view
	a.view = nil // what it holds must not live on when it has been written
	err := m.consensus.WriteSnapshot(a.index, func(to io.Writer) error {
		return WriteState(whileAlive{lifetime: m.lifetime, Writer: to}, view, a.index)
	})
	view = nil // not to be held while waiting for the next attempt
	switch {
	case m.Damaged(err):
	case err == nil:
		a.written = true
		took := time.Since(begun)
		m.observer.SnapshotWritten(took)
		m.logger.Debug("a snapshot is on the disk", "index", a.index, "covers_bytes", a.covers, "took", took)
	case m.Stopping(), errors.Is(err, raft.ErrStopped):
	case errors.Is(err, raft.ErrCompacted): // one that came from the leader is newer
	default:
		m.logger.Warn("no snapshot could be written; the log grows until one can", "index", a.index, "again_in", snapshotRetry, "error", err)
		select {
		case <-time.After(snapshotRetry):
		case <-m.lifetime.Done():
		}
	}
}

// finish lets the next snapshot be taken, and has the applier look for it in a while.
func (s *snapshotter) finish() {
	s.busy.Store(false)
	time.AfterFunc(snapshotPause, func() {
		select {
		case s.ended <- struct{}{}:
		default: // it is about to look
		}
	})
}

// WriteState writes a state that its container calls the state at index. The two
// are compared here, where the log still has what the state lacks; at the next
// start it would be gone.
func WriteState(to io.Writer, view *kv.View, index uint64) error {
	mustStandAt(view.AppliedIndex(), index)
	_, err := view.WriteTo(to)
	return err
}

// mustStandAt panics if a state is not the one that its name says.
func mustStandAt(applied, index uint64) {
	if applied != index {
		panic(fmt.Sprintf("machine: the snapshot at index %d holds the state at %d", index, applied))
	}
}
