package campaign

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

var rejoinKeys = flag.Int("rejoin.keys", 2000, "how many keys of 256 bytes TestANodeRejoinsUnderLoad fills the store with; over 10000 it measures for longer")

// rejoinClients write while the node comes back.
const rejoinClients = 64

// rejoinRun is one node on its way back under load.
type rejoinRun struct {
	t    *testing.T
	c    *cluster.Cluster
	keys int
	long bool
}

// Goal: a node whose directory was emptied is refused, and with --rejoin comes back
// under write load by way of a snapshot: there is no election, and nothing that was
// acknowledged before or meanwhile is missing there, also when it is killed on its
// way. How long writes take is printed, before and during.
// Method: fill the store, write with 64 clients, kill a follower, empty its
// directory, start it, kill it once, start it.
func TestANodeRejoinsUnderLoad(t *testing.T) {
	r := &rejoinRun{t: t, keys: *rejoinKeys, long: *rejoinKeys > 10_000}
	if r.long {
		r.c = cluster.Start(t, 3)
	} else {
		r.c = cluster.Start(t, 3, "--snapshot-bytes", "65536")
	}
	r.fill()
	leader := r.c.Leader()
	away := r.c.Others(leader)[0]
	acks := cluster.StartLoad("acks", 2, cluster.Addresses([]*cluster.Node{leader, r.c.Others(leader)[1]}), nil)
	term := r.status(leader).Term
	before := r.measure(leader, func(context.Context) { time.Sleep(r.phase()) })

	away.Kill()
	if err := os.RemoveAll(away.Dir); err != nil {
		t.Fatal(err)
	}
	away.Start()
	if code := away.ExitCode(cluster.Patience); code != 1 || !strings.Contains(away.Output.String(), "start the node with --rejoin") {
		t.Errorf("an emptied directory: code %d\n%s", code, away.Output.Tail(1000))
	}
	if err := os.RemoveAll(away.Dir); err != nil {
		t.Fatal(err)
	}
	var took time.Duration
	var got string
	during := r.measure(leader, func(ctx context.Context) {
		begun := time.Now()
		rejoin(away)
		away.Says("has lost its disk", cluster.Patience)
		if r.long {
			time.Sleep(r.phase() / 10)
		}
		away.Kill() // somewhere on its way
		got = received(away.Process)
		away.Start() // it knows that it is on its way
		limit := cluster.Patience
		if r.long {
			limit = 10 * time.Minute
		}
		away.Says("a full member again", limit)
		took = time.Since(begun)
	})
	acks.End()
	now := r.status(leader)
	if now.Term != term {
		t.Errorf("there was an election: term %d, then %d", term, now.Term)
	}
	away.AwaitServing()
	acks.Verify(t, away)
	cluster.AwaitEqual(t, r.c)
	got += received(away.Process) // it may be a full member before it says that it has received the snapshot
	status := r.status(away)
	if status.Rejoin != nil || got == "" {
		t.Errorf("it got no snapshot, or its status does not say that it is a full member: %+v", status)
	}
	t.Logf("%d keys of 256 bytes; the node was away for %v and got a snapshot (%s); elections: %d", status.Store.Keys, took.Round(time.Millisecond), got, now.Term-term)
	for _, phase := range []struct {
		name string
		*traffic
	}{{"before", before}, {"during", during}} {
		p := phase.percentiles(50, 99)
		t.Logf("%s: %6d writes by %d clients, p50 %8v, p99 %8v, %d refused, %d failed %v",
			phase.name, phase.applied.Load(), rejoinClients, p[0].Round(10*time.Microsecond), p[1].Round(10*time.Microsecond), phase.refused.Load(), phase.failed.Load(), phase.other)
	}
	if before.applied.Load() == 0 || during.applied.Load() == 0 || during.failed.Load() > 0 {
		t.Error("writes failed, or there were none")
	}
}

// phase is how long writes are measured before.
func (r *rejoinRun) phase() time.Duration {
	if r.long {
		return 15 * time.Second
	}
	return time.Second
}

// fill writes all keys, and has the nodes forget what of the log their snapshots
// stand for.
func (r *rejoinRun) fill() {
	r.t.Helper()
	begun := time.Now()
	leader := r.c.Leader()
	filler := r.traffic(leader, 4*rejoinClients)
	for filler.next.Load() < int64(r.keys) {
		filler.run(r.t.Context(), time.Second)
	}
	if keys := r.status(leader).Store.Keys; int(keys) < r.keys*99/100 {
		r.t.Fatalf("%d keys were written, not %d: %v", keys, r.keys, filler.other)
	}
	if r.long {
		r.t.Logf("filled in %v", time.Since(begun).Round(time.Second))
		return // it takes more than memory holds of the log
	}
	for _, s := range r.c.Nodes {
		cluster.Eventually(r.t, cluster.Patience, func() error {
			if status, err := s.Status(); err != nil || status.Log.Snapshot == 0 {
				return fmt.Errorf("%s has no snapshot: %v", s.ID, err)
			}
			return nil
		})
	}
	r.c.KillAll()
	r.c.Start()
}

func (r *rejoinRun) status(s *cluster.Node) api.Status {
	r.t.Helper()
	status, err := s.Status()
	if err != nil {
		r.t.Fatal(err)
	}
	return status
}

func (r *rejoinRun) traffic(to *cluster.Node, conns int) *traffic {
	return &traffic{address: to.HTTP, conns: conns, keys: r.keys, value: bytes.Repeat([]byte("v"), 256)}
}

// measure writes while something happens.
func (r *rejoinRun) measure(to *cluster.Node, happens func(context.Context)) *traffic {
	load := r.traffic(to, rejoinClients)
	ctx, end := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		load.run(ctx, time.Hour)
	}()
	defer func() {
		end()
		<-done
	}()
	happens(ctx)
	return load
}

// rejoin starts the node with --rejoin.
func rejoin(s *cluster.Node) {
	s.Cluster.T.Helper()
	s.Process = cluster.Launch(s.Cluster.T, s.ID, nil, append(s.CommandLine(), "--rejoin")...)
}

// received is what a node's log says of the snapshot that it got, if it got one.
func received(p *cluster.Process) string {
	for line := range strings.Lines(p.Output.String()) {
		if _, about, found := strings.Cut(line, `msg="a snapshot was received" `); found {
			return strings.TrimSpace(about)
		}
	}
	return ""
}
