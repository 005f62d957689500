package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// Goal: one error of fsync ends the leader with a code that is not zero and a
// line that says what failed; the others go on, and no acknowledged write is
// lost, also when the node starts again on the same page cache, which may show
// what the disk does not have.
// Method: strace makes one fdatasync of the leader fail under appends.
func TestAFailedSyncEndsTheLeader(t *testing.T) {
	needPrograms(t, "strace")
	u := newUndo(t)
	c := cluster.New(t, 3, "--log-level", "warn")
	u.killLater(c)
	c.Start()
	var a acks
	l := startImpatientLoad("failed", 6, cluster.Addresses(c.Nodes), a.note)
	l.AwaitProgress(t, 100)
	leader := c.Leader()
	from := time.Now()
	tr := trace(t, u, leader.Process, "fdatasync", "error=EIO:when=1")
	code := leader.ExitCode(cluster.Patience)
	ended := time.Now()
	tr.release()
	l.AwaitProgress(t, 200)
	pause := a.longestPause(from, time.Now())
	said := leader.Output.Tail(2000)
	if code == 0 || !strings.Contains(said, "fdatasync") || !strings.Contains(said, "input/output error") {
		t.Errorf("the leader ended with code %d and said: %s", code, said)
	}
	leader.Start()
	leader.AwaitServing()
	l.AwaitProgress(t, 100)
	l.End()
	for _, s := range c.Nodes {
		l.Verify(t, s)
	}
	cluster.AwaitEqual(t, c)
	t.Logf("\nthe leader ended %.2f s after strace took hold, with code %d; %d sync failed; no write for %.2f s; %d appends acknowledged, %d in doubt\nit said: %s",
		ended.Sub(from).Seconds(), code, tr.injected(), pause.Seconds(), l.Acknowledged(), l.Unknown(), strings.TrimSpace(said))
	if tr.injected() != 1 {
		t.Errorf("void: %d syncs failed", tr.injected())
	}
}

// Goal: a disk that hangs under the leader costs it the leadership within three
// election timeouts, a slow one costs nobody anything but time, and one that is
// full ends a node in order, which starts again when there is room. Nothing
// acknowledged is lost.
// Method: three nodes, each on an ext4 of its own, which is frozen, filled, or
// whose syncs strace delays, under appends.
func TestFaultyDisks(t *testing.T) {
	if *realFaults == 0 {
		t.Skip("say -faults")
	}
	need(t, "mkfs.ext4", "losetup", "mount", "fsfreeze", "strace")
	u := newUndo(t)
	c := cluster.New(t, 3, "--log-level", "warn")
	disks := onDisks(t, u, c)
	u.killLater(c)
	c.Start()
	var p pauses
	defer func() { p.print(t, "writes stop for") }()
	for range *realFaults {
		frozenDisk(t, c, disks, &p)
		slowDisk(t, u, c, true, &p)
		slowDisk(t, u, c, false, &p)
		fullDisk(t, c, disks, false, &p)
		fullDisk(t, c, disks, true, &p)
	}
}

// underAppends lets something happen under appends, and then wants everything
// acknowledged to be there.
func underAppends(t *testing.T, c *cluster.Cluster, do func(l *cluster.Load, a *acks)) {
	t.Helper()
	var a acks
	l := startImpatientLoad(fmt.Sprintf("disk%d", time.Now().UnixNano()), 6, cluster.Addresses(c.Nodes), a.note)
	l.AwaitProgress(t, 200)
	do(l, &a)
	l.AwaitProgress(t, 200)
	l.End()
	c.AwaitServing()
	for _, s := range c.Nodes {
		l.Verify(t, s)
	}
	cluster.AwaitEqual(t, c)
}

func frozenDisk(t *testing.T, c *cluster.Cluster, disks []*disk, p *pauses) {
	underAppends(t, c, func(l *cluster.Load, a *acks) {
		leader := c.Leader()
		term := c.Term()
		from := time.Now()
		thaw, err := disks[leader.Place()].freeze()
		if err != nil {
			t.Fatal(err)
		}
		var took time.Duration
		cluster.Eventually(t, cluster.Patience, func() error {
			for _, s := range c.Others(leader) {
				if status, err := s.Status(); err == nil && status.Role == "leader" && status.Term > term {
					took = time.Since(from)
					return nil
				}
			}
			return fmt.Errorf("nobody else leads")
		})
		time.Sleep(held)
		stalled, err := leader.Status()
		pause := a.longestPause(from, time.Now())
		thaw()
		p.add("the leader's disk hangs", pause, fmt.Sprintf("another leads after %.2f s", took.Seconds()))
		switch {
		case err != nil || !stalled.Log.Stalled:
			t.Errorf("void, or untold: the leader's status says %+v, %v", stalled.Log, err)
		case took > 3*electionTimeout || pause > 4*electionTimeout:
			t.Errorf("another node led after %v, and no write was acknowledged for %v", took, pause)
		}
	})
}

func slowDisk(t *testing.T, u *undo, c *cluster.Cluster, ofLeader bool, p *pauses) {
	underAppends(t, c, func(l *cluster.Load, a *acks) {
		name, s := "the leader's syncs take 300 ms longer", c.Leader()
		if !ofLeader {
			name, s = "a follower's syncs take 300 ms longer", c.Others(s)[0]
		}
		term, from := c.Term(), time.Now()
		tr := trace(t, u, s.Process, "fdatasync", "delay_exit=300000")
		time.Sleep(held)
		pause := a.longestPause(from, time.Now())
		tr.release()
		p.add(name, pause, fmt.Sprintf("%d syncs; terms +%d", tr.injected(), c.Term()-term))
		if tr.injected() == 0 || c.Term() != term {
			t.Errorf("%s: %d syncs were slow, and the term grew by %d", name, tr.injected(), c.Term()-term)
		}
	})
}

func fullDisk(t *testing.T, c *cluster.Cluster, disks []*disk, ofLeader bool, p *pauses) {
	underAppends(t, c, func(l *cluster.Load, a *acks) {
		name, s := "the leader's disk is full", c.Leader()
		if !ofLeader {
			name, s = "a follower's disk is full", c.Others(s)[0]
		}
		from := time.Now()
		empty, err := disks[s.Place()].fill()
		if err != nil {
			t.Fatal(err)
		}
		b := &ballast{} // the log has some room in the files that it has
		b.begin(c.Others(s))
		code := s.ExitCode(cluster.Patience)
		ended := time.Now()
		b.end()
		l.AwaitProgress(t, 200)
		pause := a.longestPause(from, time.Now())
		free, err := disks[s.Place()].free()
		empty()
		p.add(name, pause, fmt.Sprintf("it ended after %.2f s, with code %d", ended.Sub(from).Seconds(), code))
		if said := s.Output.Tail(1000); code == 0 || !strings.Contains(said, "no space left on device") || free > 64<<10 || err != nil {
			t.Errorf("%s: %d bytes are free, %v; code %d: %s", name, free, err, code, said)
		}
		s.Start()
		s.AwaitServing()
		b.verify(t, s)
	})
}
