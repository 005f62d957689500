package clerkwire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"raftkv/kvserver/api"
	"raftkv/raft/msgpack"
)

// parser is a pointer to a message.
type parser interface{ Parse(body []byte) error }

// samples has one full message of each kind.
func samples() map[Kind]Message {
	return map[Kind]Message{
		KindOpen:   Empty{},
		KindOpened: Opened{Session: math.MaxUint64},
		KindGet:    Get{Consistency: Stale, MinRevision: 300, Key: []byte("k\x00\xff"), Pinned: Pinned{true, 300}},
		KindGot:    Got{Found: true, Revision: 1 << 40, Version: 3, Store: 70000, Value: bytes.Repeat([]byte{0xc1}, 300), Created: 7, Lease: 9},
		KindPut: Write{
			Session: 9, Lane: 1023, Seq: 1 << 33, Condition: IfRevision, Number: 17, Key: []byte("key"), Value: []byte("value"),
		},
		KindAppend: Write{
			Session: 9, Lane: 1023, Seq: 1 << 33, Key: []byte("key"), Value: []byte("value"), More: WriteMore{Lease: 10_482, TTL: 1 << 40, Keep: true, Previous: true},
		},
		KindDelete: Write{
			Session: 9, Lane: 1023, Seq: 1 << 33, Key: []byte("key"), Value: []byte{}, More: WriteMore{Guard: Guard{Lock: "jobs\xff", Token: 1 << 40}},
		},
		KindAcquire:    Acquire{Session: 9, Lane: 1023, Seq: 1 << 33, Lock: []byte("jobs\xff"), Lease: 10_482, TTL: 15_000, Limit: 3, Delay: 5_000, Value: []byte("v"), Queue: true},
		KindAcquired:   Acquired{Lease: 1 << 62, Token: 1 << 40, Replayed: true},
		KindRelease:    Release{Session: 9, Lane: 1023, Seq: 1 << 33, Lock: []byte("jobs"), Token: 57},
		KindLeaveQueue: LeaveQueue{Session: 9, Lane: 1023, Seq: 1 << 33, Lock: []byte("jobs"), Lease: 10_482, End: true},
		KindPublish:    Publish{Session: 9, Lane: 1023, Seq: 1 << 33, Lock: []byte("jobs"), Token: 57, Value: []byte("10.0.0.7:80")},
		KindLocks:      Locks{Consistency: Stale, MinRevision: 300, Lock: []byte{}, Prefix: []byte("a/"), After: []byte("a/b"), Limit: 20},
		KindLocksShown: LocksShown{More: true, Locks: []LockShown{
			{Lock: []byte("jobs"), Limit: 3, Waiting: 7, Holders: []LockHolder{{Token: 57, Lease: 9, Value: []byte("v"), Note: "worker 7"}, {Token: 58, Lease: 10, Value: []byte{}}}}, {Lock: []byte("k\xff"), Limit: 1, Holders: []LockHolder{}},
		}},
		KindPut.Answer():    Written{Revision: 5, Version: 4, Length: 3, Created: true, Deleted: true, Replayed: true},
		KindAppend.Answer(): Written{Revision: 5, Version: 4, Length: 3, Outcome: strings.Repeat("\xc1", 300)},
		KindGrant:           Grant{Session: 9, Lane: 1023, Seq: 1 << 33, Lease: 10_482, TTL: 15_000, Note: "worker 7"},
		KindGranted:         Granted{Lease: 1 << 62, Replayed: true},
		KindKeepAlive:       KeepAlive{Leases: []int64{1, 1 << 62}},
		KindKept:            Kept{TTLs: []uint64{0, 15_000}},
		KindRevoke:          Revoke{Session: 9, Lane: 1023, Seq: 1 << 33, Lease: 10_482},
		KindLeases:          Leases{Consistency: Stale, MinRevision: 300, From: 7, Limit: 20},
		KindLeasesShown: LeasesShown{More: true, Next: 9, Leases: []LeaseShown{
			{Lease: 7, TTL: 15_000, Remaining: 9_000, Note: "worker 7", Count: 2, Keys: [][]byte{[]byte("a"), []byte("b\xff")}}, {Lease: 8, TTL: 1_000, Remaining: 1, Keys: [][]byte{}},
		}},
		KindTouch: Touch{Key: []byte("k\x00\xff"), TTL: 30_000},
		KindList: List{
			Consistency: Stale, MinRevision: 1, Limit: 2, KeysOnly: true, Prefix: []byte{}, After: []byte("a/b"),
			More: &ListMore{Pinned: Pinned{true, 300}, From: []byte("a/"), To: []byte("a0"), Count: true, CountOnly: true},
		},
		KindListed: Listed{Store: 8, More: true, Counted: true, Count: 300, Items: []Item{
			{Key: []byte("a"), Value: []byte{}, Revision: 1, Version: 2}, {Key: []byte("b"), Value: []byte("x"), Revision: 3, Version: 4, Created: 2, Lease: 1 << 40},
		}},
		KindRefused: Refused{
			Code: api.CodePreconditionFailed, Outcome: api.OutcomeNotApplied, Retryable: true, Decided: true,
			RetryAfter: 1500 * time.Millisecond, Node: "n1", Leader: "n2", LeaderAddr: "127.0.0.1:8702", Term: 7,
			Revision: 17, Version: 3, RequestID: "n1-x-1", Detail: strings.Repeat("d", 100),
		},
		KindForward: Forward{RequestID: "n2-x-1", Left: 10 * time.Second, Token: []byte{}, Command: bytes.Repeat([]byte{0xc1}, 300), Sum: 7},
		KindForwarded: Forwarded{
			Node: "n1", Leader: "n2", Term: 7, Status: 8, Revision: 17, Version: 3, Length: 5, Created: true, Deleted: true, Replayed: true, Detail: "d",
		},
		KindTxn:          Txn{Session: 9, Lane: 1023, Seq: 1 << 33, Previous: true, Body: bytes.Repeat([]byte{0xc1}, 300)},
		KindTxn.Answer(): TxnDone{Revision: 1 << 40, Replayed: true, Outcome: bytes.Repeat([]byte{0xc1}, 300)},
		KindWatch: Watch{
			Cluster: "0f8fad5bd9cb469fa16570867728950e", Resume: true, After: 1 << 40, Mirror: true, Prev: true, KeysOnly: true, ProgressMs: 500,
			Keys: [][]byte{[]byte("k\x00\xff"), []byte("l")}, Prefixes: [][]byte{{}}, Ranges: []KeyRange{{[]byte("a"), []byte("b")}, {[]byte{}, []byte{}}},
			Locks: [][]byte{[]byte("jobs\xff")},
		},
		KindConfiguration: Configuration{Generation: 2, Version: 1 << 40},
		KindWatching:      Watching{StateFirst: true, After: 1, Revision: 300, Oldest: 2},
		KindChanges:       Changes{More: true, Content: bytes.Repeat([]byte{0xc1}, 300)},
		KindCredit:        Credit{Bytes: 65_536},
		KindSync:          Sync{Watch: math.MaxUint32},
		KindSynced:        Synced{Revision: 1 << 40},
		KindEnded:         Ended{Oldest: 7, Why: Refused{Code: api.CodeRevisionGone, Revision: 300, Node: "n1", Detail: "d"}},
	}
}

