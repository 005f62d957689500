package txn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// items is a state for tests, in the order of the keys.
type items []Keyed

func (s items) Find(key string) (Item, bool) {
	for _, i := range s {
		if i.Key == key {
			return i.Item, true
		}
	}
	return Item{}, false
}

func (s items) Ascend(from string, fn func(string, Item) bool) {
	for _, i := range s {
		if i.Key >= from && !fn(i.Key, i.Item) {
			return
		}
	}
}

// Holds: the token 7 holds the lock "jobs".
func (s items) Holds(lock string, token uint64) bool { return lock == "jobs" && token == 7 }

// Lives says that c is tied to the lease 7, and b/1 to a time.
func (s items) Lives(key string) Lives {
	return Lives{Tied: key == "c" || key == "b/1", Lease: map[string]int64{"c": 7}[key]}
}

func (s items) Alive(lease int64) bool { return lease == 7 || lease == -8 }

func item(key, value string, revision, version, created uint64) Keyed {
	return Keyed{key, Item{[]byte(value), revision, version, created}, 0}
}

// some is a state at revision 9.
var some = items{item("a", "1", 5, 2, 3), item("b/1", "x", 9, 1, 9), item("b/2", "y", 7, 4, 0), item("c", "", 8, 1, 8)}

// Goal: every compare holds exactly for what the contract says; planted bug 17: a compare
// of the value of an absent key is false, with != too; an empty range is compared like one
// absent key. Method: a table over all subjects, relations and spans.
func TestCompares(t *testing.T) {
	for _, c := range []struct {
		compare string // JSON
		want    bool
	}{
		{`"key":"a","revision":5`, true}, {`"key":"a","revision":4`, false}, {`"key":"a","revision":4,"is":">"`, true}, {`"key":"a","revision":5,"is":">"`, false},
		{`"key":"a","revision":6,"is":"<"`, true}, {`"key":"a","revision":5,"is":"!="`, false}, {`"key":"a","revision":6,"is":"!="`, true},
		{`"key":"a","version":2`, true}, {`"key":"a","created":3`, true}, {`"key":"b/2","created":1`, true}, {`"key":"b/2","created":0`, false},
		{`"key":"none","revision":0`, true}, {`"key":"none","version":0`, true}, {`"key":"none","created":0`, true}, {`"key":"none","created":1`, false}, {`"key":"none","revision":1,"is":"<"`, true},
		{`"key":"a","text":"1"`, true}, {`"key":"a","value":"MQ=="`, true}, {`"key":"a","text":"2","is":"!="`, true}, {`"key":"a","text":"2","is":"<"`, true}, {`"key":"a","text":"0","is":">"`, true},
		{`"key":"c","text":""`, true}, {`"key":"none","text":""`, false}, {`"key":"none","text":"x","is":"!="`, false}, {`"key":"none","text":"x","is":"<"`, false},
		{`"key":"a","exists":true`, true}, {`"key":"none","exists":true`, false}, {`"key":"a","absent":true`, false}, {`"key":"none","absent":true`, true},
		{`"prefix":"b/","revision":6,"is":">"`, true}, {`"prefix":"b/","revision":7,"is":">"`, false}, {`"prefix":"b/","exists":true`, true}, {`"prefix":"none","exists":true`, false},
		{`"prefix":"b/","absent":true`, false}, {`"prefix":"none","absent":true`, true}, {`"prefix":"none","revision":0`, true}, {`"prefix":"none","text":"x","is":"!="`, false},
		{`"key":"c","lease":7`, true}, {`"key":"c","lease":8`, false}, {`"key":"c","lease":-8,"is":">"`, true}, {`"key":"a","lease":0`, true}, {`"key":"b/1","lease":0`, true}, {`"key":"none","lease":0`, true},
		{`"prefix":"","lease":0`, false}, {`"prefix":"b/","lease":0`, true}, {`"prefix":"b/","lease":7,"is":"!="`, true},
		{`"prefix":"b/","text":"a","is":">"`, true}, {`"prefix":"b/","text":"x"`, false}, {`"from":"b","to":"c","created":9,"is":"<"`, false}, {`"from":"b/2","created":9,"is":"<"`, true},
		{`"prefix":"b/","count":2`, true}, {`"prefix":"b/","count":1`, false}, {`"prefix":"b/","count":1,"not":true`, true}, {`"prefix":"none","count":0`, true},
		{`"prefix":"b/","not_newer_than":9`, true}, {`"prefix":"b/","not_newer_than":8`, false}, {`"prefix":"b/","not_newer_than":8,"not":true`, true}, {`"prefix":"none","not_newer_than":0`, true},
		{`"prefix":"b/","count":2,"not_newer_than":9`, true}, {`"prefix":"b/","count":3,"not_newer_than":9`, false}, {`"prefix":"b/","count":2,"not_newer_than":8`, false},
		{`"prefix":"b/","count":2,"not_newer_than":8,"not":true`, true}, {`"prefix":"","count":4,"not_newer_than":9`, true}, {`"from":"","to":"b","count":1`, true},
	} {
		x, err := Parse([]byte(`{"if":[{` + c.compare + `}]}`))
		if err != nil {
			t.Errorf("%s: %v", c.compare, err)
			continue
		}
		for _, x := range []*Txn{x, recoded(t, x)} {
			o, changes, err := Run(x, some, Bounds{Revision: 10})
			if err != nil || len(changes) > 0 || o.Succeeded != c.want {
				t.Errorf("%s: %+v, %v, want %v", c.compare, o, err, c.want)
			}
		}
	}
}

