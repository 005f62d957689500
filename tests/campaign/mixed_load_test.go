package campaign

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/cluster"
)

// mixedLoad is clients that write, append with idempotency keys, read and list,
// through all nodes, and a Clerk.
type mixedLoad struct {
	t       *testing.T
	stop    context.CancelFunc
	clients sync.WaitGroup
	mu      sync.Mutex
	done    int
}

func startMixedLoad(t *testing.T, c *cluster.Cluster) *mixedLoad {
	ctx, stop := context.WithCancel(context.Background())
	l := &mixedLoad{t: t, stop: stop}
	for i, s := range c.Nodes {
		l.clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("/v1/kv/k%d-%d", i, n%50)
				once := fmt.Sprintf("load-%d-%d", i, n)
				// Errors are part of the scenario: nodes die under this load.
				_, _, _, _ = s.Ask("PUT", key, strings.Repeat("v", 64))
				_, _, _, _ = s.AskWith("PUT", key, "twice", "Idempotency-Key", once)
				_, _, _, _ = s.AskWith("PUT", key, "twice", "Idempotency-Key", once)
				_, _, _, _ = s.Ask("GET", key, "")
				_, _, _, _ = s.Ask("GET", "/v1/kv?limit=5", "")
				l.mu.Lock()
				l.done++
				l.mu.Unlock()
				select {
				case <-time.After(5 * time.Millisecond): // a load, not a flood
				case <-ctx.Done():
				}
			}
		})
	}
	clerk, err := client.Dial(ctx, client.Config{Endpoints: cluster.Addresses(c.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	l.clients.Go(func() {
		defer clerk.Close()
		for ctx.Err() == nil {
			_, _ = clerk.Put(ctx, "clerk", []byte("v"))
			_, _ = clerk.Append(ctx, "clerk", []byte("v"))
			_, _ = clerk.Get(ctx, "clerk")
			_, _ = clerk.List(ctx, "k")
			_, _ = clerk.Delete(ctx, "clerk")
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return l
}

// await waits until the given number of rounds more are done.
func (l *mixedLoad) await(rounds int) {
	l.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.done
	}
	begun := count()
	cluster.Eventually(l.t, 2*cluster.Patience, func() error {
		if n := count() - begun; n < rounds {
			return fmt.Errorf("%d of %d rounds", n, rounds)
		}
		return nil
	})
}

func (l *mixedLoad) end() {
	l.stop()
	l.clients.Wait()
}
