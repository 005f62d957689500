package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"raftkv/kvserver/internal/truth"
	"raftkv/kvserver/txn"
)

// again is a result as it is remembered: of an outcome that is too long, without what
// was read; of a refusal, without the operation.
func again(r Result) Result {
	r.Replayed, r.Refused = true, nil
	if r.Outcome != nil && len(r.Outcome.Encode()) > txn.KeptBytes {
		r.Outcome = stripped(r.Outcome)
		r.Outcome.Dropped = true
	}
	return r
}

func stripped(o *txn.Outcome) *txn.Outcome {
	less := &txn.Outcome{Succeeded: o.Succeeded, Failed: o.Failed}
	for _, r := range o.Results {
		r.Items, r.Prev = nil, nil
		if r.Txn != nil {
			r.Txn = stripped(r.Txn)
		}
		less.Results = append(less.Results, r)
	}
	return less
}

// answered is what the answers of requests, or of lanes, are charged with.
func (m *model) answered(ofRequests bool) (bytes int) {
	charge := func(r Result) {
		if r.Outcome != nil {
			bytes += len(again(r).Outcome.Encode()) + 128
		}
	}
	if ofRequests {
		for _, r := range m.requests {
			charge(r.result)
		}
		return bytes
	}
	for _, s := range m.sessions {
		for _, l := range s.lanes {
			charge(l.result)
		}
	}
	return bytes
}

// runMany does what concerns several keys in the plain model of the history, and takes
// its items.
func (m *model) runMany(c Command) Result {
	if err := c.open(); err != nil || c.body == nil {
		return Result{Status: StatusUnknownCommand, Revision: m.revision}
	}
	limits := truth.Limits{MaxLength: c.MaxLength, Quota: c.Quota, Results: c.body.results}
	var r Result
	var cause txn.Cause
	operation := "0"
	if c.Op == OpTxn {
		r.Outcome, cause, operation = m.many.Txn(c.body.txn, limits)
	} else {
		r.Outcome, cause = m.many.DeleteRange(c.body.span, c.Previous, limits)
	}
	m.revision = m.many.Revision
	m.items = map[string]Item{}
	for key, i := range m.many.Items {
		m.items[key] = Item{Value: []byte(i.Value), Revision: i.Revision, Version: i.Version}
	}
	r.Revision = m.revision
	if cause != 0 {
		r.Status = map[txn.Cause]Status{
			txn.NoSuchKey: StatusNotFound, txn.TooLong: StatusTooLong, txn.OverQuota: StatusQuota,
			txn.TooManyKeys: StatusTooManyKeys, txn.ResultTooLarge: StatusResultTooLarge,
		}[cause]
		r.Refused = &txn.Refusal{Cause: cause, Operation: operation}
		if d := c.body.span; d != nil && cause == txn.TooManyKeys {
			for key := range m.items {
				if key >= d.From && (d.To == "" || key < d.To) {
					r.Length++
				}
			}
			r.Refused.Count = r.Length
		}
	}
	return r
}

// withPrevious adds what was there before, if the command asks for it.
func (m *model) withPrevious(c Command, r Result, old Item) Result {
	if !c.Previous {
		return r
	}
	kinds := map[Op]txn.Kind{OpPut: txn.Put, OpAppend: txn.Append, OpDelete: txn.Delete}
	result := txn.Result{Kind: kinds[c.Op], HasPrev: true, Version: r.Version, Length: r.Length, Made: r.Created}
	if r.Deleted {
		result.Deleted = 1
	}
	if old.Version != 0 {
		was := m.many.Items[string(c.Key)] // not told of this write yet
		result.Prev = []txn.Keyed{{Key: string(c.Key), Item: txn.Item{Value: old.Value, Revision: old.Revision, Version: old.Version, Created: max(1, was.Created)}, Lease: was.Lease}}
	}
	r.Outcome = &txn.Outcome{Succeeded: true, Results: []txn.Result{result}}
	return r
}

// drawer draws transactions about the keys of traffic.
type drawer struct {
	r        *rand.Rand
	revision uint64 // of the store, about
	left     int    // operations
}

func (d *drawer) key() string { return fmt.Sprintf("key/%d", d.r.IntN(12)) }

func (d *drawer) span() txn.Span {
	switch d.r.IntN(6) {
	case 0:
		return txn.Prefix("key/1")
	case 1:
		return txn.Range(d.key(), "")
	case 2:
		return txn.Range("", d.key())
	case 3:
		return txn.Prefix("none/")
	}
	return txn.Range(d.key(), d.key())
}

