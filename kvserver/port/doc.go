// Package port is the client port of a node: the listener, the connections of
// clients, and the limits that a port open to strangers needs. It serves whatever
// http.Handler it is given and knows no route.
//
// # A connection and its states
//
//	           Accept                      request complete
//	new ──────────────────► receiving ─────────────────────────► serving
//	                        ▲   │  ▲                              │   │
//	                        │   │  └──── bytes of a request ──┐   │   │ hijacked: for good
//	                        │   │                             │   ▼   ▼ (a Clerk's connection)
//	                        │   └── evicted, timed out      idle ◄── answer sent
//	                        │                               │
//	                        └─────────── never ─────────────┴── evicted, timed out
//
// In "receiving" and "idle" the client keeps the server waiting: such a connection
// can be evicted once it has been in its state for a second, those that receive
// before those that are idle, the longest first. In "serving" the server keeps the
// client waiting, and the connection is never closed for others. A connection at
// the gate counts as served, whatever its state. A handshake of TLS is a part of
// "receiving".
//
// # The parts
//
//	port.go        what a Port is made of
//	bounds.go      how many connections there may be, and from where
//	eviction.go    which of them make room for others
//	tls.go         TLS, between the bounds and the reading of headers
//	conn.go        one connection, its states, and the hooks of http.Server
//	deadlines.go   how long a client may take
//	record.go      the header of a request as it came, byte by byte
//	framing.go     requests about whose end two readers could disagree
//	gate.go        how many connections may keep a processor busy
//	refusal.go     what is said where no handler has seen the request
//	listener.go    accepting, also when file descriptors are short
//
// # Locks
//
//	lock              guards                               held while
//	Port.mu           the list of connections, counters    one comes, goes or is evicted
//	Conn.mu           the record of a request's header     bytes come, or the header is read
//	gate.mu           what is inside the gate, and waits   one comes to the gate, or leaves
//
// Conn.mu and gate.mu are never taken while another is held. None is held during I/O but for
// closing connections that are evicted, which does not wait.
package port
