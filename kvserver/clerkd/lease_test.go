package clerkd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// leaseClerk dials a server of level 3 in memory, in a bubble of virtual time.
func leaseClerk(t *testing.T, s *testServer, change func(*client.Config)) *client.Clerk {
	t.Helper()
	config := client.Config{Endpoints: []string{"kv:1"}, Dial: servePipes(t, s).Dial}
	if change != nil {
		change(&config)
	}
	c, err := client.Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ops counts the commands of the log so far, by their operations.
func ops(t *testing.T, log *fakelog.Log) map[kv.Op]int {
	t.Helper()
	log.Mu.Lock()
	defer log.Mu.Unlock()
	all := map[kv.Op]int{}
	for _, p := range log.Proposals {
		c, err := kv.DecodeCommand(p.Command)
		if err != nil {
			t.Fatal(err)
		}
		all[c.Op]++
	}
	return all
}

// Goal (L1, L6, L7, L9): a lease of a Clerk lives for as long as the Clerk keeps it alive,
// without a revision of its own; it and its keys end with Revoke, and its context before.
// Method: virtual time; every call about leases at one server.
func TestTheLifeOfALeaseOfAClerk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		l, err := c.Grant(ctx, 10*time.Second, client.LeaseNote("worker 7"))
		if err != nil || l.ID() == 0 || l.TTL() != 10*time.Second {
			t.Fatalf("%+v, %v", l, err)
		}
		for _, key := range []string{"a", "b"} {
			if _, err := c.Put(ctx, key, []byte("up"), client.WithLease(l), client.IfAbsent()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(95 * time.Second)
		if item, err := c.Get(ctx, "a"); err != nil || item.Revision != 2 || l.Context().Err() != nil {
			t.Errorf("after 95 s: %+v, %v, %v", item, err, l.Context().Err())
		}
		shown, err := c.Lease(ctx, l.ID())
		if err != nil || shown.ID != l.ID() || shown.TTL != l.TTL() || shown.Remaining < 6*time.Second || shown.Note != "worker 7" || shown.Count != 2 || fmt.Sprint(shown.Keys) != "[a b]" {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		other, err := c.GrantUnkept(ctx, time.Minute, client.LeaseID(-7))
		if err != nil || other != -7 {
			t.Errorf("an id that was chosen: %d, %v", other, err)
		}
		ids := ""
		for info, err := range c.Leases(ctx) {
			ids += fmt.Sprint(info.ID, info.Count, err, ";")
		}
		if want := fmt.Sprintf("-7 0 <nil>;%d 2 <nil>;", l.ID()); ids != want {
			t.Errorf("all leases: %s, want %s", ids, want)
		}
		if err := l.Revoke(ctx); err != nil || !errors.Is(context.Cause(l.Context()), context.Canceled) {
			t.Errorf("revoked: %v, %v", err, context.Cause(l.Context()))
		}
		if p, err := c.List(ctx, ""); err != nil || len(p.Items) != 0 || p.Revision != 4 {
			t.Errorf("after the end: %+v, %v", p, err)
		}
		if _, err := c.Lease(ctx, l.ID()); !errors.Is(err, client.ErrLeaseLost) {
			t.Errorf("a lease that has ended is shown: %v", err)
		}
		if err := l.Revoke(ctx); err != nil {
			t.Errorf("once more: %v", err)
		}
		if _, err := c.Keep(ctx, l.ID()); !errors.Is(err, client.ErrLeaseLost) {
			t.Errorf("a lease that has ended is kept: %v", err)
		}
	})
}

// Goal: keys with a time to live and ties do over the Clerk's protocol what they do over
// HTTP, and what cannot be is refused with its own error, before anything happens.
// Method: virtual time; each option and each refusal.
func TestTheEndsOfKeysOfClerks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		there := func(key string) bool { _, err := c.Get(ctx, key); return err == nil }
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		put := func(key string, o ...client.WriteOption) error {
			_, err := c.Put(ctx, key, []byte("x"), o...)
			return err
		}
		id, err := c.GrantUnkept(ctx, time.Hour)
		must(err)
		must(put("short", client.WithTTL(2*time.Second)))
		must(put("kept", client.WithTTL(2*time.Second)))
		must(put("kept", client.KeepTTL()))
		must(put("forever", client.WithTTL(2*time.Second)))
		must(put("forever"))
		must(put("touched", client.WithTTL(2*time.Second)))
		must(put("tied", client.WithLeaseID(id)))
		must(c.Touch(ctx, "touched", time.Minute))
		time.Sleep(4 * time.Second)
		for key, want := range map[string]bool{"short": false, "kept": false, "forever": true, "touched": true, "tied": true} {
			if there(key) != want {
				t.Errorf("%s is there: %t", key, !want)
			}
		}
		before := ops(t, log)
		for name, refused := range map[string]struct{ got, want error }{
			"a lease that is not there": {put("k", client.WithLeaseID(4711)), client.ErrLeaseLost},
			"a key of a lease":          {c.Touch(ctx, "tied", time.Minute), client.ErrConflict},
			"no key to touch":           {c.Touch(ctx, "none", time.Minute), client.ErrNotFound},
			"no end to keep":            {put("none", client.KeepTTL()), client.ErrNotFound},
			"an id that is alive":       {second(c.GrantUnkept(ctx, time.Hour, client.LeaseID(id))), client.ErrLeaseExists},
			"no lease to revoke":        {c.Revoke(ctx, 4711), client.ErrLeaseLost},
			"two ends":                  {put("k", client.WithTTL(time.Minute), client.WithLeaseID(id)), client.ErrInvalid},
			"half a second":             {put("k", client.WithTTL(time.Second/2)), client.ErrInvalid},
			"no lease":                  {put("k", client.WithLease(nil)), client.ErrInvalid},
			"an append":                 {second(c.Append(ctx, "tied", nil, client.WithTTL(time.Minute))), client.ErrInvalid},
			"a long note":               {second(c.GrantUnkept(ctx, time.Hour, client.LeaseNote(string(make([]byte, 257))))), client.ErrInvalid},
			"nothing to keep alive":     {second(c.KeepAlive(ctx)), client.ErrInvalid},
		} {
			var e *client.Error
			if !errors.Is(refused.got, refused.want) || !errors.As(refused.got, &e) || e.Outcome != api.OutcomeNotApplied {
				t.Errorf("%s: %v", name, refused.got)
			}
		}
		if after := ops(t, log); after[kv.OpPut]-before[kv.OpPut] != 2 {
			t.Errorf("%d puts came into the log", after[kv.OpPut]-before[kv.OpPut])
		}
		x := c.Txn(ctx).If(client.KeyLease("tied", id), client.KeyLease("touched", 0)).
			Then(client.OpPut("t1", nil).WithLeaseID(id), client.OpPut("t2", nil).WithTTL(2*time.Second), client.OpPut("tied", nil).KeepTTL(), client.OpTouch("touched", time.Second))
		if r, err := x.Commit(); err != nil || !r.Succeeded {
			t.Errorf("a transaction: %+v, %v", r, err)
		}
		time.Sleep(4 * time.Second)
		if l, err := c.Lease(ctx, id); err != nil || fmt.Sprint(l.Keys) != "[t1 tied]" || there("t2") || there("touched") {
			t.Errorf("behind the transaction: %+v, %v; t2 %t, touched %t", l, err, there("t2"), there("touched"))
		}
		if _, err := c.Txn(ctx).Then(client.OpPut("k", nil).WithTTL(time.Millisecond)).Commit(); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("a millisecond: %v", err)
		}
		if ttls, err := c.KeepAlive(ctx, 4711, id); err != nil || ttls[0] != 0 || ttls[1] != time.Hour {
			t.Errorf("kept: %v, %v", ttls, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// Goal (L1, L2; K9 of a lease): a Clerk that is cut off knows that its lease is lost at
// the latest 0.9 × TTL after the last request that was answered was sent, and before the
// servers end it, which they do within 2 s of its TTL. Method: virtual time; a network that
// loses everything at many moments of the keep-alives, whose answers take 1.2 s; the
// time of the end on both sides.
func TestALeaseIsLostBeforeTheServersEndIt(t *testing.T) {
	for _, cut := range []time.Duration{0, 900, 2100, 3400, 4100, 7700} {
		inBubble(t, func(t *testing.T) {
			s, _ := newServer(t, atLevel3)
			const ttl = 6 * time.Second
			var dead atomic.Bool
			pipes := servePipes(t, s)
			c := leaseClerk(t, s, func(config *client.Config) {
				config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
					if dead.Load() {
						return nil, errors.New("unreachable")
					}
					conn, err := pipes.Dial(ctx, address)
					if err != nil {
						return nil, err
					}
					return newLatent(conn, &dead), nil
				}
			})
			defer c.Close()
			l, err := c.Grant(t.Context(), ttl)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			begun := time.Now()
			time.Sleep(cut * time.Millisecond)
			if err := context.Cause(l.Context()); err != nil {
				t.Errorf("void: %v", err)
			}
			dead.Store(true)
			<-l.Context().Done()
			lost := time.Since(begun)
			if _, alive := s.Machine().Lease(l.ID(), false); !alive {
				t.Errorf("cut after %v: the servers had ended the lease", cut)
			}
			if cause := context.Cause(l.Context()); !errors.Is(cause, client.ErrLeaseLost) {
				t.Errorf("it ended with %v", cause)
			}
			if lost > cut*time.Millisecond+ttl*9/10 {
				t.Errorf("cut after %d ms: lost after %v", cut, lost)
			}
			for alive := true; alive; _, alive = s.Machine().Lease(l.ID(), false) {
				time.Sleep(10 * time.Millisecond)
			}
			if ended := time.Since(begun); ended > cut*time.Millisecond+ttl+2*time.Second {
				t.Errorf("cut after %d ms: the servers ended the lease after %v", cut, ended)
			}
		})
	}
}

// latent is a connection whose answers take 1.2 s, and on which everything gets lost once it
// is dead.
type latent struct {
	net.Conn
	dead *atomic.Bool
	come chan arrival
	rest []byte
}

// arrival is what comes at a moment.
type arrival struct {
	at    time.Time
	bytes []byte
	err   error
}

func newLatent(conn net.Conn, dead *atomic.Bool) *latent {
	l := &latent{Conn: conn, dead: dead, come: make(chan arrival, 1000)}
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := conn.Read(b)
			l.come <- arrival{time.Now().Add(1200 * time.Millisecond), b[:n], err}
			if err != nil {
				return
			}
		}
	}()
	return l
}

