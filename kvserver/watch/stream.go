package watch

import "raftkv/kvserver/kv"

// Millis is a time or a duration in milliseconds.
type Millis int64

// Times of a stream.
const (
	// Silence is after how long without anything else a sign of life is sent.
	Silence Millis = 15_000
	// NoLeader is for how long nothing could be confirmed before a stream ends, ± 25 %.
	NoLeader Millis = 20_000
	// askEvery is how often a confirmation is asked for, if not more often for bookmarks.
	askEvery Millis = 10_000
	// MinProgress and MaxProgress bound how often a bookmark comes, and DefaultProgress
	// is how often where nobody says.
	MinProgress     Millis = 100
	MaxProgress     Millis = 60_000
	DefaultProgress Millis = 10_000
	// resetPause is the least time between two resets of a stream.
	resetPause Millis = 10_000
	// stateLimit bounds how long a state may be sent: it keeps alive what writes replace.
	stateLimit Millis = 600_000
	// statePause is after how long a stream that found no room for a state tries again.
	statePause Millis = 1_000
)

// pieceBytes is about how much a step hands out at once; a change is never split.
const pieceBytes = 64 << 10

// Kind is what an Out is.
type Kind uint8

// The kinds, in the order in which they can first come.
const (
	Open     Kind = 1 + iota // the watch is in place
	Item                     // a key of the state
	Synced                   // the state is complete
	Change                   // the matching events of one revision
	Progress                 // a bookmark
	Reset                    // forget everything: the state follows
	Comment                  // a sign of life
	End                      // nothing follows
)

// Out is one thing that a client is sent.
type Out struct {
	Kind Kind
	// Revision is the bookmark of a Change, Synced or Progress, and of an Open at which
	// no state follows. At an Item it is that of the state.
	Revision uint64
	Now      uint64 // of an Open: the present revision
	Oldest   uint64 // of an Open and a Reset, and of an End because of Gone
	Events   []*kv.Event
	Key      string
	Item     kv.Item
	Lease    int64 // to which Item is tied; 0: none
	OfLock   bool  // the item is a holder of the lock Key, as in an event
	Items    int   // of Synced: how many came
	Cause    Cause
	Before   bool // of an Open: the state follows, so it is no bookmark
	Syncs    int  // of a Progress: how many calls of Sync it answers
}

// Cause says why a stream ends.
type Cause uint8

// The causes. An owner may end a stream for others, of which the protocol knows nothing.
const (
	Gone    Cause = 1 + iota // the history does not reach the client's place any more
	Unheard                  // nothing could be confirmed for too long
	Slow                     // the client takes too little
	Stopped                  // the owner ends it
)

// Node is what a stream asks of the node it is on.
type Node interface {
	// Take, Move, Await and History are the hub's, for the stream's cursor.
	Take() Due
	History() kv.History
	Move(to uint64)
	Await(revision uint64)
	// Freeze returns the state for a stream that is to send it, nil while there is no
	// room for that. Thawed must be called when it is not needed any more.
	Freeze() *kv.View
	Thawed()
}

// Options say what a stream is to do.
type Options struct {
	Selectors Selectors
	// Mirror: the state comes first, unless the stream resumes, and again after a gap.
	Mirror bool
	// Resume: go on behind After. Otherwise After is where the stream begins.
	Resume   bool
	After    uint64
	Progress Millis
	NoLeader Millis // how long it may be without a confirmation
}

