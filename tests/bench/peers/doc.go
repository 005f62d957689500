// Package peers measures raftkv against other replicated stores and logs, in the same
// rounds and with the same load: make bench-peers. See docs/performance.md.
//
// # Mental model
//
// The test binary is every server that is not raftkv: it is started again in a role
// (rod.Main). As etcd it is etcd's own main function. As dragonboat, and as raftkv's
// package raft in a role that is the same in every respect but the library, it holds a
// map, and the callers that propose are in the leader's process.
//
// Each peer is asked by its own client. All are durable, with the settings that they
// have by default, but for those that the source says and gives a reason for.
//
// The package is a module of its own, so that the peers are no dependency of raftkv.
package peers
