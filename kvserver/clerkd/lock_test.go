package clerkd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/client"
	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// leaseOf makes a lease that its Clerk keeps alive.
func leaseOf(t *testing.T, c *client.Clerk, ttl time.Duration) *client.Lease {
	t.Helper()
	l, err := c.Grant(t.Context(), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// got is what a call for a lock has come to.
type got struct {
	lock *client.Lock
	err  error
}

// lockLater asks for a lock meanwhile.
func lockLater(ctx context.Context, l *client.Lease, name string, options ...client.LockOption) <-chan got {
	ended := make(chan got, 1)
	go func() {
		k, err := l.Lock(ctx, name, options...)
		ended <- got{k, err}
	}()
	synctest.Wait()
	return ended
}

func mustLock(t *testing.T, from <-chan got) *client.Lock {
	t.Helper()
	select {
	case g := <-from:
		if g.err != nil {
			t.Fatal(g.err)
		}
		return g.lock
	case <-time.After(time.Hour):
		t.Fatal("the lock is not granted")
	}
	return nil
}

// Goal (K1, K2, K4, K5, K7): over the Clerk's protocol a lock has one holder, is handed over
// in the order of the requests and at once, with tokens that rise; writes of a former holder
// are refused, and so is its release. Method: virtual time; three leases of two Clerks.
func TestTheLifeOfALockOfAClerk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c, other := leaseClerk(t, s, nil), leaseClerk(t, s, nil)
		defer c.Close()
		defer other.Close()
		ctx := t.Context()
		a, b, third := leaseOf(t, c, time.Minute), leaseOf(t, other, time.Minute), leaseOf(t, c, time.Minute)
		first, err := a.TryLock(ctx, "jobs", client.LockValue([]byte("here")))
		if err != nil || first.Token() == 0 || first.Name() != "jobs" || first.Lease() != a {
			t.Fatalf("%+v, %v", first, err)
		}
		if again, err := a.Lock(ctx, "jobs"); err != nil || again.Token() != first.Token() {
			t.Errorf("once more: %+v, %v", again, err)
		}
		var e *client.Error
		if _, err := b.TryLock(ctx, "jobs"); !errors.Is(err, client.ErrLockHeld) || !errors.As(err, &e) || e.Outcome != api.OutcomeNotApplied {
			t.Errorf("a held lock: %v", err)
		}
		if _, err := b.TryLock(ctx, "jobs", client.Limit(2)); !errors.As(err, &e) || e.Code != api.CodeLimitMismatch {
			t.Errorf("another limit: %v", err)
		}
		waiting, last := lockLater(ctx, b, "jobs"), lockLater(ctx, third, "jobs")
		if err := first.Publish(ctx, []byte("there")); err != nil {
			t.Error(err)
		}
		info, err := other.ShowLock(ctx, "jobs")
		if err != nil || info.Waiting != 2 || info.Limit != 1 || len(info.Holders) != 1 || string(info.Holders[0].Value) != "there" || info.Holders[0].Lease != a.ID() {
			t.Errorf("shown: %+v, %v", info, err)
		}
		if _, err := c.Put(ctx, "k", []byte("1"), first.Guard()); err != nil {
			t.Error(err)
		}
		begun := time.Now()
		if err := first.Release(ctx); err != nil || first.Context().Err() == nil {
			t.Errorf("released: %v, %v", err, first.Context().Err())
		}
		next := mustLock(t, waiting)
		if took := time.Since(begun); took > 10*time.Millisecond || next.Token() <= first.Token() {
			t.Errorf("handed over after %v, the token %d behind %d", took, next.Token(), first.Token())
		}
		for name, err := range map[string]error{
			"put":     second(c.Put(ctx, "k", []byte("2"), first.Guard())),
			"append":  second(c.Append(ctx, "k", []byte("2"), first.Guard(), client.IfPresent())),
			"delete":  second(c.Delete(ctx, "k", first.Guard())),
			"release": first.Release(ctx),
			"publish": first.Publish(ctx, nil),
		} {
			if !errors.Is(err, client.ErrLockLost) || errors.Is(err, client.ErrOutcomeUnknown) {
				t.Errorf("%s by a former holder: %v", name, err)
			}
		}
		r, err := c.Txn(ctx).If(first.Held()).Then(client.OpPut("k", nil)).Else(client.OpGet("k")).Commit()
		if err != nil || r.Succeeded || string(r.Results[0].Items[0].Value) != "1" {
			t.Errorf("a transaction of a former holder: %+v, %v", r, err)
		}
		if r, err := c.Txn(ctx).If(next.Held(), first.Held().Not()).Then(client.OpPut("k", nil)).Commit(); err != nil || !r.Succeeded {
			t.Errorf("a transaction of the holder: %+v, %v", r, err)
		}
		if err := b.Revoke(ctx); err != nil || next.Context().Err() == nil {
			t.Errorf("revoked: %v, %v", err, next.Context().Err())
		}
		if k := mustLock(t, last); k.Token() <= next.Token() {
			t.Errorf("the token %d behind %d", k.Token(), next.Token())
		}
		names := ""
		for info, err := range c.Locks(ctx, "j") {
			names += fmt.Sprintf("%s %d %v;", info.Name, len(info.Holders), err)
		}
		if names != "jobs 1 <nil>;" {
			t.Errorf("all locks: %s", names)
		}
		if info, err := c.ShowLock(ctx, "none"); err != nil || len(info.Holders) != 0 {
			t.Errorf("no lock: %+v, %v", info, err)
		}
	})
}

