// Package httpd is the HTTP door: it turns requests into calls of the server and
// their results into answers. A door only translates; what is admitted, refused,
// waited for and retried is decided in package kvserver, for both doors.
//
// # Mental model
//
//	request ──► guard ──► router ──► dispatch ──► handler ──► kvserver.Server
//	            names,    method,    row of the     │              │
//	            framing   path       route: query,  ▼              ▼
//	                                 headers,    condition,    Get, List, Freeze, Write,
//	                                 class       body          Transfer, Backup, Status
//
// Everything that holds for a whole route stands in its row (routes.go) and is
// applied in dispatch, so that a new handler cannot forget it.
//
// A write that comes to a node which does not lead is carried to the leader by
// [Peers], one hop, and the leader's answer is passed on as it is. Peers also ask the
// other nodes for the digests of their states.
//
// An exchange is one request and its answer; it belongs to the goroutine that
// serves it.
//
// # Locks
//
// The door has none. Each connection to a leader has one (leaderConn.mu), which
// guards what was written on it and is not held while writing.
//
// # What it does not know
//
// The store, consensus, and Clerks: a connection that asks for another protocol is
// handed to an [Upgrader].
package httpd
