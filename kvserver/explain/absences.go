package explain

import (
	"fmt"
	"slices"

	"raftkv/kvserver/recorder"
)

// absences tells of nodes that were away and did not lead: their process ended, began
// again, or did not run. What another story has told is not told twice.
func (t *teller) absences() {
	for _, node := range t.nodes {
		t.ends(node)
		t.haltsOf(node)
	}
}

// ends tells of the ends of a node's process: by its own events, or by what the others
// saw.
func (t *teller) ends(node string) {
	handled := int64(-unbound)
	for _, i := range t.all(t.from-minute, t.to, func(e *event) bool {
		switch e.Kind {
		case recorder.Failed, recorder.EndedInOrder:
			return e.node == node
		case recorder.Ended:
			return e.peer == node && (e.Why == recorder.ClosedByPeer || e.Why == recorder.Reset)
		case recorder.Unreachable:
			return e.peer == node && (e.Why == recorder.NobodyListens || e.Why == recorder.NoHello)
		}
		return false
	}) {
		at := t.events[i].at
		if at < handled {
			continue
		}
		a := t.absent(node, at)
		if a.why != failed && a.why != ended && a.why != leftOrder && a.why != mute && a.why != unseen || t.isTold(node, at, a.why) {
			continue
		}
		t.away = append(t.away, a)
		handled = at + witnessAfter
		if a.to != 0 {
			handled = a.to + witnessBefore
		} else if a.why != mute {
			handled = unbound
		}
		t.tellAway(a)
	}
}

// isTold reports whether a story has told of an absence of a node at a time.
func (t *teller) isTold(node string, at int64, why whyAway) bool {
	return slices.ContainsFunc(t.away, func(a absence) bool {
		to := a.to
		if to == 0 {
			to = unbound
		}
		same := why == a.why || a.why != halted && why != halted
		return a.node == node && same && at >= a.from-second && at <= to+witnessBefore
	})
}

// toldAway reports whether a story has told that a node was away at a time, or shortly
// before.
func (t *teller) toldAway(node string, at int64) bool {
	return slices.ContainsFunc(t.away, func(a absence) bool {
		return a.node == node && at >= a.from-second && (a.to == 0 || at <= a.to+minute)
	})
}

// tellAway tells of a node that did not lead.
func (t *teller) tellAway(a absence) {
	s := Story{Kind: NodeEnded, Culprits: []string{a.node}, Certainty: a.certainty}
	if a.why == halted || a.why == mute {
		s.Kind = NodeStopped
	}
	s.say("%s.", a.sentence())
	from, to := a.from, a.to
	away := to // until when it was away
	if to == 0 {
		to, away = from, from
		if a.why != halted {
			away = t.end()
			s.say("It has not come back in what is recorded.")
		}
	} else if a.why != halted {
		s.say("It was there after %s.", duration(to-from))
	}
	if t.tooFew(from, away) {
		s.say("Writes waited for it while too few nodes were there.")
		t.tell(s, from, to, a.evidence...)
		return
	}
	t.tellUnhurt(s, from, to, a.evidence)
}

// tooFew reports whether a story tells that too few nodes were there during some of a
// time.
func (t *teller) tooFew(from, to int64) bool {
	return slices.ContainsFunc(t.stories, func(s Story) bool {
		return s.Kind == MajorityGone && s.From*millisecond <= to && s.To*millisecond >= from
	})
}

