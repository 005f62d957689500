package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"raftkv/client"
)

// Config is how a cluster is driven. All of it must be set but what says what
// zero means.
type Config struct {
	Clients  int
	Keys     int
	Duration time.Duration
	Timeout  time.Duration // of one request; it may be asked many times meanwhile
	// Rate is how many requests a second all clients make together at most; 0: as
	// many as they can. What makes the history long makes the search longer.
	Rate float64
	// Prefix is what the keys begin with. Nothing may stand under it.
	Prefix string
	// PlantStaleRead makes one read lie: it tells a value that was replaced before
	// it was asked for. If that is not found, nothing would be.
	PlantStaleRead bool
	// Progress, if not nil, is called now and then by one goroutine with the time
	// that has passed.
	Progress func(time.Duration)
}

// driver is one client.
type driver struct {
	number  int
	config  *Config
	clerk   *client.Clerk
	history *History
	rand    *rand.Rand
	writes  int
	seen    map[string]client.Item // what this client read last, by key
	plant   *plant                 // nil: tell the truth
}

// Run drives the cluster, reads every key once more when all is quiet, and
// removes what it wrote. It ends early if ctx does.
func Run(ctx context.Context, clerk *client.Clerk, config Config) *History {
	h := newHistory()
	var p *plant
	if config.PlantStaleRead {
		p = newPlant(config.Duration / 2)
	}
	driving, cancel := context.WithTimeout(ctx, config.Duration)
	defer cancel()
	var running sync.WaitGroup
	for i := range config.Clients {
		d := newDriver(i, &config, clerk, h)
		d.plant = p
		running.Go(func() { d.drive(driving) })
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
	last := newDriver(config.Clients, &config, clerk, h)
	for k := range config.Keys {
		last.read(last.key(k))
		ctx, cancel := last.requestContext()
		// What is left behind does no harm.
		_, _ = clerk.Delete(ctx, last.key(k))
		cancel()
	}
	return h
}

func newDriver(number int, config *Config, clerk *client.Clerk, h *History) *driver {
	return &driver{
		number: number, config: config, clerk: clerk, history: h,
		rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), seen: map[string]client.Item{},
	}
}

func (d *driver) key(n int) string { return fmt.Sprintf("%sk%d", d.config.Prefix, n) }

// requestContext bounds one request. It does not end with the run: who leaves a
// write alone does not know its outcome.
func (d *driver) requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d.config.Timeout)
}

// drive makes one request after the other until ctx ends.
func (d *driver) drive(ctx context.Context) {
	pause := time.Duration(0)
	if d.config.Rate > 0 {
		pause = time.Duration(float64(d.config.Clients) / d.config.Rate * float64(time.Second))
	}
	for ctx.Err() == nil {
		key := d.key(d.rand.IntN(d.config.Keys))
		switch dice := d.rand.IntN(100); {
		case dice < 40:
			d.read(key)
		case dice < 60:
			d.write(put, key)
		case dice < 80:
			d.write(add, key)
		case dice < 85:
			d.remove(key)
		default:
			d.swap(key)
		}
		if pause > 0 {
			timer := time.NewTimer(time.Duration(d.rand.Int64N(int64(2 * pause))))
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
}

// token is a value that nobody else writes.
func (d *driver) token() string {
	d.writes++
	return fmt.Sprintf("%d.%d ", d.number, d.writes)
}

func (d *driver) read(key string) {
	ctx, cancel := d.requestContext()
	defer cancel()
	called := d.history.now()
	item, err := d.clerk.Get(ctx, key)
	switch {
	case errors.Is(err, client.ErrNotFound):
		item = client.Item{Key: key}
	case err != nil:
		d.history.noteRefused()
		return
	}
	d.seen[key] = item
	told := heard{value: string(item.Value), revision: item.Revision}
	if d.plant != nil {
		told = d.plant.tell(key, called, d.history.now(), told)
	}
	d.history.note(d.number, called, request{action: get, key: key}, told)
}

func (d *driver) write(a action, key string) {
	ctx, cancel := d.requestContext()
	defer cancel()
	asked := request{action: a, key: key, value: d.token()}
	called := d.history.now()
	var written client.Written
	var err error
	if a == put {
		written, err = d.clerk.Put(ctx, key, []byte(asked.value))
	} else {
		written, err = d.clerk.Append(ctx, key, []byte(asked.value))
	}
	d.ended(called, asked, written.Revision, err)
}

func (d *driver) remove(key string) {
	ctx, cancel := d.requestContext()
	defer cancel()
	called := d.history.now()
	removed, err := d.clerk.Delete(ctx, key)
	asked := request{action: remove, key: key}
	if err == nil && !removed.Found {
		d.history.note(d.number, called, asked, heard{refused: true})
		return
	}
	d.ended(called, asked, 0, err)
}

// swap writes on the condition that the key is as this client read it last.
func (d *driver) swap(key string) {
	item, read := d.seen[key]
	if !read {
		d.read(key)
		return
	}
	ctx, cancel := d.requestContext()
	defer cancel()
	condition := client.IfAbsent()
	if item.Revision != 0 {
		condition = client.IfRevision(item.Revision)
	}
	asked := request{action: swap, key: key, value: d.token(), expected: string(item.Value)}
	called := d.history.now()
	written, err := d.clerk.Put(ctx, key, []byte(asked.value), condition)
	d.ended(called, asked, written.Revision, err)
}

// ended notes how a write ended.
func (d *driver) ended(called int64, asked request, revision uint64, err error) {
	switch {
	case err == nil:
		d.history.note(d.number, called, asked, heard{revision: revision})
	case errors.Is(err, client.ErrOutcomeUnknown):
		d.history.note(d.number, called, asked, heard{unknown: true})
	case errors.Is(err, client.ErrConflict):
		d.history.note(d.number, called, asked, heard{refused: true})
	default:
		d.history.noteRefused()
	}
}

// plant makes one read tell an old value.
type plant struct {
	mu      sync.Mutex // guards the fields below
	from    int64      // on the history's clock: not before
	planted bool
	old     map[string]oldValue
}

// oldValue is a value and when somebody was told that it had been replaced.
type oldValue struct {
	present, before heard
	replaced        int64
}

func newPlant(from time.Duration) *plant {
	return &plant{from: int64(from), old: map[string]oldValue{}}
}

// tell returns what a read is to say that was called at a time and is answered
// now: the truth, but once a value that had certainly been replaced before the
// read was called, because another read had seen a newer one by then.
func (p *plant) tell(key string, called, now int64, truth heard) heard {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.old[key]
	if !p.planted && called > p.from && o.replaced < called && o.before.value != "" {
		p.planted = true
		return o.before
	}
	if truth.revision > o.present.revision {
		p.old[key] = oldValue{present: truth, before: o.present, replaced: now}
	}
	return truth
}
