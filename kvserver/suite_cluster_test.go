package kvserver_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/labrpc"
	"raftkv/raft"
	"raftkv/tests/lab"
)

// cluster is the labs' key/value servers on a network. Its methods belong to
// the test's goroutine, but for those of clients, newClient and partition, which
// nothing else may run at the same time.
type cluster struct {
	*testing.T
	rand         *rand.Rand
	seed         uint64
	wires        *lab.Wiring
	servers      []*server
	maxRaftState int
	history      *lab.History
	trace        *lab.Trace // nil unless asked for
	began        time.Time
	over         atomic.Bool  // clients that still call are ended
	calls        atomic.Int64 // of clients that were answered

	mu      sync.Mutex // guards the field below
	clients int
}

// server is one server over all its lives.
type server struct {
	life      int
	kv        *kvserver.KVServer // nil while it is down
	persister *raft.Persister
	peak      atomic.Int64 // most bytes of Raft's state that were ever saved
}

// measured is a Persister that notes how large what it saves was.
type measured struct {
	*raft.Persister
	peak *atomic.Int64
}

// Save stores state and snapshot as one.
func (m measured) Save(state, snapshot []byte) {
	m.peak.Store(max(m.peak.Load(), int64(len(state))))
	lab.Save(m.Persister, state, snapshot)
}

func newCluster(t *testing.T, s scenario, history *lab.History, trace *lab.Trace) *cluster {
	c := &cluster{T: t, wires: lab.NewWiring(s.servers), maxRaftState: s.maxRaftState, history: history, trace: trace}
	c.rand, c.seed = lab.NewRand()
	c.wires.Seed(c.seed)
	c.wires.Reliable(!s.unreliable)
	t.Cleanup(c.end)
	for i := range s.servers {
		c.servers = append(c.servers, &server{persister: raft.MakePersister()})
		c.wires.SetConnected(i, true)
	}
	for i := range s.servers {
		c.restart(i)
	}
	c.began = time.Now()
	return c
}

func (c *cluster) end() {
	c.over.Store(true)
	for _, s := range c.servers {
		if s.kv != nil {
			s.kv.Kill()
		}
	}
	c.wires.Cleanup()
	if c.Failed() {
		c.Logf("to draw the same chances again: -lab.seed=%d; to see what happened: -lab.trace=failed", c.seed)
	}
}

// restart starts a server that is down.
func (c *cluster) restart(i int) {
	s := c.servers[i]
	s.life++
	c.trace.Note(i, "starts")
	s.kv = kvserver.StartKVServer(c.wires.NewEnds(i, s.life), i, measured{s.persister, &s.peak}, c.maxRaftState)
	c.wires.SetConnected(i, true)
	node := labrpc.MakeServer()
	node.AddService(labrpc.MakeService(s.kv))
	node.AddService(labrpc.MakeService(c.trace.Service(i, s.kv.Raft())))
	c.wires.AddServer(i, node)
}

// crash ends a server as a power cut would.
func (c *cluster) crash(i int) {
	s := c.servers[i]
	c.trace.Note(i, "CRASHED")
	c.wires.SetConnected(i, false)
	c.wires.DeleteServer(i)
	s.persister = s.persister.Copy() // before Kill, whose last writes must not count
	s.kv.Kill()
	s.kv = nil
}

