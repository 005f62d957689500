// Package auth decides what a caller may do: identities, their tokens and rules, and one
// function, [Decide], from rules, a right and a range to yes or no.
//
// # Mental model
//
//	token ──► Table.Find ──► Identity ──► Rules ──┐
//	request ──► Right, Range ─────────────────────┴──► Decide ──► yes or no
//
// A [Table] is replicated state: it changes by a [Change] in the log alone, and
// [Table.Apply] gives the same next table on every node. A table never changes once it
// is made, so readers share it without a lock, and a snapshot holds a pointer to it.
//
// A [Range] is what a request would execute, after its defaults have been resolved.
// Only what one rule grants as a whole is allowed; there is no deny rule, and rules
// have no order.
//
// Secrets are of the type [Secret], which prints, logs and encodes as "redacted". The
// table holds hashes only.
//
// # What it does not know
//
// Clocks, files, requests and the store. Times come in as Unix seconds, randomness as
// bytes. Everything here is a plain value or a pure function.
package auth
