package httpd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// oddPaths are paths that a router may take in more than one way.
var oddPaths = []string{
	"/", "//", "/v1", "/v1/", "/v1/kv", "/v1/kv/", "/v1/kv//", "//v1/kv/a", "/v1//kv/a", "/v1/kv/a", "/v1/kv/a/", "/v1/kv/a/b", "/v1/kv//a",
	"/v1/kv/.", "/v1/kv/..", "/v1/kv/../kv/a", "/v1/kv/./a", "/v1/./kv/a", "/v1/kv/%2e%2e", "/v1/kv/%2E", "/v1/kv%2Fa", "/v1%2Fkv/a", "%2Fv1/kv/a",
	"/v1/kv/a%2Fb", "/v1/kv/%2F", "/v1/kv/a%2fb", "/v1/kv/%252F", "/v1/kv/%25", "/v1/kv/a%20b", "/v1/kv/a+b", "/v1/kv/%00", "/v1/kv/%0A", "/v1/kv/%0d%0a",
	"/v1/kv/%FF", "/v1/kv/%c3%a4", "/v1/kv/\xc3\xa4", "/v1/kv/\xff", "/v1/kv/a;b", "/v1/kv/a=b&c", "/v1/kv/a:b", "/v1/kv/@", "/v1/kv/!$'()*,", "/v1/kv/[x]",
	"/v1/kv/{key}", "/v1/kv/a|b", "/v1/kv/%7Ba%7D", "/v1/kv/~", "/v1/kv/%7e", "/v1/kv/a?redirect=%2F", "/v1/kv/?prefix=a", "/v1/kv?prefix=a/b", "/v1/kv/a%3Fb", "/v1/kv/a#b", "/v1/kv/a%23b",
	"/V1/kv/a", "/v1/KV/a", "/v1/%6bv/a", "/v1/k%76/a", "/v1/kva", "/v1/kv.", "/v1/kvs/a", "v1/kv/a", "*", "http://kv/v1/kv/a", "http://kv/v1/kv/a%2Fb", "http://kv", "kv:80",
	"/v1/clerk", "/v1/clerk/", "/v1/status", "/v1/integrity?at=1", "/v1/snapshot", "/v1/leader", "/metrics", "/livez", "/readyz?verbose", "/livez/", "/v1/kv/livez",
}

var oddMethods = []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "CONNECT", "get", "G"}

// readRequest reads a request as net/http does; nil if that refuses it.
func readRequest(method, target, body string) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: kv\r\nKv-Request-Id: r\r\nContent-Length: %d\r\n\r\n%s", method, target, len(body), body))))
	if err != nil {
		return nil
	}
	return r
}

// routerOf returns the router behind a server's guard.
func routerOf(s *testServer) *router { return s.door.handler.(*guard).next.(*router) }

// checkPlainKey compares what is decided by hand with what the table decides, and
// reports whether it was decided by hand.
func checkPlainKey(t *testing.T, router *router, r *http.Request) bool {
	t.Helper()
	rawKey, plain := router.plainKey(r.URL)
	if !plain {
		return false
	}
	var match mux.RouteMatch
	if !router.table.Match(r, &match) || match.Handler != http.Handler(router.keys) || match.Vars["key"] != rawKey {
		t.Errorf("%s %q is taken for the key %q; the table gives %T with %q", r.Method, r.URL, rawKey, match.Handler, match.Vars)
	}
	return true
}

