package campaign

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var observed = flag.Bool("observe", false, "TestObserve: run a real Prometheus beside a cluster under load and faults; installs Debian's where there is none")

// alertLimit is how long an alert may take to fire once its cause is there. The
// rules' own patience is cut to a second for the test, their windows of five
// minutes are not: until the last of one has passed, what was before may hide
// the cause.
const alertLimit = 6 * time.Minute

// Goal: every query of the dashboard and of the rules answers on a real
// Prometheus that watches a real cluster, and the alerts that can be provoked
// in minutes fire.
func TestObserve(t *testing.T) {
	if !*observed {
		t.Skip("say -observe")
	}
	needPrometheus(t)
	c := cluster.Start(t, 3, "--max-store-bytes", "400000", "--snapshot-bytes", "65536")
	p := startPrometheus(t, cluster.Addresses(c.Nodes))
	load := startMixedLoad(t, c)
	defer load.end()

	checkExposition(t, c.Nodes[0])
	p.awaitUp(3)
	transferAround(c, 5)
	sendASnapshot(c)
	load.await(500)
	queries := dashboardQueries(t)
	for _, q := range queries {
		p.mustAnswer(q.title, strings.ReplaceAll(q.query, "$__rate_interval", "1m"))
	}
	rules := p.rules()
	recorded, known := 0, 0
	for _, r := range rules {
		if r.Type == "recording" {
			recorded++
			p.mustAnswer(r.Name, r.Query)
		} else {
			p.mustBeKnown(r)
			known++
		}
	}
	var fired []string
	provoke := func(alert string, cause func() (end func())) {
		t.Helper()
		if alert != "RaftkvLeaderFlapping" { // its cause is over already
			p.awaitQuiet(alert)
		}
		end := cause()
		p.awaitAlert(alert)
		fired = append(fired, alert)
		end()
		c.AwaitServing()
	}
	nothing := func() {}
	provoke("RaftkvLeaderFlapping", func() func() { return nothing }) // from the transfers above
	provoke("RaftkvQuotaNearlyFull", func() func() {
		c.Nodes[0].Must(201, "PUT", "/v1/kv/large", strings.Repeat("v", 390_000))
		return func() { c.Nodes[0].Must(204, "DELETE", "/v1/kv/large", "") }
	})
	if path, err := exec.LookPath("strace"); err != nil {
		t.Log("SKIPPED: FsyncSlow, FsyncVerySlow and DiskStalled need strace, which is not here")
	} else {
		slow := func(s *cluster.Node, delay time.Duration) func() func() {
			return func() func() { return delaySyncs(t, path, s, delay) }
		}
		provoke("RaftkvFsyncSlow", slow(c.Others(c.Leader())[0], 60*time.Millisecond))
		provoke("RaftkvFsyncVerySlow", slow(c.Others(c.Leader())[0], 900*time.Millisecond))
		provoke("RaftkvDiskStalled", slow(c.Leader(), 8*time.Second))
	}
	down := func(servers ...*cluster.Node) func() func() {
		return func() func() {
			for _, s := range servers {
				s.Kill()
			}
			return func() {
				for _, s := range servers {
					s.Start()
				}
			}
		}
	}
	if p.fires("RaftkvHeartbeatsLate") {
		t.Log("SKIPPED: RaftkvHeartbeatsLate fires by itself: this machine has too little time for the cluster")
	} else {
		provoke("RaftkvHeartbeatsLate", func() func() { return stumble(c.Leader()) })
	}
	provoke("RaftkvReplicationLag", func() func() {
		away := c.Others(c.Leader())[0]
		away.Signal(syscall.SIGSTOP)
		return func() { away.Signal(syscall.SIGCONT) }
	})
	provoke("RaftkvMemberDown", down(c.Nodes[2]))
	provoke("RaftkvQuorumAtRisk", down(c.Nodes[1]))
	provoke("RaftkvNoLeader", down(c.Nodes[0], c.Nodes[1]))
	t.Logf("%d queries of %d panels, %d recording rules, %d alert rules answered; %d alerts provoked and seen to fire: %s",
		len(queries), panels(queries), recorded, known, len(fired), strings.Join(fired, ", "))
}

