package status

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

func leading(node string, term uint64) api.Status {
	return api.Status{Node: node, Cluster: "c1", Role: "leader", Leader: node, Term: term}
}

// answered returns three nodes in order: n1 leads.
func answered() []Answer {
	var all []Answer
	for i := range 3 {
		s := leading("n1", 3)
		s.Node, s.Log.Last, s.Commit, s.Applied = fmt.Sprintf("n%d", i+1), 10, 10, 10
		if i > 0 {
			s.Role = "follower"
		} else {
			s.Peers = []api.Peer{{Node: "n2", State: "pipeline"}, {Node: "n3", State: "pipeline", LastContactMs: 40}}
		}
		s.Integrity.Result = "ok"
		all = append(all, Answer{Endpoint: fmt.Sprintf("10.0.0.1%d:8701", i), Status: &s})
	}
	return all
}

// Goal: status never calls in order what no cluster in order shows, and its exit
// code says so.
func TestStatusIsNotDeceived(t *testing.T) {
	mixed := answered()
	mixed[2].Cluster = "dev"
	if heading := (Drawing{}).heading(Judge(mixed), time.Now()); !strings.HasPrefix(heading, "2 clusters · 3 of 3 answer") {
		t.Errorf("over two clusters stands %q", heading)
	}
	for name, c := range map[string]struct {
		change func(all []Answer)
		code   int
		says   string
	}{
		"in order":                   {func([]Answer) {}, exit.Done, ""},
		"two clusters by name":       {func(all []Answer) { all[2].Cluster = "dev" }, exit.Usage, "2 clusters: c1 at 10.0.0.10:8701, 10.0.0.11:8701; dev at 10.0.0.12:8701"},
		"two clusters by uid":        {func(all []Answer) { all[0].UID, all[1].UID, all[2].UID = "aa", "aa", "bb" }, exit.Usage, "c1 (uid bb) at 10.0.0.12:8701"},
		"a uid that one knows":       {func(all []Answer) { all[0].UID = "aa" }, exit.Done, ""},
		"two leaders of one term":    {func(all []Answer) { all[2].Role, all[2].Leader = "leader", "n3" }, exit.Failed, "two nodes lead: n1 leads in term 3, n3 leads in term 3"},
		"two leaders of two terms":   {func(all []Answer) { all[2].Role, all[2].Leader, all[2].Term = "leader", "n3", 5 }, exit.Failed, "n3 leads in term 5"},
		"two processes of one name":  {func(all []Answer) { all[2].Node, all[2].Process.UptimeSeconds = "n2", 500 }, exit.Failed, "two processes answer as n2"},
		"one process, two addresses": {func(all []Answer) { all[2].Node = "n2" }, exit.Done, ""},
		"a node ahead of its leader": {func(all []Answer) { all[1].Commit = 1209 }, exit.Failed, "n2 has committed up to index 1209 and its leader n1 only up to 10"},
		"nobody leads": {func(all []Answer) {
			all[0] = Answer{Endpoint: all[0].Endpoint, Error: "no answer: connection refused"}
			all[1] = Answer{Endpoint: all[1].Endpoint, Error: "no answer: connection refused"}
			all[2].Leader, all[2].Role = "", "pre-candidate"
		}, exit.Unavailable, "nobody leads: 1 of 3 nodes answers, a majority is 2"},
		"no node answers": {func(all []Answer) {
			for i := range all {
				all[i] = Answer{Endpoint: all[i].Endpoint, Error: "no answer"}
			}
		}, exit.Unavailable, "no node answers"},
	} {
		all := answered()
		c.change(all)
		v := Judge(all)
		picture := strings.Join(Drawing{Columns: 200}.Lines(all, v, time.Now()), "\n")
		if v.Code != c.code || c.code != exit.Done && !strings.Contains(v.Text(), c.says) || !strings.Contains(picture, c.says) {
			t.Errorf("%s: code %d, %q, want %d, %q:\n%s", name, v.Code, v.Text(), c.code, c.says, picture)
		}
	}
}

// Goal: the table fits into the window whatever the nodes say, keeps what matters
// most, and shows all with --wide; colours only where they are wanted.
func TestTheStatusFitsTheWindow(t *testing.T) {
	all := answered()
	all[1].Applied, all[1].Load.Writes.PerSecond, all[1].Disk.FsyncP99Seconds = 0, 123456, 1.3
	all = append(all, Answer{Endpoint: "10.0.0.13:8701", Error: "no answer: " + strings.Repeat("x", 200)})
	for _, columns := range []int{60, 80, 100, 160} {
		lines := Drawing{Columns: columns}.Lines(all, Judge(all), time.Now())
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
	wide := strings.Join(Drawing{Columns: 80, Wide: true}.Lines(all, Judge(all), time.Now()), "\n")
	for _, c := range append(append([]column{}, place...), work...) {
		if !strings.Contains(wide, c.title) {
			t.Errorf("--wide does not show %s", c.title)
		}
	}
	coloured := strings.Join(Drawing{Columns: 80, Colour: true}.Lines(all, Judge(all), time.Now()), "\n")
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
		return Drawing{Lags: lags}.rows(all, Judge(all))[1].grows
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
