// Package labgob is encoding/gob with a word of warning: gob passes over some
// mistakes in silence that then look like a broken Raft, and labgob names them
// on standard output.
//
// One mistake is a field whose name begins in lower case: gob does not send it. A
// type with such a field is reported when labgob first meets it, by encoding,
// decoding or registering, however deep in it the field is. Types that encode
// themselves are not inspected.
//
// The other mistake is decoding into a variable that was used before: gob does
// not send zero values, so the variable keeps its old ones. That is reported once
// per process.
//
// The encoding is gob's own, and so are its registry of interface types, its
// errors, and its behaviour on damaged or hostile input. It is for the labs'
// simulated network and persister, never for bytes from a stranger.
package labgob
