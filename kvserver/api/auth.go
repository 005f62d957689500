package api

import (
	"encoding/json"
	"time"
)

// Identity is one identity of the cluster, as it is set and shown.
type Identity struct {
	Name string `json:"name,omitempty"`
	// Rules are the identity's rules, each an object such as
	// {"prefix":"orders/","rights":["read","list"]}.
	Rules    json.RawMessage `json:"rules,omitempty"`
	Limits   json.RawMessage `json:"limits,omitempty"`
	Disabled bool            `json:"disabled,omitempty"`
	Tokens   []AuthToken     `json:"tokens,omitempty"`
}

// Identities is a list of identities.
type Identities struct {
	Identities []Identity `json:"identities"`
	// Revision is that of the table, for If-Match.
	Revision uint64 `json:"revision"`
}

// NewToken asks for a token.
type NewToken struct {
	Identity string `json:"identity"`
	// TTL is how long the token is good, as "720h"; "" for ever.
	TTL     string `json:"ttl,omitempty"`
	Comment string `json:"comment,omitempty"`
}

// AuthToken is what is known of a token. Token is the token itself, which is shown
// once, when it is made.
type AuthToken struct {
	ID       string     `json:"id"`
	Identity string     `json:"identity"`
	Token    string     `json:"token,omitempty"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires,omitempty"`
	Comment  string     `json:"comment,omitempty"`
	// LastUsed is when the token was last used on the node that answers, to the second; nil:
	// not since AuthTokens.UsedSince.
	LastUsed *time.Time `json:"last_used,omitempty"`
}

// AuthTokens is a list of tokens.
type AuthTokens struct {
	Tokens   []AuthToken `json:"tokens"`
	Revision uint64      `json:"revision"`
	// Node is the node that answers, and UsedSince is since when it remembers the uses of
	// tokens: since its start. Each node knows its own.
	Node      string    `json:"node"`
	UsedSince time.Time `json:"used_since"`
}

// AuthState says how far identities count: off, observe or enforce.
type AuthState struct {
	State    string `json:"state"`
	Revision uint64 `json:"revision,omitempty"`
	// WouldDeny names identities and the rights that they used on this node and would
	// be refused.
	WouldDeny []string `json:"would_deny,omitempty"`
}

// AuthCheck asks whether an identity may do something; one of Key, Prefix and Lock, or
// none for a right on the system.
type AuthCheck struct {
	Identity string  `json:"identity"`
	Right    string  `json:"right"`
	Key      *string `json:"key,omitempty"`
	Prefix   *string `json:"prefix,omitempty"`
	Lock     *string `json:"lock,omitempty"`
}

// AuthChecked answers it. Rule is the rule that grants it.
type AuthChecked struct {
	Allowed bool            `json:"allowed"`
	Rule    json.RawMessage `json:"rule,omitempty"`
	Why     string          `json:"why"`
}
