package kvserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/internal/world"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
	"raftkv/tests/virtual"
)

// watcher is a client that follows changes, goes from node to node, and writes down all
// that it is sent.
type watcher struct {
	world    *watchWorld
	r        *rand.Rand
	name     string
	prefix   string
	mirror   bool
	slow     bool // it takes its time now and then
	progress time.Duration
	conns    []*watchConn
}

// watchConn is one stream, from its request to its end.
type watchConn struct {
	node      string
	began     time.Time
	confirms  func() []world.Confirmed // of the node, in this life
	resume    bool
	after     uint64
	sent      []sentOut
	refused   error // instead of a stream
	end       error
	taken     bool // every Out was taken at once
	abandoned bool
}

// sentOut is what was received, and when.
type sentOut struct {
	watch.Out
	when     time.Time
	confirms int // that the node had then
}

// run follows changes until ctx ends.
func (c *watcher) run(ctx context.Context) {
	bookmark, have := uint64(0), false
	for ctx.Err() == nil {
		node := c.world.nodes[c.r.IntN(len(c.world.nodes))]
		server, life := node.now()
		conn := &watchConn{node: node.Name, began: time.Now(), resume: have, after: bookmark, taken: !c.slow, confirms: func() []world.Confirmed {
			if _, now := node.now(); now != life {
				return nil
			}
			return node.Confirms()
		}}
		c.conns = append(c.conns, conn)
		c.follow(ctx, server, conn)
		for _, out := range conn.sent {
			switch out.Kind {
			case watch.Open:
				if !out.Before {
					bookmark, have = out.Revision, true
				}
			case watch.Change, watch.Synced, watch.Progress:
				bookmark, have = out.Revision, true
			case watch.Reset:
				have = false
			}
		}
		if errors.Is(conn.refused, failure.RevisionGone) || errors.Is(conn.end, failure.RevisionGone) {
			have = false // it has to read the state anew
		}
		c.pause(ctx, time.Duration(c.r.IntN(300))*time.Millisecond)
	}
}

// follow takes one stream to its end.
func (c *watcher) follow(ctx context.Context, server *Server, conn *watchConn) {
	w, err := server.Watch(ctx, WatchRequest{
		Selectors: watch.Selectors{Prefixes: []string{c.prefix}}, Mirror: c.mirror,
		Resume: conn.resume, After: conn.after, Progress: c.progress,
	})
	if err != nil {
		conn.refused = err
		return
	}
	defer w.Close()
	leave := time.Now().Add(time.Duration(c.r.IntN(60_000)) * time.Millisecond)
	for {
		outs, err := w.Next(ctx)
		for _, out := range outs {
			if out.Kind == watch.Change && !server.Machine().HasRevision(out.Revision) {
				c.world.t.Errorf("%s: revision %d came before node %s had it", c.name, out.Revision, conn.node)
			}
			conn.sent = append(conn.sent, sentOut{out, time.Now(), len(conn.confirms())})
		}
		if err != nil {
			conn.end = err
			return
		}
		if time.Now().After(leave) {
			conn.abandoned = true
			return
		}
		if c.slow && c.r.IntN(4) == 0 {
			c.pause(ctx, time.Duration(c.r.IntN(8_000))*time.Millisecond)
		}
	}
}

func (c *watcher) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// verdicts count what the checker has seen, so that a run that proves nothing is noticed.
type verdicts map[string]int

// check compares everything that a watcher was sent with the truth.
func (c *watcher) check(seen verdicts) {
	last := uint64(0) // over all streams that go on from a bookmark
	for i, conn := range c.conns {
		where := fmt.Sprintf("%s, stream %d on %s", c.name, i, conn.node)
		if !conn.resume {
			last = 0
		}
		if conn.refused != nil {
			c.checkEnd(where, conn, conn.refused, seen)
			continue
		}
		last = c.checkStream(where, conn, last, seen)
		c.checkTimes(where, conn)
		if conn.end != nil {
			c.checkEnd(where, conn, conn.end, seen)
		}
	}
}

