package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"raftkv/raft/core"
)

// A server is who it says it is only together with its disk: its promises, votes
// and confirmed entries, are there. A name on an empty disk is somebody who has
// promised the same things and forgotten them. So a hello also says which data
// directory speaks and which use of it, and every server remembers for good what
// it has seen of every other. From both it can tell four things that look alike
// from outside: a restart, an emptied directory, one that was put back to an
// earlier state, and a second copy of one.

// Incarnation names a data directory. It is drawn at random when the directory
// is made.
type Incarnation [16]byte

// Life is what a server's hello says of its data directory and its use of it.
type Life struct {
	Incarnation Incarnation
	// Boot counts the processes that have started on the directory, from 1. It is
	// durable before any of them says hello.
	Boot uint64
	// Nonces were drawn at random by the last of those processes, one each, the
	// present one's last: 1 to MaxNonces, and no more than Boot. They tell a
	// directory that was put back and started often from one that went on.
	Nonces []uint64
	// Rejoined says that the directory was made to take the place of one that was
	// lost. What such a server may do before it knows what its predecessor promised
	// is the core's affair (core.Rejoining).
	Rejoined bool
	// Asking says that such a server has no goal yet (core.Rejoining): it has promised
	// nothing, so the directory it is to replace may still come back.
	Asking bool
}

// MaxNonces is how many nonces a hello holds: a directory that was put back is
// recognised unless it was started more often than that without meeting anybody.
const MaxNonces = 64

// maxFormer is how many earlier directories of a peer are remembered.
const maxFormer = 16

// Known is what a server remembers of a peer. The zero Known is of a peer never
// met.
type Known struct {
	Incarnation Incarnation
	Boot        uint64 // the highest seen; 0: never met
	Nonce       uint64 // of that boot
	PutBack     bool   // the directory was found to be in an earlier state, whatever its boots say
	// Former are directories that were replaced, the last one last, at most 16.
	Former []Incarnation
	// Newcomer is a directory that is to take the place of Incarnation as soon as it
	// has its goal. Zero: there is none.
	Newcomer Incarnation

	UID core.UID // of the cluster to which the peer belonged; zero: not known

	// Term, Held and Firm say how far the directory had come; see behind.
	Term, Held, Firm uint64
}

// NewLife returns the first life of a new data directory.
func NewLife() Life {
	var l Life
	rand.Read(l.Incarnation[:])
	return l.Next()
}

// Next returns the life of the next process on the same directory.
func (l Life) Next() Life {
	var b [8]byte
	rand.Read(b[:])
	l.Boot++
	l.Nonces = append(slices.Clone(l.Nonces), binary.BigEndian.Uint64(b[:]))
	l.Nonces = l.Nonces[max(0, len(l.Nonces)-MaxNonces):]
	return l
}

// Check reports a life that no server has.
func (l Life) Check() error {
	if n := len(l.Nonces); l.Incarnation == (Incarnation{}) || n < 1 || n > MaxNonces || uint64(n) > l.Boot {
		return fmt.Errorf("wire: incarnation %x has boot %d and %d nonces", l.Incarnation, l.Boot, len(l.Nonces))
	}
	return nil
}

func (l Life) nonce() uint64 { return l.Nonces[len(l.Nonces)-1] }

