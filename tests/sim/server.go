package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"

	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/node"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// server is one machine: its disk outlives it, everything else does not.
type server struct {
	w     *world
	id    core.ID
	index int
	drift int64 // permille its clock runs too fast

	disk   *vfs.Crashable
	faults *vfs.Faulty
	model  diskModel // what the disk must hold (oracle)

	life    int // counts starts; events of an earlier life find it changed
	up      bool
	paused  int64 // until when; inputs wait
	backlog []func()

	wal     *wal.WAL // nil if the disk is a persister: then the model is the disk
	replica *node.Replica
	store   *kv.Store
	writing *core.Write
	turning bool

	compacted uint64                    // index of the last snapshot taken in this life
	number    uint64                    // of the last request proposed in this life
	waiting   map[kv.RequestID]*attempt // looked up, never walked
	parked    []parkedRead
}

// parkedRead is a read whose index has not been applied here yet.
type parkedRead struct {
	index uint64
	serve func()
}

func newServer(w *world, i int) *server {
	return &server{
		w: w, id: core.ID(fmt.Sprintf("n%d", i+1)), index: i,
		drift: w.between(-w.options.driftPermil, w.options.driftPermil),
		disk:  vfs.NewCrashable(),
	}
}

func (s *server) alive(life int) bool { return s.up && s.life == life }

// input lets something happen to the server, now or when it is resumed.
func (s *server) input(do func()) {
	if s.paused > s.w.now {
		s.backlog = append(s.backlog, do)
		return
	}
	do()
}

// start boots the server from its disk. A disk that cannot be read is a
// violation: every fault drawn here must be survived without help.
func (s *server) start() {
	w := s.w
	s.life++
	state, ok := s.recover()
	if !ok {
		return
	}
	s.up = true
	s.replica = node.NewReplica(s.config(), state)
	s.store = kv.New()
	if state.Snapshot.Index > 0 {
		s.restore(&state.Snapshot)
	}
	s.writing, s.parked, s.backlog, s.paused, s.compacted = nil, nil, nil, 0, 0
	s.waiting = map[kv.RequestID]*attempt{}
	w.event(string(s.id), "start life %d: term %d, vote %q, %d entries", s.life, state.Term, state.VotedFor, len(state.Entries))
	s.scheduleTick(s.life)
	s.turn()
}

func (s *server) config() core.Config {
	o := s.w.options
	peers := make([]core.ID, len(s.w.servers))
	for i, p := range s.w.servers {
		peers[i] = p.id
	}
	return core.Config{
		ID: s.id, Peers: peers, ElectionTicks: o.electionTicks, HeartbeatTicks: o.heartbeatTicks,
		PromptTicks: o.promptTicks, PromptStart: o.promptTicks > 0,
		MaxAppendBytes: o.appendBytes, Window: o.window, MaxApplyBytes: o.applyBytes, MaxUncommittedBytes: o.uncommitted,
		PreVote: o.server, CheckQuorum: o.server, Noop: o.server,
		Rand: rand.New(rand.NewPCG(s.w.rng.Uint64(), uint64(s.index))),
	}
}

// recover opens the log. Now and then the machine dies once more meanwhile.
func (s *server) recover() (core.State, bool) {
	w := s.w
	if w.options.persister {
		if s.writing != nil && w.chance(0.3) { // it was stored, and nobody heard of it
			s.model = s.model.with(s.writing)
			w.counts.KeptTails++
		}
		return s.model.state, true
	}
	for {
		s.faults = vfs.NewFaulty(s.disk)
		dying := !w.healed && w.options.crashEvery > 0 && w.chance(0.1)
		if dying {
			s.pullPlugAfter(w.rng.IntN(12))
		}
		log, state, err := wal.Open(wal.Options{
			FS: s.faults, Dir: "data/" + string(s.id), ClusterID: "sim", NodeID: string(s.id), SegmentBytes: w.options.segmentBytes,
		})
		s.faults.Hook(nil)
		if err != nil && !dying {
			w.fail("%s cannot start: %v", s.id, err)
		}
		if err != nil {
			w.counts.RecoveryCrashes++
			w.event(string(s.id), "crash during recovery")
			s.loseMachine()
			continue
		}
		s.wal = log
		w.oracles.recovered(s, state)
		return state, true
	}
}

// pullPlugAfter makes every file operation after the next n fail as if the
// machine had died.
func (s *server) pullPlugAfter(n int) {
	s.faults.Hook(func(vfs.Op) error {
		if n == 0 {
			return vfs.ErrCrashed
		}
		n--
		return nil
	})
}

// loseMachine leaves behind the disk that the next boot finds.
func (s *server) loseMachine() {
	if s.w.options.powerCuts && s.w.chance(0.7) {
		s.w.counts.PowerCuts++
		s.disk = s.disk.Crash(s.w.rng, vfs.Models[s.w.rng.IntN(len(vfs.Models))])
		return
	}
	s.disk = s.disk.Kill()
}

