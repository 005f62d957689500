package port

import (
	"cmp"
	"slices"
	"time"
)

const (
	// evictionAge is how long a connection must have kept the server waiting
	// before it makes room for another: many honest clients that come at once must
	// not drive each other out.
	evictionAge = time.Second
	// evictionPause is the time between two looks at all connections of which the first
	// found none to close.
	evictionPause = 10 * time.Millisecond
	// evictionBatch is which part of the connections one look may choose: one in this
	// number, so that a look costs little for each.
	evictionBatch = 16
)

// queue holds connections that keep the server waiting, the one to close first at its head.
// A look at all connections fills it, and each newcomer closes one. To close them all at
// once would take the processors from everything else while thousands of readers end.
type queue struct {
	strangers bool // it holds strangers only
	waiting   []waiting
	filled    int64 // when, in the time of Port.now
	vain      bool  // the look found none
}

// waiting is a connection in a phase in which its client keeps the server waiting.
type waiting struct {
	conn  *Conn
	phase phase
	since int64
}

// still reports whether the client has kept the server waiting ever since.
func (w waiting) still() bool {
	return phase(w.conn.phase.Load()) == w.phase && w.conn.since.Load() == w.since && !w.conn.atGate.Load()
}

// evictLocked closes a connection whose client keeps the server waiting and reports
// whether there was one.
func (p *Port) evictLocked(q *queue) bool {
	now := p.now()
	age := time.Duration(now - q.filled)
	if age < evictionAge && p.closeFirstLocked(q) {
		return true
	}
	if q.vain && age < evictionPause {
		return false
	}
	q.waiting, q.filled = p.longestLocked(q.strangers, now-int64(evictionAge)), now
	q.vain = !p.closeFirstLocked(q)
	return !q.vain
}

// closeFirstLocked closes the first of a queue that still waits.
func (p *Port) closeFirstLocked(q *queue) bool {
	for len(q.waiting) > 0 {
		w := q.waiting[0]
		q.waiting = q.waiting[1:]
		if p.all[w.conn] && (w.conn.stranger.Load() || !q.strangers) && w.still() {
			p.forgetLocked(w.conn)
			p.evicted++
			w.conn.sever()
			return true
		}
	}
	return false
}

// longestLocked returns some of those that have waited since before a time, longest first:
// those on which a request has begun and does not come to its end, or if there are none,
// those that nobody uses.
func (p *Port) longestLocked(strangers bool, before int64) []waiting {
	for _, in := range []phase{phaseReceiving, phaseIdle} {
		var found []waiting
		for c := range p.all {
			if w := (waiting{c, in, c.since.Load()}); w.since < before && (c.stranger.Load() || !strangers) && w.still() {
				found = append(found, w)
			}
		}
		if len(found) > 0 {
			slices.SortFunc(found, func(a, b waiting) int { return cmp.Compare(a.since, b.since) })
			return found[:max(1, min(len(found), len(p.all)/evictionBatch))]
		}
	}
	return nil
}
