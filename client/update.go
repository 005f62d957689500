package client

import (
	"context"
	"fmt"

	"raftkv/kvserver/api"
)

// Tx is one turn of Update: what it has read, and what is to be done. It belongs to the
// goroutine that runs the function.
type Tx struct {
	ctx   context.Context
	clerk *Clerk
	reads []Compare
	ops   []Op
}

// Get returns the value of a key, or ErrNotFound. It does not see what this turn is to
// do.
func (t *Tx) Get(key string) (Item, error) {
	r, err := t.clerk.Txn(t.ctx).Then(OpGet(key)).Commit()
	if err != nil {
		return Item{}, err
	}
	items := r.Results[0].Items
	if len(items) == 0 {
		t.reads = append(t.reads, KeyAbsent(key))
		return Item{}, &Error{Code: api.CodeKeyNotFound, Outcome: api.OutcomeNotApplied, Detail: "there is no such key", Revision: r.Revision}
	}
	t.reads = append(t.reads, KeyRevision(key, items[0].Revision))
	return items[0], nil
}

// List returns all keys that begin with a prefix and their values, at most 10,000 keys and
// 8 MiB. It does not see what this turn is to do.
func (t *Tx) List(prefix string) ([]Item, error) {
	r, err := t.clerk.Txn(t.ctx).Then(OpList(prefix, 0)).Commit()
	if err != nil {
		return nil, err
	}
	items := r.Results[0].Items
	t.reads = append(t.reads, PrefixUnchanged(prefix, len(items), r.Revision))
	return items, nil
}

// Do adds operations to what is to be done when the function has returned nil, in their
// order.
func (t *Tx) Do(ops ...Op) { t.ops = append(t.ops, ops...) }

// Put sets the value of a key; see OpPut.
func (t *Tx) Put(key string, value []byte) { t.Do(OpPut(key, value)) }

// Delete removes a key; see OpDelete.
func (t *Tx) Delete(key string) { t.Do(OpDelete(key)) }

// Update changes keys as their present values ask for. It calls change, and does in one
// transaction what that has asked for, if nothing that it has read was created, changed
// or removed meanwhile. Otherwise it calls change again, after a pause, until ctx ends. So
// what is done rests on what is there, and happens once, however often change is called.
//
// The reads of one turn may be of different moments; what rests on such reads is never
// done. A turn may read 1,024 keys and ranges, and do as many operations, as a transaction
// may; with more the error is ErrInvalid. An error of change ends the call, and nothing
// happens; it may be wrapped. If ctx ends first the error is ErrConflict, and with
// ErrOutcomeUnknown the last turn may have been done.
func (c *Clerk) Update(ctx context.Context, change func(tx *Tx) error) (TxnResult, error) {
	for round := 1; ; round++ {
		tx := &Tx{ctx: ctx, clerk: c}
		if err := change(tx); err != nil {
			return TxnResult{}, err
		}
		r, err := c.Txn(ctx).If(tx.reads...).Then(tx.ops...).Commit()
		if err != nil || r.Succeeded {
			return r, err
		}
		if !c.route.sleep(ctx, jitter(round)) {
			return TxnResult{}, &Error{
				Code: api.CodePreconditionFailed, Outcome: api.OutcomeNotApplied, cause: context.Cause(ctx),
				Detail: fmt.Sprintf("in %d turns something that was read had changed before it could be acted on", round),
			}
		}
	}
}
