package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// network is an in-memory Transport for several nodes: in order per pair,
// instant, and cut where a test says so.
type network struct {
	mu    sync.Mutex
	sent  func(core.Call) // if not nil, is told every call; called under mu
	nodes map[core.ID]*Node
	cut   map[core.ID]bool
	disks map[core.ID]*disk
}

// link is one node's end of the network.
type link struct {
	network *network
	self    core.ID
}

func (l link) Send(call core.Call, done func(core.Call, core.Reply)) {
	l.network.mu.Lock()
	to := l.network.nodes[call.To]
	if l.network.cut[l.self] || l.network.cut[call.To] {
		to = nil
	}
	if l.network.sent != nil {
		l.network.sent(call)
	}
	l.network.mu.Unlock()
	if to == nil {
		done(call, nil)
		return
	}
	l.network.bringSnapshot(l.self, call)
	to.Receive(l.self, call.Request, func(reply core.Reply) { done(call, reply) })
}

func (n *network) isolate(id core.ID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[id] = cut
}

// disk is a Storage in memory that keeps what was saved.
type disk struct {
	mu     sync.Mutex
	state  core.State
	fail   error
	closed bool
	before func() // if not nil, called by Save before anything else
	snapshots
}

func (d *disk) Save(w *core.Write) error {
	d.mu.Lock()
	before := d.before
	d.mu.Unlock()
	if before != nil {
		before()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	d.state.Term, d.state.VotedFor = w.Term, w.VotedFor
	base := d.state.Snapshot.Index
	if s := w.Snapshot; s != nil {
		if !d.has(s.Index) {
			return fmt.Errorf("there is no snapshot at %d to record", s.Index)
		}
		d.state.Entries = d.state.Entries[min(s.Index-base, uint64(len(d.state.Entries))):]
		d.state.Snapshot, base = *s, s.Index
	}
	if w.From != 0 {
		keep := w.From - base - 1
		d.state.Entries = append(d.state.Entries[:keep:keep], w.Entries...)
	}
	return nil
}

// snapshot returns the snapshot that the disk has recorded.
func (d *disk) snapshot() core.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Snapshot
}

func (d *disk) Close() error {
	d.closed = true
	return nil
}

// machine is a Service that remembers what was delivered.
type machine struct {
	mu       sync.Mutex
	applied  []core.Entry // behind the last snapshot that was delivered
	restored []uint64     // where the snapshots stood that were delivered
	closed   bool
	block    chan struct{} // if not nil, deliveries wait for it
	heard    func([]byte)  // if not nil, is told every command that is delivered
}

func (m *machine) Deliver(batch *core.Batch, stop <-chan struct{}) bool {
	m.mu.Lock()
	block := m.block
	m.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-stop:
			return false
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if batch.Snapshot != nil {
		m.applied = nil
		m.restored = append(m.restored, batch.Snapshot.Index)
	}
	m.applied = append(m.applied, batch.Entries...)
	for i := range batch.Entries {
		if m.heard != nil && batch.Entries[i].Kind == core.KindCommand {
			m.heard(batch.Entries[i].Data)
		}
	}
	return true
}

func (m *machine) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

func (m *machine) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func (m *machine) commands() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, e := range m.applied {
		if e.Kind == core.KindCommand {
			all = append(all, string(e.Data))
		}
	}
	return all
}

type cluster struct {
	t        *testing.T
	network  *network
	ids      []core.ID
	disks    map[core.ID]*disk
	machines map[core.ID]*machine
	change   func(*Config)
}

func newCluster(t *testing.T, n int, change ...func(*Config)) *cluster {
	c := &cluster{
		t: t,
		change: func(config *Config) {
			for _, f := range change {
				f(config)
			}
		},
		network: &network{nodes: map[core.ID]*Node{}, cut: map[core.ID]bool{}},
		disks:   map[core.ID]*disk{}, machines: map[core.ID]*machine{},
	}
	for i := range n {
		id := core.ID(fmt.Sprintf("n%d", i+1))
		c.ids = append(c.ids, id)
		c.disks[id], c.machines[id] = &disk{}, &machine{}
	}
	c.network.disks = c.disks
	for i := range c.ids {
		c.start(i)
	}
	return c
}

