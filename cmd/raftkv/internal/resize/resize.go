// Package resize lets a cluster whose nodes all run in this process grow and shrink, for
// raftkv dev. It makes the changes of the members that a person would make with raftkv
// member, at whichever node leads.
package resize

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/membership"
	"raftkv/raft/members"
)

const (
	// pause is the interval at which the nodes are asked again.
	pause = 50 * time.Millisecond
	// patience bounds a change as a whole.
	patience = time.Minute
	// soon is for how long learners must keep up while the cluster grows, in ms. The setting
	// is put back afterwards.
	soon = 300
)

// Grow lets nodes join that were made and not started, and returns when all of them vote.
// running are the nodes that serve already. The error says what kept a node from joining;
// nodes that were started go on.
func Grow(ctx context.Context, running, joining []*host.Node) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var before members.Settings
	total := len(running) + len(joining)
	err := change(ctx, running, func(d *membership.Driver) (ask membership.Ask, err error) {
		var known bool
		if before, _, known = d.Settings(); !known {
			return ask, failure.Of(failure.NotActive, nil, "the cluster has no record of its members, for its level is held: let it go (raftkv level release), and add nodes then")
		}
		ask.Settings = func(s *members.Settings) { s.Wanted, s.PromoteAfter = odd(total), min(before.PromoteAfter, soon) }
		return ask, nil
	})
	for _, n := range joining {
		if err == nil {
			err = join(ctx, running, n)
		}
	}
	if err == nil {
		err = promote(ctx, running, joining)
	}
	if before.Wanted == 0 {
		return err
	}
	return errors.Join(err, change(ctx, running, func(*membership.Driver) (membership.Ask, error) {
		return membership.Ask{Settings: func(s *members.Settings) { s.PromoteAfter = before.PromoteAfter }}, nil
	}))
}

// odd returns the largest odd number up to n.
func odd(n int) int { return n - 1 + n%2 }

// join gives a node a token, starts it, and waits until it is a member.
func join(ctx context.Context, running []*host.Node, n *host.Node) error {
	id := members.ID(n.ID())
	err := atLeader(ctx, running, func(d *membership.Driver) error {
		token, err := d.CreateToken(ctx, api.JoinTokenWanted{For: string(id)})
		if err == nil {
			n.SetJoinToken(token.Token)
		}
		return err
	})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		return err
	}
	return until(ctx, fmt.Sprintf("node %s does not become a member", id), func() bool {
		_, found := role(running, id)
		return found
	})
}

// promote makes voters of the nodes that have joined, as soon as they have caught up.
func promote(ctx context.Context, running, joining []*host.Node) error {
	for {
		var ids []members.ID
		for _, n := range joining {
			if is, _ := role(running, members.ID(n.ID())); is != members.Voter.String() {
				ids = append(ids, members.ID(n.ID()))
			}
		}
		if len(ids) == 0 {
			return nil
		}
		err := atLeader(ctx, running, func(d *membership.Driver) error {
			_, err := d.Change(ctx, membership.Ask{ID: rand.Text(), Promote: ids})
			return err
		})
		if !wait(ctx) {
			return fmt.Errorf("%v do not vote after %v: %w", ids, patience, err)
		}
	}
}

// Shrink removes members in one change, and closes their nodes when they have ended. removed
// yields nodes that have ended because they were removed.
func Shrink(ctx context.Context, running, leaving []*host.Node, removed <-chan *host.Node) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := change(ctx, running, func(d *membership.Driver) (ask membership.Ask, err error) {
		is := d.Describe().Members
		for _, m := range is {
			if slices.ContainsFunc(leaving, func(n *host.Node) bool { return string(n.ID()) == m.ID }) {
				ask.Remove = append(ask.Remove, members.ID(m.ID))
			}
		}
		ask.Settings = func(s *members.Settings) { s.Wanted = odd(len(is) - len(ask.Remove)) }
		return ask, nil
	})
	if err != nil {
		return err
	}
	ended := map[*host.Node]bool{}
	for _, n := range leaving {
		for !n.Joins() && !ended[n] {
			select {
			case one := <-removed:
				ended[one] = true
			case <-ctx.Done():
				return fmt.Errorf("node %s was removed and has not ended", n.ID())
			}
		}
		if err := n.Close(); err != nil && !host.IsRemoved(err) {
			return err
		}
	}
	return nil
}

// change makes a change at the leader and waits for its end. make may be called several
// times.
func change(ctx context.Context, running []*host.Node, make func(*membership.Driver) (membership.Ask, error)) error {
	id := strings.ToLower(rand.Text())
	return atLeader(ctx, running, func(d *membership.Driver) error {
		ask, err := make(d)
		if err != nil {
			return err
		}
		if ask.ID == "" {
			ask.ID = id
		}
		r, err := d.Change(ctx, ask)
		if err == nil && r.State != api.ChangeDone {
			err = fmt.Errorf("the change %s is %s", ask.ID, r.State)
		}
		return err
	})
}

var errNoLeader = errors.New("no node leads")

// atLeader lets do ask the node that leads, and another time while that passes: another node
// leads, or another change has not ended.
func atLeader(ctx context.Context, running []*host.Node, do func(*membership.Driver) error) error {
	for {
		err := errNoLeader
		for _, n := range running {
			if n.Leads() {
				err = do(n.Driver())
				break
			}
		}
		passes := errors.Is(err, errNoLeader) || errors.Is(err, failure.NoLeader) || errors.Is(err, failure.ChangeInProgress) ||
			errors.Is(err, failure.NotCaughtUp) || errors.Is(err, failure.WouldLoseQuorum) // a leader that has just begun has not heard of the others
		if !passes {
			return err
		}
		if !wait(ctx) {
			return fmt.Errorf("the change did not end in %v: %w", patience, err)
		}
	}
}

// role returns a member's role, as the leader knows it.
func role(running []*host.Node, id members.ID) (role string, found bool) {
	for _, n := range running {
		if !n.Leads() {
			continue
		}
		for _, m := range n.Driver().Describe().Members {
			if m.ID == string(id) {
				return m.Role, true
			}
		}
	}
	return "", false
}

func until(ctx context.Context, what string, so func() bool) error {
	for !so() {
		if !wait(ctx) {
			return errors.New(what)
		}
	}
	return nil
}

// wait waits a moment, and returns false when ctx has ended.
func wait(ctx context.Context) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}