// Stream is one watch as its client sees it. It is not safe for concurrent use.
type Stream struct {
	options Options
	node    Node
	phase   phase
	// position: every change up to it was handed out, or matches nothing. due are
	// revisions behind it that match; without more of them it moves to upTo.
	position uint64
	due      []uint64
	upTo     uint64
	scans    bool // it reads the history from its position on

	view   *kv.View // that is being sent
	parts  []Range  // of it that were not handed out
	locks  int      // how many selectors of locks were handed out
	items  int
	frozen Millis // when view was
	oldest uint64 // when the history was found to be gone

	begun, sent Millis // when it was opened, when it last handed out something
	asked       bool   // a confirmation is under way
	syncs       syncs
	confirmed   Millis // when the last one had begun
	// unheard is when confirmed was, without the time behind it in which the owner, whose
	// client took nothing, asked nothing though it was time.
	unheard   Millis
	nextAsk   Millis
	bookmark  uint64 // to be handed out once the stream has come there; 0: none
	nextMark  Millis // from when on a confirmation makes a bookmark
	wants     bool   // a confirmation, before the state may be frozen
	fresh     bool   // that has come
	retry     Millis // when to try again what had no room or came too early
	lastReset Millis
	ending    bool // what is there up to endAt is handed out, and then the end
	endAt     uint64
}

type phase uint8

const (
	opening phase = iota
	stating       // the state is waited for, or being sent
	live
	gone // a reset is due
	ended
)

// syncs count the calls of Sync without an answer: those for which the next confirmation
// is good, those that came while one was under way and need the one after it, and those
// that are confirmed.
type syncs struct{ next, later, confirmed int }

// NewStream returns a stream whose cursor stands behind options.After.
func NewStream(o Options, node Node, now Millis) *Stream {
	return &Stream{options: o, node: node, position: o.After, upTo: o.After, begun: now, sent: now, confirmed: now, unheard: now, nextAsk: now, nextMark: now, lastReset: now - resetPause}
}

// Position returns the revision up to which everything was handed out.
func (s *Stream) Position() uint64 { return s.position }

// Ended reports whether End was handed out.
func (s *Stream) Ended() bool { return s.phase == ended }

// Stop ends the stream: what the node has up to now is handed out, then End. What comes
// later is for the node at which the client goes on.
func (s *Stream) Stop() {
	if !s.ending {
		h := s.node.History()
		s.ending, s.endAt = true, h.Revision()
	}
}

// Close releases what the stream holds. It must be called once, at the end.
func (s *Stream) Close() {
	if s.view != nil {
		s.view = nil
		s.node.Thawed()
	}
	s.phase = ended
}

// Ask reports whether the owner is to get a read index now, and to call Confirmed or
// Unconfirmed after it.
func (s *Stream) Ask(now Millis) bool {
	if s.asked || s.phase == ended || s.ending || now < s.nextAsk && !(s.wants && now >= s.retry) {
		return false
	}
	s.asked = true
	s.unheard += max(now-s.nextAsk, 0)
	s.syncs.next, s.syncs.later = s.syncs.next+s.syncs.later, 0
	return true
}

// Sync asks for a bookmark now: a Progress that rests on a confirmation which has yet to
// begin answers it. The calls are answered in their order.
func (s *Stream) Sync(now Millis) {
	if s.asked {
		s.syncs.later++
		return
	}
	s.syncs.next++
	s.nextAsk = min(s.nextAsk, now)
}

// NextAsk returns when a confirmation is to be asked for, for an owner that hands nothing
// out meanwhile.
func (s *Stream) NextAsk() Millis {
	if s.asked {
		return s.unheard + s.options.NoLeader
	}
	return s.nextAsk
}

// Confirmed tells that a read index that was asked for at begun, or later, is applied,
// and the revision of the store since.
func (s *Stream) Confirmed(begun Millis, revision uint64) {
	s.asked = false
	s.confirmed = max(s.confirmed, begun)
	s.unheard = s.confirmed
	if begun >= s.nextMark || s.syncs.next > 0 || s.wants {
		s.bookmark, s.nextMark = revision, begun+s.options.Progress
		s.node.Await(revision)
	}
	s.nextAsk = min(begun+askEvery, s.nextMark)
	if s.syncs.later > 0 {
		s.nextAsk = begun
	}
	s.syncs.confirmed, s.syncs.next = s.syncs.confirmed+s.syncs.next, 0
	if s.wants {
		s.wants, s.fresh = false, true
	}
}

