package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

var growths = flag.Int("growths", 0, "how often TestCampaignOfGrowth lets a cluster grow from one node to five and shrink to three; 0 skips it")

const (
	growthClerks = 32
	growthCurls  = 4
	// growthPause is between two appends of a Clerk.
	growthPause = 5 * time.Millisecond
	// growthLull is for how long no write may be acknowledged where no election explains it.
	growthLull = 500 * time.Millisecond
	// growthLoss is how often a quorum is lost: at the end of every so many rounds.
	growthLoss = 4
)

// growth is a cluster that grows and shrinks under appends whose number is known.
type growth struct {
	*membersSite
	clients sync.WaitGroup
	end     context.CancelFunc
	ctx     context.Context

	mu       sync.Mutex // guards the fields below
	at       []string   // where clients are served, for curl
	last     time.Time  // of the newest acknowledged append
	lull     time.Duration
	late     time.Duration // by which a process that does nothing was late
	byClerk  [growthClerks]int
	byCurl   [growthCurls]int
	refusals int // that curl saw, and after which it asked again
}

// Goal (M11, M13, M18, M22): a cluster grows from raftkv dev --nodes 1 to five nodes and shrinks
// to three, its leader among those that go, and no client notices: no append is lost or doubled,
// no Clerk has an error, curl has none but refusals after which it asks again, and no writes
// stop for more than half a second that no election explains, the lateness of the machine aside.
// In every fourth round the disks of two of the three are lost then: raftkv recover lets the
// third go on alone, all that was acknowledged is there, an old node is turned away, and the
// cluster grows to three again.
// Method: processes; 32 Clerks that are given the first address alone, and 4 callers of curl.
func TestCampaignOfGrowth(t *testing.T) {
	if *growths == 0 {
		t.Skip("say -growths")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: there is no curl on this machine")
	}
	var appends, refusals int
	var longest time.Duration
	for round := range *growths {
		t.Run(fmt.Sprint(round+1), func(t *testing.T) {
			g := &growth{membersSite: newMembersSite(t)}
			g.dev()
			g.load()
			for len(g.nodes) < 5 {
				g.phase("a join", func() { g.join(); g.whole() })
			}
			g.phase("the leader's removal", func() { g.leave(g.leader()) })
			g.phase("a removal", func() { g.leave(g.nodes[0]) })
			g.stop()
			sum := g.verify()
			t.Logf("%d appends, %d refusals that curl saw, at most %v without an acknowledged append", sum, g.refusals, g.lull.Round(time.Millisecond))
			appends, refusals, longest = appends+sum, refusals+g.refusals, max(longest, g.lull)
			if round%growthLoss == 0 {
				g.lose()
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d times from one to five and back to three: %d appends, none lost or doubled, no error; curl was refused %d times and asked again; at most %v without an acknowledged append", *growths, appends, refusals, longest.Round(time.Millisecond))
}

// dev starts the cluster of one.
func (g *growth) dev() {
	g.t.Helper()
	port := cluster.FreeRows(g.t, 1, 1000)
	n := &membersNode{id: "n1", dir: filepath.Join(g.dir, "dev"), http: fmt.Sprintf("127.0.0.1:%d", port)}
	g.count, g.named = 1, "dev"
	n.process = cluster.Launch(g.t, n.id, nil, "dev", "--nodes", "1", "--data-dir", n.dir, "--port", fmt.Sprint(port))
	n.process.Says("Ctrl-C ends it.", cluster.Patience)
	g.nodes = append(g.nodes, n)
	cluster.Eventually(g.t, cluster.Patience, func() error {
		is := g.members()
		if len(is.Members) != 1 {
			return fmt.Errorf("%d members", len(is.Members))
		}
		n.peer = is.Members[0].Peer
		status, body := g.ask("PUT", "/v1/cluster/settings", `{"promote_after_ms":300,"wanted":5}`)
		if status != 200 {
			return fmt.Errorf("the settings: %d %s", status, body)
		}
		return nil
	})
}

// load starts the clients.
func (g *growth) load() {
	g.t.Helper()
	g.ctx, g.end = context.WithCancel(g.t.Context())
	g.serve()
	for i := range growthClerks {
		clerk, err := client.Dial(g.ctx, client.Config{Endpoints: []string{g.nodes[0].http}})
		if err != nil {
			g.t.Fatal(err)
		}
		g.clients.Go(func() {
			defer clerk.Close()
			for token := 1; g.ctx.Err() == nil; token++ {
				attempt, cancel := context.WithTimeout(context.Background(), cluster.Patience)
				_, err := clerk.Append(attempt, fmt.Sprint("clerk", i), fmt.Appendf(nil, cluster.TokenFormat, token))
				cancel()
				if err != nil {
					g.t.Errorf("an append of Clerk %d: %v", i, err)
					return
				}
				g.acknowledged(&g.byClerk[i])
				time.Sleep(growthPause)
			}
		})
	}
	for i := range growthCurls {
		g.clients.Go(func() { g.curl(i) })
	}
}

// serve tells curl's callers where clients are served.
func (g *growth) serve() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = nil
	for _, n := range g.nodes {
		g.at = append(g.at, n.http)
	}
}

// curl appends by the program, one token after the other. What was refused, or whose answer was
// lost, is asked for again elsewhere under the same key.
func (g *growth) curl(i int) {
	for token, next := 1, i; g.ctx.Err() == nil; token++ {
		for begun := time.Now(); ; next++ {
			g.mu.Lock()
			address := g.at[next%len(g.at)]
			g.mu.Unlock()
			run := exec.Command("curl", "-sS", "-o", os.DevNull, "-w", "%{http_code}", "-m", "10", "-X", "POST",
				"--data-binary", fmt.Sprintf(cluster.TokenFormat, token), "-H", fmt.Sprintf("Idempotency-Key: curl%d-%d", i, token),
				fmt.Sprintf("http://%s/v1/kv/curl%d?op=append", address, i))
			status, err := run.Output()
			if string(status) == "200" || string(status) == "201" {
				break
			}
			var exit *exec.ExitError
			gone := errors.As(err, &exit) // a node that was removed is there no more
			if !gone && string(status) != "503" && string(status) != "504" || time.Since(begun) > cluster.Patience {
				g.t.Errorf("curl to %s: status %s, %v, %v after the first attempt", address, status, err, time.Since(begun))
				return
			}
			g.mu.Lock()
			g.refusals++
			g.mu.Unlock()
		}
		g.acknowledged(&g.byCurl[i])
	}
}

// acknowledged counts an append.
func (g *growth) acknowledged(count *int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*count++
	now := time.Now()
	if !g.last.IsZero() {
		g.lull = max(g.lull, now.Sub(g.last))
	}
	g.last = now
}

// phase does something under load and judges for how long writes stopped.
func (g *growth) phase(name string, do func()) {
	g.t.Helper()
	g.mu.Lock()
	before := g.lull
	g.lull, g.late = 0, 0
	g.mu.Unlock()
	watching, end := context.WithCancel(g.ctx)
	go watchLateness(watching, &g.mu, &g.late)
	term := g.term()
	do()
	g.serve()
	elected := g.term() != term
	end()
	g.mu.Lock()
	defer g.mu.Unlock()
	if limit := growthLull + 10*g.late; g.lull > limit && !elected {
		g.t.Errorf("%s: no append was acknowledged for %v, and nobody was elected; the limit is %v", name, g.lull, limit)
	}
	g.lull = max(g.lull, before)
}

// term returns the newest term that a node knows.
func (g *growth) term() (term uint64) {
	g.t.Helper()
	for _, n := range g.nodes {
		var is api.Status
		status, body := g.askOne(n, "GET", "/v1/status")
		if err := json.Unmarshal([]byte(body), &is); status != 200 || err != nil {
			g.t.Errorf("the status of %s: %d %v", n.id, status, err)
		}
		term = max(term, is.Term)
	}
	return term
}

// leave removes a node and waits for its end.
func (g *growth) leave(n *membersNode) {
	g.t.Helper()
	cluster.Eventually(g.t, cluster.Patience, func() error {
		if status, body := g.change("DELETE", "/v1/members/"+n.id, "Idempotency-Key", "remove-"+n.id); status != 200 {
			return fmt.Errorf("removing %s: %d %s", n.id, status, body)
		}
		return nil
	})
	for i, m := range g.nodes {
		if m == n {
			g.nodes = append(g.nodes[:i:i], g.nodes[i+1:]...)
		}
	}
	g.serve()
	if code := n.process.ExitCode(cluster.Patience); code != 6 {
		g.t.Errorf("%s was removed and ended with code %d", n.id, code)
	}
	g.whole()
}

// stop ends the clients.
func (g *growth) stop() {
	g.end()
	g.clients.Wait()
}

// verify wants every acknowledged append there once and in order, and returns how many there are.
func (g *growth) verify() (sum int) {
	g.t.Helper()
	check := func(key string, want int) {
		sum += want
		var value string
		cluster.Eventually(g.t, cluster.Patience, func() (err error) {
			status, body := g.ask("GET", "/v1/kv/"+key, "")
			if value = body; status != 200 {
				err = fmt.Errorf("reading %s: %d %s", key, status, body)
			}
			return err
		})
		var tokens strings.Builder
		for token := range want {
			fmt.Fprintf(&tokens, cluster.TokenFormat, token+1)
		}
		if value != tokens.String() {
			g.t.Errorf("%s has %d bytes, and %d appends were acknowledged, which are %d", key, len(value), want, tokens.Len())
		}
	}
	for i, want := range g.byClerk {
		check(fmt.Sprint("clerk", i), want)
	}
	for i, want := range g.byCurl {
		check(fmt.Sprint("curl", i), want)
	}
	return sum
}

// lose takes the disks of two nodes for good and lets the third go on.
func (g *growth) lose() {
	g.t.Helper()
	for _, n := range g.nodes {
		n.process.Kill()
	}
	left, lost := g.nodes[0], g.nodes[1:]
	plan := g.recover("--data-dir", left.dir, "--plan")
	for _, want := range []string{"uncertain", "missing", "afterwards"} {
		if !strings.Contains(plan, want) {
			g.t.Errorf("the plan of the recovery does not say what is %s: %s", want, plan)
		}
	}
	g.recover("--data-dir", left.dir, "--as", left.id, "--accept-data-loss", g.named)
	g.nodes = []*membersNode{left}
	g.launch(left, "--peer", left.peer, "--join", lost[0].http+","+lost[1].http) // as before
	g.whole()
	g.verify()
	old := lost[0]
	g.launch(old, "--peer", old.peer, "--join", left.http)
	if code := old.process.ExitCode(cluster.Patience); code != 6 {
		g.t.Errorf("an old node comes back and ends with code %d", code)
	}
	for len(g.nodes) < 3 {
		g.join()
		g.whole()
	}
	if is := g.members(); is.Generation != 2 {
		g.t.Errorf("the generation is %d behind the recovery", is.Generation)
	}
	g.verify()
	g.t.Logf("two of three disks were lost: %s went on alone, an old node was turned away, and three nodes have all that was acknowledged", left.id)
}

// recover runs raftkv recover.
func (g *growth) recover(arguments ...string) string {
	g.t.Helper()
	run := exec.Command(cluster.Program, append([]string{"recover"}, arguments...)...)
	run.Env = cluster.CleanEnvironment()
	text, err := run.CombinedOutput()
	if err != nil {
		g.t.Fatalf("raftkv recover %v: %v: %s", arguments, err, text)
	}
	return string(text)
}
