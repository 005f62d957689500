package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"raftkv/raft/core"
)

// chunkBuffer is the size of the read buffer of a connection that brings a snapshot:
// room for the longest chunk and the beginning of the next.
const chunkBuffer = 2 * snapshotChunkBytes

// snapshotReceiver receives a snapshot on a connection that a peer dialled. It
// belongs to one goroutine; only fail may be called by any.
type snapshotReceiver struct {
	*stranger
	t      *Transport
	peer   *peer
	ctx    context.Context // ends when the transfer is given up; its cause says why
	cancel context.CancelCauseFunc
}

// receiveSnapshot is the goroutine of an accepted connection for a snapshot,
// from its hello to its end. There is one such connection per peer: a newer one
// ends the older.
func (t *Transport) receiveSnapshot(s *stranger, p *peer) {
	r := &snapshotReceiver{stranger: s, t: t, peer: p}
	r.ctx, r.cancel = context.WithCancelCause(t.ctx)
	if !t.track(s.conn, r.fail) {
		return
	}
	t.mu.Lock()
	old, stands := p.receiving, p.stands(s.use)
	if stands {
		p.receiving = r
	}
	t.mu.Unlock()
	if !stands { // a later process of the peer was met meanwhile
		r.fail(errReplaced)
		t.forget(s.conn)
		return
	}
	if old != nil {
		old.fail(errReplaced)
	}
	offer, err := r.run()
	if cause := context.Cause(r.ctx); err != nil && cause != nil {
		err = cause
	}
	r.account(offer, err)
	r.fail(err)
	t.mu.Lock()
	if p.receiving == r {
		p.receiving = nil
	}
	if t.newest == r {
		t.newest = nil
	}
	t.mu.Unlock()
	t.forget(s.conn)
}

// fail gives the transfer up. No lock may be held.
func (r *snapshotReceiver) fail(cause error) {
	r.cancel(cause)
	r.conn.Close()
}

// run serves one offer, from our hello to the answer.
func (r *snapshotReceiver) run() (*snapshotOffer, error) {
	if err := r.greetBack(r.t.ownHello(r.peer.id)); err != nil {
		return nil, err
	}
	offer, err := r.hearOffer()
	if err != nil {
		return nil, err
	}
	if r.t.config.Snapshots == nil {
		return offer, r.giveUp(failureUnwanted, errors.New("this server takes no snapshots"))
	}
	if err := r.take(offer); err != nil {
		return offer, err
	}
	if r.t.ctx.Err() != nil {
		return offer, errTransportClosed
	}
	// If the peer has gone meanwhile, the snapshot is still good.
	return offer, r.handOver(offer)
}

// hearOffer reads the offer, which must follow the hello at once.
func (r *snapshotReceiver) hearOffer() (*snapshotOffer, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(r.t.config.HelloTimeout)); err != nil {
		return nil, err
	}
	_, body, err := r.frames.next(offerFrames)
	if err != nil {
		return nil, err
	}
	offer, err := r.decoder.offer(body)
	if err != nil {
		return nil, err
	}
	offer.UID = append(packedBytes(nil), offer.UID...) // the body is the buffer's
	offer.ID = append(packedBytes(nil), offer.ID...)
	return &offer, nil
}

