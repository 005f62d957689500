package kv

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// Goal: the rolling digest is that of the content, whatever the way there.
// Method: random traffic of every kind in a store with small tables, where
// everything is evicted in its time; WriteTo makes the digest anew from the
// content and must agree, and two stores' digests are equal exactly when their
// hashes are.
func TestTheRollingDigestIsTheContents(t *testing.T) {
	for seed := range uint64(10) {
		s := newStore(rules{sessions: 4, lanes: 5, lanesTotal: 11, records: 40})
		g := &traffic{r: rand.New(rand.NewPCG(seed, 5))}
		seen := map[Digest][32]byte{}
		for index := uint64(1); index <= 1000; index++ {
			c := g.next(index)
			g.sent = append(g.sent, c)
			s.Apply(index, EncodeCommand(c))
			if index%5 != 0 {
				continue
			}
			if _, err := s.WriteTo(io.Discard); err != nil {
				t.Fatalf("seed %d, index %d: %v", seed, index, err)
			}
			hash := s.Hash()
			if other, twice := seen[s.Digest()]; twice && other != hash {
				t.Fatalf("seed %d, index %d: a digest that another state had", seed, index)
			}
			seen[s.Digest()] = hash
		}
	}
}

// Goal: every single difference shows. Method: change one thing of a restored
// copy in place, for each number and text that the state has.
func TestTheDigestShowsEveryDifference(t *testing.T) {
	s := populated(t)
	apply(s, keyed("one", "a"))
	apply(s, keyed("two", "b"))
	for name, change := range map[string]func(*Store){
		"applied":  func(s *Store) { s.applied++ },
		"revision": func(s *Store) { s.revision++ },
		"log time": func(s *Store) { s.logTime++ },
		"origin":   func(s *Store) { s.stamped.origin++ },
		"stamp":    func(s *Store) { s.stamped.time++ },
		"value": func(s *Store) {
			at, item := s.look([]byte("key9"))
			item.Value = bytes.Clone(item.Value)
			item.Value[3] ^= 1
			s.items.replace(at.row, item)
		},
		"version": func(s *Store) {
			at, item := s.look([]byte("key9"))
			item.Version++
			s.items.replace(at.row, item)
		},
		"item revision": func(s *Store) {
			at, item := s.look([]byte("key9"))
			item.Revision++
			s.items.replace(at.row, item)
		},
		"key": func(s *Store) {
			at, item := s.look([]byte("key9"))
			s.items.remove(at.row, at.hash)
			s.items.insert("kez9", keyHash("kez9"), item)
		},
		"values exchanged": func(s *Store) {
			at9, a := s.look([]byte("key9"))
			at10, b := s.look([]byte("key10"))
			s.items.replace(at9.row, b)
			s.items.replace(at10.row, a)
		},
		"item lost": func(s *Store) {
			at, _ := s.look([]byte("key9"))
			s.items.remove(at.row, at.hash)
		},
		"session lost":    func(s *Store) { s.sessions.Delete(51) },
		"session used":    func(s *Store) { s.sessions.Set(51, session{lastUsed: 52}) },
		"lane's number":   func(s *Store) { changeLane(s, func(l *lane) { s.lanes.Delete(*l); l.number = 99 }) },
		"lane's call":     func(s *Store) { changeLane(s, func(l *lane) { l.seq++ }) },
		"lane's answer":   func(s *Store) { changeLane(s, func(l *lane) { l.revision++ }) },
		"lane's flag":     func(s *Store) { changeLane(s, func(l *lane) { l.created = !l.created }) },
		"lane's status":   func(s *Store) { changeLane(s, func(l *lane) { l.status++ }) },
		"record's ID":     func(s *Store) { s.records.at(1).id[15] ^= 1 },
		"record's print":  func(s *Store) { s.records.at(1).fingerprint[0] ^= 1 },
		"record's time":   func(s *Store) { s.records.at(1).time++ },
		"record's answer": func(s *Store) { s.records.at(1).version++ },
		"record's flag":   func(s *Store) { s.records.at(1).deleted = true },
		"record lost":     func(s *Store) { s.records.pop() },
	} {
		changed := s.clone()
		change(changed)
		if changed.Hash() == s.Hash() {
			t.Errorf("%s: the hash does not show it", name)
		}
		// What only a damaged memory changes is shown by the digest of what is
		// written; the numbers outside of the trees are part of either.
		_, err := changed.WriteTo(io.Discard)
		if changed.Digest() == s.Digest() && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: the digest does not show it: %v", name, err)
		}
	}
}

func changeLane(s *Store, change func(*lane)) {
	l, _ := s.firstLane(51)
	change(&l)
	s.lanes.Set(l)
}

// Goal: memory that was damaged is not written as if it were whole. Method:
// flip a bit in a value, behind the store's back, and write.
func TestDamagedMemoryIsNotWritten(t *testing.T) {
	s := New()
	put(s, "k", strings.Repeat("v", 1000))
	item, _ := s.Get([]byte("k"))
	item.Value[500] ^= 1
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("written: %v", err)
	}
	if _, err := Restore(&b); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("and restored: %v", err)
	}
}

// Goal: a snapshot whose content is not that of its digest is refused. Method:
// the digest of one store behind the content of another.
func TestASnapshotWithAnothersDigestIsRefused(t *testing.T) {
	write := func(value string) []byte {
		s := New()
		put(s, "k", value)
		var b bytes.Buffer
		if _, err := s.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one, other := write("1"), write("2")
	copy(one[len(one)-8:], other[len(other)-8:])
	if _, err := Restore(bytes.NewReader(one)); !errors.Is(err, ErrBadSnapshot) || !strings.Contains(err.Error(), "digest") {
		t.Errorf("%v", err)
	}
}

// Goal: a hash of numbers spreads: one bit of a number changes about half of
// the hash. Method: every bit of a few numbers, as first and as second of two.
func TestOneBitChangesHalfOfTheHash(t *testing.T) {
	total, count := 0, 0
	for _, n := range []uint64{0, 1, 1000, 1 << 40, 0xdeadbeefdeadbeef} {
		for bit := range 64 {
			for _, h := range []int{
				bits.OnesCount64(hashOf(n, 7, 7) ^ hashOf(n^1<<bit, 7, 7)),
				bits.OnesCount64(hashOf(7, n, 7) ^ hashOf(7, n^1<<bit, 7)),
			} {
				total += h
				count++
				if h < 8 {
					t.Errorf("bit %d of %x changes %d bits", bit, n, h)
				}
			}
		}
	}
	if mean := float64(total) / float64(count); mean < 30 || mean > 34 {
		t.Errorf("%.1f bits change on average", mean)
	}
}

// Goal: the hash of a key depends on every byte of it, and on how many there are.
// Method: keys of many lengths, each with one bit changed at every place.
func TestTheHashOfAKeyIsOfAllOfIt(t *testing.T) {
	for length := range 41 {
		key := bytes.Repeat([]byte{'k'}, length)
		hash := keyHash(key)
		if keyHash(append(bytes.Clone(key), 0)) == hash {
			t.Errorf("a key of %d bytes with a zero byte behind it has the same hash", length)
		}
		for i := range key {
			other := bytes.Clone(key)
			other[i] ^= 4
			if keyHash(other) == hash {
				t.Errorf("of %d bytes, byte %d makes no difference", length, i)
			}
		}
		if length > 0 && keyHash(string(key)) != hash {
			t.Errorf("a key of %d bytes has another hash as a string", length)
		}
	}
}
