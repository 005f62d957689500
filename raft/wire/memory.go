package wire

import (
	"crypto/rand"
	"encoding/binary"
	"maps"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// Memory remembers what a server knows of its peers. It is used by one goroutine at
// a time.
type Memory interface {
	// Known returns what is remembered of a peer.
	Known(peer core.ID) identity.Known
	// Remember replaces it. When it returns nil, the new entry is on the disk. An error
	// turns the peer down. It should end the server as any error of its disk does, except
	// for a lack of room: then the peer is turned down until there is some.
	Remember(peer core.ID, k identity.Known) error
	// Note is Remember for several peers, of which only how far they have come and
	// their uid have changed. An error is harmless: it is tried again.
	Note(known map[core.ID]identity.Known) error
}

// forgetful is the Memory of a server that has no disk: it lasts as long as the
// process.
type forgetful map[core.ID]identity.Known

func (f forgetful) Known(peer core.ID) identity.Known             { return f[peer] }
func (f forgetful) Remember(peer core.ID, k identity.Known) error { f[peer] = k; return nil }
func (f forgetful) Note(known map[core.ID]identity.Known) error   { maps.Copy(f, known); return nil }

// newLife returns the life of a server that has no disk.
func newLife() identity.Life { return identity.NewLife(draw) }

// draw returns a random number.
func draw() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}
