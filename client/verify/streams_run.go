package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/client"
)

// follower is one watch, or one after the other.
type follower struct {
	*streams
	config *Config
	clerk  *client.Clerk
	rand   *rand.Rand
	name   string
	prefix string
	prev   bool
	state  bool // it begins with the state, now and then anew
	jumps  bool // it goes on by another watch, at another server, every few events
	from   uint64
	end    *atomic.Uint64 // revision to which it must come; 0: not known yet
}

// newestRevision returns the revision behind which a watch sees all that a run writes.
func newestRevision(ctx context.Context, clerk *client.Clerk, config *Config) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, config.Timeout)
	defer cancel()
	page, err := clerk.List(ctx, config.Prefix)
	if err != nil {
		return 0, fmt.Errorf("reading where the watches are to begin: %w", err)
	}
	return page.Revision, nil
}

// RunStreams drives the cluster like Run, by writes, and follows the keys by watches of
// several kinds, which the Clerks spread over the servers. What these are brought is then
// compared with what was written. The cluster must work at level 3.
func RunStreams(ctx context.Context, clerks []*client.Clerk, config Config) (Report, error) {
	calls, endCalls := context.WithCancel(context.Background())
	defer endCalls()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(interruptGrace, endCalls) })()
	begins, err := newestRevision(calls, clerks[0], &config)
	if err != nil {
		return Report{}, err
	}
	s := newStreams(config.Prefix, begins)
	var following sync.WaitGroup
	var end atomic.Uint64
	watching, endWatching := context.WithCancel(context.Background())
	defer endWatching()
	for i := range config.followers() {
		f := &follower{
			streams: s, config: &config, clerk: clerks[i%len(clerks)], rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
			name: fmt.Sprintf("watch %d", i), prefix: config.Prefix, prev: i%2 == 0, state: i%4 == 2, jumps: i%4 == 1, from: begins, end: &end,
		}
		if i%4 == 3 {
			f.prefix += "k1"
		}
		following.Go(func() { f.follow(watching) })
	}
	drive(ctx, &config, func(driving context.Context, number int) {
		w := &streamWriter{streams: s, config: &config, clerk: clerks[number%len(clerks)], number: number, rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
		for driving.Err() == nil {
			w.step(calls)
			pause(driving, w.rand, &config)
		}
	})
	limit := endGrace + config.Timeout
	if ctx.Err() != nil {
		limit = interruptedGrace
	}
	defer time.AfterFunc(limit, endWatching).Stop()
	page, err := clerks[0].List(watching, config.Prefix)
	if err != nil {
		s.missing("reading how far the watches must come: %v", err)
		endWatching()
	}
	end.Store(page.Revision)
	following.Wait()
	cleaning, cancel := context.WithTimeout(context.Background(), interruptedGrace)
	defer cancel()
	_, _ = clerks[0].DeletePrefix(cleaning, config.Prefix, client.Partially()) // keys that are left behind do no harm
	return s.judge(), nil
}

const (
	// endGrace is how much longer than a request the watches have to come to the end.
	endGrace = 30 * time.Second
	// interruptedGrace is how long they have when the run was ended early.
	interruptedGrace = 3 * time.Second
)

// followers returns how many watches there are: at least two of each kind.
func (c *Config) followers() int {
	if c.Streams > 0 {
		return max(8, c.Streams)
	}
	return max(8, c.Clients/2)
}

