package machine

import (
	"io"
	"sync"
	"time"
)

// integrity holds the results of comparing this node's state with its peers'.
type integrity struct {
	mu   sync.Mutex // guards the fields below
	seen Integrity
}

// Integrity describes the results of comparing this node's state with its peers'.
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

// Integrity returns the results so far of comparing this node's state with its
// peers'. The caller may keep it.
func (m *Machine) Integrity() Integrity {
	m.integrity.mu.Lock()
	defer m.integrity.mu.Unlock()
	seen := m.integrity.seen
	seen.Checks = map[IntegrityResult]uint64{}
	for _, result := range []IntegrityResult{IntegrityOK, IntegrityUnknown, IntegrityMismatch, IntegrityDiverged} {
		seen.Checks[result] = m.integrity.seen.Checks[result]
	}
	seen.Fault = m.Fault()
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
	// serves, and how long one leads that is quarantined.
	firstCheck    = time.Second
	stepDownEvery = time.Second
)

// watchIntegrity compares this node's state with the others' again and again,
// and with itself now and then, until the machine is ended.
func (m *Machine) watchIntegrity() {
	var c comparison
	scrub := time.NewTicker(scrubEvery)
	defer scrub.Stop()
	pause := time.NewTimer(min(firstCheck, m.config.IntegrityInterval))
	defer pause.Stop()
	for {
		next := m.config.IntegrityInterval
		select {
		case <-m.lifetime.Done():
			return
		case <-scrub.C:
			m.scrub()
		case <-pause.C:
			switch {
			case m.Fault() != "":
				m.stepDown()
				next = stepDownEvery
			case m.compare(&c) != IntegrityOK:
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
func (c *comparison) choose(m *Machine) uint64 {
	applied, newest := m.MarksProgress()
	index := c.settled
	if index <= c.judged {
		index = applied
	}
	c.settled = newest
	return index
}

// compare compares this node's state with its peers' at one index, and quarantines
// the node if the majority has another.
func (m *Machine) compare(c *comparison) IntegrityResult {
	index := c.choose(m)
	own, _, known := m.DigestAt(index)
	if !known || index == 0 {
		return IntegrityUnknown
	}
	peers := m.config.AskDigests(m.lifetime, index)
	if m.Stopping() {
		return IntegrityUnknown
	}
	v := judge(own, peers, m.size())
	switch {
	case v.result == IntegrityDiverged:
		m.Quarantine("its state at index %d of the log has the digest %s; a majority has %s", index, own, v.majority)
	case len(v.differing) > 0 && !c.warned:
		m.logger.Error("the states of this node and others differ", "index", index, "digest", own.String(),
			"others", v.differing, "result", string(v.result))
	}
	// Last: a result that is seen has been acted on.
	m.integrity.note(v.result, index)
	c.warned = len(v.differing) > 0
	if v.result == IntegrityOK {
		c.judged = index
	}
	return v.result
}

// scrub compares the content of the store with the digest of its changes.
func (m *Machine) scrub() {
	_, err := m.Freeze().WriteTo(io.Discard)
	m.Damaged(err)
}

// size returns how many nodes decide which state is right.
func (m *Machine) size() int {
	if m.config.Voters != nil {
		return len(m.config.Voters())
	}
	return len(m.config.Peers) + 1
}
