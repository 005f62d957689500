package node

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// As on a server: 10 ms ticks, an election timeout of up to 600 ms.
const (
	electionTimeout = 600 * time.Millisecond
	stallAfter      = 1350 * time.Millisecond
)

func withStall(config *Config) { config.Core.StallTicks = int(stallAfter / config.TickInterval) }

// Goal: A31: when the leader's disk hangs, another server leads within three
// election timeouts, commands go on to be taken, none is lost, and the old leader
// rejoins when its disk works again.
// Method: freeze the leader's disk for a minute while commands are proposed.
func TestAFrozenDiskLosesTheLeadership(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3, withStall)
		defer c.stop()
		old := c.leader()
		time.Sleep(time.Second)
		thaw := make(chan struct{})
		c.disks[old].hold(func() { <-thaw })
		frozen := time.Now()
		_, failed := propose(c.node(old), "at the old leader")
		for c.node(old).Status().Role == core.Leader || c.leader() == old {
			time.Sleep(10 * time.Millisecond)
			if time.Since(frozen) > 3*electionTimeout {
				t.Fatal("no other leader in three election timeouts")
			}
		}
		took := time.Since(frozen)
		if took < stallAfter || took > 3*electionTimeout {
			t.Fatalf("another server leads after %v", took)
		}
		t.Logf("another server leads after %v", took)
		if s := c.node(old).Status(); !s.Stalled || s.Counts.StalledDisk != 1 {
			t.Fatalf("the old leader's status: %+v", s)
		}
		now := c.leader()
		propose(c.node(now), "at the new leader")
		time.Sleep(time.Minute)
		if got := fmt.Sprint(c.machines[now].commands()); got != "[at the old leader at the new leader]" {
			t.Fatalf("the new leader's service has %s", got)
		}
		if c.leader() != now || c.node(now).Status().Term != c.node(old).Status().Term {
			t.Fatal("the leader changed again while the disk was frozen")
		}
		c.disks[old].hold(nil)
		close(thaw)
		time.Sleep(time.Second)
		select {
		case err := <-failed:
			t.Fatalf("the proposal was chosen and failed with %v", err)
		default:
		}
		if s := c.node(old).Status(); s.Stalled || s.Durable != s.LastIndex || fmt.Sprint(c.machines[old].commands()) != fmt.Sprint(c.machines[now].commands()) {
			t.Fatalf("the old leader has not rejoined: %+v", s)
		}
	})
}

// Goal: A32: a disk that takes 300 ms for each of the syncs of a write, four for a
// new segment, changes no leader, neither the leader's nor a follower's.
// Method: two minutes of commands with such a disk, one server after the other.
func TestASlowDiskChangesNoLeader(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		for slow := range 3 {
			c := newCluster(t, 3, withStall)
			leader := c.leader()
			time.Sleep(time.Second)
			var writes atomic.Int64
			c.disks[c.ids[slow]].hold(func() {
				time.Sleep(300 * time.Millisecond)
				if writes.Add(1)%20 == 0 {
					time.Sleep(900 * time.Millisecond)
				}
			})
			term := c.node(leader).Status().Term
			for range 1200 {
				propose(c.node(leader), "x")
				time.Sleep(100 * time.Millisecond)
			}
			if s := c.node(leader).Status(); s.Role != core.Leader || s.Term != term || writes.Load() < 200 {
				t.Fatalf("with the disk of %s slow, %s is %v in term %d, it led term %d; %d writes", c.ids[slow], leader, s.Role, s.Term, term, writes.Load())
			}
			c.stop()
		}
	})
}

// hold makes every Save of a disk begin with a call of before.
func (d *disk) hold(before func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = before
}

// listener is an Observer that counts what it hears.
type listener struct {
	mu        sync.Mutex
	changes   []string
	saved     int
	committed []time.Duration
	delivered int
	notes     []core.Note
	still     []time.Duration // with the note of the same place
	late      []time.Duration
}

func (l *listener) Changed(before, after *Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, fmt.Sprintf("%v to %v", before.Role, after.Role))
}

func (l *listener) Saved(w *core.Write, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved += len(w.Entries)
}

func (l *listener) Noted(notes []core.Note, still time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range notes {
		l.notes, l.still = append(l.notes, n), append(l.still, still)
	}
}

func (l *listener) Late(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = append(l.late, by)
}

func (l *listener) Committed(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = append(l.committed, took)
}

func (l *listener) Delivered(b *core.Batch, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered += len(b.Entries)
}

// Goal: an observer hears of every change of role, of all that is saved and
// delivered, and how long an entry takes to be committed.
// Method: a cluster of one whose disk takes 50 ms for a write, and which leads.
func TestAnObserverHearsWhatHappens(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		l := &listener{}
		c := newCluster(t, 1, func(config *Config) { config.Observer = l })
		defer c.stop()
		c.disks["n1"].hold(func() { time.Sleep(50 * time.Millisecond) })
		n := c.node(c.leader())
		time.Sleep(time.Second)
		for range 10 {
			propose(n, "x")
			time.Sleep(time.Second)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if got := fmt.Sprint(l.changes); got != "[follower to candidate candidate to leader]" {
			t.Errorf("it heard of changes from %s", got)
		}
		if l.saved != 11 || l.delivered != 11 || len(l.committed) != 11 {
			t.Errorf("it heard of %d entries saved, %d delivered, %d committed", l.saved, l.delivered, len(l.committed))
		}
		for _, took := range l.committed {
			if took != 50*time.Millisecond {
				t.Errorf("an entry took %v", took)
			}
		}
	})
}

// Goal: what cannot be told any more fails: proposals of a node whose service
// failed are not left waiting.
// Method: a proposal that cannot be committed, then Fail.
func TestProposalsEndWithAFailedService(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.leader()
		for _, id := range c.ids {
			c.network.isolate(id, true)
		}
		_, failed := propose(c.node(leader), "x")
		synctest.Wait()
		c.node(leader).Fail(errors.New("broken"))
		if err := <-failed; !errors.Is(err, ErrStopped) {
			t.Fatalf("the proposal ended with %v", err)
		}
	})
}
