package kvserver

import (
	"math"
	"net/http"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/raft"
)

// serveStatus tells what this node knows, without asking anybody.
func (s *Server) serveStatus(x *exchange) error {
	c := s.config.Consensus.Status()
	status := api.Status{
		Node:    s.config.NodeID,
		Cluster: s.config.ClusterID,
		UID:     c.UID.String(),
		Role:    c.Role.String(),
		Term:    c.Term,
		Leader:  string(c.Leader),
		Commit:  c.CommitIndex,
		Log:     api.Log{First: c.FirstIndex, Last: c.LastIndex, Snapshot: c.SnapshotIndex, Stalled: c.Stalled},
		Load:    s.describeLoad(),
		Limits: api.Limits{
			ValueBytes: s.config.MaxValueBytes, Connections: s.config.MaxConnections,
			IdempotencySeconds: idempotencySeconds, IdempotencyRecords: kv.MaxIdempotencyRecords,
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
	status.Applied, status.Store = describeStore(s.machine.Describe())
	if s.config.Describe != nil {
		s.config.Describe(&status)
	}
	return x.answerJSON(http.StatusOK, status)
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
	open, evicted, refused := s.conns.counts()
	return api.Load{
		Writes: s.writes.crowd().describe(), Deletes: s.deletes.crowd().describe(), Reads: s.reads.crowd().describe(),
		ApplyLag:    s.machine.ApplyLag(),
		Connections: api.Connections{Open: open, Evicted: evicted, Refused: refused},
	}
}

func (c crowd) describe() api.Queue {
	return api.Queue{InFlight: c.count, Limit: c.limit, Waiting: c.waiting, PerSecond: math.Round(10*c.perSecond) / 10}
}
