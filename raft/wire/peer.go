package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// peer holds the state of one other server, from New to Close.
type peer struct {
	id   core.ID
	addr atomic.Pointer[string] // of its list entry, or of the configuration

	// ctx ends when the peer is none any more, and with the transport.
	ctx    context.Context
	cancel context.CancelFunc

	out        atomic.Pointer[outbound] // the connection we dialled; nil while there is none
	clientAddr atomic.Pointer[string]   // from the last hello that named one
	heard      atomic.Pointer[string]   // the address of its peer port that it named last; nil: none
	found      atomic.Pointer[string]   // where it was found last; see Suggest; nil: nowhere
	listed     string                   // its address in Config; "": it has none
	attempts   atomic.Uint64            // to connect
	shown      atomic.Pointer[Shown]    // by its last hello; nil: there was none
	clientTLS  atomic.Bool              // and whether the port there speaks TLS
	wake       chan struct{}            // holds a token when the dialler should try at once

	// Guarded by Transport.mu.
	dialled      bool                 // it has a dialler
	pinned       identity.Incarnation // the directory that the configuration names; zero: none
	use          identity.Use         // the latest process of the peer that was met
	said         identity.Standing    // that process's latest words about its disk since it was met
	uid          core.UID             // and of its cluster
	in           *inbound             // the newest connection the peer dialled
	sending      *snapshotSender      // the snapshot on its way to the peer
	nextSnapshot *snapshotSender      // the one that takes its place as soon as it has ended
	receiving    *snapshotReceiver    // the newest connection for a snapshot that the peer dialled

	// Of the goroutine that sends snapshots, of which there is at most one.
	transferRest  time.Duration // before the next transfer; 0 if the last one succeeded
	transferPause backoff

	lastContact    atomic.Int64 // Unix nanoseconds of the last frame from the peer; 0 never
	framesSent     atomic.Uint64
	framesReceived atomic.Uint64
	bytesSent      atomic.Uint64
	bytesReceived  atomic.Uint64
	connects       atomic.Uint64
	accepts        atomic.Uint64
	dialFailures   atomic.Uint64
	lookupFailures atomic.Uint64
	refusals       atomic.Uint64
	calls          atomic.Uint64
	lostCalls      atomic.Uint64
	tooLarge       atomic.Uint64
	timeouts       atomic.Uint64
	stalls         atomic.Uint64
	malformed      atomic.Uint64
	replaced       atomic.Uint64
	suspects       atomic.Uint64

	snapshotsSent         atomic.Uint64
	snapshotsReceived     atomic.Uint64
	snapshotsFailed       atomic.Uint64
	snapshotBytesSent     atomic.Uint64
	snapshotBytesReceived atomic.Uint64
}

// newPeer returns a peer that ends with the transport.
func (t *Transport) newPeer(id core.ID, addr string) *peer {
	p := &peer{
		id: id, listed: t.config.Peers[id], wake: make(chan struct{}, 1),
		transferPause: backoff{min: transferPauseMin, max: transferPauseMax},
	}
	p.addr.Store(&addr)
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	return p
}

// address returns where the peer is said to be, "" if nobody has said it.
func (p *peer) address() string { return *p.addr.Load() }

