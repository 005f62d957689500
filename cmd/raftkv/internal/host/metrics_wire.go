package host

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// wireMetrics shows the traffic with the other nodes.
func wireMetrics(transport *wire.Transport) shown {
	return func(s *show) {
		all := transport.Stats()
		for id, p := range all.Peers {
			peer := string(id)
			s.gauge("peer_connected", "1 while the connection that this node dialled to the peer stands.", truth(p.Connected), "peer", peer)
			s.counter("peer_sent_bytes_total", "Bytes of messages sent to the peer.", p.BytesSent, "peer", peer)
			s.counter("peer_received_bytes_total", "Bytes of messages received from the peer.", p.BytesReceived, "peer", peer)
			s.counter("peer_sent_messages_total", "Messages sent to the peer.", p.FramesSent, "peer", peer)
			s.counter("peer_received_messages_total", "Messages received from the peer.", p.FramesReceived, "peer", peer)
			s.counter("peer_send_failures_total", "Calls to the peer that ended without an answer.", p.LostCalls, "peer", peer)
			s.counter("peer_dial_failures_total", "Attempts to connect to the peer that failed.", p.DialFailures, "peer", peer)
			s.counter("peer_connections_lost_total", "Connections that died from the peer's side.", p.Suspects, "peer", peer)
			const transfers = "Transfers of snapshots to and from the peer, by how they ended."
			s.counter("peer_snapshot_transfers_total", transfers, p.SnapshotsSent, "peer", peer, "result", "sent")
			s.counter("peer_snapshot_transfers_total", transfers, p.SnapshotsReceived, "peer", peer, "result", "received")
			s.counter("peer_snapshot_transfers_total", transfers, p.SnapshotsFailed, "peer", peer, "result", "failed")
			s.gauge("peer_calls_in_flight", "Calls to the peer that have no answer yet.", float64(p.CallsInFlight), "peer", peer)
		}
		for reason, n := range all.Rejected {
			s.counter("peer_rejected_total", "Connections of would-be peers that this node turned down, by reason.", n, "reason", string(reason))
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
	trips := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: metricsPrefix + "peer_round_trip_duration_seconds", Help: "Time from a heartbeat of this node to the peer's answer.", Buckets: consensusBuckets,
	}, []string{"peer"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metricsPrefix + "raft_snapshot_send_failures_total", Help: "Snapshots for the peer that it did not take, for whatever reason.",
	}, []string{"peer"})
	timed := timedTransport{
		Transport: t, peers: map[core.ID]*timedPeer{}, beat: 2 * heartbeatTicks * c.ElectionTimeout / electionTicks,
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricsPrefix + "raft_heartbeat_late_total", Help: "Times that this node, leading, let a peer wait for a message twice as long as between two heartbeats.",
		}),
		sends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metricsPrefix + "raft_snapshot_send_duration_seconds", Help: "Time from the beginning of sending a snapshot to the peer's answer that it has it, pauses after failures included.", Buckets: snapshotBuckets,
		}),
	}
	registry.MustRegister(trips, failures, timed.late, timed.sends)
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
