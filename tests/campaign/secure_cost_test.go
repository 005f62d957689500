package campaign

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
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
	addresses []string
	leader    string // its address
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
	raftkv := func(token string, arguments ...string) string {
		t.Helper()
		arguments = append(arguments, "--endpoints", strings.Join(g.addresses, ","))
		if secret {
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
	if tokens {
		root := raftkv("", "auth", "init", "root")
		raftkv(root, "auth", "identity", "put", "svc", "--rule", `{"prefix":"","rights":["read","write"]}`)
		g.token = raftkv(root, "auth", "token", "create", "svc")
		raftkv(root, "auth", "state", "enforce")
	}
	return g
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

// Goal: TLS on both ports and tokens leave at least 0.85 of the throughput without them, and
// tokens alone 0.97, with Clerks at 256 calls and HTTP at 64. Method: three clusters side by
// side, whose turns at each load alternate; the median of the ratios within a round. It needs
// a machine on which nothing else runs.
func TestWhatSecurityCosts(t *testing.T) {
	if *securityRounds == 0 {
		t.Skip("say -securityrounds")
	}
	off, tokens, both := startGuarded(t, "off", false, false), startGuarded(t, "tokens", false, true), startGuarded(t, "TLS and tokens", true, true)
	for _, load := range []struct {
		name string
		run  func(g *guarded) float64
	}{
		{"PUT by Clerks, 256", func(g *guarded) float64 { return g.clerks(t, false) }}, {"GET by Clerks, 256", func(g *guarded) float64 { return g.clerks(t, true) }},
		{"PUT over HTTP, 64", func(g *guarded) float64 { return g.overHTTP(t, false) }}, {"GET over HTTP, 64", func(g *guarded) float64 { return g.overHTTP(t, true) }},
	} {
		var clear []float64
		ratios := map[string][]float64{}
		for range *securityRounds + 1 {
			o, k, b := load.run(off), load.run(tokens), load.run(both)
			clear = append(clear, o)
			ratios["tokens"], ratios["both"] = append(ratios["tokens"], k/o), append(ratios["both"], b/o)
		}
		median := func(of []float64) float64 { // the first round warms up
			sorted := slices.Sorted(slices.Values(of[1:]))
			return sorted[len(sorted)/2]
		}
		t.Logf("%-20s off %8.0f/s; tokens %.3f (wanted 0.97), TLS and tokens %.3f (wanted 0.85); rounds %.2f, %.2f", load.name, median(clear), median(ratios["tokens"]), median(ratios["both"]), ratios["tokens"][1:], ratios["both"][1:])
		if median(ratios["tokens"]) < 0.97 || median(ratios["both"]) < 0.85 {
			t.Errorf("%s is dearer than it may be", load.name)
		}
	}
}