// needPrometheus finds prometheus and promtool, or installs them, or skips.
func needPrometheus(t *testing.T) {
	t.Helper()
	missing := func() bool {
		_, err := exec.LookPath("prometheus")
		_, err2 := exec.LookPath("promtool")
		return err != nil || err2 != nil
	}
	if missing() && os.Geteuid() == 0 {
		out, err := exec.Command("apt-get", "install", "-y", "--no-install-recommends", "prometheus").CombinedOutput()
		t.Logf("installing prometheus: %v\n%s", err, tailOf(string(out), 300))
	}
	if missing() {
		t.Skip("SKIPPED, NOTHING WAS TESTED: there is no prometheus here and none could be installed")
	}
}

func tailOf(s string, n int) string { return s[max(0, len(s)-n):] }

// checkExposition holds what a node shows to promtool's rules for metrics.
func checkExposition(t *testing.T, s *cluster.Node) {
	t.Helper()
	text := s.Must(200, "GET", "/metrics", "")
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	families := strings.Count(text, "# TYPE raftkv_")
	if families < 35 {
		t.Errorf("a node shows %d families of its own, want at least 35", families)
	}
	t.Logf("%d families of raftkv on /metrics; promtool check metrics prints nothing", families)
}

// transferAround hands leadership over several times.
func transferAround(c *cluster.Cluster, times int) {
	c.T.Helper()
	for range times {
		leader := c.Leader()
		to := c.Others(leader)[0]
		status, _, body, err := leader.AskJSON("POST", "/v1/leader", fmt.Sprintf(`{"to":%q}`, to.ID))
		if err != nil || status != 200 {
			c.T.Fatalf("handing leadership to %s: %d %v %s", to.ID, status, err, body)
		}
	}
}

// sendASnapshot stops a follower until the leader has more to tell it than it
// keeps in memory.
func sendASnapshot(c *cluster.Cluster) {
	c.T.Helper()
	leader := c.Leader()
	away := c.Others(leader)[0]
	before, err := away.Status()
	if err != nil {
		c.T.Fatal(err)
	}
	away.Signal(syscall.SIGSTOP)
	large := strings.Repeat("v", 280_000)
	for range 40 << 20 / len(large) { // of 32 MiB
		_, _, _, _ = leader.Ask("PUT", "/v1/kv/large", large)
	}
	away.Signal(syscall.SIGCONT)
	cluster.Eventually(c.T, 2*cluster.Patience, func() error {
		now, err := away.Status()
		if err == nil && now.Log.First < before.Log.Last+1 {
			err = fmt.Errorf("the log of %s in memory begins at %d", away.ID, now.Log.First)
		}
		return err
	})
	leader.Must(204, "DELETE", "/v1/kv/large", "")
	c.AwaitServing()
}

// stumble lets a node stand still for a moment, again and again, until the end
// is called.
func stumble(s *cluster.Node) (end func()) {
	const standing, running = 150 * time.Millisecond, 250 * time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			s.Signal(syscall.SIGSTOP)
			time.Sleep(standing) // that is the fault
			s.Signal(syscall.SIGCONT)
			time.Sleep(running)
		}
	}()
	return func() { stop(); <-ended }
}

// dashboardQuery is one query of a panel.
type dashboardQuery struct{ title, query string }

func dashboardQueries(t *testing.T) (queries []dashboardQuery) {
	t.Helper()
	list := exec.Command("go", "run", "raftkv/deploy/dashboard", "-queries")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("listing the dashboard's queries: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		title, query, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		queries = append(queries, dashboardQuery{title, query})
	}
	if len(queries) == 0 {
		t.Fatal("the dashboard has no queries")
	}
	return queries
}

func panels(queries []dashboardQuery) int {
	titles := map[string]bool{}
	for _, q := range queries {
		titles[q.title] = true
	}
	return len(titles)
}

// delaySyncs makes each sync of a node take longer by delay, until the end is
// called.
func delaySyncs(t *testing.T, strace string, s *cluster.Node, delay time.Duration) (end func()) {
	t.Helper()
	tracer := exec.Command(strace, "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync",
		"-e", fmt.Sprintf("inject=fdatasync:delay_enter=%d", delay.Microseconds()), "-p", strconv.Itoa(s.Command.Process.Pid))
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = tracer.Process.Signal(syscall.SIGINT) // it lets the node go
		_ = tracer.Wait()
	})
}
