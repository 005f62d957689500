package main

import (
	"fmt"
	"math/rand/v2"

	"raftkv/raft/core"
	"raftkv/raft/node"
)

// server is one machine: its disk outlives it, everything else does not.
type server struct {
	w     *world
	id    core.ID
	index int

	disk  disk
	model diskModel   // what the disk must hold (oracle)
	lost  []diskModel // what the disks held that it has lost (oracle)

	drift    int64 // permille its clock runs too fast,
	setAt    int64 // since then,
	showed   int64 // when it showed this
	nextTick int64
	ticks    int

	life    int // counts starts; events of an earlier life find it changed
	up      bool
	paused  bool
	backlog []func() // inputs that came while it was paused
	calls   []*rpc   // that it is to answer, and some that it has

	replica *node.Replica
	turning bool // inside Ready
	due     bool // a turn is scheduled

	stalls int // faults that stall the state machine
	service
	acquaintance
	program program
	aside   *aside // its own directory, while another one is in its place
	watch   watch  // what the oracles have seen of this life
}

func newServer(w *world, i int) *server {
	s := &server{w: w, id: core.ID(fmt.Sprintf("n%d", i+1)), index: i}
	s.drift = w.serverDice.between(-w.options.Drift, w.options.Drift)
	s.disk.init(s)
	return s
}

func (s *server) alive(life int) bool { return s.up && s.life == life }

// input lets something happen to the server, now or when it is resumed. Inputs
// that wait die with the life they wait for.
func (s *server) input(do func()) {
	if s.paused {
		s.backlog = append(s.backlog, do)
		return
	}
	do()
}

// start boots the server from its disk. A disk that cannot be read is a
// violation: every fault drawn here must be survived without help.
func (s *server) start() {
	w := s.w
	if s.disk.dir.fenced {
		return // until somebody puts another directory in its place
	}
	s.life++
	state, ok := s.disk.boot()
	if !ok {
		w.nemesis.restartSoon(s, 100*millisecond)
		return
	}
	s.up, s.paused, s.due = true, false, false
	s.backlog = nil
	s.watch = watch{}
	s.replica = node.NewReplica(s.config(), state)
	s.introduce()
	s.program.boot(s, &state)
	s.service.start(s, state)
	if w.nemesis.pauses[s.index] > 0 {
		s.paused = true
	}
	w.event(s.index, evStart, uint64(s.life), state.Snapshot.Index+1, state.Snapshot.Index+uint64(len(state.Entries)), w.number(state.VotedFor))
	s.nextTick = w.now + w.serverDice.between(1, s.interval())
	if s.disk.rejoining.On && s.disk.rejoining.Term > 0 {
		s.announce(func() {})
	}
	s.turn()
}

func (s *server) config() core.Config {
	o := &s.w.options
	return core.Config{
		ID: s.id, Peers: s.founders(), ElectionTicks: o.ElectionTicks, HeartbeatTicks: o.HeartbeatTicks,
		PromptTicks: o.PromptTicks, PromptStart: o.PromptTicks > 0,
		MaxAppendBytes: o.AppendBytes, Window: o.Window, MaxApplyBytes: o.ApplyBytes, MaxUncommittedBytes: o.Uncommitted,
		NewUID: s.newUID(), CommitTicks: o.CommitTicks, TrailingBytes: o.Trailing, StallTicks: o.StallTicks, SnapshotPatience: o.Patience,
		PreVote: !o.Labs, CheckQuorum: !o.Labs, Noop: !o.Labs,
		Rand: rand.New(rand.NewPCG(s.w.serverDice.Uint64(), uint64(s.index))),
	}
}

// interval is the length of a tick by the server's own clock.
func (s *server) interval() int64 { return max(1, s.w.options.Tick*1000/s.pace()) }

// pace is how far the server's clock gets in a thousand.
func (s *server) pace() int64 { return min(max(1000+s.drift, 200), 3000) }

// clock is what the server's own clock shows.
func (s *server) clock() int64 { return s.showed + (s.w.now-s.setAt)*s.pace()/1000 }

// driftBy makes the clock run faster, or slower.
func (s *server) driftBy(permille int64) {
	s.showed, s.setAt = s.clock(), s.w.now
	s.drift += permille
}

func (s *server) tick() {
	s.nextTick = s.w.now + s.interval()
	if !s.paused { // ticks of a paused process are lost, not late
		s.replica.Tick()
		if s.ticks++; s.ticks%pollTicks == 0 {
			s.redial()
			s.poll()
			s.raiseLevel()
			s.proposeTick()
		}
		s.turn()
	}
}

// crash ends the server at once. How says what becomes of its disk.
func (s *server) crash(how crash, d dice) {
	w := s.w
	w.event(s.index, evCrash, uint64(s.life))
	s.end()
	s.up, s.paused, s.backlog = false, false, nil
	w.counts.Crashes++
	w.network.died(s)
	s.disk.crash(how, d)
	w.connectionsDied(s)
}

