package kvserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/kvserver/watch"
)

// WatchRequest is a watch as a door asks for it.
type WatchRequest struct {
	Who       *Caller // must have the right watch on all that is selected, and keep it
	Selectors watch.Selectors
	Mirror    bool // the state first, and again after a gap
	// Resume: go on behind After, which is a revision that the client was given.
	// Otherwise from now, which is behind every write that was answered before.
	Resume   bool
	After    uint64
	Progress time.Duration // between two bookmarks; 0: the default
	Cluster  string        // uid of the cluster whose bookmark it is; "": any
	// Woken, if not nil, is called when Step may have something to do that it had not
	// at its last call. It must not block, nor call the watch.
	Woken func()
}

// Watching is a watch that is in place. It belongs to one goroutine and must be closed.
type Watching struct {
	server *Server
	stream *watch.Stream
	*machine.Cursor
	permit *access.Permit
	who    *Caller // whose watch it is, for limits
	class  Class
	bytes  int64 // of the selectors
	begun  time.Time
	wake   func()
	woken  chan struct{} // for Next: holds a token when there may be something
	heard  atomic.Pointer[confirmation]
	ending bool
}

var _ watch.Node = (*Watching)(nil)

// Watch puts a watch in place. The errors are failure.NotActive, OtherCluster,
// TooManyWatches, RevisionGone and RevisionAhead, those of access.Gate.Allow and those of
// a linearizable read. A watch with Woken needs no goroutine while it rests, and such
// watches have a room of their own.
func (s *Server) Watch(ctx context.Context, r WatchRequest) (*Watching, error) {
	permit := s.gate.Permit(r.Who, auth.Watch, Spans(&r.Selectors)...)
	if err := permit.Still(); err != nil {
		return nil, err
	}
	if err := s.awaitLevel(ctx, kv.LevelHistory, "watches"); err != nil {
		return nil, err
	}
	if uid := s.UID().String(); r.Cluster != "" && r.Cluster != uid {
		return nil, failure.Of(failure.OtherCluster, nil, "the bookmark is of the cluster %.40q, and this is %q: read the state and go on from its revision", r.Cluster, uid)
	}
	if s.WatchesEnd() {
		return nil, failure.NodeStopping(nil)
	}
	w := &Watching{server: s, permit: permit, class: Watches, bytes: r.Selectors.Bytes(), begun: time.Now(), wake: r.Woken}
	if r.Woken != nil {
		w.class = ClerkWatches
	} else {
		w.woken = make(chan struct{}, 1)
		w.wake = w.note
	}
	if err := s.gate.Hold(r.Who, access.Watches); err != nil {
		return nil, err
	}
	w.who = r.Who
	if err := s.enterWatches(w.class, w.bytes); err != nil {
		s.gate.Drop(w.who, access.Watches)
		return nil, err
	}
	if err := w.place(ctx, &r); err != nil {
		s.gate.Drop(w.who, access.Watches)
		s.leaveWatches(w.class, w.bytes)
		return nil, err
	}
	s.watches.streams.Add(1)
	return w, nil
}

// place finds the place where a watch begins, and puts it there.
func (w *Watching) place(ctx context.Context, r *WatchRequest) error {
	after, err := w.server.startOf(ctx, r)
	if err != nil {
		return err
	}
	w.Cursor = w.server.machine.Watch(r.Selectors, after, w.wake)
	progress := watch.DefaultProgress
	if r.Progress > 0 {
		progress = min(max(watch.Millis(r.Progress.Milliseconds()), watch.MinProgress), watch.MaxProgress)
	}
	spread := watch.NoLeader / 2
	w.stream = watch.NewStream(watch.Options{
		Selectors: r.Selectors, Mirror: r.Mirror, Resume: r.Resume, After: after, Progress: progress,
		NoLeader: watch.NoLeader - spread/2 + rand.N(spread+1),
	}, w, w.now())
	return nil
}

// startOf returns the revision behind which a watch begins.
func (s *Server) startOf(ctx context.Context, r *WatchRequest) (uint64, error) {
	if !r.Resume || r.After > s.machine.Revision() {
		// Whether a revision is still to come is not for this node's store to say: it may
		// lag.
		if err := s.awaitLinearizable(ctx); err != nil {
			return 0, err
		}
	} else if err := s.AwaitStale(ctx); err != nil {
		return 0, err // what has changed since is sent at once, out of what this node holds
	}
	h := s.machine.History()
	switch {
	case !r.Resume:
		return h.Revision(), nil
	case r.After > h.Revision():
		return 0, failure.Of(failure.RevisionAhead, nil, "the cluster stands at revision %d and has not come to %d: the bookmark is of another cluster, or of one that was restored since", h.Revision(), r.After)
	case !h.Reaches(r.After) && !r.Mirror:
		return 0, failure.Gone(r.After, h.Oldest(), h.Revision())
	}
	return r.After, nil
}

