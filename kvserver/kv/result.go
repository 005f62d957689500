package kv

import (
	"fmt"

	"raftkv/kvserver/txn"
)

// Status is the way in which a command ended. Values are kept in lanes and thus
// in the replicated state: they are only ever added to.
type Status uint8

// The ways a command can end. Each but StatusOK is definite about this copy of
// the command: it changed only the records of its session. (An earlier copy of
// the same call may still have been applied before its session was evicted; a
// client that retried must say so.)
const (
	// StatusOK: done. A delete of a missing key is done, too.
	StatusOK Status = 0
	// StatusNotFound: a get found no such key, and a put or touch that keeps something
	// of the key neither.
	StatusNotFound Status = 1
	// StatusUnknownCommand: the command is malformed, or has fields that its
	// operation does not take. A command that a later version may know gets no
	// status, but stops the server; see UnknownError.
	StatusUnknownCommand Status = 2
	// StatusBadKey: the key is empty or longer than MaxKeyBytes.
	StatusBadKey Status = 3
	// StatusTooLong: the value, or what an append would make of it, is longer
	// than the command's MaxLength or than MaxValueBytes.
	StatusTooLong Status = 4
	// StatusSessionExpired: there is no such session, because it was evicted. IDs
	// are log indices, so they never name a session that is still to come.
	StatusSessionExpired Status = 5
	// StatusStale: a later call was already made in this lane, so the client
	// has had its answer to this one.
	StatusStale Status = 6
	// StatusBadCall: the lane is not below MaxLanes, or the sequence number is 0.
	StatusBadCall Status = 7
	// StatusConditionFailed: the condition does not hold. The result has the key's
	// present revision and version.
	StatusConditionFailed Status = 8
	// StatusIdempotencyMismatch: another request was made under this idempotency
	// key, and its answer is still kept.
	StatusIdempotencyMismatch Status = 9
	// StatusIdempotencyFull: the table of answers under idempotency keys is full,
	// and no answer in it is old enough to go.
	StatusIdempotencyFull Status = 10
	// StatusQuota: the store would hold more bytes than the command's Quota, and
	// more than it holds now.
	StatusQuota Status = 11
	// StatusLeaseNotFound: there is no such lease, or not any more, or it belongs to
	// another identity.
	StatusLeaseNotFound Status = 12
	// StatusLeaseExists: a lease with the id that was asked for is alive.
	StatusLeaseExists Status = 13
	// StatusLeaseFull: the lease has as many keys, or as many bytes, as it may.
	StatusLeaseFull Status = 14
	// StatusLeasesFull: the store has as many leases as it may.
	StatusLeasesFull Status = 15
	// StatusLockHeld: all places of the lock are taken, and the request does not wait.
	StatusLockHeld Status = 16
	// StatusQueued: all places of the lock are taken, and the lease waits for one.
	StatusQueued Status = 17
	// StatusLimitMismatch: the lock has another limit than the request names.
	StatusLimitMismatch Status = 18
	// StatusLockQueueFull: as many wait for the lock as may.
	StatusLockQueueFull Status = 19
	// StatusLocksFull: the store has as many locks, holders or waiters as it may.
	StatusLocksFull Status = 20
	// StatusLockLost: the token does not hold the lock.
	StatusLockLost Status = 21
	// StatusLockNotFound: the lease does not wait for such a lock.
	StatusLockNotFound Status = 22
	// StatusTooManyKeys: ranges reach more keys than a command may look at, or the change
	// would have more keys or bytes than it may. Of a delete-range Length is how many keys
	// were counted.
	StatusTooManyKeys Status = 23
	// StatusResultTooLarge: what a transaction has read is more than it asks for.
	StatusResultTooLarge Status = 24
	// StatusNotForgettable: the changes before that revision are forgotten already, or
	// the store has not come to it. No lane and no record holds it.
	StatusNotForgettable Status = 25
	// StatusForbidden: no rule of the command's caller grants it, or the caller's token
	// is gone. No lane and no record holds it.
	StatusForbidden Status = 26
)

