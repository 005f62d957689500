package client

import (
	"bytes"
	"context"
	"errors"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// exchange makes one attempt at a request. After done, w holds the answer.
// Otherwise w may be used for another attempt, and must not be used for anything
// else before.
func exchange[M clerkwire.Message](ctx context.Context, c *Clerk, server int, w *call, message M) verdict {
	s := c.server(server)
	conn, err := s.connection(ctx)
	if conn == nil {
		return verdict{outcome: notApplied, leader: -1, err: err}
	}
	if !conn.watches && w.needs != "" {
		return verdict{outcome: notApplied, leader: -1, err: tooOldFor(s.address, w.needs), final: true}
	}
	return attemptOn(ctx, c, s, conn, w, message, true)
}

// tooOldFor returns the error of a server that speaks protocol 1 only.
func tooOldFor(address, what string) *Error {
	return &Error{Code: api.CodeNotImplemented, Outcome: api.OutcomeNotApplied, Detail: "the server at " + address + " is of a version without " + what}
}

// attemptOn is exchange on a connection. again says that the connection may be given
// another token, if this one opens nothing any more.
func attemptOn[M clerkwire.Message](ctx context.Context, c *Clerk, s *server, conn *conn, w *call, message M, again bool) verdict {
	if !send(ctx, conn, w, message) {
		return verdict{outcome: unknown, leader: -1, err: overdue(s.address, context.Cause(ctx))}
	}
	switch {
	case errors.Is(w.err, errNotSent):
		return verdict{outcome: notApplied, leader: -1, err: unreachable(s.address, w.err)}
	case w.err != nil:
		return verdict{outcome: unknown, leader: -1, err: lost(s.address, w.err)}
	case w.refused == nil:
		return verdict{outcome: done}
	case w.refused.Code == api.CodeUnauthenticated && again && c.renew(ctx, s, conn):
		return attemptOn(ctx, c, s, conn, w, message, false)
	}
	return c.judge(w.refused)
}

// judge decides what a refusal means for the call.
func (c *Clerk) judge(r *clerkwire.Refused) verdict {
	v := verdict{outcome: done, leader: c.find(r.Leader, r.LeaderAddr), err: refusal(r)}
	switch {
	case r.Decided:
	case r.Outcome == api.OutcomeUnknown:
		v.outcome = unknown
	case r.Code == api.CodeOverloaded:
		v.outcome, v.after = overloaded, r.RetryAfter
	case r.Retryable:
		v.outcome = notApplied
	}
	return v
}

// run makes attempts at one call until it is done, or ctx or the Clerk ends. The
// error is nil if w holds an answer. doubt says that an attempt before the one
// that was answered may have had an effect.
func run[M clerkwire.Message](ctx context.Context, c *Clerk, r *route, w *call, message M) (doubt bool, err *Error) {
	if ctx.Err() != nil || c.lifetime.Err() != nil {
		return false, c.givenUp(ctx, new(trail), false)
	}
	var t trail
	last, doubt := r.retry(ctx, func(ctx context.Context, server int) verdict {
		return c.note(&t, server, exchange(ctx, c, server, w, message))
	})
	if last.outcome == done {
		return doubt, last.err
	}
	return doubt, c.givenUp(ctx, &t, doubt || last.outcome == unknown)
}

// note remembers how an attempt ended, if that is not the end of the call, and
// tells Config.OnRefusal.
func (c *Clerk) note(t *trail, server int, v verdict) verdict {
	if v.outcome == done || v.err == nil {
		return v
	}
	v.final = v.final || v.err.final
	address := c.server(server).address
	t.note(address, v.err)
	if c.config.OnRefusal != nil {
		c.config.OnRefusal(noted{address, v.err}.refusal())
	}
	return v
}

// givenUp returns the error of a call that ended before it was answered: because
// ctx or the Clerk ended, or because no server's answer can change later.
func (c *Clerk) givenUp(ctx context.Context, t *trail, unknown bool) *Error {
	switch {
	case ctx.Err() != nil:
		return givenUp(context.Cause(ctx), t, unknown)
	case c.lifetime.Err() != nil:
		return givenUp(context.Cause(c.lifetime), t, unknown)
	}
	return givenUp(nil, t, unknown)
}

// call is one request on one connection and, later, its answer. Calls are used
// again; see Clerk.newCall.
type call struct {
	number uint32
	age    uint32 // of the connection, in sweeps, when it was sent
	kind   clerkwire.Kind
	needs  string        // what a server of protocol 1 does not have, and the call needs; "": nothing
	done   chan struct{} // holds a token when the call has ended

	// err is set if there is no answer: errNotSent, or the reason why it was lost.
	err      error
	refused  *clerkwire.Refused // instead of one of those below
	opened   clerkwire.Opened
	got      clerkwire.Got
	written  clerkwire.Written
	listed   clerkwire.Listed
	synced   clerkwire.Synced
	txnDone  clerkwire.TxnDone
	granted  clerkwire.Granted
	kept     clerkwire.Kept
	leases   clerkwire.LeasesShown
	acquired clerkwire.Acquired
	locks    clerkwire.LocksShown
	feed     *feed  // of a request for a watch: where what it brings goes
	oldest   uint64 // if the history does not reach so far: where it begins
}

// newCall returns a call that is free.
func (c *Clerk) newCall(kind clerkwire.Kind) *call {
	w, used := c.calls.Get().(*call)
	if !used {
		w = &call{done: make(chan struct{}, 1)}
	}
	*w = call{kind: kind, done: w.done}
	return w
}

// free returns a call that no connection holds any more to the pool.
func (c *Clerk) free(w *call) {
	w.refused, w.got.Value, w.listed.Items, w.feed, w.err = nil, nil, nil, nil, nil
	w.txnDone.Outcome, w.written.Outcome = nil, ""
	w.kept.TTLs, w.leases.Leases, w.locks.Locks = nil, nil, nil
	c.calls.Put(w)
}

// take reads the answer. It copies the parts of body that it keeps.
func (c *call) take(kind clerkwire.Kind, body []byte) error {
	switch kind {
	case clerkwire.KindRefused:
		c.refused = new(clerkwire.Refused)
		return c.refused.Parse(body)
	case clerkwire.KindEnded: // instead of a watch
		var ended clerkwire.Ended
		err := ended.Parse(body)
		c.refused, c.oldest = &ended.Why, ended.Oldest
		return err
	case clerkwire.KindWatching:
		return c.feed.watching.Parse(body)
	case clerkwire.KindSynced:
		return c.synced.Parse(body)
	case clerkwire.KindTxn.Answer(), clerkwire.KindDeleteRange.Answer():
		return c.txnDone.Parse(bytes.Clone(body)) // the outcome aliases the copy
	case clerkwire.KindGranted:
		return c.granted.Parse(body)
	case clerkwire.KindKept:
		return c.kept.Parse(body)
	case clerkwire.KindLeasesShown:
		return c.leases.Parse(bytes.Clone(body)) // the keys alias the copy
	case clerkwire.KindAcquired:
		return c.acquired.Parse(body)
	case clerkwire.KindLocksShown:
		return c.locks.Parse(bytes.Clone(body)) // names and values alias the copy
	case clerkwire.KindAuthed:
		return new(clerkwire.Empty).Parse(body)
	case clerkwire.KindOpened:
		return c.opened.Parse(body)
	case clerkwire.KindGot:
		err := c.got.Parse(body)
		c.got.Value = bytes.Clone(c.got.Value)
		return err
	case clerkwire.KindListed:
		return c.listed.Parse(bytes.Clone(body)) // the items alias the copy
	}
	return c.written.Parse(body) // the only answers that are left
}
