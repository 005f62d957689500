package kvserver

import (
	"context"
	"errors"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/kvserver/txn"
	"raftkv/raft"
)

// Freshness is what a read must show.
type Freshness struct {
	// Linearizable: every write that was answered before the read began.
	Linearizable bool
	// MinRevision: what the store had come to in this revision.
	MinRevision uint64
	// Pinned: the store as it was at the revision At, whatever came later. The answer is
	// the same on every node, so nobody has to confirm it.
	Pinned bool
	At     uint64
}

// What a door reads, in the words of the machine.
type (
	Query   = machine.Query
	Page    = machine.Page
	Lookup  = machine.Lookup
	Reading = machine.Reading
)

// Get reads one key, in its turn. It decides whether the caller may, like the other
// reads, before it waits and once more when the store shows what it must: a token that
// was revoked meanwhile reads nothing.
func (s *Server) Get(ctx context.Context, who *Caller, key string, f Freshness) (Reading, error) {
	r := auth.OneKey(key)
	if err := s.Allow(who, auth.Read, r); err != nil {
		return Reading{}, err
	}
	if err := s.admitFresh(ctx, f); err != nil {
		return Reading{}, err
	}
	// It leaves before the answer is sent: how long a client takes to read is no
	// load.
	defer s.Leave(f.class(), 0)
	if err := s.freshen(ctx, f, who, auth.Read, r); err != nil {
		return Reading{}, err
	}
	if f.Pinned {
		return s.machine.GetAt(key, f.At)
	}
	return s.machine.Get(key), nil
}

// List reads a page, in its turn.
func (s *Server) List(ctx context.Context, who *Caller, q Query, f Freshness) (Page, error) {
	r := q.Range()
	if err := s.Allow(who, auth.List, r); err != nil {
		return Page{}, err
	}
	if err := s.admitFresh(ctx, f); err != nil {
		return Page{}, err
	}
	defer s.Leave(f.class(), 0)
	if err := s.freshen(ctx, f, who, auth.List, r); err != nil {
		return Page{}, err
	}
	if f.Pinned {
		return s.machine.ListAt(ctx, q, f.At)
	}
	return s.machine.List(ctx, q)
}

// Freeze returns the store, in the turn of a read, to a caller that may list what a query
// names and is to be shown no more than that.
func (s *Server) Freeze(ctx context.Context, who *Caller, q Query, f Freshness) (machine.Listed, error) {
	r := q.Range()
	if err := s.Allow(who, auth.List, r); err != nil {
		return nil, err
	}
	if err := s.admitFresh(ctx, f); err != nil {
		return nil, err
	}
	defer s.Leave(f.class(), 0)
	if err := s.freshen(ctx, f, who, auth.List, r); err != nil {
		return nil, err
	}
	if f.Pinned {
		return s.machine.FreezeAt(f.At)
	}
	return s.machine.Freeze(), nil
}

// class is where the read finds room.
func (f Freshness) class() Class {
	if f.Pinned {
		return Pasts
	}
	return Reads
}

// admitFresh is AdmitRead for what a read must see, with its own class. What is past waits
// until the store has come to it.
func (s *Server) admitFresh(ctx context.Context, f Freshness) error {
	if !f.Pinned {
		return s.AdmitRead(ctx, f.MinRevision)
	}
	if err := s.awaitLevel(ctx, kv.LevelHistory, "reads of the past"); err != nil {
		return err
	}
	return s.admit(ctx, Pasts, f.At)
}

// ReadTxn serves a transaction without writes, in the turn of a read and without an
// entry of the log. guard, if not zero, must hold. results is how many bytes of keys and values it may show. It returns
// the revision of the store that it saw.
func (s *Server) ReadTxn(ctx context.Context, who *Caller, t *txn.Txn, guard kv.Guard, results uint64) (*txn.Outcome, uint64, error) {
	if err := s.AllowTxn(who, t); err != nil {
		return nil, 0, err
	}
	if err := s.awaitLevel(ctx, kv.LevelHistory, "transactions"); err != nil {
		return nil, 0, err
	}
	if err := s.Wait(ctx, Reads, 0); err != nil {
		return nil, 0, err
	}
	defer s.Leave(Reads, 0)
	if err := s.AwaitFresh(ctx, true); err != nil {
		return nil, 0, err
	}
	if err := s.AllowTxn(who, t); err != nil {
		return nil, 0, err
	}
	s.config.Observer.Read(true, 1)
	r := s.machine.ReadTxn(t, guard, results)
	if r.Status != kv.StatusOK {
		return nil, 0, s.RefusedByStore(r)
	}
	s.config.Observer.Transacted(r.Outcome.Succeeded)
	return r.Outcome, r.Revision, nil
}

