// Package identity judges the identity of a peer, and remembers what that judgement needs.
//
// A server is the peer that its name says only together with its disk, because its
// promises, the votes and the entries that it confirmed, are there. A name on an
// empty disk belongs to a server that has promised the same things and forgotten
// them. So every server names its data directory when it says hello: which
// directory it is, how often it was started on, and how far its log has come
// (Identity). Its peers compare that with what they remember of it (Known). In this
// way they tell five things that look alike from outside: a restart, an emptied
// directory, one that was put back to an earlier state, a second copy of one, and
// one that has replaced another.
//
// The mental model is a clerk at a register. Known is the register's entry for one
// peer. Known.Acquaint compares a visitor with it and returns the entry as it must
// be written down before the visitor is admitted, or the Reason to turn it away.
// Known.Credible answers the opposite question: whether that visitor's word against
// our own directory counts. Words gathers such words until they make a Verdict.
// Hearsay decides to which cluster a server belongs that does not know it yet.
//
// All of this is pure: the package draws no random numbers, has no clock, and reads
// and writes nothing. The caller makes the entries durable (raft/datadir) and
// carries the hellos and refusals (raft/wire). The simulator (tests/sim) runs the
// same code.
//
// What the package does not know: connections, files, the log, and what a server
// that comes back without its disk may do before it has caught up (core.Rejoining).
package identity
