package kv

import (
	"fmt"
	"strings"
	"testing"

	"raftkv/kvserver/lease"
	"raftkv/kvserver/txn"
)

// txnOf is a transaction that is given as JSON, in one line.
func txnOf(t *testing.T, text string) Command {
	t.Helper()
	x, err := txn.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return TxnCommand(x, 1<<20)
}

// Goal (T1, T3, T6, L7, L9, L10): in a transaction a put says how long its key lives, an append and
// keep_lease leave it, a touch makes no revision and no event; the lease of a key can be
// compared; what cannot be refuses all of it and names the operation. Method: one step
// after the other, and the ends of the keys behind each; equal digests after a snapshot.
func TestTiesOfTransactions(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1000, Grant(7, 60_000, "")))
	lives := func(keys ...string) string {
		said := ""
		for _, key := range keys {
			tie := s.TieOf(key)
			said += fmt.Sprintf(" %s:%d", key, tie.Lease)
			if tie.Deadline != 0 {
				said += fmt.Sprintf("+%d", tie.Deadline-s.LeaseTime())
			}
		}
		return said[1:]
	}
	for _, step := range []struct {
		txn      string
		status   Status
		at       string // the operation that was refused
		revision uint64
		lives    string // of a, b and c
	}{
		{`{"then":[{"op":"put","key":"a","text":"1","lease":7},{"op":"put","key":"b","text":"1","ttl":"5s"},{"op":"put","key":"c","text":"1"}]}`, StatusOK, "", 2, "a:7 b:0+5000 c:0"},
		{`{"if":[{"key":"a","lease":7},{"key":"b","lease":0},{"prefix":"","lease":8,"is":"<"}],"then":[{"op":"append","key":"a","text":"2"},{"op":"append","key":"b","text":"2"}],"else":[{"op":"delete","key":"a"}]}`, StatusOK, "", 3, "a:7 b:0+5000 c:0"},
		{`{"then":[{"op":"put","key":"a","text":"3","keep_lease":true},{"op":"put","key":"c","keep_value":true,"ttl":"9s"}]}`, StatusOK, "", 4, "a:7 b:0+5000 c:0+9000"},
		{`{"then":[{"op":"touch","key":"b","ttl":"8s"},{"op":"touch","key":"c","ttl":"2s"}]}`, StatusOK, "", 4, "a:7 b:0+8000 c:0+2000"},
		{`{"then":[{"op":"put","key":"b","text":"4","ttl":"3s"},{"op":"touch","key":"b","ttl":"4s"},{"op":"touch","key":"c","ttl":"6s"}]}`, StatusOK, "", 5, "a:7 b:0+4000 c:0+6000"},
		{`{"then":[{"op":"delete","key":"c"},{"op":"touch","key":"a","ttl":"4s"}]}`, StatusConditionFailed, "1", 5, "a:7 b:0+4000 c:0+6000"},
		{`{"then":[{"op":"delete","key":"c"},{"op":"put","key":"b","text":"","lease":8}]}`, StatusLeaseNotFound, "1", 5, "a:7 b:0+4000 c:0+6000"},
		{`{"then":[{"op":"delete","key":"c"},{"op":"touch","key":"c","ttl":"4s"}]}`, StatusNotFound, "1", 5, "a:7 b:0+4000 c:0+6000"},
		{`{"then":[{"op":"delete","key":"c"},{"op":"put","key":"c","text":"","keep_lease":true}]}`, StatusNotFound, "1", 5, "a:7 b:0+4000 c:0+6000"},
		{`{"then":[{"op":"put","key":"a","text":""},{"op":"put","key":"c","text":"","lease":7},{"op":"delete","key":"b"},{"op":"append","key":"b","text":"x"}]}`, StatusOK, "", 6, "a:0 b:0 c:7"},
	} {
		r := apply(s, at(1000, txnOf(t, step.txn)))
		refused := ""
		if r.Refused != nil {
			refused = r.Refused.Operation
		}
		if r.Status != step.status || refused != step.at || s.Revision() != step.revision || lives("a", "b", "c") != step.lives {
			t.Errorf("%s: %v at %q, revision %d, %s", step.txn, r.Status, refused, s.Revision(), lives("a", "b", "c"))
		}
	}
	// Of each change one event for each key: 3, 2, 2, 1 and 3 puts.
	if n := s.HistoryEvents(); n != 11 {
		t.Errorf("there are %d events", n)
	}
	again := restored(t, s)
	if s.Digest() != again.Digest() || again.TieOf("c") != s.TieOf("c") {
		t.Error("the state is another one after a snapshot")
	}
	if r := apply(s, Revoke(7)); r.Length != 1 || s.Revision() != 7 {
		t.Errorf("the lease had %d keys; revision %d", r.Length, s.Revision())
	}
}

