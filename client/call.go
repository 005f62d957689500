package client

import (
	"bytes"

	"raftkv/kvserver/clerkwire"
)

// call is one request on one connection and, later, its answer. Calls are used
// again; see Clerk.newCall.
type call struct {
	number uint32
	age    uint32 // of the connection, in sweeps, when it was sent
	kind   clerkwire.Kind
	done   chan struct{} // holds a token when the call has ended

	// err is set if there is no answer: errNotSent, or the reason why it was lost.
	err     error
	refused *clerkwire.Refused // instead of one of those below
	opened  clerkwire.Opened
	got     clerkwire.Got
	written clerkwire.Written
	listed  clerkwire.Listed
	synced  clerkwire.Synced
	txnDone clerkwire.TxnDone
	feed    *feed  // of a request for a watch: where what it brings goes
	oldest  uint64 // if the history does not reach so far: where it begins
}

// newCall returns a call that is free.
func (c *Clerk) newCall(kind clerkwire.Kind) *call {
	w, used := c.calls.Get().(*call)
	if !used {
		w = &call{done: make(chan struct{}, 1)}
	}
	*w = call{kind: kind, done: w.done}
	return w
}

// free returns a call that no connection holds any more to the pool.
func (c *Clerk) free(w *call) {
	w.refused, w.got.Value, w.listed.Items, w.feed, w.err = nil, nil, nil, nil, nil
	w.txnDone.Outcome = nil
	c.calls.Put(w)
}

// take reads the answer. It copies the parts of body that it keeps.
func (c *call) take(kind clerkwire.Kind, body []byte) error {
	switch kind {
	case clerkwire.KindRefused:
		c.refused = new(clerkwire.Refused)
		return c.refused.Parse(body)
	case clerkwire.KindEnded: // instead of a watch
		var ended clerkwire.Ended
		err := ended.Parse(body)
		c.refused, c.oldest = &ended.Why, ended.Oldest
		return err
	case clerkwire.KindWatching:
		return c.feed.watching.Parse(body)
	case clerkwire.KindSynced:
		return c.synced.Parse(body)
	case clerkwire.KindTxn.Answer(), clerkwire.KindDeleteRange.Answer():
		return c.txnDone.Parse(bytes.Clone(body)) // the outcome aliases the copy
	case clerkwire.KindAuthed:
		return new(clerkwire.Empty).Parse(body)
	case clerkwire.KindOpened:
		return c.opened.Parse(body)
	case clerkwire.KindGot:
		err := c.got.Parse(body)
		c.got.Value = bytes.Clone(c.got.Value)
		return err
	case clerkwire.KindListed:
		return c.listed.Parse(bytes.Clone(body)) // the items alias the copy
	}
	return c.written.Parse(body) // the only answers that are left
}
