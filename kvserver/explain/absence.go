package explain

import (
	"fmt"
	"slices"

	"raftkv/kvserver/recorder"
)

// whyAway says why a node was away.
type whyAway int

const (
	notAway   whyAway = iota
	failed            // it ended itself
	ended             // its process ended without order
	leftOrder         // its process was told to end, and did
	halted            // its process did not run, and went on later
	mute              // its machine answers and its process does not
	cutOff            // it and others cannot reach each other
	unseen            // nobody listened at its address, and it was not seen before
)

// absence is what is known of a node that was away.
type absence struct {
	node      string
	why       whyAway
	certainty Certainty
	from, to  int64 // to: when it was back; 0 if it was not
	halt      int64 // how long it did not run
	signal    bool  // a signal stopped it
	reason    recorder.Why
	evidence  []int
}

// witness is the time within which evidence about an absence is looked for: before its
// first sign, and after it.
const (
	witnessBefore = 300 * millisecond
	witnessAfter  = 20 * second
	// longHalt is how late a loop must be for its process to count as one that did not
	// run.
	longHalt = 250 * millisecond
	// lastAge is how old the last event of a node that runs can be: each records one in a
	// minute.
	lastAge = 2 * minute
	// longStart is how much later than the others a node may begin without a word.
	longStart = 10 * second
)

// absent returns why a node was away at a time, as far as its own events and those of
// the others say. What its own events say goes first, and only those of the process
// that ran at that time count. A node whose own events show that it ran meanwhile has
// not ended.
func (t *teller) absent(node string, at int64) absence { return t.absentFor(node, at, longHalt) }

// absentFor is absent for a node that was not heard for a while from that time on. That it
// did not run explains this only if it did not run for half of that while.
func (t *teller) absentFor(node string, at, while int64) absence {
	a := absence{node: node, from: at}
	began := t.returned(node, at)
	until := at + witnessAfter
	if began >= 0 {
		a.to = t.events[began].at
		until = min(until, a.to)
	}
	process := t.processAt(node, at)
	own := func(before int64, kinds ...recorder.Kind) int {
		return t.last(at-before, min(at+second, until), func(e *event) bool {
			return e.process == process
		}, kinds...)
	}
	if i := own(2*second, recorder.Failed); i >= 0 {
		a.why, a.certainty, a.reason, a.evidence = failed, Certain, t.events[i].Why, []int{i}
		return a
	}
	if i := own(10*second, recorder.EndAsked, recorder.EndedInOrder); i >= 0 {
		a.why, a.certainty, a.evidence = leftOrder, Certain, []int{i}
		return a
	}
	if i := t.halt(node, at, while); i >= 0 {
		return t.haltedBy(a, i)
	}
	return t.seenAway(a, began, until)
}

// returned returns the position of the event that shows first that a later process of a
// node was there after a time: its own start, or a connection of a boot that was not
// known before. -1: there is none.
func (t *teller) returned(node string, at int64) int {
	known, from := t.bootAt(node, at), at-witnessBefore
	low, _ := t.index.positions(from, unbound)
	candidates := t.index.boots[node]
	first, _ := slices.BinarySearch(candidates, low)
	for _, i := range candidates[first:] {
		e := &t.events[i]
		switch {
		case e.at < from:
		case e.Kind == recorder.Started && (int64(t.processes[e.process].boot) > known || e.B == 1 && e.at >= at),
			e.Kind != recorder.Started && known != 0 && e.A > known:
			return i
		}
	}
	return -1
}

// bootAt returns the latest boot of a node that others were connected with up to a time;
// 0 if they do not say.
func (t *teller) bootAt(node string, at int64) int64 {
	i := t.last(-unbound, at, func(e *event) bool { return e.peer == node }, recorder.Connected, recorder.Accepted)
	if i < 0 {
		return 0
	}
	return t.events[i].A
}