func (d *drawer) txn(depth int) *txn.Txn {
	t := &txn.Txn{}
	for range d.r.IntN(4) {
		t.If = append(t.If, d.compare())
	}
	t.Then, t.Else = d.branch(depth), d.branch(depth)
	return t
}

func (d *drawer) branch(depth int) (ops []txn.Op) {
	for range d.r.IntN(5) {
		if d.left--; d.left >= 0 {
			ops = append(ops, d.op(depth))
		}
	}
	return ops
}

func (d *drawer) compare() txn.Compare {
	c := txn.Compare{Span: txn.Key(d.key()), Subject: txn.Subject(1 + d.r.IntN(8)), Is: txn.Relation(1 + d.r.IntN(4))}
	if c.Subject == 4 {
		c.Subject = txn.Version
	}
	near := d.revision + 2 - min(d.revision, uint64(d.r.IntN(40)))
	switch c.Subject {
	case txn.Value:
		c.Bytes = randomBytes(d.r, d.r.IntN(3))
	case txn.Version:
		c.Number = uint64(d.r.IntN(4))
	default:
		c.Number = near * uint64(d.r.IntN(4)/3)
		if c.Number == 0 {
			c.Number = near
		}
	}
	if d.r.IntN(3) == 0 {
		c.Span = d.span()
	}
	if c.Subject >= txn.Count {
		c.Span, c.Is = d.span(), txn.Relation(1+d.r.IntN(2))
		if c.Subject != txn.NotNewer {
			c.Number = uint64(d.r.IntN(5))
		}
		if c.Subject == txn.Unchanged {
			c.Newest = near
		}
	}
	return c
}

func (d *drawer) op(depth int) txn.Op {
	o := txn.Op{Span: txn.Key(d.key()), Prev: d.r.IntN(4) == 0}
	switch n := d.r.IntN(14); {
	case n < 4:
		o.Kind, o.Value = txn.Put, randomBytes(d.r, d.r.IntN(30))
		if d.r.IntN(6) == 0 {
			o.KeepValue, o.Value = true, nil
		}
	case n < 6:
		o.Kind, o.Value = txn.Append, randomBytes(d.r, d.r.IntN(30))
	case n < 8:
		o.Kind = txn.Delete
	case n < 9:
		o.Kind, o.Span = txn.Delete, d.span()
	case n < 10:
		o.Kind, o.Prev = txn.Get, false
	case n < 12:
		o = txn.Op{Kind: txn.List, Span: d.span(), Limit: uint64(d.r.IntN(4)), KeysOnly: d.r.IntN(3) == 0, Count: d.r.IntN(2) == 0}
		if d.r.IntN(4) == 0 {
			o = txn.Op{Kind: txn.List, Span: o.Span, CountOnly: true}
		}
	default:
		if depth < 4 {
			return txn.Op{Kind: txn.Nested, Txn: d.txn(depth + 1)}
		}
		o.Kind, o.Prev = txn.Get, false
	}
	return o
}

// command draws a transaction or the removal of a range.
func (d *drawer) command(like Command) Command {
	c := like
	c.Key, c.Condition, c.Previous, c.MaxLength, c.Quota = nil, Condition{}, false, 0, 0
	results := uint64(txn.MaxResultBytes)
	if d.r.IntN(4) == 0 {
		results = uint64(d.r.IntN(600))
	}
	if d.r.IntN(5) == 0 {
		s := d.span()
		span := txn.DeleteRange{From: s.From, To: s.To, Guarded: d.r.IntN(2) == 0, Partial: d.r.IntN(3) == 0}
		if span.Guarded {
			span.AtMost = uint64(d.r.IntN(5))
		}
		made := DeleteRangeCommand(&span, results)
		c.Op, c.Value, c.Previous = made.Op, made.Value, d.r.IntN(3) == 0
		return c
	}
	d.left = 20
	made := TxnCommand(d.txn(1), results)
	c.Op, c.Value = made.Op, made.Value
	if d.r.IntN(5) == 0 {
		c.MaxLength = uint64(1 + d.r.IntN(60))
	}
	if d.r.IntN(3) == 0 {
		c.Quota = uint64(1 + d.r.IntN(400))
	}
	return c
}

// manyRules are limits that random transactions reach.
var manyRules = rules{sessions: 4, lanes: 5, lanesTotal: 11, records: 40, events: 60, historyMin: 500, answers: 3000}

