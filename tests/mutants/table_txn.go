package main

// Transactions and removals of ranges (kvserver/txn), and what the store and the doors make
// of them.
var txnMutants = []mutant{
	inTxn("TX1", "kv", "a transaction that is refused leaves the operations before", "txn/run.go",
		"\t\treturn nil, nil, r.refused\n\t}\n\treturn outcome,", "\t\treturn nil, r.over.changes(), r.refused\n\t}\n\treturn outcome,"),
	inTxn("TX2", "kv", "a refusal by a limit is remembered under its idempotency key", "kv/result.go",
		"case StatusOK, StatusConditionFailed, StatusNotFound, ", "case StatusOK, StatusConditionFailed, StatusNotFound, StatusQuota, "),
	inTxn("TX3", "txn", "a nested compare sees the operations before it", "txn/run.go",
		"\t\titem, _ := r.under.Find(c.From)\n", "\t\titem, _ := r.over.find(c.From)\n"),
	inTxn("TX4", "txn", "!= on the value of a missing key is true", "txn/run.go",
		"return false // whatever the relation", "return c.Is == NotEqual"),
	inTxn("TX5", "past", "created changes at an overwrite", "txn/run.go",
		"Version: before.Version + 1, Created: before.Created}", "Version: before.Version + 1, Created: r.bounds.Revision}"),
	inTxn("TX6", "kv", "the count of a list is that of the page", "txn/run.go",
		"\t\tif full && !o.Count {\n", "\t\tif full {\n"),
	inTxn("TX7", "kv", "a failed compare takes a revision", "kv/txn.go",
		"\tn := uint32(0)\n", "\tn := uint32(0)\n\tif len(changes) == 0 {\n\t\ts.revision++\n\t}\n"),
	inTxn("TX8", "kv", "a key that is absent before and after has an event", "txn/overlay.go",
		"\t\tif d.Before.Version != 0 || d.Item.Version != 0 {\n", "\t\tif true {\n"),
	inTxn("TX10", "kv", "events of one change are trimmed one by one", "kv/txn.go",
		"\ts.noteMore(event)\n", "\ts.note(event)\n"),
	inTxn("TX11", "txn", "a list does not see what was written before it", "txn/run.go",
		"\tr.over.ascend(o.Span, func(key string, item Item) bool {\n\t\tfull", "\tr.under.Ascend(o.Span.From, func(key string, item Item) bool {\n\t\tif !o.Span.holds(key) {\n\t\t\treturn false\n\t\t}\n\t\tfull"),
	inTxn("TX12", "kv", "ranges may look at as many keys as they like", "txn/run.go",
		"if r.looks--; r.looks >= 0 {", "if r.looks--; r.looks >= -MaxKeys {"),
	inTxn("TX13", "kv", "what a change replaces is not bounded", "txn/run.go",
		" || r.over.replaced > MaxBytes {", " {"),
	inTxn("TX14", "kv", "the limit of the results is not kept", "txn/run.go",
		"\tif r.room < 0 {\n", "\tif r.room < -4096 {\n"),
	inTxn("TX15", "kv", "the else branch needs no rights", "txn/txn.go",
		"\tfor _, branch := range [][]Op{t.Then, t.Else} {\n\t\tfor i := range branch {\n\t\t\tif !fn(", "\tfor _, branch := range [][]Op{t.Then} {\n\t\tfor i := range branch {\n\t\t\tif !fn("),
	inTxn("TX16", "kv", "a previous value is shown to whoever may write", "kv/txn.go",
		"\t\t\treturn ok && (!o.Prev || read(&o.Span))\n", "\t\t\treturn ok\n"),
	inTxn("TX17", "kv", "compares need no rights", "kv/txn.go",
		"\t_ = t.EachCompare(func(c *txn.Compare) bool { return c.Subject == txn.LockHeld || read(&c.Span) }) &&\n\t\tt.EachOp", "\t_ = t.EachOp"),
	inTxn("TX18", "kv", "a guard on the number of keys is not kept", "txn/range.go",
		"\t\troom = min(room, d.AtMost)\n", "\t\troom = min(room, d.AtMost+1)\n"),
	inTxn("TX19", "txn", "a removal of a range reaches the key at its end", "txn/txn.go",
		"return key >= s.From && (s.To == \"\" || key < s.To)", "return key >= s.From && (s.To == \"\" || key <= s.To)"),
	inTxn("TX20", "kv", "answers of sessions that went are kept", "kv/sessions.go",
		"\t\tif first.answered {\n\t\t\ts.dropAnswer(first.answer())\n\t\t}\n", ""),
	inTxn("TX21", "kv", "requests go on when no more answers can be remembered", "kv/idempotency.go",
		" || c.HasOutcome() && s.answers.ofRecords >= s.rules.answers {", " {"),
	inTxn("TX22", "txn", "of a repetition what was read is said to be complete", "txn/answer.go",
		"Failed: o.Failed, Dropped: true, Results", "Failed: o.Failed, Results"),
	inTxn("TX23", "kv", "a body of a later version is answered and not stopped at", "kv/txn.go",
		"\t\treturn unknown\n\t}\n\tif err == nil {\n", "\t\treturn nil\n\t}\n\tif err == nil {\n"),
	inTxn("TX24", "http", "a transaction without a write is answered from what the node happens to have", "read.go",
		"\tif err := s.AwaitFresh(ctx, true); err != nil {\n\t\treturn nil, 0, err\n\t}\n\tif err := s.AllowTxn", "\tif err := s.AwaitFresh(ctx, false); err != nil {\n\t\treturn nil, 0, err\n\t}\n\tif err := s.AllowTxn"),
	inTxn("TX25", "http", "the whole store goes without being asked for in so many words", "httpd/write.go",
		"open && !all {", "open && !all && false {"),
	inTxn("TX26", "http", "a strict transaction that does not hold is a success", "httpd/write.go",
		"\tif strict && !o.Succeeded {\n", "\tif strict && !o.Succeeded && o.Failed > 0 {\n"),
	inTxn("TX28", "past", "the revision up to which was forgotten cannot be read", "kv/history.go",
		"return revision+1 >= h.Oldest()", "return revision >= h.Oldest()"),
	inTxn("TX29", "past", "a read of the past shows the change of the revision itself undone", "past/past.go",
		"\th.Scan(revision, func(e *kv.Event) bool {\n\t\tif e.Key != key || e.OfLock() {", "\th.Scan(max(revision, h.Oldest())-1, func(e *kv.Event) bool {\n\t\tif e.Key != key || e.OfLock() {"),
	inTxn("TX30", "past", "a list of the past has the last item of a key and not the first", "past/past.go",
		"if _, later := p.was[e.Key]; !later {", "if _, later := p.was[e.Key]; !later || e.Existed() {"),
	inTxn("TX31", "past", "a list of the past shows what has changed since as it is now, too", "past/past.go",
		"\t\tif _, changed := p.was[key]; changed {\n\t\t\treturn true\n\t\t}\n", ""),
	inTxn("TX32", "http", "the pages behind a pinned one show other states", "httpd/list.go",
		"\t\tif l.pin {\n", "\t\tif l.pin && l.after != \"\" {\n"),
	inTxn("TX33", "kv", "a put in a transaction forgets its lease", "kv/txn.go",
		"\treturn lease.Tie{Lease: c.Tie.Lease}\n", "\treturn lease.Tie{}\n"),
	inTxn("TX34", "kv", "a touch in a transaction makes a revision", "kv/txn.go",
		"\t\tif c.Touched { // which", "\t\tif c.Touched && s.revision == 0 { // which"),
	inTxn("TX35", "kv", "a transaction touches the keys of leases", "txn/run.go",
		"\tcase lives.Lease != 0:\n", "\tcase lives.Lease == -1:\n"),
	inTxn("TX36", "kv", "a transaction ties keys to leases that are not there", "txn/run.go",
		"case o.Tie.Lease != 0 && !r.under.Alive(o.Tie.Lease):", "case o.Tie.Lease == -1:"),
	inTxn("TX37", "kv", "a put keeps the end of a key that is not there", "txn/run.go",
		"case (o.KeepValue || o.KeepTie) && !found:", "case o.KeepValue && !found:"),
	inTxn("TX38", "kv", "a transaction gives a lease more keys than it may have", "lease/change.go",
		"(keys <= 0 || e.keys+e.locks+keys <= t.limits.Keys) && ", ""),
	inTxn("TX44", "kv", "a transaction does not count the locks of a lease", "lease/change.go",
		"e.keys+e.locks+keys <= t.limits.Keys", "e.keys+keys <= t.limits.Keys"),
	inTxn("TX39", "kv", "ties in transactions count nothing for the quota", "kv/txn.go",
		"TieBytes: lease.TieBytes, ", ""),
	inTxn("TX40", "kv", "an append in a transaction unties its key", "txn/run.go",
		"(o.Kind == Append || o.KeepTie)", "o.KeepTie"),
	inTxn("TX41", "kv", "a touch in a transaction needs no rights", "kv/txn.go",
		"case txn.Put, txn.Append, txn.Touch:", "case txn.Put, txn.Append:"),
	inTxn("TX42", "txn", "leases are compared without their sign", "txn/run.go",
		"compare(lease, int64(c.Number))", "compare(uint64(lease), c.Number)"),
	inTxn("TX43", "kv", "an operation without an end has the flag of one", "txn/code.go",
		"o.Kind == Put || o.Kind == Touch, \"an end", "true || o.Kind == Touch, \"an end"),
	inTxn("TX27", "http", "the answer of a leader to a transaction is cut off", "httpd/peers.go",
		"x.route != nil && x.route.Path == txnPath {", "x.route == nil {"),
}

// txnOracles are the tests that know of transactions.
var txnOracles = map[string]string{
	"txn":  "test ./kvserver/txn",
	"past": "test ./kvserver/past",
	"kv":   "test ./kvserver/kv Transact|Limits|RefusedAppend|Answers|NeedsNoLog|Bodies",
	"http": "test ./kvserver/httpd TestTransactions|TestATransaction|LinearizableRead|ReadsOfThePast",
}

// inTxn is a mutant of transactions, in a folder of kvserver. first is the oracle that is
// expected to see it.
func inTxn(id, first, bug, file, old, new string) mutant {
	oracles := []string{txnOracles[first]}
	for _, name := range []string{"txn", "past", "kv", "http"} {
		if name != first {
			oracles = append(oracles, txnOracles[name])
		}
	}
	return mutant{id: id, bug: bug, file: "kvserver/" + file, old: old, new: new, oracles: oracles}
}