// empty returns a pointer to a message of the kind of m.
func empty(m Message) parser { return reflect.New(reflect.TypeOf(m)).Interface().(parser) }

// Goal: every message comes back as it was sent. Method: a full one and an empty
// one of each kind.
func TestMessagesComeBack(t *testing.T) {
	for kind, full := range samples() {
		for _, m := range []Message{full, reflect.Zero(reflect.TypeOf(full)).Interface().(Message)} {
			body := m.append(nil)
			got := empty(m)
			if err := got.Parse(body); err != nil {
				t.Errorf("kind %#x: %v", kind, err)
				continue
			}
			if again := reflect.ValueOf(got).Elem().Interface().(Message).append(nil); !bytes.Equal(again, body) {
				t.Errorf("kind %#x came back as %+v", kind, got)
			}
		}
	}
}

// Goal: the bodies are msgpack as others know it. Method: the library that the
// peers' protocol uses writes the same fields as an array.
func TestBodiesAreThoseOfTheLibrary(t *testing.T) {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.StructToArray, h.PositiveIntUnsigned = true, true
	for kind, m := range samples() {
		v := reflect.ValueOf(m)
		var fields any = m
		if r, isRefused := m.(Refused); isRefused {
			fields = refusedFieldsOf(r)
		}
		if e, isEnded := m.(Ended); isEnded {
			fields = struct {
				Oldest uint64
				Why    refusedFields
			}{e.Oldest, refusedFieldsOf(e.Why)}
		}
		if f, isForward := m.(Forward); isForward {
			fields = struct {
				RequestID      string
				Left           uint64
				Token, Command []byte
				Sum            uint32
			}{f.RequestID, uint64(f.Left.Milliseconds()), f.Token, f.Command, f.Sum}
		}
		fields = asLibrary(fields)
		var want []byte
		if err := codec.NewEncoderBytes(&want, h).Encode(fields); err != nil {
			t.Fatal(err)
		}
		if got := m.append(nil); !bytes.Equal(got, want) {
			t.Errorf("kind %#x, %d fields:\n% x\nlibrary:\n% x", kind, v.NumField(), got, want)
		}
	}
}

