// Package watch is the protocol of watches: what a client that follows changes is sent,
// and in which order.
//
// # Mental model
//
//	store ──► History ──► Hub.Advance ──► cursors of the watches that match
//	                                          │ wake
//	client ◄── Out ◄── Stream.Step ◄── Take ──┘
//	                        ▲
//	            Confirmed: a read index was applied here
//
// The history of changes is part of the replicated state, and every node has the same
// one. So a watch needs no queue: it is a place in the history. A [Hub] finds, for each
// new change, the watches whose selectors match it, and notes the revision at their
// cursors. A cursor has room for a few revisions. When there are more, its owner reads
// the history itself, from its place on, in pieces: chunks of history never change, so
// that takes no lock.
//
// A [Stream] is one watch as its client sees it: it opens, sends the state first if it
// is asked to, then changes, and says now and then how far it has come. Such a bookmark
// is a confirmed read: its owner asks for a read index, waits until that is applied, and
// tells the stream the revision of the store. The stream passes it on when everything
// up to there has left.
//
// # What it does not know
//
// Goroutines, locks, clocks, HTTP and frames. Callers serialise the calls of a Hub and
// its cursors, and those of a Stream. Time comes in as milliseconds of any clock that
// does not go back.
package watch
