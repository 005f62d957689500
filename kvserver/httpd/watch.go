package httpd

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/events"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

const (
	// minRetry and maxRetry bound after how long a client that lost its watch comes
	// back; it is drawn for each.
	minRetry, maxRetry = 500 * time.Millisecond, 3 * time.Second
	// maxWait is how long a read may wait for a change, and waitSpread the part of that
	// by which it is made longer or shorter.
	maxWait    = 10 * time.Minute
	waitSpread = 0.1
	// leastAsked and mostAsked bound how often a linearizable read that waits asks whether its
	// node still hears the leader; it is drawn for each time.
	leastAsked, mostAsked = 15 * time.Second, 25 * time.Second
)

// serveWatch sends what changes, until the client goes or the watch ends.
func (d *Door) serveWatch(x *exchange) error {
	asked, err := x.watchRequest()
	if err != nil {
		return err
	}
	f := x.watchFormat()
	for name, to := range map[string]*bool{"prev": &f.Prev, "keys_only": &f.KeysOnly, "text": &f.Text} {
		if *to, err = x.flag(name); err != nil {
			return err
		}
	}
	return d.sendWatch(x, asked, f)
}

// serveWatchBody is serveWatch for a watch that is described by a body.
func (d *Door) serveWatchBody(x *exchange) error {
	const example = `{"selectors":[{"prefix":"a/"}],"after":57}`
	body, err := x.jsonBody(api.MaxWatchBytes, example)
	if err != nil {
		return err
	}
	var b api.WatchBody
	if !utf8.Valid(body) {
		return failure.Of(failure.BadRequest, nil, "the body is no UTF-8; write such keys as key_base64")
	}
	if err := strictJSON(body, &b, example); err != nil {
		return err
	}
	asked := kvserver.WatchRequest{Who: &x.who, Mirror: b.Mirror, Resume: b.After != nil, Cluster: b.Cluster}
	if asked.Resume {
		asked.After = *b.After
	}
	if asked.Selectors, err = selectorsOf(b.Selectors); err != nil {
		return err
	}
	if b.Progress != "" {
		if asked.Progress, err = progressOf(b.Progress); err != nil {
			return err
		}
	}
	f := x.watchFormat()
	f.Prev, f.KeysOnly, f.Text = b.Prev, b.KeysOnly, b.Text
	return d.sendWatch(x, asked, f)
}

// selectorsOf reads the selectors in a body.
func selectorsOf(all []api.WatchSelector) (s watch.Selectors, err error) {
	for i, one := range all {
		var texts [5]string
		var given [5]bool
		for k, t := range [5]struct {
			text *string
			b64  []byte
		}{{one.Key, one.KeyB64}, {one.Prefix, one.PrefixB64}, {one.From, one.FromB64}, {one.To, one.ToB64}, {one.Lock, one.LockB64}} {
			switch {
			case t.text != nil && t.b64 != nil:
				return s, failure.Of(failure.BadRequest, nil, "selector %d has a text as it is and in base64", i)
			case t.text != nil:
				texts[k], given[k] = *t.text, true
			default:
				texts[k], given[k] = string(t.b64), t.b64 != nil
			}
			if err := kvserver.CheckKeyLength("key or prefix of a selector", texts[k]); err != nil {
				return s, err
			}
		}
		switch ranged := given[2] || given[3]; {
		case given == [5]bool{0: true}:
			s.Keys = append(s.Keys, texts[0])
		case given == [5]bool{1: true}:
			s.Prefixes = append(s.Prefixes, texts[1])
		case given == [5]bool{4: true}:
			s.Locks = append(s.Locks, texts[4])
		case ranged && given == [5]bool{2: given[2], 3: given[3]}:
			s.Ranges = append(s.Ranges, watch.Range{From: texts[2], To: texts[3]})
		default:
			return s, failure.Of(failure.BadRequest, nil, "selector %d must name one key, one prefix, one lock, or a range by from and to", i)
		}
	}
	if err := s.Check(api.MaxSelectors); err != nil {
		return s, failure.Of(failure.BadRequest, nil, "the watch cannot be: %v", err)
	}
	return s, nil
}

