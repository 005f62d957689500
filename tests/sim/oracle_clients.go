package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"raftkv/kvserver/kv"
)

// clientHistory is the run as the clients saw it: what each asked for when, and
// what it heard when. Its check knows nothing of logs, indices and servers. It
// rests on what the API promises of revisions: there is one order of all changes
// of the store, and every answer says where in it the answer stands. So the
// histories of all keys are checked together: the order must agree with real
// time, and what was read with what was written.
type clientHistory struct {
	records []*record
	byToken map[string]*record
}

// record is one operation with its answer.
type record struct {
	op    *operation
	ended int64 // never: no answer came
	out   outcome

	revision uint64 // of the change that it made; 0 if it made none, or not known
}

const never = int64(math.MaxInt64)

func (h *clientHistory) add(op *operation, out outcome, ended int64) {
	if op.kind == opOpen {
		return
	}
	r := &record{op: op, ended: ended, out: out}
	res := &out.result
	if op.kind.writes() {
		h.byToken[op.token] = r
		if ended != never && res.Status == kv.StatusOK && (!op.deletes() || res.Deleted) {
			r.revision = res.Revision
		}
	}
	h.records = append(h.records, r)
}

// checkClients ends the run if no order explains what the clients saw.
func (o *oracles) checkClients(final *kv.Store) {
	h := &o.clients
	if err := h.check(o.w.options.Keys, final); err != nil {
		o.w.fail("clients' history", "%v", err)
	}
	o.w.counts.CheckedOperations += len(h.records)
}

func (h *clientHistory) check(keys int, final *kv.Store) error {
	for _, r := range h.records {
		if err := h.explain(r); err != nil {
			return err
		}
	}
	for _, key := range keyNames[:keys] {
		if i, found := final.Get([]byte(key)); found {
			if err := h.explainValue(key, string(i.Value), i, never); err != nil {
				return err
			}
		}
	}
	if err := h.checkTime(); err != nil {
		return err
	}
	return h.checkKeys(keys)
}

// explain finds the writes that made what an operation saw.
func (h *clientHistory) explain(r *record) error {
	for i := range r.out.items {
		if it := &r.out.items[i]; it.found {
			if err := h.explainValue(it.key, it.value, it.Item, r.ended); err != nil {
				return fmt.Errorf("%v: %w", r.op, err)
			}
		}
	}
	return nil
}

// explainValue: a value is made of the tokens of writes to its key that had
// begun, none of them twice, and the last of them has its revision.
func (h *clientHistory) explainValue(key, value string, i kv.Item, seen int64) error {
	tokens := strings.SplitAfter(value, ";")
	tokens = tokens[:len(tokens)-1]
	last := uint64(0)
	for n, token := range tokens {
		r := h.byToken[token]
		switch {
		case r == nil || r.op.key != key || r.op.kind == opDelete:
			return fmt.Errorf("%q under %s holds %s, which nobody wrote there", value, key, token)
		case n > 0 && !r.op.appends():
			return fmt.Errorf("%q under %s holds %s, which was not appended", value, key, token)
		case r.op.began > seen:
			return fmt.Errorf("%q under %s holds %s, which was only written later", value, key, token)
		case r.ended != never && r.revision == 0:
			return fmt.Errorf("%q under %s holds %s, which was said not to have happened", value, key, token)
		}
		if n == len(tokens)-1 {
			if r.revision != 0 && r.revision != i.Revision {
				return fmt.Errorf("%s took effect at revision %d and at %d", token, r.revision, i.Revision)
			}
			if res := &r.out.result; r.ended != never && (res.Version != i.Version || res.Length != uint64(len(value))) {
				return fmt.Errorf("%s was said to make version %d with %d bytes, but made version %d with %d", token, res.Version, res.Length, i.Version, len(value))
			}
			r.revision = i.Revision
		}
		if r.revision != 0 {
			if r.revision <= last {
				return fmt.Errorf("%q under %s: %s stands behind a later change", value, key, token)
			}
			last = r.revision
		}
	}
	return nil
}

// place is where an operation stands in the order of the store's changes: a
// change at its revision, everything else behind the change it saw last.
func (r *record) place() uint64 {
	switch {
	case r.revision != 0:
		return 2 * r.revision
	case r.op.kind.writes() && r.out.result.Status != kv.StatusConditionFailed:
		return 2*r.out.result.Revision + 1
	}
	return 2*r.out.revision + 1
}

// known reports whether the order has a place for the operation: some writes of
// unknown outcome never happened, or nobody ever saw them, and a condition that
// failed says where it failed only if that was not told a second time.
func (r *record) known() bool {
	res := &r.out.result
	return r.revision != 0 || r.ended != never && !(res.Status == kv.StatusConditionFailed && res.Replayed)
}

