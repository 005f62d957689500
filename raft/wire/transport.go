package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
	"raftkv/raft/throttle"
)

// Handler receives the requests of peers.
type Handler interface {
	// Receive takes a peer's request; requests come in the order in which the peer sent
	// them. It may wait, which holds up this peer's requests and no others. The request
	// belongs to the Handler.
	//
	// answer may be called from any goroutine, at most once, and never blocks. Since
	// answers leave in the order of the requests, a request without one holds back
	// later answers until the peer gives the connection up. answer(nil) says that there
	// is no answer, and holds back nothing.
	//
	// A *core.InstallSnapshot is not in this order. It comes once Config.Snapshots holds
	// its snapshot durably; its Data is nil.
	Receive(from core.ID, request core.Request, answer func(core.Reply))
	// Suspect is called when the last established connection with the peer died from the
	// other side: it was closed or reset there, or its host no longer responds. A process
	// that dies ends both; one that ends a single connection is alive and has a reason,
	// such as a certificate that is not good any more. Suspect is called at most once per
	// connection, and not for connections that this server gave up. It must not wait.
	Suspect(peer core.ID)
}

// Transport connects this server with its peers. All methods are safe for
// concurrent use.
type Transport struct {
	config  Config
	handler Handler                 // set by Start, before any goroutine
	servers atomic.Pointer[servers] // with which this one talks; see now
	log     *throttledLog

	bootstrap bootstrap                // of the list of members
	uid       atomic.Pointer[core.UID] // of the cluster; zero: not known yet

	muted      atomic.Bool   // no message passes in either direction; see mute
	distrusted atomic.Uint64 // refusals of our directory that did not count

	rejected map[identity.Reason]*atomic.Uint64 // hellos turned down; the map never changes

	levels levels.Range // of this program

	snapshotLimiter *limiter      // shared by all snapshots that are sent
	turn            chan struct{} // holds a token while a snapshot is being received
	// remembering holds a token while Config.Memory is in use.
	remembering chan struct{}

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // every goroutine

	mu       sync.Mutex // guards the fields below, and those of every peer that say so
	started  bool
	closed   bool
	words    identity.Words                 // what peers say of our data directory
	trial    int                            // counts how often all words were taken back
	hearsay  identity.Hearsay               // which uids peers name, while ours is not known
	atOdds   bool                           // they name different ones
	doorstep doorstep                       // accepted connections without a valid hello
	newest   *snapshotReceiver              // the one with the latest offer
	conns    map[net.Conn]func(cause error) // every open connection and the function that ends it

	announcing bool             // see Announce
	unaware    map[core.ID]bool // the peers that have not taken our announcement
	awareness  chan struct{}    // closed when unaware has changed
}

// Reasons for the end of a connection that did not die from the other side. None of
// them makes its peer suspect.
var (
	errCallTimeout     = errors.New("a call had no answer in time")
	errLeftEarly       = errors.New("the peer left before our hello")
	errReplaced        = errors.New("the peer has dialled a newer connection")
	errNewerSnapshot   = errors.New("a newer snapshot took its place")
	errOtherCluster    = errors.New("the peer belongs to another cluster")
	errRemoved         = errors.New("the peer is no member any more")
	errAnnouncing      = errors.New("we have more to say at the beginning of a connection")
	errUntrusted       = errors.New("the certificate of the peer is not good any more")
	errTransportClosed = errors.New("the transport was closed")
)

