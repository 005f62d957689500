package system

import (
	"bytes"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"raftkv/tests/cluster"
)

// deploy is where the files for deploying are.
var deploy = filepath.Join("..", "..", "deploy")

// serveFlags are the flags that serve knows.
func serveFlags(t *testing.T) map[string]bool {
	t.Helper()
	help, err := exec.Command(cluster.Program, "serve", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, help)
	}
	flags := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		flags[m[1]] = true
	}
	if !flags["--data-dir"] || flags["--nothing"] {
		t.Fatalf("void: the flags are taken to be %v", flags)
	}
	return flags
}

// composeFile is what the test knows of a compose file.
type composeFile struct {
	Services map[string]struct {
		Image string
		Build struct {
			Context, Dockerfile string
			Args                map[string]string
		}
		Command []string
		Ports   []string
		Volumes []string
	}
	Volumes map[string]any
}

// Goal: the compose file fits the program and the files next to it, for it is
// tried by hand only. Method: its flags are flags of serve, its nodes are those
// of their --cluster and all of them are scraped, what it mounts is there, and
// what it opens is open on loopback only.
func TestTheComposeFileFits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(deploy, "compose")
	var c composeFile
	readYAML(t, filepath.Join(dir, "compose.yml"), &c)
	known := serveFlags(t)
	nodes := map[string]bool{}
	for name, s := range c.Services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s opens %s to everybody", name, port)
			}
		}
		for _, v := range s.Volumes {
			from := strings.Split(v, ":")[0]
			if _, named := c.Volumes[from]; !named && !exists(filepath.Join(dir, from)) {
				t.Errorf("%s mounts %s, which is not there", name, from)
			}
		}
		if s.Build.Context == "" {
			continue
		}
		nodes[name] = true
		root := filepath.Join(dir, s.Build.Context)
		if !exists(filepath.Join(root, "go.mod")) || !exists(filepath.Join(root, s.Build.Dockerfile)) {
			t.Errorf("%s is built of %s in %s, which is not there", name, s.Build.Dockerfile, root)
		}
		// The history of versions is not in the image, so the build is told how it is called.
		recipe, err := os.ReadFile(filepath.Join(root, s.Build.Dockerfile))
		if err != nil || s.Build.Args["VERSION"] != "${VERSION:-}" || !regexp.MustCompile(`(?s)\nARG VERSION=\n.*-X main\.release=\$VERSION`).Match(recipe) {
			t.Errorf("%s does not hand VERSION on to the linker: %v, %s", name, s.Build.Args, recipe)
		}
		given := map[string]string{}
		for i := 1; i+1 < len(s.Command); i += 2 {
			if !known[s.Command[i]] {
				t.Errorf("%s: serve has no flag %s", name, s.Command[i])
			}
			given[s.Command[i]] = s.Command[i+1]
		}
		if s.Command[0] != "serve" || given["--id"] != name || !strings.HasPrefix(given["--data-dir"], "/data/") || !slices.Contains(s.Volumes, name+":/data") {
			t.Errorf("%s runs %v on %v", name, s.Command, s.Volumes)
		}
		for member := range strings.SplitSeq(given["--cluster"], ",") {
			id, address, _ := strings.Cut(member, "=")
			if host, _, err := net.SplitHostPort(address); err != nil || host != id || c.Services[id].Image != s.Image {
				t.Errorf("%s is told of the member %s", name, member)
			}
		}
	}
	if len(nodes) != 3 {
		t.Errorf("the nodes are %v, want three", nodes)
	}
	var scraped struct {
		Rules   []string `yaml:"rule_files"`
		Scrapes []struct {
			Job   string `yaml:"job_name"`
			Stats []struct{ Targets []string }
		} `yaml:"scrape_configs"`
	}
	text := readYAML(t, filepath.Join(dir, "prometheus.yml"), &scraped)
	for name := range nodes {
		if !bytes.Contains(text, []byte(`"`+name+`:8701"`)) {
			t.Errorf("%s is not scraped", name)
		}
	}
	if len(scraped.Scrapes) != 1 || !strings.HasPrefix(scraped.Scrapes[0].Job, "raftkv") {
		t.Errorf("the rules look for jobs that begin with raftkv, not for %v", scraped.Scrapes)
	}
	for _, rules := range scraped.Rules {
		if !slices.ContainsFunc(c.Services["prometheus"].Volumes, func(v string) bool { return strings.HasSuffix(v, "/etc/prometheus/"+rules+":ro") }) {
			t.Errorf("the rules %s are not mounted", rules)
		}
	}
	for _, name := range []string{"grafana-datasource.yml", "grafana-dashboards.yml"} {
		readYAML(t, filepath.Join(dir, name), &map[string]any{})
	}
}