// Goal: the path that is recognised without the table is decided as the table decides
// it: the same route, the same key, the same refusal.
// Method: odd paths with all methods. First both decisions are compared; then two
// servers get all requests, one of them without the short way, and their answers and
// stores must be the same. Usual paths must take the short way.
func TestTheShortWayToARouteLeadsWhereTheTableDoes(t *testing.T) {
	short, _ := newServer(t, nil)
	long, _ := newServer(t, nil)
	table := newGuard(long.door, routerOf(long).table)
	byHand := 0
	for _, target := range oddPaths {
		for _, method := range oddMethods {
			body := ""
			if method == "PUT" || method == "POST" {
				body = "v"
			}
			r := readRequest(method, target, body)
			if r == nil {
				continue
			}
			if checkPlainKey(t, routerOf(short), r) {
				byHand++
			}
			one, two := httptest.NewRecorder(), httptest.NewRecorder()
			short.Handler().ServeHTTP(one, r)
			table.ServeHTTP(two, readRequest(method, target, body))
			if slices.Contains([]string{"/metrics", "/v1/snapshot", "/v1/status"}, target) && one.Code == two.Code {
				continue // what was measured and the servers' own numbers differ
			}
			if one.Code != two.Code || one.Body.String() != two.Body.String() || fmt.Sprint(one.Header()) != fmt.Sprint(two.Header()) {
				t.Errorf("%s %s is answered %d %v %s, by the table %d %v %s", method, target, one.Code, one.Header(), one.Body, two.Code, two.Header(), two.Body)
			}
		}
	}
	if a, b := contentOf(short), contentOf(long); a != b {
		t.Errorf("the stores differ:\n%s\n%s", a, b)
	}
	if byHand == 0 {
		t.Error("no request took the short way")
	}
	for _, target := range []string{"/v1/kv/a", "/v1/kv/a/b", "/v1/kv/user:1?consistency=stale", "/v1/kv/a%20b"} {
		if _, plain := routerOf(short).plainKey(readRequest("GET", target, "").URL); !plain {
			t.Errorf("%s does not take the short way", target)
		}
	}
}

// Fuzz target: as TestTheShortWayToARouteLeadsWhereTheTableDoes, for any target.
func FuzzShortWay(f *testing.F) {
	for _, target := range oddPaths {
		f.Add(target)
	}
	router := newRouter(&Door{})
	f.Fuzz(func(t *testing.T, target string) {
		if r := readRequest("GET", target, ""); r != nil {
			checkPlainKey(t, router, r)
		}
	})
}

// oddKeys are keys that JSON writes in different ways.
var oddKeys = []string{
	"k", "a/b", " ", "~", "\x7f", "\"", "\\", "a\"b\\c", "<&>", "\x00", "\x1f\b\f\n\r\t", "\u2028", "\u2029", "ä", "\U0001F600", "\ufffd", "\xff", "a\xffb", "\xed\xa0\x80", "\xc0\x80", "{key}", strings.Repeat("k", api.MaxKeyBytes),
}

// checkAppended compares what is appended with what encoding/json writes.
func checkAppended(t *testing.T, key string, r kv.Result) {
	t.Helper()
	written := api.Written{KeyName: api.NameKey(key), Revision: r.Revision, Version: r.Version}
	appended := api.Appended{Written: written, Length: r.Length}
	if got, want := string(appendWritten(nil, key, r)), string(encodeJSON(written, "")); got != want {
		t.Errorf("a put of %q is answered %q, want %q", key, got, want)
	}
	if got, want := string(appendAppended(nil, key, r)), string(encodeJSON(appended, "")); got != want {
		t.Errorf("an append to %q is answered %q, want %q", key, got, want)
	}
	item := kv.Item{Value: []byte(key), Revision: r.Revision, Version: r.Version}
	var got strings.Builder
	newItemJSON(key, item, 0, shape{}).writeTo(&got)
	if want := string(encodeJSON(api.Value{KeyName: api.NameKey(key), Value: item.Value, Revision: r.Revision, Version: r.Version}, "")); got.String()+"\n" != want {
		t.Errorf("a get of %q is answered %q, want %q", key, got.String(), want)
	}
	if utf8.ValidString(key) {
		shown := newItemJSON(key, item, 0, shape{text: true})
		got.Reset()
		shown.writeTo(&got)
		if want := string(encodeJSON(api.Value{KeyName: api.NameKey(key), Text: &key, Revision: r.Revision, Version: r.Version}, "")); got.String()+"\n" != want || shown.length() != got.Len() {
			t.Errorf("as text a get of %q is answered %q of %d bytes, want %q", key, got.String(), shown.length(), want)
		}
	}
	var back api.Appended
	if err := json.Unmarshal(appendAppended([]byte(" "), key, r), &back); err != nil || back.Name() != key || back.Length != r.Length {
		t.Errorf("%q comes back as %+v: %v", key, back, err)
	}
}