func (l *latent) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		a := <-l.come
		time.Sleep(time.Until(a.at))
		if a.err != nil {
			return 0, a.err
		}
		if !l.dead.Load() {
			l.rest = a.bytes
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *latent) Write(p []byte) (int, error) {
	if l.dead.Load() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

// Goal (L11): the leases of a Clerk share requests, so their number hardly counts. Method:
// 3,000 leases that came one after the other; the entries of the log in a minute.
func TestLeasesOfAClerkShareRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		const leases = 1200
		for range leases {
			if _, err := c.Grant(t.Context(), 12*time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		before := ops(t, log)
		time.Sleep(time.Minute)
		after := ops(t, log)
		// Every 4 s 1,200 leases need two requests at least; in the beginning they came within 1.2 s.
		if n := after[kv.OpKeepAlive] - before[kv.OpKeepAlive]; n < 30 || n > 90 {
			t.Errorf("%d entries of keep-alives in a minute", n)
		}
		if n := leasesOf(s); n != leases {
			t.Errorf("%d leases are left", n)
		}
	})
}

// Goal (L11): keep-alives are served while puts find no room. Method: a log that chooses
// no put, more puts than there is room for, and a keep-alive.
func TestKeepAlivesHavePlacesOfTheirOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) {
			atLevel3(c)
			c.MaxInFlight = 4
		})
		c := leaseClerk(t, s, nil)
		defer c.Close()
		id, err := c.GrantUnkept(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var held atomic.Int32
		log.Mu.Lock()
		log.OnPropose = func(p *raft.Proposal) {
			if c, err := kv.DecodeCommand(p.Command); err == nil && c.Op == kv.OpPut {
				held.Add(1)
				return
			}
			log.Choose(p)
		}
		log.Mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 100 {
			go c.Put(ctx, fmt.Sprint(i), nil)
		}
		synctest.Wait()
		if held.Load() != 4 {
			t.Errorf("void: %d puts are in the log", held.Load())
		}
		begun := time.Now()
		if ttls, err := c.KeepAlive(t.Context(), id); err != nil || ttls[0] != time.Minute || time.Since(begun) > 50*time.Millisecond {
			t.Errorf("%v, %v after %v", ttls, err, time.Since(begun))
		}
		cancel()
		s.Close()
	})
}

