package httpd

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
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
	view, err := d.server.Freeze(ctx, f)
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
	w := bufio.NewWriterSize(pieces{x}, streamPiece)
	count := 0
	view.Ascend(l.after, l.prefix, func(key string, item kv.Item) bool {
		if l.limit > 0 && count == l.limit {
			return false
		}
		count++
		newItemJSON(key, d.shown(item), l.keysOnly).writeTo(w)
		return w.WriteByte('\n') == nil && time.Now().Before(end) && d.server.Serving() == nil
	})
	if w.Flush() != nil || !time.Now().Before(end) || d.server.Serving() != nil {
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
