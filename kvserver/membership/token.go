package membership

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strconv"
	"strings"

	"raftkv/kvserver/failure"
	"raftkv/raft/members"
)

// Maker is the maker of a token: the number of an identity that held the right to, or one of the
// constants. The token's id says it, behind a dash, so that the record needs no field for it;
// the id of a token that nobody made has no dash. No client chooses an id.
type Maker uint64

// The makers that are no identities.
const (
	Nobody      Maker = 0
	ThisProcess Maker = 1<<64 - 1 // the leader's own, as when a cluster in one process grows
)

// tokenID draws the id of a token.
func (m Maker) tokenID() string {
	id := rand.Text()[:8]
	switch m {
	case Nobody:
		return id
	case ThisProcess:
		return id + "-node"
	}
	return id + "-" + strconv.FormatUint(uint64(m), 10)
}

// madeByNobody reports whether no holder of the right made the token of an id.
func madeByNobody(id string) bool { return !strings.Contains(id, "-") }

// mayUse reports whether a token of an id opens anything: while identities are enforced, one
// that nobody made does not. Whoever reached the cluster before could make one, and nobody is
// to hold more than a holder of the right has granted.
func (d *Driver) mayUse(id string) bool {
	return !madeByNobody(id) || d.config.Enforces == nil || !d.config.Enforces()
}

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
	refused := refuseToken(id)
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

// refuseToken refuses the token of a server that wants to join.
func refuseToken(id members.ID) error {
	return failure.Of(failure.JoinRefused, nil, "the token does not let %.80q join: it is unknown, used up, expired, for another node, or was made by nobody before identities were enforced; ask an operator for a new one (raftkv member token create)", id)
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
