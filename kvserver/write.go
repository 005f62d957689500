package kvserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/kvserver/txn"
)

// Remote carries a request to the leader on another node and brings the answer
// back. After nil the answer is with the caller. An error of kind failure.NoLeader
// says that the request had no effect and may be tried again; other errors are
// final.
type Remote func(ctx context.Context, leader string) error

// Write takes a caller's command through the log, wherever the leader is. elsewhere says
// that remote got the answer; a nil remote means that this request may not travel
// (again). The request has been admitted.
//
// A write is tried again only after an attempt that definitely did not happen,
// and then under a new identity. place, if not nil, is told where the command was put
// into the log here.
func (s *Server) Write(ctx context.Context, who *Caller, c kv.Command, place *Place, remote Remote) (result kv.Result, elsewhere bool, err error) {
	if err := s.allowCommand(who, &c); err != nil {
		return kv.Result{}, false, err
	}
	if level := c.MinLevel(); level > kv.LevelBase {
		if err := s.awaitLevel(ctx, level, "requests of this kind"); err != nil {
			return kv.Result{}, false, err
		}
	}
	return s.propose(ctx, c, place, remote)
}

// propose is Write for a command whose caller was judged.
func (s *Server) propose(ctx context.Context, c kv.Command, place *Place, remote Remote) (result kv.Result, elsewhere bool, err error) {
	s.whileLeaderless(ctx, func() (done bool) {
		result, elsewhere, err = s.writeOnce(ctx, c, place, remote)
		return !errors.Is(err, failure.NoLeader) || remote == nil
	})
	if errors.Is(err, failure.NoLeader) && s.machine.Stopping() {
		err = failure.StoppedBefore(err)
	}
	return result, elsewhere, err
}

// writeOnce is one attempt at a write.
func (s *Server) writeOnce(ctx context.Context, c kv.Command, place *Place, remote Remote) (result kv.Result, elsewhere bool, err error) {
	leader, term, err := s.whereToPropose()
	if err != nil {
		return kv.Result{}, false, err
	}
	switch {
	case leader == s.config.NodeID:
		result, err = s.machine.ProposeDuring(ctx, c, leader, term, place)
		s.Settled(c.Op, c.IdempotencyKey != "", Ending{Result: result, Err: err})
		return result, false, err
	case remote == nil:
		return kv.Result{}, false, s.leadsNot()
	case leader == "":
		return kv.Result{}, false, failure.LeaderUnknown()
	}
	attempt, release := s.machine.DuringTenure(ctx, leader, term)
	defer release()
	err = remote(attempt, leader)
	s.config.Observer.Forwarded(err)
	return kv.Result{}, err == nil, err
}

// Ending is how a proposal ended, and Place where it was put into the log.
type (
	Ending = machine.Ending
	Place  = machine.Place
)

// ProposeAsync puts a caller's command into the log here and returns at once. It is for
// requests that asked MayProposeHere and MayAsk and were admitted. onEnd must call Settled; for
// the rest see machine.ProposeAsync.
func (s *Server) ProposeAsync(who *Caller, c kv.Command, since time.Time, onEnd func(Ending)) {
	c.Caller = who.Author()
	s.machine.ProposeAsync(c, since, onEnd)
}

// Settled notes how a command of ProposeAsync or ProposeForwarded ended, once its
// client has the answer. byKey says that the command had an idempotency key.
func (s *Server) Settled(op kv.Op, byKey bool, e Ending) {
	s.config.Observer.Settled(byKey, e.Result, e.Err)
	if r := &e.Result; op == kv.OpTxn && e.Err == nil && r.Status == kv.StatusOK && r.Outcome != nil && !r.Replayed {
		s.config.Observer.Transacted(r.Outcome.Succeeded)
	}
}

// IdempotencySeconds is how long an answer is remembered under an idempotency key.
const IdempotencySeconds = kv.IdempotencyWindow / 1000

