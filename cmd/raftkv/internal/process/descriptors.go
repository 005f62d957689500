package process

import (
	"fmt"
	"sort"
)

// The number of files and sockets that a process may have open is limited
// (RLIMIT_NOFILE, "ulimit -n"). Clients can use up any number, and a log that cannot
// open its next segment ends its node. So the limit is divided when a node starts: the
// process, the log and the peers come first, and clients get the rest.
const (
	processDescriptors = 10 // standard streams, the poller, a profile
	nodeDescriptors    = 30 // listeners, lock, segments, snapshots, small files, name lookups, the admin port
	peerDescriptors    = 8  // connections in both directions, one that replaces each, a snapshot each way with its file
	maxStrangers       = 64 // accepted by the peer port, and not yet known to be peers
	minStrangers       = 8
	maxForwards        = 512 // connections to the leader
	maxRefused         = 64  // connections of clients that are being told that there is no room

	// DefaultConnections is how many connections of clients a node takes unless it is
	// told otherwise or has no descriptors for them.
	DefaultConnections = 8192
	// minClients is the smallest number of client connections that a node serves with.
	minClients = 16
)

// Descriptors says how a node divides the files and sockets that it may open.
type Descriptors struct {
	Limit     int // of the process
	Clients   int // connections of clients
	Forwards  int // connections to one leader
	Strangers int // connections to the peer port that have not said hello
}

// Divide divides the limit of a process among its nodes. Each of them has the given
// number of peers and wants the given number of connections of clients. The error says
// which limit is needed.
func Divide(limit, nodes, peers, clients int) (Descriptors, error) {
	d := Descriptors{Limit: limit, Strangers: min(maxStrangers, max(minStrangers, limit/nodes/16))}
	room := (limit-processDescriptors)/nodes - nodeDescriptors - peers*peerDescriptors - d.Strangers
	// The largest number of connections that fits, with what each brings along.
	d.Clients = sort.Search(clients, func(n int) bool { return clientDescriptors(n+1) > room })
	d.Forwards = forwardsFor(d.Clients)
	if d.Clients < min(clients, minClients) {
		need := processDescriptors + nodes*(nodeDescriptors+peers*peerDescriptors+minStrangers+clientDescriptors(minClients))
		return d, fmt.Errorf("this process may open %d files and sockets, and a node with %d peers needs %d or more: raise the limit (ulimit -n 4096; LimitNOFILE= in a systemd unit; --ulimit nofile= for a container)", limit, peers, need)
	}
	return d, nil
}

// forwardsFor returns how many connections to a leader a node has for a number of
// clients.
func forwardsFor(clients int) int { return min(maxForwards, max(4, clients/4)) }

// clientDescriptors returns how many descriptors a number of client connections can
// take: their own, those to the leader and to the one before, and those of connections
// that are being refused.
func clientDescriptors(clients int) int {
	return clients + 2*forwardsFor(clients) + max(1, min(maxRefused, clients/8))
}

// unknownDescriptorLimit stands for the limit where it cannot be asked for.
const unknownDescriptorLimit = 1 << 20
