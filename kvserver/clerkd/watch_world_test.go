package clerkd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/internal/pipenet"
	"raftkv/kvserver/internal/world"
	"raftkv/kvserver/port"
)

// watchWorld is a world whose nodes have real doors for Clerks. It runs in a bubble of
// virtual time.
type watchWorld struct {
	*world.World
	t     *testing.T
	r     *rand.Rand
	nodes []*worldNode
}

// worldNode is one node of the world.
type worldNode struct {
	*world.Node
	t *testing.T

	mu      sync.Mutex
	server  *testServer
	network *pipenet.Net
}

func newWatchWorld(t *testing.T, seed uint64) *watchWorld {
	w := &watchWorld{World: world.New(), t: t, r: rand.New(rand.NewPCG(seed, 7))}
	for i := range 3 {
		n := &worldNode{Node: w.Node(fmt.Sprintf("n%d", i+1)), t: t}
		n.start(nil, 0)
		w.nodes = append(w.nodes, n)
	}
	return w
}

// start begins a life of the node, with a snapshot or with nothing.
func (n *worldNode) start(snapshot []byte, index int) {
	server := newServerOver(n.t, n.Begin(index), func(c *settings) {
		atLevel3(c)
		if snapshot != nil {
			c.Snapshot = io.Reader(bytes.NewReader(snapshot))
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = server
	n.network = pipenet.Serve(n.t, port.NewServer(server.http.Handler()), server.port.Listener)
}

// dial connects a Clerk with a node, by its name.
func (w *watchWorld) dial(ctx context.Context, address string) (net.Conn, error) {
	for _, n := range w.nodes {
		if strings.HasPrefix(address, n.Name+":") {
			n.mu.Lock()
			network := n.network
			n.mu.Unlock()
			return network.Dial(ctx, address)
		}
	}
	return nil, fmt.Errorf("there is no node at %s", address)
}

// restart ends the node's life, in order or as by a kill, and begins the next one.
func (n *worldNode) restart(inOrder, fromSnapshot bool) {
	if inOrder {
		n.server.EndWatches()
		ctx, cancel := context.WithTimeout(n.t.Context(), time.Second)
		n.server.clerks.Drain(ctx)
		cancel()
	}
	n.network.Cut()
	n.server.Close()
	var snapshot []byte
	index := 0
	if fromSnapshot {
		view := n.server.Machine().Freeze()
		snapshot, index = world.PayloadOf(n.t, view), int(view.AppliedIndex())
	}
	n.start(snapshot, index)
}

// disturb does one thing to the world.
func (w *watchWorld) disturb() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	switch k := w.r.IntN(100); {
	case k < 50:
		for range w.r.IntN(8) {
			w.Write(w.r, 30_000, 300)
		}
	case k < 56: // a burst, with more changes than a ring holds, and more than a credit
		for range 150 {
			w.Write(w.r, 30_000, 300)
		}
	case k < 60:
		n.SetCut(!n.IsCut())
	case k < 64:
		n.Install(w.t, w.nodes[w.r.IntN(len(w.nodes))].server.Machine().Freeze())
	case k < 70:
		n.network.Cut()
	case k < 74:
		n.restart(w.r.IntN(2) == 0, w.r.IntN(2) == 0)
	}
	for _, n := range w.nodes {
		if w.r.IntN(3) > 0 {
			n.Deliver(w.r.IntN(200))
		}
	}
}
