package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"raftkv/cmd/raftkv/internal/discover"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/api"
	"raftkv/kvserver/membership"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/wire"
)

// newDriver makes what carries changes of the members out, and does nothing yet.
func (n *Node) newDriver(known levels.Range) *membership.Driver {
	c := n.config
	var static []membership.Static
	for _, id := range c.Members.IDs() {
		one := membership.Static{ID: id, Peer: c.Members[id]}
		if id == c.ID {
			one.HTTP = n.clientAddress()
		}
		static = append(static, one)
	}
	return membership.New(membership.Config{
		Self: c.ID, Level: known.Max, Transport: c.transport(), Consensus: lateRaft{n}, Static: static, ElectionTimeout: c.ElectionTimeout, LostAfter: c.lostAfter,
		Shown: n.shown, Dial: n.greeting, Logger: n.logger,
		Holding: lateRaft{n}, Enforces: n.enforces,
	})
}

// transport returns how the node speaks with its peers.
func (c *Config) transport() membership.Transport {
	_, peer := c.Keys.Modes()
	return membership.Transport{DialsTLS: peer == secure.Prefer || peer == secure.Require, RequiresTLS: peer == secure.Require, SharesCertificate: c.Keys.Shared()}
}

// enforces reports whether the cluster enforces identities, as far as this node knows; yes
// while it does not know.
func (n *Node) enforces() bool {
	s := n.loaded.Load()
	if s == nil {
		return true
	}
	enforces, known := s.Enforces()
	return enforces || !known
}

// lateRaft is what is made of the node after the driver: its consensus and its service.
type lateRaft struct{ *Node }

func (l lateRaft) Status() *raft.Status                           { return l.raft.Status() }
func (l lateRaft) Reconfigure(c *raft.Reconfiguration)            { l.raft.Reconfigure(c) }
func (l lateRaft) Transfer(ctx context.Context, to raft.ID) error { return l.raft.Transfer(ctx, to) }

// Holds implements membership.Holding.
func (l lateRaft) Holds() bool { return l.directory.Holds() }

// SetHold implements membership.Holding.
func (l lateRaft) SetHold(hold bool) error { return l.directory.SetHold(hold) }

// MemberHolds implements membership.Holding.
func (l lateRaft) MemberHolds(ctx context.Context, id members.ID) (bool, error) {
	var is api.Members
	err := l.askMember(ctx, id, http.MethodGet, "/v1/members?consistency="+api.ConsistencyStale, nil, &is)
	if err == nil || errors.Is(err, membership.ErrOlder) {
		return is.Level.Hold, err
	}
	// A member that serves nobody before identities are enforced says so much to everybody:
	// they are enforced only when the level has risen.
	var open api.Digest
	if l.askMember(ctx, id, http.MethodGet, "/v1/integrity?at=1", nil, &open) == nil && open.HoldsLevel != nil {
		return *open.HoldsLevel, nil
	}
	return false, err
}

// TellMember implements membership.Holding.
func (l lateRaft) TellMember(ctx context.Context, id members.ID, hold bool) (recorded bool, err error) {
	body, err := json.Marshal(api.LevelChange{Hold: &hold})
	if err != nil {
		return false, err
	}
	var is api.Level
	err = l.askMember(ctx, id, http.MethodPost, "/v1/level?here", body, &is)
	return is.Level >= levels.Members, err
}

// askMember asks another member at its client port. The error is membership.ErrOlder if its
// program does not know the call.
func (l lateRaft) askMember(ctx context.Context, id members.ID, method, path string, body []byte, answer any) error {
	status, err := l.service.peers.Ask(ctx, string(id), method, path, body, answer)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return membership.ErrOlder
	case status != http.StatusOK:
		return fmt.Errorf("it answered with status %d", status)
	}
	return nil
}

// shown returns what a node has said of itself in its newest boot, nil if it was not heard.
func (n *Node) shown(id members.ID) *membership.Shown {
	if id == n.config.ID {
		known, _ := levels.Of(n.config.LevelMax) // checked by New
		return &membership.Shown{
			Levels: known, Build: n.config.Build, Incarnation: members.Incarnation(n.directory.Life().Incarnation),
			Peer: n.peerAddress(), HTTP: n.clientAddress(),
		}
	}
	s, heard := n.transport.Shown(id)
	if !heard {
		return nil
	}
	is := shownOf(s)
	return &is
}

