package failure

import (
	"errors"
	"slices"
	"time"

	"raftkv/kvserver/api"
)

// Kind is one row of the table: how errors of one kind are shown to clients.
type Kind struct {
	Err        error // one of the errors of this package
	Status     int   // of HTTP
	Code       api.Code
	Outcome    api.Outcome
	Retryable  bool          // the same request may be sent again as it is
	RetryAfter time.Duration // 0: nothing is said
	Title      string
}

// kinds is the one table from errors to statuses, codes and outcomes. A row says
// not_applied only if the request did not take effect and never will.
var kinds = [...]Kind{
	{BadRequest, 400, api.CodeBadRequest, api.OutcomeNotApplied, false, 0, "The request is malformed"},
	{Unauthenticated, 401, api.CodeUnauthenticated, api.OutcomeNotApplied, false, 0, "A token is needed"},
	{Denied, 403, api.CodeForbidden, api.OutcomeNotApplied, false, 0, "The identity may not do this"},
	{NoSuchPath, 404, api.CodeNotFound, api.OutcomeNotApplied, false, 0, "There is nothing at this path"},
	{KeyNotFound, 404, api.CodeKeyNotFound, "", false, 0, "There is no such key"},
	{KeyMissing, 404, api.CodeKeyNotFound, api.OutcomeNotApplied, false, 0, "The write keeps what the key has, and there is no such key"},
	{NoSuchLease, 404, api.CodeLeaseNotFound, "", false, 0, "There is no such lease"},
	{LeaseGone, 404, api.CodeLeaseNotFound, api.OutcomeNotApplied, false, 0, "There is no such lease"},
	{LeaseExists, 409, api.CodeLeaseExists, api.OutcomeNotApplied, false, 0, "The lease is alive"},
	{LeaseFull, 409, api.CodeLeaseFull, api.OutcomeNotApplied, false, 0, "The lease has as much as it may"},
	{LeasesFull, 507, api.CodeLeasesFull, api.OutcomeNotApplied, true, 0, "There are as many leases as there may be"},
	{NoSuchLock, 404, api.CodeLockNotFound, "", false, 0, "There is no such lock"},
	{NotWaiting, 404, api.CodeLockNotFound, api.OutcomeNotApplied, false, 0, "The lease does not wait for the lock"},
	{LockHeld, 409, api.CodeLockHeld, api.OutcomeNotApplied, false, 0, "The lock is held"},
	{LimitMismatch, 409, api.CodeLimitMismatch, api.OutcomeNotApplied, false, 0, "The lock has another limit"},
	{LockQueueFull, 409, api.CodeLockQueueFull, api.OutcomeNotApplied, true, 0, "As many wait for the lock as may"},
	{LocksFull, 507, api.CodeLocksFull, api.OutcomeNotApplied, true, 0, "There are as many locks as there may be"},
	{LockLost, 412, api.CodeLockLost, api.OutcomeNotApplied, false, 0, "The token does not hold the lock"},
	{Forbidden, 403, api.CodeForbidden, api.OutcomeNotApplied, false, 0, "Sent by a page of another site"},
	{UnknownHost, 403, api.CodeForbidden, api.OutcomeNotApplied, false, 0, "Unknown host"},
	{MethodNotAllowed, 405, api.CodeMethodNotAllowed, api.OutcomeNotApplied, false, 0, "This path does not take the method"},
	{SlowWatcher, 408, api.CodeSlowWatcher, "", true, 0, "The watcher took too little for too long"},
	{RevisionAhead, 409, api.CodeRevisionAhead, "", false, 0, "The cluster has not come to this revision"},
	{OtherCluster, 409, api.CodeOtherCluster, "", false, 0, "The bookmark is of another cluster"},
	{RevisionGone, 410, api.CodeRevisionGone, "", false, 0, "The history does not reach so far back"},
	{LengthRequired, 411, api.CodeLengthRequired, api.OutcomeNotApplied, false, 0, "The request needs a body, if only an empty one"},
	{Precondition, 412, api.CodePreconditionFailed, api.OutcomeNotApplied, false, 0, "The condition does not hold"},
	{ValueTooLarge, 413, api.CodeValueTooLarge, api.OutcomeNotApplied, false, 0, "The value is too large"},
	{TooManyKeys, 413, api.CodeTooManyKeys, api.OutcomeNotApplied, false, 0, "The request reaches too many keys"},
	{TxnTooLarge, 413, api.CodeTxnTooLarge, api.OutcomeNotApplied, false, 0, "The transaction is too large"},
	{ResultTooLarge, 413, api.CodeResultTooLarge, api.OutcomeNotApplied, false, 0, "The answer would be too large"},
	{KeyTooLong, 414, api.CodeKeyTooLong, api.OutcomeNotApplied, false, 0, "The key is too long"},
	{NoSuchMember, 404, api.CodeNotFound, api.OutcomeNotApplied, false, 0, "There is no such member, change or token"},
	{JoinRefused, 403, api.CodeJoinRefused, api.OutcomeNotApplied, false, 0, "The token does not let this server join"},
	{LevelTooLow, 409, api.CodeLevelTooLow, api.OutcomeNotApplied, false, 0, "A node does not know the level"},
	{ChangeInProgress, 409, api.CodeChangeInProgress, api.OutcomeNotApplied, true, 0, "Another change has not ended"},
	{NotCaughtUp, 409, api.CodeNotCaughtUp, api.OutcomeNotApplied, true, 0, "The node has not caught up"},
	{WouldLoseQuorum, 409, api.CodeWouldLoseQuorum, api.OutcomeNotApplied, false, 0, "The change would leave too few healthy voters"},
	{TooFew, 409, api.CodeTooFew, api.OutcomeNotApplied, false, 0, "The change would leave no voter"},
	{IDTaken, 409, api.CodeIDTaken, api.OutcomeNotApplied, false, 0, "The id belongs to another node"},
	{AddressTaken, 409, api.CodeAddressTaken, api.OutcomeNotApplied, false, 0, "The address belongs to another node"},
	{NotReachable, 409, api.CodeUnreachable, api.OutcomeNotApplied, true, 0, "The node does not answer at its address"},
	{StillAlive, 412, api.CodePreconditionFailed, api.OutcomeNotApplied, false, 0, "The node that is to be replaced is alive"},
	{LastAdmin, 409, api.CodeLastAdmin, api.OutcomeNotApplied, false, 0, "The cluster would have no admin left"},
	{UnsupportedMedia, 415, api.CodeUnsupportedMedia, api.OutcomeNotApplied, false, 0, "The body has a form that is not taken here"},
	{Expectation, 417, api.CodeExpectationFailed, api.OutcomeNotApplied, false, 0, "The expectation cannot be met"},
	{IdempotencyMismatch, 422, api.CodeIdempotencyMismatch, api.OutcomeNotApplied, false, 0, "The idempotency key was used for another request"},
	{Overloaded, 429, api.CodeOverloaded, api.OutcomeNotApplied, true, time.Second, "The server has as much work as it can take"},
	{TooManyWatches, 429, api.CodeTooManyWatches, "", true, time.Second, "There are as many watches as there may be"},
	{IdentityLimited, 429, api.CodeIdentityLimited, api.OutcomeNotApplied, true, time.Second, "The identity has used what it may"},
	{HeaderTooLarge, 431, api.CodeHeaderTooLarge, api.OutcomeNotApplied, false, 0, "The header is too large"},
	{Internal, 500, api.CodeInternal, api.OutcomeUnknown, false, 0, "The server failed while it handled the request"},
	{InternalRead, 500, api.CodeInternal, api.OutcomeNotApplied, false, 0, "The server failed while it handled the request"},
	{NotImplemented, 501, api.CodeNotImplemented, api.OutcomeNotApplied, false, 0, "The request needs something that is not implemented"},
	{NotActive, 501, api.CodeNotActive, api.OutcomeNotApplied, false, 0, "The cluster does not work at the level that this needs"},
	{NoLeader, 503, api.CodeNoLeader, api.OutcomeNotApplied, true, time.Second, "The cluster has no leader that could be reached"},
	{Behind, 503, api.CodeBehind, api.OutcomeNotApplied, true, time.Second, "This node lags behind the cluster"},
	{Diverged, 503, api.CodeDiverged, api.OutcomeNotApplied, true, time.Minute, "This node's state was found to be wrong"},
	{Stopping, 503, api.CodeStopping, api.OutcomeNotApplied, true, time.Second, "This node is stopping"},
	{IdempotencyFull, 503, api.CodeIdempotencyFull, api.OutcomeNotApplied, true, time.Minute, "No more idempotency keys can be remembered"},
	{AuditUnavailable, 503, api.CodeAuditUnavailable, api.OutcomeNotApplied, true, time.Second, "The request could not be audited"},
	{StoppingUnknown, 504, api.CodeStopping, api.OutcomeUnknown, false, 0, "This node stopped before the result was known"},
	{Timeout, 504, api.CodeTimeout, api.OutcomeUnknown, false, 0, "The result was not known in time"},
	{ReadTimeout, 504, api.CodeTimeout, api.OutcomeNotApplied, true, 0, "The read was not possible in time"},
	{LeadershipLost, 504, api.CodeLeadershipLost, api.OutcomeUnknown, false, 0, "The leader was lost before the result was known"},
	{Quota, 507, api.CodeQuotaExceeded, api.OutcomeNotApplied, true, 0, "The store is as large as it may be"},
	{Version, 505, api.CodeVersion, api.OutcomeNotApplied, false, 0, "The version of HTTP is not supported"},
}

