package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

// witness appends tokens to one key, each once and never again, and remembers
// what it was told of each. In the end it holds the key against that.
type witness struct {
	key string
	mu  sync.Mutex     // guards what follows
	is  map[int]string // verdict by token: "applied", or the value of Kv-Error
}

// append sends one token to a node and takes down the verdict. What gets no
// answer at all is as unknown as what is called so, unless no connection could
// be made.
func (w *witness) append(transport *http.Transport, address string) {
	w.mu.Lock()
	token := len(w.is) + 1
	w.is[token] = "no answer; outcome=unknown"
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/v1/kv/"+w.key+"?op=append", strings.NewReader(fmt.Sprintf(cluster.TokenFormat, token)))
	if err != nil {
		return
	}
	r.GetBody = nil // so that net/http never sends it twice by itself
	response, err := transport.RoundTrip(r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		w.note(token, "no connection; outcome=not_applied")
	}
	if err != nil {
		return
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return
	}
	verdict := response.Header.Get(api.HeaderError)
	if response.StatusCode == 200 {
		verdict = "applied"
	}
	w.note(token, verdict)
}

func (w *witness) note(token int, verdict string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.is[token] = verdict
}

// run appends through an address with some clients until ctx ends.
func (w *witness) run(ctx context.Context, clients int, address string) *sync.WaitGroup {
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			dialer := &net.Dialer{Timeout: time.Second}
			transport := &http.Transport{Proxy: nil, DialContext: dialer.DialContext}
			defer transport.CloseIdleConnections()
			for ctx.Err() == nil {
				w.append(transport, address)
				time.Sleep(time.Millisecond) // so that a node that refuses at once does not get all the tokens
			}
		})
	}
	return &running
}

// count returns how many tokens were given each verdict.
func (w *witness) count() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := map[string]int{}
	for _, verdict := range w.is {
		n[verdict]++
	}
	return n
}

// verify holds the key's value against the verdicts: applied, once; not applied,
// never; unknown, once or never.
func (w *witness) verify(t *testing.T, value string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	times := map[int]int{}
	for line := range strings.Lines(value) {
		var token int
		if n, err := fmt.Sscanf(line, cluster.TokenFormat, &token); n != 1 || err != nil {
			t.Errorf("%q is no token", line)
		}
		times[token]++
	}
	for token, verdict := range w.is {
		least, most := 0, 1
		switch {
		case verdict == "applied":
			least = 1
		case strings.HasSuffix(verdict, "outcome=not_applied"):
			most = 0
		case !strings.HasSuffix(verdict, "outcome=unknown"):
			t.Errorf("token %d: %q says nothing of the outcome", token, verdict)
		}
		if n := times[token]; n < least || n > most {
			t.Errorf("token %d was answered %q and is there %d times", token, verdict, n)
		}
		delete(times, token)
	}
	if len(times) > 0 {
		t.Errorf("tokens that nobody sent: %v", times)
	}
}

// Goal: what an answer says of a write is true, whatever befalls the cluster: a
// write that was called not applied never shows up, one of unknown outcome at
// most once.
// Method: three processes with room for few writes, and clients at each node
// that never send a token twice. The leader is killed, stopped for longer than a
// request may take, told to end; followers are stopped so that nothing can be
// chosen; and there are more clients than room. Each class of answer must have
// been seen where it belongs; then the key is read.
func TestOutcomesAreTrueWhateverHappens(t *testing.T) {
	t.Parallel()
	for _, trouble := range []struct {
		name  string
		cause func(c *cluster.Cluster, leader *cluster.Node)
		heal  func(c *cluster.Cluster, leader *cluster.Node)
		// classes of which one must have been seen
		classes []string
	}{
		{"leader killed", func(_ *cluster.Cluster, l *cluster.Node) { l.Kill() }, func(_ *cluster.Cluster, l *cluster.Node) { l.Start() },
			[]string{"leadership_lost; outcome=unknown", "no answer; outcome=unknown", "timeout; outcome=unknown"}},
		{"leader stopped", func(_ *cluster.Cluster, l *cluster.Node) { l.Signal(syscall.SIGSTOP) }, func(_ *cluster.Cluster, l *cluster.Node) { l.Signal(syscall.SIGCONT) },
			[]string{"timeout; outcome=unknown", "leadership_lost; outcome=unknown"}},
		{"followers stopped", func(c *cluster.Cluster, l *cluster.Node) {
			for _, f := range c.Others(l) {
				f.Signal(syscall.SIGSTOP)
			}
		}, func(c *cluster.Cluster, l *cluster.Node) {
			for _, f := range c.Others(l) {
				f.Signal(syscall.SIGCONT)
			}
		}, []string{"timeout; outcome=unknown", "leadership_lost; outcome=unknown", "no_leader; outcome=not_applied"}},
		{"leader told to end", func(_ *cluster.Cluster, l *cluster.Node) { l.Signal(syscall.SIGTERM); l.ExitCode(cluster.Patience) }, func(_ *cluster.Cluster, l *cluster.Node) { l.Start() }, nil},
		{"overload", func(*cluster.Cluster, *cluster.Node) {}, func(*cluster.Cluster, *cluster.Node) {}, []string{"overloaded; outcome=not_applied"}},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			c := cluster.Start(t, 3, "--request-timeout", "700ms", "--max-in-flight", "8")
			leader := c.Leader()
			w := &witness{key: strings.ReplaceAll(trouble.name, " ", "-"), is: map[int]string{}}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			clients := 3
			if trouble.name == "overload" {
				clients = 20
			}
			var running []*sync.WaitGroup
			for _, s := range c.Nodes {
				running = append(running, w.run(ctx, clients, s.HTTP))
			}
			applied := func(n int) func() error {
				return func() error {
					if got := w.count()["applied"]; got < n {
						return fmt.Errorf("%d appends were acknowledged, want %d", got, n)
					}
					return nil
				}
			}
			cluster.Eventually(t, cluster.Patience, applied(30))
			trouble.cause(c, leader)
			cluster.Eventually(t, cluster.Patience, func() error {
				seen := w.count()
				if trouble.classes == nil || slices.ContainsFunc(trouble.classes, func(class string) bool { return seen[class] > 0 }) {
					return nil
				}
				return fmt.Errorf("none of %q was answered: %v", trouble.classes, seen)
			})
			trouble.heal(c, leader)
			c.AwaitServing()
			cluster.Eventually(t, cluster.Patience, applied(w.count()["applied"]+30))
			stop()
			for _, r := range running {
				r.Wait()
			}
			cluster.AwaitEqual(t, c)
			for _, s := range c.Nodes {
				w.verify(t, s.Must(200, "GET", "/v1/kv/"+w.key, ""))
			}
			seen := w.count()
			for _, class := range slices.Sorted(maps.Keys(seen)) {
				t.Logf("%6d  %s", seen[class], class)
			}
		})
	}
}
