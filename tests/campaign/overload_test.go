package campaign

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var overload = flag.Duration("overload", 0, "how long TestCampaignOfOverload offers ten times what the cluster can do; 0 skips it")

// overloadConns is how many connections the overload comes on: more than the
// server lets in at one time.
const overloadConns = 5000

// watch counts the terms that a cluster goes through until ctx ends.
func watch(ctx context.Context, s *cluster.Node) (elections func() uint64) {
	first, _ := s.Status()
	last := first.Term
	done := make(chan struct{})
	go func() {
		defer close(done)
		for cluster.Sleep(ctx, 200*time.Millisecond) {
			if status, err := s.Status(); err == nil {
				last = max(last, status.Term)
			}
		}
	}()
	return func() uint64 {
		<-done
		if status, err := s.Status(); err == nil {
			last = max(last, status.Term)
		}
		return last - first.Term
	}
}

// figures measures traffic and prints a line for each measurement.
type figures struct {
	cluster *cluster.Cluster
	lines   strings.Builder
}

func newFigures(t *testing.T, c *cluster.Cluster) *figures {
	f := &figures{cluster: c}
	fmt.Fprintf(&f.lines, "\n%-34s %9s %9s %9s %9s %9s %9s %10s %10s\n", "", "offered/s", "applied/s", "429/s", "unsent/s", "failed", "elections", "p50", "p99")
	t.Cleanup(func() { t.Log(f.lines.String()) })
	return f
}

// measure sends puts to the leader; see traffic.
func (f *figures) measure(t *testing.T, name string, rate float64, conns int, time_ time.Duration) *traffic {
	leader := f.cluster.Leader() // the one now
	l := &traffic{address: leader.HTTP, rate: rate, conns: conns, keys: 10_000, value: bytes.Repeat([]byte("v"), 256)}
	ctx, cancel := context.WithCancel(t.Context())
	elections := watch(ctx, leader)
	l.run(ctx, time_)
	cancel()
	l.elections = elections()
	at := l.percentiles(50, 99)
	per := func(n int64) float64 { return float64(n) / time_.Seconds() }
	f.printf("%-34s %9.0f %9.0f %9.0f %9.0f %9d %9d %10v %10v\n", name, rate, per(l.applied.Load()), per(l.refused.Load()), per(l.unsent.Load()),
		l.failed.Load(), l.elections, at[0].Round(10*time.Microsecond), at[1].Round(10*time.Microsecond))
	for how, n := range l.other {
		f.printf("%34s %9d × %s\n", "", n, how)
	}
	return l
}

func (f *figures) printf(format string, args ...any) { fmt.Fprintf(&f.lines, format, args...) }

// Goal: under ten times the load that it can carry a cluster goes on doing what
// it can, refuses the rest, elects nobody, and is itself again within seconds.
// Method: three processes. Their capacity is measured by as many clients as
// they like; then ten times that is offered for a while, by clients that do not
// care for Retry-After. Everything shares one machine with the generator, so the
// figures are printed, and held to limits that leave room for that.
func TestCampaignOfOverload(t *testing.T) {
	if *overload == 0 {
		t.Skip("say -overload")
	}
	c := cluster.Start(t, 3)
	f := newFigures(t, c)
	f.measure(t, "warming up", 0, 64, 3*time.Second)
	capacity := func() (best float64) {
		const each = 6 * time.Second
		for _, conns := range []int{64, 256, 1024} {
			l := f.measure(t, fmt.Sprintf("capacity, %d connections", conns), 0, conns, each)
			best = max(best, float64(l.applied.Load())/each.Seconds())
		}
		return best
	}
	before := capacity()
	over := f.measure(t, fmt.Sprintf("ten times that, %d connections", overloadConns), 10*before, overloadConns, *overload)
	recovery := recoveryTime(t, c.Nodes[0], time.Now())
	peak := (before + capacity()) / 2 // the machine may be slower or faster now
	goodput := float64(over.applied.Load()) / overload.Seconds()
	f.printf("goodput %.0f %% of the peak, recovered after %v, Retry-After %.1f s on average\n",
		100*goodput/peak, recovery.Round(time.Millisecond), float64(over.retryAfter.Load())/float64(max(over.refused.Load(), 1)))
	if goodput < 0.8*peak {
		t.Errorf("goodput fell to %.0f of %.0f", goodput, peak)
	}
	if over.elections > 0 {
		t.Errorf("%d elections under overload", over.elections)
	}
	if recovery > 5*time.Second {
		t.Errorf("recovery took %v", recovery)
	}

	c.AwaitServing()
	cluster.AwaitEqual(t, c)
}

// recoveryTime returns how long after the end of an overload a write is answered
// promptly, ten times in a row.
func recoveryTime(t *testing.T, s *cluster.Node, ended time.Time) time.Duration {
	t.Helper()
	prompt, first := 0, ended
	cluster.Eventually(t, cluster.Patience, func() error {
		begun := time.Now()
		status, _, _, err := s.Ask("PUT", "/v1/kv/recovered", "v")
		if err != nil || status/100 != 2 || time.Since(begun) > 100*time.Millisecond {
			prompt = 0
			return fmt.Errorf("status %d after %v: %v", status, time.Since(begun), err)
		}
		if prompt == 0 {
			first = begun
		}
		if prompt++; prompt < 10 {
			return fmt.Errorf("%d prompt answers in a row", prompt)
		}
		return nil
	})
	return first.Sub(ended)
}
