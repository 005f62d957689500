package core

import "encoding/hex"

// UID tells clusters of one name apart. It is drawn at random by the first
// leader of a cluster and stays the same for the cluster's whole life, in the
// log, in snapshots and in every data directory. The zero UID means "not known
// yet".
type UID [16]byte

// String returns the UID as 32 hexadecimal digits, or "" for the zero UID.
func (u UID) String() string {
	if u == (UID{}) {
		return ""
	}
	return hex.EncodeToString(u[:])
}
