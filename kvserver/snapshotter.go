package kvserver

import (
	"errors"
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
// One is due when the log since the last is longer than the state itself, and
// than Config.SnapshotBytes. So in the long run no more is written for snapshots
// than for the log, however large the state is. One is also due when a follower
// is to get one and the last is too old for that.
type snapshotter struct {
	busy  atomic.Bool   // one is being taken, or failed a moment ago
	owed  atomic.Int64  // bytes of log that one which failed would have covered
	taken atomic.Uint64 // index of the last one that was written
}

// snapshotIfDue begins a snapshot if it is time for one. The applier calls it
// after each batch, and from time to time.
func (s *Server) snapshotIfDue() {
	if s.snapshots.busy.Load() || s.fault() != "" {
		return // a state that is wrong must not last, nor come to others
	}
	s.logBytes += s.snapshots.owed.Swap(0)
	if s.logBytes < max(s.config.SnapshotBytes, int64(s.store.Bytes())) && !s.snapshotWanted() {
		return
	}
	view := s.freeze()
	s.snapshots.busy.Store(true)
	go s.takeSnapshot(view, s.logBytes)
	s.logBytes = 0
}

// snapshotWanted reports whether consensus wants a snapshot that the store can
// give. The status may be older than the last snapshot: then it says nothing.
func (s *Server) snapshotWanted() bool {
	status := s.consensus.Status()
	return status.SnapshotWanted && status.SnapshotIndex >= s.snapshots.taken.Load() &&
		status.SnapshotIndex < s.store.AppliedIndex()
}

// takeSnapshot writes a state to the disk, in a goroutine of its own. If that
// fails, the server goes on with a longer log: whether a disk can still be
// trusted is for consensus to say.
func (s *Server) takeSnapshot(view *kv.View, covers int64) {
	defer s.snapshots.busy.Store(false)
	index, begun := view.AppliedIndex(), time.Now()
	err := s.consensus.WriteSnapshot(index, func(to io.Writer) error {
		_, err := view.WriteTo(whileAlive{life: s.life, Writer: to})
		return err
	})
	switch {
	case errors.Is(err, kv.ErrCorrupt):
		s.fence("its memory was damaged: %v", err)
	case err == nil:
		s.snapshots.taken.Store(index)
		s.config.Logger.Debug("a snapshot is on the disk", "index", index, "covers_bytes", covers, "took", time.Since(begun))
	case s.stopping(), errors.Is(err, raft.ErrStopped):
	case errors.Is(err, raft.ErrCompacted): // one that came from the leader is newer
		s.snapshots.owed.Add(covers)
	default:
		s.config.Logger.Warn("no snapshot could be written; the log grows until one can", "index", index, "again_in", snapshotRetry, "error", err)
		s.snapshots.owed.Add(covers)
		select {
		case <-time.After(snapshotRetry):
		case <-s.life.Done():
		}
	}
}
