package system

import (
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// Goal: any node takes any request, and all answer as one store.
// Method: write by one, read, append and delete by the others.
func TestThreeProcessesAreOneStore(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	for i, s := range c.Nodes {
		key := fmt.Sprintf("/v1/kv/from-%s", s.ID)
		next, last := c.Nodes[(i+1)%3], c.Nodes[(i+2)%3]
		s.Must(201, "PUT", key, "hello")
		if got := next.Must(200, "GET", key, ""); got != "hello" {
			t.Errorf("%s reads %q", next.ID, got)
		}
		next.Must(200, "POST", key+"?op=append", ", world")
		if got := last.Must(200, "GET", key, ""); got != "hello, world" {
			t.Errorf("%s reads %q", last.ID, got)
		}
		last.Must(204, "DELETE", key, "")
		s.Must(404, "GET", key, "")
	}
}

// Goal: a killed leader costs no acknowledged append and doubles none; the rest
// of the cluster goes on; the killed node catches up when it is back.
// Method: kill -9 the leader under appends by several clients, twice.
func TestLeaderKilledUnderAppends(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	l := cluster.StartLoad("a", 3, cluster.Addresses(c.Nodes), nil)
	defer l.End()
	for range 2 {
		l.AwaitProgress(t, 50)
		killed := c.Leader()
		killed.Kill()
		l.AwaitProgress(t, 50)
		killed.Start()
		killed.AwaitServing()
	}
	l.End()
	for _, s := range c.Nodes {
		l.Verify(t, s)
	}
	if l.Unknown() == 0 {
		t.Log("no kill hit an append")
	}
	cluster.AwaitEqual(t, c)
}

// Goal: when all nodes die at once, nothing acknowledged is lost, not even the
// very last append. Method: kill -9 all three under load, start them again,
// verify; the last time after the load has ended, when everything in the logs
// is acknowledged.
func TestAllKilledAtOnceUnderLoad(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	for round := range 3 {
		l := cluster.StartLoad(fmt.Sprintf("round%d", round), 4, cluster.Addresses(c.Nodes), nil)
		l.AwaitProgress(t, 100)
		if round == 2 {
			l.End()
		}
		c.KillAll()
		l.End()
		c.Start()
		l.Verify(t, c.Nodes[round%3])
	}
}

// Goal: SIGTERM of a leader is not noticed by clients of the other nodes: it
// hands leadership over, ends with code 0 and fails no request.
// Method: appends by the other nodes while the leader is told to end; a 503
// that says "not applied" may be retried, an unknown outcome is a failure. The
// leader gives the others a second to take over. If they are too busy for that the
// leader says so in its log, and the next one is told to end; one of those that
// are told within a minute must hand over.
func TestSigtermOfTheLeaderHandsOver(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3, "--election-timeout", calmElection.String())
	begun := time.Now()
	for try := 1; !handsOver(t, c, fmt.Sprintf("try%d", try)); try++ {
		if time.Since(begun) > 2*cluster.Patience {
			t.Fatalf("none of %d leaders could hand over in the time that it gave", try)
		}
	}
}

// handsOver ends the leader and reports whether it could hand over in time. It
// starts it again.
func handsOver(t *testing.T, c *cluster.Cluster, prefix string) bool {
	t.Helper()
	leader := c.Leader()
	term := cluster.MustStatus(t, leader).Term
	l := cluster.StartLoad(prefix, 4, cluster.Addresses(c.Others(leader)), nil)
	defer l.End()
	l.AwaitProgress(t, 50)
	leader.Signal(syscall.SIGTERM)
	if code := leader.ExitCode(cluster.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	said := leader.Output.String()
	l.AwaitProgress(t, 50)
	l.End()
	inTime := strings.Contains(said, "leadership was handed over")
	if !inTime && !strings.Contains(said, "leadership could not be handed over") {
		t.Error("leadership was not handed over, and the log does not say why")
	}
	refusals := 0
	for _, a := range l.Appenders {
		refusals += a.Refusals
	}
	if n := l.Unknown(); n > 0 && inTime {
		t.Errorf("%d appends have an unknown outcome", n)
	}
	t.Logf("%d of %d appends were refused once with 503 and done then", refusals, l.Acknowledged())
	for _, s := range c.Others(leader) {
		l.Verify(t, s)
		if status := cluster.MustStatus(t, s); status.Term != term+1 && inTime {
			t.Errorf("%s is in term %d after %d: it took more than one election", s.ID, status.Term, term)
		}
	}
	leader.Start()
	leader.AwaitServing()
	l.Verify(t, leader)
	return inTime
}

// Goal: followers come and go by SIGTERM without an election.
func TestSigtermOfAFollower(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	leader := c.Leader()
	term := cluster.MustStatus(t, leader).Term
	l := cluster.StartLoad("a", 2, []string{leader.HTTP}, nil)
	defer l.End()
	for _, s := range c.Others(leader) {
		l.AwaitProgress(t, 20)
		s.Signal(syscall.SIGTERM)
		if code := s.ExitCode(cluster.Patience); code != 0 {
			t.Errorf("%s: exit code %d", s.ID, code)
		}
		s.Start()
		s.AwaitServing()
	}
	l.End()
	if n := l.Unknown(); n > 0 {
		t.Errorf("%d appends have an unknown outcome", n)
	}
	if status := cluster.MustStatus(t, leader); status.Term != term || status.Leader != leader.ID {
		t.Errorf("leader %s in term %d became %s in term %d", leader.ID, term, status.Leader, status.Term)
	}
}

// Goal: a node of another cluster can do nothing here, not even raise a term.
// Method: start the third node under another cluster id, with the right
// addresses; the others must refuse it by name and go on in their term.
func TestNodeOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 3)
	stranger, ours := c.Nodes[2], c.Nodes[:2]
	for _, s := range ours {
		s.Start()
	}
	for _, s := range ours {
		s.AwaitServing()
	}
	term := cluster.MustStatus(t, ours[0]).Term
	stranger.Arguments = append(stranger.Arguments, "--cluster-id", "elsewhere")
	stranger.Start()
	stranger.Says("refuses us", cluster.Patience)
	for _, s := range ours {
		s.Says("elsewhere", cluster.Patience)
		s.Must(201, "PUT", "/v1/kv/"+s.ID, "v")
	}
	if status := cluster.MustStatus(t, ours[0]); status.Term != term {
		t.Errorf("the term rose from %d to %d", term, status.Term)
	}
	if status := cluster.MustStatus(t, stranger); status.Leader != "" || status.Applied != 0 {
		t.Errorf("the stranger follows %q and has applied %d", status.Leader, status.Applied)
	}
}