// Goal (T1, T3, T4, T5, T6, T7, D1, D2, D3): transactions, removals of ranges and writes
// that ask for what was before do what the rules say, together with everything else, are
// remembered as the rules say, and are equal on every server, whatever way its state came
// there; the history has their net events under one revision.
// Method: random traffic with transactions among it, to two stores of which one is
// replaced by its snapshot at random, and to the plain models; answers, items, history and
// digests are compared.
func TestTransactionsAgreeWithAPlainModel(t *testing.T) {
	seen, replays, dropped, failed, nested := map[Status]int{}, 0, 0, 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 18))
		p := &pair{t: t, here: newStore(manyRules), there: newStore(manyRules), plain: newModel(manyRules), truth: truth.New()}
		p.plain.many, p.truth.MaxEvents = p.truth, manyRules.events
		g, d := &traffic{r: r}, &drawer{r: r}
		rises := uint64(1 + r.IntN(2)*r.IntN(100))
		for index := uint64(1); index <= 600; index++ {
			switch {
			case index == rises:
				for _, s := range []*Store{p.here, p.there} {
					if err := s.AdvanceLevel(index, LevelHistory); err != nil {
						t.Fatal(err)
					}
				}
				p.plain.revision = max(1, p.plain.revision)
				p.truth.Activate()
			case r.IntN(40) == 0 && index > rises:
				p.apply(index, Settings([]uint64{0, 500, 3000, MaxHistoryBytes}[r.IntN(4)]))
			default:
				c := g.next(index)
				if d.revision = p.truth.Revision; index > rises && c.Op != OpOpenSession && c.Op != OpGet && !c.Op.onMany() && c.ID.Number == index {
					switch r.IntN(3) {
					case 0:
						c = d.command(c)
					case 1:
						c.Previous = true
					}
				}
				g.sent = append(g.sent, c)
				got := p.apply(index, c)
				seen[got.Status]++
				if got.Replayed && got.Outcome != nil {
					replays++
					if got.Outcome.Dropped {
						dropped++
					}
				} else if got.Outcome != nil && !got.Outcome.Succeeded {
					failed++
				}
				if got.Outcome != nil {
					for _, result := range got.Outcome.Results {
						if result.Txn != nil {
							nested++
						}
					}
				}
			}
			if r.IntN(25) == 0 {
				p.there = copied(t, p.there)
			}
			if index > rises && index%5 == 0 {
				p.compare(index)
			}
		}
	}
	for _, s := range []Status{StatusOK, StatusNotFound, StatusTooLong, StatusQuota, StatusTooManyKeys, StatusResultTooLarge, StatusIdempotencyFull, StatusIdempotencyMismatch} {
		if seen[s] < 10 {
			t.Errorf("void: %q was met only %d times", s, seen[s])
		}
	}
	if replays < 100 || failed < 300 || nested < 200 {
		t.Errorf("void: %d replays, %d else branches, %d nested", replays, failed, nested)
	}
	t.Logf("%v, %d replays, %d of them without what was read, %d else branches, %d nested", seen, replays, dropped, failed, nested)
}

// large is a store with keys "k/0000" and so on.
func large(t *testing.T, keys, length int) *Store {
	t.Helper()
	s := NewAt(LevelHistory)
	for i := range keys {
		apply(s, Command{Op: OpPut, Key: fmt.Appendf(nil, "k/%05d", i), Value: bytes.Repeat([]byte{'x'}, length)})
	}
	return s
}

