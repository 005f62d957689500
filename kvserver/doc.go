// Package kvserver serves the key/value store: it turns requests into commands
// of the replicated log, applies what the log chose to the store, and answers.
//
// # Mental model
//
// A [Server] stands between two things that it is given: consensus, which
// orders commands, and the channel on which the ordered commands come back. It
// owns the store and one goroutine, the applier; another writes a snapshot of the
// store when one is due.
//
//	HTTP ──► admission ──► route ──┬─ leader is here:  propose ──► consensus
//	                               └─ leader is there: forward, one hop    │
//	        answer ◄── waiter ◄── applier (store) ◄──────────── applyCh ◄──┘
//
//	HTTP ──► admission ──► read index ──► applied far enough? ──► store ──► answer
//
// A write waits under the identity that its server drew for it and that
// travels in the command. It ends in exactly one of three ways: with its
// result; as not applied, when consensus said that it never will be; as
// unknown, when time or the node ended first. No end is ever guessed from who
// leads now: an entry of a deposed leader may still be chosen.
//
// A read takes no entry in the log. It asks consensus for an index, on any
// node, waits until the store has applied it, and reads.
//
// A node that finds its state to differ from the others' closes its fence and
// serves nothing any more: see watchIntegrity.
//
// # Clerks
//
// The connection of a Clerk ([raftkv/client]) begins as an HTTP request and then
// carries frames (kvserver/clerkwire): many requests at once, answered in any
// order. Writes and reads take the paths drawn above, with the same admission
// and the same outcomes, but not a goroutine each: a write's end is told to a
// function that puts the answer into the connection's outbox, and reads that came
// in one burst share a read index. Requests of Clerks are never forwarded. A Clerk
// that asks the wrong node is told where to go, and one whose leader was replaced
// is told that too, because its session makes asking again safe.
//
// # The labs' face
//
// [KVServer] is the same machine (store, applier, waiting writes) behind the
// RPCs of the courses' key/value lab, with [Clerk] and [VersionedClerk], which
// are the client package's, for clients. Leaders of the labs begin with no entry of their own, so its reads go
// through the log, and what waits in a term that has passed is asked again.
//
// # Locks
//
// The store's RWMutex (applier writes, readers read), the mutex of the waiting
// writes, those of the waiting reads (for an index, for a revision), one for each
// kind of request around its places and who waits for them, one for the list of
// connections and one per connection, one mutex per connection to a leader,
// two per connection of a Clerk (its requests in flight, its outbox), one for the
// list of these connections, one for the last comparison of states, one for who
// led when,
// and in the labs one for the present term. No two are held at once and none during I/O.
//
// # What it does not know
//
// Figure 2, disks and the wire between nodes. HTTP is known to the files that
// begin with http_ and to the table of errors, and to none of the others; the
// labs' network to those that begin with lab, and only as an interface.
package kvserver
