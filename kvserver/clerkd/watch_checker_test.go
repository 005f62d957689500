package clerkd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/kvserver/internal/truth"
)

// clerkWatcher is a Clerk that follows changes and compares each event with the truth as
// it comes.
type clerkWatcher struct {
	world    *watchWorld
	r        *rand.Rand
	name     string
	prefix   string
	state    bool
	slow     atomic.Bool // it takes a minute for an event, at times
	progress time.Duration
	clerk    *client.Clerk
	watcher  *client.Watcher

	mu   sync.Mutex // guards the fields below
	last uint64     // revision of the last event
	seen map[string]int
}

// run follows changes until ctx ends.
func (c *clerkWatcher) run(ctx context.Context) {
	match := truth.Prefix(c.prefix)
	options := []client.WatchOption{client.Prefix(c.prefix), client.WithPrev(), client.ProgressEvery(c.progress)}
	if c.state {
		options = append(options, client.WithState())
	}
	begin := append(options[:len(options):len(options)], client.AfterRevision(1))
	if c.state {
		begin = options
	}
	for place, joined := uint64(1), !c.state; ; {
		items := map[string]truth.Item{}
		w := c.clerk.NewWatcher(begin...)
		c.mu.Lock()
		c.watcher = w
		c.mu.Unlock()
		for e, err := range w.Events(ctx) {
			gone := (*client.RevisionGoneError)(nil)
			switch {
			case ctx.Err() != nil:
				return
			case errors.As(err, &gone):
				c.count("gone")
				if gone.After != place || place+1 >= gone.Oldest || !c.world.WasOldest(gone.Oldest) {
					c.world.t.Errorf("%s: at %d it is told %+v", c.name, place, gone)
				}
				// It goes on where the history begins, as one that reads the state does.
				place = gone.Revision
				begin = append(options[:len(options):len(options)], client.AfterRevision(place))
				continue
			case err != nil:
				c.world.t.Errorf("%s: %v", c.name, err)
				return
			}
			c.count(fmt.Sprint("kind ", e.Kind))
			place, joined = c.take(e, place, joined, items, match)
			if c.slow.Load() && c.r.IntN(40) == 0 {
				select {
				case <-time.After(time.Duration(c.r.IntN(90_000)) * time.Millisecond):
				case <-ctx.Done():
				}
			}
			if c.world.t.Failed() {
				return
			}
		}
		if c.state {
			return // it ended with ctx, or has failed
		}
	}
}

// take compares one event with the truth.
func (c *clerkWatcher) take(e client.WatchEvent, place uint64, joined bool, items map[string]truth.Item, match func(string) bool) (uint64, bool) {
	t := c.world.t
	switch e.Kind {
	case client.StateItem:
		if joined {
			t.Errorf("%s: an item outside of a state", c.name)
		}
		items[e.Item.Key] = *truthOf(&e.Item)
		return place, joined
	case client.Reset:
		clear(items)
		return place, false
	case client.StateComplete:
		var want map[string]truth.Item
		c.world.Ask(func(m *truth.Model) { want = m.At(e.Revision, match) })
		if !maps.Equal(items, want) {
			t.Errorf("%s: the state at %d is\n %v\nand it was given\n %v", c.name, e.Revision, want, items)
		}
	case client.Changed, client.Progress:
		if !joined || e.Revision < place || e.Kind == client.Changed && e.Revision == place {
			t.Errorf("%s: revision %d came behind %d, or inside of a state", c.name, e.Revision, place)
		}
		var got []truth.Change
		if e.Kind == client.Changed {
			got = []truth.Change{{Revision: e.Revision}}
			for i := range e.Changes {
				change := &e.Changes[i]
				got[0].Events = append(got[0].Events, truth.Event{Op: change.Op, Key: change.Key, Item: truthOf(&change.Item), Prev: truthOf(change.Prev)})
			}
		}
		var changes []truth.Change
		c.world.Ask(func(m *truth.Model) { changes = m.Between(place, e.Revision, match) })
		if g, want := wordsOfTruth(got), wordsOfTruth(changes); g != want {
			t.Errorf("%s: behind %d, up to %d the truth has\n%sand it was given\n%s", c.name, place, e.Revision, want, g)
		}
	}
	c.mu.Lock()
	c.last = e.Revision
	c.mu.Unlock()
	return e.Revision, true
}

func (c *clerkWatcher) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[what]++
}

func truthOf(i *client.Item) *truth.Item {
	if i == nil || i.Version == 0 {
		return nil
	}
	return &truth.Item{Value: string(i.Value), Revision: i.Revision, Version: i.Version, Created: i.Created}
}

