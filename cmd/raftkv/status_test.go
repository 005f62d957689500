package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"raftkv/client"
	"raftkv/kvserver/api"
)

// answered returns three nodes in order: n1 leads.
func answered() []nodeStatus {
	var all []nodeStatus
	for i := range 3 {
		s := leading("n1", 3)
		s.Node, s.Log.Last, s.Commit, s.Applied = fmt.Sprintf("n%d", i+1), 10, 10, 10
		if i > 0 {
			s.Role = "follower"
		} else {
			s.Peers = []api.Peer{{Node: "n2", State: "pipeline"}, {Node: "n3", State: "pipeline", LastContactMs: 40}}
		}
		s.Integrity.Result = "ok"
		all = append(all, nodeStatus{Endpoint: fmt.Sprintf("10.0.0.1%d:8701", i), Status: &s})
	}
	return all
}

// Goal: status never calls in order what no cluster in order shows, and its exit
// code says so.
func TestStatusIsNotDeceived(t *testing.T) {
	mixed := answered()
	mixed[2].Cluster = "dev"
	if heading := (drawing{}).heading(judge(mixed), time.Now()); !strings.HasPrefix(heading, "2 clusters · 3 of 3 answer") {
		t.Errorf("over two clusters stands %q", heading)
	}
	for name, c := range map[string]struct {
		change func(all []nodeStatus)
		code   int
		says   string
	}{
		"in order":                   {func([]nodeStatus) {}, exitDone, ""},
		"two clusters by name":       {func(all []nodeStatus) { all[2].Cluster = "dev" }, exitUsage, "2 clusters: c1 at 10.0.0.10:8701, 10.0.0.11:8701; dev at 10.0.0.12:8701"},
		"two clusters by uid":        {func(all []nodeStatus) { all[0].UID, all[1].UID, all[2].UID = "aa", "aa", "bb" }, exitUsage, "c1 (uid bb) at 10.0.0.12:8701"},
		"a uid that one knows":       {func(all []nodeStatus) { all[0].UID = "aa" }, exitDone, ""},
		"two leaders of one term":    {func(all []nodeStatus) { all[2].Role, all[2].Leader = "leader", "n3" }, exitFailed, "two nodes lead: n1 leads in term 3, n3 leads in term 3"},
		"two leaders of two terms":   {func(all []nodeStatus) { all[2].Role, all[2].Leader, all[2].Term = "leader", "n3", 5 }, exitFailed, "n3 leads in term 5"},
		"two processes of one name":  {func(all []nodeStatus) { all[2].Node, all[2].Process.UptimeSeconds = "n2", 500 }, exitFailed, "two processes answer as n2"},
		"one process, two addresses": {func(all []nodeStatus) { all[2].Node = "n2" }, exitDone, ""},
		"a node ahead of its leader": {func(all []nodeStatus) { all[1].Commit = 1209 }, exitFailed, "n2 has committed up to index 1209 and its leader n1 only up to 10"},
		"nobody leads": {func(all []nodeStatus) {
			all[0] = nodeStatus{Endpoint: all[0].Endpoint, Error: "no answer: connection refused"}
			all[1] = nodeStatus{Endpoint: all[1].Endpoint, Error: "no answer: connection refused"}
			all[2].Leader, all[2].Role = "", "pre-candidate"
		}, exitUnavailable, "nobody leads: 1 of 3 nodes answers, a majority is 2"},
		"no node answers": {func(all []nodeStatus) {
			for i := range all {
				all[i] = nodeStatus{Endpoint: all[i].Endpoint, Error: "no answer"}
			}
		}, exitUnavailable, "no node answers"},
	} {
		all := answered()
		c.change(all)
		v := judge(all)
		picture := strings.Join(drawing{columns: 200}.lines(all, v, time.Now()), "\n")
		if v.code != c.code || c.code != exitDone && !strings.Contains(v.text(), c.says) || !strings.Contains(picture, c.says) {
			t.Errorf("%s: code %d, %q, want %d, %q:\n%s", name, v.code, v.text(), c.code, c.says, picture)
		}
	}
}

