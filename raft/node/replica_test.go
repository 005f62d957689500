package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// elected returns a replica that leads two others, which the test plays.
func elected(t *testing.T) *Replica {
	t.Helper()
	r := NewReplica(core.Config{
		ID: "1", Peers: []core.ID{"1", "2", "3"}, ElectionTicks: 10, HeartbeatTicks: 2, Rand: rand.New(rand.NewPCG(1, 2)),
	}, core.State{})
	lead(t, r)
	return r
}

// lead lets time pass until the replica leads, by the votes of all.
func lead(t *testing.T, r *Replica) {
	t.Helper()
	for range 100 {
		r.Tick()
		for _, call := range turn(r).Calls {
			if request, asks := call.Request.(*core.RequestVote); asks {
				r.Returned(call, &core.RequestVoteReply{Term: request.Term, VoteGranted: true})
			}
		}
		if r.Status().Role == core.Leader {
			return
		}
	}
	t.Fatal("the server does not lead")
}

// turn ends a turn, and those that follow from it: writes are saved and batches
// applied at once. It returns all calls.
func turn(r *Replica) (all Work) {
	for {
		work := r.Ready()
		all.Calls = append(all.Calls, work.Calls...)
		if work.Write != nil {
			r.Saved(work.Write.Seq)
		}
		if work.Apply != nil {
			r.Applied(work.Apply.Last())
		}
		if work.Write == nil && work.Apply == nil {
			return all
		}
	}
}

// Goal: a snapshot of another leader leaves open what became of the proposals
// whose places it covers, its own index included, and says nothing of the others.
// Method: three proposals of a leader that is deposed, and a snapshot up to the
// second; then another entry in the place of the third.
func TestASnapshotLeavesProposalsUnknown(t *testing.T) {
	r := elected(t)
	term := r.Status().Term
	ends := make([]error, 3)
	for i := range ends {
		r.Propose(&Proposal{Command: []byte{byte(i)}, Failed: func(err error) { ends[i] = err }})
	}
	turn(r)
	r.Receive("2", &core.InstallSnapshot{
		Term: term + 1, LeaderID: "2", Snapshot: core.Snapshot{Index: 2, Term: term + 1},
	}, func(core.Reply) {})
	turn(r)
	if !errors.Is(ends[0], ErrUnknown) || !errors.Is(ends[1], ErrUnknown) || ends[2] != nil {
		t.Errorf("after a snapshot up to the second: %v", ends)
	}
	r.Receive("2", &core.AppendEntries{
		Term: term + 1, LeaderID: "2", PrevLogIndex: 2, PrevLogTerm: term + 1,
		Entries: []core.Entry{core.NewEntry(3, term+1, core.KindCommand, nil)}, LeaderCommit: 3,
	}, func(core.Reply) {})
	turn(r)
	if !errors.Is(ends[2], ErrLost) {
		t.Errorf("after another entry in the place of the third: %v", ends)
	}
}

// Goal: of two proposals at one index each hears its own end. Method: a leader
// proposes at the second index, is deposed by one whose entry truncates its log,
// leads again, proposes at the second index again, and commits that.
func TestTwoProposalsAtOneIndexHaveTheirOwnEnds(t *testing.T) {
	r := elected(t)
	term := r.Status().Term
	ends := map[string]error{}
	propose := func(name string) {
		r.Propose(&Proposal{
			Command: []byte(name),
			Failed:  func(err error) { ends[name] = err },
		})
	}
	propose("before")
	propose("first")
	turn(r)
	r.Receive("2", &core.AppendEntries{Term: term + 1, LeaderID: "2", Entries: []core.Entry{core.NewEntry(1, term+1, core.KindCommand, nil)}}, func(core.Reply) {})
	turn(r)
	lead(t, r)
	propose("second")
	if len(ends) != 0 {
		t.Fatalf("%v while nobody could know", ends)
	}
	accept := func(calls []core.Call) {
		for _, call := range calls {
			if request, appends := call.Request.(*core.AppendEntries); appends {
				r.Returned(call, &core.AppendEntriesReply{Term: request.Term, Success: true})
			}
		}
	}
	accept(turn(r).Calls) // the first heartbeats; entries follow their answers
	accept(turn(r).Calls)
	turn(r)
	if commit := r.Status().CommitIndex; commit != 2 {
		t.Fatalf("committed up to %d", commit)
	}
	if !errors.Is(ends["before"], ErrLost) || !errors.Is(ends["first"], ErrLost) || ends["second"] != nil {
		t.Errorf("%v", ends)
	}
}

// Goal: nobody waits for a node that has stopped: neither a read that nobody has
// confirmed, nor what came too late for the last turn. Method: a leader that is
// cut off is asked for a read and stopped; then a loop that ends with everything
// in its inbox.
func TestStopLeavesNobodyWaiting(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		id := c.leader()
		c.network.isolate(id, true)
		n := c.node(id)
		reads := make(chan error, 1)
		go func() {
			_, err := n.ReadIndex(context.Background())
			reads <- err
		}()
		synctest.Wait()
		n.Stop()
		select {
		case err := <-reads:
			if !errors.Is(err, ErrStopped) {
				t.Errorf("the read ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the read waits for ever")
		}
	})

	virtual.Time(t, func(t *testing.T) {
		ends := make(chan error, 5)
		note := func(err error) { ends <- err }
		n := &Node{inbox: newInbox(), replica: elected(t)}
		n.inbox.post(event{kind: eventPropose, proposal: &Proposal{Failed: note}})
		n.inbox.post(event{kind: eventRead, read: func(_ uint64, err error) { note(err) }})
		go func() {
			_, err := n.TermAt(context.Background(), 1)
			note(err)
		}()
		go func() { note(n.Transfer(context.Background(), core.None)) }()
		synctest.Wait() // both are in the inbox
		n.transfers = append(n.transfers, note)
		n.finish()
		synctest.Wait()
		if len(ends) != 5 {
			t.Errorf("of five that waited %d were told", len(ends))
		}
		for len(ends) > 0 {
			if err := <-ends; !errors.Is(err, ErrStopped) {
				t.Errorf("told %v", err)
			}
		}
	})
}

// preparing is a disk whose slow work fails.
type preparing struct {
	*disk
	wanted chan struct{}
	err    error
}

// Prepare fails.
func (p preparing) Prepare() error { return p.err }

// Wanted has what the test puts in.
func (p preparing) Wanted() <-chan struct{} { return p.wanted }

// Goal: a disk that cannot prepare ends the node, as one that cannot save does.
// Method: such a disk under a node of its own.
func TestAFailedPreparationEndsTheNode(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stop()
		broken := errors.New("input/output error")
		storage := preparing{&disk{}, make(chan struct{}, 1), broken}
		n := Start(c.node(c.leader()).config, core.State{}, storage, link{c.network, "n9"}, &machine{})
		defer n.Stop()
		storage.wanted <- struct{}{}
		select {
		case <-n.Stopping():
			if err := n.Wait(); !errors.Is(err, broken) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the node goes on")
		}
	})
}
