package kv

import (
	"encoding/binary"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/lease"
	"raftkv/kvserver/txn"
)

// What a command does to leases, and how keys end with them. The table of leases decides
// (package lease); here it is put into keys, events, revisions and results.

// Tie says how long the key of a put lives: as long as a lease, for a TTL, or as before.
// The zero value is for ever.
type Tie struct {
	Lease int64
	TTL   uint64 // milliseconds, lease.MinTTL to lease.MaxTTL
	Keep  bool   // the key must be there, and stays tied to what it is tied to
}

func (t Tie) flags() (flags uint64) {
	if t.Lease != 0 {
		flags |= flagLease
	}
	if t.TTL != 0 || t.Keep {
		flags |= flagTTL
	}
	return flags
}

// leaseFlags are the flags that the level of leases brings.
func (c *Command) leaseFlags() uint64 {
	flags := c.Tie.flags()
	if c.KeepValue {
		flags |= flagKeepValue
	}
	return flags
}

// tie reads what the flags say of a tie.
func (r *reader) tie(flags uint64) (t Tie) {
	if flags&flagLease != 0 {
		t.Lease = int64(r.Number())
		r.Check(t.Lease != 0, "an empty lease")
	}
	if flags&flagTTL != 0 {
		t.TTL = r.Number()
		t.Keep = t.TTL == 0
	}
	return t
}

// onLeases reports whether the operation is about leases, or the time of a key.
func (o Op) onLeases() bool { return o == OpTick || o >= OpGrant && o <= OpTouch }

// Grant returns the command that makes a lease. id is chosen by the client, or 0. ttl is
// in milliseconds.
func Grant(id int64, ttl uint64, note string) Command {
	b := binary.AppendUvarint([]byte{bodyVersion}, uint64(id))
	b = binary.AppendUvarint(b, ttl)
	b = binary.AppendUvarint(b, uint64(len(note)))
	return Command{Op: OpGrant, Value: append(b, note...)}
}

