package httpd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/explain"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/events"
	"raftkv/kvserver/httpd/live"
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
		newItemJSON(key, d.shown(item), view.LeaseOf(key), l.shape).writeTo(w)
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
	case kvserver.Records:
		return x.checkRecorder()
	case kvserver.Explains:
		return x.checkExplain()
	case kvserver.Scrapes:
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

// serveEvents tells a viewer what happens, from its last event on, until the viewer goes.
func (d *Door) serveEvents(x *exchange) error {
	seen, given, err := x.single("Last-Event-Id")
	if err != nil {
		return err
	}
	if given && !live.IsID(seen) {
		return failure.Of(failure.BadRequest, nil, "the header Last-Event-ID is %.40q; it must be the id of an event of this stream", seen)
	}
	feed, may := d.peers.gathered(x).feed, x.permit(auth.Status, auth.Range{})
	if !feed.Enter() {
		return failure.Of(failure.Overloaded, nil, "%d viewers are told what happens through this node, and there is no room for more; look through another node, or ask /v1/overview", live.MaxViewers)
	}
	defer feed.Leave()
	h := x.w.Header()
	h.Set("Content-Type", api.MediaEvents)
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers events would hold them back
	x.unhurried()
	x.begin(http.StatusOK, streamPiece)
	to := pieces{x}
	buffer := fmt.Appendf(nil, "retry: %d\n\n", (minRetry + rand.N(maxRetry-minRetry)).Milliseconds())
	beats := time.NewTicker(live.Beat)
	defer beats.Stop()
	for {
		d.writeFeed(x)
		end := may.Still()
		if d.server.WatchesEnd() {
			end = failure.NodeStopping(nil)
		}
		if end == nil { // whoever lost the right is told nothing more
			var frames []live.Frame
			frames, seen = feed.After(seen)
			buffer = live.Append(buffer, frames)
		} else {
			var last bytes.Buffer
			w := bufio.NewWriter(&last)
			(&events.Format{}).WriteEnd(w, problemOf(d.server.Refuse(end), x.id))
			_ = w.Flush() // a buffer takes everything
			buffer = append(buffer, last.Bytes()...)
		}
		x.sent += len(buffer)
		if len(buffer) > 0 {
			if _, broken := to.Write(buffer); broken != nil || end != nil {
				return nil
			}
		}
		if buffer = buffer[:0]; cap(buffer) > 2*streamPiece {
			buffer = nil
		}
		select {
		case <-beats.C:
		case <-x.r.Context().Done():
			return nil
		}
	}
}

// writeFeed gathers the news, if it is time and no other viewer does. A node that hangs keeps
// the statuses for a second at most. The stories take longer and are told aside.
func (d *Door) writeFeed(x *exchange) {
	gathered := d.peers.gathered(x)
	feed := gathered.feed
	if feed.Turn("status", time.Now(), fmt.Sprint(d.config.Recorder.Newest()), live.Rest) {
		d.feedStatus(x)
	}
	if d.config.Recorder == nil || !feed.Turn("story", time.Now(), feed.Result("status"), tellRest) {
		return
	}
	own := d.server.Status()
	g := d.gathering(x, &own)
	go d.feedStories(gathered, g)
}

// feedStatus tells the viewers how all nodes are, and gives the turn back, whatever happens.
func (d *Door) feedStatus(x *exchange) {
	feed, result := d.peers.gathered(x).feed, ""
	defer func() { feed.Done("status", result, 0) }()
	overview := d.overview(x, live.Beat/2)
	_ = feed.Set("status", feedOf(overview)) // of our own types
	result = happened(overview)
}

// feedStories tells the viewers what happened. The stories are made of what other nodes say,
// so whatever goes wrong with that must not end this one. Making them costs all nodes
// something, so it has a rest of five times as long.
func (d *Door) feedStories(to *gathered, g gathering) {
	feed, begun := to.feed, time.Now()
	defer func() {
		if p := recover(); p != nil {
			d.logger.Error("the stories for the page could not be made", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		feed.Done("story", "", feedShare*time.Since(begun))
	}()
	told, _ := to.stories.get(context.Background(), defaultExplainSeconds, live.Beat, func() api.Explained { return d.explain(g, defaultExplainSeconds) })
	stories := map[string]any{}
	for _, s := range told.Stories[max(0, len(told.Stories)-maxFedStories):] {
		of := s.(explain.Story)
		name := fmt.Sprint(of.Kind, of.From, of.Culprits)
		for stories[name] != nil { // two in a millisecond
			name += "'"
		}
		stories[name] = of
	}
	_ = feed.Set("story", stories) // of our own types
	var fresh []any
	for _, l := range told.Events {
		if e := l.(explain.Line); to.news.Fresh(e.Node, e.Boot, e.Seq, e.At) {
			fresh = append(fresh, e)
		}
	}
	if fresh = to.news.Newest(fresh, maxFedEvents); len(fresh) > 0 {
		feed.Tell("note", map[string]any{"events": fresh})
	}
}

// feedShare is how many times as long as it took to make stories the feed is without new
// ones.
const feedShare = 6

// tellRest is how often stories are told where nothing happens: some begin or end by time.
const tellRest = 15 * time.Second

// maxFedStories and maxFedEvents bound what viewers are told at once; the newest are.
const maxFedStories, maxFedEvents = 100, 200

// happened changes when a node answers or does not, or has recorded anything.
func happened(o api.Overview) string {
	var b strings.Builder
	for _, n := range o.Nodes {
		if n.Status != nil {
			fmt.Fprintf(&b, "%s %d,", n.Node, n.Status.Recorded)
		}
	}
	return b.String()
}

// feedOf is an overview by the names of the nodes, so that of each only the fields that
// changed are sent.
func feedOf(o api.Overview) any {
	nodes := map[string]api.OverviewNode{}
	for _, n := range o.Nodes {
		nodes[n.Node] = n
	}
	return struct {
		api.Overview
		Nodes map[string]api.OverviewNode `json:"nodes"`
	}{o, nodes}
}
