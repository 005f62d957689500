package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"raftkv/kvserver/api"
)

// leaderOf returns the leader of the latest term that anybody knows of.
func leaderOf(all []nodeStatus) string {
	leader, term := "", uint64(0)
	for _, n := range all {
		if n.Status != nil && n.Leader != "" && n.Term >= term {
			leader, term = n.Leader, n.Term
		}
	}
	return leader
}

// statusTable draws what the nodes answered.
func statusTable(all []nodeStatus) string {
	var b strings.Builder
	leader := leaderOf(all)
	peers := map[string]api.Peer{} // as the leader sees them
	last := uint64(0)
	for _, n := range all {
		if n.Status == nil {
			continue
		}
		last = max(last, n.Log.Last)
		if n.Node == leader {
			for _, p := range n.Peers {
				peers[p.Node] = p
			}
		}
	}
	table(&b, "NODE\tENDPOINT\tROLE\tTERM\tLAST\tCOMMIT\tAPPLIED\tLAG\tCONTACT\tKEYS\tBYTES\tREVISION\tFSYNC P99", all, func(w io.Writer, n nodeStatus) {
		if n.Status == nil {
			fmt.Fprintf(w, "?\t%s\t%s\n", n.Endpoint, n.Error)
			return
		}
		heard := "-"
		if p, known := peers[n.Node]; known && p.LastContactMs >= 0 {
			heard = fmt.Sprintf("%d ms", p.LastContactMs)
		}
		fsync := milliseconds(n.Disk.FsyncP99Seconds)
		if n.Log.Stalled {
			fsync = "hangs"
		}
		role := n.Role
		if n.Rejoin != nil {
			role = "rejoining"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%s\t%d\t%s\n", n.Node, n.Endpoint, role, n.Term,
			n.Log.Last, n.Commit, n.Applied, last-min(n.Applied, last), heard, n.Store.Keys, sizeOf(int64(n.Store.Bytes)), n.Store.Revision, fsync)
	})
	b.WriteByte('\n')
	table(&b, "NODE\tWRITES/S\tREADS/S\tWAITING\tCOMMIT P99\tREPLICATION\tLOG\tSNAPSHOT\tFREE\tQUOTA\tCLIENTS\tMEMORY\tSTATES\tLED\tGAVE UP\tUP", all, func(w io.Writer, n nodeStatus) {
		if n.Status == nil {
			return
		}
		sending := "-"
		if p, known := peers[n.Node]; known {
			sending = fmt.Sprintf("%s, %s", p.State, sizeOf(int64(p.InflightBytes)))
		}
		quota, states := "none", n.Integrity.Result
		if n.Store.Quota > 0 {
			quota = sizeOf(int64(n.Store.Quota))
		}
		if states == "" {
			states = "-"
		}
		l := n.Load
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%d\t%v\n", n.Node,
			l.Writes.PerSecond+l.Deletes.PerSecond, l.Reads.PerSecond, l.Writes.Waiting+l.Deletes.Waiting+l.Reads.Waiting,
			milliseconds(n.Log.CommitP99Seconds), sending, sizeOf(n.Disk.LogBytes), sizeOf(n.Disk.SnapshotBytes), sizeOf(n.Disk.FreeBytes), quota,
			l.Connections.Open, sizeOf(n.Process.MemoryBytes), states, n.Changes.Elected+n.Changes.Transferred, n.Changes.LostQuorum+n.Changes.StalledDisk,
			time.Duration(n.Process.UptimeSeconds)*time.Second)
	})
	for _, n := range all {
		if n.Status != nil && n.Integrity.Fault != "" {
			fmt.Fprintf(&b, "%s serves nothing: %s\n", n.Node, n.Integrity.Fault)
		}
	}
	if leader == "" {
		leader = "nobody"
	}
	fmt.Fprintf(&b, "%s leads. %s\n", leader, time.Now().Format(time.TimeOnly))
	return b.String()
}

// table draws a table with a line for each node.
func table(to io.Writer, title string, all []nodeStatus, line func(io.Writer, nodeStatus)) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, title)
	for _, n := range all {
		line(w, n)
	}
	w.Flush() // to memory
}

// milliseconds writes a time that was measured; 0 says that none was.
func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ms", seconds*1000)
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
