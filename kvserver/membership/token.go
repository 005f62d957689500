package membership

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"

	"raftkv/kvserver/failure"
	"raftkv/raft/members"
)

// A token is written as its id, a dot and its secret. The record holds the hash of the
// secret, so whoever reads the record cannot join.

// NewToken returns a token as it is given to people, and what the record keeps of it.
func NewToken(t members.JoinToken, secret string) (text string, kept members.JoinToken) {
	t.Hash = sha256.Sum256([]byte(secret))
	return t.ID + "." + secret, t
}

// CheckToken returns the token of the record that a text is, if a server of this id may
// join by it at a time, in milliseconds since 1970. The error says that it may not, and
// never which part is wrong: whoever has no token learns nothing of those there are.
func CheckToken(r *members.Record, text string, id members.ID, now uint64) (members.JoinToken, error) {
	refused := failure.Of(failure.JoinRefused, nil, "the token does not let %.80q join: it is unknown, used up, expired or for another node; ask an operator for a new one (raftkv member token create)", id)
	tokenID, secret, _ := strings.Cut(text, ".")
	hash := sha256.Sum256([]byte(secret))
	for _, t := range r.Tokens {
		if t.ID != tokenID {
			continue
		}
		if subtle.ConstantTimeCompare(t.Hash[:], hash[:]) != 1 || now > t.Expiry || t.Uses == 0 || t.For != members.None && t.For != id {
			return members.JoinToken{}, refused
		}
		return t, nil
	}
	return members.JoinToken{}, refused
}

// spend uses a token once more. One that is used up goes.
func spend(tokens []members.JoinToken, id string) []members.JoinToken {
	left := slices.Clone(tokens)
	for i := range left {
		if left[i].ID == id {
			left[i].Uses--
		}
	}
	return slices.DeleteFunc(left, func(t members.JoinToken) bool { return t.Uses == 0 })
}

// putToken adds a token, drops those that have expired, and keeps the order of the record.
func putToken(tokens []members.JoinToken, t members.JoinToken, now uint64) []members.JoinToken {
	kept := slices.DeleteFunc(slices.Clone(tokens), func(old members.JoinToken) bool { return old.ID == t.ID || old.Expiry < now })
	kept = append(kept, t)
	slices.SortFunc(kept, func(a, b members.JoinToken) int { return strings.Compare(a.ID, b.ID) })
	return kept
}
