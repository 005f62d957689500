package system

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/client"
)

var observed = flag.Bool("system.observe", false, "TestObserve: run a real Prometheus beside a cluster under load and faults; installs Debian's where there is none")

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
		t.Skip("say -system.observe")
	}
	needPrometheus(t)
	c := startCluster(t, 3, "--max-store-bytes", "400000", "--snapshot-bytes", "65536")
	p := startPrometheus(t, addresses(c.nodes))
	load := startMixedLoad(t, c)
	defer load.end()

	checkExposition(t, c.nodes[0])
	p.awaitUp(3)
	c.transferAround(5)
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
		c.awaitServing()
	}
	nothing := func() {}
	provoke("RaftkvLeaderFlapping", func() func() { return nothing }) // from the transfers above
	provoke("RaftkvQuotaNearlyFull", func() func() {
		c.nodes[0].must(201, "PUT", "/v1/kv/large", strings.Repeat("v", 390_000))
		return func() { c.nodes[0].must(204, "DELETE", "/v1/kv/large", "") }
	})
	if path, err := exec.LookPath("strace"); err != nil {
		t.Log("SKIPPED: FsyncSlow, FsyncVerySlow and DiskStalled need strace, which is not here")
	} else {
		slow := func(s *server, delay time.Duration) func() func() {
			return func() func() { return delaySyncs(t, path, s, delay) }
		}
		provoke("RaftkvFsyncSlow", slow(c.others(c.leader())[0], 60*time.Millisecond))
		provoke("RaftkvFsyncVerySlow", slow(c.others(c.leader())[0], 900*time.Millisecond))
		provoke("RaftkvDiskStalled", slow(c.leader(), 8*time.Second))
	}
	down := func(servers ...*server) func() func() {
		return func() func() {
			for _, s := range servers {
				s.kill()
			}
			return func() {
				for _, s := range servers {
					s.start()
				}
			}
		}
	}
	if p.fires("RaftkvHeartbeatsLate") {
		t.Log("SKIPPED: RaftkvHeartbeatsLate fires by itself: this machine has too little time for the cluster")
	} else {
		provoke("RaftkvHeartbeatsLate", func() func() { return stumble(c.leader()) })
	}
	provoke("RaftkvReplicationLag", func() func() {
		away := c.others(c.leader())[0]
		away.signal(syscall.SIGSTOP)
		return func() { away.signal(syscall.SIGCONT) }
	})
	provoke("RaftkvMemberDown", down(c.nodes[2]))
	provoke("RaftkvQuorumAtRisk", down(c.nodes[1]))
	provoke("RaftkvNoLeader", down(c.nodes[0], c.nodes[1]))
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
func checkExposition(t *testing.T, s *server) {
	t.Helper()
	text := s.must(200, "GET", "/metrics", "")
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
func (c *cluster) transferAround(times int) {
	c.t.Helper()
	for range times {
		leader := c.leader()
		to := c.others(leader)[0]
		status, _, body, err := leader.askJSON("POST", "/v1/leader", fmt.Sprintf(`{"to":%q}`, to.id))
		if err != nil || status != 200 {
			c.t.Fatalf("handing leadership to %s: %d %v %s", to.id, status, err, body)
		}
	}
}

// sendASnapshot stops a follower until the leader has more to tell it than it
// keeps in memory.
func sendASnapshot(c *cluster) {
	c.t.Helper()
	leader := c.leader()
	away := c.others(leader)[0]
	before, err := away.status()
	if err != nil {
		c.t.Fatal(err)
	}
	away.signal(syscall.SIGSTOP)
	large := strings.Repeat("v", 280_000)
	for range 40 << 20 / len(large) { // of 32 MiB
		_, _, _, _ = leader.ask("PUT", "/v1/kv/large", large)
	}
	away.signal(syscall.SIGCONT)
	eventually(c.t, 2*patience, func() error {
		now, err := away.status()
		if err == nil && now.Log.First < before.Log.Last+1 {
			err = fmt.Errorf("the log of %s in memory begins at %d", away.id, now.Log.First)
		}
		return err
	})
	leader.must(204, "DELETE", "/v1/kv/large", "")
	c.awaitServing()
}

// stumble lets a node stand still for a moment, again and again, until the end
// is called.
func stumble(s *server) (end func()) {
	const standing, running = 150 * time.Millisecond, 250 * time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			s.signal(syscall.SIGSTOP)
			time.Sleep(standing) // that is the fault
			s.signal(syscall.SIGCONT)
			time.Sleep(running)
		}
	}()
	return func() { stop(); <-ended }
}

