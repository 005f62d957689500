package explain

import (
	"cmp"
	"slices"

	"raftkv/kvserver/recorder"
)

// The processes of all nodes, or of a majority, may end at one moment, as when the power
// fails. Then nobody is left that records the loss of the leader. What remains is that the
// nodes began anew.

// begunAnew notes in a change without a sign the nodes whose processes ended under the old
// leader and began again before the new one, if they are a majority with that leader among
// them. The loss is when a majority was last there.
func (t *teller) begunAnew(c *change) {
	voters := t.voters(c.at)
	var nodes []absence
	for _, node := range t.voting(t.nodes, c.at) {
		began := t.last(t.events[c.a.begin].at, c.at+witnessBefore, func(e *event) bool {
			return e.node == node && t.last(t.events[c.a.begin].at, e.at-1, func(o *event) bool { return o.node == node && o.process < e.process }) >= 0
		}, recorder.Started)
		if began < 0 {
			continue
		}
		process := t.events[began].process - 1 // it is of the same node: it stands just before
		before := t.processes[process].events
		last := before[len(before)-1]
		a := absence{node: node, why: ended, certainty: Certain, from: t.events[last].at, to: t.events[began].at, evidence: []int{last, began}}
		if t.events[began].A == 1 {
			a.why = leftOrder
		}
		nodes = append(nodes, a)
	}
	l := slices.IndexFunc(nodes, func(a absence) bool { return a.node == c.a.leader })
	if l < 0 {
		return
	}
	leader := nodes[l]
	nodes = slices.DeleteFunc(nodes, func(a absence) bool { return a.from > leader.to || a.to < leader.from })
	if len(nodes) <= voters/2 {
		return
	}
	slices.SortStableFunc(nodes, func(a, b absence) int { return cmp.Compare(b.from, a.from) })
	c.anew = nodes
	c.loss = min(c.loss, nodes[min(voters/2, len(nodes)-1)].from)
}

// tellBegunAnew tells of a majority of processes that ended at one time, and began again.
// When exactly they ended nobody recorded: it was after their last events, of which there is
// one in a minute.
func (t *teller) tellBegunAnew(c change) {
	s := Story{Kind: MajorityGone, Certainty: Certain}
	if len(c.anew) == 1 {
		s.Kind = LeaderEnded
	}
	var without, order []string
	back := int64(-unbound)
	for i := range c.anew {
		a := &c.anew[i]
		s.Culprits = append(s.Culprits, a.node)
		if a.why == leftOrder {
			order = append(order, a.node)
		} else {
			without = append(without, a.node)
		}
		back = max(back, a.to)
		c.evidence = append(c.evidence, a.evidence...)
	}
	t.away = append(t.away, c.anew...)
	t.leaderless = append(t.leaderless, c.loss)
	slices.Sort(without)
	slices.Sort(order)
	if len(without) > 0 {
		s.say("%s ended without order, and no other node was left that recorded it.", processesOf(without))
	}
	if len(order) > 0 {
		s.say("%s ended in order.", processesOf(order))
	}
	s.say("Nothing was recorded for %s, until %s back.", duration(back-c.loss), plural(len(c.anew), "it was", "the last of them was"))
	t.succession(&s, &c)
	if c.b.first < 0 {
		s.say("When writes were possible again is not known.")
	} else {
		c.evidence = append(c.evidence, c.b.first)
		s.Effect.NoWritesFor = max(t.events[c.b.first].at-c.loss, 0)
		s.say("There was no write for up to %s.", duration(s.Effect.NoWritesFor))
	}
	t.tell(s, min(c.loss, c.at), t.endOf(c), c.evidence...)
}

// processesOf names the processes of nodes at the beginning of a sentence.
func processesOf(nodes []string) string {
	if len(nodes) == 1 {
		return nodes[0] + "'s process"
	}
	return "The processes of " + list(nodes)
}
