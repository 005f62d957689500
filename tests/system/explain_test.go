package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/explain"
	"raftkv/tests/cluster"
)

// explained runs raftkv explain on a cluster, and returns what it prints.
func explained(t *testing.T, c *cluster.Cluster, arguments ...string) string {
	t.Helper()
	arguments = append([]string{"explain", "--endpoints", strings.Join(cluster.Addresses(c.Nodes), ",")}, arguments...)
	p := cluster.Launch(t, "explain", nil, arguments...)
	if code := p.ExitCode(cluster.Patience); code != 0 {
		t.Fatalf("explain ends with code %d: %s", code, p.Output.String())
	}
	return p.Output.String()
}

// story returns the first story of a kind that explain tells.
func story(t *testing.T, c *cluster.Cluster, kind explain.Kind, arguments ...string) (found explain.Story) {
	t.Helper()
	cluster.Eventually(t, cluster.Patience, func() error {
		told := explained(t, c, append([]string{"--json", "--since", "5m"}, arguments...)...)
		for line := range strings.Lines(told) {
			var s explain.Story
			if json.Unmarshal([]byte(line), &s) == nil && s.Kind == kind {
				found = s
				return nil
			}
		}
		return fmt.Errorf("no story of kind %s is told: %s", kind, told)
	})
	return found
}

// leaderOf returns the node of some that leads.
func leaderOf(t *testing.T, nodes []*cluster.Node) (leader *cluster.Node) {
	t.Helper()
	cluster.Eventually(t, cluster.Patience, func() error {
		for _, n := range nodes {
			if s, err := n.Status(); err == nil && s.Role == "leader" {
				leader = n
				return nil
			}
		}
		return errors.New("none of the nodes that live leads")
	})
	return leader
}

// writer puts without a pause by way of the nodes it is given, and remembers when it
// was answered.
type writer struct {
	mu    sync.Mutex
	acks  []time.Time
	ended chan struct{}
	done  sync.WaitGroup
}

func startWriter(nodes []*cluster.Node) *writer {
	w := &writer{ended: make(chan struct{})}
	for _, n := range nodes {
		w.done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-w.ended:
					return
				default:
				}
				if status, _, _, err := n.Ask("PUT", fmt.Sprintf("/v1/kv/w%d", i%100), "x"); err == nil && status < 300 {
					w.mu.Lock()
					w.acks = append(w.acks, time.Now())
					w.mu.Unlock()
				}
			}
		})
	}
	return w
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acks)
}

// end ends the writer and returns the longest time without an answer.
func (w *writer) end() (gap time.Duration) {
	close(w.ended)
	w.done.Wait()
	slices.SortFunc(w.acks, time.Time.Compare)
	for i := 1; i < len(w.acks); i++ {
		gap = max(gap, w.acks[i].Sub(w.acks[i-1]))
	}
	return gap
}

// Goal: after kill -9 of the leader, raftkv explain names it, its successor and the gap
// in writes, from the rings of the nodes that live and the flight files of the dead one.
// What the dead node recorded in its last second is in its files, and is there when it is
// started again.
// Method: three processes and a client of the others that writes without a pause; the gap
// that is told may be no longer than the one that the client felt.
func TestAKilledLeaderIsExplained(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	killed := c.Leader()
	w := startWriter(c.Others(killed))
	awaitWrites := func(more int) {
		t.Helper()
		from := w.count()
		cluster.Eventually(t, cluster.Patience, func() error {
			if n := w.count() - from; n < more {
				return fmt.Errorf("%d of %d writes were done", n, more)
			}
			return nil
		})
	}
	awaitWrites(200)
	killed.Kill()
	awaitWrites(200)
	s := story(t, c, explain.LeaderEnded, killed.Dir)
	gap := w.end()
	next := leaderOf(t, c.Others(killed))
	told := strings.Join(s.Sentences, " ")
	t.Logf("felt was a gap of %v; told was: %s", gap, told)
	if !slices.Equal(s.Culprits, []string{killed.ID}) || s.Certainty != explain.Certain {
		t.Errorf("the culprits are %v, %s; %s was killed", s.Culprits, s.Certainty, killed.ID)
	}
	stood := regexp.MustCompile(`(n\d) stood [\d.]+ m?s later, (n\d) voted for it, and it leads term \d+\.`).FindStringSubmatch(told)
	if stood == nil || stood[1] != next.ID || stood[2] == killed.ID || stood[2] == next.ID {
		t.Errorf("%s leads now; told was %q", next.ID, told)
	}
	if !strings.Contains(told, killed.ID+"'s process ended: its connections were closed") || !strings.Contains(told, "no write for") {
		t.Errorf("told was %q", told)
	}
	if felt := time.Duration(s.Effect.NoWritesFor); felt <= 0 || felt > gap+gap/10+10*time.Millisecond {
		t.Errorf("told was a gap of %v, and the client felt one of %v", felt, gap)
	}
	ofDead := explained(t, c, "--events", "--json", "--since", "5m", killed.Dir)
	if !strings.Contains(ofDead, fmt.Sprintf(`"node":%q,"boot":1,"seq":1,"kind":"started"`, killed.ID)) {
		t.Errorf("the events of the dead node are not among\n%s", ofDead)
	}
	for line := range strings.Lines(explained(t, c, "--since", "5m", killed.Dir)) {
		if len([]rune(line)) > 81 {
			t.Errorf("a line is too long for a terminal: %s", line)
		}
	}
	killed.Start()
	killed.AwaitServing()
	if again := story(t, c, explain.LeaderEnded); !slices.Equal(again.Culprits, s.Culprits) || again.Certainty != explain.Certain || again.Effect != s.Effect {
		t.Errorf("when the node is back, told is %+v, and was %+v", again, s)
	}
}

// Goal: a leader that is stopped and goes on is told as stopped, for as long as it was,
// and not as ended or cut off; and no story that is certain names another node.
func TestAStoppedLeaderIsExplained(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3)
	stopped := c.Leader()
	begun := time.Now()
	stopped.Signal(syscall.SIGSTOP)
	leaderOf(t, c.Others(stopped))
	least := time.Since(begun)
	stopped.Signal(syscall.SIGCONT)
	cluster.Eventually(t, cluster.Patience, func() error { // the node looks four times a second whether it was stopped
		s := story(t, c, explain.LeaderStopped)
		told := strings.Join(s.Sentences, " ")
		if !slices.Equal(s.Culprits, []string{stopped.ID}) || s.Certainty != explain.Certain {
			t.Fatalf("%s was stopped for %v or more; told was, %s: %s", stopped.ID, least, s.Certainty, told)
		}
		if !strings.Contains(told, stopped.ID+" was stopped for") || !strings.Contains(told, "by a signal") {
			return fmt.Errorf("told was: %s", told)
		}
		return nil
	})
}

// Goal: while nobody answers, explain says so and ends with code 3.
func TestNobodyCanExplain(t *testing.T) {
	t.Parallel()
	p := cluster.Launch(t, "explain", nil, "explain", "--endpoints", cluster.FreePorts(t, 1)[0])
	if code := p.ExitCode(cluster.Patience); code != 3 || !strings.Contains(p.Output.String(), "nobody can tell what happened") {
		t.Errorf("code %d: %s", code, p.Output.String())
	}
}