// Goal: keys and values come back as they were sent, whatever bytes they hold.
// Method: each of the 256 one-byte keys and some awkward ones by one node,
// read by another; a value of the longest length there is; one byte more.
func TestAllBytesAndTheLongestValue(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	keys := []string{"a/b", "a//b", "//", "..", "../x", "a/", "%2F", "%%", "a b+c", "ключ", "\xff\xfe/\x00", strings.Repeat("k", 1024)}
	for b := range 256 {
		keys = append(keys, string([]byte{byte(b)}))
	}
	writer, reader := c.Nodes[0], c.Nodes[1]
	for i, key := range keys {
		writer.Must(201, "PUT", "/v1/kv/"+url.PathEscape(key), fmt.Sprint(i))
	}
	for i, key := range keys {
		if got := reader.Must(200, "GET", "/v1/kv/"+url.PathEscape(key), ""); got != fmt.Sprint(i) {
			t.Errorf("key %q holds %q, not %d", key, got, i)
		}
	}
	if status, err := reader.Status(); err != nil || status.Store.Keys != len(keys) {
		t.Errorf("%d keys in the store, %v; want %d", status.Store.Keys, err, len(keys))
	}
	var all strings.Builder
	for i := range 1 << 20 {
		all.WriteByte(byte(i ^ i>>8))
	}
	for _, s := range c.Nodes {
		s.Must(201, "PUT", "/v1/kv/long-by-"+s.ID, all.String())
		s.Must(413, "PUT", "/v1/kv/too-long", all.String()+"x")
	}
	for _, s := range c.Nodes {
		if got := reader.Must(200, "GET", "/v1/kv/long-by-"+s.ID, ""); got != all.String() {
			t.Errorf("the value written by %s came back with %d bytes", s.ID, len(got))
		}
	}
	reader.Must(404, "GET", "/v1/kv/too-long", "")
}

// Goal: the settings of a file and of the environment reach the node.
func TestSettingsFromFileAndEnvironment(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 1)
	s := c.Nodes[0]
	_, peer, _ := strings.Cut(c.Peers, "=")
	file := writeFile(t, fmt.Sprintf("id = \"n1\"\nhttp = %q\nmax-value-bytes = 99\n[cluster]\nn1 = %q\n", s.HTTP, peer))
	s.Process = cluster.Launch(t, s.ID, []string{"RAFTKV_DATA_DIR=" + s.Dir, "RAFTKV_MAX_VALUE_BYTES=10"}, "serve", "--config", file)
	s.AwaitServing()
	s.Must(201, "PUT", "/v1/kv/k", strings.Repeat("x", 10))
	s.Must(413, "PUT", "/v1/kv/k", strings.Repeat("x", 11))
}

// Goal: a request that is under way when the node is told to end is finished,
// and only then does the process end, with code 0.
// Method: half a request, SIGTERM, the other half.
func TestRequestsUnderWayAreFinished(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	s := c.Nodes[0]
	half := beginRequest(t, s)
	s.Signal(syscall.SIGTERM)
	s.Says("msg=ending", cluster.Patience)
	if _, _, _, err := s.Ask("GET", "/livez", ""); err == nil {
		t.Error("a new connection was taken")
	}
	if answer := half.finish(); answer != 201 {
		t.Errorf("status %d", answer)
	}
	if code := s.ExitCode(cluster.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.Start()
	s.AwaitServing()
	if got := s.Must(200, "GET", half.path, ""); got != half.body {
		t.Errorf("read %q", got)
	}
}

// Goal: the second signal ends a process that is still ending. Method: a request
// that never completes holds the end up; then SIGTERM again.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	s := c.Nodes[0]
	beginRequest(t, s)
	s.Signal(syscall.SIGTERM)
	s.Says("msg=ending", cluster.Patience)
	if s.HasEnded() {
		t.Fatal("ended though a request was under way")
	}
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(cluster.Patience); code == 0 {
		t.Error("exit code 0 though it did not end in order")
	}
	if strings.Contains(s.Output.String(), "some requests did not finish in time") {
		t.Error("it waited for the request")
	}
}

// Goal: a node's metrics are one exposition without contradictions: no two parts
// of it show the same series.
func TestANodeShowsItsMetrics(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	text := c.Nodes[0].Must(200, "GET", "/metrics", "")
	for _, family := range []string{"raft_term", "wal_fsync_duration_seconds", "store_keys", "integrity_diverged", "http_requests_in_flight"} {
		if n := strings.Count(text, "# TYPE raftkv_"+family+" "); n != 1 {
			t.Errorf("raftkv_%s is shown %d times", family, n)
		}
	}
}
