// Package verify finds out whether a running cluster is linearizable: whether
// everything that its clients heard could have been heard of one store that does
// one thing after the other, each between its request and its answer.
//
// # Mental model
//
// Clients write and read a few keys at the same time, by the Clerk, and note
// when they asked for what and what they heard: a [History]. Every value is
// written by one request only, so a value that is read names the write that it
// is from. Afterwards a search looks for an order, key by key. A write whose
// outcome is not known may have happened at any time after it was asked for, or
// never. One that was refused did not happen; should its value be read, no order
// will be found.
//
// Lists are reads of every key that the page covers. Stale reads need no place in
// the order, but they cannot show what nobody had written, nor anything older than
// the revision that they asked for.
//
// The search can take very long. It ends when it has used its time, and then the
// answer is that nobody knows.
//
// # What it does not know
//
// What disturbs the cluster meanwhile. Kill what you like.
package verify
