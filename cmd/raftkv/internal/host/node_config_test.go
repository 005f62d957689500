package host

import (
	"log/slog"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// Goal: what keeps a cluster quiet and its reads right is switched on in every
// node: asking before standing, stepping down without a majority or a disk, an
// entry of the new leader's own; and what a node may take fits in a frame to its
// peers. Method: the configuration of a node with the largest values.
func TestNodesRunWithEverySafeguard(t *testing.T) {
	config := Config{
		ID: "n1", Members: Members{"n1": "h:1", "n2": "h:2", "n3": "h:3"},
		MaxValueBytes: MaxValueBytes, ElectionTimeout: 300 * time.Millisecond,
	}
	n := &Node{config: config, logger: slog.New(slog.DiscardHandler), registry: newRegistry(config)}
	c := n.raftConfig()
	if !c.Core.PreVote || !c.Core.CheckQuorum || !c.Core.Noop {
		t.Errorf("pre-vote %v, check-quorum %v, no-op %v", c.Core.PreVote, c.Core.CheckQuorum, c.Core.Noop)
	}
	if s := c.Core.StallTicks; s <= 2*c.Core.ElectionTicks || s > 6*c.Core.ElectionTicks {
		t.Errorf("a disk hangs after %d ticks, an election takes %d", s, c.Core.ElectionTicks)
	}
	if c.Core.ElectionTicks < 4*c.Core.HeartbeatTicks || c.TickInterval != config.ElectionTimeout/time.Duration(c.Core.ElectionTicks) {
		t.Errorf("elections after %d ticks of %v, heartbeats every %d", c.Core.ElectionTicks, c.TickInterval, c.Core.HeartbeatTicks)
	}
	if c.Core.MaxEntryBytes > wire.MaxEntryBytes || c.Core.MaxEntryBytes < MaxValueBytes {
		t.Errorf("entries of up to %d bytes, of which %d fit in a frame", c.Core.MaxEntryBytes, wire.MaxEntryBytes)
	}
	if c.Core.TrailingBytes == 0 || len(c.Core.Peers) != 3 || c.Core.ID != core.ID("n1") {
		t.Errorf("%+v", c.Core)
	}
}
