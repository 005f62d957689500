package host

import (
	"fmt"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// fenced ends the node because peers have found out that its data directory must not be
// used.
func (n *Node) fenced(v identity.Verdict) { n.raft.Fail(n.directory.Fence(v)) }

// contested ends a node whose --cluster lists only itself, because a node with another
// list counts it among its members. Nothing is written down, so the node may be started
// again with the right list.
func (n *Node) contested(by core.ID) {
	n.raft.Fail(fmt.Errorf("--cluster of node %s lists only itself, and node %s of cluster %q counts it among the members of a larger list: alone it would serve beside the others, who know nothing of what it acknowledges. Start it with the list of the others, on an empty data directory if it has served alone; if it is meant to be alone, correct the address that node %s has for it, or give it another --cluster-id",
		n.config.ID, by, n.config.ClusterID, by))
}

// used reports whether anything was ever written to this node's store. That is not known
// until the store is loaded, and the node counts as used until then.
func (n *Node) used() bool {
	service := n.loaded.Load()
	return service == nil || service.Revision() > 0
}

// learned makes the cluster's uid part of what the directory says, once it is known.
// It is called once per process.
func (n *Node) learned(uid core.UID) {
	n.transport.SetUID(uid)
	if err := n.directory.LearnUID(uid); err != nil {
		n.fileFailed(err)
	}
}

// fileFailed ends the node because one of its small files could not be written. A lack of
// room passes, so it is only logged.
func (n *Node) fileFailed(err error) {
	if vfs.IsNoSpace(err) {
		n.logger.Warn("the disk has no room for a small file of the node; it will be tried again at the next start", "error", err)
		return
	}
	n.raft.Fail(err)
}
