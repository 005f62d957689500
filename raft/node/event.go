package node

import "raftkv/raft/core"

// eventKind says which fields of an event mean something.
type eventKind uint8

const (
	eventReceive  eventKind = iota // from, request, answer
	eventReturned                  // call, reply
	eventPropose                   // proposal
	eventRead                      // read
	eventSaved                     // number: the write's sequence number
	eventApplied                   // number: the batch's last index
	eventRare                      // run, drop: everything that happens seldom
)

// event is one thing that happened to the loop. The kinds that come with every
// entry, read or message have fields of their own, so that posting them allocates
// nothing. All others are two functions; see Node.post.
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
	run      func() // runs on the loop
	drop     func() // called instead when the loop ends first; nil if nobody waits
}

// post makes the loop call run. If the loop ends first, drop, if not nil, is called
// instead; if it has ended already, neither is, and the result is false. It never
// blocks.
func (n *Node) post(run, drop func()) bool {
	return n.inbox.post(event{kind: eventRare, run: run, drop: drop})
}

// routine reports whether an event is the yes to a heartbeat. If Observed does not
// change with it, the status changes in nothing but the time of the contact.
func (e *event) routine() bool {
	request, _ := e.call.Request.(*core.AppendEntries)
	reply, _ := e.reply.(*core.AppendEntriesReply)
	return e.kind == eventReturned && request != nil && len(request.Entries) == 0 && reply != nil && reply.Success
}

// handle lets one event happen to the replica.
func (n *Node) handle(e *event) {
	n.unseen = n.unseen || !e.routine()
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
	case eventRare:
		e.run()
	}
}

// discard tells the caller that waits for an event, if any, that the loop ended
// before it came to the event.
func (e *event) discard() {
	switch {
	case e.kind == eventPropose:
		e.proposal.fail(ErrStopped)
	case e.kind == eventRead:
		e.read(0, ErrStopped)
	case e.drop != nil:
		e.drop()
	}
}
