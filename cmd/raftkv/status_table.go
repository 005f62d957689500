package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"raftkv/kvserver/api"
)

// drawing is how a picture of the nodes is drawn.
type drawing struct {
	columns int
	wide    bool
	colour  bool
	// lags is what the nodes lagged in the picture before; nil: there was none.
	lags map[string]uint64
}

// style is how a cell looks on a terminal with colours.
type style string

const (
	plain   style = ""
	strong  style = "1"
	trouble style = "1;31"
	faint   style = "2"
)

// cell is one field of a table.
type cell struct {
	text  string
	style style
}

// column is a column of the table. Those with the lowest rank stay longest when
// there is no room for all.
type column struct {
	title string
	rank  int
	// idle: the column may be left out when nothing happens in it.
	idle bool
	cell func(statusRow) cell
}

// statusRow is what a line of the table is made of.
type statusRow struct {
	nodeStatus
	leads bool
	lag   uint64
	grows bool      // the lag is more than a second ago
	peer  *api.Peer // as the leader sees it; nil on the leader, and if nobody leads
}

// place are the columns of where a node stands, and work those of what it does.
var place = []column{
	{"NODE", 0, false, func(r statusRow) cell { return cell{r.Node, leaderStyle(r)} }},
	{"ENDPOINT", 0, false, func(r statusRow) cell { return cell{r.Endpoint, plain} }},
	{"ROLE", 0, false, roleCell},
	{"TERM", 20, false, func(r statusRow) cell { return number(r.Term) }},
	{"LAST", 24, false, func(r statusRow) cell { return number(r.Log.Last) }},
	{"COMMIT", 21, false, func(r statusRow) cell { return number(r.Commit) }},
	{"APPLIED", 25, false, func(r statusRow) cell { return number(r.Applied) }},
	{"LAG", 1, false, lagCell},
	{"CONTACT", 3, false, contactCell},
	{"KEYS", 8, false, func(r statusRow) cell { return number(uint64(r.Store.Keys)) }},
	{"BYTES", 10, false, func(r statusRow) cell { return size(int64(r.Store.Bytes)) }},
	{"REVISION", 11, false, func(r statusRow) cell { return number(r.Store.Revision) }},
	{"FSYNC", 2, false, fsyncCell},
}

var work = []column{
	{"WRITES/S", 4, false, func(r statusRow) cell { return rate(r.Load.Writes.PerSecond + r.Load.Deletes.PerSecond) }},
	{"READS/S", 5, false, func(r statusRow) cell { return rate(r.Load.Reads.PerSecond) }},
	{"WAITING", 9, true, func(r statusRow) cell {
		return number(uint64(r.Load.Writes.Waiting + r.Load.Deletes.Waiting + r.Load.Reads.Waiting))
	}},
	{"COMMIT P99", 12, true, func(r statusRow) cell { return cell{milliseconds(r.Log.CommitP99Seconds), plain} }},
	{"REPLICATION", 13, true, replicationCell},
	{"LOG", 17, false, func(r statusRow) cell { return size(r.Disk.LogBytes) }},
	{"SNAPSHOT", 22, true, func(r statusRow) cell { return size(r.Disk.SnapshotBytes) }},
	{"FREE", 14, false, func(r statusRow) cell { return size(r.Disk.FreeBytes) }},
	{"QUOTA", 23, true, quotaCell},
	{"CLIENTS", 15, false, func(r statusRow) cell { return number(uint64(r.Load.Connections.Open)) }},
	{"MEMORY", 16, false, func(r statusRow) cell { return size(r.Process.MemoryBytes) }},
	{"STATES", 6, false, statesCell},
	{"LED", 18, true, func(r statusRow) cell { return number(r.Changes.Elected + r.Changes.Transferred) }},
	{"GAVE UP", 19, true, func(r statusRow) cell { return number(r.Changes.LostQuorum + r.Changes.StalledDisk) }},
	{"UP", 7, false, func(r statusRow) cell {
		return cell{(time.Duration(r.Process.UptimeSeconds) * time.Second).String(), plain}
	}},
}

func leaderStyle(r statusRow) style {
	if r.leads {
		return strong
	}
	return plain
}

func roleCell(r statusRow) cell {
	switch {
	case r.Rejoin != nil:
		return cell{"rejoining", trouble}
	case r.Integrity.Fault != "":
		return cell{"serves nothing", trouble}
	case r.Role == "pre-candidate" || r.Role == "candidate":
		return cell{"no leader, asks for votes", trouble}
	case r.Leader == "":
		return cell{r.Role + ", no leader", trouble}
	}
	return cell{r.Role, leaderStyle(r)}
}

// manyEntries is a lag that is worth a look even if it does not grow.
const manyEntries = 10_000

func lagCell(r statusRow) cell {
	c := number(r.lag)
	if r.grows || r.lag > manyEntries {
		c.style = trouble
	}
	return c
}

func contactCell(r statusRow) cell {
	switch {
	case r.peer == nil:
		return cell{"-", faint}
	case r.peer.LastContactMs < 0:
		return cell{"never", trouble}
	}
	c := cell{text: fmt.Sprintf("%d ms", r.peer.LastContactMs)}
	if r.peer.LastContactMs > 1000 {
		c.style = trouble
	}
	return c
}

func fsyncCell(r statusRow) cell {
	if r.Log.Stalled {
		return cell{"hangs", trouble}
	}
	return cell{milliseconds(r.Disk.FsyncP99Seconds), plain}
}

func replicationCell(r statusRow) cell {
	if r.peer == nil {
		return cell{"-", faint}
	}
	c := cell{text: fmt.Sprintf("%s, %s", r.peer.State, sizeOf(int64(r.peer.InflightBytes)))}
	if r.peer.State == "silent" {
		c.style = trouble
	}
	return c
}

