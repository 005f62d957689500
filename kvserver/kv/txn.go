package kv

import (
	"bytes"
	"errors"
	"fmt"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/fields"
	"raftkv/kvserver/lease"
	"raftkv/kvserver/txn"
)

// manyBody is the Value of an OpTxn or an OpDeleteRange:
//
//	version u8 = 1 | bytes of results uvarint | txn.Txn.Append or txn.DeleteRange.Append
type manyBody struct {
	// results is how many bytes the outcome may show; txn.MaxResultBytes at most. It
	// travels in the command, because the doors want different amounts.
	results uint64
	txn     *txn.Txn         // of OpTxn
	span    *txn.DeleteRange // of OpDeleteRange
}

// onMany reports whether the operation is about several keys, which stand in its body.
func (o Op) onMany() bool { return o == OpTxn || o == OpDeleteRange }

// TxnCommand returns the command of a transaction whose outcome may show at most results bytes of
// keys and values.
func TxnCommand(t *txn.Txn, results uint64) Command {
	return Command{Op: OpTxn, Value: t.Body(results)}
}

// DeleteRangeCommand returns the command that removes the keys of a range. results is
// how many bytes of them the outcome may show, if the command has Previous.
func DeleteRangeCommand(d *txn.DeleteRange, results uint64) Command {
	return Command{Op: OpDeleteRange, Value: d.Body(results)}
}

// open reads the body of the command, if its operation has one. A malformed body stays
// unread. The error is an *UnknownError.
func (c *Command) open() error {
	if !c.Op.onMany() || c.body != nil || len(c.Value) == 0 {
		return nil
	}
	if c.Value[0] != bodyVersion {
		return &UnknownError{What: "version of the body of " + c.Op.String(), Number: uint64(c.Value[0])}
	}
	f := read(c.Value[1:])
	b := manyBody{results: f.Number()}
	if f.Bad() || b.results > txn.MaxResultBytes {
		return nil
	}
	var err error
	if c.Op == OpTxn {
		b.txn, err = txn.Decode(f.Rest)
	} else {
		b.span, err = txn.DecodeRange(f.Rest)
	}
	if unknown := unknownOf(err); unknown != nil {
		return unknown
	}
	if err == nil {
		c.body = &b
	}
	return nil
}

// Results returns how many bytes of keys and values the outcome of a command on several
// keys may show. The error says why its body cannot be.
func (c *Command) Results() (uint64, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	if c.body == nil {
		return 0, fmt.Errorf("%w: the body of %s", ErrMalformed, c.Op)
	}
	return c.body.results, nil
}

// Txn returns the transaction of a command whose Results are known, nil if it is none.
func (c *Command) Txn() *txn.Txn {
	if c.body == nil {
		return nil
	}
	return c.body.txn
}

// unknownOf returns what a later version may know of an encoding, nil if err says nothing
// of the kind.
func unknownOf(err error) *UnknownError {
	if unknown, ok := errors.AsType[*fields.UnknownError](err); ok {
		return &UnknownError{What: unknown.What, Number: unknown.Number}
	}
	return nil
}

// manyFit is fieldsFit for operations on several keys.
func (c *Command) manyFit() bool {
	limits := c.MaxLength != 0 || c.Quota != 0
	twice := c.IdempotencyKey != "" && c.Session != (SessionCall{})
	return c.body != nil && len(c.Key) == 0 && c.Condition == (Condition{}) && !twice && idempotencyKeyFits(c.IdempotencyKey) &&
		(c.Op == OpTxn && !c.Previous || c.Op == OpDeleteRange && !limits)
}

// needsOfMany is EachNeed for operations on several keys: a transaction needs every
// right of every branch, whichever is taken.
func (c *Command) needsOfMany(fn func(auth.Right, auth.Range) bool) {
	if c.open() != nil || c.body == nil {
		fn(auth.Admin, auth.Range{}) // it will be refused for what it is
		return
	}
	if d := c.body.span; d != nil {
		r := auth.KeysBetween(d.From, d.To)
		if fn(auth.Delete, r) && c.Previous {
			fn(auth.List, r)
		}
		return
	}
	NeedsOfTxn(c.body.txn, fn)
}

