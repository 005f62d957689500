package kvserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// watchWorld is a cluster as watches see it: one log, which is the truth, and nodes that
// apply it at their own pace, are cut off, restarted and given snapshots. It runs in a
// bubble of virtual time.
type watchWorld struct {
	t *testing.T
	r *rand.Rand

	mu    sync.Mutex
	log   [][]byte       // committed commands
	model *truth.Model   // behind the whole log
	at    []uint64       // revision behind each entry
	kept  map[int64]bool // every first revision that the history was ever cut at
	nodes []*watchNode
	wg    sync.WaitGroup
}

// watchNode is one node of the world.
type watchNode struct {
	world *watchWorld
	name  string

	mu        sync.Mutex
	server    *Server
	log       *fakelog.Log
	delivered int
	cut       bool
	lives     int
	confirms  []confirmed // successful questions for a read index, of this life
}

// confirmed is a question for a read index that was answered.
type confirmed struct {
	begun    time.Time
	revision uint64 // of the truth at that index
}

func newWatchWorld(t *testing.T, seed uint64, nodes int) *watchWorld {
	w := &watchWorld{t: t, r: rand.New(rand.NewPCG(seed, 99)), model: truth.New(), kept: map[int64]bool{-1: true}}
	w.model.Activate()
	for i := range nodes {
		n := &watchNode{world: w, name: fmt.Sprintf("n%d", i+1)}
		n.start(nil, 0)
		w.nodes = append(w.nodes, n)
	}
	return w
}

// start begins a life of the node, with a snapshot or with nothing.
func (n *watchNode) start(snapshot []byte, index int) {
	log := fakelog.New(n.name)
	log.Set(func(s *raft.Status) { s.LastIndex, s.CommitIndex = uint64(index), uint64(index) })
	log.Reading(n.readIndex)
	var from io.Reader
	if snapshot != nil {
		from = bytes.NewReader(snapshot)
	}
	server, err := New(Config{
		NodeID: n.name, ClusterID: "c1", Consensus: log, ApplyCh: log.ApplyCh, Snapshot: from, Level: kv.LevelHistory,
		ClientAddr: func(string) string { return "" }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		n.world.t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server, n.log, n.delivered, n.confirms = server, log, index, nil
	n.lives++
}

// readIndex answers a question for a read index, unless the node is cut off.
func (n *watchNode) readIndex(context.Context) (uint64, error) {
	begun := time.Now()
	w := n.world
	w.mu.Lock()
	index, revision := len(w.log), w.model.Revision
	w.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return 0, errors.New("the node is cut off")
	}
	n.confirms = append(n.confirms, confirmed{begun, revision})
	return uint64(index), nil
}

// now returns the server and the life it is in.
func (n *watchNode) now() (*Server, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server, n.lives
}

// deliver gives the node the next entries of the log.
func (n *watchNode) deliver(entries int) {
	w := n.world
	for i := range entries {
		if i%1000 == 999 {
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
func (n *watchNode) install(from *watchNode) {
	server, _ := from.now()
	view := server.Machine().Freeze()
	n.mu.Lock()
	defer n.mu.Unlock()
	index := int(view.AppliedIndex())
	if index <= n.delivered {
		return
	}
	n.delivered = index
	n.log.DeliverSnapshot(raft.ApplyMsg{SnapshotValid: true, Snapshot: payloadOf(n.world.t, view), SnapshotTerm: 1, SnapshotIndex: index})
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
	n.start(payloadOf(n.world.t, view), int(view.AppliedIndex()))
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
	w.at = append(w.at, w.model.Revision)
	w.kept[w.model.Compacted] = true
}

// write commits some command at random.
func (w *watchWorld) write() {
	key := fmt.Sprintf("%c/%d", 'a'+rune(w.r.IntN(3)), w.r.IntN(8))
	value := fmt.Sprintf("%d", w.r.IntN(1000))
	if w.r.IntN(20) == 0 {
		value = string(bytes.Repeat([]byte("x"), 10_000))
	}
	switch n := w.r.IntN(40); {
	case n < 20:
		w.commit(kv.Command{Op: kv.OpPut, Key: []byte(key), Value: []byte(value)}, func(m *truth.Model) { m.Put(key, value) })
	case n < 28:
		w.commit(kv.Command{Op: kv.OpAppend, Key: []byte(key), Value: []byte(value)}, func(m *truth.Model) { m.Append(key, value) })
	case n < 39:
		w.commit(kv.Command{Op: kv.OpDelete, Key: []byte(key)}, func(m *truth.Model) { m.Delete(key) })
	case w.r.IntN(3) == 0:
		w.mu.Lock()
		revision := w.model.Revision - min(w.model.Revision, uint64(w.r.IntN(150)))
		w.mu.Unlock()
		w.commit(kv.Forget(revision), func(m *truth.Model) { m.Forget(revision) })
	}
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
