package main

// What clients see must be explained by one order that agrees with real time:
// the log. An operation that began after another was acknowledged stands after
// it.

// acknowledged: a client was told that its operation is done.
func (o *oracles) acknowledged(op *operation, out outcome) {
	index := out.index
	switch op.kind {
	case opRead:
		o.floor = max(o.floor, index)
		return
	case opAppend, opPut:
		at, happened := o.model.tokens[op.token]
		if !happened {
			o.w.fail("%s %s was acknowledged but never applied", op.kind, op.token)
		}
		index = at
		o.acked[op.token] = at
	}
	o.w.counts.Acknowledged++
	if index <= op.floor && !out.result.Replayed {
		o.w.fail("%s %s took effect at %d, before %d, which was acknowledged before it began", op.kind, op.token, index, op.floor)
	}
	o.floor = max(o.floor, index)
}

// readServed: a read sees everything that was acknowledged before it began, and
// exactly what the key held at the index it was served at.
func (o *oracles) readServed(op *operation, applied uint64, value string) {
	if applied < op.floor {
		o.w.fail("a read of %s was served at %d; %d had been acknowledged before it began", op.key, applied, op.floor)
	}
	if want := o.model.at(op.key, applied); want != value {
		o.w.fail("a read of %s at %d gave %q, the history says %q", op.key, applied, value, want)
	}
}
