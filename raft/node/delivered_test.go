package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// Goal: a service that lags far behind what memory holds of the log still gets its
// snapshot taken, under its right name, also where its last entry is of an earlier
// term than the log's end. Method: a node delivers ten entries, its leader changes,
// and thousands more are delivered, far beyond TrailingBytes; then the service,
// which has applied ten, takes its snapshot; then one at each change of term.
func TestAServiceThatLagsFarGetsItsSnapshot(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3, func(config *Config) {
			config.Core.TrailingBytes, config.Core.NewUID = 200, core.UID{7}
		})
		defer c.stop()
		first := c.leader()
		for i := range 8 {
			propose(c.node(first), fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		before := c.node(first).Status().Term
		if err := c.node(first).Transfer(context.Background(), core.None); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		second := c.leader()
		for i := range 3000 {
			propose(c.node(second), fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		n := c.node(first)
		if s := n.Status(); s.FirstIndex < 2000 || s.CommitIndex < 3000 {
			t.Fatalf("void: memory holds the log from %d on, up to %d", s.FirstIndex, s.CommitIndex)
		}
		if term, err := n.TermAt(context.Background(), 9); err != nil || term != before {
			t.Fatalf("the term at 9 is %d, %v, not %d", term, err, before)
		}
		if term, err := n.TermAt(context.Background(), 10); err != nil || term <= before {
			t.Fatalf("the term at 10 is %d, %v", term, err)
		}
		for _, index := range []uint64{9, 10, 500} {
			if err := n.WriteSnapshot(index, func(io.Writer) error { return nil }); err != nil {
				t.Fatalf("the snapshot at %d was not taken: %v", index, err)
			}
			time.Sleep(100 * time.Millisecond)
			c.disks[first].mu.Lock()
			s := c.disks[first].state.Snapshot
			c.disks[first].mu.Unlock()
			if want, _ := n.TermAt(context.Background(), index); s.Index != index || s.Term != want || s.UID != (core.UID{7}) {
				t.Fatalf("recorded is the snapshot %+v, of term %d", s, want)
			}
		}
		if _, err := n.TermAt(context.Background(), 9); !errors.Is(err, ErrCompacted) {
			t.Errorf("the term at 9, behind a snapshot at 500: %v", err)
		}
		if runs := len(n.delivered.runs); runs > 1 {
			t.Errorf("behind the snapshot %d runs of terms are remembered", runs)
		}
	})
}

// Goal: what was delivered is remembered by runs of terms: exactly from the last
// snapshot to the last entry. Method: batches with changes of term within and
// between them, a snapshot, and every index around.
func TestDeliveredTermsAreRemembered(t *testing.T) {
	var d delivered
	d.begin(core.Snapshot{Index: 3, Term: 2})
	batch := func(first uint64, terms ...uint64) {
		b := &core.Batch{}
		for i, term := range terms {
			b.Entries = append(b.Entries, core.Entry{Index: first + uint64(i), Term: term})
		}
		d.note(b)
	}
	want := func(terms map[uint64]uint64) {
		t.Helper()
		for index := range uint64(40) {
			if term, known := d.term(index); known != (terms[index] != 0) || term != terms[index] {
				t.Errorf("the term at %d is %d (known: %v), want %d", index, term, known, terms[index])
			}
		}
	}
	batch(4, 2, 2, 5)
	batch(7, 5, 6)
	all := map[uint64]uint64{3: 2, 4: 2, 5: 2, 6: 5, 7: 5, 8: 6}
	want(all)
	if len(d.runs) != 3 {
		t.Errorf("%d runs for three terms", len(d.runs))
	}
	d.forget(7)
	delete(all, 3)
	delete(all, 4)
	delete(all, 5)
	want(all)
	d.note(&core.Batch{Snapshot: &core.Snapshot{Index: 20, Term: 9}})
	batch(21, 9)
	want(map[uint64]uint64{20: 9, 21: 9})
}

// Goal: the cluster's uid is told once in each node's life, when it is committed,
// or at start where the disk knows it; and it is the same everywhere. Method: three
// nodes with uids of their own to give; restart one.
func TestTheUIDIsToldOnce(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		var told [4]atomic.Int32
		var uids [4]atomic.Value
		c := newCluster(t, 3, func(config *Config) {
			i := config.Core.ID[1] - '0'
			config.Core.NewUID = core.UID{'u', i}
			config.OnUID = func(uid core.UID) {
				told[i].Add(1)
				uids[i].Store(uid)
			}
		})
		defer c.stop()
		leader := c.node(c.leader())
		propose(leader, "x")
		time.Sleep(time.Second)
		for i := 1; i <= 3; i++ {
			if told[i].Load() != 1 || uids[i].Load() != uids[1].Load() || c.node(c.ids[i-1]).Status().UID != uids[1].Load() {
				t.Fatalf("n%d was told %d times, at last of %v; n1 of %v", i, told[i].Load(), uids[i].Load(), uids[1].Load())
			}
		}
		c.node("n1").Stop()
		_ = c.node("n1").Wait()
		uid := uids[1].Load().(core.UID)
		c.disks["n1"].state.Commit = c.disks["n1"].state.Entries[0].Index // as a disk that keeps it
		c.network.isolate("n1", true)
		c.start(0)
		synctest.Wait()
		if told[1].Load() != 2 || uids[1].Load() != uid {
			t.Errorf("after its restart, alone, n1 was told %d times, at last of %v", told[1].Load(), uids[1].Load())
		}
	})
}

// Goal: damage in memory ends the node with a sentence that names the entry, not
// with a dump of goroutines, and nobody else applies the damaged entry. Method: flip
// a bit of a command that its leader holds, before anybody has it.
func TestDamageInMemoryEndsTheNodeWithASentence(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3, func(config *Config) { config.Gather = time.Millisecond })
		defer c.stop()
		id := c.leader()
		time.Sleep(time.Second)
		n, command := c.node(id), []byte("command")
		n.Propose(&Proposal{Command: command, Placed: func(uint64, uint64) { command[3] ^= 1 }, Failed: func(error) {}})
		err := n.Wait()
		var damage *core.DamageError
		if !errors.As(err, &damage) || damage.Index != 2 {
			t.Fatalf("the node ended with %v", err)
		}
		time.Sleep(5 * time.Second)
		for _, other := range c.ids {
			if got := c.machines[other].commands(); len(got) != 0 {
				t.Errorf("%s applied %v", other, got)
			}
		}
	})
}
