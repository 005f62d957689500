package host

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// clientPort is the HTTP server of a node. It ends so that few requests fail: it closes
// connections between two requests.
type clientPort struct {
	server   *http.Server
	listener net.Listener
	ending   atomic.Bool

	mu    sync.Mutex
	mutes map[net.Conn]bool // connections without a first request
}

// muteLimit is how long an end waits for the first request on a connection that
// was opened before it began. Clients open connections ahead of need; net/http
// by itself would wait five seconds for each.
const muteLimit = 200 * time.Millisecond

func newClientPort(server *http.Server, listener net.Listener) *clientPort {
	p := &clientPort{server: server, listener: listener, mutes: map[net.Conn]bool{}}
	server.Handler = p.closeWhenEnding(server.Handler)
	before := server.ConnState
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if before != nil {
			before(conn, state)
		}
		p.note(conn, state)
	}
	return p
}

// serve serves until the port is ended. The error is nil if it was.
func (p *clientPort) serve() error {
	err := p.server.Serve(p.listener)
	if p.ending.Load() {
		return nil
	}
	return err
}

// stopListening takes no new connections. Each present connection goes on up to the end
// of its next request.
func (p *clientPort) stopListening() {
	p.ending.Store(true)
	p.listener.Close()
}

// drain waits until the pending requests are answered and all connections are closed.
// It returns false if limit has passed first.
func (p *clientPort) drain(limit time.Duration) bool {
	p.stopListening()
	timer := time.AfterFunc(muteLimit, p.closeMutes)
	defer timer.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// Shutdown closes the listener, too, and reports that it was closed already
	// where serve has not returned yet. Only the end of ctx means that it did not
	// wait to the end.
	return !errors.Is(p.server.Shutdown(ctx), context.DeadlineExceeded)
}

// close ends all remaining connections at once.
func (p *clientPort) close() {
	p.stopListening()
	p.server.Close()
}

// closeWhenEnding tells clients with each answer that the connection ends.
func (p *clientPort) closeWhenEnding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.ending.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// note keeps mutes up to date: it is told of each new state of a connection.
func (p *clientPort) note(conn net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state == http.StateNew {
		p.mutes[conn] = true
	} else {
		delete(p.mutes, conn)
	}
}

func (p *clientPort) closeMutes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.mutes { // any order will do
		conn.Close()
	}
}
