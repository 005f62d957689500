package host

import (
	"fmt"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// directoryLook is the interval at which a node checks that its data directory is still
// the one that it opened.
const directoryLook = 2 * time.Second

// watchDirectory ends the node when its log was moved, removed or replaced while it
// runs. It only logs when raftkv.toml or life.toml was: these matter at the next start,
// and can be put right until then. It also notes there whether identities are enforced.
func (n *Node) watchDirectory() {
	ticker := time.NewTicker(directoryLook)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ticker.C:
		case <-n.raft.Stopping():
			return
		}
		if err := n.wal.Held(); err != nil {
			n.raft.Fail(err)
			return
		}
		wrong := n.directory.Changed()
		if wrong != said && wrong != "" {
			n.logger.Error("a file of the data directory was changed by somebody else; put it back, or the next start will be refused", "file", wrong)
		}
		said = wrong
		n.rememberIdentities()
	}
}

// A node that knows a leader looks whether it still does every leaderKnown, with the
// look at the directory, and else every leaderLook. It logs that there is none after
// leaderMissing, and again every leaderReports.
const (
	leaderKnown   = directoryLook
	leaderLook    = 500 * time.Millisecond
	leaderMissing = 3 * time.Second
	leaderReports = 10 * time.Second
)

// watchLeader logs which nodes are missing while there is no leader.
func (n *Node) watchLeader() {
	pause := time.NewTimer(leaderLook)
	defer pause.Stop()
	patience := max(leaderMissing, 5*n.config.ElectionTimeout)
	var since, report time.Time // zero while there is a leader
	for {
		select {
		case <-pause.C:
		case <-n.raft.Stopping():
			return
		}
		now, s, next := time.Now(), n.raft.Status(), leaderLook
		switch {
		case s.Leader != core.None:
			since, next = time.Time{}, leaderKnown
		case since.IsZero():
			since, report = now, now.Add(patience)
		case !now.Before(report):
			report = now.Add(leaderReports)
			message, heard, missing := describeMissing(n.config.ID, n.members(), n.transport.Stats(), now.Add(-patience))
			n.logger.Warn(message, "heard", core.JoinIDs(heard, ","), "missing", core.JoinIDs(missing, ","), "for", now.Sub(since).Round(time.Second))
		}
		pause.Reset(next)
	}
}

// describeMissing returns a sentence with the number of nodes that were heard since a
// moment and of those that are needed for a leader, and the nodes that were heard and
// that are missing. A connection may outlive what it leads to by far longer.
func describeMissing(self core.ID, all Members, stats wire.Stats, since time.Time) (message string, heard, missing []core.ID) {
	for _, id := range all.IDs() {
		p := stats.Peers[id]
		if id == self || (p.Connected || p.Accepted) && p.LastContact.After(since) {
			heard = append(heard, id)
		} else {
			missing = append(missing, id)
		}
	}
	needed := len(all)/2 + 1
	if len(heard) >= needed {
		return fmt.Sprintf("no leader: %d of %d nodes are heard, which is a majority, and none was elected yet", len(heard), len(all)), heard, missing
	}
	verb := "are"
	if len(heard) == 1 {
		verb = "is"
	}
	return fmt.Sprintf("no leader: %d of %d nodes %s heard, %d are needed", len(heard), len(all), verb, needed), heard, missing
}
