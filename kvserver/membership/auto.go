package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/members"
)

// look makes the one change that a leader makes by itself at this moment, if there is
// one: it begins the record or raises the level, writes down addresses, or gives votes to
// learners. rests says that nothing is under way here, and nothing would be if this node
// began to lead.
func (d *Driver) look(ctx context.Context) (rests bool) {
	if !leads(d.config.Consensus.Status()) {
		d.mu.Lock()
		d.holders, d.pilot, d.pilotWaits, d.stays = nil, Autopilot{}, "", nil
		d.mu.Unlock()
		r := d.Configurations().Newest.Record
		return r != nil && r.Level >= d.config.Level && !r.Joint()
	}
	v := d.View()
	to, _ := v.Raise()
	promotion, due, why := v.Promotion()
	d.mu.Lock()
	d.waits = why
	d.mu.Unlock()
	moved := d.moves(&v, time.Now())
	kept, unpinned := v.keptPlace(), v.unpinned()
	next := d.steer(&v, time.Now())
	switch {
	case !v.Settled:
	case to != 0 && v.Newest.Record == nil:
		d.begin(ctx, v, to)
	case to != 0:
		r := v.Newest.Record.Clone()
		r.Level = to
		d.own(ctx, fmt.Sprintf("the cluster works at level %d from now on", to), v, r, "level")
	case len(unpinned) > 0:
		d.own(ctx, fmt.Sprintf("the record names the data directories of %s", joinIDs(unpinned)), v, v.named(unpinned), Upkeep+"pin")
	case len(moved) > 0:
		d.writeAddresses(ctx, &v, moved)
	case kept != members.None:
		d.keepPlace(ctx, &v, kept)
	case due:
		promotion.ID = fmt.Sprintf("promote-%d-%d", v.Term, v.Newest.Index)
		p, err := Decide(v, promotion)
		if err != nil {
			d.mu.Lock()
			d.waits = failure.Detail(err)
			d.mu.Unlock()
			return false
		}
		d.planned(ctx, fmt.Sprintf("the voters are %s from now on", joinIDs(p.After.Voters)), v, p)
	case next.Due:
		if d.planned(ctx, next.Action.String(), v, next.Plan) {
			d.steered(next.Action)
		}
	default:
		return why == "" && v.allWell()
	}
	return false
}

// allWell reports whether all members are healthy, and the record needs nobody to change it.
func (v *View) allWell() bool {
	if v.Newest.Record == nil {
		return false
	}
	for _, n := range v.Nodes {
		if !n.Healthy {
			return false
		}
	}
	return true
}

// planned makes a change of the leader's own that has a plan, and reports whether it was
// made. Where the record must name data directories before, it does only that, and the
// change is for a later look.
func (d *Driver) planned(ctx context.Context, what string, v View, p Plan) (made bool) {
	if len(p.Pin) > 0 {
		d.pin(ctx, v, p.Pin) // the error says in any case that the change is to be tried anew
		return false
	}
	return d.own(ctx, what, v, p.Wanted, "")
}

// own makes a change of the leader's own, and reports whether it was made. It does not wait
// long: what does not succeed is tried again with a later look.
func (d *Driver) own(ctx context.Context, what string, v View, wanted members.Record, id string) (made bool) {
	if id != "" {
		wanted.Changes = append(wanted.Changes, members.Change{ID: fmt.Sprintf("%s-%d-%d", id, v.Term, v.Newest.Index)})
	}
	ctx, cancel := context.WithTimeout(ctx, 10*d.config.ElectionTimeout)
	defer cancel()
	index, err := d.reconfigure(ctx, wanted.Changes[len(wanted.Changes)-1].ID, wanted, v.Newest.Index)
	switch {
	case err == nil && ctx.Err() != nil: // it has a place in the log, and no majority so far
		d.config.Logger.Warn("a change of the members is not committed yet", "change", what, "version", index)
		return false
	case err == nil:
		d.count(api.ChangeDone, nil)
		d.config.Logger.Info(what, "version", index)
	case !errors.Is(err, raft.ErrConfigurationChanged) && !errors.Is(err, failure.NoLeader) && !errors.Is(err, raft.ErrChangeInProgress):
		d.config.Logger.Warn("a change of the members did not succeed; it is tried again", "change", what, "error", err)
	}
	return err == nil
}

// keepPlace lets a learner wait no more for the place of a voter that is well again.
func (d *Driver) keepPlace(ctx context.Context, v *View, learner members.ID) {
	r := v.Newest.Record.Clone()
	m := r.Member(learner)
	what := fmt.Sprintf("%s does not wait for the place of %s any more, which is well again: it is a spare", learner, m.Replaces)
	m.Replaces = members.None
	d.own(ctx, what, *v, r, Upkeep+"place")
}

