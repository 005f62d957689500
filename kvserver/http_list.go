package kvserver

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
)

// listing is what a list asks for.
type listing struct {
	prefix, after string
	limit         int // 0: all, when streaming
	keysOnly      bool
}

// serveList serves keys in the order of their bytes: a page of JSON, or all of
// them as lines.
func (s *Server) serveList(x *exchange) error {
	l, err := x.listing()
	if err != nil {
		return err
	}
	x.w.Header().Set("Vary", "Accept")
	if accepts(x.r.Header, api.MediaNDJSON) {
		return s.streamList(x, l)
	}
	if l.limit == 0 {
		l.limit = api.DefaultPageItems
	}
	var p machine.Page
	query := machine.Query{Prefix: l.prefix, After: l.after, Limit: l.limit, MaxBytes: api.MaxPageBytes, KeysOnly: l.keysOnly}
	if sent, err := s.readFor(x, func() { p = s.machine.List(query) }); sent || err != nil {
		return err
	}
	x.answerPage(p, l.keysOnly)
	return nil
}

func (x *exchange) listing() (l listing, err error) {
	l.prefix, l.after = x.query["prefix"], x.query["after"]
	if err := checkKeyLength("prefix", l.prefix); err != nil {
		return l, err
	}
	if err := checkKeyLength("key in the parameter after", l.after); err != nil {
		return l, err
	}
	most := uint64(api.MaxPageItems)
	if accepts(x.r.Header, api.MediaNDJSON) {
		most = 1<<63 - 1
	}
	limit, err := x.number("limit", 1, most, 0)
	if err == nil {
		l.keysOnly, err = x.flag("keys_only")
	}
	l.limit = int(limit)
	return l, err
}

// answerPage sends a page as an api.Page.
func (x *exchange) answerPage(p machine.Page, keysOnly bool) {
	items := make([]itemJSON, len(p.Items))
	for i, item := range p.Items {
		items[i] = newItemJSON(item.Key, item.Item, keysOnly)
	}
	before := `{"items":[`
	after := `],"revision":` + strconv.FormatUint(p.Revision, 10) + "}\n"
	h := x.w.Header()
	if p.More {
		next := x.nextPage(p.Items[len(p.Items)-1].Key)
		h.Set("Link", "<"+next+`>; rel="next"`)
		// The path holds nothing that JSON would have to escape.
		after = `],"revision":` + strconv.FormatUint(p.Revision, 10) + `,"next":"` + next + "\"}\n"
	}
	length := len(before) + len(after) + max(len(items)-1, 0)
	for _, item := range items {
		length += item.length()
	}
	h.Set(api.HeaderRevision, strconv.FormatUint(p.Revision, 10))
	h.Set("Content-Type", api.MediaJSON)
	h.Set("Content-Length", strconv.Itoa(length))
	x.begin(http.StatusOK, length)
	w := bufio.NewWriterSize(x.w, 32<<10)
	_, _ = w.WriteString(before)
	for i, item := range items {
		if i > 0 {
			_ = w.WriteByte(',')
		}
		item.writeTo(w)
	}
	_, _ = w.WriteString(after)
	_ = w.Flush() // an error means that the client is gone
}

// nextPage is where the page after a key is: the same request from there on.
func (x *exchange) nextPage(after string) string {
	query := url.Values{}
	for name, value := range x.query {
		query.Set(name, value)
	}
	query.Set("after", after)
	return "/v1/kv?" + query.Encode()
}

const (
	// streamPiece is how much of a stream is sent at once, each time with
	// bodyTime for the client to take it.
	streamPiece = 64 << 10
	// streamLimit bounds a stream as a whole: while it lasts, what writes replace
	// stays in memory.
	streamLimit = 10 * time.Minute
)

// streamList sends the items as lines, all from one moment. Nothing is locked
// meanwhile: writes go on beside it.
func (s *Server) streamList(x *exchange, l listing) error {
	if !s.streams.enter(0) {
		return s.overloadedAs(leastRetryAfter, "too many lists are being streamed (limit %d); ask another node", mostStreams)
	}
	defer s.streams.leave(0)
	var view *kv.View
	if sent, err := s.readFor(x, func() { view = s.machine.Freeze() }); sent || err != nil {
		return err
	}
	h := x.w.Header()
	h.Set(api.HeaderRevision, strconv.FormatUint(view.Revision(), 10))
	h.Set("Content-Type", api.MediaNDJSON)
	x.begin(http.StatusOK, streamPiece)
	if x.r.Method == http.MethodHead {
		return nil
	}
	end := time.Now().Add(streamLimit)
	w := bufio.NewWriterSize(pieces{x}, streamPiece)
	sent := 0
	view.Ascend(l.after, l.prefix, func(key string, item kv.Item) bool {
		if l.limit > 0 && sent == l.limit {
			return false
		}
		sent++
		newItemJSON(key, item, l.keysOnly).writeTo(w)
		return w.WriteByte('\n') == nil && time.Now().Before(end) && !s.machine.Stopping()
	})
	if w.Flush() != nil || !time.Now().Before(end) || s.machine.Stopping() {
		// The client must see that this is not all.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// pieces writes to the client and gives it time for each piece.
type pieces struct{ x *exchange }

func (p pieces) Write(b []byte) (int, error) {
	p.x.allowWriting(len(b))
	n, err := p.x.w.Write(b)
	if err == nil {
		err = http.NewResponseController(p.x.w).Flush()
	}
	return n, err
}

var _ io.Writer = pieces{}
