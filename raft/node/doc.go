// Package node drives a core.Raft: it is the threads, the waiting and the
// clock that the algorithm does without.
//
// Replica is a plain object: the core together with the callers that wait for it. It
// runs in the simulator as it runs on a server.
//
// Node is the shell of goroutines around one Replica:
//
//	loop      owns the Replica, hence the core. It takes one batch of events from
//	          the inbox, then flushes the core's three doors. It waits for nobody.
//	writer    saves one write after the other
//	applier   delivers committed entries, one batch after the other
//	preparer  lets the storage get its next file ready; runs only if the storage
//	          is a Preparer
//
// The loop learns everything through one inbox, in one order. So there is no choice
// between "the result" and "the leader changed" that could be made wrongly. The
// inbox needs no bound because everything in it is bounded where it comes from:
// proposals and reads by the service's admission, requests by the transport's limit
// of unanswered requests per connection, returns by the calls in flight. Of writes
// and batches there is one each.
//
// The package knows neither files nor sockets nor commands. The caller gives it a
// Storage, a Transport and a Service.
package node