// tellUnhurt ends a story about a follower: with slow commits, if there were any while
// it lasted, and with the word that clients noticed nothing, if there were none and
// leadership did not change. Only the leader records what was slow, so its events must be
// known for that word.
func (t *teller) tellUnhurt(s Story, from, to int64, evidence []int) {
	until := max(to, from+second) + witnessBefore
	slow := t.all(from-witnessBefore, until, func(*event) bool { return true }, recorder.SlowCommit)
	changed := t.find(from-witnessBefore, until, func(*event) bool { return true }, recorder.SteppedDown) >= 0 ||
		slices.ContainsFunc(t.reigns, func(r reign) bool {
			at := t.events[r.begin].at
			return at > from-witnessBefore && at < until
		})
	leader := t.leaderAt(from)
	switch {
	case len(slow) > 0:
		for _, i := range slow {
			s.Effect.SlowestCommit = max(s.Effect.SlowestCommit, t.events[i].A)
		}
		s.say("Writes took up to %s meanwhile.", duration(s.Effect.SlowestCommit))
		evidence = append(slices.Clone(evidence), slow...)
	case changed:
	case leader == "":
		s.say("What clients noticed is not known: no event shows who led.")
	case !t.knows(leader, from):
		s.say("What clients noticed is not known: the events of %s, which led, are missing.", leader)
	default:
		s.say("Leadership did not change, and writes did not wait for it.")
	}
	t.tell(s, from, to, evidence...)
}

// leaderAt returns the leader at a time, "" if no event shows it.
func (t *teller) leaderAt(at int64) (leader string) {
	for i := range t.reigns {
		if t.events[t.reigns[i].begin].at <= at {
			leader = t.reigns[i].leader
		}
	}
	return leader
}

// haltsOf tells of the times in which a follower's process did not run.
func (t *teller) haltsOf(node string) {
	for _, i := range t.all(t.from, t.to, func(e *event) bool {
		return e.node == node && e.Kind == recorder.LoopLate && e.A >= second
	}) {
		e := &t.events[i]
		if t.isTold(node, e.at, halted) {
			continue
		}
		a := t.haltedBy(absence{node: node}, i)
		t.away = append(t.away, a)
		t.tellAway(a)
	}
}

// noLeader tells of a time without a leader that was long, or has not ended, and which
// nodes were missing.
func (t *teller) noLeader() {
	for i := 1; i < len(t.reigns); i++ {
		c := t.newChange(t.reigns[i-1], t.reigns[i])
		if c.at-c.loss >= longGap && c.at >= t.from && !slices.Contains(t.leaderless, c.loss) && (c.b.own || t.nobodyElse(c.loss)) {
			t.tellNoLeader(c.loss, c.at, false)
		}
	}
	since := t.withoutLeader()
	switch {
	case since == 0 || t.end()-since < longGap:
	case t.nobodyElse(since):
		t.tellNoLeader(since, t.end(), true)
	default:
		t.tellUnknownLeader(since, t.end())
	}
}

// nobodyElse reports whether the nodes whose events are known from a time on, and those that
// were away then, leave too few others to elect a leader of whom nothing is known.
func (t *teller) nobodyElse(from int64) bool {
	voters, seen := t.voters(from), 0
	for _, node := range t.voting(t.nodes, from) {
		if t.knows(node, from) && t.lastOf(node, from) >= 0 {
			seen++
			continue
		}
		switch t.absent(node, from).why {
		case notAway, cutOff:
		default:
			seen++
		}
	}
	return voters-seen <= voters/2
}

// tellUnknownLeader tells of nodes that know no leader, where too little is known of the
// others to say that there was none.
func (t *teller) tellUnknownLeader(from, to int64) {
	s := Story{Kind: LeaderUnheard, Certainty: Unknown}
	var knew, missing []string
	var evidence []int
	for _, node := range t.nodes {
		if t.knows(node, from) {
			knew = append(knew, node)
			evidence = append(evidence, t.lastOf(node, from-lastAge))
		} else {
			missing = append(missing, node)
		}
	}
	s.say("%s %s known no leader for %s.", list(knew), plural(len(knew), "has", "have"), duration(to-from))
	if len(missing) > 0 {
		s.say("Whether there was one is not known: the events of %s are missing.", list(missing))
	} else {
		s.say("Whether there was one is not known: the events of too few nodes are there.")
	}
	t.tell(s, from, to, evidence...)
}

