package snapshot

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var testHeader = Header{ClusterID: "c1", Index: 1 << 40, Term: 7, Group: onlyGroup, UID: [16]byte{3, 1, 4}}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// pack writes a snapshot of a payload, in pieces of the given size.
func pack(t testing.TB, h Header, payload []byte, piece int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	must(t, err)
	for part := range slices.Chunk(payload, piece) {
		n, err := w.Write(part)
		must(t, err)
		if n != len(part) {
			t.Fatalf("%d of %d bytes written", n, len(part))
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// unpack reads a snapshot in both ways and checks that they agree.
func unpack(t testing.TB, b []byte) (Header, []byte, error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b))
	_, verified := Verify(bytes.NewReader(b))
	if err != nil {
		if verified == nil {
			t.Fatalf("Verify accepts what NewReader refuses: %v", err)
		}
		return Header{}, nil, err
	}
	payload, err := io.ReadAll(r)
	if (err == nil) != (verified == nil) {
		t.Fatalf("reading says %v, Verify says %v", err, verified)
	}
	var copied bytes.Buffer
	if r, other := NewReader(bytes.NewReader(b)); other == nil {
		_, other = io.Copy(&copied, r)
		if (err == nil) != (other == nil) || !bytes.Equal(copied.Bytes(), payload) {
			t.Fatalf("Read gave %d bytes and %v, WriteTo %d and %v", len(payload), err, copied.Len(), other)
		}
	}
	return r.Header(), payload, err
}

// Goal: what goes in comes out, whatever the size and the pieces. Method: sizes
// around the block's, written in pieces of several sizes, read whole and byte by
// byte.
func TestPayloadsOfEverySize(t *testing.T) {
	for _, size := range []int{0, 1, 100, MaxBlockBytes - 1, MaxBlockBytes, MaxBlockBytes + 1, 2 * MaxBlockBytes, 3*MaxBlockBytes + 5} {
		payload := noise(uint64(size), size)
		var first []byte
		for _, piece := range []int{7, 4096, MaxBlockBytes, 10 * MaxBlockBytes} {
			b := pack(t, testHeader, payload, piece)
			if int64(len(b)) != Size(int64(size)) {
				t.Errorf("%d bytes of payload take %d bytes, Size says %d", size, len(b), Size(int64(size)))
			}
			if first == nil {
				first = b
			}
			if !bytes.Equal(b, first) {
				t.Errorf("the pieces of %d bytes show in the result", piece)
			}
		}
		h, got, err := unpack(t, first)
		must(t, err)
		if h != testHeader || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: %+v and %d bytes came out", size, h, len(got))
		}
		if size <= 100 {
			r, err := NewReader(iotest.OneByteReader(bytes.NewReader(first)))
			must(t, err)
			must(t, iotest.TestReader(r, payload))
		}
	}
}

// Goal: no flipped bit is ever read as data: each is refused, at an offset at
// which something is wrong, and what was handed out before is right. Method:
// every bit of a snapshot of three small blocks.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	payload := noise(1, 600)
	whole := pack(t, testHeader, payload, 200)
	for at := range whole {
		for bit := range 8 {
			b := slices.Clone(whole)
			b[at] ^= 1 << bit
			_, got, err := unpack(t, b)
			var damage *CorruptionError
			if !errors.As(err, &damage) || damage.Offset > int64(at) || damage.EndsEarly {
				t.Fatalf("byte %d bit %d: %v", at, bit, err)
			}
			if !bytes.Equal(got, payload[:len(got)]) {
				t.Fatalf("byte %d bit %d: other bytes were handed out", at, bit)
			}
		}
	}
}

// Goal: a snapshot that was cut short is called that, wherever it was cut, and
// one with something behind it is refused. Method: every length; one byte more.
func TestEveryTruncationIsRecognised(t *testing.T) {
	whole := pack(t, testHeader, noise(2, 600), 200)
	for length := range whole {
		_, _, err := unpack(t, whole[:length])
		var damage *CorruptionError
		if !errors.As(err, &damage) || !damage.EndsEarly || damage.Offset != int64(length) {
			t.Fatalf("cut to %d bytes: %v", length, err)
		}
	}
	var damage *CorruptionError
	if _, _, err := unpack(t, append(slices.Clone(whole), 0)); !errors.As(err, &damage) || damage.EndsEarly || damage.Offset != int64(len(whole)) {
		t.Errorf("one byte more: %v", err)
	}
}