// sendWatch puts a watch in place and sends what changes.
func (d *Door) sendWatch(x *exchange, asked kvserver.WatchRequest, f events.Format) error {
	if err := x.reserveWatch(&asked.Selectors); err != nil {
		return err
	}
	ctx, cancel := x.context()
	w, err := d.server.Watch(ctx, asked)
	cancel()
	if err != nil {
		return err
	}
	defer w.Close()
	h := x.w.Header()
	h.Set("Content-Type", f.Media())
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers events would hold them back
	h["Vary"] = valueAccept
	if f.ClusterUID != "" {
		h.Set(api.HeaderClusterUID, f.ClusterUID)
	}
	x.stampConfiguration()
	x.unhurried()
	x.begin(http.StatusOK, streamPiece)
	if x.reserved {
		x.audited() // now: it may go on for weeks
	}
	to := &watchPieces{x: x, watch: w}
	retry := minRetry + rand.N(maxRetry-minRetry)
	for {
		outs, err := w.Next(x.r.Context())
		if x.r.Context().Err() != nil && !d.server.Stopping() {
			return nil // the client is gone
		}
		broken := to.send(func(b *bufio.Writer) {
			if retry > 0 {
				f.WriteRetry(b, retry)
				retry = 0
			}
			for i := range outs {
				f.Write(b, &outs[i])
			}
			if err != nil {
				to.last = true
				f.WriteEnd(b, problemOf(d.server.Refuse(err), x.id))
			}
		})
		switch {
		case to.ended != nil && to.begun: // within a change, of which nobody must take the rest for an event
			panic(http.ErrAbortHandler)
		case to.ended != nil:
			to.last = true
			_ = to.send(func(b *bufio.Writer) { f.WriteEnd(b, problemOf(d.server.Refuse(to.ended), x.id)) })
			return nil
		case broken != nil || err != nil:
			return nil
		}
	}
}

// watchPieces sends what a watch hands out, a piece of streamPiece at a time: nothing more
// is kept while the client takes nothing, however large a change is.
type watchPieces struct {
	x     *exchange
	watch *kvserver.Watching
	last  bool  // what is sent is the end
	begun bool  // a piece of what is sent has left
	ended error // the watch has ended before all of it was sent
}

// watchRooms are the rooms for a piece. A stream has one while it sends, and none while
// nothing happens.
var watchRooms = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, streamPiece) }}

// send sends what write writes. An error says that the client is gone.
func (p *watchPieces) send(write func(*bufio.Writer)) error {
	b := watchRooms.Get().(*bufio.Writer)
	defer watchRooms.Put(b)
	defer b.Reset(nil)
	b.Reset(p)
	p.begun = false
	write(b)
	return b.Flush()
}

// Write implements io.Writer.
func (p *watchPieces) Write(b []byte) (int, error) {
	// A large change may take a slow client minutes, in which its token may be revoked.
	if !p.last {
		if p.ended = p.watch.Listen(); p.ended != nil {
			return 0, p.ended
		}
	}
	p.begun = true
	n, err := pieces{p.x}.Write(b)
	p.x.sent += n
	return n, err
}

// unhurried takes the time limits of a request off the connection: what waits for a
// change may wait longer than they allow.
func (x *exchange) unhurried() {
	// What serves in tests without a connection has no deadlines.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
}

// watchRequest reads what a watch follows, and from where.
func (x *exchange) watchRequest() (r kvserver.WatchRequest, err error) {
	r.Who = &x.who
	r.Selectors.Keys, r.Selectors.Prefixes, r.Selectors.Locks = x.repeated["key"], x.repeated["prefix"], x.repeated["lock"]
	from, ranged := x.query["from"]
	to, ends := x.query["to"]
	if ranged || ends {
		r.Selectors.Ranges = []watch.Range{{From: from, To: to}}
	}
	for _, texts := range [][]string{r.Selectors.Keys, r.Selectors.Prefixes, {from, to}} {
		for _, text := range texts {
			if err := kvserver.CheckKeyLength("key or prefix of a selector", text); err != nil {
				return r, err
			}
		}
	}
	if err := r.Selectors.Check(api.MaxWatchSelectors); err != nil {
		return r, failure.Of(failure.BadRequest, nil, "the watch cannot be: %v", err)
	}
	if _, r.Resume = x.query["after"]; r.Resume {
		if r.After, err = x.number("after", 0, 1<<64-1, 0); err != nil {
			return r, err
		}
	}
	if id, given, err := x.single("Last-Event-Id"); given {
		// A browser that comes back sends it; what it was first asked for is older.
		n, bad := strconv.ParseUint(id, 10, 64)
		if err != nil || bad != nil {
			return r, failure.Of(failure.BadRequest, nil, "the header Last-Event-ID is %.40q; it must be the id of an event of a watch", id)
		}
		r.Resume, r.After = true, n
	}
	if r.Mirror, err = x.flag("mirror"); err != nil {
		return r, err
	}
	if text, given := x.query["progress"]; given {
		if r.Progress, err = progressOf(text); err != nil {
			return r, err
		}
	}
	r.Cluster = x.query["cluster"]
	return r, nil
}

// progressOf reads how often a bookmark is wanted.
func progressOf(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if lowest, highest := 100*time.Millisecond, time.Minute; err != nil || d < lowest || d > highest {
		return 0, failure.Of(failure.BadRequest, nil, "the parameter progress is %.40q; it must be a duration from %v to %v, such as 10s", text, lowest, highest)
	}
	return d, nil
}

