package recorder

import (
	"slices"
	"sync"
	"time"
)

// Capacity is the number of events that a Recorder holds in memory, 4.5 MiB. The
// oldest make room.
const Capacity = 1 << 16

// The ring is made of chunks that are made when they are needed, so that a node of
// which little happens takes little memory.
const (
	chunkEvents = 1 << 10
	chunks      = Capacity / chunkEvents
)

// Recorder is a ring of events. All methods are safe for concurrent use.
type Recorder struct {
	begun time.Time
	now   func() time.Time
	news  chan struct{} // holds a token when something was put that Flight has not heard of

	mu       sync.Mutex       // guards the rest; never held during I/O
	names    map[string]uint8 // positions in the section of this boot
	ring     [chunks]*[chunkEvents]Event
	first    uint64    // the Seq of the oldest event that is held
	next     uint64    // the Seq of the next event
	sections []Section // oldest first; the last one is of this boot
	repeated [repeatSlots]repeat
}

// repeat is a kind of event of which one was recorded less than a second ago.
type repeat struct {
	key   repeatKey
	until int64 // Mono; the slot is free after it
	event Event // what equal events since then have come to; Count 0: none came
}

type repeatKey struct {
	kind  Kind
	why   Why
	peer  uint8
	group uint32
	term  uint64
}

// repeatSlots bounds how many kinds of events are counted at a time. What finds no
// slot is recorded as it is.
const repeatSlots = 32

// repeatWindow is the time in which equal events become one.
const repeatWindow = int64(time.Second)

// New returns a Recorder for a boot of a node that begins at begun. former is what is
// left of earlier boots, oldest first; see Load. Of that, what lies before a gap is left
// out.
func New(boot Section, former []Ring, begun time.Time) *Recorder {
	r := &Recorder{begun: begun, now: time.Now, news: make(chan struct{}, 1), names: map[string]uint8{}, first: 1, next: 1}
	for _, f := range former {
		r.recall(f)
	}
	boot.From = r.next
	boot.Names = slices.Clone(boot.Names[:min(len(boot.Names), maxNames)])
	for _, name := range boot.Names {
		r.names[name] = boot.position(name)
	}
	r.sections = append(r.sections, boot)
	return r
}

// recall puts events of an earlier boot into the ring.
func (r *Recorder) recall(f Ring) {
	for i := range f.Events {
		e := &f.Events[i]
		if e.Seq != r.next { // the first of all, or a gap before it
			r.first, r.next, r.sections = e.Seq, e.Seq, nil
		}
		if n := len(r.sections); n > 0 && r.sections[n-1].continues(&f.Section) {
			r.sections[n-1].Names = f.Names
		} else {
			section := f.Section
			section.From = e.Seq
			r.sections = append(r.sections, section)
		}
		r.put(*e)
	}
}

