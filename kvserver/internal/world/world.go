// Package world is a cluster for tests of what reads a node's history: one log, which is
// the truth, and nodes that apply it at their own pace, are cut off, begun anew and given
// snapshots. It has no clock of its own, so a test can run it in a bubble of virtual time.
package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// pause is how many entries Deliver hands over before it lets the applier take them: the
// fake log's channel holds not many more.
const pause = 500

// World is the log with the model of what it means. Its methods may be called at any time.
type World struct {
	mu    sync.Mutex
	log   [][]byte // committed commands
	model *truth.Model
	kept  map[uint64]bool // every first revision that the history was ever cut at
}

// New returns a world at level 3 whose log is empty.
func New() *World {
	w := &World{model: truth.New(), kept: map[uint64]bool{}}
	w.model.Activate()
	w.kept[w.model.Oldest()] = true
	return w
}

// Commit puts a command into the log, and does to the model what it means.
func (w *World) Commit(c kv.Command, does func(*truth.Model)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.ID = kv.RequestID{Origin: 99, Number: uint64(len(w.log) + 1)}
	w.log = append(w.log, kv.EncodeCommand(c))
	does(w.model)
	w.kept[w.model.Oldest()] = true
}

// Ask calls about with the model behind the whole log, which does not change meanwhile.
func (w *World) Ask(about func(*truth.Model)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	about(w.model)
}

// WasOldest says whether the history ever began at a revision.
func (w *World) WasOldest(revision uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept[revision]
}

// Write commits some command at random: a put, with a value of long bytes at times, an
// append, a delete, or a forget of all but at most the last changes.
func (w *World) Write(r *rand.Rand, long, last int) {
	key, value := fmt.Sprintf("%c/%d", 'a'+rune(r.IntN(3)), r.IntN(8)), fmt.Sprint(r.IntN(1000))
	if r.IntN(20) == 0 {
		value = string(bytes.Repeat([]byte("x"), long))
	}
	switch n := r.IntN(40); {
	case n < 20:
		w.Commit(kv.Command{Op: kv.OpPut, Key: []byte(key), Value: []byte(value)}, func(m *truth.Model) { m.Put(key, value) })
	case n < 28:
		w.Commit(kv.Command{Op: kv.OpAppend, Key: []byte(key), Value: []byte(value)}, func(m *truth.Model) { m.Append(key, value) })
	case n < 39:
		w.Commit(kv.Command{Op: kv.OpDelete, Key: []byte(key)}, func(m *truth.Model) { m.Delete(key) })
	case r.IntN(3) == 0:
		var revision uint64
		w.Ask(func(m *truth.Model) { revision = m.Revision - min(m.Revision, uint64(r.IntN(last))) })
		w.Commit(kv.Forget(revision), func(m *truth.Model) { m.Forget(revision) })
	}
}

// Node is how one node follows the log. Its methods may be called at any time.
type Node struct {
	Name  string
	world *World

	mu        sync.Mutex
	log       *fakelog.Log
	delivered int
	cut       bool
	confirms  []Confirmed
}

// Confirmed is a question for a read index that a node's log answered.
type Confirmed struct {
	Begun    time.Time
	Revision uint64 // of the truth at that index
}

// Node adds a node. Begin begins its first life.
func (w *World) Node(name string) *Node { return &Node{Name: name, world: w} }

// Begin begins a life of the node behind entry index, and returns that life's log.
func (n *Node) Begin(index int) *fakelog.Log {
	log := fakelog.New(n.Name)
	log.Set(func(s *raft.Status) { s.LastIndex, s.CommitIndex = uint64(index), uint64(index) })
	log.Reading(n.readIndex)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log, n.delivered, n.confirms = log, index, nil
	return log
}

// readIndex answers a question for a read index, unless the node is cut off.
func (n *Node) readIndex(context.Context) (uint64, error) {
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
	n.confirms = append(n.confirms, Confirmed{begun, revision})
	return uint64(index), nil
}

// Confirms returns the questions that this life's log answered, oldest first. The log
// adds to what is returned and changes nothing of it.
func (n *Node) Confirms() []Confirmed {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.confirms
}

// SetCut cuts the node off from the others, or joins it to them again.
func (n *Node) SetCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// IsCut says whether the node is cut off.
func (n *Node) IsCut() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut
}

// Deliver gives the node the next entries of the log, up to count of them, unless it is
// cut off.
func (n *Node) Deliver(count int) {
	for i := range count {
		if i%pause == pause-1 {
			time.Sleep(time.Millisecond)
		}
		command, log := n.next()
		if log == nil {
			return
		}
		log.Deliver(command)
	}
}

// DeliverAll joins the node to the others and gives it all that it lacks.
func (n *Node) DeliverAll() {
	n.SetCut(false)
	n.world.mu.Lock()
	all := len(n.world.log)
	n.world.mu.Unlock()
	n.Deliver(all)
}

// next takes the next entry for the node, and returns no log if there is none.
func (n *Node) next() ([]byte, *fakelog.Log) {
	w := n.world
	w.mu.Lock()
	defer w.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut || n.delivered == len(w.log) {
		return nil, nil
	}
	n.delivered++
	return w.log[n.delivered-1], n.log
}

// Install gives the node the snapshot of another node's state, if that is ahead.
func (n *Node) Install(t testing.TB, view *kv.View) {
	n.mu.Lock()
	defer n.mu.Unlock()
	index := int(view.AppliedIndex())
	if index <= n.delivered {
		return
	}
	n.delivered = index
	n.log.DeliverSnapshot(raft.ApplyMsg{SnapshotValid: true, Snapshot: PayloadOf(t, view), SnapshotTerm: 1, SnapshotIndex: index})
}

// PayloadOf returns a state as a snapshot's payload.
func PayloadOf(t testing.TB, view *kv.View) []byte {
	var b bytes.Buffer
	if _, err := view.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
