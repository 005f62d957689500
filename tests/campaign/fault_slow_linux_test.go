package campaign

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// slowFor is how long syncs are slow for each row of TestSlowSyncs.
const slowFor = 12 * time.Second

// slowRow is one row of TestSlowSyncs.
type slowRow struct {
	traced bool          // strace holds the nodes, which alone makes every system call slower
	delay  time.Duration // of each sync
	all    bool          // on all three nodes; else on the followers
}

func (r slowRow) String() string {
	switch {
	case !r.traced:
		return "no delay, no strace"
	case r.delay == 0:
		return "no delay, strace on all"
	case r.all:
		return fmt.Sprintf("%d ms on all three", r.delay.Milliseconds())
	}
	return fmt.Sprintf("%d ms on both followers", r.delay.Milliseconds())
}

// mostChanges is how many terms may begin while the syncs are slow.
func (r slowRow) mostChanges() uint64 {
	if r.delay > 700*time.Millisecond {
		return 2
	}
	return 1
}

// Goal: slow disks cost writes time and nothing else: leaders stand, writes go on
// at the pace of the syncs, and linearizable reads wait for no disk.
// Method: strace delays every sync of both followers, and of all three nodes, for
// twelve seconds each, under eight appenders through all nodes and four readers
// through the followers. Counted are the terms that begin, the appends, and how long
// appends and reads take, compared with controls without delay.
func TestSlowSyncs(t *testing.T) {
	if *realFaults == 0 {
		t.Skip("say -faults")
	}
	needPrograms(t, "strace")
	u := newUndo(t)
	c := cluster.New(t, 3, "--log-level", "warn")
	u.killLater(c)
	c.Start()
	rows := []slowRow{{}, {traced: true, all: true}}
	for _, all := range []bool{false, true} {
		for _, ms := range []time.Duration{50, 100, 300, 700, 1000} {
			rows = append(rows, slowRow{traced: true, delay: ms * time.Millisecond, all: all})
		}
	}
	text := fmt.Sprintf("\n%-26s %6s %6s %9s %9s %9s %8s %10s %9s\n", "syncs take longer by", "syncs", "terms", "writes/s", "p50", "p99", "pause", "reads p50", "p99")
	defer func() { t.Log(text) }()
	for range *realFaults {
		for _, r := range rows {
			text += r.measure(t, u, c)
		}
	}
}

// measure lets the syncs of one row be slow, and returns the row of the table.
func (r slowRow) measure(t *testing.T, u *undo, c *cluster.Cluster) string {
	leader := c.Leader()
	slow := c.Others(leader)
	if r.all {
		slow = c.Nodes
	}
	var tracers []*tracer
	if r.traced {
		for _, s := range slow {
			injection := fmt.Sprintf("delay_exit=%d", max(r.delay.Microseconds(), 1))
			tracers = append(tracers, trace(t, u, s.Process, "fdatasync", injection))
		}
	}
	var w timed
	l := w.appendTo(c, 8)
	l.AwaitProgress(t, 8)
	reads := readThrough(c.Others(leader), 2, "/v1/kv/"+l.Appenders[0].Key)
	term, from := c.Term(), time.Now()
	w.forget()
	time.Sleep(slowFor)
	to := time.Now()
	writes, took := w.taken(), reads.end()
	pause, terms := w.acks.longestPause(from, to), c.Term()-term
	l.End()
	syncs := 0
	for _, tr := range tracers {
		tr.release()
		syncs += tr.injected()
	}
	for _, s := range c.Nodes {
		l.Verify(t, s)
	}
	if len(writes) == 0 || len(took) == 0 || r.traced && syncs == 0 {
		t.Fatalf("%s: void: %d writes, %d reads, %d slow syncs", r, len(writes), len(took), syncs)
	}
	if terms > r.mostChanges() {
		t.Errorf("%s: %d terms began in %v", r, terms, slowFor)
	}
	if r.delay > 0 && time.Duration(len(writes))*r.delay < slowFor {
		t.Errorf("%s: %d writes of eight clients in %v are fewer than one in the time of a sync", r, len(writes), slowFor)
	}
	if r.delay > 0 && pause > 2*r.delay+4*electionTimeout {
		t.Errorf("%s: no write for %v", r, pause)
	}
	if p := percentile(took, 50); r.delay >= 300*time.Millisecond && p > r.delay/2 {
		t.Errorf("%s: half of the reads take longer than %v, as if they waited for disks", r, p)
	}
	ms := func(values []time.Duration, percent int) string {
		return fmt.Sprintf("%.1f ms", float64(percentile(values, percent).Microseconds())/1000)
	}
	return fmt.Sprintf("%-26s %6d %6d %9.1f %9s %9s %6.2f s %10s %9s\n", r, syncs, terms, float64(len(writes))/to.Sub(from).Seconds(),
		ms(writes, 50), ms(writes, 99), pause.Seconds(), ms(took, 50), ms(took, 99))
}

// timed is how long operations took, for several clients at once.
type timed struct {
	acks acks // of the writes

	mu   sync.Mutex // guards took
	took []time.Duration
}

func (x *timed) add(took time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.took = append(x.took, took)
}

func (x *timed) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.took = nil
}

func (x *timed) taken() []time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]time.Duration(nil), x.took...)
}

// appendTo starts n appenders, which wait as long as slow disks may take. What an
// append took is the time since the appender's last one.
func (x *timed) appendTo(c *cluster.Cluster, n int) *cluster.Load {
	ctx, stop := context.WithCancel(context.Background())
	l := &cluster.Load{Stop: stop}
	for i := range n {
		a := cluster.NewAppender(fmt.Sprintf("slow%d-%d", time.Now().UnixNano(), i), cluster.Addresses(c.Nodes), i)
		a.Limit = cluster.Patience
		last := time.Now()
		a.OnAck = func(term uint64) {
			x.acks.note(term)
			x.add(time.Since(last))
			last = time.Now()
		}
		l.Appenders = append(l.Appenders, a)
		l.Running.Go(func() { a.Run(ctx) })
	}
	return l
}

// readers are clients that make linearizable reads, one after the other.
type readers struct {
	timed
	stop    context.CancelFunc
	running sync.WaitGroup
}

// readThrough starts n readers of a path at each node.
func readThrough(nodes []*cluster.Node, n int, path string) *readers {
	ctx, stop := context.WithCancel(context.Background())
	r := &readers{stop: stop}
	for _, s := range nodes {
		for range n {
			r.running.Go(func() {
				for ctx.Err() == nil {
					begun := time.Now()
					if status, _, _, err := s.Ask("HEAD", path, ""); err == nil && status == http.StatusOK {
						r.add(time.Since(begun))
					}
					cluster.Sleep(ctx, 10*time.Millisecond) // a load, not a flood
				}
			})
		}
	}
	return r
}

// end ends the readers and returns how long each read took.
func (r *readers) end() []time.Duration {
	r.stop()
	r.running.Wait()
	return r.taken()
}