// crash ends the server at once, now and then in the middle of a save.
func (s *server) crash() {
	w := s.w
	s.up = false
	w.counts.Crashes++
	if s.writing != nil && s.wal != nil && w.chance(0.5) {
		w.counts.TornWrites++
		s.pullPlugAfter(w.rng.IntN(5))
		_ = s.wal.Save(s.writing) // whatever it says, nobody hears it
	}
	w.event(string(s.id), "crash")
	s.loseMachine()
	w.connectionsDied(s)
}

// connectionsDied tells everybody else, soon, that a server is gone.
func (w *world) connectionsDied(dead *server) {
	if !w.options.suspects {
		return
	}
	for _, s := range w.servers {
		if life := s.life; s != dead && s.up {
			w.after(w.between(50, 500), func() {
				if s.alive(life) {
					s.input(func() {
						s.replica.Suspect(dead.id)
						s.turn()
					})
				}
			})
		}
	}
}

func (s *server) scheduleTick(life int) {
	s.w.after(s.w.options.tick*1000/(1000+s.drift), func() {
		if !s.alive(life) {
			return
		}
		if s.paused <= s.w.now { // ticks of a paused process are lost, not late
			s.replica.Tick()
			s.turn()
		}
		s.scheduleTick(life)
	})
}

func (s *server) receive(from core.ID, call core.Call, answer func(core.Reply)) {
	if !s.up {
		return
	}
	given := s.w.now
	s.w.event(string(s.id), "<- %s %s", from, describeRequest(call.Request))
	s.replica.Receive(from, call.Request, func(reply core.Reply) {
		if s.w.now > given {
			s.w.counts.HeldAnswers++
		}
		s.w.oracles.answered(s, from, call.Request, reply)
		answer(reply)
	})
	s.turn()
}

func (s *server) returned(call core.Call, reply core.Reply) {
	s.w.event(string(s.id), "end of call to %s: %s %s", call.To, describeRequest(call.Request), describeReply(reply))
	s.replica.Returned(call, reply)
	s.turn()
}

// turn lets out the work that has gathered, by its three doors.
func (s *server) turn() {
	if s.turning {
		return // a callback inside a turn: the turn under way takes it along
	}
	s.turning = true
	work := s.replica.Flush()
	s.turning = false
	s.w.oracles.observe(s)
	for _, call := range work.Calls {
		s.w.network.send(s, call)
	}
	if work.Write != nil {
		s.save(work.Write)
	}
	if work.Apply != nil {
		s.apply(work.Apply)
	}
}

// save puts a write on the disk, which takes its time and may fail.
func (s *server) save(write *core.Write) {
	w, life := s.w, s.life
	s.writing = write
	delay := w.between(w.options.saveLow, w.options.saveHigh)
	if w.options.diskStalls && !w.healed && w.chance(0.01) {
		delay += w.between(1, 2000) * millisecond
	}
	w.after(delay, func() {
		if !s.alive(life) {
			return
		}
		if s.wal == nil {
			s.saved(write)
			return
		}
		failing := w.options.diskErrors && !w.healed && w.chance(0.002)
		if failing {
			kind := []vfs.Kind{vfs.OpSync, vfs.OpWrite}[w.rng.IntN(2)]
			s.faults.Inject(vfs.Fault{Kind: kind, Nth: s.faults.Count(kind) + 1, Err: syscall.EIO, Lie: kind == vfs.OpSync, Short: w.rng.IntN(100)})
		}
		err := s.wal.Save(write)
		if failing {
			w.counts.DiskErrors++
			if err == nil {
				w.fail("%s acknowledged a write whose sync failed", s.id)
			}
			w.event(string(s.id), "disk error: %v", err)
			// The node ends itself; its supervisor restarts it, perhaps on the
			// same kernel, whose cache still shows what the disk never got.
			s.up = false
			w.counts.Crashes++
			s.loseMachine()
			w.connectionsDied(s)
			w.restartLater(s)
			return
		}
		if err != nil {
			w.fail("%s could not save: %v", s.id, err)
		}
		if w.chance(0.05) {
			if err := s.wal.Prepare(); err != nil {
				w.fail("%s could not prepare a segment: %v", s.id, err)
			}
		}
		s.saved(write)
	})
}

// saved tells the server that its write is on the disk.
func (s *server) saved(write *core.Write) {
	life := s.life
	s.writing = nil
	s.w.oracles.saved(s, write)
	s.input(func() {
		if s.alive(life) {
			s.w.event(string(s.id), "saved %d", write.Seq)
			s.replica.Saved(write.Seq)
			s.turn()
		}
	})
}

