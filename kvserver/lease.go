package kvserver

import (
	"context"
	"fmt"
	"slices"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/lease"
	"raftkv/kvserver/machine"
)

// Lease is a lease as a read shows it.
type Lease = machine.Lease

// Limits of leases, for doors.
const (
	MinTTL       = lease.MinTTL // milliseconds
	MaxTTL       = lease.MaxTTL
	MaxNoteBytes = lease.MaxNoteBytes
	MaxKept      = lease.MaxKept
	MaxLeasePage = api.MaxLeasePage
	// maxLeasesLooked bounds what one page looks at for a caller that sees only its own.
	maxLeasesLooked = 20_000
)

// KeepAlive gives leases of a caller their whole TTL again, wherever the leader is; see
// Write. It returns the TTL of each in milliseconds, 0 for those that are not there.
// There are 1 to MaxKept of them. The leader joins those that come together.
func (s *Server) KeepAlive(ctx context.Context, who *Caller, ids []int64, remote Remote) (ttls []uint64, elsewhere bool, err error) {
	c := kv.KeepAlive(ids...)
	if err := s.allowCommand(who, &c); err != nil {
		return nil, false, err
	}
	if err := s.awaitLevel(ctx, kv.LevelHistory, "leases"); err != nil {
		return nil, false, err
	}
	elsewhere, err = s.AtLeader(ctx, func(ctx context.Context) error {
		ttls, err = s.machine.KeepAlive(ctx, c.Caller, ids)
		return err
	}, remote)
	return ttls, elsewhere, err
}

// Lease reads a lease, and if they are asked for the names of those of its keys that the
// caller may list. That of another identity might as well not be there. The error is
// failure.NoSuchLease where there is none.
func (s *Server) Lease(ctx context.Context, who *Caller, id int64, withKeys bool, f Freshness) (Lease, error) {
	if err := s.readLeases(ctx, who, f); err != nil {
		return Lease{}, err
	}
	defer s.Leave(Reads, 0)
	l, found := s.machine.Lease(id, withKeys)
	if !found || !s.machine.Auth().MayUseLease(who.Author(), l.Owner) {
		return Lease{}, failure.Of(failure.NoSuchLease, nil, "there is no lease %d, or not any more", id)
	}
	// A name tells that there is such a key: it takes what a list takes.
	l.Keys = slices.DeleteFunc(l.Keys, func(key string) bool { return s.Allow(who, auth.List, auth.OneKey(key)) != nil })
	return l, nil
}

// Leases reads a page of the leases that a caller may use, in the order of their ids, the
// first of them with an id of at least from. next is where the next page begins, if there
// is more.
func (s *Server) Leases(ctx context.Context, who *Caller, from int64, limit int, f Freshness) (page []Lease, next int64, more bool, err error) {
	if err := s.readLeases(ctx, who, f); err != nil {
		return nil, 0, false, err
	}
	defer s.Leave(Reads, 0)
	table, author := s.machine.Auth(), who.Author()
	page, next, more = s.machine.Leases(from, limit, maxLeasesLooked, func(l *lease.Lease) bool { return table.MayUseLease(author, l.Owner) })
	return page, next, more, nil
}

// readLeases lets a read of leases in, which must leave.
func (s *Server) readLeases(ctx context.Context, who *Caller, f Freshness) error {
	if err := s.Allow(who, auth.Lease, auth.Range{}); err != nil {
		return err
	}
	if err := s.awaitLevel(ctx, kv.LevelHistory, "leases"); err != nil {
		return err
	}
	if err := s.AdmitRead(ctx, f.MinRevision); err != nil {
		return err
	}
	if err := s.freshen(ctx, f, who, auth.Lease, auth.Range{}); err != nil {
		s.Leave(Reads, 0)
		return err
	}
	return nil
}

// whyLeaseRefused returns the sentence for a result that is a refusal by the leases, ""
// for another.
func whyLeaseRefused(r kv.Result) string {
	switch {
	case r.Status == kv.StatusConditionFailed && r.Length == 1:
		return "the key is tied to a lease: keep that alive, or put the key with a ttl"
	case r.Status == kv.StatusNotFound:
		return "there is no such key, so nothing of it can be kept"
	case r.Status == kv.StatusLeaseNotFound:
		return "there is no such lease, or not any more: grant another one"
	case r.Status == kv.StatusLeaseExists:
		return "a lease with this id is alive; choose another id, or none"
	case r.Status == kv.StatusLeaseFull:
		return fmt.Sprintf("the lease is full: it may have %d keys, and %d MiB of keys and values; grant another one", lease.Standard.Keys, lease.Standard.Bytes>>20)
	case r.Status == kv.StatusLeasesFull:
		return fmt.Sprintf("there are %d leases, and there may be no more; revoke some", lease.Standard.Leases)
	}
	return ""
}
