package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// snapshots is the part of a disk that keeps snapshots.
type snapshots struct {
	store   sync.Mutex // guards the fields below
	written map[uint64]string
	labels  []core.Snapshot // what WriteSnapshot was given
}

func (s *snapshots) WriteSnapshot(at core.Snapshot, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return fmt.Errorf("writing the snapshot at %d of term %d: %w", at.Index, at.Term, err)
	}
	s.keep(at.Index, b.String())
	s.store.Lock()
	defer s.store.Unlock()
	s.labels = append(s.labels, at)
	return nil
}

func (s *snapshots) OpenSnapshot(index uint64) (io.ReadCloser, error) {
	s.store.Lock()
	defer s.store.Unlock()
	return io.NopCloser(bytes.NewReader([]byte(s.written[index]))), nil
}

func (s *snapshots) keep(index uint64, state string) {
	s.store.Lock()
	defer s.store.Unlock()
	if s.written == nil {
		s.written = map[uint64]string{}
	}
	s.written[index] = state
}

func (s *snapshots) has(index uint64) bool {
	s.store.Lock()
	defer s.store.Unlock()
	_, ok := s.written[index]
	return ok
}

// bringSnapshot copies a snapshot to the receiver's disk before the request is
// handed to it, as a server's transport does.
func (n *network) bringSnapshot(from core.ID, call core.Call) {
	req, ok := call.Request.(*core.InstallSnapshot)
	if !ok {
		return
	}
	n.disks[from].store.Lock()
	state := n.disks[from].written[req.Snapshot.Index]
	n.disks[from].store.Unlock()
	n.disks[call.To].keep(req.Snapshot.Index, state)
}

// write makes a node's service take a snapshot of what was delivered to it.
func (c *cluster) write(id core.ID) uint64 {
	c.t.Helper()
	m := c.machines[id]
	m.mu.Lock()
	index := m.applied[len(m.applied)-1].Index
	m.mu.Unlock()
	err := c.node(id).WriteSnapshot(index, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "state at %d", index)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	return index
}

// snapshots lists where the snapshots stood that a service was delivered.
func (m *machine) snapshots() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.restored)
}

// Goal: a snapshot that a service writes takes the place of the log on its disk;
// a follower that needs what the log has forgotten is delivered the snapshot, and
// what follows it; and both start again behind it.
// Method: commands while one server is cut off, a snapshot at the leader, then
// the server comes back; all restart.
func TestASnapshotTakesTheLogsPlaceAndReachesAFollower(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3, func(config *Config) { config.Core.TrailingBytes = 200 })
		defer func() { c.stop() }()
		leader := c.leader()
		away := c.ids[0]
		if away == leader {
			away = c.ids[1]
		}
		c.network.isolate(away, true)
		for i := range 50 {
			propose(c.node(leader), fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		index := c.write(leader)
		if status := c.node(leader).Status(); status.SnapshotIndex != index || status.LogBytes > 500 {
			t.Fatalf("the leader's snapshot is at %d, it holds %d bytes of the log", status.SnapshotIndex, status.LogBytes)
		}
		if state := c.disks[leader].state; state.Snapshot.Index != index || len(state.Entries) != 0 {
			t.Fatalf("its disk has a snapshot at %d and %d entries", state.Snapshot.Index, len(state.Entries))
		}
		for i := range 5 {
			propose(c.node(leader), fmt.Sprint("more", i))
		}
		c.network.isolate(away, false)
		time.Sleep(3 * time.Second)
		if at, m := c.machines[away].snapshots(), c.machines[away]; len(at) != 1 || at[0] != index || len(m.commands()) != 5 {
			t.Fatalf("the follower was delivered snapshots at %v and then %v", at, m.commands())
		}
		from, err := c.node(away).OpenSnapshot(index)
		if err != nil {
			t.Fatal(err)
		}
		if state, _ := io.ReadAll(from); string(state) != fmt.Sprint("state at ", index) {
			t.Fatalf("the follower has %q", state)
		}

		c.stop()
		for i, id := range c.ids {
			c.machines[id] = &machine{}
			c.start(i)
		}
		c.leader()
		time.Sleep(time.Second)
		for _, id := range []core.ID{leader, away} {
			if at, m := c.machines[id].snapshots(), c.machines[id]; len(at) != 0 || len(m.commands()) != 5 {
				t.Fatalf("%s started again with snapshots at %v and then %v", id, at, m.commands())
			}
		}
	})
}

