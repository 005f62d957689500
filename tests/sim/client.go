package main

import (
	"fmt"

	"raftkv/kvserver/kv"
)

// client asks for one operation after the other in each of its lanes. A careful
// one has a session and asks again until it is answered; one with idempotency
// keys asks again for as long as the cluster promises to remember them; a careless
// one asks for each write once and may never learn what became of it.
type client struct {
	w       *world
	index   int
	careful bool
	keyed   bool
	lanes   []*lane
	count   uint64     // operations begun
	lastKey string     // the idempotency key of the operation before
	before  *operation // under an idempotency key, answered; it may be made again
	answer  kv.Result  // that it got

	session uint64
	opening bool             // a lane is opening the session; the others wait
	seen    [maxKeys]keySeen // what it last heard of each key
}

// keySeen is what a client last heard of a key.
type keySeen struct {
	version, length uint64
	modified        uint64 // the key's revision
	revision        uint64 // the store's
}

// lane is one operation at a time.
type lane struct {
	c      *client
	number uint32
	seq    uint64
	op     *operation // under way; nil between two
	last   bool       // the operation under way is the last one
	done   bool       // with the last one, too
	server int        // whom to ask next
}

func newClient(w *world, i int) *client {
	c := &client{w: w, index: i}
	switch dice := w.clientDice.Float64(); {
	case dice < w.options.Careless:
	case dice < w.options.Careless+w.options.Keyed:
		c.keyed = true
	default:
		c.careful = true
	}
	lanes := 1
	if c.careful {
		lanes = w.options.Lanes
	}
	for n := range lanes {
		c.lanes = append(c.lanes, &lane{c: c, number: uint32(n), server: w.clientDice.IntN(w.options.Servers)})
	}
	return c
}

func (c *client) name() string { return fmt.Sprintf("c%d", c.index+1) }
func (c *client) subject() int { return theClient - c.index }

func (c *client) start() {
	for _, l := range c.lanes {
		c.w.after(c.w.clientDice.between(0, c.w.options.Think), then(l.begin))
	}
}

func (c *client) idle() bool {
	for _, l := range c.lanes {
		if !l.done {
			return false
		}
	}
	return true
}

// timeout is how long a client waits for an answer.
func (w *world) timeout() int64 {
	o := &w.options
	return o.election()/2 + 8*o.DelayHigh + 4*(o.SaveHigh+o.SlowSync) + 2*o.ApplyDelay + 8*o.LoopDelay
}

// begin starts the next operation, unless the world is healed and the lane has
// done its last one.
func (l *lane) begin() {
	c, w := l.c, l.c.w
	if w.healed && l.last {
		l.done = true
		if c.index == 0 && l.number == 0 && w.options.Labs {
			w.after(w.options.election(), then(l.nudge))
		}
		return
	}
	if c.careful && c.session == 0 && c.opening {
		w.after(w.timeout()/4, then(l.begin))
		return
	}
	l.last = w.healed
	op := l.draw()
	op.floor, op.began = w.oracles.floor, w.now
	l.op = op
	l.try()
}

// nudge asks for one more write if the world does not come to rest: without a
// no-op, what an earlier leader left is only committed together with a new
// command.
func (l *lane) nudge() {
	l.last, l.done = false, false
	l.begin()
}

// draw decides what to do next.
func (l *lane) draw() *operation {
	c, w := l.c, l.c.w
	d := w.clientDice
	c.count++
	op := &operation{lane: l, number: c.count, token: fmt.Sprintf("%s.%d;", c.name(), c.count)}
	op.keyNumber = d.IntN(w.options.Keys)
	op.key = keyNames[op.keyNumber]
	seen := c.seen[op.keyNumber]
	if c.careful && c.session == 0 {
		c.opening = true
		op.kind = opOpen
		return op
	}
	if b := c.before; b != nil && !l.last && d.chance(0.1) {
		op.kind, op.key, op.keyNumber, op.token, op.condition, op.change, op.keyed = b.kind, b.key, b.keyNumber, b.token, b.condition, b.change, b.keyed
		op.repeats, op.expired = &c.answer, b.expired
		return op
	}
	op.kind = w.options.Mix.draw(d)
	switch {
	case l.last:
		// A leader that has committed nothing in its term can neither read nor
		// finish what earlier leaders began.
		op.kind = opPut
	case op.kind == opAppend && seen.length > 200:
		op.kind = opPut // values stay small
	case op.kind == opCompare:
		op.change = kv.Op(d.pick(int64(kv.OpPut), int64(kv.OpPut), int64(kv.OpAppend), int64(kv.OpDelete)))
		op.condition = seen.condition(d)
	case op.kind == opStale && !w.options.Labs && d.chance(0.5):
		op.minRevision = seen.revision
	}
	switch {
	case !op.kind.writes():
	case c.careful:
		l.seq++
		op.session = kv.SessionCall{ID: c.session, Lane: l.number, Seq: l.seq}
	case c.keyed && c.lastKey != "" && d.chance(0.05) && (op.kind == opPut || op.kind == opAppend) && !l.last:
		op.keyed = c.lastKey // by mistake
	case c.keyed:
		op.keyed = fmt.Sprintf("key-%s", op.token)
		c.lastKey = op.keyed
	}
	return op
}

// condition draws what a compare asks of a key: mostly that it is as it was last
// seen.
func (k keySeen) condition(d dice) kv.Condition {
	switch d.IntN(6) {
	case 0:
		return kv.Condition{Kind: kv.IfPresent}
	case 1:
		return kv.Condition{Kind: kv.IfAbsent}
	case 2:
		return kv.Condition{Kind: kv.IfVersion}
	case 3:
		return kv.Condition{Kind: kv.IfVersion, Number: k.version}
	}
	return kv.Condition{Kind: kv.IfRevision, Number: k.modified}
}