// Goal: the answers that are appended are the bytes that encoding/json writes.
// Method: keys with everything that JSON escapes, and the ends of numbers.
func TestAnswersAreAppendedAsJSONIsMarshalled(t *testing.T) {
	for _, key := range oddKeys {
		for _, n := range []uint64{0, 1, 9, 10, 1<<64 - 1} {
			checkAppended(t, key, kv.Result{Revision: n, Version: n / 2, Length: n})
		}
	}
}

// Fuzz target: as TestAnswersAreAppendedAsJSONIsMarshalled, for any key.
func FuzzAppendedJSON(f *testing.F) {
	for _, key := range oddKeys {
		f.Add(key, uint64(1), uint64(10), uint64(100))
	}
	f.Fuzz(func(t *testing.T, key string, revision, version, length uint64) {
		if key == "" || len(key) > api.MaxKeyBytes {
			return
		}
		checkAppended(t, key, kv.Result{Revision: revision, Version: version, Length: length})
	})
}

// Goal: the header values that all answers share are never changed.
// Method: requests of all kinds, and what the values are before and after. Whoever
// appends to one gets a copy.
func TestSharedHeaderValuesAreNotChanged(t *testing.T) {
	s, log := newServer(t, nil)
	shared := func() string {
		stamp := s.door.leaderStamp()
		all := [][]string{valueNoStore, valueNosniff, valueNoReferrer, valueAccept, valueJSON, valueBytes, valueLinearizable, valueStale, s.door.nodeValue, stamp.leaderValue, stamp.termValues}
		for _, value := range all {
			if len(value) != 1 || cap(value) != 1 {
				t.Errorf("%q has room for more", value)
			}
		}
		return fmt.Sprint(all)
	}
	before := shared()
	for _, raw := range golden() {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			continue
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		w.Header().Add("Content-Type", "of the recorder")
	}
	if after := shared(); after != before {
		t.Errorf("the values were\n%s\nand are\n%s", before, after)
	}
	log.SetLeader("n2")
	if a := ask(s, "GET", "/livez", ""); a.header.Get(api.HeaderLeader) != "n2" {
		t.Errorf("the leader is n2, the answer says %q", a.header.Get(api.HeaderLeader))
	}
}

// Goal: requests that are answered at one moment share nothing.
// Method: clients that write and read keys of their own; each answer must name its
// client's key, value and request.
func TestAnswersAtOneMomentShareNothing(t *testing.T) {
	s, _ := newServer(t, nil)
	url := serveHTTP(t, s).URL
	var all sync.WaitGroup
	for i := range 16 {
		name := strings.Repeat(fmt.Sprint(i%10), 10+i)
		w := dialWire(t, url)
		all.Go(func() {
			for version := 1; version <= 100; version++ {
				a := w.exchange(rawRequest("PUT", "/v1/kv/"+name, name, api.HeaderRequestID, "put-"+name))
				want := fmt.Sprintf(`{"key":"%s","revision":%s,"version":%d}`+"\n", name, a.header.Get(api.HeaderRevision), version)
				if a.body != want || a.header.Get("Etag") != `"`+a.header.Get(api.HeaderRevision)+`"` || a.header.Get(api.HeaderRequestID) != "put-"+name {
					t.Errorf("a put of %s is answered %v %q", name, a.header, a.body)
					return
				}
				b := w.exchange(rawRequest("GET", "/v1/kv/"+name, "", api.HeaderRequestID, "get-"+name))
				if b.body != name || b.header.Get("Etag") != a.header.Get("Etag") || b.header.Get(api.HeaderVersion) != fmt.Sprint(version) || b.header.Get(api.HeaderRequestID) != "get-"+name {
					t.Errorf("a get of %s is answered %v %q", name, b.header, b.body)
					return
				}
			}
		})
	}
	all.Wait()
}