// Goal: a follower that is only asked later than its leader is not called ahead of
// it; one that stays ahead is. Method: two servers that answer as nodes; the
// leader's commit index rises with each answer, or does not.
func TestAFollowerThatWasAskedLaterIsNotAhead(t *testing.T) {
	for _, rises := range []bool{true, false} {
		var asked atomic.Uint64
		leader := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) {
			s := leading("n1", 3)
			s.Commit = 10
			if n := asked.Add(1); rises {
				s.Commit += 100 * (n - 1)
			}
			json.NewEncoder(w).Encode(s)
		})
		follower := leading("n1", 3)
		follower.Node, follower.Role, follower.Commit = "n2", "follower", 20
		var out, said strings.Builder
		code := run([]string{"status", "--endpoints", leader + "," + fakeNode(t, follower, nil)}, &out, &said)
		if want := map[bool]int{true: exitDone, false: exitFailed}[rises]; code != want || rises == strings.Contains(out.String(), "only up to 10") {
			t.Errorf("the leader's index rises %v: code %d, want %d: %s%s", rises, code, want, out.String(), said.String())
		}
	}
}

// Goal: what is no status is not taken for one: an error, another server's page,
// an answer that sends elsewhere. Every command that asks for one says what came.
func TestOnlyAStatusIsAStatus(t *testing.T) {
	problem := `{"type":"about:blank","title":"x","status":403,"detail":"this node does not serve the host; list it in --allowed-hosts","code":"forbidden","node":"n1","leader":"n1","term":3}`
	real := `{"node":"n1","cluster":"c1","role":"leader","leader":"n1","term":3}`
	for name, c := range map[string]struct {
		status     int
		body, says string
	}{
		"a refusal":              {403, problem, "--allowed-hosts"},
		"no room":                {429, strings.ReplaceAll(strings.ReplaceAll(problem, "forbidden", "overloaded"), "list it in --allowed-hosts", "too many connections"), "too many connections"},
		"a status with an error": {503, real, "not like a node"},
		"a status elsewhere":     {302, real, "not like a node"},
		"a web server":           {200, "<html>hello</html>", "not like a node"},
		"other JSON":             {200, `{"node":"n1","status":"green"}`, "not like a node"},
		"an unknown role":        {200, `{"node":"n1","cluster":"c1","role":"master"}`, "not like a node"},
	} {
		endpoint := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		for _, args := range [][]string{{"status"}, {"leader"}, {"health"}, {"snapshot", "save", t.TempDir() + "/x"}} {
			var out, said strings.Builder
			code := run(append(args, "--endpoints", endpoint), &out, &said)
			if code != exitUnavailable || !strings.Contains(out.String()+said.String(), c.says) && args[0] != "leader" {
				t.Errorf("%s, %q: code %d: %s%s", name, args, code, out.String(), said.String())
			}
		}
	}
}

// Goal: the table fits into the window whatever the nodes say, keeps what matters
// most, and shows all with --wide; colours only where they are wanted.
func TestTheStatusFitsTheWindow(t *testing.T) {
	all := answered()
	all[1].Applied, all[1].Load.Writes.PerSecond, all[1].Disk.FsyncP99Seconds = 0, 123456, 1.3
	all = append(all, nodeStatus{Endpoint: "10.0.0.13:8701", Error: "no answer: " + strings.Repeat("x", 200)})
	for _, columns := range []int{60, 80, 100, 160} {
		lines := drawing{columns: columns}.lines(all, judge(all), time.Now())
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > columns {
				t.Errorf("%d columns of %d: %s", n, columns, line)
			}
		}
		text := strings.Join(lines, "\n")
		for _, part := range []string{"cluster c1 · n1 leads term 3 · 3 of 4 answer · ", "NODE  ENDPOINT", "LAG", "FSYNC"} {
			if !strings.Contains(text, part) {
				t.Errorf("in %d columns it does not say %q:\n%s", columns, part, text)
			}
		}
		if strings.Contains(text, "SNAPSHOT") || strings.Contains(text, "GAVE UP") || strings.Contains(text, "\x1b") {
			t.Errorf("in %d columns it shows what is idle, or colours:\n%s", columns, text)
		}
	}
	wide := strings.Join(drawing{columns: 80, wide: true}.lines(all, judge(all), time.Now()), "\n")
	for _, c := range append(append([]column{}, place...), work...) {
		if !strings.Contains(wide, c.title) {
			t.Errorf("--wide does not show %s", c.title)
		}
	}
	coloured := strings.Join(drawing{columns: 80, colour: true}.lines(all, judge(all), time.Now()), "\n")
	if !strings.Contains(coloured, "\x1b[1mn1\x1b[0m") || !strings.Contains(coloured, "\x1b[1;31m?") {
		t.Errorf("the leader or the trouble does not stand out:\n%q", coloured)
	}
}

