package kvserver

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// snapshotPoll is how often the server looks whether consensus wants a snapshot
// while nothing is written.
const snapshotPoll = 200 * time.Millisecond

// snapshotRetry is how long the server waits after a snapshot that failed, for
// lack of room on the disk for instance, before it takes the next.
const snapshotRetry = 10 * time.Second

// snapshotter takes snapshots of the store, one at a time, while writes go on.
//
// One is due when the log since the last has grown longer than that one's state,
// and than Config.SnapshotBytes. So a store that keeps its size writes no more
// for snapshots than for the log, however large it is. A store that only grows
// writes up to twice as much, for snapshots at each doubling; the rule that would
// halve that lets the log grow to eight times the last state, and a start would
// take as much longer.
//
// One is also due when a follower is to get one and the last is too old for that.
type snapshotter struct {
	busy atomic.Bool // one is being taken, or failed a moment ago
	// last is the one that was begun last, until the applier has taken note of how
	// it ended. It belongs to the snapshotter's goroutine while busy.
	last  *attempt
	taken uint64 // index of the last one that was written; the applier's
}

// attempt is one snapshot.
type attempt struct {
	view    *kv.View // nil when it has ended
	index   uint64
	covers  int64 // bytes of log
	size    int64 // of the state
	written bool
}

// snapshotIfDue begins a snapshot if it is time for one. The applier calls it
// after each batch, and from time to time.
func (s *Server) snapshotIfDue() {
	if s.snapshots.busy.Load() || s.fault() != "" {
		return // a state that is wrong must not last, nor come to others
	}
	s.noteSnapshot()
	if s.logBytes < max(s.config.SnapshotBytes, s.stateBytes) && !s.snapshotWanted() {
		return
	}
	view := s.freeze()
	a := &attempt{view: view, index: view.AppliedIndex(), covers: s.logBytes, size: int64(view.Bytes())}
	s.logBytes = 0
	s.snapshots.last = a
	s.snapshots.busy.Store(true)
	go s.takeSnapshot(a)
}

// noteSnapshot takes note of how the last snapshot ended.
func (s *Server) noteSnapshot() {
	a := s.snapshots.last
	if a == nil {
		return
	}
	s.snapshots.last = nil
	if !a.written {
		s.logBytes += a.covers
		return
	}
	s.stateBytes = a.size
	s.snapshots.taken = a.index
}

// snapshotWanted reports whether consensus wants a snapshot that the store can
// give. The status may be older than the last snapshot: then it says nothing.
func (s *Server) snapshotWanted() bool {
	status := s.consensus.Status()
	return status.SnapshotWanted && status.SnapshotIndex >= s.snapshots.taken &&
		status.SnapshotIndex < s.store.AppliedIndex()
}

// takeSnapshot writes a state to the disk, in a goroutine of its own. If that
// fails, the server goes on with a longer log: whether a disk can still be
// trusted is for consensus to say.
func (s *Server) takeSnapshot(a *attempt) {
	defer s.snapshots.busy.Store(false)
	begun, view := time.Now(), a.view
	a.view = nil // what it holds must not live on when it has been written
	err := s.consensus.WriteSnapshot(a.index, func(to io.Writer) error {
		return writeState(whileAlive{life: s.life, Writer: to}, view, a.index)
	})
	view = nil // not to be held while waiting for the next attempt
	switch {
	case errors.Is(err, kv.ErrCorrupt):
		s.fence("its memory was damaged: %v", err)
	case err == nil:
		a.written = true
		took := time.Since(begun)
		s.metrics.snapshotWritten(took)
		s.config.Logger.Debug("a snapshot is on the disk", "index", a.index, "covers_bytes", a.covers, "took", took)
	case s.stopping(), errors.Is(err, raft.ErrStopped):
	case errors.Is(err, raft.ErrCompacted): // one that came from the leader is newer
	default:
		s.config.Logger.Warn("no snapshot could be written; the log grows until one can", "index", a.index, "again_in", snapshotRetry, "error", err)
		select {
		case <-time.After(snapshotRetry):
		case <-s.life.Done():
		}
	}
}

// writeState writes a state that its container calls the state at index. The two
// are compared here, where the log still has what the state lacks; at the next
// start it would be gone.
func writeState(to io.Writer, view *kv.View, index uint64) error {
	mustStandAt(view.AppliedIndex(), index)
	_, err := view.WriteTo(to)
	return err
}

// mustStandAt panics if a state is not the one that its name says.
func mustStandAt(applied, index uint64) {
	if applied != index {
		panic(fmt.Sprintf("kvserver: the snapshot at index %d holds the state at %d", index, applied))
	}
}
