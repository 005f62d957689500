package host

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
)

// minMembersToRejoin is how many members a cluster needs so that one that lost its disk
// can come back: of two, the other alone is no majority.
const minMembersToRejoin = 3

// A node that is coming back looks every rejoinLook how far it is, and logs it every
// rejoinReports.
const (
	rejoinLook    = 100 * time.Millisecond
	rejoinReports = 10 * time.Second
)

// Save implements node.Storage. First the promises of a node become durable, and then
// how far it has come back. After a crash between the two, the node has promised more
// than it knows, which is safe.
func (s storage) Save(w *core.Write) error {
	if err := s.WAL.Save(w); err != nil {
		return err
	}
	if err := s.directory.SetRejoining(w.Rejoining); err != nil {
		return err
	}
	s.directory.Saved(w)
	if w.Rejoining.On && w.Rejoining.Term > 0 {
		return s.announce()
	}
	return nil
}

// errNotAnnounced fails a write if the node ends before the others know its goal.
var errNotAnnounced = errors.New("the node ended before all others had been told that it comes back")

// announceOnce tells all other nodes, once in a process, that this one comes back
// and has its goal. Before that it may promise nothing: to each of them the old
// directory might come back instead (wire.Transport.Announce).
func (n *Node) announceOnce() error {
	n.announcing.Lock()
	defer n.announcing.Unlock()
	if !n.announced && !n.transport.Announce() {
		return errNotAnnounced
	}
	n.announced = true
	return nil
}

// resumeRejoin keeps a node that was started again while it comes back silent until the
// others have heard of its goal.
func (n *Node) resumeRejoin() {
	if r := n.state.Rejoining; !r.On || r.Term == 0 {
		return
	}
	n.transport.Hush()
	go func() { _ = n.announceOnce() }() // it fails only when the node ends
}

// watchRejoin logs how the node comes back after it lost its disk, until it has or
// the node ends.
func (n *Node) watchRejoin() {
	if !n.raft.Status().Rejoining.On {
		return
	}
	n.logger.Warn("this node has lost its disk and comes back: it votes for nobody until it has what it may have confirmed before")
	begun := time.Now()
	ticker := time.NewTicker(rejoinLook)
	defer ticker.Stop()
	said, report := core.Rejoining{On: true}, begun.Add(time.Second)
	for {
		select {
		case <-ticker.C:
		case <-n.raft.Stopping():
			return
		}
		s := n.raft.Status()
		switch now := time.Now(); {
		case !s.Rejoining.On:
			n.logger.Info("this node is a full member again", "commit", s.CommitIndex, "took", now.Sub(begun).Round(time.Millisecond))
			return
		case s.Rejoining != said || now.After(report):
			said, report = s.Rejoining, now.Add(rejoinReports)
			reportRejoin(n.logger, s, len(n.config.Members))
		}
	}
}

// reportRejoin logs for what a node that is coming back waits.
func reportRejoin(logger *slog.Logger, s *raft.Status, members int) {
	unheard, too := core.JoinIDs(s.RejoinUnheard, ", "), core.JoinIDs(s.RejoinToo, ", ")
	switch {
	case s.Rejoining.Term > 0:
		logger.Info("this node comes back: it fetches what it may have confirmed before", "goal", s.Rejoining.Index, "commit", s.CommitIndex, "leader", string(s.Leader))
	case len(s.RejoinUnheard) > 0:
		logger.Warn("this node cannot come back before it has heard all others; one that is lost for good must be started with --rejoin on an empty directory as well", "unheard", unheard, "rejoining", too)
	case 2*(members-1-len(s.RejoinToo)) <= members:
		logger.Error("this node cannot come back: so many have lost their disks that the others are no majority. Nobody can know what the cluster had confirmed: restore it from a backup (docs/operations.md, \"Quorum lost\")", "rejoining", too)
	default:
		logger.Warn("this node cannot come back before the others have a leader", "rejoining", too)
	}
}

// CheckRejoin returns an error if a node of a cluster with this number of members may not
// be started with --rejoin.
func CheckRejoin(members int) error {
	if members >= minMembersToRejoin {
		return nil
	}
	return fmt.Errorf("--rejoin needs a cluster of at least %d nodes, and --cluster names %d: without this node the others are no majority, so that nobody can know what it had confirmed; restore the cluster from a backup",
		minMembersToRejoin, members)
}
