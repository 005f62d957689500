// Package wire carries the core's messages between the servers of a cluster
// over TCP.
//
// The picture to keep in mind is a pair of tubes between any two servers. Each
// server dials every other one and owns the connection it dialled: requests go
// down it, answers come back up it, both in order, and nothing else travels on
// it. Because the answers come in the order of the requests, a message needs no
// number: the oldest call without an answer is the one that the next answer is
// for. An answer that is ready early waits for those before it. A request that
// another one overtook would make a follower refuse entries it is about to be
// able to take, so order is worth this wait.
//
// A tube that breaks loses everything in it: every call without an answer comes
// back as lost, exactly once, and the core falls back to probing. While there
// is no connection a call is lost at once instead of waiting, because a message
// about the state of a moment ago is worse than none. A tube that the other
// side broke is reported as Suspect, which is how a killed leader is noticed in
// milliseconds.
//
// What comes from the network is never trusted. A connection must begin with a
// hello that fits (version, cluster, receiver, sender, and that the sender has the
// data directory it had before, package identity); every frame has a limit
// that depends on its kind; a body is checked to be the one shape its kind has
// before it is decoded, and memory is taken as bytes arrive, never because a
// length announces them. One bad frame ends its connection and nothing of it
// reaches the Handler.
//
// The package knows what the messages look like and nothing of what they mean:
// it knows no terms, no roles and no log. docs/protocol.md draws the bytes.
//
// Goroutines: an acceptor, a dialler per peer, two per connection, one reading
// and one writing, one that tells how far the disk has come and remembers what
// peers say of theirs, one for as long as it takes to remember that a peer is
// fenced, and one while the verdict of the peers on our directory is awaited. Locks: one per connection for its queue and one in
// the Transport for the list of connections. None is held while a byte is read
// or written or the Handler is called, and no two are held at once.
package wire
