package explain

import (
	"cmp"
	"fmt"
	"slices"

	"raftkv/kvserver/recorder"
)

// spell is a time in which events of one sort came from one node, or about one, with no
// long pause between them.
type spell struct {
	node     string
	from, to int64
	most     int64 // the largest A
	usual    int64 // the smallest B that is not 0
	count    int   // of events, those that an event stands for included
	events   []int
}

// calm is the pause after which a new spell begins.
const calm = 15 * second

// spells returns the spells of events of a kind, by the node that of returns.
func (t *teller) spells(kind recorder.Kind, of func(e *event) string) (all []spell) {
	current := map[string]int{}
	for i := range t.events {
		e := &t.events[i]
		if e.Kind != kind || e.at < t.from || e.at > t.to {
			continue
		}
		node := of(e)
		n, open := current[node]
		if !open || e.at-all[n].to > calm {
			n = len(all)
			current[node] = n
			all = append(all, spell{node: node, from: e.at, to: e.at})
		}
		s := &all[n]
		s.to = max(s.to, e.at)
		s.most = max(s.most, e.A)
		if e.B > 0 && (s.usual == 0 || e.B < s.usual) {
			s.usual = e.B
		}
		s.count += max(int(e.Count), 1)
		s.events = append(s.events, i)
	}
	return all
}

func recordedBy(e *event) string { return e.node }

// overlap reports whether two spells were at one time.
func (s *spell) overlap(o *spell) bool { return s.from <= o.to+second && o.from <= s.to+second }

// A disk has a slow write now and then. It is a story if there were some, of which one
// was so slow that somebody may have felt it.
const (
	hiccups  = 3
	feltSave = 20 * millisecond
)

// sure reports whether it is certain that a disk was slow. The time of a write is also
// that of the processor which notes its end, so it must be long, and no turn of the loop
// may have been late around it.
func (t *teller) sure(d *spell) bool {
	return d.most >= 100*millisecond && t.find(d.from-calm, d.to+calm, func(e *event) bool { return e.node == d.node }, recorder.LoopLate) < 0
}

// blamed reports whether a node's disk is to be blamed for slow writes. Where its loop
// came late at the same time, by about as much, its processor was busy, and the time of
// a write says nothing about the disk.
func (t *teller) blamed(d *spell) bool {
	late := int64(0)
	for _, i := range t.all(d.from-second, d.to+second, func(e *event) bool { return e.node == d.node }, recorder.LoopLate) {
		late = max(late, t.events[i].A)
	}
	return late < d.most/3
}

// slowDisks tells of disks whose writes took far longer than usual, all at one time
// together. Writes waited for them if a majority of disks was slow, or commits were.
func (t *teller) slowDisks() {
	disks := slices.DeleteFunc(t.spells(recorder.SlowSave, recordedBy), func(s spell) bool {
		return s.count < hiccups || s.most < feltSave || !t.blamed(&s)
	})
	for len(disks) > 0 {
		var together []spell
		together, disks = withFirst(disks)
		t.tellSlowDisks(together)
	}
}

// withFirst splits spells into those that were at the time of the first, and the rest.
func withFirst(spells []spell) (together, rest []spell) {
	together = spells[:1:1]
	for _, s := range spells[1:] {
		if s.overlap(&together[0]) {
			together = append(together, s)
		} else {
			rest = append(rest, s)
		}
	}
	return together, rest
}

