package sorted

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func plain(m Map[int]) map[string]int {
	all := map[string]int{}
	m.Ascend("", "", func(key string, value int) bool {
		all[key] = value
		return true
	})
	return all
}

// check finds nodes that are out of order, wrongly counted or out of balance.
func (n *node[V]) check(t *testing.T, from, to string) {
	t.Helper()
	if n == nil {
		return
	}
	if n.key <= from && from != "" || to != "" && n.key >= to || n.size != n.left.len()+n.right.len()+1 {
		t.Fatalf("the node %q of size %d, between %q and %q", n.key, n.size, from, to)
	}
	if n.left.weight() > heavy*n.right.weight() || n.right.weight() > heavy*n.left.weight() {
		t.Fatalf("the node %q has %d entries on one side and %d on the other", n.key, n.left.len(), n.right.len())
	}
	n.left.check(t, from, n.key)
	n.right.check(t, n.key, to)
}

// Goal: a Map is what a plain map is, in order and balanced, and no version changes when
// later ones are made of it. Method: random puts and removals against a plain map, built
// anew now and then; every version is kept and looked at again in the end.
func TestMapAgreesWithAPlainModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		m, model := Map[int]{}, map[string]int{}
		var versions []Map[int]
		var models []map[string]int
		for step := range 300 {
			key := fmt.Sprint(r.IntN(80))
			switch dice := r.IntN(100); {
			case dice < 60:
				m, model[key] = m.With(key, step), step
			case dice < 98:
				m = m.Without(key)
				delete(model, key)
			default:
				keys := slices.Sorted(maps.Keys(model))
				m = Of(len(keys), func(i int) (string, int) { return keys[i], model[keys[i]] })
			}
			m.root.check(t, "", "")
			if got, found := m.Get(key); found != (model[key] != 0 || hasKey(model, key)) || got != model[key] || m.Len() != len(model) {
				t.Fatalf("%q is %d, %v, among %d; want %d among %d", key, got, found, m.Len(), model[key], len(model))
			}
			if step%10 == 0 {
				versions, models = append(versions, m), append(models, maps.Clone(model))
			}
		}
		for i, m := range versions {
			if !maps.Equal(plain(m), models[i]) {
				t.Fatalf("version %d has become %v, want %v", i, plain(m), models[i])
			}
			from, to := fmt.Sprint(r.IntN(80)), fmt.Sprint(r.IntN(80))
			if i%3 == 0 {
				to = ""
			}
			var got, want []string
			m.Ascend(from, to, func(key string, _ int) bool {
				got = append(got, key)
				return len(got) < 7
			})
			for _, key := range slices.Sorted(maps.Keys(models[i])) {
				if key >= from && (to == "" || key < to) && len(want) < 7 {
					want = append(want, key)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("from %q to %q there are %q, want %q", from, to, got, want)
			}
			j := r.IntN(len(versions))
			if got, want := diffOf(m, versions[j]), differences(models[i], models[j]); !slices.Equal(got, want) {
				t.Fatalf("versions %d and %d differ in %q, want %q", i, j, got, want)
			}
		}
	}
}

func hasKey(m map[string]int, key string) bool {
	_, has := m[key]
	return has
}

func diffOf(a, b Map[int]) (keys []string) {
	Diff(a, b, func(a, b int) bool { return a == b }, func(key string) bool {
		keys = append(keys, key)
		return true
	})
	return keys
}

func differences(a, b map[string]int) (keys []string) {
	for key, value := range a {
		if other, has := b[key]; !has || other != value {
			keys = append(keys, key)
		}
	}
	for key := range b {
		if !hasKey(a, key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Goal: to compare two versions costs what they differ in and not what they hold, and
// stops where the caller does. Method: two versions of 100,000 entries with 20
// differences; the values that are looked at are counted.
func TestDiffLooksAtTheDifferences(t *testing.T) {
	m := Of(100_000, func(i int) (string, int) { return fmt.Sprintf("%06d", i), i })
	n := m
	var want []string
	for i := range 10 {
		at := fmt.Sprintf("%06d", i*9_000)
		n = n.With(at, -1).With(at+"+", 1)
		want = append(want, at, at+"+")
	}
	looked := 0
	var got []string
	Diff(m, n, func(a, b int) bool {
		looked++
		return a == b
	}, func(key string) bool {
		got = append(got, key)
		return true
	})
	if !slices.Equal(got, want) || looked > 2_000 {
		t.Errorf("%d values were looked at; they differ in %s", looked, strings.Join(got, " "))
	}
	got = nil
	Diff(m, n, func(a, b int) bool { return a == b }, func(key string) bool {
		got = append(got, key)
		return len(got) < 3
	})
	if !slices.Equal(got, want[:3]) {
		t.Errorf("it goes on to %q", got)
	}
}
