package kvserver

import (
	"raftkv/client"
	"raftkv/raft"
)

// Clerk is the labs' client under the name that their suites know.
type Clerk = client.LabClerk

// MakeClerk returns a clerk of these servers, in whatever order. It makes no
// call yet.
func MakeClerk[P raft.Peer](servers []P) *Clerk { return client.MakeClerk(servers) }

// VersionedClerk is a client with the calls of the 2025 edition, and Tversion
// and Err are the words of its calls.
type (
	VersionedClerk = client.VersionedClerk
	Tversion       = client.LabVersion
	Err            = client.LabErr
)

// The ends of a VersionedClerk's calls; see client.
const (
	OK         = client.LabOK
	ErrNoKey   = client.LabErrNoKey
	ErrVersion = client.LabErrVersion
	ErrMaybe   = client.LabErrMaybe
)

// MakeVersionedClerk returns a clerk of these servers, in whatever order. It
// makes no call yet.
func MakeVersionedClerk[P raft.Peer](servers []P) *VersionedClerk {
	return client.MakeVersionedClerk(servers)
}
