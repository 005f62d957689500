package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// storage is a log as the node wants it.
type storage struct {
	*wal.WAL
	directory *directory
	announce  func() error // tells the others that this node has a goal; see rejoin.go
	logger    *slog.Logger
}

// WriteSnapshot implements node.Snapshots. It leaves room for the log's writes.
func (s storage) WriteSnapshot(at core.Snapshot, write func(io.Writer) error) error {
	err := s.WAL.WriteSnapshot(at, func(to io.Writer) error { return write(newPacedWriter(to)) })
	if errors.Is(err, wal.ErrObsolete) {
		return fmt.Errorf("%w: %w", raft.ErrCompacted, err)
	}
	return err
}

// Wanted implements node.Preparer.
func (s storage) Wanted() <-chan struct{} { return s.NeedsSpare() }

// Prepare implements node.Preparer. For lack of room the spare segment is left
// unmade and the node goes on: the present segment still takes writes, and the
// next one is tried again when it is needed.
func (s storage) Prepare() error {
	err := s.WAL.Prepare()
	if vfs.IsNoSpace(err) {
		s.logger.Warn("the disk has no room for the log's next segment; free some before the present one is full", "error", err)
		return nil
	}
	return err
}