// withoutLeader returns since when no node that is heard knows a leader; 0 if one does.
func (t *teller) withoutLeader() int64 {
	since := int64(0)
	end := t.end()
	for _, node := range t.nodes {
		own := func(e *event) bool { return e.node == node }
		latest := t.last(end-2*minute, end, own)
		if latest < 0 {
			continue // it is not there, or its events are not
		}
		if why := t.absent(node, t.events[latest].at+1).why; why == ended || why == failed || why == leftOrder {
			continue
		}
		state := t.last(-unbound, end, func(e *event) bool {
			if !own(e) {
				return false
			}
			switch e.Kind {
			case recorder.Followed, recorder.Elected, recorder.Timeout, recorder.Suspected, recorder.SteppedDown, recorder.EndedInOrder, recorder.Failed, recorder.Minute:
				return true
			}
			return e.Kind == recorder.MinuteFollowed && e.peer != ""
		})
		if state < 0 {
			continue
		}
		switch e := &t.events[state]; e.Kind {
		case recorder.Followed, recorder.Elected, recorder.Minute, recorder.MinuteFollowed:
			return 0
		case recorder.Timeout, recorder.Suspected, recorder.SteppedDown:
			lost := t.firstLoss(node)
			if since == 0 || lost < since {
				since = lost
			}
		}
	}
	return since
}

// firstLoss returns when a node lost the last leader that it followed or was.
func (t *teller) firstLoss(node string) int64 {
	known := t.last(-unbound, unbound, func(e *event) bool {
		return e.node == node && (e.Kind == recorder.Followed || e.Kind == recorder.Elected || e.Kind == recorder.Started)
	})
	from := int64(-unbound)
	if known >= 0 {
		from = t.events[known].at
	}
	lost := t.find(from, unbound, func(e *event) bool {
		return e.node == node && (e.Kind == recorder.Timeout || e.Kind == recorder.Suspected || e.Kind == recorder.SteppedDown)
	})
	if lost < 0 {
		return t.end()
	}
	e := &t.events[lost]
	if e.Kind == recorder.Timeout {
		return e.at - e.A
	}
	return e.at
}

// tellNoLeader tells of a time without a leader: of each node that tried, whom it needed
// and why it could not reach them.
func (t *teller) tellNoLeader(from, to int64, still bool) {
	s := Story{Kind: MajorityGone, Certainty: Unknown}
	var evidence []int
	missing := map[string]bool{}
	text := fmt.Sprintf("There was no leader for %s", duration(to-from))
	if still {
		text = fmt.Sprintf("There has been no leader for %s", duration(to-from))
	}
	voters := t.voting(t.nodes, from)
	for _, node := range voters {
		var needs []string
		for _, peer := range voters {
			if peer == node {
				continue
			}
			i := t.last(from, to, func(e *event) bool { return e.node == node && e.peer == peer && e.Kind == recorder.Unreachable })
			if i < 0 || t.find(t.events[i].at, to, func(e *event) bool {
				return e.node == node && e.peer == peer && e.Kind == recorder.Connected
			}) >= 0 {
				continue
			}
			needs = append(needs, fmt.Sprintf("%s (%s)", peer, unreachable(t.events[i].Why)))
			missing[peer] = true
			evidence = append(evidence, i)
		}
		if len(needs) > 0 {
			text += fmt.Sprintf("; %s needs %s%s", node, plural(len(needs), "", "one of "), list(needs))
		}
	}
	s.say("%s.", text)
	for _, node := range voters {
		if a := t.absent(node, from); missing[node] && a.why != notAway && a.why != cutOff {
			s.Culprits = append(s.Culprits, node)
			evidence = append(evidence, a.evidence...)
			if !t.isTold(node, from, a.why) {
				s.say("%s.", a.sentence())
				t.away = append(t.away, a)
			}
		}
	}
	if len(s.Culprits) > 0 {
		s.Certainty = Likely
	}
	s.Effect.NoWritesFor = to - from
	s.say("Nobody could write meanwhile.")
	t.tell(s, from, to, evidence...)
}