// recoded is a transaction that went through its encoding.
func recoded(t *testing.T, x *Txn) *Txn {
	t.Helper()
	b := x.Append(nil)
	again, err := Decode(b)
	if err != nil || !bytes.Equal(again.Append(nil), b) {
		t.Fatalf("%x: %v", b, err)
	}
	return again
}

// Goal (T4): compares of nested transactions do not see the operations before them
// (planted bug 16), and operations do. Method: one transaction with both.
func TestNestedComparesSeeTheStateBefore(t *testing.T) {
	x, err := Parse([]byte(`{"then":[{"op":"delete","prefix":"","all":true},{"op":"put","key":"a","text":"new"},
		{"op":"txn","if":[{"key":"a","revision":5},{"prefix":"","count":4}],"then":[{"op":"list","prefix":""},{"op":"txn","if":[{"key":"a","text":"new"}],"else":[{"op":"get","key":"a"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	o, changes, err := Run(x, some, Bounds{Revision: 10, ResultBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"succeeded":true,"results":[{"deleted":4},{"version":1,"length":3},{"succeeded":true,"results":[{"items":[{"key":"a","text":"new","revision":10,"version":1,"created":10}]},` +
		`{"succeeded":false,"failed":0,"results":[{"item":{"key":"a","text":"new","revision":10,"version":1,"created":10}}]}]}]}`
	if got := string(o.AppendJSON(nil, 0, true)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if len(changes) != 4 || changes[0].Key != "a" || changes[0].Item.Version != 1 || changes[0].Before.Revision != 5 {
		t.Errorf("%+v", changes)
	}
}

// Goal: the encoding is exactly one for each transaction, and what cannot be one is
// refused. Method: transactions of all kinds; one change each of one that is good.
func TestWhatCannotBeATransaction(t *testing.T) {
	deep := func(n int) *Txn {
		x := &Txn{}
		for range n - 1 {
			x = &Txn{Then: []Op{{Kind: Nested, Txn: x}}}
		}
		return x
	}
	many := func(n int) (x Txn) {
		for range n {
			x.Then = append(x.Then, Op{Kind: Get, Span: Key("k")})
		}
		return x
	}
	ops, fewer := many(MaxOps+1), many(MaxOps)
	compares := &Txn{If: make([]Compare, MaxCompares+1)}
	for i := range compares.If {
		compares.If[i] = Compare{Span: Key("k"), Subject: Version, Is: Equal}
	}
	halves := &Txn{Then: many(600).Then, Else: many(600).Then}
	for name, c := range map[string]struct {
		txn   *Txn
		large bool
		ok    bool
	}{
		"1,024 operations":         {&fewer, false, true},
		"1,025 operations":         {&ops, true, false},
		"1,200 in both branches":   {halves, true, false},
		"1,025 compares":           {compares, true, false},
		"128 deep":                 {deep(MaxDepth), false, true},
		"129 deep":                 {deep(MaxDepth + 1), true, false},
		"an empty key":             {&Txn{Then: []Op{{Kind: Get}}}, false, false},
		"a key too long":           {&Txn{Then: []Op{{Kind: Get, Span: Key(strings.Repeat("k", MaxKeyBytes+1))}}}, false, false},
		"a get of a range":         {&Txn{Then: []Op{{Kind: Get, Span: Prefix("k")}}}, false, false},
		"a list of a key":          {&Txn{Then: []Op{{Kind: List, Span: Key("k")}}}, false, false},
		"a get with a value":       {&Txn{Then: []Op{{Kind: Get, Span: Key("k"), Value: []byte("x")}}}, false, false},
		"a get with prev":          {&Txn{Then: []Op{{Kind: Get, Span: Key("k"), Prev: true}}}, false, false},
		"an append that keeps":     {&Txn{Then: []Op{{Kind: Append, Span: Key("k"), KeepValue: true}}}, false, false},
		"a put that has and has":   {&Txn{Then: []Op{{Kind: Put, Span: Key("k"), KeepValue: true, Value: []byte("x")}}}, false, false},
		"a put with a limit":       {&Txn{Then: []Op{{Kind: Put, Span: Key("k"), Limit: 1}}}, false, false},
		"count_only with a limit":  {&Txn{Then: []Op{{Kind: List, Span: Prefix("k"), CountOnly: true, Limit: 1}}}, false, false},
		"a delete with a ttl":      {&Txn{Then: []Op{{Kind: Delete, Span: Key("k"), Tie: Tie{TTL: 1000}}}}, false, false},
		"an append with a lease":   {&Txn{Then: []Op{{Kind: Append, Span: Key("k"), Tie: Tie{Lease: 7}}}}, false, false},
		"a put with two ends":      {&Txn{Then: []Op{{Kind: Put, Span: Key("k"), Tie: Tie{Lease: 7, TTL: 1000}}}}, false, false},
		"a put that keeps and not": {&Txn{Then: []Op{{Kind: Put, Span: Key("k"), Tie: Tie{TTL: 1000, KeepTie: true}}}}, false, false},
		"a put of half a second":   {&Txn{Then: []Op{{Kind: Put, Span: Key("k"), Tie: Tie{TTL: 500}}}}, false, false},
		"a touch without a ttl":    {&Txn{Then: []Op{{Kind: Touch, Span: Key("k")}}}, false, false},
		"a touch with a lease":     {&Txn{Then: []Op{{Kind: Touch, Span: Key("k"), Tie: Tie{TTL: 1000, Lease: 7}}}}, false, false},
		"no kind":                  {&Txn{Then: []Op{{Span: Key("k")}}}, false, false},
		"a count of a key":         {&Txn{If: []Compare{{Span: Key("k"), Subject: Count, Is: Equal}}}, false, false},
		"a count that is less":     {&Txn{If: []Compare{{Span: Prefix("k"), Subject: Count, Is: Less}}}, false, false},
		"no relation":              {&Txn{If: []Compare{{Span: Key("k"), Subject: Version}}}, false, false},
		"a version with bytes":     {&Txn{If: []Compare{{Span: Key("k"), Subject: Version, Is: Equal, Bytes: []byte("x")}}}, false, false},
		"a value with a number":    {&Txn{If: []Compare{{Span: Key("k"), Subject: Value, Is: Equal, Number: 1}}}, false, false},
	} {
		err := c.txn.Check()
		if (err == nil) != c.ok || errors.Is(err, ErrTooLarge) != c.large {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok {
			recoded(t, c.txn)
			continue
		}
		// Some fields have no room in the encoding of what does not take them.
		if again, err := Decode(c.txn.Append(nil)); err == nil && reflect.DeepEqual(again, c.txn) {
			t.Errorf("%s: its encoding is taken", name)
		}
	}
}

// Goal: a range is the same whichever way it is spelled. Method: prefixes with the
// greatest byte at their end, against the keys that begin with them.
func TestAPrefixIsARange(t *testing.T) {
	keys := []string{"", "a", "a\xfe", "a\xff", "a\xff\x00", "a\xff\xff", "a\xff\xffz", "b", "b\x00", "\xfe", "\xff", "\xff\xff", "\xff\xff\xff"}
	for _, prefix := range keys {
		s := Prefix(prefix)
		for _, key := range keys {
			if got, want := s.holds(key), strings.HasPrefix(key, prefix); got != want {
				t.Errorf("%q begins with %q: %v, as a range %v", key, prefix, want, got)
			}
		}
	}
}

// Goal (T5): what is remembered of an outcome is all of it up to 4 KiB, and otherwise
// everything but what was read. Method: an outcome just below and just above, with every
// kind of result, nested too.
func TestWhatIsRememberedOfAnOutcome(t *testing.T) {
	outcome := func(length int) *Outcome {
		value := bytes.Repeat([]byte("v"), length)
		read := []Keyed{{"k", Item{value, 5, 2, 3}, 7}}
		return &Outcome{Succeeded: true, Results: []Result{
			{Kind: Put, Version: 3, Length: 7, Made: true, HasPrev: true, Prev: read}, {Kind: Delete, Deleted: 9, Many: true, More: true},
			{Kind: Get, Items: read}, {Kind: List, Items: read, More: true, Counted: true, Count: 12, KeysOnly: true},
			{Kind: Nested, Txn: &Outcome{Failed: 4, Results: []Result{{Kind: Append, Version: 1, Length: 2}, {Kind: Get, Items: read}}}},
		}}
	}
	for _, length := range []int{0, 1, 950, 1100, 100_000} {
		o := outcome(length)
		whole, err := DecodeOutcome(o.Encode())
		if err != nil || !bytes.Equal(whole.Encode(), o.Encode()) {
			t.Fatalf("%d: %v", length, err)
		}
		kept := o.Kept()
		again, err := DecodeOutcome(kept)
		if err != nil || len(kept) > KeptBytes {
			t.Fatalf("%d: %d bytes are kept, %v", length, len(kept), err)
		}
		if fits := len(o.Encode()) <= KeptBytes; fits == again.Dropped || fits && !bytes.Equal(kept, o.Encode()) {
			t.Errorf("%d: of %d bytes %d are kept", length, len(o.Encode()), len(kept))
		}
		if !again.Dropped {
			continue
		}
		want := `{"succeeded":true,"revision":8,"results":[{"version":3,"length":7},{"deleted":9,"more":true},{},{"count":12,"more":true},` +
			`{"succeeded":false,"failed":4,"results":[{"version":1,"length":2},{}]}],"reads_dropped":true}`
		if got := string(again.AppendJSON(nil, 8, false)); got != want && length > 1000 {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	large := &Outcome{Succeeded: true}
	for range MaxOps {
		large.Results = append(large.Results, Result{Kind: Put, Version: 1<<64 - 1, Length: MaxValueBytes, Made: true, HasPrev: true, Prev: []Keyed{item("k", strings.Repeat("v", 100), 1, 1, 1)}})
	}
	if n := len(large.Kept()); n > MaxAnswerBytes {
		t.Errorf("%d bytes are kept, more than may be", n)
	}
}

// Fuzz target: any bytes may be a transaction in the log. What is taken is encoded as the
// same bytes, passes Check, and runs without harm.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{`{}`, `{"if":[{"key":"a","revision":5}],"then":[{"op":"put","key":"a","text":"x","prev":true}],"else":[{"op":"list","prefix":"b","limit":3}]}`,
		`{"if":[{"key":"c","lease":-8,"is":"<"}],"then":[{"op":"put","key":"a","text":"x","ttl":"30s"},{"op":"put","key":"b","text":"","lease":-8},{"op":"put","key":"c","text":"","keep_lease":true},{"op":"touch","key":"b/1","ttl":"1s"}]}`,
		`{"if":[{"prefix":"b/","count":2,"not_newer_than":9},{"key":"a","text":"1"}],"then":[{"op":"txn","then":[{"op":"delete","from":"a","to":"c"},{"op":"append","key":"a","text":"+"}]}]}`} {
		x, err := Parse([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(x.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Decode(b)
		if err != nil {
			return
		}
		if got := x.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x is encoded as %x", b, got)
		}
		writes := x.Writes()
		o, changes, err := Run(x, some, Bounds{Revision: 10, ResultBytes: 1 << 20})
		if err != nil {
			return
		}
		if len(changes) > 0 && !writes {
			t.Fatalf("%x changes something and is said not to write", b)
		}
		if again, err := DecodeOutcome(o.Encode()); err != nil || !bytes.Equal(again.Encode(), o.Encode()) {
			t.Fatalf("%x: the outcome cannot be read: %v", b, err)
		}
		if !json.Valid(o.AppendJSON(nil, 1, true)) {
			t.Fatalf("%x: the outcome is not JSON: %s", b, o.AppendJSON(nil, 1, true))
		}
	})
}

// Fuzz target: any bytes may be a remembered outcome, or what a node has answered.
func FuzzDecodeOutcome(f *testing.F) {
	f.Add((&Outcome{Succeeded: true, Results: []Result{{Kind: Get, Items: some[:1]}, {Kind: Nested, Txn: &Outcome{Failed: 1}}, {Kind: Delete, Deleted: 3, HasPrev: true, Prev: some, Many: true}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOutcome(b)
		if err == nil && !bytes.Equal(o.Encode(), b) {
			t.Fatalf("%x is encoded as %x", b, o.Encode())
		}
	})
}

// Fuzz target: any bytes may be a removal of a range.
func FuzzDecodeRange(f *testing.F) {
	f.Add((&DeleteRange{From: "a", To: "b", Guarded: true, AtMost: 3, Partial: true}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeRange(b)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Append(nil), b) {
			t.Fatalf("%x is encoded as %x", b, d.Append(nil))
		}
		if _, _, err := d.Run(some, Bounds{ResultBytes: 100}, true); err != nil {
			if _, refused := err.(*Refusal); !refused {
				t.Fatal(err)
			}
		}
	})
}

// Fuzz target: any text may be sent as a transaction. What is taken passes through the
// encoding.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`{}`, `{"then":[{"op":"put","key":"a","text":"x"}]}`, `{"if":[{"key_base64":"/w==","absent":true}],"then":[{"op":"txn","else":[{"op":"get","key":"k"}]}]}`, `{"then":[{"op":"put","key":"\u00ff","value":""}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := Decode(x.Append(nil))
		if err != nil || fmt.Sprintf("%+v", reflect.ValueOf(*again.plain())) != fmt.Sprintf("%+v", reflect.ValueOf(*x.plain())) {
			t.Fatalf("%s is another transaction behind its encoding: %v", text, err)
		}
	})
}

// plain is the transaction without empty values, for comparing.
func (t *Txn) plain() *Txn {
	t.EachOp(func(o *Op) bool {
		if len(o.Value) == 0 {
			o.Value = nil
		}
		if o.Txn != nil {
			o.Txn.plain()
		}
		return true
	})
	return &Txn{If: t.If}
}

// Goal: a transaction deletes a range without an end only if it says so, at any depth, and what
// cannot be read is called what it is.
// Method: texts that are refused and taken.
func TestARangeWithoutAnEndIsDeletedOnlyByName(t *testing.T) {
	for text, says := range map[string]string{
		`{"then":[{"op":"delete","prefix":""}]}`:                       `add "all": true`,
		`{"else":[{"op":"delete","from":"n/2"}]}`:                      `all keys from "n/2" to the last`,
		`{"then":[{"op":"txn","then":[{"op":"delete","prefix":""}]}]}`: `add "all": true`,
		`{"then":[{"op":"delete","prefix":"a","all":true}]}`:           `goes with the delete of a range without an end`,
		`{"then":[{"op":"list","prefix":"","all":true}]}`:              `goes with the delete of a range without an end`,
		``: "the text ends before its JSON does",
		`{"then":[{"op":"put","key":"k","text":"v","ttl":5}]}`: `must not be of the type number`,
		`[]`: `must be an object`,
		`{"then":[{"op":"delete","prefix":"","all":true}]}`:                       "",
		`{"then":[{"op":"delete","from":"n/2","all":true}]}`:                      "",
		`{"then":[{"op":"delete","prefix":"a"},{"op":"delete","to":"b"}]}`:        "",
		`{"then":[{"op":"txn","then":[{"op":"delete","prefix":"","all":true}]}]}`: "",
	} {
		if _, err := Parse([]byte(text)); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}
