package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/raft/core"
)

// Storage is a server's disk. Its methods are called by one goroutine.
type Storage interface {
	// Save makes a write durable before it returns. Any error ends the node: it is
	// then no longer known what the disk holds.
	Save(*core.Write) error
	// Close is called once, after the last Save.
	Close() error
}

// Preparer is a Storage that has slow work which can be done ahead, such as
// writing the next file full of zeros.
type Preparer interface {
	// Prepare does what there is to do. It is called by a goroutine of its own, also
	// while Save runs. An error ends the node.
	Prepare() error
	// Wanted holds a token when Prepare should be called.
	Wanted() <-chan struct{}
}

// Transport carries calls to peers.
type Transport interface {
	// Send never blocks. done is called at most once, from any goroutine, also
	// before Send returns: with the reply, or with nil if the call was lost.
	Send(call core.Call, done func(core.Call, core.Reply))
}

// Fencer is a Transport that can refuse to talk to a peer's data directory ever
// again. Fence never blocks.
type Fencer interface {
	Fence(peer core.ID)
}

// Service takes what is committed. Its methods are called by one goroutine.
type Service interface {
	// Deliver hands over a batch, in order, and returns when all of it has been
	// taken, or false if stop was closed first.
	Deliver(batch *core.Batch, stop <-chan struct{}) bool
	// Close says that nothing more will be delivered.
	Close()
}

// Config is fixed for the life of a Node.
type Config struct {
	Core core.Config
	// TickInterval is the length of a tick. A loop that was held up drops the
	// ticks it missed.
	TickInterval time.Duration
	// Gather is how long the first proposal of a batch waits for more, so that
	// proposals made at the same moment share their messages and their write. 0
	// means that it does not wait; a batch is then what came while the loop was
	// busy.
	Gather time.Duration
	// Observer, if not nil, is told what the node does.
	Observer Observer
	// OnUID, if not nil, is called once, when the cluster's UID is known to be
	// committed, which may be at start. It is called on the loop and must not block.
	OnUID func(core.UID)
	// OnConfiguration, if not nil, is called whenever the configuration in force or the
	// newest committed one has changed, and at start if there is a record. It is called on
	// the loop, before the messages of the turn leave, and must not block.
	OnConfiguration func(core.Configurations)
}

// Node runs one replica. All methods are safe for concurrent use.
type Node struct {
	config    Config
	replica   *Replica
	transport Transport
	storage   Storage
	service   Service // nil if the service receives from batches itself
	inbox     *inbox
	writes    chan *core.Write // never full: the core has one write outstanding at most
	batches   chan Batch       // never full: the core has one batch outstanding at most
	returned  func(core.Call, core.Reply)
	published atomic.Pointer[Status]
	contacts  map[core.ID]time.Time // loop only: when each peer last replied
	reasons   map[string]bool       // loop only: why this server would rather not lead
	transfers []func(error)         // loop only: called when the present transfer of leadership ends
	lastIndex uint64                // loop only: end of the log at the last turn, if it is observed
	delivered delivered             // loop only
	uidKnown  bool                  // loop only: OnUID was called
	restless  int                   // loop only: ticks until the loop may sleep through some
	unseen    bool                  // loop only: something happened that the published status may not show
	sample    sample                // loop only
	committed uint64                // loop only: commit index at the last turn, if it is observed
	advanced  time.Time             // loop only: when it was last raised, or the start
	writing   gate                  // open while snapshots may be written; the storage is closed after it

	stopOnce sync.Once
	stop     chan struct{} // closed to end everything
	running  sync.WaitGroup
	wanted   chan struct{} // see SnapshotWanted
	finished chan struct{} // closed when everything has ended
	err      error         // why the node failed, nil if it did not; written before stop is closed
}

// Start runs a replica that continues from state, which must be what storage
// holds.
func Start(config Config, state core.State, storage Storage, transport Transport, service Service) *Node {
	n := newNode(config, state, storage, transport, make(chan Batch, 1))
	n.service = service
	n.running.Go(n.apply)
	n.run()
	return n
}

