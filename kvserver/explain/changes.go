package explain

import (
	"fmt"
	"slices"

	"raftkv/kvserver/recorder"
)

// change is one change of leadership: the leader a was followed by the leader b.
type change struct {
	a, b     reign
	at       int64     // when b's reign is first seen
	loss     int64     // when a was lost, as far as anybody noticed
	sign     int       // position of the event that shows the loss; -1 if there is none
	stepped  int       // position of a's SteppedDown; -1 if it is not known
	waited   int64     // for how long the leader was not heard, where the sign says it
	anew     []absence // the nodes that ended at one time and began again, if that is the change
	evidence []int
}

// longGap is the time without a leader that is a story of its own.
const longGap = 3 * second

// changes tells why leadership changed, each time that it did.
func (t *teller) changes() {
	for i := 1; i < len(t.reigns); i++ {
		a, b := t.reigns[i-1], t.reigns[i]
		if t.events[b.begin].at < t.from || t.events[b.begin].at > t.to+second {
			continue
		}
		t.tellChange(t.newChange(a, b))
	}
}

// newChange finds when a leader was lost: what is first of its own stepping down, the
// suspicion of a follower, and the last that a follower heard before its wait ended. A
// follower that followed the same leader again had not lost it, and a leader under whom
// entries were committed was not lost yet.
func (t *teller) newChange(a, b reign) change {
	c := change{a: a, b: b, at: t.events[b.begin].at, sign: -1, stepped: -1}
	c.loss = c.at
	began := t.events[a.begin].at
	led := max(began, c.at-10*minute) - witnessBefore // waits are counted in ticks
	if b.first >= 0 && t.remembers(b.first, t.events[b.first].A) {
		led = max(led, t.events[b.first].at-t.events[b.first].A-witnessBefore)
	}
	note := func(i int, at int64) {
		at = max(at, min(began, c.at))
		if at < c.loss && at >= led && !t.followedAgain(i, a, c.at) {
			c.loss, c.sign, c.waited = at, i, 0
			if t.events[i].Kind == recorder.Timeout {
				c.waited = t.events[i].A
			}
		}
	}
	for _, i := range t.all(began, c.at+minute, func(e *event) bool { return e.Term == a.term }) {
		e := &t.events[i]
		switch {
		case e.Kind == recorder.SteppedDown && e.node == a.leader:
			c.stepped = i
			note(i, e.at)
		case e.Kind == recorder.Suspected && e.peer == a.leader:
			note(i, e.at)
		case e.Kind == recorder.Timeout && e.peer == a.leader && e.at <= c.at:
			note(i, e.at-e.A)
		case e.Kind == recorder.Transfer && e.node == a.leader, e.Kind == recorder.TransferTaken && e.peer == a.leader:
			note(i, e.at)
		}
	}
	if c.sign < 0 {
		t.begunAnew(&c)
	}
	return c
}

// remembers reports whether the process that recorded an event ran for longer than that
// before it. What it says of the time before is true only then.
func (t *teller) remembers(i int, before int64) bool {
	e := &t.events[i]
	return t.events[t.processes[e.process].events[0]].at <= e.at-before-witnessBefore
}

// followedAgain reports whether the node that recorded an event followed the same leader
// in the same term after it, or gave a transfer up.
func (t *teller) followedAgain(i int, a reign, before int64) bool {
	e := &t.events[i]
	return t.find(e.at, before, func(o *event) bool {
		return o.node == e.node && o.Term == a.term && (o.Kind == recorder.TransferGivenUp || o.peer == a.leader)
	}, recorder.Followed, recorder.TransferGivenUp) >= 0
}