// Goal: a semaphore has as many holders as its limit, and what cannot be asked for is
// refused before anything is sent. Method: a limit of two and three leases; bad calls.
func TestSemaphoresOfClerks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		var held []*client.Lock
		for range 2 {
			k, err := leaseOf(t, c, time.Minute).Lock(ctx, "pool", client.Limit(2))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, k)
		}
		l := leaseOf(t, c, time.Minute)
		waiting := lockLater(ctx, l, "pool", client.Limit(2))
		select {
		case g := <-waiting:
			t.Errorf("a third one: %+v", g)
		default:
		}
		if err := held[1].Release(ctx); err != nil {
			t.Error(err)
		}
		mustLock(t, waiting)
		before := log.Attempts()
		for name, options := range map[string][]client.LockOption{
			"no limit":     {client.Limit(0)},
			"a long delay": {client.LockDelay(2 * time.Minute)},
			"a long value": {client.LockValue(make([]byte, 1025))},
		} {
			if _, err := l.Lock(ctx, "x", options...); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, name := range []string{"", strings.Repeat("n", 257)} {
			if _, err := l.TryLock(ctx, name); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("a name of %d bytes: %v", len(name), err)
			}
		}
		if n := log.Attempts() - before; n != 0 {
			t.Errorf("%d commands were proposed", n)
		}
	})
}

// Goal: a request that waits for a lock gives up its place among the watches with its
// connection, and not at the end of its time. Method: a connection that is cut, so that its
// Clerk comes back by another one.
func TestAWaitForALockEndsWithItsConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		network := servePipes(t, s)
		c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held, err := leaseOf(t, c, time.Minute).Lock(t.Context(), "jobs")
		if err != nil {
			t.Fatal(err)
		}
		waiting := lockLater(t.Context(), leaseOf(t, c, time.Minute), "jobs")
		for range 3 {
			network.Cut()
			time.Sleep(2 * time.Second)
			if n := s.Load(kvserver.Watches).Count; n != 1 {
				t.Errorf("one request waits, in %d places", n)
			}
		}
		if err := held.Release(t.Context()); err != nil {
			t.Error(err)
		}
		mustLock(t, waiting)
		synctest.Wait()
		if n := s.Load(kvserver.Watches).Count; n != 0 {
			t.Errorf("nothing waits, in %d places", n)
		}
	})
}

// Goal (K7, K11): waiting makes no entry of the log; a caller that leaves holds nothing later
// and waits no more, and the next call has a place of its own. Method: virtual time; a minute
// of waiting, the commands in it; a call whose time is over, then a release.
func TestWaitingForALockCostsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		holder, waiter := leaseOf(t, c, time.Hour), leaseOf(t, c, time.Hour)
		held, err := holder.Lock(t.Context(), "jobs")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		waiting := lockLater(ctx, waiter, "jobs")
		before := ops(t, log)
		time.Sleep(59 * time.Second)
		for op, n := range ops(t, log) {
			if n -= before[op]; n != 0 && op != kv.OpTick {
				t.Errorf("%d commands %v while a lease waits", n, op)
			}
		}
		g := <-waiting
		var e *client.Error
		if !errors.Is(g.err, client.ErrLockHeld) || !errors.Is(g.err, context.DeadlineExceeded) || !errors.As(g.err, &e) || e.Outcome != api.OutcomeNotApplied {
			t.Errorf("at the end of the time: %+v", g)
		}
		if info, err := c.ShowLock(t.Context(), "jobs"); err != nil || info.Waiting != 0 {
			t.Errorf("behind it: %+v, %v", info, err)
		}
		if err := held.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if info, err := c.ShowLock(t.Context(), "jobs"); err != nil || len(info.Holders) != 0 {
			t.Errorf("behind the release: %+v, %v", info, err)
		}
		if _, err := waiter.TryLock(t.Context(), "jobs"); err != nil {
			t.Error(err)
		}
	})
}

