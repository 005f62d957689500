package explain

import (
	"cmp"
	"slices"

	"raftkv/kvserver/recorder"
)

// A node that does not vote counts in no majority. Which nodes vote stands in the events of their
// places; where there are none, as in recordings of before, only the number of voters is known.

// maxVoters is more than the nodes that a recording can name.
const maxVoters = 255

// placeAt returns the place of a node at a time, by the newest configuration that any node went by
// then; the first that is known, where there was none. known: there is an event of it.
func (t *teller) placeAt(node string, at int64) (place int64, known bool) {
	of := func(e *event) bool { return e.peer == node }
	newest := -1
	for _, i := range t.all(-unbound, at, of, recorder.Placed) {
		if newest < 0 || t.events[i].Index >= t.events[newest].Index {
			newest = i
		}
	}
	if newest < 0 {
		newest = t.find(at, unbound, of, recorder.Placed)
	}
	if newest < 0 {
		return recorder.NoPlace, false
	}
	return t.events[newest].A, true
}

// votes reports whether a node votes at a time. One of which nothing is known does, unless the
// places of others are known.
func (t *teller) votes(node string, at int64) bool {
	place, known := t.placeAt(node, at)
	if !known {
		return !t.knowsPlaces()
	}
	return voting(place)
}

func voting(place int64) bool { return place != recorder.NoPlace && place != recorder.LearnerPlace }

func (t *teller) knowsPlaces() bool { return len(t.index.byKind[recorder.Placed]) > 0 }

// members returns the nodes that are members at a time, whether they vote or not.
func (t *teller) members(at int64) []string {
	return slices.DeleteFunc(slices.Clone(t.nodes), func(node string) bool {
		place, known := t.placeAt(node, at)
		return known && place == recorder.NoPlace
	})
}

// voting returns those of some nodes that vote at a time.
func (t *teller) voting(nodes []string, at int64) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return !t.votes(node, at) })
}

// voters returns how many nodes vote at a time: those whose places say so, or as many as the
// leader of that time says, or as there are names.
func (t *teller) voters(at int64) int {
	if t.knowsPlaces() {
		return len(t.voting(t.nodes, at))
	}
	counted := func(e *event) bool { return e.B > 0 && e.B <= maxVoters }
	i := t.last(-unbound, at, counted, recorder.Elected)
	if i < 0 {
		i = t.find(at, unbound, counted, recorder.Elected)
	}
	if i < 0 {
		return max(len(t.nodes), t.names)
	}
	return int(t.events[i].B)
}

// placed tells of members that came, that vote from some moment on, and that went. A
// configuration that a server begins with says nothing new.
func (t *teller) placed() {
	type step struct {
		index uint64
		event int
	}
	first := ^uint64(0)
	steps := map[string][]step{}
	for _, i := range t.all(-unbound, unbound, func(*event) bool { return true }, recorder.Placed) {
		e := &t.events[i]
		first = min(first, e.Index)
		steps[e.peer] = append(steps[e.peer], step{e.Index, i})
	}
	for _, node := range t.nodes {
		of := steps[node]
		slices.SortStableFunc(of, func(a, b step) int { return cmp.Compare(a.index, b.index) })
		before, known := recorder.NoPlace, false
		for n, s := range of {
			e := &t.events[s.event]
			if n > 0 && of[n-1].index == s.index {
				continue // another node, or another process, says the same
			}
			if (known || s.index > first) && e.at >= t.from && e.at <= t.to {
				t.tellPlaced(node, before, e.A, s.event)
			}
			before, known = e.A, true
		}
	}
}

func (t *teller) tellPlaced(node string, before, place int64, i int) {
	s := Story{Kind: MembersChanged, Certainty: Certain}
	switch was, is := voting(before), voting(place); {
	case !was && is:
		s.say("%s votes from configuration %d on.", node, t.events[i].Index)
	case place == recorder.NoPlace && before != recorder.NoPlace:
		s.say("%s was removed from the cluster by configuration %d.", node, t.events[i].Index)
	case was && !is:
		s.say("%s does not vote any more from configuration %d on; it is sent the log.", node, t.events[i].Index)
	case before == recorder.NoPlace && place != recorder.NoPlace:
		s.say("%s was added by configuration %d; it is sent the log and does not vote.", node, t.events[i].Index)
	default:
		return
	}
	t.tell(s, t.events[i].at, t.events[i].at, i)
}