func (c *cluster) start(i int) {
	id := c.ids[i]
	config := Config{
		TickInterval: 10 * time.Millisecond,
		Core: core.Config{
			ID: id, Peers: c.ids, ElectionTicks: 30, HeartbeatTicks: 5,
			PreVote: true, CheckQuorum: true, Noop: true, Rand: rand.New(rand.NewPCG(uint64(i), 3)),
		},
	}
	c.change(&config)
	node := Start(config, c.disks[id].state, c.disks[id], link{c.network, id}, c.machines[id])
	c.network.mu.Lock()
	c.network.nodes[id] = node
	c.network.mu.Unlock()
}

func (c *cluster) node(id core.ID) *Node {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	return c.network.nodes[id]
}

// leader waits until exactly one of the servers that are not cut off leads.
func (c *cluster) leader() core.ID {
	c.t.Helper()
	for range 1000 {
		time.Sleep(10 * time.Millisecond)
		found := core.None
		for _, id := range c.ids {
			if s := c.node(id).Status(); s.Role == core.Leader && !c.network.cut[id] {
				found = id
			}
		}
		if found != core.None {
			return found
		}
	}
	c.t.Fatal("no leader in 10 s")
	return core.None
}

func (c *cluster) stop() {
	for _, id := range c.ids {
		c.node(id).Stop()
	}
	for _, id := range c.ids {
		_ = c.node(id).Wait()
	}
}

// propose returns a channel with the proposal's failure.
func propose(n *Node, command string) (placed, failed chan error) {
	placed, failed = make(chan error, 1), make(chan error, 1)
	n.Propose(&Proposal{
		Command: []byte(command),
		Placed:  func(uint64, uint64) { placed <- nil },
		Failed:  func(err error) { failed <- err },
	})
	return placed, failed
}

// Goal: the three doors, end to end. Commands proposed at the leader come out
// of every server's service in one order.
func TestCommandsComeOutEverywhereInOneOrder(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.node(c.leader())
		for i := range 100 {
			propose(leader, fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		want := c.machines[c.ids[0]].commands()
		if len(want) != 100 {
			t.Fatalf("%d commands applied, not 100", len(want))
		}
		for _, id := range c.ids {
			if got := c.machines[id].commands(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s applied %v, %s applied %v", id, got, c.ids[0], want)
			}
		}
	})
}

// Goal: a proposal of a deposed leader ends as lost, exactly when another
// entry is committed at its index, and never before.
func TestProposalOfADeposedLeaderIsLostOnlyWhenItsPlaceIsTaken(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		old := c.leader()
		c.network.isolate(old, true)
		placed, failed := propose(c.node(old), "doomed")
		<-placed
		next := c.leader()
		propose(c.node(next), "kept")
		time.Sleep(5 * time.Second) // the old leader has stepped down by now
		select {
		case err := <-failed:
			t.Fatalf("failed with %v while nobody could know", err)
		default:
		}
		c.network.isolate(old, false)
		time.Sleep(time.Second)
		select {
		case err := <-failed:
			if !errors.Is(err, ErrLost) {
				t.Fatalf("failed with %v", err)
			}
		default:
			t.Fatal("not told that it was lost")
		}
		if got := c.machines[old].commands(); fmt.Sprint(got) != "[kept]" {
			t.Fatalf("applied %v", got)
		}
	})
}

// Goal: after a failed write a node acknowledges nothing, says why it ended,
// and leaves nobody waiting.
func TestFailedWriteEndsTheNode(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		id := c.leader()
		broken := errors.New("input/output error")
		c.disks[id].mu.Lock()
		c.disks[id].fail = broken
		c.disks[id].mu.Unlock()
		n := c.node(id)
		_, failed := propose(n, "x")
		select {
		case <-n.Stopping():
		case <-time.After(time.Minute):
			t.Fatal("a minute after its disk has failed the node goes on")
		}
		if err := n.Wait(); !errors.Is(err, broken) {
			t.Fatalf("ended with %v", err)
		}
		select {
		case err := <-failed:
			if !errors.Is(err, ErrStopped) {
				t.Fatalf("proposal ended with %v", err)
			}
		default:
			// The followers' disks alone were a majority: it was chosen before the
			// leader's own disk failed. If the end came before it was delivered, the
			// end of deliveries is all that its proposer hears.
			m := c.machines[id]
			if got := m.commands(); fmt.Sprint(got) != "[x]" && !(len(got) == 0 && m.isClosed()) {
				t.Fatalf("the proposal neither failed nor was it applied: %v", got)
			}
		}
		if _, err := n.ReadIndex(context.Background()); !errors.Is(err, ErrStopped) {
			t.Fatalf("read ended with %v", err)
		}
		_, failed = propose(n, "y")
		select {
		case err := <-failed:
			if !errors.Is(err, ErrStopped) {
				t.Fatalf("a stopped node ends a proposal with %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a stopped node leaves a proposal waiting")
		}
		if !c.machines[id].closed || !c.disks[id].closed {
			t.Fatal("service or storage not closed")
		}
	})
}

