package httpd

import (
	"net/http"
	"net/url"
	"slices"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/port"
)

// conditional are the headers that make a request conditional: those of RFC 9110, and the
// guard by a lock.
var conditional = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", api.HeaderIfLock}

// checkAgainst refuses what would have to be ignored, because the route gives it no
// meaning: a client that sends a condition, a parameter or a body counts on it.
func (x *exchange) checkAgainst(r Route) error {
	if err := x.parseQuery(r.Query); err != nil {
		return err
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	for _, name := range conditional {
		// The dates of values are not known, so that they may all have been
		// modified since any other: RFC 9110, 13.1.3.
		known := slices.Contains(r.Headers, name) || reads && name == "If-Modified-Since"
		if !known && x.r.Header[name] != nil {
			return failure.Of(failure.BadRequest, nil, "the header %s has no meaning for this request", name)
		}
	}
	switch {
	case x.r.Header["Content-Range"] != nil:
		return failure.Of(failure.BadRequest, nil, "a value is written whole or appended to; Content-Range is not taken")
	case x.r.ContentLength != 0 && (reads || r.Method == http.MethodDelete):
		return failure.Of(failure.BadRequest, nil, "%s takes no body", r.Method)
	}
	return nil
}

// parseQuery reads the query. Each parameter must be one of params and stand
// there once, but for the selectors of a watch.
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
		case x.route.Path == "/v1/watch" && (name == "key" || name == "prefix" || name == "lock"):
			if x.repeated == nil {
				x.repeated = map[string][]string{}
			}
			x.repeated[name] = given
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
	key, err := url.PathUnescape(x.rawKey)
	if err != nil {
		return "", failure.Of(failure.BadRequest, err, "the key is not percent-encoded properly")
	}
	return key, kvserver.CheckKey(key, "stands after /v1/kv/ and has")
}

// number reads a parameter that is a whole number from lowest to highest, and
// returns absent if it is not given.
func (x *exchange) number(name string, lowest, highest, absent uint64) (uint64, error) {
	text, given := x.query[name]
	if !given {
		return absent, nil
	}
	n, ok := port.ParseNumber(text)
	if !ok || n < lowest || n > highest {
		return 0, failure.Of(failure.BadRequest, nil, "the parameter %q is %.40q; it must be a whole number from %d to %d", name, text, lowest, highest)
	}
	return n, nil
}

// flag reads a parameter that is there or not.
func (x *exchange) flag(name string) (bool, error) {
	value, given := x.query[name]
	if given && !slices.Contains([]string{"", "1", "true"}, value) {
		return false, failure.Of(failure.BadRequest, nil, "the parameter %q takes no value", name)
	}
	return given, nil
}
