package wire

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"raftkv/raft/core"
)

// Between a transfer that failed and the next one to the same peer there is a
// pause, which doubles unless some of the snapshot got across. The core asks
// again with its next beat, and a peer whose disk is full stays so for a while.
const (
	transferPauseMin = 100 * time.Millisecond
	transferPauseMax = 30 * time.Second
)

// slowestCheck is how fast the slowest receiver checks and syncs what it has
// received, in bytes per second. Until then it has nothing to say.
const slowestCheck = 4 << 20

// outgoing is a snapshot on its way to a peer, and the call that waits for it.
type outgoing struct {
	t       *Transport
	peer    *peer
	call    core.Call
	request *core.InstallSnapshot
	done    func(core.Call, core.Reply)

	ctx    context.Context // ends when the transfer is given up; its cause says why
	cancel context.CancelCauseFunc

	mu   sync.Mutex
	conn net.Conn // nil until it is dialled
	sent bool     // of the goroutine that sends: some of the snapshot got across
}

// sendSnapshot lets a snapshot take the place of the one on its way to the same
// peer, or starts a goroutine if there is none.
func (t *Transport) sendSnapshot(p *peer, call core.Call, m *core.InstallSnapshot, done func(core.Call, core.Reply)) {
	if len(m.Snapshot.Data) > 0 {
		panic("wire: a snapshot that is in memory does not travel; Config.Snapshots must have it")
	}
	if t.config.Snapshots == nil || p.out.Load() == nil {
		p.lose(call, done)
		return
	}
	o := &outgoing{t: t, peer: p, call: call, request: m, done: done}
	o.ctx, o.cancel = context.WithCancelCause(t.ctx)

	var late, waiting, current *outgoing
	t.mu.Lock()
	switch current = p.sending; {
	case t.closed:
		late = o
	case current == nil:
		p.sending = o
		t.work.Go(func() { t.sendSnapshots(o) })
	default:
		waiting, p.next = p.next, o
	}
	t.mu.Unlock()
	if current != nil {
		current.fail(errNewerSnapshot)
	}
	for _, lost := range []*outgoing{late, waiting} {
		if lost != nil {
			lost.cancel(errNewerSnapshot)
			p.lose(lost.call, lost.done)
		}
	}
}

// sendSnapshots is the goroutine that sends snapshots to one peer, one after
// the other while there are any.
func (t *Transport) sendSnapshots(o *outgoing) {
	for o != nil {
		reply, err := o.run()
		if cause := context.Cause(o.ctx); err != nil && cause != nil {
			err = cause
		}
		o.cancel(nil)
		o.account(reply, err)
		p := o.peer
		if reply != nil {
			o.done(o.call, reply)
		} else {
			p.lose(o.call, o.done)
		}
		t.mu.Lock()
		p.sending, p.next = p.next, nil
		o = p.sending
		t.mu.Unlock()
	}
}

// fail gives the transfer up. No lock may be held.
func (o *outgoing) fail(cause error) {
	o.cancel(cause)
	o.mu.Lock()
	conn := o.conn
	o.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// run sends the snapshot and returns the answer of the peer's Handler, which is
// nil if it gave none.
func (o *outgoing) run() (core.Reply, error) {
	if err := o.rest(); err != nil {
		return nil, err
	}
	file, closer, err := o.t.config.Snapshots.SnapshotFile(o.request.Snapshot)
	if err != nil {
		return nil, fmt.Errorf("opening the snapshot: %w", err)
	}
	defer closer.Close()
	s, err := o.connect()
	if err != nil {
		return nil, err
	}
	defer func() {
		s.conn.Close()
		o.t.forget(s.conn)
	}()
	have, err := o.offer(s, file)
	if err != nil {
		return nil, err
	}
	if err := o.stream(s, file, have); err != nil {
		return nil, err
	}
	return o.await(s, file.Size())
}

// rest waits out the pause after an earlier failure.
func (o *outgoing) rest() error {
	timer := time.NewTimer(o.peer.transferRest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.ctx.Done():
	}
	return o.ctx.Err()
}

// connect makes a connection and exchanges hellos.
func (o *outgoing) connect() (*stranger, error) {
	ctx, cancel := context.WithTimeout(o.ctx, o.t.config.DialTimeout)
	defer cancel()
	conn, err := o.t.config.Dial(ctx, o.peer.addr)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.conn = conn
	o.mu.Unlock()
	if o.ctx.Err() != nil {
		conn.Close()
		return nil, o.ctx.Err()
	}
	if !o.t.track(conn, o.fail) {
		return nil, errTransportClosed
	}
	s, err := o.t.introduce(conn, o.peer, kindTransferHello)
	if err != nil {
		conn.Close()
		o.t.forget(conn)
		return nil, err
	}
	return s, nil
}

// offer says what we have and returns from which offset on the peer wants it.
func (o *outgoing) offer(s *stranger, file *io.SectionReader) (int64, error) {
	id, err := snapshotID(file)
	if err != nil {
		return 0, fmt.Errorf("reading the snapshot: %w", err)
	}
	m := snapshotOffer{
		Term: o.request.Term, LeaderID: o.request.LeaderID,
		SnapshotIndex: o.request.Snapshot.Index, SnapshotTerm: o.request.Snapshot.Term,
		Size: uint64(file.Size()), UID: o.request.Snapshot.UID[:], ID: id[:],
	}
	frame := s.encoder.frame(nil, kindSnapshotOffer, &m, headerBytes+maxSmallBody)
	if err := writeAll(s.conn, frame, o.t.config.StallTimeout); err != nil {
		return 0, err
	}
	body, err := s.hearResult(kindSnapshotOfferReply, offerReplyFrames, o.t.config.CallTimeout)
	if err != nil {
		return 0, err
	}
	var reply snapshotOfferReply
	if err := s.decoder.decode(body, snapshotOfferReplyShape, &reply); err != nil {
		return 0, err
	}
	if reply.Have > m.Size {
		return 0, malformed("the peer has %d bytes of a snapshot of %d", reply.Have, m.Size)
	}
	return int64(reply.Have), nil
}

// snapshotID tells files of the same index and term apart. A snapshot's first
// and last bytes hold what it is of and a checksum over all of it.
func snapshotID(file *io.SectionReader) (id [snapshotIDBytes]byte, err error) {
	const end = 4 << 10
	h := sha256.New()
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(file.Size())))
	for _, at := range []int64{0, max(0, file.Size()-end)} {
		if _, err := io.Copy(h, io.NewSectionReader(file, at, min(end, file.Size()-at))); err != nil {
			return id, err
		}
	}
	h.Sum(id[:0])
	return id, nil
}

