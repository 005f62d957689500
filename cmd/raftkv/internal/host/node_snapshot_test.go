package host

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// put writes through a node, which must succeed in time: a cluster that is just
// electing a leader says that nothing happened.
func put(t *testing.T, n *Node, key, value string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, kvError, body := ask(t, n, "PUT", "/v1/kv/"+key, value)
		if status == 200 || status == 201 {
			return
		}
		if time.Now().After(deadline) || !strings.Contains(kvError, "outcome=not_applied") {
			t.Fatalf("PUT %s: %d %s %s", key, status, kvError, body)
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// Goal: a node starts from its newest snapshot and the log behind it, whenever
// the power was cut, with all that was acknowledged; the log on the disk is cut
// off behind the snapshots.
// Method: a node that takes a snapshot every 8 KiB, written to until it has taken
// some; power cuts at chance moments, of every model of loss.
func TestANodeStartsFromItsSnapshot(t *testing.T) {
	chance := rand.New(rand.NewPCG(7, 7))
	disk := vfs.NewCrashable()
	written := map[string]string{}
	var passed uint64
	for life := range 8 {
		configs := testConfigs(t, disk)
		configs[0].SnapshotBytes = 8 << 10
		n := startNodes(t, configs)[0]
		begun := n.wal.Stats().SnapshotIndex
		if begun < passed {
			t.Fatalf("life %d begins with a snapshot at %d, the one before had one at %d", life, begun, passed)
		}
		for key, value := range written {
			if status, _, body := ask(t, n, "GET", "/v1/kv/"+key, ""); status != 200 || body != value {
				t.Fatalf("life %d: %s is %d %q, want %q", life, key, status, body, value)
			}
		}
		for i := range 30 + chance.IntN(60) {
			key, value := fmt.Sprintf("k%d", chance.IntN(40)), fmt.Sprintf("%d-%d-%s", life, i, strings.Repeat("v", 400))
			put(t, n, key, value)
			written[key] = value
		}
		passed = n.wal.Stats().SnapshotIndex
		after := disk.Crash(chance, vfs.Models[life%len(vfs.Models)])
		n.Close()
		disk = after
	}
	if passed < 200 {
		t.Fatalf("the last snapshot stands at %d", passed)
	}
}

// Goal: A52, D: a follower that was away while the log was cut off behind it gets
// the leader's snapshot over the wire and then what follows; it serves it, and
// starts from it.
// Method: three nodes with little of the log in memory; one is stopped while the
// others take snapshots.
func TestAFollowerThatWasAwayGetsTheSnapshot(t *testing.T) {
	disks := []vfs.FS{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	configs := testConfigs(t, disks...)
	for i := range configs {
		configs[i].SnapshotBytes, configs[i].TrailingBytes = 16<<10, 4<<10
	}
	nodes := startNodes(t, configs)
	var away int
	for i, n := range nodes {
		if n.raft.Status().Role != core.Leader {
			away = i
		}
	}
	put(t, nodes[away], "before", "away")
	if err := nodes[away].Close(); err != nil {
		t.Fatal(err)
	}
	other := nodes[(away+1)%3]
	for i := range 300 {
		put(t, other, fmt.Sprintf("k%d", i%50), fmt.Sprintf("%d-%s", i, strings.Repeat("v", 500)))
	}
	again := testConfigs(t, disks[away])[0]
	again.ID, again.DataDir, again.Members = nodes[away].config.ID, nodes[away].config.DataDir, nodes[away].config.Members
	again.SnapshotBytes, again.TrailingBytes = 16<<10, 4<<10
	again.Peer.Close()
	peer, err := net.Listen("tcp", again.Members[again.ID])
	if err != nil {
		t.Fatal(err)
	}
	again.Peer = peer
	n, err := New(again)
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	nodes[away] = n
	eventually(t, "the node that was away has a snapshot and all that follows", func() bool {
		return n.raft.Status().LastApplied >= other.raft.Status().CommitIndex && n.wal.Stats().SnapshotIndex > 0
	})
	eventually(t, "it has received a snapshot", func() bool {
		got := n.transport.Stats().Peers
		return got["n1"].SnapshotsReceived+got["n2"].SnapshotsReceived+got["n3"].SnapshotsReceived > 0
	})
	for _, timed := range []string{"raft_snapshot_install_duration_seconds_count", "raft_snapshot_restore_duration_seconds_count", "raft_last_restore_duration_seconds"} {
		if shownValue(t, n, timed) <= 0 {
			t.Errorf("%s shows %s as 0", n.config.ID, timed)
		}
	}
	eventually(t, "the others have measured that snapshots were sent and made", func() bool {
		sent, created := 0.0, 0.0
		for i, n := range nodes {
			if i != away {
				sent += shownValue(t, n, "raft_snapshot_send_duration_seconds_count")
				created += shownValue(t, n, "raft_snapshot_create_duration_seconds_count")
			}
		}
		return sent > 0 && created > 0
	})
	for i := 250; i < 300; i++ {
		want := fmt.Sprintf("%d-%s", i, strings.Repeat("v", 500))
		if status, _, body := ask(t, n, "GET", fmt.Sprintf("/v1/kv/k%d", i%50), ""); status != 200 || body != want {
			t.Fatalf("k%d is %d %q", i%50, status, body)
		}
	}
	put(t, n, "after", "all")
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Errorf("%s: %v", n.config.ID, err)
		}
	}
}

// Goal: A29, for snapshots: while the disk has no room for a snapshot a node goes
// on; the log is not cut off.
// Method: every write to a snapshot's file fails for lack of room.
func TestANodeWithoutRoomForASnapshotGoesOn(t *testing.T) {
	disk := vfs.NewFaulty(vfs.NewCrashable())
	var tried atomic.Int64
	disk.Hook(func(op vfs.Op) error {
		if op.Kind != vfs.OpWrite || !strings.HasSuffix(op.Path, "snapshot.tmp") {
			return nil
		}
		tried.Add(1)
		return syscall.ENOSPC
	})
	configs := testConfigs(t, disk)
	configs[0].SnapshotBytes = 4 << 10
	n := startNodes(t, configs)[0]
	defer n.Close()
	for i := range 100 {
		put(t, n, "k", fmt.Sprintf("%d-%s", i, strings.Repeat("v", 500)))
	}
	eventually(t, "a snapshot is tried", func() bool { return tried.Load() > 0 })
	if index := n.wal.Stats().SnapshotIndex; index != 0 {
		t.Errorf("a snapshot at %d", index)
	}
	if status, _, body := ask(t, n, "GET", "/v1/kv/k", ""); status != 200 || !strings.HasPrefix(body, "99-") {
		t.Errorf("k is %d %q", status, body)
	}
}

// Goal: A31: a disk that freezes under the leader costs it the leadership; the
// cluster takes writes all the time but for the change; the old leader follows
// when its disk thaws.
// Method: every operation on the leader's disk waits; writes at another node.
func TestAFrozenDiskCostsTheLeadership(t *testing.T) {
	ices := make([]ice, 3)
	var disks []vfs.FS
	for i := range ices {
		faulty := vfs.NewFaulty(vfs.NewCrashable())
		faulty.Hook(ices[i].wait)
		disks = append(disks, faulty)
	}
	nodes := startNodes(t, testConfigs(t, disks...))
	var old, other *Node
	for i, n := range nodes {
		if n.raft.Status().Role == core.Leader {
			old = n
			other = nodes[(i+1)%3]
			defer ices[i].thaw()
			ices[i].freeze()
		}
	}
	frozen := time.Now()
	slowest := time.Duration(0)
	for i := 0; old.raft.Status().Role == core.Leader || other.raft.Status().Leader == old.config.ID || other.raft.Status().Leader == core.None; i++ {
		begun := time.Now()
		put(t, other, fmt.Sprintf("k%d", i), "v")
		slowest = max(slowest, time.Since(begun))
		if time.Since(frozen) > 20*time.Second {
			t.Fatal("the leader has not changed in 20 s")
		}
	}
	t.Logf("another node leads %v after the disk froze; the slowest write took %v", time.Since(frozen).Round(time.Millisecond), slowest.Round(time.Millisecond))
	if s := old.raft.Status(); !s.Stalled || s.Counts.StalledDisk != 1 {
		t.Errorf("the old leader's status is %+v", s)
	}
	put(t, other, "after", "the change")
	// The old leader serves nothing stale meanwhile. It cannot save the new term, so
	// it answers no AppendEntries and may get no further entries.
	const read = "/v1/kv/after"
	if status, _, body := ask(t, old, "GET", read, ""); status != 200 && status != 503 || status == 200 && body != "the change" {
		t.Errorf("the old leader answers %d %q", status, body)
	}
	for i := range ices {
		ices[i].thaw()
	}
	eventually(t, "the old leader's disk has all", func() bool {
		s := old.raft.Status()
		return !s.Stalled && s.Durable >= other.raft.Status().CommitIndex
	})
	if status, _, body := ask(t, old, "GET", read, ""); status != 200 || body != "the change" {
		t.Errorf("the old leader, whose disk has thawed, answers %d %q", status, body)
	}
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Errorf("%s: %v", n.config.ID, err)
		}
	}
}

// ice is a disk that can be frozen: operations then wait.
type ice struct {
	mu     sync.Mutex
	melted chan struct{} // nil: not frozen
}

func (i *ice) freeze() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.melted = make(chan struct{})
}

func (i *ice) thaw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.melted != nil {
		close(i.melted)
		i.melted = nil
	}
}

// wait is a vfs hook.
func (i *ice) wait(vfs.Op) error {
	i.mu.Lock()
	melted := i.melted
	i.mu.Unlock()
	if melted != nil {
		<-melted
	}
	return nil
}
