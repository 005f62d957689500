// Package discover finds members of a cluster at addresses that nobody has written down.
//
// # Mental model
//
//	--discover ──► Sources ──► addresses ──► Ask "who is there?" ──► an id ──► Found
//
// [Sources] are what an operator named: names of DNS, or plain addresses. A [Seeker] looks
// while a node is not connected with a majority: it resolves the sources anew, asks each
// address which server is there, and tells the address of a member that is missing to the transport,
// which dials it in addition to those that it knows.
//
// Discovery finds addresses and never members: the members stand in the record, or in
// --cluster. It begins no cluster. What answers at an address is judged when it is dialled,
// as every peer is.
//
// # What it does not know
//
// Sockets, frames and the record: it is given functions.
package discover