// Goal: a lag that grows from one picture to the next stands out.
func TestAGrowingLagStandsOut(t *testing.T) {
	lags := map[string]uint64{}
	grows := func(applied uint64) bool {
		all := answered()
		all[1].Applied = applied
		return drawing{lags: lags}.rows(all, judge(all))[1].grows
	}
	if grows(8) || !grows(7) || grows(7) || grows(9) {
		t.Error("a lag of 2, 3, 3 and 1 was judged wrongly")
	}
}

// Goal: ranks are unique where they decide, so that the choice of columns does not
// depend on their order.
func TestColumnsHaveRanks(t *testing.T) {
	seen := map[int]string{}
	for _, c := range append(append([]column{}, place...), work...) {
		if other := seen[c.rank]; other != "" && c.rank > 0 {
			t.Errorf("%s and %s have the rank %d", c.title, other, c.rank)
		}
		seen[c.rank] = c.title
		if c.rank >= len(place)+len(work) {
			t.Errorf("%s is never chosen", c.title)
		}
	}
}

// Goal: a terminal is told within a second and a bit what is waited for, in one
// line that fits, and no more once a server has answered.
func TestWhatIsWaitedFor(t *testing.T) {
	w := &waiting{begun: time.Now(), last: map[string]heardRefusal{}}
	for i := range 3 {
		w.note(client.Refusal{Address: fmt.Sprintf("127.0.0.1:870%d", i+1), Reason: "refuses connections"})
	}
	now := time.Now()
	if line := w.line(w.begun.Add(waitingPatience/2), 80); line != "" {
		t.Errorf("too early: %q", line)
	}
	w.begun = now.Add(-waitingPatience)
	const want = "waiting for a server: 127.0.0.1:8701, :8702, :8703 refuse connections (Ctrl-C)"
	if line := w.line(now, 80); line != want {
		t.Errorf("%q", line)
	}
	if line := w.line(now, 50); utf8.RuneCountInString(line) >= 50 || !strings.HasSuffix(line, " (Ctrl-C)") {
		t.Errorf("%q", line)
	}
	if line := w.line(now.Add(waitingMemory), 80); line != "" {
		t.Errorf("after a while: %q", line)
	}
}

// Goal: a command to which no server answers says in one sentence which endpoints,
// what each said, and what to do; a name that nobody knows is not waited for.
func TestNobodyAnswers(t *testing.T) {
	one, two := nowhere(t), nowhere(t)
	for _, args := range [][]string{{"get", "k"}, {"put", "k", "v"}, {"list"}, {"bench"}, {"verify"}, {"delete", "--prefix", "k", "--yes"}} {
		var said strings.Builder
		code := run(append(args, "--endpoints", one+","+two, "--timeout", "1s"), io.Discard, &said)
		text := said.String()
		if code != exitUnavailable || !strings.HasPrefix(text, "raftkv: no server answered within 1s: 127.0.0.1:") || !strings.Contains(text, "refuse connections. Does a cluster run there?") || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: code %d, said %q", args, code, text)
		}
	}
	begun := time.Now()
	var said strings.Builder
	code := run([]string{"get", "k", "--endpoints", "nosuchhost.invalid:8701", "--timeout", "1h"}, io.Discard, &said)
	if code != exitUnavailable || !strings.Contains(said.String(), "nosuchhost.invalid:8701") || time.Since(begun) > 10*time.Minute {
		t.Errorf("an unknown name: code %d, said %q", code, said.String())
	}
}

// Goal: the variables of clients are read where no flag is given, and refused with
// their name.
func TestClientVariables(t *testing.T) {
	t.Setenv("RAFTKV_TIMEOUT", "60ms")
	t.Setenv("RAFTKV_ENDPOINTS", nowhere(t))
	var said strings.Builder
	if code := run([]string{"get", "k"}, io.Discard, &said); code != exitUnavailable || !strings.Contains(said.String(), "within 60ms") {
		t.Errorf("code %d, said %q", code, said.String())
	}
	t.Setenv("RAFTKV_JSON", "true")
	var out strings.Builder
	if run([]string{"status"}, &out, io.Discard); !strings.HasPrefix(out.String(), "{") {
		t.Errorf("printed %q", out.String())
	}
	t.Setenv("RAFTKV_TIMEOUT", "5")
	said.Reset()
	if code := run([]string{"get", "k"}, io.Discard, &said); code != exitUsage || !strings.Contains(said.String(), "RAFTKV_TIMEOUT") {
		t.Errorf("code %d, said %q", code, said.String())
	}
}

