package main

import (
	"log/slog"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
)

// journal writes down who leads, and why this node began or ended to. It is the
// raft.Observer of a node.
type journal struct{ logger *slog.Logger }

// Changed implements raft.Observer.
func (j journal) Changed(before, after *raft.Status) {
	about := []any{"term", after.Term}
	switch was, now := before.Counts, after.Counts; {
	case now.StalledDisk > was.StalledDisk:
		j.logger.Error("the disk hangs: leadership was given up", about...)
	case now.LostQuorum > was.LostQuorum:
		j.logger.Warn("no majority answers: leadership was given up", about...)
	case now.Transferred > was.Transferred:
		j.logger.Info("this node leads, because the leader before handed over", about...)
	case now.Elected > was.Elected:
		j.logger.Info("this node leads, because it was elected", about...)
	case before.Role == core.Leader && after.Role != core.Leader:
		j.logger.Info("another node took over leadership", about...)
	case after.Leader != core.None && (after.Leader != before.Leader || after.Term != before.Term):
		j.logger.Info("another node leads", append(about, "leader", string(after.Leader))...)
	case after.Leader == core.None && before.Leader != core.None:
		j.logger.Debug("no leader is known", about...)
	}
}

// Saved implements raft.Observer.
func (journal) Saved(*core.Write, time.Duration) {}

// Committed implements raft.Observer.
func (journal) Committed(time.Duration) {}

// Delivered implements raft.Observer.
func (journal) Delivered(*core.Batch, time.Duration) {}