// statusMaxBase is the greatest status that a lane or a record can hold at LevelBase, and
// statusMax from LevelHistory on.
const (
	statusMaxBase = StatusQuota
	statusMax     = StatusResultTooLarge
)

// decided reports whether the content of the store decided how a command ended, so that
// the answer is remembered under an idempotency key. A refusal by a limit is not.
func (s Status) decided() bool {
	switch s {
	case StatusOK, StatusConditionFailed, StatusNotFound, StatusLeaseNotFound, StatusLeaseExists,
		StatusLockHeld, StatusQueued, StatusLimitMismatch, StatusLockLost, StatusLockNotFound:
		return true
	}
	return false
}

func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusNotFound:
		return "not found"
	case StatusUnknownCommand:
		return "unknown command"
	case StatusBadKey:
		return "bad key"
	case StatusTooLong:
		return "value too long"
	case StatusSessionExpired:
		return "session expired"
	case StatusStale:
		return "stale call"
	case StatusBadCall:
		return "bad lane or sequence number"
	case StatusConditionFailed:
		return "condition failed"
	case StatusIdempotencyMismatch:
		return "idempotency key of another request"
	case StatusIdempotencyFull:
		return "too many idempotency keys"
	case StatusQuota:
		return "quota exceeded"
	case StatusTooManyKeys:
		return "too many keys"
	case StatusResultTooLarge:
		return "result too large"
	case StatusLeaseNotFound:
		return "lease not found"
	case StatusLeaseExists:
		return "lease exists"
	case StatusLeaseFull:
		return "lease full"
	case StatusLeasesFull:
		return "too many leases"
	case StatusLockHeld:
		return "lock held"
	case StatusQueued:
		return "queued"
	case StatusLimitMismatch:
		return "lock of another limit"
	case StatusLockQueueFull:
		return "queue of the lock full"
	case StatusLocksFull:
		return "too many locks"
	case StatusLockLost:
		return "lock lost"
	case StatusLockNotFound:
		return "lock not found"
	case StatusNotForgettable:
		return "revision cannot be forgotten"
	case StatusForbidden:
		return "forbidden"
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Result is the result of applying one command.
type Result struct {
	// ID is the identity in the command; zero if it could not be decoded.
	ID     RequestID
	Status Status
	// Revision is the number the change took; of a get that found something,
	// the revision of what it found; of a condition that failed, the key's
	// present one, 0 if there is no such key; of a lock that is held the token; otherwise
	// (nothing changed, nothing found) the store's revision.
	Revision uint64
	// Version counts the changes of the key since it was created; 0 if there is
	// no such key now. Of a grant, and of a request for a lock, it is the lease; see Lease.
	Version uint64
	// Length is the value's length in bytes after a put or append or of a get; how many
	// keys a revocation or a tick ended; 1 at a touch of a key that is tied to a lease.
	Length uint64
	// Created: the put or append made the key.
	Created bool
	// Deleted: there was something to delete; of a tick: more is due.
	Deleted bool
	// Replayed: this is the answer given to an earlier copy of the same call or
	// request.
	Replayed bool
	// Session is the ID of the session that OpOpenSession made.
	Session uint64
	// Value is the value that a get found, or what a keep-alive found; see Kept. It never
	// changes and must not be changed.
	Value []byte
	// Outcome is what a transaction has come to. A delete-range, and a write with
	// Previous, is one with a single operation. It never changes.
	Outcome *txn.Outcome
	// Refused says which operation a transaction was refused for; nil if the answer was
	// only remembered.
	Refused *txn.Refusal
}

// Lease returns the id of the lease that a grant made, or with which a lock is held or
// waited for.
func (r Result) Lease() int64 { return int64(r.Version) }

// Token returns the token of a lock that was acquired.
func (r Result) Token() uint64 { return r.Revision }
