package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/raft/members"
)

// Before a cluster has a record of its members there is no place in the log that says that
// its level is held: programs of level 2 would not know it. So each node remembers for
// itself that it was told to hold the level, and the leader begins no record before every
// member has said that it was not. One member that holds is enough, whoever leads, and
// also after restarts.

// Holding is what a Driver needs to hold the level of a cluster without a record. Its
// methods are safe for concurrent use.
type Holding interface {
	// Holds reports whether this node was told to hold the level.
	Holds() bool
	// SetHold remembers it, durably.
	SetHold(hold bool) error
	// MemberHolds asks another member whether it was told to.
	MemberHolds(ctx context.Context, id members.ID) (bool, error)
	// TellMember tells another member to hold the level, or to let it go. recorded says
	// that the member knows of a record. The error is ErrOlder if its program is one of
	// level 2, which holds the level back by itself.
	TellMember(ctx context.Context, id members.ID, hold bool) (recorded bool, err error)
}

// ErrOlder says that a member's program does not know how to hold a level.
var ErrOlder = errors.New("its program is of level 2")

// Whoever cannot be asked within holdTimeout has not answered. After an answer that keeps
// the record from beginning, the leader asks again after holdPause.
const (
	holdTimeout = time.Second
	holdPause   = time.Second
)

const heldHere = "was told to hold the level (raftkv level release lets it go)"

// begin begins the record of the members, at a level, unless a member holds the level.
func (d *Driver) begin(ctx context.Context, v View, to uint32) {
	d.beginning.Lock() // no answer to HoldHere before the change that is made here has ended
	defer d.beginning.Unlock()
	if d.holds() {
		return
	}
	d.mu.Lock()
	early := time.Since(d.holdAsked) < holdPause
	d.mu.Unlock()
	if early {
		return
	}
	holders := d.askHolders(ctx, &v)
	d.mu.Lock()
	d.holders, d.holdAsked = holders, time.Time{}
	if len(holders) > 0 {
		d.holdAsked = time.Now()
	}
	d.mu.Unlock()
	if len(holders) == 0 {
		d.own(ctx, fmt.Sprintf("the cluster begins to keep a record of its members, at level %d", to), v, v.First(to), "first")
	}
}

// holds reports whether this node was told to hold the level.
func (d *Driver) holds() bool { return d.config.Holding != nil && d.config.Holding.Holds() }

// askHolders asks the other members whether they hold the level, and returns those that do
// or that did not answer.
func (d *Driver) askHolders(ctx context.Context, v *View) (holders []Holder) {
	if d.config.Holding == nil {
		return nil
	}
	whys := d.eachOther(ctx, v, func(ctx context.Context, id members.ID) string {
		switch held, err := d.config.Holding.MemberHolds(ctx, id); {
		case err != nil:
			return fmt.Sprintf("did not say whether it holds the level: %v", err)
		case held:
			return heldHere
		}
		return ""
	})
	for i, id := range v.ids() {
		if whys[i] != "" {
			holders = append(holders, Holder{id, whys[i]})
		}
	}
	return holders
}

// eachOther asks all other members at once, for holdTimeout at most, and returns what came
// of it in the order of the members; "" for this node.
func (d *Driver) eachOther(ctx context.Context, v *View, ask func(context.Context, members.ID) string) []string {
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	answers := make([]string, len(v.ids()))
	var all sync.WaitGroup
	for i, id := range v.ids() {
		if id != d.config.Self {
			all.Go(func() { answers[i] = ask(ctx, id) })
		}
	}
	all.Wait()
	return answers
}

// HoldHere lets this node alone hold the level, or lets it go. recorded says that the
// cluster has a record, or may have one: then that says whether the level is held.
func (d *Driver) HoldHere(hold bool) (recorded bool, err error) {
	d.beginning.Lock()
	defer d.beginning.Unlock()
	if d.Configurations().Newest.Record != nil {
		return true, nil
	}
	if d.config.Holding == nil {
		return false, failure.Of(failure.NotActive, nil, "this server keeps no record of its cluster's members")
	}
	if err := d.config.Holding.SetHold(hold); err != nil {
		return false, failure.Of(failure.Internal, err, "whether the level is held could not be written down: %v", err)
	}
	d.mu.Lock()
	d.holders, d.holdAsked = nil, time.Time{}
	d.mu.Unlock()
	return false, nil
}

// Hold lets all members hold the level of a cluster without a record, or lets it go. Any
// node can do it. recorded says that there is a record: then that says it, and Change
// changes it.
//
// One member that holds is enough, so holding fails only if the leader did not hear of it:
// it may be raising the level at this moment. Letting go must reach everybody whose
// program can hold.
func (d *Driver) Hold(ctx context.Context, hold bool) (recorded bool, err error) {
	if recorded, err := d.HoldHere(hold); recorded || err != nil {
		return recorded, err
	}
	v, leader := d.View(), d.config.Consensus.Status().Leader
	const known = "record"
	answers := d.eachOther(ctx, &v, func(ctx context.Context, id members.ID) string {
		switch recorded, err := d.config.Holding.TellMember(ctx, id, hold); {
		case errors.Is(err, ErrOlder):
			return ""
		case err != nil:
			return fmt.Sprintf("%s did not hear it: %v", id, err)
		case recorded:
			return known
		}
		return ""
	})
	if slices.Contains(answers, known) {
		return true, nil
	}
	var deaf []string
	for i, id := range v.ids() {
		if answers[i] != "" && (!hold || id == leader) {
			deaf = append(deaf, answers[i])
		}
	}
	switch {
	case len(deaf) == 0:
		return false, nil
	case hold:
		return false, failure.Of(failure.NotReachable, nil, "%s holds the level from now on, but the leader may be raising it at this moment, since %s: say it again", d.config.Self, deaf[0])
	}
	return false, failure.Of(failure.NotReachable, nil, "one member that holds the level is enough, and %s: say it again when all members answer", strings.Join(deaf, "; "))
}

// withHolders adds to the members that hold a level back those that were told to, or did
// not say whether they were.
func (v *View) withHolders(held []Holder) []Holder {
	if v.Holds {
		held = append(held, Holder{v.Self, heldHere})
	}
	return append(held, v.Holders...)
}