// NeedsOfTxn calls fn for every right and range that a transaction needs, until fn
// returns false.
func NeedsOfTxn(t *txn.Txn, fn func(auth.Right, auth.Range) bool) {
	read := func(s *txn.Span) bool {
		if s.Range {
			return fn(auth.List, auth.KeysBetween(s.From, s.To))
		}
		return fn(auth.Read, auth.OneKey(s.From))
	}
	// That a token holds a lock is a condition, which tells nothing to whoever has no token.
	_ = t.EachCompare(func(c *txn.Compare) bool { return c.Subject == txn.LockHeld || read(&c.Span) }) &&
		t.EachOp(func(o *txn.Op) bool {
			ok := true
			switch o.Kind {
			case txn.Put, txn.Append, txn.Touch:
				ok = fn(auth.Write, auth.OneKey(o.From))
			case txn.Delete:
				if o.Range {
					ok = fn(auth.Delete, auth.KeysBetween(o.From, o.To))
				} else {
					ok = fn(auth.Delete, auth.OneKey(o.From))
				}
			case txn.Get, txn.List:
				return read(&o.Span)
			}
			return ok && (!o.Prev || read(&o.Span))
		})
}

// txnState is a view as the transactions of an author read it.
type txnState struct {
	*View
	author auth.Author
}

func itemOf(i Item) txn.Item {
	return txn.Item{Value: i.Value, Revision: i.Revision, Version: i.Version, Created: i.Created}
}

// Find implements txn.State.
func (v txnState) Find(key string) (txn.Item, bool) {
	item, found := v.Get([]byte(key))
	return itemOf(item), found
}

// Ascend implements txn.State.
func (v txnState) Ascend(from string, fn func(key string, item txn.Item) bool) {
	v.items.ascend(from, func(key string, item Item) bool { return fn(key, itemOf(item.clipped())) })
}

// Holds implements txn.State.
func (v txnState) Holds(lock string, token uint64) bool { return v.locks.Holds(lock, token) }

// Lives implements txn.State.
func (v txnState) Lives(key string) txn.Lives {
	t := v.leases.Tie(key)
	return txn.Lives{Tied: t != lease.Tie{}, Lease: t.Lease}
}

// Alive implements txn.State.
func (v txnState) Alive(id int64) bool { return v.usedBy(v.author, id) }

// Read runs a transaction without writes on the view, and returns what the log would.
// results is how many bytes of keys and values its outcome may show.
func (v *View) Read(t *txn.Txn, results uint64) Result {
	outcome, changes, err := txn.Run(t, txnState{View: v}, txn.Bounds{ResultBytes: results})
	assert(len(changes) == 0, "kv: a transaction of reads has made %d changes", len(changes))
	return v.resultOf(outcome, err)
}

// resultOf returns the result of a transaction.
func (v *View) resultOf(outcome *txn.Outcome, err error) Result {
	if refused, ok := errors.AsType[*txn.Refusal](err); ok {
		length := refused.Count
		if refused.Cause == txn.TiedToLease {
			length = 1 // as of a touch by itself
		}
		return Result{Status: refusals[refused.Cause], Revision: v.revision, Length: length, Refused: refused}
	}
	return Result{Revision: v.revision, Outcome: outcome}
}

// runMany does what an operation on several keys asks for: all of it, or nothing.
func (s *Store) runMany(c Command) Result {
	bounds := txn.Bounds{
		Revision: s.revision + 1, MaxLength: c.MaxLength, Bytes: s.used(), TieBytes: lease.TieBytes, Quota: c.Quota, ResultBytes: c.body.results,
	}
	var outcome *txn.Outcome
	var changes []txn.Change
	var err error
	if c.Op == OpTxn {
		outcome, changes, err = txn.Run(c.body.txn, txnState{&s.state, c.Caller}, bounds)
	} else {
		outcome, changes, err = c.body.span.Run(txnState{&s.state, c.Caller}, bounds, c.Previous)
	}
	if at, full := s.overfills(changes); full {
		return s.resultOf(nil, &txn.Refusal{Cause: txn.FullLease, Operation: at})
	}
	s.commit(changes)
	return s.resultOf(outcome, err)
}

