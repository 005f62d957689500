package httpd

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"raftkv/kvserver/api"
)

// hiddenRequest stands behind a request's body, or inside of it, depending on
// which of two lengths a reader believes.
const hiddenRequest = "PUT /v1/kv/hidden HTTP/1.1\r\nHost: kv\r\nContent-Length: 1\r\n\r\nv"

// endOfChunks is an empty chunked body.
const endOfChunks = "0\r\n\r\n"

// codings are ways to write, or nearly to write, that a body is chunked.
var codings = []string{
	"Transfer-Encoding: chunked", "transfer-encoding: chunked", "TRANSFER-ENCODING: CHUNKED", "Transfer-Encoding:chunked",
	"Transfer-Encoding:\tchunked", "Transfer-Encoding: \t chunked \t", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, gzip",
	"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity", "Transfer-Encoding:",
	"Transfer-Encoding: chunked;q=1", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\vchunked", "Transfer-Encoding : chunked",
	"X: a\r\n Transfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
}

// doubtful are requests about whose end two readers may disagree, each followed
// by the hidden request.
func doubtful() (all []string) {
	add := func(line string, fields []string, body string) {
		head := line + "\r\n" + strings.Join(append([]string{"Host: kv"}, fields...), "\r\n") + "\r\n\r\n"
		all = append(all, head+body)
	}
	for _, coding := range codings {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			line := "POST /v1/kv/k?op=append " + version
			more := []string{}
			if version == "HTTP/1.0" {
				more = append(more, "Connection: keep-alive")
			}
			add(line, append(more, coding), endOfChunks+hiddenRequest)
			for _, length := range []int{0, len(endOfChunks), len(endOfChunks + hiddenRequest)} {
				field := fmt.Sprintf("Content-Length: %d", length)
				add(line, append(more, coding, field), endOfChunks+hiddenRequest)
				add(line, append(more, field, coding), endOfChunks+hiddenRequest)
			}
		}
	}
	put := "PUT /v1/kv/k HTTP/1.1"
	for _, lengths := range []string{"Content-Length: 0\r\nContent-Length: 5", "Content-Length: 5, 0", "Content-Length: +0", "Content-Length: -1", "Content-Length: 0x0",
		"Content-Length : 0", "Content-Length: 00000000000000000000000000", "Content-Length: 00", "Content-Length: 0\r\nContent-Length: 0", "Content-Length:\v0", "Content-Length: 1 0"} {
		add(put, []string{lengths}, hiddenRequest)
	}
	// Refusals that have nothing to do with the length, of bodies in chunks.
	for _, request := range []string{
		"PUT /v1/kv/k?nonsense HTTP/1.1", "PUT /nowhere HTTP/1.1", "PATCH /v1/kv/k HTTP/1.1", "GET /v1/kv/k HTTP/1.1", "HEAD /v1/kv/k HTTP/1.1", "DELETE /v1/kv/k HTTP/1.1",
		"PUT /v1/kv/" + strings.Repeat("k", 1025) + " HTTP/1.1", "PUT /v1/kv/k?cas=77 HTTP/1.1", "POST /v1/leader HTTP/1.1", "GET /v1/clerk HTTP/1.1", "OPTIONS * HTTP/1.1",
		"PUT /v1/kv/k HTTP/1.2", "PUT /v1/kv/k HTTP/2.0", "PUT /v1/kv/k HTTP/0.9", "PRI * HTTP/2.0",
	} {
		add(request, []string{codings[0]}, endOfChunks+hiddenRequest)
	}
	for _, field := range []string{"Content-Encoding: gzip", "Expect: miracles", "Expect: 100-continue", "Origin: http://evil.example", "If-Match: x", "Idempotency-Key: a b", "Content-Range: bytes 0-1/2"} {
		add(put, []string{codings[0], field}, endOfChunks+hiddenRequest)
	}
	for _, host := range []string{"Host: evil.example", "Host: kv"} { // a second one
		all = append(all, put+"\r\n"+host+"\r\nHost: evil.example\r\n"+codings[0]+"\r\n\r\n"+endOfChunks+hiddenRequest)
	}
	all = append(all,
		put+"\r\nHost: kv\r\n\r\n"+hiddenRequest,                                                                    // a body of which nothing was said
		put+"\r\nHost: evil.example\r\n"+codings[0]+"\r\n\r\n"+endOfChunks+hiddenRequest,                            // another name
		put+"\r\nHost: kv\r\nX: a\nContent-Length: 4\r\n\r\n"+hiddenRequest,                                         // a length inside of another field, for a reader that ends lines with CR LF
		put+"\r\nHost: kv\r\nX: a\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"+hiddenRequest,           // a coding likewise
		put+"\r\nHost: kv\r\n"+codings[0]+"\r\n\r\n5\r\nval",                                                        // cut chunks
		put+"\r\nHost: kv\r\n"+codings[0]+"\r\n\r\nxyz\r\n"+hiddenRequest,                                           // no chunk
		put+"\r\nHost: kv\r\n"+codings[0]+"\r\n\r\n-1\r\n"+hiddenRequest,                                            // a negative one
		put+"\r\nHost: kv\r\n"+codings[0]+"\r\n\r\n1;\n\r\nv\r\n"+endOfChunks+hiddenRequest,                         // LF in an extension
		put+"\r\nHost: kv\r\nContent-Length: 1048577\r\n\r\n"+hiddenRequest,                                         // too large a value
		put+"\r\nHost: kv\r\n"+codings[0]+"\r\n\r\n200000\r\n"+strings.Repeat("x", 2<<20)+endOfChunks+hiddenRequest, // likewise, in chunks
	)
	// The same requests with lines that end with LF alone.
	for _, raw := range all[:len(all):len(all)] {
		if head, body, _ := strings.Cut(raw, "\r\n\r\n"); strings.Contains(strings.ToLower(head), "transfer-encoding") {
			all = append(all, strings.ReplaceAll(head, "\r\n", "\n")+"\n\n"+body)
		}
	}
	return all
}

