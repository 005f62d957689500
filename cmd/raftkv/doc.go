// Command raftkv runs nodes of a replicated key/value store.
//
// This package holds the commands, their flags and their texts. serve runs one node, dev
// several in one process; the other commands are clients of a cluster, or read a backup
// or a log. Everything that has an algorithm is elsewhere: internal/host runs a node,
// internal/inventory judges what a directory holds, internal/logging makes the logger, and
// internal/process divides what the process may use.
package main
