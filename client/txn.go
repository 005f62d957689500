package client

import (
	"context"
	"fmt"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/txn"
)

// Txn is a transaction that is being put together; see Clerk.Txn. It belongs to one
// goroutine, and is committed once.
type Txn struct {
	clerk *Clerk
	ctx   context.Context
	txn   txn.Txn
	// unasked: an operation deletes a range without an end, and nobody has said Everything.
	unasked bool
}

// Txn begins a transaction: compares, and two branches of operations, of which one is
// done as a whole, in one change.
//
//	r, err := clerk.Txn(ctx).
//		If(client.KeyRevision("a", 17), client.KeyAbsent("b")).
//		Then(client.OpPut("a", v), client.OpDelete("c")).
//		Else(client.OpGet("a")).
//		Commit()
func (c *Clerk) Txn(ctx context.Context) *Txn { return &Txn{clerk: c, ctx: ctx} }

// If adds compares. The branch of Then is taken if all of them hold on the store as it
// was before the transaction.
func (t *Txn) If(compares ...Compare) *Txn {
	for _, c := range compares {
		t.txn.If = append(t.txn.If, c.compare)
	}
	return t
}

// Then adds operations to the branch that is taken if all compares hold.
func (t *Txn) Then(ops ...Op) *Txn {
	t.txn.Then = t.appendOps(t.txn.Then, ops)
	return t
}

// Else adds operations to the branch that is taken if a compare does not hold.
func (t *Txn) Else(ops ...Op) *Txn {
	t.txn.Else = t.appendOps(t.txn.Else, ops)
	return t
}

func (t *Txn) appendOps(to []txn.Op, ops []Op) []txn.Op {
	for _, o := range ops {
		to = append(to, o.op)
		t.unasked = t.unasked || o.unasked
	}
	return to
}

// Parse takes the transaction from JSON, as POST /v1/txn does, in place of what was added
// so far. The error is ErrInvalid and says where the text cannot be one.
func (t *Txn) Parse(text []byte) error {
	parsed, err := txn.Parse(text)
	if err != nil {
		return invalid("%s", txn.Sentence(err))
	}
	t.txn, t.unasked = *parsed, false
	return nil
}

// Commit makes the transaction. It happens once, however many attempts the Clerk has to
// make; one without a write is a read. An error that is not ErrOutcomeUnknown says that
// nothing of it happened and never will. That a compare does not hold is no error.
func (t *Txn) Commit() (TxnResult, error) {
	if err := t.txn.Check(); err != nil {
		return TxnResult{}, invalid("%s", txn.Sentence(err))
	}
	if t.unasked {
		return TxnResult{}, invalid("an operation would delete all keys from one to the last; say Everything of it if that is meant")
	}
	body := t.txn.Body(clerkwire.MaxTxnResultBytes)
	done, err := t.clerk.many(t.ctx, clerkwire.KindTxn, clerkwire.Txn{Body: body}, !t.txn.Writes())
	if err != nil {
		return TxnResult{}, err
	}
	return done, nil
}

// many makes a call of one of the kinds that are answered with an outcome.
func (c *Clerk) many(ctx context.Context, kind clerkwire.Kind, m clerkwire.Txn, reads bool) (TxnResult, error) {
	if len(m.Body) > clerkwire.MaxTxnBytes {
		return TxnResult{}, &Error{
			Code: api.CodeTxnTooLarge, Outcome: api.OutcomeNotApplied, Detail: fmt.Sprintf("the transaction has %d bytes; no server takes more than %d", len(m.Body), clerkwire.MaxTxnBytes),
		}
	}
	w := c.newCall(kind)
	defer c.free(w)
	w.needs = "transactions"
	if reads {
		if _, err := run(ctx, c, &c.route, w, m); err != nil {
			return TxnResult{}, asRead(err)
		}
	} else if err := inLane(ctx, c, w, func(session, lane, seq uint64) clerkwire.Txn {
		m.Session, m.Lane, m.Seq = session, lane, seq
		return m
	}); err != nil {
		return TxnResult{}, err
	}
	outcome, err := txn.DecodeOutcome(w.txnDone.Outcome)
	if err != nil {
		return TxnResult{}, &Error{Outcome: api.OutcomeUnknown, Detail: "the server's answer cannot be read", cause: err}
	}
	r := resultOf(outcome)
	r.Revision, r.ReadsDropped = w.txnDone.Revision, outcome.Dropped
	return r, nil
}

