package system

import (
	"bytes"
	"encoding/json"
	"errors"

	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/clerkwire"
	"raftkv/tests/cluster"
)

// said is what one command printed and how it ended.
type said struct {
	code        int
	out, errors string
}

// command runs the program to its end.
func command(c *cluster.Cluster, stdin string, arguments ...string) said {
	c.T.Helper()
	cluster.LookAtSource()
	command := exec.Command(cluster.Program, arguments...)
	command.Env = append(cluster.CleanEnvironment(), "RAFTKV_ENDPOINTS="+strings.Join(cluster.Addresses(c.Nodes), ","))
	command.Dir = c.T.TempDir()
	command.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		c.T.Fatal(err)
	}
	return said{command.ProcessState.ExitCode(), out.String(), errs.String()}
}

// Goal: the commands do what their help says and end with the codes that it
// lists. Method: a story, line by line.
func TestKeyCommands(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("from a file\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		arguments string // separated by spaces
		stdin     string
		code      int
		out       string
		errors    string // what standard error must hold
	}{
		{"get greeting", "", 1, "", "there is no such key"},
		{"put greeting hello", "", 0, "created, revision 2, version 1\n", ""},
		{"get greeting", "", 0, "hello", ""},
		{"append greeting -", ", world", 0, "12 bytes now, revision 3, version 2\n", ""},
		{"get greeting --json", "", 0, `{"key":"greeting","value":"aGVsbG8sIHdvcmxk","revision":3,"version":2,"created":2}` + "\n", ""},
		{"put greeting x --if-absent", "", 1, "", "the condition does not hold"},
		{"put greeting x --if-revision 1", "", 1, "", "revision 3"},
		{"put greeting x --if-revision 3 --json", "", 0, `{"key":"greeting","revision":4,"version":3}` + "\n", ""},
		{"put other y --if-present", "", 1, "", "the condition does not hold"},
		{"put file @" + file, "", 0, "created, revision 5, version 1\n", ""},
		{"get file --stale --min-revision 5", "", 0, "from a file\x00", ""},
		{"put empty -", "", 0, "created, revision 6, version 1\n", ""},
		{"get empty", "", 0, "", ""},
		{"list", "", 0, "empty\nfile\ngreeting\n", ""},
		{"list gree --values", "", 0, "greeting\tx\n", ""},
		{"list f --values", "", 0, "file\t\"from a file\\x00\"\n", ""},
		{"list --limit 1 --after empty --json", "", 0, `{"key":"file","revision":5,"version":1,"created":5}` + "\n", ""},
		{"delete greeting --if-revision 2", "", 1, "", "the condition does not hold"},
		{"delete greeting", "", 0, "deleted, revision 7\n", ""},
		{"delete greeting --json", "", 0, `{"key":"greeting","deleted":false,"revision":7}` + "\n", ""},
		{"get", "", 2, "", "--help"},
		{"get a b", "", 1, "", "no such key: a, b"},
		{"get file empty", "", 0, "file\t\"from a file\\x00\"\nempty\t\n", ""},
		{"get --prefix e --json", "", 0, `{"key":"empty","value":"","revision":6,"version":1,"created":6}` + "\n", ""},
		{"get file --stale --min-revision 100000 --timeout 500ms", "", 3, "", "at revision 7"},
		{"put k @/there/is/no/such/file", "", 2, "", "no such file"},
		{"put k v --if-absent --if-present", "", 2, "", "if-absent"},
		{"put " + strings.Repeat("k", 1025) + " v", "", 2, "", "1 to 1024"},
		{"put big -", strings.Repeat("x", 1<<20+1), 2, "", "the value has 1048577 bytes; this node takes 1048576"},
		{"put k v --endpoints nonsense", "", 2, "", "host:port"},
		{"get k --endpoints 127.0.0.1:1 --timeout 300ms", "", 3, "", "127.0.0.1:1 refuses connections"},
		{"put k v --endpoints 127.0.0.1:1 --timeout 300ms", "", 3, "", "127.0.0.1:1 refuses connections"},
		{"status --endpoints 127.0.0.1:1", "", 3, "NODE", "no node answers"},
		{"bench --clients 0", "", 2, "", "--clients is 0"},
		{"bench --mix put=1,swim=1", "", 2, "", "swim"},
		{"verify --keys 0", "", 2, "", "--keys is 0"},
	} {
		got := command(c, step.stdin, strings.Split(step.arguments, " ")...)
		outOK := got.out == step.out || step.code == 3 && strings.Contains(got.out, step.out)
		if got.code != step.code || !outOK || !strings.Contains(got.errors, step.errors) || (step.code == 0) != (got.errors == "") {
			t.Errorf("raftkv %.80s: code %d, printed %q and %.300q; want code %d, %q and %q", step.arguments, got.code, got.out, got.errors, step.code, step.out, step.errors)
		}
	}
}

