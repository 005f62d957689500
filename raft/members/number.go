package members

import (
	"crypto/sha256"
	"encoding/binary"
)

// ClusterNumber returns the number by which clients that need numbers for names know
// the cluster: the first 8 bytes of its uid, big-endian. It is never 0.
func (u UID) ClusterNumber() uint64 { return firstNonZero(u[:]) }

// MemberNumber returns the number by which such clients know a member: the first 8
// bytes, big-endian, of the SHA-256 of the uid, the index that added the member (8
// bytes, big-endian) and its ID. It is never 0. An ID that comes again has another
// number, and so has a member of a restored cluster, whose uid is another one.
func (u UID) MemberNumber(m *Member) uint64 {
	b := append([]byte(nil), u[:]...)
	b = binary.BigEndian.AppendUint64(b, m.Added)
	sum := sha256.Sum256(append(b, m.ID...))
	return firstNonZero(sum[:])
}

// firstNonZero returns the first 8 bytes that are not all zero; 1 if there are none.
func firstNonZero(b []byte) uint64 {
	for ; len(b) >= 8; b = b[8:] {
		if n := binary.BigEndian.Uint64(b); n != 0 {
			return n
		}
	}
	return 1
}