// stream sends the snapshot from an offset on, at the pace that all snapshots
// share.
func (o *outgoing) stream(s *stranger, file *io.SectionReader, from int64) error {
	data := make([]byte, snapshotChunkBytes)
	var frame []byte
	for at := from; at < file.Size(); {
		piece := data[:min(int64(len(data)), file.Size()-at)]
		if err := o.t.pace.wait(o.ctx, len(piece)); err != nil {
			return err
		}
		if n, err := file.ReadAt(piece, at); n < len(piece) {
			return fmt.Errorf("reading the snapshot at %d: %w", at, err)
		}
		frame = s.encoder.chunk(frame[:0], at, piece)
		if err := writeAll(s.conn, frame, o.t.config.StallTimeout); err != nil {
			return s.lastWords(err)
		}
		at += int64(len(piece))
		o.sent = true
		o.peer.snapshotBytesSent.Add(uint64(len(piece)))
	}
	return nil
}

// await waits for the answer of the peer's Handler. The peer has to check and
// sync all that it received first.
func (o *outgoing) await(s *stranger, size int64) (core.Reply, error) {
	check := time.Duration(float64(size) / slowestCheck * float64(time.Second))
	body, err := s.hearResult(kindInstallSnapshotReply, installReplyFrames, o.t.config.CallTimeout+check)
	if err != nil || body == nil {
		return nil, err
	}
	return s.decoder.reply(kindInstallSnapshotReply, body)
}

// hearResult reads the frame of kind k, or nil for kindNoReply. The error is a
// *transferFailedError if the peer said that it gives up.
func (s *stranger) hearResult(k kind, allowed limits, limit time.Duration) ([]byte, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	got, body, err := s.frames.next(allowed)
	switch {
	case err != nil:
		return nil, err
	case got == k:
		return body, nil
	case got == kindNoReply:
		return nil, nil
	}
	var failed snapshotFailed
	if err := s.decoder.decode(body, snapshotFailedShape, &failed); err != nil {
		return nil, err
	}
	return nil, &transferFailedError{failed.Reason}
}

// lastWords returns why the peer hung up on our chunks, if it said so, or err.
func (s *stranger) lastWords(err error) error {
	const moment = 100 * time.Millisecond
	var said *transferFailedError
	if _, heard := s.hearResult(kindInstallSnapshotReply, installReplyFrames, moment); errors.As(heard, &said) {
		return heard
	}
	return err
}

// account counts and logs how the transfer ended, and sets the pause before the
// next.
func (o *outgoing) account(reply core.Reply, err error) {
	p, s := o.peer, o.request.Snapshot
	about := []any{"peer", string(p.id), "index", s.Index, "term", s.Term}
	if err == nil {
		p.transferPause.reset()
		p.transferRest = 0
		p.lastContact.Store(time.Now().UnixNano())
		p.snapshotsSent.Add(1)
		o.t.journal.note(slog.LevelInfo, "sent snapshot "+string(p.id), "a snapshot was sent to a peer", append(about, "answered", reply != nil)...)
		return
	}
	p.snapshotsFailed.Add(1)
	if errors.Is(err, errTransportClosed) || errors.Is(err, context.Canceled) || errors.Is(err, errNewerSnapshot) {
		return
	}
	var told *transferFailedError
	if o.sent && !errors.As(err, &told) {
		p.transferPause.reset()
	}
	p.transferRest = p.transferPause.next()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the peer stood still for too long: %w", err)
	}
	o.t.journal.note(slog.LevelWarn, "not sent snapshot "+string(p.id), "a snapshot could not be sent to a peer; it will be tried again",
		append(about, "pause", p.transferRest, "cause", err.Error())...)
}
