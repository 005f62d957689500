package txn

import (
	"bytes"
	"slices"
)

// itemCost is what an item of an outcome costs in addition to its key and value.
const itemCost = 64

// Run does what t says to the state s, which it only reads. The changes are in the
// order in which their keys were written to first; none says that nothing changed. The
// error is a *Refusal, and then nothing is to be done.
func Run(t *Txn, s State, b Bounds) (*Outcome, []Change, error) {
	r := runner{under: s, bounds: b, over: overlay{under: s, bytes: b.Bytes, tieBytes: b.TieBytes}, looks: MaxKeys, room: int(min(b.ResultBytes, MaxResultBytes))}
	r.bounds.MaxLength = MaxValueBytes
	if b.MaxLength != 0 {
		r.bounds.MaxLength = min(b.MaxLength, MaxValueBytes)
	}
	outcome := r.txn(t, "")
	if r.refused != nil {
		return nil, nil, r.refused
	}
	return outcome, r.over.changes(), nil
}

// runner is one run. After a refusal it does nothing more.
type runner struct {
	under   State
	over    overlay
	bounds  Bounds
	looks   int // how many keys ranges may still look at
	room    int // for keys and values in the outcome
	refused *Refusal
}

func (r *runner) refuse(cause Cause, at string) {
	if r.refused == nil {
		r.refused = &Refusal{Cause: cause, Operation: at}
	}
}

// txn runs a transaction that lies in the operation at. Compares are judged on the state
// as it was before the first operation of all.
func (r *runner) txn(t *Txn, at string) *Outcome {
	o := &Outcome{Succeeded: true}
	branch := t.Then
	for i := range t.If {
		holds := r.holds(&t.If[i], place(at, i))
		if r.refused != nil {
			return o
		}
		if !holds {
			o.Succeeded, o.Failed, branch = false, uint64(i), t.Else
			break
		}
	}
	for i := range branch {
		o.Results = append(o.Results, r.op(&branch[i], place(at, i)))
		if r.refused != nil {
			break
		}
	}
	return o
}

// look counts a key that a range looks at, and reports whether it may.
func (r *runner) look(at string, compare bool) bool {
	if r.looks--; r.looks >= 0 {
		return true
	}
	r.refuse(TooManyKeys, at)
	r.refused.Compare = compare
	return false
}

// holds judges a compare.
func (r *runner) holds(c *Compare, at string) bool {
	if c.Subject.ofRange() {
		return r.holdsWhole(c, at)
	}
	if c.Subject == LockHeld {
		return r.under.Holds(c.From, c.Number) == (c.Is == Equal)
	}
	if !c.Range {
		item, _ := r.under.Find(c.From)
		return c.holdsFor(item, r.leaseOf(c, c.From))
	}
	empty, holds := true, true
	r.under.Ascend(c.From, func(key string, item Item) bool {
		if !c.Span.holds(key) || !r.look(at, true) {
			return false
		}
		empty, holds = false, c.holdsFor(item, r.leaseOf(c, key))
		return holds
	})
	if empty {
		return c.holdsFor(Item{}, 0)
	}
	return holds
}

// leaseOf returns the lease of a key, for a compare that asks for it.
func (r *runner) leaseOf(c *Compare, key string) int64 {
	if c.Subject != Lease {
		return 0
	}
	return r.under.Lives(key).Lease
}

// holdsFor judges a compare for one item, without a version that of an absent key, and
// its lease.
func (c *Compare) holdsFor(i Item, lease int64) bool {
	var order int
	switch c.Subject {
	case Revision:
		order = compare(i.Revision, c.Number)
	case Version:
		order = compare(i.Version, c.Number)
	case Created:
		order = compare(i.creation(), c.Number)
	case Lease:
		order = compare(lease, int64(c.Number))
	case Value:
		if i.Version == 0 {
			return false // whatever the relation
		}
		order = bytes.Compare(i.Value, c.Bytes)
	}
	switch c.Is {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	}
	return order > 0
}

func compare[N int64 | uint64](a, b N) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// holdsWhole judges a compare of a range as a whole.
func (r *runner) holdsWhole(c *Compare, at string) bool {
	count, newest := uint64(0), uint64(0)
	r.under.Ascend(c.From, func(key string, item Item) bool {
		if !c.Span.holds(key) || !r.look(at, true) {
			return false
		}
		count, newest = count+1, max(newest, item.Revision)
		return true
	})
	holds := false
	switch c.Subject {
	case Count:
		holds = count == c.Number
	case NotNewer:
		holds = newest <= c.Number
	case Unchanged:
		holds = count == c.Number && newest <= c.Newest
	}
	return holds == (c.Is == Equal)
}

func (r *runner) op(o *Op, at string) Result {
	result := Result{Kind: o.Kind}
	switch o.Kind {
	case Put:
		r.put(o, at, &result)
	case Append:
		r.append(o, at, &result)
	case Delete:
		r.delete(o, at, &result)
	case Get:
		if item, found := r.over.find(o.From); found {
			r.show(&result.Items, o.From, item, at)
		}
	case List:
		r.list(o, at, &result)
	case Touch:
		r.touch(o, at)
	case Nested:
		result.Txn = r.txn(o.Txn, at)
	}
	return result
}

// show adds an item to what the outcome shows, if there is room.
func (r *runner) show(to *[]Keyed, key string, i Item, at string) {
	r.room -= len(key) + len(i.Value) + itemCost
	if r.room < 0 {
		r.refuse(ResultTooLarge, at)
		return
	}
	i.Value, i.Created = slices.Clip(i.Value), i.creation()
	*to = append(*to, Keyed{Key: key, Item: i, Lease: r.over.lives(key).Lease})
}

