package httpd

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"raftkv/kvserver/api"
)

// backupRate is the lowest rate, in bytes per second, at which a client must take a
// backup, because a backup keeps alive what the store held when it began. backupGrace
// is how far the client may lag behind.
const (
	backupRate  = 1 << 20
	backupGrace = 10 * time.Second
)

// serveBackup sends the state of the store, linearizable, as a snapshot that a
// new cluster can begin with. Any node serves it, and the log takes no part.
func (d *Door) serveBackup(x *exchange) error {
	ctx, cancel := x.context()
	defer cancel()
	frozen, err := d.server.Backup(ctx)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set(api.HeaderRevision, strconv.FormatUint(frozen.View.Revision(), 10))
	h.Set(api.HeaderConsistency, api.ConsistencyLinearizable)
	x.begin(http.StatusOK, 0)
	if err := d.server.WriteBackup(&backupWriter{x: x, began: time.Now()}, frozen); err != nil {
		d.logger.Warn("a backup was not sent to its end", "request", x.id, "error", err)
		// The connection is cut: what has no end must not look as if it had one.
		panic(http.ErrAbortHandler)
	}
	return nil
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
	if err := w.x.door.server.Serving(); err != nil {
		return 0, err
	}
	// What serves in tests without a connection has no deadlines.
	due := w.began.Add(backupGrace + time.Duration(w.sent)*time.Second/backupRate)
	_ = http.NewResponseController(w.x.w).SetWriteDeadline(due)
	n, err := w.x.w.Write(b)
	w.sent += int64(n)
	return n, err
}
