package txn

import (
	"fmt"
	"strconv"
)

// Check says what keeps t from being a transaction: a limit, or a field that its
// operation does not take. nil: nothing. The error wraps ErrTooLarge or ErrMalformed, and
// then names the operation or the compare.
func (t *Txn) Check() error {
	c := checker{}
	return c.txn(t, "", 1)
}

type checker struct{ ops, compares int }

func bad(at, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrMalformed, at, fmt.Sprintf(format, args...))
}

func (c *checker) txn(t *Txn, at string, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: operation %s lies in more than %d transactions", ErrTooLarge, at, MaxDepth)
	}
	for i := range t.If {
		if c.compares++; c.compares > MaxCompares {
			return fmt.Errorf("%w: there are more than %d compares", ErrTooLarge, MaxCompares)
		}
		if err := t.If[i].check(place(at, i)); err != nil {
			return err
		}
	}
	for _, branch := range [][]Op{t.Then, t.Else} {
		for i := range branch {
			if c.ops++; c.ops > MaxOps {
				return fmt.Errorf("%w: there are more than %d operations", ErrTooLarge, MaxOps)
			}
			if err := c.op(&branch[i], place(at, i), depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// place names the operation number i, from 0, of a branch in the operation at; see
// Refusal.Operation.
func place(at string, i int) string {
	if at == "" {
		return strconv.Itoa(i)
	}
	return at + "." + strconv.Itoa(i)
}

func (s *Span) check(at string) error {
	switch {
	case !s.Range && (len(s.From) == 0 || len(s.From) > MaxKeyBytes || s.To != ""):
		return bad(at, "a key has 1 to %d bytes, and this one has %d", MaxKeyBytes, len(s.From))
	case len(s.From) > MaxKeyBytes || len(s.To) > MaxKeyBytes:
		return bad(at, "a bound of a range has at most %d bytes", MaxKeyBytes)
	}
	return nil
}

func (c *Compare) check(place string) error {
	at := "compare " + place
	if err := c.Span.check(at); err != nil {
		return err
	}
	switch {
	case !c.Subject.known():
		return bad(at, "it has no subject")
	case c.Is < Equal || c.Is > relationMax || c.Subject.plain() && c.Is > NotEqual:
		return bad(at, "its relation is none that the subject takes")
	case c.Subject.ofRange() && !c.Range:
		return bad(at, "it is about a range as a whole, and names a key")
	case c.Subject == LockHeld && (c.Range || len(c.From) > MaxLockBytes):
		return bad(at, "the name of a lock has 1 to %d bytes, and this one has %d", MaxLockBytes, len(c.From))
	case c.Subject != Value && len(c.Bytes) > 0, c.Subject == Value && c.Number != 0, c.Subject != Unchanged && c.Newest != 0:
		return bad(at, "it has more than its subject takes")
	case len(c.Bytes) > MaxValueBytes:
		return bad(at, "its value has %d bytes; the longest may have %d", len(c.Bytes), MaxValueBytes)
	}
	return nil
}

func (c *checker) op(o *Op, place string, depth int) error {
	at := "operation " + place
	if o.Kind == Nested {
		if o.Txn == nil || o.Span != (Span{}) || o.flagged() || o.Limit != 0 || len(o.Value) > 0 {
			return bad(at, "a nested transaction has nothing of its own")
		}
		return c.txn(o.Txn, place, depth+1)
	}
	if err := o.Span.check(at); err != nil {
		return err
	}
	writes := o.Kind == Put || o.Kind == Append
	switch {
	case !o.Kind.known():
		return bad(at, "it has no kind")
	case o.Txn != nil, o.Range != (o.Kind == List) && o.Kind != Delete:
		return bad(at, "a list and a delete take a range, a delete and all others a key")
	case o.KeepValue && (o.Kind != Put || len(o.Value) > 0), len(o.Value) > 0 && !writes:
		return bad(at, "it has a value that it does not take")
	case o.Prev && !writes && o.Kind != Delete, o.Kind != List && (o.KeysOnly || o.Count || o.CountOnly || o.Limit != 0):
		return bad(at, "it has a field that its kind does not take")
	case !o.Tie.fits(o.Kind):
		return bad(at, "a put ends its key with a lease, or after a ttl of 1 s to 9000000000 s, or as before, and a touch after a ttl; it asks for something else")
	case o.CountOnly && (o.KeysOnly || o.Count || o.Limit != 0):
		return bad(at, "a count_only takes nothing else")
	case len(o.Value) > MaxValueBytes:
		return bad(at, "its value has %d bytes; the longest may have %d", len(o.Value), MaxValueBytes)
	}
	return nil
}

// fits reports whether an operation of a kind takes a tie: one thing at most, for a
// permitted time.
func (t *Tie) fits(kind Kind) bool {
	timed := t.TTL >= MinTTL && t.TTL <= MaxTTL
	switch {
	case kind == Touch:
		return timed && t.Lease == 0 && !t.KeepTie
	case *t == Tie{}:
		return true
	case kind != Put:
		return false
	}
	return t.Lease != 0 && t.TTL == 0 && !t.KeepTie || timed && t.Lease == 0 && !t.KeepTie || *t == Tie{KeepTie: true}
}

func (o *Op) flagged() bool {
	return o.Tie != (Tie{}) || o.Prev || o.KeepValue || o.KeysOnly || o.Count || o.CountOnly
}
