package httpd

import (
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/events"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// serveGet serves GET and HEAD; net/http leaves out the body of the latter.
func (d *Door) serveGet(x *exchange) error {
	key, err := x.key()
	if err != nil {
		return err
	}
	has, err := x.clientHas()
	if err != nil {
		return err
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	if len(x.query) > 0 { // most reads wait for nothing, and need no selector
		if read, err := x.awaitChange(watch.Selectors{Keys: []string{key}}, f, has); !read || err != nil {
			return err
		}
		if _, waited := x.query["wait"]; waited {
			has = nil // what was waited for is sent, whatever tags the client named
		}
	}
	ctx, cancel := x.context()
	defer cancel()
	read, err := d.server.Get(ctx, &x.who, key, f)
	if err != nil {
		return err
	}
	x.stampConsistency(f)
	h := x.w.Header()
	x.stampNumber(api.HeaderRevision, read.Revision)
	h["Vary"] = valueAccept
	if !read.Found {
		return failure.Of(failure.KeyNotFound, nil, "there is no such key in revision %d", read.Revision)
	}
	item := d.shown(read.Item)
	x.stampItem(item.Revision, item.Version)
	if item.Created != 0 {
		x.stampNumber(api.HeaderCreated, item.Created)
	}
	x.stampTie(read)
	if has != nil && has(read.Item.Revision) {
		x.answer(http.StatusNotModified, nil)
		return nil
	}
	if accepts(x.r.Header, api.MediaJSON) {
		x.answerValue(key, item, read.Lease)
		return nil
	}
	h["Content-Type"] = valueBytes
	x.answer(http.StatusOK, read.Item.Value)
	return nil
}

// answerValue sends one item as JSON.
func (x *exchange) answerValue(key string, item kv.Item, lease int64) {
	j := newItemJSON(key, item, lease, shape{})
	x.w.Header()["Content-Type"] = valueJSON
	x.stampNumber("Content-Length", uint64(j.length()+1))
	x.begin(http.StatusOK, j.length())
	j.writeTo(x.w)
	_, _ = io.WriteString(x.w, "\n")
}

// freshness returns what a read must see, which is the client's choice. sent says
// that the client was sent to the leader instead.
func (x *exchange) freshness() (f kvserver.Freshness, sent bool, err error) {
	if f, err = x.askedFreshness(); err != nil {
		return f, false, err
	}
	sent, err = x.door.redirect(x)
	return f, sent, err
}

// askedFreshness reads what a read must see from the parameters.
func (x *exchange) askedFreshness() (f kvserver.Freshness, err error) {
	consistency, err := x.consistency()
	if err != nil {
		return f, err
	}
	f.Linearizable = consistency == api.ConsistencyLinearizable
	f.MinRevision, err = x.number("min_revision", 0, 1<<64-1, 0)
	if err != nil {
		return f, err
	}
	if _, f.Pinned = x.query["at_revision"]; !f.Pinned {
		return f, nil
	}
	for _, other := range []string{"consistency", "min_revision", "wait", "changed_after", "pin"} {
		if _, given := x.query[other]; given {
			return f, failure.Of(failure.BadRequest, nil, "the parameters at_revision and %s do not go together: the store at a revision does not change", other)
		}
	}
	f.Linearizable = false
	f.At, err = x.number("at_revision", 0, 1<<64-1, 0)
	return f, err
}

// stampConsistency says in the header what a read has seen.
func (x *exchange) stampConsistency(f kvserver.Freshness) {
	consistency := valueStale
	switch {
	case f.Pinned:
		consistency = valuePinned
	case f.Linearizable:
		consistency = valueLinearizable
	}
	x.w.Header()[api.HeaderConsistency] = consistency
}

// consistency returns the consistency that a read asks for.
func (x *exchange) consistency() (string, error) {
	asked, given := x.query["consistency"]
	switch {
	case !given, asked == api.ConsistencyLinearizable:
		return api.ConsistencyLinearizable, nil
	case asked == api.ConsistencyStale:
		return asked, nil
	case asked == api.ConsistencyLease:
		return "", failure.Of(failure.BadRequest, nil, "lease reads are not enabled on this node; choose linearizable or stale")
	}
	return "", failure.Of(failure.BadRequest, nil, "the consistency %.40q is unknown; choose linearizable or stale", asked)
}

// accepts reports whether the client names a media type among what it accepts.
// A client that accepts anything gets the default, the raw value.
func accepts(h http.Header, media string) bool {
	for _, line := range h["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(name), media) {
				continue
			}
			q, weighted := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !weighted || err != nil || weight > 0
		}
	}
	return false
}

// itemJSON is an item as JSON, an api.Value, in pieces: the value is not copied
// but encoded on its way out, so that large ones cost no memory however slowly
// clients read.
type itemJSON struct {
	before, after []byte
	value         []byte // nil: only the key was asked for
	text          bool   // the value is written as text
}

// shape says how items are shown.
type shape struct {
	keysOnly bool
	text     bool // values that are UTF-8 as text
}

func newItemJSON(key string, item kv.Item, lease int64, as shape) itemJSON {
	j := itemJSON{before: appendKeyName(nil, key)}
	if !as.keysOnly {
		name := `,"value":"`
		if j.text = as.text && utf8.Valid(item.Value); j.text {
			name = `,"text":"`
		}
		j.before = append(j.before, name...)
		j.value = slices.Clip(item.Value)
		j.after = append(j.after, '"')
	}
	j.after = appendVersions(j.after, item.Revision, item.Version)
	if item.Created != 0 {
		j.after = strconv.AppendUint(append(j.after, `,"created":`...), item.Created, 10)
	}
	if lease != 0 {
		j.after = strconv.AppendInt(append(j.after, `,"lease":`...), lease, 10)
	}
	j.after = append(j.after, '}')
	return j
}

// length is the number of bytes that writeTo writes.
func (j itemJSON) length() int {
	if j.text {
		var text counter
		events.WriteText(&text, j.value)
		return len(j.before) + int(text) + len(j.after)
	}
	return len(j.before) + base64.StdEncoding.EncodedLen(len(j.value)) + len(j.after)
}

// counter counts the bytes that are written to it.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// writeTo writes the item. Errors of w are for its user to notice.
func (j itemJSON) writeTo(w io.Writer) {
	_, _ = w.Write(j.before)
	switch {
	case j.text:
		events.WriteText(w, j.value)
	case len(j.value) > 0:
		e := base64.NewEncoder(base64.StdEncoding, w)
		_, _ = e.Write(j.value)
		_ = e.Close()
	}
	_, _ = w.Write(j.after)
}
