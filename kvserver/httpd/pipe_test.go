package httpd

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"raftkv/kvserver/port"
)

// pipeNet is a network in memory with one server on it, for bubbles.
type pipeNet struct {
	come   chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards the field below
	ends []net.Conn // the clients' ends
}

// servePipes serves s on a network of its own until the test ends.
func servePipes(t *testing.T, s *testServer) *pipeNet {
	t.Helper()
	n := &pipeNet{come: make(chan net.Conn), closed: make(chan struct{})}
	server := port.NewServer(s.Handler())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(s.port.Listener(n))
	}()
	t.Cleanup(func() {
		n.cut()
		server.Close()
		<-done
	})
	return n
}

// dial opens a connection, as client.Config.Dial.
func (n *pipeNet) dial(ctx context.Context, _ string) (net.Conn, error) {
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

// open sends raw bytes on a connection of its own and returns it.
func (n *pipeNet) open(t *testing.T, raw string) net.Conn {
	t.Helper()
	conn, err := n.dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, raw) // the server may have closed it already
	return conn
}

// cut ends all connections there are, as when a cable is pulled.
func (n *pipeNet) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.ends {
		conn.Close()
	}
	n.ends = nil
}

func (n *pipeNet) Accept() (net.Conn, error) {
	select {
	case conn := <-n.come:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNet) Close() error   { n.once.Do(func() { close(n.closed) }); return nil }
func (n *pipeNet) Addr() net.Addr { return &net.TCPAddr{} }
