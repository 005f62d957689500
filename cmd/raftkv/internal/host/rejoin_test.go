package host

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// again returns the configuration of a node that is to start once more, on a disk.
func again(t *testing.T, before Config, disk vfs.FS) Config {
	t.Helper()
	c := testConfigs(t, disk)[0]
	c.Peer.Close()
	c.ID, c.DataDir, c.Members, c.SnapshotBytes, c.TrailingBytes = before.ID, before.DataDir, before.Members, before.SnapshotBytes, before.TrailingBytes
	peer, err := net.Listen("tcp", c.Members[c.ID])
	if err != nil {
		t.Fatal(err)
	}
	c.Peer = peer
	return c
}

// runs starts a node that is expected to run.
func runs(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := New(c)
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ends starts a node that is expected to end as serve does, and returns why.
func ends(t *testing.T, c Config) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- Run(t.Context(), func() {}, c) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the node goes on")
		return nil
	}
}

// pages is a log that a test can read.
type pages struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}
func (p *pages) String() string { p.mu.Lock(); defer p.mu.Unlock(); return p.text.String() }

// putAnyhow writes until it has succeeded, whatever came of the attempts before:
// the leader may just have ended.
func putAnyhow(t *testing.T, n *Node, key string) {
	t.Helper()
	eventually(t, "PUT "+key, func() bool {
		status, _, _ := ask(t, n, "PUT", "/v1/kv/"+key, "v")
		return status/100 == 2
	})
}

func aFollower(nodes []*Node) int {
	for i, n := range nodes {
		if n.raft.Status().Role != core.Leader && n.raft.Status().Leader != core.None {
			return i
		}
	}
	return 0
}

// threeNodes starts a cluster on disks that can be copied. Its level is held: with a record
// nodes come back in another way (replace_test.go).
func threeNodes(t *testing.T) (nodes []*Node, disks []*vfs.Crashable) {
	t.Helper()
	disks = []*vfs.Crashable{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	configs := testConfigs(t, disks[0], disks[1], disks[2])
	for i := range configs {
		configs[i].SnapshotBytes, configs[i].TrailingBytes, configs[i].HoldLevel = 16<<10, 4<<10, true
	}
	nodes = startNodes(t, configs)
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Close()
		}
	})
	return nodes, disks
}

// Goal: a node whose disk is empty is refused by its peers and ends with a message
// that names --rejoin, before it has voted; so is it at the next start, without
// asking anybody. With --rejoin it comes back under write load with all
// that was acknowledged, by way of a snapshot, and votes again. (That there is no
// election is for tests/system, where nothing else runs.)
// Method: three nodes; a follower is stopped and gets an empty disk, while others
// are written to.
func TestANodeThatLostItsDiskComesBack(t *testing.T) {
	nodes, _ := threeNodes(t)
	w := aFollower(nodes)
	other := nodes[(w+1)%3]
	for i := range 300 {
		put(t, other, fmt.Sprintf("k%d", i%50), fmt.Sprintf("%d-%s", i, strings.Repeat("v", 500)))
	}
	if err := nodes[w].Close(); err != nil {
		t.Fatal(err)
	}
	empty := vfs.NewCrashable()
	err := ends(t, again(t, nodes[w].config, empty))
	if !isFailure(err) || !strings.Contains(err.Error(), "--rejoin") || !strings.Contains(err.Error(), "is not the one this node had") {
		t.Errorf("without --rejoin it ends with %v", err)
	}
	_, err = New(again(t, nodes[w].config, empty))
	if !isFailure(err) || !strings.Contains(err.Error(), "--rejoin") {
		t.Errorf("and at the next start with %v", err)
	}

	var written atomic.Int64
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				i := written.Load()
				put(t, other, fmt.Sprintf("during%d", i), "v")
				written.Add(1)
			}
		}
	})
	var log pages
	c := again(t, nodes[w].config, empty)
	c.Rejoin, c.Logger = true, slog.New(slog.NewTextHandler(&log, nil))
	nodes[w] = runs(t, c)
	eventually(t, "the node is a full member", func() bool { return strings.Contains(log.String(), "a full member again") })
	close(stop)
	writing.Wait()
	if nodes[w].directory.Rejoining().On {
		t.Error("that it is a full member is not on the disk")
	}
	if !strings.Contains(log.String(), "has lost its disk") || nodes[w].wal.Stats().SnapshotIndex == 0 {
		t.Errorf("no snapshot, or nothing said:\n%s", log.String())
	}
	// Without the third node it must vote and hold everything.
	third := 3 - w - (w+1)%3
	if err := nodes[third].Close(); err != nil {
		t.Fatal(err)
	}
	putAnyhow(t, nodes[w], "after")
	for i := range written.Load() {
		if status, _, body := ask(t, nodes[w], "GET", fmt.Sprintf("/v1/kv/during%d", i), ""); status != 200 {
			t.Fatalf("during%d is lost: %d %s", i, status, body)
		}
	}
}

