package system

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"raftkv/tests/cluster"
)

// filler writes values of 64 KiB to a few keys and remembers the last of each.
type filler struct {
	values map[string]string
	count  int
}

// write makes the log grow by n values, through nodes in turn. Every key has a writer
// of its own, so that writers wait for disks together and the last value is known.
func (f *filler) write(t *testing.T, n int, nodes []*cluster.Node) {
	t.Helper()
	const keys = 8
	first := f.count
	f.count += n
	var mu sync.Mutex // guards f.values
	var writing sync.WaitGroup
	for k := range keys {
		writing.Go(func() {
			for i := first + k; i < first+n && !t.Failed(); i += keys {
				key := fmt.Sprintf("/v1/kv/fill-%d", k)
				value := fmt.Sprintf("%d-%s", i, strings.Repeat("v", 64<<10))
				status, _, got, err := nodes[i%len(nodes)].Ask("PUT", key, value)
				if err != nil || status/100 != 2 {
					t.Errorf("PUT %d: %d, %v: %.200s", i, status, err, got)
					return
				}
				mu.Lock()
				f.values[key] = value
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// verify reads all from a node.
func (f *filler) verify(t *testing.T, s *cluster.Node) {
	t.Helper()
	for key, value := range f.values {
		if got := s.Must(200, "GET", key, ""); got != value {
			t.Errorf("%s: %s is %.20q…, want %.20q…", s.ID, key, got, value)
		}
	}
}

// diskBytes is the size of all files of a node.
func diskBytes(t *testing.T, s *cluster.Node) (total int64) {
	t.Helper()
	err := filepath.WalkDir(s.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// Goal: the log on the disk does not grow for ever, and what it no longer holds
// is not lost: after a kill of all nodes everything acknowledged is there.
// Method: 75 MiB of values over a state of half a MiB, with appends under way,
// and kills in the middle of it; the files of each node stay within some
// segments. The level is held: at level 3 snapshots also hold the last 128 MiB of changes,
// which is more than is written here.
func TestTheLogOnDiskIsBounded(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3, "--snapshot-bytes", "1048576", "--hold-level")
	f := &filler{values: map[string]string{}}
	for round := range 3 {
		l := cluster.StartLoad(fmt.Sprintf("round%d", round), 4, cluster.Addresses(c.Nodes), nil)
		f.write(t, 400, c.Nodes)
		c.KillAll()
		l.End()
		c.Start()
		for _, s := range c.Nodes {
			l.Verify(t, s)
			f.verify(t, s)
			// The present segment, the one before, which the last snapshot but one may
			// need, the spare, and one that is just being removed.
			if size, most := diskBytes(t, s), int64(4*16<<20+8<<20); size > most {
				t.Errorf("%s takes %d bytes on the disk, want at most %d", s.ID, size, most)
			}
		}
		if t.Failed() {
			return
		}
	}
	cluster.AwaitEqual(t, c)
	c.Nodes[0].Says("the state was loaded", cluster.Patience)
}

// Goal: a follower that was away while the log was cut off behind it is sent a
// snapshot, and has everything then; a node starts from a snapshot that came from
// another.
// Method: kill one, write far more than the others hold in memory, start it; then
// kill all.
func TestAFollowerThatWasAwayForLong(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3, "--snapshot-bytes", "1048576")
	f := &filler{values: map[string]string{}}
	f.write(t, 20, c.Nodes)
	leader := c.Leader()
	others := c.Others(leader)
	away := others[0]
	away.Kill()
	l := cluster.StartLoad("while-away", 2, cluster.Addresses([]*cluster.Node{leader, others[1]}), nil)
	f.write(t, 1200, []*cluster.Node{leader, others[1]}) // 75 MiB, of which 32 stay in memory
	away.Start()
	away.Says("a snapshot was received", cluster.Patience)
	away.AwaitServing()
	l.End()
	l.Verify(t, away)
	f.verify(t, away)
	cluster.AwaitEqual(t, c)
	c.KillAll()
	c.Start()
	for _, s := range c.Nodes {
		l.Verify(t, s)
		f.verify(t, s)
	}
}