// processAt returns the process of a node that ran at a time; -1 if its events are not
// known.
func (t *teller) processAt(node string, at int64) int {
	found := -1
	for i := range t.processes {
		if p := &t.processes[i]; p.node == node && t.events[p.events[0]].at <= at {
			found = i
		}
	}
	return found
}

// halt returns the position of the event that says that a node did not run from about a
// time on, for half of a while at least. A turn that was late before says nothing.
func (t *teller) halt(node string, at, while int64) int {
	return t.find(at+max(while, longHalt)/2, unbound, func(e *event) bool {
		return e.node == node && e.A >= longHalt && e.at-e.A <= at+witnessBefore
	}, recorder.LoopLate)
}

// knows reports whether the events of a node are known of a time.
func (t *teller) knows(node string, at int64) bool {
	return t.processAt(node, at) >= 0 && t.lastOf(node, at-lastAge) >= 0
}

// lastOf returns the position of the last event of a node, from a time on; -1 if there is
// none.
func (t *teller) lastOf(node string, from int64) int {
	return t.last(from, unbound, func(e *event) bool { return e.node == node })
}

// haltedBy completes an absence of a process that did not run and says so.
func (t *teller) haltedBy(a absence, late int) absence {
	e := &t.events[late]
	a.why, a.certainty, a.halt, a.from, a.to = halted, Certain, e.A, e.at-e.A, e.at
	a.evidence = []int{late}
	signal := t.find(e.at-second, e.at+2*second, func(o *event) bool { return o.process == e.process && o.Kind == recorder.Continued })
	if signal >= 0 {
		a.signal = true
		a.evidence = append(a.evidence, signal)
	}
	return a
}

// seenAway completes an absence by what the others saw, and by the next boot.
func (t *teller) seenAway(a absence, began int, until int64) absence {
	about := func(kind recorder.Kind, whys ...recorder.Why) []int {
		return t.all(a.from-witnessBefore, until, func(e *event) bool {
			return e.peer == a.node && slices.Contains(whys, e.Why)
		}, kind)
	}
	closed := about(recorder.Ended, recorder.ClosedByPeer, recorder.Reset)
	refused := about(recorder.Unreachable, recorder.NobodyListens)
	silent := about(recorder.Unreachable, recorder.NoHello)
	lost := append(about(recorder.Unreachable, recorder.NoAnswer, recorder.NoRoute), about(recorder.Ended, recorder.HostSilent, recorder.CallTimeout, recorder.Stalled)...)
	ran := t.ranOn(a.node, a.from)
	before := t.processAt(a.node, a.from)
	if began >= 0 && t.events[began].process == before {
		before = -1 // clocks are not so exact: it has only begun
	}
	if before < 0 && t.bootAt(a.node, a.from) == 0 {
		if n := len(refused); n > 0 && len(closed) == 0 && t.events[refused[n-1]].at-a.from >= longStart {
			a.why, a.certainty, a.evidence = unseen, Likely, refused
		}
		if len(closed) == 0 {
			return a // it may only have begun later than the others
		}
	}
	switch {
	case began >= 0 && t.events[began].Kind == recorder.Started && t.events[began].A == 0 && !ran && (len(closed) > 0 || len(refused) > 0):
		a.why, a.certainty, a.evidence = ended, Certain, append(append(closed, refused...), began)
	case began >= 0 && t.events[began].Kind == recorder.Started && t.events[began].A == 1 && !ran:
		a.why, a.certainty, a.evidence = leftOrder, Certain, append(closed, began)
	case len(closed) > 0 && len(refused) > 0 && !ran:
		// A firewall that resets connections looks the same, while the process runs. It does
		// not close them: only the end of the process does. A later process shows that this
		// one ended, and so does its recording, which would go on.
		a.why, a.certainty, a.evidence = ended, Likely, append(closed, refused...)
		switch own := t.lastOf(a.node, a.from-lastAge); {
		case began >= 0:
			a.certainty, a.evidence = Certain, append(a.evidence, began)
		case own >= 0 && before >= 0:
			a.certainty, a.evidence = Certain, append(a.evidence, own)
		case slices.ContainsFunc(closed, func(i int) bool { return t.events[i].Why == recorder.ClosedByPeer }):
			a.certainty = Certain
		}
	case len(refused) > 0 && !ran:
		a.why, a.certainty, a.evidence = ended, Likely, refused
	case len(silent) > 0:
		a.why, a.certainty, a.evidence = mute, Likely, silent
	case len(lost) > 0:
		a.why, a.certainty, a.reason, a.evidence = cutOff, Likely, t.events[lost[0]].Why, lost
	case t.outbound(closed) && !ran && !t.hasRing(a.node, a.from):
		a.why, a.certainty, a.evidence = ended, Likely, closed
	}
	return a
}

