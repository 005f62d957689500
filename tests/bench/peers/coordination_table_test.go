package peers

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/tests/bench/rod"
)

// figure is one number that a row has come to.
type figure struct {
	name  string
	unit  unit
	value float64
}

type unit string

// The units. A ratio is of two figures of the same side and turn.
const (
	perSecond    unit = "/s"
	milliseconds unit = "ms"
	seconds      unit = "s"
	micros       unit = "µs each"
	msPerSecond  unit = "ms/s"
	megabytes    unit = "MiB"
	bytesEach    unit = "B"
	times        unit = "times"
	ratio        unit = "×"
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// reading is a figure of one side in one round.
type reading struct {
	round     int
	row, side string
	figure
}

// label is the figure's name in tables and lines.
func (r reading) label() string { return r.row + "-" + r.name }

// spreadOf returns a figure of a side in all rounds.
func spreadOf(all []reading, label, side string) (values rod.Spreads) {
	for _, r := range all {
		if r.label() == label && r.side == side {
			values = append(values, r.value)
		}
	}
	slices.Sort(values)
	return values
}

// ratiosOf returns raftkv's figure in etcd's, in each round that has both.
func ratiosOf(all []reading, label string) (values rod.Spreads) {
	for _, a := range all {
		for _, b := range all {
			if a.label() == label && b.label() == label && a.round == b.round && a.side == rod.Ours && b.side == "etcd" && b.value > 0 {
				values = append(values, a.value/b.value)
			}
		}
	}
	slices.Sort(values)
	return values
}

// writeCoordination writes a table in Markdown and then lines: of every figure raftkv's in
// etcd's, and the ratios within raftkv.
func writeCoordination(w io.Writer, all []reading) {
	var labels []string
	units := map[string]unit{}
	for _, r := range all {
		if _, seen := units[r.label()]; !seen {
			labels = append(labels, r.label())
			units[r.label()] = r.unit
		}
	}
	fmt.Fprint(w, "Settings: no flag of raftkv differs from its default, since its limits for watches, leases, waiters and history have room for every row;\n"+
		"etcd has those of TestAgainstPeers. Medians of all rounds, and the least and the greatest.\n\n"+
		"| figure | unit | raftkv | etcd | raftkv / etcd |\n|---|---|---|---|---|\n")
	for _, label := range labels {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", label, units[label],
			cell(spreadOf(all, label, rod.Ours)), cell(spreadOf(all, label, "etcd")), cell(ratiosOf(all, label)))
	}
	fmt.Fprintln(w)
	line := func(label, word string, s rod.Spreads) {
		if len(s) > 0 {
			fmt.Fprintf(w, "coord %s %s %s (%s to %s)\n", label, word, short(s.Median()), short(s.Min()), short(s.Max()))
		}
	}
	for _, label := range labels {
		line(label, "etcd", ratiosOf(all, label))
	}
	for _, label := range labels {
		if units[label] == ratio {
			line(label, "self", spreadOf(all, label, rod.Ours))
		}
	}
}

func cell(s rod.Spreads) string {
	if len(s) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s to %s)", short(s.Median()), short(s.Min()), short(s.Max()))
}

// short writes a number with three digits at the least that matter, and no exponent.
func short(f float64) string {
	switch {
	case f >= 100 || f <= -100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10 || f <= -10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// Goal: the table and the lines say what was measured, and compare figures of the same
// round only. Method: two rounds between which the machine gets slower tenfold, a figure
// without a peer, and the whole text of the lines.
func TestCoordinationTable(t *testing.T) {
	at := func(round int, side string, f figure) reading { return reading{round, "fanout", side, f} }
	all := []reading{
		at(1, rod.Ours, figure{"deliveries", perSecond, 4000}), at(1, "etcd", figure{"deliveries", perSecond, 1000}),
		at(2, "etcd", figure{"deliveries", perSecond, 100}), at(2, rod.Ours, figure{"deliveries", perSecond, 500}),
		at(1, rod.Ours, figure{"kept", ratio, 0.9}), at(2, rod.Ours, figure{"kept", ratio, 0.8}),
	}
	var b strings.Builder
	writeCoordination(&b, all)
	text := b.String()
	for _, want := range []string{
		"| fanout-deliveries | /s | 2250 (500 to 4000) | 550 (100 to 1000) | 4.50 (4.00 to 5.00) |\n",
		"| fanout-kept | × | 0.85 (0.80 to 0.90) | – | – |\n",
		"\n\ncoord fanout-deliveries etcd 4.50 (4.00 to 5.00)\ncoord fanout-kept self 0.85 (0.80 to 0.90)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
}
