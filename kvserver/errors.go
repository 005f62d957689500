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
	errBadRequest       = errors.New("bad request")
	errNoSuchPath       = errors.New("no such path")
	errKeyNotFound      = errors.New("key not found")
	errMethodNotAllowed = errors.New("method not allowed")
	errLengthRequired   = errors.New("length required")
	errValueTooLarge    = errors.New("value too large")
	errKeyTooLong       = errors.New("key too long")
	errOverloaded       = errors.New("overloaded")
	errNoLeader         = errors.New("no leader")
	errBehind           = errors.New("behind")
	errStopping         = errors.New("stopping")
	errStoppingUnknown  = errors.New("stopping, outcome unknown")
	errTimeout          = errors.New("timeout, outcome unknown")
	errReadTimeout      = errors.New("timeout of a read")
	errLeadershipLost   = errors.New("leadership lost, outcome unknown")
	errInternal         = errors.New("internal error, outcome unknown")
	errPrecondition     = errors.New("precondition failed")
	errQuota            = errors.New("quota exceeded")
	errSessionExpired   = errors.New("session expired")
	errInternalRead     = errors.New("internal error of a read")
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
	{errMethodNotAllowed, 405, api.CodeMethodNotAllowed, api.OutcomeNotApplied, false, 0, "This path does not take the method"},
	{errLengthRequired, 411, api.CodeLengthRequired, api.OutcomeNotApplied, false, 0, "The request needs a body, if only an empty one"},
	{errValueTooLarge, 413, api.CodeValueTooLarge, api.OutcomeNotApplied, false, 0, "The value is too large"},
	{errKeyTooLong, 414, api.CodeKeyTooLong, api.OutcomeNotApplied, false, 0, "The key is too long"},
	{errPrecondition, 412, api.CodePreconditionFailed, api.OutcomeNotApplied, false, 0, "The condition does not hold"},
	{errQuota, 507, api.CodeQuotaExceeded, api.OutcomeNotApplied, true, 0, "The store is as large as it may be"},
	{errSessionExpired, 409, api.CodeSessionExpired, api.OutcomeNotApplied, false, 0, "The session of the call is not known any more"},
	{errOverloaded, 429, api.CodeOverloaded, api.OutcomeNotApplied, true, time.Second, "The server has as much work as it can take"},
	{errInternal, 500, api.CodeInternal, api.OutcomeUnknown, false, 0, "The server failed while it handled the request"},
	{errInternalRead, 500, api.CodeInternal, api.OutcomeNotApplied, false, 0, "The server failed while it handled the request"},
	{errNoLeader, 503, api.CodeNoLeader, api.OutcomeNotApplied, true, time.Second, "The cluster has no leader that could be reached"},
	{errBehind, 503, api.CodeBehind, api.OutcomeNotApplied, true, time.Second, "This node lags behind the cluster"},
	{errStopping, 503, api.CodeStopping, api.OutcomeNotApplied, true, time.Second, "This node is stopping"},
	{errStoppingUnknown, 504, api.CodeStopping, api.OutcomeUnknown, false, 0, "This node stopped before the result was known"},
	{errTimeout, 504, api.CodeTimeout, api.OutcomeUnknown, false, 0, "The result was not known in time"},
	{errReadTimeout, 504, api.CodeTimeout, api.OutcomeNotApplied, true, 0, "The read was not possible in time"},
	{errLeadershipLost, 504, api.CodeLeadershipLost, api.OutcomeUnknown, false, 0, "The leader was lost before the result was known"},
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
