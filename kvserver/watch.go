package kvserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/kvserver/watch"
)

// WatchRequest is a watch as a door asks for it.
type WatchRequest struct {
	Selectors watch.Selectors
	Mirror    bool // the state first, and again after a gap
	// Resume: go on behind After, which is a revision that the client was given.
	// Otherwise from now, which is behind every write that was answered before.
	Resume   bool
	After    uint64
	Progress time.Duration // between two bookmarks; 0: the default
	Cluster  string        // uid of the cluster whose bookmark it is; "": any
}

// Watching is a watch that is in place. It belongs to one goroutine and must be closed.
type Watching struct {
	server *Server
	stream *watch.Stream
	*machine.Cursor
	begun time.Time
	woken chan struct{}     // holds a token when there may be something
	heard chan confirmation // holds the end of the confirmation that was asked for
}

var _ watch.Node = (*Watching)(nil)

// Watch puts a watch in place. The errors are failure.NotActive, OtherCluster,
// TooManyWatches, RevisionGone and RevisionAhead, and those of a linearizable read.
func (s *Server) Watch(ctx context.Context, r WatchRequest) (*Watching, error) {
	if err := s.activated(ctx); err != nil {
		return nil, err
	}
	if uid := s.UID(); r.Cluster != "" && r.Cluster != uid {
		return nil, failure.Of(failure.OtherCluster, nil, "the bookmark is of the cluster %.40q, and this is %q: read the state and go on from its revision", r.Cluster, uid)
	}
	if s.watchesEnd() {
		return nil, failure.NodeStopping(nil)
	}
	if err := s.EnterOrRefuse(Watches); err != nil {
		return nil, err
	}
	w, err := s.watch(ctx, r)
	if err != nil {
		s.Leave(Watches, 0)
		return nil, err
	}
	s.watches.streams.Add(1)
	return w, nil
}

// activated waits a moment for the cluster to work at the level of watches: one that
// has just begun comes to it soon.
func (s *Server) activated(ctx context.Context) error {
	if s.whileLeaderless(ctx, func() bool { return s.machine.Level() >= kv.LevelHistory || s.Serving() != nil }) {
		return s.Serving()
	}
	return failure.Of(failure.NotActive, nil, "the cluster works at level %d, and this needs level %d: it rises when all nodes have a version that knows it",
		max(s.machine.Level(), kv.LevelBase), kv.LevelHistory)
}

func (s *Server) watch(ctx context.Context, r WatchRequest) (*Watching, error) {
	after, err := s.startOf(ctx, r)
	if err != nil {
		return nil, err
	}
	w := &Watching{server: s, begun: time.Now(), woken: make(chan struct{}, 1), heard: make(chan confirmation, 1)}
	w.Cursor = s.machine.Watch(r.Selectors, after, w.wake)
	progress := watch.DefaultProgress
	if r.Progress > 0 {
		progress = min(max(watch.Millis(r.Progress.Milliseconds()), watch.MinProgress), watch.MaxProgress)
	}
	spread := watch.NoLeader / 2
	w.stream = watch.NewStream(watch.Options{
		Selectors: r.Selectors, Mirror: r.Mirror, Resume: r.Resume, After: after, Progress: progress,
		NoLeader: watch.NoLeader - spread/2 + rand.N(spread+1),
	}, w, 0)
	return w, nil
}

// startOf returns the revision behind which a watch begins.
func (s *Server) startOf(ctx context.Context, r WatchRequest) (uint64, error) {
	if !r.Resume || r.After > s.machine.Revision() {
		// Whether a revision is still to come is not for this node's store to say: it may
		// lag.
		if err := s.awaitLinearizable(ctx); err != nil {
			return 0, err
		}
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

func (w *Watching) wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// now is the time of the stream.
func (w *Watching) now() watch.Millis { return watch.Millis(time.Since(w.begun).Milliseconds()) }

// Next waits for something to send. An error says why the watch ends: it is of package
// failure and to be told to the client, or it is that of ctx. What Outs hold never
// changes.
func (w *Watching) Next(ctx context.Context) ([]watch.Out, error) {
	for {
		if err := w.server.machine.Quarantined(); err != nil {
			return nil, w.ended(err)
		}
		if w.server.watchesEnd() {
			w.server.machine.FinishWatches()
			w.stream.Stop()
		}
		now := w.now()
		if w.stream.Ask(now) {
			w.server.confirming.ask(w.server, w.heard)
		}
		outs, more := w.stream.Step(now)
		if n := len(outs); n > 0 {
			if last := outs[n-1]; last.Kind == watch.End {
				return nil, w.ended(w.endOf(last))
			}
			w.server.watches.note(outs)
			w.listen()
			return outs, nil
		}
		if more {
			continue
		}
		if err := w.sleep(ctx, w.stream.Next()-now); err != nil {
			return nil, err
		}
	}
}

// listen takes the end of a confirmation, if it is there.
func (w *Watching) listen() {
	select {
	case c := <-w.heard:
		w.confirmed(c)
	default:
	}
}

// sleep waits until the stream may have something to do.
func (w *Watching) sleep(ctx context.Context, d watch.Millis) error {
	timer := time.NewTimer(time.Duration(max(d, 1)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-w.woken:
	case c := <-w.heard:
		w.confirmed(c)
	case <-timer.C:
	case <-w.server.leaving:
	case <-w.server.machine.Lifetime().Done():
	case <-ctx.Done():
		if !w.server.watchesEnd() { // a context of the server's ends with it
			return context.Cause(ctx)
		}
	}
	return nil
}

// EndWatches ends all watches and reads that wait, and lets no more begin: the node is
// about to stop. What was applied until now is still sent.
func (s *Server) EndWatches() { s.leave.Do(func() { close(s.leaving) }) }

// watchesEnd reports whether watches are to end.
func (s *Server) watchesEnd() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return s.machine.Stopping()
	}
}

func (w *Watching) confirmed(c confirmation) {
	if c.err != nil {
		w.stream.Unconfirmed(w.now())
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
	w.server.Leave(Watches, 0)
}

// confirmation is the end of a question for a read index: err, or the revision that the
// store had once the index was applied.
type confirmation struct {
	begun    time.Time // before the question
	revision uint64
	err      error
}

// confirmer asks for the read indices of bookmarks: one at a time, which all watches
// share that were waiting when it began.
type confirmer struct {
	mu      sync.Mutex // guards the fields below
	waiting []chan<- confirmation
	running bool
}

// confirmTimeout bounds one question.
const confirmTimeout = 5 * time.Second

// ask has a read index asked for, beginning no earlier than now. to has room for its end.
func (c *confirmer) ask(s *Server, to chan<- confirmation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, to)
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
		end := confirmation{begun: time.Now()}
		ctx, cancel := context.WithTimeout(s.machine.Lifetime(), confirmTimeout)
		end.err = s.AwaitFresh(ctx, true)
		cancel()
		end.revision = s.machine.Revision()
		for _, to := range asking {
			to <- end
		}
	}
}

func (c *confirmer) take() []chan<- confirmation {
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
	if err := s.activated(ctx); err != nil {
		return 0, false, err
	}
	if err := s.EnterOrRefuse(Watches); err != nil {
		return 0, false, err
	}
	defer s.Leave(Watches, 0)
	if after > s.machine.Revision() {
		if _, err := s.startOf(ctx, WatchRequest{Resume: true, After: after}); err != nil && !errors.Is(err, failure.RevisionGone) {
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
			found = selectors.Match(e.Key)
			return !found
		})
		if found {
			return d.UpTo, true
		}
		cursor.Move(h.Revision())
	}
}