// TxnResult is what a transaction has come to.
type TxnResult struct {
	// Succeeded: all compares held, and Then was done. Otherwise Else was, and Failed is
	// the number, from 0, of the first compare that did not hold.
	Succeeded bool
	Failed    int
	// Revision is the number of the change, or the store's if nothing was changed.
	Revision uint64
	// Results has a result for each operation of the branch that was done.
	Results []OpResult
	// ReadsDropped: the first attempt was done and its answer lost, and what it had read
	// was too much to be remembered: more than 4 KiB.
	ReadsDropped bool

	outcome *txn.Outcome
}

// JSON returns the result as POST /v1/txn does, with values that are UTF-8 as text.
func (r *TxnResult) JSON() []byte { return r.outcome.AppendJSON(nil, r.Revision, true) }

// OpResult is the result of one operation.
type OpResult struct {
	Version, Length uint64 // of the key after a put or append
	Created         bool   // a put or append made the key
	Deleted         int    // how many keys a delete has removed
	// Items are what a get (one, or none) or a list has found; More: there are keys behind
	// the last one. Count is how many the range has, if that was asked for.
	Items []Item
	More  bool
	Count int
	Prev  []Item     // what was there before, if that was asked for
	Txn   *TxnResult // of a nested transaction
}

func resultOf(o *txn.Outcome) TxnResult {
	r := TxnResult{Succeeded: o.Succeeded, Failed: int(o.Failed), outcome: o}
	for i := range o.Results {
		from := &o.Results[i]
		to := OpResult{
			Version: from.Version, Length: from.Length, Created: from.Made, Deleted: int(from.Deleted), More: from.More, Count: int(from.Count),
			Items: itemsOf(from.Items), Prev: itemsOf(from.Prev),
		}
		if from.Txn != nil {
			nested := resultOf(from.Txn)
			to.Txn = &nested
		}
		r.Results = append(r.Results, to)
	}
	return r
}

func itemsOf(all []txn.Keyed) (items []Item) {
	for _, i := range all {
		items = append(items, Item{Key: i.Key, Value: i.Value, Revision: i.Revision, Version: i.Version, Created: i.Created, Lease: i.Lease})
	}
	return items
}

// Compare is one condition of a transaction.
type Compare struct{ compare txn.Compare }

// KeyRevision holds if the key's value has this revision; 0: if there is no such key.
func KeyRevision(key string, revision uint64) Compare {
	return Compare{txn.Compare{Span: txn.Key(key), Subject: txn.Revision, Is: txn.Equal, Number: revision}}
}

// KeyVersion holds if the key has this version; 0: if there is no such key.
func KeyVersion(key string, version uint64) Compare {
	return Compare{txn.Compare{Span: txn.Key(key), Subject: txn.Version, Is: txn.Equal, Number: version}}
}

// KeyCreated holds if the key was created by the change of this revision.
func KeyCreated(key string, revision uint64) Compare {
	return Compare{txn.Compare{Span: txn.Key(key), Subject: txn.Created, Is: txn.Equal, Number: revision}}
}

// KeyLease holds if the key is tied to the lease of this id; 0: to none.
func KeyLease(key string, id int64) Compare {
	return Compare{txn.Compare{Span: txn.Key(key), Subject: txn.Lease, Is: txn.Equal, Number: uint64(id)}}
}

// KeyValue holds if the key has this value. Of a key that does not exist it does not hold,
// whatever is compared.
func KeyValue(key string, value []byte) Compare {
	return Compare{txn.Compare{Span: txn.Key(key), Subject: txn.Value, Is: txn.Equal, Bytes: value}}
}

// KeyExists holds if there is such a key.
func KeyExists(key string) Compare {
	return Compare{txn.Compare{Span: txn.Key(key), Subject: txn.Version, Is: txn.Greater}}
}

// KeyAbsent holds if there is no such key.
func KeyAbsent(key string) Compare { return KeyVersion(key, 0) }

// PrefixUnchanged holds exactly if no key that begins with a prefix was created, changed
// or removed since a list of them that had this number of keys and this revision.
func PrefixUnchanged(prefix string, keys int, revision uint64) Compare {
	return Compare{txn.Compare{Span: txn.Prefix(prefix), Subject: txn.Unchanged, Is: txn.Equal, Number: uint64(keys), Newest: revision}}
}

// PrefixCount holds if exactly this number of keys begin with a prefix.
func PrefixCount(prefix string, keys int) Compare {
	return Compare{txn.Compare{Span: txn.Prefix(prefix), Subject: txn.Count, Is: txn.Equal, Number: uint64(keys)}}
}