func shownOf(s wire.Shown) membership.Shown {
	return membership.Shown{
		Levels: s.Levels, Build: s.Build, Incarnation: members.Incarnation(s.Incarnation),
		Peer: s.Address(wire.AddressPeer), HTTP: s.Address(wire.AddressHTTP),
	}
}

// greeting asks an address which server is there.
func (n *Node) greeting(ctx context.Context, address string) (membership.Greeting, error) {
	s, err := n.transport.Ask(ctx, address)
	if err != nil {
		return membership.Greeting{}, err
	}
	return membership.Greeting{ID: s.ID, Shown: shownOf(s)}, nil
}

// peerAddress is where other nodes reach this one's peer port.
func (n *Node) peerAddress() string {
	if n.config.AdvertisePeer != "" {
		return n.config.AdvertisePeer
	}
	if own := n.config.Members[n.config.ID]; own != "" {
		return own
	}
	return n.config.Peer.Addr().String()
}

// configured is called on the loop of consensus whenever a configuration has changed, and
// lets everything follow that has to.
func (n *Node) configured(c raft.Configurations) {
	if c.Newest.Record != nil {
		n.transport.SetMembers(n.membersOf(c))
		n.knowMembers()
	}
	if n.listDiffers(c.Newest.Record) {
		n.warnOfList()
	}
	n.driver.Configured(c)
	n.recording.Placed(c.Newest)
	n.returned(c)
	own := members.Incarnation(n.directory.Life().Incarnation)
	if r := c.Committed.Record; r != nil && r.IsRemoved(n.config.ID, own) {
		go n.turnedAway(n.config.ID, wire.ReasonRemoved, c.Committed.Index, "the record of its members, in this node's own log, says so")
	}
}

// listDiffers reports whether --cluster names others than the record, which rules.
func (n *Node) listDiffers(r *members.Record) bool {
	return r != nil && len(n.config.Members) > 0 && !slices.EqualFunc(r.Members, n.config.Members.IDs(), func(m members.Member, id core.ID) bool { return m.ID == id })
}

// awaitMembers waits until the transport goes by the record in this node's log, if there
// is one. Until then its hellos would name no generation, and a server without one takes
// every generation.
func (n *Node) awaitMembers() {
	if !n.hasRecord {
		return
	}
	select {
	case <-n.membersKnown:
	case <-n.raft.Stopping():
	}
}

// membersOf returns what the transport goes by.
func (n *Node) membersOf(c raft.Configurations) wire.Members {
	newest := c.Newest.Record
	m := wire.Members{
		Version: c.Newest.Index, Generation: newest.Generation, Committed: c.Committed.Index,
		Peers: map[core.ID]wire.Peer{}, Removed: map[wire.RemovedDirectory]uint64{},
	}
	for i := range newest.Members {
		if one := &newest.Members[i]; one.ID != n.config.ID {
			m.Peers[one.ID] = wire.Peer{Address: one.Peer, Incarnation: identity.Incarnation(one.Incarnation), Leaves: one.Role == members.Leaving}
		}
	}
	if r := c.Committed.Record; r != nil {
		m.Level = r.Level
		for _, gone := range r.Removed {
			if gone.Incarnation != (members.Incarnation{}) {
				m.Removed[wire.RemovedDirectory{ID: gone.ID, Incarnation: identity.Incarnation(gone.Incarnation)}] = gone.Index
			}
		}
	}
	return m
}

// turnedAway ends the node because its data directory is none of a member's any more. The
// directory is marked, so that no node starts on it again.
func (n *Node) turnedAway(by core.ID, why identity.Reason, version uint64, detail string) {
	sentence := fmt.Sprintf("the data directory %s of node %s was removed from cluster %s by the configuration of entry %d, as node %s says, and is never a member again (%s). To use the node again, empty the directory and let it join (raftkv serve --join)",
		n.config.DataDir, n.config.ID, n.config.ClusterID, version, by, detail)
	if why == wire.ReasonGeneration {
		sentence = fmt.Sprintf("the data directory %s of node %s was left behind when cluster %s was recovered from the loss of its majority, as node %s says (%s). To use the node again, empty the directory and let it join (raftkv serve --join)",
			n.config.DataDir, n.config.ID, n.config.ClusterID, by, detail)
	}
	n.raft.Fail(n.directory.Remove(version, sentence))
}

// members returns the members of the cluster with the addresses of their peer ports, as
// far as this node knows.
func (n *Node) members() Members {
	r := n.driver.Configurations().Newest.Record
	if r == nil {
		return n.config.Members
	}
	all := Members{}
	for i := range r.Members {
		all[r.Members[i].ID] = r.Members[i].Peer
	}
	return all
}