// asLibrary makes fields of a message of which a part does not always travel.
func asLibrary(m any) any {
	switch m := m.(type) {
	case Get:
		return []any{m.Consistency, m.MinRevision, m.Key, m.Pinned.At}
	case List:
		more := []any{m.More.Pinned.Set, m.More.Pinned.At, m.More.From, m.More.To, m.More.Count, m.More.CountOnly}
		return []any{m.Consistency, m.MinRevision, m.Limit, m.KeysOnly, m.Prefix, m.After, more}
	case Listed:
		first, second := m.Items[0], m.Items[1]
		return []any{m.Store, m.More, []any{[]any{first.Key, first.Value, first.Revision, first.Version}, second}, m.Count}
	case Write:
		if m.More == (WriteMore{}) {
			return []any{m.Session, m.Lane, m.Seq, m.Condition, m.Number, m.Key, m.Value}
		}
		more := []any{uint64(m.More.Lease), m.More.TTL, m.More.Keep, m.More.Previous}
		if m.More.Guard != (Guard{}) {
			more = append(more, []byte(m.More.Guard.Lock), m.More.Guard.Token)
		}
		return []any{m.Session, m.Lane, m.Seq, m.Condition, m.Number, m.Key, m.Value, more}
	case Written:
		if m.Outcome == "" {
			return []any{m.Revision, m.Version, m.Length, m.Created, m.Deleted, m.Replayed}
		}
		return []any{m.Revision, m.Version, m.Length, m.Created, m.Deleted, m.Replayed, []byte(m.Outcome)}
	}
	return m
}

// refusedFields are those of a refusal as they are written.
type refusedFields struct {
	Code, Outcome            string
	Retryable, Decided       bool
	RetryAfter               uint64
	Node, Leader, LeaderAddr string
	Term, Revision, Version  uint64
	RequestID, Detail        string
}

func refusedFieldsOf(r Refused) refusedFields {
	return refusedFields{
		string(r.Code), string(r.Outcome), r.Retryable, r.Decided, uint64(r.RetryAfter.Milliseconds()),
		r.Node, r.Leader, r.LeaderAddr, r.Term, r.Revision, r.Version, r.RequestID, r.Detail,
	}
}

// Goal: a body is refused if any byte of it is missing or anything follows.
// Method: all prefixes of each, and each with one byte more.
func TestBodiesThatAreCutOffAreRefused(t *testing.T) {
	for kind, m := range samples() {
		body := m.append(nil)
		for n := range body {
			if err := empty(m).Parse(body[:n]); !errors.Is(err, msgpack.ErrMalformed) {
				t.Errorf("kind %#x, %d of %d bytes: %v", kind, n, len(body), err)
			}
		}
		if err := empty(m).Parse(append(body, 0)); !errors.Is(err, msgpack.ErrMalformed) {
			t.Errorf("kind %#x with a byte behind it: %v", kind, err)
		}
	}
}