// refusals are the statuses of what a transaction can be refused for.
var refusals = [...]Status{
	txn.NoSuchKey: StatusNotFound, txn.TooLong: StatusTooLong, txn.OverQuota: StatusQuota,
	txn.TooManyKeys: StatusTooManyKeys, txn.ResultTooLarge: StatusResultTooLarge,
	txn.NoSuchLease: StatusLeaseNotFound, txn.TiedToLease: StatusConditionFailed, txn.FullLease: StatusLeaseFull,
}

// commit makes all changes, under one revision.
func (s *Store) commit(changes []txn.Change) {
	n := uint32(0)
	for i := range changes {
		c := &changes[i]
		if c.Touched { // which makes no revision
			tie := s.leases.Tie(c.Key)
			s.leases.Bind(c.Key, tie, 0, s.newTie(c, tie), 0)
			continue
		}
		if n == 0 {
			s.revision++
		}
		s.take(n, c)
		n++
	}
	if n > 0 {
		s.trim()
	}
}

// newTie returns what a change ties its key to, which was tied to old.
func (s *Store) newTie(c *txn.Change, old lease.Tie) lease.Tie {
	switch {
	case c.Kept:
		return old
	case c.Tie.TTL != 0:
		return lease.Tie{Deadline: s.leases.Time() + c.Tie.TTL}
	}
	return lease.Tie{Lease: c.Tie.Lease}
}

// take makes the change number n of a transaction.
func (s *Store) take(n uint32, c *txn.Change) {
	at, old := s.look([]byte(c.Key))
	t := ties{old: s.leases.Tie(c.Key)}
	t.new = s.newTie(c, t.old)
	event := Event{Revision: s.revision, Key: c.Key, Op: EventDelete, place: n, hash: at.hash, Prev: old, Lease: t.new.Lease, PrevLease: t.old.Lease}
	if at.found {
		event.Key = s.items.rows.at(at.row).key
		s.bytes -= len(c.Key) + len(old.Value)
		s.sum -= old.hash(at.hash)
	}
	if c.Item.Version == 0 {
		s.items.remove(at.row, at.hash)
	} else {
		i := c.Item
		event.Op, event.Item = EventPut, Item{Value: i.Value, Revision: i.Revision, Version: i.Version, Created: i.Created, checksum: checksumOf(0, i.Value)}
		s.bytes += len(c.Key) + len(i.Value)
		s.sum += event.Item.hash(at.hash)
		if at.found {
			s.items.replace(at.row, event.Item)
		} else {
			s.items.insert(event.Key, at.hash, event.Item)
		}
	}
	s.leases.Bind(event.Key, t.old, len(c.Key)+len(old.Value), t.new, len(c.Key)+len(c.Item.Value))
	s.noteMore(event)
}

// with adds what was there before, tied to a lease or to 0, to the result of a write that
// asks for it.
func (r Result) with(c *Command, old Item, lease int64) Result {
	if c.Previous {
		r.Outcome = outcomeOf(c, &r, old, lease)
	}
	return r
}

// outcomeOf returns a write as a transaction of one operation.
func outcomeOf(c *Command, r *Result, old Item, lease int64) *txn.Outcome {
	result := txn.Result{HasPrev: true, Version: r.Version, Length: r.Length, Made: r.Created, Deleted: bit(r.Deleted)}
	switch c.Op {
	case OpPut:
		result.Kind = txn.Put
	case OpAppend:
		result.Kind = txn.Append
	case OpDelete:
		result.Kind = txn.Delete
	}
	if old.Version != 0 {
		old = old.clipped()
		old.Created = old.Creation()
		result.Prev = []txn.Keyed{{Key: string(bytes.Clone(c.Key)), Item: itemOf(old), Lease: lease}}
	}
	return &txn.Outcome{Succeeded: true, Results: []txn.Result{result}}
}