// newNode returns a node whose goroutines are still to be started.
func newNode(config Config, state core.State, storage Storage, transport Transport, batches chan Batch) *Node {
	n := &Node{
		config:    config,
		replica:   NewReplica(config.Core, state),
		transport: transport,
		storage:   storage,
		inbox:     newInbox(),
		writes:    make(chan *core.Write, 1),
		batches:   batches,
		contacts:  map[core.ID]time.Time{},
		reasons:   map[string]bool{},
		stop:      make(chan struct{}),
		wanted:    make(chan struct{}, 1),
		finished:  make(chan struct{}),
		advanced:  time.Now(),
	}
	n.returned = func(call core.Call, reply core.Reply) {
		n.inbox.post(event{kind: eventReturned, call: call, reply: reply})
	}
	n.delivered.begin(state.Snapshot)
	n.publish()
	return n
}

// run starts the loop and what serves it.
func (n *Node) run() {
	n.running.Go(n.loop)
	n.running.Go(n.write)
	if p, ok := n.storage.(Preparer); ok {
		n.running.Go(func() { n.prepare(p) })
	}
	go func() {
		n.running.Wait()
		n.writing.close()
		if err := n.storage.Close(); err != nil && n.err == nil {
			n.err = fmt.Errorf("closing the storage: %w", err)
		}
		close(n.finished)
	}()
}

// Propose puts a command on its way into the log. The proposal's functions are
// told what becomes of it. Propose never blocks.
func (n *Node) Propose(p *Proposal) {
	if e := (event{kind: eventPropose, proposal: p}); !n.inbox.post(e) {
		e.discard()
	}
}

// Reconfigure begins a change of the members. The functions of the change are told
// what becomes of it, on the loop; see Reconfiguration. Reconfigure never blocks.
func (n *Node) Reconfigure(c *Reconfiguration) {
	stopped := func() { c.proposal().fail(ErrStopped) }
	if !n.post(func() { n.replica.Reconfigure(c) }, stopped) {
		stopped()
	}
}

