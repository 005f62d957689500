package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// stateFirst says that a watch is in place and begins with a state.
func (w watched) stateFirst() {
	sendFrame(w.fakeConn, clerkwire.KindWatching, w.number, clerkwire.Watching{StateFirst: true, Revision: 1, Oldest: 1})
}

// itemNote is a key of a state: "a@2" is the key a, of revision 2.
func itemNote(text string) clerkwire.Note {
	key, revision := "", uint64(0)
	if _, err := fmt.Sscanf(strings.ReplaceAll(text, "@", " "), "%s %d", &key, &revision); err != nil {
		panic(err)
	}
	return clerkwire.Note{Kind: clerkwire.NoteItem, Key: []byte(key), State: clerkwire.State{Value: []byte(text), Revision: revision, Version: 1, Created: revision}}
}

// stateNotes are a whole state.
func stateNotes(revision uint64, items ...string) (all []clerkwire.Note) {
	for _, item := range items {
		all = append(all, itemNote(item))
	}
	return append(all, clerkwire.Note{Kind: clerkwire.NoteState, Revision: revision, Items: uint64(len(items))})
}

// changeNote is a change: "+a" puts the key a, "-a" deletes it.
func changeNote(revision uint64, events ...string) clerkwire.Note {
	n := clerkwire.Note{Kind: clerkwire.NoteChange, Revision: revision}
	for _, e := range events {
		event := clerkwire.Event{Op: clerkwire.EventDelete, Key: []byte(e[1:])}
		if e[0] == '+' {
			event.Op, event.After = clerkwire.EventPut, clerkwire.State{Value: fmt.Appendf(nil, "%s@%d", e[1:], revision), Version: 1, Created: revision}
		}
		n.Events = append(n.Events, event)
	}
	return n
}

func progressNote(revision uint64) clerkwire.Note {
	return clerkwire.Note{Kind: clerkwire.NoteProgress, Revision: revision}
}

// shows is a view in words; each value says what its key and revision must be.
func shows(t *testing.T, v *MirrorView) string {
	t.Helper()
	all := fmt.Sprintf("%d:", v.Revision())
	count := 0
	for item := range v.Range("", "") {
		all += " " + string(item.Value)
		if got, found := v.Get(item.Key); !found || fmt.Sprintf("%s@%d", got.Key, got.Revision) != string(item.Value) {
			t.Errorf("the key %q is %+v, %v", item.Key, got, found)
		}
		count++
	}
	if count != v.Len() {
		t.Errorf("%d of %d keys are shown", count, v.Len())
	}
	return all
}

func wantShown(t *testing.T, v *MirrorView, want string) {
	t.Helper()
	synctest.Wait()
	if got := shows(t, v); got != want {
		t.Errorf("it shows %q, want %q", got, want)
	}
}

// mirrored is a mirror of fake servers, which hand the requests for watches to the test.
type mirrored struct {
	*fakeCluster
	clerk   *Clerk
	watches chan watched
	mirror  *Mirror
	synced  uint64 // what a Sync is answered; 0: it is not
}

func newMirrored(t *testing.T) *mirrored {
	m := &mirrored{fakeCluster: newFakeCluster(t, "n1"), watches: make(chan watched, 20)}
	m.clerk = m.dial(nil)
	m.set(func() {
		m.frames(func(w watched) {
			switch w.kind {
			case clerkwire.KindWatch:
				m.watches <- w
			case clerkwire.KindSync:
				if m.synced != 0 {
					sendFrame(w.fakeConn, clerkwire.KindSynced, w.number, clerkwire.Synced{Revision: m.synced})
				}
			}
		})
	})
	return m
}

// make makes the mirror, of a state.
func (m *mirrored) make(options []MirrorOption, state ...clerkwire.Note) (watched, error) {
	m.t.Helper()
	made := make(chan error, 1)
	go func() {
		var err error
		m.mirror, err = NewMirror(m.t.Context(), m.clerk, "", options...)
		made <- err
	}()
	w := <-m.watches
	if w.watch.Resume || !w.watch.Mirror || len(w.watch.Prefixes) != 1 {
		m.t.Errorf("it begins with %+v", w.watch)
	}
	w.stateFirst()
	if len(state) > 1 { // a part of it is no mirror yet
		w.send(state[0])
		state = state[1:]
		synctest.Wait()
		if len(made) > 0 {
			m.t.Errorf("it is made before its state is complete: %v", <-made)
		}
	}
	w.send(state...)
	return w, <-made
}

