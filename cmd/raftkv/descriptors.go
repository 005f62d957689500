package main

import (
	"fmt"
	"log/slog"
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

	// leastClientPlaces is the least number of client connections that a node
	// serves with.
	leastClientPlaces = 16
)

// descriptors is how a node divides what it may open.
type descriptors struct {
	limit     int // of the process
	clients   int // connections of clients
	forwards  int // connections to one leader
	strangers int // connections to the peer port that have not said hello
}

// divideDescriptors divides the limit of a process with the given number of
// nodes, each of which has peers, and wants clients connections of clients. The
// error says what limit is needed.
func divideDescriptors(limit, nodes, peers, clients int) (descriptors, error) {
	d := descriptors{limit: limit, strangers: min(mostStrangers, max(leastStrangers, limit/nodes/16))}
	room := (limit-processDescriptors)/nodes - nodeDescriptors - peers*peerDescriptors - d.strangers
	// The largest number of connections that fits, with what each brings along.
	d.clients = sort.Search(clients, func(n int) bool { return clientDescriptors(n+1) > room })
	d.forwards = forwardsFor(d.clients)
	if d.clients < min(clients, leastClientPlaces) {
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

// applyTo settles a node's bounds, and says so if the limit leaves clients fewer
// connections than the user asked for.
func (d descriptors) applyTo(c *nodeConfig, logger *slog.Logger) {
	if asked := c.MaxConnections; d.clients < asked {
		logger.Warn("there is room for fewer connections of clients than --max-connections says, because the process may open only so many files and sockets (ulimit -n); the rest is kept for the log and the peers",
			"connections", d.clients, "max_connections", asked, "limit", d.limit)
	}
	c.MaxConnections, c.maxForwards, c.maxStrangers = d.clients, d.forwards, d.strangers
}

// unknownDescriptorLimit is taken for the limit where it cannot be asked for.
const unknownDescriptorLimit = 1 << 20
