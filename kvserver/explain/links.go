package explain

import (
	"fmt"
	"slices"

	"raftkv/kvserver/recorder"
)

// link is two nodes, in the order of their names.
type link struct{ a, b string }

func linkOf(e *event) link {
	if e.peer < e.node {
		return link{e.peer, e.node}
	}
	return link{e.node, e.peer}
}

// links returns all pairs of nodes.
func (t *teller) links() (all []link) {
	for i, a := range t.nodes {
		for _, b := range t.nodes[i+1:] {
			all = append(all, link{a, b})
		}
	}
	return all
}

// pairs tells of two nodes that could not reach each other while a third saw both.
func (t *teller) pairs() {
	for _, l := range t.links() {
		lost := t.all(t.from, t.to, func(e *event) bool {
			return e.peer != "" && linkOf(e) == l && e.Kind == recorder.Unreachable && (e.Why == recorder.NoAnswer || e.Why == recorder.NoRoute)
		})
		if len(lost) == 0 {
			continue
		}
		from, to := t.events[lost[0]].at, t.events[lost[len(lost)-1]].at
		var between []string
		certainty := Likely
		for _, node := range t.others(l.a) {
			if node != l.b && !t.missed(node, l.a, from, to) && !t.missed(node, l.b, from, to) && t.hasRing(node, from-minute) {
				between = append(between, node)
				if t.hasRing(node, from) { // otherwise nothing happened there, or it is not known what
					certainty = Certain
				}
			}
		}
		if len(between) == 0 || t.isTold(l.a, from, cutOff) || t.isTold(l.b, from, cutOff) {
			continue
		}
		s := Story{Kind: PairCut, Culprits: []string{l.a, l.b}, Certainty: certainty}
		s.say("%s and %s do not see each other, %s %s both.", l.a, l.b, list(between), plural(len(between), "sees", "see"))
		evidence := lost
		for _, node := range []string{l.a, l.b} {
			refused := t.all(from-second, to+second, func(e *event) bool {
				return e.peer == node && (e.Kind == recorder.PreVoteRefused || e.Kind == recorder.VoteRefused) && e.Why == recorder.HearsLeader
			})
			if len(refused) > 0 {
				s.say("%s was not elected: refused by %s, which hears its leader.", node, t.events[refused[0]].node)
				evidence = append(evidence, refused...)
			}
		}
		t.tellUnhurt(s, from, to, evidence)
	}
}

// cutOffs tells of followers that could reach none of the others, nor they it, though their
// processes ran.
func (t *teller) cutOffs() {
	if len(t.nodes) < 3 {
		return // who of two is cut off is not known
	}
	for _, node := range t.nodes {
		lost := t.all(t.from, t.to, func(e *event) bool {
			return (e.node == node || e.peer == node) && (e.Kind == recorder.Unreachable && (e.Why == recorder.NoAnswer || e.Why == recorder.NoRoute))
		})
		by := map[string]bool{}
		for _, i := range lost {
			by[t.events[i].node], by[t.events[i].peer] = true, true
		}
		if len(by) < len(t.nodes) {
			continue
		}
		from, to := t.events[lost[0]].at, t.events[lost[len(lost)-1]].at
		for _, i := range t.all(from-10*second, from, func(e *event) bool {
			return (e.node == node || e.peer == node) && (e.Why == recorder.CallTimeout || e.Why == recorder.HostSilent || e.Why == recorder.Stalled)
		}, recorder.Ended) {
			from = min(from, t.events[i].at)
			lost = append(lost, i)
		}
		if t.toldCut(node, from, to) {
			continue
		}
		s := Story{Kind: NodeCutOff, Culprits: []string{node}, Certainty: Likely}
		s.say("%s and the others could not reach each other.", node)
		t.tellUnhurt(s, from, to, lost)
	}
}

// toldCut reports whether a story has told of a leader that was cut off, or of a node that
// was away, at a time, so that what a node could not reach says nothing new.
func (t *teller) toldCut(node string, from, to int64) bool {
	return t.toldAway(node, from) || slices.ContainsFunc(t.stories, func(s Story) bool {
		near := s.From*millisecond <= to && s.To*millisecond >= from-10*second
		return near && s.Kind == LeaderCutOff && (len(s.Culprits) == 0 || slices.Contains(s.Culprits, node))
	})
}