// checkTime: an operation that was answered before another began stands before it.
// Stale reads are exempt.
func (h *clientHistory) checkTime() error {
	ordered := make([]*record, 0, len(h.records))
	for _, r := range h.records {
		if r.known() && r.op.kind != opStale {
			ordered = append(ordered, r)
		}
	}
	slices.SortStableFunc(ordered, func(a, b *record) int {
		switch pa, pb := a.place(), b.place(); {
		case pa < pb:
			return -1
		case pa > pb:
			return 1
		}
		return 0
	})
	var latest *record // of those with an earlier place, the one that began last
	for i := 0; i < len(ordered); {
		here := i
		for ; i < len(ordered) && ordered[i].place() == ordered[here].place(); i++ {
			if r := ordered[i]; latest != nil && r.ended < latest.op.began {
				return fmt.Errorf("%v was answered at %s, before %v began at %s, and stands behind it in the order (%d and %d)",
					r.op, clock(r.ended), latest.op, clock(latest.op.began), r.place(), latest.place())
			}
		}
		for _, r := range ordered[here:i] {
			if latest == nil || r.op.began > latest.op.began {
				latest = r
			}
		}
	}
	return nil
}

// checkKeys: a read shows the last change of its key at or before the revision
// it was served at, and a value all that was appended.
func (h *clientHistory) checkKeys(keys int) error {
	changes := map[string][]*record{}
	deletes := map[string]int64{} // by key: when the first delete of unknown outcome began
	for _, r := range h.records {
		switch {
		case r.revision != 0:
			changes[r.op.key] = append(changes[r.op.key], r)
		case r.op.deletes() && r.ended == never:
			if at, known := deletes[r.op.key]; !known || r.op.began < at {
				deletes[r.op.key] = r.op.began
			}
		}
	}
	for _, key := range keyNames[:keys] {
		of := changes[key]
		slices.SortFunc(of, func(a, b *record) int { return int(int64(a.revision) - int64(b.revision)) })
		for i := 1; i < len(of); i++ {
			if of[i].revision == of[i-1].revision {
				return fmt.Errorf("%v and %v both took revision %d", of[i-1].op, of[i].op, of[i].revision)
			}
		}
	}
	for _, r := range h.records {
		if res := &r.out.result; r.op.kind.writes() && res.Status == kv.StatusConditionFailed && !res.Replayed {
			of := changes[r.op.key]
			n := sort.Search(len(of), func(n int) bool { return of[n].revision > r.out.revision })
			if n > 0 && !of[n-1].op.deletes() && of[n-1].revision > res.Revision && deletes[r.op.key] == 0 {
				return fmt.Errorf("%v failed at revision %d, and the key was said to have revision %d, though %v took %d",
					r.op, r.out.revision, res.Revision, of[n-1].op, of[n-1].revision)
			}
		}
		for i := range r.out.items {
			it := &r.out.items[i]
			if err := h.checkItem(it, changes[it.key], deletes, r); err != nil {
				return fmt.Errorf("%v at revision %d: %w", r.op, r.out.revision, err)
			}
		}
	}
	return nil
}

// checkItem compares what a read found under a key with the changes of it that
// are known, in order.
func (h *clientHistory) checkItem(it *item, changes []*record, deletes map[string]int64, r *record) error {
	before := sort.Search(len(changes), func(n int) bool { return changes[n].revision > r.out.revision })
	if before == 0 {
		return nil
	}
	last := changes[before-1]
	if !it.found {
		began, maybe := deletes[it.key]
		if !last.op.deletes() && !(maybe && began < r.ended) {
			return fmt.Errorf("%s was not there, though %v took revision %d", it.key, last.op, last.revision)
		}
		return nil
	}
	if last.revision != it.Revision {
		return fmt.Errorf("%s had revision %d, though %v took revision %d", it.key, it.Revision, last.op, last.revision)
	}
	return h.checkComplete(it, changes[:before])
}

// checkComplete: everything known to be appended since the first token of a
// value whose place is known is in the value, in order.
func (h *clientHistory) checkComplete(it *item, changes []*record) error {
	tokens := strings.SplitAfter(it.value, ";")
	tokens = tokens[:len(tokens)-1]
	for len(tokens) > 0 && h.byToken[tokens[0]].revision == 0 {
		tokens = tokens[1:]
	}
	if len(tokens) == 0 {
		return nil
	}
	first := h.byToken[tokens[0]].revision
	for n := sort.Search(len(changes), func(n int) bool { return changes[n].revision >= first }); n < len(changes); n++ {
		at := slices.Index(tokens, changes[n].op.token)
		if at < 0 {
			return fmt.Errorf("%q under %s lacks %s, which took revision %d", it.value, it.key, changes[n].op.token, changes[n].revision)
		}
		tokens = tokens[at+1:]
	}
	return nil
}
