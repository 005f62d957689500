package core

// This file decides what the log holds in memory. The disk has all of it since the
// newest snapshot, which may be as much as the state itself. With
// Config.TrailingBytes memory holds only what may still be needed:
//
//   - what the state machine has not applied, and TrailingBytes behind that;
//   - what the disk does not have yet, so that the log on it never has a gap;
//   - what a follower that answers still lacks, or will lack when it has the
//     snapshot that is being sent to it. Excepted is what the snapshot before the
//     newest stands for, and more than Config.FollowerBytes of what is applied: so
//     slow a follower could not keep up with the log. What followed a snapshot that
//     it was sent does not count in that;
//   - what follows a snapshot that is being taken, if a follower waits for it.
//
// A follower that lacks more gets a snapshot. If the newest is too old for what
// memory holds to follow it, the service is asked for one; see
// Status.SnapshotWanted.

// forget drops from memory what nobody needs.
func (r *Raft) forget() {
	r.appliedBytes = 0
	keep := r.keepFrom()
	r.unappliedBytes -= r.log.sizeOf(r.lastApplied+1, min(keep-1, r.commitIndex))
	r.log.forget(keep)
}

// keepFrom returns the first entry that must stay in memory.
func (r *Raft) keepFrom() uint64 {
	keep := r.log.snapshot.Index + 1
	if r.config.TrailingBytes > 0 {
		keep = r.log.tail(r.lastApplied, r.config.TrailingBytes)
		if r.role == Leader {
			keep = min(keep, max(r.firstMissing(), r.previous+1))
		}
		if r.taking != 0 && r.snapshotWanted() {
			keep = min(keep, r.taking+1)
		}
	}
	if r.dirty.from != 0 {
		keep = min(keep, r.dirty.from)
	}
	return keep
}

// firstMissing returns the first entry that some responsive follower still lacks, if the
// log can still give it to that follower.
func (r *Raft) firstMissing() uint64 {
	first := r.log.lastIndex() + 1
	within := r.log.firstIndex() // what lies before it is more than is kept for a slow follower
	if r.log.size > r.config.FollowerBytes {
		within = r.log.tail(r.lastApplied, r.config.FollowerBytes)
	}
	for p := range r.followers {
		if p.silent && p.installing == 0 {
			continue
		}
		next := max(p.matchIndex, p.installing) + 1
		if next < r.log.firstIndex() { // it will get a snapshot: the newest, if that reaches
			if !r.snapshotReaches() {
				continue
			}
			next = r.log.snapshot.Index + 1
		} else if p.installing == 0 && max(next, p.renewed+1) < within {
			continue
		}
		first = min(first, next)
	}
	return first
}

// Taking tells the server that the service is taking a snapshot at index, or with 0
// that it no longer is: then Compact follows, or nothing. If a follower waits for the
// snapshot, what follows it stays in memory meanwhile, however long that takes.
// Otherwise the snapshot would be too old again by the time it is there.
func (r *Raft) Taking(index uint64) { r.taking = index }

// noteApplied counts what was applied, and looks from time to time for what can
// be forgotten.
func (r *Raft) noteApplied(from, to uint64) {
	size := r.log.sizeOf(from, to)
	r.unappliedBytes -= size
	if r.config.TrailingBytes == 0 {
		return
	}
	r.appliedBytes += size
	if r.appliedBytes >= r.config.TrailingBytes {
		r.forget()
	}
}

// snapshotWanted reports whether a follower that answers needs a newer snapshot
// than there is: what follows the newest has been forgotten, or its file is lost.
func (r *Raft) snapshotWanted() bool {
	if r.role != Leader || r.snapshotReaches() {
		return false
	}
	for p := range r.followers {
		if !p.silent && p.nextIndex < r.log.firstIndex() {
			return true
		}
	}
	return false
}

// snapshotReaches reports whether the newest snapshot can be sent and the log can
// follow it.
func (r *Raft) snapshotReaches() bool {
	return r.log.snapshot.Index >= r.log.base.Index && !r.lostNewest()
}

// Term returns the term of the entry at index; false if the log does not reach
// there or memory has forgotten it.
func (r *Raft) Term(index uint64) (uint64, bool) { return r.log.term(index) }