// RangeUnchanged is PrefixUnchanged for the keys from one on that are less than to; an empty
// to is no end.
func RangeUnchanged(from, to string, keys int, revision uint64) Compare {
	return Compare{txn.Compare{Span: txn.Range(from, to), Subject: txn.Unchanged, Is: txn.Equal, Number: uint64(keys), Newest: revision}}
}

// RangeCount is PrefixCount for the keys from one on that are less than to; an empty to is
// no end.
func RangeCount(from, to string, keys int) Compare {
	return Compare{txn.Compare{Span: txn.Range(from, to), Subject: txn.Count, Is: txn.Equal, Number: uint64(keys)}}
}

// EachWith makes a compare of a key one of all keys that begin with a prefix: it holds if it
// holds for each of them. Without such a key it is compared like one that does not exist.
func (c Compare) EachWith(prefix string) Compare {
	c.compare.Span = txn.Prefix(prefix)
	return c
}

// EachOf is EachWith for the keys from one on that are less than to; an empty to is no end.
func (c Compare) EachOf(from, to string) Compare {
	c.compare.Span = txn.Range(from, to)
	return c
}

// Not holds if the compare, which is one of equality, does not. Of a value it holds only
// if there is such a key.
func (c Compare) Not() Compare {
	if c.compare.Is == txn.Equal {
		c.compare.Is = txn.NotEqual
	} else {
		c.compare.Is = 0 // Commit says that it cannot be
	}
	return c
}

// Less holds if what the key has is less than what the compare names.
func (c Compare) Less() Compare {
	c.compare.Is = txn.Less
	return c
}

// Greater holds if what the key has is greater than what the compare names.
func (c Compare) Greater() Compare {
	c.compare.Is = txn.Greater
	return c
}

// Op is one operation of a transaction.
type Op struct {
	op      txn.Op
	unasked bool // it deletes a range without an end, and nobody has said Everything
}

// OpPut sets the value of a key.
func OpPut(key string, value []byte) Op {
	return Op{op: txn.Op{Kind: txn.Put, Span: txn.Key(key), Value: value}}
}

// OpAppend adds to the end of a key's value.
func OpAppend(key string, value []byte) Op {
	return Op{op: txn.Op{Kind: txn.Append, Span: txn.Key(key), Value: value}}
}

// OpDelete removes a key.
func OpDelete(key string) Op { return Op{op: txn.Op{Kind: txn.Delete, Span: txn.Key(key)}} }

// OpDeletePrefix removes all keys that begin with a prefix. An empty one needs Everything.
func OpDeletePrefix(prefix string) Op {
	return deleteOp(txn.Prefix(prefix))
}

// OpDeleteRange removes the keys from one on that are less than to; an empty to is no end, and
// needs Everything.
func OpDeleteRange(from, to string) Op {
	return deleteOp(txn.Range(from, to))
}

func deleteOp(s txn.Span) Op {
	return Op{op: txn.Op{Kind: txn.Delete, Span: s}, unasked: s.IsOpen()}
}

// Everything says of OpDeletePrefix and OpDeleteRange that a range without an end is meant.
// Without it the transaction is refused, since an empty prefix is easily a slip.
func (o Op) Everything() Op {
	o.unasked = false
	return o
}

// OpGet reads a key.
func OpGet(key string) Op { return Op{op: txn.Op{Kind: txn.Get, Span: txn.Key(key)}} }

// OpList reads the keys that begin with a prefix, up to a number of them; 0: all.
func OpList(prefix string, limit int) Op {
	return Op{op: txn.Op{Kind: txn.List, Span: txn.Prefix(prefix), Limit: uint64(max(limit, 0))}}
}

// OpListRange reads the keys from one on that are less than to, up to a number of them; 0:
// all. An empty to is no end.
func OpListRange(from, to string, limit int) Op {
	return Op{op: txn.Op{Kind: txn.List, Span: txn.Range(from, to), Limit: uint64(max(limit, 0))}}
}

// WithoutValues makes an OpList read keys only.
func (o Op) WithoutValues() Op {
	o.op.KeysOnly = true
	return o
}

// WithCount makes an OpList count the keys of the whole range, too.
func (o Op) WithCount() Op {
	o.op.Count = true
	return o
}

// CountOnly makes an OpList without a limit count the keys of the range, and read none.
func (o Op) CountOnly() Op {
	o.op.CountOnly = true
	return o
}

// KeepValue makes an OpPut without a value leave that which the key has, which must be there.
func (o Op) KeepValue() Op {
	o.op.KeepValue = true
	return o
}