// Goal: a foreign file and a newer version are refused as what they are, and not
// as damage. Method: one of each.
func TestForeignAndNewerFilesAreNamed(t *testing.T) {
	var damage *CorruptionError
	if _, err := NewReader(strings.NewReader("PK\x03\x04 and a lot more of something else")); !errors.As(err, &damage) || damage.EndsEarly || !strings.Contains(err.Error(), "does not start as a snapshot") {
		t.Errorf("a foreign file: %v", err)
	}
	b := pack(t, testHeader, nil, 1)
	b[8] = formatVersion + 1
	copy(b[12:], le32(checksum(b[:12])))
	var version *VersionError
	if _, err := NewReader(bytes.NewReader(b)); !errors.As(err, &version) || version.Version != formatVersion+1 || !strings.Contains(err.Error(), "newer raftkv") {
		t.Errorf("a newer version: %v", err)
	}
	// A version that keeps only the first 16 bytes may have a shorter header.
	if _, err := NewReader(bytes.NewReader(b[:preambleBytes])); !errors.As(err, &version) {
		t.Errorf("a newer version with a short header: %v", err)
	}
}

func le32(v uint32) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }

// Goal: blocks that are sound but belong elsewhere are refused: another place in
// the snapshot, another snapshot, another snapshot of the very same entry.
// Method: swap blocks within and between containers.
func TestMixedBlocksAreRefused(t *testing.T) {
	const block = blockHeaderBytes + MaxBlockBytes
	payload := noise(3, 2*MaxBlockBytes)
	ours := pack(t, testHeader, payload, MaxBlockBytes)
	changed := slices.Clone(payload)
	changed[len(changed)-1] ^= 1
	begunOtherwise := slices.Clone(payload)
	begunOtherwise[0] ^= 1
	later := testHeader
	later.Index++
	mixes := map[string]func(b []byte){
		"swapped": func(b []byte) {
			copy(b[headerBytes:], ours[headerBytes+block:][:block])
			copy(b[headerBytes+block:], ours[headerBytes:][:block])
		},
		"of another snapshot": func(b []byte) { copy(b[headerBytes:], pack(t, later, payload, MaxBlockBytes)[headerBytes:][:block]) },
		"of the same, taken apart": func(b []byte) {
			copy(b[headerBytes+block:], pack(t, testHeader, changed, MaxBlockBytes)[headerBytes+block:][:block])
		},
		"of the same, taken apart, at the beginning": func(b []byte) {
			copy(b[headerBytes:], pack(t, testHeader, begunOtherwise, MaxBlockBytes)[headerBytes:][:block])
		},
		"header of another":         func(b []byte) { copy(b, pack(t, later, nil, 1)[:headerBytes]) },
		"the trailer comes earlier": func(b []byte) { copy(b[headerBytes+block:], ours[headerBytes+2*block:]) },
	}
	for name, mix := range mixes {
		b := slices.Clone(ours)
		mix(b)
		var damage *CorruptionError
		_, got, err := unpack(t, b)
		if !errors.As(err, &damage) {
			t.Errorf("%s: %v", name, err)
		}
		// Only the end can tell that a block is of another writing of the same.
		if !strings.HasPrefix(name, "of the same, taken apart") && !bytes.Equal(got, payload[:len(got)]) {
			t.Errorf("%s: other bytes were handed out", name)
		}
	}
	_, _, err := unpack(t, ours)
	must(t, err)
}

// Goal: errors of what is underneath come out as they are, and a writer that
// failed or was closed writes nothing more. Method: one of each.
func TestErrorsBeneathComeThrough(t *testing.T) {
	whole := pack(t, testHeader, noise(4, 300), 300)
	broken := errors.New("the cable is out")
	for length := range whole {
		r, err := NewReader(io.MultiReader(bytes.NewReader(whole[:length]), iotest.ErrReader(broken)))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", length, err)
		}
	}
	for fails := range 4 {
		writes := 0
		w, err := NewWriter(writerFunc(func(p []byte) (int, error) {
			if writes++; writes > fails {
				return len(p) / 2, nil
			}
			return len(p), nil
		}), testHeader)
		if err == nil {
			w.Write(noise(5, MaxBlockBytes+1))
			err = w.Close()
			if again := w.Close(); err != again {
				t.Errorf("Close: %v, then %v", err, again)
			}
		}
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%d writes went through: %v", fails, err)
		}
		if writes != fails+1 {
			t.Errorf("%d writes after the failure", writes-fails-1)
		}
	}
	w, err := NewWriter(io.Discard, testHeader)
	must(t, err)
	must(t, w.Close())
	if _, err := w.Write([]byte{1}); err == nil || w.Close() == nil {
		t.Error("a closed writer writes")
	}
	for _, id := range []string{"", strings.Repeat("x", maxClusterIDBytes+1)} {
		if _, err := NewWriter(io.Discard, Header{ClusterID: id}); err == nil {
			t.Errorf("the cluster id %q was accepted", id)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func BenchmarkVerify(b *testing.B) {
	whole := pack(b, testHeader, noise(6, 64<<20), 1<<20)
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		if _, err := Verify(bytes.NewReader(whole)); err != nil {
			b.Fatal(err)
		}
	}
}
