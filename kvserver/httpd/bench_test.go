package httpd

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/port"
)

// loneListener accepts connections that it is given.
type loneListener chan net.Conn

func (l loneListener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (loneListener) Close() error   { return nil }
func (loneListener) Addr() net.Addr { return &net.TCPAddr{} }

// benchmarkDoor measures one request and its answer through net/http, the port, the
// handler and a log in memory, on one connection in memory. The client reuses its
// memory, so that all allocations are the server's.
//
// With known, the server enforces identities, and the request has the token of one.
func benchmarkDoor(b *testing.B, serve func(*testServer) *http.Server, raw string, known bool) {
	log := newInstantLog()
	c := settings{Config: kvserver.Config{
		NodeID: "n1", Consensus: log, ApplyCh: log.applyCh, ClientAddr: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler),
	}, AllowedHosts: []string{"*"}}
	if known {
		c.Level = 3
	}
	s, err := wired(c)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { close(log.queue); s.Close() }()
	ask(s, "PUT", "/v1/kv/some/key", strings.Repeat("v", 256))
	if known {
		root := newIdentity(b, s, "root", "root0000", adminRule)
		user := newIdentity(b, s, "user", "user0000", auth.Rule{Space: auth.Keys, Text: "some/", Rights: auth.RightsOf(auth.Read, auth.Write)})
		change(b, s, callerOf(b, s, root), auth.Change{Action: auth.SetState, State: auth.Enforcing})
		raw = strings.Replace(raw, "\r\n", "\r\nAuthorization: Bearer "+user+"\r\n", 1)
	}
	conns := make(loneListener, 1)
	server := serve(s)
	served := make(chan error)
	go func() { served <- server.Serve(s.port.Listener(conns)) }()
	ours, theirs := net.Pipe()
	conns <- theirs
	request, in := []byte(raw), bufio.NewReader(ours)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := ours.Write(request); err != nil {
			b.Fatal(err)
		}
		discardAnswer(b, in)
	}
	b.StopTimer()
	ours.Close()
	close(conns)
	server.Close()
	<-served
}

// discardAnswer reads an answer that has a Content-Length.
func discardAnswer(b *testing.B, in *bufio.Reader) {
	const field = "Content-Length: "
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) > len(field) && string(line[:len(field)]) == field {
			length, _ = strconv.Atoi(string(line[len(field) : len(line)-2]))
		}
		if len(line) == 2 {
			break
		}
	}
	if _, err := in.Discard(length); err != nil {
		b.Fatal(err)
	}
}

func asServed(s *testServer) *http.Server { return s.door.Server() }

func BenchmarkDoorGet(b *testing.B) {
	benchmarkDoor(b, asServed, rawRequest("GET", "/v1/kv/some/key", ""), false)
}

func BenchmarkDoorGetByIdentity(b *testing.B) {
	benchmarkDoor(b, asServed, rawRequest("GET", "/v1/kv/some/key", ""), true)
}

func BenchmarkDoorGetStale(b *testing.B) {
	benchmarkDoor(b, asServed, rawRequest("GET", "/v1/kv/some/key?consistency=stale", ""), false)
}

func BenchmarkDoorPut(b *testing.B) {
	benchmarkDoor(b, asServed, rawRequest("PUT", "/v1/kv/some/key", strings.Repeat("v", 256)), false)
}

func BenchmarkDoorPutByIdentity(b *testing.B) {
	benchmarkDoor(b, asServed, rawRequest("PUT", "/v1/kv/some/key", strings.Repeat("v", 256)), true)
}

func BenchmarkDoorDelete(b *testing.B) {
	benchmarkDoor(b, asServed, rawRequest("DELETE", "/v1/kv/none", ""), false)
}

// BenchmarkDoorEcho is what net/http and the port need by themselves.
func BenchmarkDoorEcho(b *testing.B) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
	benchmarkDoor(b, func(*testServer) *http.Server { return port.NewServer(echo) }, rawRequest("PUT", "/v1/kv/some/key", strings.Repeat("v", 256)), false)
}
