package system

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Goal: one error of fsync ends the leader with a code that is not zero and a
// line that says what failed; the others go on, and no acknowledged write is
// lost, also when the node starts again on the same page cache, which may show
// what the disk does not have.
// Method: strace makes one fdatasync of the leader fail under appends.
func TestAFailedSyncEndsTheLeader(t *testing.T) {
	needPrograms(t, "strace")
	u := newUndo(t)
	c := newCluster(t, 3, "--log-level", "warn")
	u.killLater(c)
	c.start()
	var a acks
	l := startImpatientLoad("failed", 6, addresses(c.nodes), a.note)
	l.awaitProgress(t, 100)
	leader := c.leader()
	from := time.Now()
	tr := trace(t, u, leader.process, "fdatasync", "error=EIO:when=1")
	code := leader.exitCode(patience)
	ended := time.Now()
	tr.release()
	l.awaitProgress(t, 200)
	pause := a.longestPause(from, time.Now())
	said := leader.output.tail(2000)
	if code == 0 || !strings.Contains(said, "fdatasync") || !strings.Contains(said, "input/output error") {
		t.Errorf("the leader ended with code %d and said: %s", code, said)
	}
	leader.start()
	leader.awaitServing()
	l.awaitProgress(t, 100)
	l.end()
	for _, s := range c.nodes {
		l.verify(t, s)
	}
	awaitEqual(t, c)
	t.Logf("\nthe leader ended %.2f s after strace took hold, with code %d; %d sync failed; no write for %.2f s; %d appends acknowledged, %d in doubt\nit said: %s",
		ended.Sub(from).Seconds(), code, tr.injected(), pause.Seconds(), l.acknowledged(), l.unknown(), strings.TrimSpace(said))
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
		t.Skip("say -system.faults")
	}
	need(t, "mkfs.ext4", "losetup", "mount", "fsfreeze", "strace")
	u := newUndo(t)
	c := newCluster(t, 3, "--log-level", "warn")
	disks := onDisks(t, u, c)
	u.killLater(c)
	c.start()
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
func underAppends(t *testing.T, c *cluster, do func(l *load, a *acks)) {
	t.Helper()
	var a acks
	l := startImpatientLoad(fmt.Sprintf("disk%d", time.Now().UnixNano()), 6, addresses(c.nodes), a.note)
	l.awaitProgress(t, 200)
	do(l, &a)
	l.awaitProgress(t, 200)
	l.end()
	c.awaitServing()
	for _, s := range c.nodes {
		l.verify(t, s)
	}
	awaitEqual(t, c)
}

func frozenDisk(t *testing.T, c *cluster, disks []*disk, p *pauses) {
	underAppends(t, c, func(l *load, a *acks) {
		leader := c.leader()
		term := c.term()
		from := time.Now()
		thaw, err := disks[leader.place()].freeze()
		if err != nil {
			t.Fatal(err)
		}
		var took time.Duration
		eventually(t, patience, func() error {
			for _, s := range c.others(leader) {
				if status, err := s.status(); err == nil && status.Role == "leader" && status.Term > term {
					took = time.Since(from)
					return nil
				}
			}
			return fmt.Errorf("nobody else leads")
		})
		time.Sleep(held)
		stalled, err := leader.status()
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

func slowDisk(t *testing.T, u *undo, c *cluster, ofLeader bool, p *pauses) {
	underAppends(t, c, func(l *load, a *acks) {
		name, s := "the leader's syncs take 300 ms longer", c.leader()
		if !ofLeader {
			name, s = "a follower's syncs take 300 ms longer", c.others(s)[0]
		}
		term, from := c.term(), time.Now()
		tr := trace(t, u, s.process, "fdatasync", "delay_exit=300000")
		time.Sleep(held)
		pause := a.longestPause(from, time.Now())
		tr.release()
		p.add(name, pause, fmt.Sprintf("%d syncs; terms +%d", tr.injected(), c.term()-term))
		if tr.injected() == 0 || c.term() != term {
			t.Errorf("%s: %d syncs were slow, and the term grew by %d", name, tr.injected(), c.term()-term)
		}
	})
}

func fullDisk(t *testing.T, c *cluster, disks []*disk, ofLeader bool, p *pauses) {
	underAppends(t, c, func(l *load, a *acks) {
		name, s := "the leader's disk is full", c.leader()
		if !ofLeader {
			name, s = "a follower's disk is full", c.others(s)[0]
		}
		from := time.Now()
		empty, err := disks[s.place()].fill()
		if err != nil {
			t.Fatal(err)
		}
		b := &ballast{} // the log has some room in the files that it has
		b.begin(c.others(s))
		code := s.exitCode(patience)
		ended := time.Now()
		b.end()
		l.awaitProgress(t, 200)
		pause := a.longestPause(from, time.Now())
		free, err := disks[s.place()].free()
		empty()
		p.add(name, pause, fmt.Sprintf("it ended after %.2f s, with code %d", ended.Sub(from).Seconds(), code))
		if said := s.output.tail(1000); code == 0 || !strings.Contains(said, "no space left on device") || free > 64<<10 || err != nil {
			t.Errorf("%s: %d bytes are free, %v; code %d: %s", name, free, err, code, said)
		}
		s.start()
		s.awaitServing()
		b.verify(t, s)
	})
}