func (w *Watching) note() {
	select {
	case w.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// now is the time of the stream.
func (w *Watching) now() watch.Millis { return watch.Millis(time.Since(w.begun).Milliseconds()) }

// Step returns what is to be sent now, and never waits. With more there may be more at
// once; otherwise there is nothing to do before the watch is woken, or Rest is over. An
// error says why the watch ends: it is of package failure and to be told to the client.
// What Outs hold never changes.
func (w *Watching) Step() (outs []watch.Out, more bool, err error) {
	if err := w.Listen(); err != nil {
		return nil, false, err
	}
	if w.server.WatchesEnd() {
		w.Stop()
	}
	outs, more = w.stream.Step(w.now())
	if n := len(outs); n > 0 {
		// It may have been found after a revocation was.
		if err := w.permit.Still(); err != nil {
			return nil, false, w.ended(err)
		}
		if last := outs[n-1]; last.Kind == watch.End {
			return nil, false, w.ended(w.endOf(last))
		}
		w.server.watches.note(outs)
	}
	return outs, more, nil
}

// Listen does what a watch must do while its client takes nothing: it asks for
// confirmations and hears of them. The error is one of Step.
func (w *Watching) Listen() error {
	if err := w.server.machine.Quarantined(); err != nil {
		return w.ended(err)
	}
	if err := w.permit.Still(); err != nil {
		return w.ended(err)
	}
	if c := w.heard.Swap(nil); c != nil {
		w.confirmed(c)
	}
	if w.stream.Ask(w.now()) {
		w.server.confirming.ask(w.server, w)
	}
	return nil
}

// Rest returns how long there is nothing to do for a watch that is not woken.
func (w *Watching) Rest() time.Duration { return w.until(w.stream.Next()) }

// Pause is Rest for a client that takes nothing.
func (w *Watching) Pause() time.Duration { return w.until(w.stream.NextAsk()) }

func (w *Watching) until(at watch.Millis) time.Duration {
	return time.Duration(max(at-w.now(), 1)) * time.Millisecond
}

// Sync asks for a bookmark; see watch.Stream.
func (w *Watching) Sync() { w.stream.Sync(w.now()) }

// Stop ends the watch behind what this node has applied until now.
func (w *Watching) Stop() {
	if !w.ending {
		w.ending = true
		w.server.machine.FinishWatches()
		w.stream.Stop()
	}
}

// TooSlow returns the error for a client that takes nothing.
func (w *Watching) TooSlow() error {
	return w.ended(failure.Of(failure.SlowWatcher, nil, "nothing was taken for a minute: go on from the last bookmark"))
}

// Next waits for something to send. The error is one of Step, or that of ctx. It is not
// for watches with Woken.
func (w *Watching) Next(ctx context.Context) ([]watch.Out, error) {
	for {
		outs, more, err := w.Step()
		if err != nil || len(outs) > 0 {
			return outs, err
		}
		if more {
			continue
		}
		if err := w.sleep(ctx); err != nil {
			return nil, err
		}
	}
}

// sleep waits until the stream may have something to do.
func (w *Watching) sleep(ctx context.Context) error {
	timer := time.NewTimer(w.Rest())
	defer timer.Stop()
	select {
	case <-w.woken:
	case <-timer.C:
	case <-w.server.leaving:
	case <-w.server.machine.Lifetime().Done():
	case <-ctx.Done():
		if !w.server.WatchesEnd() { // a context of the server's ends with it
			return context.Cause(ctx)
		}
	}
	return nil
}

// EndWatches ends all watches and reads that wait, and lets no more begin: the node is
// about to stop. What was applied until now is still sent.
func (s *Server) EndWatches() {
	s.leave.Do(func() { close(s.leaving) })
	s.machine.WakeWatches()
}

// WatchesEnd reports whether watches are to end.
func (s *Server) WatchesEnd() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return s.machine.Stopping()
	}
}

func (w *Watching) confirmed(c *confirmation) {
	if c.err != nil {
		w.stream.Unconfirmed(watch.Millis(c.ended.Sub(w.begun).Milliseconds()))
		return
	}
	w.stream.Confirmed(watch.Millis(c.begun.Sub(w.begun).Milliseconds()), c.revision)
}

