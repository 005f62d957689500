package machine

import (
	"testing"

	"raftkv/kvserver/kv"
)

// Goal: a mark is found while it is kept, never a newer one in its place.
// Method: a store that passes more marks than are kept.
func TestMarksAreKeptForAWhile(t *testing.T) {
	store, m := kv.New(), new(marks)
	digests := map[uint64]kv.Digest{}
	const last = markEvery * (marksKept + 10)
	for index := uint64(1); index <= last; index++ {
		store.Advance(index)
		m.note(store)
		if index%markEvery == 0 {
			digests[index] = store.Digest()
		}
	}
	for index := uint64(0); index <= last+markEvery; index += markEvery / 2 {
		noted, known := m.at(index)
		want := index%markEvery == 0 && index > last-markEvery*marksKept && index <= last
		if known != want || known && noted.digest != digests[index] {
			t.Fatalf("index %d: %s, %t; want %s, %t", index, noted.digest, known, digests[index], want)
		}
	}
}
