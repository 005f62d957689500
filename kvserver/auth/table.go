package auth

import (
	"bytes"
	"cmp"
	"slices"
)

// State says how far identities count.
type State uint8

// The states, in the order in which a cluster goes through them.
const (
	Off       State = 0 // everything is served
	Observing State = 1 // everything is served, and what would be refused is counted
	Enforcing State = 2 // what no rule grants is refused

	stateMax = Enforcing
)

// String returns the name of the state.
func (s State) String() string {
	switch s {
	case Off:
		return "off"
	case Observing:
		return "observe"
	case Enforcing:
		return "enforce"
	}
	return "unknown"
}

// ParseState reads the name of a state.
func ParseState(name string) (State, bool) {
	for s := Off; s <= stateMax; s++ {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

// Table holds all identities and tokens of a cluster at one index of the log. It is
// never changed: Apply makes the next one. A nil table is that of a cluster in which
// nobody has set anything yet. All methods are safe for concurrent use.
type Table struct {
	state      State
	revision   uint64      // counts the changes
	identities []*Identity // by number
	tokens     []*Token    // by id
	// keeper is the token of an admin that expires last. While the table is enforced it
	// stays good after its time, or the cluster would have no admin left.
	keeper TokenID
	links  linkKey // see LinkProof
}

// shut is the table of ShutTable.
var shut = &Table{state: Enforcing}

// ShutTable returns the table by which a node decides that does not know yet whether its
// cluster enforces identities: it has none, and enforces them.
func ShutTable() *Table { return shut }

// IsShut reports whether the table is that of ShutTable.
func (t *Table) IsShut() bool { return t == shut }

// State returns the state.
func (t *Table) State() State {
	if t == nil {
		return Off
	}
	return t.state
}

// Revision returns the number of the table's last change, 0 before the first.
func (t *Table) Revision() uint64 {
	if t == nil {
		return 0
	}
	return t.revision
}

// Identities returns the identities by their numbers. They must not be changed.
func (t *Table) Identities() []*Identity {
	if t == nil {
		return nil
	}
	return t.identities
}

// Tokens returns the tokens by their ids. They must not be changed.
func (t *Table) Tokens() []*Token {
	if t == nil {
		return nil
	}
	return t.tokens
}

// Named returns the identity with a name, nil if there is none.
func (t *Table) Named(name string) *Identity {
	for _, i := range t.Identities() {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// Numbered returns the identity with a number, nil if there is none.
func (t *Table) Numbered(number uint64) *Identity {
	all := t.Identities()
	at, found := slices.BinarySearchFunc(all, number, func(i *Identity, n uint64) int { return cmp.Compare(i.Number, n) })
	if !found {
		return nil
	}
	return all[at]
}

// Token returns the token with an id, nil if there is none.
func (t *Table) Token(id TokenID) *Token {
	at, found := t.tokenAt(id)
	if !found {
		return nil
	}
	return t.tokens[at]
}

func (t *Table) tokenAt(id TokenID) (int, bool) {
	return slices.BinarySearchFunc(t.Tokens(), id, func(k *Token, id TokenID) int { return bytes.Compare(k.ID[:], id[:]) })
}

// TokensOf returns how many tokens an identity has.
func (t *Table) TokensOf(number uint64) (count int) {
	for _, k := range t.Tokens() {
		if k.Identity == number {
			count++
		}
	}
	return count
}

// Find returns the identity and the stored token of a token, at a time in Unix
// seconds. It returns nil for a token that is unknown, wrong or expired and for one
// whose identity is disabled, and does not say which it was.
func (t *Table) Find(id TokenID, hash *Hash, now uint64) (*Identity, *Token) {
	k := t.Token(id)
	if k == nil || !k.Hash.is(hash) {
		return nil, nil
	}
	return t.Still(id, now), k
}

// Still returns the identity of a token whose hash was compared before, nil if the
// token is gone or not good any more.
func (t *Table) Still(id TokenID, now uint64) *Identity {
	k := t.Token(id)
	if k == nil || t.Expired(k, now) {
		return nil
	}
	if i := t.Numbered(k.Identity); i != nil && !i.Disabled {
		return i
	}
	return nil
}

// Expired reports whether a token is not good any more at a time in Unix seconds.
func (t *Table) Expired(k *Token, now uint64) bool {
	return k.Expires != 0 && now >= k.Expires && !(t.state == Enforcing && k.ID == t.keeper)
}

// Author is the maker of a change, or of a write: an identity by its number and the
// token that was used. The zero value is nobody.
type Author struct {
	Identity uint64
	Token    TokenID
}

// Vouched is the number of authors for whom the proposing node answers: a person on
// the machine of that node, or an identity of its file. They may change this table, and
// no key.
const Vouched = 1<<64 - 1

// Allows decides at the position of a command in the log whether its author may do what
// it asks for. Times are no part of it: an expired token counts until the log takes it
// out.
func (t *Table) Allows(by Author, right Right, r Range) bool {
	if t.State() != Enforcing {
		return true
	}
	switch by.Identity {
	case Vouched:
		return false
	case 0:
		anonymous := t.Named(Anonymous)
		return anonymous != nil && anonymous.Allows(right, r)
	}
	i := t.known(by)
	return i != nil && i.Allows(right, r)
}

// known returns the identity of an author whose token is in the table; nil if that is
// not so or the identity is disabled.
func (t *Table) known(by Author) *Identity {
	k := t.Token(by.Token)
	if k == nil || k.Identity != by.Identity {
		return nil
	}
	if i := t.Numbered(by.Identity); i != nil && !i.Disabled {
		return i
	}
	return nil
}

// HasAdmin reports whether some identity may do everything and has a token.
func (t *Table) HasAdmin() bool { return t != nil && t.keeper != (TokenID{}) }

// findKeeper sets keeper anew.
func (t *Table) findKeeper() {
	t.keeper = TokenID{}
	last := uint64(0)
	for _, k := range t.tokens {
		if i := t.Numbered(k.Identity); i == nil || !i.isAdmin() {
			continue
		}
		if until := k.Expires - 1; t.keeper == (TokenID{}) || until > last { // 0, never, becomes the greatest
			t.keeper, last = k.ID, until
		}
	}
}

// MayUseLease reports whether an author may keep and end a lease that belongs to an
// identity; owner 0 is of nobody. Everybody may while identities are not enforced.
func (t *Table) MayUseLease(by Author, owner uint64) bool {
	return t.State() != Enforcing || owner == 0 || by.Identity == owner || t.Allows(by, Admin, Range{})
}
