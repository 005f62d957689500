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

// Bounds of the pause between a transfer that failed and the next one to the same
// peer. The pause doubles unless some of the snapshot got across. Without it the core
// would ask again with its next heartbeat, although a disk that is full stays full
// for a while.
const (
	transferPauseMin = 100 * time.Millisecond
	transferPauseMax = 30 * time.Second
)

// minCheckRate is the rate at which the slowest receiver checks and syncs a received
// snapshot, in bytes per second. It answers only after that.
const minCheckRate = 4 << 20

// snapshotSender sends a snapshot to a peer, for the call that waits for it.
type snapshotSender struct {
	t       *Transport
	peer    *peer
	call    core.Call
	request *core.InstallSnapshot
	done    func(core.Call, core.Reply)

	ctx    context.Context // ends when the transfer is given up; its cause says why
	cancel context.CancelCauseFunc

	mu   sync.Mutex
	conn net.Conn // nil until it is dialled
	sent bool     // some of the snapshot got across; used by the sending goroutine only
}

// sendSnapshot lets a snapshot take the place of the one that is being sent to the
// same peer. If there is none, it starts a goroutine.
func (t *Transport) sendSnapshot(p *peer, call core.Call, m *core.InstallSnapshot, done func(core.Call, core.Reply)) {
	if len(m.Snapshot.Data) > 0 {
		panic("wire: a snapshot that is in memory does not travel; Config.Snapshots must have it")
	}
	if t.config.Snapshots == nil || p.out.Load() == nil {
		p.lose(call, done)
		return
	}
	s := &snapshotSender{t: t, peer: p, call: call, request: m, done: done}
	s.ctx, s.cancel = context.WithCancelCause(t.ctx)

	var late, waiting, current *snapshotSender
	t.mu.Lock()
	switch current = p.sending; {
	case t.closed:
		late = s
	case current == nil:
		p.sending = s
		t.work.Go(func() { t.sendSnapshots(s) })
	default:
		waiting, p.nextSnapshot = p.nextSnapshot, s
	}
	t.mu.Unlock()
	if current != nil {
		current.fail(errNewerSnapshot)
	}
	for _, lost := range []*snapshotSender{late, waiting} {
		if lost != nil {
			lost.cancel(errNewerSnapshot)
			p.lose(lost.call, lost.done)
		}
	}
}

// sendSnapshots is the goroutine that sends snapshots to one peer, one after the
// other. It ends when there are no more.
func (t *Transport) sendSnapshots(s *snapshotSender) {
	for s != nil {
		reply, err := s.run()
		if cause := context.Cause(s.ctx); err != nil && cause != nil {
			err = cause
		}
		s.cancel(nil)
		s.account(reply, err)
		p := s.peer
		if reply != nil {
			s.done(s.call, reply)
		} else {
			p.lose(s.call, s.done)
		}
		t.mu.Lock()
		p.sending, p.nextSnapshot = p.nextSnapshot, nil
		s = p.sending
		t.mu.Unlock()
	}
}

// fail gives the transfer up. No lock may be held.
func (s *snapshotSender) fail(cause error) {
	s.cancel(cause)
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// run sends the snapshot and returns the answer of the peer's Handler, nil if it
// gave none.
func (s *snapshotSender) run() (core.Reply, error) {
	if err := s.rest(); err != nil {
		return nil, err
	}
	file, closer, err := s.t.config.Snapshots.SnapshotFile(s.request.Snapshot)
	if err != nil {
		return nil, fmt.Errorf("opening the snapshot: %w", err)
	}
	defer closer.Close()
	c, err := s.connect()
	if err != nil {
		return nil, err
	}
	defer func() {
		c.conn.Close()
		s.t.forget(c.conn)
	}()
	have, err := s.offer(c, file)
	if err != nil {
		return nil, err
	}
	if err := s.stream(c, file, have); err != nil {
		return nil, err
	}
	return s.await(c, file.Size())
}

// rest waits out the pause after an earlier failure.
func (s *snapshotSender) rest() error {
	timer := time.NewTimer(s.peer.transferRest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
	return s.ctx.Err()
}

// connect makes a connection and exchanges hellos.
func (s *snapshotSender) connect() (*stranger, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.t.config.DialTimeout)
	defer cancel()
	conn, err := s.t.config.Dial(ctx, s.peer.address())
	if err != nil {
		return nil, err
	}
	conn = s.t.line(conn)
	s.mu.Lock()
	s.conn = conn
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		conn.Close()
		return nil, s.ctx.Err()
	}
	if !s.t.track(conn, s.fail) {
		return nil, errTransportClosed
	}
	c, err := s.t.introduce(conn, s.peer, kindTransferHello)
	if err != nil {
		conn.Close()
		s.t.forget(conn)
		return nil, err
	}
	return c, nil
}

