package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"raftkv/client/internal/sorted"
)

// Mirror is a local copy of the keys with a prefix, which a watch keeps up to date. Reads
// of it ask no server. It goes on at another server after every loss of one, and where the
// servers' history does not reach back to it, it reads the whole state anew; until that is
// complete it shows what it had. So it never shows a part of a change, and never goes back
// in time. All methods are safe for concurrent use.
type Mirror struct {
	clerk     *Clerk
	watcher   *Watcher
	following context.Context // ends with the Mirror
	end       context.CancelCauseFunc
	ended     chan struct{} // closed when nothing more comes
	err       error         // why; it is set before
	replica   replica       // of the goroutine that follows

	view atomic.Pointer[MirrorView]

	mu      sync.Mutex    // guards changed
	changed chan struct{} // closed when there is another view
}

// MirrorView is what a Mirror held at one revision. It never changes.
type MirrorView struct {
	revision uint64
	items    sorted.Map[Item]
	bytes    int64
	states   uint64 // how many whole states it has come from
}

const (
	// defaultMirrorBytes bounds a Mirror for which no MirrorLimit is given.
	defaultMirrorBytes = 256 << 20
	// mirrorItemBytes is about what a key takes in addition to its bytes and its value's.
	mirrorItemBytes = 192
)

// ErrMirrorFull: the keys of a Mirror take more memory than its limit.
var ErrMirrorFull = errors.New("the mirror is full")

// MirrorOption is an option of NewMirror.
type MirrorOption interface{ applyMirror(*replica) error }

type mirrorLimit int64

func (l mirrorLimit) applyMirror(r *replica) error {
	if r.limit = int64(l); l < 1 {
		return invalid("the limit of a mirror is %d bytes; choose 1 or more", int64(l))
	}
	return nil
}

// MirrorLimit bounds the memory that the keys of a Mirror take, in bytes: of each key its
// own, those of its value, and 192. The default is 256 MiB. A Mirror that needs more ends
// with ErrMirrorFull. While it reads the state anew, or somebody holds an old view, there
// may be twice as much.
func MirrorLimit(bytes int64) MirrorOption { return mirrorLimit(bytes) }

// NewMirror makes a copy of the keys that begin with a prefix, "" for all, and returns when
// it is complete: it then shows every write that was answered before the call. ctx bounds
// the call and not the Mirror, which ends with Close, with the Clerk, or with an error that
// no server mends, such as ErrForbidden; see Err.
func NewMirror(ctx context.Context, clerk *Clerk, prefix string, options ...MirrorOption) (*Mirror, error) {
	m := &Mirror{
		clerk: clerk, watcher: clerk.NewWatcher(Prefix(prefix), WithState()), replica: replica{limit: defaultMirrorBytes},
		ended: make(chan struct{}), changed: make(chan struct{}),
	}
	for _, o := range options {
		if err := o.applyMirror(&m.replica); err != nil {
			return nil, err
		}
	}
	m.following, m.end = context.WithCancelCause(context.Background())
	unbind := context.AfterFunc(ctx, func() { m.end(context.Cause(ctx)) })
	complete := m.changed
	if !clerk.start(m.follow) {
		unbind()
		m.end(ErrClosed)
		return nil, ErrClosed
	}
	select {
	case <-complete:
		if unbind() {
			return m, nil
		}
		<-m.ended // with ctx, in the same moment
	case <-m.ended:
		unbind()
	}
	return nil, m.err
}

// follow takes what the watch brings until it ends.
func (m *Mirror) follow() {
	defer close(m.ended)
	for e, err := range m.watcher.Events(m.following) {
		if err == nil {
			err = m.replica.take(&e)
		}
		if err != nil {
			m.err = err
			m.end(err)
			return
		}
		if m.replica.shown != m.view.Load() {
			m.show(m.replica.shown)
		}
	}
}

// show makes a view the present one.
func (m *Mirror) show(v *MirrorView) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view.Store(v)
	close(m.changed)
	m.changed = make(chan struct{})
}

// present returns the present view, and what is closed when there is another one.
func (m *Mirror) present() (*MirrorView, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view.Load(), m.changed
}

// Close ends the Mirror and returns when its watch has ended. What it shows stays.
func (m *Mirror) Close() {
	m.end(fmt.Errorf("the mirror was closed: %w", ErrClosed))
	<-m.ended
}

// Done returns a channel that is closed when the Mirror follows no more; see Err.
func (m *Mirror) Done() <-chan struct{} { return m.ended }

// Err returns why the Mirror follows no more, nil while it does. It wraps ErrClosed behind
// Close. What the Mirror shows stays, and grows old.
func (m *Mirror) Err() error {
	select {
	case <-m.ended:
		return m.err
	default:
		return nil
	}
}

// View returns what the Mirror holds now, for reads that must fit together.
func (m *Mirror) View() *MirrorView { return m.view.Load() }

// Get returns a key's item as the Mirror has it now; its value must not be changed.
func (m *Mirror) Get(key string) (item Item, found bool) { return m.View().Get(key) }

// Range yields the items of the present view; see MirrorView.Range.
func (m *Mirror) Range(from, to string) iter.Seq[Item] { return m.View().Range(from, to) }

// Revision returns the revision at which the Mirror is the store's state. It never falls.
func (m *Mirror) Revision() uint64 { return m.View().revision }

// Rereads returns how many times the Mirror has read the whole state anew, because the
// servers' history did not reach back to it: what happened to a key in between was not
// seen one by one.
func (m *Mirror) Rereads() uint64 { return m.View().states - 1 }

// Get returns a key's item; its value must not be changed.
func (v *MirrorView) Get(key string) (item Item, found bool) { return v.items.Get(key) }

