package lease

// Every is how often the leader proposes a tick while something can end, in
// milliseconds: half of MaxStep, so that a tick that comes late loses no lease time.
const Every = MaxStep / 2

// pollEvery is how often a node that does not lead looks whether it leads now. Between
// the last command of one leader and the first of the next no lease time passes.
const pollEvery = Every / 5

// Pacer decides when the leader proposes the next tick. One tick is in flight at most,
// so a log that stands still is not filled with ticks. Times are milliseconds of one
// clock that never goes back. The zero value is ready.
type Pacer struct {
	led      bool   // at the last look
	last     uint64 // when the last tick was proposed
	inFlight bool
	left     bool // the last tick left work
}

// Look is called when something may be due. leads says that this node leads, canEnd that
// something has a deadline. It returns whether to propose a tick now, which Ended must
// follow, and else after how many milliseconds to look again.
//
// A new leader proposes at once: its first command is where lease time goes on.
func (p *Pacer) Look(now uint64, leads, canEnd bool) (propose bool, again uint64) {
	switch {
	case p.inFlight:
		return false, Every
	case !leads || !canEnd:
		p.led, p.left = false, false
		return false, pollEvery
	case !p.led, p.left, now-p.last >= Every:
		p.led, p.left, p.inFlight, p.last = true, false, true, now
		return true, 0
	}
	return false, Every - (now - p.last)
}

// Ended says how the tick ended that was proposed: left, that the next one has to follow
// at once. Of a tick that was not applied, left is false.
func (p *Pacer) Ended(left bool) { p.inFlight, p.left = false, left }