// KeepAlive returns the command that gives leases their whole TTL again: 1 to
// lease.MaxKept of them.
func KeepAlive(ids ...int64) Command {
	b := binary.AppendUvarint([]byte{bodyVersion}, uint64(len(ids)))
	for _, id := range ids {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return Command{Op: OpKeepAlive, Value: b}
}

// KeptOne returns the lease of a keep-alive that is of one alone.
func (c *Command) KeptOne() (id int64, one bool) {
	f := read(c.Value)
	one = c.Op == OpKeepAlive && f.Byte() == bodyVersion && f.Number() == 1
	id = int64(f.Number())
	return id, one && !f.Bad() && len(f.Rest) == 0
}

// Revoke returns the command that ends a lease now.
func Revoke(id int64) Command { return Command{Op: OpRevoke, Value: body(uint64(id))} }

// LeaseNamed returns the lease that a command ends, or that it grants under a name which the
// client chose.
func (c *Command) LeaseNamed() (id int64, named bool) {
	if c.Op != OpRevoke && c.Op != OpGrant {
		return 0, false
	}
	f := read(c.Value)
	named = f.Byte() == bodyVersion
	id = int64(f.Number())
	return id, named && !f.Bad() && id != 0
}

// leaseFieldsFit is fieldsFit for operations on leases.
func (c *Command) leaseFieldsFit() bool {
	remembered := c.Session != (SessionCall{}) || c.IdempotencyKey != ""
	switch {
	case c.MaxLength != 0, c.Condition != (Condition{}), c.KeepValue:
		return false
	case c.Quota != 0 && c.Op != OpTouch:
		return false
	case c.Op == OpTouch:
		return !remembered && len(c.Value) == 0 && c.Tie.TTL != 0 && c.Tie.fits()
	case len(c.Key) > 0, c.Tie != (Tie{}):
		return false
	case c.Op == OpTick:
		return !remembered && len(c.Value) == 0
	case c.Op == OpKeepAlive:
		return !remembered
	}
	return c.Session == (SessionCall{}) || c.IdempotencyKey == ""
}

// fits reports whether a tie can be: one thing at most, for a permitted time.
func (t Tie) fits() bool {
	if t.Lease != 0 {
		return t.TTL == 0 && !t.Keep
	}
	return t.TTL == 0 || !t.Keep && t.TTL >= lease.MinTTL && t.TTL <= lease.MaxTTL
}

// runLease applies an operation on leases.
func (s *Store) runLease(c Command) Result {
	f := read(c.Value)
	if c.Op == OpTick {
		return s.tick()
	}
	f.Check(f.Byte() == bodyVersion, "another version")
	switch c.Op {
	case OpGrant:
		return s.grant(&f, c)
	case OpKeepAlive:
		return s.keepAlive(&f, c)
	}
	return s.revoke(&f, c)
}

// malformed is the result of a body that no version writes.
func (s *Store) malformed() Result {
	return Result{Status: StatusUnknownCommand, Revision: s.revision}
}

func (s *Store) grant(f *reader, c Command) Result {
	id, ttl, note := int64(f.Number()), f.Number(), string(f.Bytes())
	f.End()
	if f.Bad() || ttl < lease.MinTTL || ttl > lease.MaxTTL || len(note) > lease.MaxNoteBytes {
		return s.malformed()
	}
	id, refused := s.leases.Grant(s.leaseNumber(), id, lease.Lease{TTL: ttl, Owner: c.owner(), Note: note})
	if refused != 0 {
		return s.refusedByLeases(refused)
	}
	return Result{Revision: s.revision, Version: uint64(id)}
}

// leaseStatuses are the ways in which leases refuse.
var leaseStatuses = [...]Status{
	lease.NotFound: StatusLeaseNotFound, lease.Exists: StatusLeaseExists,
	lease.Full: StatusLeaseFull, lease.TooMany: StatusLeasesFull,
}

// leaseNumber returns the id of a lease that is granted now without one: the index in the
// log, raised as the revision was. So a cluster that begins with a backup does not repeat
// the ids that the old one gave since.
func (s *Store) leaseNumber() uint64 { return s.applied + s.revision/RevisionLift*RevisionLift }

func (s *Store) refusedByLeases(r lease.Refusal) Result {
	return Result{Status: leaseStatuses[r], Revision: s.revision}
}

// uses reports whether the command's caller may keep and revoke a lease. That of another
// identity might as well not be there.
func (s *Store) uses(c *Command, id int64) bool { return s.usedBy(c.Caller, id) }

// usedBy reports whether there is a lease that an author may use.
func (v *View) usedBy(author auth.Author, id int64) bool {
	l, found := v.leases.Get(id)
	return found && v.auth.MayUseLease(author, l.Owner)
}

// mayEnd reports whether an author may end a lease, which removes its keys and frees its
// locks. Its owner may; one that was granted before identities counted has none, and is
// ended by a caller that may delete those keys and acquire those locks himself.
func (s *Store) mayEnd(by auth.Author, id int64) bool {
	if l, found := s.leases.Get(id); !found || l.Owner != 0 || s.auth.State() != auth.Enforcing {
		return found
	}
	for _, key := range s.leases.Keys(id) {
		if !s.auth.Allows(by, auth.Delete, auth.OneKey(key)) {
			return false
		}
	}
	for _, name := range s.locks.Of(id) {
		if !s.auth.Allows(by, auth.Acquire, auth.OneLock(name)) {
			return false
		}
	}
	return true
}

func (s *Store) keepAlive(f *reader, c Command) Result {
	n := f.Number()
	f.Check(n >= 1 && n <= lease.MaxKept, "too many leases, or none")
	var ids []int64
	for range min(n, uint64(len(f.Rest))) {
		ids = append(ids, int64(f.Number()))
	}
	f.Check(uint64(len(ids)) == n && len(f.Rest) == 0, "another number of leases")
	if f.Bad() {
		return s.malformed()
	}
	kept := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		ttl := uint64(0)
		if s.uses(&c, id) {
			ttl, _ = s.leases.Keep(id)
		}
		kept = binary.AppendUvarint(kept, ttl)
	}
	return Result{Revision: s.revision, Value: kept}
}

