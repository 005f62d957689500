package campaign

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

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
	p := &prometheus{t: t, address: cluster.FreePorts(t, 1)[0]}
	command := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", p.address)
	output := &cluster.Capture{}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("output of prometheus:\n%s", output.Tail(2000))
		}
	})
	cluster.Eventually(t, cluster.Patience, func() error {
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
	cluster.Eventually(p.t, cluster.Patience, func() error {
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
	cluster.Eventually(p.t, cluster.Patience, func() error {
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
	cluster.Eventually(p.t, alertLimit, func() error {
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
