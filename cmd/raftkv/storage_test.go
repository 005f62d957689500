package main

import (
	"errors"
	"io"
	"log/slog"
	"syscall"
	"testing"

	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// Goal: the log's next segment may wait for room on the disk, and nothing else
// may: a node ends on any other failure. A snapshot that a newer one has made
// superfluous is told to consensus in its own words. Method: a log on a disk that
// is full, or broken, when the segment is made; and a snapshot behind a newer one.
func TestTheNodesStorage(t *testing.T) {
	for _, c := range []struct {
		disk error
		ends bool
	}{{syscall.ENOSPC, false}, {syscall.EIO, true}} {
		fsys := vfs.NewFaulty(vfs.NewCrashable())
		log, _, err := wal.Open(wal.Options{FS: fsys, Dir: "/d", ClusterID: "c", NodeID: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		s := storage{log, &directory{turn: make(chan struct{}, 1)}, slog.New(slog.DiscardHandler)}
		fsys.Inject(vfs.Fault{Kind: vfs.OpCreate, Nth: fsys.Count(vfs.OpCreate) + 1, Err: c.disk})
		if err := s.Prepare(); (err != nil) != c.ends {
			t.Errorf("%v while the next segment is made: %v", c.disk, err)
		}
		_ = s.Close()
	}

	log, _, err := wal.Open(wal.Options{FS: vfs.NewCrashable(), Dir: "/d", ClusterID: "c", NodeID: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	s := storage{log, &directory{turn: make(chan struct{}, 1)}, slog.New(slog.DiscardHandler)}
	defer s.Close()
	entries := []core.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1}, {Index: 3, Term: 1}}
	newer := core.Snapshot{Index: 3, Term: 1}
	nothing := func(io.Writer) error { return nil }
	if err := s.Save(&core.Write{Seq: 1, Term: 1, From: 1, Entries: entries}); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteSnapshot(newer, nothing); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(&core.Write{Seq: 2, Term: 1, Snapshot: &newer}); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteSnapshot(core.Snapshot{Index: 2, Term: 1}, nothing); !errors.Is(err, raft.ErrCompacted) || !errors.Is(err, wal.ErrObsolete) {
		t.Errorf("a snapshot behind a newer one: %v", err)
	}
}