// tellChange tells one change, by what the old leader says of itself, then by what
// kept it from leading, and last by what the others saw.
func (t *teller) tellChange(c change) {
	why := recorder.None
	if c.stepped >= 0 {
		why = t.events[c.stepped].Why
		c.evidence = append(c.evidence, c.stepped)
	}
	taken := t.find(c.loss-second, c.at+second, func(e *event) bool {
		return e.Kind == recorder.TransferTaken && e.peer == c.a.leader && e.Term == c.a.term
	})
	switch {
	case len(c.anew) > 0:
		t.tellBegunAnew(c)
	case why == recorder.HangingDisk:
		t.tellHungDisk(c, taken)
	case why == recorder.HandedOver, why == recorder.NewerTerm && taken >= 0 && t.events[taken].node == c.b.leader:
		t.tellHandOver(c, taken)
	case c.stepped < 0 && taken >= 0 && t.events[taken].node == c.b.leader:
		t.tellHandOver(c, taken)
	case why == recorder.LostMajority && !t.haltedMeanwhile(c):
		t.tellLostMajority(c)
	default:
		t.tellLost(c)
	}
}

// haltedMeanwhile reports whether a leader that says it heard no majority did not run.
func (t *teller) haltedMeanwhile(c change) bool {
	e := &t.events[c.stepped]
	return t.halt(c.a.leader, min(c.loss, e.at-e.A), min(e.A, minute)) >= 0
}

// tellHungDisk: the leader's disk took a write and did not give it back.
func (t *teller) tellHungDisk(c change, taken int) {
	e := &t.events[c.stepped]
	s := Story{Kind: DiskHung, Culprits: []string{c.a.leader}, Certainty: Certain}
	asked := t.find(c.loss-second, c.at+second, func(o *event) bool {
		return o.process == e.process && o.Term == c.a.term && o.peer == c.b.leader
	}, recorder.Transfer)
	next := "handed over to " + c.b.leader
	if asked < 0 && (taken < 0 || t.events[taken].node != c.b.leader) {
		next = c.b.leader + " was elected"
	}
	s.say("Write %d had been with %s's disk for %s, so %s gave up leadership and %s.", e.Index, c.a.leader, duration(e.A), c.a.leader, next)
	c.evidence = append(c.evidence, asked, taken)
	back := t.find(e.at, unbound, func(o *event) bool { return o.process == e.process && o.Kind == recorder.DiskBack })
	if back >= 0 {
		s.say("The disk gave the write back after %s.", duration(t.events[back].A))
		c.evidence = append(c.evidence, back)
	}
	t.finish(s, c)
}

// tellHandOver: the leader asked another node to lead.
func (t *teller) tellHandOver(c change, taken int) {
	l := c.a.leader
	s := Story{Kind: HandedOver, Culprits: []string{l}, Certainty: Certain}
	// What an earlier process was asked, or this one in an earlier term, is no reason.
	began := max(c.loss-10*second, t.events[c.a.begin].at-witnessBefore)
	own := func(kind recorder.Kind) int {
		return t.last(began, c.at, func(e *event) bool { return e.node == l && e.Kind == kind })
	}
	told, asked, wrong := own(recorder.EndAsked), own(recorder.TransferAsked), own(recorder.Quarantined)
	c.evidence = append(c.evidence, taken, told, asked, wrong, own(recorder.Transfer))
	switch {
	case told >= 0:
		s.say("%s was told to stop and handed leadership to %s.", l, c.b.leader)
		if a := t.absent(l, t.events[told].at+millisecond); a.why == leftOrder {
			t.away = append(t.away, a)
			if a.to != 0 {
				s.say("%s was back after %s.", l, duration(a.to-a.from))
			}
		}
	case wrong >= 0:
		s.say("%s found its state to be wrong and handed leadership to %s.", l, c.b.leader)
	case asked >= 0:
		s.say("Somebody asked for it: %s handed leadership to %s.", l, c.b.leader)
	default:
		s.Certainty = Likely
		s.say("%s handed leadership to %s; why is not known.", l, c.b.leader)
	}
	t.finish(s, c)
}