// drive runs clients until the time is over, or ctx ends.
func drive(ctx context.Context, config *Config, run func(driving context.Context, number int)) {
	driving, cancel := context.WithTimeout(ctx, config.Duration)
	defer cancel()
	var running sync.WaitGroup
	for i := range config.Clients {
		running.Go(func() { run(driving, i) })
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for begun := time.Now(); driving.Err() == nil; {
		select {
		case <-driving.Done():
		case now := <-ticker.C:
			if config.Progress != nil {
				config.Progress(now.Sub(begun))
			}
		}
	}
	running.Wait()
}

// pause keeps the rate.
func pause(ctx context.Context, r *rand.Rand, config *Config) {
	if config.Rate <= 0 {
		return
	}
	mean := time.Duration(float64(config.Clients) / config.Rate * float64(time.Second))
	wait(ctx, time.Duration(r.Int64N(int64(2*mean)+1)))
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// streamWriter writes what the streams bring.
type streamWriter struct {
	*streams
	config *Config
	clerk  *client.Clerk
	number int
	rand   *rand.Rand
	writes int
}

// key returns a key, in one of several names.
func (w *streamWriter) key() string {
	return fmt.Sprintf("%sk%d", w.config.Prefix, w.rand.IntN(w.config.Keys))
}

// value returns a value that no other call writes.
func (w *streamWriter) value() string {
	w.writes++
	return fmt.Sprintf("%d.%d %s", w.number, w.writes, strings.Repeat("x", w.rand.IntN(100)))
}

// step makes one call.
func (w *streamWriter) step(calls context.Context) {
	ctx, cancel := context.WithTimeout(calls, w.config.Timeout)
	defer cancel()
	does := write{puts: map[string]string{}}
	var revision uint64
	var err error
	switch dice := w.rand.IntN(100); {
	case dice < 60:
		key, value := w.key(), w.value()
		does.puts[key] = value
		var written client.Written
		written, err = w.clerk.Put(ctx, key, []byte(value))
		revision = written.Revision
	case dice < 80:
		does.deletes = []string{w.key()}
		var removed client.Removed
		removed, err = w.clerk.Delete(ctx, does.deletes[0])
		if revision = removed.Revision; err == nil && !removed.Found {
			w.count("writes", 1)
			return // of no revision
		}
	default:
		revision, err = w.transact(ctx, &does)
	}
	switch {
	case err == nil:
		w.count("writes", 1)
		w.answered(does, revision)
	case errors.Is(err, client.ErrOutcomeUnknown):
		w.count("writes of unknown outcome", 1)
		w.lost(does)
	default:
		w.count("writes refused", 1)
	}
}

// transact writes several keys in one change.
func (w *streamWriter) transact(ctx context.Context, does *write) (revision uint64, err error) {
	var ops []client.Op
	for range 1 + w.rand.IntN(4) {
		key, value := w.key(), w.value()
		if does.puts[key] != "" {
			continue // each put of a key has a version of its own, and only the last one shows
		}
		does.puts[key] = value
		ops = append(ops, client.OpPut(key, []byte(value)))
	}
	if key := w.key(); w.rand.IntN(2) == 0 && does.puts[key] == "" {
		does.deletes = append(does.deletes, key)
		ops = append(ops, client.OpDelete(key))
	}
	r, err := w.clerk.Txn(ctx).Then(ops...).Commit()
	return r.Revision, err
}

// follow follows changes until it has come to the end.
func (f *follower) follow(ctx context.Context) {
	place, joined := f.from, !f.state
	for !f.over(place, joined) {
		options := []client.WatchOption{client.Prefix(f.prefix), client.ProgressEvery(100*time.Millisecond + time.Duration(f.rand.IntN(900))*time.Millisecond)}
		if f.prev {
			options = append(options, client.WithPrev())
		}
		if f.state {
			options = append(options, client.WithState())
		}
		if joined {
			options = append(options, client.AfterRevision(place))
		}
		w := f.clerk.NewWatcher(options...)
		var err error
		place, joined, err = f.events(ctx, w, place, joined)
		gone := (*client.RevisionGoneError)(nil)
		switch {
		case ctx.Err() != nil:
			f.missing("%s did not come to revision %d in time; it is at %d", f.name, f.end.Load(), place)
			return
		case errors.As(err, &gone):
			f.count("histories gone", 1)
			place = gone.Revision // from there on, with a gap
		case err != nil:
			f.missing("%s: %v", f.name, err)
			return
		}
	}
}

// over reports whether the stream has come to the end.
func (f *follower) over(place uint64, joined bool) bool {
	end := f.end.Load()
	return end != 0 && joined && place >= end
}

// events takes what one watch brings, until it has brought enough.
func (f *follower) events(ctx context.Context, w *client.Watcher, place uint64, joined bool) (uint64, bool, error) {
	g := f.begin(f.name, f.prefix, f.prev, place)
	syncing, stop := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() { f.sync(syncing, w) })
	defer asking.Wait()
	defer stop()
	left := 1 + f.rand.IntN(60)
	var items []client.Item
	for e, err := range w.Events(ctx) {
		if err != nil {
			return place, joined, err
		}
		switch e.Kind {
		case client.Reset:
			joined, items = false, nil
			g = f.begin(f.name, f.prefix, f.prev, place)
			f.count("resets", 1)
			continue
		case client.StateItem:
			items = append(items, e.Item)
			continue
		}
		f.take(g, &e, slices.Clone(items))
		place, joined, items = e.Revision, true, nil
		left--
		switch {
		case f.over(place, joined):
			return place, joined, nil
		case f.jumps && left < 0:
			f.count("jumps", 1)
			return place, joined, nil
		case f.state && f.rand.IntN(200) == 0:
			return place, false, nil // the state once more
		}
	}
	return place, joined, nil
}

// sync asks for bookmarks now and then.
func (f *follower) sync(ctx context.Context, w *client.Watcher) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for {
		wait(ctx, time.Duration(r.IntN(500))*time.Millisecond)
		newest := f.answeredUpTo()
		revision, err := w.Sync(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.count("syncs", 1)
			f.syncedBehind(f.name, revision, newest)
		}
	}
}
