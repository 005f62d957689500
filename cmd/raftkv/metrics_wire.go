package main

import "raftkv/raft/wire"

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
			s.gauge("peer_calls_in_flight", "Calls to the peer that have no answer yet.", float64(p.CallsInFlight), "peer", peer)
		}
		for reason, n := range all.Rejected {
			s.counter("peer_rejected_total", "Connections of would-be peers that this node turned down, by reason.", n, "reason", string(reason))
		}
	}
}
