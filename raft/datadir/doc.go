// Package datadir is the data directory of a node: whose it is, which one it is, how
// often it was used, and what the node remembers of its peers.
//
// A node may take part in its cluster only with the promises that it has made, and
// they are in its directory. So the directory is a passport: it names its holder, it
// is stamped at every start, and it can be declared void. A node's directory holds
// six things:
//
//	raftkv.toml   whose directory this is: cluster, node, members (Owner)
//	life.toml     which of the directories of that node, and how often it was used
//	peers.toml    which directories the other nodes have (Peers)
//	level.toml    whether the cluster's level is held (Holds); it may be missing
//	wal/          the log
//	flight/       what the node noted of its own life; nothing depends on it
//
// A start goes through three steps, whose order matters twice: nothing is touched in
// another node's directory, and a directory that says whose it is has a log.
//
//  1. Check compares raftkv.toml with the node that wants to start.
//  2. The caller opens the log at LogPath, which also locks the directory.
//  3. Begin writes what is missing, counts the start, and reads what is known of the
//     peers. From then on the node may say hello.
//
// The log knows its cluster and node itself. The members are remembered in addition
// because a node that is started with another list would count majorities
// differently from its peers, and two majorities need not meet.
//
// Every file is small, written in TOML, and replaced whole: after a crash the old
// content or the new one is there (ReadFile, WriteFile).
//
// The package does not judge peers, it only keeps what package identity needs to
// do so. It does not know the content of the log either, except for how far the log
// has come (Standing) and the cluster's uid in it.
//
// Errors of type *Fault are about the directory or its disk. All others say that the
// caller named the wrong directory or asked for something that it does not allow.
package datadir
