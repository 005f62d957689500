package main

import "raftkv/kvserver/kv"

// What the cluster promises to a client that uses idempotency keys: a request may
// be made again until log time has gone on by kv.IdempotencyWindow since the
// request was applied. Log time stands still while nobody leads, so a client may
// go on asking through an outage of hours.

// logClock is log time, written a second time in the plainest way. All times are
// milliseconds.
type logClock struct {
	time   uint64
	origin uint64 // of the last command with a stamp
	stamp  uint64
	leases uint64 // lease time
	// leasing: lease time passes, which it does from level 3 on.
	leasing bool
}

// longestStep is how much log time goes on between two commands at most, however
// long nobody led in between.
const longestStep = 60_000

// longestLeaseStep is how much lease time goes on likewise.
const longestLeaseStep = 1000

// pass lets log time go on by what one server's clock measured between two of its
// commands.
func (c *logClock) pass(id kv.RequestID, stamp uint64) {
	switch {
	case stamp == 0:
	case id.Origin != c.origin:
		c.origin, c.stamp = id.Origin, stamp
	case stamp > c.stamp:
		c.time += min(stamp-c.stamp, longestStep)
		if c.leasing {
			c.leases += min(stamp-c.stamp, longestLeaseStep)
		}
		c.stamp = stamp
	}
}

// mayAsk reports whether the promise still holds for a request under an
// idempotency key that a server would append to its log now.
func (o *oracles) mayAsk(s *server, op *operation) bool {
	w, m := o.w, o.machines.model
	applied, known := m.keyedAt[op.keyedCall()]
	if owner := m.keyed[op.keyed]; owner != nil {
		applied, known = keyedMoment{logTime: owner.time}, true
	}
	// No server's clock runs three times as fast as true time.
	quick := kv.IdempotencyWindow * millisecond / max(1, w.options.TimeFactor) / 3
	// What passed since the request was applied says nothing: its log time is that of
	// the moment when a leader took it, and a leader may apply much later.
	if op.repeats == nil && op.hasOwnKey() && w.now-op.began < quick {
		return true
	}
	if len(o.logs.committed) < int(m.applied) {
		return false
	}
	// Log time when the request is applied is that of the last command applied, and
	// what passes with those that stand before the request in this server's log.
	clock := m.clock
	tail := o.logs.committed[m.applied:]
	for i := range tail {
		clock.passEntry(tail[i].Data, op, &applied, &known)
	}
	rest := s.replica.Entries(uint64(len(o.logs.committed)) + 1)
	if len(rest) > 0 && rest[0].Index != uint64(len(o.logs.committed))+1 {
		return false
	}
	for i := range rest {
		clock.passEntry(rest[i].Data, op, &applied, &known)
	}
	clock.pass(kv.RequestID{Origin: s.origin()}, s.stamp())
	if known && clock.time-applied.logTime >= kv.IdempotencyWindow {
		return false
	}
	if known && w.now-op.began > quick {
		w.counts.LateRetries++
	}
	return true
}

// passEntry lets log time go on by a command of a log. If the command is the first
// under the key of op, the key will be remembered from here on.
func (c *logClock) passEntry(data []byte, op *operation, applied *keyedMoment, known *bool) {
	command, err := kv.DecodeCommand(data)
	if err != nil {
		return // an entry without a command
	}
	c.pass(command.ID, command.Time)
	if !*known && command.IdempotencyKey == op.keyed {
		*applied, *known = keyedMoment{logTime: c.time}, true
	}
}

// callOf names a request under an idempotency key. The same key may be used, by
// mistake, for another value.
func callOf(c kv.Command) string { return c.IdempotencyKey + " " + string(c.Value) }

func (op *operation) keyedCall() string {
	if op.deletes() {
		return op.keyed + " "
	}
	return op.keyed + " " + op.token
}

// keyedMoment is when a key was first used that a request has. The cluster remembers
// the key from then on, for the request that used it first: another one that is
// refused for it, and is made again when the key is forgotten, is a new request.
type keyedMoment struct{ logTime uint64 }

// hasOwnKey reports whether no other request has the operation's key, by mistake.
func (op *operation) hasOwnKey() bool { return op.keyed == "key-"+op.token }

// repeated: a request that was answered, made once more within the window, gets
// the same answer, and changes nothing.
func (o *oracles) repeated(op *operation, out outcome) {
	first := *op.repeats
	first.Replayed = true
	if !sameResult(out.result, first) {
		o.w.fail("exactly once", "%v was answered %+v, and when it was made again %+v", op, first, out.result)
	}
	o.w.counts.Repeats++
}
