package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/members"
)

// settlePatience is how long a change waits for the one before it to end, so that nobody
// is refused because of a leader's own upkeep.
const settlePatience = time.Second

// Result is what has become of a change.
type Result struct {
	Plan  Plan
	State string // of package api
	Index uint64 // of its first entry
}

// Change makes a change, where this node leads, and returns when it has ended or ctx has.
// Then its State says how far it was. The same id again, here or at another leader, gets
// the result of the first.
//
// The error is of package failure: a refusal of Decide; NoLeader, if another node must be
// asked, also after leadership was handed to it for this change; or that the outcome is
// unknown.
func (d *Driver) Change(ctx context.Context, ask Ask) (Result, error) {
	r, err := d.change(ctx, ask)
	d.count(r.State, err)
	return r, err
}

// change is Change without being counted.
func (d *Driver) change(ctx context.Context, ask Ask) (Result, error) {
	for patience := time.Now().Add(d.settlePatience()); ; {
		r, err := d.try(ctx, ask)
		switch {
		case errors.Is(err, raft.ErrChangeInProgress):
			if time.Now().After(patience) || !d.awaitMove(ctx) {
				return Result{}, d.refusedForNow()
			}
		case !errors.Is(err, raft.ErrConfigurationChanged):
			return r, err
		case ctx.Err() != nil:
			return Result{}, failure.Of(failure.NoLeader, err, "the configuration changed all the time")
		}
	}
}

// refusedForNow says for what a change has waited in vain (R5).
func (d *Driver) refusedForNow() error {
	switch s := d.config.Consensus.Status(); {
	case !leads(s):
		return d.noLeader()
	case !s.CommittedInTerm:
		return failure.RetryAfter(failure.ChangeInProgress, time.Second, "this leader has not committed anything since it was elected, and makes no change before: ask again")
	}
	return failure.RetryAfter(failure.ChangeInProgress, time.Second, "another change has not ended: one is made at a time")
}

// Plan returns what Change would make, and makes nothing.
func (d *Driver) Plan(ask Ask) (Result, error) {
	v := d.View()
	if !v.Leads {
		return Result{}, d.noLeader()
	}
	p, err := Decide(v, ask)
	return Result{Plan: p, State: api.ChangePlanned}, err
}

// mustLead refuses what only a leader can do.
func (d *Driver) mustLead() error {
	if s := d.config.Consensus.Status(); !leads(s) {
		return d.noLeader()
	}
	return nil
}

func (d *Driver) noLeader() error {
	return failure.Of(failure.NoLeader, nil, "node %s does not lead", d.config.Self)
}

// try makes a change once.
func (d *Driver) try(ctx context.Context, ask Ask) (Result, error) {
	if err := d.mustLead(); err != nil {
		return Result{}, err
	}
	if index, taken := d.taken(ask.ID); taken {
		return d.await(ctx, ask.ID, index, Plan{Ask: ask})
	}
	d.settle(ctx)
	if index, taken := d.taken(ask.ID); taken { // the same change was asked for twice at once
		return d.await(ctx, ask.ID, index, Plan{Ask: ask})
	}
	v := d.View()
	if !v.Leads { // any more: else nothing would be settled, and the guard would name a change that is none
		return Result{}, d.noLeader()
	}
	p, err := Decide(v, ask)
	if err != nil {
		return Result{}, err
	}
	if len(p.Pin) > 0 {
		return Result{}, d.pin(ctx, v, p.Pin)
	}
	if p.Leaves && p.HandOver != members.None {
		return Result{}, d.handOver(ctx, p.HandOver)
	}
	index, err := d.reconfigure(ctx, ask.ID, p.Wanted, p.From)
	if err != nil {
		return Result{}, err
	}
	return d.await(ctx, ask.ID, index, p)
}

