// Package rod measures servers against each other: raftkv, the ceilings that no such
// service can pass, and, from a module of their own, its peers.
//
// # Mental model
//
// A [Side] is one kind of server that runs on this machine. A [Row] is one kind of
// load: what is asked, by which protocol, and by how many clients. In a round every side has its turn at
// every row that it can serve, one after the other, a few seconds each. Sides that do
// not have their turn stand still: their processes are stopped by a signal, so that
// what one does when idle is not taken from another.
//
// A machine is never as fast as an hour ago. So no figure is compared with one of
// another round: a [Comparison] is a ratio of two figures of the same round, and is
// told as the median of all rounds, with the least and the greatest.
//
// Times depend on the machine. Counts hardly do: messages, context switches, and bytes
// to the device for each operation say why a ratio is what it is.
//
// # What it does not know
//
// The package makes no load itself, which is client/bench's work, and judges nothing:
// there is no figure at which it fails.
package rod
