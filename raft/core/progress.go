package core

// progress is what the leader believes of one follower (Figure 2 "Volatile state on
// leaders"), and what is in flight to it.
//
// A leader probes a follower until one AppendEntries was accepted, then pipelines.
// While a probe with entries is in flight, the heartbeats ask at its end whether it
// has arrived. The probe is not sent again before one of them is rejected. On a
// rejection or a lost call the progress falls back to probing as a whole: the
// generation rises, the window empties, and answers of an older generation can only
// raise matchIndex.
type progress struct {
	id            ID
	nextIndex     uint64 // index of the next entry to send, behind the probe in flight; always above matchIndex
	matchIndex    uint64 // highest index known to be on the follower's disk
	generation    uint64 // of the calls that may move nextIndex
	minGeneration uint64 // replies to calls of an earlier generation are ignored: they were made of another member of this ID, or before the follower lost its disk
	pipelining    bool   // nextIndex runs ahead of the answers
	probe         probe  // the probe with entries in flight; zero if there is none
	paused        bool   // a call was lost: send no entries before the next heartbeat
	silent        bool   // the last call was lost: send no entries before it answers again
	forgot        bool   // it has forgotten what it confirmed (replication.go)
	ratherNot     bool   // it had better not lead
	installing    uint64 // index of the snapshot that is being sent to it; 0 if none
	installAge    int    // ticks since it was sent
	renewed       uint64 // end of the log when it had taken its last snapshot; 0 if it got none

	inflight      []uint64 // last indices of the AppendEntries with entries in flight, ascending
	inflightSizes []int    // their sizes, in the same order
	inflightBytes int      // their sum
	overdue       bool     // a tick has passed since entries were sent: hold none back

	heartbeatDue bool   // an AppendEntries must leave even if there is nothing to send
	roundSent    uint64 // latest round of reads sent in this term
	round        uint64 // latest round of reads answered in this term
	heard        bool   // answered since the last quorum check

	quiet      int    // ticks since an AppendEntries was sent
	commitSent uint64 // commit index that the last AppendEntries carried
	retried    bool   // a call was lost since it was last heard, and is or was tried again at once
	retryDue   bool   // that attempt has not been made yet

	unheard int     // ticks since it answered
	catchUp catchUp // of a learner
}

// newProgress returns what a leader believes of a follower that it knows nothing of.
func (r *Raft) newProgress(id ID) progress {
	r.generation++
	return progress{id: id, generation: r.generation, nextIndex: r.log.lastIndex() + 1, heartbeatDue: true}
}

// freshProgress returns the same of a follower that takes the place of another one of
// its ID, whose answers say nothing of it.
func (r *Raft) freshProgress(id ID) progress {
	p := r.newProgress(id)
	p.minGeneration = p.generation
	return p
}

// progressOf returns the progress of a server that this leader sends entries to, nil
// if it sends it none.
func (r *Raft) progressOf(id ID) *progress {
	if s := r.member(id); s != nil {
		return &s.progress
	}
	for i := range r.leaving {
		if p := &r.leaving[i].progress; p.id == id {
			return p
		}
	}
	return nil
}

// catchUp measures in rounds how a learner catches up (thesis 4.2.1). A round ends when
// the learner has what the leader had at its beginning; what came meanwhile is the next
// one's. So the length of the last round says how long the learner would keep a cluster
// waiting in which it votes.
type catchUp struct {
	goal   uint64 // end of the leader's log when the present round began
	age    int    // ticks since
	rounds uint64 // that have ended
	last   int    // ticks that the last of them took
}

// tick lets a tick pass in which the learner has come to match, and the log to last.
func (c *catchUp) tick(match, last uint64) {
	if c.goal == 0 {
		c.goal = last
	}
	c.age++
	if match >= c.goal {
		c.rounds++
		c.last, c.age, c.goal = c.age, 0, last
	}
}

// caughtUp reports whether a learner would keep nobody waiting: its last round, and the
// present one until now, were shorter than an election timeout, within which it has
// also answered, and it does not wait for a snapshot.
func (p *progress) caughtUp(electionTicks int) bool {
	c := &p.catchUp
	return c.rounds > 0 && max(c.last, c.age, p.unheard) < electionTicks && p.installing == 0
}

// probe is an AppendEntries with entries to a follower that has not accepted any
// yet.
type probe struct {
	from, last uint64 // indices of its first and last entry
	bytes      int    // size of its entries
}

// heartbeat makes the next Ready send something. The message also asks "did what I
// sent arrive?", so a pipeline that lost a message heals within one heartbeat.
func (p *progress) heartbeat() {
	p.heartbeatDue = true
	p.paused = false
}

// answered records that the follower replied to a call of a round of reads.
func (p *progress) answered(round uint64) {
	p.heard = true
	p.unheard = 0
	p.silent = false
	p.retried = false
	p.retryDue = false
	p.round = max(p.round, round)
}

// fallBack returns to probing from next.
func (p *progress) fallBack(generation, next uint64) {
	p.generation = generation
	p.nextIndex = max(next, p.matchIndex+1)
	p.pipelining = false
	p.probe = probe{}
	p.paused = false
	p.installing = 0
	p.inflight, p.inflightSizes, p.inflightBytes = nil, nil, 0
}

// advance begins to pipeline behind a match. The generation is new, so that a
// probe that is lost late does not undo it.
func (p *progress) advance(generation uint64) {
	p.generation = generation
	p.nextIndex = max(p.nextIndex, p.matchIndex+1)
	p.pipelining = true
	p.paused = false
	p.installing = 0
	if p.probe.last > p.matchIndex { // accepted, but not on the follower's disk yet
		p.track(p.probe.last, p.probe.bytes)
	}
	p.probe = probe{}
}

// raiseMatch records that the follower holds the log up to index on its disk.
func (p *progress) raiseMatch(index uint64) {
	p.matchIndex = max(p.matchIndex, index)
	p.nextIndex = max(p.nextIndex, p.matchIndex+1)
	if p.probe.last <= p.matchIndex {
		p.probe = probe{}
	}
	done := 0
	for done < len(p.inflight) && p.inflight[done] <= p.matchIndex {
		p.inflightBytes -= p.inflightSizes[done]
		done++
	}
	p.inflight, p.inflightSizes = p.inflight[done:], p.inflightSizes[done:]
}

// sent records an AppendEntries with entries up to last.
func (p *progress) sent(last uint64, bytes int) {
	if p.pipelining {
		p.track(last, bytes)
	} else {
		p.probe = probe{from: p.nextIndex, last: last, bytes: bytes}
	}
	p.nextIndex = last + 1
	p.overdue = false
}

// track counts an AppendEntries as in flight.
func (p *progress) track(last uint64, bytes int) {
	p.inflight = append(p.inflight, last)
	p.inflightSizes = append(p.inflightSizes, bytes)
	p.inflightBytes += bytes
}

// maySendEntries reports whether the window has room for entries.
func (p *progress) maySendEntries(window, windowBytes int) bool {
	switch {
	case p.silent || p.installing != 0:
		return false
	case !p.pipelining:
		return p.probe.last == 0 && !p.paused
	}
	return len(p.inflight) < window && (p.inflightBytes < windowBytes || len(p.inflight) == 0)
}
