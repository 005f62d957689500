package truth

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"raftkv/kvserver/txn"
)

// Limits are what a command lets a transaction do.
type Limits struct {
	MaxLength, Quota, Results uint64 // as in txn.Bounds
}

// refused is the panic that ends a transaction; see try.
type refused struct {
	cause txn.Cause
	at    string
}

// Txn does a transaction as plainly as it can be said: on a copy of all items, which
// takes their place if nothing refuses it. cause is 0 if nothing did, and operation
// says which did. Of package txn it takes the words, and nothing of how that does it.
func (m *Model) Txn(t *txn.Txn, l Limits) (o *txn.Outcome, cause txn.Cause, operation string) {
	w := &work{before: m, limits: l, now: maps.Clone(m.Items), looks: txn.MaxKeys, room: int(min(l.Results, txn.MaxResultBytes))}
	cause, operation = w.try(func() { o = w.run(t, "") })
	if cause == 0 {
		m.commit(w)
		return o, 0, ""
	}
	return nil, cause, operation
}

// DeleteRange removes the keys of a range. A cause says that it was refused.
func (m *Model) DeleteRange(d *txn.DeleteRange, prev bool, l Limits) (o *txn.Outcome, cause txn.Cause) {
	w := &work{before: m, limits: l, now: maps.Clone(m.Items), looks: txn.MaxKeys, room: int(min(l.Results, txn.MaxResultBytes))}
	may := uint64(txn.MaxKeys)
	if d.Guarded {
		may = min(may, d.AtMost)
	}
	cause, _ = w.try(func() {
		r := txn.Result{Kind: txn.Delete, HasPrev: prev, Many: true}
		size := 0
		for _, key := range keysIn(m.Items, txn.Range(d.From, d.To)) {
			if size += len(key) + len(m.Items[key].Value); r.Deleted == may || size > txn.MaxBytes {
				r.More = true
				break
			}
			r.Deleted++
			w.touched = append(w.touched, key)
			delete(w.now, key)
		}
		if r.More && !d.Partial {
			w.refuse(txn.TooManyKeys, "0")
		}
		for _, key := range w.touched {
			if prev {
				r.Prev = append(r.Prev, w.shown(key, m.Items[key], "0"))
			}
		}
		o = &txn.Outcome{Succeeded: true, Results: []txn.Result{r}}
	})
	if cause == 0 {
		m.commit(w)
		return o, 0
	}
	return nil, cause
}

