package machine

import (
	"maps"
	"slices"

	"raftkv/kvserver/kv"
)

// IntegrityResult is how one comparison of the nodes' states ended.
type IntegrityResult string

const (
	// IntegrityOK: a majority of the cluster, with this node, has the same state.
	IntegrityOK IntegrityResult = "ok"
	// IntegrityUnknown: too few nodes answered for the same index.
	IntegrityUnknown IntegrityResult = "unknown"
	// IntegrityMismatch: a node has another state than this one, and no majority
	// agrees that would say which of them is wrong.
	IntegrityMismatch IntegrityResult = "mismatch"
	// IntegrityDiverged: a majority of the cluster agrees on another state than
	// this node'm. It serves nothing any more.
	IntegrityDiverged IntegrityResult = "diverged"
)

// verdict is what the digests of one index say of this node.
type verdict struct {
	result IntegrityResult
	// majority is what the others agree on, if that is not this node'm.
	majority kv.Digest
	// differing are the peers whose digest is not this node'm.
	differing []string
}

// judge compares this node's digest with those of the peers that told theirs
// for the same index, in a cluster with this number of nodes.
//
// A node condemns only itself, and only when a majority of all nodes, of which
// it is none, agrees on something else. So the leader has no part in it, no
// node must be believed alone, and no two nodes can come to verdicts that
// stop the cluster: where a majority agrees, that majority goes on.
func judge(own kv.Digest, peers map[string]kv.Digest, nodes int) verdict {
	quorum := nodes/2 + 1
	votes := map[kv.Digest]int{own: 1}
	v := verdict{result: IntegrityUnknown}
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		digest := peers[name]
		votes[digest]++
		if digest == own {
			continue
		}
		v.differing = append(v.differing, name)
		v.result = IntegrityMismatch
		if votes[digest] >= quorum {
			return verdict{result: IntegrityDiverged, majority: digest, differing: v.differing}
		}
	}
	if votes[own] >= quorum {
		v.result = IntegrityOK
	}
	return v
}
