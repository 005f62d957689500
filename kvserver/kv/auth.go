package kv

import (
	"errors"

	"raftkv/kvserver/auth"
)

// The operations on the table of identities. Value holds the version of the body and an
// encoded auth.Change, whose
// action must belong to the operation. No client may ask for them in a forwarded
// command: the leader makes them of requests that it has judged.
const (
	OpIdentity  Op = 18 // make, change or remove an identity
	OpToken     Op = 19 // create or remove a token
	OpAuthState Op = 20 // say how far identities count
)

// onAuth reports whether the operation changes the table of identities.
func (o Op) onAuth() bool { return o >= OpIdentity && o <= OpAuthState }

// AuthCommand returns the command that makes a change of the table of identities for an
// author.
func AuthCommand(by auth.Author, change *auth.Change) Command {
	return Command{Op: AuthOp(change.Action), Caller: by, Value: append([]byte{bodyVersion}, change.Encode()...)}
}

// EndEnforcing returns the command by which a person with a node's disk ends the
// enforcing of identities, where all tokens of admins are lost. Identities and tokens stay.
func EndEnforcing() Command {
	return AuthCommand(auth.Author{Identity: auth.Vouched}, &auth.Change{Action: auth.SetState, State: auth.Off})
}

// AuthOp returns the operation of a change of the table of identities.
func AuthOp(action auth.Action) Op {
	switch action {
	case auth.PutIdentity, auth.DeleteIdentity:
		return OpIdentity
	case auth.CreateToken, auth.RevokeToken, auth.ExpireToken:
		return OpToken
	}
	return OpAuthState
}

// EachNeed calls fn for every right and range that a command needs, after all that it
// would do has been resolved, until fn returns false. It reports false for operations
// that no client can ask for, and for those on the table of identities, which decides
// about them itself.
func (c *Command) EachNeed(fn func(auth.Right, auth.Range) bool) (asked bool) {
	switch c.Op {
	case OpPut, OpAppend, OpTouch:
		c.needOn(auth.Write, fn)
	case OpDelete:
		c.needOn(auth.Delete, fn)
	case OpGet:
		fn(auth.Read, auth.OneKey(string(c.Key)))
	case OpOpenSession:
		fn(auth.Known, auth.Range{})
	case OpTxn, OpDeleteRange:
		c.needsOfMany(fn)
	case OpGrant, OpKeepAlive, OpRevoke:
		fn(auth.Lease, auth.Range{})
	case OpAcquire, OpRelease, OpLeaveQueue, OpPublish:
		if fn(auth.Acquire, auth.OneLock(string(c.Key))) && c.makesLease() {
			fn(auth.Lease, auth.Range{})
		}
	default:
		return false
	}
	return true
}

// needOn asks for a right on the key, and for that to read it if the result shows what
// was there.
func (c *Command) needOn(right auth.Right, fn func(auth.Right, auth.Range) bool) {
	key := auth.OneKey(string(c.Key))
	if fn(right, key) && c.Previous {
		fn(auth.Read, key)
	}
}

// AsksToEnforce reports whether the command of a log entry is one that lets identities be
// enforced, if it is applied and its author may do that. It is for what must be known of a
// log before it is applied, and reads no more of other commands than their operation.
func AsksToEnforce(command []byte) bool {
	if len(command) < 2 || Op(command[1]) != OpAuthState {
		return false
	}
	c, err := DecodeCommand(command)
	if err != nil || len(c.Value) == 0 {
		return false
	}
	change, err := auth.DecodeChange(c.Value[1:])
	return err == nil && change.Action == auth.SetState && change.State == auth.Enforcing
}

// permitted decides about a command at its position in the log, by the identity and the
// token in it: a write of a token that was revoked earlier in the log does nothing, on
// every server alike.
func (s *Store) permitted(c *Command) bool {
	if s.auth.State() != auth.Enforcing {
		return true
	}
	if c.givesBack() {
		return true
	}
	allowed := true
	c.EachNeed(func(right auth.Right, r auth.Range) bool {
		allowed = s.auth.Allows(c.Caller, right, r)
		return allowed
	})
	return allowed
}

