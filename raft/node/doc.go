// Package node drives a core.Raft: it is the threads, the waiting and the
// clock that the algorithm does without.
//
// Replica is a plain object: the core together with who waits for what. It
// runs in the simulator as it runs on a server.
//
// Node is the shell of goroutines around one Replica:
//
//	loop      owns the Replica, hence the core; takes one batch of events from
//	          the inbox, then flushes the three doors. It waits for nobody.
//	writer    puts one write after the other on the disk
//	applier   delivers committed entries, one batch after the other
//	preparer  lets the storage get its next file ready; only if it wants to
//
// The loop learns everything through one inbox in one order: there is no
// choice between "the result" and "the leader changed" to get wrong. The inbox
// has no bound of its own because everything in it is bounded where it comes
// from: proposals and reads by the service's admission, requests by the
// transport's unanswered requests per connection, returns by the calls under
// way, and one write and one batch.
//
// The package knows neither files nor sockets nor commands: Storage, Transport
// and Service are given to it.
package node
