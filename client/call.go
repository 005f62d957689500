package client

import (
	"bytes"
	"sync"

	"raftkv/kvserver/clerkwire"
)

// call is one request on one connection and, later, its answer. Calls are used
// again; see newCall.
type call struct {
	number uint32
	age    uint32 // of the connection, in sweeps, when it was sent
	kind   clerkwire.Kind
	done   chan struct{} // holds a token when the call has ended

	// err says that there is no answer: errNotSent or why it was lost.
	err     error
	refused *clerkwire.Refused // instead of one of those below
	opened  clerkwire.Opened
	got     clerkwire.Got
	written clerkwire.Written
	listed  clerkwire.Listed
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func newCall(kind clerkwire.Kind) *call {
	c := calls.Get().(*call)
	*c = call{kind: kind, done: c.done}
	return c
}

// free ends the use of a call that has ended, token taken.
func (c *call) free() {
	c.refused, c.got.Value, c.listed.Items, c.err = nil, nil, nil, nil
	calls.Put(c)
}

// take reads the answer. What it keeps of body is copied.
func (c *call) take(kind clerkwire.Kind, body []byte) error {
	switch kind {
	case clerkwire.KindRefused:
		c.refused = new(clerkwire.Refused)
		return c.refused.Parse(body)
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
