package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// magic begins every hello, so that a stranger that speaks another protocol is
// recognised at once.
const magic = "raftkv-peer"

// version is the only version of the protocol that this package speaks. Versions
// count from 1. A hello of version 1 did not name the data directory, one of version
// 2 not the cluster's uid and first members, and frames had no checksums.
const version = 3

// maxBuildBytes is the greatest length of the name of a build in a hello.
const maxBuildBytes = core.MaxIDBytes

// The reasons for which a hello is turned down, in addition to those that follow
// from the identity of its sender (package identity). Stats counts by reason.
const (
	ReasonVersion   identity.Reason = "version"   // the other side speaks only a version we do not know
	ReasonReceiver  identity.Reason = "receiver"  // it means to talk to another server than us
	ReasonSender    identity.Reason = "sender"    // it is not one of our peers, or not the one we dialled
	ReasonMalformed identity.Reason = "malformed" // the bytes that came are no hello
	ReasonSilent    identity.Reason = "silent"    // it was not there, or not there any more, for the exchange of hellos
	ReasonCrowded   identity.Reason = "crowded"   // too many others had not said theirs yet
	ReasonBootstrap identity.Reason = "bootstrap" // its list of members is another one than ours
	ReasonIdentity  identity.Reason = "identity"  // its certificate does not say that it is the server it claims to be
	ReasonLevel     identity.Reason = "level"     // it works at levels that we do not know, or uses what they bring
	// ReasonRemoved: its data directory was removed from the members for good.
	ReasonRemoved identity.Reason = "removed"
	// ReasonGeneration: it belongs to the cluster as it was before, or after, a recovery
	// from the loss of a majority.
	ReasonGeneration identity.Reason = "generation"
)

// reasons lists all of them.
var reasons = []identity.Reason{
	ReasonVersion, identity.OtherCluster, ReasonReceiver, ReasonSender,
	ReasonMalformed, ReasonSilent, ReasonCrowded, ReasonBootstrap, ReasonLevel, ReasonIdentity, ReasonRemoved, ReasonGeneration,
	identity.Wiped, identity.RolledBack, identity.Copied, identity.Replaced,
}

// hello is the first frame in both directions. Magic and Version come first in
// every version of the protocol, so that a reader can tell a newer hello from
// garbage. New fields are added at the end only, with a new version.
type hello struct {
	Magic      string
	Version    uint64
	ClusterID  string
	From       core.ID
	To         core.ID
	ClientAddr string

	Incarnation packedBytes // of the sender's data directory, 16 bytes
	Boot        uint64
	Nonces      packedBytes // 8 bytes each, big-endian
	Rejoined    bool

	UID        packedBytes // of the cluster, 16 bytes; zeros: the sender does not know it yet
	Generation uint64      // of the configuration; 0 below levels.Members
	Bootstrap  packedBytes // SHA-256 of the sorted ids of the members, 32 bytes
	LevelMin   uint64      // the levels at which the sender can work
	LevelMax   uint64
	ConfigVer  uint64      // index of the newest configuration in the sender's log; 0 likewise
	Addresses  packedBytes // of the sender; see packAddresses; empty likewise
	ClientTLS  bool        // the port at ClientAddr speaks TLS
	Build      string      // for people
	Term       uint64      // how far the sender's disk has come; see identity.Standing
	Last       uint64
	Commit     uint64
}

var helloShape = shape{
	textElement, uintElement, clusterElement, idElement, idElement, textElement,
	packedElement, uintElement, packedElement, boolElement,
	packedElement, uintElement, packedElement, uintElement, uintElement,
	uintElement, packedElement, boolElement, idElement, uintElement, uintElement, uintElement,
}

// rejection is the error for a hello that does not fit.
type rejection struct {
	reason identity.Reason
	detail string // for both logs
	older  bool   // the other side speaks an earlier version
}

func (r *rejection) Error() string { return "hello turned down: " + r.detail }

// hello decodes and checks a hello of any version. The error is a *rejection.
func (d *decoder) hello(k kind, body []byte) (hello, error) {
	theirs, ok := helloVersion(body)
	if !ok {
		return hello{}, &rejection{reason: ReasonMalformed, detail: "the frame is not the hello of a raftkv peer"}
	}
	if theirs > version {
		return hello{}, &rejection{reason: ReasonVersion, detail: fmt.Sprintf("the peer speaks protocol version %d and we know version %d only; upgrade this server first", theirs, version)}
	}
	if theirs < version {
		return hello{}, &rejection{reason: ReasonVersion, detail: fmt.Sprintf("the peer speaks protocol version %d, whose frames have no checksums, and we speak %d; upgrade the peer", theirs, version), older: true}
	}
	content, err := greetingContent(k, body)
	if err != nil {
		return hello{}, &rejection{reason: ReasonMalformed, detail: err.Error()}
	}
	return d.helloContent(content)
}

