package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// How many messages an operation costs when each request comes in a turn of its own,
// as through a door that admits requests one by one. Time is virtual and counted in µs.

// closedLoop is a number of clients, each of which makes its next request when the
// last one is answered. The way from an answer to the next request takes a client 90 to
// 110 µs.
type closedLoop struct {
	w         *timed
	server    *timedServer // that they send requests to
	dice      *rand.Rand
	puts      bool
	begun     map[Tag]int64    // when each unanswered read began
	committed map[uint64]int64 // when each unanswered put began, by index
	measuring bool
	took      []int64
}

// request makes one client's next request.
func (c *closedLoop) request() {
	if c.puts {
		index, _, err := c.server.Propose(make([]byte, 256))
		if err != nil {
			c.w.t.Fatal(err)
		}
		c.committed[index] = c.w.now
	} else {
		c.server.tags++
		c.begun[c.server.tags] = c.w.now
		if err := c.server.Read(c.server.tags); err != nil {
			c.w.t.Fatal(err)
		}
	}
	c.server.turn()
}

// answered ends a request, and begins the same client's next.
func (c *closedLoop) answered(begun int64) {
	if c.measuring {
		c.took = append(c.took, c.w.now-begun)
	}
	c.w.after(90+c.dice.Int64N(21), c.request)
}

func (c *closedLoop) readDone(done ReadDone) {
	if done.Err != nil {
		c.w.t.Fatal(done.Err)
	}
	begun := c.begun[done.Tag]
	delete(c.begun, done.Tag)
	c.answered(begun)
}

func (c *closedLoop) applied(first, last uint64) {
	for index := first; index <= last; index++ {
		if begun, ours := c.committed[index]; ours {
			delete(c.committed, index)
			c.answered(begun)
		}
	}
}

// workload is what the clients do, and on what.
type workload struct {
	name       string
	puts       bool
	atFollower bool
	hop        int64 // µs that a message takes between two servers
	sync       int64 // µs that a write to a disk takes
	slow       int64 // likewise, of one follower; 0: as the others
}

// cost is what operations took.
type cost struct {
	rate     float64 // operations in a second
	p50, p99 int64   // µs
	messages float64 // AppendEntries that the leader sent to each follower, per operation
	asked    float64 // ReadIndex, per operation
	writes   float64 // writes to the leader's disk, per operation
}

// measure runs the clients for a tenth of a second, and then for as long while it
// counts.
func (k workload) measure(t testing.TB, clients int, options ...func(*Config)) cost {
	t.Helper()
	const tenth = 100_000
	w := newTimedIn(t, 1000, 3, 1, options...)
	w.hop = k.hop
	for w.leader() == nil {
		w.run(tenth)
	}
	w.run(10 * tenth)
	leader, server := w.leader(), w.leader()
	for _, s := range w.servers {
		s.disk(k.sync)
		if k.atFollower && s != leader {
			server = s
		}
	}
	if k.slow > 0 {
		w.servers[(slices.Index(w.servers, leader)+1)%3].disk(k.slow)
	}
	c := &closedLoop{w: w, server: server, puts: k.puts, dice: rand.New(rand.NewPCG(1, 2)), begun: map[Tag]int64{}, committed: map[uint64]int64{}}
	server.ended, server.applies = c.readDone, c.applied
	for i := range clients {
		w.after(int64(i%100), c.request)
	}
	w.run(tenth)
	sent, asked, saved := leader.sent, server.asked, leader.saved
	c.measuring = true
	w.run(tenth)
	if w.leader() != leader || len(c.took) == 0 {
		t.Fatalf("%s: %d operations of %d clients ended, and the leader is still the same: %v", k.name, len(c.took), clients, w.leader() == leader)
	}
	slices.Sort(c.took)
	n := float64(len(c.took))
	return cost{
		rate: n * 1e6 / tenth, p50: c.took[len(c.took)/2], p99: c.took[len(c.took)*99/100],
		messages: float64(leader.sent-sent) / 2 / n, asked: float64(server.asked-asked) / n, writes: float64(leader.saved-saved) / n,
	}
}

func (c cost) log(t testing.TB, name string, clients int) {
	t.Helper()
	t.Logf("%-20s %4d clients: %8.0f/s, p50 %6d µs, p99 %6d µs; per operation %.3f messages to each follower, %.3f ReadIndex, %.3f writes",
		name, clients, c.rate, c.p50, c.p99, c.messages, c.asked, c.writes)
}

// Goal: reads that arrive one by one share rounds: 64 clients cost each follower at
// most a tenth of a message per read, and at a follower likewise a tenth of a question
// to the leader. A client alone waits for one round trip, as if there were no others;
// with more clients no read takes two rounds and a half. Method: closed loops in
// virtual time, 50 µs a hop; without a shared round a read costs one message.
func TestBatching_ReadsThatArriveOneByOneShareRounds(t *testing.T) {
	defer failOnPanic(t)
	for _, k := range []workload{
		{name: "reads", hop: 50, sync: 500},
		{name: "reads at a follower", atFollower: true, hop: 50, sync: 500},
	} {
		alone := 2 * k.hop
		if k.atFollower {
			alone *= 2
		}
		for _, clients := range []int{1, 16, 64, 256} {
			c := k.measure(t, clients)
			c.log(t, k.name, clients)
			if clients == 1 && c.p99 != alone || c.p99 > alone*5/2 {
				t.Errorf("%s: %d clients wait up to %d µs, one alone %d", k.name, clients, c.p99, alone)
			}
			if most := max(0.1, 6.4/float64(clients)); clients >= 16 && (c.messages > most || c.asked > most) {
				t.Errorf("%s: %d clients cost each follower %.3f messages and the leader %.3f questions a read, want at most %.1f",
					k.name, clients, c.messages, c.asked, most)
			}
		}
	}
}

