package snapshot

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// Goal: a container carries the configuration before its payload, and one without it
// has not a byte more than before.
// Method: payloads of several sizes with and without one, read in each of the ways that
// there are.
func TestAConfigurationStandsBeforeThePayload(t *testing.T) {
	for _, size := range []int{0, 1, 300, MaxBlockBytes + 1} {
		payload := noise(4, size)
		for _, configuration := range []string{"", "x", string(noise(5, MaxConfigurationBytes))} {
			h := testHeader
			h.Configuration = configuration
			b := pack(t, h, payload, 1000)
			more := int64(0)
			if configuration != "" {
				more = blockHeaderBytes + int64(len(configuration))
			}
			if got, want := int64(len(b)), Size(int64(size))+more; got != want {
				t.Errorf("%d bytes with a configuration of %d: %d, want %d", size, len(configuration), got, want)
			}
			got, read, err := unpack(t, b)
			if err != nil || got.Configuration != configuration || !bytes.Equal(read, payload) {
				t.Errorf("read as a configuration of %d bytes and %d of payload (%v)", len(got.Configuration), len(read), err)
			}
			r, err := NewReader(bytes.NewReader(b))
			must(t, err)
			if early, err := r.ReadConfiguration(); err != nil || early != configuration {
				t.Errorf("asked for first: %d bytes (%v)", len(early), err)
			}
			var rest bytes.Buffer
			if _, err := r.WriteTo(&rest); err != nil || !bytes.Equal(rest.Bytes(), payload) {
				t.Errorf("the payload behind it: %d bytes (%v)", rest.Len(), err)
			}
			if again, err := r.ReadConfiguration(); err != nil || again != configuration {
				t.Errorf("asked for again: %d bytes (%v)", len(again), err)
			}
		}
	}
	if _, err := NewWriter(io.Discard, Header{ClusterID: "c1", Configuration: strings.Repeat("x", MaxConfigurationBytes+1)}); err == nil {
		t.Error("a configuration that no reader takes was written")
	}
}

// Goal: a configuration is held by the checksums like everything else: damaged, missing,
// twice, behind the payload or of another container it is refused.
// Method: every byte of a small container changed; blocks in other places.
func TestAConfigurationIsHeldByTheChecksums(t *testing.T) {
	h := testHeader
	h.Configuration = "the members"
	b := pack(t, h, noise(6, 40), 40)
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, _, err := unpack(t, changed); err == nil {
			t.Errorf("byte %d changed, and nobody noticed", i)
		}
	}
	block := blockHeaderBytes + len(h.Configuration)
	before, config, rest := b[:headerBytes], b[headerBytes:headerBytes+block], b[headerBytes+block:]
	h.Configuration = "the others!"
	other := pack(t, h, noise(6, 40), 40)[headerBytes : headerBytes+block]
	for name, container := range map[string][]byte{
		"left out":      slices.Concat(before, rest),
		"twice":         slices.Concat(before, config, config, rest),
		"of another":    slices.Concat(before, other, rest),
		"moved":         reseal(slices.Concat(before, rest[:blockHeaderBytes+40], config, rest[blockHeaderBytes+40:])),
		"behind itself": reseal(slices.Concat(before, config, config, rest)),
	} {
		_, _, err := unpack(t, container)
		var damage *CorruptionError
		if !errors.As(err, &damage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
