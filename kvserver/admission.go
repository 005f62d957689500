package kvserver

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// admission bounds the requests of one class that are being served, and the bytes
// they may hold. A request that finds no room waits in a bounded queue and is then
// refused, before it has had any effect. A refusal costs nearly as much as a
// service, and there are clients that ask again at once. The more requests are
// waiting, the longer each may wait, so that refusing them never becomes the
// server's main work.
//
// The room is as much as the requests of the last seconds would have left
// within admissionDelay, so that a log that has become slow holds a short queue
// and not a long one. It is never less than a floor, because a log is only fast
// if it has work, and never more than maxCount.
//
// Waiting requests are admitted newest first: under sustained overload some must be
// refused, and it is better to serve the rest quickly than all of them late.
type admission struct {
	maxCount, maxBytes int64
	maxWaiting         int
	// lasting requests stay for as long as their clients like: how many of them end in a
	// second says nothing of how many there may be.
	lasting bool

	mu           sync.Mutex // guards the fields below
	count, bytes int64
	waiting      list.List // of *waitingRequest, the newest in front
	rate         rateMeter
}

const (
	// admissionDelay is how long the requests in flight may take to be served
	// at the rate that was measured.
	admissionDelay = 150 * time.Millisecond
	// admissionPatience is how long a request waits for room while nothing is
	// known of the rate; see patienceLocked.
	admissionPatience = 500 * time.Millisecond
	minPatience       = 100 * time.Millisecond
	maxPatience       = 3 * time.Second
	// servedPerRefused is how many requests are to be served for each that is
	// refused.
	servedPerRefused = 4
	// admissionFloor is room that is always there, however slow the log is.
	admissionFloor = 1024
)

// waitingRequest is a request that waits for room.
type waitingRequest struct {
	bytes    int64
	patience time.Duration
	admitted chan struct{} // closed when it was admitted
}

// enter admits a request that may hold this number of bytes, or reports that there is no
// room. A request that was admitted must call leave with the same number.
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

// limitLocked returns how many requests may be in flight now.
func (a *admission) limitLocked() int64 {
	best := a.rate.best(time.Now())
	if best == 0 || a.lasting {
		return a.maxCount // nothing is known yet
	}
	return min(max(int64(best*admissionDelay.Seconds()), admissionFloor), a.maxCount)
}

// wait admits a request as enter does, and waits for room if there is none. It
// returns whether the request was admitted.
func (a *admission) wait(ctx context.Context, bytes int64) bool {
	place, admitted := a.queue(bytes)
	if place == nil {
		return admitted
	}
	e := place.Value.(*waitingRequest)
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

// queue admits a request, or gives it a place in the queue, or does neither.
func (a *admission) queue(bytes int64) (place *list.Element, admitted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.enterLocked(bytes):
		return nil, true
	case a.waiting.Len() >= a.maxWaiting:
		return nil, false
	}
	return a.waiting.PushFront(&waitingRequest{bytes: bytes, patience: a.patienceLocked(), admitted: make(chan struct{})}), false
}

// patienceLocked returns how long one more request may wait for room: long enough
// that no more of the waiting requests are refused in a second than the rate allows.
func (a *admission) patienceLocked() time.Duration {
	rate := a.rate.recent(time.Now())
	if rate == 0 {
		return admissionPatience
	}
	seconds := float64(a.waiting.Len()) * servedPerRefused / rate
	return min(max(time.Duration(seconds*float64(time.Second)), minPatience), maxPatience)
}

// full reports whether a request would be refused without a wait.
func (a *admission) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting.Len() >= a.maxWaiting && a.count >= a.limitLocked()
}

// leave makes room and admits the requests waiting for it.
func (a *admission) leave(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes -= bytes
	a.count--
	a.rate.ended(time.Now())
	for first := a.waiting.Front(); first != nil; first = a.waiting.Front() {
		e := first.Value.(*waitingRequest)
		if !a.enterLocked(e.bytes) {
			return
		}
		a.waiting.Remove(first)
		close(e.admitted)
	}
}

// Load is a snapshot of an admission's counters.
type Load struct {
	Count, Bytes, Limit int64 // requests being served, what they may hold, how many may be
	Waiting             int
	PerSecond           float64 // requests that ended, over the last second or two
}

// load returns the counters as they are now.
func (a *admission) load() Load {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Load{
		Count: a.count, Bytes: a.bytes, Limit: a.limitLocked(),
		Waiting: a.waiting.Len(), PerSecond: a.rate.recent(time.Now()),
	}
}

// retryAfter estimates when it is worth asking again: when all requests that are
// here, and more besides, will have been served at the present rate. It returns
// whole seconds, because that is what HTTP can say.
func (l Load) retryAfter(more uint64) time.Duration {
	if l.PerSecond <= 0 {
		return minRetryAfter
	}
	seconds := (float64(l.Count) + float64(l.Waiting) + float64(more)) / l.PerSecond
	if seconds >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	return max(time.Duration(seconds*float64(time.Second)).Truncate(time.Second)+time.Second, minRetryAfter)
}

const (
	minRetryAfter = time.Second
	maxRetryAfter = 30 * time.Second
)

// Budget bounds memory that many requests share. All methods are safe for
// concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// Limit returns how many bytes there are in all.
func (b *Budget) Limit() int64 { return b.limit }

// Used returns how many bytes are reserved.
func (b *Budget) Used() int64 { return b.used.Load() }

// Take reserves bytes, unless that would leave less than reserve for others.
func (b *Budget) Take(bytes, reserve int64) bool {
	if b.used.Add(bytes) > b.limit-reserve {
		b.used.Add(-bytes)
		return false
	}
	return true
}

// Give gives reserved bytes back.
func (b *Budget) Give(bytes int64) { b.used.Add(-bytes) }

// rateMeter measures how many requests end per second, in windows of a fixed length
// of which the last ones are kept.
type rateMeter struct {
	begun time.Time // of the present window
	ends  int64     // in the present window
	kept  [40]int64 // ends in the windows before it, the latest at last
	last  int
}

const rateWindow = 250 * time.Millisecond

// roll begins a new window if the present one is over.
func (r *rateMeter) roll(now time.Time) {
	if r.begun.IsZero() {
		r.begun = now
	}
	for passed := 0; now.Sub(r.begun) >= rateWindow; passed++ {
		if passed > len(r.kept) { // all that was kept is forgotten
			r.begun = now
			return
		}
		r.last = (r.last + 1) % len(r.kept)
		r.kept[r.last] = r.ends
		r.ends = 0
		r.begun = r.begun.Add(rateWindow)
	}
}

func (r *rateMeter) ended(now time.Time) {
	r.roll(now)
	r.ends++
}

// best returns the rate of the best window that is kept, per second; 0 if there
// is none.
func (r *rateMeter) best(now time.Time) float64 {
	r.roll(now)
	highest := int64(0)
	for _, n := range r.kept {
		highest = max(highest, n)
	}
	return float64(highest) / rateWindow.Seconds()
}

// recent returns the rate over the last second, per second.
func (r *rateMeter) recent(now time.Time) float64 {
	r.roll(now)
	const windows = int(time.Second / rateWindow)
	sum := r.ends
	for i := range windows {
		sum += r.kept[(r.last-i+len(r.kept))%len(r.kept)]
	}
	return float64(sum) / (float64(windows)*rateWindow.Seconds() + now.Sub(r.begun).Seconds())
}
