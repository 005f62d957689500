package main

import (
	"crypto/sha256"
	"errors"
	"io"

	"raftkv/raft/core"
	"raftkv/raft/wal"
)

// transfer is a snapshot on its way to another server, in pieces: an offer, then
// one chunk after the other from where the receiver is, then the request itself.
// Each message may be lost, late, or come while another leader's transfer is
// under way; whatever comes of it, the receiver's disk decides.
type transfer struct {
	rpc  *rpc
	data *io.SectionReader
	id   [32]byte
}

// transfer begins to send a snapshot, unless it is gone.
func (n *network) transfer(r *rpc) {
	s := r.call.Request.(*core.InstallSnapshot).Snapshot
	data, file, err := r.from.disk.wal.SnapshotFile(s)
	if err != nil {
		n.w.counts.TransfersGone++
		if damaged, ok := errors.AsType[*wal.DamagedSnapshotError](err); ok {
			r.from.snapshotLost(damaged.Snapshot.Index, r.life)
		}
		n.lose((*loss)(r))
		return
	}
	r.file = file
	t := &transfer{rpc: r, data: data}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(data, 0, data.Size())); err != nil {
		n.w.fail("disk", "%s cannot read its snapshot at %d: %v", r.from.id, s.Index, err)
	}
	h.Sum(t.id[:0])
	n.w.counts.TransfersBegun++
	r.to.open(r)
	t.to(t.offer)
}

// snapshotLost tells consensus that the file of a snapshot is damaged, as a node
// does. It comes in a turn of its own: the damage is found in the middle of one.
func (s *server) snapshotLost(index uint64, life int) {
	s.w.counts.SnapshotsLost++
	s.w.after(0, then(func() {
		if s.alive(life) {
			s.input(func() {
				s.replica.SnapshotLost(index)
				s.turn()
			})
		}
	}))
}

// to carries a step of the transfer to the receiver, back one to the sender. A
// step that does not arrive ends the transfer.
func (t *transfer) to(step func()) {
	r := t.rpc
	life := r.to.life
	r.n.carry(r.from.index, r.to.index, then(func() {
		if !r.to.alive(life) || !r.n.meets(r.from, r.to, r.life) {
			r.n.lose((*loss)(r))
			return
		}
		r.to.input(step)
	}), (*loss)(r))
}

func (t *transfer) back(step func()) {
	r := t.rpc
	r.n.carry(r.to.index, r.from.index, then(func() {
		if r.from.alive(r.life) && !r.over {
			step()
		}
	}), (*loss)(r))
}

// offer asks the receiver how much of the snapshot it has.
func (t *transfer) offer() {
	r, w := t.rpc, t.rpc.n.w
	s := r.call.Request.(*core.InstallSnapshot).Snapshot
	have := int64(0)
	if !r.to.disk.receive(func() (err error) {
		have, err = r.to.disk.wal.BeginReceive(s, t.data.Size(), t.id)
		return err
	}) {
		t.refused()
		return
	}
	w.event(r.to.index, evOffered, uint64(r.from.index+1), s.Index, s.Term, uint64(t.data.Size()), uint64(have))
	switch {
	case have == t.data.Size():
		w.counts.TransfersNeedless++
	case have > 0:
		w.counts.TransfersResumed++
	}
	r.to.disk.incoming = t
	t.back(func() { t.next(have) })
}

// next sends the chunk at an offset, or the request behind the last one.
func (t *transfer) next(offset int64) {
	r, w := t.rpc, t.rpc.n.w
	if offset >= t.data.Size() {
		t.to(t.finish)
		return
	}
	chunk := make([]byte, min(int64(max(1, w.options.Chunk)), t.data.Size()-offset))
	if _, err := t.data.ReadAt(chunk, offset); err != nil {
		w.fail("disk", "%s cannot read its snapshot: %v", r.from.id, err)
	}
	t.to(func() { t.chunk(chunk, offset) })
	if !w.healed && r.n.dice.chance(w.options.Duplicate/4) {
		t.to(func() { t.chunk(chunk, offset) })
	}
}

// chunk is the arrival of a chunk.
func (t *transfer) chunk(chunk []byte, offset int64) {
	r, w := t.rpc, t.rpc.n.w
	if r.to.disk.incoming != t {
		w.counts.InterleavedChunks++
	}
	w.event(r.to.index, evChunk, uint64(r.from.index+1), uint64(len(chunk)), uint64(offset))
	if !r.to.disk.receive(func() error { return r.to.disk.wal.ReceiveAt(chunk, offset) }) {
		t.refused()
		return
	}
	t.back(func() { t.next(offset + int64(len(chunk))) })
}

// finish is the arrival of the request behind the last chunk.
func (t *transfer) finish() {
	r, w := t.rpc, t.rpc.n.w
	if !r.to.disk.receive(r.to.disk.wal.FinishReceive) {
		t.refused()
		return
	}
	s := r.call.Request.(*core.InstallSnapshot).Snapshot
	_, file, err := r.to.disk.wal.SnapshotFile(s)
	switch {
	case err == nil:
		file.Close()
		if carried, err := r.to.disk.wal.SnapshotMembers(s); err == nil && carried.Index != s.Members.Index {
			w.fail("disk", "%s received the snapshot at %d with the configuration of entry %d; %s sent the one of entry %d", r.to.id, s.Index, carried.Index, r.from.id, s.Members.Index)
		}
	case s.Index > r.to.replica.Observe().CommitIndex:
		t.refused() // another transfer took this one's place meanwhile
		return
	}
	w.counts.TransfersDone++
	w.event(r.to.index, evReceived, uint64(r.from.index+1), s.Index, s.Term)
	r.deliver()
}

// refused is a transfer that the receiver's disk did not take.
func (t *transfer) refused() {
	r, w := t.rpc, t.rpc.n.w
	w.counts.TransfersRefused++
	w.event(r.to.index, evBroken, r.call.Request.(*core.InstallSnapshot).Snapshot.Index, uint64(r.from.index+1))
	if r.from.alive(r.life) {
		r.n.carry(r.to.index, r.from.index, (*loss)(r), (*loss)(r))
	}
}
