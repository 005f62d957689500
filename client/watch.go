package client

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Watch follows changes, one WatchEvent for each, in the order of their revisions. It
// goes on at another server after every loss of one, behind the last event that the loop
// was given: no event is lost, comes twice or out of order. It ends with ctx, with the
// Clerk, or with an error that no server mends: a *RevisionGoneError if the history has
// forgotten what comes next, ErrForbidden, or an *Error with the code not_active,
// revision_ahead or other_cluster. The error comes last, with an empty event.
//
// A loop that takes its time holds up nothing but itself: at most 768 KiB and one change
// wait for it. Loops that follow the same in the same way share one watch at a server, while
// they keep up with each other.
func (c *Clerk) Watch(ctx context.Context, options ...WatchOption) iter.Seq2[WatchEvent, error] {
	return c.NewWatcher(options...).Events(ctx)
}

// Watcher is a watch that can be asked for bookmarks.
type Watcher struct {
	clerk   *Clerk
	invalid error // what is wrong with the options
	message clerkwire.Watch
	route   route // the server that is asked next

	// Of the loop:
	partial bool           // items came, and not all of them
	round   int            // of feeds that brought nothing
	kin     string         // of its feeds
	note    clerkwire.Note // room for the events of the next one

	mu      sync.Mutex // guards the fields below
	feed    *feed      // nil between two servers
	changed chan struct{}
}

// NewWatcher returns a watch that begins with Events.
func (c *Clerk) NewWatcher(options ...WatchOption) *Watcher {
	w := &Watcher{clerk: c, changed: make(chan struct{})}
	w.message, w.invalid = watchMessage(options)
	w.kin = kinOf(w.message)
	w.route.servers, w.route.worth, w.route.pause, w.route.lifetime = c.anyone.servers, c.worth, watchPause, c.lifetime
	w.route.leader.Store(int32(c.turns.Add(1) % uint32(c.anyone.servers())))
	return w
}

// kinOf returns what the watches have in common that follow the same in the same way.
func kinOf(m clerkwire.Watch) string {
	m.Cluster, m.Resume, m.After = "", false, 0
	return string(clerkwire.AppendFrame(nil, clerkwire.KindWatch, 0, m))
}

// maxWatchPause bounds the time between two rounds in which no server could serve a
// watch.
const maxWatchPause = 3 * time.Second

// watchPause is jitter with longer pauses: watchers that lost their server in the same
// moment must not all come back in the same moment.
func watchPause(round int) time.Duration {
	return rand.N(min(firstPause<<min(round-1, 16), maxWatchPause)) + 1
}

// Events follows changes; see Clerk.Watch. It may be called again when it has ended, and
// goes on then where it was, but not by two goroutines at the same time.
func (w *Watcher) Events(ctx context.Context) iter.Seq2[WatchEvent, error] {
	return func(yield func(WatchEvent, error) bool) {
		if w.invalid != nil {
			yield(WatchEvent{}, w.invalid)
			return
		}
		for {
			f, err := w.open(ctx)
			if err == nil {
				var more bool
				if more, err = w.follow(ctx, f, yield); !more && err == nil {
					return
				}
			}
			if err != nil {
				yield(WatchEvent{}, err)
				return
			}
		}
	}
}

// open finds a server that serves the watch.
func (w *Watcher) open(ctx context.Context) (*feed, error) {
	c := w.clerk
	if w.round > 0 && !w.route.sleep(ctx, watchPause(w.round)) || ctx.Err() != nil || c.lifetime.Err() != nil {
		return nil, asRead(c.givenUp(ctx, new(trail), false))
	}
	var t trail
	var f *feed
	var oldest uint64
	last, _ := w.route.retry(ctx, func(ctx context.Context, server int) verdict {
		call := c.newCall(clerkwire.KindWatch)
		defer c.free(call)
		call.feed = newFeed(w.kin)
		v := c.openFeed(ctx, server, call, &w.message)
		f, oldest = call.feed, call.oldest
		return c.note(&t, server, v)
	})
	switch {
	case last.outcome != done:
		return nil, asRead(c.givenUp(ctx, &t, false))
	case last.err == nil:
		return f, nil
	case last.err.Code == api.CodeRevisionGone:
		return nil, w.gone(oldest, last.err.Revision)
	}
	return nil, asRead(last.err)
}

// gone is the error of a history that does not reach the place of the watch.
func (w *Watcher) gone(oldest, revision uint64) error {
	return &RevisionGoneError{After: w.message.After, Oldest: oldest, Revision: revision}
}

// openFeed asks one server for a watch.
func (c *Clerk) openFeed(ctx context.Context, server int, call *call, m *clerkwire.Watch) verdict {
	s := c.server(server)
	conn, err := s.connection(ctx)
	switch {
	case conn == nil:
		return verdict{outcome: notApplied, leader: -1, err: err}
	case !conn.watches:
		return verdict{outcome: notApplied, leader: -1, err: tooOld(s.address), final: true}
	}
	return attemptOn(ctx, c, s, conn, call, *m, true)
}