// Range yields the items from a key on, in the order of the keys' bytes, up to but not
// including another key; to the last if that is "". Their values must not be changed.
func (v *MirrorView) Range(from, to string) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		v.items.Ascend(from, to, func(_ string, item Item) bool { return yield(item) })
	}
}

// Len returns the number of keys.
func (v *MirrorView) Len() int { return v.items.Len() }

// Revision returns the revision at which the view is the store's state.
func (v *MirrorView) Revision() uint64 { return v.revision }

// ChangedSince returns the keys that were set, deleted or created between an earlier view
// of the same Mirror and this one, in order: those whose items differ. nil is an empty
// view.
func (v *MirrorView) ChangedSince(earlier *MirrorView) (keys []string) {
	was := sorted.Map[Item]{}
	if earlier != nil {
		was = earlier.items
	}
	same := func(a, b Item) bool { return a.Revision == b.Revision }
	sorted.Diff(was, v.items, same, func(key string) bool {
		keys = append(keys, key)
		return true
	})
	return keys
}

// Changed yields the keys that have changed since the last turn of the loop, whatever
// happened to each meanwhile: for callers that want the newest only. The first turn has all
// keys that there are. The loop ends with ctx or with the Mirror.
func (m *Mirror) Changed(ctx context.Context) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for seen := (*MirrorView)(nil); ; {
			v, changed := m.present()
			if keys := v.ChangedSince(seen); len(keys) > 0 && !yield(keys) {
				return
			}
			seen = v
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-m.ended:
				if m.View() == seen {
					return
				}
			}
		}
	}
}

// Sync waits until the Mirror shows every write that was answered before the call, by
// whichever client. An error is that of ctx, or of the Mirror.
func (m *Mirror) Sync(ctx context.Context) error {
	ctx, free := m.within(ctx)
	defer free()
	revision, err := m.watcher.Sync(ctx)
	if err == nil {
		err = m.await(ctx, revision)
	}
	return m.because(err)
}

// Wait waits until the Mirror has come to a revision: that of a write's answer, so that it
// shows this write. An error is that of ctx, or of the Mirror.
func (m *Mirror) Wait(ctx context.Context, revision uint64) error {
	if m.Revision() >= revision {
		return nil
	}
	ctx, free := m.within(ctx)
	defer free()
	// Nothing of the Mirror may have changed, and bookmarks are seldom.
	_, err := m.watcher.Sync(ctx)
	if err == nil {
		err = m.await(ctx, revision)
	}
	return m.because(err)
}

// within returns a context that ends with the Mirror, too.
func (m *Mirror) within(ctx context.Context) (context.Context, func()) {
	bound, end := context.WithCancelCause(ctx)
	unbind := context.AfterFunc(m.following, func() { end(context.Cause(m.following)) })
	return bound, func() {
		unbind()
		end(nil)
	}
}

// await waits for a revision.
func (m *Mirror) await(ctx context.Context, revision uint64) error {
	for {
		v, changed := m.present()
		if v.revision >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return asRead(m.clerk.givenUp(ctx, new(trail), false))
		}
	}
}

// because is the error of a call: that of the Mirror if it has ended.
func (m *Mirror) because(err error) error {
	if err != nil && m.following.Err() != nil {
		<-m.ended
		return m.err
	}
	return err
}

// replica makes views of the events of a watch with state. It knows of no goroutine and no
// server.
type replica struct {
	limit int64       // of bytes
	shown *MirrorView // the newest one; nil before the first state was complete
	next  MirrorView  // what changes come to; it may be behind shown after a state
	items []Item      // of a state that is not complete
	bytes int64       // of these
}

// take takes the next event. An error says that the replica has no room for it.
func (r *replica) take(e *WatchEvent) error {
	switch e.Kind {
	case Reset:
		r.items, r.bytes = nil, 0
		return nil
	case StateItem:
		r.items = append(r.items, kept(e.Item))
		r.bytes += mirrorBytes(&e.Item)
		return r.bounded(r.bytes)
	case StateComplete:
		if byKey := func(a, b Item) int { return strings.Compare(a.Key, b.Key) }; !slices.IsSortedFunc(r.items, byKey) {
			slices.SortFunc(r.items, byKey)
		}
		all := r.items
		r.next.items = sorted.Of(len(all), func(i int) (string, Item) { return all[i].Key, all[i] })
		r.next.bytes, r.next.states = r.bytes, r.next.states+1
		r.items, r.bytes = nil, 0
	case Changed:
		for i := range e.Changes {
			r.change(&e.Changes[i])
		}
	}
	r.next.revision = e.Revision
	if r.shown == nil || r.next.revision >= r.shown.revision {
		view := r.next
		r.shown = &view
	}
	return r.bounded(r.next.bytes)
}

// change does to next what a change did to a key.
func (r *replica) change(c *Change) {
	if was, there := r.next.items.Get(c.Key); there {
		r.next.bytes -= mirrorBytes(&was)
	}
	if c.Op != ChangePut {
		r.next.items = r.next.items.Without(c.Key)
		return
	}
	r.next.bytes += mirrorBytes(&c.Item)
	r.next.items = r.next.items.With(c.Key, kept(c.Item))
}

func (r *replica) bounded(bytes int64) error {
	if bytes > r.limit {
		return fmt.Errorf("the keys of the mirror take %d bytes, and its limit is %d; give it more with MirrorLimit, or a longer prefix: %w", bytes, r.limit, ErrMirrorFull)
	}
	return nil
}

// kept is an item that does not share the bytes of its event, which may be many.
func kept(i Item) Item {
	i.Value = bytes.Clone(i.Value)
	return i
}

func mirrorBytes(i *Item) int64 { return mirrorItemBytes + int64(len(i.Key)+len(i.Value)) }
