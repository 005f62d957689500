package host

import (
	"time"

	"raftkv/kvserver"
	"raftkv/raft"
	"raftkv/raft/core"
)

// raftMetrics shows the state of consensus on this node. Only the leader has series
// about the peers.
func raftMetrics(status func() *raft.Status) shown {
	return func(s *show) {
		c := status()
		showRole(s, c)
		showLog(s, c)
		showCounts(s, c.Counts)
		if c.Role == core.Leader {
			s.gauge("raft_uncommitted_bytes", "On the leader, the size of the log entries that are not committed yet.", float64(c.UncommittedBytes))
			for _, p := range c.Peers {
				showPeer(s, c, p)
			}
		}
	}
}

func showRole(s *show, c *raft.Status) {
	s.gauge("raft_has_leader", "1 if this node knows a leader.", truth(c.Leader != core.None))
	s.gauge("raft_is_leader", "1 if this node leads.", truth(c.Role == core.Leader))
	for _, role := range []core.Role{core.Follower, core.PreCandidate, core.Candidate, core.Leader} {
		s.gauge("raft_state", "1 for the role that this node has, 0 for the others.", truth(c.Role == role), "state", role.String())
	}
	s.gauge("raft_term", "The term this node is in.", float64(c.Term))
	s.gauge("disk_stalled", "1 while a write to the log takes so long that the disk counts as hung.", truth(c.Stalled))
}

func showLog(s *show, c *raft.Status) {
	s.gauge("raft_commit_index", "Last log index known to be committed.", float64(c.CommitIndex))
	s.gauge("raft_applied_index", "Last log index handed to the store.", float64(c.LastApplied))
	s.gauge("raft_first_log_index", "First log index held in memory.", float64(c.FirstIndex))
	s.gauge("raft_last_log_index", "Last log index.", float64(c.LastIndex))
	s.gauge("raft_durable_index", "Last log index known to be on this node's disk.", float64(c.Durable))
	s.gauge("raft_snapshot_index", "Log index of the newest snapshot; 0 if there is none.", float64(c.SnapshotIndex))
}

func showCounts(s *show, n core.Counts) {
	const changes = "Times that this node became leader (election, transfer) or gave it up for a reason of its own (stepdown_quorum, stepdown_disk)."
	s.counter("raft_leader_changes_total", changes, n.Elected, "reason", "election")
	s.counter("raft_leader_changes_total", changes, n.Transferred, "reason", "transfer")
	s.counter("raft_leader_changes_total", changes, n.LostQuorum, "reason", "stepdown_quorum")
	s.counter("raft_leader_changes_total", changes, n.StalledDisk, "reason", "stepdown_disk")
	const elections = "Campaigns of this node, by how far they went: asking whether it would win, standing."
	s.counter("raft_elections_started_total", elections, n.PreVotes, "phase", "prevote")
	s.counter("raft_elections_started_total", elections, n.Campaigns, "phase", "vote")
	s.counter("raft_elections_won_total", "Elections that this node won.", n.Elected+n.Transferred)
}

func showPeer(s *show, c *raft.Status, p core.PeerStatus) {
	peer := string(p.ID)
	s.gauge("raft_replication_lag_entries", "Entries of the leader's log that the peer is not known to have.", float64(c.LastIndex-min(p.MatchIndex, c.LastIndex)), "peer", peer)
	s.gauge("raft_replication_inflight_messages", "Messages with entries under way to the peer.", float64(p.Inflight), "peer", peer)
	s.gauge("raft_replication_inflight_bytes", "Size of the entries under way to the peer.", float64(p.InflightBytes), "peer", peer)
	if at, heard := c.Contacts[p.ID]; heard {
		s.gauge("raft_leader_last_contact_seconds", "Time since the peer last answered the leader.", max(time.Since(at).Seconds(), 0), "peer", peer)
	}
	now := kvserver.PeerState(p)
	for _, state := range kvserver.PeerStates {
		s.gauge("raft_peer_state", "1 for how the leader replicates to the peer at the moment: asking where its log ends, sending ahead, sending a snapshot, or not hearing from it.", truth(state == now), "peer", peer, "state", state)
	}
}