// Goal: where followers are far away a read waits a tick for the round before it, not a
// round trip. Method: as above, with 25 ms a hop.
func TestBatching_ReadsWaitATickWhereFollowersAreFar(t *testing.T) {
	defer failOnPanic(t)
	k := workload{name: "reads, far", hop: 25_000, sync: 500}
	c := k.measure(t, 64)
	c.log(t, k.name, 64)
	if c.p99 > 2*k.hop+10_000 || c.messages > 0.1 {
		t.Errorf("64 clients wait up to %d µs for a round trip of %d, and cost %.3f messages a read", c.p99, 2*k.hop, c.messages)
	}
}

// Goal: commands that arrive one by one share messages and writes: 64 clients cost each
// follower at most a tenth of a message per command. Half of the commands take no
// longer than if nothing were held back, and those of one client take exactly as long.
// That holds on quick and slow disks, near and far, and with one slow follower.
// Method: closed loops in virtual time, with and without holding back.
func TestBatching_CommandsThatArriveOneByOneShareMessages(t *testing.T) {
	defer failOnPanic(t)
	atOnce := func(c *Config) { c.BatchBytes = 1 }
	for _, k := range []workload{
		{name: "puts", puts: true, hop: 50, sync: 500},
		{name: "puts, slow disks", puts: true, hop: 50, sync: 5000},
		{name: "puts, slow follower", puts: true, hop: 50, sync: 500, slow: 20_000},
		{name: "puts, longer way", puts: true, hop: 500, sync: 500},
		{name: "puts, far", puts: true, hop: 20_000, sync: 500},
	} {
		for _, clients := range []int{1, 16, 64} {
			before, c := k.measure(t, clients, atOnce), k.measure(t, clients)
			before.log(t, k.name+", at once", clients)
			c.log(t, k.name, clients)
			if clients == 1 && c.p99 != before.p99 || c.p50 > before.p50*102/100 {
				t.Errorf("%s: half of the commands of %d clients take up to %d µs, and %d if nothing is held back", k.name, clients, c.p50, before.p50)
			}
			most := max(0.1, 6.4/float64(clients))
			if k.hop > 10_000 {
				most = before.messages / 2 // of few commands and many heartbeats
			}
			if clients >= 16 && c.messages > most {
				t.Errorf("%s: %d clients cost each follower %.3f messages a command, want at most %.1f", k.name, clients, c.messages, most)
			}
		}
	}
}

// heldBack returns a leader whose disk has a write, with x in flight to 2 and 3 and y
// held back, and the calls that carry x.
func heldBack(t *testing.T, options ...any) (*subject, []Call) {
	t.Helper()
	s := newSubject(t, options...)
	for _, call := range s.lead() {
		s.accept(call)
	}
	s.slowDisk = true
	calls := s.propose("x")
	s.to("2", calls)
	s.to("3", calls)
	if early := s.propose("y"); len(early) > 0 {
		t.Fatalf("it sent %v", early)
	}
	return s, calls
}

// Goal: what is held back leaves with the leader's own next write, with the next tick,
// when many bytes wait, and to the follower that has confirmed what it was sent: one
// quick follower does not wait for a slow one. Method: y is held back; each of
// these happens; count the entries that leave to each follower.
func TestBatching_WhatIsHeldBackLeaves(t *testing.T) {
	defer failOnPanic(t)
	for _, c := range []struct {
		name    string
		happens func(s *subject, x []Call)
		to2     int
		to3     int
	}{
		{"the leader's own write is saved", func(s *subject, _ []Call) { s.save() }, 1, 1},
		{"a tick passes", func(s *subject, _ []Call) { s.Tick(); s.run() }, 1, 1},
		{"few bytes more wait", func(s *subject, _ []Call) { s.Propose([]byte("z")); s.run() }, 0, 0},
		{"many bytes wait", func(s *subject, _ []Call) { s.Propose(make([]byte, 10)); s.run() }, 2, 2},
		{"2 confirms x", func(s *subject, x []Call) { s.accept(s.to("2", x)) }, 1, 0},
		{"3 confirms x", func(s *subject, x []Call) { s.accept(s.to("3", x)) }, 0, 1},
		{"x to 2 is lost, and 2 denies it", func(s *subject, x []Call) {
			s.giveBack(s.to("2", x), nil)
			s.Tick()
			s.Tick()
			s.run()
			beat := s.to("2", s.takeCalls())
			s.giveBack(beat, &AppendEntriesReply{Term: 1, ConflictIndex: 1})
		}, 2, 0},
	} {
		s, x := heldBack(t, func(c *Config) { c.BatchBytes = 2*one + 5 })
		c.happens(s, x)
		sent := map[ID]int{}
		for _, call := range s.takeCalls() {
			if req, ok := call.Request.(*AppendEntries); ok && len(req.Entries) > 0 {
				if sent[call.To] += len(req.Entries); sent[call.To] > len(req.Entries) {
					t.Errorf("%s: %s is sent more than one message", c.name, call.To)
				}
			}
		}
		if sent["2"] != c.to2 || sent["3"] != c.to3 {
			t.Errorf("%s: 2 is sent %d entries and 3 %d, want %d and %d", c.name, sent["2"], sent["3"], c.to2, c.to3)
		}
	}
}