// helloContent decodes a hello of our version whose checksum was compared. The
// error is a *rejection.
func (d *decoder) helloContent(content []byte) (hello, error) {
	var h hello
	err := d.decode(content, helloShape, &h)
	if err == nil && len(h.UID) != len(core.UID{}) {
		err = malformed("a uid of %d bytes", len(h.UID))
	}
	if err == nil && len(h.Bootstrap) != len(bootstrap{}) {
		err = malformed("a digest of members of %d bytes", len(h.Bootstrap))
	}
	if err == nil {
		_, err = unpackAddresses(h.Addresses)
	}
	if err != nil {
		return hello{}, &rejection{reason: ReasonMalformed, detail: err.Error()}
	}
	// The body is the buffer's, and the hello outlives it.
	for _, b := range []*packedBytes{&h.Incarnation, &h.Nonces, &h.UID, &h.Bootstrap, &h.Addresses} {
		*b = append(packedBytes{}, *b...)
	}
	return h, nil
}

// lifeBody is a life in the form in which it travels.
type lifeBody struct {
	incarnation packedBytes
	nonces      packedBytes
}

func packLife(l identity.Life) lifeBody {
	b := lifeBody{incarnation: bytes.Clone(l.Incarnation[:]), nonces: packedBytes{}}
	for _, n := range l.Nonces {
		b.nonces = binary.BigEndian.AppendUint64(b.nonces, n)
	}
	return b
}

// unpackLife is the opposite of packLife. The error says that no server has such a
// life.
func unpackLife(incarnation packedBytes, boot uint64, nonces packedBytes, rejoined bool) (identity.Life, error) {
	l := identity.Life{Boot: boot, Rejoined: rejoined}
	if len(incarnation) != len(l.Incarnation) || len(nonces)%8 != 0 || len(nonces) > 8*identity.MaxNonces {
		return identity.Life{}, malformed("an incarnation of %d bytes and nonces of %d", len(incarnation), len(nonces))
	}
	copy(l.Incarnation[:], incarnation)
	for ; len(nonces) > 0; nonces = nonces[8:] {
		l.Nonces = append(l.Nonces, binary.BigEndian.Uint64(nonces))
	}
	if err := l.Check(); err != nil {
		return identity.Life{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return l, nil
}

// life returns the life of the sender's data directory. The error is a
// *rejection.
func (h *hello) life() (identity.Life, error) {
	l, err := unpackLife(h.Incarnation, h.Boot, h.Nonces, h.Rejoined)
	if err != nil {
		return identity.Life{}, &rejection{reason: ReasonMalformed, detail: err.Error()}
	}
	l.Asking = l.Rejoined && h.Term == 0 // a goal has a term, and that is durable
	return l, nil
}

func (h *hello) uid() core.UID { return core.UID(h.UID) }

// standing returns the sender's standing, without the term of its last entry, which
// a hello does not name.
func (h *hello) standing() identity.Standing {
	return identity.Standing{Term: h.Term, Last: h.Last, Commit: h.Commit}
}

// identity returns the identity of the sender, whose life l was decoded before.
func (h *hello) identity(l identity.Life) identity.Identity {
	return identity.Identity{UID: h.uid(), Life: l, Standing: h.standing()}
}

// hello appends the frame of a hello to dst; k is the kind of hello.
func (e *encoder) hello(dst []byte, k kind, h *hello) []byte {
	return e.frame(dst, k, h, greetingHeaderBytes+maxHelloBody)
}

// Address is where a server can be reached, by the name of the port there.
type Address struct{ Name, Address string }

// AddressPeer and AddressHTTP are the names of the ports for peers and for clients.
const (
	AddressPeer = "peer"
	AddressHTTP = "http"
)

// maxAddressBytes bounds the addresses in a hello, so that the hello stays within
// maxHelloBody, and maxNamedAddresses their number.
const (
	maxAddressBytes   = 700
	maxNamedAddresses = 4
)

// packAddresses writes addresses one behind the other, each as the length of the name,
// the name, the length of the address (2 bytes, big-endian) and the address. Those for
// which there is no room are left out.
func packAddresses(addresses []Address) packedBytes {
	b := packedBytes{}
	for i, a := range addresses {
		if i == maxNamedAddresses || len(a.Name) > 255 || len(b)+3+len(a.Name)+len(a.Address) > maxAddressBytes {
			break
		}
		b = append(append(b, byte(len(a.Name))), a.Name...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(a.Address))), a.Address...)
	}
	return b
}

// unpackAddresses is the opposite of packAddresses.
func unpackAddresses(b packedBytes) (addresses []Address, err error) {
	if len(b) > maxAddressBytes {
		return nil, malformed("%d bytes of addresses", len(b))
	}
	text := func(n int) string {
		if n > len(b) {
			err = malformed("addresses that end early")
			n = len(b)
		}
		taken := string(b[:n])
		b = b[n:]
		return taken
	}
	for len(b) > 0 && err == nil {
		var a Address
		n := int(b[0])
		b = b[1:]
		a.Name = text(n)
		length := text(2)
		if err == nil {
			a.Address = text(int(binary.BigEndian.Uint16([]byte(length))))
		}
		if addresses = append(addresses, a); len(addresses) > maxNamedAddresses {
			err = malformed("more than %d addresses", maxNamedAddresses)
		}
	}
	if err != nil {
		return nil, err
	}
	return addresses, nil
}
