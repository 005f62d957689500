package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Rules that hold between two runs of the state machine, whatever the commands are:
// they need no second implementation, and so they cannot share its mistakes.

// drawnLog returns random traffic, encoded.
func drawnLog(seed uint64, length int) [][]byte {
	g := &traffic{r: rand.New(rand.NewPCG(seed, 5))}
	var log [][]byte
	for index := range uint64(length) {
		c := g.next(index + 1)
		g.sent = append(g.sent, c)
		log = append(log, EncodeCommand(c))
	}
	return log
}

// few are limits that a short log reaches.
var few = rules{sessions: 4, lanes: 5, lanesTotal: 11, records: 40, events: 64, historyMin: 1}

// applyAll applies commands behind what a store has applied and returns the results.
func applyAll(s *Store, log [][]byte) (results []Result) {
	for _, command := range log {
		results = append(results, s.Apply(s.AppliedIndex()+1, command))
	}
	return results
}

// reread returns a store that was written as a snapshot and read again.
func reread(t *testing.T, s *Store) *Store {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	again, err := restoreInto(newStore(few), &b, inTurn)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// Goal: a snapshot is the state: a store that was restored at any index goes on as the
// one it was taken of, with the same results and digests, also if it is restored again
// and again, so that nothing it has only in memory can matter. Method: random logs; a
// store is restored at a drawn index, and another one at every third.
func TestMetamorphic_RestoringChangesNothing(t *testing.T) {
	for seed := range uint64(12) {
		log := drawnLog(seed, 600)
		random := rand.New(rand.NewPCG(seed, 6))
		at := random.IntN(len(log))
		plain, often := newStore(few), newStore(few)
		results := applyAll(plain, log)
		once := newStore(few)
		applyAll(once, log[:at])
		once = reread(t, once)
		sameRun(t, fmt.Sprintf("seed %d, restored at %d", seed, at), applyAll(once, log[at:]), results[at:], once, plain)
		var rest []Result
		for i, command := range log {
			rest = append(rest, applyAll(often, [][]byte{command})...)
			if i%3 == 0 {
				often = reread(t, often)
			}
		}
		sameRun(t, fmt.Sprintf("seed %d, restored all the time", seed), rest, results, often, plain)
	}
}

// Goal: a restart that applies a part of the log for the second time, from an earlier
// snapshot on, comes to the same state. Method: two snapshots of one run; the earlier
// one and the log behind it give the later one, byte for byte.
func TestMetamorphic_AReplayedPrefixGivesTheSameSnapshot(t *testing.T) {
	for seed := range uint64(12) {
		log := drawnLog(seed, 500)
		s := newStore(few)
		applyAll(s, log[:200])
		early := s.Freeze()
		applyAll(s, log[200:])
		var b bytes.Buffer
		if _, err := early.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		again, err := restoreInto(newStore(few), &b, inTurn)
		if err != nil {
			t.Fatal(err)
		}
		applyAll(again, log[200:])
		if !bytes.Equal(payload(t, again), payload(t, s)) {
			t.Errorf("seed %d: the replay gives another snapshot", seed)
		}
	}
}

// Goal: names of keys mean nothing: under other names of the same length and order
// every command has the same result. Method: the first byte of every key is another.
func TestMetamorphic_NamesOfKeysMeanNothing(t *testing.T) {
	for seed := range uint64(12) {
		log := drawnLog(seed, 600)
		renamed := make([][]byte, len(log))
		for i, command := range log {
			c, err := DecodeCommand(command)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Key) > 0 {
				c.Key = append([]byte{'q'}, c.Key[1:]...)
			}
			renamed[i] = EncodeCommand(c)
		}
		a, b := newStore(few), newStore(few)
		want, got := applyAll(a, log), applyAll(b, renamed)
		for i := range want {
			if !sameResult(got[i], want[i]) {
				t.Fatalf("seed %d, command %d: %+v, under other names %+v", seed, i+1, want[i], got[i])
			}
		}
		if a.Digest() == b.Digest() && a.Len() > 0 {
			t.Errorf("seed %d: the digest does not show that the keys have other names", seed)
		}
		var keys, others []string
		a.Ascend("", "", func(key string, item Item) bool { keys = append(keys, "q"+key[1:]+string(item.Value)); return true })
		b.Ascend("", "", func(key string, item Item) bool { others = append(others, key+string(item.Value)); return true })
		if fmt.Sprint(keys) != fmt.Sprint(others) {
			t.Errorf("seed %d: the keys in order are\n%q, under other names\n%q", seed, keys, others)
		}
	}
}

// sameRun compares two runs: their results and what they have come to.
func sameRun(t *testing.T, what string, got, want []Result, a, b *Store) {
	t.Helper()
	for i := range want {
		if !sameResult(got[i], want[i]) {
			t.Fatalf("%s: result %d is %+v, wanted %+v", what, i+1, got[i], want[i])
		}
	}
	if a.Digest() != b.Digest() || a.Hash() != b.Hash() || !bytes.Equal(payload(t, a), payload(t, b)) {
		t.Errorf("%s: another state, digest %s, wanted %s", what, a.Digest(), b.Digest())
	}
}
