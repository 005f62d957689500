package kvserver

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// admission bounds the requests of one kind that are being served, and the
// bytes they may hold. What finds no room waits for it, in a queue that is
// bounded, too; then it is refused, when nothing has happened yet. A refusal
// costs nearly as much as a service, and there are clients that ask again at
// once. So the wait is the longer the more wait: refusals never become the
// server's main work.
//
// The room is as much as the requests of the last seconds would have left
// within admissionDelay, so that a log that has become slow holds a short queue
// and not a long one. It is never less than a floor, because a log is only fast
// if it has work, and never more than maxCount.
//
// Of the waiting the youngest is served first: under lasting overload somebody
// must be refused, and then it is better that those who are served are served
// soon than that all wait equally long.
type admission struct {
	maxCount, maxBytes int64
	maxWaiting         int

	mu           sync.Mutex // guards the fields below
	count, bytes int64
	waiting      list.List // of *entrant, the youngest in front
	pace         pace
}

const (
	// admissionDelay is how long the requests in flight may take to be served
	// at the pace that was measured.
	admissionDelay = 150 * time.Millisecond
	// admissionPatience is how long a request waits for room while nothing is
	// known of the pace; see patienceLocked.
	admissionPatience = 500 * time.Millisecond
	leastPatience     = 100 * time.Millisecond
	mostPatience      = 3 * time.Second
	// servedPerRefused is how many requests are to be served for each that is
	// refused.
	servedPerRefused = 4
	// admissionFloor is room that is always there, however slow the log is.
	admissionFloor = 1024
)

// entrant is a request that waits for room.
type entrant struct {
	bytes    int64
	patience time.Duration
	admitted chan struct{} // closed when it was let in
}

// enter lets a request in that may hold so many bytes, or reports that there is
// no room. Who was let in must leave with the same number.
func (a *admission) enter(bytes int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.enterLocked(bytes)
}

func (a *admission) enterLocked(bytes int64) bool {
	if a.count >= a.limitLocked() || bytes > 0 && a.bytes+bytes > a.maxBytes {
		return false
	}
	a.count++
	a.bytes += bytes
	return true
}

// limitLocked is how many requests may be in flight now.
func (a *admission) limitLocked() int64 {
	best := a.pace.best(time.Now())
	if best == 0 {
		return a.maxCount // nothing is known yet
	}
	return min(max(int64(best*admissionDelay.Seconds()), admissionFloor), a.maxCount)
}

// wait lets a request in as enter does, and waits for room if there is none. It
// returns whether the request was let in.
func (a *admission) wait(ctx context.Context, bytes int64) bool {
	place, admitted := a.queue(bytes)
	if place == nil {
		return admitted
	}
	e := place.Value.(*entrant)
	timer := time.NewTimer(e.patience)
	defer timer.Stop()
	select {
	case <-e.admitted:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-e.admitted: // at the same moment
		return true
	default:
		a.waiting.Remove(place)
		return false
	}
}

// queue lets a request in, or gives it a place in the queue, or does neither.
func (a *admission) queue(bytes int64) (place *list.Element, admitted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.enterLocked(bytes):
		return nil, true
	case a.waiting.Len() >= a.maxWaiting:
		return nil, false
	}
	return a.waiting.PushFront(&entrant{bytes: bytes, patience: a.patienceLocked(), admitted: make(chan struct{})}), false
}

// patienceLocked is how long one more request is to wait for room: so long that
// of all that wait no more are refused in a second than the pace allows.
func (a *admission) patienceLocked() time.Duration {
	best := a.pace.best(time.Now())
	if best == 0 {
		return admissionPatience
	}
	seconds := float64(a.waiting.Len()) * servedPerRefused / best
	return min(max(time.Duration(seconds*float64(time.Second)), leastPatience), mostPatience)
}

// full reports whether a request would be refused without a wait.
func (a *admission) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting.Len() >= a.maxWaiting && a.count >= a.limitLocked()
}

// leave makes room and lets in who waits for it.
func (a *admission) leave(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes -= bytes
	a.count--
	a.pace.ended(time.Now())
	for first := a.waiting.Front(); first != nil; first = a.waiting.Front() {
		e := first.Value.(*entrant)
		if !a.enterLocked(e.bytes) {
			return
		}
		a.waiting.Remove(first)
		close(e.admitted)
	}
}

// crowd is what an admission holds at one moment.
type crowd struct {
	count, bytes, limit int64
	waiting             int
	perSecond           float64 // requests that ended, over the last second or two
}

func (a *admission) crowd() crowd {
	a.mu.Lock()
	defer a.mu.Unlock()
	return crowd{
		count: a.count, bytes: a.bytes, limit: a.limitLocked(),
		waiting: a.waiting.Len(), perSecond: a.pace.recent(time.Now()),
	}
}

// retryAfter estimates when it is worth to ask again: when everybody who is
// here, and so many more, will have been served at the present pace. Whole
// seconds, because that is what HTTP can say.
func (c crowd) retryAfter(more uint64) time.Duration {
	if c.perSecond <= 0 {
		return leastRetryAfter
	}
	seconds := (float64(c.count) + float64(c.waiting) + float64(more)) / c.perSecond
	if seconds >= mostRetryAfter.Seconds() {
		return mostRetryAfter
	}
	return max(time.Duration(seconds*float64(time.Second)).Truncate(time.Second)+time.Second, leastRetryAfter)
}

const (
	leastRetryAfter = time.Second
	mostRetryAfter  = 30 * time.Second
)

// pace measures how many requests end per second, in windows of a fixed length
// of which the last ones are kept.
type pace struct {
	begun time.Time // of the present window
	ends  int64     // in the present window
	kept  [40]int64 // ends in the windows before it, the latest at last
	last  int
}

const paceWindow = 250 * time.Millisecond

// roll begins a new window if the present one is over.
func (p *pace) roll(now time.Time) {
	if p.begun.IsZero() {
		p.begun = now
	}
	for passed := 0; now.Sub(p.begun) >= paceWindow; passed++ {
		if passed > len(p.kept) { // all that was kept is forgotten
			p.begun = now
			return
		}
		p.last = (p.last + 1) % len(p.kept)
		p.kept[p.last] = p.ends
		p.ends = 0
		p.begun = p.begun.Add(paceWindow)
	}
}

func (p *pace) ended(now time.Time) {
	p.roll(now)
	p.ends++
}

// best is the pace of the best window that is kept, per second; 0 if there is
// none.
func (p *pace) best(now time.Time) float64 {
	p.roll(now)
	most := int64(0)
	for _, n := range p.kept {
		most = max(most, n)
	}
	return float64(most) / paceWindow.Seconds()
}

// recent is the pace over the last second, per second.
func (p *pace) recent(now time.Time) float64 {
	p.roll(now)
	const windows = int(time.Second / paceWindow)
	sum := p.ends
	for i := range windows {
		sum += p.kept[(p.last-i+len(p.kept))%len(p.kept)]
	}
	return float64(sum) / (float64(windows)*paceWindow.Seconds() + now.Sub(p.begun).Seconds())
}

// budget bounds memory that many share.
type budget struct {
	most int64
	used atomic.Int64
}

// take reserves bytes, unless that would leave less than reserve for others.
func (b *budget) take(bytes, reserve int64) bool {
	if b.used.Add(bytes) > b.most-reserve {
		b.used.Add(-bytes)
		return false
	}
	return true
}

func (b *budget) give(bytes int64) { b.used.Add(-bytes) }
