package httpd

import (
	"net/url"
	"slices"
	"strings"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/port"
)

// condition returns the condition that a write carries: one at most, by a
// header of RFC 9110 or by the parameter cas, which is easier to type.
//
//	If-Match: "17"     the key's revision is 17        ?cas=17
//	If-Match: *        the key exists
//	If-None-Match: *   the key does not exist          ?cas=0
func (x *exchange) condition() (kv.Condition, error) {
	var conditions []kv.Condition
	for _, source := range []func() (kv.Condition, bool, error){x.ifMatch, x.ifNoneMatch, x.cas} {
		switch c, given, err := source(); {
		case err != nil:
			return kv.Condition{}, err
		case given:
			conditions = append(conditions, c)
		}
	}
	switch len(conditions) {
	case 0:
		return kv.Condition{}, nil
	case 1:
		return conditions[0], nil
	}
	return kv.Condition{}, failure.Of(failure.BadRequest, nil, "there is more than one condition; choose one of If-Match, If-None-Match and cas")
}

func (x *exchange) ifMatch() (c kv.Condition, given bool, err error) {
	text, given, err := x.single("If-Match")
	switch {
	case !given || err != nil:
		return c, given, err
	case text == "*":
		return kv.Condition{Kind: kv.IfPresent}, true, nil
	}
	revision, err := parseETag("If-Match", text)
	return kv.Condition{Kind: kv.IfRevision, Number: revision}, true, err
}

func (x *exchange) ifNoneMatch() (c kv.Condition, given bool, err error) {
	text, given, err := x.single("If-None-Match")
	if given && err == nil && text != "*" {
		err = failure.Of(failure.BadRequest, nil, "the only If-None-Match of a write is *; for a write to one revision send If-Match")
	}
	return kv.Condition{Kind: kv.IfAbsent}, given, err
}

func (x *exchange) cas() (c kv.Condition, given bool, err error) {
	text, given := x.query["cas"]
	if !given {
		return c, false, nil
	}
	revision, ok := port.ParseNumber(text)
	switch {
	case !ok:
		return c, true, failure.Of(failure.BadRequest, nil, "the parameter cas is %.40q; it must be the key's revision, or 0 for a key that does not exist", text)
	case revision == 0:
		return kv.Condition{Kind: kv.IfAbsent}, true, nil
	}
	return kv.Condition{Kind: kv.IfRevision, Number: revision}, true, nil
}

// lockToken reads the token of a lock. The error does not say the text again: it may be a
// token of an identity, which people take for it.
func lockToken(what, text string) (uint64, error) {
	token, ok := port.ParseNumber(text)
	if !ok || token == 0 {
		return 0, failure.Of(failure.BadRequest, nil, "the %s must be a whole number above 0, as a lock was answered with", what)
	}
	return token, nil
}

// guard returns the guard of a write: by the header If-Lock, or by the parameters lock and
// token, which are easier to type.
func (x *exchange) guard() (g kv.Guard, err error) {
	text, given, err := x.single(api.HeaderIfLock)
	name, named := x.query["lock"]
	token, numbered := x.query["token"]
	switch {
	case err != nil, !given && !named && !numbered:
		return g, err
	case given && (named || numbered):
		return g, failure.Of(failure.BadRequest, nil, "there are both %s and the parameters lock and token; choose one", api.HeaderIfLock)
	case !given && named != numbered:
		return g, failure.Of(failure.BadRequest, nil, "the parameters lock and token go together, as in ?lock=jobs&token=57")
	case given:
		raw, number, ok := kvserver.ParseGuard(text)
		if name, err = url.PathUnescape(raw); !ok || err != nil {
			return g, failure.Of(failure.BadRequest, err, "the header %s must be the name of a lock, percent-encoded, and its token, as in jobs;token=57", api.HeaderIfLock)
		}
		token = number
	}
	if err := kvserver.CheckLockName(name); err != nil {
		return g, err
	}
	g.Lock = name
	g.Token, err = lockToken("token of the lock", token)
	return g, err
}

// single returns the value of a header that may be there once.
func (x *exchange) single(name string) (text string, given bool, err error) {
	values := x.r.Header[name]
	switch {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1 || strings.Contains(values[0], ","):
		return "", true, failure.Of(failure.BadRequest, nil, "the header %s holds a list; one value is taken", name)
	}
	return strings.TrimSpace(values[0]), true, nil
}

// parseETag reads the entity tag of a value, which is its revision in quotes.
func parseETag(header, text string) (revision uint64, err error) {
	inside, quoted := strings.CutPrefix(text, `"`)
	inside, closed := strings.CutSuffix(inside, `"`)
	revision, ok := port.ParseNumber(inside)
	switch {
	case strings.HasPrefix(text, "W/"):
		return 0, failure.Of(failure.BadRequest, nil, "the header %s holds a weak entity tag; those of this API are strong", header)
	case !quoted || !closed || !ok || revision == 0:
		return 0, failure.Of(failure.BadRequest, nil, `the header %s is %.40q; it must be an entity tag that a value came with, such as "17"`, header, text)
	}
	return revision, nil
}

// clientHas returns a function that reports whether the client has a revision already,
// for a GET that is to be answered only if there is another one: If-None-Match
// holds what it has, one entity tag, a list of them, or * for whatever there is.
// It returns nil without that header.
func (x *exchange) clientHas() (has func(revision uint64) bool, err error) {
	const header = "If-None-Match"
	values := x.r.Header[header]
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) == 1 && strings.TrimSpace(values[0]) == "*" {
		return func(uint64) bool { return true }, nil
	}
	var revisions []uint64
	for _, value := range values {
		for text := range strings.SplitSeq(value, ",") {
			// A weak tag may be compared here: RFC 9110, 13.1.2.
			revision, err := parseETag(header, strings.TrimPrefix(strings.TrimSpace(text), "W/"))
			if err != nil {
				return nil, err
			}
			revisions = append(revisions, revision)
		}
	}
	return func(revision uint64) bool { return slices.Contains(revisions, revision) }, nil
}

// idempotencyKey returns the key that the client gave the request, bare or in
// quotes, "" if none.
func (x *exchange) idempotencyKey() (string, error) {
	values := x.r.Header[api.HeaderIdempotencyKey]
	if len(values) == 0 {
		return "", nil
	}
	bare := values[0]
	if len(bare) >= 2 && bare[0] == '"' && bare[len(bare)-1] == '"' {
		bare = bare[1 : len(bare)-1]
	}
	if len(values) > 1 || bare == "" || len(bare) > kv.MaxIdempotencyKeyBytes || strings.ContainsFunc(bare, notInIdempotencyKey) {
		return "", failure.Of(failure.BadRequest, nil, "the header %s must be there once and hold 1 to %d visible ASCII characters, in quotes or not, without quotes and backslashes inside",
			api.HeaderIdempotencyKey, kv.MaxIdempotencyKeyBytes)
	}
	return bare, nil
}

func notInIdempotencyKey(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }
