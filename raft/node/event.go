package node

import "raftkv/raft/core"

// eventKind says which fields of an event mean something.
type eventKind uint8

const (
	eventReceive   eventKind = iota // from, request, answer
	eventReturned                   // call, reply
	eventPropose                    // proposal
	eventRead                       // read
	eventSaved                      // number: the write's sequence number
	eventApplied                    // number: the batch's last index
	eventSuspect                    // from
	eventTransfer                   // from: to whom; done
	eventCompact                    // snapshot
	eventTaking                     // number: the index; 0: not any more
	eventTerm                       // number: the index; read
	eventRatherNot                  // reason; number: 1, or 0 if it is gone
)

// event is one thing that happened to the loop.
type event struct {
	kind     eventKind
	from     core.ID
	request  core.Request
	answer   func(core.Reply)
	call     core.Call
	reply    core.Reply
	proposal *Proposal
	read     func(number uint64, err error)
	number   uint64
	done     func(error)
	reason   string
	snapshot core.Snapshot
}

// handle lets one event happen to the replica.
func (n *Node) handle(e *event) {
	switch e.kind {
	case eventReceive:
		n.replica.Receive(e.from, e.request, e.answer)
	case eventReturned:
		n.noteContact(e.call, e.reply)
		n.replica.Returned(e.call, e.reply)
	case eventPropose:
		n.replica.Propose(e.proposal)
	case eventRead:
		n.replica.Read(e.read)
	case eventSaved:
		n.replica.Saved(e.number)
	case eventApplied:
		n.replica.Applied(e.number)
	case eventSuspect:
		n.replica.Suspect(e.from)
	case eventTransfer:
		n.beginTransfer(e.from, e.done)
	case eventCompact:
		n.replica.Compact(e.snapshot)
	case eventTaking:
		n.replica.Taking(e.number)
	case eventTerm:
		e.read(n.termAt(e.number))
	case eventRatherNot:
		n.noteRatherNot(e.reason, e.number != 0)
	}
}

// drop ends the waiting of whoever posted an event that came too late.
func (e *event) drop() {
	switch e.kind {
	case eventPropose:
		e.proposal.fail(ErrStopped)
	case eventRead, eventTerm:
		e.read(0, ErrStopped)
	case eventTransfer:
		e.done(ErrStopped)
	}
}
