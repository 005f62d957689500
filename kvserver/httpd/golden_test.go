package httpd

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"raftkv/kvserver/api"
)

// The answers in testdata are expectations; -rewrite replaces them.
var rewrite = flag.Bool("rewrite", false, "replace the expected answers in testdata/answers.txt")

// golden are requests whose answers may not change in any byte. They are sent one
// after the other to one server, so that later ones see what earlier ones wrote.
func golden() []string {
	const (
		asJSON = "application/json"
		match  = "If-Match"
		none   = "If-None-Match"
	)
	once := []string{api.HeaderIdempotencyKey, "abc"}
	return []string{
		rawRequest("GET", "/v1/kv/k", ""),
		rawRequest("PUT", "/v1/kv/k", "value"),
		rawRequest("PUT", "/v1/kv/k", "another"),
		rawRequest("GET", "/v1/kv/k", ""),
		rawRequest("HEAD", "/v1/kv/k", ""),
		rawRequest("GET", "/v1/kv/k", "", "Accept", asJSON),
		rawRequest("HEAD", "/v1/kv/k", "", "Accept", asJSON),
		rawRequest("GET", "/v1/kv/k", "", "Accept", asJSON+";q=0"),
		rawRequest("GET", "/v1/kv/k?consistency=stale", ""),
		rawRequest("GET", "/v1/kv/k?consistency=linearizable&min_revision=1", ""),
		rawRequest("GET", "/v1/kv/k?consistency=lease", ""),
		rawRequest("GET", "/v1/kv/k?consistency=other", ""),
		rawRequest("GET", "/v1/kv/k?min_revision=x", ""),
		rawRequest("GET", "/v1/kv/k?other=1", ""),
		rawRequest("GET", "/v1/kv/k?redirect&redirect", ""),
		rawRequest("GET", "/v1/kv/k?redirect", ""),
		rawRequest("GET", "/v1/kv/k", "", none, `"2"`),
		rawRequest("GET", "/v1/kv/k", "", none, `"1", W/"2"`),
		rawRequest("HEAD", "/v1/kv/k", "", none, "*"),
		rawRequest("GET", "/v1/kv/k", "", none, `"1"`),
		rawRequest("GET", "/v1/kv/k", "", none, `1`),
		rawRequest("GET", "/v1/kv/k", "", match, `"1"`),
		rawRequest("GET", "/v1/kv/k", "", "Content-Range", "bytes 0-1/2"),
		rawRequest("GET", "/v1/kv/k", "body"),
		rawRequest("HEAD", "/v1/kv/none", ""),
		rawRequest("PUT", "/v1/kv/k", "third", match, `"2"`),
		rawRequest("PUT", "/v1/kv/k", "third", match, `"2"`),
		rawRequest("PUT", "/v1/kv/k", "third", none, "*"),
		rawRequest("PUT", "/v1/kv/none", "x", match, "*"),
		rawRequest("PUT", "/v1/kv/k?cas=3", "fourth"),
		rawRequest("PUT", "/v1/kv/k?cas=3", "fourth"),
		rawRequest("PUT", "/v1/kv/k?cas=x", "fourth"),
		rawRequest("PUT", "/v1/kv/k?cas=3", "x", match, `"3"`),
		rawRequest("PUT", "/v1/kv/once", "x", once...),
		rawRequest("PUT", "/v1/kv/once", "x", once...),
		rawRequest("PUT", "/v1/kv/once", "y", once...),
		rawRequest("PUT", "/v1/kv/k", "x", api.HeaderIdempotencyKey, ""),
		rawRequest("PUT", "/v1/kv/a/b", "slash"),
		rawRequest("GET", "/v1/kv/a%2Fb", "", "Accept", asJSON),
		rawRequest("PUT", "/v1/kv/%22%3C%26%5C%0A%00%E2%80%A8%F0%9F%98%80", ""),
		rawRequest("GET", "/v1/kv/%22%3C%26%5C%0A%00%E2%80%A8%F0%9F%98%80", "", "Accept", asJSON),
		rawRequest("PUT", "/v1/kv/%FF%FE", "not UTF-8"),
		rawRequest("GET", "/v1/kv/%FF%FE", "", "Accept", asJSON),
		rawRequest("PUT", "/v1/kv/", "no key"),
		rawRequest("GET", "/v1/kv/"+strings.Repeat("a", api.MaxKeyBytes+1), ""),
		rawRequest("PUT", "/v1/kv/large", strings.Repeat("0123456789", 300)),
		rawRequest("GET", "/v1/kv/large", ""),
		rawRequest("PUT", "/v1/kv/large", strings.Repeat("x", 4001)),
		rawRequest("PUT", "/v1/kv/large", "its beginning", "Content-Length", "100000000"),
		"PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\n\r\n",
		"PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		rawRequest("POST", "/v1/kv/k?op=append", "+more"),
		rawRequest("POST", "/v1/kv/%FF?op=append", "+more"),
		rawRequest("POST", "/v1/kv/k", "+more"),
		rawRequest("POST", "/v1/kv/k?op=other", "+more"),
		rawRequest("GET", "/v1/kv", ""),
		rawRequest("GET", "/v1/kv?limit=1&keys_only", ""),
		rawRequest("GET", "/v1/kv?prefix=a", "", "Accept", "application/x-ndjson"),
		rawRequest("HEAD", "/v1/kv", ""),
		rawRequest("DELETE", "/v1/kv/once", ""),
		rawRequest("DELETE", "/v1/kv/once", ""),
		rawRequest("DELETE", "/v1/kv/k", "", match, `"1"`),
		rawRequest("DELETE", "/v1/kv/k", "", api.HeaderIdempotencyKey, "def"),
		rawRequest("PATCH", "/v1/kv/k", ""),
		rawRequest("DELETE", "/v1/kv", ""),
		rawRequest("GET", "/other", ""),
		rawRequest("GET", "/v1/clerk", ""),
		rawRequest("GET", "/livez", ""),
		rawRequest("GET", "/readyz", ""),
		rawRequest("GET", "/v1/kv/k", "", "Host", "page.example.org"),
		rawRequest("PUT", "/v1/kv/k", "x", "Origin", "http://page.example.org"),
		rawRequest("PUT", "/v1/kv/k", "x", "Content-Encoding", "gzip"),
		rawRequest("PUT", "/v1/kv/k", "x", api.HeaderForwarded, "n2", api.HeaderCluster, "other"),
		rawRequest("PUT", "/v1/kv/k", "x", api.HeaderForwarded, "n2", api.HeaderCluster, "c1"),
		"GET /v1/kv/k HTTP/1.0\r\nHost: kv\r\n\r\n",
		"GET /v1/kv/k HTTP/1.1\r\nHost: kv\r\nConnection: close\r\n\r\n",
		"GET /v1/kv/k HTTP/1.1\r\n\r\n",
		"GET /v1/kv/100% HTTP/1.1\r\nHost: kv\r\n\r\n",
	}
}

