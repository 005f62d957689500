package past

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

// Goal (H1, H3): a read of the past shows the store at that revision exactly, at every
// revision that the history reaches: keys created later are absent, keys deleted later
// are there, each with the value, version, created and lease that it had; planted bug 19: the
// revision up to which changes were forgotten can still be read.
// Method: random puts, appends, deletes and transactions, some of them with a lease, with a
// history that forgets;
// every key and every list at every revision is compared with the states that a plain
// model had; lists in windows of one or two changed keys, too.
func TestThePastIsWhatItWas(t *testing.T) {
	read, gone := 0, 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 4))
		s, plain := kv.NewAt(kv.LevelHistory), truth.New()
		plain.Activate()
		states := map[uint64]map[string]truth.Item{0: {}, 1: {}}
		key := func() string { return fmt.Sprintf("k/%d", r.IntN(9)) }
		do := func(c kv.Command) kv.Result { return s.Apply(s.AppliedIndex()+1, kv.EncodeCommand(c)) }
		do(kv.Grant(7, 1<<30, ""))
		for i := range 120 {
			k, value := key(), fmt.Sprint(i)
			switch r.IntN(8) {
			case 0, 1, 2:
				put := kv.Command{Op: kv.OpPut, Key: []byte(k), Value: []byte(value)}
				put.Tie.Lease = int64(r.IntN(2) * 7)
				do(put)
				plain.PutTied(k, value, put.Tie.Lease)
			case 3:
				do(kv.Command{Op: kv.OpAppend, Key: []byte(k), Value: []byte(value)})
				plain.Append(k, value)
			case 4, 5:
				do(kv.Command{Op: kv.OpDelete, Key: []byte(k)})
				plain.Delete(k)
			case 6:
				x := &txn.Txn{Then: []txn.Op{{Kind: txn.Delete, Span: txn.Prefix("k/")}, {Kind: txn.Put, Span: txn.Key(k), Value: []byte(value)}, {Kind: txn.Put, Span: txn.Key("k"), Value: []byte(value)}}}
				do(kv.TxnCommand(x, 0))
				plain.Txn(x, truth.Limits{})
			case 7:
				if r.IntN(4) == 0 {
					forget := plain.Revision - min(plain.Revision, uint64(r.IntN(12)))
					if got := do(kv.Forget(forget)); (got.Status == kv.StatusOK) != plain.Forget(forget) {
						t.Fatalf("forget %d: %v", forget, got.Status)
					}
				}
			}
			states[plain.Revision] = maps.Clone(plain.Items)
			if s.Revision() != plain.Revision {
				t.Fatalf("seed %d: revision %d, the model has %d", seed, s.Revision(), plain.Revision)
			}
			if i%10 != 9 {
				continue
			}
			frozen := s.Freeze()
			h := frozen.History()
			for at := range plain.Revision + 1 {
				if reaches := at+1 >= plain.Oldest(); reaches != h.Reaches(at) {
					t.Fatalf("seed %d: the history from %d reaches %d: %v", seed, h.Oldest(), at, h.Reaches(at))
				}
				if !h.Reaches(at) {
					gone++
					continue
				}
				read++
				want := states[at]
				for _, k := range append(slices.Sorted(maps.Keys(plain.Items)), key(), "none") {
					live, found := frozen.Get([]byte(k))
					was := Get(&h, k, Key{live, frozen.LeaseOf(k), found}, at)
					if w, there := want[k]; was.Found != there || spelled(k, was.Item, was.Lease) != line(k, w) {
						t.Fatalf("seed %d, revision %d, key %s: %v %s, want %v %s", seed, at, k, was.Found, spelled(k, was.Item, was.Lease), there, line(k, w))
					}
				}
				for _, q := range [][2]string{{"", ""}, {"k/", "k0"}, {"k/3", "k0"}, {"k/3", ""}, {"k/4", "k/5"}, {"z", ""}, {"k/2", "k/31"}, {"k/6", "k/6"}} {
					listed(t, At(frozen, at), q[0], q[1], want)
					if at%3 == 0 {
						narrow := At(frozen, at)
						narrow.size, narrow.maxSize = 1, 2
						listed(t, narrow, q[0], q[1], want)
					}
				}
			}
		}
	}
	if read < 2000 || gone < 500 {
		t.Errorf("void: %d revisions were read, %d were gone", read, gone)
	}
}

