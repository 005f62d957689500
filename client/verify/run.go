package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"raftkv/client"
)

// Config describes the way to drive a cluster. All fields must be set, except
// those whose comments name a zero value.
type Config struct {
	Clients  int
	Keys     int
	Duration time.Duration
	Timeout  time.Duration // of one request; the Clerk may make many attempts meanwhile
	// Rate is the maximum number of requests per second of all clients together; 0
	// means no limit. A longer history makes the search longer.
	Rate float64
	// Prefix is the beginning of all keys. There must be no other keys under it.
	Prefix string
	// PlantStaleRead makes one read lie: it shows a value that was replaced before
	// the read was made. A check that does not find this would find nothing.
	PlantStaleRead bool
	// Streams is how many watches RunStreams has. 0: half as many as clients, and at least 8.
	Streams int
	// Outages, if not nil, are times in which no server ran, for RunEnds.
	Outages *Outages
	// Answered, if not nil, is called for every request when it is answered or
	// given up. Its client calls it, so there may be many calls at one time.
	Answered func(Answer)
	// Progress, if not nil, is called now and then by one goroutine, with the time
	// that has passed.
	Progress func(time.Duration)
}

// Answer is the end of a request.
type Answer struct {
	// Call is the kind of request: get, stale get, list, put, append, delete or
	// swap.
	Call string
	// Outcome is done, refused, failed or unknown. It is refused if a condition
	// did not hold or there was nothing to delete, and failed if the request did
	// not happen for another reason.
	Outcome          string
	Called, Answered time.Time
	// Err says why the request was refused, failed or has an unknown outcome; nil: it is done.
	Err error
}

// The outcomes of an Answer.
const (
	Done    = "done"
	Refused = "refused"
	Failed  = "failed"
	Unknown = "unknown"
)

// driver is one client.
type driver struct {
	calls   context.Context // ends with the last request
	number  int
	config  *Config
	clerk   *client.Clerk
	history *History
	rand    *rand.Rand
	writes  int
	seen    map[string]client.Item // the items that this client read last, by key
	plant   *plant                 // nil: no read lies
}

// Run drives the cluster by one or more Clerks, which the clients share. When all
// is quiet it reads every key once more, and then removes the keys that it wrote.
// It ends early if ctx does: pending requests then have interruptGrace to end, and
// the outcome of a write that has not ended is unknown.
func Run(ctx context.Context, clerks []*client.Clerk, config Config) *History {
	h := newHistory()
	var p *plant
	if config.PlantStaleRead {
		p = newPlant(config.Duration / 2)
	}
	calls, endCalls := context.WithCancel(context.Background())
	defer endCalls()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(interruptGrace, endCalls) })()
	drive(ctx, &config, func(driving context.Context, number int) {
		d := newDriver(calls, number, &config, clerks[number%len(clerks)], h)
		d.plant = p
		d.drive(driving)
	})
	last := newDriver(calls, config.Clients, &config, clerks[0], h)
	for k := range config.Keys {
		last.read(last.key(k))
		ctx, cancel := last.requestContext()
		// Keys that are left behind do no harm.
		_, _ = clerks[0].Delete(ctx, last.key(k))
		cancel()
	}
	return h
}

func newDriver(calls context.Context, number int, config *Config, clerk *client.Clerk, h *History) *driver {
	return &driver{
		calls: calls, number: number, config: config, clerk: clerk, history: h,
		rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), seen: map[string]client.Item{},
	}
}

func (d *driver) key(n int) string { return fmt.Sprintf("%sk%d", d.config.Prefix, n) }

// interruptGrace is how long pending requests may go on when the run is ended early.
const interruptGrace = time.Second

// requestContext bounds one request. It does not end when the time of the run is
// over: the outcome of an abandoned write would not be known.
func (d *driver) requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(d.calls, d.config.Timeout)
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
		case dice < 33:
			d.read(key)
		case dice < 38:
			d.readStale(key)
		case dice < 40:
			d.list(key[:len(key)-1])
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

