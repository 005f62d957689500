package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// watched is a watch that came to a fake server.
type watched struct {
	*fakeConn
	asked
}

// watches makes the fake servers hand requests for watches to serve, one after the other,
// and other frames of watches to nobody.
func (f *fakeCluster) watches(serve func(w watched)) {
	f.frames(func(w watched) {
		if w.kind == clerkwire.KindWatch {
			serve(w)
		}
	})
}

// frames is watches for all frames of watches.
func (f *fakeCluster) frames(serve func(w watched)) {
	f.before = func(c *fakeConn, a asked) bool {
		if a.kind < clerkwire.KindWatch {
			return false
		}
		serve(watched{c, a})
		return true
	}
}

func (w watched) inPlace(after uint64) {
	sendFrame(w.fakeConn, clerkwire.KindWatching, w.number, clerkwire.Watching{After: after, Revision: after, Oldest: 1})
}

func (w watched) send(notes ...clerkwire.Note) {
	var content []byte
	for i := range notes {
		content = clerkwire.AppendNote(content, &notes[i])
	}
	sendFrame(w.fakeConn, clerkwire.KindChanges, w.number, clerkwire.Changes{Content: content})
}

func (w watched) end(code api.Code) {
	sendFrame(w.fakeConn, clerkwire.KindEnded, w.number, clerkwire.Ended{Oldest: 9, Why: clerkwire.Refused{Code: code, Revision: 20, Node: w.asked.server, Retryable: code != api.CodeRevisionGone}})
}

func put(revision uint64, key string) clerkwire.Note {
	return clerkwire.Note{Kind: clerkwire.NoteChange, Revision: revision, Events: []clerkwire.Event{
		{Op: clerkwire.EventPut, Key: []byte(key), After: clerkwire.State{Value: []byte("v"), Version: 1, Created: revision}},
	}}
}

// saidOf returns the events of a watch in words, n of them at most, and its error. Behind an hour
// of virtual time it gives up, lest a watch that is never told anything be waited for for ever.
func saidOf(ctx context.Context, c *Clerk, n int, options ...WatchOption) (all []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	for e, err := range c.Watch(ctx, options...) {
		if err != nil {
			return all, err
		}
		text := fmt.Sprintf("%d:%d", e.Kind, e.Revision)
		for _, change := range e.Changes {
			text += " " + change.Op + " " + change.Key
		}
		if all = append(all, text); len(all) == n {
			break
		}
	}
	return all, nil
}

func wantSaid(t *testing.T, got []string, err error, want ...string) {
	t.Helper()
	if err != nil || strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("it was given %q, %v; want %q", got, err, want)
	}
}

// Goal: a watch goes on at another server behind the last event that the loop was given,
// for whatever reason a server is lost; what is not in order counts as such a loss, and
// nothing behind it is handed out. When the loop ends, so does the watch at the server.
// Method: the servers end the watch, cut the connection, fall silent, send a revision
// twice, send bytes that mean nothing, and refuse.
func TestAWatchGoesOnAtAnotherServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		var asked []string
		f.set(func() {
			f.watches(func(w watched) {
				asked = append(asked, fmt.Sprintf("%v %d", w.watch.Resume, w.watch.After))
				switch len(asked) {
				case 1:
					w.inPlace(4)
					w.send(put(5, "a"))
					w.end(api.CodeNoLeader)
				case 2:
					w.inPlace(5)
					w.send(put(6, "b"), clerkwire.Note{Kind: clerkwire.NoteProgress, Revision: 7})
					w.Close()
				case 3:
					w.inPlace(7)
					w.send(put(7, "again"), put(8, "behind it"))
					w.send(put(9, "behind it"))
				case 4:
					w.inPlace(7)
					sendFrame(w.fakeConn, clerkwire.KindChanges, w.number, clerkwire.Changes{Content: []byte("garbage")})
				case 5:
					w.refuse(w.asked, clerkwire.Refused{Code: api.CodeTooManyWatches, Retryable: true})
				case 6:
					w.inPlace(7) // and nothing for ever
				case 7:
					w.inPlace(7)
					w.send(put(10, "c"))
				}
			})
		})
		begun := time.Now()
		got, err := saidOf(t.Context(), c, 4, Prefix(""))
		wantSaid(t, got, err, "1:5 put a", "1:6 put b", "2:7", "1:10 put c")
		if took := time.Since(begun); took < silence || took > silence+5*time.Second {
			t.Errorf("it took %v", took)
		}
		if want := "false 0, true 5, true 7, true 7, true 7, true 7, true 7"; strings.Join(asked, ", ") != want {
			t.Errorf("the servers were asked %q, want %q", asked, want)
		}
		f.waitFor(clerkwire.KindUnwatch)
		f.end(c)
	})
}

