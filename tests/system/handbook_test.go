package system

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

func handbook(t *testing.T) string {
	t.Helper()
	return page(t, "operations.md")
}

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	shownFamily      = regexp.MustCompile(`(?m)^# TYPE (raftkv_\S+) (\S+)`)
	documentedFamily = regexp.MustCompile("(?m)^\\| `(raftkv_[a-z0-9_]+)` \\| ([a-z]+) \\|")
)

// shownLater are shown by a node that has refused a peer, has a learner, or has had
// identities to judge, which none here has.
var shownLater = []string{
	"raftkv_peer_rejected_total", "raftkv_learner_lag_entries", "raftkv_learner_rounds",
	"raftkv_auth_would_deny_total", "raftkv_identity_limited_total",
}

// Goal: docs/metrics.md lists every metric that nodes show, with its type, and
// none that they do not.
func TestEveryMetricIsInTheHandbook(t *testing.T) {
	t.Parallel()
	documented := map[string]string{}
	for _, m := range documentedFamily.FindAllStringSubmatch(page(t, "metrics.md"), -1) {
		documented[m[1]] = m[2]
	}
	if len(documented) < 35 {
		t.Fatalf("void: %d metrics were found in docs/metrics.md", len(documented))
	}
	c, keys := cluster.New(t, 3), newPKI(t, 3) // some metrics are of TLS
	for _, s := range c.Nodes {
		s.Arguments, s.TLS = keys.flags(s.ID, "require", "require"), keys.trust()
	}
	c.Start()
	for i, s := range c.Nodes {
		s.Must(201, "PUT", fmt.Sprintf("/v1/kv/k%d", i), "v")
		s.Must(200, "GET", "/v1/kv/k0", "")
	}
	cluster.Eventually(t, cluster.Patience, func() error { // some come with the first comparison of states
		shown := map[string]string{}
		for _, s := range c.Nodes {
			for _, m := range shownFamily.FindAllStringSubmatch(s.Must(200, "GET", "/metrics", ""), -1) {
				shown[m[1]] = m[2]
			}
		}
		var wrong []string
		for _, name := range slices.Sorted(maps.Keys(shown)) {
			if documented[name] != shown[name] {
				wrong = append(wrong, fmt.Sprintf("%s is a %s and documented as %q", name, shown[name], documented[name]))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(documented)) {
			if shown[name] == "" && !slices.Contains(shownLater, name) {
				wrong = append(wrong, name+" is documented and not shown")
			}
		}
		if wrong != nil {
			return fmt.Errorf("%s", strings.Join(wrong, "; "))
		}
		return nil
	})
}

var runbook = regexp.MustCompile(`runbook: docs/operations\.md#(\S+)`)

// Goal: every alert leads to a paragraph that is there.
func TestEveryAlertLeadsToARunbook(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "raftkv.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := runbook.FindAllStringSubmatch(string(rules), -1)
	if alerts := strings.Count(string(rules), "- alert: "); alerts == 0 || len(anchors) != alerts {
		t.Fatalf("%d alerts name %d runbooks", alerts, len(anchors))
	}
	headings := map[string]bool{}
	for line := range strings.Lines(handbook(t)) {
		if title, is := strings.CutPrefix(line, "### "); is {
			headings[strings.ToLower(strings.TrimSpace(title))] = true
		}
	}
	for _, a := range anchors {
		if !headings[a[1]] {
			t.Errorf("docs/operations.md has no paragraph %q", a[1])
		}
	}
}
