package host

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/wire"
)

// Goal: a node without a leader names the nodes that it hears and those that it
// lacks, and says how many it needs.
func TestANodeSaysWhomItLacks(t *testing.T) {
	now := time.Now()
	heard := wire.PeerStats{Accepted: true, LastContact: now}
	for _, c := range []struct {
		size    int
		peers   map[core.ID]wire.PeerStats
		message string
		missing string
	}{
		{3, nil, "no leader: 1 of 3 nodes is heard, 2 are needed", "n2,n3"},
		{5, map[core.ID]wire.PeerStats{"n4": heard}, "no leader: 2 of 5 nodes are heard, 3 are needed", "n2,n3,n5"},
		{3, map[core.ID]wire.PeerStats{"n2": heard}, "which is a majority, and none was elected yet", "n3"},
		{3, map[core.ID]wire.PeerStats{"n2": {Connected: true, LastContact: now.Add(-time.Minute)}}, "1 of 3 nodes is heard", "n2,n3"},
		// cut off by lost packets: the connections stand
		{3, map[core.ID]wire.PeerStats{"n2": {Accepted: true, LastContact: now.Add(-4 * time.Second)}, "n3": {Connected: true, LastContact: now.Add(-4 * time.Second)}}, "1 of 3 nodes is heard", "n2,n3"},
	} {
		m := Members{}
		for i := range c.size {
			m[nodeID(i)] = "a:1"
		}
		message, _, missing := describeMissing("n1", m, wire.Stats{Peers: c.peers}, now.Add(-3*time.Second))
		if !strings.Contains(message, c.message) || core.JoinIDs(missing, ",") != c.missing {
			t.Errorf("%q, missing %s; want %q and %s", message, core.JoinIDs(missing, ","), c.message, c.missing)
		}
	}
}

// Goal: a file system that cannot do what a log needs is named as the cause,
// with what to do; other errors of the disk are left as they are.
func TestAFileSystemThatCannotIsNamed(t *testing.T) {
	for _, c := range []struct {
		op   string
		err  error
		want string
	}{
		{"lock", syscall.ENOLCK, "cannot lock files"},
		{"lock", syscall.EBADF, "cannot lock files"},
		{"sync", syscall.EINVAL, "cannot make a directory durable"},
		{"sync", syscall.EIO, ""},
		{"open", syscall.EINVAL, ""},
	} {
		err := &Failure{fmt.Errorf("wal: %w", &fs.PathError{Op: c.op, Path: "/d/wal", Err: c.err})}
		got := ExplainFileSystem(err)
		if c.want == "" && got != error(err) || c.want != "" && (!strings.Contains(got.Error(), c.want) || !strings.Contains(got.Error(), "/d/wal") || !isFailure(got) || !errors.Is(got, c.err)) {
			t.Errorf("%s %v: %v", c.op, c.err, got)
		}
	}
}