// freshen waits until the store shows what a read must see, decides, and counts the
// read.
func (s *Server) freshen(ctx context.Context, f Freshness, who *Caller, right auth.Right, r auth.Range) error {
	if err := s.AwaitFresh(ctx, f.Linearizable); err != nil {
		return err
	}
	if err := s.Allow(who, right, r); err != nil {
		return err
	}
	s.config.Observer.Read(f.Linearizable, 1)
	return nil
}

// AdmitRead waits until the store has come to a revision and until there is room
// for the read, which must leave. Reads wait for a revision outside, where they take
// no room from others.
func (s *Server) AdmitRead(ctx context.Context, minRevision uint64) error {
	return s.admit(ctx, Reads, minRevision)
}

func (s *Server) admit(ctx context.Context, c Class, minRevision uint64) error {
	if !s.machine.HasRevision(minRevision) {
		if err := s.awaitRevision(ctx, minRevision); err != nil {
			return err
		}
	}
	return s.Wait(ctx, c, 0)
}

func (s *Server) awaitRevision(ctx context.Context, revision uint64) error {
	if err := s.EnterOrRefuse(Patient); err != nil {
		return err
	}
	defer s.Leave(Patient, 0)
	return s.machine.AwaitRevision(ctx, revision)
}

// AwaitFresh waits until this node may show its store and, for linearizable reads,
// until the store shows every write that was answered before the call.
func (s *Server) AwaitFresh(ctx context.Context, linearizable bool) error {
	if err := s.Serving(); err != nil {
		return err
	}
	if !linearizable {
		return s.AwaitStale(ctx)
	}
	return s.awaitLinearizable(ctx)
}

// ReadTogether reads keys that share one read index, at one moment, and returns the
// store's revision then. The reads were admitted and have waited with AwaitFresh;
// others is how many more, of pages, are served with them.
func (s *Server) ReadTogether(lookups []Lookup, others int, linearizable bool) (revision uint64) {
	revision = s.machine.GetAll(lookups)
	s.config.Observer.Read(linearizable, len(lookups)+others)
	return revision
}

// awaitLinearizable waits until a read of the store would show every write that
// was answered before the call. It works on any node.
func (s *Server) awaitLinearizable(ctx context.Context) error {
	index, err := s.readIndex(ctx)
	if err != nil {
		return err
	}
	return s.machine.AwaitApplied(ctx, index)
}

// readIndex gets a read index, again and again while there is no leader to give
// one: asking is always safe, for a read changes nothing.
func (s *Server) readIndex(ctx context.Context) (index uint64, err error) {
	found := s.whileLeaderless(ctx, func() (done bool) {
		index, err = s.readIndexOnce(ctx)
		return !errors.Is(err, failure.NoLeader) && !errors.Is(err, failure.Overloaded)
	})
	if !found && s.machine.Stopping() {
		err = failure.NodeStopping(err)
	}
	return index, err
}

// readIndexOnce asks for a read index one time.
func (s *Server) readIndexOnce(ctx context.Context) (uint64, error) {
	begun := time.Now()
	index, err := s.askReadIndex(ctx)
	s.config.Observer.Confirmed(time.Since(begun), err)
	return index, err
}

func (s *Server) askReadIndex(ctx context.Context) (uint64, error) {
	if err := s.machine.Quarantined(); err != nil {
		return 0, err
	}
	index, err := s.config.Consensus.ReadIndex(ctx)
	switch {
	case err == nil:
		return index, nil
	case s.machine.Stopping(), errors.Is(err, raft.ErrStopped):
		return 0, failure.NodeStopping(err)
	case ctx.Err() != nil:
		return 0, failure.Of(failure.ReadTimeout, err, "no majority confirmed the leader in time")
	case errors.Is(err, raft.ErrOverloaded):
		return 0, failure.Of(failure.Overloaded, err, "too many reads wait at the leader for its confirmation; retry after 1 s")
	}
	return 0, failure.Of(failure.NoLeader, err, "no leader is known that could confirm the read")
}

// DigestAt returns the digest of this node's state at an index of the log, if it is
// known, and how far the store has come.
// The version is that of the digest; see machine.Machine.DigestAt.
func (s *Server) DigestAt(index uint64) (digest kv.Digest, version int, known bool, applied uint64) {
	applied, _ = s.machine.MarksProgress()
	digest, version, known = s.machine.DigestAt(index)
	return digest, version, known, applied
}