// leader returns a server that claims to lead.
func (c *cluster) leader() int {
	for range 500 {
		for i, s := range c.servers {
			if _, leads := s.kv.Raft().GetState(); leads {
				return i
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatal("no server leads after 5 s")
	return -1
}

// partition splits the servers in two at random.
func (c *cluster) partition() {
	sides := make([]int, len(c.servers))
	for i := range sides {
		sides[i] = c.rand.IntN(2)
	}
	c.split(sides...)
}

// split puts each server on a side and lets it reach those of its own only;
// without sides all reach all.
func (c *cluster) split(sides ...int) {
	if len(sides) == 0 {
		c.trace.All("WHOLE")
	} else {
		c.trace.All(fmt.Sprintf("SPLIT %v", sides))
	}
	c.wires.Partition(sides...)
}

// stateBytes returns the largest state of Raft that a server holds.
func (c *cluster) stateBytes() (most int) {
	for _, s := range c.servers {
		most = max(most, s.persister.RaftStateSize())
	}
	return most
}

// snapshotBytes returns the largest snapshot that a server holds.
func (c *cluster) snapshotBytes() (most int) {
	for _, s := range c.servers {
		most = max(most, len(s.persister.ReadSnapshot()))
	}
	return most
}

// peakBytes returns the largest state of Raft that a server ever saved.
func (c *cluster) peakBytes() (most int64) {
	for _, s := range c.servers {
		most = max(most, s.peak.Load())
	}
	return most
}

// checkSizes holds what is persisted to the limits: twice maxRaftState, or no
// snapshot at all if none was to be taken.
func (c *cluster) checkSizes() {
	c.Helper()
	if c.maxRaftState > 0 && c.stateBytes() > 2*c.maxRaftState {
		c.Fatalf("a server holds %d bytes of Raft's state, more than 2 x %d", c.stateBytes(), c.maxRaftState)
	}
	if c.maxRaftState < 0 && c.snapshotBytes() > 0 {
		c.Fatalf("a server holds a snapshot of %d bytes, and none was to be taken", c.snapshotBytes())
	}
}

// client is a clerk whose calls are noted.
type client struct {
	*cluster
	number int
	clerk  *kvserver.Clerk
}

// newClient returns a client that reaches these servers, all if none is named.
func (c *cluster) newClient(servers ...int) *client {
	c.mu.Lock()
	c.clients++
	cl := &client{cluster: c, number: c.clients}
	c.mu.Unlock()
	ends := make([]clientEnd, 0, len(c.servers))
	for _, i := range c.rand.Perm(len(c.servers)) {
		ends = append(ends, clientEnd{c.wires.MakeEnd(cl.end(i)), &c.over})
		c.wires.Network.Connect(cl.end(i), i)
	}
	cl.clerk = kvserver.MakeClerk(ends)
	cl.reach(servers...)
	return cl
}

// reach lets the client reach these servers and no others; all if none is named.
func (cl *client) reach(servers ...int) {
	for i := range cl.servers {
		cl.wires.Enable(cl.end(i), len(servers) == 0 || slices.Contains(servers, i))
	}
}

// end is the name of the client's end that leads to a server.
func (cl *client) end(server int) string { return fmt.Sprintf("client %d-%d", cl.number, server) }

// clientEnd is an end that ends the goroutines of clients that still call when
// the test is over.
type clientEnd struct {
	*labrpc.ClientEnd
	over *atomic.Bool
}

// Call makes a call.
func (e clientEnd) Call(method string, args, reply interface{}) bool {
	if e.over.Load() {
		runtime.Goexit()
	}
	return e.ClientEnd.Call(method, args, reply)
}

func (cl *client) get(key string) string {
	end := cl.history.Begin(cl.number, lab.Call{Key: key, Kind: lab.Get})
	value := cl.clerk.Get(key)
	cl.calls.Add(1)
	end(lab.Answer{Value: value})
	return value
}

func (cl *client) put(key, value string) {
	end := cl.history.Begin(cl.number, lab.Call{Key: key, Kind: lab.Put, Value: value})
	cl.clerk.Put(key, value)
	cl.calls.Add(1)
	end(lab.Answer{})
}

func (cl *client) append(key, value string) {
	end := cl.history.Begin(cl.number, lab.Call{Key: key, Kind: lab.Append, Value: value})
	cl.clerk.Append(key, value)
	cl.calls.Add(1)
	end(lab.Answer{})
}

// wantValue reads a key and compares.
func (cl *client) wantValue(key, want string) {
	cl.Helper()
	if got := cl.get(key); got != want {
		cl.Fatalf("get %q gave %q, want %q", key, got, want)
	}
}
