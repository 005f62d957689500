package host

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// newestSnapshot opens the newest snapshot on a node's disk.
func newestSnapshot(t *testing.T, n *Node, disk vfs.FS) (vfs.File, string, int64) {
	t.Helper()
	dir := filepath.Join(n.config.DataDir, datadir.LogDir)
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, name := range names {
		if strings.HasSuffix(name, ".snap") && name > newest {
			newest = name
		}
	}
	path := filepath.Join(dir, newest)
	f, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	return f, path, size
}

// senders returns the nodes that have sent a whole snapshot to another.
func senders(nodes []*Node, to *Node) (some []*Node) {
	for _, n := range nodes {
		if n != to && n.transport.Stats().Peers[to.config.ID].SnapshotsSent > 0 {
			some = append(some, n)
		}
	}
	return some
}

// Goal: a follower that needs the leader's snapshot gets one though the file of the
// leader's newest is damaged or gone, without another write: the leader finds it
// out before it sends anything, counts and logs it, and the store takes another.
// The follower is sent no damaged byte. The counters are those of the nodes that sent. Method: three nodes, one away while the log
// is cut off behind it; one bit of the header, of a block and of the trailer flips,
// the end is cut off, or the file is removed.
func TestADamagedSnapshotOfTheLeaderKeepsNobodyAway(t *testing.T) {
	flip := func(at func(size int64) int64) func(*testing.T, vfs.FS, vfs.File, string, int64) {
		return func(t *testing.T, _ vfs.FS, f vfs.File, _ string, size int64) {
			var b [1]byte
			if _, err := f.ReadAt(b[:], at(size)); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1
			if _, err := f.WriteAt(b[:], at(size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(*testing.T, vfs.FS, vfs.File, string, int64){
		"header":  flip(func(int64) int64 { return 50 }),
		"block":   flip(func(size int64) int64 { return size / 2 }),
		"trailer": flip(func(size int64) int64 { return size - 1 }),
		"gone": func(t *testing.T, disk vfs.FS, _ vfs.File, path string, _ int64) {
			if err := disk.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, disks := threeNodes(t)
			away := aFollower(nodes)
			put(t, nodes[away], "before", "away")
			if err := nodes[away].Close(); err != nil {
				t.Fatal(err)
			}
			other := nodes[(away+1)%3]
			for i := range 200 {
				put(t, other, fmt.Sprintf("k%d", i%50), fmt.Sprintf("%d-%s", i, strings.Repeat("v", 500)))
			}
			leader, wrote := -1, uint64(202) // entries, with the leader's first and the one before
			eventually(t, "another node leads, its log is cut off, and its newest snapshot is the one to be sent", func() bool {
				for i, n := range nodes {
					s := n.raft.Status()
					if i == away || s.Role != core.Leader {
						continue
					}
					if s.LastIndex < wrote {
						return false // the status is from before the last write
					}
					// Behind it there is no more log than is kept in memory, a few of these
					// writes, so no other one is wanted; a snapshot takes some thirty, so
					// none is being taken now.
					newest := n.wal.Stats().SnapshotIndex
					if s.FirstIndex > 100 && s.FirstIndex <= newest+1 && s.LastIndex <= newest+5 {
						leader = i
						return true
					}
					put(t, other, "k0", strings.Repeat("v", 500))
					wrote++
				}
				return false
			})
			f, path, size := newestSnapshot(t, nodes[leader], disks[leader])
			damage(t, disks[leader], f, path, size)
			f.Close()

			n := runs(t, again(t, nodes[away].config, disks[away]))
			nodes[away] = n
			eventually(t, "the follower has a snapshot and all that follows", func() bool {
				return n.raft.Status().LastApplied >= nodes[leader].raft.Status().CommitIndex && n.wal.Stats().SnapshotIndex > 0
			})
			if failed := n.transport.Stats().Peers[nodes[leader].config.ID].SnapshotsFailed; failed > 0 {
				t.Errorf("the follower refused %d snapshots of the leader", failed)
			}
			// On a busy machine another node may lead by now, and send its own.
			eventually(t, "a sender knows that its snapshot has arrived", func() bool { return len(senders(nodes, n)) > 0 })
			for _, s := range senders(nodes, n) {
				want := uint64(0)
				if s == nodes[leader] {
					want = 1
				}
				if lost := s.wal.Stats().Lost; lost != want {
					t.Errorf("%s has sent a snapshot and found %d damaged ones, not %d", s.config.ID, lost, want)
				}
			}
		})
	}
}
