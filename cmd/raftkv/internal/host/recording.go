package host

import (
	"context"
	"errors"
	"io/fs"

	"raftkv/cmd/raftkv/internal/flight"
	"raftkv/kvserver"
	"raftkv/kvserver/recorder"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// record begins to record the node's life. The directory must have begun this boot.
func (n *Node) record() {
	if n.config.unrecorded {
		return
	}
	w, life := n.wal.Stats(), n.directory.Life()
	n.recording = flight.Open(flight.Config{
		FS: n.config.FS, DataDir: n.config.DataDir, Node: n.config.ID, Members: n.config.Members.IDs(),
		Boot: life.Boot, Anew: life.Rejoined && life.Boot == 1, Build: n.config.Build, Tick: n.config.ElectionTimeout / electionTicks, Logger: n.logger,
	})
	n.recording.Started(&n.state, w.Cut.Bytes, w.PassedOver != nil)
}

// figures returns what the recording looks at once a second; false before the node
// serves.
func (n *Node) figures() (flight.Figures, bool) {
	service := n.loaded.Load()
	if service == nil {
		return flight.Figures{}, false
	}
	f := flight.Figures{Status: n.raft.Status(), Snapshot: n.wal.Stats().SnapshotBytes, Quarantined: service.Integrity().Fault != ""}
	for _, class := range []kvserver.Class{kvserver.Writes, kvserver.Deletes, kvserver.Reads} {
		f.Served += service.Load(class).PerSecond
	}
	return f, true
}

// Staged records what somebody did to a node, or to all of them ("").
func (n *Node) Staged(to core.ID, why recorder.Why) { n.recording.Staged(to, why) }

// recordFailure records why the node ends itself.
func (n *Node) recordFailure(err error) {
	why := recorder.Other
	var broken *core.Broken
	var disk *fs.PathError
	switch {
	case vfs.IsNoSpace(err):
		why = recorder.NoSpace
	case errors.As(err, &broken):
		why = recorder.Diverged
	case n.directory.Fenced():
		why = recorder.Fenced
	case errors.As(err, &disk):
		why = recorder.DiskError
	}
	n.recording.Record(recorder.Failed, why)
}

// askedTransfers is consensus as the service knows it. It records that somebody asked
// for another leader. A node that is quarantined hands over by itself.
type askedTransfers struct {
	*raft.Raft
	n *Node
}

// Transfer implements machine.Consensus.
func (a askedTransfers) Transfer(ctx context.Context, to core.ID) error {
	if service := a.n.loaded.Load(); service == nil || service.Integrity().Fault == "" {
		a.n.recording.Record(recorder.TransferAsked, recorder.None)
	}
	return a.Raft.Transfer(ctx, to)
}