// Goal: a history that is gone is said with how far it reaches, whether the watch begins
// with it or comes to it, and other refusals that no server mends as well; then no server
// is asked again. Method: each of them.
func TestAWatchSaysWhyItCannotGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		running := true
		f.set(func() {
			f.watches(func(w watched) {
				if running {
					w.inPlace(4)
				}
				w.end(api.CodeRevisionGone)
			})
		})
		for range 2 {
			_, err := saidOf(t.Context(), c, 1, Key("k"), AfterRevision(4))
			gone := (*RevisionGoneError)(nil)
			if !errors.As(err, &gone) || *gone != (RevisionGoneError{After: 4, Oldest: 9, Revision: 20}) || !errors.Is(err, ErrRevisionGone) {
				t.Errorf("in place %v: it ends with %v", running, err)
			}
			running = false
		}
		for _, code := range []api.Code{api.CodeNotActive, api.CodeForbidden, api.CodeRevisionAhead, api.CodeOtherCluster} {
			before := len(f.requests(clerkwire.KindWatch))
			f.set(func() {
				f.watches(func(w watched) {
					w.refuse(w.asked, clerkwire.Refused{Code: code, Outcome: api.OutcomeNotApplied, Detail: "no"})
				})
			})
			_, err := saidOf(t.Context(), c, 1, Key("k"))
			e := (*Error)(nil)
			if !errors.As(err, &e) || e.Code != code || len(f.requests(clerkwire.KindWatch)) != before+1 {
				t.Errorf("%s: it ends with %v", code, err)
			}
		}
		for _, options := range [][]WatchOption{nil, {Key("")}, {Range("b", "a")}, {Prefix(strings.Repeat("x", 2000))}, {Key("k"), ProgressEvery(time.Hour)}} {
			if _, err := saidOf(t.Context(), c, 1, options...); !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is taken: %v", options, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f.set(func() { f.watches(func(w watched) { w.end(api.CodeStopping) }) })
		if _, err := saidOf(ctx, c, 1, Key("k")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody serves it: %v", err)
		}
		if n := len(f.requests(clerkwire.KindWatch)); n > 400 {
			t.Errorf("in a minute the servers were asked %d times", n)
		}
		f.end(c)
	})
}

// Goal: a state that breaks off is not gone on from: the loop is told to forget it, and
// the next state comes whole. Method: two states, the first of which breaks off.
func TestAStateThatBreaksOffComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		item := clerkwire.Note{Kind: clerkwire.NoteItem, Key: []byte("a"), State: clerkwire.State{Version: 1, Revision: 2}}
		count := 0
		f.set(func() {
			f.watches(func(w watched) {
				if w.watch.Resume {
					t.Error("it goes on from a state that broke off")
				}
				sendFrame(w.fakeConn, clerkwire.KindWatching, w.number, clerkwire.Watching{StateFirst: true, Revision: 4})
				w.send(item)
				if count++; count == 1 {
					w.end(api.CodeStopping)
					return
				}
				w.send(clerkwire.Note{Kind: clerkwire.NoteState, Revision: 4, Items: 1}, put(5, "b"))
			})
		})
		got, err := saidOf(t.Context(), c, 5, Prefix(""), WithState())
		wantSaid(t, got, err, "3:0", "5:0", "3:0", "4:4", "1:5 put b")
		f.end(c)
	})
}