// pin names the data directories of members in the record, and lets the change be tried
// anew: an error that says so is returned in any case.
func (d *Driver) pin(ctx context.Context, v View, ids []members.ID) error {
	wanted := v.named(ids)
	id := fmt.Sprintf(Upkeep+"pin-%d-%d", v.Term, v.Newest.Index)
	wanted.Changes = append(wanted.Changes, members.Change{ID: id})
	if _, err := d.reconfigure(ctx, id, wanted, v.Newest.Index); err != nil {
		return err
	}
	return raft.ErrConfigurationChanged
}

// handOver hands leadership to a voter that stays, which is to make the change.
func (d *Driver) handOver(ctx context.Context, to members.ID) error {
	if err := d.config.Consensus.Transfer(ctx, to); err != nil && !errors.Is(err, raft.ErrNotLeader) {
		return failure.Of(failure.NoLeader, err, "node %s is to leave, and leadership could not be handed to %s: %v", d.config.Self, to, err)
	}
	return failure.Of(failure.NoLeader, nil, "node %s is to leave and has handed leadership to %s, which makes the change", d.config.Self, to)
}

// settlePatience is how long a change waits for a good moment.
func (d *Driver) settlePatience() time.Duration {
	return max(settlePatience, (healthyTimeouts+1)*d.config.ElectionTimeout)
}

// settle waits a moment for the change before to end. A leader that was just elected also waits
// for the first answers of the voters: it cannot know yet which are healthy.
func (d *Driver) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.settlePatience())
	defer cancel()
	for {
		v := d.View()
		settled := v.Settled && (v.Led >= healthyTimeouts*d.config.ElectionTimeout || v.allHealthy())
		if settled || !v.Leads || !d.awaitMove(ctx) {
			return
		}
	}
}

// awaitMove waits until a configuration has changed, and a look's time at most. It returns
// false when ctx has ended.
func (d *Driver) awaitMove(ctx context.Context) bool {
	d.mu.Lock()
	moved := d.moved
	d.mu.Unlock()
	pause := time.NewTimer(d.config.ElectionTimeout / looksPerTimeout)
	defer pause.Stop()
	select {
	case <-moved:
	case <-pause.C:
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil
}

// taken returns where a change stands in the newest configuration of this node.
func (d *Driver) taken(id string) (index uint64, taken bool) {
	if r := d.Configurations().Newest.Record; r != nil {
		c, found := r.ChangeOf(id)
		return c.Index, found
	}
	return 0, false
}

// reconfigure gives a record to consensus and waits until its entry is committed.
// raft.ErrConfigurationChanged says that the record was made of an older one, and
// raft.ErrChangeInProgress that no change may begin yet; every other error is of package
// failure.
func (d *Driver) reconfigure(ctx context.Context, id string, wanted members.Record, from uint64) (index uint64, err error) {
	d.mu.Lock()
	d.asked[id] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.asked, id)
		d.mu.Unlock()
	}()
	placed, ended := make(chan uint64, 1), make(chan error, 1)
	d.config.Consensus.Reconfigure(&raft.Reconfiguration{
		Wanted: wanted, From: from,
		Placed: func(index, _ uint64) { placed <- index },
		Chosen: func() { ended <- nil },
		Failed: func(err error) { ended <- err },
	})
	select {
	case err = <-ended:
	case <-ctx.Done():
		return d.overdue(ctx, id, placed, ended)
	}
	return d.outcome(id, placeOf(placed), err)
}

// placeOf returns where the entry of a change that has ended stood, 0 if it never had a place.
func placeOf(placed <-chan uint64) (index uint64) {
	select {
	case index = <-placed:
	default:
	}
	return index
}

// overdue says what is known of a change when the time of its request has ended: where it
// stands in the log, if it does, and else that nothing is known. It waits a moment for
// that, since consensus answers at once.
func (d *Driver) overdue(ctx context.Context, id string, placed <-chan uint64, ended <-chan error) (index uint64, err error) {
	pause := time.NewTimer(d.config.ElectionTimeout / looksPerTimeout)
	defer pause.Stop()
	select {
	case index = <-placed:
		return index, nil
	case err := <-ended:
		return d.outcome(id, placeOf(placed), err) // both may be ready
	case <-pause.C:
	}
	return 0, failure.Of(failure.Timeout, ctx.Err(), "the change was under way when the time of the request ended; ask for it by its id, %s", id)
}

