package verify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"raftkv/client"
)

// holds judges the holders of locks. Two never hold one, neither in the log nor by what they
// believe; what is written under a lock is written by its holder alone; and what the holders
// heard is what the log says. It is safe for concurrent use.
//
// The log is brought by one watch of all locks and of the keys that they guard, so it shows
// in one order the holders of a lock and the writes under it. It is gone through at the end. What
// holders believe is judged at once.
type holds struct {
	*ledger

	mu        sync.Mutex // guards the fields below
	log       []logged
	heard     []hold
	returned  map[uint64]bool   // tokens whose release was answered
	lost      map[uint64]bool   // tokens that a server said hold nothing
	denied    map[int64]bool    // leases whose last request for a lock was refused for good
	writes    map[string]string // how they were answered, by their values
	believers map[string][]*believer
	pulse     pulse
}

// logged is what a change did to a lock or a key.
type logged struct {
	revision uint64
	client.Change
}

// hold is a grant of a lock.
type hold struct {
	lock  string
	token uint64
	lease int64
}

func newHolds() *holds {
	return &holds{
		ledger: newLedger(), returned: map[uint64]bool{}, lost: map[uint64]bool{}, denied: map[int64]bool{},
		writes: map[string]string{}, believers: map[string][]*believer{},
	}
}

// take notes what the watch has brought.
func (h *holds) take(revision uint64, changes []client.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range changes {
		h.log = append(h.log, logged{revision, c})
	}
}

// believer was given a lock, and believes to hold it until ctx ends.
type believer struct {
	hold
	ctx context.Context
}

// got notes that a lease was given a lock. If somebody else believes to have it at this
// moment, two hold it.
func (h *holds) got(b *believer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, b.hold)
	h.count("grants", 1)
	still := h.believers[b.lock][:0]
	for _, other := range h.believers[b.lock] {
		switch {
		case other.ctx.Err() != nil:
			continue
		case b.ctx.Err() != nil: // it was lost at once
		case h.pulse.slow(time.Now()):
			h.count("overlaps while this program had no processor", 1)
		default:
			h.fault("the leases %d and %d believe at one moment that they hold %s, with the tokens %d and %d (K9)", other.lease, b.lease, b.lock, other.token, b.token)
		}
		still = append(still, other)
	}
	h.believers[b.lock] = append(still, b)
}

// fencedOff judges that a resource which has seen a greater token refused a holder.
func (h *holds) fencedOff(b *believer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count("stale tokens refused by a resource", 1)
	if b.ctx.Err() == nil && !h.pulse.slow(time.Now()) {
		h.fault("lease %d believes that it holds %s with the token %d, and a greater one was used before (K2, K9)", b.lease, b.lock, b.token)
	}
}

// released notes that the release of a token was answered.
func (h *holds) released(token uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.returned[token] = true
	h.count("releases", 1)
}

// refusedFor notes that a lease was refused a lock for good, and asks for none any more.
func (h *holds) refusedFor(lease int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denied[lease] = true
	h.count("locks not got", 1)
}

// asked notes a write, before it is made.
func (h *holds) asked(value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[value] = Unknown
}

// wrote notes how a write under a token was answered. lost: because the token holds nothing.
func (h *holds) wrote(value, outcome string, token uint64, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[value] = outcome
	h.count("guarded writes "+outcome, 1)
	if lost {
		h.lost[token] = true
	}
}

// guarded is the value of the n-th write under a lock. The rest of it names the call.
func guarded(token uint64, n int, call string) string { return fmt.Sprintf("%d %d %s", token, n, call) }

// held is a lock, as far as its judgement has come.
type held struct {
	now     hold   // token 0: nobody
	newest  uint64 // token
	written int    // by how many writes that it guards
}

// judgement is what comes out of the log.
type judgement struct {
	*holds
	locks  map[string]*held
	grants map[uint64]hold
	ends   map[uint64]string // why, by token
	dead   map[int64]bool    // leases that have lost a lock by their end
	shown  map[string]bool   // values of writes
}

// judge goes through the log. The key that a lock guards has the name of the lock.
func (h *holds) judge() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := &judgement{h, map[string]*held{}, map[uint64]hold{}, map[uint64]string{}, map[int64]bool{}, map[string]bool{}}
	for i := range h.log {
		c := &h.log[i]
		name := c.Key
		if c.Holder != nil {
			name = c.Holder.Lock
		}
		if j.locks[name] == nil {
			j.locks[name] = &held{}
		}
		switch {
		case c.Holder == nil:
			j.write(c, j.locks[name])
		case c.Op == client.ChangeGranted:
			j.grant(c, j.locks[name])
		default:
			j.end(c, j.locks[name])
		}
	}
	h.count("events", len(h.log))
	if h.whole() {
		j.compare()
	}
	return h.report("grants")
}

