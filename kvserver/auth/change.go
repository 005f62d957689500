package auth

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// Action is the kind of a change. Values are stored in the log.
type Action uint8

// The actions.
const (
	PutIdentity    Action = 1 // make Identity, or replace the one of its name
	DeleteIdentity Action = 2 // remove the identity Name with its tokens
	CreateToken    Action = 3 // add Token to the identity Name
	RevokeToken    Action = 4 // remove the token Token.ID
	ExpireToken    Action = 5 // the same, because its time is over: the leader's own
	SetState       Action = 6 // set the state

	actionMax = SetState
)

// Change is one change of the table.
type Change struct {
	Action Action
	// Match, unless it is 0, is the revision that the table must have, plus 1.
	Match    uint64
	Name     string
	State    State
	Identity *Identity // of PutIdentity; its number is ignored
	Token    *Token    // its identity is ignored
}

// Encode returns the encoding of a change:
//
//	action, match, name, state, 1 and the identity or 0, 1 and the token or 0
func (c *Change) Encode() []byte {
	b := appendNumbers(nil, uint64(c.Action), c.Match)
	b = appendText(b, c.Name)
	b = appendNumbers(b, uint64(c.State), bit(c.Identity != nil))
	if c.Identity != nil {
		b = appendIdentity(b, c.Identity)
	}
	b = appendNumbers(b, bit(c.Token != nil))
	if c.Token != nil {
		b = appendToken(b, c.Token)
	}
	return b
}

