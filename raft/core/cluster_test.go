package core

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
)

// cluster drives several servers by hand, on one thread and without a clock:
// messages wait in flight until a test delivers them, writes wait until it
// saves them, batches are applied at once unless it says otherwise. Every step
// is watched by the oracles; the first thing they object to stays in fault.
type cluster struct {
	servers []*server
	flight  []*message       // on their way, oldest first
	waiting map[Tag]*message // requests that were delivered and not answered yet
	lastTag Tag
	cut     map[[2]ID]bool // direction from, to: what is sent that way is lost
	slow    bool           // batches wait for apply
	lazy    bool           // the test flushes by itself
	oracles *oracles
	fault   error
	note    func(format string, args ...any) // hears of everything that happens; may be nil
	heard   map[ID][]Note                    // what the servers have noted
}

// server is one of them: the core, what it survives a crash with, and the
// work it handed out that is not done yet.
type server struct {
	id       ID
	config   Config
	core     *Raft // nil while it is down
	life     int   // rises with every start: a call's return belongs to one life
	disk     State
	rejoined bool    // in this life
	putBack  bool    // its disk was put back to an earlier state
	former   []State // disks that were lost
	writing  *Write
	batch    *Batch
	applied  []Entry // in this life, behind the snapshot it began with
	machine  machine
	held     bool // the disk hangs: settle does not save
	seen     Observed
	stalls   uint64 // counted in this life
	counts   Configurations
}

// machine is a state machine that remembers what it was given, in which order,
// as one number.
type machine struct {
	index uint64 // last applied
	sum   uint64 // of all entries up to there
}

func (m *machine) apply(e Entry) {
	m.index = e.Index
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %d %s", m.sum, e.Index, e.Term, e.Data)
	m.sum = h.Sum64()
}

func (m *machine) snapshot() Snapshot { return Snapshot{Index: m.index, Data: fmt.Append(nil, m.sum)} }

func (m *machine) restore(s Snapshot) {
	*m = machine{index: s.Index}
	_, _ = fmt.Sscan(string(s.Data), &m.sum)
}

// message is a request on its way, or its reply on the way back.
type message struct {
	*exchange
	from, to ID
	reply    Reply // nil while it is the request
	held     bool  // delayed: settle does not deliver it
}

// exchange is a call and what comes of it. It returns at most once, however
// often its request arrives, and only to the life of the caller that made it.
type exchange struct {
	call   Call
	caller ID
	life   int
	over   bool
}

const (
	noteWrite = "%s writes %v"
	noteApply = "%s applies %s"
)

func newCluster(n int, change func(*Config)) *cluster {
	c := &cluster{waiting: map[Tag]*message{}, cut: map[[2]ID]bool{}, heard: map[ID][]Note{}, oracles: newOracles()}
	var ids []ID
	for i := range n {
		ids = append(ids, ID(fmt.Sprint(i+1)))
	}
	for i, id := range ids {
		config := Config{
			ID: id, Peers: ids, ElectionTicks: 10, HeartbeatTicks: 2,
			Rand: rand.New(rand.NewPCG(uint64(i), 1)),
		}
		if change != nil {
			change(&config)
		}
		c.servers = append(c.servers, &server{id: id, config: config})
	}
	for _, s := range c.servers {
		c.start(s)
	}
	return c
}

// membersFrom returns the static list of a server in a cluster that the first n found.
// The others have none: they join.
func membersFrom(n int, id ID) []ID {
	if int(id[0]-'0') > n {
		return nil
	}
	return names(n)
}

func (c *cluster) server(id ID) *server { return c.servers[id[0]-'1'] }
func (c *cluster) core(id ID) *Raft     { return c.server(id).core }

func (c *cluster) failf(format string, args ...any) {
	if c.fault == nil {
		c.fault = fmt.Errorf(format, args...)
	}
}

func (c *cluster) notef(format string, args ...any) {
	if c.note != nil {
		c.note(format, args...)
	}
}

// start brings a server up with what is on its disk.
func (c *cluster) start(s *server) {
	s.life++
	s.applied, s.writing, s.batch, s.stalls, s.rejoined = nil, nil, nil, 0, false
	s.counts = Configurations{}
	s.machine.restore(s.disk.Snapshot)
	s.core = New(s.config, s.disk)
	s.seen = s.core.Observe()
}

// crash ends a server. What was not saved is lost; a write under way may have
// reached the disk all the same.
func (c *cluster) crash(s *server, written bool) {
	if s.core != nil && written && s.writing != nil {
		c.write(s)
	}
	s.core = nil
	maps.DeleteFunc(c.waiting, func(_ Tag, m *message) bool { return m.to == s.id })
}