// Goal: the server is told what the loop has taken, as it takes it, and not before; the
// client holds no more than it has given credit for. Method: contents of 50,000 bytes; a
// loop that stops halfway; a server that sends more than it may.
func TestCreditIsReturnedAsTheLoopTakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		var mu sync.Mutex
		credit := uint64(0)
		large := put(0, "k")
		large.Events[0].After.Value = make([]byte, 50_000)
		f.set(func() {
			f.frames(func(w watched) {
				mu.Lock()
				defer mu.Unlock()
				switch w.kind {
				case clerkwire.KindCredit:
					credit += w.credit
				case clerkwire.KindWatch:
					w.inPlace(4)
					for i := range 4 {
						large.Revision = uint64(5 + i)
						w.send(large)
					}
				}
			})
		})
		taken := 0
		for _, err := range c.Watch(t.Context(), Prefix("")) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			mu.Lock()
			if credit > uint64(taken*51_000) || credit+creditStep < uint64(taken*50_000) {
				t.Errorf("%d contents were taken, and the credit is %d", taken, credit)
			}
			mu.Unlock()
			if taken++; taken == 4 {
				break
			}
		}
		f.end(c)
		source, piece, held := &source{}, &clerkwire.Changes{More: true, Content: make([]byte, clerkwire.MaxPieceBytes)}, 0
		for {
			if _, err := source.push(piece, nil, false); err != nil {
				break
			}
			held += len(piece.Content)
		}
		if held < maxContent || held > maxContent+clerkwire.FirstCredit {
			t.Errorf("it takes %d bytes at most, want %d and a credit", held, maxContent)
		}
	})
}

// Goal: a client of this version and a server of v0.1.0 understand each other, without
// watches, and a watch says why there is none; as soon as one server has them, it is
// served. Method: servers that speak protocol 1 only, as v0.1.0 answers.
func TestAnOldServerServesANewClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.old = map[string]bool{"n1": true, "n2": true, "n3": true}
		c := f.dial(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := c.Put(ctx, "k", []byte("v")); err != nil || f.value("k") != "v" {
			t.Errorf("a put: %v", err)
		}
		_, err := saidOf(t.Context(), c, 1, Prefix(""))
		e := (*Error)(nil)
		if !errors.As(err, &e) || e.Code != api.CodeNotImplemented || !strings.Contains(err.Error(), "without watches") {
			t.Errorf("the watch ends with %v", err)
		}
		f.set(func() {
			f.old["n3"] = false
			f.watches(func(w watched) {
				w.inPlace(4)
				w.send(put(5, "a"))
			})
		})
		f.kill("n3") // its connection of before
		synctest.Wait()
		f.set(func() { f.down["n3"] = false })
		got, err := saidOf(t.Context(), c, 1, Prefix(""))
		wantSaid(t, got, err, "1:5 put a")
		f.end(c)
	})
}

// Goal: a watch that comes into place when nobody waits for it any more is ended at the
// server. Method: a server that answers later than an attempt lasts.
func TestAWatchThatComesTooLateIsEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(func(config *Config) { config.AttemptTimeout = time.Second })
		count := 0
		f.set(func() {
			f.watches(func(w watched) {
				if count++; count == 1 {
					time.AfterFunc(2*time.Second, func() { w.inPlace(4) })
					return
				}
				w.inPlace(4)
				time.AfterFunc(10*time.Second, func() { w.send(put(5, "a")) })
			})
		})
		got, err := saidOf(t.Context(), c, 1, Prefix(""))
		wantSaid(t, got, err, "1:5 put a")
		f.waitFor(clerkwire.KindUnwatch)
		if n := len(f.requests(clerkwire.KindUnwatch)); n != 2 {
			t.Errorf("%d watches were ended", n)
		}
		f.end(c)
	})
}
