package wal

import (
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Report describes the log that Open would find.
type Report struct {
	ClusterID, NodeID string // as the newest segment says
	Term              uint64
	VotedFor          core.ID
	Snapshot          core.Snapshot // what a start would begin with, without its Data
	LastIndex         uint64        // of the last entry
	Commit            uint64        // entries up to it are recorded as committed
	Batches           uint64        // counted since the log was created
	Segments          int
	Cut               Cut   // what it would cut off the end
	PassedOver        error // the snapshots that it would pass over; see Stats
}

// Check returns a Report of the log that Open would find in dir, of any owner, or
// the error with which Open would refuse it. It changes nothing and takes no
// lock, so the end of a log that is in use may look torn. It takes as much memory
// as Open. A directory without a log gives the zero Report.
func Check(fsys vfs.FS, dir string) (Report, error) {
	w := &WAL{fs: fsys, dir: dir}
	l, err := list(fsys, dir)
	if err != nil {
		return Report{}, err
	}
	var report Report
	if n := len(l.segments); n > 0 {
		r, err := (&scanner{fs: fsys, dir: dir}).open(l.segments[n-1])
		if err != nil {
			return Report{}, err
		}
		w.clusterID, w.nodeID = r.header.clusterID, r.header.nodeID
		if err := r.file.Close(); err != nil {
			return Report{}, diskError("closing", r.path, err)
		}
		report = Report{ClusterID: w.clusterID, NodeID: w.nodeID}
	}
	found, err := w.read()
	if err != nil || found.image == nil {
		return report, err
	}
	shape := found.replay.shape
	report.Term, report.VotedFor, report.LastIndex, report.Commit = shape.term, shape.votedFor, shape.last, shape.commit
	report.Snapshot = core.Snapshot{Index: found.current.index, Term: found.current.term, UID: found.uid}
	report.Batches, report.Segments, report.Cut = found.image.at.number, len(found.image.segments), found.image.cut
	report.PassedOver = found.passedError()
	return report, nil
}

// SnapshotInfo is a snapshot file as InspectSnapshots shows it.
type SnapshotInfo struct {
	File  string
	Index uint64 // as the name says
	Term  uint64
	Bytes int64 // length of the file
	Err   error // what is wrong with it, nil if it is whole; a *CorruptionError, *IdentityError or *VersionError
}

// InspectSnapshots reads every snapshot in the directory of a log, in the order
// of their indexes, and calls fn for it, whole or not. clusterID names the
// cluster that they have to belong to; "" accepts any. It changes nothing.
func InspectSnapshots(fsys vfs.FS, dir, clusterID string, fn func(SnapshotInfo) error) error {
	l, err := list(fsys, dir)
	if err != nil {
		return err
	}
	w := &WAL{fs: fsys, dir: dir, clusterID: clusterID}
	for _, p := range l.snapshots {
		v := w.look(p, true)
		if v.err != nil && !isRefusal(v.err) {
			return v.err
		}
		if err := fn(SnapshotInfo{File: w.snapshotPath(p), Index: p.index, Term: p.term, Bytes: v.size, Err: v.err}); err != nil {
			return err
		}
	}
	return nil
}
