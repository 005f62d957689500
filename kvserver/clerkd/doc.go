// Package clerkd is the Clerks' door: it turns frames into calls of the server and
// their results into frames. A door only translates.
//
// # Mental model
//
//	frames ──► reader ──┬─ writes ──► MayProposeHere, Enter ──► ProposeAsync ──┐
//	                    └─ reads, in bursts ──► AwaitFresh ──► ReadTogether ───┤
//	        answers ◄── outbox (one goroutine writes) ◄────────────────────────┘
//
//	HTTP's door ──► Forwarder ──► link: queue ──► writer ──► the leader's reader.forward
//
// The connection of a Clerk ([raftkv/client]) begins as an HTTP request, which the
// door of HTTP hands over, and then carries frames (kvserver/clerkwire): many
// requests at once, answered in any order. They have the same admission and the same
// outcomes as those of HTTP, but not a goroutine each: the end of a write is told to
// a function that puts the answer into the connection's outbox, and reads that came
// in one burst share a read index. Requests of Clerks are never forwarded. A Clerk
// that asks the wrong node is told where to go, and one whose leader was replaced is
// told that, too, because its session makes asking again safe.
//
// Watches are steps of [raftkv/kvserver.Watching]: one goroutine of each connection takes
// the turns of all that were woken, as long as their clients return credit.
//
// A node that does not lead forwards the writes that came over HTTP in the same
// protocol: [Forwarder] sends them and reader.forward takes them.
//
// # Locks
//
//	lock          guards                                      held while
//	Door.mu       the list of connections                     one comes or goes
//	conn.mu       how many requests are in flight, the end    one comes or is answered
//	watches.mu    the watches of a connection, those ready    one comes, ends or is woken
//	Forwarder.mu  the connections to other nodes              one is looked up, comes or goes
//	link.mu       the commands in the queue, and those sent   one comes, leaves or is answered
//
// No two are held at once, and none during I/O but for closing a connection, which
// does not wait. The outbox has a lock of its own.
package clerkd
