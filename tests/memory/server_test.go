package memory

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/node"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// server is one node with its log, its place in the network and a service that
// remembers what it was given.
type server struct {
	run  *run
	id   core.ID
	disk *vfs.Crashable
	log  *wal.WAL
	node *node.Node

	mu      sync.Mutex // guards what follows
	applied []string
	commit  uint64 // the highest commit index that was on its way here in this life
}

func newServer(r *run, id core.ID) *server { return &server{run: r, id: id, disk: vfs.NewCrashable()} }

// start runs the node on what is on its disk.
func (s *server) start() {
	log, state, err := wal.Open(wal.Options{FS: s.disk, Dir: "wal", ClusterID: "c", NodeID: string(s.id), SegmentBytes: wal.MinSegmentBytes})
	if err != nil {
		s.run.t.Fatal(err)
	}
	s.mu.Lock()
	s.applied, s.commit = nil, state.Commit
	s.mu.Unlock()
	s.log = log
	s.node = node.Start(node.Config{
		TickInterval: 10 * time.Millisecond,
		Core: core.Config{
			ID: s.id, Peers: []core.ID{"n1", "n2", "n3"}, ElectionTicks: 30, HeartbeatTicks: 5,
			PreVote: true, CheckQuorum: true, Noop: true, NewUID: core.UID{s.id[1]},
			Rand: rand.New(rand.NewPCG(s.run.dice.Uint64(), 1)),
		},
	}, state, storage{s}, s, s)
}

// storage is the server's log, as its node sees it.
type storage struct{ s *server }

// Close implements node.Storage.
func (d storage) Close() error { return d.s.log.Close() }

// Save implements node.Storage. The batch gets memory of its own, as the one that
// is damaged here belongs to the writer alone.
func (d storage) Save(w *core.Write) error {
	s := d.s
	own := *w
	own.Entries = nil
	for _, e := range w.Entries {
		e.Data = slices.Clone(e.Data)
		own.Entries = append(own.Entries, e)
	}
	if len(own.Entries) > 0 {
		s.run.maybe("written", s.id, func() { s.run.flip(&own.Entries[s.run.dice.IntN(len(own.Entries))]) })
	}
	return s.log.Save(&own)
}

// Deliver implements node.Service.
func (s *server) Deliver(batch *core.Batch, _ <-chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range batch.Entries {
		if e.Kind == core.KindCommand {
			s.applied = append(s.applied, string(e.Data))
		}
	}
	return true
}

// Close implements node.Service.
func (s *server) Close() {}

func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.applied)
}

// Send implements node.Transport: a call takes a millisecond each way. Entries
// travel in their encoding, as on the wire.
func (s *server) Send(call core.Call, done func(core.Call, core.Reply)) {
	request, ok := s.run.carry(s.id, call.Request)
	to := s.run.servers[call.To]
	go func() {
		time.Sleep(time.Millisecond)
		if !ok {
			done(call, nil)
			return
		}
		to.comes(request)
		to.node.Receive(s.id, request, func(reply core.Reply) {
			to.held(request, reply)
			go func() {
				time.Sleep(time.Millisecond)
				done(call, reply)
			}()
		})
	}()
}

// comes notes what the server may believe to be committed from now on.
func (s *server) comes(request core.Request) {
	if m, ok := request.(*core.AppendEntries); ok {
		s.mu.Lock()
		s.commit = max(s.commit, m.LeaderCommit)
		s.mu.Unlock()
	}
}

// held is called on the server's loop when it confirms a message: its entries are on
// the disk, and in memory for as long as they are not applied.
func (s *server) held(request core.Request, reply core.Reply) {
	m, ok := request.(*core.AppendEntries)
	if r, is := reply.(*core.AppendEntriesReply); !ok || !is || !r.Success {
		return
	}
	s.mu.Lock()
	commit := s.commit
	s.mu.Unlock()
	for _, e := range m.Entries {
		if e.Index > commit && len(e.Data) > 0 {
			s.run.maybe("held", s.id, func() { flipByte(e.Data, s.run.dice) })
		}
	}
}

// awaits reports whether anybody has applied a command within some seconds.
func (s *server) awaits(command string) bool {
	for range 300 {
		for _, other := range s.run.servers {
			if slices.Contains(other.commands(), command) {
				return true
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