// emptyMore is a write of eight fields, of which the last says nothing.
type emptyMore struct{ Message }

func (emptyMore) append([]byte) []byte {
	dst := Write{Key: []byte("k")}.append(nil)
	dst[0]++
	dst = msgpack.AppendArray(dst, 4)
	dst = msgpack.AppendBool(msgpack.AppendUint(msgpack.AppendUint(dst, 0), 0), false)
	return msgpack.AppendBool(dst, false)
}

// Goal: values that have no meaning here are refused, because to ignore them
// would be to break a promise; the refusal names what a later version may know.
func TestUnknownValuesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		m    Message
		to   parser
		says string
	}{
		"consistency":              {Get{Consistency: 2, Key: []byte("k")}, new(Get), "consistency of 2"},
		"consistency of a list":    {List{Consistency: 9}, new(List), "consistency of 9"},
		"a range of a prefix":      {List{Prefix: []byte("a"), More: &ListMore{To: []byte("b")}}, new(List), "of a prefix and of a range"},
		"a revision not pinned":    {List{More: &ListMore{Pinned: Pinned{At: 1}}}, new(List), "not pinned"},
		"condition":                {Write{Condition: 5}, new(Write), "kind 5"},
		"condition of the labs":    {Write{Condition: 1}, new(Write), "kind 1"},
		"number without condition": {Write{Number: 1}, new(Write), "a number"},
		"number of if-absent":      {Write{Condition: IfAbsent, Number: 1}, new(Write), "a number"},
		"more that says nothing":   {emptyMore{}, new(Write), "say nothing"},
		"one lease and a page":     {Leases{Lease: 1, Limit: 1}, new(Leases), "bounds of a page"},
		"keys of a page":           {Leases{Keys: true}, new(Leases), "shows none"},
		"an empty guard":           {Write{Key: []byte("k"), More: WriteMore{Guard: Guard{Lock: "l"}}}, new(Write), "without a lock or a token"},
		"a guard without a lock":   {Write{Key: []byte("k"), More: WriteMore{Guard: Guard{Token: 1}}}, new(Write), "without a lock or a token"},
		"asking in no session":     {Acquire{Lock: []byte("l"), Limit: 1}, new(Acquire), "can only wait"},
		"waiting in a session":     {Acquire{Session: 1, Lock: []byte("l"), Wait: 1}, new(Acquire), "in a session"},
		"holding and waiting":      {Acquired{Token: 2, After: 1}, new(Acquired), "waits for it"},
		"one lock and a page":      {Locks{Lock: []byte("l"), Limit: 1}, new(Locks), "bounds of a page"},
		"a token of no lock":       {Locks{Token: 1}, new(Locks), "no lock"},
		"too many locks":           {LocksShown{Locks: make([]LockShown, MaxLocks+1)}, new(LocksShown), ""},
		"the name of a lock":       {Release{Lock: make([]byte, api.MaxLockNameBytes+1)}, new(Release), ""},
		"too many leases":          {KeepAlive{make([]int64, MaxKept+1)}, new(KeepAlive), ""},
		"too many of a page":       {LeasesShown{Leases: make([]LeaseShown, MaxLeases+1)}, new(LeasesShown), ""},
		"outcome":                  {Refused{Outcome: "perhaps"}, new(Refused), `"perhaps"`},
		"outcome applied":          {Refused{Outcome: api.OutcomeApplied}, new(Refused), `"applied"`},
		"token too long":           {Forward{Token: make([]byte, maxTokenBytes+1)}, new(Forward), ""},
		"new token too long":       {Auth{Token: make([]byte, maxTokenBytes+1)}, new(Auth), ""},
		"key too long":             {Get{Key: make([]byte, api.MaxKeyBytes+1)}, new(Get), ""},
		"too many keys":            {Watch{Keys: make([][]byte, api.MaxSelectors+1)}, new(Watch), ""},
		"too many ranges":          {Watch{Ranges: make([]KeyRange, api.MaxSelectors+1)}, new(Watch), ""},
		"a place without resuming": {Watch{After: 1}, new(Watch), "to go on from"},
		"an empty piece":           {Changes{More: true}, new(Changes), "without content"},
		"a piece too long":         {Changes{Content: make([]byte, MaxPieceBytes+1)}, new(Changes), ""},
		"outcome of an end":        {Ended{Why: Refused{Outcome: "perhaps"}}, new(Ended), `"perhaps"`},
	} {
		if err := c.to.Parse(c.m.append(nil)); !errors.Is(err, msgpack.ErrMalformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Goal: every message fits in what its kind may have, at its largest.
func TestLargestMessagesFit(t *testing.T) {
	key, text := make([]byte, api.MaxKeyBytes), strings.Repeat("x", 1000)
	value := make([]byte, api.MaxValueBytes)
	most := uint64(math.MaxUint64)
	name := make([]byte, api.MaxLockNameBytes)
	guard, holder := Guard{string(name), most}, LockHolder{most, -1, make([]byte, api.MaxLockValueBytes), text}
	for kind, m := range map[Kind]Message{
		KindGoodbye: Empty{}, KindOpen: Empty{}, KindGet: Get{Stale, most, key, Pinned{true, most}}, KindGot: Got{true, most, most, most, value, most, -1}, KindOpened: Opened{most},
		KindPut:     Write{most, most, most, IfRevision, most, key, value, WriteMore{-1, most, true, true, guard}},
		KindDelete:  Write{most, most, most, IfRevision, most, key, nil, WriteMore{-1, most, true, true, guard}},
		KindAcquire: Acquire{most, most, most, name, -1, most, most, most, make([]byte, api.MaxLockValueBytes), true, most, most}, KindAcquired: Acquired{-1, most, most, true},
		KindRelease: Release{most, most, most, name, most}, KindLeaveQueue: LeaveQueue{most, most, most, name, -1, true},
		KindPublish: Publish{most, most, most, name, most, make([]byte, api.MaxLockValueBytes)}, KindLocks: Locks{Stale, most, name, most, name, name, most},
		KindLocksShown:      LocksShown{true, []LockShown{{name, most, most, slices.Repeat([]LockHolder{holder}, maxLockHolders)}}},
		KindTouch:           Touch{key, most},
		KindDelete.Answer(): Written{most, most, most, true, true, true, strings.Repeat("o", maxOutcomeBytes)}, KindGranted: Granted{-1, true},
		KindGrant: Grant{most, most, most, -1, most, text}, KindRevoke: Revoke{most, most, most, -1}, KindLeases: Leases{Stale, most, -1, true, -1, most},
		KindKeepAlive: KeepAlive{slices.Repeat([]int64{-1}, MaxKept)}, KindKept: Kept{slices.Repeat([]uint64{most}, MaxKept)},
		KindLeasesShown: LeasesShown{true, -1, []LeaseShown{{-1, most, most, text, most, slices.Repeat([][]byte{key}, maxLeaseKeys)}}}, KindList: List{Stale, most, most, true, nil, key, &ListMore{Pinned{true, most}, key, key, true, true}},
		KindRefused: Refused{
			api.Code(text), api.Outcome(text), true, true, math.MaxInt64, text, text, text, most, most, most, text, text,
		},
		KindTxn: Txn{most, most, most, true, make([]byte, MaxTxnBytes)}, KindTxn.Answer(): TxnDone{most, true, make([]byte, MaxTxnResultBytes)},
		KindDeleteRange: Txn{most, most, most, true, make([]byte, MaxTxnBytes)},
		KindWatching:    Watching{true, most, most, most}, KindChanges: Changes{true, make([]byte, MaxPieceBytes)}, KindCredit: Credit{most},
		KindSync: Sync{math.MaxUint32}, KindSynced: Synced{most}, KindUnwatch: Empty{}, KindAuth: Auth{make([]byte, maxTokenBytes)},
		KindEnded: Ended{most, Refused{
			api.Code(text), api.Outcome(text), true, true, math.MaxInt64, text, text, text, most, most, most, text, text,
		}},
	} {
		limit, known := Requests2[kind]
		if !known {
			limit, known = Answers2[kind]
		}
		if n := len(m.append(nil)); !known || n > int(limit) {
			t.Errorf("kind %#x: %d bytes, the limit is %d", kind, n, limit)
		}
	}
	if page := (LeasesShown{true, -1, slices.Repeat([]LeaseShown{{-1, most, most, text, most, nil}}, MaxLeases)}); len(page.append(nil)) > maxLeasesBody {
		t.Errorf("a page of leases has %d bytes", len(page.append(nil)))
	}
	if page := (LocksShown{true, slices.Repeat([]LockShown{{name, most, most, []LockHolder{holder}}}, MaxLocks)}); len(page.append(nil)) > maxLocksBody {
		t.Errorf("a page of locks has %d bytes", len(page.append(nil)))
	}
	if n := len(Forward{text, maxLeft, nil, make([]byte, MaxForwardBody-ForwardRoom), math.MaxUint32}.append(nil)); n > MaxForwardBody {
		t.Errorf("a forwarded command has a body of %d bytes", n)
	}
	forwarded := Forwarded{text, text, most, most, most, most, most, true, true, true, text}
	if n := len(forwarded.append(nil)); n > int(ForwardAnswers[KindForwarded]) {
		t.Errorf("an answer to a forwarded command has a body of %d bytes", n)
	}
	page := Listed{Store: most, More: true, Counted: true, Count: most}
	for size := 0; size < MaxListedBytes; {
		i := Item{key, nil, most, most, most, -1}
		page.Items = append(page.Items, i)
		size += i.Bytes()
	}
	page.Items = append(page.Items, Item{key, value, most, most, most, -1})
	if n := len(page.append(nil)); n > int(Answers[KindListed]) {
		t.Errorf("a page has %d bytes", n)
	}
	if len(page.Items) > MaxListed {
		t.Errorf("void: %d items, more than pages may have", len(page.Items))
	}
}

// Goal: what a server says cannot make a client wait for ever.
func TestRetryAfterIsBounded(t *testing.T) {
	var got Refused
	if err := got.Parse(Refused{RetryAfter: math.MaxInt64}.append(nil)); err != nil || got.RetryAfter != maxRetryAfter {
		t.Errorf("%v, %v", got.RetryAfter, err)
	}
}

// Goal: whatever bytes come as a body, parsing them does no harm, takes no more
// memory than they justify, and what is accepted is exactly what writing it
// again gives. Method: both directions, all kinds.
func FuzzBodies(f *testing.F) {
	for kind, m := range samples() {
		f.Add(uint8(kind), m.append(nil))
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		m, known := samples()[Kind(kind)]
		if !known {
			return
		}
		got := empty(m)
		if err := got.Parse(body); err != nil {
			if !errors.Is(err, msgpack.ErrMalformed) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		if r, isRefused := got.(*Refused); isRefused && r.RetryAfter == maxRetryAfter {
			return // clamped
		}
		if f, isForward := got.(*Forward); isForward && f.Left == maxLeft {
			return // clamped
		}
		if e, isEnded := got.(*Ended); isEnded && e.Why.RetryAfter == maxRetryAfter {
			return // clamped
		}
		if again := reflect.ValueOf(got).Elem().Interface().(Message).append(nil); !bytes.Equal(again, body) {
			t.Errorf("% x was read as %+v", body, got)
		}
	})
}

// BenchmarkParse is the cost of reading a small write and its answer.
func BenchmarkParse(b *testing.B) {
	write := Write{Session: 1 << 40, Lane: 3, Seq: 70_000, Key: []byte("key"), Value: []byte("value")}.append(nil)
	written := Written{Revision: 1 << 33, Version: 300, Length: 5}.append(nil)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m Write
			if err := m.Parse(write); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("written", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m Written
			if err := m.Parse(written); err != nil {
				b.Fatal(err)
			}
		}
	})
}
