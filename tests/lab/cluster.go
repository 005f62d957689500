package lab

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"raftkv/labrpc"
	"raftkv/raft"
)

// Options say what a scenario runs on.
type Options struct {
	Servers    int
	Unreliable bool // the network loses and delays
	Snapshots  bool // every tenth entry delivered is followed by a snapshot
}

// Cluster is a number of servers, numbered from 0, on a network. Methods that
// change the cluster, and those that check it, belong to the test's goroutine;
// Start, State, TryAgree, Committed, Connected and Fail are safe for concurrent
// use.
type Cluster struct {
	Rand *rand.Rand // the scenario's chances; safe for concurrent use

	t       testing.TB
	options Options
	seed    uint64
	wires   *Wiring
	trace   *Trace // nil unless asked for
	began   time.Time

	mu         sync.Mutex // guards what follows
	servers    []*server
	chosen     []interface{} // chosen[i-1]: the command that the first server to deliver index i delivered
	failure    string        // the first thing found wrong outside the test's goroutine
	agreements int
}

// server is one member of a cluster over all its lives.
type server struct {
	life      int             // how many times it was started
	rf        *raft.Raft      // nil while it is down
	persister *raft.Persister // the present life's, or what the last one left
	applied   []interface{}   // applied[i-1]: what it delivered, or was restored, at index i
	held      chan struct{}   // not nil: its service takes nothing until this is closed
}

// NewCluster starts the servers of a cluster, all connected. They are killed
// when the test ends.
func NewCluster(t testing.TB, options Options) *Cluster {
	c := &Cluster{t: t, options: options, wires: NewWiring(options.Servers)}
	c.Rand, c.seed = NewRand()
	c.trace = NewTrace(options.Servers)
	c.wires.Seed(c.seed)
	c.wires.LongDelays(true)
	c.wires.Reliable(!options.Unreliable)
	c.servers = make([]*server, options.Servers)
	t.Cleanup(c.end)
	for i := range c.servers {
		c.servers[i] = &server{persister: raft.MakePersister()}
	}
	for i := range c.servers {
		c.Restart(i)
		c.Connect(i)
	}
	c.began = time.Now()
	return c
}

// end kills everything, and says how to see the run again if it failed.
func (c *Cluster) end() {
	for i := range c.servers {
		c.Release(i)
		if rf := c.raft(i); rf != nil {
			rf.Kill()
		}
	}
	c.wires.Cleanup()
	if c.t.Failed() {
		c.t.Logf("lab: to draw the same chances again: -lab.seed=%d; to see what happened: -lab.trace=failed", c.seed)
	}
	c.trace.Print(c.t)
}

// Servers returns the number of servers.
func (c *Cluster) Servers() int { return c.options.Servers }

// Connect puts a server on the network.
func (c *Cluster) Connect(i int) {
	c.trace.Note(i, "connected")
	c.wires.SetConnected(i, true)
}

// Disconnect cuts a server off.
func (c *Cluster) Disconnect(i int) {
	c.trace.Note(i, "CUT OFF")
	c.wires.SetConnected(i, false)
}

// Connected reports whether a server is on the network, running or not.
func (c *Cluster) Connected(i int) bool { return c.wires.Connected(i) }

// SetUnreliable switches loss and short delays on or off.
func (c *Cluster) SetUnreliable(yes bool) { c.wires.Reliable(!yes) }

// SetReordering switches replies that come late on or off.
func (c *Cluster) SetReordering(yes bool) { c.wires.LongReordering(yes) }

// Crash ends a server as a power cut would: what its persister held at this
// moment is all that is left. A server that is down stays so.
func (c *Cluster) Crash(i int) {
	c.trace.Note(i, "CRASHED")
	c.wires.SetConnected(i, false)
	c.wires.DeleteServer(i)
	c.mu.Lock()
	s := c.servers[i]
	rf := s.rf
	s.rf = nil
	s.persister = s.persister.Copy() // before Kill, whose last writes must not count
	c.mu.Unlock()
	if rf != nil {
		rf.Kill()
	}
}