// apply lets the state machine work off a batch.
func (s *server) apply(batch *core.Batch) {
	w, life := s.w, s.life
	w.after(w.between(0, w.options.applyDelay), func() {
		s.input(func() {
			if !s.alive(life) {
				return
			}
			if batch.Snapshot != nil {
				if batch.Snapshot.Index <= s.store.AppliedIndex() {
					w.fail("%s was given a snapshot at %d and stands at %d", s.id, batch.Snapshot.Index, s.store.AppliedIndex())
				}
				w.counts.Installs++
				s.restore(batch.Snapshot)
			}
			for _, e := range batch.Entries {
				s.applyEntry(e)
			}
			w.event(string(s.id), "applied %d", batch.Last())
			s.replica.Applied(batch.Last())
			s.compact()
			s.serveParked()
			s.turn()
		})
	})
}

// restore replaces the state machine by a snapshot.
func (s *server) restore(snapshot *core.Snapshot) {
	store, err := kv.Restore(bytes.NewReader(snapshot.Data))
	if err != nil || store.AppliedIndex() != snapshot.Index {
		s.w.fail("%s cannot restore the snapshot at %d: %v", s.id, snapshot.Index, err)
	}
	s.store = store
	s.w.oracles.restored(s)
}

// compact takes a snapshot when it is time for one. Now and then the log is told
// late, or of one that it has already.
func (s *server) compact() {
	w, index := s.w, s.store.AppliedIndex()
	if every := w.options.snapshotEvery; every == 0 || index-s.compacted < every {
		return
	}
	var data bytes.Buffer
	if _, err := s.store.WriteTo(&data); err != nil {
		w.fail("%s cannot write a snapshot: %v", s.id, err)
	}
	s.compacted = index
	w.counts.Snapshots++
	life, snapshot := s.life, core.Snapshot{Index: index, Data: data.Bytes()}
	w.after(w.between(0, 2*w.options.saveHigh), func() {
		if s.alive(life) {
			s.replica.Compact(snapshot)
			s.turn()
		}
	})
}

func (s *server) applyEntry(e core.Entry) {
	if e.Kind != core.KindCommand {
		s.store.Advance(e.Index)
		s.w.oracles.applied(s, e, kv.Result{})
		return
	}
	result := s.store.Apply(e.Index, e.Data)
	s.w.oracles.applied(s, e, result)
	if a, mine := s.waiting[result.ID]; mine {
		delete(s.waiting, result.ID)
		a.answer(outcome{status: done, result: result, index: e.Index})
	}
}

func (s *server) serveParked() {
	kept := s.parked[:0]
	for _, r := range s.parked {
		if r.index <= s.store.AppliedIndex() {
			r.serve()
		} else {
			kept = append(kept, r)
		}
	}
	s.parked = kept
}

func (s *server) describe() string {
	if !s.up {
		return fmt.Sprintf("%s down", s.id)
	}
	o := s.replica.Observe()
	return fmt.Sprintf("%s %-13v term %d vote %q leader %q last %d/%d commit %d applied %d durable %d writing %v",
		s.id, o.Role, o.Term, o.VotedFor, o.Leader, o.LastIndex, o.LastTerm, o.CommitIndex, o.LastApplied, o.Durable, s.writing != nil)
}

func describeRequest(request core.Request) string {
	switch req := request.(type) {
	case *core.RequestVote:
		return fmt.Sprintf("RequestVote term %d last %d/%d pre %v transfer %v", req.Term, req.LastLogIndex, req.LastLogTerm, req.Pre, req.Transfer)
	case *core.AppendEntries:
		return fmt.Sprintf("AppendEntries term %d prev %d/%d +%d commit %d", req.Term, req.PrevLogIndex, req.PrevLogTerm, len(req.Entries), req.LeaderCommit)
	case *core.InstallSnapshot:
		return fmt.Sprintf("InstallSnapshot term %d last %d/%d", req.Term, req.Snapshot.Index, req.Snapshot.Term)
	case *core.TimeoutNow:
		return fmt.Sprintf("TimeoutNow term %d", req.Term)
	case *core.ReadIndex:
		return fmt.Sprintf("ReadIndex term %d", req.Term)
	}
	panic(fmt.Sprintf("unknown request %T", request))
}

func describeReply(reply core.Reply) string {
	switch rep := reply.(type) {
	case nil:
		return "lost"
	case *core.RequestVoteReply:
		return fmt.Sprintf("term %d granted %v", rep.Term, rep.VoteGranted)
	case *core.AppendEntriesReply:
		return fmt.Sprintf("term %d success %v conflict %d/%d", rep.Term, rep.Success, rep.ConflictIndex, rep.ConflictTerm)
	case *core.InstallSnapshotReply:
		return fmt.Sprintf("term %d", rep.Term)
	case *core.TimeoutNowReply:
		return fmt.Sprintf("term %d", rep.Term)
	case *core.ReadIndexReply:
		return fmt.Sprintf("term %d success %v index %d", rep.Term, rep.Success, rep.Index)
	}
	panic(fmt.Sprintf("unknown reply %T", reply))
}
