package kv

import (
	"errors"

	"raftkv/kvserver/auth"
)

// CheckAsked says what keeps c from being a command that a client may ask for at
// another node. nil: nothing. Such a command is a put, append, delete or touch, grants
// or revokes a lease, or is about a lock; or it keeps one lease alive. What only
// the proposing server may decide is empty in it: identity, time, limit, quota. It is
// in no session, because Clerks ask the leader themselves. The lengths of key and
// value are for the caller to check.
//
// Operations are listed, so that one that is added later is refused until somebody
// decides that clients may ask for it.
func (c *Command) CheckAsked() error {
	switch c.Op {
	case OpPut, OpAppend, OpDelete, OpGrant, OpKeepAlive, OpRevoke, OpTouch, OpAcquire, OpRelease, OpLeaveQueue, OpPublish:
	default:
		return errors.New("no client may ask for the operation " + c.Op.String())
	}
	switch {
	case c.ID != (RequestID{}):
		return errors.New("the command has an identity, which only the leader gives")
	case c.Time != 0:
		return errors.New("the command has a time, which only the leader gives")
	case c.MaxLength != 0, c.Quota != 0:
		return errors.New("the command has a limit, which only the leader sets")
	case c.Caller != (auth.Author{}):
		return errors.New("the command has a caller, whom only the leader names")
	case c.Previous:
		return errors.New("the command asks for what was there before, for which the answer has no room")
	case c.Session != (SessionCall{}):
		return errors.New("the command is in a session, and Clerks ask the leader themselves")
	case c.Condition.Kind == IfVersion || c.Condition.Kind > conditionMax || !c.Condition.fits():
		return errors.New("the command has a condition that no client can set")
	case !idempotencyKeyFits(c.IdempotencyKey):
		return errors.New("the command has an idempotency key that cannot be one")
	case c.Op == OpDelete && len(c.Value) > 0:
		return errors.New("a delete takes no value")
	case (c.Op.onLeases() || c.leaseFlags() != 0) && !c.fieldsFit():
		return errors.New("the command has a lease or a time that no client can set")
	case (c.Op.onLocks() || c.Guard != (Guard{})) && !c.fieldsFit():
		return errors.New("the command has a lock that no client can name")
	case c.Op.onLocks():
		return c.checkLockAsked()
	case c.Op == OpKeepAlive:
		if _, one := c.KeptOne(); !one {
			return errors.New("the command keeps several leases alive, or none, and the answer has room for one")
		}
	}
	return nil
}