// end adds up what this life counted.
func (s *server) end() {
	c := s.replica.Status().Counts
	s.w.counts.StalledLeaders += int(c.StalledDisk)
	s.w.counts.LostQuorums += int(c.LostQuorum)
	s.w.counts.PreVotes += int(c.PreVotes)
	s.w.counts.Campaigns += int(c.Campaigns)
	s.w.counts.LedByTransfer += int(c.Transferred)
}

// stop ends the server in order: the log is closed.
func (s *server) stop(d dice) { s.crash(crash{torn: -1, orderly: true}, d) }

// connectionsDied tells everybody else, soon, that a server is gone.
func (w *world) connectionsDied(dead *server) {
	if !w.options.Suspects {
		return
	}
	for _, s := range w.servers {
		if s != dead && s.up {
			w.suspectSoon(s, dead.id)
		}
	}
}

func (w *world) suspectSoon(s *server, peer core.ID) {
	life := s.life
	w.after(w.serverDice.between(50, 500), then(func() {
		if !s.alive(life) {
			return
		}
		s.input(func() {
			w.event(s.index, evSuspects, w.number(peer))
			s.replica.Suspect(peer)
			s.turn()
		})
	}))
}

func (s *server) pause() { s.paused = true }

func (s *server) resume() {
	s.paused = false
	backlog := s.backlog
	s.backlog = nil
	s.w.event(s.index, evResumed, uint64(len(backlog)))
	life := s.life
	for _, do := range backlog {
		if s.alive(life) { // one of them may be its end
			do()
		}
	}
}

// turn lets out the work that has gathered: at once, or when the server's loop
// gets to it and more has gathered.
func (s *server) turn() {
	w := s.w
	if s.turning || s.due {
		return
	}
	delay := w.serverDice.between(0, w.options.LoopDelay)
	if delay == 0 {
		s.flush()
		return
	}
	s.due = true
	w.after(delay, &turn{s, s.life})
}

// turn is a turn of a server's life that will come.
type turn struct {
	s    *server
	life int
}

func (t *turn) happen() {
	if s := t.s; s.alive(t.life) {
		s.due = false
		s.input(s.flush)
	}
}

// flush hands work out by its three doors.
func (s *server) flush() {
	work, ok := s.takeWork()
	if !ok {
		return
	}
	s.w.oracles.observe(s)
	s.learnUID(s.replica.UID())
	if len(work.Forgot) > 0 {
		s.w.fail("nobody forgets", "%s finds that %v have forgotten what they confirmed", s.id, work.Forgot)
	}
	for _, call := range work.Calls {
		s.noteInstall(call)
		s.w.oracles.sends(s, call)
		s.w.network.send(s, call)
	}
	if work.Write != nil {
		s.disk.save(work.Write)
	}
	if work.Apply != nil {
		s.apply(work.Apply)
	}
}

// takeWork takes what is to be done. A core that finds an entry damaged in memory ends
// its process; the next one has what is on the disk.
func (s *server) takeWork() (work node.Work, ok bool) {
	s.turning = true
	defer func() {
		s.turning = false
		damage := recover()
		switch damage.(type) {
		case nil:
		case *core.DamageError:
			s.w.counts.DamageFound++
			s.crash(crash{torn: -1}, s.w.diskDice)
			s.w.nemesis.restartSoon(s, 100*millisecond)
		default:
			panic(damage)
		}
	}()
	return s.replica.Ready(), true
}

// receive takes a peer's request.
func (s *server) receive(from *server, call core.Call, answer func(core.Reply)) {
	w := s.w
	given := w.now
	w.gotRequest(s, from, call.Request)
	s.replica.Receive(from.id, call.Request, func(reply core.Reply) {
		if w.now > given {
			w.counts.HeldAnswers++
		}
		w.oracles.answered(s, from, call.Request, reply)
		answer(reply)
	})
	s.turn()
}

// returned takes the end of a call.
func (s *server) returned(to *server, call core.Call, reply core.Reply) {
	s.w.callEnded(s, to, call.Request, reply)
	s.replica.Returned(call, reply)
	s.turn()
}

func (s *server) describe() string {
	if !s.up {
		return fmt.Sprintf("%s down", s.id)
	}
	o := s.replica.Observe()
	return fmt.Sprintf("%s %-13v term %d vote %q leader %q last %d/%d commit %d applied %d durable %d writing %v paused %v",
		s.id, o.Role, o.Term, o.VotedFor, o.Leader, o.LastIndex, o.LastTerm, o.CommitIndex, o.LastApplied, o.Durable, s.disk.writing != nil, s.paused) + s.describeMembers()
}
