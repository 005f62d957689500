package main

import (
	"encoding/binary"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// The ways in which a server's data directory, or its address, can be another
// one's.

// aside is the directory of a server in whose place another one is used.
type aside struct {
	fs        *vfs.Crashable
	dir       *directory
	model     diskModel
	rejoining core.Rejoining
	writing   *core.Write // that was under way at its last crash
	refused   bool        // all others are able to tell, so none of them may believe it
}

// stray is a server of another cluster of the same name at a member's address.
type stray struct{ identity identity.Identity }

// exchange ends a server and puts another directory in the place of its own.
func (s *server) exchange(with aside, d dice) {
	if s.up {
		s.crash(crash{torn: -1}, d)
	}
	disk := &s.disk
	s.aside = &aside{fs: disk.fs, dir: disk.dir, model: s.model, rejoining: disk.rejoining, writing: disk.writing, refused: with.refused}
	disk.use(with)
}

// use makes a directory the one that the next process starts on.
func (d *disk) use(a aside) {
	d.fs, d.dir, d.s.model, d.rejoining = a.fs, a.dir, a.model, a.rejoining
	d.writing, d.ready, d.incoming, d.rotten, d.plugs, d.begun = a.writing, false, nil, false, nil, nil
}

// bringBack puts a server's own directory back in its place, where it has not been
// replaced. What was there is gone.
func (n *nemesis) bringBack(s *server, replaced bool, d dice) {
	if replaced {
		n.w.counts.Replaced++
		s.lost, s.aside = append(s.lost, s.aside.model), nil
		return
	}
	if s.up {
		s.crash(crash{torn: -1}, d)
	}
	own := *s.aside
	s.aside = nil
	n.w.counts.BroughtBack++
	s.disk.use(own)
}

// mayExchange reports whether a server's directory can be exchanged now.
func (n *nemesis) mayExchange(s *server) bool {
	return n.w.strays[s.index] == nil && !s.disk.rotten && !n.rejoining() && n.mayLose(s)
}

// rejoining reports whether a server is coming back without its disk. It has no
// memory of the others, and can tell none of their directories from another.
func (n *nemesis) rejoining() bool {
	return slices.ContainsFunc(n.w.servers, func(s *server) bool { return s.disk.rejoining.On })
}

// knownToAll reports whether every other server remembers, on its disk, a use of
// the server's directory that fits.
func (n *nemesis) knownToAll(s *server, fits func(k identity.Known) bool) bool {
	for _, other := range n.w.servers {
		if other != s && !fits(other.disk.dir.memory[s.id]) {
			return false
		}
	}
	return true
}

// whileExchanged starts a server on another directory, and brings its own back
// when the fault ends.
func (n *nemesis) whileExchanged(s *server, with aside, f *fault, d dice) (func(), bool) {
	s.exchange(with, d)
	n.restartSoon(s, d.between(0, f.length/4))
	f.length = max(4*f.length, 4*second)
	return func() {
		n.bringBack(s, false, d)
		n.restartSoon(s, millisecond)
	}, true
}

// empty lets a server start on an empty directory, as one whose volume is not
// mounted does.
func empty(n *nemesis, f *fault, d dice) (func(), bool) {
	s := n.target(d)
	if !n.mayExchange(s) || !n.knownToAll(s, func(k identity.Known) bool { return k.Incarnation == s.disk.dir.life.Incarnation }) {
		return nil, false
	}
	return n.whileExchanged(s, aside{fs: vfs.NewCrashable(), dir: newDirectory(n.w.identityDice, false), refused: true}, f, d)
}

// rejoinTooEarly lets one or more servers start with --rejoin on empty directories
// though their own are whole, and come back.
func rejoinTooEarly(n *nemesis, f *fault, d dice) (func(), bool) {
	w := n.w
	if n.rejoining() || slices.ContainsFunc(w.servers, (*server).impostor) {
		return nil, false
	}
	var began []*server
	for _, i := range d.Perm(len(w.servers))[:1+d.IntN(len(w.servers)/2+1)] {
		s := w.servers[i]
		if w.strays[i] != nil || s.disk.rotten ||
			!n.knownToAll(s, func(k identity.Known) bool { return k.Incarnation == s.disk.dir.life.Incarnation }) {
			continue
		}
		began = append(began, s)
	}
	for _, s := range began {
		s.exchange(aside{fs: vfs.NewCrashable(), dir: newDirectory(w.identityDice, true), rejoining: core.Rejoining{On: true}}, d)
		n.restartSoon(s, d.between(0, f.length/4))
	}
	f.length = max(4*f.length, 4*second)
	return func() {
		// If one of them has a goal by then, all of them are the servers now.
		promised := slices.ContainsFunc(began, func(s *server) bool { return s.model.state.Term > 0 })
		for _, s := range began {
			n.bringBack(s, promised, d)
			n.restartSoon(s, millisecond)
		}
	}, len(began) > 0
}

// putBack takes a copy of a server's directory while it is down, and later lets a
// process start on the copy, when all others have met a later use of it.
func putBack(n *nemesis, f *fault, d dice) (func(), bool) {
	return n.startOnCopy(n.target(d), f, d, n.w.options.election()*2, func(copied *aside, now *directory) func(k identity.Known) bool {
		return func(k identity.Known) bool {
			return k.Incarnation == copied.dir.life.Incarnation && k.Boot > copied.dir.life.Boot
		}
	})
}

// putBackHot does the same with a copy that was taken just after the present
// process had started, as of a virtual machine. Boots do not tell it from what
// runs; how far the disk had come does.
func putBackHot(n *nemesis, f *fault, d dice) (func(), bool) {
	return n.startOnCopy(n.target(d), f, d, n.w.options.election()*2+memoryInterval, func(copied *aside, now *directory) func(k identity.Known) bool {
		if now.life.Boot != copied.dir.life.Boot+1 {
			return func(identity.Known) bool { return false }
		}
		copied.dir = now.copied()
		return func(k identity.Known) bool {
			return k.Incarnation == now.life.Incarnation && k.Lost(copied.standing()) != ""
		}
	})
}

// startOnCopy copies the directory of a server that is down, and starts the server
// on the copy after a while. The function says which others can tell by then.
func (n *nemesis) startOnCopy(s *server, f *fault, d dice, after int64, judge func(copied *aside, now *directory) func(k identity.Known) bool) (func(), bool) {
	w := n.w
	if s.up || !n.mayExchange(s) || s.disk.dir.life.Boot == 0 || s.disk.writing != nil || len(s.disk.plugs) > 0 {
		return nil, false
	}
	disk := s.disk.fs
	copied := &aside{fs: disk.Crash(w.diskDice.Rand, drawModel(w.diskDice)), dir: s.disk.dir.copied(), model: s.model, refused: true}
	copied.model.state.Entries = slices.Clone(s.model.state.Entries)
	s.disk.fs = disk.Crash(w.diskDice.Rand, drawModel(w.diskDice)) // to copy a disk ends the use of it
	f.length = max(4*f.length, 4*second)
	length := f.length / 4
	f.length += 2 * after
	own := s.disk.dir
	var undo func()
	w.after(after+d.between(0, after), then(func() {
		if w.healed || s.disk.dir != own || !n.mayExchange(s) || !n.knownToAll(s, judge(copied, own)) {
			return
		}
		w.counts.PutBack++
		undo, _ = n.whileExchanged(s, *copied, &fault{length: length}, d)
	}))
	return func() {
		if undo != nil {
			undo()
		}
	}, true
}

// standing is how far the disk has come, as the next process on it will say.
func (a *aside) standing() identity.Standing { return identity.StandingOf(&a.model.state) }

// strayAt lets a server of another cluster answer at the address of one that is
// down, and dial the others.
func strayAt(n *nemesis, f *fault, d dice) (func(), bool) {
	w, s := n.w, n.w.servers[d.IntN(len(n.w.servers))]
	if s.aside != nil || w.strays[s.index] != nil || !n.rejoining() && !n.knownToAll(s, func(k identity.Known) bool { return k.Boot > 0 }) {
		return nil, false
	}
	if s.up {
		s.crash(crash{torn: -1}, d)
	}
	it := &stray{}
	it.identity.Life = newDirectory(w.identityDice, false).life
	it.identity.Life.Boot, it.identity.Life.Nonces = 3, []uint64{d.Uint64(), d.Uint64()}
	if d.chance(0.7) {
		it.identity.UID = strangeUID(d)
	}
	it.identity.Standing = identity.Standing{Term: uint64(d.IntN(100)), Last: uint64(d.IntN(1000)), Commit: uint64(d.IntN(1000))}
	w.strays[s.index] = it
	over := false
	var speak func()
	speak = func() {
		if over || w.healed {
			return
		}
		for _, other := range w.servers {
			if other != s && other.up && !other.paused {
				other.meetsStray(s, it)
			}
		}
		w.after(d.between(100, 1000)*millisecond, then(speak))
	}
	speak()
	return func() {
		over = true
		w.strays[s.index] = nil
		n.restartSoon(s, millisecond)
	}, true
}

// strangeUID draws the uid of a cluster that is not ours, all of whose uids are odd
// (newUID), and that no other stray has. A server that lost its disk would join two strays
// of one cluster that stand in for all the others, and would be right to: only one cluster
// answers it (docs/architecture.md, "Two cases remain").
func strangeUID(d dice) (uid core.UID) {
	binary.BigEndian.PutUint64(uid[:], d.Uint64()&^1)
	return uid
}

// meetsStray lets a server dial a stray, which refuses it, and be dialled by it. The
// server must tell it apart by what it knows: the uid of its cluster, if the stray names
// one, or the directory that the member had. Another stray that it took for the member
// before, while it had no goal, is no such directory (identity.Known.In). It is as if it
// remembered nobody: it takes a stray that names no uid, as it would the member's first
// process. Such a stray cannot give a goal, as it names no uid (core.Rejoin), nor
// count as told of one (maybeStray). What follows is not played here: the member is
// turned down until the directory is emptied (docs/architecture.md, "Two cases remain").
func (s *server) meetsStray(at *server, it *stray) {
	w := s.w
	if it.identity.UID != (core.UID{}) && s.uid() == (core.UID{}) && s.identity().Life.Asking {
		if w.hasUID() {
			s.tellsStrayApart(at, it)
		} // else nobody of its own cluster can tell it another uid
		return
	}
	ours, _ := s.presumed()
	if s.known[at.id].In(ours).Boot == 0 && (ours == (core.UID{}) || it.identity.UID == (core.UID{})) {
		return // it remembers nobody of its cluster there, and no uids can be compared
	}
	w.counts.StraysMet++
	if s.known[at.id].Credible(ours, it.identity) == "" {
		w.fail("identity", "%s believes a server of another cluster at the address of %s", s.id, at.id)
	}
	if _, _, reason, _ := s.known[at.id].Acquaint(ours, it.identity); reason == "" {
		w.fail("identity", "%s takes a server of another cluster for %s", s.id, at.id)
	}
	s.hearRefusal(at.index, it.identity, identity.Wiped)
}

// hasUID reports whether a server of the cluster that is up knows the cluster's uid.
func (w *world) hasUID() bool {
	for _, s := range w.servers {
		if s.up && s.uid() != (core.UID{}) {
			return true
		}
	}
	return false
}

// tellsStrayApart lets a server that lost its disk, and remembers nobody, take a
// stray for its peer, and hear the stray's answer to Rejoin. It may not have a goal
// of it.
func (s *server) tellsStrayApart(at *server, it *stray) {
	w := s.w
	ours := s.hearUID(at.id, it.identity, true)
	next, changed, reason, _ := s.knows(at.id, ours, it.identity).Acquaint(ours, it.identity)
	if reason != "" {
		return
	}
	s.disk.dir.metStray[at.id] = true
	if s.known[at.id] = next; changed {
		s.disk.dir.memory[at.id] = next
	}
	if s.muted() || s.atOdds() {
		w.counts.AtOdds++
		return
	}
	w.counts.StraysAsked++
	answer := core.RejoinReply{Term: 1 << 40, Leads: true, LastIndex: 1 << 40, UID: it.identity.UID}
	life := s.life
	s.input(func() {
		if s.alive(life) && s.identity().Life.Asking && !s.atOdds() {
			s.replica.Returned(core.Call{To: at.id, Request: &core.Rejoin{}}, &answer)
			s.turn()
		}
	})
}
