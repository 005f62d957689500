package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/clerkwire"
)

// oneServer makes a Clerk of one server.
func oneServer(c *Config) { c.Endpoints = []string{"n1:1"} }

// follow runs a watch and returns what it is given, in words, when ctx ends it.
func follow(ctx context.Context, c *Clerk, taking time.Duration, options ...WatchOption) func() []string {
	var all []string
	var running sync.WaitGroup
	running.Go(func() {
		for e, err := range c.Watch(ctx, options...) {
			if err != nil {
				if ctx.Err() == nil {
					all = append(all, err.Error())
				}
				return
			}
			all = append(all, fmt.Sprintf("%d:%d", e.Kind, e.Revision))
			if taking > 0 {
				time.Sleep(taking)
			}
		}
	})
	return func() []string {
		running.Wait()
		return all
	}
}

// Goal: watches of one Clerk that follow the same share one at the server once they have come
// to the same place, whoever was there first: the server is told to end the others, nothing is
// lost or given twice, and a watch of something else, or that wants other things, stays by
// itself. A watch that ends takes the others' from nobody.
// Method: watches of two prefixes, one with keys only, and one that comes from far behind; a
// server that ends those that it is told to.
func TestWatchesOfTheSameShareOneAtTheServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(oneServer)
		open, at := map[uint32]watched{}, map[uint32]uint64{}
		asked := 0
		f.set(func() {
			f.frames(func(w watched) {
				switch w.kind {
				case clerkwire.KindUnwatch:
					delete(open, w.number)
				case clerkwire.KindWatch:
					asked++
					open[w.number], at[w.number] = w, 4
					if w.watch.Resume {
						at[w.number] = w.watch.After
					}
					w.inPlace(at[w.number])
				}
			})
		})
		served := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			f.hook.Lock()
			defer f.hook.Unlock()
			if len(open) != want {
				t.Errorf("%s: the server has %d watches, want %d", what, len(open), want)
			}
		}
		// send brings the watches of a prefix that stand at the place before it a change.
		send := func(prefix string, revision uint64) {
			synctest.Wait()
			f.hook.Lock()
			defer f.hook.Unlock()
			for number, w := range open {
				from := at[number]
				if string(w.watch.Prefixes[0]) == prefix && from < revision && (from >= 4 || from+1 == revision) {
					w.send(put(revision, prefix+"k"))
					at[number] = revision
				}
			}
		}
		ctx, end := context.WithCancel(t.Context())
		first, ofFirst := context.WithCancel(ctx)
		gone := follow(first, c, 0, Prefix("a"))
		two, three := follow(ctx, c, 0, Prefix("a")), follow(ctx, c, 0, Prefix("a"))
		other, keys := follow(ctx, c, 0, Prefix("b")), follow(ctx, c, 0, Prefix("a"), KeysOnly())
		served("three of one prefix", 3)
		behind := follow(ctx, c, 0, Prefix("a"), AfterRevision(2))
		served("one that comes from behind", 4)
		send("a", 3) // for the one that is behind alone
		send("a", 4)
		served("it has caught up", 3)
		send("a", 5)
		ofFirst()
		wantSaid(t, gone(), nil, "1:5")
		served("the first has left", 3)
		send("a", 6)
		send("b", 7)
		synctest.Wait()
		end()
		wantSaid(t, two(), nil, "1:5", "1:6")
		wantSaid(t, three(), nil, "1:5", "1:6")
		wantSaid(t, keys(), nil, "1:5", "1:6")
		wantSaid(t, other(), nil, "1:7")
		wantSaid(t, behind(), nil, "1:3", "1:4", "1:5", "1:6")
		served("all have ended", 0)
		if asked != 6 {
			t.Errorf("the server was asked for %d watches, want 6", asked)
		}
		f.end(c)
	})
}

