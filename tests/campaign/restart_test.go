package campaign

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/cluster"
)

var (
	restartKeys   = flag.Int("restart.keys", 5000, "how many keys of 256 bytes TestRestart writes before it kills all nodes")
	restartRounds = flag.Int("restart.rounds", 1, "how often it overwrites them all, in random order, and kills all nodes again")
)

const (
	restartValueBytes = 256
	restartWriters    = 64
	restartSamples    = 1000
)

// Goal: after a kill of all nodes at once the cluster takes writes again as soon
// as a leader is elected and has read what it holds, and all of it is there; the
// time and the memory that takes are printed for a store that only grew, and for
// one that was overwritten.
// Method: write all keys, kill -9 all processes at once, start them, put until
// one is answered, and look at each process's memory; then overwrite and do that
// again. A sample of the keys is read from every node.
func TestRestart(t *testing.T) {
	c := cluster.Start(t, 3)
	data := *restartKeys * (restartValueBytes + len(restartKey(0)))
	for round := range *restartRounds + 1 {
		rewrite(t, c, round)
		c.KillAll()
		begun := time.Now()
		for _, s := range c.Nodes {
			s.Start()
		}
		cluster.Eventually(t, cluster.Patience, func() error {
			status, _, body, err := c.Nodes[round%len(c.Nodes)].Ask("PUT", "/v1/kv/first", "x")
			if err == nil && status/100 != 2 {
				err = fmt.Errorf("%d: %.100s", status, body)
			}
			return err
		})
		took := time.Since(begun)
		c.AwaitServing()
		var memory string
		for _, s := range c.Nodes {
			now, most := memoryOf(t, s)
			memory += fmt.Sprintf(", %s %d MB (at most %d)", s.ID, now>>20, most>>20)
		}
		t.Logf("%d keys, %d MB of data, written %d times: first PUT %v after kill -9 of all%s", *restartKeys, data>>20, round+1, took.Round(time.Millisecond), memory)
		verifySample(t, c, round)
	}
}

func restartKey(n int) string { return fmt.Sprintf("key-%012d", n) }

func restartValue(n, round int) []byte {
	return fmt.Appendf(nil, "%0*d", restartValueBytes, n*100+round)
}

// rewrite puts every key once, in random order but for the first round.
func rewrite(t *testing.T, c *cluster.Cluster, round int) {
	t.Helper()
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: cluster.Addresses(c.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	order := rand.Perm(*restartKeys)
	var next atomic.Int64
	var writing sync.WaitGroup
	for range restartWriters {
		writing.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(order) {
					return
				}
				if round > 0 {
					i = order[i]
				}
				if _, err := clerk.Put(t.Context(), restartKey(i), restartValue(i, round)); err != nil {
					t.Errorf("put %d: %v", i, err)
					return
				}
			}
		})
	}
	writing.Wait()
}

// verifySample reads some keys from every node itself.
func verifySample(t *testing.T, c *cluster.Cluster, round int) {
	t.Helper()
	for _, s := range c.Nodes {
		for range restartSamples / len(c.Nodes) {
			n := rand.IntN(*restartKeys)
			if got := s.Must(200, "GET", "/v1/kv/"+restartKey(n), ""); got != string(restartValue(n, round)) {
				t.Fatalf("%s: %s is %.300q", s.ID, restartKey(n), got)
			}
		}
	}
}

var memoryLine = regexp.MustCompile(`(?m)^Vm(RSS|HWM):\s+(\d+) kB$`)

// memoryOf returns how much of the machine's memory the process has now and has
// had at most, in bytes; zeros where the system does not say.
func memoryOf(t *testing.T, s *cluster.Node) (now, most int64) {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.Command.Process.Pid), "status"))
	if err != nil {
		return 0, 0
	}
	for _, m := range memoryLine.FindAllSubmatch(status, -1) {
		kilobytes, _ := strconv.ParseInt(string(m[2]), 10, 64)
		if string(m[1]) == "RSS" {
			now = kilobytes << 10
		} else {
			most = kilobytes << 10
		}
	}
	return now, most
}
