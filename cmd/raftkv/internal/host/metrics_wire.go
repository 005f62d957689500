package host

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/metrics"
	"raftkv/raft/certs"
	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// wireMetrics shows the traffic with the other nodes.
func wireMetrics(transport *wire.Transport) metrics.Shown {
	return func(s *metrics.Scrape) {
		all := transport.Stats()
		for id, p := range all.Peers {
			peer := string(id)
			s.Show(instruments.peerConnected, metrics.Truth(p.Connected), peer)
			s.Show(instruments.peerSentBytes, float64(p.BytesSent), peer)
			s.Show(instruments.peerReceivedBytes, float64(p.BytesReceived), peer)
			s.Show(instruments.peerSentMessages, float64(p.FramesSent), peer)
			s.Show(instruments.peerReceivedMessages, float64(p.FramesReceived), peer)
			s.Show(instruments.peerSendFailures, float64(p.LostCalls), peer)
			s.Show(instruments.peerDialFailures, float64(p.DialFailures), peer)
			s.Show(instruments.peerLookupFailures, float64(p.LookupFailures), peer)
			s.Show(instruments.peerConnectionsLost, float64(p.Suspects), peer)
			s.Show(instruments.peerSnapshotTransfers, float64(p.SnapshotsSent), peer, "sent")
			s.Show(instruments.peerSnapshotTransfers, float64(p.SnapshotsReceived), peer, "received")
			s.Show(instruments.peerSnapshotTransfers, float64(p.SnapshotsFailed), peer, "failed")
			s.Show(instruments.peerCallsInFlight, float64(p.CallsInFlight), peer)
		}
		if _, met := all.Rejected[wire.ReasonRemoved]; !met { // an alert looks for the first increase
			s.Show(instruments.peerRejected, 0, string(wire.ReasonRemoved))
		}
		for reason, n := range all.Rejected {
			s.Show(instruments.peerRejected, float64(n), string(reason))
		}
	}
}

// timedTransport is a transport whose heartbeats and snapshots are timed. Heartbeats
// wait for no disk, so their time is that of the network and of a busy peer.
type timedTransport struct {
	*wire.Transport
	peers map[core.ID]*timedPeer // nil: nothing is timed
	late  prometheus.Counter
	beat  time.Duration // the longest time between two heartbeats that is not late
	sends prometheus.Histogram
}

// timedPeer measures the calls to one peer. Only the loop of the node sends.
type timedPeer struct {
	trips    prometheus.Observer
	failures prometheus.Counter
	term     uint64    // of the last AppendEntries
	sent     time.Time // when that was
}

// newTimedTransport returns a transport with instruments, which it puts into the
// registry.
func newTimedTransport(t *wire.Transport, registry *prometheus.Registry, c Config) timedTransport {
	trips, failures := instruments.peerRoundTripSeconds.Histograms(registry), instruments.snapshotSendFailures.Counters(registry)
	timed := timedTransport{
		Transport: t, peers: map[core.ID]*timedPeer{}, beat: 2 * heartbeatTicks * c.ElectionTimeout / electionTicks,
		late: instruments.heartbeatLate.Counter(registry), sends: instruments.snapshotSendSeconds.Histogram(registry),
	}
	for id := range c.Members.Others(c.ID) {
		timed.peers[id] = &timedPeer{trips: trips.WithLabelValues(string(id)), failures: failures.WithLabelValues(string(id))}
	}
	return timed
}

// Send implements node.Transport.
func (t timedTransport) Send(call core.Call, done func(core.Call, core.Reply)) {
	p := t.peers[call.To]
	switch m := call.Request.(type) {
	case *core.AppendEntries:
		if p != nil {
			done = t.timeAppend(p, m, done)
		}
	case *core.InstallSnapshot:
		if p != nil {
			done = t.timeSnapshot(p, done)
		}
	}
	t.Transport.Send(call, done)
}

func (t timedTransport) timeAppend(p *timedPeer, m *core.AppendEntries, told func(core.Call, core.Reply)) func(core.Call, core.Reply) {
	now := time.Now()
	if m.Term == p.term && now.Sub(p.sent) > t.beat {
		t.late.Inc()
	}
	p.term, p.sent = m.Term, now
	if len(m.Entries) > 0 {
		return told // it waits for the peer's disk
	}
	return func(call core.Call, reply core.Reply) {
		if reply != nil {
			p.trips.Observe(time.Since(now).Seconds())
		}
		told(call, reply)
	}
}

func (t timedTransport) timeSnapshot(p *timedPeer, told func(core.Call, core.Reply)) func(core.Call, core.Reply) {
	begun := time.Now()
	return func(call core.Call, reply core.Reply) {
		if reply == nil {
			p.failures.Inc()
		} else {
			t.sends.Observe(time.Since(begun).Seconds())
		}
		told(call, reply)
	}
}

// tlsMetrics shows what is to be known of the node's certificates, and what is open beyond
// its machine.
func tlsMetrics(keys *secure.Keys, open func() []string) metrics.Shown {
	return func(s *metrics.Scrape) {
		now := open()
		for _, what := range []string{secure.Client, secure.Peer, secure.Auth} {
			s.Show(instruments.insecure, metrics.Truth(slices.Contains(now, what)), what)
		}
		keys.Handshakes(func(port string, result certs.Result, n uint64) {
			s.Show(instruments.tlsHandshakes, float64(n), port, string(result))
		})
		keys.Expiries(func(use string, at time.Time) { s.Show(instruments.tlsExpiry, float64(at.Unix()), use) })
		keys.Refused(func(port string, refused bool) {
			s.Show(instruments.tlsRefused, metrics.Truth(refused), port)
		})
		keys.Unlisted(func(port string, cas int64) { s.Show(instruments.tlsUnlisted, float64(cas), port) })
		if keys != nil {
			taken, refused := keys.Reloads()
			s.Show(instruments.tlsReloads, float64(taken), "taken")
			s.Show(instruments.tlsReloads, float64(refused), "refused")
		}
	}
}
