package campaign

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/kvserver/clerkwire"
	"raftkv/tests/cluster"
)

var (
	onceAppends = flag.Int("once.appends", 6000, "how many appends TestExactlyOnce makes")
	onceKills   = flag.Duration("once.kills", time.Second, "how often TestExactlyOnce kills the leader")
)

const (
	onceClients = 32
	onceLoss    = 0.3
	// onceAttempt is how long an answer is waited for. Many are lost, and many
	// that come later than this were not.
	onceAttempt = 15 * time.Millisecond
)

// Goal: every acknowledged append is there exactly once, whatever happens to
// answers and leaders, and a Clerk leaves nothing behind.
// Method: goroutines append numbered tokens, each to a key of its own, through
// proxies that lose 30 % of the answers, while the leader is killed and started
// again and again. In the end the keys must hold all tokens, once and in order,
// on every node.
func TestExactlyOnce(t *testing.T) {
	c := cluster.New(t, 3)
	var proxies []*cluster.Proxy
	var endpoints []string
	loses := func(kind clerkwire.Kind) bool { return kind != clerkwire.KindGoodbye && rand.Float64() < onceLoss }
	for _, s := range c.Nodes {
		p := cluster.StartProxy(t, s.HTTP, loses)
		proxies = append(proxies, p)
		endpoints = append(endpoints, p.Address())
		// A Clerk that could not meet an endpoint goes to the address that the others give
		// for the leader. That must be the proxy, too.
		s.Arguments = append(s.Arguments, "--advertise-http", p.Address())
	}
	c.Start()
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: endpoints, AttemptTimeout: onceAttempt})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	done := make(chan struct{})
	var acknowledged atomic.Int64
	var appending sync.WaitGroup
	each := (*onceAppends + onceClients - 1) / onceClients
	for n := range onceClients {
		appending.Go(func() {
			for token := range each {
				if _, err := clerk.Append(t.Context(), onceKey(n), fmt.Appendf(nil, cluster.TokenFormat, token)); err != nil {
					t.Errorf("append %d of %s: %v", token, onceKey(n), err)
					return
				}
				acknowledged.Add(1)
			}
		})
	}
	go func() { appending.Wait(); close(done) }()
	kills := killLeaders(t, c, done, &acknowledged)
	took := time.Since(begun)
	clerk.Close()
	wantNoGoroutine(t, "raftkv/client.")
	for _, s := range c.Nodes {
		s.AwaitServing()
		for n := range onceClients {
			checkOnce(t, s, onceKey(n), each)
		}
	}
	cluster.AwaitEqual(t, c)
	var passed, lost int64
	for _, p := range proxies {
		passed, lost = passed+p.Passed.Load(), lost+p.Lost.Load()
	}
	entries := cluster.MustStatus(t, c.Nodes[0]).Applied
	t.Logf("\nappends acknowledged  %d by %d goroutines in %v (%.0f/s)\nanswers lost          %d of %d (%.1f %%)\nleaders killed        %d\nentries of the log    %d (%.2f attempts per append reached it)\nlost or doubled       none",
		acknowledged.Load(), onceClients, took.Round(time.Millisecond), float64(acknowledged.Load())/took.Seconds(),
		lost, passed+lost, 100*float64(lost)/float64(passed+lost), kills, entries, float64(entries)/float64(acknowledged.Load()))
	if acknowledged.Load() != int64(each*onceClients) {
		t.Errorf("%d of %d appends were acknowledged", acknowledged.Load(), each*onceClients)
	}
	if kills == 0 || lost == 0 {
		t.Errorf("void: %d leaders were killed and %d answers lost", kills, lost)
	}
}

func onceKey(n int) string { return fmt.Sprintf("once-%d", n) }

// killLeaders kills a leader now and then, and starts it again, until done.
func killLeaders(t *testing.T, c *cluster.Cluster, done <-chan struct{}, acknowledged *atomic.Int64) (kills int) {
	t.Helper()
	ticker := time.NewTicker(*onceKills)
	defer ticker.Stop()
	last, looked := int64(0), time.Now()
	for {
		select {
		case <-done:
			return kills
		case <-ticker.C:
		}
		leader := c.Leader()
		leader.Kill()
		kills++
		leader.Start()
		leader.AwaitServing()
		if now := acknowledged.Load(); now != last {
			last, looked = now, time.Now()
		} else if time.Since(looked) > cluster.Patience {
			t.Fatalf("no append was acknowledged for %v", cluster.Patience)
		}
	}
}

// checkOnce wants the tokens in a key once and in order.
func checkOnce(t *testing.T, s *cluster.Node, key string, count int) {
	t.Helper()
	rest := s.Must(200, "GET", "/v1/kv/"+key, "")
	for token := range count {
		want := fmt.Sprintf(cluster.TokenFormat, token)
		var found bool
		if rest, found = strings.CutPrefix(rest, want); !found {
			t.Fatalf("%s: %s holds %.20q where token %d should be", s.ID, key, rest, token)
		}
	}
	if rest != "" {
		t.Errorf("%s: %s holds %.40q after the last token", s.ID, key, rest)
	}
}

// wantNoGoroutine fails if a goroutine is in a package that has been closed.
func wantNoGoroutine(t *testing.T, name string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, name) {
			t.Errorf("a goroutine is left:\n%s", stack)
		}
	}
}
