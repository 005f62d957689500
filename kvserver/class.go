package kvserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"raftkv/kvserver/failure"
)

// Class is a class of load. The requests of one class share room that those of
// others cannot take: deletes, for instance, are what helps a store that is full,
// and writes must not keep them out.
type Class int

// The classes. Free requests are always admitted. Puts and appends are Writes.
// Patient requests are reads that wait for a revision, Streams are lists that are
// being sent as lines, Backups the whole store, Records what the node recorded, Explains
// stories of all nodes, and Scrapes are of the metrics. Watches are
// followed changes and reads that wait for one, which have a connection each; ClerkWatches
// share one. Lasting are the connections of both, and of Clerks without watches. States are those that watches begin with. Pasts are reads of an earlier revision,
// which walk over the changes since. KeepAlives are those of leases,
// which puts must never keep out.
const (
	_ Class = iota // not decided
	Free
	Writes
	Deletes
	Reads
	Pasts
	KeepAlives
	Patient
	Streams
	Backups
	Records
	Explains
	Scrapes
	Watches
	ClerkWatches
	Lasting
	States
	classCount
)

var classNames = [classCount]string{
	Free: "free", Writes: "writes", Deletes: "deletes", Reads: "reads", Pasts: "reads of the past",
	Patient: "patient reads", Streams: "streams", Backups: "backups", Scrapes: "scrapes",
	Records: "records", Explains: "explanations",
	Watches: "watches", ClerkWatches: "watches of Clerks", Lasting: "lasting connections", States: "states", KeepAlives: "keep-alives",
}

// String returns the name for people.
func (c Class) String() string { return classNames[c] }

// admissions are the room of each class.
type admissions [classCount]admission

const (
	// maxStreams and maxBackups bound the lists that are being sent as lines, and
	// the backups: each keeps alive what the store held when it began.
	maxStreams = 256
	maxBackups = 2
	// maxScrapes bounds the scrapes that are being answered. One Prometheus asks
	// once in a while; a thousand at once must not keep the processors from serving.
	maxScrapes = 4
	// maxRecords and maxExplains bound the answers about what happened, apart from scrapes
	// and from each other: a page that many look at must not keep Prometheus out, and nodes
	// that ask each other must not wait for each other's places.
	maxRecords  = 16
	maxExplains = 16
	// maxStates bounds the states that watches are being sent at the same time. Others
	// wait for room.
	maxStates = 64
	// maxPasts bounds the reads of earlier revisions at the same time: each walks over up to
	// a million changes, some milliseconds, and a page holds up to 1 MiB of them.
	maxPasts = 16
	// watchesPart is which part of the connections may be watches, so that requests
	// always find room.
	watchesPart = 4
	// Of eight connections lastingPart may be watches or Clerks', which both stay for as long as
	// their clients like, so that plain requests always find one.
	lastingPart = 7
	// maxClerkWatches bounds the watches on the connections of Clerks, of which each takes
	// about 1 KiB and its selectors; maxSelectorBytes bounds those of each class.
	maxClerkWatches  = 1 << 17
	maxSelectorBytes = 64 << 20
	// maxApplyLag is how many committed entries the store may be behind the log
	// before writes are refused: an admitted write would only wait.
	maxApplyLag = 1 << 14
)

// set fills in the bounds of each class.
func (all *admissions) set(c Config) {
	limit, waiting := int64(c.MaxInFlight), max(c.MaxInFlight, c.MaxConnections)
	all[Writes].maxCount, all[Writes].maxBytes, all[Writes].maxWaiting = limit, c.MaxInFlightBytes, waiting
	all[Deletes].maxCount, all[Deletes].maxWaiting = max(limit/4, 1), waiting
	all[Reads].maxCount, all[Reads].maxWaiting = limit, waiting
	all[Pasts].maxCount, all[Pasts].maxWaiting = min(maxPasts, limit), waiting
	all[Patient].maxCount = limit
	all[Streams].maxCount = maxStreams
	all[Backups].maxCount = maxBackups
	all[Scrapes].maxCount = maxScrapes
	all[Records].maxCount = maxRecords
	all[Explains].maxCount = maxExplains
	all[Watches].maxCount = max(int64(c.MaxConnections)/watchesPart, 1)
	all[ClerkWatches].maxCount = maxClerkWatches
	all[Lasting].maxCount, all[Lasting].lasting = max(int64(c.MaxConnections)*lastingPart/8, 1), true
	for _, lasting := range []Class{Watches, ClerkWatches} {
		all[lasting].lasting, all[lasting].maxBytes = true, maxSelectorBytes
	}
	all[States].maxCount = maxStates
	all[KeepAlives].maxCount = int64(waiting)
}

// unqueued has, for the classes without a queue, what is said where there is no
// room. The limit is filled in.
var unqueued = map[Class]string{
	Patient:      "too many reads are waiting for a revision (limit %d)",
	Streams:      "too many lists are being streamed (limit %d); ask another node",
	Backups:      "too many backups are being sent (limit %d); ask another node",
	Records:      "too many answers with events are being sent (limit %d)",
	Explains:     "too many explanations are being made (limit %d); ask another node",
	Scrapes:      "too many scrapes are being answered (limit %d)",
	Watches:      "too many watches and waiting reads are open (limit %d); ask another node",
	ClerkWatches: "too many watches of Clerks are open (limit %d); ask another node",
	Lasting:      "too many connections are Clerks', watches or waiting reads (limit %d, seven eighths of --max-connections); ask another node",
	States:       "too many states are being sent (limit %d)",
	KeepAlives:   "too many keep-alives are waiting for the log (limit %d)",
}

