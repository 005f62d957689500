// Package kvserver serves the key/value store: it is the hall between the doors,
// through which clients come, and the machine, which holds the store.
//
// # Mental model
//
//	door (httpd, clerkd) ──► Server ──► machine ──► consensus
//	translates               decides     applies     orders
//
// A door only translates. What is admitted and refused, which requests wait for a
// leader and for how long, how fresh a read must be, what an outcome means and what the client
// hears of it: each of these is decided once, here, and both doors call it.
//
//	write ──► CheckLag, Wait or Enter ──► Write ──┬─ leader is here:  machine.Propose
//	                                              └─ leader is there: remote, one hop
//	read  ──► AdmitRead ──► AwaitFresh (read index, applied far enough) ──► machine
//
// A [Server] has a [machine.Machine] and is given consensus, which orders commands.
// Its parts outside are wired by the program (cmd/raftkv): port, httpd, clerkd and
// metrics. With one Raft group there is one machine; nothing here depends on its
// being the only one in the process.
//
// A write ends in exactly one of three ways: with its result; as not applied, when
// consensus said that it never will be; as unknown, when time or the node ended
// first. It is tried again only after an attempt that definitely did not happen.
//
// A read takes no entry in the log. It asks consensus for an index, on any node,
// waits until the store has applied it, and reads.
//
// # Admission
//
// Requests belong to a [Class], and each class has room of its own. A request that
// finds no room waits in a bounded queue and is then refused, before it has had any
// effect.
//
// # The labs' face
//
// [KVServer] has the same machine behind the RPCs of the courses' key/value lab, with
// [Clerk] and [VersionedClerk], which are the client package's, for clients. Leaders
// of the labs begin with no entry of their own, so its reads go through the log, and
// a write that waits in a term that has passed is asked again.
//
// # Locks
//
//	lock                  guards                                   held while
//	admission.mu (seven)  the room of a class and its queue        a request comes, waits or leaves
//
// No two are held at once, none during I/O, and none together with one of another
// package. Those of the machine, the port and the Clerks' door are in their package
// comments.
//
// # What it does not know
//
// HTTP, frames, connections, disks, and the wire between nodes; the labs' network
// only as an interface, in the files that begin with lab.
package kvserver
