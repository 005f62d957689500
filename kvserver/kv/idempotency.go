package kv

import (
	"crypto/sha256"
	"slices"
	"strconv"
)

// record is the memory of one request that was made under an idempotency key. It
// holds no pointer, so a million of them cost the garbage collector nothing; for
// the same reason it holds 128 bits of the key's hash instead of the key.
type record struct {
	id          recordID
	identity    uint64   // to which it belongs; 0: to whoever repeats the request
	fingerprint [16]byte // of the request
	time        uint64   // log time when it was answered, milliseconds
	revision    uint64
	version     uint64
	length      uint32
	status      Status
	created     bool
	deleted     bool
	answered    bool // there is an answer; see answers
}

// recordName finds a record: the same key of two identities is two keys.
type recordName struct {
	id       recordID
	identity uint64
}

func (r *record) name() recordName { return recordName{r.id, r.identity} }

// recordID is the beginning of the hash of an idempotency key.
type recordID [16]byte

func recordIDOf(key string) recordID {
	sum := sha256.Sum256([]byte(key))
	return recordID(sum[:16])
}

// fingerprint distinguishes requests under the same idempotency key. The fields
// that the proposing server adds (identity, time, limits) are not part of the
// request.
func fingerprint(c Command) [16]byte {
	d := hasher{to: sha256.New()}
	d.numbers(uint64(c.Op), uint64(c.Condition.Kind), c.Condition.Number, uint64(len(c.Key)), uint64(len(c.Value)))
	d.to.Write(c.Key)
	d.to.Write(c.Value)
	if c.Previous {
		d.numbers(flagPrevious)
	}
	if flags := c.leaseFlags(); flags != 0 {
		d.numbers(flags, uint64(c.Tie.Lease), c.Tie.TTL)
	}
	if c.Guard != (Guard{}) {
		d.numbers(flagGuard, uint64(len(c.Guard.Lock)), c.Guard.Token)
		d.to.Write([]byte(c.Guard.Lock))
	}
	return [16]byte(d.to.Sum(nil))
}

// runKeyed runs a request under an idempotency key unless it was run before.
//
// An answer is remembered if the store's content decided it: a change that was
// made, a condition that failed. A refusal by a limit is not remembered. It holds
// for this copy of the request, which changed nothing; the same request sent
// again may find room. So a request is applied at most once either way.
//
// A request that waited for a lock and was withdrawn from the queue has changed nothing
// either: its repetition waits anew, and what is remembered then counts. So does one whose
// own lease has ended since, whether or not it held the lock for a while. One that left by
// itself, or that a LeaveQueue took out, has had its answer.
func (s *Store) runKeyed(c Command) Result {
	if c.withdraws() { // the key is that of another request
		return s.run(c)
	}
	id, print := recordIDOf(c.IdempotencyKey), fingerprint(c)
	switch r := s.recorded(recordName{id, c.owner()}, print); {
	case r == nil:
	case r.fingerprint != print:
		return Result{Status: StatusIdempotencyMismatch, Revision: s.revision}
	case !s.hasLeft(r, &c):
		return s.replayed(r.result(), r.answered, r.answer())
	}
	if s.records.len() >= s.rules.records || c.HasOutcome() && s.answers.ofRecords >= s.rules.answers {
		return Result{Status: StatusIdempotencyFull, Revision: s.revision}
	}
	result := s.run(c)
	if !result.Status.decided() {
		return result
	}
	new := record{
		id: id, identity: c.owner(), fingerprint: print, time: s.logTime,
		revision: result.Revision, version: result.Version, length: uint32(result.Length),
		status: result.Status, created: result.Created, deleted: result.Deleted, answered: result.Outcome != nil,
	}
	s.remember(new)
	if new.answered {
		s.keepAnswer(new.answer(), result.Outcome)
	}
	return result
}

// recorded returns what is remembered of a request, nil if nothing is. A request that
// was made by nobody, before identities counted, is known again by whoever repeats it,
// and only by its repetition.
func (s *Store) recorded(name recordName, print [16]byte) *record {
	if at, known := s.recordAt[name]; known {
		return s.records.at(at)
	}
	if at, known := s.recordAt[recordName{id: name.id}]; known && s.records.at(at).fingerprint == print {
		return s.records.at(at)
	}
	return nil
}