func (t *teller) tellSlowDisks(disks []spell) {
	s := Story{Kind: SlowDisks, Certainty: Certain}
	from, to := disks[0].from, disks[0].to
	var evidence []int
	for i := range disks {
		d := &disks[i]
		from, to = min(from, d.from-d.most), max(to, d.to)
		s.Culprits = append(s.Culprits, d.node)
		evidence = append(evidence, d.events...)
		if !t.sure(d) {
			s.Certainty = Likely
		}
	}
	slices.Sort(s.Culprits)
	s.Culprits = slices.Compact(s.Culprits)
	least := slices.MinFunc(disks, func(a, b spell) int { return cmp.Compare(a.most, b.most) })
	commits := t.all(from, to+second, func(e *event) bool { return e.Kind == recorder.SlowCommit })
	slow := t.voting(s.Culprits, from)
	majority := len(slow) > t.voters(from)/2
	switch {
	case majority && len(commits) > 0:
		s.say("Writes were slow: a majority's disks took %s or more%s.", duration(least.most), t.usually(&least))
	case majority:
		s.say("A majority's disks took %s or more%s.", duration(least.most), t.usually(&least))
	}
	for i := range disks {
		d := &disks[i]
		s.say("%s's disk took up to %s for a write%s.", d.node, duration(d.most), t.usually(d))
	}
	for _, i := range commits {
		s.Effect.SlowestCommit = max(s.Effect.SlowestCommit, t.events[i].A)
	}
	evidence = append(evidence, commits...)
	switch {
	case len(commits) > 0 && majority:
		s.say("The slowest commit took %s.", duration(s.Effect.SlowestCommit))
	case len(commits) > 0:
		s.say("Commits took up to %s meanwhile.", duration(s.Effect.SlowestCommit))
	case !majority && t.majorityWasQuick(from, slow):
		s.say("Writes did not wait for it: the other disks are a majority.")
	}
	t.steady(&s, from, to)
	t.tell(s, from, to, evidence...)
}

// majorityWasQuick reports whether the events of a majority are known from a time on, and none of
// these disks was slow.
func (t *teller) majorityWasQuick(from int64, slow []string) bool {
	quick := 0
	for _, node := range t.voting(t.nodes, from) {
		if !slices.Contains(slow, node) && t.knows(node, from) && t.hasRing(node, from) {
			quick++
		}
	}
	return quick > t.voters(from)/2
}

// usually says what was usual, if that is known.
func (t *teller) usually(s *spell) string {
	if s.usual == 0 {
		return ""
	}
	return " (usually " + duration(s.usual) + ")"
}

// steady says that leadership did not change, if it did not.
func (t *teller) steady(s *Story, from, to int64) {
	if !slices.ContainsFunc(t.reigns, func(r reign) bool {
		at := t.events[r.begin].at
		return at >= from && at <= to+second
	}) {
		s.say("Leadership did not change.")
	}
}

// lagging tells of followers that lacked many entries, and what is known of why.
func (t *teller) lagging() {
	for _, l := range t.spells(recorder.Lags, func(e *event) string { return e.peer }) {
		if t.toldAway(l.node, l.from) {
			continue // the lag is what follows from that
		}
		s := Story{Kind: Lagging, Certainty: Unknown}
		evidence := slices.Clone(l.events)
		a := t.absent(l.node, l.from)
		slow := t.find(l.from-minute, l.to, func(e *event) bool { return e.node == l.node && e.Kind == recorder.SlowSave })
		why := "why is not known"
		switch {
		case a.why == halted || a.why == mute:
			why, s.Certainty = "it was stopped", a.certainty
		case a.why == ended || a.why == failed || a.why == leftOrder:
			why, s.Certainty = "its process was not there", a.certainty
		case slow >= 0:
			why, s.Certainty = "its disk was slow", Likely
			evidence = append(evidence, slow)
		case a.why == cutOff:
			why, s.Certainty = "its link", Likely
		}
		if s.Certainty != Unknown {
			s.Culprits = []string{l.node}
		}
		evidence = append(evidence, a.evidence...)
		s.say("%s lagged by up to %s entries: %s.", l.node, count(uint64(l.most)), why)
		t.tellUnhurt(s, l.from, l.to, evidence)
	}
}

// manyRefused requests that were refused are an overload. A few are what a single client
// can cause that opens too much at once.
const manyRefused = 10

