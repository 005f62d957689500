// Package pipeline is the ideal durable pipeline: the least that any replicated log
// must do for a write. It is the ceiling against which raftkv is measured.
//
// # Mental model
//
// A leader and two followers are processes, each with one zero-filled file. What
// has arrived at the leader while the last batch was written is the next batch. It
// goes out as one write to each follower, and then as one write and one fdatasync to
// the leader's own file. A follower writes and syncs what it has received, and says
// how many bytes are durable. A record is acknowledged when two of the three files
// hold it.
//
// There is no consensus, no term, no check sum and no state machine, nor is anything
// ever read back: a replicated log that does the same for less does not exist.
// [Lead] and [Follow] are the processes, and [Client] is a target for client/bench.
//
// # What it does not know
//
// The package knows nothing of Raft, of keys, or of lost connections: the
// leader ends when a follower has gone.
package pipeline
