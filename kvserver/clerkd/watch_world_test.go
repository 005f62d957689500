package clerkd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/internal/pipenet"
	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// watchWorld is a cluster as Clerks see it that follow changes: one log, which is the
// truth, and nodes with real doors that apply it at their own pace, are cut off, ended,
// begun anew and given snapshots. It runs in a bubble of virtual time.
type watchWorld struct {
	t *testing.T
	r *rand.Rand

	mu    sync.Mutex
	log   [][]byte
	model *truth.Model
	kept  map[uint64]bool // every first revision that the history was ever cut at
	nodes []*worldNode
}

// worldNode is one node of the world.
type worldNode struct {
	world *watchWorld
	name  string

	mu        sync.Mutex
	server    *testServer
	network   *pipenet.Net
	log       *fakelog.Log
	delivered int
	cut       bool
}

func newWatchWorld(t *testing.T, seed uint64) *watchWorld {
	w := &watchWorld{t: t, r: rand.New(rand.NewPCG(seed, 7)), model: truth.New(), kept: map[uint64]bool{}}
	w.model.Activate()
	for i := range 3 {
		n := &worldNode{world: w, name: fmt.Sprintf("n%d", i+1)}
		n.start(nil, 0)
		w.nodes = append(w.nodes, n)
	}
	return w
}

// start begins a life of the node, with a snapshot or with nothing.
func (n *worldNode) start(snapshot []byte, index int) {
	log := fakelog.New(n.name)
	log.Set(func(s *raft.Status) { s.LastIndex, s.CommitIndex = uint64(index), uint64(index) })
	log.Reading(n.readIndex)
	server := newServerOver(n.world.t, log, func(c *settings) {
		atLevel3(c)
		if snapshot != nil {
			c.Snapshot = io.Reader(bytes.NewReader(snapshot))
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server, n.log, n.delivered = server, log, index
	n.network = pipenet.Serve(n.world.t, port.NewServer(server.http.Handler()), server.port.Listener)
}

// readIndex answers a question for a read index, unless the node is cut off.
func (n *worldNode) readIndex(context.Context) (uint64, error) {
	w := n.world
	w.mu.Lock()
	index := len(w.log)
	w.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return 0, errors.New("the node is cut off")
	}
	return uint64(index), nil
}

// dial connects a Clerk with a node, by its name.
func (w *watchWorld) dial(ctx context.Context, address string) (net.Conn, error) {
	for _, n := range w.nodes {
		if strings.HasPrefix(address, n.name+":") {
			n.mu.Lock()
			network := n.network
			n.mu.Unlock()
			return network.Dial(ctx, address)
		}
	}
	return nil, fmt.Errorf("there is no node at %s", address)
}

// deliver gives the node the next entries of the log.
func (n *worldNode) deliver(entries int) {
	w := n.world
	for i := range entries {
		if i%500 == 499 {
			time.Sleep(time.Millisecond) // the fake's channel has no more room
		}
		w.mu.Lock()
		n.mu.Lock()
		if n.cut || n.delivered == len(w.log) {
			n.mu.Unlock()
			w.mu.Unlock()
			return
		}
		command, log := w.log[n.delivered], n.log
		n.delivered++
		n.mu.Unlock()
		w.mu.Unlock()
		log.Deliver(command)
	}
}

// install gives the node another one's snapshot, if that is ahead.
func (n *worldNode) install(from *worldNode) {
	view := from.server.Machine().Freeze()
	n.mu.Lock()
	defer n.mu.Unlock()
	index := int(view.AppliedIndex())
	if index <= n.delivered {
		return
	}
	n.delivered = index
	n.log.DeliverSnapshot(raft.ApplyMsg{SnapshotValid: true, Snapshot: payloadOf(n.world.t, view), SnapshotTerm: 1, SnapshotIndex: index})
}

// restart ends the node's life, in order or as by a kill, and begins the next one.
func (n *worldNode) restart(inOrder, fromSnapshot bool) {
	if inOrder {
		n.server.EndWatches()
		ctx, cancel := context.WithTimeout(n.world.t.Context(), time.Second)
		n.server.clerks.Drain(ctx)
		cancel()
	}
	n.network.Cut()
	n.server.Close()
	var snapshot []byte
	index := 0
	if fromSnapshot {
		view := n.server.Machine().Freeze()
		snapshot, index = payloadOf(n.world.t, view), int(view.AppliedIndex())
	}
	n.start(snapshot, index)
}

func payloadOf(t *testing.T, view *kv.View) []byte {
	var b bytes.Buffer
	if _, err := view.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// commit puts a command into the log, and does to the model what it means.
func (w *watchWorld) commit(c kv.Command, does func(*truth.Model)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.ID = kv.RequestID{Origin: 99, Number: uint64(len(w.log) + 1)}
	w.log = append(w.log, kv.EncodeCommand(c))
	does(w.model)
	w.kept[w.model.Oldest()] = true
}

// write commits some command at random.
func (w *watchWorld) write() {
	key, value := fmt.Sprintf("%c/%d", 'a'+rune(w.r.IntN(3)), w.r.IntN(8)), fmt.Sprint(w.r.IntN(1000))
	switch n := w.r.IntN(40); {
	case n < 2:
		value = strings.Repeat("x", 30_000)
		fallthrough
	case n < 24:
		w.commit(kv.Command{Op: kv.OpPut, Key: []byte(key), Value: []byte(value)}, func(m *truth.Model) { m.Put(key, value) })
	case n < 39:
		w.commit(kv.Command{Op: kv.OpDelete, Key: []byte(key)}, func(m *truth.Model) { m.Delete(key) })
	case w.r.IntN(3) == 0:
		w.mu.Lock()
		revision := w.model.Revision - min(w.model.Revision, uint64(w.r.IntN(300)))
		w.mu.Unlock()
		w.commit(kv.Forget(revision), func(m *truth.Model) { m.Forget(revision) })
	}
}

// disturb does one thing to the world.
func (w *watchWorld) disturb() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	switch k := w.r.IntN(100); {
	case k < 50:
		for range w.r.IntN(8) {
			w.write()
		}
	case k < 56: // a burst, with more changes than a ring holds, and more than a credit
		for range 150 {
			w.write()
		}
	case k < 60:
		n.mu.Lock()
		n.cut = !n.cut
		n.mu.Unlock()
	case k < 64:
		n.install(w.nodes[w.r.IntN(len(w.nodes))])
	case k < 70:
		n.network.Cut()
	case k < 74:
		n.restart(w.r.IntN(2) == 0, w.r.IntN(2) == 0)
	}
	for _, n := range w.nodes {
		if w.r.IntN(3) > 0 {
			n.deliver(w.r.IntN(200))
		}
	}
}