// Meet judges a life of a peer of which k is remembered. If reason is empty, the
// peer may be talked to once next is remembered; changed says whether next differs
// from k.
func (k Known) Meet(l Life) (next Known, changed bool, reason Reason) {
	switch {
	case k.Boot == 0 && l.Asking:
		return k, false, "" // nobody yet: the directory it is to replace may come instead
	case k.Boot == 0:
	case slices.Contains(k.Former, l.Incarnation):
		return k, false, ReasonReplaced
	case l.Incarnation != k.Incarnation && !l.Rejoined:
		return k, false, ReasonWiped
	case l.Incarnation != k.Incarnation && l.Asking:
		// It may have the place when it has a goal. Until then its predecessor, which
		// still holds all its promises, can come back.
		next = k
		next.Newcomer = l.Incarnation
		return next, next.Newcomer != k.Newcomer, ""
	case l.Incarnation != k.Incarnation && l.Incarnation != k.Newcomer:
		// It has a goal to which we have said nothing: its predecessor may have
		// promised us something since.
		return k, false, ReasonWiped
	case l.Incarnation != k.Incarnation:
		return Known{Incarnation: l.Incarnation, Boot: l.Boot, Nonce: l.nonce(), Former: k.former(k.Incarnation), UID: k.UID}, true, ""
	case k.PutBack || l.Boot < k.Boot:
		return k, false, ReasonRolledBack
	case l.Boot-k.Boot < uint64(len(l.Nonces)):
		if then := l.Nonces[len(l.Nonces)-1-int(l.Boot-k.Boot)]; then == k.Nonce {
			break // it went on from where it was seen
		}
		if l.Boot == k.Boot {
			return k, false, ReasonCopied
		}
		return k, false, ReasonRolledBack
	}
	next = k
	next.Incarnation, next.Boot, next.Nonce = l.Incarnation, l.Boot, l.nonce()
	if k.Newcomer != (Incarnation{}) {
		// The directory that was to be replaced is back. What the newcomer has heard
		// from us may be out of date from now on.
		next.Newcomer, next.Former = Incarnation{}, k.former(k.Newcomer)
	}
	return next, next.use() != k.use() || next.Newcomer != k.Newcomer, ""
}

// former returns k.Former with one more directory.
func (k Known) former(i Incarnation) []Incarnation {
	all := append(slices.Clone(k.Former), i)
	return all[max(0, len(all)-maxFormer):]
}

// use is one process on one directory.
type use struct {
	incarnation Incarnation
	boot, nonce uint64
	asking      bool // it had no goal yet
}

func (k Known) use() use { return use{k.Incarnation, k.Boot, k.Nonce, false} }
func (l Life) use() use  { return use{l.Incarnation, l.Boot, l.nonce(), l.Asking} }

// Memory is where a server remembers its peers. It is used by one goroutine at a
// time.
type Memory interface {
	// Known returns what is remembered of a peer.
	Known(peer core.ID) Known
	// Remember replaces it. When it returns nil, it is on the disk. An error turns
	// the peer down. It should end the server as any error of its disk does, but for
	// the lack of room: then the peer is turned down until there is some.
	Remember(peer core.ID, k Known) error
	// Note is Remember for several peers, of which only how far they have come and
	// their uid have changed. An error is harmless: it is tried again.
	Note(known map[core.ID]Known) error
}

// forgetful is the Memory of a server that has no disk: it lasts as long as the
// process.
type forgetful map[core.ID]Known

func (f forgetful) Known(peer core.ID) Known             { return f[peer] }
func (f forgetful) Remember(peer core.ID, k Known) error { f[peer] = k; return nil }
func (f forgetful) Note(known map[core.ID]Known) error   { maps.Copy(f, known); return nil }

// lifeBody is a life as it travels.
type lifeBody struct {
	incarnation packedBytes
	nonces      packedBytes
}

func (l Life) pack() lifeBody {
	b := lifeBody{incarnation: bytes.Clone(l.Incarnation[:]), nonces: packedBytes{}}
	for _, n := range l.Nonces {
		b.nonces = binary.BigEndian.AppendUint64(b.nonces, n)
	}
	return b
}

// unpackLife is the opposite of pack. The error says that no server has such a
// life.
func unpackLife(incarnation packedBytes, boot uint64, nonces packedBytes, rejoined bool) (Life, error) {
	l := Life{Boot: boot, Rejoined: rejoined}
	if len(incarnation) != len(l.Incarnation) || len(nonces)%8 != 0 || len(nonces) > 8*MaxNonces {
		return Life{}, malformed("an incarnation of %d bytes and nonces of %d", len(incarnation), len(nonces))
	}
	copy(l.Incarnation[:], incarnation)
	for ; len(nonces) > 0; nonces = nonces[8:] {
		l.Nonces = append(l.Nonces, binary.BigEndian.Uint64(nonces))
	}
	if err := l.Check(); err != nil {
		return Life{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return l, nil
}
