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

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// Handler is who the requests of peers are for.
type Handler interface {
	// Receive hands over a peer's request, in the order in which the peer sent
	// them. It may wait, which holds up this peer's requests and nobody else's.
	// answer must be called at most once, from any goroutine, and never blocks;
	// it may never be called. Since answers leave in the order of the requests,
	// a request without one holds back the answers behind it until the peer
	// gives the connection up; answer(nil) says that there is none and costs
	// nobody anything. The request belongs to the Handler.
	//
	// A *core.InstallSnapshot comes beside the others, once Config.Snapshots
	// holds its snapshot durably; its Data is nil.
	Receive(from core.ID, request core.Request, answer func(core.Reply))
	// Suspect says that an established connection with the peer died from the
	// other side: it was closed or reset there, or its host no longer responds.
	// It is called at most once per connection, and not for connections that we
	// gave up ourselves. It must not wait.
	Suspect(peer core.ID)
}

// Transport connects this server with its peers. All methods are safe for
// concurrent use.
type Transport struct {
	config  Config
	handler Handler // set by Start, before any goroutine
	peers   map[core.ID]*peer
	journal *journal

	bootstrap bootstrap                // of the list of members
	uid       atomic.Pointer[core.UID] // of the cluster; zero: not known yet

	muted      atomic.Bool   // no message is passed on, in either direction; see mute
	distrusted atomic.Uint64 // words about our directory that did not count

	rejected map[identity.Reason]*atomic.Uint64 // hellos turned down; the map never changes

	pace *pace         // of all snapshots that are sent
	turn chan struct{} // holds a token while a snapshot is being received
	// remembering holds a token while Config.Memory is used.
	remembering chan struct{}

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // every goroutine

	mu        sync.Mutex // guards what follows and the in of every peer
	started   bool
	closed    bool
	words     identity.Words                 // what peers say of our data directory
	trial     int                            // counts how often all words were taken back
	hearsay   identity.Hearsay               // which uids peers name, while ours is not known
	atOdds    bool                           // they name different ones
	strangers int                            // accepted connections without a valid hello
	newest    *incoming                      // the last one that a snapshot was offered on
	conns     map[net.Conn]func(cause error) // every open connection and how to end it

	announcing bool             // see Announce
	unaware    map[core.ID]bool // the peers that have not taken our announcement
	awareness  chan struct{}    // closed when unaware has changed
}

// Why a connection ends that did not die from the other side while it stood.
// None of these makes its peer suspect.
var (
	errCallTimeout     = errors.New("a call had no answer in time")
	errLeftEarly       = errors.New("the peer left before our hello")
	errReplaced        = errors.New("the peer has dialled a newer connection")
	errNewerSnapshot   = errors.New("a newer snapshot took its place")
	errOtherCluster    = errors.New("the peer belongs to another cluster")
	errAnnouncing      = errors.New("we have more to say at the beginning of a connection")
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
		config:      config,
		peers:       make(map[core.ID]*peer, len(config.Peers)),
		journal:     newJournal(config.Logger.With("server", string(config.ID))),
		rejected:    make(map[identity.Reason]*atomic.Uint64),
		pace:        &pace{rate: config.SnapshotBytesPerSecond},
		turn:        make(chan struct{}, 1),
		remembering: make(chan struct{}, 1),
		conns:       make(map[net.Conn]func(error)),
		bootstrap:   bootstrapOf(config.members()),
	}
	t.uid.Store(&config.UID)
	for id, addr := range config.Peers {
		t.peers[id] = newPeer(id, addr)
	}
	t.bindByMemory()
	for _, reason := range reasons {
		t.rejected[reason] = new(atomic.Uint64)
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
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
	for _, id := range sortedIDs(t.peers) {
		p := t.peers[id]
		t.work.Go(func() { t.dial(p) })
	}
}

// Send sends a request to call.To and calls done exactly once: with the answer,
// or with nil when the call was lost, which says nothing about whether the peer
// got the request. A call is lost at once when there is no connection or too
// much is under way (MaxCalls, MaxCallBytes), when the request fits in no frame
// (MaxFrameBytes), and when the peer is not known; otherwise it is lost when
// its connection ends first. Calls to one peer leave in the order of Send.
//
// An InstallSnapshot is not in this order: the snapshot that Config.Snapshots
// has is sent on a connection of its own first, beside all other calls and
// however long that takes. It is lost when that breaks off, and when another
// snapshot for the same peer takes its place. After a failure the next one waits
// a moment, so it may be asked for again at once.
//
// Send never blocks. done may be called from any goroutine, also from within
// Send, and should not block: it holds up the answers behind it. The request
// and its entries must not be changed after Send, not even after done.
func (t *Transport) Send(call core.Call, done func(core.Call, core.Reply)) {
	p, known := t.peers[call.To]
	if !known {
		t.journal.note(slog.LevelError, "unknown", "a call to a server that is no peer is lost", "peer", string(call.To))
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
		t.journal.note(slog.LevelError, "large "+string(p.id), "a call that fits in no frame is lost; let fewer entries travel together",
			"peer", string(p.id), "bytes", bytes, "limit", MaxFrameBytes)
		p.lose(call, done)
		return
	}
	out := p.out.Load()
	if out == nil || !out.send(pending{call: call, done: done, kind: k, bytes: bytes}) {
		p.lose(call, done)
	}
}

// ClientAddr returns the address for clients that the peer named in its last
// hello, "" when it never named one. It stays known while the peer is away.
func (t *Transport) ClientAddr(id core.ID) string {
	if p, known := t.peers[id]; known {
		if addr := p.clientAddr.Load(); addr != nil {
			return *addr
		}
	}
	return ""
}

// Close ends all connections and the listener. When it returns, every call has
// been done, no goroutine is left and the Handler will not be called again. It
// must not be called from within the Handler or a done, for which it waits.
// Calling it again waits likewise and returns nil. The error is the listener's.
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

// track makes sure that Close ends a connection with end. It returns false,
// having ended it, if Close has already begun.
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
	level := slog.LevelWarn
	switch {
	case errors.Is(cause, errTransportClosed), errors.Is(cause, errAnnouncing):
		return
	case errors.Is(cause, errLeftEarly):
		t.rejected[ReasonSilent].Add(1)
	case errors.Is(cause, errReplaced):
		p.replaced.Add(1)
		level = slog.LevelInfo
	case errors.Is(cause, errOtherCluster):
	case errors.Is(cause, errCallTimeout):
		p.timeouts.Add(1)
	case errors.Is(cause, errMalformed):
		p.malformed.Add(1)
	case errors.Is(cause, os.ErrDeadlineExceeded):
		p.stalls.Add(1)
	default:
		p.suspects.Add(1)
		level = slog.LevelInfo
		t.handler.Suspect(p.id)
	}
	t.journal.note(level, "ended "+direction+" "+string(p.id), "connection with a peer ended",
		"peer", string(p.id), "direction", direction, "cause", cause.Error())
}
