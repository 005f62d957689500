package auth

import (
	"strings"
	"testing"
)

// alphabet has the bytes at which bounds are decided: the least, two neighbours, the
// greatest. Keys have their neighbours, too, so that no two bounds are the same to them.
const (
	alphabet    = "\x00ab\xff"
	keyAlphabet = "\x00\x01`abc\xfe\xff"
)

// texts returns all texts over an alphabet up to a length, the empty one included.
func texts(alphabet string, longest int) []string {
	all := []string{""}
	for from := 0; longest > 0; longest-- {
		end := len(all)
		for ; from < end; from++ {
			for i := range len(alphabet) {
				all = append(all, all[from]+alphabet[i:i+1])
			}
		}
	}
	return all
}

// modelRange is a range as a test of keys, in the words of the API.
type modelRange struct {
	r    Range
	name string
	has  func(key string) bool
}

// modelRanges returns all ranges whose texts are over the alphabet.
func modelRanges() (all []modelRange) {
	for _, a := range texts(alphabet, 2) {
		if a != "" {
			all = append(all, modelRange{OneKey(a), "key " + a, func(k string) bool { return k == a }})
		}
		for _, b := range texts(alphabet, 2) {
			all = append(all,
				modelRange{KeysWith(a, b), "prefix " + a + " after " + b, func(k string) bool { return strings.HasPrefix(k, a) && k > b }},
				modelRange{KeysBetween(a, b), "from " + a + " to " + b, func(k string) bool { return k >= a && (b == "" || k < b) }})
		}
	}
	return all
}

// Goal: a decision for a range is the decisions for all keys in it (planted bug 1): it
// is allowed exactly if one rule grants every key. Method: all rules and ranges over a
// small alphabet, against a model that asks key by key. The keys are longer than the
// texts of the ranges, so that every difference between two ranges shows.
func TestARangeIsDecidedAsAllItsKeys(t *testing.T) {
	keys := texts(keyAlphabet, 3)[1:]
	var rules []Rule
	for _, text := range texts(alphabet, 2) {
		rules = append(rules, Rule{Space: Keys, Text: text, Rights: RightsOf(List)})
		if text != "" {
			rules = append(rules, Rule{Space: Keys, Single: true, Text: text, Rights: RightsOf(List)})
		}
	}
	grants := func(rule *Rule, k string) bool {
		return k == rule.Text || !rule.Single && strings.HasPrefix(k, rule.Text)
	}
	asked, allowed := 0, 0
	for _, m := range modelRanges() {
		var in []string
		for _, k := range keys {
			if m.has(k) {
				in = append(in, k)
			}
		}
		if len(in) == 0 {
			continue // nothing is shown of a range without keys
		}
		for i := range rules {
			want := true
			for _, k := range in {
				want = want && grants(&rules[i], k)
			}
			asked++
			if want {
				allowed++
			}
			if got := Decide(rules[i:i+1], List, m.r); got != want {
				t.Fatalf("rule %q (single %v), range %q: %v, want %v", rules[i].Text, rules[i].Single, m.name, got, want)
			}
		}
	}
	if asked < 10_000 || allowed < 500 {
		t.Errorf("void: %d decisions, of which %d allowed", asked, allowed)
	}
}

// Goal: a right counts in its own space alone; admin counts everywhere, lease in a rule
// of any space, and Open and Known need no rule. Method: a table.
func TestRightsCountInTheirSpace(t *testing.T) {
	orders := Rule{Space: Keys, Text: "orders/", Rights: RightsOf(Read, Lease)}
	jobs := Rule{Space: Locks, Text: "jobs/", Rights: RightsOf(Acquire)}
	status := Rule{Rights: RightsOf(Status)}
	admin := Rule{Rights: RightsOf(Admin)}
	for _, c := range []struct {
		name  string
		rules []Rule
		right Right
		r     Range
		want  bool
	}{
		{"own key", []Rule{orders}, Read, OneKey("orders/1"), true},
		{"foreign key", []Rule{orders}, Read, OneKey("order"), false},
		{"reading is not listing", []Rule{orders}, List, KeysWith("orders/", ""), false},
		{"nor watching", []Rule{orders}, Watch, KeysWith("orders/", ""), false},
		{"another right", []Rule{orders}, Write, OneKey("orders/1"), false},
		{"a lock of a key's name", []Rule{orders}, Read, OneLock("orders/1"), false},
		{"own lock", []Rule{orders, jobs}, Acquire, OneLock("jobs/1"), true},
		{"locks", []Rule{jobs}, Acquire, LocksWith("jobs/a"), true},
		{"more locks", []Rule{jobs}, Acquire, LocksWith("jobs"), false},
		{"lease", []Rule{orders}, Lease, Range{}, true},
		{"no lease", []Rule{jobs}, Lease, Range{}, false},
		{"status", []Rule{status}, Status, Range{}, true},
		{"status is not metrics", []Rule{status}, Metrics, Range{}, false},
		{"status reads nothing", []Rule{status}, Read, OneKey("a"), false},
		{"admin reads", []Rule{admin}, Read, KeysWith("", ""), true},
		{"admin changes members", []Rule{admin}, Members, Range{}, true},
		{"probes", nil, Open, Range{}, true},
		{"known", nil, Known, Range{}, true},
		{"nothing", nil, Read, OneKey("a"), false},
		{"undecided", []Rule{orders, jobs, status}, 0, OneKey("orders/1"), false},
	} {
		if got := Decide(c.rules, c.right, c.r); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Goal: a decision allocates nothing. Method: count over all kinds of ranges.
func TestADecisionAllocatesNothing(t *testing.T) {
	rules, key, prefix := manyRules(), "tenant/0099/orders/1", "tenant/0099/"
	if n := testing.AllocsPerRun(100, func() {
		if Decide(rules, Read, OneKey(key)) || Decide(rules, List, KeysWith(prefix, key)) || Decide(rules, List, KeysBetween(prefix, key)) {
			panic("allowed")
		}
	}); n != 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

// manyRules returns as many rules as an identity may have, none of which matches.
func manyRules() (rules []Rule) {
	for range MaxRules {
		rules = append(rules, Rule{Space: Keys, Text: "tenant/0099/invoices/", Rights: RightsOf(Read, List)})
	}
	return rules
}

func BenchmarkDecide(b *testing.B) {
	rules, key := manyRules(), "tenant/0099/orders/1"
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			Decide(rules, Read, OneKey(key))
		}
	})
	b.Run("range", func(b *testing.B) {
		for b.Loop() {
			Decide(rules, List, KeysWith("tenant/0099/", key))
		}
	})
}
