package system

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/cluster"
)

// Goal (W1 to W3, W5, W10): Clerks that follow changes of a real cluster are given each
// of them once and in order, while the leader is killed and begun anew, twice. Method:
// puts by one Clerk, each with the revision that it was answered; three that follow them
// on connections of their own, one of which reads slowly. In the end all three have the
// same, and every put that was answered stands there at its revision.
func TestClerksFollowAClusterWhoseLeaderIsKilled(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dial := func() *client.Clerk {
		clerk, err := client.Dial(ctx, client.Config{Endpoints: cluster.Addresses(c.Nodes)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(clerk.Close)
		return clerk
	}
	writer := dial()
	first, err := writer.Put(ctx, "w/first", nil)
	if err != nil {
		t.Fatal(err)
	}
	const last = "w/last"
	seen := make([][]string, 3)
	var following sync.WaitGroup
	for i := range seen {
		clerk := dial()
		following.Go(func() {
			at := first.Revision
			for e, err := range clerk.Watch(ctx, client.Prefix("w/"), client.AfterRevision(first.Revision)) {
				if err != nil {
					t.Errorf("watcher %d behind %d: %v", i, at, err)
					return
				}
				if e.Revision < at || e.Kind == client.Changed && e.Revision == at {
					t.Errorf("watcher %d: revision %d came behind %d", i, e.Revision, at)
				}
				at = e.Revision
				for _, change := range e.Changes {
					seen[i] = append(seen[i], fmt.Sprint(e.Revision, change.Op, change.Key, string(change.Item.Value)))
					if change.Key == last {
						return
					}
				}
				if i == 0 && len(seen[i])%50 == 0 {
					time.Sleep(20 * time.Millisecond) // it reads slowly
				}
			}
		})
	}
	var answered []string
	put := func(key string, n int) {
		w, err := writer.Put(ctx, key, fmt.Append(nil, n))
		if err != nil {
			t.Fatal(err)
		}
		answered = append(answered, fmt.Sprint(w.Revision, client.ChangePut, key, n))
	}
	for n := range 900 {
		if n == 300 || n == 600 {
			leader := c.Leader()
			leader.Kill()
			put(fmt.Sprint("w/", n%7), n) // by another leader
			leader.Start()
			continue
		}
		put(fmt.Sprint("w/", n%7), n)
	}
	put(last, 0)
	following.Wait()
	for i := range seen {
		if !slices.Equal(seen[i], seen[0]) {
			t.Errorf("watchers 0 and %d were given %d and %d changes, and not the same", i, len(seen[0]), len(seen[i]))
		}
	}
	if !slices.Equal(seen[0], answered) {
		t.Errorf("%d puts were answered, and %d changes came, not the same ones", len(answered), len(seen[0]))
	}
}
