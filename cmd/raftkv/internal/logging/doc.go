// Package logging makes the logger of a process. It must never hold up a node: it does
// not wait for a reader (Sink), and it does not repeat itself without end (calm).
package logging
