package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// A node that passes its clients' requests on holds connections to another node's client
// port, on which the requests of many callers travel. Such a connection is nobody's but the
// node's. A header that only says so could be anybody's. So the node proves it by what all
// nodes of the cluster have and no client is ever shown: the hashes of the admins' tokens. A
// caller that knows all of these tokens is an admin himself.

// linkKey is what nodes prove their connections by; the zero value: there is none.
type linkKey [sha256.Size]byte

// findLinkKey sets links anew.
func (t *Table) findLinkKey() {
	t.links = linkKey{}
	all, found := sha256.New(), false
	for _, k := range t.tokens {
		if i := t.Numbered(k.Identity); i == nil || !i.isAdmin() {
			continue
		}
		found = true
		all.Write(k.ID[:])
		all.Write(k.Hash[:])
	}
	if found {
		all.Sum(t.links[:0])
	}
}

// LinkProof returns what proves to the node to of a cluster that a connection comes from the
// node from; "" while the table holds no token of an admin. None of the names holds a zero
// byte. It is no secret of a caller's, opens nothing, and is good for one direction.
func (t *Table) LinkProof(cluster, from, to string) string {
	if t == nil || t.links == (linkKey{}) {
		return ""
	}
	mac := hmac.New(sha256.New, t.links[:])
	mac.Write([]byte("raftkv link\x00" + cluster + "\x00" + from + "\x00" + to))
	return hex.EncodeToString(mac.Sum(nil))
}

// IsLinkProof reports whether a text is LinkProof of these names, in a time that does not
// depend on it.
func (t *Table) IsLinkProof(proof, cluster, from, to string) bool {
	want := t.LinkProof(cluster, from, to)
	return want != "" && hmac.Equal([]byte(want), []byte(proof))
}
