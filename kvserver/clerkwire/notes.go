package clerkwire

import (
	"fmt"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// NoteKind is what a note is. Values are part of the protocol.
type NoteKind uint8

// The kinds of notes.
const (
	NoteItem     NoteKind = 1 // a key of the state
	NoteState    NoteKind = 2 // the items that came are the whole state
	NoteChange   NoteKind = 3 // all events of one revision that match
	NoteProgress NoteKind = 4 // a bookmark
	NoteReset    NoteKind = 5 // forget everything: the state follows
	NoteHolder   NoteKind = 6 // a holder of a lock, of the state
)

// EventOp is what an event did. Values are part of the protocol.
type EventOp uint8

// The operations.
const (
	EventPut    EventOp = 1
	EventDelete EventOp = 2
	EventExpire EventOp = 3

	// Of locks.
	EventGranted     EventOp = 4
	EventReleased    EventOp = 5
	EventLockExpired EventOp = 6
	EventLockRevoked EventOp = 7
	EventPublished   EventOp = 8
)

// OfLock reports whether the event is about a lock.
func (o EventOp) OfLock() bool { return o >= EventGranted && o <= EventPublished }

// String returns the operation as HTTP names it.
func (o EventOp) String() string {
	switch o {
	case EventPut:
		return api.OpPut
	case EventExpire:
		return api.OpExpire
	case EventGranted, EventPublished:
		return api.OpGranted
	case EventReleased, EventLockExpired, EventLockRevoked:
		return api.OpReleased
	}
	return api.OpDelete
}

// Reason says why a lock was released, or granted again to its holder, as HTTP names it;
// "" if that needs no reason.
func (o EventOp) Reason() string {
	return map[EventOp]string{
		EventReleased: api.ReasonReleased, EventLockExpired: api.ReasonExpired,
		EventLockRevoked: api.ReasonRevoked, EventPublished: api.ReasonPublished,
	}[o]
}

// maxEvents bounds the events of one change.
const maxEvents = 10_000

// State is what a key holds, or held.
type State struct {
	Value    []byte // empty if only keys were asked for
	Revision uint64
	Version  uint64 // 0: there is no such key
	Created  uint64
	Lease    uint64 // 0: none
}

// Event is what a change did to one key or lock.
type Event struct {
	Op  EventOp
	Key []byte // of a lock its name
	// After is what is there behind the change; its Revision is that of the change, and
	// stands there. Of a lock it is the holder: Value, Lease, and the token as Revision.
	After State
	// HadPrev says that there was an item, and that it was asked for; Prev is that.
	HadPrev bool
	Prev    State
}

// Note is one thing that a watch brings.
type Note struct {
	Kind NoteKind
	// Revision is the bookmark, but for an item, which has its own in State, and for a
	// reset, where it is the first revision whose change is kept.
	Revision uint64
	Items    uint64 // of NoteState: how many came
	Key      []byte // of an item; of a holder the name of the lock
	State    State  // of a holder its Value, Lease, and the token as Revision
	Events   []Event
}

// AppendNote adds a note to the content of Changes.
func AppendNote(dst []byte, n *Note) []byte {
	all := Pieces{room: dst}
	all.Add(n)
	return all.room
}

// pieceLimit is about how much content of Changes Pieces hands on at once.
const pieceLimit = 256 << 10

// Pieces writes notes and hands their bytes on in pieces of about 256 KiB, so that no more
// is kept of a large change while a client takes nothing. It belongs to one goroutine.
type Pieces struct {
	room []byte
	send func(Changes) bool // nil: everything is gathered
	sent int64
	end  bool
}

// NewPieces returns a Pieces that hands on to send, which reports false at the end of the
// connection. It begins in room, whose content is lost, and what send is given is valid
// until it returns.
func NewPieces(room []byte, send func(Changes) bool) *Pieces {
	return &Pieces{room: room[:0], send: send}
}

// Close hands on what is left. It returns how many bytes there were in all, room for the
// next Pieces, and whether all of them were handed on.
func (p *Pieces) Close() (sent int64, room []byte, ok bool) {
	if len(p.room) > 0 {
		p.hand(false)
	}
	return p.sent, p.room, !p.end
}

// Add writes a note.
func (p *Pieces) Add(n *Note) {
	switch n.Kind {
	case NoteItem:
		p.array(7)
		p.number(uint64(n.Kind))
		p.bytes(n.Key)
		p.state(&n.State)
	case NoteHolder:
		p.array(5)
		p.number(uint64(n.Kind))
		p.holder(n.Key, &n.State)
	case NoteState:
		p.array(3)
		p.number(uint64(n.Kind))
		p.number(n.Revision)
		p.number(n.Items)
	case NoteChange:
		p.AddChange(n.Revision, len(n.Events), func(i int) Event { return n.Events[i] })
	default:
		p.array(2)
		p.number(uint64(n.Kind))
		p.number(n.Revision)
	}
}

// AddChange writes a note of the kind NoteChange. It calls event once for each of its
// events, in their order.
func (p *Pieces) AddChange(revision uint64, events int, event func(i int) Event) {
	p.array(3)
	p.number(uint64(NoteChange))
	p.number(revision)
	p.array(events)
	for i := range events {
		e := event(i)
		p.event(&e)
	}
}

func (p *Pieces) array(n int)     { p.room = msgpack.AppendArray(p.room, n) }
func (p *Pieces) number(n uint64) { p.room = msgpack.AppendUint(p.room, n) }

// bytes writes a byte string, and hands on what has gathered where a piece is full. More of
// the string is always behind that.
func (p *Pieces) bytes(b []byte) {
	p.room = msgpack.AppendBytesHeader(p.room, len(b))
	for p.send != nil && len(b) > 0 && len(p.room)+len(b) > pieceLimit {
		n := max(pieceLimit-len(p.room), 0)
		p.room = append(p.room, b[:n]...)
		b = b[n:]
		p.hand(true)
	}
	p.room = append(p.room, b...)
}

func (p *Pieces) hand(more bool) {
	p.sent += int64(len(p.room))
	p.end = p.end || !p.send(Changes{More: more, Content: p.room})
	p.room = p.room[:0]
}

// state writes the five fields of a state.
func (p *Pieces) state(s *State) {
	p.bytes(s.Value)
	p.number(s.Revision)
	p.number(s.Version)
	p.number(s.Created)
	p.number(s.Lease)
}

// holder writes the four fields of a holder of a lock.
func (p *Pieces) holder(name []byte, s *State) {
	p.bytes(name)
	p.number(s.Revision)
	p.number(s.Lease)
	p.bytes(s.Value)
}

// event writes an event: what was done, what is there, and what was before. One of a lock
// has the holder.
func (p *Pieces) event(e *Event) {
	if e.Op.OfLock() {
		p.array(5)
		p.number(uint64(e.Op))
		p.holder(e.Key, &e.After)
		return
	}
	p.array(7)
	p.number(uint64(e.Op))
	p.bytes(e.Key)
	p.bytes(e.After.Value)
	p.number(e.After.Version)
	p.number(e.After.Created)
	p.number(e.After.Lease)
	if !e.HadPrev {
		p.array(0)
		return
	}
	p.array(5)
	p.state(&e.Prev)
}

// Notes reads the content of Changes, one note after the other. Byte strings alias the
// content. A Notes belongs to one goroutine.
type Notes struct{ r msgpack.Reader }

// NewNotes returns a reader of content, which must not change while what was read of it
// is used.
func NewNotes(content []byte) Notes { return Notes{msgpack.NewReader(content)} }

// Next reads the next note, into the room of to.Events where there is some. It reports false
// behind the last one, and where the content is not in order; Err tells which.
func (n *Notes) Next(to *Note) bool {
	if n.r.Left() == 0 {
		return false
	}
	*to = Note{Events: to.Events[:0]}
	fields := n.r.Array(7)
	kind := n.r.Uint()
	switch {
	case kind == uint64(NoteItem) && fields == 7:
		to.Key = n.r.Bytes(api.MaxKeyBytes)
		to.State = readState(&n.r)
	case kind == uint64(NoteHolder) && fields == 5:
		to.Key, to.State = readHolder(&n.r)
	case kind == uint64(NoteState) && fields == 3:
		to.Revision, to.Items = n.r.Uint(), n.r.Uint()
	case kind == uint64(NoteChange) && fields == 3:
		to.Revision = n.r.Uint()
		for range n.r.Array(maxEvents) {
			to.Events = append(to.Events, readEvent(&n.r, to.Revision))
			if n.r.Fault() != "" {
				return false
			}
		}
	case (kind == uint64(NoteProgress) || kind == uint64(NoteReset)) && fields == 2:
		to.Revision = n.r.Uint()
	default:
		n.r.Reject(fmt.Sprintf("a note of kind %d with %d fields, which has no meaning here", kind, fields))
	}
	to.Kind = NoteKind(kind)
	return n.r.Fault() == ""
}

// Err returns what is wrong with the content; nil if all of it was read and in order. It
// wraps msgpack.ErrMalformed.
func (n *Notes) Err() error { return n.r.Close() }

func readState(r *msgpack.Reader) (s State) {
	s.Value = r.Bytes(api.MaxValueBytes)
	s.Revision = r.Uint()
	s.Version = r.Uint()
	s.Created = r.Uint()
	s.Lease = r.Uint()
	return s
}

func readHolder(r *msgpack.Reader) (name []byte, s State) {
	name = r.Bytes(api.MaxLockNameBytes)
	s.Revision = r.Uint()
	s.Lease = r.Uint()
	s.Value = r.Bytes(api.MaxLockValueBytes)
	return name, s
}

func readEvent(r *msgpack.Reader, revision uint64) (e Event) {
	fields, op := r.Array(7), r.Uint()
	e.Op = EventOp(op)
	switch ofLock := e.Op.OfLock(); {
	case op == 0 || op > uint64(EventPublished):
		r.Reject(fmt.Sprintf("an event of the operation %d, which has no meaning here", op))
		return e
	case ofLock && fields == 5:
		e.Key, e.After = readHolder(r)
		return e
	case ofLock || fields != 7:
		r.Reject(fmt.Sprintf("an event of %d fields, which has no meaning here", fields))
		return e
	}
	e.Key = r.Bytes(api.MaxKeyBytes)
	e.After.Value = r.Bytes(api.MaxValueBytes)
	e.After.Version = r.Uint()
	e.After.Created = r.Uint()
	e.After.Lease = r.Uint()
	if e.After.Version != 0 {
		e.After.Revision = revision
	}
	switch r.ArrayHeader() {
	case 0:
	case 5:
		e.HadPrev = true
		e.Prev = readState(r)
	default:
		r.Reject("a former item with another number of fields")
	}
	return e
}