// Goal: an endpoint list that is given and empty, as by a shell variable that is
// not set, is wrong usage. No command takes the default ports for it.
func TestAnEmptyEndpointListIsRefused(t *testing.T) {
	t.Setenv("RAFTKV_ENDPOINTS", nowhere(t))
	for _, args := range [][]string{{"get", "k"}, {"put", "k", "v"}, {"status"}, {"health"}, {"bench"}, {"snapshot", "save", t.TempDir() + "/x"}} {
		var said strings.Builder
		code := run(append(args, "--endpoints", "", "--timeout", "1s"), io.Discard, &said)
		if code != exitUsage || !strings.Contains(said.String(), "--endpoints is empty") {
			t.Errorf("%q: code %d, said %q", args, code, said.String())
		}
	}
}

// Goal: an empty --data-dir of dev, as by a shell variable that is not set, is
// wrong usage and not the directory that the user happens to be in.
func TestDevRefusesAnEmptyDataDir(t *testing.T) {
	t.Chdir(t.TempDir())
	var said strings.Builder
	code := run([]string{"dev", "--data-dir", "", "--nodes", "8"}, io.Discard, &said)
	if code != exitUsage || !strings.Contains(said.String(), "--data-dir is empty") {
		t.Errorf("code %d, said %q", code, said.String())
	}
}

// Goal: delete --prefix with an empty prefix, as by a shell variable that is not
// set, does not remove every key unasked.
func TestDeleteRefusesAnEmptyPrefixUnasked(t *testing.T) {
	var said strings.Builder
	code := run([]string{"delete", "--prefix", "", "--yes", "--endpoints", nowhere(t), "--timeout", "1s"}, io.Discard, &said)
	if code != exitUsage || !strings.Contains(said.String(), "--prefix is empty") {
		t.Errorf("code %d, said %q", code, said.String())
	}
}

// Goal: health over nodes of two clusters is wrong usage, as status and leader are,
// even if every node is ready; its lines are aligned.
func TestHealthSeesTwoClusters(t *testing.T) {
	node := func(name, cluster, uid string) string {
		return fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/status" {
				fmt.Fprintf(w, `{"node":%q,"cluster":%q,"uid":%q,"role":"leader","leader":%q,"term":3}`, name, cluster, uid, name)
			}
		})
	}
	first := node("n1", "c1", "aa")
	for name, c := range map[string]struct {
		second, says string
		code         int
	}{
		"one cluster":    {node("node-2", "c1", "aa"), "", exitDone},
		"another name":   {node("node-2", "c2", "bb"), "these endpoints belong to 2 clusters: c1 at " + first + "; c2 at ", exitUsage},
		"another uid":    {node("node-2", "c1", "bb"), "c1 (uid bb) at ", exitUsage},
		"no uid is said": {node("node-2", "c1", ""), "", exitDone},
	} {
		var out, said strings.Builder
		code := run([]string{"health", "--endpoints", first + "," + c.second}, &out, &said)
		if code != c.code || !strings.Contains(said.String(), c.says) || strings.Count(out.String(), "ready\n") != 2 {
			t.Errorf("%s: code %d: %s%s", name, code, out.String(), said.String())
		}
		lines := strings.Split(out.String(), "\n")
		if strings.Index(lines[0], "127.") != strings.Index(lines[1], "127.") || strings.Index(lines[0], "ready") != strings.Index(lines[1], "ready") {
			t.Errorf("%s: not aligned:\n%s", name, out.String())
		}
	}
}

// Goal: every command that talks to a cluster refuses the same endpoints, in
// words, before it asks anybody.
func TestAllCommandsReadEndpointsInOneWay(t *testing.T) {
	for _, bad := range []string{"https://h:1", "ftp://h:1", "h", ",", "u:p@h:1", "h:99999", "h:0", "h:1/v1", "::1:8701"} {
		for _, args := range [][]string{
			{"get", "k"}, {"put", "k", "v"}, {"append", "k", "v"}, {"delete", "k"}, {"list"}, {"status"}, {"leader"}, {"health"}, {"export"}, {"import", "-"},
			{"bench"}, {"bench", "--http"}, {"verify"}, {"snapshot", "save", t.TempDir() + "/x"},
		} {
			var said strings.Builder
			if code := run(append(args, "--endpoints", bad), io.Discard, &said); code != exitUsage || !strings.Contains(said.String(), "endpoint") {
				t.Errorf("%q with %s: code %d, said %q", args, bad, code, said.String())
			}
		}
	}
}
