package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Errors that errors.Is finds in what calls return. All but ErrClosed and
// ErrInvalid come as an *Error with the details.
var (
	// ErrNotFound: a Get found no such key, or a write keeps something of a key that is not
	// there.
	ErrNotFound = errors.New("there is no such key")
	// ErrConflict: the condition of a write did not hold; it did not happen.
	ErrConflict = errors.New("the condition does not hold")
	// ErrNoLeader: no server that could be reached leads or knows a leader.
	ErrNoLeader = errors.New("no leader could be reached")
	// ErrOutcomeUnknown: the write may have happened or may still happen, once.
	ErrOutcomeUnknown = errors.New("the outcome of the write is not known")
	// ErrOverloaded: the servers had no room for the request until the context
	// ended.
	ErrOverloaded = errors.New("the servers are overloaded")
	// ErrQuota: the store is full. Reads and deletes still work.
	ErrQuota = errors.New("the store is full")
	// ErrTooLarge: the value, or what an append would make of it, is longer than
	// the servers take.
	ErrTooLarge = errors.New("the value is too large")
	// ErrTooManyKeys: a range has more keys than may go or be looked at; nothing was done.
	ErrTooManyKeys = errors.New("the range has too many keys")
	// ErrLeaseExists: a lease with the id that was asked for is alive.
	ErrLeaseExists = errors.New("a lease with this id is alive")
	// ErrLeaseFull: the lease has as many keys or bytes as it may, or the store as many
	// leases. Nothing happened.
	ErrLeaseFull = errors.New("the lease is full, or there are too many")
	// ErrLockHeld: all places of the lock are taken. The lease neither holds it nor waits
	// for it, unless the error is an ErrOutcomeUnknown, too.
	ErrLockHeld = errors.New("the lock is held")
	// ErrLockLost: the token does not hold the lock. Of a guarded write: nothing happened.
	ErrLockLost = errors.New("the lock is lost")
	// ErrSessionExpired: the servers forgot the Clerk's session between two
	// attempts at the same write, so it is not known whether the first one
	// happened. It is an ErrOutcomeUnknown, too. The session that was used least recently
	// is forgotten when there are more than ten thousand, when all together hold more than
	// 1,048,576 lanes (one for each write that a Clerk ever had in flight at once), or more
	// than 32 MiB of answers to transactions. A session also ends for a Clerk that goes on
	// under another identity, because it belongs to the one that used it first.
	ErrSessionExpired = errors.New("the session expired between two attempts")
	// ErrUnauthenticated: the servers ask for a token, or this one opens nothing.
	ErrUnauthenticated = errors.New("the token is missing or opens nothing")
	// ErrForbidden: the identity may not do this. It is never tried again.
	ErrForbidden = errors.New("the identity may not do this")
	// ErrClosed: the Clerk is closed.
	ErrClosed = errors.New("the clerk is closed")
	// ErrInvalid: the call is impossible: the key is empty or too long, or options
	// exclude each other. Nothing was sent.
	ErrInvalid = errors.New("the call is invalid")
)

// Error is the reason why a call failed. Use errors.Is to compare it with the
// errors of this package.
type Error struct {
	// Code names the error; "" if the caller's context ended the call.
	Code api.Code
	// Outcome states whether a write happened. A read has api.OutcomeNotApplied.
	Outcome api.Outcome
	// RetryAfter is the time after which the server expected room, 0 if it did not
	// say.
	RetryAfter time.Duration
	// Node is the server that answered. Leader is the leader and Term the term
	// that it knew. They are "" and 0 if no server has answered.
	Node   string
	Leader string
	Term   uint64
	// Revision and Version are the key's when a condition did not hold; 0 if there
	// was no such key.
	Revision uint64
	Version  uint64
	// RequestID names the last attempt in the server's log.
	RequestID string
	// Detail is a sentence for people.
	Detail string

	// LeaderAddr is the address where the leader takes clients, according to Node;
	// "" if it did not say.
	LeaderAddr string
	// Refusals holds the last refusal of every server that was asked, the most
	// informative ones first. It is set if the call ended before a server did what
	// it asked.
	Refusals []Refusal

	cause    error  // ctx's, ErrClosed, a connection's; may be nil
	short    string // instead of Detail where the server is named before it
	final    bool   // the server's answer will not change later
	stranger bool   // the peer that answered is no server of this cluster
	cutShort bool   // the caller did not wait any longer
}

