package core

import (
	"bytes"
	"errors"
	"runtime/metrics"
	"strings"
	"testing"
	"unsafe"
)

// Goal: the encoding on disk and wire is what its comment draws, byte by byte.
// Method: one entry of each kind of length; these bytes must never change.
func TestEntryEncoding_IsTheOneOnDisk(t *testing.T) {
	entries := []Entry{
		NewEntry(5, 1, KindCommand, []byte("ab")),
		NewEntry(6, 300, KindNoop, nil),
		NewEntry(7, 300, KindNoop, []byte("0123456789abcdef")),
		NewEntry(8, 300, KindCommand, bytes.Repeat([]byte{7}, 130)),
	}
	want := "\x01\x00\xe1T/g\x02ab" + "\xac\x02\x01\xe4\xf5\xa7(\x00" + "\xac\x02\x01\x98\xb7H\xe5\x100123456789abcdef" + "\xac\x02\x00\x86lHA\x82\x01" + strings.Repeat("\x07", 130)
	got := EncodeEntries([]byte("head"), entries)
	if string(got) != "head"+want {
		t.Fatalf("encoded as %q, want %q", got, want)
	}
	back, err := DecodeEntries(got[4:], 5, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range back {
		if w := entries[i]; e.Index != w.Index || e.Term != w.Term || e.Kind != w.Kind || e.Sum != w.Sum || !bytes.Equal(e.Data, w.Data) {
			t.Fatalf("entry %d came back as %+v", i, e)
		}
		if cap(e.Data) != len(e.Data) {
			t.Fatalf("entry %d has room behind its data: an append to it would write into the next", i)
		}
	}
}

// Goal: whatever is cut off, left over or announced wrongly is an error.
// Method: every prefix of a good encoding, one byte more, other counts, and
// first indices that cannot be.
func TestDecodeEntries_RefusesWhatDoesNotFit(t *testing.T) {
	good := EncodeEntries(nil, entriesOf(1, 1, 200, 70000))
	for cut := range len(good) {
		if _, err := DecodeEntries(good[:cut], 1, 3); err == nil {
			t.Errorf("the first %d of %d bytes were taken", cut, len(good))
		}
	}
	if _, err := DecodeEntries(good[:len(good)-1], 1, 3); !errors.Is(err, errTruncatedEntry) {
		t.Errorf("a byte missing: %v", err)
	}
	for name, c := range map[string]struct {
		b     []byte
		first uint64
		count int
	}{
		"a byte too many":         {append(bytes.Clone(good), 0), 1, 3},
		"one entry too few":       {good, 1, 2},
		"one entry too many":      {good, 1, 4},
		"none announced":          {good, 1, 0},
		"a negative count":        {good, 1, -1},
		"a huge count":            {good, 1, 1 << 60},
		"index 0":                 {good, 0, 3},
		"indices that wrap":       {good, ^uint64(0) - 1, 3},
		"a length beyond the end": {[]byte{1, 0, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0}, 1, 1},
		"a length that overflows": {[]byte{1, 0, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}, 1, 1},
		"a term that overflows":   {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0}, 1, 1},
	} {
		if entries, err := DecodeEntries(c.b, c.first, c.count); err == nil {
			t.Errorf("%s: decoded %d entries", name, len(entries))
		}
	}
	if entries, err := DecodeEntries(nil, 0, 0); err != nil || len(entries) != 0 {
		t.Errorf("nothing: %v, %v", entries, err)
	}
}

// Goal: garbage that announces as many entries as could fit is refused before
// anything is allocated for them: it once cost sixteen times its size.
// Method: 1 MiB of entries; only the last of them is damaged.
func TestDecodeEntries_GarbageCostsNothing(t *testing.T) {
	count := 1 << 20 / minEncodedEntry
	b := manySmall(count)
	b[len(b)-1] = 9
	used, ok := allocatesAtMost(64<<10, func() {
		if _, err := DecodeEntries(b, 1, count); err == nil {
			t.Error("garbage was taken")
		}
	})
	if !ok {
		t.Fatalf("%d bytes of garbage made the decoder allocate %d", len(b), used)
	}
}

// manySmall encodes count entries of the shortest kind, from index 1 on.
func manySmall(count int) []byte {
	var b []byte
	for i := range count {
		b = AppendEntry(b, NewEntry(uint64(i)+1, 1, KindCommand, nil))
	}
	return b
}

// allocatesAtMost reports whether f allocates no more than limit bytes, and what
// it did. Others may allocate at the same time: only what happens each time is
// held against f.
func allocatesAtMost(limit uint64, f func()) (used uint64, ok bool) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	for range 5 {
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		f()
		metrics.Read(sample)
		if used = sample[0].Value.Uint64() - before; used <= limit {
			return used, true
		}
	}
	return used, false
}

// entryBytes is the size of an Entry in memory. An encoded one has seven bytes
// at least: a good run of entries without data is seven times as large in
// memory, which no care in the decoder can change.
const entryBytes = int(unsafe.Sizeof(Entry{}))

// Goal: no input makes the decoder panic or allocate out of proportion, and
// what it accepts it accepts for what it is.
// Method: native fuzzing of bytes, first index and count. What is refused
// costs at most 4 × input + 64 KiB, what is accepted the entries besides; it
// re-encodes to entries that are equal.
func FuzzDecodeEntries(f *testing.F) {
	good := EncodeEntries(nil, entriesOf(1, 1, 1, 300))
	f.Add(good, uint64(1), 3)
	f.Add(good, uint64(7), 4)
	f.Add([]byte{}, uint64(0), 0)
	f.Add([]byte{1, 0, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, uint64(1), 1)
	f.Add(AppendEntry(nil, NewEntry(3, 2, KindNoop, []byte("0123456789abcdef"))), uint64(3), 1)
	f.Add(AppendEntry(nil, NewEntry(3, 2, KindConfiguration, []byte("x"))), uint64(3), 1)
	f.Add(bytes.Repeat([]byte{0xff}, 64), uint64(1), 21)
	f.Add(manySmall(400), uint64(9), 400)
	f.Add(manySmall(2000), uint64(1), 2000)
	f.Fuzz(func(t *testing.T, b []byte, first uint64, count int) {
		entries, err := DecodeEntries(b, first, count)
		limit := uint64(4*len(b) + 64<<10 + entryBytes*len(entries))
		if used, ok := allocatesAtMost(limit, func() { _, _ = DecodeEntries(b, first, count) }); !ok {
			t.Fatalf("%d bytes of input made the decoder allocate %d, the limit is %d", len(b), used, limit)
		}
		if err != nil {
			return
		}
		if len(entries) != count {
			t.Fatalf("%d entries for %d", len(entries), count)
		}
		again, err := DecodeEntries(EncodeEntries(nil, entries), first, count)
		if err != nil {
			t.Fatalf("what was decoded cannot be decoded again: %v", err)
		}
		for i, e := range again {
			if old := entries[i]; e.Index != old.Index || e.Term != old.Term || e.Kind != old.Kind || e.Sum != old.Sum || !bytes.Equal(e.Data, old.Data) {
				t.Fatalf("entry %d was %+v and is %+v", i, old, e)
			}
		}
	})
}
