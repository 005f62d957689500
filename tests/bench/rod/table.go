package rod

import (
	"fmt"
	"io"
	"strings"
)

// column is one column of the table of runs.
type column struct {
	head   string
	format func(Spreads) string
	value  func(Run) float64
}

var columns = []column{
	{"ops/s (min–max)", wide, func(r Run) float64 { return r.Ops }},
	{"p50 ms", fixed(2), func(r Run) float64 { return r.P50 / 1000 }},
	{"p99 ms", fixed(2), func(r Run) float64 { return r.P99 / 1000 }},
	{"server µs/op", fixed(1), func(r Run) float64 { return r.ServerCPU }},
	{"client µs/op", fixed(1), func(r Run) float64 { return r.ClientCPU }},
	{"switches/op", fixed(2), func(r Run) float64 { return r.Switches }},
	{"messages/op", fixed(3), func(r Run) float64 { return r.Messages }},
	{"device B/op", fixed(0), func(r Run) float64 { return r.DeviceBytes }},
	{"others' CPUs", fixed(2), func(r Run) float64 { return r.Others }},
	{"failures", fixed(0), func(r Run) float64 { return float64(r.Failures) }},
}

func fixed(digits int) func(Spreads) string {
	return func(s Spreads) string { return fmt.Sprintf("%.*f", digits, s.Median()) }
}

func wide(s Spreads) string {
	return fmt.Sprintf("%s (%s–%s)", thousands(s.Median()), thousands(s.Min()), thousands(s.Max()))
}

// thousands writes a whole number with commas.
func thousands(f float64) string {
	digits := fmt.Sprintf("%.0f", f)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Table writes the medians of all rounds as a table in Markdown, a line for each side
// at each row.
func Table(w io.Writer, rows []Row, runs []Run) {
	var b strings.Builder
	b.WriteString("| row | side |")
	for _, c := range columns {
		b.WriteString(" " + c.head + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, row := range rows {
		for _, side := range sidesOf(runs, row.Name) {
			fmt.Fprintf(&b, "| %s | %s |", row.Name, side)
			for _, c := range columns {
				b.WriteString(" " + c.format(spread(runs, side, row.Name, c.value)) + " |")
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintln(w, b.String())
}

// sidesOf returns the sides that were measured at a row, in the order of their turns.
func sidesOf(runs []Run, row string) (sides []string) {
	seen := map[string]bool{}
	for _, r := range runs {
		if r.Row == row && !seen[r.Side] {
			seen[r.Side] = true
			sides = append(sides, r.Side)
		}
	}
	return sides
}

// Comparisons writes the ratios as a table in Markdown. Those without a round that has
// both figures are left out.
func Comparisons(w io.Writer, all []Comparison, runs []Run) {
	fmt.Fprint(w, "| row | of | to | median | min | max |\n|---|---|---|---|---|---|\n")
	for _, c := range all {
		ratios := c.Ratios(runs)
		if len(ratios) == 0 {
			continue
		}
		to := c.To
		if c.ToRow.Name != c.Row.Name {
			to += " " + c.ToRow.Name
		}
		fmt.Fprintf(w, "| %s | %s of %s | %s | %.2f | %.2f | %.2f |\n", c.Row.Name, c.Of.Name, c.Side, to, ratios.Median(), ratios.Min(), ratios.Max())
	}
	fmt.Fprintln(w)
}

// Lines writes the ratios, and raftkv's counts for each operation, for programs and for
// people in a hurry: word, row, median, and the range.
func Lines(w io.Writer, all []Comparison, rows []Row, runs []Run) {
	line := func(word, row string, s Spreads) {
		if len(s) > 0 {
			fmt.Fprintf(w, "%s %s %.2f (%.2f–%.2f)\n", word, row, s.Median(), s.Min(), s.Max())
		}
	}
	for _, c := range all {
		line(c.Word, c.Row.Name, c.Ratios(runs))
	}
	for _, row := range rows {
		line("messages", row.Name, spread(runs, Ours, row.Name, func(r Run) float64 { return r.Messages }))
	}
	for _, row := range rows {
		line("switches", row.Name, spread(runs, Ours, row.Name, func(r Run) float64 { return r.Switches }))
	}
}