// nextAddress returns the address for the next attempt to connect: in turn the one that the
// configuration names, the one that the peer has named, the one where it was found, and the
// one in Config, which an operator may have corrected after all servers got new addresses.
func (p *peer) nextAddress() string {
	attempt := p.attempts.Add(1)
	var known []string
	for _, address := range []*string{p.addr.Load(), p.heard.Load(), p.found.Load(), &p.listed} {
		if address != nil && *address != "" && !slices.Contains(known, *address) {
			known = append(known, *address)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return known[(attempt-1)%uint64(len(known))]
}

// Suggest says that a member may be reached at an address. It is dialled in turn with those
// that are known, and the server that answers there is judged as everywhere. One that is no member is not
// dialled. It may be called by any goroutine.
func (t *Transport) Suggest(id core.ID, address string) {
	if p := t.now().members[id]; p != nil {
		p.found.Store(&address)
		p.nudge()
	}
}

// sent counts frames that were handed to the kernel.
func (p *peer) sent(frames, bytes int) {
	p.framesSent.Add(uint64(frames))
	p.bytesSent.Add(uint64(bytes))
}

// received counts one well-formed frame.
func (p *peer) received(bytes int) {
	p.framesReceived.Add(1)
	p.bytesReceived.Add(uint64(bytes))
	p.lastContact.Store(time.Now().UnixNano())
}

// lose ends a call without an answer.
func (p *peer) lose(call core.Call, done func(core.Call, core.Reply)) {
	p.lostCalls.Add(1)
	done(call, nil)
}

// greeted takes note of a hello from the peer.
func (p *peer) greeted(h hello) {
	p.lastContact.Store(time.Now().UnixNano())
	if h.ClientAddr != "" {
		p.clientAddr.Store(&h.ClientAddr)
		p.clientTLS.Store(h.ClientTLS)
	}
	shown := h.shown()
	p.shown.Store(&shown)
	if address := shown.Address(AddressPeer); address != "" {
		p.heard.Store(&address)
	}
}

// nudge makes the dialler try at once if it is waiting.
func (p *peer) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Stats is a snapshot of a Transport's counters. Counters only grow. They are read
// one after the other, so sums may be off by the events of that moment.
type Stats struct {
	Total PeerStats             // sums over Peers; LastContact is the latest
	Peers map[core.ID]PeerStats // every member, whether it was ever reached or not

	// Rejected counts the hellos that this server turned down, by reason. It is not
	// kept per peer, because the sender of such a hello is not known for sure.
	Rejected map[identity.Reason]uint64
	// Strangers is the number of accepted connections on which no valid hello has come
	// yet.
	Strangers int
}

// PeerStats counts what happened between this server and one peer.
type PeerStats struct {
	Connected   bool      // the connection we dialled stands
	Accepted    bool      // the connection the peer dialled stands
	LastContact time.Time // last well-formed frame from the peer; zero: never

	FramesSent     uint64 // handed to the kernel, without hellos
	FramesReceived uint64 // well-formed, without hellos
	BytesSent      uint64 // of those frames
	BytesReceived  uint64

	Connects     uint64 // connections we dialled that were established
	Accepts      uint64 // connections the peer dialled that were established
	DialFailures uint64 // attempts to connect that failed, refusals included
	// LookupFailures is how many of those failed because the name in the peer's address could
	// not be resolved.
	LookupFailures uint64
	Refusals       uint64 // hellos of ours that the peer turned down

	Calls     uint64 // given to Send
	LostCalls uint64 // of those, ended without an answer, for any reason
	TooLarge  uint64 // of those, lost because they fit in no frame

	CallTimeouts uint64 // connections given up because a call had no answer in time
	Stalls       uint64 // connections given up because a frame that had begun stood still
	Malformed    uint64 // connections given up because of bytes that are not the protocol
	Replaced     uint64 // connections given up because the peer dialled another one
	Suspects     uint64 // connections that died from the other side

	SnapshotsSent     uint64 // transfers to the peer that it answered
	SnapshotsReceived uint64 // transfers from the peer that were received whole
	SnapshotsFailed   uint64 // transfers in either direction that ended early
	// SnapshotBytesSent and SnapshotBytesReceived are the bytes of snapshots, including
	// those of transfers in progress. Bytes that are sent again count again.
	SnapshotBytesSent     uint64
	SnapshotBytesReceived uint64
	SendingSnapshot       bool // a transfer to the peer is in progress, or pauses after a failure
	ReceivingSnapshot     bool // the peer has a connection for a transfer to us

	CallsInFlight     int   // calls without an answer, queued ones included
	CallBytesInFlight int64 // an upper bound of their encoded length
	RequestsHeld      int   // the peer's requests that the Handler has not answered
}

// Stats may be called at any time, from any goroutine.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	strangers := t.doorstep.strangers
	peers := t.now().members
	accepted := make(map[core.ID]*inbound, len(peers))
	sending, receiving := make(map[core.ID]bool), make(map[core.ID]bool)
	for id, p := range peers {
		accepted[id] = p.in
		sending[id], receiving[id] = p.sending != nil, p.receiving != nil
	}
	t.mu.Unlock()

	s := Stats{Peers: make(map[core.ID]PeerStats, len(peers)), Rejected: make(map[identity.Reason]uint64), Strangers: strangers}
	for id, p := range peers {
		stats := p.stats(accepted[id])
		stats.SendingSnapshot, stats.ReceivingSnapshot = sending[id], receiving[id]
		s.Peers[id] = stats
		s.Total.add(stats)
	}
	for reason, n := range t.rejected {
		if n := n.Load(); n > 0 {
			s.Rejected[reason] = n
		}
	}
	return s
}

func (p *peer) stats(in *inbound) PeerStats {
	s := PeerStats{
		FramesSent:     p.framesSent.Load(),
		FramesReceived: p.framesReceived.Load(),
		BytesSent:      p.bytesSent.Load(),
		BytesReceived:  p.bytesReceived.Load(),
		Connects:       p.connects.Load(),
		Accepts:        p.accepts.Load(),
		DialFailures:   p.dialFailures.Load(),
		LookupFailures: p.lookupFailures.Load(),
		Refusals:       p.refusals.Load(),
		Calls:          p.calls.Load(),
		LostCalls:      p.lostCalls.Load(),
		TooLarge:       p.tooLarge.Load(),
		CallTimeouts:   p.timeouts.Load(),
		Stalls:         p.stalls.Load(),
		Malformed:      p.malformed.Load(),
		Replaced:       p.replaced.Load(),
		Suspects:       p.suspects.Load(),

		SnapshotsSent:         p.snapshotsSent.Load(),
		SnapshotsReceived:     p.snapshotsReceived.Load(),
		SnapshotsFailed:       p.snapshotsFailed.Load(),
		SnapshotBytesSent:     p.snapshotBytesSent.Load(),
		SnapshotBytesReceived: p.snapshotBytesReceived.Load(),
	}
	if at := p.lastContact.Load(); at != 0 {
		s.LastContact = time.Unix(0, at)
	}
	if out := p.out.Load(); out != nil {
		s.Connected, s.CallsInFlight, s.CallBytesInFlight = out.load()
	}
	if in != nil {
		s.Accepted, s.RequestsHeld = in.load()
	}
	return s
}

func (s *PeerStats) add(o PeerStats) {
	s.Connected = s.Connected || o.Connected
	s.Accepted = s.Accepted || o.Accepted
	if o.LastContact.After(s.LastContact) {
		s.LastContact = o.LastContact
	}
	s.FramesSent += o.FramesSent
	s.FramesReceived += o.FramesReceived
	s.BytesSent += o.BytesSent
	s.BytesReceived += o.BytesReceived
	s.Connects += o.Connects
	s.Accepts += o.Accepts
	s.DialFailures += o.DialFailures
	s.LookupFailures += o.LookupFailures
	s.Refusals += o.Refusals
	s.Calls += o.Calls
	s.LostCalls += o.LostCalls
	s.TooLarge += o.TooLarge
	s.CallTimeouts += o.CallTimeouts
	s.Stalls += o.Stalls
	s.Malformed += o.Malformed
	s.Replaced += o.Replaced
	s.Suspects += o.Suspects
	s.SnapshotsSent += o.SnapshotsSent
	s.SnapshotsReceived += o.SnapshotsReceived
	s.SnapshotsFailed += o.SnapshotsFailed
	s.SnapshotBytesSent += o.SnapshotBytesSent
	s.SnapshotBytesReceived += o.SnapshotBytesReceived
	s.SendingSnapshot = s.SendingSnapshot || o.SendingSnapshot
	s.ReceivingSnapshot = s.ReceivingSnapshot || o.ReceivingSnapshot
	s.CallsInFlight += o.CallsInFlight
	s.CallBytesInFlight += o.CallBytesInFlight
	s.RequestsHeld += o.RequestsHeld
}

// Note is one thing that happened to the connections with a peer, for people. It
// carries no address and no text.
type Note struct {
	Kind    NoteKind
	Why     Why
	Peer    core.ID // None for NoteRejected, whose sender is not known for sure
	Boot    uint64  // of the peer's process, where the connection was established
	Inbound bool    // the peer dialled the connection that ended
}

// NoteKind says what happened.
type NoteKind uint8

// The kinds of notes.
const (
	_               NoteKind = iota
	NoteConnected            // a connection that we dialled stands
	NoteAccepted             // a connection that the peer dialled stands
	NoteEnded                // an established connection ended
	NoteUnreachable          // an attempt to connect failed
	NoteRejected             // a connection was turned down before its hello counted
)

// Why is the reason of a note.
type Why uint8

// The reasons.
const (
	WhyNone         Why = iota
	WhyClosedByPeer     // the peer's side closed it: its process ended it, or ended
	WhyReset            // the peer's side has no such connection any more
	WhyHostSilent       // the peer's host did not answer keep-alives or data
	WhyCallTimeout      // a call had no answer in time
	WhyStalled          // a frame that had begun stood still
	WhyMalformed        // bytes came that are not the protocol
	WhyReplaced         // the peer has dialled a newer one, or has a newer process
	WhyByUs             // this server gave it up
	WhyRefused          // nobody listens at the peer's address
	WhyNoAnswer         // the attempt to connect had no answer in time
	WhyNoRoute          // the peer's address cannot be reached or resolved
	WhyTurnedDown       // the peer refuses our hello
	WhyWeTurnDown       // we refuse the peer's hello
	WhyOther            // another error of the network
	WhyDirectory        // a hello whose data directory lost something, or is a copy
	WhyOtherCluster     // a hello of another cluster or with another list of members
	WhyVersion          // a hello of another version or level
	WhyTooMany          // too many connections had not said hello
	WhyNoHello          // there was none, or not in time: the machine there answers, and its process does not
	WhyIdentity         // the certificate does not prove that it is the server it claims to be
)

// noteEnded notes the end of an established connection.
func (t *Transport) noteEnded(p *peer, direction string, cause error) {
	t.config.Noted(Note{Kind: NoteEnded, Why: whyEnded(cause), Peer: p.id, Inbound: direction == "inbound"})
}

func whyEnded(cause error) Why {
	switch {
	case errors.Is(cause, errTransportClosed), errors.Is(cause, errAnnouncing), errors.Is(cause, errOtherCluster):
		return WhyByUs
	case errors.Is(cause, errUntrusted):
		return WhyIdentity
	case errors.Is(cause, errReplaced):
		return WhyReplaced
	case errors.Is(cause, errCallTimeout):
		return WhyCallTimeout
	case errors.Is(cause, errMalformed):
		return WhyMalformed
	case errors.Is(cause, os.ErrDeadlineExceeded):
		return WhyStalled
	case errors.Is(cause, syscall.ETIMEDOUT), errors.Is(cause, syscall.EHOSTUNREACH), errors.Is(cause, syscall.ENETUNREACH):
		return WhyHostSilent
	case errors.Is(cause, syscall.ECONNRESET), errors.Is(cause, syscall.EPIPE):
		return WhyReset
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF), errors.Is(cause, errLeftEarly):
		return WhyClosedByPeer
	}
	return WhyOther
}

// whyUnreachable returns why an attempt to connect failed.
func whyUnreachable(err error) Why {
	var no *rejection
	var refused *refusedError
	var unknown *net.DNSError
	switch {
	case errors.As(err, &no):
		return WhyWeTurnDown
	case errors.As(err, &refused):
		return WhyTurnedDown
	case errors.Is(err, syscall.ECONNREFUSED):
		return WhyRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.As(err, &unknown):
		return WhyNoRoute
	case errors.Is(err, os.ErrDeadlineExceeded):
		return WhyNoHello
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return WhyNoAnswer
	}
	return whyEnded(err)
}

// noteRejected notes that a connection was turned down.
func (t *Transport) noteRejected(reason identity.Reason) {
	why := WhyDirectory
	switch reason {
	case identity.OtherCluster, ReasonBootstrap, ReasonReceiver, ReasonSender:
		why = WhyOtherCluster
	case ReasonVersion, ReasonLevel:
		why = WhyVersion
	case ReasonMalformed:
		why = WhyMalformed
	case ReasonCrowded:
		why = WhyTooMany
	case ReasonSilent:
		why = WhyNoHello
	case ReasonIdentity:
		why = WhyIdentity
	}
	t.config.Noted(Note{Kind: NoteRejected, Why: why})
}
