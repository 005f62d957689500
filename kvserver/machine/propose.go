package machine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Propose puts a command into the log here and waits for its end. Errors are of
// package failure and say whether the command took effect.
func (m *Machine) Propose(ctx context.Context, c kv.Command) (kv.Result, error) {
	return m.proposeUntil(ctx, context.Background(), c, nil)
}

// Place is where a leader put a command into its log, and when. It may be read at any time,
// by any goroutine.
type Place struct {
	index, term atomic.Uint64
	at          atomic.Int64 // Unix nanoseconds
}

// Get returns the position; 0, 0 if there is none.
func (p *Place) Get() (index, term uint64, at time.Time) {
	return p.index.Load(), p.term.Load(), time.Unix(0, p.at.Load())
}

// set notes the position. The last one counts: a write that certainly did not happen may
// be tried again.
func (p *Place) set(index, term uint64) {
	if p != nil {
		p.at.Store(time.Now().UnixNano())
		p.index.Store(index)
		p.term.Store(term)
	}
}

// ProposeDuring is Propose for a request that depends on a leader in its term: it
// waits no longer than a context of DuringTenure would last, without making one. place, if
// not nil, is told where the command was put.
func (m *Machine) ProposeDuring(ctx context.Context, c kv.Command, leader string, term uint64, place *Place) (kv.Result, error) {
	return m.proposeUntil(ctx, m.tenures.see(leader, term).over, c, place)
}

// proposeUntil is Propose, with a second context that ends the waiting.
func (m *Machine) proposeUntil(ctx, tenure context.Context, c kv.Command, place *Place) (kv.Result, error) {
	w := m.waiting.add()
	w.place = place
	defer m.waiting.withdraw(w) // nothing to do unless the code below panics
	m.launch(c, w)
	select {
	case e := <-w.done:
		return e.Result, e.Err
	case <-ctx.Done():
	case <-tenure.Done():
		ctx = tenure
	}
	if !m.waiting.withdraw(w) {
		// The end came at the same moment as the context's. It is known, so it
		// is told.
		e := <-w.done
		return e.Result, e.Err
	}
	return kv.Result{}, m.lostSight(ctx, w)
}

// ProposeAsync proposes a command and returns at once. onEnd is called exactly
// once, possibly before ProposeAsync returns, without locks held; it must not
// block. since is when the request came, from which Config.AsyncTimeout counts.
func (m *Machine) ProposeAsync(c kv.Command, since time.Time, onEnd func(Ending)) {
	m.launchAsync(c, m.waiting.addAsync(since.Add(m.config.AsyncTimeout), nil, onEnd))
}

// ProposePatiently is ProposeAsync for a command that nobody can safely ask for again
// elsewhere. Like Propose it waits for Config.ReplacedGrace after this node, which
// leads in term, was replaced: until then it may still learn what became of the
// command.
func (m *Machine) ProposePatiently(c kv.Command, term uint64, deadline time.Time, onEnd func(Ending)) {
	m.launchAsync(c, m.waiting.addAsync(deadline, m.tenures.see(m.config.NodeID, term).over, onEnd))
}

// launchAsync is launch for a write that watchAsync looks after.
func (m *Machine) launchAsync(c kv.Command, w *waiter) {
	m.watch.wake()
	m.launch(c, w)
}

// Pending returns how many writes were proposed here and have no Ending yet.
func (m *Machine) Pending() int { return m.waiting.count() }

// quota is how many bytes of keys and values writes may fill; 0: no limit.
func (m *Machine) quota() uint64 { return uint64(m.config.MaxStoreBytes) }

// launch gives a command its identity and puts it on its way.
func (m *Machine) launch(c kv.Command, w *waiter) {
	// A quarantine is set before it ends what waits, so a write sees one of the two.
	if err := m.Quarantined(); err != nil {
		m.waiting.fail(w.number, err)
		return
	}
	if err := c.CheckKnown(m.level.Load()); err != nil {
		// Every server that applied it would stop.
		m.waiting.fail(w.number, failure.Of(failure.BadRequest, err, "the request asks for something that this node does not know"))
		return
	}
	c.ID = kv.RequestID{Origin: m.origin, Number: w.number}
	c.Time = m.clock.now()
	if c.Op == kv.OpPut || c.Op == kv.OpAppend || c.Op == kv.OpTxn || c.Op == kv.OpTouch {
		c.Quota = m.quota()
	}
	if c.Op == kv.OpRelease {
		m.queues.releasing(string(c.Key))
	}
	w.proposal = raft.Proposal{
		Command: kv.EncodeCommand(c),
		Placed:  func(index, term uint64) { w.term.Store(term); w.place.set(index, term) },
		Failed:  func(err error) { m.waiting.fail(w.number, proposalFailed(err, w.term.Load() != 0)) },
	}
	m.consensus.Propose(&w.proposal)
}

// proposalFailed translates what consensus said of a queued proposal.
func proposalFailed(err error, placed bool) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLost), errors.Is(err, raft.ErrTransferring):
		return failure.Of(failure.NoLeader, err, "the leader changed before the write was chosen")
	case errors.Is(err, raft.ErrOverloaded):
		return failure.Of(failure.Overloaded, err, "the leader holds too much uncommitted work (limit 64 MiB); retry after 1 s")
	case errors.Is(err, raft.ErrTooLarge):
		return failure.Of(failure.ValueTooLarge, err, "the write exceeds the largest entry of the log (--max-value-bytes of the leader and room for the key); send a smaller value")
	case errors.Is(err, raft.ErrUnknown):
		return failure.Of(failure.LeadershipLost, err, "another leader's snapshot covers the write's place in the log; it may have happened")
	case errors.Is(err, raft.ErrStopped) && !placed:
		return failure.StoppedBefore(err)
	case errors.Is(err, raft.ErrStopped):
		return failure.StoppedDuring(err)
	}
	// An error that is not in the contract cannot be taken for a promise.
	return failure.Of(failure.Internal, err, "the log ended the write with an error that says nothing of its outcome")
}

// lostSight says that a write was on its way when ctx ended. It makes no guess
// at whether it happened; that the term has moved on only gives it another name.
func (m *Machine) lostSight(ctx context.Context, w *waiter) error {
	if errors.Is(context.Cause(ctx), failure.Stopping) {
		return failure.StoppedDuring(nil)
	}
	if errors.Is(context.Cause(ctx), failure.ErrReplaced) {
		return failure.Deposed()
	}
	if term := w.term.Load(); term != 0 && m.consensus.Status().Term != term {
		return failure.TermOver(term)
	}
	return failure.Unheard()
}
