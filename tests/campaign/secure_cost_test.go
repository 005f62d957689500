package campaign

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/client/bench"
	"raftkv/tests/cluster"
)

var (
	securityRounds = flag.Int("securityrounds", 0, "how many rounds TestWhatSecurityCosts takes; 0 skips it")
	securityTurn   = flag.Duration("securityturn", 5*time.Second, "how long a side has its turn at one load in it")
)

// guarded is a cluster with or without TLS and tokens.
type guarded struct {
	name      string
	p         *pki // nil: in clear
	token     string
	root      string // the admin's token; "": identities are off for good
	addresses []string
	leader    string // its address
	pids      []int  // of the nodes
}

func startGuarded(t *testing.T, name string, secret, tokens bool) *guarded {
	t.Helper()
	g, c := &guarded{name: name}, cluster.New(t, 3)
	if secret {
		g.p = newPKI(t, 3)
		for _, s := range c.Nodes {
			s.Arguments, s.TLS = g.p.flags(s.ID, "require", "require"), g.p.trust()
		}
	}
	c.Start()
	g.addresses, g.leader = cluster.Addresses(c.Nodes), c.Leader().HTTP // asked while nobody needs a token
	for _, n := range c.Nodes {
		g.pids = append(g.pids, n.Command.Process.Pid)
	}
	if tokens {
		g.root = g.raftkv(t, "", "auth", "init", "root")
		g.raftkv(t, g.root, "auth", "identity", "put", "svc", "--rule", `{"prefix":"","rights":["read","write"]}`)
		g.token = g.raftkv(t, g.root, "auth", "token", "create", "svc")
		g.raftkv(t, g.root, "auth", "state", "enforce")
	}
	return g
}

// raftkv runs a command on the cluster and returns what it says.
func (g *guarded) raftkv(t *testing.T, token string, arguments ...string) string {
	t.Helper()
	arguments = append(arguments, "--endpoints", strings.Join(g.addresses, ","))
	if g.p != nil {
		arguments = append(arguments, "--tls-ca", filepath.Join(g.p.dir, "ca.pem"))
	}
	run := exec.Command(cluster.Program, arguments...)
	run.Env = append(cluster.CleanEnvironment(), "RAFTKV_AUTH_TOKEN="+token)
	text, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("raftkv %v: %v: %s", arguments, err, text)
	}
	return strings.TrimSpace(string(text))
}

// without is the cluster while identities are off and nobody sends a token.
func (g *guarded) without(name string) *guarded {
	open := *g
	open.name, open.token = name, ""
	return &open
}

