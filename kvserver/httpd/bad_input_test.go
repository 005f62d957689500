package httpd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// goodRequest returns a request that a route serves, for tests to spoil.
func goodRequest(r Route) (target, body string, header []string) {
	id := "n9"
	if strings.HasPrefix(r.Path, "/v1/leases") {
		id = "9"
	}
	name := "abcd1234"
	if strings.HasPrefix(r.Path, pagePath) {
		name = "app.js"
	}
	target = strings.NewReplacer("{key}", "k", "{name}", name, "{id}", id).Replace(r.Path)
	switch r.Method + " " + r.Path {
	case "PUT /v1/kv/{key}":
		body = "value"
	case "POST /v1/kv/{key}":
		target, body = target+"?op=append", "value"
	case "GET /v1/integrity":
		target += "?at=1"
	case "GET /v1/watch":
		target += "?key=k"
	case "POST /v1/watch":
		body = `{"selectors":[{"key":"k"}]}`
	case "DELETE /v1/kv":
		target += "?prefix=none/"
	case "POST /v1/txn":
		body = `{"then":[{"op":"put","key":"k","text":"value"}]}`
	case "POST /v1/locks/{name}":
		body = `{"lease":9}`
	case "PUT /v1/locks/{name}":
		target, body = target+"?token=3", "value"
	case "DELETE /v1/locks/{name}":
		target += "?token=3"
	case "POST /v1/leases":
		body = `{"ttl":"15s"}`
	case "POST /v1/leases/keepalive":
		body = `{"leases":[9]}`
	case "POST /v1/leader":
		body = `{"to":"n1"}`
	case "PUT /v1/auth/identities/{name}":
		body = `{"rules":[{"prefix":"a/","rights":["read"]}]}`
	case "POST /v1/auth/tokens":
		body = `{"identity":"abcd1234"}`
	case "PUT /v1/auth/state":
		body = `{"state":"observe"}`
	case "POST /v1/auth/check":
		body = `{"identity":"abcd1234","right":"read","key":"a"}`
	case "POST /v1/members/{id}":
		target += "?op=promote"
	case "POST /v1/members":
		body = `{"remove":["n9"]}`
	case "POST /v1/level":
		body = `{"hold":true}`
	case "PUT /v1/cluster/settings", "POST /v1/join", "POST /v1/join-tokens":
		body = `{}`
	}
	if body != "" && strings.HasPrefix(body, "{") {
		header = []string{"Content-Type", "application/json"}
	}
	return target, body, header
}

// badValue is a value that a parameter or header must not have.
type badValue struct {
	value  string
	status int
	code   api.Code
}

// malformed are values of which nothing can be made.
func malformed(values ...string) (bad []badValue) {
	for _, v := range values {
		bad = append(bad, badValue{v, 400, api.CodeBadRequest})
	}
	return bad
}

const overflow = "18446744073709551616"