// tellLostMajority: the leader ran, and too few of the others answered.
func (t *teller) tellLostMajority(c change) {
	e := &t.events[c.stepped]
	s := Story{Kind: LeaderCutOff, Culprits: []string{c.a.leader}, Certainty: Likely}
	var gone []string
	away := slices.DeleteFunc(t.othersAway(c.a.leader, e.at-e.A, e.A), func(a absence) bool {
		return a.why == cutOff || !t.votes(a.node, c.loss)
	})
	for i := range away {
		gone = append(gone, away[i].node)
	}
	voters := t.voters(c.loss)
	switch {
	case voters-len(gone) <= voters/2: // they are why
		s.Kind, s.Culprits, s.Certainty = MajorityGone, gone, weakest(away)
		for i := range away {
			s.say("%s.", away[i].sentence())
			c.evidence = append(c.evidence, away[i].evidence...)
		}
		t.away = append(t.away, away...)
		t.leaderless = append(t.leaderless, c.loss)
	case t.wasHeard(c):
		s.say("%s was heard and heard nothing: the others' answers did not reach it.", c.a.leader)
	default:
		s.say("%s and the others could not reach each other.", c.a.leader)
		if len(gone) > 0 {
			s.Certainty = Unknown
			s.Culprits = nil
		}
	}
	s.say("%s gave up leadership after %s without a majority.", c.a.leader, duration(e.A))
	t.finish(s, c)
}

// othersAway returns the absences of the other nodes, which were not heard for a while from
// a time on.
func (t *teller) othersAway(leader string, at, while int64) (away []absence) {
	for _, node := range t.others(leader) {
		if a := t.absentFor(node, at, min(while, minute)); a.why != notAway {
			away = append(away, a)
		}
	}
	return away
}

// weakest returns the certainty of the least certain absence.
func weakest(away []absence) Certainty {
	for i := range away {
		if away[i].certainty != Certain {
			return Likely
		}
	}
	return Certain
}

// wasHeard reports whether all others heard the leader up to the moment at which it
// gave up, though it heard none of them.
func (t *teller) wasHeard(c change) bool {
	e := &t.events[c.stepped]
	waits := t.all(e.at-second, c.at, func(o *event) bool { return o.Kind == recorder.Timeout && o.peer == c.a.leader })
	for _, i := range waits {
		if heard := t.events[i].at - t.events[i].A; heard < e.at-100*millisecond {
			return false
		}
	}
	return len(waits) > 0
}

// tellLost: the leader was lost without a word of its own. What its own events say of
// that time counts first, then what the others saw.
func (t *teller) tellLost(c change) {
	l := c.a.leader
	a := t.absentFor(l, c.loss, min(c.waited, minute))
	s := Story{Culprits: []string{l}, Certainty: a.certainty}
	if a.why == leftOrder && t.events[a.evidence[len(a.evidence)-1]].at > c.at {
		a = absence{node: l} // it ended afterwards, which is another story
	}
	c.evidence = append(c.evidence, a.evidence...)
	switch a.why {
	case failed, ended, leftOrder:
		s.Kind = LeaderEnded
	case halted, mute:
		s.Kind = LeaderStopped
	case cutOff:
		s.Kind = LeaderCutOff
	default:
		t.tellUnheard(c)
		return
	}
	s.say("%s.", a.sentence())
	t.away = append(t.away, a)
	t.finish(s, c)
}

// tellUnheard: the leader was not heard, and nothing says that it was away. A busy
// processor or a collection near that moment may be why.
func (t *teller) tellUnheard(c change) {
	l := c.a.leader
	s := Story{Kind: LeaderUnheard, Certainty: Unknown}
	c.evidence = append(c.evidence, c.sign)
	if c.sign >= 0 && t.events[c.sign].Kind == recorder.Timeout {
		e := &t.events[c.sign]
		s.say("%s had not heard %s, its leader, for %s.", e.node, l, duration(e.A))
	} else {
		s.say("%s led term %d, and then %s led term %d.", l, c.a.term, c.b.leader, c.b.term)
	}
	late := t.last(c.loss-second, c.at, func(e *event) bool { return e.node == l && e.Kind == recorder.LoopLate })
	pause := t.last(c.loss-second, c.at, func(e *event) bool { return e.node == l && e.Kind == recorder.CollectorPause })
	switch {
	case late >= 0:
		s.Culprits, s.Certainty = []string{l}, Likely
		s.say("%s's turns came up to %s late: its processor was busy.", l, duration(t.events[late].A))
	case pause >= 0:
		s.Culprits, s.Certainty = []string{l}, Likely
		s.say("A collection stopped %s for up to %s.", l, duration(t.events[pause].A))
	case c.sign >= 0 && !t.hasRing(l, c.loss+second) && t.staysConnected(l, c.loss, c.at):
		s.Culprits, s.Certainty = []string{l}, Likely
		s.say("%s stopped answering, its connections stayed: it is paused or starved, or its link is cut.", l)
	case !t.hasRing(l, c.loss):
		s.say("Why is not known: the events of %s are missing.", l)
	default:
		s.say("Why is not known.")
	}
	c.evidence = append(c.evidence, late, pause)
	t.finish(s, c)
}

