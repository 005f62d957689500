package host

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/metrics"
)

// documentRow is how docs/metrics.md describes an instrument.
func documentRow(i metrics.Instrument) string {
	labels := "–"
	if names := slices.Sorted(slices.Values(i.Labels)); len(names) > 0 {
		labels = "`" + strings.Join(names, "`, `") + "`"
	}
	return "| `" + metrics.Prefix + i.Name + "` | " + string(i.Kind) + " | " + labels + " | " + i.Help + " |"
}

// Goal: docs/metrics.md says of every metric what the tables say, and names none that
// they do not have. Method: the document's rows, and a row made of each instrument.
func TestTheDocumentIsTheTables(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, made []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| `"+metrics.Prefix) {
			documented = append(documented, line)
		}
	}
	for _, i := range Instruments() {
		made = append(made, documentRow(i))
	}
	slices.Sort(made)
	if len(made) < 80 {
		t.Fatalf("void: the tables have %d rows", len(made))
	}
	for _, row := range made {
		if !slices.Contains(documented, row) {
			t.Errorf("docs/metrics.md lacks\n%s", row)
		}
	}
	for _, row := range documented {
		if !slices.Contains(made, row) {
			t.Errorf("docs/metrics.md has, and the tables have not,\n%s", row)
		}
	}
	if !slices.IsSorted(documented) {
		t.Error("the rows of docs/metrics.md are not in the order of their names")
	}
}

// Goal: names are declared once and as Prometheus wants them. Method: all tables.
func TestTheTablesAreInOrder(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*[a-z]$`)
	seen := map[string]bool{}
	for _, i := range Instruments() {
		switch {
		case seen[i.Name]:
			t.Errorf("%s is declared twice", i.Name)
		case !name.MatchString(i.Name) || strings.HasPrefix(i.Name, metrics.Prefix):
			t.Errorf("%s is no name of a metric, or has the prefix already", i.Name)
		case (i.Kind == metrics.Counter) != strings.HasSuffix(i.Name, "_total"):
			t.Errorf("%s is a %s; counters, and nothing else, end in _total", i.Name, i.Kind)
		case (i.Kind == metrics.Histogram) != (i.Buckets != nil), !strings.HasSuffix(i.Help, "."):
			t.Errorf("%s is incomplete: %+v", i.Name, i)
		}
		seen[i.Name] = true
	}
}

// Goal: the dashboard, the alerts and the handbook ask for nothing that nodes do not
// show. Method: every name in these files, against the tables; a histogram is asked for
// by the names of its parts.
func TestNobodyAsksForAMetricThatIsNotThere(t *testing.T) {
	known := map[string]bool{}
	for _, i := range Instruments() {
		known[metrics.Prefix+i.Name] = true
		if i.Kind == metrics.Histogram {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[metrics.Prefix+i.Name+part] = true
			}
		}
	}
	asked := regexp.MustCompile(`\b` + metrics.Prefix + `[a-z0-9_]+[a-z0-9]\b`)
	for _, file := range []string{
		"deploy/grafana/raftkv.json", "deploy/prometheus/raftkv.rules.yml", "deploy/prometheus/raftkv.rules.test.yml",
		"deploy/prometheus/raftkv.rules.hours.test.yml", "docs/operations.md",
	} {
		text, err := os.ReadFile("../../../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := asked.FindAllString(string(text), -1)
		if len(names) == 0 {
			t.Errorf("void: %s asks for nothing", file)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s asks for %s, which no node shows", file, name)
			}
		}
	}
}