// outbound reports whether a connection that a node had made itself is among those that
// ended. The end of a process ends those in both directions; behind a cut that has healed,
// only the old ones that had come in end by a word of the other side.
func (t *teller) outbound(ended []int) bool {
	return slices.ContainsFunc(ended, func(i int) bool { return t.events[i].B == 0 })
}

// again reports whether a connection followed one that had ended since a time, by the same
// observer.
func (t *teller) again(e *event, since int64) bool {
	return t.find(since, e.at, func(o *event) bool {
		return o.process == e.process && o.peer == e.peer && o.Seq < e.Seq
	}, recorder.Ended) >= 0
}

// ranOn reports whether the process of a node that ran at a time went on to run for more
// than a moment: by its own events, or because others were connected with the same boot
// again.
func (t *teller) ranOn(node string, at int64) bool {
	if i := t.processAt(node, at); i >= 0 {
		p := &t.processes[i]
		if t.events[p.events[len(p.events)-1]].at > at+witnessBefore {
			return true
		}
	}
	known, to := t.bootAt(node, at), int64(unbound)
	if i := t.find(at, unbound, func(e *event) bool { return e.node == node && e.B == 1 }, recorder.Started); i >= 0 {
		to = t.events[i].at // behind it boots are those of another directory
	}
	return t.find(at, to, func(e *event) bool {
		return e.peer == node && known != 0 && e.A == known && (e.at >= at+millisecond || t.again(e, at))
	}, recorder.Connected, recorder.Accepted) >= 0
}

// failures say why a process ended itself.
var failures = map[recorder.Why]string{
	recorder.NoSpace: "there was no space left on its disk", recorder.DiskError: "its disk reported an error",
	recorder.Diverged: "its history contradicts that of the others", recorder.Fenced: "the others refuse its data directory",
}

// sentence says why a node was away.
func (a *absence) sentence() string {
	switch a.why {
	case failed:
		if text, known := failures[a.reason]; known {
			return fmt.Sprintf("%s ended itself: %s", a.node, text)
		}
		return fmt.Sprintf("%s ended itself; its log says why", a.node)
	case ended:
		return fmt.Sprintf("%s's process ended: its connections were closed", a.node)
	case leftOrder:
		return fmt.Sprintf("%s was told to stop, and ended in order", a.node)
	case halted:
		if a.signal {
			return fmt.Sprintf("%s was stopped for %s, by a signal (such as SIGSTOP)", a.node, duration(a.halt))
		}
		return fmt.Sprintf("%s did not run for %s: it was paused or starved", a.node, duration(a.halt))
	case unseen:
		return fmt.Sprintf("%s was not there: nobody listened at its address", a.node)
	case mute:
		return fmt.Sprintf("%s stopped answering, its connections stayed: its machine answers and its process does not; it is paused or starved", a.node)
	case cutOff:
		return fmt.Sprintf("%s and the others could not reach each other", a.node)
	}
	return fmt.Sprintf("why %s was away is not known", a.node)
}
