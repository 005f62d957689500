// Package memory flips bits in the memory of running servers: in log entries, at
// every place where they are held, from the moment a leader proposes them to the
// moment they are applied. Nothing else is exchanged for a fake that matters to an
// entry: the nodes, their cores and their logs on a disk are the real ones.
package memory
