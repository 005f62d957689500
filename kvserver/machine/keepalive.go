package machine

import (
	"context"
	"sync"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/lease"
)

// joinFor is how long keep-alives are gathered for one entry of the log, so that
// 100,000 leases are some 50 entries a second. One that comes alone does not wait.
const joinFor = 20 * time.Millisecond

// joiner gathers the keep-alives of each caller. Those of two callers do not share a
// command, whose caller is decided about again in the log.
type joiner struct {
	mu     sync.Mutex // guards the fields below
	groups map[auth.Author]*joining
	joined uint64 // keep-alives that travelled in another one's command
}

// joining is the keep-alives of one caller.
type joining struct {
	last time.Time   // when the last command was proposed
	open *keepAlives // nil: none is gathered
}

// keepAlives are those of one command.
type keepAlives struct {
	ids  []int64
	done chan struct{} // closed when ttls and err are set
	ttls []uint64
	err  error
}

// KeepAlive gives leases of a caller their whole TTL again, counted from the moment that
// the command is proposed here. It returns the TTL of each in milliseconds, 0 for those
// that are not there. There are at most lease.MaxKept of them. Errors are those of
// Propose; a keep-alive may always be repeated.
func (m *Machine) KeepAlive(ctx context.Context, by auth.Author, ids []int64) ([]uint64, error) {
	k, from := m.join(by, ids)
	select {
	case <-k.done:
	case <-ctx.Done():
		return nil, failure.Unheard()
	}
	if k.err != nil {
		return nil, k.err
	}
	return k.ttls[from : from+len(ids)], nil
}

// join adds keep-alives to those that are gathered, and returns where they stand.
func (m *Machine) join(by auth.Author, ids []int64) (k *keepAlives, from int) {
	j := &m.joiner
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.groups == nil {
		j.groups = map[auth.Author]*joining{}
	}
	g := j.groups[by]
	if g == nil {
		g = &joining{}
		j.groups[by] = g
	}
	if g.open != nil && len(g.open.ids)+len(ids) > lease.MaxKept {
		m.closeLocked(by, g)
	}
	if g.open == nil {
		g.open = &keepAlives{done: make(chan struct{})}
		k := g.open
		time.AfterFunc(max(joinFor-time.Since(g.last), 0), func() { m.closeJoining(by, k) })
	} else {
		j.joined++
	}
	from = len(g.open.ids)
	g.open.ids = append(g.open.ids, ids...)
	return g.open, from
}

// closeJoining proposes the keep-alives, unless that was done already.
func (m *Machine) closeJoining(by auth.Author, k *keepAlives) {
	j := &m.joiner
	j.mu.Lock()
	defer j.mu.Unlock()
	if g := j.groups[by]; g != nil && g.open == k {
		m.closeLocked(by, g)
	}
}

// closeLocked proposes what was gathered.
func (m *Machine) closeLocked(by auth.Author, g *joining) {
	k := g.open
	g.open, g.last = nil, time.Now()
	if len(m.joiner.groups) > maxJoining {
		for other, g := range m.joiner.groups { // each by itself, in any order
			if g.open == nil {
				delete(m.joiner.groups, other)
			}
		}
	}
	go m.propose(by, k)
}

// maxJoining bounds the callers that are remembered without an open command.
const maxJoining = 1024

func (m *Machine) propose(by auth.Author, k *keepAlives) {
	defer close(k.done)
	c := kv.KeepAlive(k.ids...)
	c.Caller = by
	leader, term := m.leader()
	if leader != m.config.NodeID {
		k.err = failure.LeaderUnknown()
		return
	}
	r, err := m.ProposeDuring(m.lifetime, c, leader, term, nil)
	switch {
	case err != nil:
		k.err = err
	case r.Status == kv.StatusForbidden:
		k.err = failure.Of(failure.Denied, nil, "when the keep-alive came to its place in the log, no rule of its identity granted it, or its token was revoked")
	default:
		k.ttls = r.Kept()
	}
}

// JoinedKeepAlives returns how many keep-alives travelled in the command of another one.
func (m *Machine) JoinedKeepAlives() uint64 {
	m.joiner.mu.Lock()
	defer m.joiner.mu.Unlock()
	return m.joiner.joined
}