// Goal: a mirror is the store at one revision, all of a change or nothing of it; it goes on
// behind that when its server is lost, reads the state anew where the history is gone, and
// says so; until that is complete, and as old as what it shows, it shows what it had
// (W2, W4, W7). Views that somebody holds do not change. Method: each of these, one after
// the other; what is shown is looked at between the steps.
func TestAMirrorIsTheStoreAtOneRevision(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMirrored(t)
		w, err := m.make(nil, stateNotes(4, "a@2", "b@3")...)
		if err != nil {
			t.Fatal(err)
		}
		first := m.mirror.View()
		wantShown(t, first, "4: a@2 b@3")
		w.send(changeNote(5, "+a", "-b", "+c"), progressNote(6))
		synctest.Wait()
		wantShown(t, m.mirror.View(), "6: a@5 c@5")
		w.Close()
		if w = <-m.watches; !w.watch.Resume || w.watch.After != 6 {
			t.Errorf("it goes on with %+v", w.watch)
		}
		w.inPlace(6)
		w.send(changeNote(7, "+d"), clerkwire.Note{Kind: clerkwire.NoteReset, Revision: 20}, itemNote("a@5"), itemNote("x@19"))
		synctest.Wait()
		wantShown(t, m.mirror.View(), "7: a@5 c@5 d@7")
		w.end(api.CodeStopping)
		if w = <-m.watches; w.watch.Resume {
			t.Errorf("it goes on from a state that broke off: %+v", w.watch)
		}
		w.stateFirst()
		w.send(stateNotes(6, "c@5", "a@5")...) // of a server that is behind
		synctest.Wait()
		wantShown(t, m.mirror.View(), "7: a@5 c@5 d@7")
		if n := m.mirror.Rereads(); n != 0 {
			t.Errorf("it says that it has read %d times what it does not show yet", n)
		}
		w.send(changeNote(7, "+d"), changeNote(8, "-c", "+e"))
		synctest.Wait()
		wantShown(t, m.mirror.View(), "8: a@5 d@7 e@8")
		if n, r := m.mirror.Rereads(), m.mirror.Revision(); n != 1 || r != 8 {
			t.Errorf("it has read the state anew %d times, at revision %d", n, r)
		}
		if got := fmt.Sprint(m.mirror.View().ChangedSince(first)); got != "[a b d e]" {
			t.Errorf("since the beginning %s have changed", got)
		}
		wantShown(t, first, "4: a@2 b@3")
		got := ""
		for item := range m.mirror.Range("b", "e") {
			got += item.Key
		}
		if got != "d" {
			t.Errorf("from b to e there are %q", got)
		}
		m.mirror.Close()
		m.mirror.Close()
		if err := m.mirror.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "mirror was closed") {
			t.Errorf("it was closed, and says %v", err)
		}
		wantShown(t, m.mirror.View(), "8: a@5 d@7 e@8")
		m.waitFor(clerkwire.KindUnwatch)
		m.end(m.clerk)
	})
}

// Goal: Sync shows every write that was answered before, over a lost server; Wait shows the
// write of a revision, though nothing of the mirror changed; both end with their context,
// and with the mirror. Method: servers whose bookmarks come late, or never.
func TestAMirrorCanBeWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMirrored(t)
		w, err := m.make(nil, stateNotes(4)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.mirror.Wait(t.Context(), 4); err != nil || len(m.requests(clerkwire.KindSync)) != 0 {
			t.Errorf("it has come to 4, and a wait is %v, of %d questions", err, len(m.requests(clerkwire.KindSync)))
		}
		for _, wait := range []func(ctx context.Context, at uint64) error{
			func(ctx context.Context, _ uint64) error { return m.mirror.Sync(ctx) },
			m.mirror.Wait,
		} {
			at := m.mirror.Revision() + 5
			m.hook.Lock()
			m.synced = at
			m.hook.Unlock()
			over := make(chan error, 1)
			go func() { over <- wait(t.Context(), at) }()
			synctest.Wait()
			w.Close() // before what was confirmed has come
			w = <-m.watches
			w.inPlace(w.watch.After)
			w.send(changeNote(at-1, "+k"))
			synctest.Wait()
			if len(over) > 0 {
				err := <-over
				t.Errorf("at %d the wait for %d is over: %v", m.mirror.Revision(), at, err)
				over <- err
			}
			w.send(progressNote(at))
			if err := <-over; err != nil || m.mirror.Revision() != at {
				t.Errorf("at %d the wait for %d ends with %v", m.mirror.Revision(), at, err)
			}
			m.hook.Lock()
			m.synced = 0
			m.hook.Unlock()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begun := time.Now()
			if err := m.mirror.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
				t.Errorf("nobody answers, and it ends after %v with %v", time.Since(begun), err)
			}
			cancel()
		}
		over := make(chan error, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { over <- m.mirror.Sync(ctx) }()
		go func() { over <- m.mirror.Wait(ctx, 1000) }()
		synctest.Wait()
		begun := time.Now()
		w.end(api.CodeRevisionGone)
		for range 2 {
			if err := <-over; !errors.Is(err, ErrRevisionGone) || err != m.mirror.Err() || time.Since(begun) > time.Second {
				t.Errorf("the mirror has ended, and after %v a call that waits with %v", time.Since(begun), err)
			}
		}
		<-m.mirror.Done()
		m.end(m.clerk)
	})
}