func quotaCell(r statusRow) cell {
	if r.Store.Quota == 0 {
		return cell{"none", faint}
	}
	return size(int64(r.Store.Quota))
}

func statesCell(r statusRow) cell {
	switch r.Integrity.Result {
	case "":
		return cell{"-", faint}
	case "diverged", "mismatch":
		return cell{r.Integrity.Result, trouble}
	}
	return cell{r.Integrity.Result, plain}
}

func number(n uint64) cell {
	c := cell{text: fmt.Sprint(n)}
	if n == 0 {
		c.style = faint
	}
	return c
}

func rate(perSecond float64) cell {
	c := cell{text: fmt.Sprintf("%.0f", perSecond)}
	if c.text == "0" {
		c.style = faint
	}
	return c
}

func size(bytes int64) cell {
	c := cell{text: sizeOf(bytes)}
	if bytes <= 0 {
		c.style = faint
	}
	return c
}

// lines draws what the nodes answered.
func (d drawing) lines(all []nodeStatus, v verdict, now time.Time) []string {
	lines := append(wrap(d.heading(v, now), d.columns), "")
	rows := d.rows(all, v)
	if d.wide {
		lines = append(lines, d.table(rows, place)...)
		lines = append(lines, "")
		lines = append(lines, d.table(rows, append(place[:1:1], work...))...)
	} else {
		lines = append(lines, d.table(rows, d.fitting(rows))...)
	}
	for _, n := range all {
		if line := errorLine(n); n.Status == nil && cut(line, d.columns, d.wide) != line {
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
func (d drawing) trouble(text string) []string {
	lines := wrap(harmless(text), d.columns)
	for i, line := range lines {
		lines[i] = d.paint(line, trouble)
	}
	return lines
}

// heading says which cluster it is, who leads, how many answer, and when.
func (d drawing) heading(v verdict, now time.Time) string {
	var parts []string
	if v.cluster != "" {
		parts = append(parts, "cluster "+harmless(v.cluster))
	}
	switch {
	case v.clusters > 1:
		parts = append(parts, fmt.Sprintf("%d clusters", v.clusters), fmt.Sprintf("%d of %d %s", v.answering, v.asked, answers(v.answering)))
	case v.leader != "":
		parts = append(parts, fmt.Sprintf("%s leads term %d", harmless(v.leader), v.term), fmt.Sprintf("%d of %d %s", v.answering, v.asked, answers(v.answering)))
	default:
		parts = append(parts, v.nobody())
	}
	return strings.Join(append(parts, now.Format(time.TimeOnly)), " · ")
}

// rows gathers what a line needs of several answers.
func (d drawing) rows(all []nodeStatus, v verdict) []statusRow {
	last := map[string]uint64{} // by cluster
	peers := map[string]api.Peer{}
	for _, n := range all {
		if n.Status == nil {
			continue
		}
		last[clusterName(n)] = max(last[clusterName(n)], n.Log.Last)
		if n.Node == v.leader && n.Role == "leader" {
			for _, p := range n.Peers {
				peers[p.Node] = p
			}
		}
	}
	rows := make([]statusRow, 0, len(all))
	for _, n := range all {
		r := statusRow{nodeStatus: n}
		if n.Status != nil {
			r.leads = n.Role == "leader"
			r.lag = last[clusterName(n)] - min(n.Applied, last[clusterName(n)])
			if p, known := peers[n.Node]; known {
				r.peer = &p
			}
			if d.lags != nil {
				before, seen := d.lags[n.Endpoint]
				r.grows = seen && before > 0 && r.lag > before
				d.lags[n.Endpoint] = r.lag
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
func (d drawing) fitting(rows []statusRow) []column {
	all := append(append([]column{}, place...), work...)
	chosen := make([]bool, len(all))
	room := d.columns + columnGap
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
func isIdle(c column, rows []statusRow) bool {
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

func widthOf(c column, rows []statusRow) int {
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
func (d drawing) table(rows []statusRow, columns []column) []string {
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
				line := pad("?", widths[0], false) + pad(r.Endpoint, widths[1], false) + harmless(r.Error)
				lines = append(lines, d.paint(cut(line, d.columns, d.wide), trouble))
			}
			continue
		}
		line := ""
		for i, c := range columns {
			content := c.cell(r)
			text := harmless(content.text)
			padded := pad(text, widths[i], i == len(columns)-1)
			line += d.paint(text, content.style) + padded[len(text):]
		}
		lines = append(lines, line)
	}
	return lines
}

// errorLine is the shortest line of a node that did not answer.
func errorLine(n nodeStatus) string {
	return pad("?", len("NODE"), false) + pad(n.Endpoint, len("ENDPOINT"), false) + harmless(n.Error)
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

// wrap breaks a text into lines at spaces, and words that are longer than a line.
func wrap(text string, columns int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		for letters := []rune(word); len(letters) > columns; letters = []rune(word) {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			lines = append(lines, string(letters[:columns]))
			word = string(letters[columns:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

func (d drawing) paint(text string, s style) string {
	if !d.colour || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// hasColour reports whether what is written to w may have colours.
func hasColour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// milliseconds writes a time that was measured, in three digits; 0 says that none
// was.
func milliseconds(seconds float64) string {
	ms := seconds * 1000
	switch {
	case seconds == 0:
		return "-"
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// sizeOf writes a number of bytes for people; -1 is not known.
func sizeOf(bytes int64) string {
	if bytes < 0 {
		return "?"
	}
	unit, value := 0, float64(bytes)
	for value >= 1024 && unit < 4 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[unit-1])
}
