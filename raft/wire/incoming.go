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

// chunkBuffer is the read buffer of a connection that brings a snapshot: the
// longest chunk, and the beginning of the next.
const chunkBuffer = 2 * snapshotChunkBytes

// incoming is a connection on which a peer sends a snapshot. It belongs to one
// goroutine, apart from fail.
type incoming struct {
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
	in := &incoming{stranger: s, t: t, peer: p}
	in.ctx, in.cancel = context.WithCancelCause(t.ctx)
	if !t.track(s.conn, in.fail) {
		return
	}
	t.mu.Lock()
	old, stands := p.incoming, p.stands(s.use)
	if stands {
		p.incoming = in
	}
	t.mu.Unlock()
	if !stands { // a later process of the peer was met meanwhile
		in.fail(errReplaced)
		t.forget(s.conn)
		return
	}
	if old != nil {
		old.fail(errReplaced)
	}
	offer, err := in.run()
	if cause := context.Cause(in.ctx); err != nil && cause != nil {
		err = cause
	}
	in.account(offer, err)
	in.fail(err)
	t.mu.Lock()
	if p.incoming == in {
		p.incoming = nil
	}
	if t.newest == in {
		t.newest = nil
	}
	t.mu.Unlock()
	t.forget(s.conn)
}

// fail gives the transfer up. No lock may be held.
func (in *incoming) fail(cause error) {
	in.cancel(cause)
	in.conn.Close()
}

// run takes one offer to its end.
func (in *incoming) run() (*snapshotOffer, error) {
	if err := in.greetBack(in.t.ownHello(in.peer.id)); err != nil {
		return nil, err
	}
	offer, err := in.hearOffer()
	if err != nil {
		return nil, err
	}
	if in.t.config.Snapshots == nil {
		return offer, in.giveUp(failureUnwanted, errors.New("this server takes no snapshots"))
	}
	if err := in.take(offer); err != nil {
		return offer, err
	}
	if in.t.ctx.Err() != nil {
		return offer, errTransportClosed
	}
	// Should the peer have gone meanwhile, the snapshot is as good as before.
	return offer, in.handOver(offer)
}

// hearOffer reads the offer, which follows the hello at once.
func (in *incoming) hearOffer() (*snapshotOffer, error) {
	if err := in.conn.SetReadDeadline(time.Now().Add(in.t.config.HelloTimeout)); err != nil {
		return nil, err
	}
	_, body, err := in.frames.next(offerFrames)
	if err != nil {
		return nil, err
	}
	offer, err := in.decoder.offer(body)
	if err != nil {
		return nil, err
	}
	offer.UID = append(packedBytes(nil), offer.UID...) // the body is the buffer's
	offer.ID = append(packedBytes(nil), offer.ID...)
	return &offer, nil
}

// take receives the offered snapshot, one at a time: the newest offer, whoever
// makes it, ends the transfer before it. So a peer that stands still in the
// middle of one holds nobody up.
func (in *incoming) take(offer *snapshotOffer) error {
	in.t.mu.Lock()
	old := in.t.newest
	in.t.newest = in
	in.t.mu.Unlock()
	if old != nil {
		old.fail(errNewerSnapshot)
	}
	select {
	case in.t.turn <- struct{}{}:
		defer func() { <-in.t.turn }()
	case <-in.ctx.Done():
		return in.ctx.Err()
	}
	if in.ctx.Err() != nil {
		return in.ctx.Err()
	}
	return in.receive(offer)
}

// receive takes the chunks of the offered snapshot.
func (in *incoming) receive(offer *snapshotOffer) error {
	snapshots, size := in.t.config.Snapshots, int64(offer.Size)
	have, err := snapshots.BeginReceive(offer.snapshot(), size, [snapshotIDBytes]byte(offer.ID))
	if err != nil {
		return in.giveUp(failureStorage, err)
	}
	if have < 0 || have > size {
		panic(fmt.Sprintf("wire: Snapshots claims to have %d bytes of a snapshot of %d", have, size))
	}
	reply := in.encoder.frame(nil, kindSnapshotOfferReply, &snapshotOfferReply{uint64(have)}, headerBytes+maxSmallBody)
	if err := writeAll(in.conn, reply, in.t.config.StallTimeout); err != nil {
		return err
	}
	in.frames.r = bufio.NewReaderSize(in.frames.r, chunkBuffer)
	for have < size {
		if err := in.conn.SetReadDeadline(time.Now().Add(in.t.config.StallTimeout)); err != nil {
			return err
		}
		_, body, err := in.frames.next(chunkFrames)
		if err != nil {
			return err
		}
		chunk, err := in.decoder.chunk(body)
		if err != nil {
			return err
		}
		if chunk.Offset != uint64(have) || int64(len(chunk.Data)) > size-have {
			return malformed("a chunk of %d bytes at %d where %d of %d bytes are there", len(chunk.Data), chunk.Offset, have, size)
		}
		if err := snapshots.ReceiveAt(chunk.Data, have); err != nil {
			return in.giveUp(failureStorage, err)
		}
		have += int64(len(chunk.Data))
		in.peer.snapshotBytesReceived.Add(uint64(len(chunk.Data)))
		in.peer.lastContact.Store(time.Now().UnixNano())
	}
	if err := snapshots.FinishReceive(); err != nil {
		return in.giveUp(failureStorage, err)
	}
	return nil
}

