// Package live keeps the news of a cluster for the viewers of its page: documents that
// change, of which a viewer gets the changes alone, and notices, which it gets once. A Feed is
// a plain object with a lock. Its caller gathers the news and sends them.
//
// A feed works like a board in a hall. The first viewer that finds it old writes it anew
// (Turn), and all others read the changes since they looked last (After). Sixteen viewers
// cost as much as one, and without viewers nothing is done at all.
//
// The feed keeps the newest frames. A viewer that missed more, or comes from another feed,
// is shown everything.
package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// MaxViewers bounds the viewers at one time.
	MaxViewers = 16
	// Beat is the pause between two looks of a viewer.
	Beat = 250 * time.Millisecond
	// Rest is for how long what was gathered is new enough, if nothing is known to have
	// happened.
	Rest = 500 * time.Millisecond

	// keptFrames and keptBytes bound what is kept for viewers that were away.
	keptFrames = 128
	keptBytes  = 512 << 10
)

// Open is the name of the frame that comes first where a viewer is shown everything.
const Open = "open"

// Frame is one thing to send.
type Frame struct {
	Name string
	ID   string // by which a viewer that comes back says how far it has come
	Data []byte // JSON in one line
}

// Feed is what is told. All methods are safe for concurrent use.
type Feed struct {
	epoch string // of this feed; other feeds have others

	mu        sync.Mutex // guards the rest
	viewers   int
	next      uint64  // number of the next frame
	frames    []Frame // the newest, with the numbers up to next
	bytes     int     // in frames
	documents map[string]map[string]any
	turns     map[string]*turn
}

// turn is the viewer that gathers one sort of thing, and when that was done.
type turn struct {
	taken  bool
	last   time.Time
	pause  time.Duration // until the next turn may begin, counted from last
	mark   string
	result string // of the last time
}

// NewFeed returns a feed. epoch tells it from those before a restart.
func NewFeed(epoch string) *Feed {
	return &Feed{epoch: epoch, next: 1, documents: map[string]map[string]any{}, turns: map[string]*turn{}}
}

// Enter takes a viewer in, and reports whether there was room. Each that was taken in must
// leave.
func (f *Feed) Enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.viewers >= MaxViewers {
		return false
	}
	f.viewers++
	return true
}

// Leave gives the place of a viewer back.
func (f *Feed) Leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.viewers--
}

// Turn reports whether the caller is to gather what is called name: nobody else does, and
// the last time was rest ago, or a beat ago if mark has changed since. The caller must call
// Done.
func (f *Feed) Turn(name string, now time.Time, mark string, rest time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.turns[name]
	if t == nil {
		t = &turn{last: now.Add(-rest)}
		f.turns[name] = t
	}
	age := now.Sub(t.last)
	if t.taken || age < max(min(Beat, rest), t.pause) || age < rest && mark == t.mark {
		return false
	}
	t.taken, t.last, t.mark = true, now, mark
	return true
}

// Done gives the turn back, with a result for Result. The next turn begins a pause after
// this one began, at the earliest.
func (f *Feed) Done(name, result string, pause time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.turns[name]
	t.taken, t.result, t.pause = false, result, pause
}

// Result returns what the last turn came to, "" if there was none.
func (f *Feed) Result(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.turns[name]; t != nil {
		return t.result
	}
	return ""
}

// Set says what a document holds now. It is an object of JSON; nulls in it count as
// missing. Viewers get a merge patch (RFC 7396), if anything differs.
func (f *Feed) Set(name string, document any) error {
	now, err := object(document)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	patch := diff(f.documents[name], now)
	f.documents[name] = now
	if len(patch) > 0 {
		f.add(name, encode(patch))
	}
	return nil
}

// Tell adds a notice. Viewers that come later are not shown it.
func (f *Feed) Tell(name string, notice any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(name, encode(notice))
}

// add adds a frame. f.mu must be held.
func (f *Feed) add(name string, data []byte) {
	f.frames = append(f.frames, Frame{name, f.id(f.next), data})
	f.bytes += len(data)
	f.next++
	for len(f.frames) > keptFrames || f.bytes > keptBytes && len(f.frames) > 1 {
		f.bytes -= len(f.frames[0].Data)
		f.frames = slices.Delete(f.frames, 0, 1)
	}
}

func (f *Feed) id(number uint64) string { return f.epoch + "-" + strconv.FormatUint(number, 10) }

// IsID reports whether a text is the id of a frame of any feed.
func IsID(text string) bool {
	epoch, number, _ := strings.Cut(text, "-")
	_, err := strconv.ParseUint(number, 10, 64)
	return epoch != "" && err == nil
}

// After returns what a viewer that has seen the frame of an id has not seen. If that is not
// kept any more, or id is none of this feed, it returns everything behind a frame Open, with
// which the viewer forgets what it has. last is the id to ask with next time.
func (f *Feed) After(id string) (frames []Frame, last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last = f.id(f.next - 1)
	oldest := f.next - uint64(len(f.frames))
	if number, is := strings.CutPrefix(id, f.epoch+"-"); is {
		seen, err := strconv.ParseUint(number, 10, 64)
		if err == nil && seen+1 >= oldest && seen < f.next {
			return slices.Clone(f.frames[seen+1-oldest:]), last
		}
	}
	if len(f.documents) == 0 {
		return nil, id // there is nothing to show yet
	}
	frames = append(frames, Frame{Open, last, encode(map[string]int64{"beat_ms": Beat.Milliseconds()})})
	for _, name := range slices.Sorted(maps.Keys(f.documents)) {
		frames = append(frames, Frame{name, last, encode(f.documents[name])})
	}
	return frames, last
}

// Append writes frames as Server-Sent Events.
func Append(dst []byte, frames []Frame) []byte {
	for _, f := range frames {
		dst = fmt.Appendf(dst, "event: %s\nid: %s\ndata: %s\n\n", f.Name, f.ID, f.Data)
	}
	return dst
}

// errNoObject is that of a document that is no object of JSON.
var errNoObject = errors.New("live: a document must be an object of JSON")

// object returns a document as JSON has it, without nulls.
func object(document any) (map[string]any, error) {
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("live: a %T cannot be written as JSON: %w", document, err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber() // a revision has more digits than a float
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, err
	}
	is, ok := decoded.(map[string]any)
	if !ok {
		return nil, errNoObject
	}
	strip(is)
	return is, nil
}

// encode writes what JSON can hold.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("live: a %T cannot be written as JSON: %v", v, err))
	}
	return text
}

// News is how far the viewers have been told of the events of each node. The zero value is
// ready. It is safe for concurrent use.
type News struct {
	mu    sync.Mutex
	told  map[string]newest
	begun bool
}

// newest is the newest event of a node that was told.
type newest struct {
	boot, seq uint64
	at        int64 // Unix milliseconds
}

// Fresh reports whether an event has not been told, and notes it. The events of a node must
// come in their order. A node that lost its disk counts its boots and events anew: an event
// of a lower boot that happened later is of that.
func (n *News) Fresh(node string, boot, seq uint64, at int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch was := n.told[node]; {
	case boot < was.boot && at <= was.at, boot == was.boot && seq <= was.seq:
		return false
	}
	if n.told == nil {
		n.told = map[string]newest{}
	}
	n.told[node] = newest{boot, seq, at}
	return true
}

// Newest returns the newest of what is fresh, and of the first ones nothing: whoever begins
// to look is shown those otherwise.
func (n *News) Newest(fresh []any, limit int) []any {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.begun {
		n.begun = true
		return nil
	}
	return fresh[max(0, len(fresh)-limit):]
}
