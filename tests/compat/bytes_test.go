package compat

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// drawn reads numbers at the offsets that docs/storage.md draws, without the code
// that writes them.
type drawn struct {
	*testing.T
	what string
	b    []byte
}

func drawnFile(t *testing.T, name string) drawn {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "v0.1.0", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return drawn{t, name, b}
}

func (d drawn) u32(at int) uint32 { return binary.LittleEndian.Uint32(d.b[at:]) }
func (d drawn) u64(at int) uint64 { return binary.LittleEndian.Uint64(d.b[at:]) }

func (d drawn) is(what string, got, want uint64) {
	d.Helper()
	if got != want {
		d.Errorf("%s: %s is %d (%#x), not %d (%#x)", d.what, what, got, got, want, want)
	}
}

func (d drawn) holds(at int, want string) {
	d.Helper()
	if got := string(d.b[at : at+len(want)]); got != want {
		d.Errorf("%s: %q stands at %d, not %q", d.what, got, at, want)
	}
}

func (d drawn) zeros(from, to int) {
	d.Helper()
	for at := from; at < to; at++ {
		if d.b[at] != 0 {
			d.Errorf("%s: the byte at %d is %#x, not zero", d.what, at, d.b[at])
		}
	}
}

// sum compares a checksum, which starts from another number.
func (d drawn) sum(at int, start uint32, from, to int) {
	d.Helper()
	want := crc32.Update(start, crc32.MakeTable(crc32.Castagnoli), d.b[from:to])
	d.is("the checksum of a range", uint64(d.u32(at)), uint64(want))
}

// Goal: a log's bytes are those that docs/storage.md draws. Method: the fields of
// the first segment of the kept log, one after the other: its header, and every
// record up to the seal.
func TestTheLogHasTheDrawnBytes(t *testing.T) {
	d := drawnFile(t, "log/0000000000000001.wal")
	d.holds(0, "raftkv\x00W")
	d.is("the version", uint64(d.u32(8)), 2)
	d.sum(12, 0, 0, 12)
	d.sum(16, 0, 20, 4096)
	d.is("the checksum before", uint64(d.u32(20)), 0)
	for at, want := range map[int]uint64{24: 1, 32: uint64(len(d.b)), 40: 0, 48: 0, 56: 1} {
		d.is("a number of the header", d.u64(at), want)
	}
	d.is("the length of the cluster id", uint64(d.u32(64)), 6)
	d.is("the length of the node id", uint64(d.u32(68)), 2)
	d.holds(72, "compat\x00")
	d.holds(136, "n1\x00")
	d.zeros(200, 4096)

	identity := d.u32(16)
	at, before, batches, snapshots := 4096, identity, uint64(0), 0
	for ; d.b[at+12] == 1 || d.b[at+12] == 4; batches++ {
		length := int(d.u64(at + 16))
		payload, end := at+32, at+32+(length+7)&^7
		d.sum(at, identity^uint32(at), at+4, at+32)
		d.is("the checksum of the record before", uint64(d.u32(at+4)), uint64(before))
		d.sum(at+8, 0, payload, end)
		d.zeros(at+13, at+16)
		d.is("the number of the batch", d.u64(at+24), batches+1)
		if d.b[at+12] == 4 {
			snapshots++
			d.snapshotRecord(payload)
			payload += 48
		}
		d.batch(batches, payload)
		before, at = d.u32(at), end
	}
	d.is("the type of the last record", uint64(d.b[at+12]), 3)
	d.is("the number in the seal", d.u64(at+24), batches)
	d.zeros(at+32, len(d.b))
	if batches < 5 || snapshots != 1 {
		t.Errorf("void: %d batches and %d snapshots", batches, snapshots)
	}
}

// snapshotRecord checks what a batch says of the snapshot at index 3.
func (d drawn) snapshotRecord(at int) {
	d.Helper()
	for offset, want := range map[int]uint64{0: 3, 8: 1, 16: 1, 24: 0, 32: 0, 40: 0} {
		d.is("a number of the record of a snapshot", d.u64(at+offset), want)
	}
}

// batch checks the payload of one of the first two batches.
func (d drawn) batch(number uint64, at int) {
	d.Helper()
	if number > 1 {
		return
	}
	want := [][3]uint64{{1, 0, 0}, {1, 1, 2}}[number]
	for i, name := range []string{"term", "from", "commit"} {
		d.is("the "+name, d.u64(at+8*i), want[i])
	}
	d.is("the length of the vote", uint64(d.b[at+28]), 2)
	d.zeros(at+29, at+32)
	d.holds(at+32, "n2")
	d.is("the count", uint64(d.u32(at+24)), 4*number)
	if number == 0 {
		return
	}
	entry := at + 34
	d.is("the entry's term", uint64(d.b[entry]), 1)
	d.is("the entry's kind", uint64(d.b[entry+1]), 1)
	d.is("the entry's length", uint64(d.b[entry+6]), 16)
	d.holds(entry+7, string(uid[:]))
	sum := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1), 1) // index, term
	sum = append(append(sum, 1), uid[:]...)
	d.is("the entry's checksum", uint64(d.u32(entry+2)), uint64(crc32.Checksum(sum, crc32.MakeTable(crc32.Castagnoli))))
}

// Goal: a snapshot's bytes are those that docs/storage.md draws. Method: the
// fields of the kept container, and of its block and trailer.
func TestTheSnapshotHasTheDrawnBytes(t *testing.T) {
	d := drawnFile(t, "snapshot/snapshot")
	d.holds(0, "raftkv\x00S")
	d.is("the version", uint64(d.u32(8)), 2)
	d.sum(12, 0, 0, 12)
	d.sum(16, 0, 20, 128)
	d.is("the length of the cluster id", uint64(d.u32(20)), 6)
	d.is("the index", d.u64(24), 12)
	d.is("the term", d.u64(32), 3)
	d.holds(40, "compat\x00")
	d.zeros(46, 104)
	d.is("the group", uint64(d.u32(104)), 1)
	d.holds(108, string(uid[:]))
	d.zeros(124, 128)

	identity, length := d.u32(16), len(stateBytes)
	d.sum(128, identity^128, 132, 144)
	d.sum(132, 0, 144, 144+length)
	d.is("the kind of the block", uint64(d.u32(136)), 1)
	d.is("its length", uint64(d.u32(140)), uint64(length))
	d.holds(144, string(stateBytes))
	trailer := 144 + length
	d.sum(trailer, identity^uint32(trailer), trailer+4, trailer+16)
	d.is("the kind of the trailer", uint64(d.u32(trailer+8)), 2)
	d.is("its length", uint64(d.u32(trailer+12)), 16)
	d.is("the length of all blocks", d.u64(trailer+16), uint64(length))
	d.sum(trailer+24, 0, 128, 132)
	d.zeros(trailer+28, trailer+32)
	d.is("the end", uint64(len(d.b)), uint64(trailer+32))
}