// cutOff is a network of one Clerk that loses everything while it is dead.
type cutOff struct{ dead atomic.Bool }

func (n *cutOff) use(dial func(context.Context, string) (net.Conn, error)) func(*client.Config) {
	return func(config *client.Config) {
		config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			if n.dead.Load() {
				return nil, errors.New("unreachable")
			}
			conn, err := dial(ctx, address)
			return &mutable{Conn: conn, dead: &n.dead}, err
		}
	}
}

// mutable is a connection on which everything gets lost while it is dead.
type mutable struct {
	net.Conn
	dead *atomic.Bool
}

func (m *mutable) Write(p []byte) (int, error) {
	if m.dead.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

// Goal (K3, K9, K10): a holder that is cut off knows that its lock is lost before another one
// is granted it, and that one is granted it when the lease has ended, or the delay behind it
// is over. Method: virtual time; the moments of both, with and without a delay.
func TestALockIsLostBeforeAnotherHasIt(t *testing.T) {
	for _, delay := range []time.Duration{0, 5 * time.Second} {
		inBubble(t, func(t *testing.T) {
			s, _ := newServer(t, atLevel3)
			network := &cutOff{}
			c, other := leaseClerk(t, s, network.use(servePipes(t, s).Dial)), leaseClerk(t, s, nil)
			defer c.Close()
			defer other.Close()
			const ttl = 6 * time.Second
			held, err := leaseOf(t, c, ttl).Lock(t.Context(), "jobs", client.LockDelay(delay))
			if err != nil {
				t.Fatal(err)
			}
			waiting := lockLater(t.Context(), leaseOf(t, other, ttl), "jobs")
			time.Sleep(20 * time.Second)
			network.dead.Store(true)
			begun := time.Now()
			<-held.Context().Done()
			lost := time.Since(begun)
			if cause := context.Cause(held.Context()); !errors.Is(cause, client.ErrLeaseLost) {
				t.Errorf("it ended with %v", cause)
			}
			next := mustLock(t, waiting)
			granted := time.Since(begun)
			if lost > ttl*9/10 || granted <= lost || granted < delay || granted > ttl+delay+2*time.Second {
				t.Errorf("with a delay of %v: lost after %v, granted after %v", delay, lost, granted)
			}
			if next.Token() <= held.Token() {
				t.Errorf("the token %d behind %d", next.Token(), held.Token())
			}
			network.dead.Store(false)
		})
	}
}

// Goal (K8, K9): one of two candidates leads; when it is cut off its function ends and the
// other one leads, under a greater token, and then the first one stands again. Observers see
// each leader and each time that there is none, in order. Method: virtual time; two Clerks, a
// network that loses everything of one for a while, and a third Clerk that observes.
func TestLeadershipPassesOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		network := &cutOff{}
		c, other, observer := leaseClerk(t, s, network.use(servePipes(t, s).Dial)), leaseClerk(t, s, nil), leaseClerk(t, s, nil)
		defer observer.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var leading atomic.Int32
		var tokens []string
		said := make(chan string, 100)
		lead := func(name string) func(context.Context, client.Leadership) error {
			return func(ctx context.Context, l client.Leadership) error {
				if leading.Add(1) != 1 {
					t.Error("two lead")
				}
				said <- name
				<-ctx.Done()
				leading.Add(-1)
				return ctx.Err()
			}
		}
		go func() {
			for h, err := range observer.Observe(ctx, "scheduler") {
				if err == nil {
					tokens = append(tokens, fmt.Sprintf("%s%t", h.Value, h.Token != 0))
				}
			}
		}()
		synctest.Wait()
		ends := make(chan error, 2)
		stand := func(c *client.Clerk, name string) {
			go func() {
				ends <- c.Lead(ctx, "scheduler", client.Candidate{Value: []byte(name), TTL: 6 * time.Second}, lead(name))
			}()
			synctest.Wait()
		}
		stand(c, "a")
		stand(other, "b")
		time.Sleep(20 * time.Second)
		network.dead.Store(true)
		time.Sleep(20 * time.Second)
		network.dead.Store(false)
		time.Sleep(20 * time.Second)
		other.Close() // and with it its candidate ends
		<-ends
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-ends; !errors.Is(err, context.Canceled) {
			t.Errorf("the last candidate ends with %v", err)
		}
		c.Close()
		close(said)
		var order []string
		for name := range said {
			order = append(order, name)
		}
		if fmt.Sprint(order) != "[a b a]" {
			t.Errorf("there led %v", order)
		}
		synctest.Wait()
		if got, want := fmt.Sprint(tokens), "[false atrue false btrue false atrue"; !strings.HasPrefix(got, want) {
			t.Errorf("observed: %s, want %s", got, want)
		}
	})
}