func wordsOfTruth(changes []truth.Change) string {
	var b strings.Builder
	show := func(i *truth.Item) string {
		if i == nil {
			return "none"
		}
		return fmt.Sprintf("%.20q of %d bytes, revision %d, version %d, created %d", i.Value, len(i.Value), i.Revision, i.Version, i.Created)
	}
	for _, change := range changes {
		for _, e := range change.Events {
			fmt.Fprintf(&b, " %d %s %s: %s; before: %s\n", change.Revision, e.Op, e.Key, show(e.Item), show(e.Prev))
		}
	}
	return b.String()
}

// Goal: what Clerks are given is the truth, without an event that is lost, comes twice or
// out of order (W1 to W3, W5, W7, W8, W10), whatever happens to nodes and connections; and
// a Sync is behind every write that was answered before (W6). Method: the log is replayed
// through a plain model, and each event of many Clerks on real doors is compared with it
// as it comes. Nodes lag, are cut off, ended in order and not, begun anew and given
// snapshots; connections are cut; histories forget; some Clerks take a minute for an
// event.
func TestClerksAreToldTheTruth(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(4) {
		inBubble(t, func(t *testing.T) { runClerkWorld(t, seed, 400, seen) })
	}
	t.Logf("seen: %v", seen)
	for _, what := range []string{"kind 1", "kind 2", "kind 3", "kind 4", "kind 5", "gone", "syncs", "rereads"} {
		if seen[what] < 5 && !t.Failed() {
			t.Errorf("void: %q was met %d times: %v", what, seen[what], seen)
		}
	}
}

// Goal: the race detector sees nothing in the first of these worlds.
func TestAWorldOfClerksHasNoRaces(t *testing.T) {
	inBubble(t, func(t *testing.T) { runClerkWorld(t, 0, 150, map[string]int{}) })
}

func runClerkWorld(t *testing.T, seed uint64, disturbances int, seen map[string]int) {
	w := newWatchWorld(t, seed)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var watchers []*clerkWatcher
	for i := range 10 {
		if i%4 == 0 { // four share a Clerk, and so its connections
			clerk, err := client.Dial(ctx, client.Config{Endpoints: []string{"n1:1", "n2:1", "n3:1"}, Dial: w.dial})
			if err != nil {
				t.Fatal(err)
			}
			defer clerk.Close()
			watchers = append(watchers, &clerkWatcher{clerk: clerk})
		} else {
			watchers = append(watchers, &clerkWatcher{clerk: watchers[i-1].clerk})
		}
		c := watchers[i]
		c.world, c.r, c.name, c.seen = w, rand.New(rand.NewPCG(seed, uint64(i))), fmt.Sprintf("seed %d, watcher %d", seed, i), map[string]int{}
		c.prefix, c.state = []string{"", "a/", "b/", "c/7", "none"}[i%5], i%2 == 0
		c.slow.Store(i%3 == 0)
		c.progress = []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second}[i%3]
		running.Go(func() { c.run(ctx) })
	}
	mirrors := w.mirrors(ctx, &running, watchers[0].clerk, watchers[4].clerk)
	for i := 0; i < disturbances && !t.Failed(); i++ {
		w.disturb()
		for _, m := range mirrors {
			m.check()
		}
		time.Sleep(time.Duration(w.r.IntN(400)) * time.Millisecond)
	}
	for _, n := range w.nodes {
		n.DeliverAll()
	}
	for _, c := range watchers {
		c.slow.Store(false) // a bookmark waits for a caller that waits
	}
	for _, c := range watchers {
		c.checkSync(ctx)
	}
	for _, m := range mirrors {
		m.checkSync(ctx)
		seen["rereads"] += int(m.rereads())
	}
	stop()
	running.Wait()
	for _, c := range watchers {
		for what, n := range c.seen {
			seen[what] += n
		}
	}
}

// checkSync asks for a bookmark and waits for its revision.
func (c *clerkWatcher) checkSync(ctx context.Context) {
	if c.world.t.Failed() {
		return
	}
	limit, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	revision := uint64(0)
	for err := error(nil); revision == 0; {
		if limit.Err() != nil {
			c.world.t.Errorf("%s: no bookmark came: %v", c.name, err)
			return
		}
		c.mu.Lock()
		w := c.watcher // another one, where the history was gone
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(limit, 10*time.Second)
		revision, err = w.Sync(ctx)
		cancel()
	}
	c.count("syncs")
	c.world.Ask(func(m *truth.Model) {
		if revision != m.Revision {
			c.world.t.Errorf("%s: the bookmark is %d, and %d was committed", c.name, revision, m.Revision)
		}
	})
	for limit.Err() == nil {
		c.mu.Lock()
		last := c.last
		c.mu.Unlock()
		if last >= revision {
			return
		}
		time.Sleep(100 * time.Millisecond) // virtual
	}
	c.world.t.Errorf("%s: it was not brought to %d", c.name, revision)
}