// Goal: a write that is under way when its time ends is said to be of unknown
// outcome, with a code of its own, and happens once at most. Method: all answers
// to appends are lost, and the command asks no node but by those that lose them.
func TestCommandOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	loses := func(kind clerkwire.Kind) bool { return kind == clerkwire.KindAppend.Answer() }
	var endpoints []string
	for _, s := range c.Nodes {
		endpoints = append(endpoints, cluster.StartProxy(t, s.HTTP, loses).Address())
	}
	got := command(c, "", "append", "k", "v", "--timeout", "4s", "--fixed-endpoints", "--endpoints", strings.Join(endpoints, ","))
	if got.code != 4 || !strings.Contains(got.errors, "may have happened") {
		t.Errorf("code %d: %s", got.code, got.errors)
	}
	if read := command(c, "", "get", "k"); read.code != 0 || read.out != "v" {
		t.Errorf("a read: code %d, %q, %s", read.code, read.out, read.errors)
	}
	if status := cluster.MustStatus(t, c.Nodes[0]); status.Applied < 4 {
		t.Errorf("void: only %d entries, so there was no second attempt", status.Applied)
	}
}

// Goal: status shows every node, the dead ones too, the leader, and what a
// dashboard would show: the disk, the pace, the sizes.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3, "--max-store-bytes", "1048576")
	leader := c.Leader()
	dead := c.Others(leader)[0]
	leader.Must(201, "PUT", "/v1/kv/k", "v")
	dead.Kill()
	got := command(c, "", "status")
	if got.code != 0 || !strings.Contains(got.out, leader.ID+" leads term ") || !strings.Contains(got.out, " 2 of 3 answer ") || strings.Count(got.out, "\n") != 6 ||
		!strings.Contains(got.out, "connection refused") || !strings.Contains(got.out, "follower") {
		t.Errorf("code %d:\n%s%s", got.code, got.out, got.errors)
	}
	if wide := command(c, "", "status", "--wide"); strings.Count(wide.out, "1.0 MiB") != 2 {
		t.Errorf("--wide does not show the quota of two nodes:\n%s", wide.out)
	}
	if got := command(c, "", "health"); got.code != 1 || strings.Count(got.out, "ready\n") != 2 || !strings.Contains(got.errors, "2 of 3") {
		t.Errorf("health: code %d:\n%s%s", got.code, got.out, got.errors)
	}
	other := c.Others(leader)[1]
	if got := command(c, "", "leader", "--to", other.ID); got.code != 0 || !strings.HasPrefix(got.out, other.ID+"  "+other.HTTP+"  term ") {
		t.Errorf("leader --to %s: code %d: %s%s", other.ID, got.code, got.out, got.errors)
	}
	if got := command(c, "", "leader", "--to", "n9"); got.code != 2 {
		t.Errorf("leader --to n9: code %d: %s%s", got.code, got.out, got.errors)
	}
	if got := command(c, "", "leader", "--to", leader.ID); got.code != 0 {
		t.Errorf("leader --to %s: code %d: %s%s", leader.ID, got.code, got.out, got.errors)
	}
	status, err := leader.Status()
	if err != nil {
		t.Fatal(err)
	}
	if d := status.Disk; d.FsyncP99Seconds <= 0 || d.LogBytes <= 0 || d.FreeBytes <= 0 {
		t.Errorf("the leader's disk is described as %+v", d)
	}
	if status.Log.CommitP99Seconds <= 0 || status.Process.MemoryBytes <= 0 || status.Process.Goroutines <= 0 || status.Changes.Elected+status.Changes.Transferred == 0 {
		t.Errorf("the leader is described as %+v", status)
	}
	lines := strings.Split(strings.TrimSpace(command(c, "", "status", "--json").out), "\n")
	for i, line := range lines {
		var n struct{ Endpoint, Error, Node, Role, Leader string }
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatal(err)
		}
		if n.Endpoint != c.Nodes[i].HTTP || (n.Error != "") != (c.Nodes[i] == dead) || n.Error == "" && n.Leader != leader.ID {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
	if len(lines) != 3 {
		t.Errorf("%d lines", len(lines))
	}
}