// missed reports whether one of two nodes could not reach the other at a time.
func (t *teller) missed(a, b string, from, to int64) bool {
	l := link{min(a, b), max(a, b)}
	return t.find(from-second, to+second, func(e *event) bool {
		return e.peer != "" && linkOf(e) == l && (e.Kind == recorder.Unreachable || e.Kind == recorder.Ended)
	}) >= 0
}

// manyBreaks is how often a connection must break within the span to be called flapping.
const manyBreaks = 5

// flapping tells of connections that broke again and again. Both ends record the end of
// both connections of a pair, so the number is that of the end which recorded most.
func (t *teller) flapping() {
	for _, l := range t.links() {
		breaks := t.all(t.from, t.to, func(e *event) bool {
			return e.peer != "" && linkOf(e) == l && e.Kind == recorder.Ended && e.B == 0 && e.Why != recorder.ByUs && e.Why != recorder.Replaced
		})
		by := map[string]int{}
		for _, i := range breaks {
			by[t.events[i].node]++
		}
		most := max(by[l.a], by[l.b])
		if most < manyBreaks {
			continue
		}
		from, to := t.events[breaks[0]].at, t.events[breaks[len(breaks)-1]].at
		s := Story{Kind: Flapping, Culprits: []string{l.a, l.b}, Certainty: Certain}
		s.say("The connection %s–%s broke %d times in %s.", l.a, l.b, most, duration(to-from))
		var terms []uint64
		for _, r := range t.reigns {
			if at := t.events[r.begin].at; at >= from && at <= to+second {
				terms = append(terms, r.term)
			}
		}
		if len(terms) > 0 {
			s.say("Leadership changed %d %s meanwhile, up to term %d.", len(terms), plural(len(terms), "time", "times"), slices.Max(terms))
		} else {
			s.say("Leadership did not change.")
		}
		t.tell(s, from, to, breaks...)
	}
}

// refusals tells of nodes that were turned down because of their data directory.
func (t *teller) refusals() {
	for _, node := range t.nodes {
		turned := t.all(t.from, t.to, func(e *event) bool {
			return e.peer == node && e.Kind == recorder.Unreachable && e.Why == recorder.WeTurnDown || e.node == node && e.Kind == recorder.Unreachable && e.Why == recorder.TurnedDown
		})
		ends := t.find(t.from, t.to, func(e *event) bool { return e.node == node && e.Kind == recorder.Failed && e.Why == recorder.Fenced })
		if len(turned) == 0 && ends < 0 {
			continue
		}
		evidence := append(turned, ends)
		from := int64(unbound)
		to := int64(-unbound)
		for _, i := range evidence {
			if i >= 0 {
				from, to = min(from, t.events[i].at), max(to, t.events[i].at)
			}
		}
		s := Story{Kind: Refused, Culprits: []string{node}, Certainty: Certain}
		s.say("%s was turned down by others: its data directory, cluster or version is not the one they know.", node)
		s.say("Its log says which, and docs/operations.md (\"A directory that was put back or copied\") says what to do.")
		t.tell(s, from, to, evidence...)
	}
}

// quarantines tells of nodes that found their state to be wrong.
func (t *teller) quarantines() {
	for _, i := range t.all(t.from, t.to, func(e *event) bool { return e.Kind == recorder.Quarantined }) {
		e := &t.events[i]
		s := Story{Kind: StateDiffers, Culprits: []string{e.node}, Certainty: Certain}
		s.say("%s quarantined itself at index %d: a majority of the others agrees on another state.", e.node, e.Index)
		s.say("It serves nothing until its data directory is replaced (docs/operations.md, \"A node whose state is wrong\").")
		t.tell(s, e.at, e.at, i)
	}
}

// farOff is from how wrong a wall clock is told, apart from jumps.
const farOff = second

