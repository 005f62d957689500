package client

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Candidate is one side of an election: its name, and how it campaigns.
type Candidate struct {
	// Value is published while it leads: its address, say; up to 1 KiB.
	Value []byte
	// TTL is that of its lease: for so long nobody leads when this program has died. 0: 15 s.
	TTL time.Duration
	// Delay is that of LockDelay.
	Delay time.Duration
	// Note says for people what the lease is for; see LeaseNote.
	Note string
}

// defaultTTL is the TTL of a candidate's lease.
const defaultTTL = 15 * time.Second

// LeadAs returns a candidate that publishes a value.
func LeadAs(value string) Candidate { return Candidate{Value: []byte(value)} }

// Leadership is what a leader has for as long as it leads.
type Leadership struct {
	Token uint64 // that of Lock
	Lock  *Lock  // its Guard is for what the leader writes
}

// Lead stands for election under the name of a lock. Once it leads it calls a function, with
// a context that ends with leadership, before another one can lead (see Lock.Context). When
// the function returns it resigns, and returns the function's error.
//
// If leadership is lost, Lead waits until the function has returned, whatever it returns, and
// stands again: under its old lease and its old token, if the servers have that lease still,
// as they do behind an outage of their own; else under a new one. It ends with ctx, with the
// Clerk, or with an error that asking again does not mend.
func (c *Clerk) Lead(ctx context.Context, name string, as Candidate, lead func(ctx context.Context, l Leadership) error) error {
	if as.TTL == 0 {
		as.TTL = defaultTTL
	}
	var lease *Lease
	for round := 1; ; round++ {
		next, err := c.standing(ctx, lease, as)
		if err != nil {
			return err
		}
		lease = next
		held, err := lease.Lock(ctx, name, LockValue(as.Value), LockDelay(as.Delay))
		switch {
		case err == nil:
			round = 0
			lost, err := leadUnder(ctx, held, lead)
			if !lost {
				c.resign(held)
				return err
			}
		case !errors.Is(err, ErrLeaseLost) || ctx.Err() != nil || c.lifetime.Err() != nil:
			c.resignLease(lease)
			return err
		}
		if !c.route.sleep(ctx, jitter(max(round, 1))) {
			c.resignLease(lease)
			return c.givenUp(ctx, new(trail), false)
		}
	}
}

// standing returns a lease to stand with: the former one, if the servers have it still.
func (c *Clerk) standing(ctx context.Context, former *Lease, as Candidate) (*Lease, error) {
	if former != nil {
		if former.ctx.Err() == nil {
			return former, nil
		}
		begun := c.keeper.now()
		ttls, err := c.KeepAlive(ctx, former.id)
		if err != nil {
			return nil, err
		}
		if ttls[0] != 0 {
			l, err := c.hold(ctx, former.id, ttls[0], begun, true)
			if !errors.Is(err, ErrLeaseLost) {
				return l, err
			}
		}
	}
	return c.Grant(ctx, as.TTL, LeaseNote(as.Note))
}

// leadUnder calls the function of a leader. lost says that leadership ended first.
func leadUnder(ctx context.Context, held *Lock, lead func(ctx context.Context, l Leadership) error) (lost bool, err error) {
	leading, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(held.ctx, func() { end(context.Cause(held.ctx)) })()
	returned, leads := held.lease.lead()
	if leads {
		defer close(returned)
		err = lead(leading, Leadership{Token: held.token, Lock: held})
	} else {
		err = context.Cause(held.ctx)
	}
	cause := context.Cause(held.ctx)
	return ctx.Err() == nil && (errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrLockLost)), err
}

// lead notes that a function leads under the lease, until it closes returned. It reports false
// if the lease has ended: then nobody may lead.
func (l *Lease) lead() (returned chan struct{}, ok bool) {
	k := &l.clerk.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, false
	}
	l.leading = make(chan struct{})
	return l.leading, true
}

// endLeader gives back what the lease of a leader holds, once its function has returned. One that
// does not return may still lead, so nobody else may before the lease ends by its TTL.
func (k *keeper) endLeader(end leaseEnd) {
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-end.leading:
	case <-limit.C:
		return
	}
	ctx, cancel := context.WithTimeout(k.clerk.lifetime, closeLimit)
	defer cancel()
	end.lease.finish(ctx, end.locks)
}

// resign gives leadership back, as far as that can be done soon. A release comes first: the
// end of a lease would keep the place free for its delay.
func (c *Clerk) resign(held *Lock) {
	ctx, cancel := context.WithTimeout(c.lifetime, closeLimit)
	defer cancel()
	_ = held.Release(ctx)
	_ = held.lease.Revoke(ctx)
}

func (c *Clerk) resignLease(l *Lease) {
	ctx, cancel := context.WithTimeout(c.lifetime, closeLimit)
	defer cancel()
	_ = l.Revoke(ctx)
}

// Observe yields the leader under the name of a lock: first that of now, and then each leader
// and each time that there is none, in order. A Token of 0 says that nobody leads. A leader
// that publishes another value comes once more. Where too much was missed to tell all, it
// goes on with the leader of then. It ends with ctx, with the Clerk, or with an error that no
// server mends, which comes last.
func (c *Clerk) Observe(ctx context.Context, name string) iter.Seq2[Holder, error] {
	return func(yield func(Holder, error) bool) {
		said := false // whether anything was yielded
		var last, state Holder
		say := func(h Holder) bool {
			h.Lock = name
			said, last = true, h
			return yield(h, nil)
		}
		for ev, err := range c.Watch(ctx, WatchLock(name), WithState()) {
			if err != nil {
				yield(Holder{}, err)
				return
			}
			more := true
			switch ev.Kind {
			case Reset:
				state = Holder{}
			case StateHolder:
				state = ev.Holder
			case StateComplete:
				if !said || state.Token != last.Token || string(state.Value) != string(last.Value) {
					more = say(state)
				}
			case Changed:
				more = observed(ev.Changes, last, say)
			}
			if !more {
				return
			}
		}
	}
}

// observed tells what changes of a lock say of its holder, which was last.
func observed(changes []Change, last Holder, say func(Holder) bool) bool {
	for i := range changes {
		switch h := changes[i].Holder; {
		case h == nil:
		case changes[i].Op == ChangeGranted:
			last = *h
			if !say(*h) {
				return false
			}
		case h.Token == last.Token:
			last = Holder{}
			if !say(last) {
				return false
			}
		}
	}
	return true
}
