package auth

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
)

// FileEntry is one identity of a node's own file, as its text says it: a name, rights
// on the system, the hash of a token in hexadecimal. The file holds no token.
type FileEntry struct {
	Name      string   `toml:"name"`
	Rights    []string `toml:"rights"`
	TokenID   string   `toml:"token_id"`
	TokenHash string   `toml:"token_sha256"`
}

// BreakGlass is an identity of a node's own file. It is good on that node, whatever the
// replicated table says, and has no right on any key.
type BreakGlass struct {
	Identity Identity
	ID       TokenID
	hash     Hash
}

// NewBreakGlass checks the entries of a node's file.
func NewBreakGlass(entries []FileEntry) ([]BreakGlass, error) {
	var all []BreakGlass
	for n, e := range entries {
		b := BreakGlass{Identity: Identity{Name: e.Name, Number: Vouched}}
		if err := CheckName(e.Name); err != nil {
			return nil, fmt.Errorf("identity %d of the auth file: %w", n+1, err)
		}
		rule := Rule{}
		for _, name := range e.Rights {
			right, err := ParseRight(name)
			if err != nil {
				return nil, fmt.Errorf("identity %s of the auth file: %w", e.Name, err)
			}
			rule.Rights |= RightsOf(right)
		}
		if rule.Rights == 0 || rule.Rights&^forBreakGlass != 0 {
			return nil, fmt.Errorf("identity %s of the auth file has the rights %q; choose of %s", e.Name, rule.Rights, forBreakGlass)
		}
		b.Identity.Rules = []Rule{rule}
		id, ok := ParseTokenID(e.TokenID)
		hash, err := hex.DecodeString(e.TokenHash)
		if !ok || err != nil || len(hash) != len(b.hash) {
			return nil, fmt.Errorf("identity %s of the auth file: token_id has %d letters and digits, and token_sha256 %d hexadecimal digits; `raftkv auth file-entry` prints both", e.Name, tokenIDBytes, 2*len(b.hash))
		}
		b.ID = id
		copy(b.hash[:], hash)
		if slices.ContainsFunc(all, func(other BreakGlass) bool {
			return other.Identity.Name == e.Name || bytes.Equal(other.ID[:], id[:])
		}) {
			return nil, fmt.Errorf("the auth file names the identity %s, or its token, twice", e.Name)
		}
		all = append(all, b)
	}
	return all, nil
}

// Is reports whether a token with this id and hash is the identity's.
func (b *BreakGlass) Is(id TokenID, hash *Hash) bool { return b.ID == id && b.hash.is(hash) }
