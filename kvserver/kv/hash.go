package kv

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"raftkv/kvserver/lease"
)

// Hash returns a cryptographic hash of the whole state: items, revision, log
// time, applied index, sessions with their lanes, idempotency records. Two
// servers that stand at the same index must have equal hashes. It takes time in
// proportion to what the store holds; Digest does not.
func (v *View) Hash() [sha256.Size]byte {
	d := hasher{to: sha256.New()}
	d.numbers(v.applied, v.revision, v.logTime, v.stamped.origin, v.stamped.time, uint64(v.items.len()))
	v.items.scan(func(key string, item Item) bool {
		d.numbers(uint64(len(key)), uint64(len(item.Value)), item.Revision, item.Version)
		d.to.Write([]byte(key))
		d.to.Write(item.Value)
		return true
	})
	if v.level >= LevelHistory {
		d.history(v)
	}
	d.numbers(uint64(v.sessions.Len()))
	v.sessions.Scan(func(id uint64, s session) bool {
		d.numbers(id, s.lastUsed)
		if s.owner != 0 {
			d.numbers(s.owner)
		}
		return true
	})
	d.numbers(uint64(v.lanes.Len()))
	v.lanes.Scan(func(l lane) bool {
		d.numbers(l.session, uint64(l.number), l.seq, uint64(l.status), bit(l.created), bit(l.deleted),
			l.revision, l.version, l.length)
		return true
	})
	d.numbers(uint64(v.records.len()))
	v.records.scan(func(r *record) bool {
		d.to.Write(r.id[:])
		d.to.Write(r.fingerprint[:])
		d.numbers(r.time, uint64(r.status), bit(r.created), bit(r.deleted), r.revision, r.version, uint64(r.length))
		if r.identity != 0 {
			d.numbers(r.identity)
		}
		return true
	})
	v.answers.tree.Scan(func(a answer) bool {
		d.numbers(a.session, uint64(a.lane), a.identity, uint64(len(a.encoded)))
		d.to.Write(a.id[:])
		d.to.Write(a.encoded)
		return true
	})
	if image := v.auth.Image(); image != nil {
		d.numbers(uint64(len(image)))
		d.to.Write(image)
	}
	return [sha256.Size]byte(d.to.Sum(nil))
}

// history writes what LevelHistory adds.
func (d *hasher) history(v *View) {
	d.numbers(v.level, uint64(v.compacted), v.historyLimit)
	d.leases(v)
	v.items.scan(func(_ string, item Item) bool {
		d.numbers(item.Created)
		return true
	})
	d.numbers(uint64(v.history.len()))
	v.history.scan(v.history.first, func(e *Event) bool {
		d.numbers(e.Revision, uint64(e.Op), uint64(e.place), uint64(len(e.Key)))
		d.to.Write([]byte(e.Key))
		d.numbers(uint64(e.Lease), uint64(e.PrevLease))
		for _, i := range []Item{e.Item, e.Prev} {
			d.numbers(uint64(len(i.Value)), i.Revision, i.Version, i.Created)
			d.to.Write(i.Value)
		}
		return true
	})
}

// leases writes lease time, leases and ties.
func (d *hasher) leases(v *View) {
	d.numbers(v.leases.Time(), v.leases.Free(), uint64(v.leases.Len()), uint64(v.leases.Ties()))
	v.leases.Scan(func(id int64, l *lease.Lease) bool {
		d.numbers(uint64(id), l.TTL, l.Deadline, l.Owner, uint64(len(l.Note)))
		d.to.Write([]byte(l.Note))
		return true
	})
	v.leases.ScanTies(func(key string, t lease.Tie) bool {
		d.numbers(uint64(len(key)), uint64(t.Lease), t.Deadline)
		d.to.Write([]byte(key))
		return true
	})
}

// hasher writes numbers in a fixed width. Together with the lengths before all
// byte strings, that makes the hashed text unambiguous.
type hasher struct {
	to      hash.Hash
	scratch []byte
}

func (d *hasher) numbers(numbers ...uint64) {
	d.scratch = d.scratch[:0]
	for _, n := range numbers {
		d.scratch = binary.LittleEndian.AppendUint64(d.scratch, n)
	}
	d.to.Write(d.scratch)
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
