package main

import (
	"encoding/binary"
	"maps"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// Before two servers talk they say hello: which data directory speaks, which use
// of it, of which cluster, and how far its disk has come. Each judges the other by
// what it remembers. The judgement is the shipped one (raft/identity); what is
// remembered where, and what becomes of a refusal, follows raft/wire step by step.

// directory is what a node keeps next to its log.
type directory struct {
	life   identity.Life // of the last process
	memory map[core.ID]identity.Known
	uid    core.UID // of the cluster, once a process has learned it
	fenced bool     // a majority of the others said for good that it must not be used

	metStray map[core.ID]bool // a stray was taken for the peer
}

// newDirectory makes one, as a node does at its first start.
func newDirectory(d dice, rejoined bool) *directory {
	dir := &directory{memory: map[core.ID]identity.Known{}, metStray: map[core.ID]bool{}}
	dir.life.Rejoined = rejoined
	binary.BigEndian.PutUint64(dir.life.Incarnation[:], d.Uint64()|1)
	return dir
}

// copied returns a copy of a directory.
func (d *directory) copied() *directory {
	c := *d
	c.life.Nonces = slices.Clone(d.life.Nonces)
	c.memory = maps.Clone(d.memory)
	c.metStray = maps.Clone(d.metStray)
	return &c
}

// acquaintance is what a process knows of the others, in addition to its directory.
type acquaintance struct {
	known map[core.ID]identity.Known // what is remembered, and what was said since
	noted int64                      // when that was last made durable
	words identity.Words             // of peers against our directory, if they count
	trial int                        // counts the times that the words were given up

	hearsay identity.Hearsay // which uids the others name, while the server's own is not known
	misled  map[int]bool     // peers in whose place a stray named a uid last, by index

	// A server that comes back without its disk has told a goal to nobody yet: until
	// these know it, it takes part in nothing.
	unaware map[int]bool
}

// Times of raft/wire.
const (
	standingInterval = 2 * second
	memoryInterval   = 8 * second
	verdictWait      = 2 * second
)

func (s *server) introduce() {
	w := s.w
	s.disk.dir.life = s.disk.dir.life.Next(w.identityDice.Uint64)
	s.acquaintance = acquaintance{known: maps.Clone(s.disk.dir.memory), noted: w.now, misled: map[int]bool{}}
	if s.identity().Standing != (identity.Standing{}) {
		for _, other := range w.servers {
			s.hearsay.Bind(s.known[other.id].UID)
		}
	}
}

// newUID draws the uid that the server gives the cluster if it is the first to
// lead.
func (s *server) newUID() (uid core.UID) {
	if !s.w.options.Labs {
		binary.BigEndian.PutUint64(uid[:], s.w.identityDice.Uint64()|1)
	}
	return uid
}

// uid is the cluster's uid, as far as the server knows it: from its log or, before
// that is known to be committed, from its directory.
func (s *server) uid() core.UID {
	if uid := s.replica.UID(); uid != (core.UID{}) {
		return uid
	}
	return s.disk.dir.uid
}

// learnUID writes the cluster's uid down once it is known: when the log says it, or
// before the goal of a server that comes back without its disk.
func (s *server) learnUID(uid core.UID) {
	if known := s.disk.dir.uid; uid != (core.UID{}) && known != (core.UID{}) && known != uid {
		s.w.fail("identity", "%s belongs to the cluster %s, and learns that it is %s", s.id, known, uid)
	}
	if uid != (core.UID{}) {
		s.disk.dir.uid = uid
	}
}

// muted reports whether the server takes part in nothing for the moment.
func (s *server) muted() bool { return s.words.Len() > 0 || len(s.unaware) > 0 }

// atOdds reports whether the server talks to nobody because two clusters were named
// to it. It says hello all the same.
func (s *server) atOdds() bool {
	_, atOdds := s.presumed()
	return atOdds
}

// knows returns what the server knows of another one, as that one names its cluster.
func (s *server) knows(peer core.ID, ours core.UID, them identity.Identity) identity.Known {
	k := s.known[peer]
	if ours == (core.UID{}) && s.identity().Life.Asking {
		k = k.Asked(them)
	}
	return k
}

// presumed is the uid by which the server judges the others, and whether it talks to
// nobody.
func (s *server) presumed() (uid core.UID, atOdds bool) {
	if ours := s.uid(); ours != (core.UID{}) {
		return ours, false
	}
	return s.hearsay.Presume(len(s.w.servers))
}

// hearUID notes the uid that another server names, and returns the one by which the
// server judges it.
func (s *server) hearUID(peer core.ID, them identity.Identity, talk bool) core.UID {
	if ours := s.uid(); ours != (core.UID{}) {
		return ours
	}
	s.hearsay.Hear(peer, them.UID)
	at := s.w.server(peer).index
	s.misled[at] = them.UID != (core.UID{}) && s.w.strays[at] != nil
	uid, atOdds := s.presumed()
	if atOdds {
		s.words.Clear() // it is unknown to which cluster their senders belong
		s.trial++
	}
	if talk && !s.identity().Life.Asking && !atOdds && (uid == (core.UID{}) || uid == them.UID) {
		s.hearsay.Bind(them.UID)
	}
	return uid
}

// identity is what the server says in its hello.
func (s *server) identity() identity.Identity {
	life := s.disk.dir.life
	life.Asking = life.Rejoined && s.model.state.Term == 0
	return identity.Identity{UID: s.uid(), Life: life, Standing: identity.StandingOf(&s.model.state)}
}

// met says between which lives of two servers there is a connection.
type met struct {
	from, to int
	broken   uint64 // see link.broken
	told     int64  // when the dialling side last said how far it has come
	asked    bool   // the dialling side had no goal yet
}

// meets reports whether a request of one process of a server reaches the process
// that another one runs now: over the connection between them, or one that is
// made.
func (n *network) meets(from, to *server, life int) bool {
	w, l := n.w, &n.links[from.index][to.index]
	if w.options.Labs {
		return true
	}
	if w.strays[to.index] != nil {
		return false
	}
	same := l.met.from == life && l.met.to == to.life && l.met.broken == l.broken
	if !from.alive(life) {
		return same && !to.muted()
	}
	if from.muted() || to.muted() {
		return false
	}
	if !same && !n.greet(from, to) || from.atOdds() || to.atOdds() {
		return false
	}
	if w.now-l.met.told > standingInterval {
		l.met.told = w.now
		to.note(from)
	}
	return true
}

// greet lets two servers say hello to each other.
func (n *network) greet(from, to *server) bool {
	l := &n.links[from.index][to.index]
	them := from.identity()
	if !to.judges(from, them) {
		return false
	}
	if !from.judges(to, to.identity()) {
		n.w.counts.PeersDistrusted++
		return false
	}
	l.met = met{from.life, to.life, l.broken, n.w.now, them.Life.Asking}
	from.showLevels(to)
	n.w.counts.Hellos++
	return true
}

// redial lets a server that is at odds say hello to those with whom it has no
// connection, as every transport does all the time. Where nobody is at odds it is
// enough that two servers meet when one of them has something to say.
func (s *server) redial() {
	w := s.w
	if w.options.Labs || s.muted() || !s.atOdds() {
		return
	}
	for _, other := range w.servers {
		l, back := &w.network.links[s.index][other.index], &w.network.links[other.index][s.index]
		same := l.met.from == s.life && l.met.to == other.life && l.met.broken == l.broken
		if other != s && !same && other.up && !other.paused && !other.muted() && w.strays[other.index] == nil &&
			l.cuts+l.clogs+back.cuts+back.clogs == 0 {
			w.network.greet(s, other)
		}
	}
}

// judges decides whether a server talks to one that says it is them, and tells it
// if not.
func (s *server) judges(other *server, them identity.Identity) bool {
	w := s.w
	ours := s.hearUID(other.id, them, true)
	k := s.knows(other.id, ours, them)
	next, changed, reason, _ := k.Acquaint(ours, them)
	if reason == "" {
		w.oracles.believed(s, other)
		s.known[other.id] = next
		if changed {
			s.disk.dir.memory[other.id] = next
		}
		return true
	}
	w.oracles.refusedPeer(s, other, reason)
	w.event(s.index, evRefuses, uint64(other.index+1), them.Life.Boot)
	w.counts.PeersRefused++
	by, life := s.identity(), other.life
	w.network.carry(s.index, other.index, then(func() {
		if other.alive(life) && w.strays[s.index] == nil {
			other.hearRefusal(s.index, by, reason)
		}
	}), then(func() {}))
	return false
}

// hearRefusal weighs the word of a server at a peer's address against our data
// directory. From the first that counts on, the server takes part in nothing; when
// a majority says so, or the others have had their time, it ends.
func (s *server) hearRefusal(by int, them identity.Identity, reason identity.Reason) {
	w := s.w
	ours := s.hearUID(w.servers[by].id, them, false)
	if s.atOdds() || s.known[w.servers[by].id].Credible(ours, them) != "" {
		w.counts.WordsDistrusted++
		return
	}
	w.counts.WordsBelieved++
	w.oracles.doubted(s, by)
	first, trial, life := s.words.Len() == 0, s.trial, s.life
	s.words.Hear(w.servers[by].id, reason, "", them.UID != (core.UID{}))
	if s.words.Verdict(len(w.servers) - 1).Majority {
		s.disk.dir.fenced = true
		w.counts.Fenced++
		s.crash(crash{torn: -1}, w.diskDice)
		return
	}
	if first {
		w.after(verdictWait, then(func() {
			if s.alive(life) && s.trial == trial {
				s.crash(crash{torn: -1}, w.diskDice)
				w.nemesis.restartSoon(s, second)
			}
		}))
	}
}

// note takes down how far a peer has come, and makes it durable now and then.
func (s *server) note(peer *server) {
	k := s.known[peer.id].Note(peer.identity().Standing)
	s.known[peer.id] = k
	if s.w.now-s.noted > memoryInterval {
		s.noted = s.w.now
		maps.Copy(s.disk.dir.memory, s.known)
	}
}

// announce lets a server that comes back without its disk tell its goal to all
// others before anybody hears anything else of it; then it goes on.
func (s *server) announce(done func()) {
	w := s.w
	s.unaware = map[int]bool{}
	for _, other := range w.servers {
		if other != s {
			s.unaware[other.index] = true
		}
	}
	s.announceOn(done)
}

// maybeStray reports whether a server that was taken for a peer may be a stray: a full
// member knows the uid of a server that has its goal.
func maybeStray(them identity.Identity) bool {
	return them.UID == (core.UID{}) && !them.Life.Rejoined
}

func (s *server) announceOn(done func()) {
	w, life := s.w, s.life
	for _, other := range w.servers {
		l, back := &w.network.links[s.index][other.index], &w.network.links[other.index][s.index]
		if s.unaware[other.index] && other.up && !other.paused && w.strays[other.index] == nil &&
			l.cuts+l.clogs+back.cuts+back.clogs == 0 && s.words.Len() == 0 && w.network.greet(s, other) && !maybeStray(other.identity()) {
			delete(s.unaware, other.index)
		}
	}
	if len(s.unaware) == 0 {
		done()
		return
	}
	w.after(w.options.election()/4, then(func() {
		if s.alive(life) {
			s.input(func() { s.announceOn(done) })
		}
	}))
}