// checkStream replays one stream and returns the last revision that it brought.
func (c *watcher) checkStream(where string, conn *watchConn, last uint64, seen verdicts) uint64 {
	t, match := c.world.t, truth.Prefix(c.prefix)
	if len(conn.sent) == 0 || conn.sent[0].Kind != watch.Open {
		if conn.end == nil || !errors.Is(conn.end, failure.Stopping) {
			t.Errorf("%s: it does not begin with open: %+v, %v", where, conn.sent, conn.end)
		}
		return last
	}
	open := conn.sent[0]
	if conn.resume && open.Revision != conn.after || open.Before == conn.resume && c.mirror {
		t.Errorf("%s: asked for what is behind %d, it begins behind %d", where, conn.after, open.Revision)
	}
	place, joined := open.Revision, !open.Before
	items := map[string]truth.Item{}
	bookmarks := 0
	for _, out := range conn.sent[1:] {
		seen[fmt.Sprint("kind ", out.Kind)]++
		switch out.Kind {
		case watch.Item:
			if joined {
				t.Fatalf("%s: an item outside of a state", where)
			}
			items[out.Key] = *itemOf(out.Item)
		case watch.Synced:
			place, joined = out.Revision, true
			if want := c.world.stateAt(place, match); !maps.Equal(items, want) || len(items) != out.Items {
				t.Fatalf("%s: the state at %d is\n %v\nand it was sent\n %v", where, place, want, items)
			}
			c.checkBookmark(where, conn, out, bookmarks+1, seen) // the next one may rest on the same question
		case watch.Reset:
			joined, items = false, map[string]truth.Item{}
			last = 0
		case watch.Change:
			if !joined || out.Revision <= last {
				t.Fatalf("%s: revision %d came behind %d, or inside of a state", where, out.Revision, last)
			}
			c.checkBetween(where, place, out, match)
			place, last = out.Revision, out.Revision
		case watch.Progress:
			if out.Revision < place {
				t.Fatalf("%s: a bookmark at %d behind %d", where, out.Revision, place)
			}
			c.checkBetween(where, place, out, match)
			place = out.Revision
			bookmarks++
			c.checkBookmark(where, conn, out, bookmarks, seen)
		}
	}
	return last
}

// checkBetween checks that nothing that matches is missing between a place and what came
// next, and that that is what the truth has.
func (c *watcher) checkBetween(where string, place uint64, out sentOut, match func(string) bool) {
	var want []truth.Change
	c.world.Ask(func(m *truth.Model) { want = m.Between(place, out.Revision, match) })
	var got []truth.Change
	if out.Kind == watch.Change {
		got = []truth.Change{{Revision: out.Revision, Events: eventsOf(out.Events)}}
	}
	if g, w := said(got), said(want); g != w {
		c.world.t.Fatalf("%s: behind %d, up to %d the truth has\n%s\nand it was sent\n%s", where, place, out.Revision, w, g)
	}
}

// checkBookmark checks that a bookmark is not older than its confirmation. The nth one of
// a stream rests on a question that began no earlier than the nth since the stream did.
func (c *watcher) checkBookmark(where string, conn *watchConn, out sentOut, n int, seen verdicts) {
	since := slices.DeleteFunc(slices.Clone(conn.confirms()), func(q world.Confirmed) bool { return q.Begun.Before(conn.began) })
	if len(since) < n {
		return // the node has another life now, and forgot
	}
	seen["bookmarks compared"]++
	if least := since[n-1].Revision; out.Revision < least {
		c.world.t.Errorf("%s: bookmark %d says %d, and %d was answered before it was asked for", where, n, out.Revision, least)
	}
}

// checkTimes checks that a stream that is taken at once is never silent for too long.
func (c *watcher) checkTimes(where string, conn *watchConn) {
	if !conn.taken {
		return
	}
	before := conn.sent[0].when
	for _, out := range conn.sent {
		if gap := out.when.Sub(before); gap > 15*time.Second+100*time.Millisecond {
			c.world.t.Errorf("%s: nothing came for %v", where, gap)
		}
		before = out.when
	}
}

// checkEnd checks that there was a reason to refuse or end a stream.
func (c *watcher) checkEnd(where string, conn *watchConn, err error, seen verdicts) {
	seen[string(failure.KindOf(err).Code)]++
	oldest, _ := failure.Reach(err)
	place := conn.after
	for _, out := range conn.sent {
		if out.Kind == watch.Open || out.Kind == watch.Change || out.Kind == watch.Progress {
			place = out.Revision
		}
	}
	switch {
	case errors.Is(err, failure.RevisionGone):
		if place+1 >= oldest || !c.world.WasOldest(oldest) {
			c.world.t.Errorf("%s: at %d it is told that the history begins at %d", where, place, oldest)
		}
	case errors.Is(err, failure.RevisionAhead):
		c.world.t.Errorf("%s: %v", where, err)
	}
}

