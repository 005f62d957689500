package kvserver

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/raft/snapshot"
)

const (
	// mostBackups bounds the backups that are being sent: each keeps alive what
	// the store held when it began.
	mostBackups = 2
	// backupPace is the least pace, in bytes per second, at which a backup must
	// be taken, for the same reason. backupGrace is how far it may lag behind.
	backupPace  = 1 << 20
	backupGrace = 10 * time.Second
)

// serveBackup sends the state of the store, linearizable, as a snapshot that a
// new cluster can begin with. Any node serves it, and the log takes no part.
func (s *Server) serveBackup(x *exchange) error {
	if !s.backups.enter(0) {
		return s.overloadedAs(leastRetryAfter, "too many backups are being sent (limit %d); ask another node", mostBackups)
	}
	defer s.backups.leave(0)
	view, term, err := s.freezeForBackup(x.r.Context())
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set(api.HeaderRevision, strconv.FormatUint(view.Revision(), 10))
	h.Set(api.HeaderConsistency, api.ConsistencyLinearizable)
	x.begin(http.StatusOK, 0)
	if err := s.sendBackup(x, view, term); err != nil {
		s.machine.Damaged(err)
		s.config.Logger.Warn("a backup was not sent to its end", "request", x.id, "error", err)
		// The connection is cut: what has no end must not look as if it had one.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// freezeForBackup returns the state as it is at one moment after the request
// came, and the term of the log entry it stands at.
func (s *Server) freezeForBackup(parent context.Context) (*kv.View, uint64, error) {
	ctx, cancel := s.requestContext(parent)
	defer cancel()
	if err := s.awaitLinearizable(ctx); err != nil {
		return nil, 0, err
	}
	patience := newPatience(s.config.LeaderWait)
	for {
		view := s.machine.Freeze()
		if view.AppliedIndex() == 0 {
			return nil, 0, failure.Of(failure.Behind, nil, "the cluster has not begun its log: there is nothing to back up")
		}
		term, err := s.config.Consensus.TermAt(ctx, view.AppliedIndex())
		switch {
		case err == nil:
			return view, term, nil
		case s.machine.Stopping():
			return nil, 0, failure.NodeStopping(err)
		case !patience.wait(ctx):
			return nil, 0, failure.Of(failure.ReadTimeout, err, "the log moved on faster than a backup could begin")
		}
		// The log had forgotten that entry already. The next one is younger.
	}
}

// sendBackup writes the container to the client.
func (s *Server) sendBackup(x *exchange, view *kv.View, term uint64) error {
	to := &backupWriter{x: x, began: time.Now()}
	h := snapshot.Header{ClusterID: s.config.ClusterID, Index: view.AppliedIndex(), Term: term, UID: s.config.Consensus.Status().UID}
	container, err := snapshot.NewWriter(to, h)
	if err != nil {
		return err
	}
	if err := machine.WriteState(container, view, h.Index); err != nil {
		return err
	}
	return container.Close()
}

// backupWriter is the client's end of a backup. It fails when the client takes
// too little, and when this node may not serve any more.
type backupWriter struct {
	x     *exchange
	began time.Time
	sent  int64
}

var _ io.Writer = (*backupWriter)(nil)

func (w *backupWriter) Write(b []byte) (int, error) {
	s := w.x.server
	if s.machine.Stopping() {
		return 0, failure.Stopping
	}
	if err := s.machine.Quarantined(); err != nil {
		return 0, err
	}
	// What serves in tests without a connection has no deadlines.
	due := w.began.Add(backupGrace + time.Duration(w.sent)*time.Second/backupPace)
	_ = http.NewResponseController(w.x.w).SetWriteDeadline(due)
	n, err := w.x.w.Write(b)
	w.sent += int64(n)
	return n, err
}
