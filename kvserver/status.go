package kvserver

import (
	"math"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/raft"
)

// Status tells what this node knows, without asking anybody: all but what belongs
// to the port of its clients.
//
// The state is read first. What consensus shows of itself may still be a tick old, and
// what was applied is certainly committed and in the log, so the ends of both are raised
// to it: in every answer applied is at most committed, and committed at most the end.
func (s *Server) Status() api.Status {
	applied, store := describeStore(s.machine.Describe())
	c := s.config.Consensus.Status()
	commit := max(c.CommitIndex, applied)
	status := api.Status{
		Node:    s.config.NodeID,
		Cluster: s.config.ClusterID,
		UID:     c.UID.String(),
		Role:    c.Role.String(),
		Term:    c.Term,
		Leader:  string(c.Leader),
		Commit:  commit,
		Applied: applied,
		Store:   store,
		Log:     api.Log{First: c.FirstIndex, Last: max(c.LastIndex, commit), Snapshot: c.SnapshotIndex, Stalled: c.Stalled},
		Load:    s.describeLoad(),
		Limits: api.Limits{
			ValueBytes: s.config.MaxValueBytes, Connections: s.config.MaxConnections,
			IdempotencySeconds: IdempotencySeconds, IdempotencyRecords: kv.MaxIdempotencyRecords,
		},
		Changes: api.Changes{
			Elected: c.Counts.Elected, Transferred: c.Counts.Transferred, LostQuorum: c.Counts.LostQuorum, StalledDisk: c.Counts.StalledDisk,
		},
		Integrity: s.describeIntegrity(),
		Build:     s.config.Build,
	}
	if c.Rejoining.On {
		status.Rejoin = &api.Rejoin{Goal: c.Rejoining.Index, Unheard: nodeNames(c.RejoinUnheard), Too: nodeNames(c.RejoinToo)}
	}
	if s.config.Membership != nil {
		m := s.config.Membership.Describe()
		pilot := s.config.Membership.Autopilot()
		status.Membership, status.Autopilot = &m, &pilot
	}
	now := time.Now()
	for _, p := range c.Peers {
		peer := api.Peer{
			Node: string(p.ID), Match: p.MatchIndex, Next: p.NextIndex,
			Lag: c.LastIndex - min(p.MatchIndex, c.LastIndex), LastContactMs: -1,
			State: PeerState(p), InflightMessages: p.Inflight, InflightBytes: p.InflightBytes,
		}
		if at, heard := c.Contacts[p.ID]; heard {
			peer.LastContactMs = max(now.Sub(at), 0).Milliseconds()
		}
		status.Peers = append(status.Peers, peer)
	}
	return status
}

func nodeNames[ID ~string](ids []ID) (names []string) {
	for _, id := range ids {
		names = append(names, string(id))
	}
	return names
}

// PeerStates are the values of PeerState.
var PeerStates = []string{"probe", "pipeline", "snapshot", "silent"}

// PeerState names how a leader replicates to a peer at the moment.
func PeerState(p raft.PeerStatus) string {
	switch {
	case p.Installing != 0:
		return "snapshot"
	case p.Silent:
		return "silent"
	case p.Pipelining:
		return "pipeline"
	}
	return "probe"
}

func describeStore(is machine.State) (applied uint64, store api.Store) {
	return is.Applied, api.Store{
		Keys: is.Keys, Bytes: is.Bytes, Revision: is.Revision, Quota: is.Quota,
		Sessions: is.Sessions, IdempotencyRecords: is.IdempotencyRecords,
	}
}

func (s *Server) describeIntegrity() api.Integrity {
	seen := s.machine.Integrity()
	described := api.Integrity{Result: string(seen.Result), OKIndex: seen.OKIndex, Fault: seen.Fault}
	if !seen.OKTime.IsZero() {
		described.OKSecondsAgo = int64(time.Since(seen.OKTime).Seconds())
	}
	return described
}

func (s *Server) describeLoad() api.Load {
	return api.Load{
		Writes: s.Load(Writes).describe(), Deletes: s.Load(Deletes).describe(), Reads: s.Load(Reads).describe(),
		ApplyLag: s.machine.ApplyLag(),
	}
}

func (l Load) describe() api.Queue {
	return api.Queue{InFlight: l.Count, Limit: l.Limit, Waiting: l.Waiting, PerSecond: math.Round(10*l.PerSecond) / 10}
}
