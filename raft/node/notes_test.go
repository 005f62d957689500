package node

import (
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// Goal: an observer hears why leadership changed, and for how long nothing was
// committed before the new leader's first entry was.
// Method: a cluster of three whose leader is cut off two seconds after the last
// command, in virtual time.
func TestAnObserverHearsWhyLeadershipChanged(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		heard := map[core.ID]*listener{}
		c := newCluster(t, 3, func(config *Config) {
			l := &listener{}
			heard[config.Core.ID], config.Observer = l, l
		})
		defer c.stop()
		old := c.leader()
		time.Sleep(time.Second)
		propose(c.node(old), "x")
		synctest.Wait()
		last := time.Now()
		time.Sleep(2 * time.Second)
		c.network.isolate(old, true)
		now := old
		for now == old {
			time.Sleep(time.Millisecond)
			for _, id := range c.ids {
				if s := c.node(id).Status(); id != old && s.Role == core.Leader && s.CommitIndex == s.LastIndex {
					now = id
				}
			}
		}
		gap := time.Since(last)
		time.Sleep(time.Second)
		l := heard[now]
		l.mu.Lock()
		defer l.mu.Unlock()
		found := false
		for i, n := range l.notes {
			if n.Kind != core.NoteFirstCommit {
				continue
			}
			found = true
			if l.still[i] > gap || l.still[i] < gap-100*time.Millisecond {
				t.Errorf("before its first entry was committed, the commit index had stood still for %v, the observer hears %v", gap, l.still[i])
			}
		}
		if !found {
			t.Errorf("%s, which leads, noted %+v", now, l.notes)
		}
		l = heard[old]
		l.mu.Lock()
		defer l.mu.Unlock()
		why := core.WhyNone
		for _, n := range l.notes {
			if n.Kind == core.NoteSteppedDown {
				why = n.Why
			}
		}
		if why != core.WhyLostMajority {
			t.Errorf("%s, which was cut off, noted %+v", old, l.notes)
		}
	})
}

// Goal: an observer hears how late a loop woke that could not run.
// Method: a node whose own observer holds its loop for eight seconds, as a stopped
// process would be held.
func TestAnObserverHearsThatTheLoopWasLate(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		l := &holder{held: 8 * time.Second}
		c := newCluster(t, 1, func(config *Config) { config.Observer = l })
		defer c.stop()
		c.leader()
		time.Sleep(20 * time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.late) != 1 || l.late[0] > l.held || l.late[0] < l.held-100*time.Millisecond {
			t.Errorf("a loop that was held for %v was late by %v", l.held, l.late)
		}
	})
}

// holder is a listener that holds the loop once, when the role has changed.
type holder struct {
	listener
	held time.Duration
	once bool
}

func (h *holder) Changed(before, after *Status) {
	if !h.once {
		h.once = true
		time.Sleep(h.held)
	}
}