// badParameters are the values that each parameter must not have. A parameter
// without an entry is an error; one that takes anything has an empty one.
var badParameters = map[string][]badValue{
	"consistency":  malformed("", "strong", "LINEARIZABLE", "lease"),
	"min_revision": malformed("", "-1", "+1", "1.0", "1e3", "007", "x", overflow),
	"redirect":     malformed("no", "0", "false"),
	"cas":          malformed("", "-1", "017", "x", `"17"`, overflow),
	"op":           malformed("", "increment", "APPEND"),
	"limit":        malformed("", "0", "-1", "01", "x", "1001", overflow),
	"keys_only":    malformed("no", "2"),
	"prefix":       {{strings.Repeat("k", 1025), 414, api.CodeKeyTooLong}},
	"after":        {{strings.Repeat("%00", 1025), 414, api.CodeKeyTooLong}},
	"verbose":      malformed("no"),
	"at":           malformed("", "0", "-1", "+1", "01", "x", overflow),
	"dry_run":      malformed("no", "0"),
	"here":         malformed("no", "0"),
	"seconds":      malformed("", "0", "-1", "01", "x", "1.5", "31536001", overflow),
	// Of one route only.
	"GET /v1/explain seconds":      malformed("", "0", "-1", "01", "x", "1.5", "604801", overflow),
	"POST /v1/members wait":        malformed("", "x", "5", "-1s"),
	"POST /v1/members/{id} wait":   malformed("", "x", "5", "-1s"),
	"DELETE /v1/members/{id} wait": malformed("", "x", "5", "-1s"),
	"GET /v1/recorder after":       malformed("", "-1", "+1", "01", "x", overflow),
	"GET /v1/recorder request":     malformed("", strings.Repeat("x", api.MaxRequestIDBytes+1)),
	"GET /v1/recorder limit":       malformed("", "0", "-1", "01", "x", "10001", overflow),
	"GET /v1/watch after":          malformed("", "-1", "+1", "x", overflow),

	"wait":          malformed("", "0s", "-1s", "30", "x", "601s"),
	"changed_after": malformed("", "1", "x"), // without wait
	"key":           {{"", 400, api.CodeBadRequest}, {strings.Repeat("k", 1025), 414, api.CodeKeyTooLong}},
	"from":          {{strings.Repeat("k", 1025), 414, api.CodeKeyTooLong}},
	"to":            {{strings.Repeat("k", 1025), 414, api.CodeKeyTooLong}},
	"mirror":        malformed("no"),
	"prev":          malformed("no"),
	"text":          malformed("no"),
	"progress":      malformed("", "x", "10", "99ms", "61s", "-1s"),
	"cluster":       {},
	"at_revision":   malformed("", "-1", "+1", "1.0", "x", overflow),
	"pin":           malformed("no"),
	"count":         malformed("no"),
	"count_only":    malformed("no"),
	"all":           malformed("no"),
	"partial":       malformed("no", "0"),
	"strict":        malformed("no"),
	"at_most":       malformed("", "-1", "01", "x", "10001", overflow),

	"ttl":   malformed("", "x", "5", "999ms", "-1s", "0", "9000000001s"),
	"lease": malformed("", "0", "x", "01", "%2B1", "1.0", overflow),
	"keys":  malformed("no", "2"),

	"lock":  malformed("", strings.Repeat("k", 257), "a"),        // the last without a token
	"token": malformed("", "0", "-1", "01", "x", "57", overflow), // a number without a lock

	"GET /v1/watch lock":            malformed("", strings.Repeat("k", 257)),
	"PUT /v1/locks/{name} token":    malformed("", "0", "-1", "01", "x", overflow),
	"DELETE /v1/locks/{name} token": malformed("", "0", "-1", "01", "x", overflow),
	"GET /v1/locks/{name} token":    malformed("", "0", "-1", "01", "x", overflow),
	"GET /v1/locks prefix":          malformed(strings.Repeat("k", 257)),
	"GET /v1/locks after":           malformed(strings.Repeat("k", 257)),
	"GET /v1/leases after":          malformed("", "x", "9223372036854775807", overflow),
}

// badHeaders are the values that each header must not have on reads and on
// writes, likewise. "\n" separates two lines of the same header.
var badHeaders = map[string]struct{ onReads, onWrites []badValue }{
	"Last-Event-Id":   {malformed("", "x", "-1", "1, 2", "1\n2", overflow), nil},
	"Accept":          {}, // what is not known is not asked for
	"Accept-Encoding": {},
	"If-Match":        {nil, malformed("17", `"17`, `17"`, `""`, `"x"`, `"0"`, `"-1"`, `"017"`, `W/"17"`, `"1", "2"`, "\"1\"\n\"2\"", `"`+overflow+`"`, "**", "")},
	"If-None-Match":   {malformed("17", `"x"`, `"1", 2`, `"1",`, `"1", *`, "*, *", "*\n*", "\"1\"\nx", `w/"17"`, ""), malformed(`"17"`, "17", "*, *", "*\n*", "")},
	api.HeaderIdempotencyKey: {nil, malformed("", `""`, strings.Repeat("x", 65), `"`+strings.Repeat("x", 65)+`"`,
		"two words", "ä", `"open`, `open"`, `a"b`, `a\b`, "tab\there", "one\ntwo", "\x7f")},
	api.HeaderIfLock: {nil, malformed("", "jobs", "jobs;57", "jobs;token=", "jobs;token=x", "jobs;token=0", ";token=5", "%zz;token=5", "a;token=5, b;token=6", "a;token=5\nb;token=6",
		strings.Repeat("k", 257)+";token=5", "jobs;token="+overflow)},
	"Content-Type": {nil, []badValue{{"", 415, api.CodeUnsupportedMedia}, {"text/plain", 415, api.CodeUnsupportedMedia},
		{"application/x-www-form-urlencoded", 415, api.CodeUnsupportedMedia}, {"application/json; charset", 415, api.CodeUnsupportedMedia}}},
}