// Goal: a bookmark that a watch asked for comes to its loop before the call returns, though
// the watch has moved to another one's place meanwhile. Method: the watch moves between the
// question and the answer, and the bookmark comes to where it was.
func TestABookmarkComesToAWatchThatHasMoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(oneServer)
		var all []watched
		syncs := 0
		f.set(func() {
			f.frames(func(w watched) {
				switch w.kind {
				case clerkwire.KindWatch:
					all = append(all, w)
					w.inPlace(uint64(6 - 2*len(all)))
				case clerkwire.KindSync:
					if syncs++; syncs == 1 {
						all[1].send(put(3, "k"), put(4, "k"))
					}
					at := all[2-syncs]
					at.send(clerkwire.Note{Kind: clerkwire.NoteProgress, Revision: 9})
					sendFrame(w.fakeConn, clerkwire.KindSynced, w.number, clerkwire.Synced{Revision: 9})
				}
			})
		})
		ctx, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		first := follow(ctx, c, 0, Prefix(""))
		synctest.Wait()
		w := c.NewWatcher(Prefix(""), AfterRevision(2))
		var given []string
		var running sync.WaitGroup
		running.Go(func() {
			for e := range w.Events(ctx) {
				given = append(given, fmt.Sprintf("%d:%d", e.Kind, e.Revision))
			}
		})
		synctest.Wait()
		revision, err := w.Sync(ctx)
		synctest.Wait()
		if revision != 9 || err != nil || strings.Join(given, " ") != "1:3 1:4 2:9" || syncs != 2 {
			t.Errorf("it returns %d, %v, and the loop was given %v; the server was asked %d times", revision, err, given, syncs)
		}
		end()
		running.Wait()
		first()
		f.end(c)
	})
}

// Goal: a loop that takes less than others that follow the same goes on by itself, at the same
// server and behind what it was given; the others do not wait for it. The server has as much
// credit as the fastest loop has taken. What is given to one loop is its own: it may write on
// it.
// Method: a loop that takes ten milliseconds for each of 3,000 contents of a kilobyte beside
// two that take none and write over them, and a server that sends by credit.
func TestALoopThatIsLateGoesOnByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(oneServer)
		const last, size = 3004, 1000
		var mu sync.Mutex
		credit, begun, resumed := map[uint32]int{}, 0, []uint64{}
		change := func(w watched) {
			next := max(w.watch.After, 4)
			for next < last {
				n := put(next+1, "k")
				n.Events[0].After.Value = slices.Repeat([]byte{byte(next + 1)}, size)
				mu.Lock()
				left, there := credit[w.number]
				if left > 0 {
					credit[w.number] -= len(clerkwire.AppendNote(nil, &n))
				}
				mu.Unlock()
				switch {
				case !there:
					return
				case left <= 0:
					time.Sleep(time.Millisecond)
				default:
					w.send(n)
					next++
				}
			}
		}
		var sending sync.WaitGroup
		f.set(func() {
			f.frames(func(w watched) {
				mu.Lock()
				defer mu.Unlock()
				switch w.kind {
				case clerkwire.KindCredit:
					if _, there := credit[w.number]; there {
						credit[w.number] += int(w.credit)
						if w.credit > clerkwire.FirstCredit || credit[w.number] > clerkwire.FirstCredit {
							t.Errorf("the server is given a credit of %d bytes and has %d, more than was taken", w.credit, credit[w.number])
						}
					}
				case clerkwire.KindUnwatch:
					delete(credit, w.number)
				case clerkwire.KindWatch:
					w.inPlace(max(w.watch.After, 4))
					credit[w.number] = clerkwire.FirstCredit
					if begun++; w.watch.Resume {
						resumed = append(resumed, w.watch.After)
					}
					if begun >= 3 {
						sending.Go(func() {
							time.Sleep(time.Second)
							change(w)
						})
					}
				}
			})
		})
		run := func(taking time.Duration, write bool) (end func() (revision uint64, took time.Duration)) {
			var at uint64 = 4
			start := time.Now()
			var running sync.WaitGroup
			running.Go(func() {
				for e, err := range c.Watch(t.Context(), Prefix("")) {
					if err != nil {
						t.Error(err)
						return
					}
					value := e.Changes[0].Item.Value
					if at++; e.Revision != at || len(value) != size || value[0] != byte(at) || value[size-1] != byte(at) {
						t.Errorf("revision %d came, with %d bytes of %d; want %d", e.Revision, len(value), value[0], at)
						return
					}
					if write {
						clear(value)
					}
					time.Sleep(taking)
					if at == last {
						return
					}
				}
			})
			return func() (uint64, time.Duration) {
				running.Wait()
				return at, time.Since(start)
			}
		}
		// The two that are fast come first, so that the server's first watch is theirs.
		fast, also := run(0, true), run(0, true)
		synctest.Wait()
		slow := run(10*time.Millisecond, false)
		synctest.Wait()
		mu.Lock()
		if n := len(credit); n != 1 {
			t.Fatalf("the server has %d watches, want 1", n)
		}
		for number := range credit { // the one that is left sends, not the last that was asked for
			for _, a := range f.requests(clerkwire.KindWatch) {
				if a.number == number {
					for conn := range f.conns {
						sending.Go(func() { change(watched{conn, a}) })
					}
				}
			}
		}
		mu.Unlock()
		for _, end := range []func() (uint64, time.Duration){fast, also} {
			if at, took := end(); at != last || took > 5*time.Second {
				t.Errorf("a fast loop came to %d in %v", at, took)
			}
		}
		at, took := slow()
		if at != last || took < 30*time.Second {
			t.Errorf("the slow loop came to %d in %v", at, took)
		}
		if len(resumed) != 1 || resumed[0] < 5 || resumed[0] > last-1 {
			t.Errorf("watches were resumed behind %d, want one within", resumed)
		}
		f.end(c)
		sending.Wait()
	})
}