// Goal: a read's index covers every write acknowledged before it, on leader
// and follower; a leader that is cut off gives none.
func TestReadIndexOnLeaderFollowerAndDeposedLeader(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.leader()
		propose(c.node(leader), "x")
		time.Sleep(100 * time.Millisecond)
		want := c.node(leader).Status().CommitIndex
		for _, id := range c.ids {
			index, err := c.node(id).ReadIndex(t.Context())
			if err != nil || index < want {
				t.Fatalf("%s: index %d, %v; want at least %d", id, index, err, want)
			}
		}
		c.network.isolate(leader, true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if index, err := c.node(leader).ReadIndex(ctx); err == nil {
			t.Fatalf("a leader without a majority gave index %d", index)
		}
	})
}

// Goal: a transfer moves leadership at once and refuses proposals meanwhile;
// one to a dead server is given up and the leader leads on.
func TestTransfer(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		old := c.leader()
		start := time.Now()
		if err := c.node(old).Transfer(t.Context(), core.None); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 20*time.Millisecond {
			t.Errorf("the transfer took %v", took)
		}
		next := c.leader()
		if next == old {
			t.Fatal("the old leader still leads")
		}
		if err := c.node(old).Transfer(t.Context(), next); !errors.Is(err, core.ErrNotLeader) {
			t.Fatalf("a follower's transfer ended with %v", err)
		}
		c.network.isolate(old, true)
		if err := c.node(next).Transfer(t.Context(), old); !errors.Is(err, ErrTransferFailed) {
			t.Fatalf("a transfer to a dead server ended with %v", err)
		}
		if c.leader() != next {
			t.Fatal("the leader does not lead on")
		}
	})
}

// Goal: losing the connection to a dead leader replaces it in a few ticks,
// not in an election timeout.
func TestSuspicionReplacesADeadLeaderInTensOfMilliseconds(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		old := c.leader()
		time.Sleep(time.Second)
		c.network.isolate(old, true)
		start := time.Now()
		for _, id := range c.ids {
			c.node(id).Suspect(old)
		}
		c.leader()
		if took := time.Since(start); took > 60*time.Millisecond {
			t.Errorf("a new leader took %v", took)
		}
	})
}

// Goal: an applier whose service takes nothing holds up neither elections nor
// the end of the node.
func TestStuckServiceHoldsNobodyUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		id := c.leader()
		term := c.node(id).Status().Term
		c.machines[id].mu.Lock()
		c.machines[id].block = make(chan struct{})
		c.machines[id].mu.Unlock()
		propose(c.node(id), "x")
		propose(c.node(id), "y")
		time.Sleep(10 * time.Second)
		if s := c.node(id).Status(); s.Term != term || s.Role != core.Leader {
			t.Fatalf("leadership was lost: %+v", s)
		}
	})
}

// Goal: a cluster whose nodes all stop and start again has lost nothing.
func TestRestartKeepsWhatWasSaved(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		leader := c.leader()
		for i := range 10 {
			propose(c.node(leader), fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		c.stop()
		for i, id := range c.ids {
			c.machines[id] = &machine{}
			c.start(i)
		}
		defer c.stop()
		c.leader()
		time.Sleep(time.Second)
		for _, id := range c.ids {
			if got := c.machines[id].commands(); len(got) != 10 {
				t.Fatalf("%s has %v after the restart", id, got)
			}
		}
	})
}
