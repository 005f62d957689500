package kvserver

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
)

// serveGet serves GET and HEAD; net/http leaves out the body of the latter.
func (s *Server) serveGet(x *exchange) error {
	key, err := x.key()
	if err != nil {
		return err
	}
	has, err := x.known()
	if err != nil {
		return err
	}
	var read machine.Reading
	if sent, err := s.readFor(x, func() { read = s.machine.Get(key) }); sent || err != nil {
		return err
	}
	h := x.w.Header()
	h.Set(api.HeaderRevision, strconv.FormatUint(read.Revision, 10))
	h.Set("Vary", "Accept")
	if !read.Found {
		return failure.Of(failure.KeyNotFound, nil, "there is no such key in revision %d", read.Revision)
	}
	x.stampItem(read.Item.Revision, read.Item.Version)
	if has(read.Item.Revision) {
		x.answer(http.StatusNotModified, nil)
		return nil
	}
	if accepts(x.r.Header, api.MediaJSON) {
		x.answerValue(key, read.Item)
		return nil
	}
	h.Set("Content-Type", "application/octet-stream")
	x.answer(http.StatusOK, read.Item.Value)
	return nil
}

// answerValue sends one item as JSON.
func (x *exchange) answerValue(key string, item kv.Item) {
	j := newItemJSON(key, item, false)
	h := x.w.Header()
	h.Set("Content-Type", api.MediaJSON)
	h.Set("Content-Length", strconv.Itoa(j.length()+1))
	x.begin(http.StatusOK, j.length())
	j.writeTo(x.w)
	_, _ = io.WriteString(x.w, "\n")
}

// readFor lets a read in, waits until the store shows what it must see, and
// calls read. What it must see is the client's choice, and is put into the
// answer's header. sent says that the client was sent elsewhere instead.
func (s *Server) readFor(x *exchange, read func()) (sent bool, err error) {
	consistency, err := x.consistency()
	if err != nil {
		return false, err
	}
	minRevision, err := x.number("min_revision", 0, 1<<64-1, 0)
	if err != nil {
		return false, err
	}
	if sent, err := s.redirect(x); sent || err != nil {
		return sent, err
	}
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	if err := s.awaitRevision(ctx, minRevision); err != nil {
		return false, err
	}
	if !s.reads.wait(ctx, 0) {
		return false, s.refusedEntry(ctx, &s.reads, "reads")
	}
	// It leaves before the answer is sent: how long a client takes to read is
	// no load.
	defer s.reads.leave(0)
	if err := s.machine.Quarantined(); err != nil {
		return false, err
	}
	switch {
	case s.machine.Stopping():
		return false, failure.NodeStopping(nil)
	case consistency == api.ConsistencyLinearizable:
		if err := s.awaitLinearizable(ctx); err != nil {
			return false, err
		}
	}
	read()
	s.config.Metrics.read(consistency == api.ConsistencyLinearizable, 1)
	x.w.Header().Set(api.HeaderConsistency, consistency)
	return false, nil
}

// awaitRevision waits until the store of this node has come to a revision. Such
// reads wait outside, where they take no room from others.
func (s *Server) awaitRevision(ctx context.Context, revision uint64) error {
	if s.machine.HasRevision(revision) {
		return nil
	}
	if !s.patient.enter(0) {
		return s.overloadedAs(leastRetryAfter, "too many reads are waiting for a revision (limit %d)", s.patient.maxCount)
	}
	defer s.patient.leave(0)
	return s.machine.AwaitRevision(ctx, revision)
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
// Who takes anything gets what is the rule.
func accepts(h http.Header, media string) bool {
	for _, line := range h.Values("Accept") {
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
}

func newItemJSON(key string, item kv.Item, keysOnly bool) itemJSON {
	j := itemJSON{before: bytes.TrimSuffix(encodeJSON(api.NameKey(key), ""), []byte("}\n"))}
	if !keysOnly {
		j.before = append(j.before, `,"value":"`...)
		j.value = slices.Clip(item.Value)
		j.after = append(j.after, '"')
	}
	j.after = append(j.after, `,"revision":`...)
	j.after = strconv.AppendUint(j.after, item.Revision, 10)
	j.after = append(j.after, `,"version":`...)
	j.after = strconv.AppendUint(j.after, item.Version, 10)
	j.after = append(j.after, '}')
	return j
}

// length is the number of bytes that writeTo writes.
func (j itemJSON) length() int {
	return len(j.before) + base64.StdEncoding.EncodedLen(len(j.value)) + len(j.after)
}

// writeTo writes the item. Errors of w are for its user to notice.
func (j itemJSON) writeTo(w io.Writer) {
	_, _ = w.Write(j.before)
	if len(j.value) > 0 {
		e := base64.NewEncoder(base64.StdEncoding, w)
		_, _ = e.Write(j.value)
		_ = e.Close()
	}
	_, _ = w.Write(j.after)
}
