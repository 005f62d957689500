package node

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// Goal: a service that receives batches by itself gets every committed entry once and
// in order, a whole batch at a time, and the next batch only after it has taken the one
// before. The channel is closed at the end, and a channel without room is refused.
// Method: a follower whose leader the test plays. Two commits come before the service
// takes anything, a third one after; then the node is stopped.
func TestAServiceReceivesBatchesByItself(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		heard := &listener{}
		config := Config{TickInterval: 10 * time.Millisecond, Observer: heard, Core: core.Config{
			ID: "n1", Peers: []core.ID{"n1", "n2", "n3"}, ElectionTicks: 3000, HeartbeatTicks: 5, Rand: rand.New(rand.NewPCG(1, 3)),
		}}
		nobody := link{&network{nodes: map[core.ID]*Node{}, cut: map[core.ID]bool{}, disks: map[core.ID]*disk{}}, "n1"}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a channel that has no room was taken")
				}
			}()
			StartBatches(config, core.State{}, &disk{}, nobody, make(chan Batch))
		}()
		batches := make(chan Batch, 1)
		l := &lone{t: t, node: StartBatches(config, core.State{}, &disk{}, nobody, batches)}
		commit := func(index uint64) {
			l.ask("n2", &core.AppendEntries{
				Term: 1, LeaderID: "n2", PrevLogIndex: index - 2, PrevLogTerm: min(1, index-2),
				Entries: []core.Entry{entry(index-1, 1), entry(index, 1)}, LeaderCommit: index,
			})
			synctest.Wait()
		}
		commit(2)
		commit(4)
		for i, want := range [][]uint64{{1, 2}, {3, 4}, {5, 6}} {
			if len(batches) != 1 {
				t.Fatalf("%d batches wait where batch %d should", len(batches), i)
			}
			b := <-batches
			synctest.Wait()
			if len(batches) != 0 {
				t.Fatalf("batch %d came before the one before was taken", i+1)
			}
			if b.Snapshot != nil || len(b.Entries) != 2 || b.Entries[0].Index != want[0] || b.Entries[1].Index != want[1] {
				t.Fatalf("batch %d is %+v, want the entries %v", i, b.Batch, want)
			}
			b.Taken()
			synctest.Wait()
			if i == 1 {
				commit(6)
			}
		}
		if heard.delivered != 6 {
			t.Errorf("the observer heard of %d entries delivered, not 6", heard.delivered)
		}
		l.node.Stop()
		if err := l.node.Wait(); err != nil {
			t.Error(err)
		}
		if b, open := <-batches; open {
			t.Errorf("after the end comes %+v", b)
		}
	})
}
