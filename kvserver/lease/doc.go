// Package lease is the leases of one store as a plain object: lease time, what lives
// until when, and which keys live with it.
//
// # Mental model
//
//	commands ──► Pass ──► lease time ──► Next ──► what is due, in one order
//	                         │
//	grant, keep-alive, put ──┴──► deadline = lease time + TTL
//
// A [Table] belongs to a replicated state machine, which calls it while it applies
// commands. Lease time is a number of milliseconds that only [Table.Pass] moves, so no
// clock is read and equal logs end equal leases at equal places. Nothing ends by itself:
// the owner asks [Table.Next] at each tick what is due, and ends it.
//
// A key is tied to one lease, or has a deadline of its own, or neither. The tie is the
// last writer's.
//
// Trees are copy-on-write, so a frozen table costs nothing. What follows from the leases
// and ties, which is the order of the deadlines and the keys of each lease, is in the
// live table only.
//
// A [Pacer] decides on the leader when the next tick is proposed. It is a plain object,
// too: time is an argument.
//
// # What it does not know
//
// Values, revisions, events, commands, identities, clocks and goroutines. Its callers
// serialise changes against everything else.
package lease
