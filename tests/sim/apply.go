package main

import (
	"errors"
	"io/fs"

	"raftkv/raft/core"
)

// On a real node the log hands committed entries over in a channel, and the state
// machine takes them out when it gets to it. The log hears Applied when the last
// message of a batch is in the channel, which is long before the store shows it:
// by then the log may have given the entries up, another snapshot may have come
// from the leader, and the one before it may be gone from the disk.

// channelRoom is how many messages the channel holds, as a node's applyCh does.
const channelRoom = 256

// maxApplied is how many commands the state machine applies at a time.
const maxApplied = 256

// channel is what was delivered to a state machine and not applied yet.
type channel struct {
	queue    []*core.Batch // oldest first; the first may be applied in part
	taken    int           // entries of queue[0] that are applied
	queued   int           // messages in queue that are not applied
	handing  *core.Batch   // the log has not heard yet that this one was delivered
	telling  bool          // it is about to hear that
	working  bool          // the state machine is busy with the first batch
	skipping bool          // a snapshot was gone: nothing is applied before the next one
}

// apply delivers a batch into the channel.
func (v *service) apply(batch *core.Batch) {
	v.queue = append(v.queue, batch)
	v.queued += messages(batch)
	v.handing = batch
	v.delivered()
	v.work()
}

// messages is how many places of the channel a batch takes.
func messages(b *core.Batch) int {
	if b.Snapshot != nil {
		return 1
	}
	return len(b.Entries)
}

// delivered tells the log, soon, that the whole batch is in the channel, if it
// is.
func (v *service) delivered() {
	s, w, life := v.s, v.s.w, v.s.life
	if v.handing == nil || v.telling || v.queued > channelRoom {
		return
	}
	v.telling = true
	w.after(w.serverDice.between(0, 50), then(func() {
		if !s.alive(life) {
			return
		}
		s.input(func() {
			last := v.handing.Last()
			v.handing, v.telling = nil, false
			if last > v.store.AppliedIndex() {
				w.counts.AppliedAhead++
			}
			s.replica.Applied(last)
			s.turn()
		})
	}))
}

// slowRead is how long a large state takes to be read, at most.
const slowRead = 60 * second

// work lets the state machine go on with the channel's first batch, unless it
// stands still or has nothing to do.
func (v *service) work() {
	s, w, life := v.s, v.s.w, v.s.life
	if v.working || len(v.queue) == 0 || s.stalls > 0 {
		return
	}
	v.working = true
	delay := w.serverDice.between(0, w.options.ApplyDelay)
	if v.queue[0].Snapshot != nil && w.options.SlowRead && !w.healed && w.serverDice.chance(0.5) {
		delay += w.serverDice.between(0, min(slowRead, w.options.Faulty-w.now))
	}
	w.after(delay, then(func() {
		if !s.alive(life) {
			return
		}
		s.input(func() {
			v.working = false
			if s.stalls > 0 {
				return
			}
			v.applyNext()
			if s.up {
				v.delivered()
				v.work()
			}
		})
	}))
}

// stall and release make the state machine stand still for a while.
func (s *server) stall() { s.stalls++ }

func (s *server) release() {
	s.stalls--
	if s.stalls == 0 && s.up {
		s.input(s.work)
	}
}

// applyNext applies what is in the channel: a snapshot, or entries up to the
// next snapshot.
func (v *service) applyNext() {
	s, w := v.s, v.s.w
	if snapshot := v.queue[0].Snapshot; snapshot != nil {
		v.pop()
		v.queued--
		if snapshot.Index <= v.store.AppliedIndex() {
			w.fail("state machine", "%s was given a snapshot at %d and stands at %d", s.id, snapshot.Index, v.store.AppliedIndex())
		}
		v.install(snapshot)
	} else {
		v.applyEntries()
	}
	if !s.up {
		return
	}
	w.trace.mix(uint64(v.store.Digest()))
	w.event(s.index, evApplied, v.store.AppliedIndex(), v.store.Revision())
	v.compact()
	v.serveParked()
	s.turn()
}

// applyEntries applies as many entries as are applied at a time.
func (v *service) applyEntries() {
	for room := maxApplied; room > 0 && len(v.queue) > 0 && v.queue[0].Snapshot == nil; {
		entries := v.queue[0].Entries[v.taken:]
		entries = entries[:min(len(entries), room)]
		room -= len(entries)
		v.queued -= len(entries)
		if v.taken += len(entries); v.taken == len(v.queue[0].Entries) {
			v.pop()
		}
		if v.skipping {
			v.s.w.counts.SkippedEntries += len(entries)
			continue
		}
		for _, e := range entries {
			v.applyEntry(e)
		}
	}
}

// pop takes the first batch out of the channel.
func (v *service) pop() {
	v.queue[0] = nil
	v.queue, v.taken = v.queue[1:], 0
}

// install takes over the state of another server's snapshot. If it is gone, a
// newer one came since and follows in the channel. What stands between the two
// follows the state that nobody can read any more, and is skipped with it.
func (v *service) install(snapshot *core.Snapshot) {
	s, w := v.s, v.s.w
	if !w.options.Labs {
		_, file, err := s.disk.wal.SnapshotFile(*snapshot)
		if _, known := s.replica.Term(snapshot.Index); errors.Is(err, fs.ErrNotExist) && !known {
			w.counts.InstallsGone++
			v.skipping = true
			return
		}
		if err == nil {
			file.Close()
		}
	}
	if s.disk.rotten {
		if _, err := v.open(snapshot); err != nil {
			w.counts.DamagedInstalls++
			s.disk.failStop()
			return
		}
	}
	w.counts.Installs++
	v.skipping = false
	before := v.store.Level()
	v.restore(snapshot)
	if v.store.Level() > before {
		w.counts.LevelsInstalled++
	}
	w.event(s.index, evInstalled, snapshot.Index)
}
