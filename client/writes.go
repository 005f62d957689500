package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/txn"
)

// Written is the result of a Put or Append.
type Written struct {
	// Revision is the number of the change among all changes of the store, Version
	// its number among those of the key.
	Revision, Version uint64
	// Length is the value's length in bytes afterwards.
	Length uint64
	// Created: there was no such key before.
	Created bool
	// Prev is what the key held before, if WithPrev was given; nil: there was no such key.
	// PrevDropped: the first attempt was done and its answer lost, and what was there was
	// too much to be remembered: more than 4 KiB.
	Prev        *Item
	PrevDropped bool
}

// Removed is the result of a Delete.
type Removed struct {
	// Found: there was something to delete.
	Found bool
	// Revision is the number of the change, or the store's if there was nothing.
	Revision uint64
	// Prev and PrevDropped are those of Written.
	Prev        *Item
	PrevDropped bool
}

// Put sets the value of a key. The write happens once, however many attempts the
// Clerk has to make. An error that is not ErrOutcomeUnknown says that it did not
// happen and never will.
func (c *Clerk) Put(ctx context.Context, key string, value []byte, options ...WriteOption) (Written, error) {
	return writtenOf(c.write(ctx, clerkwire.KindPut, key, value, options))
}

// Append adds to the end of a key's value; a key that does not exist counts as
// empty. As in Put, the write happens once.
func (c *Clerk) Append(ctx context.Context, key string, value []byte, options ...WriteOption) (Written, error) {
	return writtenOf(c.write(ctx, clerkwire.KindAppend, key, value, options))
}

// Delete removes a key. It is no error if there was none. As in Put, the write
// happens once.
func (c *Clerk) Delete(ctx context.Context, key string, options ...WriteOption) (Removed, error) {
	w, err := c.write(ctx, clerkwire.KindDelete, key, nil, options)
	if err != nil {
		return Removed{}, err
	}
	r := Removed{Found: w.Deleted, Revision: w.Revision}
	r.Prev, r.PrevDropped, err = prevOf(&w)
	return r, err
}

func writtenOf(from clerkwire.Written, err error) (Written, error) {
	if err != nil {
		return Written{}, err
	}
	w := Written{Revision: from.Revision, Version: from.Version, Length: from.Length, Created: from.Created}
	w.Prev, w.PrevDropped, err = prevOf(&from)
	return w, err
}

// prevOf returns what was there before a write that is done.
func prevOf(w *clerkwire.Written) (prev *Item, dropped bool, err error) {
	if len(w.Outcome) == 0 {
		return nil, false, nil
	}
	outcome, err := txn.DecodeOutcome([]byte(w.Outcome))
	if err != nil || len(outcome.Results) != 1 {
		return nil, false, &Error{Detail: "the write was done, and what was there before cannot be read in the server's answer", cause: err}
	}
	if items := itemsOf(outcome.Results[0].Prev); len(items) > 0 {
		prev = &items[0]
	}
	return prev, outcome.Dropped, nil
}

// write makes one call in a lane of its own.
func (c *Clerk) write(ctx context.Context, kind clerkwire.Kind, key string, value []byte, options []WriteOption) (clerkwire.Written, error) {
	m := clerkwire.Write{Value: value}
	if err := checkKey(key); err != nil {
		return clerkwire.Written{}, err
	}
	if len(value) > api.MaxValueBytes {
		return clerkwire.Written{}, &Error{
			Code: api.CodeValueTooLarge, Outcome: api.OutcomeNotApplied, Detail: fmt.Sprintf("the value has %d bytes; no server takes more than %d", len(value), api.MaxValueBytes),
		}
	}
	m.Key = []byte(key)
	for _, o := range options {
		if err := o.applyWrite(&m); err != nil {
			return clerkwire.Written{}, err
		}
	}
	w := c.newCall(kind)
	defer c.free(w)
	if m.More != (clerkwire.WriteMore{}) {
		if kind != clerkwire.KindPut && ties(m.More) {
			return clerkwire.Written{}, invalid("only a Put says when its key ends; an Append keeps what there is, and Touch changes it")
		}
		w.needs = "ends of keys, guards, and what was there before a write"
	}
	err := inLane(ctx, c, w, func(session, lane, seq uint64) clerkwire.Write {
		m.Session, m.Lane, m.Seq = session, lane, seq
		return m
	})
	if err != nil {
		if g := m.More.Guard; g.Token != 0 && errors.Is(err, ErrLockLost) {
			c.keeper.lockLost(g.Lock, g.Token)
		}
		return clerkwire.Written{}, err
	}
	return w.written, nil
}

