package campaign

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

// Goal: every acknowledged append is there exactly once when all of them come over HTTP
// and through followers, while leaders die with forwarded commands in their hands.
// Method: goroutines append numbered tokens under idempotency keys, each to a key of its
// own, at nodes that do not lead; what fails or has no known outcome is sent again under
// the same key. The leader is killed and started again and again. In the end the keys
// must hold all tokens, once and in order, on every node. The leaders' metrics say that
// the appends came as commands.
func TestForwardedAppendsHappenOnce(t *testing.T) {
	c := cluster.Start(t, 3)
	begun := time.Now()
	done := make(chan struct{})
	var acknowledged, unknown atomic.Int64
	var appending sync.WaitGroup
	const each = 400 // several seconds, of which each has a leader killed
	for n := range onceClients {
		appending.Go(func() {
			leader := ""
			for token := range each {
				if !appendThroughFollowers(c, n, token, &leader, &unknown) {
					t.Errorf("append %d of %s was not acknowledged within %v", token, onceKey(n), cluster.Patience)
					return
				}
				acknowledged.Add(1)
			}
		})
	}
	go func() { appending.Wait(); close(done) }()
	kills := killLeaders(t, c, done, &acknowledged)
	took := time.Since(begun)
	c.AwaitServing()
	// The last leader may have been elected after the last append.
	if leader := c.Leader().ID; !appendThroughFollowers(c, onceClients, 0, &leader, &unknown) {
		t.Error("the append after the last kill was not acknowledged")
	}
	forwarded := 0
	for _, s := range c.Nodes {
		forwarded += commandsTaken(t, s)
		for n := range onceClients {
			checkOnce(t, s, onceKey(n), each)
		}
	}
	cluster.AwaitEqual(t, c)
	t.Logf("\nappends acknowledged  %d by %d goroutines in %v (%.0f/s)\nof unknown outcome    %d, sent again\nleaders killed        %d\ncommands taken        %d by the nodes' last boots",
		acknowledged.Load(), onceClients, took.Round(time.Millisecond), float64(acknowledged.Load())/took.Seconds(), unknown.Load(), kills, forwarded)
	if kills == 0 || forwarded == 0 {
		t.Errorf("void: %d leaders were killed and %d commands forwarded", kills, forwarded)
	}
}

// appendThroughFollowers sends one append until it is acknowledged, and not to the node
// that led when the last answer came.
func appendThroughFollowers(c *cluster.Cluster, n, token int, leader *string, unknown *atomic.Int64) bool {
	name, value := fmt.Sprintf("append-%d-%d", n, token), fmt.Sprintf(cluster.TokenFormat, token)
	for at, until := n, time.Now().Add(cluster.Patience); time.Now().Before(until); at++ {
		s := c.Nodes[at%len(c.Nodes)]
		if s.ID == *leader {
			continue
		}
		status, header, _, err := s.AskWith("POST", "/v1/kv/"+onceKey(n)+"?op=append", value, api.HeaderIdempotencyKey, name)
		if err != nil {
			*leader = ""
			continue
		}
		*leader = header.Get(api.HeaderLeader)
		if status == 200 {
			return true
		}
		if strings.HasSuffix(header.Get(api.HeaderError), string(api.OutcomeUnknown)) {
			unknown.Add(1)
		}
	}
	return false
}

// commandsTaken returns how many commands a node has taken in from others.
func commandsTaken(t *testing.T, s *cluster.Node) (n int) {
	t.Helper()
	for line := range strings.SplitSeq(s.Must(200, "GET", "/metrics", ""), "\n") {
		if count, found := strings.CutPrefix(line, `raftkv_clerk_request_duration_seconds_count{op="forward"} `); found {
			var err error
			if n, err = strconv.Atoi(count); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}
