package wire

import (
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// Stats is a picture of a Transport's counters. Counters only grow; they are
// read one after the other, so they fit each other only nearly.
type Stats struct {
	Total PeerStats             // sums over Peers; LastContact is the latest
	Peers map[core.ID]PeerStats // every peer, whether it was ever reached or not

	// Rejected counts the hellos that this server turned down, by reason. It
	// is not kept per peer, because who sent them is not known for sure.
	Rejected map[identity.Reason]uint64
	// Strangers is how many accepted connections have not yet said a valid
	// hello.
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

	Connects     uint64 // connections we dialled that came to stand
	Accepts      uint64 // connections the peer dialled that came to stand
	DialFailures uint64 // attempts to connect that failed, refusals included
	Refusals     uint64 // hellos of ours that the peer turned down

	Calls     uint64 // given to Send
	LostCalls uint64 // of those, ended without an answer, for whatever reason
	TooLarge  uint64 // of those, lost because they fit in no frame

	CallTimeouts uint64 // connections given up because a call had no answer in time
	Stalls       uint64 // connections given up because a frame under way stood still
	Malformed    uint64 // connections given up because what came was not the protocol
	Replaced     uint64 // connections given up because the peer dialled another one
	Suspects     uint64 // connections that died from the other side

	SnapshotsSent     uint64 // transfers to the peer that it answered
	SnapshotsReceived uint64 // transfers from the peer that were received whole
	SnapshotsFailed   uint64 // transfers in either direction that ended early
	// SnapshotBytesSent and SnapshotBytesReceived are the bytes of snapshots,
	// those of transfers under way included. What is sent again counts again.
	SnapshotBytesSent     uint64
	SnapshotBytesReceived uint64
	SendingSnapshot       bool // a transfer to the peer is under way, or pauses after a failure
	ReceivingSnapshot     bool // the peer has a connection for a transfer to us

	CallsInFlight     int   // calls without an answer, queued ones included
	CallBytesInFlight int64 // their encoded length, nearly
	RequestsHeld      int   // the peer's requests that the Handler has not answered
}

// Stats may be called at any time, from any goroutine.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	strangers := t.strangers
	accepted := make(map[core.ID]*inbound, len(t.peers))
	sending, receiving := make(map[core.ID]bool), make(map[core.ID]bool)
	for id, p := range t.peers {
		accepted[id] = p.in
		sending[id], receiving[id] = p.sending != nil, p.incoming != nil
	}
	t.mu.Unlock()

	s := Stats{Peers: make(map[core.ID]PeerStats, len(t.peers)), Rejected: make(map[identity.Reason]uint64), Strangers: strangers}
	for id, p := range t.peers {
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