// watchFormat is the form of what the client is sent.
func (x *exchange) watchFormat() events.Format {
	return events.Format{Lines: accepts(x.r.Header, api.MediaNDJSON), Node: x.door.nodeID, ClusterUID: x.door.server.UID().String()}
}

// awaitChange waits, if the request asks for that, until something that is selected was
// changed. It reports whether the read is to be answered; otherwise it has sent a 304.
func (x *exchange) awaitChange(s watch.Selectors, f kvserver.Freshness, has func(revision uint64) bool) (read bool, err error) {
	limit, after, err := x.waiting(has != nil)
	if limit == 0 || err != nil {
		return err == nil, err
	}
	// What is waited for may be more than what is read.
	if err := x.allowAll(x.route.Right, kvserver.Spans(&s)); err != nil {
		return false, err
	}
	x.conn.LeaveGate()
	x.unhurried()
	var item uint64 // the revision of the key that the client has
	if has != nil {
		if item, after, read, err = x.differs(s.Keys[0], f, has); read || err != nil {
			return read, err
		}
	} else if err := x.awaitFresh(f); err != nil {
		return false, err
	}
	spread := time.Duration(waitSpread * float64(limit))
	upTo, changed, err := x.follow(s, f, after, limit-spread+rand.N(2*spread+1))
	switch {
	case errors.Is(err, context.Canceled):
		return false, nil // the client is gone
	case changed || err != nil:
		return err == nil, err
	}
	if err := x.allowAll(x.route.Right, kvserver.Spans(&s)); err != nil {
		return false, err // it may have been revoked meanwhile
	}
	x.stampConsistency(f)
	x.stampNumber(api.HeaderRevision, upTo)
	if has != nil {
		x.stampETag(item)
	}
	x.answer(http.StatusNotModified, nil)
	return false, nil
}

// follow waits until a key that is selected was changed behind a revision, as AwaitChange of
// the server does. If the read is linearizable, so is the answer that nothing was changed: the node
// asks the leader at the end, and now and then before it, so that a node which is cut off
// says so within half a minute.
func (x *exchange) follow(s watch.Selectors, f kvserver.Freshness, after uint64, limit time.Duration) (upTo uint64, changed bool, err error) {
	for end := time.Now().Add(limit); ; {
		left := time.Until(end)
		upTo, changed, err = x.door.server.AwaitChange(x.r.Context(), s, after, min(left, leastAsked+rand.N(mostAsked-leastAsked)))
		if !changed && err == nil {
			after, err = upTo, x.awaitFresh(f)
		}
		if changed || err != nil {
			return upTo, changed, err
		}
		if !time.Now().Before(end) {
			return x.door.server.AwaitChange(x.r.Context(), s, after, 0)
		}
	}
}

// differs reports whether a key has another revision than the client, and otherwise which one,
// and behind which revision of the store that may change.
func (x *exchange) differs(key string, f kvserver.Freshness, has func(revision uint64) bool) (item, after uint64, differs bool, err error) {
	ctx, cancel := x.context()
	defer cancel()
	now, err := x.door.server.Get(ctx, &x.who, key, f)
	return now.Item.Revision, now.Revision, !now.Found || !has(now.Item.Revision), err
}

func (x *exchange) awaitFresh(f kvserver.Freshness) error {
	ctx, cancel := x.context()
	defer cancel()
	return x.door.server.AwaitFresh(ctx, f.Linearizable)
}

// waiting reads for how long a read is to wait, 0 if it is not, and behind which
// revision. byTag says that it waits for another entity tag.
func (x *exchange) waiting(byTag bool) (limit time.Duration, after uint64, err error) {
	text, waits := x.query["wait"]
	_, behind := x.query["changed_after"]
	switch {
	case !waits && !behind:
		return 0, 0, nil
	case !waits:
		return 0, 0, failure.Of(failure.BadRequest, nil, "the parameter changed_after needs wait, such as wait=30s")
	case behind == byTag:
		return 0, 0, failure.Of(failure.BadRequest, nil, "a read that waits needs one of the parameter changed_after and, of one key, the header If-None-Match")
	}
	limit, err = time.ParseDuration(text)
	if err != nil || limit <= 0 || limit > maxWait {
		return 0, 0, failure.Of(failure.BadRequest, nil, "the parameter wait is %.40q; it must be a duration of at most %v, such as 30s", text, maxWait)
	}
	after, err = x.number("changed_after", 0, 1<<64-1, 0)
	return limit, after, err
}

// shown is an item as clients see it: from the level of the history on, it says when its
// key was created.
func (d *Door) shown(item kv.Item) kv.Item {
	if d.server.Machine().Level() >= kv.LevelHistory {
		item.Created = item.Creation()
	}
	return item
}
