package client

import (
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
	if !conn.watches && (w.kind == clerkwire.KindTxn || w.kind == clerkwire.KindDeleteRange) {
		return verdict{outcome: notApplied, leader: -1, err: tooOldFor(s.address, "transactions"), final: true}
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
