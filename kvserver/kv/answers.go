package kv

import (
	"bytes"
	"encoding/binary"

	"github.com/tidwall/btree"

	"raftkv/kvserver/txn"
)

// MaxKeptAnswers bounds the answers of lanes, and as much those of records, in bytes. With
// the former full, the session that the log used least recently is evicted; with the
// latter, further requests under idempotency keys are refused.
const MaxKeptAnswers = 32 << 20

// answerCharge is what an answer costs in addition to its bytes.
const answerCharge = 128

// answer is an outcome that is remembered for a lane or a record, which have room for a
// few numbers only.
type answer struct {
	session uint64 // of the lane; 0: it is of a record
	lane    uint32
	recordName
	encoded []byte // see txn.Outcome.Kept
}

func (l *lane) answer() answer   { return answer{session: l.session, lane: l.number} }
func (r *record) answer() answer { return answer{recordName: r.name()} }

// answerLess orders answers by what they belong to.
func answerLess(a, b answer) bool {
	switch {
	case a.session != b.session:
		return a.session < b.session
	case a.lane != b.lane:
		return a.lane < b.lane
	case a.id != b.id:
		return bytes.Compare(a.id[:], b.id[:]) < 0
	}
	return a.identity < b.identity
}

// answers are all of them, and what those of lanes and of records are charged with.
type answers struct {
	tree               *btree.BTreeG[answer]
	ofLanes, ofRecords int
}

func newAnswers() answers {
	return answers{tree: btree.NewBTreeGOptions(answerLess, btree.Options{NoLocks: true})}
}

// charge adds what a number of answers like a cost.
func (all *answers) charge(a *answer, number int) {
	cost := number * (len(a.encoded) + answerCharge)
	if a.session != 0 {
		all.ofLanes += cost
	} else {
		all.ofRecords += cost
	}
}

func (a *answer) hash() uint64 {
	return hashOf(bytesHash(hashAnswer, a.encoded), a.session, uint64(a.lane),
		binary.LittleEndian.Uint64(a.id[:8]), binary.LittleEndian.Uint64(a.id[8:]), a.identity)
}

// keepAnswer remembers an outcome.
func (s *Store) keepAnswer(a answer, o *txn.Outcome) {
	a.encoded = o.Kept()
	s.addAnswer(a)
}

func (s *Store) addAnswer(a answer) {
	s.answers.tree.Set(a)
	s.answers.charge(&a, 1)
	s.sum += a.hash()
}

// dropAnswer forgets an outcome that is remembered.
func (s *Store) dropAnswer(a answer) {
	gone, found := s.answers.tree.Delete(a)
	assert(found, "kv: the answer of lane %d of session %d, or of a request, is missing", a.lane, a.session)
	s.answers.charge(&gone, -1)
	s.sum -= gone.hash()
}

// replayed adds to a remembered result the outcome, if there was one.
func (s *Store) replayed(r Result, answered bool, a answer) Result {
	if !answered {
		return r
	}
	kept, found := s.answers.tree.Get(a)
	assert(found, "kv: the answer of lane %d of session %d, or of a request, is missing", a.lane, a.session)
	outcome, err := txn.DecodeOutcome(kept.encoded)
	assert(err == nil, "kv: an answer that is remembered cannot be read: %v", err)
	r.Outcome = outcome
	return r
}

// HasOutcome reports whether the command's result has an Outcome, which is remembered as
// an answer.
func (c *Command) HasOutcome() bool { return c.Previous || c.Op.onMany() }

func writeAnswers(e *snapshotWriter, v, content *View) {
	v.answers.tree.Scan(func(a answer) bool {
		e.numbers(a.session)
		if a.session != 0 {
			e.numbers(uint64(a.lane))
		} else {
			e.raw(a.id[:])
			e.numbers(a.identity)
		}
		e.numbers(uint64(len(a.encoded)))
		e.raw(a.encoded)
		content.sum += a.hash()
		return e.err == nil
	})
}

// answers reads the section of the answers, which are those that lanes and records say
// they have.
func (d *snapshotReader) answers(s *Store) {
	wanted := 0
	s.lanes.Scan(func(l lane) bool {
		wanted += int(bit(l.answered))
		return true
	})
	s.records.scan(func(r *record) bool {
		wanted += int(bit(r.answered))
		return true
	})
	var last answer
	for d.more() {
		a := answer{session: d.number()}
		var belongs bool
		if a.session != 0 {
			a.lane = uint32(min(d.number(), MaxLanes))
			l, found := s.lanes.Get(lane{session: a.session, number: a.lane})
			belongs = found && l.answered
		} else {
			copy(a.id[:], d.raw(len(a.id)))
			a.identity = d.number()
			at, found := s.recordAt[a.recordName]
			belongs = found && s.records.at(at).answered
		}
		a.encoded = d.bytes("remembered answer", 1, txn.MaxAnswerBytes)
		if d.err != nil {
			return
		}
		if !belongs || s.answers.tree.Len() > 0 && !answerLess(last, a) {
			d.bad("an answer that belongs to no call")
			return
		}
		if !d.readable(a.encoded) {
			return
		}
		s.addAnswer(a)
		last = a
	}
	if d.err == nil && s.answers.tree.Len() != wanted {
		d.bad("%d answers, where %d are remembered", s.answers.tree.Len(), wanted)
	}
}

// readable checks that an answer can be given again.
func (d *snapshotReader) readable(encoded []byte) bool {
	_, err := txn.DecodeOutcome(encoded)
	if unknown := unknownOf(err); unknown != nil {
		d.unknown(unknown)
	} else if err != nil {
		d.bad("an answer: %v", err)
	}
	return err == nil
}