// New checks the configuration and returns a Transport that does nothing yet.
// The Listener belongs to the Transport from then on: Close closes it.
func New(config Config) (*Transport, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &Transport{
		config:          config,
		levels:          levels.Range{Min: levels.Min, Max: config.LevelMax},
		log:             newThrottledLog(config.Logger.With("server", string(config.ID))),
		rejected:        make(map[identity.Reason]*atomic.Uint64),
		doorstep:        doorstep{gaveWay: map[net.Conn]bool{}},
		snapshotLimiter: &limiter{rate: config.SnapshotBytesPerSecond},
		turn:            make(chan struct{}, 1),
		remembering:     make(chan struct{}, 1),
		conns:           make(map[net.Conn]func(error)),
		bootstrap:       bootstrapOf(config.members()),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.uid.Store(&config.UID)
	t.servers.Store(t.listed())
	t.bindByMemory()
	for _, reason := range reasons {
		t.rejected[reason] = new(atomic.Uint64)
	}
	return t, nil
}

// Start begins to accept connections and to dial every peer. It is called at
// most once; after Close it does nothing.
func (t *Transport) Start(h Handler) {
	if h == nil {
		panic("wire: Start needs a Handler")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started {
		panic("wire: Start was called twice")
	}
	t.started = true
	if t.closed {
		return
	}
	t.handler = h
	t.work.Go(t.accept)
	t.work.Go(t.keepStandings)
	for _, p := range t.now().sorted() {
		t.startDialling(p)
	}
}

// Send sends a request to call.To and calls done exactly once: with the answer, or
// with nil when the call was lost. A lost call says nothing about whether the peer
// got the request. A call is lost at once if there is no connection, if too many
// calls are pending (MaxCalls, MaxCallBytes), if the request fits in no frame
// (MaxFrameBytes), or if the peer is unknown. Otherwise it is lost when its
// connection ends before the answer comes. Calls to one peer leave in the order of
// Send.
//
// An InstallSnapshot is not in this order: first its snapshot, which Config.Snapshots
// holds, is sent on a connection of its own, for as long as that takes. The call is
// lost when that transfer breaks off, and when another snapshot for the same peer
// takes its place. After a failure the next transfer pauses for a moment, so the
// caller may ask again at once.
//
// Send never blocks. done may be called from any goroutine, also from within Send,
// and should not block, since it holds up later answers. The request and its entries
// must not be changed after Send, not even after done.
func (t *Transport) Send(call core.Call, done func(core.Call, core.Reply)) {
	p := t.now().peer(call.To)
	if p == nil {
		t.log.note(slog.LevelError, "unknown", "a call to a server that is no peer is lost", "peer", string(call.To))
		done(call, nil)
		return
	}
	p.calls.Add(1)
	if t.muted.Load() {
		p.lose(call, done)
		return
	}
	if m, ok := call.Request.(*core.InstallSnapshot); ok {
		t.sendSnapshot(p, call, m, done)
		return
	}
	k, bytes := requestKind(call.Request), frameBound(call.Request)
	if bytes > MaxFrameBytes {
		p.tooLarge.Add(1)
		t.log.note(slog.LevelError, "large "+string(p.id), "a call that fits in no frame is lost; let fewer entries travel together",
			"peer", string(p.id), "bytes", bytes, "limit", MaxFrameBytes)
		p.lose(call, done)
		return
	}
	out := p.out.Load()
	if out == nil || !out.send(pending{call: call, done: done, kind: k, bytes: bytes}) {
		p.lose(call, done)
	}
}

// ClientAddr returns the address for clients that the peer named last in a hello, or
// "" if it never named one. The address stays known while the peer is away.
func (t *Transport) ClientAddr(id core.ID) string {
	if p := t.now().peer(id); p != nil {
		if addr := p.clientAddr.Load(); addr != nil {
			return *addr
		}
	}
	return ""
}

// ClientAt returns the member that has named this address for clients in its last hello,
// and whether it has said that the port there speaks TLS. None: no member has.
func (t *Transport) ClientAt(address string) (id core.ID, secret bool) {
	for _, p := range t.now().sorted() {
		if addr := p.clientAddr.Load(); addr != nil && *addr == address {
			return p.id, p.clientTLS.Load()
		}
	}
	return core.None, false
}

// Close ends all connections and the listener. When it returns, every call has
// ended, no goroutine is left and the Handler will not be called again. It waits for
// the Handler and every done, so it must not be called from within these. Calling it
// again waits likewise and returns nil. The error is the listener's.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	ends := make([]func(error), 0, len(t.conns))
	for _, end := range t.conns {
		ends = append(ends, end)
	}
	t.mu.Unlock()

	var err error
	if first {
		t.cancel()
		err = t.config.Listener.Close()
	}
	for _, end := range ends {
		end(errTransportClosed)
	}
	t.work.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("wire: closing the listener: %w", err)
	}
	return nil
}

// track makes sure that Close ends a connection with end. If Close has already
// begun, it ends the connection and returns false.
func (t *Transport) track(conn net.Conn, end func(cause error)) bool {
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.conns[conn] = end
	}
	t.mu.Unlock()
	if closed {
		end(errTransportClosed)
	}
	return !closed
}

// forget is the opposite of track.
func (t *Transport) forget(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, conn)
}

// ended is called once for every established connection, after it was closed.
func (t *Transport) ended(p *peer, conn net.Conn, direction string, cause error) {
	t.forget(conn)
	t.noteEnded(p, direction, cause)
	level := slog.LevelWarn
	switch {
	case errors.Is(cause, errTransportClosed), errors.Is(cause, errAnnouncing), errors.Is(cause, errRemoved):
		return
	case errors.Is(cause, errLeftEarly):
		t.rejected[ReasonSilent].Add(1)
	case errors.Is(cause, errReplaced):
		p.replaced.Add(1)
		level = slog.LevelInfo
	case errors.Is(cause, errOtherCluster):
	case errors.Is(cause, errUntrusted):
		t.rejected[ReasonIdentity].Add(1)
	case errors.Is(cause, errCallTimeout):
		p.timeouts.Add(1)
	case errors.Is(cause, errMalformed):
		p.malformed.Add(1)
	case errors.Is(cause, os.ErrDeadlineExceeded):
		p.stalls.Add(1)
	default:
		level = slog.LevelInfo
		if !t.standsWith(p) {
			t.handler.Suspect(p.id)
		}
		p.suspects.Add(1)
	}
	t.log.note(level, "ended "+direction+" "+string(p.id), "connection with a peer ended",
		"peer", string(p.id), "direction", direction, "cause", cause.Error())
}

// standsWith reports whether a connection with p stands, in either direction. Of two that
// end together, the one that ends last sees neither: each ends before it asks.
func (t *Transport) standsWith(p *peer) bool {
	t.mu.Lock()
	in, out := p.in, p.out.Load()
	t.mu.Unlock()
	if out != nil {
		if stands, _, _ := out.load(); stands {
			return true
		}
	}
	if in != nil {
		if stands, _ := in.load(); stands {
			return true
		}
	}
	return false
}

// logPause is how long an event stays silent after it was logged. A peer that is
// down fails to be dialled every second for days. The counters in Stats tell how
// often; the log only needs to tell that.
const logPause = 10 * time.Second

// throttledLog logs events, each at most once per logPause. Events are named by
// keys that this package chooses.
type throttledLog struct {
	log *slog.Logger
	due *throttle.Throttle
}

func newThrottledLog(log *slog.Logger) *throttledLog {
	return &throttledLog{log: log, due: throttle.New(1, logPause)}
}

// note logs an event unless one with the same key was logged less than logPause
// ago.
func (l *throttledLog) note(level slog.Level, key, message string, args ...any) {
	if ok, _ := l.due.Allow(key, time.Now()); ok {
		l.log.Log(context.Background(), level, message, args...)
	}
}
