package labrpc

import (
	"log"
	"math/rand/v2"
	"sync"
)

// Network is a simulated network. MakeNetwork makes one; all methods are safe
// for concurrent use, and none waits. Names of ends and servers are any values
// that can be map keys.
type Network struct {
	done chan struct{} // closed by Cleanup

	// mu guards everything below and the state of the ends. It is never held while
	// waiting for time, a handler or a channel.
	mu             sync.Mutex
	cleanedUp      bool
	reliable       bool
	longDelays     bool
	longReordering bool
	ends           map[any]*ClientEnd
	servers        map[any]*registration
	random         *rand.Rand
	requests       int
	bytes          int64
}

// registration is a server under its name. Every AddServer makes a new one, so
// that a call can check whether its server is still the one it was sent to.
type registration struct {
	server *Server
	gone   chan struct{} // closed when the server is deleted or replaced
}

// MakeNetwork returns a reliable network without ends and servers, long delays
// and long reordering.
func MakeNetwork() *Network {
	return &Network{
		done:     make(chan struct{}),
		reliable: true,
		ends:     make(map[any]*ClientEnd),
		servers:  make(map[any]*registration),
		random:   rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
}

// MakeEnd makes an end, which leads nowhere and is disabled. A name that an
// end of this network already has ends the process.
func (n *Network) MakeEnd(endname any) *ClientEnd {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ends[endname] != nil {
		log.Fatalf("labrpc: MakeEnd(%v): an end of this name exists; give every end a name of its own", endname)
	}
	end := &ClientEnd{network: n}
	n.ends[endname] = end
	return end
}

// DeleteEnd removes an end, and its name may be used again. Calls on the
// removed end fail like those on a disabled one. A name that no end has ends
// the process.
func (n *Network) DeleteEnd(endname any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := n.ends[endname]
	if end == nil {
		log.Fatalf("labrpc: DeleteEnd(%v): there is no end of this name", endname)
	}
	end.enable(false)
	delete(n.ends, endname)
}

// Connect makes an end lead to the server that has, or will have, the name
// servername; nil stands for no server. Pending calls are not affected. An
// unknown end is ignored.
func (n *Network) Connect(endname, servername any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if end := n.ends[endname]; end != nil {
		end.servername = servername
	}
}

// Enable enables or disables an end. Pending calls on a disabled end fail too,
// unless it is enabled again when the network next checks; see ClientEnd.Call. An
// unknown end is ignored.
func (n *Network) Enable(endname any, enabled bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if end := n.ends[endname]; end != nil {
		end.enable(enabled)
	}
}

// AddServer puts a server under a name and replaces the one that had it. A nil
// server is the same as DeleteServer.
func (n *Network) AddServer(servername any, server *Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(servername)
	if server != nil {
		n.servers[servername] = &registration{server: server, gone: make(chan struct{})}
	}
}

// DeleteServer takes a server off the network: it gets no more requests and
// none of its replies is sent any more, so that the calls it was handling
// return false. Replies sent before, but delayed, still arrive. An unknown
// name is ignored.
func (n *Network) DeleteServer(servername any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(servername)
}

func (n *Network) remove(servername any) {
	if to := n.servers[servername]; to != nil {
		close(to.gone)
		delete(n.servers, servername)
	}
}

// Reliable sets whether requests and replies all arrive, without delay.
func (n *Network) Reliable(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reliable = yes
}

// LongReordering sets whether two of three replies come so late, by up to 2.2
// seconds, that later ones overtake them.
func (n *Network) LongReordering(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.longReordering = yes
}

// LongDelays sets whether calls that reach no server fail within LONGDELAY
// milliseconds rather than within a tenth of a second.
func (n *Network) LongDelays(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.longDelays = yes
}

// IsReliable returns the last setting of Reliable.
func (n *Network) IsReliable() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reliable
}

// IsLongDelays returns the last setting of LongDelays.
func (n *Network) IsLongDelays() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.longDelays
}

// Seed makes the network draw delays and losses from a sequence that depends on
// the seed alone; without it every network has a sequence of its own. A run
// repeats as far as its calls are sent in the same order; the scheduler chooses
// the order of concurrent calls.
func (n *Network) Seed(seed uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.random = rand.New(rand.NewPCG(seed, 0))
}

// GetCount returns the number of requests that reached the server of this name:
// those for which it was asked, since it was made, to run a handler. It is 0 if
// there is no such server, even if there was one before.
func (n *Network) GetCount(servername any) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	to := n.servers[servername]
	if to == nil {
		return 0
	}
	return to.server.GetCount()
}

// GetTotalCount returns the number of calls that were made, including failed
// ones.
func (n *Network) GetTotalCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.requests
}

// GetTotalBytes returns the sum of the encoded arguments of all calls and of
// the encoded replies that arrived.
func (n *Network) GetTotalBytes() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bytes
}

// Cleanup ends the network: pending calls and later ones return false at once. It
// waits neither for those calls nor for handlers. More than one Cleanup is no
// error.
func (n *Network) Cleanup() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.cleanedUp {
		n.cleanedUp = true
		close(n.done)
	}
}