// wipe ends a server and brings it up again with an empty disk, to rejoin.
func (c *cluster) wipe(s *server, written bool) {
	c.crash(s, written)
	s.former = append(s.former, s.disk)
	s.disk = State{Rejoining: Rejoining{On: true}}
	c.start(s)
}

// input does something to a server and takes what became ready of it.
func (c *cluster) input(s *server, do func(*Raft)) {
	if s.core == nil || c.fault != nil {
		return
	}
	do(s.core)
	if !c.lazy {
		c.flush(s)
	}
}

// flush takes everything a server has ready.
func (c *cluster) flush(s *server) {
	for s.core != nil && c.fault == nil {
		ready := s.core.Ready()
		if len(ready.Notes) > 0 {
			c.heard[s.id] = append(c.heard[s.id], ready.Notes...)
		}
		for _, call := range ready.Calls {
			c.oracles.call(c, s, call)
			m := &message{from: s.id, to: call.To, exchange: &exchange{call: call, caller: s.id, life: s.life}}
			c.flight = append(c.flight, m)
			c.notef("%v", m)
		}
		for _, a := range ready.Answers {
			request := c.waiting[a.Tag]
			if request == nil {
				c.failf("%s answered tag %d, which is not waiting", s.id, a.Tag)
				return
			}
			delete(c.waiting, a.Tag)
			c.oracles.answer(c, s, request, a.Reply)
			if a.Reply == nil {
				c.notef("%s gives %v no answer", s.id, request)
				c.lost(request)
				continue
			}
			m := &message{from: s.id, to: request.from, exchange: request.exchange, reply: a.Reply}
			c.flight = append(c.flight, m)
			c.notef("%v", m)
		}
		for _, id := range ready.Forgot {
			c.oracles.forgotten(c, s, id)
			c.notef("%s finds that %s has forgotten what it confirmed", s.id, id)
		}
		for _, done := range ready.Reads {
			c.oracles.read(c, s, done)
			c.notef("%s ends %v", s.id, readDone(done))
		}
		if ready.Write != nil {
			s.writing = ready.Write
			c.oracles.write(c, s, ready.Write)
			c.notef(noteWrite, s.id, ready.Write)
		}
		if ready.Apply != nil {
			s.batch = ready.Apply
		}
		if now := ready.Configuration; now != nil {
			if now.Newest != s.counts.Newest {
				c.notef("%s counts by entry %d: %s", s.id, now.Newest.Index, memberText(s.core.configuration))
			}
			s.counts = *now
		}
		now := s.core.Observe()
		c.oracles.state(c, s, now)
		if s.disk.Rejoining.On && !s.core.rejoining.On && !s.rejoined {
			s.rejoined = true
			c.oracles.rejoined++
			c.notef("%s has rejoined", s.id)
		}
		c.oracles.stalls += int(s.core.counts.StalledDisk - s.stalls)
		s.stalls = s.core.counts.StalledDisk
		if err := s.core.Check(); err != nil {
			c.failf("%w", err)
		}
		c.noteChange(s, now)
		if s.batch == nil || c.slow || !c.apply(s) {
			return
		}
	}
}

func (c *cluster) noteChange(s *server, now Observed) {
	before := s.seen
	s.seen = now
	if before.Role == Leader && now.Role == Follower && now.Term == before.Term && s.core.configuration.Votes(s.id) == 0 {
		c.oracles.left++
	}
	if now.Role != before.Role || now.Role == Candidate && now.Term != before.Term {
		c.notef("%s is %v in term %d", s.id, now.Role, now.Term)
	}
	if now.CommitIndex != before.CommitIndex {
		c.notef("%s commits %d", s.id, now.CommitIndex)
	}
}

// write puts the outstanding write on the disk and tells nobody.
func (c *cluster) write(s *server) {
	w := s.writing
	s.writing = nil
	s.disk.Term, s.disk.VotedFor, s.disk.Rejoining = w.Term, w.VotedFor, w.Rejoining
	if s.config.CommitTicks > 0 {
		s.disk.Commit = w.Commit
	}
	if w.Snapshot != nil {
		forgotten := min(w.Snapshot.Index-s.disk.Snapshot.Index, uint64(len(s.disk.Entries)))
		s.disk.Entries = slices.Clone(s.disk.Entries[forgotten:])
		s.disk.Snapshot = *w.Snapshot
	}
	if w.From != 0 {
		s.disk.Entries = append(s.disk.Entries[:w.From-1-s.disk.Snapshot.Index], w.Entries...)
	}
}

// save completes the outstanding write; false if there is none.
func (c *cluster) save(s *server) bool {
	if s.core == nil || s.writing == nil {
		return false
	}
	seq := s.writing.Seq
	c.write(s)
	c.input(s, func(r *Raft) { r.Saved(seq) })
	return true
}