func readYAML(t *testing.T, path string, into any) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return text
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Goal: systemd takes the unit. Method: its own checker, on the unit with the
// program where it is.
func TestTheUnitIsWhatSystemdTakes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(deploy, "systemd", "raftkv.service"))
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/raftkv"
	if strings.Count(string(text), installed+" serve --config ") != 1 || !serveFlags(t)["--config"] {
		t.Error("the unit does not begin raftkv serve --config")
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("SKIPPED, THE UNIT IS NOT CHECKED: there is no systemd-analyze here")
	}
	unit := filepath.Join(t.TempDir(), "raftkv.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), installed, cluster.Program)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", unit).CombinedOutput()
	exposure := regexp.MustCompile(`Overall exposure level for raftkv.service: ([0-9.]+)`).FindSubmatch(out)
	if exposure == nil {
		t.Skipf("SKIPPED, WHAT THE UNIT MAY IS NOT CHECKED: this systemd-analyze cannot tell: %v", err)
	}
	if level, err := strconv.ParseFloat(string(exposure[1]), 64); err != nil || level > 2 {
		t.Errorf("the unit may more than a node needs: exposure %s, want 2 at most (8.5 without a sandbox)", exposure[1])
	}
}

// Goal: the dashboard in the repository is the one that the panels make.
func TestTheDashboardIsMade(t *testing.T) {
	want, err := exec.Command("go", "run", "raftkv/deploy/dashboard").Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(deploy, "grafana", "raftkv.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("run: go run ./deploy/dashboard >deploy/grafana/raftkv.json")
	}
}

// Goal: the rules are well-formed, each alert has a unit test, and those pass.
func TestTheRulesPassTheirTests(t *testing.T) {
	dir := filepath.Join(deploy, "prometheus")
	name := regexp.MustCompile(`alert(?:name)?: (Raftkv\w+)`)
	alertsOf := func(files ...string) []string {
		found := map[string]bool{}
		for _, file := range files {
			for _, m := range name.FindAllSubmatch(readYAML(t, filepath.Join(dir, file), &map[string]any{}), -1) {
				found[string(m[1])] = true
			}
		}
		return slices.Sorted(maps.Keys(found))
	}
	tests := []string{"raftkv.rules.test.yml", "raftkv.rules.hours.test.yml"}
	if defined, tested := alertsOf("raftkv.rules.yml"), alertsOf(tests...); len(defined) == 0 || !slices.Equal(defined, tested) {
		t.Errorf("there are the alerts %v, and tests of %v", defined, tested)
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("SKIPPED, THE RULES ARE NOT TESTED: there is no promtool here")
	}
	for _, arguments := range [][]string{
		{"check", "rules", "raftkv.rules.yml"}, append([]string{"test", "rules"}, tests...),
		{"check", "config", "--syntax-only", "prometheus.yml"}, {"check", "config", "--syntax-only", "prometheus.secured.yml"},
		{"check", "config", "--syntax-only", "../compose/prometheus.yml"},
	} {
		check := exec.Command("promtool", arguments...)
		check.Dir = dir
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", arguments, err, out)
		}
	}
}
