// Package certs is what a server needs to know other machines by their certificates:
// sets of a certificate, a CA bundle and revocation lists; the identity of a node; and
// the checks that every handshake and every standing connection must pass.
//
// # Mental model
//
// A Set never changes. It is made of the bytes of files, whole or not at all. A Store
// holds the set that is in use and can be given another one at any time: handshakes take
// the set that is there when they begin to judge, and connections that stand are judged
// again by the new set.
//
// All checks of a certificate stand in VerifyConnection, for listeners and for dialers.
// Go calls it at every handshake. VerifyPeerCertificate, and what Go checks by itself,
// would be skipped when a session is resumed; sessions are never resumed here anyway.
// InsecureSkipVerify occurs in this package alone (a test of tests/arch holds that), and
// only next to such a VerifyConnection: Go cannot check against a CA bundle that changes,
// nor against revocation lists, nor for the name of a node.
//
// # The parts
//
//	set.go         a certificate with its key, a CA bundle, revocation lists; their files
//	verify.go      the chain of a certificate, by a set and at a time
//	revoked.go     revocation lists
//	node.go        which node a certificate names
//	config.go      what crypto/tls is told, for each kind of listener and dialer
//	store.go       the set in use, and the connections that were judged by an earlier one
//	refusal.go     why a handshake failed, for people and for counters
//
// # What it does not know
//
// It opens no file and no socket, and has no goroutine. It imports nothing of this module.
//
// # Locks
//
// Store.mu guards the list of standing connections. It is not held while one is ended.
package certs
