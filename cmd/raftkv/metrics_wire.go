package main

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

// timedTransport is a transport whose heartbeats are timed: they wait for no
// disk, so what they take is the network and the peer's attention.
type timedTransport struct {
	*wire.Transport
	trips map[core.ID]prometheus.Observer // by peer; nil: not timed
}

// newTimedTransport returns a transport with histograms of its round trips to the
// peers, which it puts into the registry.
func newTimedTransport(t *wire.Transport, registry *prometheus.Registry, peers []core.ID) timedTransport {
	trips := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: metricsPrefix + "peer_round_trip_duration_seconds", Help: "Time from a heartbeat of this node to the peer's answer.", Buckets: consensusBuckets,
	}, []string{"peer"})
	registry.MustRegister(trips)
	byPeer := make(map[core.ID]prometheus.Observer, len(peers))
	for _, id := range peers {
		byPeer[id] = trips.WithLabelValues(string(id))
	}
	return timedTransport{t, byPeer}
}

// Send implements node.Transport.
func (t timedTransport) Send(call core.Call, done func(core.Call, core.Reply)) {
	if beat, ok := call.Request.(*core.AppendEntries); ok && len(beat.Entries) == 0 && t.trips != nil {
		begun, told := time.Now(), done
		done = func(call core.Call, reply core.Reply) {
			if reply != nil {
				t.trips[call.To].Observe(time.Since(begun).Seconds())
			}
			told(call, reply)
		}
	}
	t.Transport.Send(call, done)
}
