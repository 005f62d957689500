package main

import (
	"fmt"
	"slices"
	"strconv"

	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

// coordinator is a client of leases, locks and transactions. It has one lease at a time, one
// lock under it at most, and one request under way. What it asks for is in no session, so it
// may happen twice, or late; leases, locks and conditions are what makes that harmless.
type coordinator struct {
	w       *world
	index   int
	dice    dice
	pending *ask
	number  uint64
	last    bool // the request under way is the last one
	done    bool

	lease int64 // 0: none
	ttl   uint64
	kept  int64 // when the last request was sent that kept the lease alive and was answered

	lock     string // that it holds, or asks for
	token    uint64 // that it believes in; 0: none
	released uint64 // the last one it gave back, or wanted to
	again    bool   // and that it was given again: a release may still come
}

// The names that coordinators use. Clients know no key among them.
const (
	coordinatedLocks = 2
	accountsFirst    = 100 // in each account
	coordinatedKeys  = "z/"
)

var accountNames = []string{"z/a0", "z/a1", "z/a2"}

// Keys of a lease and of a lock.
func tiedKey(lease int64, i int) string { return fmt.Sprintf("z/t%d.%d", lease, i) }
func fencedKey(lock string) string      { return "z/f" + lock }

// ask is one request of a coordinator.
type ask struct {
	c       *coordinator
	server  int
	number  uint64
	sent    int64
	over    bool
	command func(s *server) kv.Command // made where it arrives
	heard   func(kv.Result)
}

func newCoordinator(w *world, i int) *coordinator {
	return &coordinator{w: w, index: i, dice: newDice(w.seed, streamCoordinators+uint64(i)<<8)}
}

func (c *coordinator) subject() int { return theClient - len(c.w.clients) - c.index }
func (c *coordinator) start()       { c.w.after(c.dice.between(0, c.w.options.Think), then(c.begin)) }

// life is how long a lease of a TTL lives in true time at least, if nobody keeps it alive: no
// server's clock runs more than three times as fast as true time.
func (c *coordinator) life(ttl uint64) int64 {
	return int64(ttl) * millisecond / max(1, c.w.options.TimeFactor) / 3
}

// believes reports whether it may rely on its lock. Like a Clerk it stops before the lease can
// end.
func (c *coordinator) believes() bool { return c.token != 0 && c.w.now < c.kept+c.life(c.ttl)*9/10 }

// begin makes the next request.
func (c *coordinator) begin() {
	w := c.w
	c.last = w.healed
	switch dice := c.dice.IntN(20); {
	case c.again && c.lease != 0 && !c.last:
		c.again, c.token = false, c.released
		c.release()
	case c.last && c.lease != 0:
		c.revoke()
	case c.last:
		c.transfer()
	case c.lease == 0 && dice < 12:
		c.grant()
	case dice < 6 || c.lease == 0:
		c.transfer()
	case dice < 9:
		c.keep()
	case dice < 10:
		c.tie()
	case dice < 11:
		c.revoke()
	case c.token == 0:
		c.acquire()
	case dice < 16:
		c.write()
	default:
		c.release()
	}
}

// ask sends a request to some server. Where no answer comes, gone is what is done.
func (c *coordinator) ask(command func(s *server) kv.Command, heard func(kv.Result), gone func()) {
	w := c.w
	c.number++
	a := &ask{c: c, number: c.number, sent: w.now, server: c.dice.IntN(w.options.Servers), command: command, heard: heard}
	c.pending = a
	w.event(c.subject(), evCoordinates, uint64(a.server+1), a.number)
	delay := c.dice.between(10, 200)
	if !w.healed && c.dice.chance(w.options.Tail/4) {
		delay += c.dice.between(0, 20*w.timeout())
	}
	w.after(delay, a)
	w.after(w.timeout(), then(func() {
		if !a.over {
			a.over = true
			gone()
			c.next()
		}
	}))
}

// happen is the arrival of the request.
func (a *ask) happen() {
	s := a.c.w.servers[a.server]
	if s.up {
		s.input(func() {
			s.submit(a.command(s), a)
			s.turn()
		})
	}
}

// answer carries the answer of a server back.
func (a *ask) answer(out outcome) {
	w := a.c.w
	if !w.healed && a.c.dice.chance(w.options.LostAnswers) {
		return
	}
	w.after(a.c.dice.between(10, 200), then(func() {
		if a.over {
			return
		}
		a.over = true
		if out.err == nil {
			w.event(a.c.subject(), evCoordinated, a.number, out.index)
			a.heard(out.result)
		}
		a.c.next()
	}))
}

func (c *coordinator) next() {
	c.pending = nil
	if c.last && !c.done && c.lease == 0 {
		c.done = true
		return
	}
	c.w.after(c.dice.about(c.w.options.Think), then(c.begin))
}

// nothing is what is done about an answer that says nothing, or does not come.
func nothing()         {}
func ignore(kv.Result) {}
func always(c kv.Command) func(*server) kv.Command {
	return func(*server) kv.Command { return c }
}

func (c *coordinator) grant() {
	ttl := uint64(c.dice.pick(1000, 2000, 5000))
	sent := c.w.now
	c.ask(always(kv.Grant(0, ttl, "")), func(r kv.Result) {
		if r.Status == kv.StatusOK {
			c.lease, c.ttl, c.kept, c.token, c.released, c.again = int64(r.Version), ttl, sent, 0, 0, false
			c.w.oracles.coordination.promised(c.lease, sent+c.life(ttl))
		}
	}, nothing)
}

func (c *coordinator) keep() {
	sent, id := c.w.now, c.lease
	c.ask(always(kv.KeepAlive(id)), func(r kv.Result) {
		if ttls := r.Kept(); len(ttls) == 1 && ttls[0] != 0 {
			c.kept = sent
			c.w.oracles.coordination.promised(id, sent+c.life(ttls[0]))
			return
		}
		c.lost()
	}, nothing)
}

// lost: the lease is no more, and what it held neither.
func (c *coordinator) lost() { c.lease, c.token, c.again = 0, 0, false }

func (c *coordinator) revoke() {
	id := c.lease
	c.token = 0
	c.ask(always(kv.Revoke(id)), func(kv.Result) { c.lost() }, nothing)
}

// tie ties two keys to the lease, in one transaction.
func (c *coordinator) tie() {
	var t txn.Txn
	for i := range 2 {
		t.Then = append(t.Then, txn.Op{Kind: txn.Put, Span: txn.Key(tiedKey(c.lease, i)), Value: []byte("x"), Tie: txn.Tie{Lease: c.lease}})
	}
	c.ask(always(kv.TxnCommand(&t, txn.MaxResultBytes)), ignore, nothing)
}

// acquire asks for a lock; it asks again until it has it.
func (c *coordinator) acquire() {
	c.lock = strconv.Itoa(c.dice.IntN(coordinatedLocks))
	id, lock := c.lease, c.lock
	c.ask(always(kv.AcquireCommand(kv.Acquire{Lock: lock, Lease: id, Limit: 1, Queue: c.dice.chance(0.7)})), func(r kv.Result) {
		switch {
		case r.Status == kv.StatusLeaseNotFound:
			c.lost()
		case r.Status != kv.StatusOK:
		case r.Revision == c.released:
			c.again = true
		default:
			c.token = r.Revision
			c.w.oracles.coordination.believed(c)
		}
	}, nothing)
}

func (c *coordinator) release() {
	token := c.token
	c.token, c.released = 0, token
	c.ask(always(kv.Release(c.lock, token)), ignore, nothing)
}

// write writes what the lock guards, whether or not it may be relied on: that is decided where
// it arrives.
func (c *coordinator) write() {
	command := kv.Command{Op: kv.OpPut, Key: []byte(fencedKey(c.lock)), Value: []byte(strconv.FormatUint(c.token, 10)), Guard: kv.Guard{Lock: c.lock, Token: c.token}}
	c.ask(always(command), func(r kv.Result) {
		if r.Status == kv.StatusLockLost {
			c.token = 0
		}
	}, nothing)
}

// transfer moves something between two accounts, as the server that is asked has them. Now and
// then a part of it cannot be done.
func (c *coordinator) transfer() {
	order := c.dice.Perm(len(accountNames))
	amount, doomed := c.dice.IntN(10), c.dice.chance(0.1)
	c.ask(func(s *server) kv.Command {
		var t txn.Txn
		for i, change := range []int{-amount, amount} {
			key := accountNames[order[i]]
			item, balance := accountOf(s.store, key)
			t.If = append(t.If, txn.Compare{Span: txn.Key(key), Subject: txn.Revision, Is: txn.Equal, Number: item.Revision})
			t.Then = append(t.Then, txn.Op{Kind: txn.Put, Span: txn.Key(key), Value: []byte(strconv.Itoa(balance + change))})
		}
		if doomed {
			t.Then = append(t.Then, txn.Op{Kind: txn.Touch, Span: txn.Key("z/nobody"), Tie: txn.Tie{TTL: 1000}})
		}
		return kv.TxnCommand(&t, txn.MaxResultBytes)
	}, ignore, nothing)
}

// accountOf returns an account, which begins with accountsFirst.
func accountOf(store *kv.Store, key string) (kv.Item, int) {
	item, found := store.Get([]byte(key))
	if !found {
		return item, accountsFirst
	}
	balance, err := strconv.Atoi(string(item.Value))
	if err != nil {
		panic(err) // nobody else writes there
	}
	return item, balance
}

// coordinates reports whether a command is one of coordinators, or ends what they have made.
func coordinates(c *kv.Command) bool {
	ops := []kv.Op{kv.OpTick, kv.OpGrant, kv.OpKeepAlive, kv.OpRevoke, kv.OpAcquire, kv.OpRelease, kv.OpTxn}
	return slices.Contains(ops, c.Op) || c.Guard != (kv.Guard{})
}

// describe says where a coordinator stands.
func (c *coordinator) describe() string {
	return fmt.Sprintf("coordinator %d: lease %d, token %d, idle %v", c.index+1, c.lease, c.token, c.done)
}