// offer announces the snapshot and returns the offset from which on the peer wants
// it.
func (s *snapshotSender) offer(c *stranger, file *io.SectionReader) (int64, error) {
	id, err := snapshotID(file)
	if err != nil {
		return 0, fmt.Errorf("reading the snapshot: %w", err)
	}
	m := snapshotOffer{
		Term: s.request.Term, LeaderID: s.request.LeaderID,
		SnapshotIndex: s.request.Snapshot.Index, SnapshotTerm: s.request.Snapshot.Term,
		Size: uint64(file.Size()), UID: s.request.Snapshot.UID[:], ID: id[:],
	}
	frame := c.encoder.frame(nil, kindSnapshotOffer, &m, headerBytes+maxSmallBody)
	if err := writeAll(c.conn, frame, s.t.config.StallTimeout); err != nil {
		return 0, err
	}
	body, err := c.hearResult(kindSnapshotOfferReply, offerReplyFrames, s.t.config.CallTimeout)
	if err != nil {
		return 0, err
	}
	var reply snapshotOfferReply
	if err := c.decoder.decode(body, snapshotOfferReplyShape, &reply); err != nil {
		return 0, err
	}
	if reply.Have > m.Size {
		return 0, malformed("the peer has %d bytes of a snapshot of %d", reply.Have, m.Size)
	}
	return int64(reply.Have), nil
}

// snapshotID returns an id that differs between files of the same index and term.
// It is a digest of a snapshot's first and last bytes, which hold its description and
// a checksum over all of it.
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

// stream sends the snapshot from an offset on, at the rate that all snapshots share.
func (s *snapshotSender) stream(c *stranger, file *io.SectionReader, from int64) error {
	data := make([]byte, snapshotChunkBytes)
	var frame []byte
	for at := from; at < file.Size(); {
		piece := data[:min(int64(len(data)), file.Size()-at)]
		if err := s.t.snapshotLimiter.wait(s.ctx, len(piece)); err != nil {
			return err
		}
		if n, err := file.ReadAt(piece, at); n < len(piece) {
			return fmt.Errorf("reading the snapshot at %d: %w", at, err)
		}
		frame = c.encoder.chunk(frame[:0], at, piece)
		if err := writeAll(c.conn, frame, s.t.config.StallTimeout); err != nil {
			return c.lastWords(err)
		}
		at += int64(len(piece))
		s.sent = true
		s.peer.snapshotBytesSent.Add(uint64(len(piece)))
	}
	return nil
}

// await waits for the answer of the peer's Handler. The peer has to check and
// sync all that it received first.
func (s *snapshotSender) await(c *stranger, size int64) (core.Reply, error) {
	check := time.Duration(float64(size) / minCheckRate * float64(time.Second))
	body, err := c.hearResult(kindInstallSnapshotReply, installReplyFrames, s.t.config.CallTimeout+check)
	if err != nil || body == nil {
		return nil, err
	}
	return c.decoder.reply(kindInstallSnapshotReply, body)
}

// hearResult reads a frame of kind k and returns its body, nil for kindNoReply. The
// error is a *transferFailedError if the peer gives up.
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

// lastWords is called after a write failed with err. It returns the peer's reason
// for closing the connection if the peer sent one, otherwise err.
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
func (s *snapshotSender) account(reply core.Reply, err error) {
	p, snapshot := s.peer, s.request.Snapshot
	about := []any{"peer", string(p.id), "index", snapshot.Index, "term", snapshot.Term}
	if err == nil {
		p.transferPause.reset()
		p.transferRest = 0
		p.lastContact.Store(time.Now().UnixNano())
		p.snapshotsSent.Add(1)
		s.t.log.note(slog.LevelInfo, "sent snapshot "+string(p.id), "a snapshot was sent to a peer", append(about, "answered", reply != nil)...)
		return
	}
	p.snapshotsFailed.Add(1)
	if errors.Is(err, errTransportClosed) || errors.Is(err, context.Canceled) || errors.Is(err, errNewerSnapshot) {
		return
	}
	var told *transferFailedError
	if s.sent && !errors.As(err, &told) {
		p.transferPause.reset()
	}
	p.transferRest = p.transferPause.next()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the peer sent or took nothing for too long: %w", err)
	}
	s.t.log.note(slog.LevelWarn, "not sent snapshot "+string(p.id), "a snapshot could not be sent to a peer; it will be tried again",
		append(about, "pause", p.transferRest, "cause", err.Error())...)
}

// limiterSlack is the unused time that may be made up for. Timers are late by about
// a millisecond, which would otherwise cost half of a high rate.
const limiterSlack = 20 * time.Millisecond

// limiter spreads bytes evenly over time.
type limiter struct {
	rate int64 // bytes per second

	mu   sync.Mutex
	next time.Time // when the next byte may leave
}

// wait waits until n more bytes may leave. If ctx ends first, it returns the error of
// ctx.
func (l *limiter) wait(ctx context.Context, n int) error {
	pause := l.reserve(n, time.Now())
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the time of n bytes and returns the wait until it begins.
func (l *limiter) reserve(n int, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if earliest := now.Add(-limiterSlack); l.next.Before(earliest) {
		l.next = earliest
	}
	pause := l.next.Sub(now)
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return pause
}
