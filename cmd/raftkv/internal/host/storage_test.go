package host

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// newDirectory returns a data directory that nobody has used yet.
func newDirectory(t *testing.T) *datadir.Directory {
	t.Helper()
	d, err := datadir.Check(vfs.NewCrashable(), "/d", datadir.NewOwner("c", "n1", []core.ID{"n1"}))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

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
		s := storage{log, newDirectory(t), nil, nil, slog.New(slog.DiscardHandler)}
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
	s := storage{log, newDirectory(t), nil, nil, slog.New(slog.DiscardHandler)}
	defer s.Close()
	entries := []core.Entry{core.NewEntry(1, 1, core.KindCommand, nil), core.NewEntry(2, 1, core.KindCommand, nil), core.NewEntry(3, 1, core.KindCommand, nil)}
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

// Goal: how far a node has come back is durable only with what it has promised:
// after a crash at any moment of the write that has its goal, a node that has the
// goal also has the term and the vote.
// In the same way, a node that has the term also has the uid of the cluster that gave it.
// Method: the disk fails at each operation of that write, and the power is cut.
func TestHowFarANodeHasComeBackIsDurableAfterWhatItPromised(t *testing.T) {
	goal := core.Rejoining{On: true, Term: 7, Index: 9}
	onDisk := func(fsys vfs.FS) (s storage, held core.State, err error) {
		log, held, err := wal.Open(wal.Options{FS: fsys, Dir: filepath.Join("/d", datadir.LogDir), ClusterID: "c", NodeID: "n1"})
		if err != nil {
			return s, held, err
		}
		d, err := datadir.Check(fsys, "/d", datadir.NewOwner("c", "n1", []core.ID{"n1"}))
		if err == nil {
			err = d.Begin(&held, held.Term == 0)
		}
		return storage{log, d, d.LearnUID, func() error { return nil }, slog.New(slog.DiscardHandler)}, held, err
	}
	saved, between := false, 0
	for steps := 0; !saved; steps++ {
		crashable := vfs.NewCrashable()
		if err := errors.Join(crashable.MkdirAll("/d"), crashable.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		disk := vfs.NewFaulty(crashable)
		s, _, err := onDisk(disk)
		if err != nil {
			t.Fatal(err)
		}
		left := steps
		disk.Hook(func(vfs.Op) error {
			if left--; left < 0 {
				return syscall.EIO
			}
			return nil
		})
		saved = s.Save(&core.Write{Seq: 1, Term: 7, VotedFor: "n1", Rejoining: goal, GoalUID: core.UID{5}}) == nil
		after, held, err := onDisk(crashable.Crash(rand.New(rand.NewPCG(1, uint64(steps))), vfs.LoseUnsynced))
		if err != nil {
			t.Fatalf("%d operations: %v", steps, err)
		}
		promised, reached := held.Term == 7 && held.VotedFor == "n1", after.directory.Rejoining() == goal
		if reached && !promised || saved && !reached {
			t.Errorf("%d operations: saved %v, term %d, vote %q, %+v", steps, saved, held.Term, held.VotedFor, after.directory.Rejoining())
		}
		if promised && after.directory.UID() != (core.UID{5}) {
			t.Errorf("%d operations: the node has a term and not the uid of the cluster that gave it", steps)
		}
		if promised && !reached {
			between++
		}
		_, _ = s.Close(), after.Close()
	}
	if between == 0 {
		t.Error("void: there was no crash between the two")
	}
}

// Goal: a disk without inodes is not called a full one, since bytes cannot be freed
// to help it.
// Method: both lacks, and this machine's disk, which has inodes.
func TestAWantOfInodesIsCalledThat(t *testing.T) {
	if text := whatIsShort(true); !strings.Contains(text, "inode") {
		t.Errorf("without inodes there is %s", text)
	}
	if text := whatIsShort(process.NoInodes(t.TempDir())); strings.Contains(text, "inode") {
		t.Errorf("with inodes there is %s", text)
	}
}

// Goal: the cluster's uid, which a running node writes into raftkv.toml, may meet a disk
// that fails. For want of room the node says so, serves on, and writes it after its next
// start; on any other failure it ends and names the file.
// Method: a new cluster of one, in which every change of that file fails from the start on.
func TestTheUIDThatCannotBeWrittenWaitsForRoomOrEndsTheNode(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		disk := vfs.NewFaulty(vfs.NewCrashable())
		config := testConfigs(t, disk)[0]
		n, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		struck := make(chan struct{})
		var once sync.Once
		disk.Hook(func(op vfs.Op) error {
			changes := op.Kind == vfs.OpCreate || op.Kind == vfs.OpWrite || op.Kind == vfs.OpSync || op.Kind == vfs.OpRename
			if !changes || !strings.HasPrefix(filepath.Base(op.Path), datadir.OwnerFile) {
				return nil
			}
			once.Do(func() { close(struck) })
			return cause
		})
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Serve(ctx, func() {}) }()
		select {
		case <-struck:
		case <-time.After(20 * time.Second):
			t.Fatal("void: the node never wrote its cluster's uid")
		}
		full := vfs.IsNoSpace(cause)
		if full {
			awaitStatus(t, n, "/readyz", 200)
			if status, _, body := ask(t, n, "PUT", "/v1/kv/k", "v"); status != 201 {
				t.Errorf("without room for the uid: PUT %d %s", status, body)
			}
			end()
		}
		select {
		case err = <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%v: the node goes on", cause)
		}
		end()
		if full && err != nil || !full && (!isFailure(err) || !strings.Contains(err.Error(), datadir.OwnerFile) || !errors.Is(err, cause)) {
			t.Errorf("%v: the node ends with %v", cause, err)
		}
		uid := func() string {
			owner, found, err := datadir.ReadOwner(disk, config.DataDir, "")
			if err != nil || !found {
				t.Fatalf("the owner of the directory: %v, %v", found, err)
			}
			return owner.UID
		}
		if uid() != "" {
			t.Errorf("void: %v: the uid was written", cause)
		}
		disk.Hook(nil)
		nodes := startNodes(t, testConfigs(t, disk))
		for deadline := time.Now().Add(10 * time.Second); uid() == "" && time.Now().Before(deadline); {
			awaitStatus(t, nodes[0], "/readyz", 200)
		}
		if uid() == "" {
			t.Errorf("%v: the uid is missing after a start with room", cause)
		}
		nodes[0].Close()
	}
}
