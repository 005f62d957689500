// Package wire carries the core's messages between the servers of a cluster
// over TCP.
//
// The picture to keep in mind is a pair of tubes between any two servers. Each
// server dials every other one and owns the connection it dialled: requests go
// down it, answers come back up it, both in order, and nothing else travels on
// it. Because the answers come in the order of the requests, a message needs no
// number: the next answer is for the oldest call without one. An answer that is
// ready early waits for those before it; overtake.go has the one exception. Order
// is worth this wait: a follower refuses entries whose predecessors were overtaken
// on the way.
//
// A tube that breaks loses everything in it: every call without an answer comes
// back as lost, exactly once, and the core falls back to probing. While there
// is no connection, a call is lost at once instead of waiting, because a message
// about the state of a moment ago is worse than none. A tube that the other
// side broke is reported by Suspect. So a killed leader is noticed within
// milliseconds, when both of its connections are gone.
//
// Bytes from the network are never trusted. A connection must begin with a hello
// that fits: version, cluster, receiver, sender, and the data directory that the
// sender had before (package identity). Every frame has a limit that depends on its kind. A body is
// checked to have the one shape of its kind before it is decoded. Memory is taken
// as bytes arrive, never because a length announces them. One bad frame ends its
// connection, and nothing of that frame reaches the Handler.
//
// Below the frames a connection may speak TLS (tls.go). A peer then proves by its
// certificate which server it is, and that must be the sender of its hello.
//
// The package knows the form of the messages and nothing of their meaning: it
// knows no terms, no roles and no log. docs/protocol.md draws the bytes.
//
// Goroutines: an acceptor; a dialler per peer; two per connection, one that reads
// and one that writes; one that tells the peers how far the disk has come and
// remembers what they say of theirs; one while it is remembered that a peer is
// fenced; and one while the peers' verdict on our directory is awaited.
//
// Locks: one per connection for its queue, and one in the Transport for the list of
// connections. None is held while a byte is read or written or the Handler is
// called, and no two are held at once.
package wire
