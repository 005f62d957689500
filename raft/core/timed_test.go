package core

import (
	"container/heap"
	"math/rand/v2"
	"testing"
)

// timed is a cluster in virtual time: messages take a hop each way, and a write takes
// what the server's disk takes. It is configured as the real node is. The unit of time
// is a millisecond unless the test counts in another.
type timed struct {
	t       testing.TB
	now     int64
	hop     int64
	events  timedEvents
	count   int64
	servers []*timedServer
	// samples, taken every 5 ms
	sampled, led int
}

type timedServer struct {
	*Raft
	world   *timed
	down    bool
	sync    func(*Write) int64 // how long a write takes
	tags    Tag
	answers map[Tag]func(Reply)
	reads   map[Tag]int64 // when each was asked
	took    []int64       // by the reads that were confirmed
	failed  int           // reads that were not
	largest int           // bytes of the largest write
	quiet   int           // ticks that did nothing but count
	sent    int           // AppendEntries
	asked   int           // ReadIndex sent
	// If they are not nil, they are called with each end of a read, and with the indices
	// of each batch that was applied.
	ended   func(ReadDone)
	applies func(first, last uint64)
}

type timedEvent struct {
	at, number int64
	do         func()
}

type timedEvents []timedEvent

func (q timedEvents) Len() int { return len(q) }
func (q timedEvents) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].number < q[j].number
}
func (q timedEvents) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *timedEvents) Push(x any)   { *q = append(*q, x.(timedEvent)) }
func (q *timedEvents) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// newTimed starts n servers whose disks and hops take a millisecond, and whose ticks
// are 10 ms apart.
func newTimed(t testing.TB, n int, seed uint64, options ...func(*Config)) *timed {
	return newTimedIn(t, 1, n, seed, options...)
}

// newTimedIn is newTimed where the test counts more units of time in a millisecond.
func newTimedIn(t testing.TB, ms int64, n int, seed uint64, options ...func(*Config)) *timed {
	w := &timed{t: t, hop: ms}
	dice := rand.New(rand.NewPCG(seed, 0))
	for i, id := range names(n) {
		config := Config{
			ID: id, Peers: names(n), ElectionTicks: 30, HeartbeatTicks: 5, PreVote: true, CheckQuorum: true, Noop: true,
			TrailingBytes: 32 << 20, StallTicks: 135, SnapshotPatience: -1, Rand: rand.New(rand.NewPCG(seed, uint64(i+1))),
		}
		for _, option := range options {
			option(&config)
		}
		s := &timedServer{Raft: New(config, State{}), world: w, answers: map[Tag]func(Reply){}, reads: map[Tag]int64{}}
		s.disk(ms)
		w.servers = append(w.servers, s)
		w.every(dice.Int64N(10*ms), 10*ms, func() {
			if !s.down {
				s.tick()
				s.turn()
			}
		})
	}
	w.every(5*ms, 5*ms, func() {
		w.sampled++
		if w.leader() != nil {
			w.led++
		}
	})
	return w
}

// tick lets a tick pass. If it was not due, it must do nothing but count.
func (s *timedServer) tick() {
	due, before := s.TicksUntilDue(), s.Observe()
	if s.Tick(); due == 1 {
		return
	}
	s.quiet++
	r := s.Ready()
	if len(r.Calls)+len(r.Answers)+len(r.Reads) > 0 || r.Write != nil || r.Apply != nil || s.Observe() != before {
		s.world.t.Errorf("%s: the next tick was to be due in %d, and this one did %+v", s.config.ID, due, r)
	}
	if next := s.TicksUntilDue(); next != due-1 {
		s.world.t.Errorf("%s: %d ticks are left where %d were before this one", s.config.ID, next, due)
	}
}

// disk makes every write of the server take so long.
func (s *timedServer) disk(time int64) { s.sync = func(*Write) int64 { return time } }

func (w *timed) after(ms int64, do func()) {
	w.count++
	heap.Push(&w.events, timedEvent{w.now + ms, w.count, do})
}

func (w *timed) every(first, ms int64, do func()) {
	w.after(first, func() {
		do()
		w.every(ms, ms, do)
	})
}

// run lets ms pass.
func (w *timed) run(ms int64) {
	w.t.Helper()
	for end := w.now + ms; w.events[0].at <= end; {
		e := heap.Pop(&w.events).(timedEvent)
		w.now = e.at
		e.do()
	}
	for _, s := range w.servers {
		if err := s.Check(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// leader returns the leader of the latest term, nil if nobody leads.
func (w *timed) leader() *timedServer {
	var latest *timedServer
	for _, s := range w.servers {
		if !s.down && s.role == Leader && (latest == nil || s.currentTerm > latest.currentTerm) {
			latest = s
		}
	}
	return latest
}

// load makes a proposal of size bytes every few ms, and a read every 20.
func (w *timed) load(size int, ms int64) {
	w.every(ms, ms, func() {
		if l := w.leader(); l != nil {
			l.Propose(make([]byte, size))
			l.turn()
		}
	})
	w.every(20, 20, func() {
		if l := w.leader(); l != nil {
			l.tags++
			l.reads[l.tags] = w.now
			if l.Read(l.tags) != nil {
				delete(l.reads, l.tags)
			}
			l.turn()
		}
	})
}

// counts sums up what all servers counted.
func (w *timed) counts() (c Counts) {
	for _, s := range w.servers {
		c.Campaigns += s.Raft.counts.Campaigns
		c.LostQuorum += s.Raft.counts.LostQuorum
		c.StalledDisk += s.Raft.counts.StalledDisk
	}
	return c
}

// turn lets out what the server has to do.
func (s *timedServer) turn() {
	w, ready := s.world, s.Ready()
	for _, a := range ready.Answers {
		answer := s.answers[a.Tag]
		delete(s.answers, a.Tag)
		w.after(w.hop, func() { answer(a.Reply) })
	}
	for _, done := range ready.Reads {
		if done.Err == nil {
			s.took = append(s.took, w.now-s.reads[done.Tag])
		} else {
			s.failed++
		}
		delete(s.reads, done.Tag)
		if s.ended != nil {
			s.ended(done)
		}
	}
	for _, call := range ready.Calls {
		s.send(call)
	}
	if write := ready.Write; write != nil {
		bytes := 0
		for _, e := range write.Entries {
			bytes += e.size()
		}
		s.largest = max(s.largest, bytes)
		w.after(s.sync(write), func() {
			s.Saved(write.Seq)
			s.turn()
		})
	}
	if ready.Apply != nil {
		first, last := s.lastApplied+1, ready.Apply.Last()
		w.after(0, func() {
			s.Applied(last)
			if s.applies != nil {
				s.applies(first, last)
			}
			s.turn()
		})
	}
}

// send brings a call to its receiver and its answer back.
func (s *timedServer) send(call Call) {
	w := s.world
	to := w.servers[s.configuration.Position(call.To)]
	switch call.Request.(type) {
	case *AppendEntries:
		s.sent++
	case *ReadIndex:
		s.asked++
	}
	returned := func(reply Reply) {
		s.Returned(call, reply)
		s.turn()
	}
	w.after(w.hop, func() {
		if to.down {
			returned(nil)
			return
		}
		to.tags++
		to.answers[to.tags] = returned
		to.Receive(to.tags, s.config.ID, call.Request)
		to.turn()
	})
}