// Error describes the error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("raftkv: ")
	switch {
	case e.Detail != "":
		b.WriteString(e.Detail)
	case e.cause != nil:
		b.WriteString(e.cause.Error())
	default:
		b.WriteString(string(e.Code))
	}
	if e.Detail != "" && e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	if e.Outcome == api.OutcomeUnknown {
		b.WriteString(" (the write may have happened or may still happen, once)")
	}
	return b.String()
}

// Is reports whether the error is one of this package's.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrOutcomeUnknown:
		return e.Outcome == api.OutcomeUnknown
	case ErrNotFound:
		return e.Code == api.CodeKeyNotFound
	case ErrConflict:
		return e.Code == api.CodePreconditionFailed
	case ErrNoLeader:
		return e.Code == api.CodeNoLeader || e.Code == api.CodeStopping
	case ErrOverloaded:
		return e.Code == api.CodeOverloaded
	case ErrQuota:
		return e.Code == api.CodeQuotaExceeded
	case ErrTooLarge:
		return e.Code == api.CodeValueTooLarge || e.Code == api.CodeTxnTooLarge || e.Code == api.CodeResultTooLarge
	case ErrTooManyKeys:
		return e.Code == api.CodeTooManyKeys
	case ErrRevisionGone:
		return e.Code == api.CodeRevisionGone
	case ErrLeaseLost:
		return e.Code == api.CodeLeaseNotFound
	case ErrLeaseExists:
		return e.Code == api.CodeLeaseExists
	case ErrLeaseFull:
		return e.Code == api.CodeLeaseFull || e.Code == api.CodeLeasesFull
	case ErrLockHeld:
		return e.Code == api.CodeLockHeld
	case ErrLockLost:
		return e.Code == api.CodeLockLost
	case ErrSessionExpired:
		return e.Code == api.CodeSessionExpired
	case ErrUnauthenticated:
		return e.Code == api.CodeUnauthenticated
	case ErrForbidden:
		return e.Code == api.CodeForbidden
	case ErrInvalid:
		return e.Code == api.CodeBadRequest
	}
	return false
}

// Unwrap returns the cause that ended the call, if that was not an answer: the
// error of the context, ErrClosed, or the reason why no server could be reached.
func (e *Error) Unwrap() error { return e.cause }

// refusal makes an Error of a server's refusal.
func refusal(r *clerkwire.Refused) *Error {
	return &Error{
		Code: r.Code, Outcome: r.Outcome, RetryAfter: r.RetryAfter, Node: r.Node, Leader: r.Leader, LeaderAddr: r.LeaderAddr, Term: r.Term,
		Revision: r.Revision, Version: r.Version, RequestID: r.RequestID, Detail: r.Detail,
	}
}

// unreachable returns the error of an attempt that could not even be made.
func unreachable(address string, cause error) *Error {
	return &Error{
		Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied,
		Detail: "the server at " + address + " could not be reached", cause: cause,
	}
}

// stranger returns the error of an attempt that was not made because the peer is
// no server of this cluster.
func stranger(address, what string) *Error {
	return &Error{
		Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied, Detail: "the server at " + address + " " + what,
		short: what, stranger: true,
	}
}

// lost returns the error of an attempt that has no answer.
func lost(address string, cause error) *Error {
	e := &Error{
		Outcome: api.OutcomeUnknown,
		Detail:  "the answer of the server at " + address + " was lost", cause: cause, short: "lost its answer",
	}
	if errors.Is(cause, errAttemptTimeout) {
		e.short = "does not answer requests"
	}
	return e
}

// overdue returns the error of an attempt that was no longer waited for.
func overdue(address string, cause error) *Error {
	return &Error{
		Outcome: api.OutcomeUnknown,
		Detail:  "the server at " + address + " had not answered yet", cause: cause, short: "had not answered yet", cutShort: true,
	}
}

func invalid(format string, args ...any) error {
	return &Error{Code: api.CodeBadRequest, Outcome: api.OutcomeNotApplied, Detail: fmt.Sprintf(format, args...)}
}

// givenUp returns the error of a call that ended before an attempt was done.
// cause is the context's error, or nil if no server's answer can change later.
// unknown says that some attempt may have had an effect.
func givenUp(cause error, t *trail, unknown bool) *Error {
	e := &Error{Detail: "the call ended before it was answered"}
	if best := t.best(); best != nil {
		*e = *best
		e.Refusals = t.refusals()
		e.Detail = Explain(e.Refusals)
		if cause == nil {
			cause = best.cause
			e.short = ""
		}
	}
	e.cause = cause
	e.Outcome = api.OutcomeNotApplied
	if unknown {
		e.Outcome = api.OutcomeUnknown
	}
	return e
}