// apply completes the outstanding batch; false if there is none.
func (c *cluster) apply(s *server) bool {
	if s.core == nil || s.batch == nil {
		return false
	}
	batch := s.batch
	s.batch = nil
	if batch.Snapshot != nil {
		if batch.Snapshot.Index <= s.machine.index {
			c.failf("%s is set back from %d to a snapshot at %d", s.id, s.machine.index, batch.Snapshot.Index)
		}
		s.machine.restore(*batch.Snapshot)
		s.applied = nil
		c.notef(noteApply, s.id, fmt.Sprintf("snapshot %d@%d", batch.Snapshot.Index, batch.Snapshot.Term))
	} else {
		for _, e := range batch.Entries {
			if e.Index != s.machine.index+1 {
				c.failf("%s applies entry %d behind %d", s.id, e.Index, s.machine.index)
			}
			s.machine.apply(e)
		}
		s.applied = append(s.applied, batch.Entries...)
		c.notef(noteApply, s.id, entryList(batch.Entries))
	}
	c.oracles.applied(c, s)
	s.core.Applied(batch.Last())
	return true
}

// compact lets a server's snapshot of now stand for its log.
func (c *cluster) compact(s *server) {
	c.input(s, func(r *Raft) { r.Compact(s.machine.snapshot()) })
}

// take removes a message from those in flight.
func (c *cluster) take(m *message) {
	i := slices.Index(c.flight, m)
	c.flight = slices.Delete(c.flight, i, i+1)
}

// deliver hands a message over. What is sent to a server that is down, or over
// a link that is cut, is lost.
func (c *cluster) deliver(m *message) {
	c.take(m)
	switch {
	case c.cut[[2]ID{m.from, m.to}]:
		c.lost(m)
	case m.reply != nil:
		c.returned(m, m.reply)
	case c.core(m.to) == nil:
		c.lost(m)
	default:
		c.request(m)
	}
}

// request hands over a request, which may have been handed over before.
func (c *cluster) request(m *message) {
	c.lastTag++
	tag := c.lastTag
	c.waiting[tag] = m
	c.input(c.server(m.to), func(r *Raft) { r.Receive(tag, m.from, m.call.Request) })
}

// lost tells the caller that its call will not be answered.
func (c *cluster) lost(m *message) { c.returned(m, nil) }

func (c *cluster) returned(m *message, reply Reply) {
	if s := c.server(m.caller); s.life == m.life && !m.over {
		m.over = true
		c.input(s, func(r *Raft) { r.Returned(m.call, reply) })
	}
}

// settle saves and delivers until nothing is left to do, and says how many
// messages and writes that took. With servers named it stays among them.
func (c *cluster) settle(among ...ID) (messages, writes int) {
	within := func(id ID) bool { return len(among) == 0 || slices.Contains(among, id) }
	for range 20_000 {
		busy := false
		for _, s := range c.servers {
			if !s.held && within(s.id) && c.save(s) {
				busy = true
				writes++
			}
		}
		i := slices.IndexFunc(c.flight, func(m *message) bool { return !m.held && within(m.from) && within(m.to) })
		if i >= 0 {
			busy = true
			messages++
			c.deliver(c.flight[i])
		}
		if !busy || c.fault != nil {
			return messages, writes
		}
	}
	c.failf("the cluster does not settle")
	return messages, writes
}

// elect makes a server leader with everybody's help.
func (c *cluster) elect(id ID) {
	c.input(c.server(id), (*Raft).startCampaign)
	c.settle()
	if role := c.core(id).role; role != Leader {
		c.failf("%s is %v, not leader", id, role)
	}
}

func (c *cluster) tick(id ID, n int) {
	for range n {
		c.input(c.server(id), (*Raft).Tick)
	}
}

func (c *cluster) propose(id ID, data string) (index uint64, err error) {
	c.input(c.server(id), func(r *Raft) { index, _, err = r.Propose([]byte(data)) })
	return index, err
}

func (c *cluster) read(id ID) (tag Tag, err error) {
	c.lastTag++
	tag = c.lastTag
	c.oracles.asked(tag)
	c.input(c.server(id), func(r *Raft) { err = r.Read(tag) })
	if err != nil {
		delete(c.oracles.floors, tag)
	}
	return tag, err
}

// failOnPanic, deferred first in a test, makes a broken assertion of the core
// this test's failure instead of the end of all tests.
func failOnPanic(t testing.TB) {
	if broken := recover(); broken != nil {
		t.Fatalf("the core stopped itself: %v\n%s", broken, debug.Stack())
	}
}
