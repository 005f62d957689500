package httpd

import (
	"bufio"
	"net/http"
	"net/url"
	"strconv"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/watch"
)

// listing is what a list asks for.
type listing struct {
	prefix, after string
	from, to      string // instead of the prefix
	limit         int    // 0: all, when streaming
	shape
	pin       bool // the pages behind this one show the same state
	count     bool // of the keys in the range
	countOnly bool // and no keys
}

// serveList serves keys in the order of their bytes: a page of JSON, or all of
// them as lines.
func (d *Door) serveList(x *exchange) error {
	l, err := x.listing()
	if err != nil {
		return err
	}
	x.w.Header().Set("Vary", "Accept")
	if accepts(x.r.Header, api.MediaNDJSON) {
		return d.streamList(x, l)
	}
	if l.limit == 0 && !l.countOnly {
		l.limit = api.DefaultPageItems
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	if read, err := x.awaitChange(l.selectors(), f, nil); !read || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	p, err := d.server.List(ctx, &x.who, l.query(), f)
	if err != nil {
		if f.Pinned && l.after != "" {
			x.next = x.nextPage(l.after, "at_revision", "") // for a client that takes a list of several states
		}
		return err
	}
	x.stampConsistency(f)
	x.answerPage(p, l)
	return nil
}

// query names the page that a list asks for.
func (l listing) query() kvserver.Query {
	return kvserver.Query{
		Prefix: l.prefix, From: l.from, To: l.to, After: l.after,
		Limit: l.limit, MaxBytes: api.MaxPageBytes, KeysOnly: l.keysOnly, Count: l.count,
	}
}

// selectors are what a list that waits follows.
func (l listing) selectors() watch.Selectors {
	if l.from == "" && l.to == "" {
		return watch.Selectors{Prefixes: []string{l.prefix}}
	}
	return watch.Selectors{Ranges: []watch.Range{{From: l.from, To: l.to}}}
}

// keys reads which keys a list is about.
func (l *listing) keys(x *exchange) error {
	l.prefix, l.from, l.to, l.after = x.query["prefix"], x.query["from"], x.query["to"], x.query["after"]
	for _, given := range []struct{ what, text string }{
		{"prefix", l.prefix}, {"key in the parameter from", l.from}, {"key in the parameter to", l.to}, {"key in the parameter after", l.after},
	} {
		if err := kvserver.CheckKeyLength(given.what, given.text); err != nil {
			return err
		}
	}
	switch ranged := l.from != "" || l.to != ""; {
	case ranged && l.prefix != "":
		return failure.Of(failure.BadRequest, nil, "a list is of a prefix, or of the keys from one on up to another one; leave out prefix, or from and to")
	case l.to != "" && l.to <= l.from:
		return failure.Of(failure.BadRequest, nil, "the range ends at %.40q, which does not stand behind its beginning, %.40q", l.to, l.from)
	}
	return nil
}

func (x *exchange) listing() (l listing, err error) {
	if err := l.keys(x); err != nil {
		return l, err
	}
	limitOf := uint64(api.MaxPageItems)
	if accepts(x.r.Header, api.MediaNDJSON) {
		limitOf = 1<<63 - 1
	}
	limit, err := x.number("limit", 1, limitOf, 0)
	if err == nil {
		l.keysOnly, err = x.flag("keys_only")
	}
	if err == nil {
		l.text, err = x.flag("text")
	}
	if err == nil {
		l.pin, err = x.flag("pin")
	}
	if err == nil {
		l.count, err = x.flag("count")
	}
	if err == nil {
		l.countOnly, err = x.flag("count_only")
	}
	l.count = l.count || l.countOnly
	if err == nil && l.count && accepts(x.r.Header, api.MediaNDJSON) {
		err = failure.Of(failure.BadRequest, nil, "a list that is streamed has no count; leave out count and count_only, or ask for a page")
	}
	if err == nil && l.countOnly && limit > 0 {
		err = failure.Of(failure.BadRequest, nil, "count_only shows no keys, so it has no limit; leave out limit, or ask for count")
	}
	if err == nil && l.pin && accepts(x.r.Header, api.MediaNDJSON) {
		err = failure.Of(failure.BadRequest, nil, "a list that is streamed shows one state as it is; leave out pin, or ask for pages")
	}
	l.limit = int(limit)
	return l, err
}

// answerPage sends a page as an api.Page.
func (x *exchange) answerPage(p kvserver.Page, l listing) {
	items := make([]itemJSON, len(p.Items))
	for i, item := range p.Items {
		items[i] = newItemJSON(item.Key, x.door.shown(item.Item), item.Lease, l.shape)
	}
	before := `{"items":[`
	after := `],"revision":` + strconv.FormatUint(p.Revision, 10)
	if l.count {
		after += `,"count":` + strconv.Itoa(p.Count)
	}
	h := x.w.Header()
	if p.More {
		pinned := ""
		if l.pin {
			pinned = strconv.FormatUint(p.Revision, 10)
		}
		next := x.nextPage(p.Items[len(p.Items)-1].Key, "pin", pinned)
		h.Set("Link", "<"+next+`>; rel="next"`)
		// The path holds nothing that JSON would have to escape.
		after += `,"next":"` + next + `"`
	}
	after += "}\n"
	length := len(before) + len(after) + max(len(items)-1, 0)
	for _, item := range items {
		length += item.length()
	}
	x.stampNumber(api.HeaderRevision, p.Revision)
	h["Content-Type"] = valueJSON
	x.stampNumber("Content-Length", uint64(length))
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

// nextPage is where the page after a key is: the same request from there on, without
// a parameter, and at a revision if that is not "".
func (x *exchange) nextPage(after, without, at string) string {
	query := url.Values{}
	for name, value := range x.query {
		query.Set(name, value)
	}
	query.Del(without)
	query.Del("count") // which was told
	if at != "" {
		for _, name := range []string{"consistency", "min_revision", "wait", "changed_after"} {
			query.Del(name) // which is the revision's to say
		}
		query.Set("at_revision", at)
	}
	query.Set("after", after)
	return "/v1/kv?" + query.Encode()
}