func (j *judgement) grant(c *logged, l *held) {
	h := hold{c.Holder.Lock, c.Holder.Token, c.Holder.Lease}
	switch {
	case c.Reason == client.ReasonPublished && l.now == h:
		return
	case l.now.token != 0:
		j.fault("revision %d gives %s to lease %d, and lease %d holds it with the token %d (K1)", c.revision, h.lock, h.lease, l.now.lease, l.now.token)
	case h.token != c.revision || h.token <= l.newest:
		j.fault("revision %d gives %s the token %d behind %d (K2)", c.revision, h.lock, h.token, l.newest)
	case j.dead[h.lease]:
		j.fault("revision %d gives %s to lease %d, which had ended before (K3)", c.revision, h.lock, h.lease)
	}
	j.grants[h.token], l.now, l.newest = h, h, max(l.newest, h.token)
}

func (j *judgement) end(c *logged, l *held) {
	h := hold{c.Holder.Lock, c.Holder.Token, c.Holder.Lease}
	if l.now != h {
		j.fault("revision %d takes %s from lease %d and the token %d, and lease %d holds it with %d (K8)", c.revision, h.lock, h.lease, h.token, l.now.lease, l.now.token)
	}
	l.now, j.ends[h.token] = hold{}, c.Reason
	if c.Reason != client.ReasonReleased {
		j.dead[h.lease] = true
		j.count("ends by the end of a lease", 1)
	}
}

// write judges a write under a lock: by its holder, and the next one.
func (j *judgement) write(c *logged, l *held) {
	value := string(c.Item.Value)
	var token uint64
	var n int
	if _, err := fmt.Sscanf(value, "%d %d", &token, &n); err != nil || c.Op != client.ChangePut {
		return // the keys are removed at the end
	}
	outcome, known := j.writes[value]
	switch {
	case !known:
		j.fault("revision %d has the write %q, which nobody made", c.revision, shorten(value))
	case j.shown[value]:
		j.fault("revision %d has the write %q once more", c.revision, shorten(value))
	case outcome == Refused:
		j.fault("revision %d has the write %q, which was refused (K5)", c.revision, shorten(value))
	case token != l.now.token:
		j.fault("revision %d has a write under the token %d of %s, which %d holds (K5)", c.revision, token, c.Key, l.now.token)
	case n != l.written+1:
		j.fault("revision %d has the write number %d under %s, behind number %d: a holder was not alone (K5)", c.revision, n, c.Key, l.written)
	}
	l.written, j.shown[value] = n, true
}

// compare holds what was heard to what the log says.
func (j *judgement) compare() {
	for _, h := range j.heard {
		if j.grants[h.token] != h {
			j.fault("lease %d was told that it holds %s with the token %d, and the log does not say so (K8)", h.lease, h.lock, h.token)
		}
	}
	var faults []string // which come in any order
	for token := range j.returned {
		if j.ends[token] != client.ReasonReleased {
			faults = append(faults, fmt.Sprintf("the release of the token %d was answered, and the log has %q (K8)", token, j.ends[token]))
		}
	}
	for token := range j.lost {
		if j.ends[token] == "" {
			faults = append(faults, fmt.Sprintf("a write under the token %d was refused, and it holds the lock (K5)", token))
		}
	}
	for value, outcome := range j.writes {
		if outcome == Done && !j.shown[value] {
			faults = append(faults, fmt.Sprintf("the write %q was answered, and it is not in the log (K5)", shorten(value)))
		}
	}
	for token, h := range j.grants {
		if j.denied[h.lease] && j.ends[token] != client.ReasonReleased && !slices.Contains(j.heard, h) {
			faults = append(faults, fmt.Sprintf("lease %d was refused %s, and holds it with the token %d (K7)", h.lease, h.lock, token))
		}
	}
	slices.Sort(faults)
	for _, f := range faults {
		j.fault("%s", f)
	}
}

// locksOf returns the names of the locks that a run uses.
func locksOf(config *Config) (names []string) {
	for i := range 1 + config.Clients/4 {
		names = append(names, fmt.Sprintf("%sl%d", config.Prefix, i))
	}
	return names
}

// pulse knows whether this program got its share of a processor: a holder that did not may
// believe for longer. It is used by one goroutine that beats, and by others under a lock.
type pulse struct {
	mu   sync.Mutex
	last time.Time // beat
	late time.Time // when a beat came late last
}

const (
	pulseEvery = 10 * time.Millisecond
	// pulseLate is below the time by which a context ends before its lease, which is a tenth
	// of the shortest TTL.
	pulseLate = 80 * time.Millisecond
)

// beat says that the program runs.
func (p *pulse) beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && now.Sub(p.last) > pulseLate {
		p.late = now
	}
	p.last = now
}

// slow reports whether the program did not run for some time, within the longest TTL.
func (p *pulse) slow(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.last.IsZero() && now.Sub(p.last) > pulseLate || !p.late.IsZero() && now.Sub(p.late) < maxLifeTTL
}
