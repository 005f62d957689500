package api

// Outcome states whether a write happened.
type Outcome string

const (
	// OutcomeApplied: it happened.
	OutcomeApplied Outcome = "applied"
	// OutcomeNotApplied: it did not happen and will not. A request that was not a
	// write has this outcome whenever it fails.
	OutcomeNotApplied Outcome = "not_applied"
	// OutcomeUnknown: it was pending when its result was lost. It happened, or
	// will happen, at most once.
	OutcomeUnknown Outcome = "unknown"
)

// Code names an error for programs. Codes are only ever added.
type Code string

// The codes, with the HTTP status they come with.
const (
	CodeBadRequest          Code = "bad_request"          // 400
	CodeUnauthenticated     Code = "unauthenticated"      // 401
	CodeForbidden           Code = "forbidden"            // 403
	CodeNotFound            Code = "not_found"            // 404: no such path
	CodeKeyNotFound         Code = "key_not_found"        // 404: the path is right, the key is not there
	CodeLeaseNotFound       Code = "lease_not_found"      // 404: it has ended, or never was
	CodeLeaseExists         Code = "lease_exists"         // 409: a lease with the id that was asked for is alive
	CodeLeaseFull           Code = "lease_full"           // 409: one lease has as many keys or bytes as it may
	CodeLeasesFull          Code = "leases_full"          // 507
	CodeLockNotFound        Code = "lock_not_found"       // 404: nobody holds it, or waits for it
	CodeLockHeld            Code = "lock_held"            // 409
	CodeLimitMismatch       Code = "limit_mismatch"       // 409: the lock has another limit of holders
	CodeLockQueueFull       Code = "lock_queue_full"      // 409
	CodeLocksFull           Code = "locks_full"           // 507
	CodeLockLost            Code = "lock_lost"            // 412: the token does not hold the lock
	CodeMethodNotAllowed    Code = "method_not_allowed"   // 405
	CodeRevisionAhead       Code = "revision_ahead"       // 409: no node has come to it
	CodeOtherCluster        Code = "other_cluster"        // 409
	CodeRevisionGone        Code = "revision_gone"        // 410
	CodeLengthRequired      Code = "length_required"      // 411
	CodePreconditionFailed  Code = "precondition_failed"  // 412
	CodeValueTooLarge       Code = "value_too_large"      // 413
	CodeTooManyKeys         Code = "too_many_keys"        // 413: of a transaction or the removal of a range
	CodeTxnTooLarge         Code = "txn_too_large"        // 413
	CodeResultTooLarge      Code = "result_too_large"     // 413: of a transaction
	CodeKeyTooLong          Code = "key_too_long"         // 414
	CodeUnsupportedMedia    Code = "unsupported_media"    // 415
	CodeExpectationFailed   Code = "expectation_failed"   // 417
	CodeIdempotencyMismatch Code = "idempotency_mismatch" // 422
	CodeOverloaded          Code = "overloaded"           // 429
	CodeTooManyWatches      Code = "too_many_watches"     // 429
	CodeIdentityLimited     Code = "identity_limited"     // 429: the identity has used what it may
	CodeHeaderTooLarge      Code = "header_too_large"     // 431
	CodeInternal            Code = "internal"             // 500
	CodeNotImplemented      Code = "not_implemented"      // 501
	CodeNotActive           Code = "not_active"           // 501: the cluster's level is below what is asked for
	CodeNoLeader            Code = "no_leader"            // 503
	CodeBehind              Code = "behind"               // 503: this node lags too far to answer
	CodeDiverged            Code = "diverged"             // 503: this node's state was found to be wrong
	CodeStopping            Code = "stopping"             // 503, or 504 for a write that was pending
	CodeIdempotencyFull     Code = "idempotency_full"     // 503
	CodeAuditUnavailable    Code = "audit_unavailable"    // 503
	CodeTimeout             Code = "timeout"              // 504
	CodeSlowWatcher         Code = "slow_watcher"         // 408, at the end of a watch only
	CodeLeadershipLost      Code = "leadership_lost"      // 504
	CodeVersion             Code = "http_version"         // 505
	CodeQuotaExceeded       Code = "quota_exceeded"       // 507

	CodeJoinRefused      Code = "join_refused"       // 403
	CodeLevelTooLow      Code = "level_too_low"      // 409: a node does not know the level
	CodeChangeInProgress Code = "change_in_progress" // 409
	CodeNotCaughtUp      Code = "not_caught_up"      // 409
	CodeWouldLoseQuorum  Code = "would_lose_quorum"  // 409
	CodeTooFew           Code = "too_few"            // 409: no voter would be left
	CodeIDTaken          Code = "id_taken"           // 409
	CodeAddressTaken     Code = "address_taken"      // 409
	CodeUnreachable      Code = "unreachable"        // 409
	CodeLastAdmin        Code = "last_admin"         // 409: no admin with a token would be left
)

// CodeSessionExpired is answered to Clerks only: the session of the call is not
// known any more, or has moved on. This attempt had no effect; an earlier one may
// have had.
const CodeSessionExpired Code = "session_expired"

// Problem is the body of every answer that is an error (RFC 9457), with the
// media type MediaProblem.
type Problem struct {
	// Type is a URI for the kind of problem; "about:blank" says that there is no
	// more to know than Title and Code.
	Type string `json:"type"`
	// Title names the kind of problem. A Code may have several kinds.
	Title string `json:"title"`
	// Status repeats the HTTP status.
	Status int `json:"status"`
	// Detail explains what is wrong, with its number, and what can be done.
	Detail string `json:"detail,omitempty"`
	Code   Code   `json:"code"`
	// Outcome is empty when there is no doubt: a read that found no key.
	Outcome Outcome `json:"outcome,omitempty"`
	// Retryable: the same request may be sent again unchanged, after RetryAfter if
	// that was given, without the risk of being served twice.
	Retryable bool `json:"retryable"`
	// Node is the server that wrote this answer; Leader and Term are the ones that
	// it knew then, Leader "" if it knew none.
	Node      string `json:"node"`
	Leader    string `json:"leader"`
	Term      uint64 `json:"term"`
	RequestID string `json:"request_id"`
	// Oldest and Revision say how far the history reaches, at a CodeRevisionGone: from
	// the change of Oldest to that of Revision.
	Oldest   uint64 `json:"oldest,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	// Operation names the operation for which a transaction was refused, by its number in
	// its branch, from 0; one inside of a nested transaction as in "3.1".
	Operation string `json:"operation,omitempty"`
	// Holders are those of a lock, at a CodeLockHeld, for a client that may observe it.
	Holders []LockHolder `json:"holders,omitempty"`
	// Next is where a list goes on whose pages were to show one state, at a
	// CodeRevisionGone: the same request without that state.
	Next string `json:"next,omitempty"`
	// Checks are the lines of a failed readiness probe that asked for them.
	Checks []string `json:"checks,omitempty"`
}

// Media types of bodies.
const (
	MediaProblem = "application/problem+json" // a Problem
	MediaJSON    = "application/json"
	MediaNDJSON  = "application/x-ndjson" // a Value per line
)
