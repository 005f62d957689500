package node

import (
	"fmt"
	"time"

	"raftkv/raft/core"
)

// Batch is a core.Batch on its way to the service. Its receiver may keep and read
// all of it, and must not change it.
type Batch struct {
	*core.Batch
	from   *Node // nil: nobody waits for Taken
	handed time.Time
}

// Taken says that the service has taken the batch, which it need not have applied,
// and wants the next one. It is called once per batch, by any goroutine, and never
// blocks.
func (b Batch) Taken() {
	n := b.from
	if n == nil {
		return
	}
	if n.config.Observer != nil {
		n.config.Observer.Delivered(b.Batch, time.Since(b.handed))
	}
	n.inbox.post(event{kind: eventApplied, number: b.Last()})
}

// deliver hands a batch to the service, or to the applier that feeds the service.
func (n *Node) deliver(batch *core.Batch) {
	n.delivered.note(batch)
	n.batches <- Batch{Batch: batch, from: n, handed: time.Now()}
}

// StartBatches runs a replica like Start, but its service receives whole batches
// from a channel and calls Batch.Taken for each. So a batch goes from the loop to the
// service without a third goroutine between them. The channel must be empty, have
// room for at least one batch, and serve nothing else. The node closes it when
// nothing more will be delivered.
func StartBatches(config Config, state core.State, storage Storage, transport Transport, batches chan Batch) *Node {
	if cap(batches) == 0 {
		panic(fmt.Sprintf("node: a channel of batches needs room for 1, not %d: the loop must not wait for the service", cap(batches)))
	}
	n := newNode(config, state, storage, transport, batches)
	n.run()
	return n
}

// apply is the applier: it delivers one batch after the other to a service that has
// no goroutine for that.
func (n *Node) apply() {
	defer n.service.Close()
	for {
		select {
		case <-n.stop:
			return
		case b := <-n.batches:
			if b.Batch == nil || !n.service.Deliver(b.Batch, n.stop) {
				return
			}
			b.Taken()
		}
	}
}