// Goal (T6, T9, D1): the limits of a transaction are constants, and one more is refused
// whole: no key, no revision, no event, no digest of what it had done until then.
// Method: stores at each limit; before and behind the refusal everything is the same but
// the index.
func TestLimitsRefuseATransactionWhole(t *testing.T) {
	put := txn.Op{Kind: txn.Put, Span: txn.Key("a"), Value: []byte("1")}
	all := txn.Op{Kind: txn.Delete, Span: txn.Prefix("k/")}
	for name, c := range map[string]struct {
		keys, length int
		command      Command
		want         Status
	}{
		"10,000 keys go":                   {10_000, 1, TxnCommand(&txn.Txn{Then: []txn.Op{all}}, 0), StatusOK},
		"10,001 keys do not":               {10_001, 1, TxnCommand(&txn.Txn{Then: []txn.Op{put, all}}, 0), StatusTooManyKeys},
		"10,000 keys and one put are more": {10_000, 1, TxnCommand(&txn.Txn{Then: []txn.Op{all, put}}, 0), StatusTooManyKeys},
		"ranges count together":            {6_000, 1, TxnCommand(&txn.Txn{If: []txn.Compare{{Span: txn.Prefix("k/"), Subject: txn.Count, Is: txn.Equal, Number: 6000}}, Then: []txn.Op{put, all}}, 0), StatusTooManyKeys},
		"16 MiB go":                        {16, 1<<20 - 7, TxnCommand(&txn.Txn{Then: []txn.Op{all}}, 0), StatusOK},
		"a byte more does not":             {16, 1<<20 - 6, TxnCommand(&txn.Txn{Then: []txn.Op{put, all}}, 0), StatusTooManyKeys},
		"range: 10,000 keys go":            {10_000, 1, DeleteRangeCommand(&txn.DeleteRange{From: "k/"}, 0), StatusOK},
		"range: 10,001 keys do not":        {10_001, 1, DeleteRangeCommand(&txn.DeleteRange{From: "k/"}, 0), StatusTooManyKeys},
		"range: 10,001 keys go in part":    {10_001, 1, DeleteRangeCommand(&txn.DeleteRange{From: "k/", Partial: true}, 0), StatusOK},
		"range: 16 MiB and a byte":         {16, 1<<20 - 6, DeleteRangeCommand(&txn.DeleteRange{From: "k/"}, 0), StatusTooManyKeys},
		"results that fit":                 {3, 100, TxnCommand(&txn.Txn{Then: []txn.Op{put, {Kind: txn.List, Span: txn.Prefix("k/")}}}, 3*(64+7+100)), StatusOK},
		"results of a byte more":           {3, 100, TxnCommand(&txn.Txn{Then: []txn.Op{put, {Kind: txn.List, Span: txn.Prefix("k/")}}}, 3*(64+7+100)-1), StatusResultTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := large(t, c.keys, c.length)
			twin := s.clone()
			revision, events := s.Revision(), s.HistoryEvents()
			r := s.Apply(s.applied+1, EncodeCommand(c.command))
			twin.Advance(twin.applied + 1)
			if r.Status != c.want {
				t.Fatalf("%v, %+v, want %v", r.Status, r.Refused, c.want)
			}
			if r.Status != StatusOK {
				if s.Digest() != twin.Digest() || s.Hash() != twin.Hash() || s.Revision() != revision || s.HistoryEvents() != events {
					t.Error("something of it was left")
				}
				return
			}
			if s.Revision() != revision+1 {
				t.Errorf("it took %d revisions", s.Revision()-revision)
			}
			copied(t, s)
		})
	}
}

// Goal (T1): what a refused transaction did to values shows nowhere: an append may not
// touch what is behind a live value. Method: a key that was appended to, so that its
// value has room; a transaction appends to it and is refused; then others append, and a
// frozen view keeps what it had.
func TestARefusedAppendTouchesNoLiveValue(t *testing.T) {
	s := NewAt(LevelHistory)
	for range 40 {
		apply(s, Command{Op: OpAppend, Key: []byte("k"), Value: []byte("live")})
	}
	before := s.Freeze()
	refused := TxnCommand(&txn.Txn{Then: []txn.Op{
		{Kind: txn.Append, Span: txn.Key("k"), Value: []byte("REFUSED")}, {Kind: txn.Append, Span: txn.Key("k"), Value: []byte("REFUSED")},
		{Kind: txn.Put, Span: txn.Key("none"), KeepValue: true},
	}}, 0)
	r := apply(s, refused)
	if r.Status != StatusNotFound || r.Refused.Operation != "2" {
		t.Fatalf("%v, %+v", r.Status, r.Refused)
	}
	item, _ := s.items.get([]byte("k"))
	if room := item.Value[len(item.Value):cap(item.Value)]; bytes.Contains(room, []byte("REF")) {
		t.Error("the refused transaction wrote behind the live value")
	}
	apply(s, TxnCommand(&txn.Txn{Then: []txn.Op{{Kind: txn.Append, Span: txn.Key("k"), Value: []byte("+1")}}}, 0))
	apply(s, Command{Op: OpAppend, Key: []byte("k"), Value: []byte("+2")})
	got, _ := s.Get([]byte("k"))
	if want := string(bytes.Repeat([]byte("live"), 40)) + "+1+2"; string(got.Value) != want {
		t.Errorf("%q, want %q", got.Value, want)
	}
	old, _ := before.Get([]byte("k"))
	if !bytes.Equal(old.Value, bytes.Repeat([]byte("live"), 40)) {
		t.Errorf("a frozen view has %q", old.Value)
	}
	copied(t, s)
}

