// Package txn is a transaction as data, and what it does to a state.
//
// # Mental model
//
//	JSON ──► Parse ──► Txn ──► Append ──► body of a command in the log
//	                                          │
//	                                       Decode
//	                                          ▼
//	          State of before ◄── reads ── Run ──► Outcome, Changes
//
// A [Txn] has compares and two branches of operations. [Run] judges the compares on the
// state as it was before the first operation, takes a branch and runs its operations in
// their order against an overlay: what was written so far lies over the state, which
// does not change. So a transaction that is refused at its last operation has changed
// nothing, and nobody has to take anything back. The store takes in the [Change]s at the
// end, all of them under one revision.
//
// An [Outcome] is what the client is told. It has an encoding of its own, because the
// store remembers outcomes for requests that are sent again.
//
// # What it does not know
//
// The log, revisions of the history, rights, sessions and HTTP. It has no goroutine,
// clock or map whose order matters: equal states give equal outcomes.
package txn
