package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/client"
)

// RunLocks lets clients hold a few locks in turn, write under them, release them, die under
// them and go on as if they lived, and judges the holders and their writes. The cluster must
// work at level 3.
func RunLocks(ctx context.Context, clerks []*client.Clerk, config Config) (Report, error) {
	h := newHolds()
	calls, endCalls := context.WithCancel(context.Background())
	defer endCalls()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(interruptGrace, endCalls) })()
	begins, err := newestRevision(calls, clerks[0], &config)
	if err != nil {
		return Report{}, err
	}
	names := locksOf(&config)
	options := []client.WatchOption{client.Prefix(config.Prefix), client.AfterRevision(begins), client.ProgressEvery(500 * time.Millisecond)}
	for _, name := range names {
		options = append(options, client.WatchLock(name))
	}
	watching, endWatching := context.WithCancel(context.Background())
	defer endWatching()
	var looking sync.WaitGroup
	var end atomic.Uint64
	w := clerks[0].NewWatcher(options...)
	looking.Go(func() {
		follow(watching, w, &end, h.ledger, func(e *client.WatchEvent) { h.take(e.Revision, e.Changes) })
	})
	looking.Go(func() { h.beat(watching, &end) })
	fences := client.NewFences(nil)
	drive(ctx, &config, func(driving context.Context, number int) {
		s := &seeker{
			holds: h, config: &config, clerk: clerks[number%len(clerks)], calls: calls, fences: fences, names: names,
			number: number, rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		}
		for driving.Err() == nil {
			s.turn(driving)
			pause(driving, s.rand, &config)
		}
		s.leave()
	})
	followed(ctx, watching, endWatching, w, &end, h.ledger, &config)
	looking.Wait()
	cleaning, cancel := context.WithTimeout(context.Background(), interruptedGrace)
	defer cancel()
	_, _ = clerks[0].DeletePrefix(cleaning, config.Prefix, client.Partially()) // keys that are left behind do no harm
	return h.judge(), nil
}

// beat feels the pulse until the end.
func (h *holds) beat(ctx context.Context, end *atomic.Uint64) {
	for end.Load() == 0 && ctx.Err() == nil {
		h.pulse.beat(time.Now())
		wait(ctx, pulseEvery)
	}
}

// seeker is one client: a lease that asks for locks, and another one when that has ended.
type seeker struct {
	*holds
	config *Config
	clerk  *client.Clerk
	calls  context.Context
	fences *client.Fences // of a resource that checks tokens
	names  []string
	number int
	rand   *rand.Rand
	lease  *client.Lease
	writes int
}

// request makes a call, within the time of one.
func (s *seeker) request(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(s.calls, s.config.Timeout)
	defer cancel()
	return call(ctx)
}

// turn asks for a lock, and does something under it.
func (s *seeker) turn(driving context.Context) {
	if s.lease == nil || s.lease.Context().Err() != nil {
		ttl := client.MinTTL + time.Duration(s.rand.Int64N(int64(maxLifeTTL-client.MinTTL)))
		if err := s.request(func(ctx context.Context) (err error) {
			s.lease, err = s.clerk.Grant(ctx, ttl, client.LeaseNote("raftkv verify"))
			return err
		}); err != nil {
			s.lease = nil
			return
		}
	}
	name := s.names[s.rand.IntN(len(s.names))]
	var k *client.Lock
	err := s.request(func(ctx context.Context) (err error) {
		if s.rand.IntN(8) == 0 {
			k, err = s.lease.TryLock(ctx, name)
		} else {
			k, err = s.lease.Lock(ctx, name)
		}
		return err
	})
	switch {
	case err == nil:
		b := &believer{hold{name, k.Token(), s.lease.ID()}, k.Context()}
		s.got(b)
		s.under(driving, k, b)
	case errors.Is(err, client.ErrOutcomeUnknown):
		s.count("locks of unknown outcome", 1)
		s.abandon()
	case errors.Is(err, client.ErrLockHeld):
		s.refusedFor(s.lease.ID())
		s.abandon() // so that a lock which it holds all the same shows, by its end
	}
}

func (s *seeker) abandon() {
	s.lease.Abandon()
	s.lease = nil
}

// leave ends the lease.
func (s *seeker) leave() {
	if s.lease != nil {
		_ = s.request(s.lease.Revoke)
	}
}

// under is what is done under a lock.
func (s *seeker) under(driving context.Context, k *client.Lock, b *believer) {
	n, sure := s.read(k.Name())
	for range s.rand.IntN(6) {
		if !sure || b.ctx.Err() != nil {
			break
		}
		n, sure = s.write(k, n)
		s.use(b)
	}
	switch dice := s.rand.IntN(64); {
	case dice == 0:
		s.count("holders that died", 1)
		ttl := s.lease.TTL()
		s.abandon()
		for range 6 { // it does not know
			wait(driving, ttl/4)
			if sure {
				n, sure = s.write(k, n)
			}
			s.use(b)
		}
	case dice == 1:
		_ = s.request(s.lease.Revoke)
		s.lease = nil
	default:
		if dice == 2 {
			wait(driving, time.Duration(s.rand.Int64N(int64(s.lease.TTL()*3/2))))
		}
		if s.request(k.Release) == nil {
			s.released(k.Token())
		} // else the lease asks again, whatever became of the release
	}
}

// read returns the number of the last write under a lock.
func (s *seeker) read(name string) (n int, sure bool) {
	var item client.Item
	err := s.request(func(ctx context.Context) (err error) {
		item, err = s.clerk.Get(ctx, name)
		return err
	})
	if errors.Is(err, client.ErrNotFound) {
		return 0, true
	}
	if parts := strings.SplitN(string(item.Value), " ", 3); err == nil && len(parts) == 3 {
		n, err = strconv.Atoi(parts[1])
	}
	return n, err == nil
}

// write makes the write behind the n-th. sure is false if nobody knows whether it happened:
// then there is none behind it, before another holder has read.
func (s *seeker) write(k *client.Lock, n int) (next int, sure bool) {
	s.writes++
	value := guarded(k.Token(), n+1, fmt.Sprintf("%d.%d", s.number, s.writes))
	s.asked(value)
	err := s.request(func(ctx context.Context) error {
		_, err := s.clerk.Put(ctx, k.Name(), []byte(value), k.Guard())
		return err
	})
	switch {
	case err == nil:
		s.wrote(value, Done, k.Token(), false)
		return n + 1, true
	case errors.Is(err, client.ErrOutcomeUnknown):
		s.wrote(value, Unknown, k.Token(), false)
		return n, false
	}
	s.wrote(value, Refused, k.Token(), errors.Is(err, client.ErrLockLost))
	return n, true
}

// use uses a resource elsewhere, which checks the token.
func (s *seeker) use(b *believer) {
	if !s.fences.Admit(b.lock, b.token) {
		s.fencedOff(b)
	}
}
