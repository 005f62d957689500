package port

import (
	"net"
	"sync"
	"time"
)

// listener accepts the connections of clients, as many as there are places
// for. Where the process has no file descriptor left for one more, idle clients
// make room, and the port goes on when it can.
type listener struct {
	net.Listener
	port   *Port
	once   sync.Once
	closed chan struct{}
}

func newListener(l net.Listener, p *Port) *listener {
	return &listener{Listener: l, port: p, closed: make(chan struct{})}
}

// Bounds on the pause after a connection could not be accepted. Whatever has
// taken the descriptors holds them for longer than the first.
const (
	firstAcceptPause = 10 * time.Millisecond
	lastAcceptPause  = time.Second
)

// Accept returns the next connection for which there is room.
func (l *listener) Accept() (net.Conn, error) {
	pause := firstAcceptPause
	for {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			pause = firstAcceptPause
			if c := l.port.take(conn); c != nil {
				return c, nil
			}
			l.port.refuse(conn)
		case IsShortage(err):
			l.port.MakeRoom(err)
			if !l.rest(pause) {
				return nil, net.ErrClosed
			}
			pause = min(2*pause, lastAcceptPause)
		default:
			return nil, err
		}
	}
}

// rest waits, unless the listener is closed; then it returns false.
func (l *listener) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

// Close ends Accept. It may be called again.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// MakeRoom closes some connections that keep the server waiting, because the
// process has no file descriptor left for another one.
func (p *Port) MakeRoom(err error) {
	p.mu.Lock()
	for range max(1, len(p.all)/evictionBatch) {
		if !p.evictLocked(&p.waiting) {
			break
		}
	}
	now, evicted := len(p.all), p.evicted
	p.mu.Unlock()
	p.shortages.Warn("no connection can be made: the process or the machine has no file descriptor left; raise the limit (ulimit -n, LimitNOFILE) or lower --max-connections",
		"error", err, "clients", now, "max_connections", p.config.MaxConnections, "evicted", evicted)
}
