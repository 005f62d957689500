package process

import (
	"fmt"
	"sort"
)

// A process may have only so many files and sockets open (RLIMIT_NOFILE,
// "ulimit -n"). Clients can use up any number, and a log that cannot open its
// next segment ends its node. So the limit is divided when a node starts: first
// comes what the process, the log and the peers need, and clients get the rest.
const (
	processDescriptors = 10 // standard streams, the poller, a profile
	nodeDescriptors    = 30 // listeners, lock, segments, snapshots, small files, name lookups, the admin port
	peerDescriptors    = 8  // connections in both directions, one that replaces each, a snapshot each way with its file
	mostStrangers      = 64 // accepted by the peer port, and not yet known to be peers
	leastStrangers     = 8
	mostForwards       = 512 // connections to the leader
	mostRefused        = 64  // connections of clients that are being told that there is no room

	// DefaultConnections is how many connections of clients a node takes unless it is
	// told otherwise or has no descriptors for them.
	DefaultConnections = 8192
	// leastClientPlaces is the least number of client connections that a node
	// serves with.
	leastClientPlaces = 16
)

// Descriptors is how a node divides what it may open.
type Descriptors struct {
	Limit     int // of the process
	Clients   int // connections of clients
	Forwards  int // connections to one leader
	Strangers int // connections to the peer port that have not said hello
}

// Divide divides the limit of a process with the given number of
// nodes, each of which has peers, and wants clients connections of clients. The
// error says what limit is needed.
func Divide(limit, nodes, peers, clients int) (Descriptors, error) {
	d := Descriptors{Limit: limit, Strangers: min(mostStrangers, max(leastStrangers, limit/nodes/16))}
	room := (limit-processDescriptors)/nodes - nodeDescriptors - peers*peerDescriptors - d.Strangers
	// The largest number of connections that fits, with what each brings along.
	d.Clients = sort.Search(clients, func(n int) bool { return clientDescriptors(n+1) > room })
	d.Forwards = forwardsFor(d.Clients)
	if d.Clients < min(clients, leastClientPlaces) {
		need := processDescriptors + nodes*(nodeDescriptors+peers*peerDescriptors+leastStrangers+clientDescriptors(leastClientPlaces))
		return d, fmt.Errorf("this process may open %d files and sockets, and a node with %d peers needs %d or more: raise the limit (ulimit -n 4096; LimitNOFILE= in a systemd unit; --ulimit nofile= for a container)", limit, peers, need)
	}
	return d, nil
}

// forwardsFor returns how many connections to a leader a node has for so many
// clients.
func forwardsFor(clients int) int { return min(mostForwards, max(4, clients/4)) }

// clientDescriptors returns how many descriptors so many connections of clients
// can take: their own, those to the leader and to the one before, and those that
// are being refused.
func clientDescriptors(clients int) int {
	return clients + 2*forwardsFor(clients) + max(1, min(mostRefused, clients/8))
}

// unknownDescriptorLimit is taken for the limit where it cannot be asked for.
const unknownDescriptorLimit = 1 << 20
