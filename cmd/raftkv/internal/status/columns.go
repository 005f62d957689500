package status

import (
	"fmt"
	"time"

	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

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
	cell func(row) cell
}

// row is what a line of the table is made of.
type row struct {
	Answer
	leads bool
	lag   uint64
	grows bool      // the lag is more than a second ago
	peer  *api.Peer // as the leader sees it; nil on the leader, and if nobody leads
}

// place are the columns of where a node stands, and work those of what it does.
var place = []column{
	{"NODE", 0, false, func(r row) cell { return cell{r.Node, leaderStyle(r)} }},
	{"ENDPOINT", 0, false, func(r row) cell { return cell{r.Endpoint, plain} }},
	{"ROLE", 0, false, roleCell},
	{"TERM", 20, false, func(r row) cell { return number(r.Term) }},
	{"LAST", 24, false, func(r row) cell { return number(r.Log.Last) }},
	{"COMMIT", 21, false, func(r row) cell { return number(r.Commit) }},
	{"APPLIED", 25, false, func(r row) cell { return number(r.Applied) }},
	{"LAG", 1, false, lagCell},
	{"CONTACT", 3, false, contactCell},
	{"KEYS", 8, false, func(r row) cell { return number(uint64(r.Store.Keys)) }},
	{"BYTES", 10, false, func(r row) cell { return size(int64(r.Store.Bytes)) }},
	{"REVISION", 11, false, func(r row) cell { return number(r.Store.Revision) }},
	{"FSYNC", 2, false, fsyncCell},
}

var work = []column{
	{"WRITES/S", 4, false, func(r row) cell { return rate(r.Load.Writes.PerSecond + r.Load.Deletes.PerSecond) }},
	{"READS/S", 5, false, func(r row) cell { return rate(r.Load.Reads.PerSecond) }},
	{"WAITING", 9, true, func(r row) cell {
		return number(uint64(r.Load.Writes.Waiting + r.Load.Deletes.Waiting + r.Load.Reads.Waiting))
	}},
	{"COMMIT P99", 12, true, func(r row) cell { return cell{milliseconds(r.Log.CommitP99Seconds), plain} }},
	{"REPLICATION", 13, true, replicationCell},
	{"LOG", 17, false, func(r row) cell { return size(r.Disk.LogBytes) }},
	{"SNAPSHOT", 22, true, func(r row) cell { return size(r.Disk.SnapshotBytes) }},
	{"FREE", 14, false, func(r row) cell { return size(r.Disk.FreeBytes) }},
	{"QUOTA", 23, true, quotaCell},
	{"CLIENTS", 15, false, func(r row) cell { return number(uint64(r.Load.Connections.Open)) }},
	{"MEMORY", 16, false, func(r row) cell { return size(r.Process.MemoryBytes) }},
	{"STATES", 6, false, statesCell},
	{"LED", 18, true, func(r row) cell { return number(r.Changes.Elected + r.Changes.Transferred) }},
	{"GAVE UP", 19, true, func(r row) cell { return number(r.Changes.LostQuorum + r.Changes.StalledDisk) }},
	{"UP", 7, false, func(r row) cell {
		return cell{(time.Duration(r.Process.UptimeSeconds) * time.Second).String(), plain}
	}},
}

func leaderStyle(r row) style {
	if r.leads {
		return strong
	}
	return plain
}

func roleCell(r row) cell {
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

func lagCell(r row) cell {
	c := number(r.lag)
	if r.grows || r.lag > manyEntries {
		c.style = trouble
	}
	return c
}

func contactCell(r row) cell {
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

func fsyncCell(r row) cell {
	if r.Log.Stalled {
		return cell{"hangs", trouble}
	}
	return cell{milliseconds(r.Disk.FsyncP99Seconds), plain}
}

func replicationCell(r row) cell {
	if r.peer == nil {
		return cell{"-", faint}
	}
	c := cell{text: fmt.Sprintf("%s, %s", r.peer.State, terminal.SizeOf(int64(r.peer.InflightBytes)))}
	if r.peer.State == "silent" {
		c.style = trouble
	}
	return c
}

func quotaCell(r row) cell {
	if r.Store.Quota == 0 {
		return cell{"none", faint}
	}
	return size(int64(r.Store.Quota))
}

func statesCell(r row) cell {
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
	c := cell{text: terminal.SizeOf(bytes)}
	if bytes <= 0 {
		c.style = faint
	}
	return c
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