// stateAt returns the items of the truth at a revision.
func (w *watchWorld) stateAt(revision uint64, match func(string) bool) (items map[string]truth.Item) {
	w.Ask(func(m *truth.Model) { items = m.At(revision, match) })
	return items
}

func itemOf(i kv.Item) *truth.Item {
	if i.Version == 0 {
		return nil
	}
	return &truth.Item{Value: string(i.Value), Revision: i.Revision, Version: i.Version, Created: i.Created}
}

func eventsOf(events []*kv.Event) (all []truth.Event) {
	for _, e := range events {
		all = append(all, truth.Event{Op: e.Op.String(), Key: e.Key, Item: itemOf(e.Item), Prev: itemOf(e.Prev)})
	}
	return all
}

func said(changes []truth.Change) string {
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

var watchWorlds = flag.Uint("watch.worlds", 6, "how many worlds TestWatchesAreToldTheTruth runs")

// Goal: what watches are sent is the truth, whatever happens to nodes and clients: W1 to
// W11 of docs/coordination.md, W9 by the reads behind every event. Method: the log is
// replayed through a plain model, and each stream of many clients is compared with it event
// by event. Nodes lag, are cut off, restarted and given snapshots, histories forget, clients
// are slow and go from node to node with their bookmarks.
func TestWatchesAreToldTheTruth(t *testing.T) {
	seen := verdicts{}
	for seed := range uint64(*watchWorlds) {
		virtual.Time(t, func(t *testing.T) { runWatchWorld(t, seed, 600, seen) })
	}
	for _, what := range []string{
		"kind 2", "kind 3", "kind 4", "kind 5", "kind 6", "kind 7", "bookmarks compared", "revision_gone", "no_leader", "stopping",
	} {
		if seen[what] < 5 {
			t.Errorf("void: %q was met %d times: %v", what, seen[what], seen)
		}
	}
	t.Logf("%d worlds: %v", *watchWorlds, seen)
}

// Goal: the race detector sees nothing in the first of these worlds. It is a quarter as
// long, since all of its kinds of disturbance come early.
func TestAWorldOfWatchesHasNoRaces(t *testing.T) {
	virtual.Time(t, func(t *testing.T) { runWatchWorld(t, 0, 150, verdicts{}) })
}

func runWatchWorld(t *testing.T, seed uint64, disturbances int, seen verdicts) {
	w := newWatchWorld(t, seed, 3)
	ctx, stop := context.WithCancel(t.Context())
	var watchers []*watcher
	for i := range 10 {
		c := &watcher{
			world: w, r: rand.New(rand.NewPCG(seed, uint64(i))), name: fmt.Sprintf("seed %d, watcher %d", seed, i),
			prefix: []string{"", "a/", "b/", "c/7", "none"}[i%5], mirror: i%2 == 0, slow: i%3 == 0,
			progress: []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second}[i%3],
		}
		watchers = append(watchers, c)
		w.wg.Go(func() { c.run(ctx) })
	}
	for range disturbances {
		w.disturb()
		time.Sleep(time.Duration(w.r.IntN(400)) * time.Millisecond)
	}
	for _, n := range w.nodes {
		n.DeliverAll()
	}
	time.Sleep(time.Minute)
	for _, n := range w.nodes {
		server, _ := n.now()
		w.Ask(func(m *truth.Model) {
			if h := server.Machine().History(); h.Oldest() != m.Oldest() || h.Revision() != m.Revision {
				t.Errorf("seed %d: node %s keeps %d to %d, the truth %d to %d", seed, n.Name, h.Oldest(), h.Revision(), m.Oldest(), m.Revision)
			}
		})
	}
	stop()
	w.close()
	for _, c := range watchers {
		c.check(seen)
	}
}

// disturb does one thing to the world.
func (w *watchWorld) disturb() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	switch k := w.r.IntN(100); {
	case k < 60:
		for range w.r.IntN(6) {
			w.Write(w.r, 10_000, 150)
		}
	case k < 66: // a burst, with more changes than a ring holds
		for range 120 {
			w.Write(w.r, 10_000, 150)
		}
	case k < 70:
		n.SetCut(!n.IsCut())
	case k < 74:
		n.install(w.nodes[w.r.IntN(len(w.nodes))])
	case k < 76:
		n.restart(w.r.IntN(2) == 0)
	}
	for _, n := range w.nodes {
		if w.r.IntN(3) > 0 {
			n.Deliver(w.r.IntN(200))
		}
	}
}
