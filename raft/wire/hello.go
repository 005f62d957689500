package wire

import (
	"fmt"

	"raftkv/raft/core"
)

// magic begins every hello, so that a stranger who speaks something else is
// recognised at once.
const magic = "raftkv-peer"

// version is the version of the protocol that this package speaks, and the
// only one. Versions count from 1. Version 1 said nothing of data directories.
const version = 2

// Reason says why a hello was turned down. Values travel in refusals and are
// only ever added to; they are also what Stats counts by.
type Reason string

// The reasons for which a hello is turned down.
const (
	ReasonVersion   Reason = "version"   // the other side speaks only a version we do not know
	ReasonCluster   Reason = "cluster"   // it belongs to another cluster
	ReasonReceiver  Reason = "receiver"  // it means to talk to another server than us
	ReasonSender    Reason = "sender"    // it is not one of our peers, or not the one we dialled
	ReasonMalformed Reason = "malformed" // what came is no hello
	ReasonSilent    Reason = "silent"    // it was not there, or not there any more, for the exchange of hellos
	ReasonCrowded   Reason = "crowded"   // too many others had not said theirs yet

	// These four are about the data directory of the server that says hello; see Life.
	ReasonWiped      Reason = "wiped"       // it is another one than before
	ReasonRolledBack Reason = "rolled-back" // it is in an earlier state than before
	ReasonCopied     Reason = "copied"      // it is a copy of one that is in use
	ReasonReplaced   Reason = "replaced"    // a newer one has taken its place
)

// hello is the first frame in both directions. Magic and Version stand first
// in every version of the protocol, so that a reader can tell a newer hello
// from garbage.
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
}

var helloShape = shape{
	textElement, uintElement, clusterElement, idElement, idElement, textElement,
	packedElement, uintElement, packedElement, boolElement,
}

// refusal is sent instead of a hello, by the accepting side only. It tells the
// version its sender speaks, so that a newer peer can adapt.
type refusal struct {
	Reason  Reason
	Version uint64
}

var refusalShape = shape{idElement, uintElement}

// rejection is the error for a hello that does not fit.
type rejection struct {
	reason Reason
	detail string // for the log
}

func (r *rejection) Error() string { return "hello turned down: " + r.detail }

// refusedError says that the peer turned our hello down.
type refusedError struct{ refusal }

func (r *refusedError) Error() string {
	if r.Reason != ReasonVersion {
		return fmt.Sprintf("the peer refuses us: %q", r.Reason)
	}
	return fmt.Sprintf("the peer refuses us: %q (it speaks version %d, we speak %d)", r.Reason, r.Version, version)
}

// hello decodes and checks a hello of any version. The error is a *rejection.
func (d *decoder) hello(body []byte) (hello, error) {
	c := cursor{rest: body}
	_, isArray := c.arrayHeader()
	word, isString := c.str(maxClientAddrBytes)
	theirs, isUint := c.uint()
	if !isArray || !isString || !isUint || string(word) != magic || theirs == 0 {
		return hello{}, &rejection{ReasonMalformed, "the frame is not the hello of a raftkv peer"}
	}
	if theirs > version {
		return hello{}, &rejection{ReasonVersion, fmt.Sprintf("the peer speaks protocol version %d and we only know %d; upgrade this server first", theirs, version)}
	}
	if theirs < version {
		return hello{}, &rejection{ReasonVersion, fmt.Sprintf("the peer speaks protocol version %d, which does not say whose data directory it has, and we speak %d; upgrade the peer", theirs, version)}
	}
	var h hello
	if err := d.decode(body, helloShape, &h); err != nil {
		return hello{}, &rejection{ReasonMalformed, err.Error()}
	}
	return h, nil
}

// life returns what a hello says of its sender's data directory. The error is a
// *rejection.
func (h *hello) life() (Life, error) {
	l, err := unpackLife(h.Incarnation, h.Boot, h.Nonces, h.Rejoined)
	if err != nil {
		return Life{}, &rejection{ReasonMalformed, err.Error()}
	}
	return l, nil
}

// refusal decodes a refusal.
func (d *decoder) refusal(body []byte) (refusal, error) {
	var r refusal
	return r, d.decode(body, refusalShape, &r)
}

// hello appends the frame of a hello to dst; k says for which kind of
// connection.
func (e *encoder) hello(dst []byte, k kind, h *hello) []byte {
	return e.frame(dst, k, h, headerBytes+maxHelloBody)
}

// refusal appends the frame of a refusal to dst.
func (e *encoder) refusal(dst []byte, reason Reason) []byte {
	return e.frame(dst, kindRefusal, &refusal{reason, version}, headerBytes+maxSmallBody)
}

// judge says whether we want to talk to the server whose hello this is. knows
// says who may be talking. The error is a *rejection.
func (h *hello) judge(cluster string, self core.ID, knows func(core.ID) bool) error {
	switch {
	case h.ClusterID != cluster:
		return &rejection{ReasonCluster, fmt.Sprintf("server %q belongs to cluster %q and we to %q; check the addresses of the peers", h.From, h.ClusterID, cluster)}
	case h.To != self:
		return &rejection{ReasonReceiver, fmt.Sprintf("server %q wants to talk to %q and we are %q; check the addresses of the peers", h.From, h.To, self)}
	case !knows(h.From):
		return &rejection{ReasonSender, fmt.Sprintf("we do not expect to talk to server %q here; check the list of peers", h.From)}
	}
	return nil
}
