package main

import (
	"fmt"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// fenced ends the node because peers have found out that its data directory must
// not be used.
func (n *node) fenced(v identity.Verdict) { n.raft.Fail(n.directory.fence(v)) }

// contested ends the node, whose --cluster lists only itself, because a node with
// another list counts it among its own. Nothing is written down: the node may be
// started again with the right list.
func (n *node) contested(by core.ID) {
	n.raft.Fail(fmt.Errorf("--cluster of node %s lists only itself, and node %s of cluster %q counts it among the members of a larger list: alone it would serve beside the others, who know nothing of what it acknowledges. Start it with the list of the others, on an empty data directory if it has served alone; if it is meant to be alone, correct the address that node %s has for it, or give it another --cluster-id",
		n.config.ID, by, n.config.ClusterID, by))
}

// used reports whether anything was ever written to this node's store. Until the
// store is loaded nobody knows, and the node counts as used.
func (n *node) used() bool {
	service := n.loaded.Load()
	return service == nil || service.Revision() > 0
}

// learned makes the cluster's uid part of the directory's identity, once it is
// known. It is called once per process.
func (n *node) learned(uid core.UID) {
	n.transport.SetUID(uid)
	if n.owner.uid() == uid {
		return
	}
	n.owner.UID = uid.String()
	if err := writeSmallFile(n.config.FS, filepath.Join(n.config.DataDir, identityName), identityComment, n.owner); err != nil {
		n.fileFailed(err)
	}
}

// fileFailed ends the node because one of its small files could not be written.
// The lack of room passes, so it ends no node.
func (n *node) fileFailed(err error) {
	if vfs.IsNoSpace(err) {
		n.logger.Warn("the disk has no room for a small file of the node; it will be tried again at the next start", "error", err)
		return
	}
	n.raft.Fail(err)
}