// Goal (T4, H1): whatever shows a key says to which lease it is tied, as it does of created:
// what a transaction has read and what was there before its writes, the operations before
// included; what was there before plain writes and the removal of a range; and an answer
// that is remembered says it again. A chosen id may be below 0.
// Method: keys of a lease, with a time of their own and without an end.
func TestWhatIsShownNamesTheLease(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1000, Grant(-7, 60_000, "")))
	for _, ops := range []string{
		`{"op":"put","key":"a","text":"1","lease":-7},{"op":"put","key":"b","text":"1","ttl":"5s"},{"op":"put","key":"c","text":"1"}`,
	} {
		apply(s, at(1000, txnOf(t, `{"then":[`+ops+`]}`)))
	}
	const a = `{"key":"a","text":"1","revision":2,"version":1,"created":2,"lease":-7}`
	previous := func(op Op, key string) Command { return Command{Op: op, Key: []byte(key), Previous: true} }
	span := DeleteRangeCommand(&txn.DeleteRange{From: "b"}, 1<<20)
	span.Previous = true
	for _, step := range []struct {
		what string
		c    Command
		want string // results
	}{
		{"reads", txnOf(t, `{"then":[{"op":"get","key":"a"},{"op":"list","prefix":"","keys_only":true},{"op":"txn","then":[{"op":"get","key":"b"}]}]}`),
			`{"item":` + a + `},{"items":[{"key":"a","revision":2,"version":1,"created":2,"lease":-7},{"key":"b","revision":2,"version":1,"created":2},` +
				`{"key":"c","revision":2,"version":1,"created":2}]},{"succeeded":true,"results":[{"item":{"key":"b","text":"1","revision":2,"version":1,"created":2}}]}`},
		{"writes", txnOf(t, `{"then":[{"op":"put","key":"a","text":"2","prev":true},{"op":"append","key":"a","text":"3","prev":true},{"op":"put","key":"c","text":"2","lease":-7},{"op":"delete","key":"c","prev":true},{"op":"put","key":"a","text":"4","lease":-7}]}`),
			`{"version":2,"length":1,"prev":` + a + `},{"version":3,"length":2,"prev":{"key":"a","text":"2","revision":3,"version":2,"created":2}},{"version":2,"length":1},` +
				`{"deleted":1,"prev":{"key":"c","text":"2","revision":3,"version":2,"created":2,"lease":-7}},{"version":4,"length":1}`},
		{"an append", previous(OpAppend, "a"), `{"version":5,"length":1,"prev":{"key":"a","text":"4","revision":3,"version":4,"created":2,"lease":-7}}`},
		{"a put", previous(OpPut, "a"), `{"version":6,"length":0,"prev":{"key":"a","text":"4","revision":4,"version":5,"created":2,"lease":-7}}`},
		{"a put once more", txnOf(t, `{"then":[{"op":"put","key":"a","text":"5","prev":true,"lease":-7},{"op":"put","key":"d","text":"","lease":-7}]}`),
			`{"version":7,"length":1,"prev":{"key":"a","text":"","revision":5,"version":6,"created":2}},{"version":1,"length":0}`},
		{"a delete", previous(OpDelete, "a"), `{"deleted":1,"prev":{"key":"a","text":"5","revision":6,"version":7,"created":2,"lease":-7}}`},
		{"a delete of nothing", previous(OpDelete, "a"), `{"deleted":0,"prev":null}`},
		{"a range", span, `{"deleted":2,"prev":[{"key":"b","text":"1","revision":2,"version":1,"created":2},{"key":"d","text":"","revision":6,"version":1,"created":6,"lease":-7}]}`},
	} {
		step.c.IdempotencyKey = strings.ReplaceAll(step.what, " ", "-")
		for range 2 { // the second is a repetition
			r := apply(s, at(1000, step.c))
			if r.Status != StatusOK || r.Outcome == nil {
				t.Fatalf("%s: %v", step.what, r.Status)
			}
			got := string(r.Outcome.AppendJSON(nil, 0, true))
			if want := `{"succeeded":true,"results":[` + step.want + `]}`; got != want {
				t.Errorf("%s, repeated %v:\n%s\nwant\n%s", step.what, r.Replayed, got, want)
			}
		}
		if again := restored(t, s); again.Digest() != s.Digest() {
			t.Errorf("%s: another state after a snapshot", step.what)
		}
	}
}

