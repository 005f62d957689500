package identity

import (
	"encoding/binary"
	"fmt"
	"slices"

	"raftkv/raft/core"
)

// Incarnation names a data directory. It is drawn at random when the directory is made.
type Incarnation [16]byte

// Life says which data directory a server has, and which use of it this is.
type Life struct {
	Incarnation Incarnation
	// Boot counts the processes that have started on the directory, from 1. The count is
	// durable before the process says hello.
	Boot uint64
	// Nonces were drawn at random by the latest of those processes, one each, and the
	// present one's stands last. There are 1 to MaxNonces, and no more than Boot. They
	// tell a directory that was put back and started often from one that went on.
	Nonces []uint64
	// Rejoined says that the directory was made to take the place of one that was lost.
	// Package core decides what such a server may do before it knows what its
	// predecessor promised (core.Rejoining).
	Rejoined bool
	// Asking says that such a server has no goal yet (core.Rejoining). It has promised
	// nothing, so the directory that it is to replace may still come back.
	Asking bool
}

// MaxNonces bounds the nonces in a hello. A directory that was put back is recognised
// unless it was started more often than that without meeting any peer.
const MaxNonces = 64

// maxFormer bounds the earlier directories of a peer that are remembered.
const maxFormer = 16

// Known is what a server remembers of a peer. The zero Known stands for a peer that was
// never met.
type Known struct {
	Incarnation Incarnation
	Boot        uint64 // the highest seen; 0: never met
	Nonce       uint64 // of that boot
	PutBack     bool   // the directory was found to be in an earlier state, whatever its boots are
	// Former are directories that were replaced, the last one last, at most 16.
	Former []Incarnation
	// Newcomer is a directory that is to take the place of Incarnation as soon as its
	// server has a goal. Zero: there is none.
	Newcomer Incarnation

	UID core.UID // of the cluster to which the peer belonged; zero: not known

	// Term, Held and Firm say how far the directory had come; see Lost.
	Term, Held, Firm uint64
}

// NewLife returns the first life of a new data directory. Every call of draw must
// return another random number.
func NewLife(draw func() uint64) Life {
	var l Life
	binary.BigEndian.PutUint64(l.Incarnation[:8], draw())
	binary.BigEndian.PutUint64(l.Incarnation[8:], draw())
	return l.Next(draw)
}

// Next returns the life of the next process on the same directory. It draws one
// random number.
func (l Life) Next(draw func() uint64) Life {
	l.Boot++
	l.Nonces = append(slices.Clone(l.Nonces), draw())
	l.Nonces = l.Nonces[max(0, len(l.Nonces)-MaxNonces):]
	return l
}

// Check reports a life that no server has.
func (l Life) Check() error {
	if n := len(l.Nonces); l.Incarnation == (Incarnation{}) || n < 1 || n > MaxNonces || uint64(n) > l.Boot {
		return fmt.Errorf("identity: incarnation %x has boot %d and %d nonces", l.Incarnation, l.Boot, len(l.Nonces))
	}
	return nil
}

func (l Life) nonce() uint64 { return l.Nonces[len(l.Nonces)-1] }

// Meet judges the life in the hello of a peer of which k is remembered. If reason is
// empty, the peer may be talked to once next is remembered; changed says whether next
// differs from k.
func (k Known) Meet(l Life) (next Known, changed bool, reason Reason) {
	switch {
	case k.Boot == 0 && l.Asking:
		return k, false, "" // nobody yet: the directory it is to replace may come instead
	case k.Boot == 0:
	case slices.Contains(k.Former, l.Incarnation):
		return k, false, Replaced
	case l.Incarnation != k.Incarnation && !l.Rejoined:
		return k, false, Wiped
	case l.Incarnation != k.Incarnation && l.Asking:
		// The newcomer may have the place when it has a goal. Until then its predecessor,
		// which still holds all its promises, can come back.
		next = k
		next.Newcomer = l.Incarnation
		return next, next.Newcomer != k.Newcomer, ""
	case l.Incarnation != k.Incarnation && l.Incarnation != k.Newcomer:
		// The newcomer has a goal to which we have contributed nothing: its predecessor
		// may have promised us something since.
		return k, false, Wiped
	case l.Incarnation != k.Incarnation:
		return Known{Incarnation: l.Incarnation, Boot: l.Boot, Nonce: l.nonce(), Former: k.former(k.Incarnation), UID: k.UID}, true, ""
	case k.PutBack || l.Boot < k.Boot:
		return k, false, RolledBack
	case l.Boot-k.Boot < uint64(len(l.Nonces)):
		if then := l.Nonces[len(l.Nonces)-1-int(l.Boot-k.Boot)]; then == k.Nonce {
			break // it went on from where it was seen
		}
		if l.Boot == k.Boot {
			return k, false, Copied
		}
		return k, false, RolledBack
	}
	next = k
	next.Incarnation, next.Boot, next.Nonce = l.Incarnation, l.Boot, l.nonce()
	if k.Newcomer != (Incarnation{}) {
		// The directory that was to be replaced is back, so what the newcomer has heard
		// from us may be out of date from now on.
		next.Newcomer, next.Former = Incarnation{}, k.former(k.Newcomer)
	}
	return next, next.Use() != k.Use() || next.Newcomer != k.Newcomer, ""
}

// Pinned returns what is known of a peer whose data directory the record of members
// names; the zero directory is none. The record decides over what this server has seen
// itself: the directory that it remembers was replaced if it is another one. If reason is
// not empty, the life in the peer's hello is of another directory than the record's. A
// server that has no goal yet is left to Meet.
func (k Known) Pinned(directory Incarnation, l Life) (next Known, reason Reason) {
	if directory == (Incarnation{}) || l.Asking {
		return k, ""
	}
	if k.Boot > 0 && k.Incarnation != directory {
		k = Known{Former: k.former(k.Incarnation), UID: k.UID}
	}
	if l.Incarnation == directory {
		k.Former = slices.DeleteFunc(slices.Clone(k.Former), func(i Incarnation) bool { return i == directory })
		return k, ""
	}
	if slices.Contains(k.Former, l.Incarnation) {
		return k, Replaced
	}
	return k, Wiped
}

// former returns k.Former with one more directory.
func (k Known) former(i Incarnation) []Incarnation {
	all := append(slices.Clone(k.Former), i)
	return all[max(0, len(all)-maxFormer):]
}

// Use names one process on one directory. The zero Use is nobody's.
type Use struct {
	Incarnation Incarnation
	Boot, Nonce uint64
	Asking      bool // it had no goal yet
}

// Use returns the last process of the peer that was met.
func (k Known) Use() Use { return Use{k.Incarnation, k.Boot, k.Nonce, false} }

// Use returns the process whose life l is.
func (l Life) Use() Use { return Use{l.Incarnation, l.Boot, l.nonce(), l.Asking} }
