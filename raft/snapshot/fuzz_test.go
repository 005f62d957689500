package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"
)

// reseal gives invented headers and blocks valid checksums, from the front as far
// as their lengths lead, and the trailer the sum that belongs there. Without it a
// fuzzer never gets past the first checksum.
func reseal(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) < headerBytes {
		return b
	}
	copy(b, magic)
	copy(b[12:], le32(checksum(b[:12])))
	identity := checksum(b[20:headerBytes])
	copy(b[16:], le32(identity))
	var sum trailer
	for at := headerBytes; at+blockHeaderBytes <= len(b); {
		h := blockHeader{kind: binary.LittleEndian.Uint32(b[at+8:]), length: binary.LittleEndian.Uint32(b[at+12:])}
		if uint64(h.length) > uint64(len(b)-at-blockHeaderBytes) {
			break
		}
		payload := b[at+blockHeaderBytes:][:h.length]
		if h.kind == kindTrailer && h.length == trailerBytes {
			copy(payload, sum.encode())
		}
		h.payload = checksum(payload)
		h.encode(b[at:], identity, int64(at))
		sum.add(h)
		at += blockHeaderBytes + int(h.length)
	}
	return b
}

// FuzzReader feeds arbitrary bytes to a Reader. It must never panic and take no
// more memory than a block and a small multiple of the input, and whatever it
// accepts must give the same bytes when it is written again in the same blocks.
func FuzzReader(f *testing.F) {
	for _, size := range []int{0, 1, 300} {
		whole := pack(f, testHeader, noise(uint64(size), size), 100)
		for _, at := range []int{8, 20, 40, headerBytes + 8, headerBytes + 12, headerBytes + 15, len(whole) - 1} {
			b := slices.Clone(whole)
			b[at] ^= 0xff
			f.Add(b, true)
		}
		f.Add(whole, false)
		f.Add(whole[:len(whole)-3], true)
		f.Add(append(slices.Clone(whole), whole...), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed {
			b = reseal(b)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h, err := Verify(bytes.NewReader(b))
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(4*len(b)+MaxBlockBytes+64<<10) {
			t.Fatalf("%d bytes of memory for %d bytes of input", used, len(b))
		}
		got, payload, readErr := unpack(t, b)
		var damage *CorruptionError
		var version *VersionError
		if err != nil {
			if !errors.As(err, &damage) && !errors.As(err, &version) {
				t.Fatalf("Verify: %v", err)
			}
			return
		}
		if readErr != nil || got != h {
			t.Fatalf("%+v and %v, then %+v", got, readErr, h)
		}
		again, _ := NewReader(bytes.NewReader(pack(t, h, payload, 1000)))
		if second, err := io.ReadAll(again); err != nil || again.Header() != h || !bytes.Equal(second, payload) {
			t.Fatalf("written again it gives %d bytes and %v", len(second), err)
		}
	})
}