// Kinds returns the whole table, which the caller may keep.
func Kinds() []Kind { return slices.Clone(kinds[:]) }

// OfCaller reports whether an error is about the caller's identity and rights.
func OfCaller(err error) bool {
	return errors.Is(err, Unauthenticated) || errors.Is(err, Denied)
}

// KindOf finds the row of an error. An error without a row is a bug of this
// program, about which nothing can be promised: its kind is Internal.
func KindOf(err error) Kind {
	for _, k := range kinds {
		if errors.Is(err, k.Err) {
			return k
		}
	}
	return KindOf(Internal)
}

// OfAnswer finds the row of an error that another node has answered with. A code or an
// outcome of a later version has a row of its own, whose status says no more than the
// outcome does.
func OfAnswer(code api.Code, outcome api.Outcome) Kind {
	for _, k := range kinds {
		if k.Code == code && k.Outcome == outcome {
			return k
		}
	}
	later := Kind{Err: Internal, Status: 500, Code: code, Outcome: outcome, Title: "The leader refused the request"}
	switch outcome {
	case api.OutcomeNotApplied:
		later.Status = 503
	case api.OutcomeUnknown:
		later.Status = 504
	}
	return later
}

// TriedElsewhere reports whether an error with this value of api.HeaderError says that
// its node cannot serve the write and that it did not happen, so that it is for
// whichever node leads now. Code and outcome decide together: a node that stopped
// while it had the write knows nothing of its outcome, and says so under the same
// code.
func TriedElsewhere(header string) bool {
	for _, kind := range []error{NoLeader, Stopping, Diverged} {
		if header == KindOf(kind).Header() {
			return true
		}
	}
	return false
}

// Header returns the value of api.HeaderError for errors of the kind.
func (k Kind) Header() string {
	if k.Outcome == "" {
		return string(k.Code)
	}
	return string(k.Code) + "; outcome=" + string(k.Outcome)
}