// endOf returns the error for the end of a stream.
func (w *Watching) endOf(end watch.Out) error {
	switch end.Cause {
	case watch.Gone:
		h := w.History()
		return failure.Gone(w.stream.Position(), end.Oldest, h.Revision())
	case watch.Unheard:
		return failure.Of(failure.NoLeader, nil, "no majority has confirmed for a while that this node is up to date: go on at another node")
	case watch.Slow:
		return failure.Of(failure.SlowWatcher, nil, "the state was not taken in ten minutes")
	}
	return failure.NodeStopping(nil)
}

func (w *Watching) ended(err error) error {
	w.server.watches.end(failure.KindOf(err).Code)
	return err
}

// Freeze implements watch.Node.
func (w *Watching) Freeze() *kv.View {
	if !w.server.Enter(States, 0) {
		return nil
	}
	return w.server.machine.Freeze()
}

// Thawed implements watch.Node.
func (w *Watching) Thawed() { w.server.Leave(States, 0) }

// Close ends the watch.
func (w *Watching) Close() {
	w.stream.Close()
	w.Cursor.Close()
	w.server.watches.streams.Add(-1)
	w.server.gate.Drop(w.who, access.Watches)
	w.server.leaveWatches(w.class, w.bytes)
}

// confirmation is the end of a question for a read index: err, or the revision that the
// store had once the index was applied.
type confirmation struct {
	begun    time.Time // before the question
	ended    time.Time
	revision uint64
	err      error
}

// confirmer asks for the read indices of bookmarks: one at a time, which all watches
// share that were waiting when it began.
type confirmer struct {
	mu      sync.Mutex // guards the fields below
	waiting []*Watching
	running bool
}

// confirmTimeout bounds one question.
const confirmTimeout = 5 * time.Second

// ask has a read index asked for, beginning no earlier than now, for a watch that has not
// asked since it heard of the last one.
func (c *confirmer) ask(s *Server, w *Watching) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, w)
	if !c.running {
		c.running = true
		go c.run(s)
	}
}

// run asks until nobody waits.
func (c *confirmer) run(s *Server) {
	for {
		asking := c.take()
		if asking == nil {
			return
		}
		end := &confirmation{begun: time.Now()}
		ctx, cancel := context.WithTimeout(s.machine.Lifetime(), confirmTimeout)
		end.err = s.AwaitFresh(ctx, true)
		cancel()
		end.revision, end.ended = s.machine.Revision(), time.Now()
		for _, w := range asking {
			w.heard.Store(end)
			w.wake()
		}
	}
}

func (c *confirmer) take() []*Watching {
	c.mu.Lock()
	defer c.mu.Unlock()
	asking := c.waiting
	c.waiting = nil
	c.running = len(asking) > 0
	return asking
}

// AwaitChange waits until a key that is selected was changed behind a revision, for some
// time at most. It reports whether one was; otherwise up to which revision none was. A
// change that the history does not know any more counts as one.
func (s *Server) AwaitChange(ctx context.Context, selectors watch.Selectors, after uint64, limit time.Duration) (upTo uint64, changed bool, err error) {
	if err := s.awaitLevel(ctx, kv.LevelHistory, "reads that wait"); err != nil {
		return 0, false, err
	}
	if err := s.enterWatches(Watches, 0); err != nil {
		return 0, false, err
	}
	defer s.leaveWatches(Watches, 0)
	if after > s.machine.Revision() {
		if _, err := s.startOf(ctx, &WatchRequest{Resume: true, After: after}); err != nil && !errors.Is(err, failure.RevisionGone) {
			return 0, false, err
		}
	}
	woken := make(chan struct{}, 1)
	cursor := s.machine.Watch(selectors, after, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer cursor.Close()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for expired := false; ; {
		if upTo, changed = lookFor(cursor, &selectors); changed || expired {
			return upTo, changed, nil
		}
		select {
		case <-woken:
		case <-timer.C:
			expired = true
		case <-s.leaving:
			return 0, false, failure.NodeStopping(nil)
		case <-s.machine.Lifetime().Done():
			return 0, false, failure.NodeStopping(nil)
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
		if err := s.Serving(); err != nil {
			return 0, false, err
		}
	}
}

// lookFor takes what waits at a cursor, and reports whether it is a change of a selected
// key; otherwise up to which revision there is none.
func lookFor(cursor *machine.Cursor, selectors *watch.Selectors) (upTo uint64, found bool) {
	for {
		d := cursor.Take()
		if !d.Scan {
			return d.UpTo, len(d.Revisions) > 0
		}
		h := cursor.History()
		if !h.Reaches(d.UpTo) {
			return d.UpTo, true
		}
		h.Scan(d.UpTo, func(e *kv.Event) bool {
			found = selectors.MatchEvent(e)
			return !found
		})
		if found {
			return d.UpTo, true
		}
		cursor.Move(h.Revision())
	}
}