// Unconfirmed tells that it was known at that time that no read index comes.
func (s *Stream) Unconfirmed(at Millis) {
	s.asked = false
	s.nextAsk = at + min(s.options.Progress, 1_000)
	s.retry = s.nextAsk
}

// Next returns when the stream has something to do though nothing wakes its owner.
func (s *Stream) Next() Millis {
	next := min(s.sent+Silence, s.unheard+s.options.NoLeader)
	if !s.asked {
		next = min(next, s.nextAsk)
	}
	if s.phase == gone || s.phase == stating && s.view == nil {
		next = min(next, max(s.retry, s.sent+1))
	}
	return next
}

// Step returns what is to be sent next. If more is set there may be more at once: the
// owner sends what it has and calls Step again. Otherwise it waits until it is woken,
// until a confirmation or until Next.
func (s *Stream) Step(now Millis) (outs []Out, more bool) {
	outs, more = s.step(now)
	switch {
	case len(outs) > 0:
		s.sent = now
		more = more || s.phase != live && s.phase != ended
	case !more && s.phase != ended && now-s.sent >= Silence:
		s.sent = now
		outs = []Out{{Kind: Comment}}
	}
	return outs, more
}

func (s *Stream) step(now Millis) (outs []Out, more bool) {
	if s.phase != ended && !s.ending && now-s.unheard >= s.options.NoLeader {
		return s.end(Out{Kind: End, Cause: Unheard}), false
	}
	switch s.phase {
	case opening:
		return s.open(), true
	case stating:
		outs = s.state(now)
		return outs, s.view != nil || s.phase == live
	case gone:
		return s.reset(now), false
	case live:
		return s.changes(now)
	}
	return nil, false
}

// open hands out that the watch is in place, with the place and not the present.
func (s *Stream) open() []Out {
	h := s.node.History()
	out := Out{Kind: Open, Revision: s.position, Now: max(h.Revision(), s.position), Oldest: h.Oldest()}
	s.phase = live
	if s.options.Mirror && !s.options.Resume {
		s.phase, s.wants, out.Before = stating, true, true
	}
	return []Out{out}
}

// state freezes the state, once a read index is applied that was asked for since, and
// hands it out.
func (s *Stream) state(now Millis) []Out {
	if s.ending {
		return s.end(Out{Kind: End, Cause: Stopped})
	}
	if s.view == nil {
		if !s.fresh || now < s.retry {
			return nil
		}
		view := s.node.Freeze()
		if view == nil {
			s.retry = now + statePause
			return nil
		}
		// The place is that of the view itself: what comes later is in the history
		// behind it, and nothing is in both.
		s.view, s.frozen, s.fresh, s.parts, s.locks, s.items = view, now, false, s.options.Selectors.spans(), 0, 0
		s.place(view.Revision())
	}
	if now-s.frozen >= stateLimit {
		return s.end(Out{Kind: End, Cause: Slow})
	}
	outs, size := s.stateOfKeys()
	done := len(s.parts) == 0
	if done {
		outs, done = s.stateOfLocks(outs, size)
	}
	if done {
		s.view = nil
		s.node.Thawed()
		s.phase = live
		outs = append(outs, Out{Kind: Synced, Revision: s.position, Items: s.items})
	}
	return outs
}

// place moves the stream to a revision.
func (s *Stream) place(revision uint64) {
	s.position, s.upTo, s.due, s.scans = revision, revision, nil, false
	s.node.Move(revision)
}

// reset hands out that the client must forget everything, not too often.
func (s *Stream) reset(now Millis) []Out {
	switch {
	case s.ending:
		return s.end(Out{Kind: End, Cause: Stopped})
	case !s.options.Mirror:
		return s.end(Out{Kind: End, Cause: Gone, Oldest: s.oldest})
	case now-s.lastReset < resetPause:
		s.retry = s.lastReset + resetPause
		return nil
	}
	s.lastReset, s.retry = now, now
	s.phase, s.wants, s.bookmark = stating, true, 0
	return []Out{{Kind: Reset, Oldest: s.oldest}}
}