// Goal: a node that is killed while it comes back goes on with it, with the flag or
// without, and votes for nobody before. Method: the third node is away, so that
// there is no goal; kill and start; then the third comes back.
func TestANodeThatIsComingBackIsStartedAnew(t *testing.T) {
	nodes, disks := threeNodes(t)
	w := aFollower(nodes)
	third := (w + 1) % 3
	if nodes[third].raft.Status().Role == core.Leader {
		third = (w + 2) % 3
	}
	put(t, nodes[w], "before", "v")
	for _, i := range []int{w, third} {
		if err := nodes[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	disk := vfs.NewCrashable()
	for life := range 3 {
		c := again(t, nodes[w].config, disk)
		c.Rejoin = life == 0
		nodes[w] = runs(t, c)
		eventually(t, "it waits for the third node alone", func() bool {
			s := nodes[w].raft.Status()
			return s.Rejoining.On && s.Rejoining.Term == 0 && len(s.RejoinUnheard) == 1 && s.RejoinUnheard[0] == nodes[third].config.ID
		})
		if s := nodes[w].raft.Status(); s.Term != 0 || s.VotedFor != core.None {
			t.Fatalf("it takes part: %+v", s.Observed)
		}
		_, _, body := ask(t, nodes[w], "GET", "/v1/status", "")
		if !strings.Contains(body, `"rejoin":{"goal":0,"unheard":["`+string(nodes[third].config.ID)) {
			t.Errorf("the status says %s", body)
		}
		if life < 2 {
			if err := nodes[w].Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	nodes[third] = runs(t, again(t, nodes[third].config, disks[third]))
	eventually(t, "the node is a full member", func() bool { return !nodes[w].raft.Status().Rejoining.On })
	putAnyhow(t, nodes[w], "after")
	if status, _, body := ask(t, nodes[w], "GET", "/v1/kv/before", ""); status != 200 || body != "v" {
		t.Errorf("before: %d %s", status, body)
	}
}

// Goal: a directory that was put back to an earlier state is refused, however often
// it was started in between, and so is a copy; the cluster goes on, and the node
// that the copy is of. Method: copies of a follower's directory.
func TestADirectoryThatWasPutBackOrCopiedIsRefused(t *testing.T) {
	nodes := startNodes(t, testConfigs(t, vfs.OS{}, vfs.OS{}, vfs.OS{}))
	defer func() {
		for _, n := range nodes {
			n.Close()
		}
	}()
	w := aFollower(nodes)
	put(t, nodes[w], "a", "v")
	if err := nodes[w].Close(); err != nil {
		t.Fatal(err)
	}
	config := nodes[w].config
	on := func(dir string) Config {
		c := again(t, config, vfs.OS{})
		c.DataDir = dir
		return c
	}
	copied := func(from string) string { return copied(t, from) }
	met := func(n *Node) func() bool { return func() bool { return n.raft.Status().Leader != core.None } }
	backup := copied(config.DataDir)
	nodes[w] = runs(t, on(config.DataDir))
	eventually(t, "the others have met the node", met(nodes[w]))
	put(t, nodes[w], "b", "v")
	if err := nodes[w].Close(); err != nil {
		t.Fatal(err)
	}
	for starts := range 3 {
		dir := copied(backup)
		for range starts { // that met nobody
			d, err := datadir.Check(vfs.OS{}, dir, datadir.NewOwner(config.ClusterID, config.ID, config.Members.IDs()))
			if err == nil {
				err = d.Begin(&core.State{Term: 1}, false)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		want := "was put back to an earlier state"
		if starts == 0 {
			want = "is a copy of a directory on which this node runs or has been started since"
		}
		if err := ends(t, on(dir)); !isFailure(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("after %d more starts it ends with %v", starts, err)
		}
		if _, err := New(on(dir)); !isFailure(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("and at the next start with %v", err)
		}
	}
	nodes[w] = runs(t, on(config.DataDir))
	eventually(t, "the node itself goes on", met(nodes[w]))
	put(t, nodes[w], "c", "v")
}

// copied copies the directory of a node that may run: it is read again if a file has gone.
func copied(t *testing.T, from string) string {
	t.Helper()
	for try := range 100 {
		to := filepath.Join(t.TempDir(), "copy"+strconv.Itoa(try))
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return to
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatalf("files of %s come and go all the time", from)
	return ""
}

// Goal: a directory that was put back to an earlier moment since the node's last
// start has boots as if nothing had happened; the leader finds out by what the
// node denies, and the node ends as well. Method: a copy of the directory of a
// running follower, on which it is started after more was written.
func TestADirectoryThatWasPutBackBetweenTwoStartsIsFoundOut(t *testing.T) {
	nodes := startNodes(t, testConfigs(t, vfs.OS{}, vfs.OS{}, vfs.OS{}))
	defer func() {
		for _, n := range nodes {
			n.Close()
		}
	}()
	for range 5 { // an election between confirmation and denial, as a busy machine may bring, hides it
		leader, w := nodes[0], 0
		eventually(t, "a follower has all that the leader has", func() bool {
			for _, n := range nodes {
				if s := n.raft.Status(); s.Role == core.Leader && len(s.Peers) > 0 && s.Peers[0].MatchIndex == s.LastIndex {
					leader = n
					w = slices.IndexFunc(nodes, func(n *Node) bool { return n.config.ID == s.Peers[0].ID })
					return true
				}
			}
			return false
		})
		term, config := leader.raft.Status().Term, nodes[w].config
		backup := copied(t, config.DataDir)
		before := leader.raft.Status().LastIndex // the status may be a tick old
		put(t, leader, "b", "v")
		put(t, leader, "c", "v")
		eventually(t, "the follower has confirmed what is not in the copy", func() bool {
			s := leader.raft.Status()
			return s.Term != term || len(s.Peers) > 0 && s.Peers[0].MatchIndex > before+1
		})
		if err := nodes[w].Close(); err != nil {
			t.Fatal(err)
		}
		c := again(t, config, vfs.OS{})
		c.DataDir = backup
		nodes[w] = runs(t, c)
		var err error
		eventually(t, "the node ends, or there was an election", func() bool {
			select {
			case err = <-nodes[w].Failed():
			default:
			}
			return err != nil || leader.raft.Status().Term != term
		})
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "was put back to an earlier state") {
			t.Errorf("it ends with %v", err)
		}
		memory, err := datadir.OpenPeers(vfs.OS{}, leader.config.DataDir)
		if err != nil || !memory.Known(config.ID).PutBack {
			t.Errorf("the leader does not remember it: %+v, %v", memory, err)
		}
		return
	}
	t.Fatal("void: there was an election each time")
}

// Goal: --rejoin is refused where it could lose something. Method: a node whose
// directory holds a log is told to come back.
func TestRejoinIsRefusedWhereThereIsALog(t *testing.T) {
	nodes, disks := threeNodes(t)
	put(t, nodes[0], "a", "v")
	if err := nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	c := again(t, nodes[0].config, disks[0])
	c.Rejoin = true
	if _, err := New(c); err == nil || isFailure(err) || !strings.Contains(err.Error(), "holds a log") {
		t.Errorf("a directory with a log: %v", err)
	}
}
