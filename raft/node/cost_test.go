package node

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

var renewCosts = flag.Bool("costs.renew", false, "write the table of costs anew")

// costTable says what a node may spend: syncs, messages and wake-ups, counted in
// virtual time, where nothing but the code decides them.
const costTable = "testdata/cost.txt"

// costSlack is by how much a cost may differ from the table: goroutines that become
// ready in the same instant run in an order that differs a little between runs. For the
// same reason the least of three runs counts.
func costSlack(cost int) int { return 3 + cost/100 }

// Goal: nobody makes a node sync, send or wake more often without noticing: throughput
// on a machine that others use would not show it. Method: 1,000 commands by 1, 64 and
// 1,024 clients in a bubble, on disks that take a millisecond for a write, and ten idle
// seconds; what is counted may be no more than the table says. Much less is to be written
// into the table with the change that brings it.
func TestCosts(t *testing.T) {
	if raceDetector {
		t.Skip("SKIPPED: the race detector draws the order of goroutines; make test runs this test without it, too")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // or the order would depend on the machine
	costs := map[string]int{}
	var names []string
	for _, clients := range []int{1, 64, 1024} {
		for run := range 3 {
			for name, n := range loadCosts(t, clients) {
				if name = fmt.Sprintf("clients=%d/%s", clients, name); run == 0 || n < costs[name] {
					costs[name] = n
				}
			}
		}
		for _, name := range []string{"leader-syncs", "follower-syncs", "messages", "entry-bytes", "milliseconds"} {
			names = append(names, fmt.Sprintf("clients=%d/%s", clients, name))
		}
	}
	costs["idle/wakeups"] = idleCost(t)
	names = append(names, "idle/wakeups")
	if *renewCosts {
		text := "# What a node spends on 1,000 commands, and in 10 idle seconds; see cost_test.go.\n"
		for _, name := range names {
			text += fmt.Sprintf("%s %d\n", name, costs[name])
		}
		if err := os.WriteFile(costTable, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(costTable)
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for line := range strings.Lines(string(text)) {
		var name string
		var most int
		if n, _ := fmt.Sscan(line, &name, &most); n != 2 {
			continue
		}
		known++
		switch got, counted := costs[name]; {
		case !counted:
			t.Errorf("the table has %s, which is not counted", name)
		case got > most+costSlack(most):
			t.Errorf("%s: %d, the table allows %d", name, got, most)
		case got < most*4/5-1:
			t.Errorf("%s: %d, the table says %d: write what was gained into it (-costs.renew)", name, got, most)
		}
	}
	if known != len(costs) {
		t.Errorf("the table has %d costs, counted are %d", known, len(costs))
	}
}

// loadCosts counts what 1,000 commands of clients cost, of which each waits until its
// own was applied at the leader.
func loadCosts(t *testing.T, clients int) map[string]int {
	counts := map[string]int{}
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.leader()
		time.Sleep(time.Second)
		var mu sync.Mutex // guards counts
		for _, id := range c.ids {
			name := "follower-syncs"
			if id == leader {
				name = "leader-syncs"
			}
			c.disks[id].mu.Lock()
			c.disks[id].before = func() {
				time.Sleep(time.Millisecond)
				mu.Lock()
				counts[name]++
				mu.Unlock()
			}
			c.disks[id].mu.Unlock()
		}
		c.network.mu.Lock()
		c.network.sent = func(call core.Call) {
			mu.Lock()
			defer mu.Unlock()
			counts["messages"]++
			if req, ok := call.Request.(*core.AppendEntries); ok {
				counts["entry-bytes"] += len(core.EncodeEntries(nil, req.Entries))
			}
		}
		c.network.mu.Unlock()
		begun := time.Now()
		runClients(c, leader, clients, 1000)
		elapsed := time.Since(begun)
		mu.Lock()
		defer mu.Unlock()
		counts["milliseconds"] = int(elapsed / time.Millisecond)
		counts["follower-syncs"] /= 2 // of each
		counts["messages"] /= 2
		counts["entry-bytes"] /= 2
	})
	return counts
}

// runClients lets clients propose commands in all, each the next one when its last was
// applied at the leader.
func runClients(c *cluster, leader core.ID, clients, commands int) {
	m, n := c.machines[leader], c.node(leader)
	waiting := make([]chan struct{}, clients)
	for i := range waiting {
		waiting[i] = make(chan struct{}, 1)
	}
	m.mu.Lock()
	m.heard = func(data []byte) {
		var client int
		if _, err := fmt.Sscanf(string(data), "%d ", &client); err == nil {
			waiting[client] <- struct{}{}
		}
	}
	m.mu.Unlock()
	var working sync.WaitGroup
	for client := range clients {
		working.Go(func() {
			for i := client; i < commands; i += clients {
				n.Propose(&Proposal{Command: fmt.Appendf(nil, "%d %064d", client, i)})
				<-waiting[client]
			}
		})
	}
	working.Wait()
}

// idleCost counts how often three idle nodes publish a status in ten seconds, which
// every turn of a loop does in which anything happened.
func idleCost(t *testing.T) int {
	published := map[*Status]bool{}
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		c.leader()
		time.Sleep(time.Second)
		for range 10_000 {
			time.Sleep(time.Millisecond)
			for _, id := range c.ids {
				published[c.node(id).Status()] = true
			}
		}
	})
	return len(published)
}