// inLane makes one call in a lane of its own, whose message is made for each session in
// which it is tried. The answer is in w.
func inLane[M clerkwire.Message](ctx context.Context, c *Clerk, w *call, message func(session, lane, seq uint64) M) error {
	l := c.lanes.take(ctx, c.lifetime)
	if l == nil {
		return c.givenUp(ctx, new(trail), false)
	}
	defer c.lanes.give(l)
	for {
		session, err := c.openSession(ctx)
		if err != nil {
			return err
		}
		doubt, refused := run(ctx, c, &c.route, w, message(session, l.number, l.seq))
		switch {
		case refused == nil:
			return nil
		case refused.Code == api.CodeSessionExpired && !doubt && w.refused != nil:
			// Other sessions have displaced this one. This attempt, the only one that
			// could have an effect, had none: the call may be made again in a new
			// session.
			c.session.CompareAndSwap(session, 0)
		case doubt && (w.refused == nil || !w.refused.Decided):
			// Another server may have done what this one refuses.
			refused.Outcome = api.OutcomeUnknown
			return refused
		default:
			return refused
		}
	}
}

// openSession returns the session of the Clerk's calls and opens one if there is
// none. Opening twice does no harm: an unused session is forgotten.
func (c *Clerk) openSession(ctx context.Context) (uint64, error) {
	if id := c.session.Load(); id != 0 {
		return id, nil
	}
	select {
	case c.opening <- struct{}{}:
		defer func() { <-c.opening }()
	case <-ctx.Done():
		return 0, c.givenUp(ctx, new(trail), false)
	case <-c.lifetime.Done():
		return 0, c.givenUp(ctx, new(trail), false)
	}
	if id := c.session.Load(); id != 0 {
		return id, nil
	}
	w := c.newCall(clerkwire.KindOpen)
	defer c.free(w)
	if _, err := run(ctx, c, &c.route, w, clerkwire.Empty{}); err != nil {
		err.Outcome = api.OutcomeNotApplied // of the call that it was to be opened for
		return 0, err
	}
	c.session.Store(w.opened.Session)
	return w.opened.Session, nil
}

func checkKey(key string) error {
	if len(key) == 0 || len(key) > api.MaxKeyBytes {
		return invalid("the key has %d bytes; choose 1 to %d", len(key), api.MaxKeyBytes)
	}
	return nil
}

// maxLanes is the number of lanes that the servers let a session have.
const maxLanes = 1024

// lane numbers the writes that are made in it one after the other. It belongs to
// one call at a time.
type lane struct {
	number uint64
	seq    uint64 // of the last call
}

// lanes hands out lanes to writes. A free lane is used again before a new one is
// begun, because the servers remember the last call of each.
type lanes struct {
	room chan struct{} // holds a token for each lane in use

	mu    sync.Mutex // guards the fields below
	free  []*lane    // the one that was used last is at the end
	begun uint64
}

func newLanes(limit int) *lanes { return &lanes{room: make(chan struct{}, limit)} }

// take waits for a free lane and begins the next call in it. It returns nil if
// ctx or the clerk ended first.
func (ls *lanes) take(ctx, lifetime context.Context) *lane {
	select {
	case ls.room <- struct{}{}:
	default:
		select {
		case ls.room <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-lifetime.Done():
			return nil
		}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var l *lane
	if n := len(ls.free); n > 0 {
		l = ls.free[n-1]
		ls.free = ls.free[:n-1]
	} else {
		// Numbers begin at random. If a cluster is emptied and started anew while a
		// Clerk uses it, the Clerk's session may belong to another client by then. No
		// two calls must be taken for one.
		l = &lane{number: ls.begun, seq: rand.Uint64N(1 << 32)}
		ls.begun++
	}
	l.seq++
	return l
}

// give returns a lane to the free ones. The call in it has its answer, or no
// caller waits for it any more.
func (ls *lanes) give(l *lane) {
	ls.mu.Lock()
	ls.free = append(ls.free, l)
	ls.mu.Unlock()
	<-ls.room
}
