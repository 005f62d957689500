package node

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/tests/virtual"
)

// heard keeps what a node's OnConfiguration was told last.
type heard struct {
	mu  sync.Mutex
	now map[core.ID]core.Configurations
}

func (h *heard) of(id core.ID) core.Configurations {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now[id]
}

func (h *heard) listen(config *Config) {
	id := config.Core.ID
	config.OnConfiguration = func(now core.Configurations) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.now[id] = now
	}
}

// reconfigure asks a node for a change and returns a channel with its end: nil if it
// was chosen, an error of its own after 20 s without one.
func reconfigure(n *Node, wanted members.Record, from uint64) (end chan error) {
	end = make(chan error, 3)
	time.AfterFunc(20*time.Second, func() { end <- errors.New("no end within 20 s") })
	n.Reconfigure(&Reconfiguration{
		Wanted: wanted, From: from,
		Chosen: func() { end <- nil },
		Failed: func(err error) { end <- err },
	})
	return end
}

// Goal: a change of the members ends as a proposal does, its final entry follows by
// itself, and transport and service are told of each configuration; a restart knows the
// newest, also behind a snapshot.
// Method: three nodes get a record, the leader removes itself, a snapshot takes the
// log's place, all restart.
func TestReconfigure_FromTheCallToARestart(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		h := &heard{now: map[core.ID]core.Configurations{}}
		c := newCluster(t, 3, h.listen)
		defer func() { c.stop() }()
		id := c.leader()
		time.Sleep(time.Second)
		if err := <-reconfigure(c.node(id), members.First(core.UID{5}, 3, c.ids), 0); err != nil {
			t.Fatal(err)
		}
		first := h.of(id).Newest
		if err := <-reconfigure(c.node(id), first.Record.Clone(), 0); !errors.Is(err, core.ErrConfigurationChanged) {
			t.Errorf("a change that does not know the newest configuration: %v", err)
		}
		wanted := first.Record.Clone()
		wanted.Delete(id)
		if err := <-reconfigure(c.node(id), wanted, first.Index); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		leader := c.leader()
		for _, other := range c.ids {
			now := h.of(other)
			if leader == id || now.Newest != now.Committed || now.Newest.Record.Joint() || now.Newest.Record.Member(id) != nil {
				t.Errorf("%s was told of %+v, and %s leads", other, now, leader)
			}
			if status := c.node(other).Status(); status.Configurations != now {
				t.Errorf("%s shows %+v and was told of %+v", other, status.Configurations, now)
			}
		}
		propose(c.node(leader), "x")
		time.Sleep(time.Second)
		at := c.write(leader)
		newest := h.of(leader).Newest
		if s := c.disks[leader].snapshot(); s.Index != at || s.Members.Index != newest.Index {
			t.Errorf("the snapshot at %d carries the configuration of entry %d, want %d", s.Index, s.Members.Index, newest.Index)
		}
		c.stop()
		h.now = map[core.ID]core.Configurations{}
		for i := range c.ids {
			c.start(i)
		}
		c.leader()
		time.Sleep(time.Second)
		for _, other := range c.ids {
			if now := h.of(other); now.Newest.Index != newest.Index {
				t.Errorf("after a restart %s counts by entry %d, want %d", other, now.Newest.Index, newest.Index)
			}
		}
	})
}

// Goal: a change that was appended and lost did not happen, one that is refused did
// not either, and a node that stops leaves nobody waiting.
// Method: a leader that is cut off takes one; another leader writes over it; then the
// node stops.
func TestReconfigure_EndsLikeAProposal(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		old := c.leader()
		time.Sleep(time.Second)
		c.network.isolate(old, true)
		end := reconfigure(c.node(old), members.First(core.UID{5}, 3, c.ids), 0)
		propose(c.node(c.leader()), "kept")
		time.Sleep(5 * time.Second)
		select {
		case err := <-end:
			t.Fatalf("ended with %v while nobody could know", err)
		default:
		}
		c.network.isolate(old, false)
		time.Sleep(time.Second)
		if err := <-end; !errors.Is(err, ErrLost) {
			t.Errorf("a change whose place was taken ended with %v", err)
		}
		if err := <-reconfigure(c.node(old), members.First(core.UID{5}, 3, c.ids), 0); !errors.Is(err, core.ErrNotLeader) {
			t.Errorf("at a follower: %v", err)
		}
		leader := c.leader()
		if err := <-reconfigure(c.node(leader), members.First(core.UID{5}, 3, nil), 0); err == nil || errors.Is(err, ErrLost) {
			t.Errorf("without voters: %v", err)
		}
		for _, id := range c.ids {
			c.network.isolate(id, true)
		}
		end = reconfigure(c.node(leader), members.First(core.UID{5}, 3, c.ids), 0)
		time.Sleep(50 * time.Millisecond)
		c.node(leader).Stop()
		if err := <-end; !errors.Is(err, ErrStopped) {
			t.Errorf("at a node that stops: %v", err)
		}
		if err := c.node(leader).Wait(); err != nil {
			t.Error(err)
		}
		if err := <-reconfigure(c.node(leader), members.First(core.UID{5}, 3, c.ids), 0); !errors.Is(err, ErrStopped) {
			t.Errorf("at a node that has stopped: %v", err)
		}
	})
}

// Goal: a snapshot is labelled with the configuration at its index while a newer one is
// in the log already.
// Method: one is appended and cannot be committed; the service writes a snapshot.
func TestASnapshotIsLabelledWithTheMembersOfItsIndex(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		id := c.leader()
		time.Sleep(time.Second)
		if err := <-reconfigure(c.node(id), members.First(core.UID{5}, 3, c.ids), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		committed := c.node(id).Status().Committed
		c.network.isolate(id, true)
		wanted := committed.Record.Clone()
		wanted.Put(members.Member{ID: "n9", Role: members.Learner})
		reconfigure(c.node(id), wanted, committed.Index)
		time.Sleep(100 * time.Millisecond)
		if newest := c.node(id).Status().Newest; newest.Index <= committed.Index {
			t.Fatalf("the newest configuration is still that of entry %d", newest.Index)
		}
		err := c.node(id).WriteSnapshot(committed.Index, func(w io.Writer) error { _, err := fmt.Fprint(w, "x"); return err })
		time.Sleep(100 * time.Millisecond)
		if labels := c.disks[id].labels; len(labels) != 1 || labels[0].Members.Index != committed.Index {
			t.Errorf("the storage was given %+v", labels)
		}
		if s := c.disks[id].snapshot(); err != nil || s.Index != committed.Index || s.Members.Index != committed.Index {
			t.Errorf("the snapshot at %d carries the configuration of entry %d (%v)", s.Index, s.Members.Index, err)
		}
	})
}
