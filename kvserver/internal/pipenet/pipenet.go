// Package pipenet is a network in memory with one server on it, for tests in
// virtual time: everything on it comes to rest when nothing is left to do.
package pipenet

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Net is a network in memory with one server on it.
type Net struct {
	come   chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards the field below
	ends []net.Conn // the clients' ends
}

// Serve serves on a network of its own until the test ends. port makes the client
// port out of a listener.
func Serve(t *testing.T, server *http.Server, port func(net.Listener) net.Listener) *Net {
	t.Helper()
	n := &Net{come: make(chan net.Conn), closed: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(port(n))
	}()
	t.Cleanup(func() {
		n.Cut()
		server.Close()
		<-done
	})
	return n
}

// Dial opens a connection, as client.Config.Dial.
func (n *Net) Dial(ctx context.Context, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.come <- theirs:
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends = append(n.ends, ours)
	return ours, nil
}

// Open sends raw bytes on a connection of its own and returns it.
func (n *Net) Open(t *testing.T, raw string) net.Conn {
	t.Helper()
	conn, err := n.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, raw) // the server may have closed it already
	return conn
}

// Cut ends all connections there are, as when a cable is pulled.
func (n *Net) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.ends {
		conn.Close()
	}
	n.ends = nil
}

// Accept implements net.Listener.
func (n *Net) Accept() (net.Conn, error) {
	select {
	case conn := <-n.come:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *Net) Close() error { n.once.Do(func() { close(n.closed) }); return nil }

// Addr implements net.Listener.
func (n *Net) Addr() net.Addr { return &net.TCPAddr{} }
