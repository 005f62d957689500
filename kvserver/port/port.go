package port

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMaxConnections is the default of Config.MaxConnections.
const DefaultMaxConnections = 8192

// Config is what a Port is made of. Problem and Logger must be set.
type Config struct {
	// MaxConnections bounds the connections, of which some are kept for clients on
	// this machine; 0: DefaultMaxConnections. MaxPerIP bounds those from one address
	// that is not loopback; 0: no bound.
	MaxConnections, MaxPerIP int
	// BodyGrace is how long a client may take over the body of a request beyond what
	// the minimum rate gives it, AnswerGrace the same for an answer. 0: one minute.
	BodyGrace, AnswerGrace time.Duration
	// Problem renders an error as a whole answer of HTTP, for a connection whose
	// request no handler has seen. The connection ends with it.
	Problem func(error) []byte
	Logger  *slog.Logger
	// Strict says whether connections on which nobody has proved an identity may be a quarter of
	// the places only; those from this machine do not count. It must not block. nil: they may
	// be all.
	Strict func() bool
	// TLS makes the port speak TLS. nil: it speaks in clear.
	TLS *Secure
}

// Port bounds and watches the connections of one client port. Where there are too
// many, connections whose clients keep the server waiting make room for new ones:
// those on which a request has begun and does not come to its end first, then those
// that nobody uses. Connections whose requests are being served are never closed for
// others. All methods are safe for concurrent use.
type Port struct {
	config Config
	begun  time.Time

	count atomic.Int64 // len(all), readable without the lock

	// strangers are how many of all have no owner and are not from this machine. It changes
	// under the lock.
	strangers atomic.Int64

	mu    sync.Mutex // guards the fields below
	all   map[*Conn]bool
	perIP map[netip.Addr]int
	// waiting are connections that make room for others, waitingStrangers those that make
	// room for strangers.
	waiting, waitingStrangers queue
	// evicted and refused count connections since the start.
	evicted, refused uint64

	gate       *gate
	handshakes handshakes
	failed     *ThrottledLog // of the warning that handshakes fail
	refusals   atomic.Int64  // connections that are being told that there is no room
	shortages  *ThrottledLog // of the warning that file descriptors are short
}

// New returns a port without a connection.
func New(config Config) *Port {
	if config.MaxConnections == 0 {
		config.MaxConnections = DefaultMaxConnections
	}
	if config.BodyGrace == 0 {
		config.BodyGrace = bodyGrace
	}
	if config.AnswerGrace == 0 {
		config.AnswerGrace = bodyGrace
	}
	return &Port{config: config, shortages: NewThrottledLog(config.Logger), begun: time.Now(), gate: newGate(), handshakes: newHandshakes(), failed: NewThrottledLog(config.Logger), all: map[*Conn]bool{}, perIP: map[netip.Addr]int{}, waitingStrangers: queue{strangers: true}}
}

// Listener makes the client port out of a listener: the same connections, but
// bounded in number and watched. It is to be served by an http.Server that
// NewServer made.
func (p *Port) Listener(l net.Listener) net.Listener { return newListener(l, p) }

// Counts returns the number of connections now, and of those that were closed for
// others or refused since the start.
func (p *Port) Counts() (open int, evicted, refused uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all), p.evicted, p.refused
}

// Held returns what the port holds in addition to what Counts counts: places
// in the gate, connections that are being told that there is no room, and addresses.
func (p *Port) Held() (gate, refusals, addresses int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate.held(), int(p.refusals.Load()), len(p.perIP)
}

// MaxConnections returns the number of places for connections.
func (p *Port) MaxConnections() int { return p.config.MaxConnections }

// now is the time since the port was made, in nanoseconds.
func (p *Port) now() int64 { return int64(time.Since(p.begun)) }
