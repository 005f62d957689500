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
	limit         int // 0: all, when streaming
	keysOnly      bool
	pin           bool // the pages behind this one show the same state
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
	if l.limit == 0 {
		l.limit = api.DefaultPageItems
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	if read, err := x.awaitChange(watch.Selectors{Prefixes: []string{l.prefix}}, f, nil); !read || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	p, err := d.server.List(ctx, &x.who, l.query(), f)
	if err != nil {
		if f.Pinned && l.after != "" {
			x.next = x.nextPage(l.after, "at_revision", "") // for who takes a list of several states
		}
		return err
	}
	x.stampConsistency(f)
	x.answerPage(p, l)
	return nil
}

// query names the page that a list asks for.
func (l listing) query() kvserver.Query {
	return kvserver.Query{Prefix: l.prefix, After: l.after, Limit: l.limit, MaxBytes: api.MaxPageBytes, KeysOnly: l.keysOnly}
}

func (x *exchange) listing() (l listing, err error) {
	l.prefix, l.after = x.query["prefix"], x.query["after"]
	if err := kvserver.CheckKeyLength("prefix", l.prefix); err != nil {
		return l, err
	}
	if err := kvserver.CheckKeyLength("key in the parameter after", l.after); err != nil {
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
		l.pin, err = x.flag("pin")
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
		items[i] = newItemJSON(item.Key, x.door.shown(item.Item), item.Lease, l.keysOnly)
	}
	before := `{"items":[`
	after := `],"revision":` + strconv.FormatUint(p.Revision, 10) + "}\n"
	h := x.w.Header()
	if p.More {
		pinned := ""
		if l.pin {
			pinned = strconv.FormatUint(p.Revision, 10)
		}
		next := x.nextPage(p.Items[len(p.Items)-1].Key, "pin", pinned)
		h.Set("Link", "<"+next+`>; rel="next"`)
		// The path holds nothing that JSON would have to escape.
		after = `],"revision":` + strconv.FormatUint(p.Revision, 10) + `,"next":"` + next + "\"}\n"
	}
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
	if at != "" {
		for _, name := range []string{"consistency", "min_revision", "wait", "changed_after"} {
			query.Del(name) // which is the revision's to say
		}
		query.Set("at_revision", at)
	}
	query.Set("after", after)
	return "/v1/kv?" + query.Encode()
}