// askJSON is ask with a body of JSON.
func (s *server) askJSON(method, path, body string) (int, http.Header, string, error) {
	return s.askWith(method, path, body, "Content-Type", "application/json")
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

// prometheus is a real one that watches a cluster.
type prometheus struct {
	t       *testing.T
	address string
}

// forClause is how long a rule waits before it fires.
var forClause = regexp.MustCompile(`(?m)^( +)for: .*$`)

// startPrometheus runs one with the rules that we ship, impatient.
func startPrometheus(t *testing.T, targets []string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "raftkv.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("raftkv.rules.yml", forClause.ReplaceAllString(string(rules), "${1}for: 1s"))
	quoted, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	write("prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [raftkv.rules.yml]
scrape_configs:
  - job_name: raftkv
    static_configs: [{targets: %s}]
`, quoted))
	p := &prometheus{t: t, address: freePorts(t, 1)[0]}
	command := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", p.address)
	output := &capture{}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("output of prometheus:\n%s", output.tail(2000))
		}
	})
	eventually(t, patience, func() error {
		_, err := p.query("vector(1)")
		return err
	})
	return p
}

// get asks Prometheus' API and decodes the data of the answer.
func (p *prometheus) get(path string, into any) error {
	response, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus: %s", answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// sample is one series of an answer.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (p *prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result json.RawMessage }
	if err := p.get("query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	var samples []sample
	if err := json.Unmarshal(data.Result, &samples); err != nil {
		return nil, err
	}
	return samples, nil
}

// mustAnswer demands that a query has a result, with numbers in it.
func (p *prometheus) mustAnswer(title, expr string) {
	p.t.Helper()
	eventually(p.t, patience, func() error {
		samples, err := p.query(expr)
		if err != nil {
			return fmt.Errorf("%q: %w: %s", title, err, expr)
		}
		for _, s := range samples {
			if text, _ := s.Value[1].(string); text != "" && text != "NaN" {
				return nil
			}
		}
		return fmt.Errorf("%q has no result: %s", title, expr)
	})
}

// rule is a rule that Prometheus has loaded.
type rule struct{ Type, Name, Query, Health, LastError string }

func (p *prometheus) rules() (rules []rule) {
	p.t.Helper()
	var data struct{ Groups []struct{ Rules []rule } }
	if err := p.get("rules", &data); err != nil {
		p.t.Fatal(err)
	}
	for _, g := range data.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

var metricName = regexp.MustCompile(`raftkv[_:][a-z0-9_:]+|\bup\b`)

// mustBeKnown demands that an alert can be evaluated and that each metric in it
// is there: when all is well, its own result is empty.
func (p *prometheus) mustBeKnown(r rule) {
	p.t.Helper()
	if _, err := p.query(r.Query); err != nil {
		p.t.Errorf("%s: %v", r.Name, err)
	}
	names := metricName.FindAllString(r.Query, -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p.mustAnswer(r.Name, name)
	}
}

func (p *prometheus) awaitUp(n int) {
	p.t.Helper()
	eventually(p.t, patience, func() error {
		samples, err := p.query("count(up == 1)")
		if err == nil && (len(samples) != 1 || samples[0].Value[1] != strconv.Itoa(n)) {
			err = fmt.Errorf("not all %d nodes are scraped: %v", n, samples)
		}
		return err
	})
}

// awaitAlert waits until an alert fires.
func (p *prometheus) awaitAlert(name string) {
	p.t.Helper()
	begun := time.Now()
	p.await(name, true)
	p.t.Logf("%s fires after %v", name, time.Since(begun).Round(100*time.Millisecond))
}

// awaitQuiet waits until an alert does not fire: one that does would prove
// nothing about a cause that is still to come.
func (p *prometheus) awaitQuiet(name string) {
	p.t.Helper()
	p.await(name, false)
}

func (p *prometheus) await(name string, firing bool) {
	p.t.Helper()
	eventually(p.t, alertLimit, func() error {
		if p.fires(name) == firing {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // it looks once a second
		return fmt.Errorf("%s fires: %v, want %v", name, !firing, firing)
	})
}

// fires reports whether an alert fires at the moment.
func (p *prometheus) fires(name string) bool {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	if err := p.get("alerts", &data); err != nil {
		p.t.Fatal(err)
	}
	for _, a := range data.Alerts {
		if a.Labels["alertname"] == name && a.State == "firing" {
			return true
		}
	}
	return false
}

// delaySyncs makes each sync of a node take so much longer, until the end is
// called.
func delaySyncs(t *testing.T, strace string, s *server, delay time.Duration) (end func()) {
	t.Helper()
	tracer := exec.Command(strace, "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync",
		"-e", fmt.Sprintf("inject=fdatasync:delay_enter=%d", delay.Microseconds()), "-p", strconv.Itoa(s.command.Process.Pid))
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = tracer.Process.Signal(syscall.SIGINT) // it lets the node go
		_ = tracer.Wait()
	})
}

// mixedLoad is clients that write, append with idempotency keys, read and list,
// through all nodes, and a Clerk.
type mixedLoad struct {
	t       *testing.T
	stop    context.CancelFunc
	clients sync.WaitGroup
	mu      sync.Mutex
	done    int
}

func startMixedLoad(t *testing.T, c *cluster) *mixedLoad {
	ctx, stop := context.WithCancel(context.Background())
	l := &mixedLoad{t: t, stop: stop}
	for i, s := range c.nodes {
		l.clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("/v1/kv/k%d-%d", i, n%50)
				once := fmt.Sprintf("load-%d-%d", i, n)
				// Errors are part of the scenario: nodes die under this load.
				_, _, _, _ = s.ask("PUT", key, strings.Repeat("v", 64))
				_, _, _, _ = s.askWith("PUT", key, "twice", "Idempotency-Key", once)
				_, _, _, _ = s.askWith("PUT", key, "twice", "Idempotency-Key", once)
				_, _, _, _ = s.ask("GET", key, "")
				_, _, _, _ = s.ask("GET", "/v1/kv?limit=5", "")
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
	clerk, err := client.Dial(ctx, client.Config{Endpoints: addresses(c.nodes)})
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

// await waits until so many more rounds are done.
func (l *mixedLoad) await(rounds int) {
	l.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.done
	}
	begun := count()
	eventually(l.t, 2*patience, func() error {
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