// clerks returns operations per second of 256 calls at one time, shared by 8 Clerks.
func (g *guarded) clerks(t *testing.T, get bool) float64 {
	t.Helper()
	config := client.Config{Endpoints: g.addresses}
	if g.p != nil {
		config.TLS = g.p.trust()
	}
	if g.token != "" {
		config.Token = func(context.Context) (string, error) { return g.token, nil }
	}
	const inFlight, shared = 256, 8
	var all []*client.Clerk
	for range shared {
		c, err := client.Dial(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	value := bytes.Repeat([]byte("v"), 100)
	return during(t, inFlight, func(ctx context.Context, i int) error {
		key := fmt.Sprint("k", i)
		if get {
			_, err := all[i%shared].Get(ctx, key)
			return err
		}
		_, err := all[i%shared].Put(ctx, key, value)
		return err
	})
}

// overHTTP is clerks for 64 requests of HTTP at one time, to the leader.
func (g *guarded) overHTTP(t *testing.T, get bool) float64 {
	t.Helper()
	const inFlight = 64
	transport := &http.Transport{MaxIdleConnsPerHost: inFlight}
	defer transport.CloseIdleConnections()
	url := "http://" + g.leader
	if g.p != nil {
		transport.TLSClientConfig, url = g.p.trust(), "https://"+g.leader
	}
	value := bytes.Repeat([]byte("v"), 100)
	return during(t, inFlight, func(ctx context.Context, i int) error {
		method, body := http.MethodPut, io.Reader(bytes.NewReader(value))
		if get {
			method, body = http.MethodGet, nil
		}
		r, err := http.NewRequestWithContext(ctx, method, fmt.Sprint(url, "/v1/kv/k", i), body)
		if err != nil {
			return err
		}
		if g.token != "" {
			r.Header.Set("Authorization", "Bearer "+g.token)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode >= 300 {
			return fmt.Errorf("answered %d, %w", answer.StatusCode, err)
		}
		return nil
	})
}

// during lets so many callers call for a turn, and returns how many calls a second ended.
func during(t *testing.T, callers int, call func(ctx context.Context, i int) error) float64 {
	t.Helper()
	var work sync.WaitGroup
	var done atomic.Int64
	begun := time.Now()
	for i := range callers {
		work.Go(func() {
			for time.Since(begun) < *securityTurn {
				attempt, cancel := context.WithTimeout(t.Context(), cluster.Patience)
				if err := call(attempt, i); err != nil {
					t.Errorf("a call failed: %v", err)
				}
				cancel()
				done.Add(1)
			}
		})
	}
	work.Wait()
	return float64(done.Load()) / time.Since(begun).Seconds()
}

// cost is what a side did in its turn.
type cost struct {
	rate float64 // operations per second
	cpu  float64 // processor time of an operation, in µs: that of the nodes and of the callers
}

// turn gives a side its turn at a load.
func (g *guarded) turn(t *testing.T, load func(g *guarded) float64) cost {
	t.Helper()
	if g.root != "" {
		state := "enforce"
		if g.token == "" {
			state = "off"
		}
		g.raftkv(t, g.root, "auth", "state", state)
	}
	used := func() time.Duration {
		nodes, err := bench.CPU(g.pids...)
		callers, err2 := bench.CPU(os.Getpid())
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return nodes + callers
	}
	before, begun := used(), time.Now()
	rate := load(g)
	done := rate * time.Since(begun).Seconds()
	return cost{rate, float64((used() - before).Microseconds()) / done}
}

// median returns the one in the middle.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// Goal: TLS on both ports and tokens leave at least 0.85 of the throughput without them, and
// tokens alone 0.97, with Clerks at 256 calls and HTTP at 64. Method: turns at each load that
// alternate, each round in another order; the median of the ratios within a round. Without
// tokens and with them it is one cluster, since two alike differ by more than tokens cost; that
// with TLS is another one. One side is there twice, and what its two halves differ by is the error
// of the measurement. It needs a machine on which nothing else runs.
func TestWhatSecurityCosts(t *testing.T) {
	if *securityRounds == 0 {
		t.Skip("say -securityrounds")
	}
	tokens := startGuarded(t, "tokens", false, true)
	sides := []*guarded{tokens.without("off"), tokens.without("off again"), tokens, startGuarded(t, "TLS and tokens", true, true)}
	wanted := []float64{0, 0, 0.97, 0.85}
	for _, load := range []struct {
		name string
		run  func(g *guarded) float64
	}{
		{"PUT by Clerks, 256", func(g *guarded) float64 { return g.clerks(t, false) }}, {"GET by Clerks, 256", func(g *guarded) float64 { return g.clerks(t, true) }},
		{"PUT over HTTP, 64", func(g *guarded) float64 { return g.overHTTP(t, false) }}, {"GET over HTTP, 64", func(g *guarded) float64 { return g.overHTTP(t, true) }},
	} {
		rates, cpu := make([][]float64, len(sides)), make([][]float64, len(sides))
		var off []float64
		for round := range *securityRounds + 1 {
			took := make([]cost, len(sides))
			for i := range sides {
				at := (i + round) % len(sides)
				took[at] = sides[at].turn(t, load.run)
			}
			if round == 0 {
				continue // it warms up
			}
			off = append(off, took[0].rate)
			for i := range sides {
				rates[i], cpu[i] = append(rates[i], took[i].rate/took[0].rate), append(cpu[i], took[i].cpu/took[0].cpu)
			}
		}
		t.Logf("%s: off %.0f/s", load.name, median(off))
		for i, side := range sides[1:] {
			of := rates[i+1]
			t.Logf("%s: %-14s %.3f of the throughput (%.2f to %.2f, wanted %.2f), %.3f of the processor time", load.name, side.name, median(of), slices.Min(of), slices.Max(of), wanted[i+1], median(cpu[i+1]))
			if median(of) < wanted[i+1] {
				t.Errorf("%s: %s are dearer than they may be", load.name, side.name)
			}
		}
	}
}
