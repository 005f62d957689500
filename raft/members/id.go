package members

import "fmt"

// ID names a server, as the operator named it ("n1"). The empty ID means
// "nobody": no vote cast, no leader known. It is at most MaxIDBytes long. An ID may
// come again for another data directory after a change that removed it; the place in
// the log at which it was added (Member.Added) tells the two apart.
type ID string

// None is the ID of nobody.
const None ID = ""

// MaxIDBytes bounds the length of an ID on disk and on the wire.
const MaxIDBytes = 64

// UID tells clusters of one name apart. It is drawn at random by the first
// leader of a cluster and stays the same for the cluster's whole life, in the
// log, in snapshots and in every data directory. The zero UID means "not known
// yet".
type UID [16]byte

// String returns the UID as 32 hexadecimal digits, or "" for the zero UID.
func (u UID) String() string { return digits(u) }

// Incarnation tells the data directories apart that a server may have had under one
// ID. It is drawn at random when the directory is made. The zero Incarnation means
// that no directory is pinned.
type Incarnation [16]byte

// String returns the incarnation as 32 hexadecimal digits, or "" for the zero one.
func (i Incarnation) String() string { return digits(i) }

func digits(b [16]byte) string {
	if b == [16]byte{} {
		return ""
	}
	return fmt.Sprintf("%x", b[:])
}
