package txn

// DeleteRange is the removal of the keys of a range, in one change.
type DeleteRange struct {
	From, To string // see Span
	// AtMost is how many keys may go, if Guarded is set; MaxKeys may in any case.
	Guarded bool
	AtMost  uint64
	// Partial: of more keys than may go, the first ones go. Otherwise none.
	Partial bool
}

// Flags of a DeleteRange.
const (
	rangeGuarded = 1 << iota
	rangePartial

	rangeFlags = 1<<iota - 1
)

// Append appends the encoding: flags, from, to and, if it is guarded, at most.
func (d *DeleteRange) Append(dst []byte) []byte {
	dst = appendNumbers(dst, bit(d.Guarded, rangeGuarded)|bit(d.Partial, rangePartial))
	dst = appendText(appendText(dst, d.From), d.To)
	if d.Guarded {
		dst = appendNumbers(dst, d.AtMost)
	}
	return dst
}

// Body returns the body of a command in the log, like that of a Txn.
func (d *DeleteRange) Body(results uint64) []byte {
	return d.Append(appendNumbers([]byte{bodyVersion}, results))
}

// DecodeRange reads what Append has written, which must be all of b. The errors are
// those of Decode.
func DecodeRange(b []byte) (*DeleteRange, error) {
	r := read(b)
	flags := r.Number()
	if later := flags &^ rangeFlags; later != 0 {
		r.Stop("flag of a delete of a range", later&-later)
	}
	d := &DeleteRange{Guarded: flags&rangeGuarded != 0, Partial: flags&rangePartial != 0}
	d.From, d.To = string(r.Bytes()), string(r.Bytes())
	if d.Guarded {
		d.AtMost = r.Number()
	}
	r.Check(len(d.From) <= MaxKeyBytes && len(d.To) <= MaxKeyBytes, "a bound that is longer than any key")
	if err := r.end(""); err != nil {
		return nil, err
	}
	return d, nil
}

// Run does what d says to a state, like Run of a transaction with one delete. The
// outcome has one result. prev says that it has what was removed.
func (d *DeleteRange) Run(s State, b Bounds, prev bool) (*Outcome, []Change, error) {
	room := uint64(MaxKeys)
	if d.Guarded {
		room = min(room, d.AtMost)
	}
	span, bytes := Range(d.From, d.To), 0
	result := Result{Kind: Delete, HasPrev: prev, Many: true}
	r := runner{over: overlay{under: s}, room: int(min(b.ResultBytes, MaxResultBytes))}
	var changes []Change
	counted := uint64(0)
	s.Ascend(d.From, func(key string, item Item) bool {
		if !span.holds(key) {
			return false
		}
		counted++
		bytes += len(key) + len(item.Value)
		if result.More = result.More || counted > room || bytes > MaxBytes; result.More {
			// The count helps to choose another range; it is not for reading the whole store.
			return !d.Partial && counted <= MaxKeys
		}
		if prev {
			r.show(&result.Prev, key, item, "0")
		}
		changes = append(changes, Change{Key: key, Before: item})
		return true
	})
	if result.More && !d.Partial {
		return nil, nil, &Refusal{Cause: TooManyKeys, Operation: "0", Count: counted}
	}
	if r.refused != nil {
		return nil, nil, r.refused
	}
	result.Deleted = uint64(len(changes))
	return &Outcome{Succeeded: true, Results: []Result{result}}, changes, nil
}
