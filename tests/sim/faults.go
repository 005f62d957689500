package main

import (
	"slices"

	"raftkv/raft/core"
)

// faultKind is a kind of trouble. do begins it and returns how to end it, nil if
// it needs no end, and whether it could be begun.
type faultKind struct {
	name    string
	share   float64 // of worlds in which it happens
	least   int     // servers it needs
	notLabs bool    // it does not happen to the labs' Raft
	apart   bool    // it is drawn by itself, so that the draws of older kinds stay as they are
	do      func(n *nemesis, f *fault, d dice) (undo func(), done bool)
}

// faultKinds are all of them. Names are part of kept options.
var faultKinds []*faultKind

func init() {
	faultKinds = []*faultKind{
		{name: "kill", share: 0.6, do: kill},
		{name: "power", share: 0.5, do: power},
		{name: "assassin", share: 0.3, least: 3, do: assassinate},
		{name: "blackout", share: 0.25, do: blackout},
		{name: "rolling", share: 0.2, do: rolling},
		{name: "pause", share: 0.3, do: pauseOne},
		{name: "pause-most", share: 0.15, least: 2, do: pauseMost},
		{name: "isolate", share: 0.4, least: 2, do: isolate},
		{name: "usurp", share: 0.3, least: 3, notLabs: true, do: usurp},
		{name: "mute", share: 0.25, least: 2, do: mute},
		{name: "deaf", share: 0.25, least: 2, do: deaf},
		{name: "halves", share: 0.3, least: 2, do: halves},
		{name: "partial", share: 0.3, least: 3, do: partial},
		{name: "chain", share: 0.2, least: 3, do: chain},
		{name: "links", share: 0.2, least: 2, do: someLinks},
		{name: "flap", share: 0.25, least: 2, do: flap},
		{name: "clog", share: 0.25, least: 2, do: clog},
		{name: "swizzle", share: 0.15, least: 2, do: swizzle},
		{name: "slow-links", share: 0.2, least: 2, do: slowLinks},
		{name: "reset", share: 0.3, least: 2, do: reset},
		{name: "suspect", share: 0.15, least: 2, do: suspect},
		{name: "slow-disk", share: 0.2, do: slowDisk},
		{name: "hung-disk", share: 0.2, do: hungDisk},
		{name: "stalled-machine", share: 0.2, do: stallMachine},
		{name: "disk-error", share: 0.25, notLabs: true, do: diskError},
		{name: "full-disk", share: 0.25, notLabs: true, do: fullDisk},
		{name: "snapshot-error", share: 0.25, notLabs: true, do: snapshotError},
		{name: "rot", share: 0.25, notLabs: true, do: rot},
		{name: "transfer", share: 0.3, least: 2, do: handOver},
		{name: "drift", share: 0.2, do: drift},
		{name: "outage", share: 0.15, least: 2, do: outage},
		{name: "running-rot", share: 0.2, notLabs: true, do: runningRot},
		{name: "blind-rejoin", share: 0.2, least: 3, notLabs: true, do: blindRejoin},
		{name: "memory-flip", share: 0.2, notLabs: true, do: flipMemory},
		{name: "frame-flips", share: 0.2, least: 2, notLabs: true, do: flipFrames},
		{name: "stray", share: 0.2, least: 3, notLabs: true, do: strayAt},
		{name: "empty-disk", share: 0.2, least: 3, notLabs: true, do: empty},
		{name: "early-rejoin", share: 0.2, least: 3, notLabs: true, do: rejoinTooEarly},
		{name: "put-back", share: 0.2, least: 3, notLabs: true, do: putBack},
		{name: "put-back-hot", share: 0.2, least: 3, notLabs: true, do: putBackHot},
		{name: "lost-disk", share: 0.25, least: 3, notLabs: true, do: loseDisk},
		{name: "unwilling", share: 0.25, least: 2, notLabs: true, apart: true, do: unwilling},
	}
}

func faultNamed(name string) (*faultKind, bool) {
	i := slices.IndexFunc(faultKinds, func(k *faultKind) bool { return k.name == name })
	if i < 0 {
		return nil, false
	}
	return faultKinds[i], true
}

// tornAt draws how far a write under way gets: mostly it is not begun.
func tornAt(d dice) int {
	if d.chance(0.5) {
		return -1
	}
	return d.IntN(8)
}

func kill(n *nemesis, f *fault, d dice) (func(), bool) {
	return n.down(n.target(d), crash{torn: tornAt(d)}, f.length, d)
}

func power(n *nemesis, f *fault, d dice) (func(), bool) {
	return n.down(n.target(d), crash{power: true, model: drawModel(d), torn: tornAt(d)}, f.length, d)
}

// down crashes a server and starts it again later.
func (n *nemesis) down(s *server, how crash, length int64, d dice) (func(), bool) {
	if !s.up {
		return nil, false
	}
	s.crash(how, d)
	n.restartSoon(s, length)
	return nil, true
}