// givesBack reports whether the leader gives up what a lease of an identity holds or waits
// for, in the identity's name and without a token of it: its client waits for a lock, and
// may not any more. No client can ask for that. All identities that make requests have
// tokens, and CheckAsked refuses a command of another node that names a caller.
func (c *Command) givesBack() bool {
	switch c.Op {
	case OpRelease, OpLeaveQueue, OpRevoke:
		return c.Caller.Identity != 0 && c.Caller.Identity != auth.Vouched && c.Caller.Token == auth.TokenID{}
	}
	return false
}

// owner is the number of the identity to which what is remembered of a command belongs;
// 0 is nobody.
func (c *Command) owner() uint64 {
	if c.Caller.Identity == auth.Vouched {
		return 0
	}
	return c.Caller.Identity
}

// Reasons for StatusForbidden, which a Result holds as its Length.
const (
	ForbiddenByRules   = 0 // no rule of the caller grants it, or its token is gone
	ForbiddenLastAdmin = 1 // the cluster would have no admin left
)

// changeAuth applies a change of the table of identities. Of its result Version is the
// table's revision.
func (s *Store) changeAuth(index uint64, c Command) Result {
	if len(c.Value) == 0 {
		return Result{Status: StatusUnknownCommand, Revision: s.revision}
	}
	change, err := auth.DecodeChange(c.Value[1:]) // behind the version, which checkLevel has seen
	if err != nil || AuthOp(change.Action) != c.Op {
		return Result{Status: StatusUnknownCommand, Revision: s.revision}
	}
	next, err := s.auth.Apply(index, c.Caller, change)
	if err != nil {
		return s.authRefusal(change, err)
	}
	created := change.Action == auth.PutIdentity && s.auth.Named(change.Identity.Name) == nil
	s.setAuth(next)
	return Result{Revision: s.revision, Version: next.Revision(), Created: created}
}

// authRefusal returns the result of a change that was refused.
func (s *Store) authRefusal(change *auth.Change, err error) Result {
	r := Result{Revision: s.revision, Version: s.auth.Revision()}
	switch {
	case errors.Is(err, auth.ErrRevision):
		r.Status = StatusConditionFailed
	case errors.Is(err, auth.ErrNoIdentity), errors.Is(err, auth.ErrNoSuch):
		r.Status = StatusNotFound
	case errors.Is(err, auth.ErrTokenIDUse):
		// A repeated request draws another secret under the same id. The first one stands.
		r.Replayed = s.auth.Token(change.Token.ID).Identity == s.auth.Named(change.Name).Number
		if !r.Replayed {
			r.Status = StatusIdempotencyMismatch
		}
	case errors.Is(err, auth.ErrFull):
		r.Status = StatusQuota
	case errors.Is(err, auth.ErrLastAdmin):
		r.Status, r.Length = StatusForbidden, ForbiddenLastAdmin
	default:
		r.Status, r.Length = StatusForbidden, ForbiddenByRules
	}
	return r
}

// setAuth puts a table in the place of the present one.
func (s *Store) setAuth(next *auth.Table) {
	s.sum -= authSum(s.auth)
	s.auth = next
	s.sum += authSum(next)
}

// Auth returns the table of identities, nil if nobody has set anything. It never
// changes.
func (v *View) Auth() *auth.Table { return v.auth }

// authSum is the part of the digest that a table makes; 0 for one that nobody has set.
func authSum(t *auth.Table) (sum uint64) {
	if t.Revision() == 0 {
		return 0
	}
	t.Pieces(
		func(encoded []byte) { sum += bytesHash(hashIdentity, encoded) },
		func(encoded []byte) { sum += bytesHash(hashToken, encoded) },
	)
	return sum + hashOf(hashAuthState, t.Revision(), uint64(t.State()))
}

// writeAuth writes the section of the table of identities: its image, which is empty
// if nobody has set anything.
func writeAuth(e *snapshotWriter, v, content *View) {
	e.raw(v.auth.Image())
	content.sum += authSum(v.auth)
}

// auth reads the section of the table of identities.
func (d *snapshotReader) auth(s *Store) {
	if !d.more() {
		return
	}
	if d.left > auth.MaxImageBytes {
		d.bad("a table of identities of %d bytes", d.left)
		return
	}
	image := d.raw(int(d.left))
	if d.err != nil {
		return
	}
	table, err := auth.FromImage(image, s.applied)
	if err != nil {
		d.bad("a table of identities: %v", err)
		return
	}
	s.setAuth(table)
}

// ResetAuth forgets all identities and tokens, for a cluster that begins with a
// copy of another one's state.
func (s *Store) ResetAuth() { s.setAuth(nil) }