// Restart starts a server, crashing it first if it runs. It is not connected
// thereby.
func (c *Cluster) Restart(i int) {
	if c.Running(i) {
		c.Crash(i)
	}
	s := c.servers[i]
	persister := s.persister.Copy()
	applied, err := restored(persister.ReadSnapshot())
	if err != nil {
		c.Fatalf("server %d cannot be restarted: %v", i, err)
	}
	c.mu.Lock()
	s.life++
	s.persister = persister
	s.applied = applied
	life := s.life
	c.mu.Unlock()

	c.trace.restarted(i, len(applied))
	ends := c.wires.NewEnds(i, life)
	applyCh := make(chan raft.ApplyMsg)
	rf := raft.Make(ends, i, persister, applyCh)
	c.mu.Lock()
	s.rf = rf
	c.mu.Unlock()
	go (&applier{cluster: c, server: i, rf: rf}).run(applyCh)

	node := labrpc.MakeServer()
	node.AddService(labrpc.MakeService(c.trace.Service(i, rf)))
	c.wires.AddServer(i, node)
}

// Hold makes a server's service take nothing more from its applyCh until Release.
func (c *Cluster) Hold(i int) {
	c.trace.Note(i, "service held")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[i].held = make(chan struct{})
}

// Release ends Hold, if it was called.
func (c *Cluster) Release(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.servers[i]; s.held != nil {
		close(s.held)
		s.held = nil
	}
}

func (c *Cluster) heldBy(i int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers[i].held
}

// Running reports whether a server is up, connected or not.
func (c *Cluster) Running(i int) bool { return c.raft(i) != nil }

func (c *Cluster) raft(i int) *raft.Raft {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers[i].rf
}

// Start gives a command to one server; see raft.Raft.Start. A server that is
// down is no leader.
func (c *Cluster) Start(i int, command interface{}) (index, term int, isLeader bool) {
	rf := c.raft(i)
	if rf == nil {
		return -1, -1, false
	}
	index, term, isLeader = rf.Start(command)
	if isLeader {
		c.trace.started(i, index, term)
	}
	return index, term, isLeader
}

// State returns a server's term and whether it claims to lead.
func (c *Cluster) State(i int) (term int, isLeader bool) {
	rf := c.raft(i)
	if rf == nil {
		return 0, false
	}
	return rf.GetState()
}

// StateBytes returns the largest state that a server has stored, without its
// snapshot.
func (c *Cluster) StateBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	largest := 0
	for _, s := range c.servers {
		largest = max(largest, s.persister.RaftStateSize())
	}
	return largest
}

// Requests returns how many requests reached the servers' handlers.
func (c *Cluster) Requests() int {
	n := 0
	for i := range c.servers {
		n += c.wires.GetCount(i)
	}
	return n
}

// Bytes returns how much has gone over the network.
func (c *Cluster) Bytes() int64 { return c.wires.GetTotalBytes() }

// Text returns a random string.
func (c *Cluster) Text(length int) string {
	b := make([]byte, length)
	for i := range b {
		b[i] = byte('a' + c.Rand.IntN(26))
	}
	return string(b)
}

// Command returns a random command that is unlikely to be drawn twice.
func (c *Cluster) Command() int { return int(c.Rand.Uint32()) }

// Sleep lets time pass.
func (c *Cluster) Sleep(d time.Duration) {
	time.Sleep(d)
	c.check()
}

// Fail records that something is wrong: the test ends at its next check.
func (c *Cluster) Fail(format string, args ...interface{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == "" {
		c.failure = fmt.Sprintf(format, args...)
	}
}

// Fatalf ends the test.
func (c *Cluster) Fatalf(format string, args ...interface{}) {
	c.t.Helper()
	c.trace.All("FAILED: " + fmt.Sprintf(format, args...))
	c.t.Fatalf(format, args...)
}

// failed reports whether something was found wrong.
func (c *Cluster) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure != ""
}

// check ends the test if something was found wrong in the meantime.
func (c *Cluster) check() {
	c.t.Helper()
	c.mu.Lock()
	failure := c.failure
	c.mu.Unlock()
	if failure != "" {
		c.Fatalf("%s", failure)
	}
}
