// Package host runs one node of a cluster: it opens the node's data directory, its
// log, its transport and its service, starts them, and ends them in an order in which
// no acknowledged write is lost.
//
// The mental model is a house with its supplies. The data directory and the log are
// the cellar, consensus is the ground floor, the service is the first floor, and the
// ports are the doors. New digs and locks the cellar. Start builds upwards, and opens
// the doors last. Close takes everything down from the top. Between them the house
// watches its own foundations (watchDirectory, watchLeader, watchRejoin).
//
// What is made of which settings is decided here and only here. The settings
// themselves, their names and their texts belong to the commands (cmd/raftkv). The
// service is made in one place (startService), so that a node can carry several groups
// later.
//
// The package knows no flags, and none of the rules of consensus or of the store.
package host