// Goal: nothing that stands behind a request is served if a client, or a proxy
// before it, may disagree with the server about where that request ends: the
// connection closes behind the answer.
// Method: every disagreement about length, coding, version, host and line ends, at
// a leader and at a follower, each on a connection of its own and with a
// request hidden behind it. Nothing may come but one answer and the end.
func TestNothingBehindADoubtfulRequestIsServed(t *testing.T) {
	p := newPair(t)
	leader := serveHTTP(t, p.leader).URL
	all := doubtful()
	for where, url := range map[string]string{"leader": leader, "follower": p.url} {
		for _, raw := range all {
			w := dialWire(t, url)
			go w.send(raw)
			method, _, _ := strings.Cut(raw, " ")
			if strings.HasSuffix(raw, "val") { // the client leaves in the middle
				w.send(raw)
				_ = w.conn.CloseWrite()
			}
			response, err := http.ReadResponse(w.in, &http.Request{Method: method})
			for err == nil && response.StatusCode == 100 {
				response, err = http.ReadResponse(w.in, &http.Request{Method: method})
			}
			if err != nil {
				t.Errorf("%s: %.300q has no answer: %v", where, raw, err)
				continue
			}
			a := readAnswer(t, response)
			if !w.closed() {
				t.Errorf("%s: the connection stays open behind status %d to %.300q", where, a.status, raw)
			}
			if got := stored(p.leader, "hidden"); got != "(none)" {
				t.Fatalf("%s: the request that was hidden in %.300q was served", where, raw)
			}
		}
	}
	t.Logf("%d requests", 2*len(all))
}

// Goal: a request with both lengths, or of HTTP/1.0 with a transfer coding, is
// refused and does nothing itself.
// Method: the same requests; those that say two things must be answered with 400
// or 501 and leave no trace.
func TestARequestWithTwoLengthsDoesNothing(t *testing.T) {
	s, log := newServer(t, nil)
	url := serveHTTP(t, s).URL
	n := 0
	for _, raw := range doubtful() {
		head, _, _ := strings.Cut(raw, "\r\n\r\n")
		head = strings.ToLower(head)
		if !strings.HasPrefix(raw, "POST /v1/kv") || !strings.Contains(head, "content-length") && !strings.Contains(head, "http/1.0") || strings.Contains(head, "\n\n") {
			continue
		}
		n++
		w := dialWire(t, url)
		w.send(raw)
		if a := w.receive("POST"); a.status != 400 && a.status != 501 {
			t.Errorf("%d to %q", a.status, raw)
		}
	}
	if log.Attempts() != 0 || n < 50 {
		t.Errorf("%d of %d requests were proposed", log.Attempts(), n)
	}
}

// Goal: a refusal that leaves no doubt about the end of the request costs the
// client no connection, and its body is not taken for a request either.
// Method: bodies with a right Content-Length that look like requests, refused for
// other reasons; then an honest request on the same connection.
func TestARefusalThatLeavesNoDoubtKeepsTheConnection(t *testing.T) {
	p := newPair(t)
	w := dialWire(t, p.url)
	for _, c := range []struct {
		raw    string
		status int
	}{
		{rawRequest("PUT", "/v1/kv/k", hiddenRequest, "Host", "evil.example"), 403},
		{rawRequest("PUT", "/nowhere", hiddenRequest), 404},
		{rawRequest("PATCH", "/v1/kv/k", hiddenRequest), 405},
		{rawRequest("GET", "/v1/kv/k", hiddenRequest), 400},
		{rawRequest("PUT", "/v1/kv/k", hiddenRequest, "Content-Encoding", "gzip"), 415},
		{rawRequest("PUT", "/v1/kv/k?cas=77", hiddenRequest), 412},
	} {
		w.send(c.raw)
		wantStatus(t, w.receive("PUT"), c.status)
		wantStatus(t, w.ask("POST", "/v1/kv/honest?op=append", "v"), 200)
	}
	if got := stored(p.leader, "hidden"); got != "(none)" {
		t.Error("a body was served as a request")
	}
}

// Goal: a name that is not this node's, and a page of another site, are told
// apart in the title of the refusal.
// Method: one of each.
func TestRefusalsAtTheDoorHaveTitles(t *testing.T) {
	s, _ := newServer(t, nil)
	unknown := wantProblem(t, ask(s, "GET", "http://evil.example/livez", ""), 403, api.CodeForbidden, api.OutcomeNotApplied)
	foreign := wantProblem(t, ask(s, "DELETE", "/v1/kv/k", "", "Origin", "http://evil.example"), 403, api.CodeForbidden, api.OutcomeNotApplied)
	if unknown.Title != "Unknown host" || foreign.Title == unknown.Title {
		t.Errorf("titles %q and %q", unknown.Title, foreign.Title)
	}
}