// clocks tells of wall clocks that jumped, and of those that are far off.
func (t *teller) clocks() {
	for _, i := range t.all(t.from, t.to, func(e *event) bool { return e.Kind == recorder.ClockJumped }) {
		e := &t.events[i]
		s := Story{Kind: ClockJumped, Culprits: []string{e.node}, Certainty: Certain}
		sign := "+"
		if e.A < 0 {
			sign = ""
		}
		s.say("%s's wall clock jumped by %s%s; nothing depends on it.", e.node, sign, duration(e.A))
		t.tell(s, e.at, e.at, i)
	}
	for i := range t.processes {
		p := &t.processes[i]
		if p.skew < farOff && p.skew > -farOff || t.events[p.events[len(p.events)-1]].at < t.from {
			continue
		}
		way, by := "ahead of", p.skew
		if by < 0 {
			way, by = "behind", -by
		}
		about := ""
		if p.width > 10*millisecond {
			about = fmt.Sprintf(" (± %s)", duration(p.width))
		}
		s := Story{Kind: ClockJumped, Culprits: []string{p.node}, Certainty: Likely}
		s.say("%s's clock is %s%s %s the others; nothing depends on it.", p.node, duration(by), about, way)
		last := p.events[len(p.events)-1]
		t.tell(s, max(t.from, t.events[p.events[0]].at), t.events[last].at, p.events[0], last)
	}
}

// stagings say what somebody did to a node.
var stagings = map[recorder.Why]string{
	recorder.StagedKill: "killed %s", recorder.StagedStop: "told %s to stop", recorder.StagedStart: "started %s", recorder.StagedPause: "stopped the process of %s",
	recorder.StagedGoOn: "let the process of %s go on", recorder.StagedCut: "cut ways between %s and others", recorder.StagedHeal: "made the ways of %s whole",
	recorder.StagedSlowDisk: "made the disk of %s slow", recorder.StagedHungDisk: "made the disk of %s hang", recorder.StagedFreeDisk: "made the disk of %s as before",
	recorder.StagedLoss: "emptied the disk of %s", recorder.StagedRejoin: "let %s come back with an empty disk",
}

// staged tells what somebody did on the stage of raftkv dev, equal deeds of a second once.
func (t *teller) staged() {
	latest := map[string]int64{}
	for _, i := range t.all(t.from, t.to, func(*event) bool { return true }, recorder.Staged) {
		e := &t.events[i]
		what, known := stagings[e.Why]
		if !known {
			continue // of a later build
		}
		s := Story{Kind: Staged, Certainty: Certain}
		node := "all nodes"
		if e.peer != "" {
			node = e.peer
			s.Culprits = []string{e.peer}
		}
		s.say("Somebody "+what+" (raftkv dev).", node)
		if at, told := latest[s.Sentences[0]]; told && e.at-at < second {
			continue
		}
		latest[s.Sentences[0]] = e.at
		t.tell(s, e.at, e.at, i)
	}
}

// contradictions reports events that are in a circle: each before the other.
func (t *teller) contradictions() {
	if len(t.disorder) == 0 {
		return
	}
	s := Story{Kind: Disorder, Certainty: Certain}
	s.say("%d events contradict each other: by the protocol each came before the other. This is a mistake of raftkv, or the recordings are of several clusters.", len(t.disorder))
	t.tell(s, t.from, t.to, t.disorder[:min(len(t.disorder), 20)]...)
}

// quiet says that nothing happened, and what was done meanwhile.
func (t *teller) quiet() {
	s := Story{Kind: Quiet, Certainty: Certain}
	if len(t.events) == 0 {
		s.Certainty = Unknown
		s.say("Nothing is known: no event was recorded in this time.")
		t.tell(s, t.from, t.to)
		return
	}
	if len(t.reigns) == 0 {
		s.Certainty = Unknown
		s.say("Nothing is recorded that shows who leads.")
		t.tell(s, t.from, t.to)
		return
	}
	r := t.reigns[len(t.reigns)-1]
	evidence := []int{r.begin}
	minutes := t.all(t.from, t.to+minute, func(e *event) bool { return e.Kind == recorder.Minute && e.node == r.leader && e.Term == r.term })
	text := fmt.Sprintf("Nothing happened: %s leads term %d", r.leader, r.term)
	if len(minutes) > 0 {
		slowest, firstIndex := int64(0), t.events[minutes[0]].Index
		for _, i := range minutes {
			slowest = max(slowest, t.events[i].A)
		}
		entries := t.events[minutes[len(minutes)-1]].Index - firstIndex
		if len(minutes) > 1 {
			text += fmt.Sprintf(", %s %s were committed", count(entries), plural(int(min(entries, 2)), "entry", "entries"))
		}
		if slowest > 0 {
			text += fmt.Sprintf(", the slowest commit took %s", duration(slowest))
		}
		evidence = append(evidence, minutes[0], minutes[len(minutes)-1])
	}
	s.say("%s.", text)
	t.tell(s, t.from, t.to, evidence...)
}