// Kept returns, for each lease of a keep-alive in its order, the TTL in milliseconds that
// it has whole again, 0 for one that is not there.
func (r Result) Kept() (ttls []uint64) {
	f := read(r.Value)
	for len(f.Rest) > 0 {
		ttls = append(ttls, f.Number())
	}
	return ttls
}

func (s *Store) revoke(f *reader, c Command) Result {
	id := int64(f.Number())
	f.End()
	switch {
	case f.Bad():
		return s.malformed()
	case !s.uses(&c, id) || !s.mayEnd(c.Caller, id):
		return s.refusedByLeases(lease.NotFound)
	}
	keys := s.endLease(id, EventLockRevoked)
	s.leases.Revoked++
	return Result{Revision: s.revision, Length: uint64(keys)}
}

// touchKey gives a key another deadline of its own. Revision and version stay: what a client
// knows of the value is still so.
func (s *Store) touchKey(c Command) Result {
	at, item := s.look(c.Key)
	if !at.found {
		return Result{Status: StatusNotFound, Revision: s.revision}
	}
	old := s.leases.Tie(s.items.rows.at(at.row).key)
	if old.Lease != 0 { // it belongs to the last writer's lease
		r := conditionFailed(item)
		r.Length = 1
		return r
	}
	tie := lease.Tie{Deadline: s.leases.Time() + c.Tie.TTL}
	if refusal, refused := s.overQuota(c.Quota, lease.TieBytes*(tieCount(tie)-tieCount(old))); refused {
		return refusal
	}
	s.leases.Bind(s.items.rows.at(at.row).key, old, 0, tie, 0)
	return Result{Revision: item.Revision, Version: item.Version, Length: uint64(len(item.Value))}
}

func tieCount(t lease.Tie) int {
	if t == (lease.Tie{}) {
		return 0
	}
	return 1
}

// tick ends what is due, in order of deadline, kind and id: of what is due at one time
// leases first, then keys, then the delays of locks.
func (s *Store) tick() Result {
	var ended lease.Ended
	keys := 0
	for {
		due, counts, ok, left := s.leases.Next(ended)
		until, name, found := s.locks.Due()
		switch {
		case found && until <= s.leases.Time() && (!ok && !left || until < due.Deadline):
			if limits := &s.rules.leases; ended != (lease.Ended{}) && (ended.Leases >= limits.EndLeases || ended.Keys+1 > limits.EndKeys) {
				return Result{Revision: s.revision, Length: uint64(keys), Deleted: true}
			}
			ended.Keys++
			s.locks.EndDelay(name, until)
			s.handOver(name)
			continue
		case !ok:
			return Result{Revision: s.revision, Length: uint64(keys), Deleted: left}
		}
		ended.Keys += counts
		if due.Kind == lease.OfKey {
			keys++
			s.end([]string{due.Key}, nil)
			continue
		}
		ended.Leases++
		s.leases.Expired++
		keys += s.endLease(due.Lease, EventLockExpired)
	}
}

// endLease ends a lease: its keys go and its locks are freed in one change. Then others are
// given these locks. op is the event of a lock.
func (s *Store) endLease(id int64, op EventOp) (keys int) {
	all, names := s.leases.Keys(id), s.locks.Of(id)
	s.end(all, func() []Event { return s.endLocks(id, op) })
	s.leases.End(id)
	for _, name := range names {
		s.handOver(name)
	}
	return len(all)
}

// end removes keys that have come to their end, and frees locks, in one change.
func (s *Store) end(keys []string, locks func() []Event) {
	before := s.revision
	s.revision++
	events := make([]Event, 0, len(keys))
	for _, key := range keys {
		at, old := s.look([]byte(key))
		events = append(events, s.remove(at, old, EventExpire))
	}
	if locks != nil {
		events = append(events, locks()...)
	}
	if len(events) == 0 { // a lease that nothing was tied to
		s.revision = before
		return
	}
	for place, e := range events {
		e.place = uint32(place)
		s.noteMore(e)
	}
	s.trim()
}

