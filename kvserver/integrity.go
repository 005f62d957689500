package kvserver

import (
	"errors"
	"io"
	"sync"
	"time"

	"raftkv/kvserver/kv"
)

// integrity is what this node knows of its state being the others'.
type integrity struct {
	mu   sync.Mutex // guards the fields below
	seen Integrity
}

// Integrity is what a server knows of its state being that of the others.
type Integrity struct {
	// Result is that of the last comparison; "" before the first.
	Result IntegrityResult
	// OKIndex and OKTime are the log index of the last comparison that was
	// IntegrityOK, and when that was.
	OKIndex uint64
	OKTime  time.Time
	// Checks counts the comparisons since the start by their results.
	Checks map[IntegrityResult]uint64
	// Fault says, for people, why this node serves nothing; "" while it does.
	Fault string
}

// Integrity returns what this server knows of its state being that of the
// others. The caller may keep it.
func (s *Server) Integrity() Integrity {
	s.integrity.mu.Lock()
	defer s.integrity.mu.Unlock()
	seen := s.integrity.seen
	seen.Checks = map[IntegrityResult]uint64{}
	for _, result := range []IntegrityResult{IntegrityOK, IntegrityUnknown, IntegrityMismatch, IntegrityDiverged} {
		seen.Checks[result] = s.integrity.seen.Checks[result]
	}
	seen.Fault = s.fault()
	return seen
}

func (i *integrity) note(result IntegrityResult, index uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen.Checks == nil {
		i.seen.Checks = map[IntegrityResult]uint64{}
	}
	i.seen.Checks[result]++
	i.seen.Result = result
	if result == IntegrityOK {
		i.seen.OKIndex, i.seen.OKTime = index, time.Now()
	}
}

const (
	// scrubEvery is how often the content of the store is compared with the
	// digest of its changes, which shows memory that went bad.
	scrubEvery = time.Hour
	// firstCheck and stepDownEvery bound how long a node that came up diverged
	// serves, and how long one leads that is fenced.
	firstCheck    = time.Second
	stepDownEvery = time.Second
)

// watchIntegrity compares this node's state with the others' again and again,
// and with itself now and then, until the server's life ends.
func (s *Server) watchIntegrity() {
	defer close(s.watched)
	var c comparison
	scrub := time.NewTicker(scrubEvery)
	defer scrub.Stop()
	pause := time.NewTimer(min(firstCheck, s.config.IntegrityInterval))
	defer pause.Stop()
	for {
		next := s.config.IntegrityInterval
		select {
		case <-s.life.Done():
			return
		case <-scrub.C:
			s.scrub()
		case <-pause.C:
			switch {
			case s.fault() != "":
				s.stepDown()
				next = stepDownEvery
			case s.compare(&c) != IntegrityOK:
				next = min(firstCheck, next)
			}
			pause.Reset(next)
		}
	}
}

// comparison is what one comparison leaves for the next.
type comparison struct {
	settled uint64 // the newest mark of the last time, which others have passed by now
	judged  uint64 // the last index that was found to be the same
	warned  bool   // that others differ
}

// choose returns the index to compare at: a mark that the others have had time
// to reach, and else, while little is written, where the store stands now. The
// others stand there, too, unless something was written just then.
func (c *comparison) choose(s *Server) uint64 {
	applied, newest := s.progressOfMarks()
	index := c.settled
	if index <= c.judged {
		index = applied
	}
	c.settled = newest
	return index
}

// compare compares this node's state with its peers' at one index, and fences
// the node if the majority has another.
func (s *Server) compare(c *comparison) IntegrityResult {
	index := c.choose(s)
	own, known := s.digestAt(index)
	if !known || index == 0 {
		return IntegrityUnknown
	}
	peers := s.askDigests(index)
	if s.stopping() {
		return IntegrityUnknown
	}
	v := judge(own, peers, len(s.config.Peers)+1)
	s.integrity.note(v.result, index)
	switch {
	case v.result == IntegrityDiverged:
		s.fence("its state at index %d of the log has the digest %s; a majority has %s", index, own, v.majority)
	case len(v.differing) > 0 && !c.warned:
		s.config.Logger.Error("the states of this node and others differ", "index", index, "digest", own.String(),
			"others", v.differing, "result", string(v.result))
	}
	c.warned = len(v.differing) > 0
	if v.result == IntegrityOK {
		c.judged = index
	}
	return v.result
}

// scrub compares the content of the store with the digest of its changes.
func (s *Server) scrub() {
	if _, err := s.freeze().WriteTo(io.Discard); errors.Is(err, kv.ErrCorrupt) {
		s.fence("its memory was damaged: %v", err)
	}
}
