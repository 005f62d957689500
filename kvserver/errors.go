package kvserver

import (
	"errors"
	"fmt"
	"time"

	"raftkv/kvserver/api"
)

// The kinds of error that a request can end with. Each has one row in the table
// below and is wrapped, with a sentence of detail, by fail.
var (
	errBadRequest          = errors.New("bad request")
	errNoSuchPath          = errors.New("no such path")
	errKeyNotFound         = errors.New("key not found")
	errForbidden           = errors.New("forbidden")
	errUnknownHost         = errors.New("unknown host")
	errMethodNotAllowed    = errors.New("method not allowed")
	errPrecondition        = errors.New("precondition failed")
	errIdempotencyMismatch = errors.New("idempotency key used for another request")
	errIdempotencyFull     = errors.New("no room for idempotency keys")
	errQuota               = errors.New("quota exceeded")
	errLengthRequired      = errors.New("length required")
	errValueTooLarge       = errors.New("value too large")
	errKeyTooLong          = errors.New("key too long")
	errUnsupportedMedia    = errors.New("unsupported media type")
	errExpectation         = errors.New("expectation failed")
	errOverloaded          = errors.New("overloaded")
	errHeaderTooLarge      = errors.New("header too large")
	errNotImplemented      = errors.New("not implemented")
	errVersion             = errors.New("version of HTTP not supported")
	errNoLeader            = errors.New("no leader")
	errBehind              = errors.New("behind")
	errDiverged            = errors.New("diverged")
	errStopping            = errors.New("stopping")
	errStoppingUnknown     = errors.New("stopping, outcome unknown")
	errTimeout             = errors.New("timeout, outcome unknown")
	errReadTimeout         = errors.New("timeout of a read")
	errLeadershipLost      = errors.New("leadership lost, outcome unknown")
	errInternal            = errors.New("internal error, outcome unknown")
	errInternalRead        = errors.New("internal error of a read")
)

// kind is how an error is shown.
type kind struct {
	err        error
	status     int
	code       api.Code
	outcome    api.Outcome
	retryable  bool          // the same request may be sent again as it is
	retryAfter time.Duration // 0: nothing is said
	title      string
}

// kinds is the one table from errors to statuses, codes and outcomes. A row
// says not_applied only if the write did not happen and never will.
var kinds = [...]kind{
	{errBadRequest, 400, api.CodeBadRequest, api.OutcomeNotApplied, false, 0, "The request is malformed"},
	{errNoSuchPath, 404, api.CodeNotFound, api.OutcomeNotApplied, false, 0, "There is nothing at this path"},
	{errKeyNotFound, 404, api.CodeKeyNotFound, "", false, 0, "There is no such key"},
	{errForbidden, 403, api.CodeForbidden, api.OutcomeNotApplied, false, 0, "Sent by a page of another site"},
	{errUnknownHost, 403, api.CodeForbidden, api.OutcomeNotApplied, false, 0, "Unknown host"},
	{errMethodNotAllowed, 405, api.CodeMethodNotAllowed, api.OutcomeNotApplied, false, 0, "This path does not take the method"},
	{errLengthRequired, 411, api.CodeLengthRequired, api.OutcomeNotApplied, false, 0, "The request needs a body, if only an empty one"},
	{errPrecondition, 412, api.CodePreconditionFailed, api.OutcomeNotApplied, false, 0, "The condition does not hold"},
	{errValueTooLarge, 413, api.CodeValueTooLarge, api.OutcomeNotApplied, false, 0, "The value is too large"},
	{errKeyTooLong, 414, api.CodeKeyTooLong, api.OutcomeNotApplied, false, 0, "The key is too long"},
	{errUnsupportedMedia, 415, api.CodeUnsupportedMedia, api.OutcomeNotApplied, false, 0, "The body has a form that is not taken here"},
	{errExpectation, 417, api.CodeExpectationFailed, api.OutcomeNotApplied, false, 0, "The expectation cannot be met"},
	{errIdempotencyMismatch, 422, api.CodeIdempotencyMismatch, api.OutcomeNotApplied, false, 0, "The idempotency key was used for another request"},
	{errOverloaded, 429, api.CodeOverloaded, api.OutcomeNotApplied, true, time.Second, "The server has as much work as it can take"},
	{errHeaderTooLarge, 431, api.CodeHeaderTooLarge, api.OutcomeNotApplied, false, 0, "The header is too large"},
	{errInternal, 500, api.CodeInternal, api.OutcomeUnknown, false, 0, "The server failed while it handled the request"},
	{errInternalRead, 500, api.CodeInternal, api.OutcomeNotApplied, false, 0, "The server failed while it handled the request"},
	{errNotImplemented, 501, api.CodeNotImplemented, api.OutcomeNotApplied, false, 0, "The request needs something that is not implemented"},
	{errNoLeader, 503, api.CodeNoLeader, api.OutcomeNotApplied, true, time.Second, "The cluster has no leader that could be reached"},
	{errBehind, 503, api.CodeBehind, api.OutcomeNotApplied, true, time.Second, "This node lags behind the cluster"},
	{errDiverged, 503, api.CodeDiverged, api.OutcomeNotApplied, true, time.Minute, "This node's state was found to be wrong"},
	{errStopping, 503, api.CodeStopping, api.OutcomeNotApplied, true, time.Second, "This node is stopping"},
	{errIdempotencyFull, 503, api.CodeIdempotencyFull, api.OutcomeNotApplied, true, time.Minute, "No more idempotency keys can be remembered"},
	{errStoppingUnknown, 504, api.CodeStopping, api.OutcomeUnknown, false, 0, "This node stopped before the result was known"},
	{errTimeout, 504, api.CodeTimeout, api.OutcomeUnknown, false, 0, "The result was not known in time"},
	{errReadTimeout, 504, api.CodeTimeout, api.OutcomeNotApplied, true, 0, "The read was not possible in time"},
	{errLeadershipLost, 504, api.CodeLeadershipLost, api.OutcomeUnknown, false, 0, "The leader was lost before the result was known"},
	{errQuota, 507, api.CodeQuotaExceeded, api.OutcomeNotApplied, true, 0, "The store is as large as it may be"},
	{errVersion, 505, api.CodeVersion, api.OutcomeNotApplied, false, 0, "The version of HTTP is not supported"},
}

// kindOf finds the row of an error. What has none is a failure of this program,
// about which nothing can be promised.
func kindOf(err error) kind {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k
		}
	}
	return kindOf(errInternal)
}

// failure is an error of a known kind, with a sentence for people.
type failure struct {
	kind   error
	cause  error // may be nil; kept for errors.Is and logs, not shown
	detail string
	// retryAfter takes the place of the kind's own, if it is not 0.
	retryAfter time.Duration
}

// fail makes an error of a kind. The detail is shown to the client.
func fail(kind, cause error, format string, args ...any) error {
	return &failure{kind: kind, cause: cause, detail: fmt.Sprintf(format, args...)}
}

func (f *failure) Error() string {
	if f.cause != nil {
		return f.detail + ": " + f.cause.Error()
	}
	return f.detail
}

// Unwrap gives the kind only: a cause may itself be of a kind, and two kinds
// would be two promises about one request.
func (f *failure) Unwrap() error { return f.kind }