// Goal: a grant happens once though answers are lost, and so does a revocation. Method:
// connections that end after a few answers; the leases that are left.
func TestGrantsHappenOnceThoughAnswersAreLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		pipes, dialled := servePipes(t, s), 0
		c := leaseClerk(t, s, func(config *client.Config) {
			config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				conn, err := pipes.Dial(ctx, address)
				dialled++
				return &losing{conn, 2 + dialled%4}, err
			}
		})
		defer c.Close()
		for i := range 40 {
			id, err := c.GrantUnkept(t.Context(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				continue
			}
			if err := c.Revoke(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if n := leasesOf(s); n != 20 || dialled < 20 {
			t.Errorf("%d leases are left, after %d connections", n, dialled)
		}
	})
}

// Goal: Close revokes the leases that the Clerk has made, and leaves alone those that it
// only kept. Method: one of each, and one that was abandoned.
func TestCloseRevokesLeases(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c, other := leaseClerk(t, s, nil), leaseClerk(t, s, nil)
		defer other.Close()
		mine, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		abandoned, err := c.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		abandoned.Abandon()
		id, err := other.GrantUnkept(t.Context(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := c.Keep(t.Context(), id)
		if err != nil || kept.TTL() != 5*time.Second {
			t.Fatal(kept, err)
		}
		time.Sleep(30 * time.Second)
		c.Close()
		for l, want := range map[*client.Lease]bool{mine: false, abandoned: true, kept: true} {
			if _, alive := s.Machine().Lease(l.ID(), false); alive != want || l.Context().Err() == nil {
				t.Errorf("lease %d of %v is alive: %t, %v", l.ID(), l.TTL(), alive, l.Context().Err())
			}
		}
		if !errors.Is(context.Cause(mine.Context()), client.ErrClosed) {
			t.Errorf("it ended with %v", context.Cause(mine.Context()))
		}
		if _, err := c.Grant(t.Context(), time.Minute); !errors.Is(err, client.ErrClosed) {
			t.Errorf("a closed Clerk grants: %v", err)
		}
	})
}

// Goal: below level 3 every call about leases is not_active, and nothing comes into the
// log. Method: a server at level 2.
func TestLeasesOfClerksNeedALevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		if _, err := c.Put(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		before := log.Attempts()
		for name, err := range map[string]error{
			"grant":      second(c.Grant(ctx, time.Minute)),
			"keep-alive": second(c.KeepAlive(ctx, 1)),
			"revoke":     c.Revoke(ctx, 1),
			"show":       second(c.Lease(ctx, 1)),
			"touch":      c.Touch(ctx, "a", time.Minute),
			"ttl":        second(c.Put(ctx, "a", nil, client.WithTTL(time.Minute))),
			"keep":       second(c.Put(ctx, "a", nil, client.KeepTTL())),
		} {
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Code != api.CodeNotActive || refused.Outcome != api.OutcomeNotApplied {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := log.Attempts() - before; n != 0 {
			t.Errorf("%d commands were proposed", n)
		}
	})
}

func leasesOf(s *testServer) int { return s.Machine().Describe().Leases }
