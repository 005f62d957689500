package kv

import (
	"errors"
	"fmt"
	"math"

	"github.com/tidwall/btree"

	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// Limits that every server applies. They are part of the state machine's rules: a
// change of one needs a new command version, or servers of different versions
// would reach different states.
const (
	// MaxKeyBytes is the length of the longest key; the shortest has 1 byte.
	MaxKeyBytes = 1024
	// MaxValueBytes is the length of the longest value.
	MaxValueBytes = 8 << 20
	// MaxSessions is the number of sessions that are remembered. One more evicts
	// the session that the log used least recently.
	MaxSessions = 10_000
	// MaxLanes is the number of lanes, and so of calls in flight, that a session
	// may have.
	MaxLanes = 1024
	// maxLanesTotal bounds the lanes of all sessions together, at about 100 bytes
	// each. Beyond it the least recently used sessions are evicted, too.
	maxLanesTotal = 1 << 20
	// MaxIdempotencyKeyBytes is the length of the longest idempotency key.
	MaxIdempotencyKeyBytes = 64
	// IdempotencyWindow is the minimum time for which the answer to a request with
	// an idempotency key is kept, in milliseconds of log time: one hour.
	IdempotencyWindow = 60 * 60 * 1000
	// maxTimeStep is the maximum log time, in milliseconds, that passes from one
	// command to the next: one minute, however long the cluster was without a
	// leader between them.
	maxTimeStep = 60 * 1000
	// MaxIdempotencyRecords is the maximum number of such answers, at about 120
	// bytes each. When the table is full and no answer is older than the window,
	// further requests with such keys are refused.
	MaxIdempotencyRecords = 1 << 20
)

// maxRevision is the greatest revision, and so the greatest number that is shown
// to clients as a JSON number. Programs that read those as floating-point numbers
// represent it exactly. At a million changes a second it lasts for 285 years.
const maxRevision = 1<<53 - 1

// Store is the state machine. It is not safe for concurrent use: Apply, Advance
// and Freeze need exclusive use; the reading methods of View may share it.
type Store struct {
	state
	// recency lists the sessions by the index that last used them. It follows from
	// sessions, so a frozen view does not need it.
	recency *btree.Map[uint64, uint64]
	// owned counts the sessions of each identity that has some. It follows from sessions.
	owned map[uint64]int
	// recordAt maps the records' names to their positions in the queue. It follows
	// from the queue, so a frozen view does not need it either.
	recordAt map[recordName]uint64
	rules    rules
	// departures are of the queues of locks, for TakeDepartures.
	departures     []Departure
	departuresLost bool
}

// rules are the limits of what the store remembers of clients and of changes; tests
// take smaller ones.
type rules struct {
	sessions, lanes, lanesTotal, records, events int
	historyMin                                   uint64 // bytes; see HistoryBytesFit
	answers                                      int    // bytes; see MaxKeptAnswers
	leases                                       lease.Limits
	locks                                        lock.Limits
}

var standard = rules{
	sessions: MaxSessions, lanes: MaxLanes, lanesTotal: maxLanesTotal, records: MaxIdempotencyRecords,
	events: MaxHistoryEvents, historyMin: MinHistoryBytes, answers: MaxKeptAnswers, leases: lease.Standard, locks: lock.Standard,
}

// New returns an empty store at level LevelBase, which stands before index 1 of the
// log.
func New() *Store { return newStore(standard) }

func newStore(r rules) *Store {
	assert(r.lanes <= r.lanesTotal, "kv: %d lanes of one session are more than %d of all", r.lanes, r.lanesTotal)
	return &Store{
		state: View{
			level:     LevelBase,
			compacted: -1,

			items:    newTable(),
			sessions: btree.NewMap[uint64, session](0),
			lanes:    btree.NewBTreeGOptions(laneLess, btree.Options{NoLocks: true}),
			answers:  newAnswers(),
			leases:   lease.New(r.leases, leaseHashes),
			locks:    lock.New(r.locks, lockHashes),
		},
		recency:  btree.NewMap[uint64, uint64](0),
		owned:    map[uint64]int{},
		recordAt: map[recordName]uint64{},
		rules:    r,
	}
}

// Apply applies the command that the log holds at index and returns its result.
// index must be the one after AppliedIndex: a gap would be a lost command and a
// repetition a doubled one, so anything else panics. The command's bytes are not
// kept. Apply also panics at a command that this version does not know. A server
// uses ApplyKnown, where the caller decides how to end.
func (s *Store) Apply(index uint64, command []byte) Result {
	r, err := s.ApplyKnown(index, command)
	assert(err == nil, "kv: the command at index %d: %v", index, err)
	return r
}

// ApplyKnown applies a command like Apply, but returns an *UnknownError in place
// of the panic. Then nothing was applied: the store stands before index, and so
// must the server until it is upgraded.
func (s *Store) ApplyKnown(index uint64, command []byte) (Result, error) {
	c, err := DecodeCommand(command)
	if unknown, ok := errors.AsType[*UnknownError](err); ok {
		return Result{}, unknown
	}
	if err == nil {
		if err := c.checkLevel(s.level); err != nil {
			return Result{}, err
		}
		if err := c.open(); err != nil {
			return Result{}, err
		}
	}
	s.Advance(index)
	if err != nil {
		return Result{Status: StatusUnknownCommand, Revision: s.revision}, nil
	}
	return s.apply(index, c), nil
}

// apply applies a command that was decoded.
func (s *Store) apply(index uint64, c Command) Result {
	s.passTime(c)
	s.forgetExpired()
	var r Result
	switch {
	case !c.fieldsFit():
		r = Result{Status: StatusUnknownCommand, Revision: s.revision}
	case !s.permitted(&c):
		r = Result{Status: StatusForbidden, Revision: s.revision}
	case c.Op.onAuth():
		r = s.changeAuth(index, c)
	case c.Op == OpOpenSession:
		r = s.openSession(index, c.owner())
	case c.Op == OpSettings, c.Op == OpForget, c.Op == OpLift:
		r = s.control(c)
	case c.Op == OpTick:
		r = s.tick()
	case c.IdempotencyKey != "":
		r = s.runKeyed(c)
	case c.Session == (SessionCall{}):
		r = s.run(c)
	default:
		r = s.runOnce(index, c)
	}
	r.ID = c.ID
	return r
}

// Advance moves over an index that holds no command, such as the entry a new
// leader appends. The rule for index is the same as in Apply.
func (s *Store) Advance(index uint64) {
	if index != s.applied+1 { // tested here, because the arguments of assert are put on the heap either way
		panic(fmt.Sprintf("kv: index %d was applied to a store that stands at %d: commands are missing or doubled", index, s.applied))
	}
	s.applied = index
}

// passTime advances log time. Log time is the sum of intervals that one server's
// clock measured between two of its commands, with no other server's command
// between them. Readings of different servers' clocks, or of one clock before and
// after a restart, are never compared. Otherwise a leader whose clock is ahead of
// the last one's would make the store forget at once what it has promised to keep
// for an hour. So log time may be slow, when leadership changes often, and is
// never fast.
//
// Lease time passes with it, from LevelHistory on, in smaller steps: see lease.MaxStep.
//
// One step counts for at most maxTimeStep. The same server may lead before and
// after an outage of hours, and its clock ran on meanwhile. Without the bound,
// the first command after the outage would make the store forget what it had
// promised just before.
func (s *Store) passTime(c Command) {
	if c.Time == 0 {
		return
	}
	if before := s.stamped; before.origin == c.ID.Origin {
		if c.Time <= before.time {
			return
		}
		s.logTime += min(c.Time-before.time, maxTimeStep, math.MaxUint64-s.logTime)
		if s.level >= LevelHistory {
			s.leases.Pass(c.Time - before.time)
		}
	}
	s.stamped = stamp{origin: c.ID.Origin, time: c.Time}
}

// RevisionLift is by how much the revision is raised in a cluster that begins with a backup:
// more than any cluster writes between a backup and its restore.
const RevisionLift = 1 << 40

// Lift raises the revision, so that later changes have numbers that were never
// given to anything else. A store that begins with a copy of an earlier state
// must not repeat the numbers that the original gave after the copy was made.
// Items keep theirs. The history begins anew, whether the number is 0 or not: the
// original may have gone on in another way. Each lease has its whole TTL again. The error says that not enough numbers
// are left.
func (s *Store) Lift(by uint64) error {
	if s.revision > maxRevision || by > maxRevision-s.revision {
		return fmt.Errorf("kv: the revision %d cannot be raised by %d: the greatest is %d", s.revision, by, uint64(maxRevision))
	}
	s.revision += by
	if s.level >= LevelHistory {
		s.dropHistory()
		s.leases.Renew()
	}
	return nil
}

// Freeze returns the state as it is now. Its cost does not depend on the size of
// the store, and commands applied later do not show in it.
func (s *Store) Freeze() *View {
	v := s.state
	v.items = s.items.freeze()
	v.sessions = s.sessions.Copy()
	v.lanes = s.lanes.Copy()
	v.answers.tree = s.answers.tree.Copy()
	v.leases = s.leases.Freeze()
	v.locks = s.locks.Freeze()
	return &v
}

// fieldsFit reports whether c has only the fields that its operation takes. A
// field that would be ignored might have been a promise to a client.
func (c *Command) fieldsFit() bool {
	write := c.Op == OpPut || c.Op == OpAppend
	change := write || c.Op == OpDelete
	control := c.Op.levelOf() > LevelBase
	switch {
	case c.Op.onLocks():
		return c.lockFieldsFit() && idempotencyKeyFits(c.IdempotencyKey)
	case c.Guard != (Guard{}) && !(change || c.Op.onMany() || c.Op == OpTouch):
		return false
	case c.Op.onMany():
		return c.manyFit()
	case c.Previous && !change:
		return false
	case c.Op.onLeases():
		return c.leaseFieldsFit() && idempotencyKeyFits(c.IdempotencyKey)
	case c.leaseFlags() != 0 && (c.Op != OpPut || !c.Tie.fits() || c.KeepValue && len(c.Value) > 0):
		return false
	case control && (len(c.Key) > 0 || c.Session != (SessionCall{})):
		return false
	case !write && (len(c.Value) > 0 && !control || c.MaxLength != 0 || c.Quota != 0):
		return false
	case !change && (c.Condition != (Condition{}) || c.IdempotencyKey != ""):
		return false
	case c.Op == OpOpenSession && (c.Session != (SessionCall{}) || len(c.Key) > 0):
		return false
	case c.IdempotencyKey != "" && c.Session != (SessionCall{}):
		return false // a command is remembered in one way only
	}
	return c.Condition.fits() && idempotencyKeyFits(c.IdempotencyKey)
}

func assert(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}
