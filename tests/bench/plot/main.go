// Command plot draws the runs that make bench and make bench-peers have logged: how
// throughput and the 99th percentile of latency grow with the number of clients, a line
// for each side, as an SVG picture.
//
//	make bench-peers LOG=runs.jsonl
//	go run ./tests/bench/plot -row put < runs.jsonl > put.svg
//
// A point is the median of all rounds.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"raftkv/tests/bench/rod"
)

func main() {
	row := flag.String("row", "put", "draw the rows of this name with any number of clients")
	flag.Parse()
	if err := draw(os.Stdin, os.Stdout, *row); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

// draw reads runs, a line of JSON each, and writes the picture.
func draw(in io.Reader, out io.Writer, row string) error {
	var runs []rod.Run
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var r rod.Run
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("the line %.80q is no run: %w", lines.Text(), err)
		}
		if strings.TrimRight(r.Row, "0123456789") == row {
			runs = append(runs, r)
		}
	}
	if len(runs) == 0 {
		return fmt.Errorf("there is no run of the row %q; choose put, get, propose or another one of the file", row)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", 2*panelWidth, panelHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", 2*panelWidth, panelHeight)
	panel{title: row + ": operations a second", lines: linesOf(runs, rod.Throughput.Value)}.draw(&b, 0)
	panel{title: row + ": p99, ms", lines: linesOf(runs, func(r rod.Run) float64 { return r.P99 / 1000 })}.draw(&b, panelWidth)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// line is the points of one side, by the number of clients.
type line struct {
	side   string
	points []point
}

type point struct{ clients, value float64 }

// linesOf returns the medians of a figure, sides by their names.
func linesOf(runs []rod.Run, value func(rod.Run) float64) (lines []line) {
	figures := map[string]map[float64]rod.Spreads{}
	var sides []string
	for _, r := range runs {
		if figures[r.Side] == nil {
			figures[r.Side] = map[float64]rod.Spreads{}
			sides = append(sides, r.Side)
		}
		at := figures[r.Side]
		at[float64(r.Clients)] = append(at[float64(r.Clients)], value(r))
	}
	slices.Sort(sides)
	for _, side := range sides {
		l := line{side: side}
		for clients, all := range figures[side] { // sorted below
			slices.Sort(all)
			l.points = append(l.points, point{clients, all.Median()})
		}
		slices.SortFunc(l.points, func(a, b point) int { return int(a.clients - b.clients) })
		lines = append(lines, l)
	}
	return lines
}
