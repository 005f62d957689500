package system

import (
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// Goal: any node takes any request, and all answer as one store.
// Method: write by one, read, append and delete by the others.
func TestThreeProcessesAreOneStore(t *testing.T) {
	c := startCluster(t, 3)
	for i, s := range c.nodes {
		key := fmt.Sprintf("/v1/kv/from-%s", s.id)
		next, last := c.nodes[(i+1)%3], c.nodes[(i+2)%3]
		s.must(201, "PUT", key, "hello")
		if got := next.must(200, "GET", key, ""); got != "hello" {
			t.Errorf("%s reads %q", next.id, got)
		}
		next.must(200, "POST", key+"?op=append", ", world")
		if got := last.must(200, "GET", key, ""); got != "hello, world" {
			t.Errorf("%s reads %q", last.id, got)
		}
		last.must(204, "DELETE", key, "")
		s.must(404, "GET", key, "")
	}
}

// Goal: a killed leader costs no acknowledged append and doubles none; the rest
// of the cluster goes on; the killed node catches up when it is back.
// Method: kill -9 the leader under appends by several clients, twice.
func TestLeaderKilledUnderAppends(t *testing.T) {
	c := startCluster(t, 3)
	l := startLoad("a", 3, addresses(c.nodes), nil)
	defer l.end()
	for range 2 {
		l.awaitProgress(t, 50)
		killed := c.leader()
		killed.kill()
		l.awaitProgress(t, 50)
		killed.start()
		killed.awaitServing()
	}
	l.end()
	for _, s := range c.nodes {
		l.verify(t, s)
	}
	if l.unknown() == 0 {
		t.Log("no kill hit an append")
	}
	awaitEqual(t, c)
}

// awaitEqual waits until all nodes have applied the same and checks that their
// own copies are equal.
func awaitEqual(t *testing.T, c *cluster) {
	t.Helper()
	eventually(t, patience, func() error {
		applied := map[uint64]bool{}
		stores := map[string]bool{}
		for _, s := range c.nodes {
			status, err := s.status()
			if err != nil {
				return err
			}
			applied[status.Applied] = true
			stores[fmt.Sprintf("%+v", status.Store)] = true
		}
		if len(applied) != 1 || len(stores) != 1 {
			return fmt.Errorf("the nodes have applied %v and hold %v", applied, stores)
		}
		return nil
	})
}

// Goal: when all nodes die at once, nothing acknowledged is lost, not even the
// very last append. Method: kill -9 all three under load, start them again,
// verify; the last time after the load has ended, when everything in the logs
// is acknowledged.
func TestAllKilledAtOnceUnderLoad(t *testing.T) {
	c := startCluster(t, 3)
	for round := range 3 {
		l := startLoad(fmt.Sprintf("round%d", round), 4, addresses(c.nodes), nil)
		l.awaitProgress(t, 100)
		if round == 2 {
			l.end()
		}
		c.killAll()
		l.end()
		c.start()
		l.verify(t, c.nodes[round%3])
	}
}

// Goal: SIGTERM of a leader is not noticed by clients of the other nodes: it
// hands leadership over, ends with code 0 and fails no request.
// Method: appends by the other nodes while the leader is told to end; a 503
// that says "not applied" may be retried, an unknown outcome is a failure. A
// machine that is so busy that nobody can take over within the time that the
// leader gives says so in its log; then another leader is tried.
func TestSigtermOfTheLeaderHandsOver(t *testing.T) {
	c := startCluster(t, 3, "--election-timeout", calmElection.String())
	for try := range 5 {
		if handsOver(t, c, fmt.Sprintf("try%d", try)) {
			return
		}
	}
	t.Skip("NOT SHOWN: the machine is too busy for a handing over within its time, five times")
}

// handsOver ends the leader and reports whether it could hand over in time. It
// starts it again.
func handsOver(t *testing.T, c *cluster, prefix string) bool {
	t.Helper()
	leader := c.leader()
	term := mustStatus(t, leader).Term
	l := startLoad(prefix, 4, addresses(c.others(leader)), nil)
	defer l.end()
	l.awaitProgress(t, 50)
	leader.signal(syscall.SIGTERM)
	if code := leader.exitCode(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	said := leader.output.String()
	l.awaitProgress(t, 50)
	l.end()
	inTime := strings.Contains(said, "leadership was handed over")
	if !inTime && !strings.Contains(said, "leadership could not be handed over") {
		t.Error("leadership was not handed over, and the log does not say why")
	}
	refusals := 0
	for _, a := range l.appenders {
		refusals += a.refusals
	}
	if n := l.unknown(); n > 0 && inTime {
		t.Errorf("%d appends have an unknown outcome", n)
	}
	t.Logf("%d of %d appends were refused once with 503 and done then", refusals, l.acknowledged())
	for _, s := range c.others(leader) {
		l.verify(t, s)
		if status := mustStatus(t, s); status.Term != term+1 && inTime {
			t.Errorf("%s is in term %d after %d: it took more than one election", s.id, status.Term, term)
		}
	}
	leader.start()
	leader.awaitServing()
	l.verify(t, leader)
	return inTime
}

// Goal: followers come and go by SIGTERM without an election.
func TestSigtermOfAFollower(t *testing.T) {
	c := startCluster(t, 3)
	leader := c.leader()
	term := mustStatus(t, leader).Term
	l := startLoad("a", 2, []string{leader.http}, nil)
	defer l.end()
	for _, s := range c.others(leader) {
		l.awaitProgress(t, 20)
		s.signal(syscall.SIGTERM)
		if code := s.exitCode(patience); code != 0 {
			t.Errorf("%s: exit code %d", s.id, code)
		}
		s.start()
		s.awaitServing()
	}
	l.end()
	if n := l.unknown(); n > 0 {
		t.Errorf("%d appends have an unknown outcome", n)
	}
	if status := mustStatus(t, leader); status.Term != term || status.Leader != leader.id {
		t.Errorf("leader %s in term %d became %s in term %d", leader.id, term, status.Leader, status.Term)
	}
}

func mustStatus(t *testing.T, s *server) (status struct {
	Term    uint64
	Leader  string
	Applied uint64
}) {
	t.Helper()
	got, err := s.status()
	if err != nil {
		t.Fatal(err)
	}
	status.Term, status.Leader, status.Applied = got.Term, got.Leader, got.Applied
	return status
}

// Goal: a node of another cluster can do nothing here, not even raise a term.
// Method: start the third node under another cluster id, with the right
// addresses; the others must refuse it by name and go on in their term.
func TestNodeOfAnotherClusterIsRefused(t *testing.T) {
	c := newCluster(t, 3)
	stranger, ours := c.nodes[2], c.nodes[:2]
	for _, s := range ours {
		s.start()
	}
	for _, s := range ours {
		s.awaitServing()
	}
	term := mustStatus(t, ours[0]).Term
	stranger.arguments = append(stranger.arguments, "--cluster-id", "elsewhere")
	stranger.start()
	stranger.says("refuses us", patience)
	for _, s := range ours {
		s.says("elsewhere", patience)
		s.must(201, "PUT", "/v1/kv/"+s.id, "v")
	}
	if status := mustStatus(t, ours[0]); status.Term != term {
		t.Errorf("the term rose from %d to %d", term, status.Term)
	}
	if status := mustStatus(t, stranger); status.Leader != "" || status.Applied != 0 {
		t.Errorf("the stranger follows %q and has applied %d", status.Leader, status.Applied)
	}
}

// Goal: keys and values come back as they were sent, whatever bytes they hold.
// Method: each of the 256 one-byte keys and some awkward ones by one node,
// read by another; a value of the longest length there is; one byte more.
func TestAllBytesAndTheLongestValue(t *testing.T) {
	c := startCluster(t, 3)
	keys := []string{"a/b", "a//b", "//", "..", "../x", "a/", "%2F", "%%", "a b+c", "ключ", "\xff\xfe/\x00", strings.Repeat("k", 1024)}
	for b := range 256 {
		keys = append(keys, string([]byte{byte(b)}))
	}
	writer, reader := c.nodes[0], c.nodes[1]
	for i, key := range keys {
		writer.must(201, "PUT", "/v1/kv/"+url.PathEscape(key), fmt.Sprint(i))
	}
	for i, key := range keys {
		if got := reader.must(200, "GET", "/v1/kv/"+url.PathEscape(key), ""); got != fmt.Sprint(i) {
			t.Errorf("key %q holds %q, not %d", key, got, i)
		}
	}
	if status, err := reader.status(); err != nil || status.Store.Keys != len(keys) {
		t.Errorf("%d keys in the store, %v; want %d", status.Store.Keys, err, len(keys))
	}
	var all strings.Builder
	for i := range 1 << 20 {
		all.WriteByte(byte(i ^ i>>8))
	}
	for _, s := range c.nodes {
		s.must(201, "PUT", "/v1/kv/long-by-"+s.id, all.String())
		s.must(413, "PUT", "/v1/kv/too-long", all.String()+"x")
	}
	for _, s := range c.nodes {
		if got := reader.must(200, "GET", "/v1/kv/long-by-"+s.id, ""); got != all.String() {
			t.Errorf("the value written by %s came back with %d bytes", s.id, len(got))
		}
	}
	reader.must(404, "GET", "/v1/kv/too-long", "")
}

// Goal: the settings of a file and of the environment reach the node.
func TestSettingsFromFileAndEnvironment(t *testing.T) {
	c := newCluster(t, 1)
	s := c.nodes[0]
	_, peer, _ := strings.Cut(c.peers, "=")
	file := writeFile(t, fmt.Sprintf("id = \"n1\"\nhttp = %q\nmax-value-bytes = 99\n[cluster]\nn1 = %q\n", s.http, peer))
	s.process = launch(t, s.id, []string{"RAFTKV_DATA_DIR=" + s.dir, "RAFTKV_MAX_VALUE_BYTES=10"}, "serve", "--config", file)
	s.awaitServing()
	s.must(201, "PUT", "/v1/kv/k", strings.Repeat("x", 10))
	s.must(413, "PUT", "/v1/kv/k", strings.Repeat("x", 11))
}

// Goal: a request that is under way when the node is told to end is finished,
// and only then does the process end, with code 0.
// Method: half a request, SIGTERM, the other half.
func TestRequestsUnderWayAreFinished(t *testing.T) {
	c := startCluster(t, 1)
	s := c.nodes[0]
	half := beginRequest(t, s)
	s.signal(syscall.SIGTERM)
	s.says("msg=ending", patience)
	if _, _, _, err := s.ask("GET", "/livez", ""); err == nil {
		t.Error("a new connection was taken")
	}
	if answer := half.finish(); answer != 201 {
		t.Errorf("status %d", answer)
	}
	if code := s.exitCode(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.start()
	s.awaitServing()
	if got := s.must(200, "GET", half.path, ""); got != half.body {
		t.Errorf("read %q", got)
	}
}

// Goal: the second signal ends a process that is still ending. Method: a request
// that never completes holds the end up; then SIGTERM again.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	c := startCluster(t, 1)
	s := c.nodes[0]
	beginRequest(t, s)
	s.signal(syscall.SIGTERM)
	s.says("msg=ending", patience)
	if s.hasEnded() {
		t.Fatal("ended though a request was under way")
	}
	s.signal(syscall.SIGTERM)
	if code := s.exitCode(patience); code == 0 {
		t.Error("exit code 0 though it did not end in order")
	}
	if strings.Contains(s.output.String(), "some requests did not finish in time") {
		t.Error("it waited for the request")
	}
}

// Goal: a node's metrics are one exposition without contradictions: no two parts
// of it show the same series.
func TestANodeShowsItsMetrics(t *testing.T) {
	c := startCluster(t, 1)
	text := c.nodes[0].must(200, "GET", "/metrics", "")
	for _, family := range []string{"raft_term", "wal_fsync_duration_seconds", "store_keys", "integrity_diverged", "http_requests_in_flight"} {
		if n := strings.Count(text, "# TYPE raftkv_"+family+" "); n != 1 {
			t.Errorf("raftkv_%s is shown %d times", family, n)
		}
	}
}