// blackout takes the power from a majority, or from everybody, at once.
func blackout(n *nemesis, f *fault, d dice) (func(), bool) {
	servers := n.w.servers
	count := len(servers)
	if d.chance(0.3) {
		count = len(servers)/2 + 1
	}
	model := drawModel(d)
	any := false
	for _, i := range d.Perm(len(servers))[:count] {
		_, done := n.down(servers[i], crash{power: true, model: model, torn: tornAt(d)}, d.between(1, f.length), d)
		any = any || done
	}
	return nil, any
}

// assassin kills every new leader within a few messages, which leaves entries of
// many terms on few disks (Figure 8).
type assassin struct{ dice dice }

func assassinate(n *nemesis, f *fault, d dice) (func(), bool) {
	if n.assassin != nil {
		return nil, false
	}
	n.assassin = &assassin{d}
	f.length *= 8
	return func() { n.assassin = nil }, true
}

// elected tells that a server has just been elected.
func (n *nemesis) elected(s *server) {
	if n.assassin == nil {
		return
	}
	w, d, life := n.w, n.assassin.dice, s.life
	o := &w.options
	w.after(d.between(0, 4*o.DelayHigh+2*o.SaveHigh), then(func() {
		if !w.healed && s.alive(life) {
			w.counts.Assassinations++
			how := crash{torn: tornAt(d)}
			if d.chance(0.3) {
				how.power, how.model = true, drawModel(d)
			}
			n.down(s, how, d.between(0, 2*o.election()), d)
		}
	}))
}

// rolling restarts one server after the other, in order: leadership is handed
// over, the log closed.
func rolling(n *nemesis, f *fault, d dice) (func(), bool) {
	w := n.w
	step := max(f.length/int64(len(w.servers)), millisecond)
	for turn, i := range d.Perm(len(w.servers)) {
		s := w.servers[i]
		w.after(int64(turn)*step, then(func() {
			if w.healed || !s.up || s.paused {
				return
			}
			_ = s.replica.Transfer(core.None) // an error means that there is nobody to hand over to
			s.turn()
			life := s.life
			w.after(step/3, then(func() {
				if !w.healed && s.alive(life) {
					s.stop(d)
					n.restartSoon(s, step/3)
				}
			}))
		}))
	}
	return nil, true
}

func pauseOne(n *nemesis, _ *fault, d dice) (func(), bool) { return n.pause(n.target(d)), true }

func pauseMost(n *nemesis, _ *fault, d dice) (func(), bool) {
	var ends []func()
	for _, i := range d.Perm(len(n.w.servers))[:len(n.w.servers)/2+1] {
		ends = append(ends, n.pause(n.w.servers[i]))
	}
	return all(ends), true
}

func all(do []func()) func() {
	return func() {
		for _, f := range do {
			f()
		}
	}
}

func slowDisk(n *nemesis, _ *fault, d dice) (func(), bool) {
	s, factor := n.target(d), d.pick(10, 100)
	s.disk.slow += factor
	return func() { s.disk.slow -= factor }, true
}

func hungDisk(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.target(d)
	s.disk.hang()
	return s.disk.release, true
}

// stallMachine lets a server's log run ahead of its state machine.
func stallMachine(n *nemesis, f *fault, d dice) (func(), bool) {
	s := n.target(d)
	s.stall()
	f.length *= 4
	return s.release, true
}

func diskError(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.target(d)
	if !s.up {
		return nil, false
	}
	s.disk.failing = drawDiskError(d)
	return nil, true
}

func fullDisk(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.target(d)
	s.disk.full++
	return func() { s.disk.full-- }, true
}

func snapshotError(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.target(d)
	if !s.up {
		return nil, false
	}
	s.disk.spoils = drawSpoiling(d)
	return nil, true
}

// rot damages the disk of a server that is down, or ends one for it.
func rot(n *nemesis, f *fault, d dice) (func(), bool) {
	s := n.w.servers[d.IntN(len(n.w.servers))]
	if s.up {
		s.crash(crash{torn: -1}, d)
		n.restartSoon(s, f.length)
	}
	return nil, !s.disk.rotten && s.disk.rot(d, true)
}

// rotsRunningSnapshots lets running-rot strike snapshots, too. A leader that sends
// a snapshot must then find the damage, and make another one.
const rotsRunningSnapshots = true

// runningRot damages the disk of a server that runs. It finds the damage when it
// reads the file: at its next start, or when it sends the snapshot to another
// server.
func runningRot(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.target(d)
	return nil, s.up && !s.disk.rotten && s.disk.rot(d, rotsRunningSnapshots)
}

// loseDisk lets a server come back with an empty disk, as long as those that have
// lost nothing stay a majority.
func loseDisk(n *nemesis, f *fault, d dice) (func(), bool) {
	s := n.target(d)
	if !n.mayLose(s) {
		return nil, false
	}
	n.wipe(s, d)
	n.restartSoon(s, f.length)
	return nil, true
}