// Goal (K2, K8): Close gives leadership back when the function that leads has returned, and not
// before; if it does not return, the lease ends by its TTL. Method: virtual time; functions that
// take half a second and ten to return, and another candidate.
func TestACloseWaitsForTheFunctionThatLeads(t *testing.T) {
	for _, takes := range []time.Duration{500 * time.Millisecond, 10 * time.Second} {
		inBubble(t, func(t *testing.T) {
			s, _ := newServer(t, atLevel3)
			first, second := leaseClerk(t, s, nil), leaseClerk(t, s, nil)
			candidate := client.Candidate{TTL: 6 * time.Second}
			var returned, closing, next time.Time
			ended, passed := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				_ = first.Lead(t.Context(), "job", candidate, func(ctx context.Context, _ client.Leadership) error {
					<-ctx.Done()
					time.Sleep(takes)
					returned = time.Now()
					return nil
				})
			}()
			synctest.Wait()
			go func() {
				defer close(passed)
				_ = second.Lead(t.Context(), "job", candidate, func(context.Context, client.Leadership) error {
					next = time.Now()
					return nil
				})
			}()
			synctest.Wait()
			closing = time.Now()
			first.Close()
			<-ended
			<-passed
			wait := next.Sub(closing)
			if takes < time.Second && (next.Before(returned) || wait > takes+time.Second) {
				t.Errorf("another one leads %v after Close, and the function returned after %v", wait, returned.Sub(closing))
			}
			if takes > time.Second && (wait < 5*time.Second || wait > 8*time.Second) {
				t.Errorf("another one leads %v after Close, want the TTL", wait)
			}
			second.Close()
		})
	}
}