// Goal (L12, T6): a transaction gives a lease no more keys than it may have, and is refused by
// the operation by which it would, and ties count for the
// quota in it as in plain writes. Method: as many keys as there may be, and one more, and
// one in the place of another; a store that has room for some ties.
func TestTransactionsFillLeases(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, at(1000, Grant(7, 60_000, "")))
	puts := func(from, to int) Command {
		var ops []string
		for i := from; i < to; i++ {
			ops = append(ops, fmt.Sprintf(`{"op":"put","key":"%d","text":"","lease":7}`, i))
		}
		return txnOf(t, `{"then":[`+strings.Join(ops, ",")+`]}`)
	}
	for from := 0; from < lease.Standard.Keys; from += txn.MaxOps {
		if r := apply(s, puts(from, from+txn.MaxOps)); r.Status != StatusOK {
			t.Fatal(r.Status)
		}
	}
	if r := apply(s, puts(5000, 5001)); r.Status != StatusLeaseFull || s.Leases().Count(7) != lease.Standard.Keys || r.Refused == nil || r.Refused.Operation != "0" {
		t.Errorf("one more is %v, %v", r.Status, r.Refused)
	}
	apply(s, at(1000, Grant(8, 60_000, "")))
	several := `{"then":[{"op":"delete","key":"3"},{"op":"put","key":"a","text":"","lease":8},{"op":"put","key":"b","text":"","lease":7},` +
		`{"op":"txn","then":[{"op":"get","key":"a"},{"op":"put","key":"c","text":"","lease":7}]},{"op":"put","key":"d","text":"","lease":8}]}`
	if r := apply(s, txnOf(t, several)); r.Status != StatusLeaseFull || r.Refused == nil || r.Refused.Operation != "3.1" || s.Leases().Count(8) != 0 {
		t.Errorf("the second of two is %v, %v", r.Status, r.Refused)
	}
	apply(s, txnOf(t, `{"then":[{"op":"delete","key":"3"}]}`))
	r := apply(s, AcquireCommand(Acquire{Lock: "l", Lease: 7, Limit: 1}))
	if r.Status != StatusOK {
		t.Fatal(r.Status)
	}
	if r := apply(s, puts(5000, 5001)); r.Status != StatusLeaseFull {
		t.Errorf("one more beside a lock is %v", r.Status)
	}
	restored(t, s) // a store must be able to load what it has saved
	apply(s, Release("l", r.Revision))
	apply(s, puts(3, 4))
	if r := apply(s, txnOf(t, `{"then":[{"op":"delete","key":"1"},{"op":"put","key":"x","text":"","lease":7},{"op":"put","key":"2","text":"","lease":7}]}`)); r.Status != StatusOK || s.Leases().Count(7) != lease.Standard.Keys {
		t.Errorf("one in the place of another is %v, %d keys", r.Status, s.Leases().Count(7))
	}

	s = NewAt(LevelHistory)
	for _, step := range []struct {
		txn  string
		want Status
	}{
		{`{"then":[{"op":"put","key":"a","text":"","ttl":"5s"},{"op":"put","key":"b","text":"","ttl":"5s"},{"op":"put","key":"c","text":""}]}`, StatusQuota},
		{`{"then":[{"op":"put","key":"a","text":"","ttl":"5s"},{"op":"put","key":"c","text":""}]}`, StatusOK},
		{`{"then":[{"op":"touch","key":"c","ttl":"5s"}]}`, StatusQuota},
		{`{"then":[{"op":"put","key":"a","text":""},{"op":"touch","key":"c","ttl":"5s"}]}`, StatusOK},
		{`{"then":[{"op":"put","key":"a","text":"","ttl":"5s"}]}`, StatusQuota},
		{`{"then":[{"op":"delete","key":"c"},{"op":"put","key":"a","text":"","ttl":"5s"}]}`, StatusOK},
	} {
		c := txnOf(t, step.txn)
		c.Quota = 100
		if r := apply(s, at(1000, c)); r.Status != step.want {
			t.Errorf("%s: %v, want %v", step.txn, r.Status, step.want)
		}
	}
	if s.Bytes() != 1 || s.Leases().Ties() != 1 {
		t.Errorf("%d bytes, %d ties", s.Bytes(), s.Leases().Ties())
	}
}