// put writes an event into the ring and gives it its Seq. r.mu must be held, or r not
// known to others yet.
func (r *Recorder) put(e Event) {
	e.Seq = r.next
	place := r.next % Capacity
	chunk := &r.ring[place/chunkEvents]
	if *chunk == nil {
		*chunk = new([chunkEvents]Event)
	}
	(*chunk)[place%chunkEvents] = e
	r.next++
	r.first = max(r.first, r.next-min(r.next, Capacity))
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// Peer returns the position of a node for Event.Peer. A node that was not known gets the next
// one: nodes come and go while a cluster runs. 0: there is no name, or no room for it.
func (r *Recorder) Peer(name string) uint8 {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, known := r.names[name]
	s := &r.sections[len(r.sections)-1]
	if known || name == "" || len(name) > maxNameBytes || len(s.Names) >= maxNames {
		return at
	}
	s.Names = append(slices.Clone(s.Names), name) // others have the old ones
	r.names[name] = uint8(len(s.Names))
	return r.names[name]
}

// Record records an event. The recorder sets its Seq, Mono and Wall. A nil Recorder
// records nothing. It takes well under a microsecond and allocates nothing but, at the
// first event of 1,024, the room for them.
func (r *Recorder) Record(e Event) {
	if r == nil {
		return
	}
	now := r.now()
	e.Mono, e.Wall = int64(now.Sub(r.begun)), now.UnixMilli()
	if e.Group == 0 {
		e.Group = 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if repeats[e.Kind] && r.counts(&e) {
		return
	}
	r.put(e)
}

// counts reports whether an event is an equal of one that was recorded less than a
// second ago. It is then counted there, and the longest of them is kept.
func (r *Recorder) counts(e *Event) bool {
	key := repeatKey{e.Kind, e.Why, e.Peer, e.Group, e.Term}
	var free *repeat
	for i := range r.repeated {
		s := &r.repeated[i]
		if s.until < e.Mono {
			r.end(s)
			free = s
			continue
		}
		if s.key != key {
			continue
		}
		count := s.event.Count + 1
		if count == 1 || e.A > s.event.A {
			s.event = *e // with its time: what took so long ended then
		}
		s.event.Count = count
		return true
	}
	if free != nil {
		*free = repeat{key: key, until: e.Mono + repeatWindow}
	}
	return false
}

// end records what equal events have come to.
func (r *Recorder) end(s *repeat) {
	if s.event.Count > 0 {
		r.put(s.event)
	}
	*s = repeat{until: -1}
}

// settle records what equal events have come to whose second is over, or all.
func (r *Recorder) settle(all bool) {
	mono := int64(r.now().Sub(r.begun))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.repeated {
		if s := &r.repeated[i]; s.until >= 0 && (all || s.until < mono) {
			r.end(s)
		}
	}
}

// Ring is a piece of what a Recorder holds: events of one boot, in order.
type Ring struct {
	Section
	Events []Event
}

// Newest returns the Seq of the newest event, 0 if there is none.
func (r *Recorder) Newest() uint64 {
	if r == nil {
		return 0
	}
	r.settle(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next - 1
}

// pieceEvents is the number of events that are copied at a time, so that the lock is
// held for some microseconds only.
const pieceEvents = 1 << 10

// After returns up to limit of the oldest events behind seq that are held, by boots.
// Events that equal one of the last second are not among them yet.
func (r *Recorder) After(seq uint64, limit int) (rings []Ring) {
	if r == nil {
		return nil
	}
	r.settle(false)
	now := int64(r.now().Sub(r.begun))
	for limit > 0 {
		ring, more := r.piece(seq, min(limit, pieceEvents), now)
		if !more {
			return rings
		}
		limit -= len(ring.Events)
		seq = ring.Events[len(ring.Events)-1].Seq
		if last := len(rings) - 1; last >= 0 && rings[last].From == ring.From {
			rings[last].Events, rings[last].Section = append(rings[last].Events, ring.Events...), ring.Section
			continue
		}
		rings = append(rings, ring)
	}
	return rings
}

// piece returns up to limit events of one boot behind seq, false if there are none.
func (r *Recorder) piece(seq uint64, limit int, now int64) (Ring, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := max(seq+1, r.first)
	if from >= r.next || seq+1 == 0 {
		return Ring{}, false
	}
	to := min(r.next, from+uint64(limit))
	at := 0
	for i := range r.sections {
		switch s := &r.sections[i]; {
		case s.From <= from:
			at = i
		case s.From < to:
			to = s.From
		}
	}
	ring := Ring{Section: r.sections[at], Events: make([]Event, 0, to-from)}
	if at == len(r.sections)-1 {
		ring.NowMono = now
	}
	for n := from; n < to; n++ {
		place := n % Capacity
		ring.Events = append(ring.Events, r.ring[place/chunkEvents][place%chunkEvents])
	}
	return ring, true
}

// Before returns the Seq of the last event that is older than d, 0 if none is that is
// held. The age of events of earlier boots is by the wall clock.
func (r *Recorder) Before(d time.Duration) uint64 {
	now := r.now()
	mono, wall := int64(now.Sub(r.begun)-d), now.Add(-d).UnixMilli()
	r.mu.Lock()
	defer r.mu.Unlock()
	boot := r.sections[len(r.sections)-1].From
	older := func(seq uint64) bool {
		place := seq % Capacity
		e := &r.ring[place/chunkEvents][place%chunkEvents]
		if seq >= boot {
			return e.Mono < mono
		}
		return e.Wall < wall
	}
	seq := r.next - 1
	for ; seq >= r.first; seq-- {
		if older(seq) {
			return seq
		}
	}
	return 0
}
