package kvserver

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gorilla/mux"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// conditional are the headers of RFC 9110 that make a request conditional.
var conditional = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}

// keepTo refuses what would have to be ignored, because the route gives it no
// meaning: who sends a condition, a parameter or a body counts on it.
func (x *exchange) keepTo(r Route) error {
	if err := x.parseQuery(r.Query); err != nil {
		return err
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	for _, name := range conditional {
		// The dates of values are not known, so that they may all have been
		// modified since any other: RFC 9110, 13.1.3.
		known := slices.Contains(r.Headers, name) || reads && name == "If-Modified-Since"
		if !known && x.r.Header.Values(name) != nil {
			return failure.Of(failure.BadRequest, nil, "the header %s has no meaning for this request", name)
		}
	}
	switch {
	case x.r.Header.Values("Content-Range") != nil:
		return failure.Of(failure.BadRequest, nil, "a value is written whole or appended to; Content-Range is not taken")
	case x.r.ContentLength != 0 && (reads || r.Method == http.MethodDelete):
		return failure.Of(failure.BadRequest, nil, "%s takes no body", r.Method)
	}
	return nil
}

// parseQuery reads the query. Each parameter must be one of params and stand
// there once.
func (x *exchange) parseQuery(params []string) error {
	if x.r.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return failure.Of(failure.BadRequest, err, "the query cannot be read; separate parameters by & and percent-encode the rest")
	}
	x.query = make(map[string]string, len(values))
	for name, given := range values {
		switch {
		case !slices.Contains(params, name):
			return failure.Of(failure.BadRequest, nil, "the parameter %.40q is unknown here", name)
		case len(given) > 1:
			return failure.Of(failure.BadRequest, nil, "the parameter %q is given %d times", name, len(given))
		}
		x.query[name] = given[0]
	}
	return nil
}

// key returns the key in the path: 1 to MaxKeyBytes arbitrary bytes. Every byte
// may be percent-encoded, and none has a meaning, the slash included.
func (x *exchange) key() (string, error) {
	key, err := url.PathUnescape(mux.Vars(x.r)["key"])
	switch {
	case err != nil:
		return "", failure.Of(failure.BadRequest, err, "the key is not percent-encoded properly")
	case key == "":
		return "", failure.Of(failure.BadRequest, nil, "the key is empty; it stands after /v1/kv/ and has 1 to %d bytes", api.MaxKeyBytes)
	}
	return key, checkKeyLength("key", key)
}

// checkKeyLength refuses what is longer than any key.
func checkKeyLength(what, key string) error {
	if len(key) > api.MaxKeyBytes {
		return failure.Of(failure.KeyTooLong, nil, "the %s has %d bytes; the longest key may have %d", what, len(key), api.MaxKeyBytes)
	}
	return nil
}

// number reads a parameter that is a whole number from least to most, and
// returns absent if it is not given.
func (x *exchange) number(name string, least, most, absent uint64) (uint64, error) {
	text, given := x.query[name]
	if !given {
		return absent, nil
	}
	n, ok := parseNumber(text)
	if !ok || n < least || n > most {
		return 0, failure.Of(failure.BadRequest, nil, "the parameter %q is %.40q; it must be a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// parseNumber reads a number as it is written most shortly: digits only.
func parseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == text
}

// flag reads a parameter that is there or not.
func (x *exchange) flag(name string) (bool, error) {
	value, given := x.query[name]
	if given && !slices.Contains([]string{"", "1", "true"}, value) {
		return false, failure.Of(failure.BadRequest, nil, "the parameter %q takes no value", name)
	}
	return given, nil
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
		return 0, x.tooLarge(length)
	case length < 0: // chunked: the length will show
		return limit, nil
	case length == 0 && x.r.Header.Get("Content-Length") == "":
		// A forgotten body must not empty a value. It may come all the same, behind
		// the header, and would be taken for the next request.
		x.w.Header().Set("Connection", "close")
		return 0, failure.Of(failure.LengthRequired, nil, "there is no body; for an empty value send Content-Length: 0")
	default:
		return length, nil
	}
}

// tooLarge refuses a body for its length, -1 if that is not known. The connection
// ends with the answer, so that nothing past the limit has to be read.
func (x *exchange) tooLarge(length int64) error {
	x.w.Header().Set("Connection", "close")
	return x.server.valueTooLarge(length)
}

const (
	// firstBodyBytes bounds what is set aside for a body before its bytes come,
	// nextBodyBytes what is when so many have come. Thousands of clients may
	// announce a body and not send it.
	firstBodyBytes = 1 << 10
	nextBodyBytes  = 4 << 10
	// smallBodyBytes is up to where a body may use the memory that large ones
	// must leave: a quarter of it.
	smallBodyBytes = 64 << 10
)

// body is a request's body, read whole. The memory it takes is accounted for
// until it is released.
type body struct {
	bytes    []byte
	budget   *budget
	reserved int64
}

// release gives the memory back. It may be called again.
func (b *body) release() {
	b.budget.give(b.reserved)
	b.reserved = 0
}

// grow makes room for more bytes, or reports that the server has none.
func (b *body) grow(length int64) bool {
	least := int64(nextBodyBytes)
	if len(b.bytes) == 0 {
		least = firstBodyBytes
	}
	more := max(int64(cap(b.bytes)), min(length, least)+1)
	if left := length + 1 - int64(len(b.bytes)); left > 0 {
		more = min(more, left)
	}
	reserve := int64(0)
	if int64(cap(b.bytes))+more > smallBodyBytes {
		reserve = b.budget.most / 4
	}
	if !b.budget.take(more, reserve) {
		return false
	}
	b.reserved += more
	grown := make([]byte, len(b.bytes), int64(cap(b.bytes))+more)
	copy(grown, b.bytes)
	b.bytes = grown
	return true
}

// readBody reads the body, which the header says has length bytes at most. The
// client must keep up a pace; see allowReading. The body must be released, also
// after an error.
func (x *exchange) readBody(length int64) (*body, error) {
	b := &body{budget: &x.server.bodies}
	from := http.MaxBytesReader(x.w, x.r.Body, x.server.config.MaxValueBytes)
	for {
		if len(b.bytes) == cap(b.bytes) {
			if !b.grow(length) {
				return b, x.server.noMemory()
			}
			x.allowReading(len(b.bytes))
		}
		n, err := from.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		var tooLarge *http.MaxBytesError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			connOf(x.r).serving()
			return b, nil
		case errors.As(err, &tooLarge):
			return b, x.tooLarge(-1)
		default:
			return b, failure.Of(failure.BadRequest, err, "the body ended after %d bytes, before it was complete", len(b.bytes))
		}
	}
}
