package system

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// halfRequest is a PUT whose handler has begun and waits for the other half of
// the body.
type halfRequest struct {
	t          *testing.T
	conn       net.Conn
	answers    *bufio.Reader
	path, body string
}

// beginRequest sends the head of a PUT and half of its body.
func beginRequest(t *testing.T, s *cluster.Node) *halfRequest {
	t.Helper()
	conn, err := net.Dial("tcp", s.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(cluster.Patience))
	h := &halfRequest{t: t, conn: conn, answers: bufio.NewReader(conn), path: "/v1/kv/half", body: "0123456789"}
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", h.path, s.HTTP, len(h.body))
	// The server says that it wants the body when the handler begins to read it.
	if line, err := h.answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("the server answered %q, %v", line, err)
	}
	if line, err := h.answers.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("the server answered %q, %v", line, err)
	}
	fmt.Fprint(conn, h.body[:5])
	return h
}

// finish sends the rest and returns the status of the answer.
func (h *halfRequest) finish() int {
	h.t.Helper()
	fmt.Fprint(h.conn, h.body[5:])
	response, err := http.ReadResponse(h.answers, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