func (o *snapshotOffer) snapshot() core.Snapshot {
	return core.Snapshot{Index: o.SnapshotIndex, Term: o.SnapshotTerm, UID: core.UID(o.UID)}
}

// handOver gives the request to the Handler, now that its snapshot is here, and
// sends the answer back.
func (in *incoming) handOver(offer *snapshotOffer) error {
	answers := make(chan core.Reply, 1)
	var given atomic.Bool
	answer := func(reply core.Reply) {
		if k := replyKind(reply); k != kindInstallSnapshotReply && k != kindNoReply {
			panic(fmt.Sprintf("wire: a %T is not the answer to an InstallSnapshot", reply))
		}
		if given.Swap(true) {
			panic(fmt.Sprintf("wire: an InstallSnapshot of %q was answered twice", in.peer.id))
		}
		answers <- reply
	}
	if in.t.muted.Load() {
		return writeAll(in.conn, in.encoder.reply(nil, nil), in.t.config.StallTimeout)
	}
	in.t.handler.Receive(in.peer.id, &core.InstallSnapshot{Term: offer.Term, LeaderID: offer.LeaderID, Snapshot: offer.snapshot()}, answer)
	select {
	case reply := <-answers:
		if in.t.muted.Load() {
			reply = nil
		}
		return writeAll(in.conn, in.encoder.reply(nil, reply), in.t.config.StallTimeout)
	case <-in.ctx.Done():
		return in.ctx.Err()
	}
}

// refusedSnapshotError says why this server did not take a snapshot that
// arrived as it should.
type refusedSnapshotError struct{ cause error }

func (e *refusedSnapshotError) Error() string { return e.cause.Error() }
func (e *refusedSnapshotError) Unwrap() error { return e.cause }

// giveUp tells the peer that we do, and returns a *refusedSnapshotError.
func (in *incoming) giveUp(reason failure, cause error) error {
	// The cause is what matters; that it could not be told is not news.
	frame := in.encoder.frame(nil, kindSnapshotFailed, &snapshotFailed{reason}, headerBytes+maxSmallBody)
	_ = writeAll(in.conn, frame, time.Second)
	return &refusedSnapshotError{cause}
}

// account counts and logs how the transfer ended.
func (in *incoming) account(offer *snapshotOffer, err error) {
	p := in.peer
	about := []any{"peer", string(p.id)}
	if offer != nil {
		about = append(about, "index", offer.SnapshotIndex, "term", offer.SnapshotTerm, "bytes", offer.Size)
	}
	if err == nil {
		p.snapshotsReceived.Add(1)
		in.t.journal.note(slog.LevelInfo, "received snapshot "+string(p.id), "a snapshot was received", about...)
		return
	}
	p.snapshotsFailed.Add(1)
	about = append(about, "cause", err.Error())
	var refused *refusedSnapshotError
	switch {
	case errors.Is(err, errTransportClosed), errors.Is(err, context.Canceled):
	case errors.As(err, &refused):
		in.t.journal.note(slog.LevelError, "refused snapshot "+string(p.id), "a snapshot from a peer was not taken", about...)
	case errors.Is(err, errMalformed):
		p.malformed.Add(1)
		in.t.journal.note(slog.LevelWarn, "malformed snapshot "+string(p.id), "a snapshot from a peer was damaged on its way", about...)
	default:
		in.t.journal.note(slog.LevelInfo, "cut snapshot "+string(p.id), "a snapshot did not arrive whole; what there is of it is kept for the next attempt", about...)
	}
}