// token returns a value that no other request writes.
func (d *driver) token() string {
	d.writes++
	return fmt.Sprintf("%d.%d ", d.number, d.writes)
}

// answered reports a request that ends now. err is why it has no answer. A request that the end
// of the run has ended is none of the cluster's, and is not reported.
func (d *driver) answered(call, outcome string, called int64, err error) {
	if d.config.Answered == nil || d.calls.Err() != nil && (outcome == Failed || outcome == Unknown) {
		return
	}
	d.config.Answered(Answer{call, outcome, d.history.begun.Add(time.Duration(called)), time.Now(), err})
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
		d.answered("get", Failed, called, err)
		return
	}
	d.answered("get", Done, called, nil)
	d.seen[key] = item
	told := heard{value: string(item.Value), revision: item.Revision}
	if d.plant != nil {
		told = d.plant.tell(key, called, d.history.now(), told)
	}
	d.history.note(d.number, called, request{action: get, key: key}, told)
}

// readStale reads the state that any server has; every other time it must not be
// older than the state that this client has seen.
func (d *driver) readStale(key string) {
	ctx, cancel := d.requestContext()
	defer cancel()
	options := []client.ReadOption{client.Stale()}
	floor := uint64(0)
	if d.rand.IntN(2) == 0 {
		floor = d.seen[key].Revision
		options = append(options, client.MinRevision(floor))
	}
	called := d.history.now()
	item, err := d.clerk.Get(ctx, key, options...)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		d.history.noteRefused()
		d.answered("stale get", Failed, called, err)
		return
	}
	d.answered("stale get", Done, called, nil)
	d.history.noteStale(key, heard{value: string(item.Value), revision: item.Revision}, floor)
}

// list reads all keys with a prefix at once. In the history, each key that the
// page covers is a read of its own, at the time of the page.
func (d *driver) list(prefix string) {
	ctx, cancel := d.requestContext()
	defer cancel()
	called := d.history.now()
	page, err := d.clerk.List(ctx, prefix)
	if err != nil {
		d.history.noteRefused()
		d.answered("list", Failed, called, err)
		return
	}
	d.answered("list", Done, called, nil)
	listed := map[string]client.Item{}
	for _, item := range page.Items {
		listed[item.Key] = item
	}
	for k := range d.config.Keys {
		key := d.key(k)
		if !strings.HasPrefix(key, prefix) || page.More && key > page.Items[len(page.Items)-1].Key {
			continue
		}
		d.history.note(d.number, called, request{action: get, key: key}, heard{value: string(listed[key].Value), revision: listed[key].Revision})
		delete(listed, key)
	}
	for key, item := range listed { // no client wrote these, and the search will find that
		d.history.note(d.number, called, request{action: get, key: key}, heard{value: string(item.Value), revision: item.Revision})
	}
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
		d.answered("delete", Refused, called, nil)
		d.history.note(d.number, called, asked, heard{refused: true})
		return
	}
	d.ended(called, asked, 0, err)
}

// swap writes on the condition that the key is unchanged since this client read
// it last, just now or long ago.
func (d *driver) swap(key string) {
	if _, read := d.seen[key]; !read || d.rand.IntN(2) == 0 {
		d.read(key)
	}
	item := d.seen[key] // possibly an old one, or none, after a read that failed
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

// callNames are the writes' names in an Answer.
var callNames = map[action]string{put: "put", add: "append", remove: "delete", swap: "swap"}

// ended notes the end of a write.
func (d *driver) ended(called int64, asked request, revision uint64, err error) {
	outcome := Failed
	switch {
	case err == nil:
		outcome = Done
		d.history.note(d.number, called, asked, heard{revision: revision})
	case errors.Is(err, client.ErrOutcomeUnknown):
		outcome = Unknown
		d.history.note(d.number, called, asked, heard{unknown: true})
	case errors.Is(err, client.ErrConflict):
		outcome = Refused
		d.history.note(d.number, called, asked, heard{refused: true})
	default:
		d.history.noteRefused()
	}
	d.answered(callNames[asked.action], outcome, called, err)
}
