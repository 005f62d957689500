package host

import (
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/membership"
	"raftkv/kvserver/metrics"
	"raftkv/raft"
	"raftkv/raft/core"
)

// raftMetrics shows the state of consensus on this node. Only the leader has series
// about the peers.
func raftMetrics(status func() *raft.Status) metrics.Shown {
	return func(s *metrics.Scrape) {
		c := status()
		showRole(s, c)
		showLog(s, c)
		showCounts(s, c.Counts)
		if c.Role == core.Leader {
			s.Show(instruments.uncommittedBytes, float64(c.UncommittedBytes))
			for _, p := range c.Peers {
				showPeer(s, c, p)
			}
		}
	}
}

func showRole(s *metrics.Scrape, c *raft.Status) {
	s.Show(instruments.hasLeader, metrics.Truth(c.Leader != core.None))
	s.Show(instruments.isLeader, metrics.Truth(c.Role == core.Leader))
	for _, role := range []core.Role{core.Follower, core.PreCandidate, core.Candidate, core.Leader} {
		s.Show(instruments.state, metrics.Truth(c.Role == role), role.String())
	}
	s.Show(instruments.term, float64(c.Term))
	s.Show(instruments.diskStalled, metrics.Truth(c.Stalled))
}

func showLog(s *metrics.Scrape, c *raft.Status) {
	s.Show(instruments.commitIndex, float64(c.CommitIndex))
	s.Show(instruments.appliedIndex, float64(c.LastApplied))
	s.Show(instruments.firstLogIndex, float64(c.FirstIndex))
	s.Show(instruments.lastLogIndex, float64(c.LastIndex))
	s.Show(instruments.durableIndex, float64(c.Durable))
	s.Show(instruments.snapshotIndex, float64(c.SnapshotIndex))
}

func showCounts(s *metrics.Scrape, n core.Counts) {
	s.Show(instruments.leaderChanges, float64(n.Elected), "election")
	s.Show(instruments.leaderChanges, float64(n.Transferred), "transfer")
	s.Show(instruments.leaderChanges, float64(n.LostQuorum), "stepdown_quorum")
	s.Show(instruments.leaderChanges, float64(n.StalledDisk), "stepdown_disk")
	s.Show(instruments.electionsStarted, float64(n.PreVotes), "prevote")
	s.Show(instruments.electionsStarted, float64(n.Campaigns), "vote")
	s.Show(instruments.electionsWon, float64(n.Elected+n.Transferred))
}

func showPeer(s *metrics.Scrape, c *raft.Status, p core.PeerStatus) {
	peer := string(p.ID)
	s.Show(instruments.replicationLagEntries, float64(c.LastIndex-min(p.MatchIndex, c.LastIndex)), peer)
	s.Show(instruments.replicationInflightMessages, float64(p.Inflight), peer)
	s.Show(instruments.replicationInflightBytes, float64(p.InflightBytes), peer)
	if at, heard := c.Contacts[p.ID]; heard {
		s.Show(instruments.leaderLastContactSeconds, max(time.Since(at).Seconds(), 0), peer)
	}
	now := kvserver.PeerState(p)
	for _, state := range kvserver.PeerStates {
		s.Show(instruments.peerState, metrics.Truth(state == now), peer, state)
	}
}

// memberMetrics shows the members, as this node knows them. Only the leader knows
// of the others' health.
func memberMetrics(driver *membership.Driver) metrics.Shown {
	return func(s *metrics.Scrape) {
		m := driver.Describe()
		for _, action := range membership.Actions {
			s.Show(instruments.autopilotActions, float64(driver.Autopilot().Actions[action]), action)
		}
		roles := map[string]int{"voter": 0, "learner": 0, "replica": 0, "leaving": 0}
		for _, one := range m.Members {
			roles[one.Role]++
			if m.Healthy >= 0 && one.Role != "voter" {
				s.Show(instruments.learnerLag, float64(one.Lag), one.ID)
				s.Show(instruments.learnerRounds, float64(one.Round), one.ID)
			}
		}
		for role, count := range roles { // each a series of its own
			s.Show(instruments.members, float64(count), role)
		}
		for result, n := range driver.Changes() { // each a series of its own
			s.Show(instruments.configurationChanges, float64(n), result)
		}
		if answers, waiting, leads := driver.Answers(); leads {
			for id, is := range answers { // each a series of its own
				s.Show(instruments.memberAnswers, metrics.Truth(is), string(id))
			}
			s.Show(instruments.learnersWaiting, float64(waiting))
		}
		if m.Healthy >= 0 {
			s.Show(instruments.votersHealthy, float64(m.Healthy))
			s.Show(instruments.failureTolerance, float64(m.Tolerance))
		}
		s.Show(instruments.configurationVersion, float64(m.Version))
		s.Show(instruments.configurationJoint, metrics.Truth(m.Joint))
		s.Show(instruments.clusterLevel, float64(m.Level.Level))
		s.Show(instruments.buildLevelMax, float64(m.Level.BuildMax))
		s.Show(instruments.clusterGeneration, float64(m.Generation))
	}
}