// Goal: a loop over what changed is given every key that it has not seen as it is, once a
// turn, and what came while it was busy together; it ends with the mirror, behind the last
// change. Method: changes in and between the turns, one of a key that is gone again.
func TestWhatChangedComesTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMirrored(t)
		w, err := m.make(nil, stateNotes(4, "a@2", "b@3")...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range m.mirror.Changed(ctx) {
			cancel()
		}
		var turns []string
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for keys := range m.mirror.Changed(ctx) {
			turns = append(turns, strings.Join(keys, " "))
			switch len(turns) {
			case 1:
				w.send(changeNote(5, "+a", "+c"), changeNote(6, "+d"), changeNote(7, "+a", "-b", "-d"))
				synctest.Wait()
			case 2:
				time.AfterFunc(time.Second, func() { w.send(progressNote(8), changeNote(9, "+z")) })
			case 3:
				w.send(changeNote(10, "-z"))
				w.end(api.CodeRevisionGone)
				<-m.mirror.Done()
			}
		}
		if got := strings.Join(turns, ", "); got != "a b, a b c, z, z" {
			t.Errorf("the turns are %q", got)
		}
		m.end(m.clerk)
	})
}

// Goal: a mirror that cannot be made says why and leaves nothing behind, and one that has no
// more room ends with that. Method: a context that ends, a server that forbids, a limit that
// the state exceeds or a change, wrong options, a Clerk that is closed.
func TestAMirrorThatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMirrored(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := NewMirror(ctx, m.clerk, "a")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody answers: %v", err)
		}
		m.set(func() {
			m.frames(func(w watched) {
				if w.kind == clerkwire.KindWatch {
					w.refuse(w.asked, clerkwire.Refused{Code: api.CodeForbidden, Outcome: api.OutcomeNotApplied, Detail: "no"})
				}
			})
		})
		if _, err := NewMirror(t.Context(), m.clerk, "a"); !errors.Is(err, ErrForbidden) {
			t.Errorf("it is forbidden: %v", err)
		}
		for name, make := range map[string]func() (*Mirror, error){
			"a long prefix": func() (*Mirror, error) { return NewMirror(t.Context(), m.clerk, strings.Repeat("x", 2000)) },
			"no room":       func() (*Mirror, error) { return NewMirror(t.Context(), m.clerk, "", MirrorLimit(0)) },
		} {
			if _, err := make(); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s is taken: %v", name, err)
			}
		}
		m.end(m.clerk)
		if _, err := NewMirror(t.Context(), m.clerk, "a"); !errors.Is(err, ErrClosed) {
			t.Errorf("the Clerk is closed: %v", err)
		}

		m = newMirrored(t)
		room := MirrorLimit(2 * (mirrorItemBytes + 4)) // for two keys of one byte, with values of three
		if _, err := m.make([]MirrorOption{room}, stateNotes(4, "a@2", "b@3", "c@3")...); !errors.Is(err, ErrMirrorFull) {
			t.Errorf("three keys, where there is room for two: %v", err)
		}
		w, err := m.make([]MirrorOption{room}, stateNotes(4, "a@2", "b@3")...)
		if err != nil {
			t.Fatal(err)
		}
		w.send(changeNote(5, "+a"), changeNote(6, "-b"), changeNote(7, "+c"), changeNote(8, "-c", "+d"))
		synctest.Wait()
		wantShown(t, m.mirror.View(), "8: a@5 d@8")
		w.send(changeNote(9, "+e"))
		select {
		case <-m.mirror.Done():
		case <-time.After(time.Minute):
			t.Error("it goes on without room")
		}
		if err := m.mirror.Err(); !errors.Is(err, ErrMirrorFull) || !strings.Contains(err.Error(), "MirrorLimit") {
			t.Errorf("it ends with %v", err)
		}
		m.end(m.clerk)
	})
}

