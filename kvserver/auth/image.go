package auth

import (
	"cmp"
	"fmt"
	"slices"
)

// Pieces calls fn for the encoding of each part of the table, in a fixed order, and
// for its state: what a digest is made of. The bytes are valid until fn returns.
func (t *Table) Pieces(identity, token func(encoded []byte)) {
	var room []byte
	for _, i := range t.Identities() {
		room = appendIdentity(room[:0], i)
		identity(room)
	}
	for _, k := range t.Tokens() {
		room = appendToken(room[:0], k)
		token(room)
	}
}

// Image returns the encoding of the whole table, nil for one in which nobody has set
// anything:
//
//	revision, state, count of identities, identities, count of tokens, tokens
func (t *Table) Image() []byte {
	if t.Revision() == 0 {
		return nil
	}
	b := appendNumbers(nil, t.revision, uint64(t.state), uint64(len(t.identities)))
	for _, i := range t.identities {
		b = appendIdentity(b, i)
	}
	b = appendNumbers(b, uint64(len(t.tokens)))
	for _, k := range t.tokens {
		b = appendToken(b, k)
	}
	return b
}

// MaxImageBytes bounds the image of a table.
const MaxImageBytes = MaxIdentities*(maxRulesBytes+MaxRules*16+MaxNameBytes+128) + MaxIdentities*MaxTokens*(MaxCommentBytes+128)

// FromImage reads a table that stands at an index of the log, which must be all of b.
// Nothing is allocated beyond a small multiple of b.
func FromImage(b []byte, index uint64) (*Table, error) {
	r := read(b)
	t := &Table{revision: r.Number(), state: State(r.UpTo(uint64(stateMax)))}
	for range r.UpTo(MaxIdentities) {
		i := r.identity()
		if r.Bad() {
			break
		}
		t.identities = append(t.identities, i)
	}
	for range r.UpTo(MaxIdentities * MaxTokens) {
		k := r.token()
		if r.Bad() {
			break
		}
		t.tokens = append(t.tokens, k)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := t.check(index); err != nil {
		return nil, err
	}
	t.findKeeper()
	t.findLinkKey()
	return t, nil
}

// check says what keeps the parts of a table from standing together.
func (t *Table) check(index uint64) error {
	names := make([]string, 0, len(t.identities))
	for n, i := range t.identities {
		if err := i.Check(); err != nil {
			return err
		}
		if i.Number == 0 || i.Number > index || n > 0 && i.Number <= t.identities[n-1].Number {
			return fmt.Errorf("%w: identity %d cannot stand where it stands", ErrMalformed, i.Number)
		}
		names = append(names, i.Name)
	}
	slices.Sort(names)
	twice := len(slices.Compact(names)) != len(t.identities)
	counts := make([]int, len(t.identities))
	for n, k := range t.tokens {
		at, found := slices.BinarySearchFunc(t.identities, k.Identity, func(i *Identity, n uint64) int { return cmp.Compare(i.Number, n) })
		if k.check() != nil || !found || n > 0 && compareTokens(t.tokens[n-1], k) >= 0 {
			return fmt.Errorf("%w: a token that cannot stand where it stands", ErrMalformed)
		}
		if counts[at]++; counts[at] > MaxTokens {
			return fmt.Errorf("%w: an identity with more than %d tokens", ErrMalformed, MaxTokens)
		}
	}
	if twice || t.revision == 0 {
		return fmt.Errorf("%w: two identities of one name, or no revision", ErrMalformed)
	}
	return nil
}