// badBodies are the bodies that a route must not get, by route. A route that
// takes a body and has no entry is an error.
var badBodies = map[string][]badValue{
	"PUT /v1/kv/{key}":  {{strings.Repeat("x", 101), 413, api.CodeValueTooLarge}},
	"POST /v1/kv/{key}": {{strings.Repeat("x", 101), 413, api.CodeValueTooLarge}, {strings.Repeat("x", 98), 413, api.CodeValueTooLarge}}, // the last would grow too large
	"POST /v1/txn": append(malformed("", "{", "[]", "null", `"x"`, `{}{}`, `{"Then":[]}`, `{"then":[],"then":[]}`, `{"then":[{"op":"put","key":"k","key":"l","text":""}]}`,
		`{"then":[{"op":"put","key":"k"}]}`, `{"then":[{"op":"put","text":"x"}]}`, `{"then":[{"op":"get","key":"k","text":"x"}]}`, `{"then":[{"op":"put","prefix":"k","text":"x"}]}`,
		`{"then":[{"op":"list","key":"k"}]}`, `{"then":[{"op":"list","prefix":"k","limit":0}]}`, `{"then":[{"op":"increment","key":"k"}]}`, `{"then":[{"op":"put","key":"`+strings.Repeat("k", 1025)+`","text":""}]}`,
		`{"if":[{"key":"k"}]}`, `{"if":[{"key":"k","revision":1,"version":1}]}`, `{"if":[{"key":"k","revision":1,"is":"~"}]}`, `{"if":[{"key":"k","count":1}]}`, `{"if":[{"key":"k","revision":-1}]}`,
		`{"if":[{"prefix":"k","count":1,"is":"<"}]}`, `{"then":[{"op":"put","key":"k","value":"?"}]}`, `{"then":[{"op":"txn","key":"k"}]}`, `{"then":[{"op":"get","key":"`+"\xff"+`"}]}`),
		badValue{`{"then":[` + strings.Repeat(`{"op":"get","key":"k"},`, 1024) + `{"op":"get","key":"k"}]}`, 413, api.CodeTxnTooLarge},
		badValue{strings.Repeat(`{"then":[{"op":"txn",`, 129) + `"then":[]` + strings.Repeat(`}]}`, 129), 400, api.CodeBadRequest},
		badValue{`{"then":[{"op":"txn","then":[` + strings.Repeat(`{"op":"txn","then":[`, 129) + strings.Repeat(`]}`, 129) + `]}]}`, 413, api.CodeTxnTooLarge}),
	"POST /v1/watch": append(malformed("", "{", "[]", "null", `{}`, `{"selectors":[]}`, `{"selectors":[{}]}`, `{"selectors":[{"key":""}]}`, `{"Selectors":[{"key":"k"}]}`,
		`{"selectors":[{"key":"k"}]}{}`, `{"selectors":[{"key":"k"}],"selectors":[{"key":"k"}]}`, `{"selectors":[{"key":"k","prefix":"k"}]}`, `{"selectors":[{"key":"k","from":"k"}]}`,
		`{"selectors":[{"key":"k","key_base64":"aw=="}]}`, `{"selectors":[{"from":"b","to":"a"}]}`, `{"selectors":[{"lock":"l","key":"k"}]}`, `{"selectors":[{"lock":""}]}`, `{"selectors":[{"key":"k"}],"after":-1}`,
		`{"selectors":[{"key":"k"}],"after":"57"}`, `{"selectors":[{"key":"k"}],"progress":"1h"}`, `{"selectors":[{"key":"k"}],"mirror":"1"}`, `{"selectors":[{"key":"`+"\xff"+`"}]}`,
		`{"selectors":[`+strings.Repeat(`{"key":"k"},`, api.MaxSelectors)+`{"key":"k"}]}`),
		badValue{`{"selectors":[{"key":"` + strings.Repeat("k", 1025) + `"}]}`, 414, api.CodeKeyTooLong},
		badValue{`{"selectors":[{"key":"` + strings.Repeat("k", api.MaxWatchBytes) + `"}]}`, 413, api.CodeValueTooLarge}),
	"POST /v1/leader": append(malformed("{", "[]", "null", `"n1"`, `{"to":1}`, `{"to":null,"to":"n1"}`, `{"to":"n1"}{}`, `{"to":"n1","x":1}`, `{"TO":"n1"}`,
		`{"to":"nobody"}`, strings.Repeat(`{"to":`, 500)+"1", "\xff\xff"), badValue{`{"to":"` + strings.Repeat("n", 5000) + `"}`, 413, api.CodeValueTooLarge}),
	"PUT /v1/auth/identities/{name}": malformed("", "{", "[]", "null", `{"rules":null}`, `{"Rules":[]}`, `{"rules":[],"rules":[]}`, `{"rules":[]}{}`, `{"deny":[]}`,
		`{"rules":[{"rights":["read"]}]}`, `{"rules":[{"prefix":"a","rights":["x"]}]}`, `{"rules":[{"prefix":"a","rights":[]}]}`, `{"limits":{"x":1}}`, `{"limits":{"in_flight":-1}}`, `{"disabled":1}`),
	"POST /v1/auth/tokens": malformed("", "{}", "null", `{"identity":""}`, `{"identity":"a b"}`, `{"identity":"a","ttl":"x"}`, `{"identity":"a","ttl":"-1h"}`, `{"identity":"a","token":"x"}`,
		`{"identity":"a","comment":"`+strings.Repeat("c", 129)+`"}`),
	"POST /v1/locks/{name}": append(malformed("", "{", "[]", "null", "{}", `{"ttl":"x"}`, `{"ttl":"999ms"}`, `{"ttl":"15s","lease":9}`, `{"lease":"9"}`, `{"Lease":9}`, `{"lease":9,"lease":9}`,
		`{"lease":9}{}`, `{"lease":9,"limit":1025}`, `{"lease":9,"limit":-1}`, `{"lease":9,"delay":"61s"}`, `{"lease":9,"delay":"-1s"}`, `{"lease":9,"text":"a","value":"YQ=="}`, `{"lease":9,"value":"?"}`,
		`{"lease":9,"text":"`+strings.Repeat("v", 1025)+`"}`), badValue{`{"lease":9,"text":"` + strings.Repeat("v", maxAcquireBytes) + `"}`, 413, api.CodeValueTooLarge}),
	"PUT /v1/locks/{name}": {{strings.Repeat("v", 1025), 413, api.CodeValueTooLarge}},
	"POST /v1/leases": append(malformed("", "{", "[]", "null", "{}", `{"ttl":"x"}`, `{"ttl":"5"}`, `{"ttl":5}`, `{"ttl":"999ms"}`, `{"ttl":"15s","lease":"1"}`,
		`{"TTL":"15s"}`, `{"ttl":"15s","ttl":"15s"}`, `{"ttl":"15s"}{}`, `{"ttl":"15s","note":"`+strings.Repeat("n", 257)+`"}`),
		badValue{`{"ttl":"15s","note":"` + strings.Repeat("n", maxGrantBytes) + `"}`, 413, api.CodeValueTooLarge}),
	"POST /v1/leases/keepalive": append(malformed("", "{", "[]", "{}", `{"leases":[]}`, `{"leases":null}`, `{"leases":["1"]}`, `{"leases":[1.5]}`, `{"leases":[`+overflow+`]}`,
		`{"leases":[`+strings.Repeat("1,", 1024)+`1]}`), badValue{`{"leases":[` + strings.Repeat("1,", maxKeepAlivesBytes/2) + `1]}`, 413, api.CodeValueTooLarge}),
	"PUT /v1/auth/state": malformed("", "{}", `{"state":"on"}`, `{"state":"enforce","revision":1}`, `{"State":"enforce"}`),
	"POST /v1/auth/check": malformed("", "{}", `{"identity":"a","right":"known"}`, `{"identity":"a","right":"read","key":"a","prefix":"a"}`,
		`{"identity":"a","right":"read"}`, `{"identity":"a","right":"acquire","key":"a"}`, `{"identity":"a","right":"backup","prefix":""}`),
	"POST /v1/members":         badObjects(`{"remove":"n9"}`, `{"wanted":"3"}`),
	"POST /v1/level":           badObjects(`{}`, `{"hold":true,"raise":3}`, `{"raise":-1}`),
	"PUT /v1/cluster/settings": badObjects(`{"wanted":"3"}`),
	"POST /v1/join":            ofPrograms(badObjects(`{"level_min":-1}`)),
	"POST /v1/join-tokens":     badObjects(`{"uses":-1}`, `{"role":1}`),
}

