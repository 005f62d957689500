// Package membership decides changes of a cluster's members, and carries them out where
// this node leads.
//
// # Mental model
//
//	Ask ──► Decide(View) ──► Plan ──► Reconfigure ──► joint entry ──► final entry
//	what a person or         both halves,   consensus (raft/core)
//	the automation wants     or a refusal
//
// A [View] is what a leader knows at one moment: the newest record of members, and of
// each node whether it is healthy, has caught up, and which levels it has shown. [Decide]
// makes a [Plan] of an [Ask], or refuses it with the arithmetic. Both are plain values,
// and so are the decisions that a leader takes by itself: which learners to promote
// ([View.Promotion]) and which level to raise ([View.Raise]).
//
// The [Driver] is the one goroutine that acts. It looks at the view several times in a
// second, does nothing where this node does not lead, and has one change at a time on its
// way. Requests hand it their Ask and wait. What it has begun goes on without it: the
// plan stands in the record, so every later leader finds it there.
//
// # Promises
//
// No accepted change leaves fewer healthy voters than a majority of either half. A change
// that is refused appends nothing. The same change id is answered in the same way for as
// long as the record keeps it, through any node and any leader.
//
// # Locks
//
// Driver.mu guards the changes that wait and what is shown of them. It is held for
// moments, and never while consensus is asked.
//
// # What it does not know
//
// How entries are counted (raft/members, raft/core); HTTP, files and sockets: the host
// gives it functions.
package membership