// OpTxn is a transaction inside of the transaction. Its compares are judged on the store
// as it was before the first operation of all.
func OpTxn(compares []Compare, then, otherwise []Op) Op {
	nested := (&Txn{}).If(compares...).Then(then...).Else(otherwise...)
	return Op{op: txn.Op{Kind: txn.Nested, Txn: &nested.txn}, unasked: nested.unasked}
}

// OpTouch gives a key another end, ttl from now, as Touch does.
func OpTouch(key string, ttl time.Duration) Op {
	return Op{op: txn.Op{Kind: txn.Touch, Span: txn.Key(key)}}.WithTTL(ttl)
}

// WithTTL lets the key of an OpPut end after a time, MinTTL or more.
func (o Op) WithTTL(ttl time.Duration) Op {
	ms, err := milliseconds(ttl)
	if err != nil {
		ms = 1 // Commit says that it cannot be
	}
	o.op.TTL = ms
	return o
}

// WithLease ties the key of an OpPut to a lease.
func (o Op) WithLease(lease *Lease) Op { return o.WithLeaseID(lease.ID()) }

// WithLeaseID is WithLease for a lease that somebody else keeps alive.
func (o Op) WithLeaseID(id int64) Op {
	o.op.Lease = id
	return o
}

// KeepTTL lets the key of an OpPut, which must be there, end as it would have without it.
func (o Op) KeepTTL() Op {
	o.op.KeepTie = true
	return o
}

// WithPrev adds to the result of a put, append or delete what was there before.
func (o Op) WithPrev() Op {
	o.op.Prev = true
	return o
}

// RangeRemoved is the result of DeletePrefix and DeleteRange.
type RangeRemoved struct {
	Deleted  int
	More     bool   // with Partially: the range has more keys
	Revision uint64 // of the change, or the store's if there was nothing
}

// RangeOption is an option of DeletePrefix and DeleteRange.
type RangeOption func(*removal)

// AtMost refuses to remove more keys than this: then none go.
func AtMost(keys int) RangeOption {
	return func(r *removal) { r.Guarded, r.AtMost = true, uint64(max(keys, 0)) }
}

// Partially removes no more keys than may go at once, 10,000 and 16 MiB of keys and
// values, and says whether there are more. Without it a larger range is an error.
func Partially() RangeOption { return func(r *removal) { r.Partial = true } }

// Everything says that a range without an upper bound is meant: all keys, or all from one on.
// Without it such a range is refused, since an empty prefix is easily a slip.
func Everything() RangeOption { return func(r *removal) { r.everything = true } }

// removal is what is to be removed, and whether it may have no upper bound.
type removal struct {
	txn.DeleteRange
	everything bool
}

// DeletePrefix removes all keys that begin with a prefix, in one change. As in Put, it
// happens once. An empty prefix needs Everything.
func (c *Clerk) DeletePrefix(ctx context.Context, prefix string, options ...RangeOption) (RangeRemoved, error) {
	s := txn.Prefix(prefix)
	return c.deleteRange(ctx, removal{DeleteRange: txn.DeleteRange{From: s.From, To: s.To}}, prefix != "", options)
}

// DeleteRange removes all keys from one on that are less than to, in one change. An empty
// to is no end, and needs Everything. As in Put, it happens once.
func (c *Clerk) DeleteRange(ctx context.Context, from, to string, options ...RangeOption) (RangeRemoved, error) {
	return c.deleteRange(ctx, removal{DeleteRange: txn.DeleteRange{From: from, To: to}}, to != "", options)
}

func (c *Clerk) deleteRange(ctx context.Context, d removal, bounded bool, options []RangeOption) (RangeRemoved, error) {
	for _, o := range options {
		o(&d)
	}
	switch {
	case len(d.From) > api.MaxKeyBytes || len(d.To) > api.MaxKeyBytes:
		return RangeRemoved{}, invalid("a bound of a range has at most %d bytes", api.MaxKeyBytes)
	case !bounded && !d.everything:
		return RangeRemoved{}, invalid("this would delete all keys from %.40q to the last; say Everything if that is meant", d.From)
	}
	r, err := c.many(ctx, clerkwire.KindDeleteRange, clerkwire.Txn{Body: d.Body(0)}, false)
	if err != nil {
		return RangeRemoved{}, err
	}
	return RangeRemoved{Deleted: r.Results[0].Deleted, More: r.Results[0].More, Revision: r.Revision}, nil
}
