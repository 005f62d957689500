package kv

// session is one client's promise that its calls are numbered. Its ID is its
// key in the tree.
type session struct {
	lastUsed uint64 // index of the last command that named it; no two have the same
	// owner is the number of the identity that the session belongs to; 0: of whoever uses
	// it first.
	owner uint64
}

// lane is the memory of one lane: the last call made in it and how it ended.
type lane struct {
	session  uint64
	number   uint32
	status   Status
	created  bool
	deleted  bool
	answered bool // there is an answer; see answers
	seq      uint64
	revision uint64
	version  uint64
	length   uint64
}

// laneLess orders lanes by session, so that a session's lanes stand together.
func laneLess(a, b lane) bool {
	if a.session != b.session {
		return a.session < b.session
	}
	return a.number < b.number
}

// openSession starts a session. A repeated open starts another; the unused one is
// evicted in its time.
func (s *Store) openSession(index, owner uint64) Result {
	for s.sessions.Len() >= s.rules.sessions {
		s.evictLeastRecent()
	}
	s.setSession(index, session{lastUsed: index, owner: owner})
	return Result{Revision: s.revision, Session: index}
}

// runOnce runs a call of a session unless it was run before.
//
// A get is run again when it is repeated, and leaves nothing in its lane. The
// client takes one of the answers. Each was correct at some time between the call
// and that answer, which is all that a read promises. Keeping answers instead
// would let each lane hold a whole value.
func (s *Store) runOnce(index uint64, c Command) Result {
	if !s.touch(c.Session.ID, index, c.owner()) {
		return Result{Status: StatusSessionExpired, Revision: s.revision}
	}
	if c.Session.Lane >= uint32(s.rules.lanes) || c.Session.Seq == 0 {
		return Result{Status: StatusBadCall, Revision: s.revision}
	}
	if c.Op == OpGet {
		return s.run(c)
	}
	last, found := s.lanes.Get(lane{session: c.Session.ID, number: c.Session.Lane})
	if found && c.Session.Seq <= last.seq {
		if c.Session.Seq < last.seq {
			return Result{Status: StatusStale, Revision: s.revision}
		}
		return s.replayed(last.result(), last.answered, last.answer())
	}
	r := s.run(c)
	new := lane{
		session:  c.Session.ID,
		number:   c.Session.Lane,
		seq:      c.Session.Seq,
		status:   r.Status,
		created:  r.Created,
		deleted:  r.Deleted,
		revision: r.Revision,
		version:  r.Version,
		length:   r.Length,
		answered: r.Outcome != nil,
	}
	s.setLane(last, found, new)
	if last.answered {
		s.dropAnswer(last.answer())
	}
	if new.answered {
		s.keepAnswer(new.answer(), r.Outcome)
	}
	// This session was just used, so it is the last to go, and its own lanes
	// are within the total.
	for s.lanes.Len() > s.rules.lanesTotal || s.answers.ofLanes > s.rules.answers && s.sessions.Len() > 1 {
		s.evictLeastRecent()
	}
	return r
}

// result is the answer that the lane's last call got.
func (l *lane) result() Result {
	return Result{
		Status:   l.status,
		Revision: l.revision,
		Version:  l.version,
		Length:   l.length,
		Created:  l.created,
		Deleted:  l.deleted,
		Replayed: true,
	}
}

// flags packs the boolean fields of the call's result into a number.
func (l *lane) flags() uint64 { return flagsOf(l.created, l.deleted, l.answered) }

// touch notes that the command at index used the session, and reports whether there is
// such a session for the identity that uses it. That of another one might as well not
// be there.
func (s *Store) touch(id, index, by uint64) bool {
	old, ok := s.sessions.Get(id)
	if !ok || old.owner != 0 && old.owner != by {
		return false
	}
	if old.owner != by { // it was nobody's, and what was read in it is not for whoever comes first
		s.forgetReads(id)
	}
	s.recency.Delete(old.lastUsed)
	s.sum -= old.hash(id)
	s.setSession(id, session{lastUsed: index, owner: by})
	return true
}

// forgetReads forgets what calls of a session have read. How they ended stays.
func (s *Store) forgetReads(id uint64) {
	var answered []answer
	s.lanes.Ascend(lane{session: id}, func(l lane) bool {
		if l.session == id && l.answered {
			answered = append(answered, l.answer())
		}
		return l.session == id
	})
	for _, a := range answered {
		r := s.replayed(Result{}, true, a)
		s.dropAnswer(a)
		s.keepAnswer(a, r.Outcome.WithoutReads())
	}
}

// setSession adds a session, or replaces one whose hash was already subtracted
// from the digest.
func (s *Store) setSession(id uint64, new session) {
	if old, found := s.sessions.Get(id); found {
		s.disown(old.owner)
	}
	if new.owner != 0 {
		s.owned[new.owner]++
	}
	s.sessions.Set(id, new)
	s.recency.Set(new.lastUsed, id)
	s.sum += new.hash(id)
}

// disown counts out a session of an owner.
func (s *Store) disown(owner uint64) {
	if owner == 0 {
		return
	}
	if s.owned[owner]--; s.owned[owner] == 0 {
		delete(s.owned, owner)
	}
}

// SessionsOf returns how many sessions belong to an identity.
func (s *Store) SessionsOf(owner uint64) int { return s.owned[owner] }

// setLane puts a lane in place of old, if there was one.
func (s *Store) setLane(old lane, found bool, new lane) {
	if found {
		s.sum -= old.hash()
	}
	s.lanes.Set(new)
	s.sum += new.hash()
}

// evictLeastRecent forgets the session that the log used least recently.
func (s *Store) evictLeastRecent() {
	_, id, ok := s.recency.PopMin()
	assert(ok, "kv: %d sessions with %d lanes, but none to evict", s.sessions.Len(), s.lanes.Len())
	gone, _ := s.sessions.Delete(id)
	s.disown(gone.owner)
	s.sum -= gone.hash(id)
	for {
		first, found := s.firstLane(id)
		if !found {
			return
		}
		s.lanes.Delete(first)
		s.sum -= first.hash()
		if first.answered {
			s.dropAnswer(first.answer())
		}
	}
}

// firstLane returns the session's lane with the smallest number.
func (s *Store) firstLane(id uint64) (first lane, found bool) {
	s.lanes.Ascend(lane{session: id}, func(l lane) bool {
		first, found = l, l.session == id
		return false
	})
	return first, found
}