// showPrev adds what is there before a write to its result, if the operation asks.
func (r *runner) showPrev(o *Op, to *Result, key string, before Item, at string) {
	if to.HasPrev = o.Prev; o.Prev && before.Version != 0 {
		r.show(&to.Prev, key, before, at)
	}
}

func (r *runner) put(o *Op, at string, result *Result) {
	before, found := r.over.find(o.From)
	switch {
	case (o.KeepValue || o.KeepTie) && !found:
		r.refuse(NoSuchKey, at)
		return
	case o.Tie.Lease != 0 && !r.under.Alive(o.Tie.Lease):
		r.refuse(NoSuchLease, at)
		return
	}
	length := len(o.Value)
	if o.KeepValue {
		length = len(before.Value)
	}
	r.write(o, at, result, before, length, func(d *draft) []byte {
		if d.own = !o.KeepValue; d.own {
			return bytes.Clone(o.Value) // the command's bytes are not ours to keep
		}
		return before.Value
	})
}

// touch gives a key another end. A key that ends with a lease ends with that: its owner
// keeps the lease alive.
func (r *runner) touch(o *Op, at string) {
	_, found := r.over.find(o.From)
	lives := r.over.lives(o.From)
	switch {
	case !found:
		r.refuse(NoSuchKey, at)
		return
	case lives.Lease != 0:
		r.refuse(TiedToLease, at)
		return
	case !lives.Tied && r.bounds.Quota != 0 && uint64(r.over.bytes+r.bounds.TieBytes) > r.bounds.Quota:
		r.refuse(OverQuota, at)
		return
	}
	r.over.tie(r.over.draftOf(o.From), Tie{TTL: o.TTL})
	r.checkSize(at)
}

func (r *runner) append(o *Op, at string, result *Result) {
	before, _ := r.over.find(o.From)
	r.write(o, at, result, before, len(before.Value)+len(o.Value), func(d *draft) []byte {
		if !d.own {
			// A value of the state may have room behind it, which belongs to whoever appends
			// to it next; this transaction may yet be refused.
			d.own = true
			return append(slices.Clip(before.Value), o.Value...)
		}
		return append(before.Value, o.Value...)
	})
}

// write puts a value of some length under a key, if it may.
func (r *runner) write(o *Op, at string, result *Result, before Item, length int, value func(*draft) []byte) {
	grown := r.over.bytes + length - len(before.Value)
	if before.Version == 0 {
		grown += len(o.From)
	}
	// What the key is tied to stays with an append, or if the put says so.
	stays := before.Version != 0 && (o.Kind == Append || o.KeepTie)
	if tied := r.over.lives(o.From).Tied; !stays && tied != (o.Tie != Tie{}) {
		grown += r.bounds.TieBytes
		if tied {
			grown -= 2 * r.bounds.TieBytes
		}
	}
	switch {
	case uint64(length) > r.bounds.MaxLength:
		r.refuse(TooLong, at)
		return
	case r.bounds.Quota != 0 && grown > r.over.bytes && uint64(grown) > r.bounds.Quota:
		r.refuse(OverQuota, at)
		return
	}
	r.showPrev(o, result, o.From, before, at)
	d := r.over.draftOf(o.From)
	i := Item{Value: value(d), Revision: r.bounds.Revision, Version: before.Version + 1, Created: before.Created}
	if before.Version == 0 {
		i.Created = r.bounds.Revision
	}
	if d.At = at; !stays {
		r.over.tie(d, o.Tie)
	}
	r.over.set(d, i)
	r.checkSize(at)
	result.Version, result.Length, result.Made = i.Version, uint64(length), before.Version == 0
}

// checkSize refuses a transaction whose change is more than the history takes.
func (r *runner) checkSize(at string) {
	if len(r.over.drafts) > MaxKeys || r.over.replaced > MaxBytes {
		r.refuse(TooManyKeys, at)
	}
}

func (r *runner) delete(o *Op, at string, result *Result) {
	var keys []string
	if o.Range {
		r.over.ascend(o.Span, func(key string, _ Item) bool {
			keys = append(keys, key)
			return r.look(at, false)
		})
	} else if _, found := r.over.find(o.From); found {
		keys = append(keys, o.From)
	}
	result.HasPrev, result.Many = o.Prev, o.Range
	for _, key := range keys {
		if r.refused != nil {
			return
		}
		before, _ := r.over.find(key)
		r.showPrev(o, result, key, before, at)
		d := r.over.draftOf(key)
		d.own = false
		r.over.tie(d, Tie{})
		r.over.set(d, Item{})
		r.checkSize(at)
	}
	result.Deleted = uint64(len(keys))
}

func (r *runner) list(o *Op, at string, result *Result) {
	result.Counted, result.KeysOnly = o.Count || o.CountOnly, o.KeysOnly
	r.over.ascend(o.Span, func(key string, item Item) bool {
		full := o.Limit != 0 && uint64(len(result.Items)) == o.Limit
		if full && !o.Count {
			result.More = true
			return false
		}
		if !r.look(at, false) {
			return false
		}
		result.Count++
		if full {
			result.More = true
			return true
		}
		if !o.CountOnly {
			if o.KeysOnly {
				item.Value = nil
			}
			r.show(&result.Items, key, item, at)
		}
		return r.refused == nil
	})
	if !result.Counted {
		result.Count = 0
	}
}