// Goal: whatever comes, the mirror at a revision is the store at that revision, and
// ChangedSince are the keys that differ; its count of bytes is that of what it holds.
// Method: random changes of a plain map, of which every state is kept; the events of a
// watch that breaks off and is reset now and then, without servers.
func TestReplicaAgreesWithAPlainModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		states := []map[string]uint64{{}, {}} // by revision: the keys and their revisions
		rep := replica{limit: 1 << 30}
		var views []*MirrorView
		at, joined := 0, false // how far the watch has come
		for range 300 {
			next := map[string]uint64{}
			for key, revision := range states[len(states)-1] {
				next[key] = revision
			}
			key := fmt.Sprint(r.IntN(30))
			if revision := uint64(len(states)); r.IntN(3) == 0 {
				delete(next, key)
			} else {
				next[key] = revision
			}
			states = append(states, next)
			switch dice := r.IntN(100); {
			case !joined || dice < 4:
				at = max(1, len(states)-1-r.IntN(5))
				state := stateEvents(states[at], uint64(at))
				if joined = r.IntN(3) > 0; !joined {
					state = state[:r.IntN(len(state))]
				}
				takeAll(t, &rep, append([]WatchEvent{{Kind: Reset}}, state...)...)
			case dice < 60:
				for ; at < len(states)-1; at++ {
					takeAll(t, &rep, changeEvent(states[at], states[at+1], uint64(at+1)))
				}
			case dice < 70:
				takeAll(t, &rep, WatchEvent{Kind: Progress, Revision: uint64(at)})
			}
			v := rep.shown
			if v == nil {
				continue
			}
			if len(views) > 0 && v.revision < views[len(views)-1].revision {
				t.Fatalf("seed %d: it goes back from %d to %d", seed, views[len(views)-1].revision, v.revision)
			}
			views = append(views, v)
			bytes := int64(0)
			for item := range v.Range("", "") {
				bytes += mirrorBytes(&item)
			}
			if got, want := wordsOfView(v), words(states[v.revision]); got != want || bytes != v.bytes {
				t.Fatalf("seed %d: at %d it shows %q of %d bytes, want %q of %d", seed, v.revision, got, v.bytes, want, bytes)
			}
			earlier := views[r.IntN(len(views))]
			want := map[string]uint64{}
			for key := range states[earlier.revision] {
				want[key] = 0
			}
			for key := range states[v.revision] {
				want[key] = 0
			}
			for key := range want {
				if states[v.revision][key] == states[earlier.revision][key] {
					delete(want, key)
				}
			}
			got := map[string]uint64{}
			for _, key := range v.ChangedSince(earlier) {
				got[key] = 0
			}
			if words(got) != words(want) {
				t.Fatalf("seed %d: from %d to %d %s have changed, want %s", seed, earlier.revision, v.revision, words(got), words(want))
			}
		}
		if len(views) < 100 {
			t.Errorf("seed %d: it has shown %d views only", seed, len(views))
		}
	}
}

func takeAll(t *testing.T, r *replica, events ...WatchEvent) {
	t.Helper()
	for i := range events {
		if err := r.take(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func words(state map[string]uint64) (all string) {
	for n := range 30 {
		if revision, there := state[fmt.Sprint(n)]; there {
			all += fmt.Sprintf(" %d@%d", n, revision)
		}
	}
	return all
}

func wordsOfView(v *MirrorView) string {
	state := map[string]uint64{}
	for item := range v.Range("", "") {
		state[item.Key] = item.Revision
	}
	return words(state)
}

// stateEvents are the events of a state, in any order, as no server sends them.
func stateEvents(state map[string]uint64, revision uint64) (all []WatchEvent) {
	for key, of := range state {
		all = append(all, WatchEvent{Kind: StateItem, Item: Item{Key: key, Revision: of}})
	}
	return append(all, WatchEvent{Kind: StateComplete, Revision: revision})
}

// changeEvent is the change from one state to the next.
func changeEvent(was, is map[string]uint64, revision uint64) WatchEvent {
	e := WatchEvent{Kind: Changed, Revision: revision}
	for n := range 30 {
		key := fmt.Sprint(n)
		if of, there := is[key]; there && of == revision {
			e.Changes = append(e.Changes, Change{Op: ChangePut, Key: key, Item: Item{Key: key, Revision: of}})
		} else if _, before := was[key]; before && !there {
			e.Changes = append(e.Changes, Change{Op: ChangeDelete, Key: key, Item: Item{Key: key}})
		}
	}
	return e
}