// tooOld returns the error of a server that has no watches.
func tooOld(address string) *Error {
	short := "is of a version without watches"
	return &Error{Code: api.CodeNotImplemented, Outcome: api.OutcomeNotApplied, Detail: "the server at " + address + " " + short, short: short}
}

// follow hands out what a feed brings until its end. more says that the watch goes on at
// another server; otherwise the loop has ended, or an error ends it.
func (w *Watcher) follow(ctx context.Context, f *feed, yield func(WatchEvent, error) bool) (more bool, err error) {
	w.set(f)
	defer w.set(nil)
	defer f.leave()
	begun := time.Now()
	if f.watching.StateFirst {
		if w.partial && !yield(WatchEvent{Kind: Reset}, nil) {
			return false, nil
		}
		w.partial = false
	} else {
		w.message.Resume, w.message.After = true, f.watching.After
	}
	for {
		content, end, err := f.next(ctx, w.clerk.lifetime)
		switch {
		case err != nil:
			return false, asRead(w.clerk.givenUp(ctx, new(trail), false))
		case end == nil:
			stop, err := w.handOut(content.bytes, yield)
			if stop {
				return false, nil
			}
			if err == nil {
				f.took(content)
				continue
			}
			// What it brings makes no sense, so nothing behind that counts.
			f.from().conn.fail(err)
			end = &feedEnd{failed: err}
		}
		if end.ended != nil && end.ended.Why.Code == api.CodeRevisionGone {
			return false, w.gone(end.ended.Oldest, end.ended.Why.Revision)
		}
		if end.failed == errLate { // the server is in order, and this loop goes at its own pace from now on
			w.kin = ""
			return true, nil
		}
		w.round++
		if time.Since(begun) > time.Second {
			w.round = 0
		}
		if end.ended == nil || end.ended.Why.Code != api.CodeSlowWatcher { // that was the caller
			w.route.leader.Store((w.route.leader.Load() + 1) % int32(w.route.servers()))
		}
		return true, nil
	}
}

// handOut hands out the notes of a content. stop says that the loop has ended. An error
// says that the content is not what may come.
func (w *Watcher) handOut(content []byte, yield func(WatchEvent, error) bool) (stop bool, err error) {
	notes, n := clerkwire.NewNotes(content), &w.note
	defer w.clearNote() // it would keep the content alive
	for notes.Next(n) {
		if err := w.check(n); err != nil {
			return false, err
		}
		if !yield(eventOf(n, w.message.KeysOnly), nil) {
			return true, nil
		}
	}
	return false, notes.Err()
}

// clearNote keeps the room for a few events and nothing else.
func (w *Watcher) clearNote() {
	room := w.note.Events[:cap(w.note.Events)]
	if len(room) > 16 {
		room = nil
	}
	clear(room)
	w.note = clerkwire.Note{Events: room[:0]}
}

// check checks that a note may come now, and moves the place of the watch. It does so
// before the event is handed out: one on which the loop ends was handed out, too.
func (w *Watcher) check(n *clerkwire.Note) error {
	m := &w.message
	joined := m.Resume
	switch n.Kind {
	case clerkwire.NoteItem, clerkwire.NoteHolder:
		if joined {
			return fmt.Errorf("an item outside of a state, behind revision %d", m.After)
		}
		w.partial = true
		return nil
	case clerkwire.NoteReset:
		m.Resume, m.After, w.partial = false, 0, false
		return nil
	case clerkwire.NoteState:
		if joined {
			return fmt.Errorf("the end of a state that has not begun, at revision %d", n.Revision)
		}
		w.partial = false
	default:
		if !joined || n.Revision < m.After || n.Kind == clerkwire.NoteChange && n.Revision == m.After {
			return fmt.Errorf("revision %d came behind %d, or inside of a state", n.Revision, m.After)
		}
	}
	m.Resume, m.After = true, n.Revision
	return nil
}

// set tells calls of Sync where the watch is.
func (w *Watcher) set(f *feed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.feed = f
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Watcher) present() (*feed, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.feed, w.changed
}

// Sync returns a revision that is not below that of any write which was answered before
// the call. The loop of Events, which must be running, is given a Progress of this
// revision or a later one, behind everything that is followed up to there. An error is
// that of the context or of the Clerk.
func (w *Watcher) Sync(ctx context.Context) (revision uint64, err error) {
	for round := 1; ; round++ {
		f, changed := w.present()
		if f != nil {
			call := w.clerk.newCall(clerkwire.KindSync)
			at := f.from()
			ended := send(ctx, at.conn, call, clerkwire.Sync{Watch: at.number})
			revision, answered := call.synced.Revision, ended && call.err == nil && call.refused == nil && f.at(at)
			w.clerk.free(call)
			if answered {
				return revision, nil
			}
		}
		timer := time.NewTimer(watchPause(round))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		case <-w.clerk.lifetime.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || w.clerk.lifetime.Err() != nil {
			return 0, asRead(w.clerk.givenUp(ctx, new(trail), false))
		}
	}
}
