package main

import (
	"fmt"
	"slices"

	"raftkv/raft/core"
)

// fault is one planned piece of trouble. What exactly it does is drawn from its
// own seed when it begins, so that taking others away changes nothing about it.
type fault struct {
	number int
	at     int64
	kind   *faultKind
	length int64
	seed   uint64
}

// nemesis carries out the plan of what goes wrong.
type nemesis struct {
	w        *world
	plan     []fault
	began    []int // numbers of the faults that took place
	standing []*standing
	pauses   [maxServers]int // faults that pause a server
	assassin *assassin       // waits for the next leader; nil: there is none
}

// standing is a fault that lasts.
type standing struct {
	number int
	undo   func()
	over   bool
}

func newNemesis(w *world) *nemesis {
	n := &nemesis{w: w}
	n.draw()
	return n
}

// draw makes the plan. It depends on nothing but the seed and the options.
func (n *nemesis) draw() {
	o := &n.w.options
	if o.FaultEvery == 0 || len(o.Faults) == 0 {
		return
	}
	d := newDice(n.w.seed, streamPlan)
	for at := d.about(o.FaultEvery); at < o.Faulty; at += d.about(o.FaultEvery) {
		kind, _ := faultNamed(o.Faults[d.IntN(len(o.Faults))])
		n.plan = append(n.plan, fault{
			number: len(n.plan), at: at, kind: kind, seed: d.Uint64(),
			length: d.about(max(o.election()*d.pick(1, 2, 4, 8, 40)/4, 10*millisecond)),
		})
	}
}

// start sets the plan going.
func (n *nemesis) start() {
	if only := n.w.options.Only; only != nil {
		n.plan = slices.DeleteFunc(n.plan, func(f fault) bool { return !slices.Contains(only, f.number) })
	}
	n.next(0)
}

func (n *nemesis) next(i int) {
	if i < len(n.plan) {
		f := &n.plan[i]
		n.w.after(f.at-n.w.now, then(func() {
			n.begin(f)
			n.next(i + 1)
		}))
	}
}

// begin lets a fault happen, if it can at the moment.
func (n *nemesis) begin(f *fault) {
	w := n.w
	if w.healed {
		return
	}
	w.trace.mix(uint64(w.now), uint64(f.number))
	if w.trace.seen() {
		w.row(theNetwork, evFault, fmt.Sprintf("number %d: %s, for %s", f.number, f.kind.name, clock(f.length)))
	}
	undo, done := f.kind.do(n, f, newDice(f.seed, streamPlan))
	if !done {
		return
	}
	n.began = append(n.began, f.number)
	w.counts.fault(f.kind.name)
	if undo != nil {
		st := &standing{number: f.number, undo: undo}
		n.standing = append(n.standing, st)
		w.after(f.length, then(func() { n.end(st) }))
	}
}

func (n *nemesis) end(st *standing) {
	if st.over {
		return
	}
	st.over = true
	n.standing = slices.DeleteFunc(n.standing, func(other *standing) bool { return other == st })
	n.w.event(theNetwork, evFaultEnds, uint64(st.number))
	st.undo()
}

// target picks a server, the leader more often than the others.
func (n *nemesis) target(d dice) *server {
	s := n.w.servers[d.IntN(len(n.w.servers))]
	if leader := n.leader(); leader != nil && d.chance(0.4) {
		return leader
	}
	return s
}

// leader is the leader of the latest term, if there is one.
func (n *nemesis) leader() (leader *server) {
	term := uint64(0)
	for _, s := range n.w.servers {
		if s.up {
			if o := s.replica.Observe(); o.Role == core.Leader && o.Term > term {
				leader, term = s, o.Term
			}
		}
	}
	return leader
}

// restartSoon starts a server again that is down, unless something else has by
// then. A server that ends by itself is started again in the calm, too, as its
// supervisor does: damage on its disk may be found late.
func (n *nemesis) restartSoon(s *server, delay int64) {
	w, life := n.w, s.life
	w.after(delay, then(func() {
		dead := w.healed && w.options.Outside == "dead" && !slices.Contains(w.core, s)
		if !dead && !s.up && s.life == life {
			s.start()
		}
	}))
}

// pause stops a process, as SIGSTOP or a long collection would; the result lets
// it go on.
func (n *nemesis) pause(s *server) func() {
	n.pauses[s.index]++
	if s.up && !s.paused {
		n.w.event(s.index, evPaused)
		s.pause()
	}
	return func() {
		n.pauses[s.index]--
		if n.pauses[s.index] == 0 && s.up && s.paused {
			s.resume()
		}
	}
}

// heal ends all faults for a majority, drawn at random, which must from now on do
// all that is asked of the cluster. The others are healed with it, or stay
// outside for good: dead, cut off, unable to send (mute) or to hear (deaf), paused,
// or with a disk that hangs. Two kinds of servers are promised no more than that
// they go on once they hear others again: one that comes back without its disk must
// hear everybody, and one that knows no uid the member in whose place it heard a
// stray (identity.Hearsay). If they need somebody, nobody stays outside.
func (n *nemesis) heal() {
	w := n.w
	w.healed = true
	for len(n.standing) > 0 {
		n.end(n.standing[0])
	}
	for _, s := range w.servers {
		s.disk.failing, s.disk.spoils = nil, nil
	}
	order := w.serverDice.Perm(len(w.servers))
	inside := len(w.servers)
	comingBack := slices.ContainsFunc(w.servers, func(s *server) bool { return s.disk.rejoining.On })
	if w.options.Outside != "" && !comingBack {
		inside = len(w.servers)/2 + 1
		for !w.enough(order[:inside]) {
			inside++
		}
	}
	if n.misled(order[:inside], order[inside:]) {
		inside = len(w.servers)
	}
	for _, i := range order[:inside] {
		w.core = append(w.core, w.servers[i])
	}
	w.event(theNetwork, evHealed, uint64(len(order)-inside))
	for _, i := range order[inside:] {
		n.shutOut(w.servers[i])
	}
	for _, s := range w.core {
		if !s.up {
			s.start()
		}
	}
}

// misled reports whether one of some servers does not know the cluster's uid, and
// has heard a stray in the place of one of others, and not that one since.
func (n *nemesis) misled(some, others []int) bool {
	return slices.ContainsFunc(some, func(i int) bool {
		s := n.w.servers[i]
		return s.up && s.replica.UID() == (core.UID{}) && slices.ContainsFunc(others, func(i int) bool { return s.misled[i] })
	})
}

func (n *nemesis) shutOut(s *server) {
	w := n.w
	if w.options.Outside == "dead" {
		if s.up {
			s.crash(crash{torn: -1}, w.serverDice)
		}
		return
	}
	if !s.up {
		s.start()
	}
	for other := range w.servers {
		switch w.options.Outside {
		case "cut":
			w.network.cut(s.index, other)
			w.network.cut(other, s.index)
		case "mute":
			w.network.cut(s.index, other)
		case "deaf":
			w.network.cut(other, s.index)
		}
	}
	switch w.options.Outside {
	case "paused":
		n.pause(s)
	case "hung":
		s.disk.hang()
	}
}
