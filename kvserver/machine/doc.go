// Package machine is the replicated state machine of one Raft group on one node:
// the store, and all that belongs to it alone.
//
// # Mental model
//
//	writes ──► Propose ──► consensus ──► applyCh ──► applier ──► store
//	              ▲                                     │
//	              └───────── Ending ◄── waiter ◄────────┘
//
//	reads  ──► AwaitApplied or AwaitRevision ──► Get, GetAll, List, Freeze, Describe
//
// A [Machine] is given consensus, which orders commands, and the channel on which
// the ordered commands come back. One goroutine, the applier, is the only writer of
// the store. Others run where they are asked for: one that writes a snapshot
// when one is due, one that compares the state with that of the peers, and one that
// ends writes whose leader or whose time is over.
//
// A write waits under the identity that its machine drew for it and that travels in
// the command. It has exactly one [Ending]: its result; or an error that says that
// it never will be applied; or one that says that this is not known, because time,
// the leader or the node ended first. No ending is ever guessed from the leader of now:
// an entry of a deposed leader may still be chosen.
//
// A machine that finds its state to differ from that of a majority quarantines
// itself and serves nothing any more; see [Machine.Quarantined].
//
// A machine whose node leads proposes ticks while something in the store has a deadline,
// and joins the keep-alives of leases.
//
// Several machines may live in one process. They share nothing.
//
// # Locks
//
//	lock                  guards                                    held while
//	Machine.mu            the store and the digests noted of it     a batch is applied; something is read
//	waiters.mu            the writes whose ending is not known      one is added or taken out
//	watermark.mu (two)    applied index; revision                   it moves, or is compared
//	tenures.mu            which leaders led when                    a leader is looked up
//	integrity.mu          the results of comparing states           one is noted or read
//	joiner.mu             the keep-alives that are gathered         one comes, or they are proposed
//	feed.mu               the places of the watches                 some changes are told, or one is taken
//
// No two of them are held at once, and none during I/O or while an Ending is
// handed over. So their order does not matter.
//
// # What it does not know
//
// HTTP, Clerks, connections, admission, and the leader beyond what consensus says.
package machine