// voters returns the nodes that vote, as far as this one knows.
func (n *Node) voters() []string {
	if r := n.driver.Configurations().Newest.Record; r != nil {
		return names(r.Voters())
	}
	return names(n.config.Members.IDs())
}

// otherVoters returns them without this node.
func (n *Node) otherVoters() []string {
	return slices.DeleteFunc(n.voters(), func(id string) bool { return id == string(n.config.ID) })
}

// clientAddr returns where a node takes clients, "" if that is not known.
func (n *Node) clientAddr(id string) string {
	if addr := n.transport.ClientAddr(core.ID(id)); addr != "" {
		return addr
	}
	if r := n.driver.Configurations().Newest.Record; r != nil {
		if m := r.Member(core.ID(id)); m != nil {
			return m.HTTP
		}
	}
	return ""
}

// newestRecord returns the record of members with which a log ends, nil if it has none.
func newestRecord(state *core.State) (*members.Record, error) {
	record := state.Snapshot.Members.Record
	for i := range state.Entries {
		if e := &state.Entries[i]; e.Kind == core.KindConfiguration {
			r, err := members.Decode(e.Data)
			if err != nil {
				return nil, &Failure{fmt.Errorf("the log entry at index %d: %w", e.Index, err)}
			}
			record = r
		}
	}
	return record, nil
}

// checkLevel refuses to start on a directory whose cluster works at a level that this
// program does not know.
func (n *Node) checkLevel(known levels.Range) error {
	record, err := newestRecord(&n.state)
	n.hasRecord = record != nil
	if err != nil || record == nil {
		return err
	}
	if record.Settings.PeerTLS && !n.config.transport().RequiresTLS {
		return fmt.Errorf("the members of cluster %s have agreed to speak TLS alone to each other (peer_tls_required), and this node would take peers in clear: start it with --peer-tls require, or take the setting back at /v1/cluster/settings first", n.config.ClusterID)
	}
	if known.Knows(record.Level) {
		return nil
	}
	return &Failure{fmt.Errorf("the cluster of the data directory %s works at level %d, and this program at levels %v: start the newer raftkv that ran here; nothing was changed", n.config.DataDir, record.Level, known)}
}

// startDriver lets the driver work until the node ends.
func (n *Node) startDriver() {
	ctx, cancel := context.WithCancel(context.Background())
	go n.driver.Run(ctx)
	go func() {
		<-n.raft.Stopping()
		cancel()
	}()
}

// startSeeking looks for members where --discover says, until the node ends.
func (n *Node) startSeeking() {
	if len(n.config.Discover) == 0 {
		return
	}
	seeker := &discover.Seeker[core.ID]{
		Sources: n.config.Discover, DNS: net.DefaultResolver, Pause: n.config.discoverPause, Logger: n.logger,
		Missing: func() []core.ID {
			led := n.raft.Status().Leader != core.None
			return missing(n.config.ID, n.driver.Configurations().Newest.Record, n.config.Members, n.transport.Stats(), led)
		},
		Found: n.transport.Suggest,
		Ask: func(ctx context.Context, address string) (core.ID, error) {
			s, err := n.transport.Ask(ctx, address)
			return s.ID, err
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	go seeker.Run(ctx)
	go func() {
		<-n.raft.Stopping()
		cancel()
	}()
}

// missing returns the members with whom a node is not connected in either direction. It
// returns nobody while the node knows a leader and is connected with a majority of the voters,
// itself among them. A majority alone is not enough: the leader may be the one that is missing,
// and the leader, with a majority of its own, looks for nobody.
func missing(self core.ID, record *members.Record, list Members, stats wire.Stats, led bool) (missing []core.ID) {
	voters, all := list.IDs(), list.IDs()
	if record != nil {
		voters, all = record.Voters(), nil
		for i := range record.Members {
			all = append(all, record.Members[i].ID)
		}
	}
	reached := 0
	for _, id := range all {
		p := stats.Peers[id]
		there := id == self || p.Connected || p.Accepted
		if !there {
			missing = append(missing, id)
		} else if slices.Contains(voters, id) {
			reached++
		}
	}
	if led && reached >= members.Majority(len(voters)) {
		return nil
	}
	return missing
}

// IsRemoved reports whether a node ended, or did not start, because its cluster has removed
// its data directory from the members.
func IsRemoved(err error) bool {
	var removed *datadir.RemovedError
	return errors.As(err, &removed)
}