// HasQueue reports whether requests of the class may wait for room.
func (c Class) HasQueue() bool { return c == Writes || c == Deletes || c == Reads || c == Pasts }

// Load returns the counters of a class.
func (s *Server) Load(c Class) Load { return s.admissions[c].load() }

// Bodies returns the memory for the bodies of writes.
func (s *Server) Bodies() *Budget { return &s.bodies }

// Enter admits a request, which may hold this number of bytes, if there is room for it
// at once. A request that was admitted must call Leave with the same numbers.
func (s *Server) Enter(c Class, bytes int64) bool {
	return c == Free || s.admissions[c].enter(bytes)
}

// EnterOrRefuse is Enter for classes without a queue. The error says that there is
// no room.
func (s *Server) EnterOrRefuse(c Class) error {
	if s.Enter(c, 0) {
		return nil
	}
	if c == Watches {
		return s.tooManyWatches(c)
	}
	return failure.RetryAfter(failure.Overloaded, minRetryAfter, unqueued[c], s.admissions[c].maxCount)
}

// enterWatches is EnterOrRefuse for a watch whose selectors take this number of bytes, or a
// request that waits. One of the class Watches has a connection of its own. leaveWatches
// makes its room free.
func (s *Server) enterWatches(c Class, bytes int64) error {
	switch {
	case !s.Enter(c, bytes):
		return s.tooManyWatches(c)
	case c == Watches && !s.Enter(Lasting, 0):
		s.Leave(c, bytes)
		return s.tooManyWatches(Lasting)
	}
	return nil
}

func (s *Server) leaveWatches(c Class, bytes int64) {
	s.Leave(c, bytes)
	if c == Watches {
		s.Leave(Lasting, 0)
	}
}

// tooManyWatches refuses a watch. A fleet that lost its node must not come back at one
// moment.
func (s *Server) tooManyWatches(c Class) error {
	after := time.Duration(1+rand.N(8)) * time.Second
	if s.Load(c).Bytes > maxSelectorBytes/2 {
		return failure.RetryAfter(failure.TooManyWatches, after, "the selectors of watches take too much memory (limit %s); ask another node", byteCount(maxSelectorBytes))
	}
	return failure.RetryAfter(failure.TooManyWatches, after, unqueued[c], s.admissions[c].maxCount)
}

// Wait admits a request as Enter does, and waits for room if there is none, until
// ctx ends at most. The error says why it was not admitted.
func (s *Server) Wait(ctx context.Context, c Class, bytes int64) error {
	if err := s.CheckLag(c); err != nil {
		return err
	}
	switch a := &s.admissions[c]; {
	case a.wait(ctx, bytes):
		return nil
	case s.machine.Stopping():
		return failure.NodeStopping(context.Cause(ctx))
	default:
		return tooMany(a, c)
	}
}

// Leave makes the room free that a request was given.
func (s *Server) Leave(c Class, bytes int64) {
	if c != Free {
		s.admissions[c].leave(bytes)
	}
}

// CheckLag refuses a put or append while the store is far behind the log.
func (s *Server) CheckLag(c Class) error {
	if c != Writes {
		return nil
	}
	if lag := s.machine.ApplyLag(); lag > maxApplyLag {
		return s.overloaded("this node's store is %d entries behind its log (limit %d)", lag, maxApplyLag)
	}
	return nil
}

// CheckQueue refuses a request for which there is not even room to wait.
func (s *Server) CheckQueue(c Class) error {
	if a := &s.admissions[c]; a.full() {
		return s.overloaded("the queue for %s is full (limit %d)", c, a.maxWaiting)
	}
	return nil
}

// NoMemory refuses a write whose body finds no memory.
func (s *Server) NoMemory() error {
	return s.overloaded("no memory for another request body (%s of %s in use)", byteCount(s.bodies.Used()), byteCount(s.bodies.limit))
}

// overloaded refuses a write until those that are here will have been served.
func (s *Server) overloaded(format string, args ...any) error {
	return failure.Crowded(s.Load(Writes).retryAfter(s.machine.ApplyLag()), format, args...)
}

// tooMany refuses a request that waited for room in vain.
func tooMany(a *admission, c Class) error {
	l := a.load()
	// Which of the two it was is not kept: places may be free again by now.
	if l.Count < l.Limit && l.Bytes > a.maxBytes/2 {
		return failure.Crowded(l.retryAfter(0), "too many bytes of %s in flight (%s of %s)", c, byteCount(l.Bytes), byteCount(a.maxBytes))
	}
	return failure.Crowded(l.retryAfter(0), "too many %s in flight (limit %d)", c, l.Limit)
}

// byteCount writes a number of bytes, in MiB or GiB where that is exact.
func byteCount(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
