// Package core is the Raft algorithm and nothing else: a plain object without
// goroutine, clock, lock, file, socket or chance of its own. Its driver tells it
// what happened (a tick passed, a request came, a reply came back, a write is on
// the disk), and it says what is to be done. The same list of calls always gives
// the same run.
//
// "The paper" is Ongaro and Ousterhout, In Search of an Understandable
// Consensus Algorithm (extended version); § marks its sections. "The thesis"
// is Ongaro's, Consensus: Bridging Theory and Practice.
//
// # Where to find what
//
//	raft.go           Figure 2 "State"; the inputs; Ready
//	configuration.go  §6: which configuration is in force; what is kept of each member
//	membership.go     §6: changes by joint consensus (the members, and majorities: package members)
//	types.go          IDs, Config, persistent state, errors
//	entry.go          log entries: kinds, checksum, encoding
//	uid.go            the number that tells clusters of one name apart
//	rpc.go            Figure 2's messages, fields only
//	ready.go          the work that leaves: calls, answers, writes, batches, reads
//	roles.go          Figure 2 "Rules for Servers", Figure 4
//	election.go       §5.2, §5.4.1; thesis 9.6 (pre-vote), 4.2.3 (withheld votes)
//	replication.go    §5.3: what a leader sends, and what it makes of the answers
//	appendentries.go  Figure 2 "AppendEntries RPC": the receiver's side
//	progress.go       Figure 2 "Volatile state on leaders"
//	commit_apply.go   §5.3, §5.4.2, Figure 8; applying
//	log.go            §5.3: the log in memory
//	forget.go         what of it stays there
//	durable.go        Figure 2 "Persistent state"; thesis 10.2.1
//	snapshot.go       §7, Figure 13: compaction, InstallSnapshot on both sides
//	reads.go          §8; thesis 6.4
//	transfer.go       thesis 3.10; servers that had better not lead
//	slow.go           a disk that is slow, or hangs without an error
//	rejoin.go         a disk that was lost
//	invariants.go     Figure 3; histories that contradict each other (a disk that was put back)
//	status.go         a copy of the state for people; notes of what happened, and why
//
// # The driver's four duties
//
//  1. Say Saved(n) only when write n and all before it are on the platter.
//  2. Apply batches in order, then say Applied with the batch's last index.
//  3. Give an answer to the request that had its tag, and a reply to its call.
//  4. Never call two methods at once.
//
// The driver has no other duty. Calls, answers and replies may be lost, delayed,
// duplicated (answers and requests, not the return of a call) and reordered; ticks
// may be late. Ready hands a message out only when the disk holds what the message
// promises. So the driver has no order to keep between the three doors: messages
// leave at once, one write is with the disk, one batch is with the state machine.
//
// Rules that the proof of Raft rests on are asserted and panic when broken: a
// dead server is harmless, a wrong one is not.
package core