// DecodeChange reads a change, which must be all of b.
func DecodeChange(b []byte) (*Change, error) {
	r := read(b)
	c := &Change{Action: Action(r.UpTo(uint64(actionMax))), Match: r.Number(), Name: r.Text(MaxNameBytes), State: State(r.UpTo(uint64(stateMax)))}
	if r.Flag() {
		c.Identity = r.identity()
	}
	if r.Flag() {
		c.Token = r.token()
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return c, c.check()
}

// check says what keeps a change from being one.
func (c *Change) check() error {
	switch {
	case c.Action == 0:
		return ErrMalformed
	case (c.Identity != nil) != (c.Action == PutIdentity):
		return ErrMalformed
	case (c.Token != nil) != (c.Action == CreateToken || c.Action == RevokeToken || c.Action == ExpireToken):
		return ErrMalformed
	case c.Identity != nil:
		return c.Identity.Check()
	case c.Token != nil:
		return c.Token.check()
	case c.Action == DeleteIdentity:
		return CheckName(c.Name)
	}
	return nil
}

// The ways in which a change is refused. They are stored nowhere: Apply gives the same
// one on every node.
var (
	ErrNotAllowed = errors.New("the author may not make this change")
	ErrRevision   = errors.New("the table has another revision")
	ErrNoIdentity = errors.New("there is no such identity")
	ErrNoSuch     = errors.New("there is no such token")
	ErrTokenIDUse = errors.New("there is such a token already")
	ErrFull       = errors.New("the table is full")
	ErrLastAdmin  = errors.New("the cluster would have no admin with a token left")
)

// Refusals lists them, in an order that does not change. A result names one by its
// place, from 1.
var Refusals = []error{ErrNotAllowed, ErrRevision, ErrNoIdentity, ErrNoSuch, ErrTokenIDUse, ErrFull, ErrLastAdmin}

// Apply returns the table after a change that stands at an index of the log, or why the
// change is refused. The table itself stays as it is.
func (t *Table) Apply(index uint64, by Author, c *Change) (*Table, error) {
	if c.Match != 0 && c.Match-1 != t.Revision() {
		return nil, ErrRevision
	}
	next := &Table{revision: t.Revision() + 1, state: t.State(), identities: slices.Clone(t.Identities()), tokens: slices.Clone(t.Tokens())}
	if err := t.judge(by, c); err != nil {
		return nil, err
	}
	if err := next.change(index, c); err != nil {
		return nil, err
	}
	next.findKeeper()
	next.findLinkKey()
	if t.State() == Enforcing && next.state == Enforcing && t.HasAdmin() && !next.HasAdmin() {
		return nil, ErrLastAdmin
	}
	if c.Action == ExpireToken && t.State() == Enforcing && c.Token.ID == t.keeper {
		return nil, ErrLastAdmin
	}
	return next, nil
}

// change makes a change that was judged. t is not shared yet.
func (t *Table) change(index uint64, c *Change) error {
	switch c.Action {
	case PutIdentity:
		return t.put(index, *c.Identity)
	case DeleteIdentity:
		old := t.Named(c.Name)
		if old == nil {
			return ErrNoIdentity
		}
		t.identities = slices.DeleteFunc(t.identities, func(i *Identity) bool { return i == old })
		t.tokens = slices.DeleteFunc(t.tokens, func(k *Token) bool { return k.Identity == old.Number })
	case CreateToken:
		return t.addToken(c)
	case RevokeToken, ExpireToken:
		at, found := t.tokenAt(c.Token.ID)
		if !found {
			return ErrNoSuch
		}
		t.tokens = slices.Delete(t.tokens, at, at+1)
	case SetState:
		t.state = c.State
	}
	return nil
}

// put makes or replaces an identity. One that is replaced keeps its number, and so its
// tokens and what is remembered of its requests.
func (t *Table) put(index uint64, i Identity) error {
	i.Rules = slices.Clone(i.Rules)
	if old := t.Named(i.Name); old != nil {
		i.Number = old.Number
		at, _ := slices.BinarySearchFunc(t.identities, old.Number, func(i *Identity, n uint64) int { return cmp.Compare(i.Number, n) })
		t.identities[at] = &i
		return nil
	}
	if len(t.identities) >= MaxIdentities {
		return ErrFull
	}
	i.Number = index
	t.identities = append(t.identities, &i) // indices rise
	return nil
}

func (t *Table) addToken(c *Change) error {
	i := t.Named(c.Name)
	switch {
	case i == nil || i.Name == Anonymous:
		return ErrNoIdentity
	case t.Token(c.Token.ID) != nil:
		return ErrTokenIDUse
	case t.TokensOf(i.Number) >= MaxTokens:
		return ErrFull
	}
	k := *c.Token
	k.Identity = i.Number
	at, _ := t.tokenAt(k.ID)
	t.tokens = slices.Insert(t.tokens, at, &k)
	return nil
}

// judge decides whether the author may make a change. Nobody grants a right or a range
// that he does not hold, and nobody changes an identity that holds more than he does:
// so only an admin makes or unmakes an admin. One may make and revoke tokens of
// oneself.
func (t *Table) judge(by Author, c *Change) error {
	if by.Identity == Vouched {
		// A person on the machine names no token, and must leave an admin behind.
		if c.Action == SetState && c.State == Enforcing && by.Token == (TokenID{}) && !t.HasAdmin() {
			return ErrLastAdmin
		}
		return nil
	}
	if c.Action == ExpireToken && by == (Author{}) {
		return nil
	}
	author := t.known(by)
	if author == nil || c.Action == ExpireToken {
		return ErrNotAllowed
	}
	mayAll := Decide(author.Rules, Auth, Range{})
	switch c.Action {
	case PutIdentity:
		old := t.Named(c.Identity.Name)
		if !mayAll || !coversAll(author.Rules, c.Identity.Rules) || old != nil && !coversAll(author.Rules, old.Rules) {
			return ErrNotAllowed
		}
	case SetState:
		if !author.isAdmin() {
			return ErrNotAllowed
		}
	default:
		if of := t.target(c); of != nil && of != author && !(mayAll && coversAll(author.Rules, of.Rules)) || of == nil && !mayAll {
			return ErrNotAllowed
		}
		if c.Action == DeleteIdentity && !mayAll {
			return ErrNotAllowed
		}
	}
	return nil
}

// target returns the identity that a change of a token, or a removal, is about; nil if
// there is none.
func (t *Table) target(c *Change) *Identity {
	if c.Action != RevokeToken {
		return t.Named(c.Name)
	}
	if k := t.Token(c.Token.ID); k != nil {
		return t.Numbered(k.Identity)
	}
	return nil
}

// compareTokens orders tokens by their ids.
func compareTokens(a, b *Token) int { return bytes.Compare(a.ID[:], b.ID[:]) }
