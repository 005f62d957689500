package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// altered returns a sound container whose header has other bytes: the change is
// made and then sealed by the checksums.
func altered(t *testing.T, at int, bytes ...byte) []byte {
	t.Helper()
	b := pack(t, testHeader, noise(9, 300), 100)
	copy(b[at:], bytes)
	return reseal(b)
}

// Goal: what a later raftkv may put into the container is refused by its number
// and never skipped, and a version of before the first release is refused as
// that. Method: each of them under valid checksums.
func TestWhatThisVersionDoesNotKnowIsRefusedByNumber(t *testing.T) {
	for name, c := range map[string]struct {
		container []byte
		want      VersionError
		says      string
	}{
		"version 1":         {altered(t, 8, 1), VersionError{whatVersion, 1, 2, 2}, "before the first release"},
		"version 3":         {altered(t, 8, 3), VersionError{whatVersion, 3, 2, 2}, "newer raftkv"},
		"group 0":           {altered(t, groupAt, 0), VersionError{whatGroup, 0, 1, 1}, "group 0"},
		"group 2":           {altered(t, groupAt, 2), VersionError{whatGroup, 2, 1, 1}, "group 2"},
		"group 1<<24 + 1":   {altered(t, groupAt, 1, 0, 0, 1), VersionError{whatGroup, 1<<24 + 1, 1, 1}, "group 16777217"},
		"first byte kept":   {altered(t, uidTo, 7), VersionError{"byte 124 of the header", 7, 0, 0}, "byte 124 of the header 7"},
		"last byte kept":    {altered(t, headerBytes-1, 9), VersionError{"byte 127 of the header", 9, 0, 0}, "newer raftkv"},
		"block kind 4":      {altered(t, headerBytes+8, 4), VersionError{whatBlock, 4, 1, 3}, "block kind 4"},
		"block kind 0":      {altered(t, headerBytes+8, 0), VersionError{whatBlock, 0, 1, 3}, "block kind 0"},
		"block kind 1 << 8": {altered(t, headerBytes+9, 1), VersionError{whatBlock, 257, 1, 3}, "block kind 257"},
	} {
		_, _, err := unpack(t, c.container)
		var version *VersionError
		if !errors.As(err, &version) || *version != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var damage *CorruptionError
	if _, _, err := unpack(t, altered(t, clusterIDTo-1, 'x')); !errors.As(err, &damage) || damage.Offset != clusterIDTo-1 {
		t.Errorf("a byte behind the cluster id: %v", err)
	}
}

// Goal: the group and the uid stand where docs/storage.md draws them, come back
// from the reader, and are under the header's checksum: blocks of a cluster with
// another uid are refused. Method: two containers that differ only in the uid.
func TestTheHeaderHoldsTheGroupAndTheUID(t *testing.T) {
	h := Header{ClusterID: "c1", Index: 5, Term: 2}
	for i := range h.UID {
		h.UID[i] = byte(0xa0 + i)
	}
	b := pack(t, h, noise(1, 10), 10)
	if group := binary.LittleEndian.Uint32(b[104:]); group != 1 || !bytes.Equal(b[108:124], h.UID[:]) || !bytes.Equal(b[124:128], make([]byte, 4)) {
		t.Errorf("the header ends with %x", b[104:128])
	}
	h.Group = onlyGroup
	if got, _, err := unpack(t, b); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
	other := h
	other.UID[0]++
	mixed := slices.Concat(pack(t, other, noise(1, 10), 10)[:headerBytes], b[headerBytes:])
	var damage *CorruptionError
	if _, _, err := unpack(t, mixed); !errors.As(err, &damage) || damage.Offset != headerBytes {
		t.Errorf("blocks of another cluster of the same name: %v", err)
	}
	if _, err := NewWriter(io.Discard, Header{ClusterID: "c1", Group: 2}); err == nil {
		t.Error("a snapshot of group 2 was written")
	}
}
