package httpd

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Fuzz target: whatever a client sends, it gets an answer that fits: an error
// is a problem document and leaves the store as it was, and only a success may
// change it. Nothing panics.
func FuzzRequest(f *testing.F) {
	for _, r := range Routes() {
		for i, bad := range badRequests(f, r) {
			if i%8 == 0 { // more would only be slow: all of them are a test of their own
				f.Add([]byte(bad.raw))
			}
		}
	}
	f.Add([]byte("PUT /v1/kv/a%2F%00 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
	f.Add([]byte("GET /v1/kv/a?consistency=stale HTTP/1.0\r\nAccept: application/json;q=0.5, */*\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil || r.ProtoMajor != 1 {
			return // net/http refuses it before it comes to us
		}
		// In a bubble only waiting takes time, so the time of a watch is over when it has
		// nothing to send, and no other request runs out of it.
		inBubble(t, func(t *testing.T) { wantFitAnswer(t, r) })
	})
}

// wantFitAnswer sends a request to a new server and looks at the answer.
func wantFitAnswer(t *testing.T, r *http.Request) {
	s := fuzzServer(t)
	defer s.Close()
	before := contentOf(s)
	w := httptest.NewRecorder()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // a watch does not end by itself
	defer cancel()
	r = r.WithContext(ctx)
	s.Handler().ServeHTTP(w, r)
	a := answer{w.Code, w.Header(), w.Body.String(), nil}
	if a.status >= 400 {
		wantProblem(t, a, a.status, api.Code(strings.Split(a.header.Get(api.HeaderError), ";")[0]), outcomeOf(a))
		if contentOf(s) != before {
			t.Fatalf("answered %d, but the store changed", a.status)
		}
	}
	if a.status >= 500 && a.status != 505 && !strings.HasPrefix(a.header.Get(api.HeaderError), string(api.CodeNotActive)) { // another version of HTTP is the request's own fault
		t.Fatalf("answered %d to a request: %s", a.status, a.body)
	}
}

func outcomeOf(a answer) api.Outcome {
	_, outcome, _ := strings.Cut(a.header.Get(api.HeaderError), "outcome=")
	return api.Outcome(outcome)
}

func fuzzServer(t *testing.T) *testServer {
	log := fakelog.New("n1")
	s, err := wired(settings{Config: kvserver.Config{
		NodeID: "n1", ClusterID: "c1", Consensus: log, ApplyCh: log.ApplyCh, ClientAddr: func(string) string { return "" },
		MaxValueBytes: 1000, Level: 3, Logger: slog.New(slog.DiscardHandler),
	}, AllowedHosts: []string{"h", "kv"}, unmeasured: true})
	if err != nil {
		t.Fatal(err)
	}
	log.Deliver(nil)
	if err := s.Machine().AwaitApplied(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return s
}

// Fuzz target: any key of a fit length survives the path, encoded as Go does it
// or byte by byte.
func FuzzKeyInPath(f *testing.F) {
	f.Add("a/b//..\x00%2F")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, key string) {
		if len(key) == 0 || len(key) > api.MaxKeyBytes {
			return
		}
		s := fuzzServer(t)
		defer s.Close()
		for _, spelling := range []string{percent(key), url.PathEscape(key)} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("PUT /v1/kv/" + spelling + " HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nv")))
			if err != nil {
				t.Fatalf("%q cannot be sent as %q: %v", key, spelling, err)
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if got := stored(s, key); w.Code/100 != 2 || got != "v" || s.Machine().Describe().Keys != 1 {
				t.Fatalf("%q, sent as %q: %d, stored %q under it, %d keys", key, spelling, w.Code, got, s.Machine().Describe().Keys)
			}
		}
	})
}

// instantLog chooses every proposal and keeps nothing, for benchmarks.
type instantLog struct {
	fakelog.Snapshots
	applyCh chan raft.Batch
	queue   chan *raft.Proposal
	status  raft.Status
}

func newInstantLog() *instantLog {
	l := &instantLog{
		applyCh: make(chan raft.Batch, 1024), queue: make(chan *raft.Proposal, 1024),
		status: fakelog.StatusOf("n1", core.Leader, 1),
	}
	go func() {
		index := 0
		for p := range l.queue {
			index++
			p.Placed(uint64(index), 1)
			l.applyCh <- raft.ApplyMsg{CommandValid: true, Command: p.Command, CommandIndex: index}.Batch()
		}
		close(l.applyCh)
	}()
	return l
}

func (l *instantLog) Propose(p *raft.Proposal)                       { l.queue <- p }
func (l *instantLog) ReadIndex(context.Context) (uint64, error)      { return 0, nil }
func (l *instantLog) Transfer(context.Context, raft.ID) error        { return nil }
func (l *instantLog) TermAt(context.Context, uint64) (uint64, error) { return 1, nil }
func (l *instantLog) Status() *raft.Status                           { return &l.status }

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

func benchmarkHandler(b *testing.B, method, target, body string) {
	log := newInstantLog()
	s, err := wired(settings{Config: kvserver.Config{
		NodeID: "n1", Consensus: log, ApplyCh: log.applyCh, ClientAddr: func(string) string { return "" },
	}, AllowedHosts: []string{"*"}, unmeasured: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { close(log.queue); s.Close() }()
	ask(s, "PUT", "/v1/kv/some/key", strings.Repeat("v", 256))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest(method, target, strings.NewReader(body))
			s.Handler().ServeHTTP(nowhere{http.Header{}}, r)
		}
	})
}

func BenchmarkHandlerPut(b *testing.B) {
	benchmarkHandler(b, "PUT", "/v1/kv/some/key", strings.Repeat("v", 256))
}
func BenchmarkHandlerGet(b *testing.B) { benchmarkHandler(b, "GET", "/v1/kv/some/key", "") }

// BenchmarkRequest is what making the benchmarks' requests costs by itself.
func BenchmarkRequest(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		httptest.NewRequest("PUT", "/v1/kv/some/key", strings.NewReader("v"))
	}
}