// outcome says in words of package failure how a change ended in consensus. index is
// where its entry stood, 0 if it never had a place.
func (d *Driver) outcome(id string, index uint64, err error) (uint64, error) {
	switch {
	case err == nil:
		return index, nil
	case errors.Is(err, raft.ErrConfigurationChanged):
		return 0, raft.ErrConfigurationChanged
	case errors.Is(err, raft.ErrChangeInProgress):
		return 0, raft.ErrChangeInProgress
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrTransferring), errors.Is(err, raft.ErrLost):
		return 0, failure.Of(failure.NoLeader, err, "leadership changed before the change was made")
	case errors.Is(err, raft.ErrUnknown):
		return 0, failure.Of(failure.LeadershipLost, err, "leadership was lost while the change was under way; ask for it by its id, %s", id)
	case errors.Is(err, raft.ErrStopped) && index == 0:
		return 0, failure.StoppedBefore(err)
	case errors.Is(err, raft.ErrStopped):
		return 0, failure.Of(failure.StoppingUnknown, err, "this node stopped while the change was under way; ask for it by its id, %s", id)
	}
	return 0, failure.Of(failure.BadRequest, err, "the change cannot be: %v", err)
}

// await waits until a change that stands in the log at index has ended, or ctx has. The
// error says that another one took its place.
func (d *Driver) await(ctx context.Context, id string, index uint64, p Plan) (Result, error) {
	for {
		state, found := d.State(id)
		switch {
		case !found && d.Configurations().Committed.Index >= index:
			return Result{}, failure.Of(failure.NoLeader, nil, "another leader's change took the place of this one, which did not happen")
		case state == api.ChangeDone:
			return Result{Plan: p, State: state, Index: index}, nil
		}
		if !d.awaitMove(ctx) {
			return d.unended(id, index, p)
		}
	}
}

// unended says how far a change has come for whose end nobody waits any more. One whose first
// entry is committed comes to its end, whoever leads. That any other goes on is for the leader
// to say: elsewhere another leader's entry may take its place.
func (d *Driver) unended(id string, index uint64, p Plan) (Result, error) {
	state, found := d.State(id)
	switch {
	case !found:
		return Result{}, failure.Of(failure.LeadershipLost, nil, "another leader's entry took the place of the change in this node's log; ask for it by its id, %s", id)
	case d.Configurations().Committed.Index < index && d.mustLead() != nil:
		return Result{}, failure.Of(failure.LeadershipLost, nil, "this node does not lead any more, and does not know whether the change stays in the log; ask for it by its id, %s", id)
	}
	return Result{Plan: p, State: state, Index: index}, nil
}

// State says how far the change with this id has come, as far as this node knows, and
// whether it knows it at all.
func (d *Driver) State(id string) (state string, found bool) {
	c := d.Configurations()
	if c.Newest.Record == nil {
		return api.ChangeAsked, d.isAsked(id)
	}
	change, taken := c.Newest.Record.ChangeOf(id)
	switch {
	case !taken:
		return api.ChangeAsked, d.isAsked(id)
	case c.Newest.Record.Joint() && c.Newest.Index == change.Index:
		return api.ChangeJoint, true
	case c.Committed.Index < change.Index, c.Committed.Record.Joint() && c.Committed.Index == change.Index:
		return api.ChangeFinal, true
	}
	return api.ChangeDone, true
}

// IndexOf returns where a change stands in the log, 0 if it does not.
func (d *Driver) IndexOf(id string) uint64 {
	index, _ := d.taken(id)
	return index
}

func (d *Driver) isAsked(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[id]
}