// Goal: what export writes import reads, whatever the keys and values are; an
// import that is run again changes no value, or no key with --if-absent; delete
// --prefix removes what it says and nothing else.
// Method: values of every kind, through two prefixes and back.
func TestExportImportAndDeleteByPrefix(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	lines := []string{
		`{"key":"a/1","text":"hello\u0000\n"}`, ``, `{"key":"a/ä","text":""}`, `{"key_base64":"YS//","value":"/wA="}`,
		`{"key":"a/2","value":"aGVsbG8=","revision":7,"version":1}`, `{"key":"b/1","text":"stays"}`, `{"key":"a/2","text":"later wins"}`,
	}
	if err := os.WriteFile(in, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	expect := func(got said, code int, out, errors string) {
		t.Helper()
		if got.code != code || !strings.Contains(got.out, out) || !strings.Contains(got.errors, errors) {
			t.Errorf("code %d, printed %q and %q; want %d, %q, %q", got.code, got.out, got.errors, code, out, errors)
		}
	}
	expect(command(c, "", "import", in), 0, "6 keys written", "")
	expect(command(c, "", "import", in, "--if-absent"), 0, "0 keys written, 6 were there already", "")
	expect(command(c, "", "import", in, "--skip", "5"), 0, "2 keys written", "")
	out := filepath.Join(dir, "out")
	expect(command(c, "", "export", out, "--prefix", "a/"), 0, "4 keys", "")
	first, err := os.ReadFile(out)
	if err != nil || strings.Count(string(first), "\n") != 4 {
		t.Fatalf("%v: %s", err, first)
	}
	for _, part := range []string{`"text":"hello\u0000\n"`, `"text":""`, `"key_base64":"YS//","value":"/wA="`, `"text":"later wins"`} {
		if !strings.Contains(string(first), part) {
			t.Errorf("the export lacks %s:\n%s", part, first)
		}
	}
	expect(command(c, "", "export", out), 2, "", "--force")
	expect(command(c, "", "delete", "--prefix", "a/"), 2, "", "--yes")
	expect(command(c, "", "delete", "--prefix", "a/", "--yes"), 0, "4 keys deleted", "")
	expect(command(c, "", "list"), 0, "b/1\n", "")
	expect(command(c, string(first), "import", "-"), 0, "4 keys written", "")
	if again := command(c, "", "get", "--prefix", "a/"); again.code != 0 || strings.Count(again.out, "\n") != 4 || !strings.Contains(again.out, "later wins") {
		t.Errorf("after all: %q", again.out)
	}
	listed := command(c, "", "list", "--values", "--json")
	expect(command(c, listed.out, "import", "-"), 0, "5 keys written", "")
	if got := command(c, "", "get", "b/1"); got.out != "stays" {
		t.Errorf("what list --json printed was imported as %q", got.out)
	}
	for line, says := range map[string]string{
		`{"key":"x"}`: "no value", `{"text":"x"}`: "0 bytes", `{"key":"x","text":"a","value":"YQ=="}`: "two values", `{"key":"x","val":"a"}`: "form",
		`{"key":"x","text":"a"} {}`: "behind", `{"key":"x","text":"\ud800"}`: "half", "{\"key\":\"x\",\"text\":\"\xff\"}": "UTF-8", `[1]`: "form",
	} {
		if err := os.WriteFile(in, []byte(lines[0]+"\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(command(c, "", "import", in), 2, "", says)
		expect(command(c, "", "import", in), 2, "", "line 2")
	}
}

// Goal: bench measures what it says, by both faces, and says it in JSON.
func TestBenchCommand(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	for _, more := range [][]string{nil, {"--http"}, {"--rate", "200"}} {
		got := command(c, "", append([]string{"bench", "--duration", "1s", "--warmup", "0s", "--clients", "4", "--keys", "50", "--mix", "put=1,get=1", "--preload", "--json"}, more...)...)
		var report struct {
			Face    string
			Seconds float64
			Ops     []struct {
				Op           string
				Count        int
				P50          float64 `json:"p50_us"`
				P99          float64 `json:"p99_us"`
				Max          float64 `json:"max_us"`
				OpsPerSecond float64 `json:"ops_per_second"`
			}
			Failures []any
			CPU      struct {
				ServerUs float64 `json:"server_us_per_op"`
				PIDs     []int   `json:"server_pids"`
			}
		}
		if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != 0 {
			t.Fatalf("%v: code %d, %v: %s%s", more, got.code, err, got.out, got.errors)
		}
		if len(report.Ops) != 2 || len(report.Failures) != 0 || report.Seconds < 0.9 || len(report.CPU.PIDs) != 3 {
			t.Errorf("%v: %s", more, got.out)
		}
		for _, o := range report.Ops {
			if o.Count == 0 || o.P50 <= 0 || o.P50 > o.P99 || o.P99 > o.Max {
				t.Errorf("%v: %+v", more, o)
			}
			if more != nil && more[0] == "--rate" && o.OpsPerSecond > 160 {
				t.Errorf("half of 200 requests a second are %.0f", o.OpsPerSecond)
			}
		}
	}
}

// Goal: verify finds a cluster linearizable through the deaths of its leaders, its watches
// complete and no end too early, and finds and draws a stale read that was planted.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	picture := filepath.Join(t.TempDir(), "picture.html")
	got := command(c, "", "verify", "--duration", "2s", "--stale-read", "--picture", picture)
	html, err := os.ReadFile(picture)
	if got.code != 1 || !strings.HasPrefix(got.out, "not linearizable: ") || !strings.Contains(got.errors, picture) || err != nil || !strings.Contains(string(html), "<html") {
		t.Errorf("a planted stale read: code %d, %v: %s%s", got.code, err, got.out, got.errors)
	}

	done, others := make(chan said, 1), make(chan said, 1)
	go func() { done <- command(c, "", "verify", "--duration", "5s", "--picture", picture+"2") }()
	go func() { others <- command(c, "", "verify", "--duration", "3s", "--watch", "--ttl") }()
	kills := 0
	for ended := false; !ended; {
		select {
		case got = <-done:
			ended = true
		case <-time.After(700 * time.Millisecond):
			leader := c.Leader()
			leader.Kill()
			kills++
			leader.Start()
			leader.AwaitServing()
		}
	}
	if got.code != 0 || !strings.HasPrefix(got.out, "linearizable: ") {
		t.Errorf("under kills: code %d: %s%s", got.code, got.out, got.errors)
	}
	t.Logf("%d leaders were killed: %s", kills, strings.TrimSpace(got.out))
	if got = <-others; got.code != 0 || !strings.Contains(got.out, "watch: kept: ") || !strings.Contains(got.out, "ttl: kept: ") {
		t.Errorf("watches and ends under kills: code %d: %s%s", got.code, got.out, got.errors)
	}
	t.Log(strings.TrimSpace(got.out))
	if _, err := os.Stat(picture + "2"); err == nil {
		t.Error("a picture of nothing was written")
	}
	var v struct{ Verdict string }
	if err := json.Unmarshal([]byte(command(c, "", "verify", "--duration", "500ms", "--json").out), &v); err != nil || v.Verdict != "linearizable" {
		t.Errorf("JSON: %+v, %v", v, err)
	}
	if keys := command(c, "", "list"); keys.out != "" {
		t.Errorf("keys are left: %s", keys.out)
	}
}

// Goal: verify ends soon after a signal though its requests wait for a leader.
// Method: one of three nodes is up; requests may take an hour.
func TestVerifyEndsAtASignalWhileRequestsWait(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	one := c.Nodes[0]
	for _, other := range c.Others(one) {
		other.Kill()
	}
	p := cluster.Launch(t, "verify", cluster.CleanEnvironment(), "verify", "--endpoints", one.HTTP, "--duration", "1s", "--timeout", "1h")
	cluster.Eventually(t, cluster.Patience, func() error {
		status, err := one.Status()
		if err == nil && status.Load.Reads.InFlight+status.Load.Writes.InFlight == 0 {
			err = errors.New("no request of verify is in flight")
		}
		return err
	})
	p.Signal(syscall.SIGTERM)
	if code := p.ExitCode(cluster.Patience); code < 0 {
		t.Errorf("code %d", code)
	}
}

// Goal: a rolling restart of all nodes costs a Clerk's client nothing but time.
// Method: SIGTERM and start, one node after the other, under load by bench; no
// request may fail.
func TestRollingRestartUnderClerks(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	done := make(chan said, 1)
	go func() {
		done <- command(c, "", "bench", "--duration", "6s", "--warmup", "0s", "--clients", "8", "--mix", "put=1,get=1", "--json")
	}()
	for _, s := range c.Nodes {
		s.Signal(syscall.SIGTERM)
		if code := s.ExitCode(cluster.Patience); code != 0 {
			t.Errorf("%s ended with code %d", s.ID, code)
		}
		s.Start()
		s.AwaitServing()
	}
	got := <-done
	var report struct {
		Failures []json.RawMessage
		Ops      []struct{ Count int }
	}
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || len(report.Failures) != 0 || len(report.Ops) != 2 {
		t.Errorf("code %d, %v: %s%s", got.code, err, got.out, got.errors)
	}
}
