package wire

import (
	"sync/atomic"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// peer is what we keep about one other server from New to Close.
type peer struct {
	id   core.ID
	addr string

	out        atomic.Pointer[outbound] // the connection we dialled; nil while there is none
	clientAddr atomic.Pointer[string]   // as the last hello that named one said
	wake       chan struct{}            // holds a token when the dialler should try at once

	// Guarded by Transport.mu.
	use      identity.Use      // the latest process of the peer that was met
	said     identity.Standing // what that process has said of its disk since it was met
	uid      core.UID          // and of its cluster
	in       *inbound          // the newest connection the peer dialled
	sending  *outgoing         // the snapshot on its way to the peer
	next     *outgoing         // the one that takes its place as soon as it has ended
	incoming *incoming         // the newest connection for a snapshot that the peer dialled

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

func newPeer(id core.ID, addr string) *peer {
	return &peer{
		id: id, addr: addr, wake: make(chan struct{}, 1),
		transferPause: backoff{min: transferPauseMin, max: transferPauseMax},
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
	}
}

// nudge makes the dialler try at once if it is waiting.
func (p *peer) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
