package kvserver

import (
	"net"
	"sync"
	"time"
)

// clientListener accepts the connections of clients, as many as there are places
// for. Where the process has no file descriptor left for one more, idle clients
// make room, and the port goes on when it can.
type clientListener struct {
	net.Listener
	conns  *connections
	once   sync.Once
	closed chan struct{}
}

func newClientListener(l net.Listener, cs *connections) *clientListener {
	return &clientListener{Listener: l, conns: cs, closed: make(chan struct{})}
}

// Bounds on the pause after a connection could not be accepted. Whatever has
// taken the descriptors holds them for longer than the first.
const (
	firstAcceptPause = 10 * time.Millisecond
	lastAcceptPause  = time.Second
)

// Accept returns the next connection for which there is room.
func (l *clientListener) Accept() (net.Conn, error) {
	pause := firstAcceptPause
	for {
		conn, err := l.Listener.Accept()
		switch {
		case err == nil:
			pause = firstAcceptPause
			if c := l.conns.take(conn); c != nil {
				return c, nil
			}
			l.conns.refuse(conn)
		case isShortage(err):
			l.conns.makeRoom(err)
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
func (l *clientListener) rest(d time.Duration) bool {
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
func (l *clientListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// makeRoom closes some connections that keep the server waiting, because the
// process has no file descriptor left for another one.
func (cs *connections) makeRoom(err error) {
	cs.mu.Lock()
	cs.evictLocked()
	now, evicted := len(cs.all), cs.evicted
	cs.mu.Unlock()
	cs.crowded.warn(cs.server.config.Logger,
		"no connection can be made: the process or the machine has no file descriptor left; raise the limit (ulimit -n, LimitNOFILE) or lower --max-connections",
		"error", err, "clients", now, "max_connections", cs.most, "evicted", evicted)
}