// take receives the offered snapshot. Only one is received at a time: the newest
// offer, from any peer, ends the transfer before it. So a peer that stalls in the
// middle of a transfer does not hold up the others.
func (r *snapshotReceiver) take(offer *snapshotOffer) error {
	r.t.mu.Lock()
	old := r.t.newest
	r.t.newest = r
	r.t.mu.Unlock()
	if old != nil {
		old.fail(errNewerSnapshot)
	}
	select {
	case r.t.turn <- struct{}{}:
		defer func() { <-r.t.turn }()
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	return r.receive(offer)
}

// receive takes the chunks of the offered snapshot.
func (r *snapshotReceiver) receive(offer *snapshotOffer) error {
	snapshots, size := r.t.config.Snapshots, int64(offer.Size)
	have, err := snapshots.BeginReceive(offer.snapshot(), size, [snapshotIDBytes]byte(offer.ID))
	if err != nil {
		return r.giveUp(failureStorage, err)
	}
	if have < 0 || have > size {
		panic(fmt.Sprintf("wire: Snapshots claims to have %d bytes of a snapshot of %d", have, size))
	}
	reply := r.encoder.frame(nil, kindSnapshotOfferReply, &snapshotOfferReply{uint64(have)}, headerBytes+maxSmallBody)
	if err := writeAll(r.conn, reply, r.t.config.StallTimeout); err != nil {
		return err
	}
	r.frames.r = bufio.NewReaderSize(r.frames.r, chunkBuffer)
	for have < size {
		if err := r.conn.SetReadDeadline(time.Now().Add(r.t.config.StallTimeout)); err != nil {
			return err
		}
		_, body, err := r.frames.next(chunkFrames)
		if err != nil {
			return err
		}
		chunk, err := r.decoder.chunk(body)
		if err != nil {
			return err
		}
		if chunk.Offset != uint64(have) || int64(len(chunk.Data)) > size-have {
			return malformed("a chunk of %d bytes at %d where %d of %d bytes are there", len(chunk.Data), chunk.Offset, have, size)
		}
		if err := snapshots.ReceiveAt(chunk.Data, have); err != nil {
			return r.giveUp(failureStorage, err)
		}
		have += int64(len(chunk.Data))
		r.peer.snapshotBytesReceived.Add(uint64(len(chunk.Data)))
		r.peer.lastContact.Store(time.Now().UnixNano())
	}
	if err := snapshots.FinishReceive(); err != nil {
		return r.giveUp(failureStorage, err)
	}
	return nil
}

func (o *snapshotOffer) snapshot() core.Snapshot {
	return core.Snapshot{Index: o.SnapshotIndex, Term: o.SnapshotTerm, UID: core.UID(o.UID)}
}

// handOver gives the request to the Handler, after its snapshot has become durable,
// and sends the answer back.
func (r *snapshotReceiver) handOver(offer *snapshotOffer) error {
	answers := make(chan core.Reply, 1)
	var given atomic.Bool
	answer := func(reply core.Reply) {
		if k := replyKind(reply); k != kindInstallSnapshotReply && k != kindNoReply {
			panic(fmt.Sprintf("wire: a %T is not the answer to an InstallSnapshot", reply))
		}
		if given.Swap(true) {
			panic(fmt.Sprintf("wire: an InstallSnapshot of %q was answered twice", r.peer.id))
		}
		answers <- reply
	}
	if r.t.muted.Load() {
		return writeAll(r.conn, r.encoder.reply(nil, nil), r.t.config.StallTimeout)
	}
	snapshot := offer.snapshot()
	var err error
	if snapshot.Members, err = r.t.config.Snapshots.SnapshotMembers(snapshot); err != nil {
		return r.giveUp(failureStorage, err)
	}
	r.t.handler.Receive(r.peer.id, &core.InstallSnapshot{Term: offer.Term, LeaderID: offer.LeaderID, Snapshot: snapshot}, answer)
	select {
	case reply := <-answers:
		if r.t.muted.Load() {
			reply = nil
		}
		return writeAll(r.conn, r.encoder.reply(nil, reply), r.t.config.StallTimeout)
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// refusedSnapshotError means that this server did not take a snapshot whose frames
// arrived as they should.
type refusedSnapshotError struct{ cause error }

func (e *refusedSnapshotError) Error() string { return e.cause.Error() }
func (e *refusedSnapshotError) Unwrap() error { return e.cause }

// giveUp tells the peer that the transfer is given up, and returns a
// *refusedSnapshotError.
func (r *snapshotReceiver) giveUp(reason failure, cause error) error {
	// The cause is what matters. If the peer cannot be told, that is not worth an error
	// of its own.
	frame := r.encoder.frame(nil, kindSnapshotFailed, &snapshotFailed{reason}, headerBytes+maxSmallBody)
	_ = writeAll(r.conn, frame, time.Second)
	return &refusedSnapshotError{cause}
}

// account counts and logs how the transfer ended.
func (r *snapshotReceiver) account(offer *snapshotOffer, err error) {
	p := r.peer
	about := []any{"peer", string(p.id)}
	if offer != nil {
		about = append(about, "index", offer.SnapshotIndex, "term", offer.SnapshotTerm, "bytes", offer.Size)
	}
	if err == nil {
		p.snapshotsReceived.Add(1)
		r.t.log.note(slog.LevelInfo, "received snapshot "+string(p.id), "a snapshot was received", about...)
		return
	}
	p.snapshotsFailed.Add(1)
	about = append(about, "cause", err.Error())
	var refused *refusedSnapshotError
	switch {
	case errors.Is(err, errTransportClosed), errors.Is(err, context.Canceled):
	case errors.As(err, &refused):
		r.t.log.note(slog.LevelError, "refused snapshot "+string(p.id), "a snapshot from a peer was not taken", about...)
	case errors.Is(err, errMalformed):
		p.malformed.Add(1)
		r.t.log.note(slog.LevelWarn, "malformed snapshot "+string(p.id), "a snapshot from a peer was damaged on its way", about...)
	default:
		r.t.log.note(slog.LevelInfo, "cut snapshot "+string(p.id), "a snapshot did not arrive whole; the received part is kept for the next attempt", about...)
	}
}
