package kv

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var writeSeveral = flag.Bool("several.write", false, "write the state that tests of package watch read")

// several is a file in which changes have three events each, as commands to come make
// them. Package watch reads it: nothing outside of this package can make such a state.
var several = filepath.Join("..", "watch", "testdata", "several.snapshot")

// Goal: a change of several events is in the snapshot and in the digest with the order
// of its events, and goes as a whole. Method: a state with such changes, made by hand; it
// is what package watch reads.
func TestChangesOfSeveralEvents(t *testing.T) {
	s := NewAt(LevelHistory)
	for i := range 20 {
		s.Advance(s.applied + 1)
		s.revision++
		for place, key := range []string{"b", "a", "c"} {
			at, old := s.look([]byte(key))
			value := bytes.Repeat([]byte{byte('a' + i)}, 1000)
			item := Item{Value: value, Revision: s.revision, Version: old.Version + 1, Created: 2, checksum: checksumOf(0, value)}
			s.bytes += len(value) - len(old.Value)
			s.sum += item.hash(at.hash)
			if at.found {
				s.sum -= old.hash(at.hash)
				s.items.replace(at.row, item)
			} else {
				s.bytes += len(key)
				s.items.insert(key, at.hash, item)
			}
			s.sum += s.state.history.push(Event{Revision: s.revision, Key: key, Op: EventPut, place: uint32(place), hash: at.hash, Item: item, Prev: old}).sum()
		}
	}
	whole := written(t, s)
	if *writeSeveral {
		if err := os.WriteFile(several, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if file, err := os.ReadFile(several); err != nil || !bytes.Equal(file, whole) {
		t.Errorf("%s is another state: %v", several, err)
	}
	again := copied(t, s)
	apply(again, Forget(5))
	if again.HistoryEvents() != 3*17 {
		t.Errorf("%d events are left of changes of three", again.HistoryEvents())
	}
	one, other := s.state.history.at(0), s.state.history.at(1)
	before := s.Digest()
	s.sum -= one.sum() + other.sum()
	one.place, other.place = other.place, one.place
	s.sum += one.sum() + other.sum()
	if s.Digest() == before {
		t.Error("the digest does not show the order of the events of a change")
	}
}