// badObjects are the bodies that no route gets which takes an object.
func badObjects(more ...string) []badValue {
	return append(malformed(append(more, "", "{", "[]", `"n1"`, `{}{}`, `{"nonsense":1}`, "\xff\xff")...),
		badValue{`{"remove":["` + strings.Repeat("n", maxMembersBytes) + `"]}`, 413, api.CodeValueTooLarge})
}

// ofPrograms leaves out the body with a field that is unknown: a newer program may have more.
func ofPrograms(bad []badValue) []badValue {
	return slices.DeleteFunc(bad, func(b badValue) bool { return b.value == `{"nonsense":1}` })
}

// badRequest is a request that must be refused.
type badRequest struct {
	name   string
	raw    string // as it goes over the network
	status int
	code   api.Code
}

// rawRequest spells a request out. What is in header takes the place of what
// would be sent by itself.
func rawRequest(method, target, body string, header ...string) string {
	lines := map[string]string{"Host": "kv"}
	if body != "" || method == "PUT" || method == "POST" {
		lines["Content-Length"] = fmt.Sprint(len(body))
	}
	order := []string{"Host", "Content-Length"}
	for i := 0; i < len(header); i += 2 {
		if _, known := lines[header[i]]; !known {
			order = append(order, header[i])
		}
		lines[header[i]] = header[i+1]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	for _, name := range order {
		values, given := lines[name]
		for value := range strings.SplitSeq(values, "\n") {
			if given && value != "(none)" {
				fmt.Fprintf(&b, "%s: %s\r\n", name, value)
			}
		}
	}
	return b.String() + "\r\n" + body
}

// with adds a parameter to a target.
func with(target, parameter string) string {
	if strings.Contains(target, "?") {
		return target + "&" + parameter
	}
	return target + "?" + parameter
}

// without removes the parameters of a target.
func without(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// badRequests spoils a good request of a route in all ways there are.
func badRequests(t testing.TB, r Route) (all []badRequest) {
	add := func(name string, status int, code api.Code, raw string) {
		all = append(all, badRequest{name: name, raw: raw, status: status, code: code})
	}
	name := r.Method + " " + r.Path
	target, body, header := goodRequest(r)
	plain := func(target string, more ...string) string {
		return rawRequest(r.Method, target, body, append(slices.Clone(header), more...)...)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"} {
		taken := slices.ContainsFunc(Routes(), func(other Route) bool { return other.Path == r.Path && other.Method == method })
		if !taken {
			add("wrong method "+method, 405, api.CodeMethodNotAllowed, rawRequest(method, target, body, header...))
		}
	}
	for _, q := range []string{"nonsense=1", "pretty", "=", "a;b", "%zz=1", "a=%", "\xff=1"} {
		add("unknown parameter "+q, 400, api.CodeBadRequest, plain(with(target, q)))
	}
	for _, parameter := range r.Query {
		bad, known := badParameters[name+" "+parameter]
		if !known {
			bad, known = badParameters[parameter]
		}
		if !known {
			t.Errorf("%s: what values must the parameter %s not have?", name, parameter)
		}
		rest := target
		if strings.Contains(target, parameter+"=") {
			rest = without(target)
		}
		for _, v := range bad {
			add(fmt.Sprintf("parameter %s=%.20s", parameter, v.value), v.status, v.code, plain(with(rest, parameter+"="+v.value)))
		}
		if r.Path == "/v1/watch" && (parameter == "key" || parameter == "prefix" || parameter == "lock") {
			continue // may be given several times
		}
		add("parameter twice: "+parameter, 400, api.CodeBadRequest, plain(with(with(rest, parameter+"=1"), parameter+"=1")))
	}
	for _, h := range append([]string{"If-Match", "If-None-Match", "If-Unmodified-Since", "Content-Range"}, r.Headers...) {
		bad := badHeaders[h].onReads
		if r.Method != "GET" && r.Method != "HEAD" {
			bad = badHeaders[h].onWrites
		}
		switch _, known := badHeaders[h]; {
		case h == "If-None-Match" && strings.HasPrefix(r.Path, pagePath):
			continue // a tag of another version, in whatever form, is not this file's
		case !slices.Contains(r.Headers, h):
			bad = malformed(`"17"`, "*")
		case !known:
			t.Errorf("%s: what values must the header %s not have?", name, h)
		}
		for _, v := range bad {
			add(fmt.Sprintf("header %s: %.20s", h, v.value), v.status, v.code, plain(target, h, v.value))
		}
	}
	if slices.Contains(r.Headers, "If-Match") && strings.HasPrefix(r.Path, "/v1/kv") {
		add("two conditions", 400, api.CodeBadRequest, plain(target, "If-Match", "*", "If-None-Match", "*"))
		add("two conditions", 400, api.CodeBadRequest, plain(with(target, "cas=1"), "If-Match", `"1"`))
		add("two conditions", 400, api.CodeBadRequest, plain(with(target, "cas=0"), "If-None-Match", "*"))
		add("a condition that does not hold", 412, api.CodePreconditionFailed, plain(with(target, "cas=99")))
		add("a condition that does not hold", 412, api.CodePreconditionFailed, plain(target, "If-None-Match", "*"))
	}
	all = append(all, badPaths(r, plain)...)
	all = append(all, badBodiesOf(t, r, target, body, header)...)
	return append(all, badForAll(r, target, body, header)...)
}

// badPaths spoils the key.
func badPaths(r Route, plain func(target string, more ...string) string) (all []badRequest) {
	prefix, hasKey := strings.CutSuffix(r.Path, "{key}")
	if !hasKey {
		return []badRequest{{name: "a slash too many", raw: plain(r.Path + "/"), status: badPathStatus(r.Path), code: badPathCode(r.Path)}}
	}
	rest := ""
	if r.Method == "POST" {
		rest = "?op=append"
	}
	for _, bad := range []struct {
		key    string
		status int
		code   api.Code
	}{
		{"", 400, api.CodeBadRequest}, {strings.Repeat("k", 1025), 414, api.CodeKeyTooLong}, {strings.Repeat("%00", 1025), 414, api.CodeKeyTooLong},
		{"%zz", 400, api.CodeBadRequest}, {"a%", 400, api.CodeBadRequest}, {"a%2", 400, api.CodeBadRequest}, {"a b", 400, api.CodeBadRequest}, {"a\x01", 400, api.CodeBadRequest},
	} {
		all = append(all, badRequest{name: fmt.Sprintf("key %.10q", bad.key), raw: plain(prefix + bad.key + rest), status: bad.status, code: bad.code})
	}
	return all
}

// A path that ends in a slash is nothing, except that the list's is the empty key.
func badPathStatus(path string) int {
	if path == "/v1/kv" {
		return 400
	}
	return 404
}

func badPathCode(path string) api.Code {
	if path == "/v1/kv" {
		return api.CodeBadRequest
	}
	return api.CodeNotFound
}

// stalls is the name of requests whose body does not come to its end.
const stalls = "a body that stalls"

// badBodiesOf spoils the body.
func badBodiesOf(t testing.TB, r Route, target, body string, header []string) (all []badRequest) {
	add := func(name string, status int, code api.Code, raw string) {
		all = append(all, badRequest{name: name, raw: raw, status: status, code: code})
	}
	request := func(body string, more ...string) string {
		return rawRequest(r.Method, target, body, append(slices.Clone(header), more...)...)
	}
	if r.Method != "PUT" && r.Method != "POST" || r.Path == "/v1/members/{id}" || r.Path == "/v1/leases/{id}/keepalive" {
		add("a body", 400, api.CodeBadRequest, request("body"))
		add("a body", 400, api.CodeBadRequest, request("4\r\nbody\r\n0\r\n\r\n", "Content-Length", "(none)", "Transfer-Encoding", "chunked"))
		return all
	}
	bad, known := badBodies[r.Method+" "+r.Path]
	if !known {
		t.Errorf("%s %s: what bodies must it not get?", r.Method, r.Path)
	}
	for _, v := range bad {
		add(fmt.Sprintf("body %.20q", v.value), v.status, v.code, request(v.value))
		chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(v.value), v.value)
		if v.value != "" {
			add(fmt.Sprintf("chunked body %.20q", v.value), v.status, v.code, request(chunked, "Content-Length", "(none)", "Transfer-Encoding", "chunked"))
		}
	}
	tooLong := api.CodeValueTooLarge
	if r.Path == txnPath {
		tooLong = api.CodeTxnTooLarge
	}
	add("a body far too long", 413, tooLong, request(body, "Content-Length", "100000000000"))
	for _, stalled := range []string{request(body, "Content-Length", "50"),
		request("5\r\nval", "Content-Length", "(none)", "Transfer-Encoding", "chunked"),
		request("", "Content-Length", "1"),
		request("5\r\nvalue\r\n", "Content-Length", "(none)", "Transfer-Encoding", "chunked")} {
		add(stalls, 400, api.CodeBadRequest, stalled)
	}
	add("a chunk without a length", 400, api.CodeBadRequest, request("xyz\r\nvalue\r\n", "Content-Length", "(none)", "Transfer-Encoding", "chunked"))
	if strings.HasPrefix(r.Path, "/v1/kv") {
		add("no body", 411, api.CodeLengthRequired, request("", "Content-Length", "(none)"))
	}
	return all
}

// badForAll spoils what has nothing to do with the route.
func badForAll(r Route, target, body string, header []string) (all []badRequest) {
	add := func(name string, status int, code api.Code, header2 ...string) {
		all = append(all, badRequest{name: name, raw: rawRequest(r.Method, target, body, append(slices.Clone(header), header2...)...), status: status, code: code})
	}
	add("another site's name", 403, api.CodeForbidden, "Host", "evil.example:8701")
	add("another site's name", 403, api.CodeForbidden, "Host", "127.0.0.1.evil.example")
	add("another site's name", 403, api.CodeForbidden, "Host", "localhost.evil.example.")
	add("no Host", 400, api.CodeBadRequest, "Host", "(none)")
	add("two Hosts", 400, api.CodeBadRequest, "Host", "kv\nkv")
	if r.Method != "GET" && r.Method != "HEAD" {
		add("another site's page", 403, api.CodeForbidden, "Origin", "http://evil.example")
		add("another site's page", 403, api.CodeForbidden, "Origin", "null")
		add("another site's page", 403, api.CodeForbidden, "Origin", "http://kv", "Sec-Fetch-Site", "cross-site")
		add("another port's page", 403, api.CodeForbidden, "Origin", "http://kv:9", "Sec-Fetch-Site", "same-site")
	}
	add("a compressed body", 415, api.CodeUnsupportedMedia, "Content-Encoding", "gzip")
	add("a compressed body", 415, api.CodeUnsupportedMedia, "Content-Encoding", "identity, br")
	add("a strange expectation", 417, api.CodeExpectationFailed, "Expect", "miracles")
	add("a header too large", 431, api.CodeHeaderTooLarge, "X", strings.Repeat("x", 48<<10))
	add("a name that is none", 400, api.CodeBadRequest, "b a d", "1")
	add("a value with a NUL", 400, api.CodeBadRequest, "X", "a\x00b")
	add("a length that is negative", 400, api.CodeBadRequest, "Content-Length", "-5")
	add("a length that overflows", 400, api.CodeBadRequest, "Content-Length", "99999999999999999999")
	add("two lengths", 400, api.CodeBadRequest, "Content-Length", "5\n6")
	add("an unknown transfer coding", 501, api.CodeNotImplemented, "Transfer-Encoding", "gzip")
	add("both lengths", 400, api.CodeBadRequest, "Content-Length", "5", "Transfer-Encoding", "chunked")
	add("both lengths", 400, api.CodeBadRequest, "Transfer-Encoding", "chunked", "content-length", "5")
	for i := range all {
		if strings.Contains(all[i].raw, "\r\nTransfer-Encoding: chunked\r\n") {
			all[i].raw += "0\r\n\r\n"
		}
	}
	all = append(all,
		badRequest{name: "HTTP/2", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 505, code: api.CodeVersion},
		badRequest{name: "HTTP/1.2", raw: strings.Replace(rawRequest(r.Method, target, body, header...), "HTTP/1.1", "HTTP/1.2", 1), status: 505, code: api.CodeVersion},
		badRequest{name: "HTTP/3", raw: strings.Replace(rawRequest(r.Method, target, body, header...), "HTTP/1.1", "HTTP/3.0", 1), status: 505, code: api.CodeVersion},
		badRequest{name: "not HTTP", raw: "SSH-2.0-hello\r\n\r\n", status: 400, code: api.CodeBadRequest},
	)
	return all
}

// Goal: bad input is refused with its documented problem, on every route, and
// nothing changes: the outcome is not_applied, and that is true.
// Method: a good request of each route is spoilt in all ways that the route's
// own description allows, and sent over a real connection to a store with one
// key. A route, parameter or header of which nobody has said how it can be bad
// fails the test.
func TestBadInputIsRefusedOnEveryRouteAndChangesNothing(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxValueBytes = 100 })
	url := serveHTTP(t, s).URL
	// What stalls comes to a server that does not wait for long. What does not
	// stall may take its time: the machine may be busy.
	hasty, hastyLog := newServer(t, func(c *settings) { c.MaxValueBytes, c.bodyGrace = 100, 100*time.Millisecond })
	hastyURL := serveHTTP(t, hasty).URL
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "old"), 201)
	before := contentOf(s)
	total := 0
	for _, r := range Routes() {
		for _, bad := range badRequests(t, r) {
			total++
			t.Run(r.Method+" "+r.Path+"/"+bad.name, func(t *testing.T) {
				w := dialWire(t, url)
				if bad.name == stalls {
					w = dialWire(t, hastyURL)
				}
				w.send(bad.raw)
				method, _, _ := strings.Cut(bad.raw, " ")
				a := w.receive(method)
				if method == "HEAD" {
					wantErrorHeader(t, a, bad.status, bad.code)
				} else if p := wantProblem(t, a, bad.status, bad.code, api.OutcomeNotApplied); p.Retryable {
					t.Error("bad input is said to be worth sending again")
				}
				if a.status == 405 && a.header.Get("Allow") == "" {
					t.Error("no Allow header")
				}
				if !slices.Contains(r.Statuses, a.status) && !slices.Contains(AnyStatus(), a.status) {
					t.Errorf("%d is not among the statuses of the route", a.status)
				}
			})
			if contentOf(s) != before {
				t.Fatalf("%s %s: the store changed by: %s", r.Method, r.Path, bad.name)
			}
		}
	}
	t.Logf("%d bad requests", total)
	// What only the store can judge: conditions that do not hold, and appends that
	// would grow too large, one of them chunked.
	if n, hasty := log.Attempts(), hastyLog.Attempts(); n != 1+3*2+2 || hasty != 0 {
		t.Errorf("%d commands were proposed, and %d of those that stalled", n, hasty)
	}
}

// wantErrorHeader checks what is left of a problem without its body.
func wantErrorHeader(t *testing.T, a answer, status int, code api.Code) {
	t.Helper()
	if want := string(code) + "; outcome=not_applied"; a.status != status || a.header.Get(api.HeaderError) != want || a.body != "" {
		t.Errorf("answered %d %q with %q, want %d %q", a.status, a.header.Get(api.HeaderError), a.body, status, want)
	}
}