// moves returns the members whose addresses have differed from the record's in one way for
// addressPatience, with what they have shown.
func (d *Driver) moves(v *View, now time.Time) map[members.ID]*Shown {
	r := v.Newest.Record
	if r == nil {
		return nil
	}
	moved := map[members.ID]*Shown{}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range r.Members {
		m := &r.Members[i]
		seen := d.stayOf(v.Term, r, m.ID)
		s := v.node(m.ID).Shown
		if s == nil || m.Role == members.Leaving || m.Incarnation != (members.Incarnation{}) && m.Incarnation != s.Incarnation ||
			(s.Peer == "" || s.Peer == m.Peer) && (s.HTTP == "" || s.HTTP == m.HTTP) {
			seen.moved = time.Time{}
			continue
		}
		if to := (place{s.Peer, s.HTTP}); to != seen.at {
			seen.at, seen.missed, seen.moved = to, false, time.Time{}
		}
		if since(&seen.moved, true, now) >= addressPatience {
			moved[m.ID] = s
		}
	}
	return moved
}

// writeAddresses writes down the addresses of those members that a dial back finds there, if no
// other member has them. The others are looked for again when the same time has passed: what
// they say of themselves may be wrong, and the record is what servers go by that know nothing
// else.
func (d *Driver) writeAddresses(ctx context.Context, v *View, moved map[members.ID]*Shown) {
	dialling, cancel := context.WithTimeout(ctx, addressTimeout)
	defer cancel()
	wanted, found := v.Newest.Record.Clone(), 0
	var mu sync.Mutex
	var asked sync.WaitGroup
	for id, s := range moved {
		asked.Go(func() {
			var err error
			// A node need not reach itself by the address that it has for others.
			if s.Peer != "" && s.Peer != v.Newest.Record.Member(id).Peer && id != d.config.Self {
				_, err = d.Meet(dialling, id, s.Peer, s.Incarnation)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				d.refuseAddresses(v, id, "a member names an address at which this leader does not find it; the record keeps the former one: correct --advertise-peer of that node", err)
				return
			}
			m := wanted.Member(id)
			m.Peer, m.HTTP = cmp.Or(s.Peer, m.Peer), cmp.Or(s.HTTP, m.HTTP)
			found++
		})
	}
	asked.Wait()
	taken := v.takeBack(&wanted)
	for id, err := range taken {
		d.refuseAddresses(v, id, "a member names an address that another member has; the record keeps the former ones: correct --advertise-peer and --advertise-http of that node, or remove the other one if it is gone", err)
	}
	if found > len(taken) {
		d.own(ctx, "members have new addresses", *v, wanted, Upkeep+"addresses")
	}
}

// takeBack gives members their former addresses in a wanted record where another member has one
// of their new ones, and says of each such member why. Members may exchange their addresses.
func (v *View) takeBack(wanted *members.Record) map[members.ID]error {
	taken := map[members.ID]error{}
	for again := true; again; { // the former addresses may have been taken in turn
		again = false
		for i := range wanted.Members {
			m := &wanted.Members[i]
			old := v.Newest.Record.Member(m.ID)
			if other := sharesNew(wanted, m, old); other != nil {
				taken[m.ID] = failure.Of(failure.AddressTaken, nil, "%s has the addresses %s and %s, and %s is to have %s and %s: each node needs its own", other.ID, other.Peer, other.HTTP, m.ID, m.Peer, m.HTTP)
				m.Peer, m.HTTP, again = old.Peer, old.HTTP, true
			}
		}
	}
	return taken
}

// sharesNew returns another member that has an address of m which m did not have before, nil if
// there is none.
func sharesNew(r *members.Record, m, before *members.Member) *members.Member {
	for i := range r.Members {
		other := &r.Members[i]
		if other.ID != m.ID && (m.Peer != before.Peer && m.Peer == other.Peer || m.HTTP != before.HTTP && m.HTTP == other.HTTP) {
			return other
		}
	}
	return nil
}

// refuseAddresses notes that the addresses which a member names are not written down, and says
// why when that is news.
func (d *Driver) refuseAddresses(v *View, id members.ID, why string, err error) {
	d.mu.Lock()
	if d.stays == nil || d.staysIn != v.Term { // of another leadership by now
		d.mu.Unlock()
		return
	}
	seen := d.stayOf(v.Term, v.Newest.Record, id)
	told := seen.missed
	seen.moved, seen.missed = time.Now(), true
	d.mu.Unlock()
	if !told {
		d.config.Logger.Warn(why, "member", string(id), "error", failure.Detail(err))
	}
}
