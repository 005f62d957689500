package node

import "time"

// clock turns time into ticks for the loop. It does not tick by itself: it sleeps to
// the next tick that matters, and whenever the loop wakes, for whatever reason, it
// counts the ticks that have passed. An idle node so wakes with its heartbeats, 20
// times a second, and not with every tick, 100 times. It belongs to the loop.
type clock struct {
	interval time.Duration
	most     int       // ticks that are slept, and counted, at once
	counted  time.Time // the ticks up to here are counted
	planned  int       // ticks that the loop meant to sleep from there
	wakes    time.Time // when timer fires
	timer    *time.Timer
}

// newClock returns a clock that begins now. A process that was stopped, or got no
// processor, may find itself at the end of a sleep with the heartbeats of all that time
// unread. So a sleep ends two heartbeats before the shortest election timeout, and the
// heartbeats are read before anybody campaigns.
func newClock(config Config) *clock {
	now := time.Now()
	return &clock{
		interval: config.TickInterval, most: max(1, config.Core.ElectionTicks-2*config.Core.HeartbeatTicks),
		counted: now, planned: 1, wakes: now.Add(config.TickInterval), timer: time.NewTimer(config.TickInterval),
	}
}

// passed returns how many ticks have passed since the last call, as far as the loop
// may count them, and how many have passed beyond those. A loop that was held up, or a
// process that was stopped, drops the ticks beyond those that it meant to sleep. If it
// comes later by more than most, nobody knows how much of that time it was running, and
// it counts one.
func (c *clock) passed(now time.Time) (count, uncounted int) {
	n := int(now.Sub(c.counted) / c.interval)
	if n <= 0 {
		return 0, 0
	}
	c.counted = c.counted.Add(time.Duration(n) * c.interval)
	count = min(n, c.planned)
	if n > c.planned+c.most {
		count = 1
	}
	return count, n - count
}

// sleep sets the timer to the tick that is due, counted from the last one that was
// counted.
func (c *clock) sleep(due int) {
	c.planned = min(due, c.most)
	if wakes := c.counted.Add(time.Duration(c.planned) * c.interval); wakes != c.wakes {
		c.wakes = wakes
		c.timer.Reset(time.Until(wakes))
	}
}

// restlessTicks is how long after a change the loop goes on to wake with every tick. A
// timer that is set earlier with every write, and later again when it is saved, costs a
// system call each time.
const restlessTicks = 10

// due returns in how many ticks the loop must wake, if nothing happens before. A
// status that readers have not seen is published with the next tick.
func (n *Node) due() int {
	if n.replica.Observe() != n.Status().Observed {
		n.restless = restlessTicks
	}
	if n.unseen || n.restless > 0 {
		return 1
	}
	return n.replica.TicksUntilDue()
}

// tick lets that number of ticks pass.
func (n *Node) tick(ticks int) {
	if ticks == 0 {
		return
	}
	n.restless = max(0, n.restless-ticks)
	for range ticks {
		n.replica.Tick()
	}
	n.flush()
}