// Goal: a follower that needs a newer snapshot than there is makes the status say
// so, until the service has written one.
// Method: memory holds little of the log, and no snapshot was ever taken.
func TestTheStatusSaysThatASnapshotIsWanted(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3, func(config *Config) { config.Core.TrailingBytes = 100 })
		defer c.stop()
		leader := c.leader()
		away := c.ids[0]
		if away == leader {
			away = c.ids[1]
		}
		c.network.isolate(away, true)
		for i := range 50 {
			propose(c.node(leader), fmt.Sprint(i))
		}
		time.Sleep(2 * time.Second)
		if c.node(leader).Status().SnapshotWanted {
			t.Fatal("a snapshot is wanted for a server that does not answer")
		}
		c.network.isolate(away, false)
		time.Sleep(time.Second)
		if len(c.node(leader).SnapshotWanted()) != 1 || !c.node(leader).Status().SnapshotWanted {
			t.Fatal("no snapshot is wanted")
		}
		index := c.write(leader)
		time.Sleep(time.Second)
		if at := c.machines[away].snapshots(); len(at) != 1 || at[0] != index || c.node(leader).Status().SnapshotWanted {
			t.Fatalf("the follower was delivered snapshots at %v; one is wanted: %v", at, c.node(leader).Status().SnapshotWanted)
		}
	})
}

// Goal: a snapshot that could not be written, came too late, or is of what is not
// there leaves everything as it was.
// Method: errors of the service, of the place, of a storage without snapshots.
func TestASnapshotThatFailsChangesNothing(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.leader()
		n := c.node(leader)
		for range 10 {
			propose(n, "x")
		}
		time.Sleep(time.Second)
		broken := errors.New("broken")
		nothing := func(io.Writer) error { return nil }
		if err := n.WriteSnapshot(5, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
			t.Fatalf("the service's own error came back as %v", err)
		}
		if err := n.WriteSnapshot(99, nothing); err == nil {
			t.Error("a snapshot of what is not committed was taken")
		}
		if s := n.Status(); s.SnapshotIndex != 0 || c.disks[leader].has(99) {
			t.Errorf("the snapshot is at %d", s.SnapshotIndex)
		}
		if err := n.WriteSnapshot(7, nothing); err != nil {
			t.Error(err)
		}
		time.Sleep(100 * time.Millisecond)
		for _, index := range []uint64{6, 7} {
			if err := n.WriteSnapshot(index, nothing); !errors.Is(err, ErrCompacted) {
				t.Errorf("a snapshot at %d behind one at 7: %v", index, err)
			}
		}
		if term, err := n.TermAt(context.Background(), 8); err != nil || term != n.Status().Term {
			t.Errorf("the term at 8 is %d, %v", term, err)
		}
		if _, err := n.TermAt(context.Background(), 3); !errors.Is(err, ErrCompacted) {
			t.Errorf("the term at 3: %v", err)
		}
		for _, id := range c.ids {
			c.network.isolate(id, true)
		}
		placed, _ := propose(n, "not committed")
		<-placed
		if _, err := n.TermAt(context.Background(), n.Status().CommitIndex+1); err == nil {
			t.Error("a term was told that may change")
		}

		plain := Start(n.config, core.State{}, struct{ Storage }{&disk{}}, link{c.network, "n9"}, &machine{})
		if err := plain.WriteSnapshot(1, nothing); !errors.Is(err, ErrNoSnapshots) {
			t.Errorf("without snapshots: %v", err)
		}
		if _, err := plain.OpenSnapshot(1); !errors.Is(err, ErrNoSnapshots) {
			t.Errorf("without snapshots: %v", err)
		}
		plain.Stop()
		_ = plain.Wait()
	})
}

// Goal: the end of a node interrupts a snapshot that is being written, and its
// storage is closed only when that has ended.
// Method: stop a node in the middle of a snapshot; write on.
func TestStoppingInterruptsASnapshot(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.node(c.leader())
		time.Sleep(100 * time.Millisecond)
		begun, end, result := make(chan bool), make(chan bool), make(chan error)
		go func() {
			result <- n.WriteSnapshot(1, func(w io.Writer) error {
				if _, err := w.Write([]byte("half")); err != nil {
					return err
				}
				close(begun)
				<-end
				_, err := w.Write([]byte("other half"))
				return err
			})
		}()
		<-begun
		n.Stop()
		synctest.Wait()
		if c.disks["n1"].closed {
			t.Fatal("the storage was closed under the snapshot")
		}
		close(end)
		if err := <-result; !errors.Is(err, ErrStopped) || c.disks["n1"].has(1) {
			t.Fatalf("the snapshot ended with %v", err)
		}
		if err := n.Wait(); err != nil || !c.disks["n1"].closed {
			t.Fatalf("the node ended with %v", err)
		}
		if err := n.WriteSnapshot(1, nil); !errors.Is(err, ErrStopped) {
			t.Fatalf("a snapshot after the end: %v", err)
		}
		if _, err := n.TermAt(context.Background(), 1); !errors.Is(err, ErrStopped) {
			t.Fatalf("a term after the end: %v", err)
		}
	})
}

// Goal: a service that cannot go on ends its node, with its reason.
// Method: Fail, and then Stop, which comes too late to hide it.
func TestAServiceCanEndItsNode(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 1)
		n := c.node(c.leader())
		broken := errors.New("broken")
		n.Fail(broken)
		n.Stop()
		if err := n.Wait(); !errors.Is(err, broken) {
			t.Fatalf("the node ended with %v", err)
		}
	})
}
