package txn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"raftkv/kvserver/fields"
)

// ErrMalformed is wrapped by the errors about bytes that no version writes, and about
// transactions that break a limit.
var ErrMalformed = errors.New("txn: not a transaction")

// UnknownError says that an encoding holds a number without a meaning in this version;
// a later one may have put it there.
type UnknownError = fields.UnknownError

// Flags of operations. An unknown bit may be a promise to a client.
const (
	opPrev = 1 << iota
	opKeepValue
	opKeysOnly
	opCount
	opCountOnly
	opLease
	opTTL
	opKeepTie

	opFlags = 1<<iota - 1
)

// Append appends the encoding of a transaction. All numbers are uvarints, as short as
// possible:
//
//	txn:     count, compares, count, operations of then, count, operations of else
//	compare: subject, relation, span; of Value length and bytes, else number; of Unchanged newest
//	op:      kind, flags; of Nested a txn, else span; of put and append length and value; of list limit;
//	         with the flag lease its id in two's complement; with the flag ttl milliseconds
//	span:    0, key; or 1, from, to, each with its length
//
// So a transaction has exactly one encoding.
func (t *Txn) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(t.If)))
	for i := range t.If {
		dst = t.If[i].append(dst)
	}
	for _, branch := range [][]Op{t.Then, t.Else} {
		dst = binary.AppendUvarint(dst, uint64(len(branch)))
		for i := range branch {
			dst = branch[i].append(dst)
		}
	}
	return dst
}

// bodyVersion begins the body of a command.
const bodyVersion = 1

// Body returns the body of a command in the log: version u8 = 1, the bytes of keys and
// values that the outcome may show as a uvarint, and the transaction.
func (t *Txn) Body(results uint64) []byte {
	return t.Append(appendNumbers([]byte{bodyVersion}, results))
}

