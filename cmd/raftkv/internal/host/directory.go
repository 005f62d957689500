package host

import (
	"cmp"
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
	n.raft.Fail(fmt.Errorf("--cluster of node %s lists only itself, and node %s of cluster %q counts it among the members of a larger list: alone it would serve beside the others, who know nothing of what it acknowledges. Start it with the list of the others, on an empty data directory if it has served alone, and with --rejoin if it was one of them before and its disk was lost; if it is meant to be alone, correct the address that node %s has for it, or give it another --cluster-id",
		n.config.ID, by, n.config.ClusterID, by))
}

// used reports whether anything was ever written to this node's store. That is not known
// until the store is loaded, and the node counts as used until then.
func (n *Node) used() bool {
	service := n.loaded.Load()
	return service == nil || service.Revision() > 0
}

// learned is called once per process, when the log says the cluster's uid.
func (n *Node) learned(uid core.UID) {
	if err := n.learn(uid); err != nil {
		n.fileFailed(err)
	}
}

// learn makes the cluster's uid part of what this node tells its peers and of what its
// directory says. It may be called from any goroutine, and again.
func (n *Node) learn(uid core.UID) error {
	n.transport.SetUID(uid)
	return n.directory.LearnUID(uid)
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

// clusterUID returns what gives the cluster's uid, "" while this node does not know it. It
// does not block: the directory is asked only now, for what it knew when the node began.
func (n *Node) clusterUID() func() string {
	before := n.directory.UID()
	return func() string { return cmp.Or(n.raft.Status().UID, before).String() }
}
