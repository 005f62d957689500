// Package lock is the locks of one store as a plain object: their holders, the queues,
// and which places stay free for a while.
//
// # Mental model
//
//	            a place is free
//	acquire ──► Judge ──────────► Grant ──► holder, with its token
//	              │                           ▲      │
//	              └──► Enqueue ──► queue ──► Promote │ Release, or the end of its lease
//	                                  │              ▼
//	                                Leave        free place, at once or after a delay
//
// A lock has a limit of holders: one is a mutex or an election, several are a semaphore.
// Whoever holds or waits does so with a lease. The owner of the table hands over what was
// freed with [Table.Next] and [Table.Promote], in the same command, so a free place and a
// queue are never there together.
//
// A token is the revision of the change that granted it. It rises with every grant of a
// lock, whatever became of the lock in between, so a resource can refuse smaller ones.
//
// A lock exists while somebody holds it, somebody waits for it, or a place stays free for
// a delay. Queues are in the order in which requests entered the log.
//
// The tree is copy-on-write, so a frozen table costs nothing. What follows from the locks,
// which is the locks of each lease and the order in which delays end, is in the live table
// only.
//
// # What it does not know
//
// Leases and time, keys, revisions, events, commands, identities, clocks and goroutines.
// Its callers serialise changes against everything else.
package lock