// mayLose reports whether a majority has lost nothing even if this server loses
// its disk.
func (n *nemesis) mayLose(s *server) bool {
	members := 0
	for _, other := range n.w.servers {
		if other != s && !other.disk.rejoining.On && other.aside == nil {
			members++
		}
	}
	return members > len(n.w.servers)/2 && !slices.ContainsFunc(n.w.servers, (*server).impostor)
}

// wipe ends a server and puts an empty disk in the place of its own.
func (n *nemesis) wipe(s *server, d dice) {
	if s.up {
		s.crash(crash{torn: tornAt(d)}, d)
	}
	s.disk.replace()
}

// blindRejoin wipes a server while two others do not see each other and lead in
// different terms: the leader is cut off until another one is elected, and then
// sees the wiped server again before it has noticed. All others must answer that
// server, and it must believe the leader of the later term.
func blindRejoin(n *nemesis, f *fault, d dice) (func(), bool) {
	w, leader := n.w, n.leader()
	if leader == nil {
		return nil, false
	}
	order := d.Perm(len(w.servers))
	order = slices.DeleteFunc(order, func(i int) bool { return i == leader.index })
	successor, victim := w.servers[order[0]], w.servers[order[1]]
	if !n.mayLose(victim) || !successor.up || !victim.up {
		return nil, false
	}
	see := n.cutAll(n.around(leader, true, true))
	blind := n.cutAll([]pair{{leader.index, successor.index}, {successor.index, leader.index}})
	for _, s := range w.servers {
		if s != leader && s.up {
			w.suspectSoon(s, leader.id)
		}
	}
	o := &w.options
	w.after(d.between(0, int64(o.ElectionTicks)*o.Tick), then(func() {
		see()
		if w.healed || !n.mayLose(victim) {
			return
		}
		n.wipe(victim, d)
		n.restartSoon(victim, 0)
	}))
	f.length = max(f.length, o.election())
	return blind, true
}

func handOver(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.leader()
	if s == nil || s.paused {
		return nil, false
	}
	to := core.None
	if d.chance(0.7) {
		to = n.w.servers[d.IntN(len(n.w.servers))].id
	}
	if s.replica.Transfer(to) != nil {
		return nil, false
	}
	s.turn()
	return nil, true
}

// unwilling lets some servers, now and then all, rather not lead for a while, as those
// that load, install, drain or were found wrong. One that leads hands over, as its driver
// makes it do.
func unwilling(n *nemesis, _ *fault, d dice) (func(), bool) {
	servers := n.w.servers
	count := 1 + d.IntN(len(servers))
	var ends []func()
	for _, i := range d.Perm(len(servers))[:count] {
		s, life := servers[i], servers[i].life
		if !s.up {
			continue
		}
		say := func(ratherNot bool) {
			s.input(func() {
				s.replica.RatherNot(ratherNot)
				if ratherNot && s.replica.Observe().Role == core.Leader && s.replica.Transfer(core.None) == nil {
					n.w.counts.UnwillingLeaders++
				}
				s.turn()
			})
		}
		say(true)
		ends = append(ends, func() {
			if s.alive(life) {
				say(false)
			}
		})
	}
	return all(ends), len(ends) > 0
}

// suspect makes a server believe that a connection died which did not.
func suspect(n *nemesis, _ *fault, d dice) (func(), bool) {
	leader := n.leader()
	s := n.w.servers[d.IntN(len(n.w.servers))]
	if leader == nil || s == leader || !s.up {
		return nil, false
	}
	n.w.suspectSoon(s, leader.id)
	return nil, true
}

// drift changes how fast a server's clock runs.
func drift(n *nemesis, _ *fault, d dice) (func(), bool) {
	s, by := n.target(d), d.pick(-300, -100, 100, 300)
	s.driftBy(by)
	return func() { s.driftBy(-by) }, true
}

// handedOn reports whether the disk or the state machine is at work on an entry
// that was compared with its checksum when it was handed over. A real one works on
// it at once.
func (s *server) handedOn(index uint64) bool {
	write := s.disk.writing
	return write != nil && write.From != 0 && index >= write.From ||
		index > s.store.AppliedIndex() && index <= s.replica.Observe().CommitIndex
}

// flipFrames changes a bit in some of the frames with entries.
func flipFrames(n *nemesis, f *fault, _ dice) (func(), bool) {
	n.w.network.flips++
	f.length *= 2
	return func() { n.w.network.flips-- }, true
}

// flipMemory changes a bit of an entry in the memory of a server. Whatever was
// made of the entry before is sound; nothing that is made of it later may be
// believed by anybody.
func flipMemory(n *nemesis, _ *fault, d dice) (func(), bool) {
	s := n.target(d)
	if !s.up {
		return nil, false
	}
	entries := s.replica.Entries(1)
	if len(entries) == 0 {
		return nil, false
	}
	e := &entries[len(entries)-1-d.IntN(min(len(entries), 8))]
	if len(e.Data) == 0 || s.handedOn(e.Index) {
		return nil, false
	}
	n.w.flipped = true
	data := slices.Clone(e.Data)
	data[d.IntN(len(data))] ^= 1 << d.IntN(8)
	e.Data = data
	return nil, true
}
