package bare

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"raftkv/client/bench"
)

// load is a request of each kind that the client makes.
var load = []bench.Op{bench.Put, bench.Get, bench.Stale, bench.Put}

// Goal: client and server understand each other, request after request on one
// connection. Method: all operations twice.
func TestClientAndServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = Serve(l, 256) }() // it fails when the listener is closed
	c, err := Dial(l.Addr().String(), 2, Raftkv)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for client := range 2 {
		for _, op := range load {
			if failure := c.Do(ctx, client, op, "bench/1", make([]byte, 256)); failure != "" {
				t.Errorf("%s: %s", op, failure)
			}
		}
	}
}

// Goal: the client asks as raftkv's HTTP interface wants it, and counts nothing as done
// that is not. Method: a server of net/http looks at the requests and gives answers of
// all sorts.
func TestOnlyGoodAnswersCount(t *testing.T) {
	for _, c := range []struct {
		name, node string
		status     int
		chunked    bool
		want       string
	}{
		{"a node", "n1", 200, false, ""},
		{"a new key", "n1", 201, false, ""},
		{"no such key", "n1", 404, false, "unknown status_404"},
		{"overloaded", "n1", 429, false, "unknown status_429"},
		{"a redirect", "n1", 307, false, "unknown status_307"},
		{"a web server", "", 200, false, "unknown no_answer"},
		{"no length", "n1", 200, true, "unknown no_answer"},
	} {
		asked := ""
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked = r.Method + " " + r.RequestURI + " " + string(body)
			if c.node != "" {
				w.Header().Set("Kv-Node", c.node)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, "answer")
			if c.chunked {
				w.(http.Flusher).Flush()
			}
		}))
		for op, request := range map[bench.Op]string{
			bench.Put: "PUT /v1/kv/bench/1 value", bench.Get: "GET /v1/kv/bench/1 ", bench.Stale: "GET /v1/kv/bench/1?consistency=stale ",
		} {
			client, err := Dial(server.Listener.Addr().String(), 1, Raftkv)
			if err != nil {
				t.Fatal(err)
			}
			got := client.Do(t.Context(), 0, op, "bench/1", []byte("value"))
			if got != c.want || asked != request {
				t.Errorf("%s: %q ended with %q, want %q and %q", c.name, asked, got, request, c.want)
			}
			client.Close()
		}
		server.Close()
	}
}