// overload tells of requests that were refused because there were too many. Where there was
// no leader, or its disk hung, they only piled up behind that.
func (t *teller) overload() {
	for _, r := range t.spells(recorder.Refused, recordedBy) {
		s := Story{Kind: Overload, Culprits: []string{r.node}, Certainty: Certain}
		served := int64(0)
		for _, i := range r.events {
			s.Effect.Refused += max(t.events[i].A, 0)
			if t.events[i].A == r.most {
				served = t.events[i].B
			}
		}
		if s.Effect.Refused < manyRefused {
			continue
		}
		s.say("%s requests were refused (429), up to %s of %s in a second.", count(uint64(s.Effect.Refused)), count(uint64(r.most)), count(uint64(r.most+served)))
		stuck := t.stuck(r.from-2*second, r.to)
		switch {
		case stuck != "":
			s.Culprits, s.Certainty = nil, Unknown
			s.say("They piled up while %s.", stuck)
		case t.find(r.from-second, r.to, func(e *event) bool { return e.Kind == recorder.SlowSave || e.Kind == recorder.LoopLate }) < 0:
			s.say("It was more than %s could serve; disks and processors were as usual.", r.node)
		default:
			s.say("It was more than %s could serve.", r.node)
		}
		t.steady(&s, r.from, r.to)
		t.tell(s, r.from-second, r.to, r.events...)
	}
}

// stuck says what kept requests from being served for some of a time, "" if nothing did.
func (t *teller) stuck(from, to int64) string {
	hung := t.find(from, to, func(*event) bool { return true }, recorder.DiskHangs)
	if hung < 0 { // one that hung before, and has not come back
		hung = t.last(-unbound, from, func(*event) bool { return true }, recorder.DiskHangs)
		if hung >= 0 && t.find(t.events[hung].at, from, func(e *event) bool { return e.node == t.events[hung].node }, recorder.DiskBack, recorder.Started) >= 0 {
			hung = -1
		}
	}
	if hung >= 0 {
		return t.events[hung].node + "'s disk hung"
	}
	since := t.withoutLeader()
	lost := since != 0 && to >= since ||
		t.find(from, to, func(*event) bool { return true }, recorder.SteppedDown) >= 0 ||
		slices.ContainsFunc(t.reigns, func(r reign) bool { return t.events[r.begin].at >= from && t.events[r.begin].at <= to }) ||
		slices.ContainsFunc(t.stories, func(s Story) bool {
			return s.Kind == MajorityGone && s.From*millisecond <= to && s.To*millisecond >= from
		})
	if lost {
		return "there was no leader"
	}
	return ""
}

// manyLate late turns make a busy processor a story, if one of them was long enough to be
// felt, and one very late turn.
const (
	manyLate = 3
	feltTurn = 50 * millisecond
)

// starved tells of nodes whose loops came late again and again, all at one time
// together. A single long time is that of a process that did not run, and told
// elsewhere.
func (t *teller) starved() {
	var late []spell
	for _, l := range t.spells(recorder.LoopLate, recordedBy) {
		l.most, l.count = 0, 0
		l.events = slices.DeleteFunc(l.events, func(i int) bool {
			e := &t.events[i]
			return e.A >= second || t.isTold(l.node, e.at, halted)
		})
		for _, i := range l.events {
			l.most, l.count = max(l.most, t.events[i].A), l.count+max(int(t.events[i].Count), 1)
		}
		if l.most >= 100*millisecond || l.count >= manyLate && l.most >= feltTurn {
			late = append(late, l)
		}
	}
	for len(late) > 0 {
		var together []spell
		together, late = withFirst(late)
		t.tellStarved(together)
	}
}

func (t *teller) tellStarved(late []spell) {
	s := Story{Kind: Starved, Certainty: Likely}
	from, to := late[0].from, late[0].to
	var evidence []int
	text := ""
	for i := range late {
		l := &late[i]
		from, to = min(from, l.from), max(to, l.to)
		s.Culprits = append(s.Culprits, l.node)
		evidence = append(evidence, l.events...)
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s's turns came up to %s late (%d %s)", l.node, duration(l.most), l.count, plural(l.count, "time", "times"))
	}
	s.say("%s: %s busy, or the machine was.", text, plural(len(late), "its processor was", "their processors were"))
	t.tellUnhurt(s, from, to, evidence)
}

// collector tells of long pauses of Go's collector.
func (t *teller) collector() {
	for _, p := range t.spells(recorder.CollectorPause, recordedBy) {
		s := Story{Kind: CollectorPauses, Culprits: []string{p.node}, Certainty: Certain}
		s.say("Collections stopped %s for up to %s.", p.node, duration(p.most))
		t.tellUnhurt(s, p.from, p.to, p.events)
	}
}
