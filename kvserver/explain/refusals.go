package explain

import (
	"slices"

	"raftkv/kvserver/recorder"
)

// refusal is the hellos that two nodes turned down, one of the other.
type refusal struct {
	link
	events []int
}

// refusals tells of nodes that were turned down. The server that turns a hello down is not always the
// one that is as it was: a node that was started with the wrong list or name turns down all
// the others. So a node is named only if it ended itself for that reason, or if it and a
// majority of the others do not take each other and that is so of nobody else.
func (t *teller) refusals() {
	told := map[string]bool{}
	for _, i := range t.all(t.from, t.to, func(e *event) bool { return e.Why == recorder.Fenced }, recorder.Failed) {
		told[t.events[i].node] = true
	}
	all := t.refused()
	for _, node := range t.nodes {
		switch turned := of(all, node); {
		case told[node]:
			t.tellRefused(node, Certain, turned)
		case t.odd(all, node):
			told[node] = true
			t.tellRefused(node, Likely, turned)
		}
	}
	for i := range all {
		if r := &all[i]; !told[r.a] && !told[r.b] {
			t.tellRefusal(r)
		}
	}
}

// refused returns the pairs of nodes between which hellos were turned down.
func (t *teller) refused() (all []refusal) {
	for _, i := range t.all(t.from, t.to, func(e *event) bool {
		return e.peer != "" && (e.Why == recorder.WeTurnDown || e.Why == recorder.TurnedDown)
	}, recorder.Unreachable) {
		l := linkOf(&t.events[i])
		n := slices.IndexFunc(all, func(r refusal) bool { return r.link == l })
		if n < 0 {
			n = len(all)
			all = append(all, refusal{link: l})
		}
		all[n].events = append(all[n].events, i)
	}
	return all
}

// of returns the refusals that a node has a part in.
func of(all []refusal, node string) (some []refusal) {
	for _, r := range all {
		if r.a == node || r.b == node {
			some = append(some, r)
		}
	}
	return some
}

// odd reports whether a node and a majority of the others do not take each other, and of no
// other node there are as many.
func (t *teller) odd(all []refusal, node string) bool {
	n := len(of(all, node))
	if voters := len(slices.DeleteFunc(of(all, node), func(r refusal) bool {
		return !t.votes(r.a, t.to) && r.a != node || !t.votes(r.b, t.to) && r.b != node
	})); voters <= (t.voters(t.to)-1)/2 {
		return false
	}
	return !slices.ContainsFunc(t.others(node), func(other string) bool { return len(of(all, other)) >= n })
}

// tellRefused tells of a node that is not as the others know it.
func (t *teller) tellRefused(node string, certainty Certainty, turned []refusal) {
	s := Story{Kind: Refused, Culprits: []string{node}, Certainty: certainty}
	var by []string
	var evidence []int
	for _, r := range turned {
		other := r.a
		if other == node {
			other = r.b
		}
		by = append(by, other)
		evidence = append(evidence, r.events...)
	}
	slices.Sort(by)
	if certainty == Certain {
		s.say("%s was turned down by others and ended itself: its data directory is not the one they know.", node)
		evidence = append(evidence, t.all(t.from, t.to, func(e *event) bool { return e.node == node && e.Why == recorder.Fenced }, recorder.Failed)...)
	} else {
		s.say("%s and the others (%s) turn each other down: its data directory, cluster or version, or what answers at its address, is not the one they know.", node, list(by))
	}
	t.tellRemedy(s, evidence)
}

// tellRefusal tells of two nodes that do not take each other, where nothing says which of
// them is not as it was.
func (t *teller) tellRefusal(r *refusal) {
	s := Story{Kind: Refused, Certainty: Unknown}
	s.say("%s and %s do not take each other: the data directory, cluster or version of one, or what answers at its address, is not the one that the other knows. Of which one is not known.", r.a, r.b)
	t.tellRemedy(s, r.events)
}

// tellRemedy ends a story about hellos that were turned down.
func (t *teller) tellRemedy(s Story, evidence []int) {
	s.say("Their logs say which, and docs/operations.md (\"A directory that was put back or copied\") says what to do.")
	from, to := int64(unbound), int64(-unbound)
	for _, i := range evidence {
		from, to = min(from, t.events[i].at), max(to, t.events[i].at)
	}
	t.tell(s, from, to, evidence...)
}
