package status

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// Drawing is how a picture of the nodes is drawn.
type Drawing struct {
	Columns int
	Wide    bool
	Colour  bool
	// lags is what the nodes lagged in the picture before; nil: there was none.
	Lags map[string]uint64
}

// Lines draws what the nodes answered.
func (d Drawing) Lines(all []Answer, v Verdict, now time.Time) []string {
	lines := append(terminal.Wrap(d.heading(v, now), d.Columns), "")
	rows := d.rows(all, v)
	if d.Wide {
		lines = append(lines, d.table(rows, place)...)
		lines = append(lines, "")
		lines = append(lines, d.table(rows, append(place[:1:1], work...))...)
	} else {
		lines = append(lines, d.table(rows, d.fitting(rows))...)
	}
	for _, n := range all {
		if line := errorLine(n); n.Status == nil && cut(line, d.Columns, d.Wide) != line {
			lines = append(lines, d.trouble(n.Endpoint+": "+n.Error)...) // there was no room for all of it
		}
		if n.Status != nil && n.Integrity.Fault != "" {
			lines = append(lines, d.trouble(n.Node+" serves nothing: "+n.Integrity.Fault)...)
		}
	}
	for _, fault := range v.faults {
		lines = append(lines, d.trouble(fault)...)
	}
	return lines
}

// trouble returns a sentence as lines that stand out.
func (d Drawing) trouble(text string) []string {
	lines := terminal.Wrap(terminal.Harmless(text), d.Columns)
	for i, line := range lines {
		lines[i] = d.paint(line, trouble)
	}
	return lines
}

// heading names the cluster and its leader, and says how many nodes answer, and when.
func (d Drawing) heading(v Verdict, now time.Time) string {
	var parts []string
	if v.Cluster != "" {
		parts = append(parts, "cluster "+terminal.Harmless(v.Cluster))
	}
	switch {
	case v.clusters > 1:
		parts = append(parts, fmt.Sprintf("%d clusters", v.clusters), fmt.Sprintf("%d of %d %s", v.answering, v.asked, answers(v.answering)))
	case v.Leader != "":
		parts = append(parts, fmt.Sprintf("%s leads term %d", terminal.Harmless(v.Leader), v.Term), fmt.Sprintf("%d of %d %s", v.answering, v.asked, answers(v.answering)))
	default:
		parts = append(parts, v.nobody())
	}
	return strings.Join(append(parts, now.Format(time.TimeOnly)), " · ")
}

// rows gathers what a line needs of several answers.
func (d Drawing) rows(all []Answer, v Verdict) []row {
	last := map[string]uint64{} // by cluster
	peers := map[string]api.Peer{}
	for _, n := range all {
		if n.Status == nil {
			continue
		}
		last[ClusterOf(n)] = max(last[ClusterOf(n)], n.Log.Last)
		if n.Node == v.Leader && n.Role == "leader" {
			for _, p := range n.Peers {
				peers[p.Node] = p
			}
		}
	}
	rows := make([]row, 0, len(all))
	for _, n := range all {
		r := row{Answer: n}
		if n.Status != nil {
			r.leads = n.Role == "leader"
			r.lag = last[ClusterOf(n)] - min(n.Applied, last[ClusterOf(n)])
			if p, known := peers[n.Node]; known {
				r.peer = &p
			}
			if d.Lags != nil {
				before, seen := d.Lags[n.Endpoint]
				r.grows = seen && before > 0 && r.lag > before
				d.Lags[n.Endpoint] = r.lag
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// columnGap is between two columns.
const columnGap = 2

// fitting chooses the columns that fit into the window, the most important ones
// first.
func (d Drawing) fitting(rows []row) []column {
	all := append(append([]column{}, place...), work...)
	chosen := make([]bool, len(all))
	room := d.Columns + columnGap
	for rank := range len(all) {
		for i, c := range all {
			if c.rank != rank || c.idle && isIdle(c, rows) {
				continue
			}
			if need := widthOf(c, rows) + columnGap; rank == 0 || need <= room {
				chosen[i] = true
				room -= need
			}
		}
	}
	var columns []column
	for i, c := range all {
		if chosen[i] {
			columns = append(columns, c)
		}
	}
	return columns
}

// isIdle reports whether nothing happens in a column.
func isIdle(c column, rows []row) bool {
	for _, r := range rows {
		if r.Status == nil {
			continue
		}
		switch c.cell(r).text {
		case "0", "-", "0 B", "none":
		default:
			return false
		}
	}
	return true
}

func widthOf(c column, rows []row) int {
	width := len(c.title)
	for _, r := range rows {
		switch {
		case r.Status != nil:
			width = max(width, utf8.RuneCountInString(c.cell(r).text))
		case c.title == "ENDPOINT":
			width = max(width, utf8.RuneCountInString(r.Endpoint))
		}
	}
	return width
}

// table draws a table with a line for each node.
func (d Drawing) table(rows []row, columns []column) []string {
	widths := make([]int, len(columns))
	title := ""
	for i, c := range columns {
		widths[i] = widthOf(c, rows)
		title += pad(c.title, widths[i], i == len(columns)-1)
	}
	lines := []string{d.paint(title, faint)}
	for _, r := range rows {
		if r.Status == nil {
			if columns[1].title == "ENDPOINT" {
				line := pad("?", widths[0], false) + pad(r.Endpoint, widths[1], false) + terminal.Harmless(r.Error)
				lines = append(lines, d.paint(cut(line, d.Columns, d.Wide), trouble))
			}
			continue
		}
		line := ""
		for i, c := range columns {
			content := c.cell(r)
			text := terminal.Harmless(content.text)
			padded := pad(text, widths[i], i == len(columns)-1)
			line += d.paint(text, content.style) + padded[len(text):]
		}
		lines = append(lines, line)
	}
	return lines
}

// errorLine is the shortest line of a node that did not answer.
func errorLine(n Answer) string {
	return pad("?", len("NODE"), false) + pad(n.Endpoint, len("ENDPOINT"), false) + terminal.Harmless(n.Error)
}

// pad fills a cell up to its column's width and the gap behind it; the last one
// has none.
func pad(text string, width int, last bool) string {
	if last {
		return text
	}
	return text + strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0)+columnGap)
}

// cut shortens a line to the window.
func cut(line string, columns int, wide bool) string {
	if letters := []rune(line); !wide && len(letters) > columns {
		return string(letters[:columns-1]) + "…"
	}
	return line
}

func (d Drawing) paint(text string, s style) string {
	if !d.Colour || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}