// ReadIndex returns an index such that a read of a state machine that has
// applied everything up to it is linearizable: it sees all writes that were
// acknowledged before ReadIndex was called. It needs a leader, here or
// elsewhere, that a majority still follows. Errors: core.ErrNotLeader,
// ErrStopped, the context's. A read may always be asked again.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	type result struct {
		index uint64
		err   error
	}
	results := make(chan result, 1)
	e := event{kind: eventRead, read: func(index uint64, err error) { results <- result{index, err} }}
	if !n.inbox.post(e) {
		return 0, ErrStopped
	}
	select {
	case r := <-results:
		return r.index, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Receive takes a peer's request. answer is called at most once, on the loop, and
// must not block. Receive never blocks.
func (n *Node) Receive(from core.ID, request core.Request, answer func(core.Reply)) {
	n.inbox.post(event{kind: eventReceive, from: from, request: request, answer: answer})
}

// Compact lets a snapshot of the service stand for the log up to index. The service
// must have been delivered everything up to there. Compact never blocks.
func (n *Node) Compact(index uint64, data []byte) {
	n.compact(core.Snapshot{Index: index, Data: data})
}

// Suspect tells the core that the connection to a peer was ended by the peer's side;
// see core.Raft.Suspect. It never blocks.
func (n *Node) Suspect(peer core.ID) { n.post(func() { n.replica.Suspect(peer) }, nil) }

// Fail begins to end the node because its service cannot go on; Wait returns err.
func (n *Node) Fail(err error) { n.end(err) }

// Stop begins to end the node and returns at once; see Wait.
func (n *Node) Stop() { n.end(nil) }

// Wait returns when all of the node's goroutines have ended and its storage is
// closed: nil after Stop, else why it failed.
func (n *Node) Wait() error {
	<-n.finished
	return n.err
}

// Stopping is closed when the node begins to end, by Stop or by a failure.
func (n *Node) Stopping() <-chan struct{} { return n.stop }

func (n *Node) end(err error) {
	n.stopOnce.Do(func() {
		n.err = err
		close(n.stop)
	})
}

// loop owns the replica. It never waits for anything but the inbox and time.
func (n *Node) loop() {
	clock := newClock(n.config)
	defer clock.timer.Stop()
	defer close(n.batches)
	defer n.finish()
	var events []event
	defer func() { n.endIfFailed(recover(), events) }()
	n.announceUID()
	var gathered <-chan time.Time // ends the wait for more proposals; nil if there is none
	for {
		clock.sleep(n.due())
		select {
		case <-n.stop:
			return
		case <-clock.timer.C:
			clock.wakes = time.Time{}
		case <-gathered:
			gathered = nil
		case <-n.inbox.bell:
		}
		ticks, uncounted := clock.passed(time.Now())
		n.observeLate(uncounted)
		n.tick(ticks)
		events = n.inbox.take(events)
		for i := range events {
			if events[i].kind == eventPropose && gathered == nil && n.config.Gather > 0 {
				gathered = time.After(n.config.Gather)
			}
			n.handle(&events[i])
			events[i] = event{}
		}
		events = events[:0]
		select {
		case <-n.stop: // after the disk has failed, no message may leave
			return
		default:
		}
		if gathered == nil {
			n.flush()
		} else {
			n.announce()
		}
		if ticks > 0 {
			n.publish()
		}
	}
}

// endIfFailed ends the node with a sentence if the core has found that two histories
// have met, which is for people to decide, or that the memory of this machine is
// damaged. Neither is a mistake of the program, so any other panic goes on. The events
// that the turn did not come to are discarded.
func (n *Node) endIfFailed(failed any, events []event) {
	switch v := failed.(type) {
	case nil:
		return
	case *core.Broken:
		n.end(v)
	case *core.DamageError:
		n.end(v)
	default:
		panic(v)
	}
	for i := range events {
		events[i].discard()
	}
}

// flush hands the turn's work out through its three doors.
func (n *Node) flush() {
	work := n.replica.Ready()
	n.observeNotes(work.Notes)
	if f, ok := n.transport.(Fencer); ok {
		for _, peer := range work.Forgot {
			f.Fence(peer)
		}
	}
	if work.Configuration != nil && n.config.OnConfiguration != nil {
		n.config.OnConfiguration(*work.Configuration)
	}
	for _, call := range work.Calls {
		n.transport.Send(call, n.returned)
	}
	if work.Write != nil {
		n.writes <- work.Write
	}
	if work.Apply != nil {
		n.deliver(work.Apply)
	}
	n.announce()
	n.announceUID()
	if n.config.Observer != nil {
		n.observeCommit()
	}
	n.endTransfers()
}

// announceUID calls Config.OnUID once the cluster's UID is known.
func (n *Node) announceUID() {
	if n.uidKnown || n.config.OnUID == nil {
		return
	}
	if uid := n.replica.UID(); uid != (core.UID{}) {
		n.uidKnown = true
		n.config.OnUID(uid)
	}
}

// finish gives an answer to every caller that still waits when the loop ends.
func (n *Node) finish() {
	n.replica.Stop()
	for _, e := range n.inbox.close() {
		e.discard()
	}
	for _, done := range n.transfers {
		done(ErrStopped)
	}
	n.transfers = nil
}

// write is the writer: it saves one write after the other.
func (n *Node) write() {
	rest := newRest(n.storage)
	defer rest.timer.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-rest.timer.C:
			if err := rest.settle(); err != nil {
				n.end(err)
				return
			}
		case w := <-n.writes:
			begun := time.Now()
			if err := n.storage.Save(w); err != nil {
				n.end(fmt.Errorf("saving write %d: %w", w.Seq, err))
				return
			}
			if n.config.Observer != nil {
				n.config.Observer.Saved(w, time.Since(begun))
			}
			n.inbox.post(event{kind: eventSaved, number: w.Seq})
			rest.begin()
		}
	}
}

// prepare is the preparer: it works whenever the storage wants it to.
func (n *Node) prepare(p Preparer) {
	for {
		select {
		case <-n.stop:
			return
		case <-p.Wanted():
			if err := p.Prepare(); err != nil {
				n.end(fmt.Errorf("preparing the storage: %w", err))
				return
			}
		}
	}
}
