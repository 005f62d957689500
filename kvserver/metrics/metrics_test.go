package metrics

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/kv"
)

// measuring returns what does all the measuring of a PUT and nothing else.
func measuring() (measurePut func()) {
	m := New(prometheus.NewRegistry())
	enter, leave := m.Route("PUT", "/v1/kv/{key}")
	return func() {
		enter(1)
		m.Settled(false, kv.Result{}, nil)
		m.Applied(1, time.Microsecond)
		leave(201, 50, time.Millisecond)
	}
}

// Goal: measuring leaves nothing for the garbage collector.
// Method: all that is measured of a PUT, many times.
func TestMeasuringAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, measuring()); n != 0 {
		t.Errorf("measuring a PUT allocates %v times", n)
	}
}

// BenchmarkMeasuringAPut is what is added to the handling of a PUT.
func BenchmarkMeasuringAPut(b *testing.B) {
	measurePut := measuring()
	for b.Loop() {
		measurePut()
	}
}

// Goal: the document lists every metric of the table, with its type; no two have a
// name in common, and counters are named like counters. Method: the table and the
// text of docs/metrics.md.
func TestTheTableIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, i := range Instruments() {
		name := Prefix + i.Name
		documented := false
		for line := range strings.Lines(string(text)) {
			documented = documented || strings.Contains(line, "`"+name) && strings.Contains(line, string(i.Kind))
		}
		if !documented {
			t.Errorf("docs/metrics.md does not list %s as a %s", name, i.Kind)
		}
		if seen[name] || i.Help == "" || (i.Kind == Histogram) != (i.Buckets != nil) || (i.Kind == Counter) != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is there twice or incomplete: %+v", name, i)
		}
		seen[name] = true
	}
}
