package kv

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"

	"raftkv/kvserver/lease"
	"raftkv/kvserver/lock"
)

// Digest is a short hash of the whole state, kept up to date by every change.
// Servers that stand at the same index must have equal digests. Differences, one
// or many, are missed with a probability of one in 2^64 (in 2^32, if only values
// of equal lengths differ). A digest is no protection against an attacker that
// searches for two states with the same one.
type Digest uint64

// DigestVersion is the newest version of the way to make digests, that of stores from
// LevelHistory on; see View.DigestVersion. Digests of different versions cannot be
// compared.
const DigestVersion = 2

// DigestVersion returns the version of the view's digest. It follows from the level,
// so it is the same for all servers that stand at one index.
func (v *View) DigestVersion() int {
	if v.level < LevelHistory {
		return 1
	}
	return DigestVersion
}

func (d Digest) String() string { return fmt.Sprintf("%016x", uint64(d)) }

// Digest returns the digest of the state. Its cost does not depend on the size of
// the store.
//
// It is the sum of the hashes of everything in the trees, in any order, mixed
// with the numbers outside of them. When one thing changes, the sum is corrected
// by subtracting its old hash.
func (v *View) Digest() Digest {
	base := hashOf(v.sum, v.applied, v.revision, v.logTime, v.stamped.origin, v.stamped.time, uint64(v.bytes),
		uint64(v.items.len()), uint64(v.sessions.Len()), uint64(v.lanes.Len()), uint64(v.records.len()))
	if v.level < LevelHistory {
		return Digest(base)
	}
	base = hashOf(base, v.level, uint64(v.compacted), v.historyLimit, uint64(v.history.len()))
	base = hashOf(base, v.leases.Time(), v.leases.Free(), uint64(v.leases.Len()), uint64(v.leases.Ties()), v.leases.Sum)
	return Digest(hashOf(base, uint64(v.locks.Len()), uint64(v.locks.Held()), uint64(v.locks.Waiting()), v.locks.Sum))
}

// Kinds of hashed things. Equal numbers of different things must have different
// hashes.
const (
	hashItem uint64 = 1 + iota
	hashSession
	hashLane
	hashRecord
	hashLease
	hashTie
	hashLock
)

// hashAnswer is the kind of the answers that are remembered whole.
const hashAnswer uint64 = 8

// hashEvent is the kind of the history's events. The numbers between are kept.
const hashEvent uint64 = 9

// Kinds of the table of identities.
const (
	hashIdentity uint64 = 10 + iota
	hashToken
	hashAuthState
)

// mix works the number n into the hash h. For a given h different numbers give
// different hashes.
func mix(h, n uint64) uint64 {
	h = (h ^ n) * 0x9e3779b97f4a7c15
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>29
}

func hashOf(numbers ...uint64) uint64 {
	h := uint64(0)
	for _, n := range numbers {
		h = mix(h, n)
	}
	return h
}

// keyHash returns the common beginning of the hashes of all values of a key.
func keyHash[K string | []byte](key K) uint64 { return bytesHash(hashItem, key) }

// bytesHash returns the hash of bytes that are a thing of this kind.
func bytesHash[K string | []byte](kind uint64, key K) uint64 {
	h := mix(mix(0, kind), uint64(len(key)))
	for len(key) >= 8 {
		h = mix(h, word(key))
		key = key[8:]
	}
	rest := uint64(0)
	for i := range len(key) {
		rest |= uint64(key[i]) << (8 * i)
	}
	return mix(h, rest)
}

// word reads the first eight bytes of b, as encoding/binary does of a slice.
func word[K string | []byte](b K) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// hash returns the hash of an item under the key with this hash.
func (i *Item) hash(key uint64) uint64 {
	h := mix(mix(mix(key, i.Revision), i.Version), uint64(len(i.Value))<<32|uint64(i.checksum))
	if i.Created != 0 {
		h = mix(h, i.Created)
	}
	return h
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOf continues the checksum of a value, 0 for none, over more bytes at
// its end.
func checksumOf(checksum uint32, more []byte) uint32 { return crc32.Update(checksum, castagnoli, more) }

func (s session) hash(id uint64) uint64 {
	h := hashOf(hashSession, id, s.lastUsed)
	if s.owner != 0 {
		h = mix(h, s.owner)
	}
	return h
}

func (l *lane) hash() uint64 {
	return hashOf(hashLane, l.session, uint64(l.number)<<16|uint64(l.status)<<8|l.flags(), l.seq, l.revision, l.version, l.length)
}

func (r *record) hash() uint64 {
	half := func(b [16]byte) (uint64, uint64) {
		return binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
	}
	id, idEnd := half(r.id)
	print, printEnd := half(r.fingerprint)
	h := hashOf(hashRecord, id, idEnd, print, printEnd, r.time, uint64(r.status)<<8|r.flags(), r.revision, r.version, uint64(r.length))
	if r.identity != 0 {
		h = mix(h, r.identity)
	}
	return h
}

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
	d.locks(v)
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

// locks writes the locks.
func (d *hasher) locks(v *View) {
	value := func(b []byte) {
		d.numbers(uint64(len(b)))
		d.to.Write(b)
	}
	d.numbers(uint64(v.locks.Len()))
	v.locks.Ascend("", func(name string, l lock.Lock) bool {
		value([]byte(name))
		d.numbers(uint64(l.Limit), uint64(len(l.Holders)), uint64(len(l.Queue)), uint64(len(l.Delays)))
		for i := range l.Holders {
			d.numbers(l.Holders[i].Token, uint64(l.Holders[i].Lease), l.Holders[i].Delay)
			value(l.Holders[i].Value)
		}
		for i := range l.Queue {
			d.numbers(l.Queue[i].Since, uint64(l.Queue[i].Lease), l.Queue[i].Delay)
			value(l.Queue[i].Value)
		}
		d.numbers(l.Delays...)
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