// Goal (L3, K2): behind an outage of the servers a leader has its old lease and its old token,
// though it could not know meanwhile that it would. Method: virtual time; a log that takes no
// command for longer than the TTL.
func TestALeaderOutlivesAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		var out atomic.Bool
		held := make(chan *raft.Proposal, 10_000)
		log.Decide(func(p *raft.Proposal) {
			if out.Load() {
				held <- p
				return
			}
			log.Choose(p)
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tokens := make(chan uint64, 10)
		ended := make(chan error, 1)
		go func() {
			ended <- c.Lead(ctx, "scheduler", client.Candidate{TTL: 6 * time.Second}, func(ctx context.Context, l client.Leadership) error {
				tokens <- l.Token
				<-ctx.Done()
				return nil
			})
		}()
		first := <-tokens
		time.Sleep(10 * time.Second)
		out.Store(true)
		time.Sleep(30 * time.Second)
		if len(tokens) != 0 {
			t.Error("it leads in an outage")
		}
		out.Store(false)
		for len(held) > 0 {
			log.Choose(<-held)
		}
		if again := <-tokens; again != first {
			t.Errorf("the token is %d, and was %d", again, first)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

// Goal: a request for a lock happens once though answers are lost, and so do releases: none
// is left held or waited for. Method: connections that end after a few answers.
func TestLocksAreAskedForOnceThoughAnswersAreLost(t *testing.T) {
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
		a, b := leaseOf(t, c, time.Hour), leaseOf(t, c, time.Hour)
		last := uint64(0)
		for range 15 {
			first, err := a.Lock(t.Context(), "jobs")
			if err != nil || first.Token() <= last {
				t.Fatalf("the token %d behind %d: %v", first.Token(), last, err)
			}
			waiting := lockLater(t.Context(), b, "jobs")
			if err := first.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			second := mustLock(t, waiting)
			if err := second.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			last = second.Token()
		}
		if l, found := s.Machine().Lock("jobs"); found || dialled < 15 {
			t.Errorf("left: %+v, after %d connections", l, dialled)
		}
	})
}

// Goal: Close gives back locks and places in queues, also those of leases that others keep
// alive, and a lock with a delay is free at once. Method: a kept lease that holds one lock
// and waits for another, and a lease of the Clerk's own.
func TestCloseGivesBackLocks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c, other := leaseClerk(t, s, nil), leaseClerk(t, s, nil)
		defer other.Close()
		owner := leaseOf(t, other, time.Minute)
		if _, err := owner.Lock(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		theirs := leaseOf(t, other, time.Minute)
		kept, err := c.Keep(t.Context(), theirs.ID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		waiting := lockLater(t.Context(), kept, "b")
		if _, err := leaseOf(t, c, time.Minute).Lock(t.Context(), "c", client.LockDelay(time.Minute)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if g := <-waiting; !errors.Is(g.err, client.ErrClosed) {
			t.Errorf("the call that waited: %+v", g)
		}
		for _, name := range []string{"a", "c"} {
			if l, found := s.Machine().Lock(name); found {
				t.Errorf("%s is left: %+v", name, l)
			}
		}
		if l, _ := s.Machine().Lock("b"); len(l.Queue) != 0 || len(l.Holders) != 1 {
			t.Errorf("b is left: %+v", l)
		}
	})
}

// Goal: below level 3 every call about locks is not_active, and so is a guarded write;
// nothing comes into the log. Method: a server at level 2.
func TestLocksOfClerksNeedALevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		if _, err := c.Put(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		before := log.Attempts()
		_, listed := func() (client.LockInfo, error) {
			for info, err := range c.Locks(ctx, "") {
				return info, err
			}
			return client.LockInfo{}, nil
		}()
		for name, err := range map[string]error{
			"show":  second(c.ShowLock(ctx, "a")),
			"list":  listed,
			"guard": second(c.Put(ctx, "a", nil, client.WithGuard("l", 5))),
			"lead":  c.Lead(ctx, "a", client.LeadAs("x"), nil),
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

// Goal: a watch of a Clerk is told of the ends of keys and of locks, with what the lock's
// holder was. Method: virtual time; a key with a TTL, and a lock whose lease ends.
func TestAWatchOfAClerkHearsOfEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // or a Clerk that understands nothing asks for ever
		defer cancel()
		if _, err := c.Put(ctx, "k", []byte("v"), client.WithTTL(time.Second)); err != nil {
			t.Fatal(err)
		}
		l := leaseOf(t, c, 2*time.Second)
		k, err := l.Lock(ctx, "jobs", client.LockValue([]byte("here")))
		if err != nil {
			t.Fatal(err)
		}
		l.Abandon()
		var seen []string
		for e, err := range c.Watch(ctx, client.Key("k"), client.WatchLock("jobs"), client.WithState()) {
			if err != nil {
				t.Fatal(err)
			}
			switch e.Kind {
			case client.StateItem:
				seen = append(seen, e.Item.Key)
			case client.StateHolder:
				seen = append(seen, fmt.Sprintf("%s %t %s", e.Holder.Lock, e.Holder.Token == k.Token(), e.Holder.Value))
			}
			for _, change := range e.Changes {
				seen = append(seen, change.Op, change.Key)
				if h := change.Holder; h != nil {
					seen = append(seen, fmt.Sprintf("%s %t %t %s %s", h.Lock, h.Token == k.Token(), h.Lease == l.ID(), h.Value, change.Reason))
				}
			}
			if len(seen) >= 7 {
				cancel()
				break
			}
		}
		if got, want := strings.Join(seen, ";"), "k;jobs true here;expire;k;released;;jobs true true here expired"; got != want {
			t.Errorf("seen %s, want %s", got, want)
		}
	})
}

// Goal (K2, K7): a node that lags tells of no grant of an earlier time: a client that waits is answered
// when the lease holds the lock that it waits for now. Method: a follower that has the
// lease's first grant, and is behind its release, its second request and the grant to another
// one; they come while it waits.
func TestALaggingNodeTellsOfNoEarlierGrant(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		log.SetLeader("n2")
		log.Reading(func(context.Context) (uint64, error) { return 6, nil })
		ask := func(lease int64) kv.Command {
			return kv.AcquireCommand(kv.Acquire{Lock: "a", Lease: lease, Limit: 1, Queue: true})
		}
		deliver := func(commands ...kv.Command) {
			for _, c := range commands {
				log.Deliver(kv.EncodeCommand(c))
			}
			synctest.Wait()
		}
		deliver(kv.Grant(7, 60_000, ""), kv.Grant(8, 60_000, ""), ask(8))
		answered := make(chan uint64, 1)
		go func() {
			token, err := s.AwaitLock(t.Context(), &kvserver.Caller{}, "a", 8, 4, time.Minute)
			if err != nil {
				t.Error(err)
			}
			answered <- token
		}()
		synctest.Wait()
		deliver(kv.Release("a", 2), ask(7), ask(8))
		if len(answered) != 0 {
			t.Fatalf("while another one holds the lock it is answered with %d", <-answered)
		}
		deliver(kv.Release("a", 4))
		if token := <-answered; token != 6 {
			t.Errorf("it is answered with %d", token)
		}
	})
}