func (s *Stream) end(out Out) []Out {
	s.Close()
	return []Out{out}
}

// changes hands out the next changes that match, and behind all of them a bookmark or
// the end.
func (s *Stream) changes(now Millis) (outs []Out, more bool) {
	if s.ending && s.position >= s.endAt {
		return s.end(Out{Kind: End, Cause: Stopped}), false
	}
	// What is looked at is the present history, so that a client that takes nothing
	// keeps nothing alive that is forgotten meanwhile.
	var h kv.History
	took := len(s.due) == 0 && !s.scans
	if took {
		d := s.node.Take()
		s.due, s.upTo, s.scans, h = d.Revisions, max(s.upTo, d.UpTo), d.Scan, d.History
		if d.Scan {
			s.position = max(s.position, d.UpTo)
		}
	} else {
		h = s.node.History()
	}
	switch {
	case s.scans && !h.Reaches(s.position), len(s.due) > 0 && !h.Reaches(s.due[0]-1):
		s.phase, s.oldest = gone, h.Oldest()
		return s.reset(now), false
	case s.scans:
		if outs = s.scan(&h); len(outs) > 0 || s.scans {
			return outs, true
		}
	case len(s.due) > 0:
		if outs = s.look(&h); len(s.due) > 0 {
			return outs, true
		}
	}
	// Here everything up to upTo was handed out. What comes behind it wakes the owner if this
	// step has asked; otherwise the next one must ask what has come since.
	more = !took
	s.position = max(s.position, s.upTo)
	switch {
	case s.ending:
		s.scans = s.position < s.endAt
		return outs, true
	case s.bookmark != 0 && s.position >= s.bookmark:
		outs = append(outs, Out{Kind: Progress, Revision: s.position, Syncs: s.syncs.confirmed})
		s.bookmark, s.syncs.confirmed = 0, 0
	}
	return outs, more
}

// scan reads the history from the position on, a piece at a time.
func (s *Stream) scan(h *kv.History) (outs []Out) {
	changes, size, last, full := 0, 0, s.position, false
	h.Scan(s.position, func(e *kv.Event) bool {
		if e.Revision != last {
			if changes == PieceChanges || size >= pieceBytes {
				full = true
				return false
			}
			changes++
			last = e.Revision
		}
		if s.options.Selectors.MatchEvent(e) {
			outs = addEvent(outs, e)
			size += sizeOf(e)
		}
		return true
	})
	if !full {
		last, s.scans = h.Revision(), false
	}
	s.position, s.upTo = last, last
	s.node.Move(last)
	return outs
}

// look finds the changes that are due.
func (s *Stream) look(h *kv.History) (outs []Out) {
	for size := 0; len(s.due) > 0 && size < pieceBytes && h.Reaches(s.due[0]-1); s.due = s.due[1:] {
		revision := s.due[0]
		h.Scan(revision-1, func(e *kv.Event) bool {
			if e.Revision != revision {
				return false
			}
			if s.options.Selectors.MatchEvent(e) {
				outs = addEvent(outs, e)
				size += sizeOf(e)
			}
			return true
		})
		s.position = revision
	}
	return outs
}

// addEvent adds an event to the change of its revision.
func addEvent(outs []Out, e *kv.Event) []Out {
	if n := len(outs); n > 0 && outs[n-1].Revision == e.Revision {
		outs[n-1].Events = append(outs[n-1].Events, e)
		return outs
	}
	return append(outs, Out{Kind: Change, Revision: e.Revision, Events: []*kv.Event{e}})
}

// sizeOf is about what an event takes on its way.
func sizeOf(e *kv.Event) int { return 64 + len(e.Key) + len(e.Item.Value) + len(e.Prev.Value) }
