package httpd

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

const (
	// streamPiece is how much of a stream is sent at once, each time with
	// time for the client to take it; see port.Port.AllowWriting.
	streamPiece = 64 << 10
	// streamLimit bounds a stream as a whole: while it lasts, what writes replace
	// stays in memory.
	streamLimit = 10 * time.Minute
)

// streamList sends the items as lines, all from one moment. Nothing is locked
// meanwhile: writes go on.
func (d *Door) streamList(x *exchange, l listing) error {
	if limit, _, err := x.waiting(false); limit > 0 || err != nil {
		return failure.Of(failure.BadRequest, err, "a list that is streamed cannot wait; leave out wait and changed_after, or ask for a page")
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	q := l.query()
	view, err := d.server.Freeze(ctx, &x.who, q, f)
	cancel()
	if err != nil {
		return err
	}
	x.stampConsistency(f)
	h := x.w.Header()
	h.Set(api.HeaderRevision, strconv.FormatUint(view.Revision(), 10))
	h.Set("Content-Type", api.MediaNDJSON)
	x.begin(http.StatusOK, streamPiece)
	if x.r.Method == http.MethodHead {
		return nil
	}
	end := time.Now().Add(streamLimit)
	may := x.permit(auth.List, q.Range())
	w := bufio.NewWriterSize(pieces{x}, streamPiece)
	count := 0
	q.Ascend(view, func(key string, item kv.Item) bool {
		if l.limit > 0 && count == l.limit {
			return false
		}
		count++
		newItemJSON(key, d.shown(item), view.LeaseOf(key), l.keysOnly).writeTo(w)
		return w.WriteByte('\n') == nil && time.Now().Before(end) && d.server.Serving() == nil && may.Still() == nil
	})
	if w.Flush() != nil || !time.Now().Before(end) || d.server.Serving() != nil || may.Still() != nil {
		// The client must see that this is not all, or that it may be wrong: a node whose
		// state differs from a majority's ends the lists that it has begun.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// checkFirst refuses a request of a class without a queue that no room would help. Such
// a request takes no place, and is not told to come again.
func (x *exchange) checkFirst(class kvserver.Class) error {
	switch class {
	case kvserver.Streams:
		if _, err := x.listing(); err != nil {
			return err
		}
		if _, err := x.askedFreshness(); err != nil {
			return err
		}
		_, err := x.flag("redirect")
		return err
	case kvserver.Scrapes:
		switch x.route.Path {
		case recorderPath:
			return x.checkRecorder()
		case explainPath:
			return x.checkExplain()
		}
		return x.door.measures()
	}
	return nil
}

// pieces writes to the client and gives it time for each piece.
type pieces struct{ x *exchange }

func (p pieces) Write(b []byte) (int, error) {
	p.x.door.port.AllowWriting(p.x.w, len(b))
	n, err := p.x.w.Write(b)
	if err == nil {
		err = http.NewResponseController(p.x.w).Flush()
	}
	return n, err
}

var _ io.Writer = pieces{}

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
	if err := d.server.WriteBackup(&backupWriter{x: x, began: time.Now(), may: x.permit(auth.Backup, auth.Range{})}, frozen); err != nil {
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
	may   *access.Permit
}

var _ io.Writer = (*backupWriter)(nil)

func (w *backupWriter) Write(b []byte) (int, error) {
	if err := w.x.door.server.Serving(); err != nil {
		return 0, err
	}
	if err := w.may.Still(); err != nil {
		return 0, err
	}
	// What serves in tests without a connection has no deadlines.
	due := w.began.Add(backupGrace + time.Duration(w.sent)*time.Second/backupRate)
	_ = http.NewResponseController(w.x.w).SetWriteDeadline(due)
	n, err := w.x.w.Write(b)
	w.sent += int64(n)
	return n, err
}
