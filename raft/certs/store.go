package certs

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"
)

// Store holds the set in use, and knows the connections that stand, so that they can be
// judged again by the next one. All methods are safe for concurrent use.
type Store struct {
	set    atomic.Pointer[Set]
	counts map[Result]*atomic.Uint64 // the map never changes

	mu       sync.Mutex // guards the field below
	standing map[*Standing]bool
}

// NewStore returns a store that holds a set.
func NewStore(set *Set) *Store {
	s := &Store{counts: map[Result]*atomic.Uint64{}, standing: map[*Standing]bool{}}
	for _, r := range Results {
		s.counts[r] = new(atomic.Uint64)
	}
	s.set.Store(set)
	return s
}

// Set returns the set in use.
func (s *Store) Set() *Set { return s.set.Load() }

// Count counts a handshake.
func (s *Store) Count(r Result) { s.counts[r].Add(1) }

// Handshakes returns how many handshakes ended in a way since the start.
func (s *Store) Handshakes(r Result) uint64 { return s.counts[r].Load() }

// Standing is a connection that has passed its handshake.
type Standing struct {
	chain     []*x509.Certificate
	usage     x509.ExtKeyUsage
	handshake time.Time
	end       func(error)
	store     *Store
}

// Track takes note of a connection that has passed its handshake: end is called, once and
// with the reason, when a later set refuses the other side's chain. The caller must call
// Forget when the connection has ended. A side that showed no certificate is not tracked,
// and the result is nil.
//
// If a set that came since the handshake refuses the chain already, Track returns the
// reason and tracks nothing.
func (s *Store) Track(state tls.ConnectionState, usage x509.ExtKeyUsage, end func(error)) (*Standing, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, nil
	}
	t := &Standing{chain: state.PeerCertificates, usage: usage, handshake: time.Now(), end: end, store: s}
	s.mu.Lock()
	s.standing[t] = true
	s.mu.Unlock()
	// Swap stores the set first and looks at the list then, so one of the two sees both.
	if err := s.Set().stands(t.chain, t.usage, t.handshake, t.handshake); err != nil {
		t.Forget()
		return nil, err
	}
	return t, nil
}

// Forget is the opposite of Track. It may be called on nil, and more than once.
func (t *Standing) Forget() {
	if t == nil {
		return
	}
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	delete(t.store.standing, t)
}

// Swap puts another set in the place of the one in use, and ends the connections whose
// chains it refuses, one after the other, with a call of pause between two, which may be
// nil. It returns how many it ended.
func (s *Store) Swap(set *Set, pause func()) (ended int) {
	s.set.Store(set)
	s.mu.Lock()
	all := make([]*Standing, 0, len(s.standing))
	for t := range s.standing { // any order will do
		all = append(all, t)
	}
	s.mu.Unlock()
	now := time.Now()
	for _, t := range all {
		err := set.stands(t.chain, t.usage, t.handshake, now)
		if err == nil {
			continue
		}
		s.mu.Lock()
		stands := s.standing[t]
		delete(s.standing, t)
		s.mu.Unlock()
		if !stands {
			continue // it has ended by itself
		}
		if ended > 0 && pause != nil {
			pause()
		}
		t.end(err)
		ended++
	}
	return ended
}

// Connections returns how many connections are tracked.
func (s *Store) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.standing)
}