// Goal: a loop that takes does not wait for one that takes nothing at the watch which both share,
// nor for one that has left it without having taken all. Method: a server by credit; one loop
// stops before it has taken a content of all the credit, another one comes to the same place from
// behind; then the first one goes on to be stuck, or leaves.
func TestAStuckLoopHoldsUpNoOther(t *testing.T) {
	for i := range 4 {
		leaves, early := i%2 == 0, i < 2 // early: the other loop has taken all before they share
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			c := f.dial(oneServer)
			full := put(5, "k")
			full.Events[0].After.Value = make([]byte, clerkwire.FirstCredit)
			var first, second watched
			unwatched, credit := map[uint32]bool{}, map[uint32]uint64{}
			f.set(func() {
				f.frames(func(w watched) {
					switch w.kind {
					case clerkwire.KindUnwatch:
						unwatched[w.number] = true
					case clerkwire.KindCredit:
						credit[w.number] += w.credit
					case clerkwire.KindWatch:
						if !w.watch.Resume {
							first = w
							w.inPlace(3)
							return
						}
						second = w
						w.inPlace(w.watch.After)
					}
				})
			})
			stuck, ofStuck := context.WithCancel(t.Context())
			defer ofStuck()
			ended := follow(stuck, c, 10*time.Second, Prefix(""))
			synctest.Wait()
			ctx, end := context.WithCancel(t.Context())
			other := follow(ctx, c, 0, Prefix(""), AfterRevision(2))
			synctest.Wait()
			first.send(put(4, "k")) // the loop stops here
			synctest.Wait()
			second.send(put(3, "k"))
			if !early {
				first.send(full)
				synctest.Wait()
			}
			second.send(put(4, "k"), full)
			synctest.Wait()
			if early {
				first.send(full)
				synctest.Wait()
			}
			f.hook.Lock()
			if !unwatched[second.number] || credit[first.number] < clerkwire.FirstCredit {
				t.Errorf("they share one: %v; the server has a credit of %d bytes for it, want what both were brought", unwatched[second.number], credit[first.number])
			}
			f.hook.Unlock()
			if leaves {
				ofStuck()
				time.Sleep(11 * time.Second)
			}
			first.send(put(6, "k"))
			synctest.Wait()
			end()
			wantSaid(t, other(), nil, "1:3", "1:4", "1:5", "1:6")
			ofStuck()
			ended()
			f.end(c)
		})
	}
}

