package node

import (
	"context"
	"errors"

	"raftkv/raft/core"
)

// ErrTransferFailed says that the other server did not take over leadership in
// time; this one still leads.
var ErrTransferFailed = errors.New("leadership was not taken over in time")

// Transfer hands leadership to another server, None for the most fitting, and
// returns when this server no longer leads. Errors: core.ErrNotLeader,
// core.ErrTransferring, core.ErrNobodyElse, ErrTransferFailed, ErrStopped, the
// context's, or a sentence when to cannot lead.
func (n *Node) Transfer(ctx context.Context, to core.ID) error {
	result := make(chan error, 1)
	done := func(err error) { result <- err }
	if !n.post(func() { n.beginTransfer(to, done) }, func() { done(ErrStopped) }) {
		return ErrStopped
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beginTransfer starts a transfer on the loop. done is called once, when it has
// ended.
func (n *Node) beginTransfer(to core.ID, done func(error)) {
	if err := n.replica.Transfer(to); err != nil {
		done(err)
		return
	}
	n.transfers = append(n.transfers, done)
}

// endTransfers tells the callers that wait for a transfer when it has ended.
func (n *Node) endTransfers() {
	if len(n.transfers) == 0 {
		return
	}
	var err error
	switch s := n.replica.Status(); {
	case s.Role == core.Leader && s.Transferee != core.None:
		return
	case s.Role == core.Leader:
		err = ErrTransferFailed
	}
	for _, done := range n.transfers {
		done(err)
	}
	n.transfers = nil
}
