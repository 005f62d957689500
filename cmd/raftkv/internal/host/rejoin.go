package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/raft/wire"
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
// than it knows, which is safe. Before both comes the uid of the cluster that gave the
// goal: a node that is bound by a goal must know to whom.
func (s storage) Save(w *core.Write) error {
	if w.GoalUID != (core.UID{}) {
		if err := s.learn(w.GoalUID); err != nil {
			return err
		}
	}
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
		if s.Rejoining.On && s.Rejoining.Term == 0 && n.heardOfRecord() {
			n.raft.Fail(errHasRecord)
			return
		}
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

// checkRejoin returns an error if a node may not come back as in a cluster without a record of
// its members, by the number of those in its list. why says why no record was found.
func checkRejoin(self core.ID, members int, why string) error {
	if members >= minMembersToRejoin {
		return nil
	}
	return fmt.Errorf("--rejoin found no cluster to come back to (%s). If the cluster has grown since --cluster, which names %d, was written, name nodes that run: in --cluster, or with --join host:port --replace %s in place of --rejoin. "+
		"If it has not, it needs at least %d nodes to take one back: without this node the others are no majority, and nobody can know what it had confirmed; restore the cluster from a backup",
		why, members, self, minMembersToRejoin)
}

// In a cluster that has a record of its members, a node that lost its disk comes back as
// every other new directory does: it joins, as a learner, and takes the place of its own
// name (membership.md, section 7). A majority suffices for that, and it is the record that
// says which servers count, not the list in --cluster. A cluster without a record is asked in
// another way (core.Rejoining), which needs all other nodes. So first the others are asked
// which it is: those of the list, and those whom discovery finds, since the list may be older
// than the cluster. If none that answers has a record, the node begins as without one, and ends
// as soon as one with a record is heard: started again, it joins (errHasRecord).

// settleReturn decides how a node comes back on an empty directory, before it promises
// anything. If it has begun to join, it waits until a node with the record is heard, or ctx
// has ended.
func (n *Node) settleReturn(ctx context.Context) error {
	c := &n.config
	begun := n.directory.Joins()
	void := n.state.Term == 0 && n.state.Snapshot.Index == 0 && len(n.state.Entries) == 0
	if len(c.Members) == 0 || len(c.Join.Addresses) > 0 || n.hasRecord || !begun && !(c.Rejoin && void) {
		return nil
	}
	if len(c.Members) == 1 && len(c.Discover) == 0 {
		return checkRejoin(c.ID, 1, "--cluster names this node alone, and there is no --discover, so there is nobody to ask")
	}
	probe, err := n.newProbe()
	if err != nil {
		return err
	}
	for report := time.Now().Add(time.Second); ; {
		shown, silent := n.askOthers(ctx, probe)
		addresses, why := judgeReturn(append(shown, n.askAround(ctx, probe)...), silent)
		switch {
		case len(addresses) > 0:
			c.Join = Join{Addresses: addresses, Replaces: c.ID}
			n.willJoin()
			n.returns.Store(true)
			return nil
		case !begun:
			return checkRejoin(c.ID, len(c.Members), why)
		}
		if now := time.Now(); now.After(report) {
			report = now.Add(rejoinReports)
			n.logger.Warn("this node cannot come back yet", "because", why)
		}
		select {
		case <-time.After(rejoinLook):
		case <-ctx.Done():
			return fmt.Errorf("the node was ended before it knew how to come back (%s): %w", why, ctx.Err())
		}
	}
}

// newProbe returns a transport that can ask and answer which server is where, and does nothing else.
func (n *Node) newProbe() (*wire.Transport, error) {
	c := &n.config
	return wire.New(wire.Config{
		ClusterID: c.ClusterID, ID: c.ID, Listener: c.Peer, ClientAddr: n.clientAddress(), ClientTLS: c.speaksTLS(), TLS: c.Keys.Wire(),
		LevelMax: c.LevelMax, Build: c.Build, Joining: true, Logger: slog.New(slog.DiscardHandler), Dial: c.Dial,
	})
}

// willJoin makes the node one that joins: its list says nothing any more but its own address.
func (n *Node) willJoin() {
	c := &n.config
	c.AdvertisePeer, c.AdvertiseHTTP = n.peerAddress(), n.clientAddress()
	c.Members = nil
	n.directory.JoinAgain()
}

// ComesBack reports whether the node has lost its disk and does not vote yet.
func (n *Node) ComesBack() bool { return n.returns.Load() || n.raft.Status().Rejoining.On }

// returned says that a node which came back by joining votes again, once the record that
// says so is committed.
func (n *Node) returned(c raft.Configurations) {
	if !n.returns.Load() || c.Committed.Record == nil {
		return
	}
	m := c.Committed.Record.Member(n.config.ID)
	if m != nil && m.Role == members.Voter && m.Incarnation == members.Incarnation(n.directory.Life().Incarnation) && n.returns.CompareAndSwap(true, false) {
		n.logger.Info("this node is a full member again", "version", c.Committed.Index, "took", time.Since(n.begun).Round(time.Millisecond))
	}
}

// askOthers asks all other nodes of the list for their identities.
func (n *Node) askOthers(ctx context.Context, probe *wire.Transport) (shown []wire.Shown, silent []core.ID) {
	others := n.config.Members.Others(n.config.ID)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, id := range others.IDs() {
		all.Go(func() {
			s, err := probe.Ask(ctx, others[id])
			mu.Lock()
			defer mu.Unlock()
			if err == nil && s.ID == id {
				shown = append(shown, s)
				return
			}
			silent = append(silent, id)
			n.logger.Debug("a node was not heard", "peer", string(id), "address", others[id], "it is", string(s.ID), "error", err)
		})
	}
	all.Wait()
	return shown, silent
}

// judgeReturn returns where to ask to join, if one of the nodes that were heard has a
// record of the members, and else why there is nobody to ask.
func judgeReturn(shown []wire.Shown, silent []core.ID) (addresses []string, waits string) {
	var uid core.UID
	for _, s := range shown {
		if s.UID == (core.UID{}) {
			continue
		}
		if uid != (core.UID{}) && uid != s.UID {
			return nil, fmt.Sprintf("the nodes that answer belong to different clusters of this name (uids %v and %v): correct the addresses in --cluster", uid, s.UID)
		}
		uid = s.UID
	}
	for i := range shown {
		if address := clientURL(&shown[i]); shown[i].Generation != 0 && address != "" {
			addresses = append(addresses, address)
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Sprintf("no node that was heard has the record of the members, and these were not heard: %s", core.JoinIDs(silent, ", "))
	}
	return addresses, ""
}

// errHasRecord ends a node that comes back as in a cluster without a record, and has heard
// of one.
var errHasRecord = errors.New("the cluster has a record of its members, of which this node had not heard when it began to come back: start it again, and it joins anew")

// learnGoal makes the uid of the cluster known that gave the goal. The goal is made of the
// answers of all nodes in the list. With a record others may vote, too, of whom this node
// knows nothing: then the goal is worth nothing, and is not kept.
func (n *Node) learnGoal(uid core.UID) error {
	if n.directory.Rejoining().Term == 0 && n.heardOfRecord() {
		return errHasRecord
	}
	return n.learn(uid)
}

// heardOfRecord reports whether another node has said that there is a record.
func (n *Node) heardOfRecord() bool {
	for _, id := range n.config.Members.Others(n.config.ID).IDs() {
		if s, heard := n.transport.Shown(id); heard && s.Generation > 0 {
			return true
		}
	}
	return false
}
