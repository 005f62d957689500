// Package verify finds out whether a running cluster is linearizable. The answers
// that its clients received must be those of a single store that does one thing
// after the other, each between its request and its answer.
//
// # Mental model
//
// Clients write and read a few keys at the same time, by the Clerk. They note
// each request and its answer, with the times of both: a [History]. Every value
// is written by one request only, so a value that is read identifies its write.
// Afterwards a search looks for an order, key by key. A write whose outcome is
// not known may have happened at any time after it was asked for, or never. A
// write that was refused did not happen; if its value is read all the same, no
// order will be found.
//
// Lists are reads of every key that the page covers. Stale reads need no place in
// the order. But they cannot show a value that was never written, nor anything
// older than the revision that they asked for.
//
// The search can take very long. It ends when it has used its time, and the
// answer is then "undecided".
//
// # What it does not know
//
// The package does not know the faults that the cluster suffers meanwhile. Kill
// any nodes you like.
package verify
