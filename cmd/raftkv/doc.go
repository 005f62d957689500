// Command raftkv runs nodes of a replicated key/value store.
//
// This package is wiring: it reads settings, listens, opens the parts of a node
// (disk, network, log, store, HTTP) in the right order and ends them in the
// right order. Everything that has an algorithm is elsewhere. The life of one
// node is in node.go; serve runs one of them, dev several in one process.
package main
