package kvserver

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/gorilla/mux"

	"raftkv/kvserver/api"
)

// notOffered are the parameters of the API that this version does not have. To
// ignore one would be to break a promise: who sends a condition counts on it.
var notOffered = []string{"cas", "min_revision", "redirect", "prefix", "limit", "after", "keys_only"}

// parseQuery reads the query. Each parameter must be one of params and stand
// there once.
func parseQuery(raw string, params []string) (map[string]string, error) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fail(errBadRequest, err, "the query cannot be read; separate parameters by & and percent-encode the rest")
	}
	query := make(map[string]string, len(values))
	for name, given := range values {
		switch {
		case slices.Contains(params, name) && len(given) == 1:
			query[name] = given[0]
		case slices.Contains(params, name):
			return query, fail(errBadRequest, nil, "the parameter %q is given %d times", name, len(given))
		case slices.Contains(notOffered, name):
			return query, fail(errBadRequest, nil, "the parameter %q is not offered by this version", name)
		default:
			return query, fail(errBadRequest, nil, "the parameter %.40q is unknown here", name)
		}
	}
	return query, nil
}

// refusedHeaders are headers that change what a request means, in ways that
// this version does not offer.
var refusedHeaders = []string{
	"If-Match", "If-None-Match", "If-Unmodified-Since", "Idempotency-Key", "Content-Range", "Content-Encoding",
}

// checkHeader refuses what this version would have to ignore.
func (x *exchange) checkHeader() error {
	for _, name := range refusedHeaders {
		if x.r.Header.Values(name) != nil {
			return fail(errBadRequest, nil, "the header %s is not offered by this version", name)
		}
	}
	return nil
}

// key returns the key in the path: 1 to MaxKeyBytes arbitrary bytes. Every byte
// may be percent-encoded, and none has a meaning, the slash included.
func (x *exchange) key() (string, error) {
	key, err := url.PathUnescape(mux.Vars(x.r)["key"])
	switch {
	case err != nil:
		return "", fail(errBadRequest, err, "the key is not percent-encoded properly")
	case key == "":
		return "", fail(errBadRequest, nil, "the key is empty; it stands after /v1/kv/ and has 1 to %d bytes", api.MaxKeyBytes)
	case len(key) > api.MaxKeyBytes:
		return "", fail(errKeyTooLong, nil, "the key has %d bytes; the longest may have %d", len(key), api.MaxKeyBytes)
	}
	return key, nil
}

// refuseBody refuses a body where none is taken.
func (x *exchange) refuseBody() error {
	if x.r.ContentLength != 0 {
		return fail(errBadRequest, nil, "%s takes no body", x.r.Method)
	}
	return nil
}

// checkLength decides by the header alone whether the body may be read, and
// returns how many bytes it can have.
func (x *exchange) checkLength() (int64, error) {
	limit := x.server.config.MaxValueBytes
	switch length := x.r.ContentLength; {
	case length > limit:
		if x.r.Header.Get("Expect") == "" {
			// Bytes of the body are on their way, and closing on them would reset
			// the connection before the client has read the answer. net/http waits
			// a moment if it saw a limit exceeded; one byte shows it that.
			_, _ = http.MaxBytesReader(x.w, x.r.Body, 0).Read(make([]byte, 1))
		}
		return 0, x.tooLarge()
	case length < 0: // chunked: the length will show
		return limit, nil
	case length == 0 && x.r.Header.Get("Content-Length") == "":
		// A forgotten body must not empty a value.
		return 0, fail(errLengthRequired, nil, "there is no body; for an empty value send Content-Length: 0")
	default:
		return length, nil
	}
}

// tooLarge refuses a body for its length. The connection ends with the answer,
// so that nothing past the limit has to be read.
func (x *exchange) tooLarge() error {
	x.w.Header().Set("Connection", "close")
	return fail(errValueTooLarge, nil, "a value may have %d bytes at most", x.server.config.MaxValueBytes)
}

// firstBodyBytes bounds what is set aside for a body before its bytes come.
const firstBodyBytes = 16 << 10

// readBody reads the body, which the header says has length bytes at most.
func (x *exchange) readBody(length int64) ([]byte, error) {
	from := http.MaxBytesReader(x.w, x.r.Body, x.server.config.MaxValueBytes)
	body := make([]byte, 0, min(length, firstBodyBytes)+1)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		var tooLarge *http.MaxBytesError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.As(err, &tooLarge):
			return nil, x.tooLarge()
		default:
			return nil, fail(errBadRequest, err, "the body ended after %d bytes, before it was complete", len(body))
		}
	}
}
