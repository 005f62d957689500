package txn

// answerVersion begins the encoding of an outcome. Outcomes stand in snapshots.
const answerVersion = 1

// KeptBytes is the length of the longest encoding of an outcome that is remembered
// whole. Of a longer one what was read is dropped.
const KeptBytes = 4 << 10

// MaxAnswerBytes is more than the encoding of an outcome can have from which what was
// read is dropped: no result has more than 48 bytes.
const MaxAnswerBytes = 64 << 10

// Flags of outcomes and of results.
const (
	outcomeSucceeded = 1 << iota
	outcomeDropped

	outcomeFlags = 1<<iota - 1
)

const (
	resultMade = 1 << iota
	resultMore
	resultCounted
	resultPrev
	resultMany
	resultKeysOnly

	resultFlags = 1<<iota - 1
)

// Encode returns the encoding of an outcome. All numbers are uvarints:
//
//	version 1, outcome
//	outcome: flags, failed, count of results, results
//	result:  kind, flags, version, length, deleted, count, count of items, items,
//	         count of previous items, items; of Nested an outcome instead of all behind flags
//	item:    key, value, each with its length, revision, version, created, lease
func (o *Outcome) Encode() []byte { return o.append([]byte{answerVersion}) }

func (o *Outcome) append(dst []byte) []byte {
	dst = appendNumbers(dst, bit(o.Succeeded, outcomeSucceeded)|bit(o.Dropped, outcomeDropped), o.Failed, uint64(len(o.Results)))
	for i := range o.Results {
		dst = o.Results[i].append(dst)
	}
	return dst
}

func (r *Result) append(dst []byte) []byte {
	flags := bit(r.Made, resultMade) | bit(r.More, resultMore) | bit(r.Counted, resultCounted) | bit(r.HasPrev, resultPrev) |
		bit(r.Many, resultMany) | bit(r.KeysOnly, resultKeysOnly)
	dst = appendNumbers(dst, uint64(r.Kind), flags)
	if r.Kind == Nested {
		return r.Txn.append(dst)
	}
	dst = appendNumbers(dst, r.Version, r.Length, r.Deleted, r.Count)
	for _, items := range [][]Keyed{r.Items, r.Prev} {
		dst = appendNumbers(dst, uint64(len(items)))
		for i := range items {
			item := &items[i]
			dst = appendText(appendText(dst, item.Key), item.Value)
			dst = appendNumbers(dst, item.Revision, item.Version, item.Created, uint64(item.Lease))
		}
	}
	return dst
}

// Kept returns what is remembered of an outcome: its encoding, without what was read if
// that makes it too long.
func (o *Outcome) Kept() []byte {
	if b := o.Encode(); len(b) <= KeptBytes {
		return b
	}
	return o.WithoutReads().Encode()
}

// WithoutReads returns what is left of an outcome without what was read, which Dropped says.
func (o *Outcome) WithoutReads() *Outcome {
	less := &Outcome{Succeeded: o.Succeeded, Failed: o.Failed, Dropped: true, Results: make([]Result, len(o.Results))}
	for i, r := range o.Results {
		r.Items, r.Prev = nil, nil
		if r.Txn != nil {
			r.Txn = r.Txn.WithoutReads()
			r.Txn.Dropped = false // the outermost one says so for all
		}
		less.Results[i] = r
	}
	return less
}

// DecodeOutcome reads what Encode has written, which must be all of b. Values alias b.
// The errors are those of Decode.
func DecodeOutcome(b []byte) (*Outcome, error) {
	r := read(b)
	if version := r.Number(); !r.Bad() && version != answerVersion {
		r.Stop("version of an outcome", version)
	}
	o := r.outcome(1)
	if err := r.end("an outcome: "); err != nil {
		return nil, err
	}
	return o, nil
}

func (r *reader) outcome(depth int) *Outcome {
	r.Check(depth <= MaxDepth, "nested too deep")
	flags := r.Number()
	if later := flags &^ outcomeFlags; later != 0 {
		r.Stop("flag of an outcome", later&-later)
	}
	o := &Outcome{Succeeded: flags&outcomeSucceeded != 0, Dropped: flags&outcomeDropped != 0, Failed: r.Number()}
	n := r.Number()
	for range n {
		if r.ops++; r.ops > MaxOps {
			r.Check(false, "too many results")
		}
		if r.Bad() {
			return o
		}
		o.Results = append(o.Results, r.result(depth))
	}
	return o
}

func (r *reader) result(depth int) (x Result) {
	kind, flags := r.Number(), r.Number()
	x.Kind = Kind(kind)
	switch {
	case r.Bad():
		return x
	case kind > 255 || !x.Kind.known():
		r.Stop("kind of a result", kind)
	case flags&^resultFlags != 0:
		later := flags &^ resultFlags
		r.Stop("flag of a result", later&-later)
	}
	x.Made, x.More, x.Counted, x.HasPrev = flags&resultMade != 0, flags&resultMore != 0, flags&resultCounted != 0, flags&resultPrev != 0
	x.Many, x.KeysOnly = flags&resultMany != 0, flags&resultKeysOnly != 0
	if x.Kind == Nested {
		r.Check(flags == 0, "a nested transaction with flags")
		x.Txn = r.outcome(depth + 1)
		return x
	}
	x.Version, x.Length, x.Deleted, x.Count = r.Number(), r.Number(), r.Number(), r.Number()
	x.Items, x.Prev = r.items(), r.items()
	return x
}

// items reads a list, which holds no more items than there are bytes for.
func (r *reader) items() (all []Keyed) {
	for range r.Number() {
		if r.Bad() {
			return all
		}
		item := Keyed{Key: string(r.Bytes())}
		item.Value = r.Bytes()
		item.Revision, item.Version, item.Created, item.Lease = r.Number(), r.Number(), r.Number(), int64(r.Number())
		all = append(all, item)
	}
	return all
}
