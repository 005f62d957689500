package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// lone is one node of three whose peers the test plays.
type lone struct {
	t       *testing.T
	node    *Node
	disk    *disk
	machine *machine
}

func newLone(t *testing.T) *lone {
	l := &lone{t: t, disk: &disk{}, machine: &machine{}}
	config := Config{TickInterval: 10 * time.Millisecond, Core: core.Config{
		ID: "n1", Peers: []core.ID{"n1", "n2", "n3"}, ElectionTicks: 30, HeartbeatTicks: 5,
		PreVote: true, CheckQuorum: true, Noop: true, StallTicks: 135, Rand: rand.New(rand.NewPCG(1, 3)),
	}}
	nobody := &network{nodes: map[core.ID]*Node{}, cut: map[core.ID]bool{}, disks: map[core.ID]*disk{}}
	l.node = Start(config, core.State{}, l.disk, link{nobody, "n1"}, l.machine)
	return l
}

// ask hands a request over and returns the answer, which must come at once.
func (l *lone) ask(from core.ID, request core.Request) core.Reply {
	l.t.Helper()
	answers := make(chan core.Reply, 1)
	l.node.Receive(from, request, func(reply core.Reply) { answers <- reply })
	synctest.Wait()
	select {
	case reply := <-answers:
		return reply
	default:
		l.t.Fatalf("%T is not answered: the loop waits for something", request)
		return nil
	}
}

func entry(index, term uint64) core.Entry {
	return core.NewEntry(index, term, core.KindCommand, []byte("x"))
}

// Goal: the loop never waits for the service, whatever it hands over: a node whose
// service stands still goes on to answer heartbeats, votes and snapshots, and to tick.
// Method: a service that takes nothing; batches of both kinds come due, each first,
// and behind another; after each message a heartbeat, and in the end a vote, must be
// answered without time passing.
func TestTheLoopWaitsForNoService(t *testing.T) {
	entries := func(l *lone, from uint64, commit uint64) {
		req := &core.AppendEntries{Term: 1, LeaderID: "n2", PrevLogIndex: from - 1, LeaderCommit: commit}
		if from > 1 {
			req.PrevLogTerm = 1
		}
		req.Entries = []core.Entry{entry(from, 1), entry(from+1, 1)}
		if reply := l.ask("n2", req).(*core.AppendEntriesReply); !reply.Success {
			l.t.Fatalf("entries from %d: %+v", from, reply)
		}
	}
	snapshot := func(l *lone, index uint64) {
		l.disk.keep(index, "state")
		l.ask("n2", &core.InstallSnapshot{Term: 1, LeaderID: "n2", Snapshot: core.Snapshot{Index: index, Term: 1}})
	}
	for name, story := range map[string]func(l *lone){
		"entries, entries": func(l *lone) { entries(l, 1, 2); entries(l, 3, 4) },
		"entries, snapshot, snapshot": func(l *lone) {
			entries(l, 1, 2)
			snapshot(l, 10)
			snapshot(l, 20)
		},
		"snapshot, entries": func(l *lone) { snapshot(l, 10); entries(l, 11, 12) },
		"snapshot, snapshot, entries, snapshot": func(l *lone) {
			snapshot(l, 10)
			snapshot(l, 20)
			entries(l, 21, 22)
			snapshot(l, 30)
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Time(t, func(t *testing.T) {
				l := newLone(t)
				release := make(chan struct{})
				l.machine.block = release
				story(l)
				for range 100 { // a second under a leader that beats
					l.ask("n2", &core.AppendEntries{Term: 1, LeaderID: "n2"})
					time.Sleep(10 * time.Millisecond)
				}
				if s := l.node.Status(); s.Leader != "n2" || s.LastApplied != 0 {
					t.Fatalf("%+v", s)
				}
				time.Sleep(time.Second) // the leader is gone: it asks, and is asked
				if n := l.node.Status().Counts.PreVotes; n == 0 {
					t.Fatal("the node does not tick")
				}
				vote := l.ask("n3", &core.RequestVote{Term: 5, CandidateID: "n3", LastLogIndex: 100, LastLogTerm: 1})
				if !vote.(*core.RequestVoteReply).VoteGranted {
					t.Fatalf("%+v", vote)
				}
				commit := l.node.Status().CommitIndex
				close(release)
				time.Sleep(time.Second)
				if got := l.node.Status().LastApplied; got != commit {
					t.Fatalf("applied %d of %d after the service went on", got, commit)
				}
				l.node.Stop()
				if err := l.node.Wait(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// Goal: when histories that exclude each other meet, the node ends with a sentence
// and not with a dump, and leaves nobody waiting. Method: entries are committed; a
// leader of a later term has others in their place.
func TestTheNodeEndsInWordsWhenHistoriesMeet(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		l := newLone(t)
		l.ask("n2", &core.AppendEntries{Term: 1, LeaderID: "n2", Entries: []core.Entry{entry(1, 1), entry(2, 1)}, LeaderCommit: 2})
		read := make(chan error, 1)
		l.node.Receive("n3", &core.AppendEntries{Term: 2, LeaderID: "n3", Entries: []core.Entry{entry(1, 2)}}, func(core.Reply) {
			t.Error("a promise left")
		})
		go func() {
			_, err := l.node.ReadIndex(context.Background())
			read <- err
		}()
		var broken *core.Broken
		if err := l.node.Wait(); !errors.As(err, &broken) {
			t.Fatalf("the node ended with %v", err)
		}
		if err := <-read; err == nil {
			t.Fatal("a read of a broken node is answered")
		}
	})
}

// Goal: a server that would rather not lead, for one of several reasons, does not
// until the last of them is gone. Method: n1 of three has two reasons while the
// leader hands over, and then none.
func TestReasonsNotToLeadAddUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stop()
		leader := c.leader()
		var other []core.ID
		for _, id := range c.ids {
			if id != leader {
				other = append(other, id)
			}
		}
		n := c.node(other[0])
		n.RatherNot("one", true)
		n.RatherNot("two", true)
		n.RatherNot("one", false)
		time.Sleep(200 * time.Millisecond)
		if err := c.node(leader).Transfer(context.Background(), other[0]); err == nil {
			t.Fatal("it took over with a reason left")
		}
		n.RatherNot("two", false)
		time.Sleep(200 * time.Millisecond)
		if err := c.node(leader).Transfer(context.Background(), other[0]); err != nil {
			t.Fatal(fmt.Errorf("without a reason: %w", err))
		}
	})
}