// staysConnected reports whether nobody recorded the end of a connection with a node.
func (t *teller) staysConnected(node string, from, to int64) bool {
	return t.find(from-witnessBefore, to+witnessBefore, func(e *event) bool {
		return e.peer == node && (e.Kind == recorder.Ended || e.Kind == recorder.Unreachable)
	}) < 0
}

// finish adds the next leader, and what clients felt, and tells the story.
func (t *teller) finish(s Story, c change) {
	t.succession(&s, &c)
	t.feel(&s, &c)
	t.tell(s, min(c.loss, c.at), t.endOf(c), c.evidence...)
}

func (t *teller) endOf(c change) int64 {
	if c.b.first >= 0 {
		return max(c.at, t.events[c.b.first].at)
	}
	return c.at
}

// succession names the candidate and the voters, and says how long after it was.
func (t *teller) succession(s *Story, c *change) {
	stands := t.find(c.loss, c.at, func(e *event) bool {
		return e.Kind == recorder.Campaign && e.node == c.b.leader && e.Term == c.b.term
	})
	var voters []string
	for _, i := range t.all(c.loss, c.at+second, func(e *event) bool {
		return e.Kind == recorder.VoteGranted && e.peer == c.b.leader && e.Term == c.b.term
	}) {
		voters = append(voters, t.events[i].node)
		c.evidence = append(c.evidence, i)
	}
	c.evidence = append(c.evidence, stands, c.b.begin)
	switch {
	case s.Kind == HandedOver:
	case len(c.anew) > 0 && len(voters) > 0:
		s.say("%s stood, %s voted for it, and it leads term %d.", c.b.leader, list(voters), c.b.term)
	case stands >= 0 && len(voters) > 0:
		s.say("%s stood %s later, %s voted for it, and it leads term %d.", c.b.leader, duration(t.events[stands].at-c.loss), list(voters), c.b.term)
	case stands >= 0:
		s.say("%s stood %s later, and it leads term %d.", c.b.leader, duration(t.events[stands].at-c.loss), c.b.term)
	default:
		s.say("%s leads term %d.", c.b.leader, c.b.term)
	}
	if tries := t.tries(c); tries > 0 {
		s.say("%d %s before that were not won.", tries, plural(tries, "campaign", "campaigns"))
	}
}

// tries returns how many campaigns between two reigns did not lead to one.
func (t *teller) tries(c *change) int {
	return len(t.all(c.loss, c.at, func(e *event) bool {
		return e.Kind == recorder.Campaign && e.Term > c.a.term && e.Term < c.b.term
	}))
}

// feel says for how long nothing was committed. Where nobody had written before, it
// says for how long nobody could have.
func (t *teller) feel(s *Story, c *change) {
	if c.b.first < 0 {
		s.say("When writes were possible again is not known.")
		return
	}
	e := &t.events[c.b.first]
	c.evidence = append(c.evidence, c.b.first)
	still, possible := e.A, max(e.at-c.loss, 0)
	if t.events[t.processes[e.process].events[0]].at > c.loss {
		still = possible // its process has begun since, and knows nothing of the time before
	}
	if still <= possible+possible/2+200*millisecond {
		s.Effect.NoWritesFor = still
		s.say("There was no write for %s.", duration(still))
		return
	}
	s.Effect.NoWritesFor = possible
	s.say("There could be no write for %s; nobody had written for %s before.", duration(possible), duration(still-possible))
}

// say adds a sentence.
func (s *Story) say(format string, args ...any) {
	s.Sentences = append(s.Sentences, fmt.Sprintf(format, args...))
}
