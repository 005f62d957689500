package raft

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/node"
)

// The labs' face: Make and the methods that the course suites call. It drives the
// same node as Open, with a Persister for a disk and labrpc for a network. Its
// options follow from the labs' rules: dense indices (no no-op) and leaders that
// wait when they are cut off (no check-quorum; see labPatience).

// Peer is the part of a labrpc.ClientEnd that Make needs. Any package's will do.
type Peer interface {
	Call(svcMeth string, args interface{}, reply interface{}) bool
}

// StateStore is the part of a Persister of any edition that Make reads with. The
// way to save is chosen by the methods that the Persister has; see
// persisterStorage.
type StateStore interface {
	ReadRaftState() []byte
	ReadSnapshot() []byte
}

// Message is ApplyMsg or a struct of another package with the same fields in
// the same order, such as the 2025 edition's raftapi.ApplyMsg.
type Message interface {
	~struct {
		CommandValid bool
		Command      interface{}
		CommandIndex int

		SnapshotValid bool
		Snapshot      []byte
		SnapshotTerm  int
		SnapshotIndex int
	}
}

// Times of the labs. The rules allow at most ten heartbeats a second and demand a
// new leader within five seconds, on a network that may hold a reply back for
// two.
//
// The handouts' RPC counts leave room for about four heartbeats a second, their
// times for elections of less than a second. Followers need not wait for a
// heartbeat to hear of a commit, nor after a lost call: labPromptTicks makes the
// leader send one earlier. So a single lost heartbeat deposes no leader. The
// prompt interval is longer than the twenty milliseconds between the polls of the
// suites' clients. So in a stream of commands the next command brings the news.
const (
	labTick           = 10 * time.Millisecond
	labPromptTicks    = 3
	labHeartbeatTicks = 25
	labElectionTicks  = 38
	// labGather lets commands that are started at the same moment travel together.
	labGather = 500 * time.Microsecond
	// labPatience is the time for which a leader believes that it leads without
	// hearing from a majority. One suite wants more than a second. With a longer
	// time, in the others a leader that was cut off, and is back, would take a
	// command that is then lost.
	labPatience = 1500 * time.Millisecond
)

// Make starts a server of the labs: peers[me] is this one. It returns at once
// and touches applyCh only from a goroutine of its own. applyCh is closed after
// Kill.
func Make[P Peer, S StateStore, M Message](peers []P, me int, persister S, applyCh chan M) *Raft {
	ids := make([]core.ID, len(peers))
	calls := make(map[core.ID]Peer, len(peers))
	for i, p := range peers {
		ids[i] = labID(i)
		calls[ids[i]] = p
	}
	storage, state := openPersister(persister)
	config := node.Config{
		TickInterval: labTick,
		Gather:       labGather,
		Core: core.Config{
			ID: labID(me), Peers: ids,
			HeartbeatTicks: labHeartbeatTicks, ElectionTicks: labElectionTicks,
			PromptTicks: labPromptTicks, PromptStart: true,
			// A server that is up before a majority must not raise its term again and
			// again meanwhile. It would depose the first leader.
			PreVoteAgain: true,
			// The network does not keep messages in order: one at a time is
			// never overtaken by the next.
			Window:         1,
			MaxAppendBytes: 1 << 30,
			Rand:           rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		},
	}
	rf := &Raft{persister: storage}
	rf.node = node.Start(config, state, storage, labTransport{calls}, labService[M]{applyCh})
	return rf
}

func labID(i int) core.ID { return core.ID(strconv.Itoa(i)) }

// Start begins agreement on a command and returns at once: the index at which it
// will stand if it is ever committed, the present term, and whether this server
// leads. If it does not lead, nothing was begun.
func (rf *Raft) Start(command interface{}) (index int, term int, isLeader bool) {
	status := rf.node.Status()
	if !leads(status) || rf.killed() {
		return -1, int(status.Term), false
	}
	type place struct{ index, term uint64 }
	placed := make(chan place, 1)
	rf.node.Propose(&node.Proposal{
		Command: encodeCommand(command),
		Placed:  func(index, term uint64) { placed <- place{index, term} },
		Failed: func(error) {
			select { // a command that was placed may be lost much later, when no caller waits
			case placed <- place{}:
			default:
			}
		},
	})
	if p := <-placed; p.index != 0 {
		return int(p.index), int(p.term), true
	}
	return -1, int(rf.node.Status().Term), false
}

// GetState returns the present term and whether this server believes it leads.
func (rf *Raft) GetState() (term int, isLeader bool) {
	s := rf.node.Status()
	return int(s.Term), leads(s)
}

// leads reports whether a server believes that it leads. A leader that a majority
// has not answered for long has most likely been replaced: it goes on as the
// leader of its term, in case it was not, but takes no further commands.
func leads(s *node.Status) bool {
	if s.Role != core.Leader {
		return false
	}
	near := 1 // itself
	for _, p := range s.Peers {
		if time.Since(s.Contacts[p.ID]) < labPatience {
			near++
		}
	}
	return near > (len(s.Peers)+1)/2
}

// Snapshot reports that the service has taken a snapshot of everything up to
// index; the log forgets that part. The call is ignored if an equal or newer
// snapshot is known, or if index has not been delivered to the service.
func (rf *Raft) Snapshot(index int, snapshot []byte) {
	if rf == nil || index <= 0 {
		return
	}
	rf.node.Compact(uint64(index), append([]byte{}, snapshot...))
}

// CondInstallSnapshot returns true: a snapshot that was delivered is already
// installed (editions 2021 and 2022 ask).
func (rf *Raft) CondInstallSnapshot(lastIncludedTerm int, lastIncludedIndex int, snapshot []byte) bool {
	return true
}

// PersistBytes returns the size of the stored state in bytes.
func (rf *Raft) PersistBytes() int { return rf.persister.size() }

// Kill ends the server and returns at once.
func (rf *Raft) Kill() { rf.node.Stop() }

// killed reports whether Kill was called.
func (rf *Raft) killed() bool {
	select {
	case <-rf.node.Stopping():
		return true
	default:
		return false
	}
}

// labService delivers into an applyCh of any edition.
type labService[M Message] struct{ applyCh chan M }

// Deliver sends a message per entry, or one for a snapshot.
func (s labService[M]) Deliver(batch *core.Batch, stop <-chan struct{}) bool {
	if batch.Snapshot != nil {
		return s.send(snapshotMsg(batch.Snapshot), stop)
	}
	for _, e := range batch.Entries {
		if e.Kind != core.KindCommand {
			panic(fmt.Sprintf("raft: %v", &core.UnknownKindError{Index: e.Index, Kind: e.Kind, Bytes: len(e.Data)}))
		}
		if !s.send(ApplyMsg{CommandValid: true, Command: decodeCommand(e.Data), CommandIndex: int(e.Index)}, stop) {
			return false
		}
	}
	return true
}

// Close closes the applyCh.
func (s labService[M]) Close() { close(s.applyCh) }

func (s labService[M]) send(msg ApplyMsg, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
	}
	select {
	case s.applyCh <- M(msg):
		return true
	case <-stop:
		return false
	}
}