// commit takes in what a transaction has made.
func (m *Model) commit(w *work) {
	var events []Event
	for _, key := range w.touched {
		old, was := m.Items[key]
		now, is := w.now[key]
		e := Event{Op: "delete", Key: key}
		if was {
			e.Prev = &old
		}
		if is {
			e.Op, e.Item = "put", &now
		}
		if was || is {
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		return
	}
	m.Revision++
	m.Items = w.now
	m.All = append(m.All, Change{m.Revision, events})
	m.trim()
}

// work is a transaction that is being done.
type work struct {
	before  *Model
	limits  Limits
	now     map[string]Item
	touched []string // in the order in which they were written to first
	looks   int
	room    int
}

func (w *work) refuse(cause txn.Cause, at string) { panic(refused{cause, at}) }

// try returns for what f was refused, 0 for nothing.
func (w *work) try(f func()) (cause txn.Cause, at string) {
	defer func() {
		if p := recover(); p != nil {
			r := p.(refused)
			cause, at = r.cause, r.at
		}
	}()
	f()
	return 0, ""
}

func keysIn(items map[string]Item, s txn.Span) (keys []string) {
	for key := range items {
		in := key == s.From
		if s.Range {
			in = key >= s.From && (s.To == "" || key < s.To)
		}
		if in {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (w *work) look(n int, at string) {
	if w.looks -= n; w.looks < 0 {
		w.refuse(txn.TooManyKeys, at)
	}
}

// place numbers what is inside of an operation.
func place(at string, i int) string { return strings.TrimPrefix(at+"."+strconv.Itoa(i), ".") }

func (w *work) run(t *txn.Txn, at string) *txn.Outcome {
	for i := range t.If {
		if !w.holds(&t.If[i], place(at, i)) {
			return &txn.Outcome{Failed: uint64(i), Results: w.branch(t.Else, at)}
		}
	}
	return &txn.Outcome{Succeeded: true, Results: w.branch(t.Then, at)}
}

func (w *work) branch(ops []txn.Op, at string) (results []txn.Result) {
	for i := range ops {
		results = append(results, w.op(&ops[i], place(at, i)))
	}
	return results
}

// holds judges a compare on the state before the transaction.
func (w *work) holds(c *txn.Compare, at string) bool {
	keys := keysIn(w.before.Items, c.Span)
	is := c.Is == txn.Equal
	newest := uint64(0)
	for _, key := range keys {
		newest = max(newest, w.before.Items[key].Revision)
	}
	switch c.Subject {
	case txn.Count, txn.NotNewer, txn.Unchanged:
		w.look(len(keys), at)
		same := map[txn.Subject]bool{
			txn.Count: uint64(len(keys)) == c.Number, txn.NotNewer: newest <= c.Number,
			txn.Unchanged: uint64(len(keys)) == c.Number && newest <= c.Newest,
		}
		return same[c.Subject] == is
	}
	if len(keys) == 0 {
		return c.Subject != txn.Value && relates(0, c.Number, c.Is)
	}
	for _, key := range keys {
		if c.Range {
			w.look(1, at)
		}
		i := w.before.Items[key]
		holds := false
		switch c.Subject {
		case txn.Revision:
			holds = relates(i.Revision, c.Number, c.Is)
		case txn.Version:
			holds = relates(i.Version, c.Number, c.Is)
		case txn.Created:
			holds = relates(max(1, i.Created), c.Number, c.Is)
		case txn.Value:
			holds = relates(i.Value, string(c.Bytes), c.Is)
		}
		if !holds {
			return false
		}
	}
	return true
}

func relates[T uint64 | string](a, b T, is txn.Relation) bool {
	return map[txn.Relation]bool{txn.Equal: a == b, txn.NotEqual: a != b, txn.Less: a < b, txn.Greater: a > b}[is]
}

func (w *work) shown(key string, i Item, at string) txn.Keyed {
	if w.room -= len(key) + len(i.Value) + 64; w.room < 0 {
		w.refuse(txn.ResultTooLarge, at)
	}
	return txn.Keyed{Key: key, Item: txn.Item{Value: []byte(i.Value), Revision: i.Revision, Version: i.Version, Created: max(1, i.Created)}, Lease: i.Lease}
}

func size(items map[string]Item) (n uint64) {
	for key, i := range items {
		n += uint64(len(key) + len(i.Value))
	}
	return n
}

// write puts an item under a key, nil for none, and judges what the change has come to.
func (w *work) write(key string, i *Item, at string) {
	if !slices.Contains(w.touched, key) {
		w.touched = append(w.touched, key)
	}
	delete(w.now, key)
	if i != nil {
		w.now[key] = *i
	}
	replaced := 0
	for _, key := range w.touched {
		if old, was := w.before.Items[key]; was {
			replaced += len(key) + len(old.Value)
		}
	}
	if len(w.touched) > txn.MaxKeys || replaced > txn.MaxBytes {
		w.refuse(txn.TooManyKeys, at)
	}
}

func (w *work) op(o *txn.Op, at string) txn.Result {
	r := txn.Result{Kind: o.Kind, HasPrev: o.Prev, Many: o.Kind == txn.Delete && o.Range, KeysOnly: o.KeysOnly}
	old, found := w.now[o.From]
	switch o.Kind {
	case txn.Nested:
		r.Txn = w.run(o.Txn, at)
	case txn.Get:
		if found {
			r.Items = append(r.Items, w.shown(o.From, old, at))
		}
	case txn.List:
		w.list(o, at, &r)
	case txn.Delete:
		keys := keysIn(w.now, o.Span)
		if o.Range {
			w.look(len(keys), at)
		}
		for _, key := range keys {
			if o.Prev {
				r.Prev = append(r.Prev, w.shown(key, w.now[key], at))
			}
			w.write(key, nil, at)
		}
		r.Deleted = uint64(len(keys))
	case txn.Put, txn.Append:
		if o.KeepValue && !found {
			w.refuse(txn.NoSuchKey, at)
		}
		i := Item{Value: string(o.Value), Revision: w.before.Revision + 1, Version: old.Version + 1, Created: old.Created}
		if !found {
			i.Created = i.Revision
		}
		i.Lease = o.Tie.Lease
		if o.Kind == txn.Append {
			i.Value = old.Value + i.Value
		}
		if o.Kind == txn.Append || o.KeepTie {
			i.Lease = old.Lease
		}
		if o.KeepValue {
			i.Value = old.Value
		}
		limit := uint64(txn.MaxValueBytes)
		if w.limits.MaxLength != 0 {
			limit = min(limit, w.limits.MaxLength)
		}
		held := size(w.now)
		would := held + uint64(len(i.Value)) - uint64(len(old.Value))
		if !found {
			would += uint64(len(o.From))
		}
		switch {
		case uint64(len(i.Value)) > limit:
			w.refuse(txn.TooLong, at)
		case w.limits.Quota != 0 && would > held && would > w.limits.Quota:
			w.refuse(txn.OverQuota, at)
		}
		if o.Prev && found {
			r.Prev = append(r.Prev, w.shown(o.From, old, at))
		}
		w.write(o.From, &i, at)
		r.Version, r.Length, r.Made = i.Version, uint64(len(i.Value)), !found
	}
	return r
}

func (w *work) list(o *txn.Op, at string, r *txn.Result) {
	keys := keysIn(w.now, o.Span)
	shown := keys
	if o.Limit != 0 {
		shown = keys[:min(uint64(len(keys)), o.Limit)]
	}
	r.More = len(shown) < len(keys)
	if o.CountOnly || o.Count {
		r.Counted, r.Count = true, uint64(len(keys))
	}
	for i := range keys {
		if i >= len(shown) && !r.Counted {
			return
		}
		w.look(1, at)
		if i >= len(shown) || o.CountOnly {
			continue
		}
		item := w.now[keys[i]]
		if o.KeysOnly {
			item.Value = ""
		}
		r.Items = append(r.Items, w.shown(keys[i], item, at))
	}
}
