package kvserver

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"raftkv/kvserver/internal/world"
	"raftkv/kvserver/kv"
)

// watchWorld is a world whose nodes are halls. It runs in a bubble of virtual time.
type watchWorld struct {
	*world.World
	t     *testing.T
	r     *rand.Rand
	nodes []*watchNode
	wg    sync.WaitGroup
}

// watchNode is one node of the world.
type watchNode struct {
	*world.Node
	t *testing.T

	mu     sync.Mutex
	server *Server
	lives  int
}

func newWatchWorld(t *testing.T, seed uint64, nodes int) *watchWorld {
	w := &watchWorld{World: world.New(), t: t, r: rand.New(rand.NewPCG(seed, 99))}
	for i := range nodes {
		n := &watchNode{Node: w.Node(fmt.Sprintf("n%d", i+1)), t: t}
		n.start(nil, 0)
		w.nodes = append(w.nodes, n)
	}
	return w
}

// start begins a life of the node, with a snapshot or with nothing.
func (n *watchNode) start(snapshot []byte, index int) {
	log := n.Begin(index)
	var from io.Reader
	if snapshot != nil {
		from = bytes.NewReader(snapshot)
	}
	server, err := New(Config{
		NodeID: n.Name, ClusterID: "c1", Consensus: log, ApplyCh: log.ApplyCh, Snapshot: from, Level: kv.LevelHistory,
		ClientAddr: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = server
	n.lives++
}

// now returns the server and the life it is in.
func (n *watchNode) now() (*Server, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server, n.lives
}

// install gives the node another one's snapshot, if that is ahead.
func (n *watchNode) install(from *watchNode) {
	server, _ := from.now()
	n.Install(n.t, server.Machine().Freeze())
}

// restart ends the node's life and begins the next with its own snapshot, or from the
// beginning of the log.
func (n *watchNode) restart(fromSnapshot bool) {
	server, _ := n.now()
	server.Close()
	server.Machine().EndAsync()
	if !fromSnapshot {
		n.start(nil, 0)
		return
	}
	view := server.Machine().Freeze()
	n.start(world.PayloadOf(n.t, view), int(view.AppliedIndex()))
}

// close ends the nodes, and waits for everything in the world.
func (w *watchWorld) close() {
	for _, n := range w.nodes {
		server, _ := n.now()
		server.Close()
		server.Machine().EndAsync()
	}
	w.wg.Wait()
}
