package kvserver

import (
	"net/http"
	"strconv"
	"strings"

	"raftkv/kvserver/api"
)

// serveGet serves GET and HEAD; net/http leaves out the body of the latter.
func (s *Server) serveGet(x *exchange) error {
	key, err := x.key()
	if err == nil {
		err = x.checkHeader()
	}
	if err == nil {
		err = x.refuseBody()
	}
	if err != nil {
		return err
	}
	consistency, err := x.consistency()
	if err != nil {
		return err
	}
	if !s.reads.enter(0) {
		return fail(errOverloaded, nil, "this node is serving as many reads as it may")
	}
	defer s.reads.leave(0)
	read, err := s.read(x, key, consistency)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set(api.HeaderConsistency, consistency)
	h.Set(api.HeaderRevision, strconv.FormatUint(read.revision, 10))
	h.Set("Vary", "Accept")
	if !read.found {
		return fail(errKeyNotFound, nil, "there is no such key in revision %d", read.revision)
	}
	h.Set("ETag", `"`+strconv.FormatUint(read.item.Revision, 10)+`"`)
	h.Set(api.HeaderVersion, strconv.FormatUint(read.item.Version, 10))
	if acceptsJSON(x.r.Header) {
		return x.answerJSON(http.StatusOK, api.Value{
			KeyName: api.NameKey(key), Value: read.item.Value, Revision: read.item.Revision, Version: read.item.Version,
		})
	}
	h.Set("Content-Type", "application/octet-stream")
	x.answer(http.StatusOK, read.item.Value)
	return nil
}

func (s *Server) read(x *exchange, key, consistency string) (reading, error) {
	if s.stopping() {
		return reading{}, fail(errStopping, nil, "this node is stopping")
	}
	if consistency == api.ConsistencyStale {
		return s.readLocal(key), nil
	}
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	return s.readLinearizable(ctx, key)
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
		return "", fail(errBadRequest, nil, "lease reads are not offered by this version; choose linearizable or stale")
	}
	return "", fail(errBadRequest, nil, "the consistency %.40q is unknown; choose linearizable or stale", asked)
}

// acceptsJSON reports whether the client names JSON among what it accepts. Who
// takes anything gets the raw bytes.
func acceptsJSON(h http.Header) bool {
	for _, line := range h.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			media, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
				continue
			}
			q, weighted := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !weighted || err != nil || weight > 0
		}
	}
	return false
}
