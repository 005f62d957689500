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

// runs cuts positions of events into those between which there is no long pause.
func (t *teller) runs(events []int) (all [][]int) {
	for n, i := range events {
		if n == 0 || t.events[i].at-t.events[events[n-1]].at > calm {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], i)
	}
	return all
}

// pairs tells of two nodes that could not reach each other while a third saw both.
func (t *teller) pairs() {
	for _, l := range t.links() {
		for _, lost := range t.runs(t.all(t.from, t.to, func(e *event) bool {
			return e.peer != "" && linkOf(e) == l && e.Kind == recorder.Unreachable && (e.Why == recorder.NoAnswer || e.Why == recorder.NoRoute)
		})) {
			t.tellPair(l, lost)
		}
	}
}

func (t *teller) tellPair(l link, lost []int) {
	from, to := t.events[lost[0]].at, t.events[lost[len(lost)-1]].at
	var between []string
	certainty := Likely
	for _, node := range t.others(l.a) {
		if node == l.b || t.missed(node, l.a, from, to) || t.missed(node, l.b, from, to) || !t.hasRing(node, from-minute) {
			continue
		}
		between = append(between, node)
		// Otherwise nothing happened there, or it is not known what; or one of the two may
		// not be there at all, and the third has not noticed.
		if t.hasRing(node, from) && t.there(l.a, node, from, to) && t.there(l.b, node, from, to) {
			certainty = Certain
		}
	}
	if len(between) == 0 || t.isTold(l.a, from, cutOff) || t.isTold(l.b, from, cutOff) {
		return
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

// there reports whether a node ran at a time: it recorded something, or asked a third for
// its vote.
func (t *teller) there(node, third string, from, to int64) bool {
	return t.hasRing(node, from) || t.find(from-second, to+second, func(e *event) bool {
		return e.node == third && e.peer == node
	}, recorder.PreVoteRefused, recorder.VoteRefused, recorder.PreVoteGranted, recorder.VoteGranted) >= 0
}

// cutOffs tells of followers that could reach none of the others, nor they it, though their
// processes ran.
func (t *teller) cutOffs() {
	if len(t.nodes) < 3 {
		return // which of two is cut off is not known
	}
	for _, node := range t.nodes {
		for _, lost := range t.runs(t.all(t.from, t.to, func(e *event) bool {
			return (e.node == node || e.peer == node) && (e.Kind == recorder.Unreachable && (e.Why == recorder.NoAnswer || e.Why == recorder.NoRoute))
		})) {
			t.tellCutOff(node, lost)
		}
	}
}

func (t *teller) tellCutOff(node string, lost []int) {
	by := map[string]bool{}
	for _, i := range lost {
		by[t.events[i].node], by[t.events[i].peer] = true, true
	}
	from, to := t.events[lost[0]].at, t.events[lost[len(lost)-1]].at
	if slices.ContainsFunc(t.members(from), func(member string) bool { return !by[member] }) {
		return
	}
	if t.toldCut(node, from, to) {
		return
	}
	for _, i := range t.all(from-10*second, from, func(e *event) bool {
		return (e.node == node || e.peer == node) && (e.Why == recorder.CallTimeout || e.Why == recorder.HostSilent || e.Why == recorder.Stalled)
	}, recorder.Ended) {
		from = min(from, t.events[i].at)
		lost = append(lost, i)
	}
	t.away = append(t.away, absence{node: node, why: cutOff, from: from, to: to})
	s := Story{Kind: NodeCutOff, Culprits: []string{node}, Certainty: Likely}
	s.say("%s and the others could not reach each other.", node)
	t.tellUnhurt(s, from, to, lost)
}

// toldCut reports whether a story has told of a leader that was cut off, or of a node that
// was away, at a time, so that what a node could not reach says nothing new.
func (t *teller) toldCut(node string, from, to int64) bool {
	away := slices.ContainsFunc(t.away, func(a absence) bool {
		return a.node == node && from >= a.from-second && (a.to == 0 || from <= a.to+2*second)
	})
	return away || slices.ContainsFunc(t.stories, func(s Story) bool {
		near := s.From*millisecond <= to && s.To*millisecond >= from-10*second
		return near && s.Kind == LeaderCutOff && (len(s.Culprits) == 0 || slices.Contains(s.Culprits, node))
	})
}

// missed reports whether one of two nodes could not reach the other at a time, or had lost
// it before and not reached it again.
func (t *teller) missed(a, b string, from, to int64) bool {
	l := link{min(a, b), max(a, b)}
	return t.down(a, b, from) || t.down(b, a, from) || t.find(from-second, to+second, func(e *event) bool {
		return e.peer != "" && linkOf(e) == l && (e.Kind == recorder.Unreachable || e.Kind == recorder.Ended)
	}) >= 0
}

// down reports whether a node had no connection of its own to another one at a time, as far
// as it recorded.
func (t *teller) down(node, peer string, at int64) bool {
	latest, down := int64(-unbound), false
	t.each(-unbound, at, true, []recorder.Kind{recorder.Connected, recorder.Ended, recorder.Unreachable}, func(i int) bool {
		e := &t.events[i]
		if e.node == node && e.peer == peer && (e.Kind != recorder.Ended || e.B == 0) && e.at > latest {
			latest, down = e.at, e.Kind != recorder.Connected
		}
		return e.at >= latest-2*second // one that stands for several may stand a little later
	})
	return down
}

// manyBreaks is how often a connection must break within the span to be called flapping.
const manyBreaks = 5

// flapping tells of connections that broke again and again. Both ends record the end of
// both connections of a pair, so the number is that of the end which recorded most. The end of
// a process is none of these breaks. Where all such connections are of one node, it is likely
// that it or its link is why; otherwise the two of a connection are named, not which of them.
func (t *teller) flapping() {
	breaks := map[link][]int{}
	var links []link
	for _, l := range t.links() {
		of := t.all(t.from, t.to, func(e *event) bool {
			return e.peer != "" && linkOf(e) == l && e.B == 0 && e.Why != recorder.ByUs && e.Why != recorder.Replaced && !t.cameAnew(e)
		}, recorder.Ended)
		if mostOf(t, l, of) >= manyBreaks {
			breaks[l], links = of, append(links, l)
		}
	}
	for _, l := range links {
		s := Story{Kind: Flapping, Culprits: []string{l.a, l.b}, Certainty: Certain}
		if common := commonEnd(links); common != "" {
			s.Culprits, s.Certainty = []string{common}, Likely
		}
		t.tellFlapping(s, l, breaks[l])
	}
}

// mostOf returns how many of the breaks of a pair the end recorded that recorded most.
func mostOf(t *teller, l link, breaks []int) int {
	by := map[string]int{}
	for _, i := range breaks {
		by[t.events[i].node]++
	}
	return max(by[l.a], by[l.b])
}

// commonEnd returns the node that has a part in all of some pairs, "" if there is none, or
// only one pair.
func commonEnd(links []link) string {
	if len(links) < 2 {
		return ""
	}
	for _, node := range []string{links[0].a, links[0].b} {
		if !slices.ContainsFunc(links, func(l link) bool { return l.a != node && l.b != node }) {
			return node
		}
	}
	return ""
}

// cameAnew reports whether the peer of a connection that ended came back as another process.
func (t *teller) cameAnew(e *event) bool {
	next := t.find(e.at, unbound, func(o *event) bool { return o.process == e.process && o.peer == e.peer && o.Seq > e.Seq }, recorder.Connected, recorder.Accepted)
	known := t.bootAt(e.peer, e.at)
	return next >= 0 && known != 0 && t.events[next].A > known
}

func (t *teller) tellFlapping(s Story, l link, breaks []int) {
	from, to := t.events[breaks[0]].at, t.events[breaks[len(breaks)-1]].at
	s.say("The connection %s–%s broke %d times in %s.", l.a, l.b, mostOf(t, l, breaks), duration(to-from))
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
	covered := t.covered()
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
	covered = t.voting(covered, t.to)
	if voters := t.voters(t.to); len(covered) <= voters/2 {
		s.Certainty = Unknown
		s.Sentences = nil
		s.say("Nothing is recorded, and too little to say that nothing happened: of %d voters, the events of %s are known for all of this time.", voters, list(covered))
		s.say("%s leads term %d.", r.leader, r.term)
	}
	t.tell(s, t.from, t.to, evidence...)
}

// covered returns the nodes whose events are known for all of the span, as far as it is
// past.
func (t *teller) covered() (nodes []string) {
	end := min(t.to, t.end())
	for _, node := range t.nodes {
		first := t.find(-unbound, unbound, func(e *event) bool { return e.node == node })
		if first < 0 || t.events[first].at > t.from+minute && t.events[first].Seq > 1 {
			continue
		}
		if t.lastOf(node, end-lastAge) >= 0 {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