// statusKinds are the kinds of error for results that are refusals by the store.
// Whatever else the store refuses was checked before it was proposed.
var statusKinds = map[kv.Status]error{
	kv.StatusConditionFailed: failure.Precondition, kv.StatusTooLong: failure.ValueTooLarge, kv.StatusQuota: failure.Quota,
	kv.StatusIdempotencyMismatch: failure.IdempotencyMismatch, kv.StatusIdempotencyFull: failure.IdempotencyFull,
	kv.StatusForbidden: failure.Denied,
	kv.StatusNotFound:  failure.KeyMissing, kv.StatusTooManyKeys: failure.TooManyKeys, kv.StatusResultTooLarge: failure.ResultTooLarge,
	kv.StatusLeaseNotFound: failure.LeaseGone, kv.StatusLeaseExists: failure.LeaseExists,
	kv.StatusLeaseFull: failure.LeaseFull, kv.StatusLeasesFull: failure.LeasesFull,
	kv.StatusLockHeld: failure.LockHeld, kv.StatusQueued: failure.LockHeld, kv.StatusLimitMismatch: failure.LimitMismatch,
	kv.StatusLockQueueFull: failure.LockQueueFull, kv.StatusLocksFull: failure.LocksFull,
	kv.StatusLockLost: failure.LockLost, kv.StatusLockNotFound: failure.NotWaiting,
}

// RefusedByStore translates a result that is not kv.StatusOK into an error.
func (s *Server) RefusedByStore(r kv.Result) error {
	if r.Refused != nil && r.Refused.Operation != "" {
		return failure.InOperation(kindOf(r.Status), r.Refused.Operation, s.whyRefused(r))
	}
	return refusedWith(r.Status, s.whyRefused(r))
}

// refusedWith makes the error of a status with a sentence for people.
func refusedWith(status kv.Status, detail string) error {
	return failure.Of(kindOf(status), nil, "%s", detail)
}

// kindOf returns the kind of error of a status.
func kindOf(status kv.Status) error {
	if kind, known := statusKinds[status]; known {
		return kind
	}
	return failure.Internal
}

// whyRefused returns the sentence for a result that is a refusal.
func (s *Server) whyRefused(r kv.Result) string {
	if why := whyLeaseRefused(r); why != "" {
		return why
	}
	if why := whyLockRefused(r); why != "" {
		return why
	}
	switch r.Status {
	case kv.StatusConditionFailed:
		if r.Revision == 0 {
			return "the condition does not hold: there is no such key"
		}
		return fmt.Sprintf("the condition does not hold: the key has revision %d", r.Revision)
	case kv.StatusTooLong:
		return fmt.Sprintf("with this the value would have more than %d bytes, the limit of this node (--max-value-bytes)", s.config.MaxValueBytes)
	case kv.StatusQuota:
		return fmt.Sprintf("the store is full (quota %s, --max-store-bytes of the leader); delete something: reads and deletes still work", byteCount(s.config.MaxStoreBytes))
	case kv.StatusIdempotencyMismatch:
		return "another request was made with this " + api.HeaderIdempotencyKey
	case kv.StatusIdempotencyFull:
		return fmt.Sprintf("the table of idempotency keys is full (limit %d keys, and %s of the outcomes of transactions), and none of them is older than %d s; retry later, or write without an %s",
			kv.MaxIdempotencyRecords, byteCount(kv.MaxKeptAnswers), IdempotencySeconds, api.HeaderIdempotencyKey)
	case kv.StatusNotFound:
		return "the put keeps the value that the key has, and there is no such key"
	case kv.StatusTooManyKeys:
		return whyTooMany(r)
	case kv.StatusResultTooLarge:
		return "the operations read more keys and values than the answer may have; read less, or by lists"
	case kv.StatusForbidden:
		return "when the command came to its place in the log, no rule of its identity granted it, or its token was revoked"
	}
	return fmt.Sprintf("the store refused the command: %s", r.Status)
}

// whyTooMany returns the sentence for a change that is too large.
func whyTooMany(r kv.Result) string {
	if r.Length > 0 && r.Length <= txn.MaxKeys {
		return fmt.Sprintf("the range has %d keys, more than may go: nothing was deleted", r.Length)
	}
	return fmt.Sprintf("the ranges reach more than %d keys, or the change replaces more than %d MiB of keys and values: nothing was done; split the request", txn.MaxKeys, txn.MaxBytes>>20)
}
