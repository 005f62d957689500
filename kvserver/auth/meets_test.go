package auth

import (
	"strings"
	"testing"
)

// Goal (S14): a range meets a prefix if it holds a key that begins with it, so a read of such
// a key has its line in the audit; and of a range of keys, only then.
// Method: all ranges and prefixes over a small alphabet, against a model that asks key by key.
func TestARangeMeetsThePrefixesOfItsKeys(t *testing.T) {
	keys, asked, met := texts(keyAlphabet, 3)[1:], 0, 0
	for _, m := range modelRanges() {
		in := keys[:0:0]
		for _, k := range keys {
			if m.has(k) {
				in = append(in, k)
			}
		}
		if len(in) == 0 {
			continue // nothing is read of a range without keys
		}
		for _, prefix := range texts(alphabet, 2) {
			want := false
			for _, k := range in {
				want = want || strings.HasPrefix(k, prefix)
			}
			asked++
			if want {
				met++
			}
			if got := m.r.Meets(prefix); got != want {
				t.Fatalf("prefix %q, range %q: %v, want %v", prefix, m.name, got, want)
			}
		}
	}
	if asked < 5_000 || met < 500 || met == asked {
		t.Errorf("void: %d ranges and prefixes, of which %d meet", asked, met)
	}
	for _, r := range []Range{{}, OneLock("a"), LocksWith("")} {
		if r.Meets("") {
			t.Errorf("%s has keys", r)
		}
	}
}
