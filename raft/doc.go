// Package raft is the face of the replicated log. Commands go in by a proposal
// and come out, in the same order on every server, on an applyCh.
//
// Open runs a server on a disk and a network that are given to it; package raft
// knows neither. Make runs a server of the Raft labs on their Persister and their
// network. Underneath is one driver, package node, and one algorithm, package
// core.
package raft