func spelled(key string, i kv.Item, lease int64) string {
	return fmt.Sprintf("%s=%s r%d v%d c%d l%d", key, i.Value, i.Revision, i.Version, i.Created, lease)
}

func line(key string, i truth.Item) string {
	return fmt.Sprintf("%s=%s r%d v%d c%d l%d", key, i.Value, i.Revision, i.Version, i.Created, i.Lease)
}

// listed compares a list of the past with a state, and what comes of stopping early.
func listed(t *testing.T, v *View, from, to string, want map[string]truth.Item) {
	t.Helper()
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if key >= from && (to == "" || key < to) {
			lines = append(lines, line(key, want[key]))
		}
	}
	for limit := range len(lines) + 2 {
		var got []string
		v.AscendRange(from, to, func(key string, i kv.Item) bool {
			if len(got) == limit {
				return false
			}
			got = append(got, spelled(key, i, v.LeaseOf(key)))
			return true
		})
		if w := lines[:min(limit, len(lines))]; !slices.Equal(got, w) {
			t.Fatalf("revision %d, from %q to %q, up to %d:\n%v\nwant\n%v", v.Revision(), from, to, limit, got, w)
		}
	}
}

// Goal: a page of the past looks no further than it needs. It holds few of the changes since,
// however many there are; it walks over the history once, and where it must do so again
// because nothing was there then, it does so seldom.
// Method: 3,000 keys that have changed twice since, as many that came since, and as many that
// are gone; pages at the beginning, in the middle and at the end, and whole ranges; what is
// held and walked is counted.
func TestAPageOfThePastLooksAtLittle(t *testing.T) {
	const n = 3000
	s := kv.NewAt(kv.LevelHistory)
	do := func(op kv.Op, key string) {
		s.Apply(s.AppliedIndex()+1, kv.EncodeCommand(kv.Command{Op: op, Key: []byte(key)}))
	}
	all := func(op kv.Op, prefix string) {
		for i := range n {
			do(op, fmt.Sprintf("%s/%05d", prefix, i*7%n)) // in some other order
		}
	}
	all(kv.OpPut, "changed")
	all(kv.OpPut, "gone")
	at := s.Revision()
	all(kv.OpPut, "changed")
	all(kv.OpPut, "changed")
	all(kv.OpDelete, "gone")
	all(kv.OpPut, "new")
	frozen := s.Freeze()
	for _, c := range []struct {
		from, to           string
		limit, want        int
		most, scans, large int // the most changes that may be held, and walks; 0: no other size
	}{
		{"", "", 10, 10, firstWindow, 1, 0},
		{"changed/01500", "", 10, 10, firstWindow, 1, 0},
		{"gone/02990", "new", 100, 10, firstWindow, 1, 0},
		{"new/", "new0", 10, 0, 64, n/64 + 8, 64},
		{"", "", 3 * n, 2 * n, 64, 3*n/64 + 8, 64},
		{"", "", 3 * n, 2 * n, 4096, 7, 0},
	} {
		v := At(frozen, at)
		if c.large != 0 {
			v.size, v.maxSize = c.large/4, c.large
		}
		got := 0
		v.AscendRange(c.from, c.to, func(string, kv.Item) bool {
			got++
			return got < c.limit
		})
		if got != c.want || v.held > c.most || v.scans > c.scans {
			t.Errorf("from %q to %q: %d keys, %d changes were held and the history was walked over %d times; want %d, at most %d and %d", c.from, c.to, got, v.held, v.scans, c.want, c.most, c.scans)
		}
	}
}

// BenchmarkGet measures a read of a key 300,000 changes ago.
func BenchmarkGet(b *testing.B) {
	s := kv.NewAt(kv.LevelHistory)
	for i := range 300_000 {
		s.Apply(s.AppliedIndex()+1, kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: fmt.Appendf(nil, "key/%07d", i%100_000), Value: []byte("value")}))
	}
	h := s.History()
	for b.Loop() {
		Get(&h, "key/never", Key{}, h.Oldest())
	}
}