// Goal: every byte of an answer is what it has always been: the status, each header
// in its place, the body.
// Method: raw requests of all kinds on connections of their own, and the bytes that
// earlier versions answered. The date and the names that the server draws for
// requests are left out.
func TestAnswersAreTheBytesThatTheyWere(t *testing.T) {
	path := filepath.Join("testdata", "answers.txt")
	s, _ := newServer(t, func(c *settings) { c.MaxValueBytes = 4000 })
	url := serveHTTP(t, s).URL
	var got strings.Builder
	for _, request := range golden() {
		// With a name of the client's, and those that change nothing without, too.
		for _, named := range []bool{true, false} {
			if !named && !strings.HasPrefix(request, "GET") {
				continue
			}
			raw := request
			if named {
				raw = strings.Replace(request, "\r\n", "\r\n"+api.HeaderRequestID+": r-1\r\n", 1)
			}
			fmt.Fprintf(&got, "> %.300q\n%s\n", raw, rawAnswer(t, url, raw))
		}
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	answers, expected := strings.Split(got.String(), "\n\n"), strings.Split(string(want), "\n\n")
	if len(answers) != len(expected) {
		t.Errorf("%d answers, want %d", len(answers), len(expected))
	}
	for i := range min(len(answers), len(expected)) {
		if answers[i] != expected[i] {
			t.Errorf("answered\n%s\nwant\n%s", answers[i], expected[i])
		}
	}
}

var (
	drawnID    = regexp.MustCompile(`n1-[0-9a-z]+-[0-9a-z]+`)
	dateLine   = regexp.MustCompile(`"Date: [^"]+"`)
	lengthLine = regexp.MustCompile(`"Content-Length: [^"]+"`)
)

// rawAnswer sends a request on a connection of its own and returns the lines of the
// answer, without what is never the same.
func rawAnswer(t *testing.T, url, raw string) string {
	w := dialWire(t, url)
	w.send(raw)
	var all bytes.Buffer
	w.in.Reset(io.TeeReader(w.conn, &all))
	method, _, _ := strings.Cut(raw, " ")
	body := w.receive(method).body
	var lines strings.Builder
	for line := range bytes.Lines(all.Bytes()) {
		lines.WriteString("< " + strconv.Quote(string(line)) + "\n")
	}
	text := dateLine.ReplaceAllString(lines.String(), "(date)")
	if drawnID.MatchString(body) { // its length differs
		text = lengthLine.ReplaceAllString(text, "(length)")
	}
	return drawnID.ReplaceAllString(text, "(drawn)")
}

// Goal: requests on one connection share nothing but the connection: what one
// answer said is in no other.
// Method: the requests above on connections that are kept, in another order, each
// compared with its own answer on a fresh connection. The store is left alone.
func TestAnswersOnOneConnectionShareNothing(t *testing.T) {
	s, _ := newServer(t, nil)
	url := serveHTTP(t, s).URL
	for _, key := range []string{"a", "b", "%FF"} {
		wantStatus(t, send(t, "PUT", url+"/v1/kv/"+key, "value of "+key), http.StatusCreated)
	}
	requests := []string{
		rawRequest("GET", "/v1/kv/a", "", api.HeaderRequestID, "r-1"),
		rawRequest("GET", "/v1/kv/b?consistency=stale", "", api.HeaderRequestID, "r-2"),
		rawRequest("GET", "/v1/kv/%FF", "", api.HeaderRequestID, "r-3", "Accept", "application/json"),
		rawRequest("GET", "/v1/kv/none", "", api.HeaderRequestID, "r-4"),
		rawRequest("HEAD", "/v1/kv/b", "", api.HeaderRequestID, "r-5"),
		rawRequest("GET", "/v1/kv/a", "", api.HeaderRequestID, "r-6", "If-None-Match", "*"),
		rawRequest("PATCH", "/v1/kv/a", "", api.HeaderRequestID, "r-7"),
		rawRequest("GET", "/v1/kv", "", api.HeaderRequestID, "r-8"),
		rawRequest("GET", "/nothing", "", api.HeaderRequestID, "r-9"),
		rawRequest("PUT", "/v1/kv/a", "x", api.HeaderRequestID, "r-10", "If-None-Match", "*"),
		rawRequest("GET", "/v1/kv/a?redirect=no", "", api.HeaderRequestID, "r-11"),
	}
	alone := make([]answer, len(requests))
	for i, raw := range requests {
		alone[i] = dialWire(t, url).exchange(raw)
	}
	for step := 1; step < len(requests); step++ { // a prime number, so that each step meets all
		w := dialWire(t, url)
		for i := range requests {
			at := i * step % len(requests)
			got, want := w.exchange(requests[at]), alone[at]
			if got.status != want.status || got.body != want.body || fmt.Sprint(got.header) != fmt.Sprint(want.header) {
				t.Errorf("%.60q after others is answered %d %v %q, alone %d %v %q", requests[at], got.status, got.header, got.body, want.status, want.header, want.body)
			}
		}
	}
}

// exchange sends a request and returns its answer without the date.
func (w *wire) exchange(raw string) answer {
	w.t.Helper()
	w.send(raw)
	method, _, _ := strings.Cut(raw, " ")
	a := w.receive(method)
	a.header.Del("Date")
	return a
}