func appendText[T string | []byte](dst []byte, text T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func appendNumbers(dst []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func bit(set bool, value uint64) uint64 {
	if set {
		return value
	}
	return 0
}

func (s *Span) append(dst []byte) []byte {
	dst = appendText(appendNumbers(dst, bit(s.Range, 1)), s.From)
	if s.Range {
		dst = appendText(dst, s.To)
	}
	return dst
}

func (c *Compare) append(dst []byte) []byte {
	dst = c.Span.append(appendNumbers(dst, uint64(c.Subject), uint64(c.Is)))
	switch c.Subject {
	case Value:
		return appendText(dst, c.Bytes)
	case Unchanged:
		return appendNumbers(dst, c.Number, c.Newest)
	}
	return appendNumbers(dst, c.Number)
}

func (o *Op) append(dst []byte) []byte {
	flags := bit(o.Prev, opPrev) | bit(o.KeepValue, opKeepValue) | bit(o.KeysOnly, opKeysOnly) | bit(o.Count, opCount) | bit(o.CountOnly, opCountOnly) |
		bit(o.Tie.Lease != 0, opLease) | bit(o.TTL != 0, opTTL) | bit(o.KeepTie, opKeepTie)
	dst = appendNumbers(dst, uint64(o.Kind), flags)
	if o.Kind == Nested {
		return o.Txn.Append(dst)
	}
	dst = o.Span.append(dst)
	switch o.Kind {
	case Put, Append:
		return o.Tie.append(appendText(dst, o.Value))
	case List:
		return appendNumbers(dst, o.Limit)
	case Touch:
		return o.Tie.append(dst)
	}
	return dst
}

func (t *Tie) append(dst []byte) []byte {
	if t.Lease != 0 {
		dst = appendNumbers(dst, uint64(t.Lease))
	}
	if t.TTL != 0 {
		dst = appendNumbers(dst, t.TTL)
	}
	return dst
}

func (r *reader) tie(flags uint64) (t Tie) {
	if flags&opLease != 0 {
		t.Lease = int64(r.Number())
		r.Check(t.Lease != 0, "an empty lease")
	}
	if flags&opTTL != 0 {
		t.TTL = r.Number()
		r.Check(t.TTL != 0, "an empty ttl")
	}
	t.KeepTie = flags&opKeepTie != 0
	return t
}

// Decode reads a transaction, which must be all of b. Values alias b. The error is an
// *UnknownError, or wraps ErrMalformed. The memory that it takes is bounded by MaxOps,
// MaxCompares and the length of b.
func Decode(b []byte) (*Txn, error) {
	r := read(b)
	t := r.txn(1)
	if err := r.end(""); err != nil {
		return nil, err
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	return t, nil
}

// reader reads a transaction, or its outcome, from the front, and counts what is in it.
type reader struct {
	fields.Reader
	ops, compares int
}

func read(b []byte) reader { return reader{Reader: fields.Reader{Rest: b}} }

// end returns the error of the first fault, if there was one or something is left. of says
// in what it is, if not in a transaction.
func (r *reader) end(of string) error {
	r.End()
	switch unknown, fault := r.Fault(); {
	case unknown != nil:
		return unknown
	case fault != "":
		return fmt.Errorf("%w: %s%s", ErrMalformed, of, fault)
	}
	return nil
}

// txn reads a transaction that lies at a depth.
func (r *reader) txn(depth int) *Txn {
	r.Check(depth <= MaxDepth, "nested too deep")
	t := &Txn{}
	n := r.Number()
	r.Check(n <= MaxCompares, "too many compares")
	for range n {
		if r.compares++; r.compares > MaxCompares {
			r.Check(false, "too many compares")
		}
		if r.Bad() {
			return t
		}
		t.If = append(t.If, r.compare())
	}
	t.Then = r.branch(depth)
	t.Else = r.branch(depth)
	return t
}

func (r *reader) branch(depth int) (ops []Op) {
	n := r.Number()
	r.Check(n <= MaxOps, "too many operations")
	for range n {
		if r.ops++; r.ops > MaxOps {
			r.Check(false, "too many operations")
		}
		if r.Bad() {
			return ops
		}
		ops = append(ops, r.op(depth))
	}
	return ops
}

func (r *reader) span() (s Span) {
	s.Range = r.Flag()
	s.From = string(r.Bytes())
	if s.Range {
		s.To = string(r.Bytes())
	}
	return s
}

func (r *reader) compare() (c Compare) {
	subject, is := r.Number(), r.Number()
	c.Subject, c.Is = Subject(subject), Relation(is)
	switch {
	case r.Bad():
		return c
	case subject > 255 || !c.Subject.known():
		r.Stop("subject of a compare", subject)
	case is > uint64(relationMax):
		r.Stop("relation of a compare", is)
	}
	c.Span = r.span()
	switch c.Subject {
	case Value:
		c.Bytes = r.Bytes()
	case Unchanged:
		c.Number, c.Newest = r.Number(), r.Number()
	default:
		c.Number = r.Number()
	}
	return c
}

func (r *reader) op(depth int) (o Op) {
	kind, flags := r.Number(), r.Number()
	o.Kind = Kind(kind)
	switch {
	case r.Bad():
		return o
	case kind > 255 || !o.Kind.known():
		r.Stop("kind of an operation", kind)
	case flags&^opFlags != 0:
		later := flags &^ opFlags
		r.Stop("flag of an operation", later&-later)
	}
	o.Prev, o.KeepValue = flags&opPrev != 0, flags&opKeepValue != 0
	o.KeysOnly, o.Count, o.CountOnly = flags&opKeysOnly != 0, flags&opCount != 0, flags&opCountOnly != 0
	r.Check(flags&(opLease|opTTL|opKeepTie) == 0 || o.Kind == Put || o.Kind == Touch, "an end for what has none")
	if o.Kind == Nested {
		o.Txn = r.txn(depth + 1)
		return o
	}
	o.Span = r.span()
	switch o.Kind {
	case Put, Append:
		o.Value = r.Bytes()
		o.Tie = r.tie(flags) // of put
	case List:
		o.Limit = r.Number()
	case Touch:
		o.Tie = r.tie(flags)
	}
	return o
}