// Goal (T5): with what is remembered full, requests under keys are refused before they
// have done anything, and sessions go, the eldest first. Method: the limit of the rules.
func TestAnswersAreBounded(t *testing.T) {
	r := manyRules
	s := newStore(r)
	if err := s.AdvanceLevel(1, LevelHistory); err != nil {
		t.Fatal(err)
	}
	one := TxnCommand(&txn.Txn{Then: []txn.Op{{Kind: txn.Put, Span: txn.Key("k"), Value: []byte("v")}}}, 0)
	done := 0
	for i := range r.records {
		c := one
		c.IdempotencyKey = fmt.Sprint("request-", i)
		revision := s.Revision()
		got := apply(s, c)
		if got.Status == StatusIdempotencyFull {
			if s.Revision() != revision {
				t.Fatal("it was refused and has happened")
			}
			break
		}
		done++
	}
	if charged := s.answers.ofRecords; charged < r.answers || charged > r.answers+200 || done == r.records {
		t.Errorf("%d answers are charged with %d of %d bytes", done, charged, r.answers)
	}
	put := Command{Op: OpPut, Key: []byte("k"), IdempotencyKey: "plain"}
	if got := apply(s, put); got.Status != StatusOK {
		t.Errorf("a put that needs no answer: %v", got.Status)
	}
	first, second := openSession(s), openSession(s)
	for seq := range uint64(30) {
		for _, id := range []uint64{first, second} {
			c := one
			c.Session = SessionCall{ID: id, Lane: uint32(seq % 5), Seq: seq + 1}
			apply(s, c)
		}
	}
	if s.answers.ofLanes > r.answers {
		t.Errorf("lanes are charged with %d of %d bytes", s.answers.ofLanes, r.answers)
	}
	again := copied(t, s)
	if again.answers.ofLanes != s.answers.ofLanes || again.answers.ofRecords != s.answers.ofRecords {
		t.Error("behind a snapshot answers are charged otherwise")
	}
}

// Goal (T8): a transaction without a write reads a view as it would in the log.
// Method: drawn transactions whose writes were taken out, on both ways.
func TestATransactionOfReadsNeedsNoLog(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 18))
	s := NewAt(LevelHistory)
	for i := range 8 {
		apply(s, Command{Op: OpPut, Key: fmt.Appendf(nil, "key/%d", i), Value: fmt.Append(nil, i)})
	}
	d, count := &drawer{r: r, revision: 8}, 0
	for range 3000 {
		d.left = 20
		x := d.txn(1)
		if x.Writes() {
			continue
		}
		count++
		read := s.Freeze().Read(x, 400)
		if got := apply(s, TxnCommand(x, 400)); !sameResult(got, read) {
			t.Fatalf("%+v, in the log %+v", read, got)
		}
	}
	if count < 100 || s.Revision() != 9 {
		t.Errorf("void: %d transactions of reads, revision %d", count, s.Revision())
	}
}

// Goal: a body that no version has written is answered alike on every server, and one
// of a later version stops the store before it. Method: some of both.
func TestBodiesOfTransactions(t *testing.T) {
	good := TxnCommand(&txn.Txn{Then: []txn.Op{{Kind: txn.Put, Span: txn.Key("k"), Value: []byte("v")}}}, 0)
	for name, c := range map[string]struct {
		value   []byte
		unknown bool
	}{
		"none":             {nil, false},
		"version only":     {[]byte{1}, false},
		"another version":  {append([]byte{2}, good.Value[1:]...), true},
		"more behind":      {append(bytes.Clone(good.Value), 0), false},
		"too many results": {append([]byte{1}, body(txn.MaxResultBytes + 1)[1:]...), false},
		"unknown kind":     {[]byte{1, 0, 0, 1, 99, 0, 0}, true},
		"unknown flag":     {[]byte{1, 0, 0, 1, 4, 0x80, 2, 0, 1, 'k', 0}, true},
		"an end of a get":  {[]byte{1, 0, 0, 1, 4, 64, 0, 1, 'k', 0}, false},
		"unknown subject":  {[]byte{1, 0, 1, 77, 1, 0, 1, 'k', 0, 0, 0}, true},
		"next subject":     {[]byte{1, 0, 1, 10, 1, 0, 1, 'k', 0, 0, 0}, true},
	} {
		s := NewAt(LevelHistory)
		r, err := s.ApplyKnown(1, EncodeCommand(Command{Op: OpTxn, Value: c.value}))
		if (err != nil) != c.unknown || err == nil && r.Status != StatusUnknownCommand {
			t.Errorf("%s: %v, %v", name, r.Status, err)
		}
		if (s.AppliedIndex() == 0) != c.unknown {
			t.Errorf("%s: the store stands at %d", name, s.AppliedIndex())
		}
	}
	if _, err := New().ApplyKnown(1, EncodeCommand(good)); err == nil {
		t.Error("it is applied at level 2")
	}
	if _, err := New().ApplyKnown(1, EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Previous: true})); err == nil {
		t.Error("a put with previous is applied at level 2")
	}
}
