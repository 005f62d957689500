package address

import (
	"strings"

	"raftkv/cmd/raftkv/internal/host"
)

// Warn warns about addresses that mean another machine to whoever
// gets them: members on other machines, and an address of this node that leads
// everybody to himself.
func Warn(c host.Config) {
	for _, w := range doubtful(c) {
		c.Logger.Warn(w.message, w.about...)
	}
}

type warning struct {
	message string
	about   []any
}

// doubtful returns what is to be said about a node's addresses.
func doubtful(c host.Config) (all []warning) {
	own := c.Members[c.ID]
	var near, far []string
	for _, id := range c.Members.IDs() {
		if isLoopback(c.Members[id]) {
			near = append(near, string(id))
		} else {
			far = append(far, string(id))
		}
	}
	remote := len(far) // nodes on other machines
	if !isLoopback(own) {
		remote--
	}
	clients := host.ReachableAddress(c.HTTP.Addr(), own)
	if remote > 0 && isLoopback(clients) {
		all = append(all, warning{"the other nodes are on other machines, and the client address that this node gives them is a loopback address: writes that they forward to it will not arrive; set --http to an address that they reach, such as 0.0.0.0:8701",
			[]any{"client_address", clients}})
	}
	if listening := c.Peer.Addr().String(); remote > 0 && isLoopback(listening) {
		all = append(all, warning{"the other nodes are on other machines, and this node listens for them on a loopback address: they cannot reach it; correct its entry in --cluster, or --peer",
			[]any{"peer_address", listening}})
	}
	if len(near) > 0 && len(far) > 0 {
		all = append(all, warning{"--cluster gives some nodes loopback addresses and others not: a loopback address leads each node to its own machine",
			[]any{"loopback", strings.Join(near, ","), "others", strings.Join(far, ",")}})
	}
	return all
}
