package core

// How a cluster gets its UID: a leader whose log and snapshot hold none puts its
// own Config.NewUID into its no-op. The UID is in force when that is committed.
//
// A log holds one UID at most. Every log is at all times the beginning of the log
// that some leader had (§5.3, Log Matching), and a leader adds one only where there
// is none.
//
// At most one entry with a UID is ever committed. Let it be the one at index i of
// term t, and suppose that another, at index j of an earlier term, is committed as
// well. The leader of term t did not have that one, or it would have added none. So
// its log, which up to i is what is committed, has something else at j, or ends
// before j. In the first case what stands at j is committed and of another leader.
// In the second j lies behind i, where no entry of an earlier term can stand, since
// terms never fall along a log. For a later term, change the two about: its leader
// has the entry at i, or a snapshot of it (§5.4.3, Leader Completeness).
//
// So log.append stops a server that is given a second UID, and Receive one that is
// given a snapshot with another UID than the one that is in force.

// uid returns the UID that an entry brings, zero for none, or an error if its data
// cannot stand in an entry of its kind.
func (e *Entry) uid() (u UID, err error) {
	if e.Kind != KindNoop || len(e.Data) == 0 {
		return UID{}, nil
	}
	copy(u[:], e.Data)
	if len(e.Data) != len(u) || u == (UID{}) {
		return UID{}, &UnknownKindError{Index: e.Index, Kind: e.Kind, Bytes: len(e.Data)}
	}
	return u, nil
}

// UIDOf returns the UID that one of the entries brings, and the index of that one;
// zeros if none does. Entries that may stand in no log bring none.
func UIDOf(entries []Entry) (u UID, at uint64) {
	for i := range entries {
		if u, err := entries[i].uid(); err == nil && u != (UID{}) {
			return u, entries[i].Index
		}
	}
	return UID{}, 0
}

// UID returns the UID that the state holds, committed or not; zero if it holds none.
func (s *State) UID() UID {
	if s.Snapshot.UID != (UID{}) {
		return s.Snapshot.UID
	}
	u, _ := UIDOf(s.Entries)
	return u
}

// noteUID remembers the UID that an entry at the end of the log brings.
func (l *log) noteUID(e *Entry) {
	if e.Kind != KindNoop || len(e.Data) == 0 {
		return
	}
	u, err := e.uid()
	if err != nil {
		broken("%v", err)
	}
	if l.uid != (UID{}) {
		broken("entry %d of term %d gives the cluster the uid %s, and entry %d gave it %s", e.Index, e.Term, u, l.uidAt, l.uid)
	}
	l.uid, l.uidAt = u, e.Index
}

// uidUpTo returns the UID that the log up to index holds: what a snapshot at index
// has to carry.
func (l *log) uidUpTo(index uint64) UID {
	if index < l.uidAt {
		return UID{}
	}
	return l.uid
}

// UIDAt returns the cluster's UID if the log up to index holds it: what a snapshot
// at index carries. Zero if it does not.
func (r *Raft) UIDAt(index uint64) UID { return r.log.uidUpTo(index) }

// UID returns the cluster's UID, zero until it is known to be committed.
func (r *Raft) UID() UID { return r.log.uidUpTo(r.commitIndex) }

// noop returns the entry with which a new leader begins its term.
func (r *Raft) noop() Entry {
	var data []byte
	if u := r.config.NewUID; u != (UID{}) && r.log.uid == (UID{}) {
		data = u[:]
	}
	return NewEntry(r.log.lastIndex()+1, r.currentTerm, KindNoop, data)
}
