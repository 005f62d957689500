package core

// A snapshot's file may be found damaged while the server runs, mostly when a
// follower is to get it. The log goes on as before: only the file is missing. But
// it can be sent to nobody, so the service is asked for another snapshot, which
// may even be of the same index.

// SnapshotLost tells that the file of the snapshot at index is damaged or missing.
// It is ignored unless that is the newest snapshot.
func (r *Raft) SnapshotLost(index uint64) {
	if index != 0 && index == r.log.snapshot.Index {
		r.lostSnapshot = index
	}
}

// lostNewest reports whether the newest snapshot has no file.
func (r *Raft) lostNewest() bool {
	return r.lostSnapshot != 0 && r.lostSnapshot == r.log.snapshot.Index
}
