package host

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"

	"raftkv/kvserver/api"
	"raftkv/raft"
	"raftkv/raft/core"
)

// The node's clock, in ticks. An election timeout is drawn between one and two
// times electionTicks, and six heartbeats fit in it, so that five lost in a row do
// not depose a leader.
const (
	electionTicks  = 30
	heartbeatTicks = 5
)

// stallTicks is how long a write may take before the disk is said to hang: 1.35 s with
// the default election timeout. So another node leads within three of the longest
// timeouts, 1.8 s. A disk that takes 300 ms for each of the four syncs that begin a new
// segment of the log is slow and does not hang.
const stallTicks = electionTicks * 9 / 2

// commitTicks is how long a node is idle before it writes down its commit index: two
// seconds with the default election timeout.
const commitTicks = electionTicks * 20 / 3

// defaultTrailingBytes is how many bytes of applied entries stay in memory. A follower
// that was away while no more than that was written needs no snapshot.
const defaultTrailingBytes = 32 << 20

// raftConfig returns the settings of the node's consensus.
func (n *Node) raftConfig() raft.Config {
	var seed [16]byte
	crand.Read(seed[:])
	var uid core.UID
	crand.Read(uid[:])
	return raft.Config{
		TickInterval: n.config.ElectionTimeout / electionTicks,
		Observer:     n.observer(),
		OnUID: func(uid core.UID) {
			go func() {
				<-n.opened
				n.learned(uid)
			}()
		},
		OnConfiguration: n.configured,
		Core: core.Config{
			ID: n.config.ID, Peers: n.config.Members.IDs(),
			ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks,
			MaxEntryBytes: int(max(n.config.MaxValueBytes, cmp.Or(n.config.MaxTxnBytes, api.DefaultMaxTxnBytes))) + commandRoom,
			PreVote:       true, CheckQuorum: true, Noop: true,
			TrailingBytes: cmp.Or(n.config.TrailingBytes, defaultTrailingBytes), StallTicks: stallTicks,
			NewUID: uid, CommitTicks: commitTicks,
			SnapshotPatience: -1, // the transport reports every loss
			Rand:             rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:]))),
		},
	}
}