// hasLeft reports whether a request for a lock, which is repeated, has left the queue: the
// lease that was made for it has ended, or its lease was withdrawn from the queue since the
// request came there, whichever request of that lease was withdrawn.
func (s *Store) hasLeft(r *record, c *Command) bool {
	if c.Op != OpAcquire || r.status != StatusQueued {
		return false
	}
	if _, alive := s.leases.Get(int64(r.version)); c.makesLease() {
		return !alive
	}
	left, withdrawn := s.recordAt[recordName{id: withdrawalID(string(c.Key), int64(r.version))}]
	return withdrawn && left > s.recordAt[r.name()]
}

// withdraw notes that a lease has left the queue of a lock with a request that may come back.
func (s *Store) withdraw(name string, lease int64) {
	if s.records.len() < s.rules.records {
		s.remember(record{id: withdrawalID(name, lease), time: s.logTime, version: uint64(lease), status: StatusLockNotFound})
	}
}

// withdrawalID finds the record of a withdrawal. No idempotency key has a byte 0.
func withdrawalID(name string, lease int64) recordID {
	return recordIDOf("\x00withdrawn\x00" + strconv.FormatInt(lease, 10) + "\x00" + name)
}

// remember adds a record. One that there is of the same name counts no more.
func (s *Store) remember(r record) {
	s.recordAt[r.name()] = s.records.push(r)
	s.sum += r.hash()
}

// expiredPerCommand bounds the old records that one command removes, so that the
// first command after a long pause does not pay for all of them.
const expiredPerCommand = 64

// forgetExpired removes the oldest records if they are older than the window. A
// record that stays a little longer is honoured as long as it stays.
func (s *Store) forgetExpired() {
	for range expiredPerCommand {
		if s.records.len() == 0 {
			return
		}
		eldest := s.records.at(s.records.first)
		if s.logTime-eldest.time < IdempotencyWindow {
			return
		}
		s.sum -= eldest.hash()
		if s.recordAt[eldest.name()] == s.records.first {
			delete(s.recordAt, eldest.name())
		}
		if eldest.answered {
			s.dropAnswer(eldest.answer())
		}
		s.records.pop()
	}
}

// result is the answer that the request got.
func (r *record) result() Result {
	return Result{
		Status:   r.status,
		Revision: r.revision,
		Version:  r.version,
		Length:   uint64(r.length),
		Created:  r.created,
		Deleted:  r.deleted,
		Replayed: true,
	}
}

// flags packs the boolean fields of the answer into a number.
func (r *record) flags() uint64 { return flagsOf(r.created, r.deleted, r.answered) }

// recordQueue holds the records in the order of their arrival, which is the order
// of their times. A record never changes, so a copy of the queue is a frozen
// queue: records that the original takes in later lie beyond the copy's end.
type recordQueue struct {
	chunks      []*[recordChunk]record // chunks[0] holds the record at position first
	first, next uint64                 // positions of the oldest record and of the next one to come
}

const recordChunk = 512

func (q *recordQueue) len() int { return int(q.next - q.first) }

// at returns the record at a position that push has returned. It must not be
// changed.
func (q *recordQueue) at(position uint64) *record {
	chunk := position/recordChunk - q.first/recordChunk
	return &q.chunks[chunk][position%recordChunk]
}

// push adds a record and returns its position.
func (q *recordQueue) push(r record) uint64 {
	position := q.next
	if position/recordChunk-q.first/recordChunk == uint64(len(q.chunks)) {
		q.chunks = append(q.chunks, new([recordChunk]record))
	}
	q.next++
	*q.at(position) = r
	return position
}

// pop removes the oldest record.
func (q *recordQueue) pop() {
	q.first++
	if q.first%recordChunk == 0 {
		// A list of its own: the old one would keep the chunk alive, and a frozen
		// queue may still read from that.
		q.chunks = slices.Clone(q.chunks[1:])
	}
}

// scan calls fn for the records, the oldest first, until fn returns false.
func (q *recordQueue) scan(fn func(r *record) bool) {
	for position := q.first; position < q.next; position++ {
		if !fn(q.at(position)) {
			return
		}
	}
}

// idempotencyKeyFits reports whether a key has a permitted length and permitted
// characters only.
func idempotencyKeyFits(key string) bool {
	if len(key) > MaxIdempotencyKeyBytes {
		return false
	}
	for _, b := range []byte(key) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}
