// Package members says which servers a cluster has, and in which of its
// decisions each of them counts (§6 of the paper; thesis chapter 4).
//
// The mental model is a register of which the log keeps every edition. A Record is
// one edition: the data of a log entry of kind configuration. It holds all that a
// cluster knows of its members: roles, addresses, data directories, those that were
// removed, the changes that were asked for, tokens for joining, the cluster's level
// and its settings. The index of the entry is the edition's number (Version). The
// newest edition in a server's log is in force there from the moment that it is
// appended, committed or not, and goes when the log is truncated.
//
// Two editions lead from one set of voters to another. The first is joint: it says of
// each member whether it voted before (WasVoter) and whether it is to vote (Role), and
// a decision takes a majority of either set. The second, Final, leaves the former
// voters out. Change makes the first from an edition and what is wanted; nothing
// else decides what a change means.
//
// A Configuration is what consensus reads of a record: the voters of each half. Its
// methods HasQuorum and QuorumIndex are the only place that counts servers.
//
// All of this is plain values. The package draws no random numbers, has no clock, and
// reads and writes nothing. What it does not know: whether an edition is committed,
// which server leads, and when a change is allowed (raft/core); which caller may ask for one and
// which servers are healthy (the service).
package members
