package auth

import (
	"errors"
	"fmt"
)

const (
	// Anonymous is the name of the built-in identity of requests without a token. It
	// has no tokens, and no rules until somebody grants some.
	Anonymous = "anonymous"
	// MaxNameBytes is the length of the longest name of an identity.
	MaxNameBytes = 64
	// MaxTokens is how many tokens an identity may have: two for a rotation, and some.
	MaxTokens = 8
	// MaxIdentities is how many identities a cluster may have.
	MaxIdentities = 1024
	// MaxCommentBytes is the length of the longest comment of a token.
	MaxCommentBytes = 128
)

// Identity is one user of the cluster: a person, a service. It is not changed once it
// is in a table.
type Identity struct {
	Name string
	// Number is the index of the log at which the identity was made. It is never used
	// again, so an identity that is made anew under an old name is another one.
	Number   uint64
	Rules    []Rule
	Limits   Limits
	Disabled bool
}

// Limits bound what one identity may use of one node. Zero stands for the default of
// the node.
type Limits struct {
	RequestsPerSecond uint64 `json:"requests_per_second,omitempty"`
	BytesPerSecond    uint64 `json:"bytes_per_second,omitempty"`
	InFlight          uint64 `json:"in_flight,omitempty"`
	Connections       uint64 `json:"connections,omitempty"`
	Watches           uint64 `json:"watches,omitempty"`
	Sessions          uint64 `json:"sessions,omitempty"`
}

// maxLimit is the greatest value of a limit.
const maxLimit = 1 << 40

// all lists the limits in the order of their encoding.
func (l *Limits) all() [6]*uint64 {
	return [...]*uint64{&l.RequestsPerSecond, &l.BytesPerSecond, &l.InFlight, &l.Connections, &l.Watches, &l.Sessions}
}

// Token is what is stored of a token.
type Token struct {
	ID       TokenID
	Hash     Hash
	Identity uint64 // its number
	// Created and Expires are Unix seconds by the clock of the node that took the
	// request. Expires is 0 for a token that does not expire.
	Created uint64
	Expires uint64
	Comment string
}

// CheckName says what keeps a text from being the name of an identity.
func CheckName(name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return fmt.Errorf("the name of an identity has 1 to %d characters, this one %d", MaxNameBytes, len(name))
	}
	for i := range len(name) {
		c := name[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c != '-' && c != '_' && c != '.') {
			return fmt.Errorf("the name %.64q has the character %q; choose letters, digits, and - _ . behind the first", name, c)
		}
	}
	return nil
}

// Check says what keeps an identity from being stored.
func (i *Identity) Check() error {
	if err := CheckName(i.Name); err != nil {
		return err
	}
	if len(i.Rules) > MaxRules {
		return fmt.Errorf("the identity has %d rules; the limit is %d", len(i.Rules), MaxRules)
	}
	bytes := 0
	for n := range i.Rules {
		rule := &i.Rules[n]
		if err := rule.check(); err != nil {
			return err
		}
		bytes += len(rule.Text)
		if i.Name == Anonymous && rule.Rights&^forAnonymous != 0 {
			return fmt.Errorf("%s cannot be granted %s; it can be granted %s", Anonymous, rule.Rights&^forAnonymous, forAnonymous)
		}
	}
	if bytes > maxRulesBytes {
		return fmt.Errorf("the rules have %d bytes of prefixes and keys; the limit is %d", bytes, maxRulesBytes)
	}
	for _, limit := range i.Limits.all() {
		if *limit > maxLimit {
			return fmt.Errorf("a limit is %d; choose 1 to %d, or 0 for the node's default", *limit, uint64(maxLimit))
		}
	}
	return nil
}

// isAdmin reports whether the identity may do everything.
func (i *Identity) isAdmin() bool { return !i.Disabled && isAdmin(i.Rules) }

// Allows reports whether the identity's rules grant a right on a range.
func (i *Identity) Allows(right Right, r Range) bool {
	return !i.Disabled && Decide(i.Rules, right, r)
}

// check says what keeps a token from being stored.
func (t *Token) check() error {
	switch {
	case t.ID == (TokenID{}) || !inBase62(string(t.ID[:])):
		return errors.New("the token has no id")
	case len(t.Comment) > MaxCommentBytes:
		return fmt.Errorf("the comment has %d bytes; the longest may have %d", len(t.Comment), MaxCommentBytes)
	}
	return nil
}
