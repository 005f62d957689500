// Package bare is HTTP with nothing behind it: a server of package net/http that
// answers at once, which is the ceiling of raftkv's HTTP face, and a client that
// costs little enough to measure both with.
//
// # Mental model
//
// [Serve] answers a GET with a value of fixed size. It reads the body of a PUT and
// answers with a few bytes. [Client] has one connection for each client of the load
// and keeps it alive. A request is one write; its answer is parsed only as far as
// status, length and node go. The client of net/http takes several times as much of
// the processor, and the servers run on the same processors.
//
// # What it does not know
//
// The client takes no answer without a length, and follows no redirect.
package bare