// Goal: whatever order watches of the same come, catch up, fall behind, end and lose their
// server in, each loop is given each change behind its beginning once, in order.
// Method: 40 loops on one Clerk that begin at random places, take random times and end at
// random ones; a server that brings its watches what changes in pieces of random sizes, now
// and then bookmarks, and ends one or cuts its connections at random. Seeds are printed.
func TestWatchesThatShareMissNothing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { shareAtRandom(t, seed) })
	}
}

func shareAtRandom(t *testing.T, seed uint64) {
	bubble(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 1))
		f := newFakeCluster(t, "n1")
		c := f.dial(oneServer)
		var mu sync.Mutex // guards what follows
		now := uint64(10)
		type place struct {
			w    watched
			at   uint64
			rest []byte // of a content of which a piece was sent
		}
		var open []*place
		shared := 0
		f.set(func() {
			f.frames(func(w watched) {
				mu.Lock()
				defer mu.Unlock()
				switch w.kind {
				case clerkwire.KindUnwatch:
					shared++
					open = slices.DeleteFunc(open, func(p *place) bool { return p.w.fakeConn == w.fakeConn && p.w.number == w.number })
				case clerkwire.KindWatch:
					at := now
					if w.watch.Resume {
						at = w.watch.After
					}
					w.inPlace(at)
					open = append(open, &place{w: w, at: at})
				}
			})
		})
		var loops sync.WaitGroup
		for range 40 {
			loops.Go(func() {
				mu.Lock()
				after, taking := 1+random.Uint64N(now), time.Duration(random.IntN(30))*time.Millisecond
				events, pause := 1+random.IntN(400), time.Duration(random.IntN(3000))*time.Millisecond
				mu.Unlock()
				time.Sleep(pause)
				at := after
				for e, err := range c.Watch(t.Context(), Prefix("k"), AfterRevision(after)) {
					if err != nil {
						t.Errorf("the loop ends at %d: %v", at, err)
						return
					}
					if e.Kind == Progress && e.Revision == at {
						continue
					}
					if at++; e.Kind != Changed || e.Revision != at {
						t.Errorf("a loop behind %d was given %d of kind %d, want %d", after, e.Revision, e.Kind, at)
						return
					}
					if events--; events == 0 {
						return
					}
					if random := taking; random > 0 {
						time.Sleep(random)
					}
				}
			})
		}
		ended := make(chan struct{})
		go func() {
			loops.Wait()
			close(ended)
		}()
		for steps := 0; ; steps++ {
			select {
			case <-ended:
				f.end(c)
				if shared == 0 {
					t.Error("no watch was shared")
				}
				return
			case <-time.After(time.Millisecond):
			}
			if steps > 100_000 {
				t.Fatal("it does not end")
			}
			mu.Lock()
			if len(open) > 0 {
				p := open[random.IntN(len(open))]
				switch dice := random.IntN(300); {
				case dice == 0:
					p.w.end("stopping")
					open = slices.DeleteFunc(open, func(o *place) bool { return o == p })
				case dice == 1:
					p.w.Close()
					open = slices.DeleteFunc(open, func(o *place) bool { return o.w.fakeConn == p.w.fakeConn })
				case dice < 60:
					now++
				case p.rest != nil:
					sendFrame(p.w.fakeConn, clerkwire.KindChanges, p.w.number, clerkwire.Changes{Content: p.rest})
					p.rest = nil
				case p.at == now && dice < 100:
					p.w.send(clerkwire.Note{Kind: clerkwire.NoteProgress, Revision: now})
				default:
					var content []byte
					for n := 1 + random.IntN(5); n > 0 && p.at < now; n-- {
						p.at++
						note := put(p.at, "k"+strings.Repeat("x", random.IntN(50)))
						content = clerkwire.AppendNote(content, &note)
					}
					if len(content) == 0 {
						break
					}
					cut := len(content)
					if random.IntN(3) == 0 {
						cut = 1 + random.IntN(cut-1)
						p.rest = content[cut:]
					}
					sendFrame(p.w.fakeConn, clerkwire.KindChanges, p.w.number, clerkwire.Changes{More: p.rest != nil, Content: content[:cut]})
				}
			}
			mu.Unlock()
		}
	})
}