// tieOf returns what a put is to tie its key to. A refusal says that it cannot.
func (s *Store) tieOf(c *Command, old Item, at place, oldTie lease.Tie, bytes int) (tie lease.Tie, refusal Result, refused bool) {
	switch {
	case (c.Tie.Keep || c.KeepValue) && !at.found:
		return tie, Result{Status: StatusNotFound, Revision: s.revision}, true
	case c.Op == OpAppend, c.Tie.Keep:
		tie = oldTie
	case c.Tie.TTL != 0:
		tie.Deadline = s.leases.Time() + c.Tie.TTL
	default:
		tie.Lease = c.Tie.Lease
	}
	if c.Tie.Lease != 0 && !s.uses(c, c.Tie.Lease) {
		return tie, s.refusedByLeases(lease.NotFound), true
	}
	if tie.Lease != 0 {
		if r := s.leases.Takes(tie.Lease, oldTie, len(c.Key)+len(old.Value), bytes); r != 0 {
			return tie, s.refusedByLeases(r), true
		}
	}
	return tie, Result{}, false
}

// overfills reports whether the changes of a transaction give a lease more keys or bytes
// than it may have, and by which operation.
func (s *Store) overfills(changes []txn.Change) (at string, full bool) {
	if s.leases.Len() == 0 {
		return "", false
	}
	type grown struct{ keys, bytes int }
	by := map[int64]grown{}
	add := func(id int64, keys, bytes int) { by[id] = grown{by[id].keys + keys, by[id].bytes + bytes} }
	for i := range changes {
		c := &changes[i]
		old := s.leases.Tie(c.Key)
		add(old.Lease, -1, -len(c.Key)-len(c.Before.Value))
		if c.Item.Version != 0 {
			add(s.newTie(c, old).Lease, 1, len(c.Key)+len(c.Item.Value))
		}
	}
	for i := range changes {
		old := s.leases.Tie(changes[i].Key)
		for _, id := range []int64{old.Lease, s.newTie(&changes[i], old).Lease} {
			if id != 0 && !s.leases.HasRoom(id, by[id].keys, by[id].bytes) {
				return s.overfilling(id, changes), true
			}
		}
	}
	return "", false
}

// overfilling returns the operation by which changes give a lease more than it may have.
func (s *Store) overfilling(id int64, changes []txn.Change) (at string) {
	keys, bytes := 0, 0
	for i := range changes {
		c := &changes[i]
		old := s.leases.Tie(c.Key)
		if old.Lease == id {
			keys, bytes = keys-1, bytes-len(c.Key)-len(c.Before.Value)
		}
		if c.Item.Version == 0 || s.newTie(c, old).Lease != id {
			continue
		}
		keys, bytes, at = keys+1, bytes+len(c.Key)+len(c.Item.Value), c.At
		if !s.leases.HasRoom(id, keys, bytes) {
			return at
		}
	}
	return at
}

// LeaseTime returns lease time in milliseconds: it stands still below LevelHistory.
func (v *View) LeaseTime() uint64 { return v.leases.Time() }

// Leases returns the table of leases, which must not be changed.
func (v *View) Leases() *lease.Table { return &v.leases }

// TieOf returns how long a key lives, zero if it has no end.
func (v *View) TieOf(key string) lease.Tie { return v.leases.Tie(key) }

// LeaseOf returns the lease that a key is tied to, 0 if it is none.
func (v *View) LeaseOf(key string) int64 { return v.leases.Tie(key).Lease }

// leaseHashes make the hashes of leases and ties in the digest.
var leaseHashes = lease.Hashes{
	Lease: func(id int64, l *lease.Lease) uint64 {
		return hashOf(hashLease, uint64(id), l.TTL, l.Deadline, l.Owner, bytesHash(hashLease, l.Note))
	},
	Tie: func(key string, t lease.Tie) uint64 {
		return mix(mix(bytesHash(hashTie, key), uint64(t.Lease)), t.Deadline)
	},
}
