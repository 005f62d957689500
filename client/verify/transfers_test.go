package verify

import (
	"strings"
	"testing"

	"raftkv/client"
)

// moved is a change of accounts: name, balance, name, balance …
func moved(revision uint64, transfer string, accounts ...any) client.WatchEvent {
	e := changed(revision)
	for i := 0; i < len(accounts); i += 2 {
		key := "p/" + accounts[i].(string)
		e.Changes = append(e.Changes, client.Change{Op: client.ChangePut, Key: key, Item: client.Item{Key: key, Value: valueOf(accounts[i+1].(int), transfer)}})
	}
	return e
}

// Goal: a transfer that is seen in parts, twice, though it was refused, or not at all, is
// found by what shows it (T1 to T3, T5, T6), and what may happen is not. Method: three
// transfers with one thing wrong about them.
func TestWhatTransactionsMayNotShow(t *testing.T) {
	items := func(balances ...int) (all []client.Item) {
		for _, n := range balances {
			all = append(all, client.Item{Value: valueOf(n, "x")})
		}
		return all
	}
	for name, c := range map[string]struct {
		change func(b *bank, events []client.WatchEvent) []client.WatchEvent
		says   string // "": nothing
	}{
		"as it is": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent { return e }, ""},
		"in two parts": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e[:1], moved(2, "one", "a0", 90), moved(3, "one", "a1", 110))
		}, "(T1, T3)"},
		"of two": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			e[2].Changes[1].Item.Value = valueOf(102, "one")
			return e
		}, "parts of"},
		"another sum": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e, moved(5, "three", "a2", 101, "a3", 100))
		}, "(T1, T3)"},
		"on an old one": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e, moved(5, "three", "a0", 99, "a3", 101))
		}, "(T1, T3)"},
		"unknown": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e, moved(5, "three", "a2", 97, "a3", 105))
		}, ""},
		"twice": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e, moved(5, "three", "a2", 97, "a3", 105), moved(6, "three", "a2", 97, "a3", 105))
		}, "(T5)"},
		"refused": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e, moved(5, "four", "a2", 95, "a3", 105))
		}, "(T6)"},
		"refused behind": {func(b *bank, e []client.WatchEvent) []client.WatchEvent {
			b.begun("five")
			b.take(1, e[0].Changes)
			b.take(2, moved(2, "five", "a2", 95, "a3", 105).Changes)
			b.ended("five", Refused)
			return e[1:]
		}, "(T6)"},
		"of nobody": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent {
			return append(e, moved(5, "six", "a2", 95, "a3", 105))
		}, "nobody made"},
		"lost": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent { return e[:2] }, "(T2)"},
		"cut short": {func(b *bank, e []client.WatchEvent) []client.WatchEvent {
			b.missing("the watch has ended")
			return e[:2]
		}, ""},
		"half open": {func(_ *bank, e []client.WatchEvent) []client.WatchEvent { e[0].Changes = e[0].Changes[:3]; return e }, "opens 3"},
		"a whole read": {func(b *bank, e []client.WatchEvent) []client.WatchEvent {
			b.saw("lists", 9, items(90, 110, 150, 50))
			return e
		}, ""},
		"a torn read": {func(b *bank, e []client.WatchEvent) []client.WatchEvent {
			b.saw("lists", 9, items(90, 100, 100, 100))
			return e
		}, "(T1)"},
		"a short read": {func(b *bank, e []client.WatchEvent) []client.WatchEvent {
			b.saw("lists", 9, items(100, 150, 150))
			return e
		}, "(T1)"},
	} {
		b := newBank(&Config{Prefix: "p/", Keys: 4})
		for _, transfer := range []string{"one", "two", "three", "four"} {
			b.begun(transfer)
		}
		b.ended("one", Done)
		b.ended("two", Done)
		b.ended("four", Refused)
		events := []client.WatchEvent{moved(1, "first", "a0", 100, "a1", 100, "a2", 100, "a3", 100), moved(2, "one", "a0", 90, "a1", 110), moved(4, "two", "a1", 108, "a2", 102)}
		for _, e := range c.change(b, events) {
			b.take(e.Revision, e.Changes)
		}
		r := b.judge()
		if text := strings.Join(r.Faults, "\n"); (c.says != "") != (r.Verdict == Broken) || !strings.Contains(text, c.says) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