// draw picks a kind of operation by its weight.
func (m mix) draw(d dice) opKind {
	n := d.IntN(m.total())
	for kind, weight := range []int{m.Put, m.Append, m.Delete, m.Compare, m.Get, m.Stale, m.List} {
		if n -= weight; n < 0 {
			return opKind(kind)
		}
	}
	panic("weights that do not add up")
}

// attempt is one request for an operation to one server.
type attempt struct {
	op     *operation
	server int
	over   bool // answered or given up
}

// try asks one server.
func (l *lane) try() {
	c, w := l.c, l.c.w
	a := &attempt{op: l.op, server: l.server}
	l.op.attempts++
	w.event(c.subject(), evAsks, uint64(l.server+1), a.op.number, uint64(a.op.kind), uint64(a.op.keyNumber))
	delay := w.clientDice.between(10, 200)
	if !w.healed && w.clientDice.chance(w.options.Tail/4) {
		delay += w.clientDice.between(0, 20*w.timeout()) // it arrives when nobody waits for it any more
		w.counts.LateRequests++
	}
	w.after(delay, a)
	w.after(w.timeout(), then(a.timeOut))
}

// happen is the arrival of the request.
func (a *attempt) happen() {
	w := a.op.lane.c.w
	s := w.servers[a.server]
	if s.up {
		s.input(func() {
			if a.op.keyed != "" && !w.oracles.mayAsk(s, a.op) {
				a.op.expired = true
				return
			}
			w.event(s.index, evServes, uint64(a.op.lane.c.index+1), a.op.number)
			s.serve(a)
			s.turn()
		})
	}
}

func (a *attempt) timeOut() {
	l := a.op.lane
	if a.over || l.op != a.op {
		return
	}
	a.over = true
	c, w := l.c, l.c.w
	l.lookElsewhere()
	if c.careful && !w.healed && w.clientDice.chance(0.01) {
		c.reborn()
		return
	}
	if a.op.kind.writes() && !c.careful && (!c.keyed || a.op.expired) {
		l.giveUp()
		l.next()
		return
	}
	l.try()
}

// giveUp ends an operation whose outcome nobody will learn.
func (l *lane) giveUp() {
	w := l.c.w
	if l.op.repeats != nil {
		l.op = nil // its outcome is known
		return
	}
	w.counts.UnknownToClient++
	w.event(l.c.subject(), evGivesUp, l.op.number)
	w.oracles.gaveUp(l.op)
	l.op = nil
}

// reborn is the end of a client and its session; another takes its place.
func (c *client) reborn() {
	c.w.counts.ClientsLost++
	c.session, c.opening = 0, false
	c.seen = [maxKeys]keySeen{}
	for _, l := range c.lanes {
		l.seq = 0
		if l.op == nil {
			continue // it waits for its next operation
		}
		if l.op.kind.writes() {
			l.giveUp()
		}
		l.op = nil
		l.next()
	}
}

// answer carries a server's answer to the client, if it is still waiting.
func (a *attempt) answer(out outcome) {
	w := a.op.lane.c.w
	if !w.healed && w.clientDice.chance(w.options.LostAnswers) {
		w.counts.LostAnswers++
		return
	}
	w.after(w.clientDice.between(10, 200), then(func() {
		if !a.over && a.op.lane.op == a.op {
			a.over = true
			a.op.lane.answered(a.op, out)
		}
	}))
}

func (l *lane) answered(op *operation, out outcome) {
	c, w := l.c, l.c.w
	if out.err != nil {
		w.counts.Refused++
		w.event(c.subject(), evRefused, op.number)
		l.lookElsewhere()
		life := l.op
		w.after(w.clientDice.between(1000, w.options.election()/4), then(func() {
			if l.op == life {
				l.try()
			}
		}))
		return
	}
	if op.keyed != "" && op.attempts > 1 && out.result.Status == kv.StatusQuota {
		// This copy found no room. An earlier one that is still on its way may.
		l.giveUp()
		l.next()
		return
	}
	w.event(c.subject(), evDone, op.number, out.index, out.revision)
	if op.repeats != nil {
		w.oracles.repeated(op, out)
	} else {
		w.oracles.acknowledged(op, out)
		c.learn(op, out)
	}
	l.op = nil
	l.next()
}

// learn keeps what an answer says of a key.
func (c *client) learn(op *operation, out outcome) {
	if status := out.result.Status; op.keyed != "" && len(op.token) > 0 && (status == kv.StatusOK || status == kv.StatusConditionFailed) {
		c.before, c.answer = op, out.result
	}
	switch {
	case op.kind == opOpen:
		c.session, c.opening = out.result.Session, false
	case op.kind.writes() || op.kind == opGet && out.items == nil:
		c.seen[op.keyNumber] = keySeen{out.result.Version, out.result.Length, out.result.Revision, out.revision}
	case op.kind == opGet || op.kind == opStale:
		i := out.items[0]
		c.seen[op.keyNumber] = keySeen{i.Version, uint64(len(i.Value)), i.Revision, out.revision}
	}
}

func (l *lane) next() { l.c.w.after(l.c.w.clientDice.about(l.c.w.options.Think), then(l.begin)) }

func (l *lane) lookElsewhere() { l.server = l.c.w.clientDice.IntN(l.c.w.options.Servers) }

func (c *client) describe() string {
	text := c.name()
	for _, l := range c.lanes {
		switch {
		case l.done:
			text += " idle"
		case l.op == nil:
			text += " pauses"
		default:
			text += fmt.Sprintf(" waits for %v since %s", l.op, clock(l.op.began))
		}
	}
	return text
}
