package wire

import (
	"fmt"
	"log/slog"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// bindByMemory binds a server to the cluster of the peers with which it talked in
// earlier processes, if its disk holds anything. A server with an empty disk has
// promised nothing to any peer.
func (t *Transport) bindByMemory() {
	if t.standing() == (identity.Standing{}) {
		return
	}
	for _, p := range t.now().sorted() {
		t.hearsay.Bind(t.config.Memory.Known(p.id).UID)
	}
}

// asking reports whether this server has no goal yet. It then promises nothing.
func (t *Transport) asking() bool { return t.config.Life.Rejoined && t.standing().Term == 0 }

// presumed returns the uid by which this server judges its peers, zero if it takes
// all of them, and whether it talks to nobody (identity.Hearsay).
func (t *Transport) presumed() (uid core.UID, atOdds bool) {
	if ours := t.UID(); ours != (core.UID{}) {
		return ours, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hearsay.Presume(len(t.now().members) + 1)
}

// hearUID notes the uid that a peer names. While this server does not know its own,
// that may put it at odds with all peers, or end its connections with some. talk
// means that the peer wants to talk, and not only to refuse. The error is a
// *rejection: the peer belongs to another cluster than the one that this server
// presumes to be its own.
func (t *Transport) hearUID(p *peer, said core.UID, talk bool) error {
	if t.UID() != (core.UID{}) {
		return nil
	}
	asking := t.asking()
	t.mu.Lock()
	if t.config.Life.Rejoined && !asking {
		t.hearsay.Bind(t.hearsay.Sole()) // its goal was made of these peers' answers
	}
	news := t.hearsay.Hear(p.id, said)
	uid, atOdds := t.hearsay.Presume(len(t.now().members) + 1)
	if talk && !asking && !atOdds && (uid == (core.UID{}) || uid == said) {
		t.hearsay.Bind(said)
	}
	t.atOdds = atOdds
	if atOdds {
		t.words.Clear() // it is unknown to which cluster their senders belong
		t.trial++
	}
	t.mute()
	listed, others := t.hearsay.String(), t.ofOthers(uid)
	t.mu.Unlock()
	if atOdds && news {
		t.log.note(slog.LevelError, "at odds "+listed, "peers name different uids of this cluster, and this server knows none yet: it talks to nobody until a majority of the members names the same one; check the addresses of the peers, and which data directory each server has",
			"they say", listed, "belongs to", uid.String())
	}
	if atOdds || uid == (core.UID{}) {
		return nil
	}
	for _, other := range others {
		t.endLives(other, identity.Use{})
	}
	if said == (core.UID{}) || said == uid {
		return nil
	}
	return &rejection{reason: identity.OtherCluster, detail: fmt.Sprintf("server %q belongs to another cluster of the name %q: its uid is %v, and server %q, which knows none yet, has heard %v from those with whom it talks; check the addresses of the peers, and which data directory each server has (a server that never took anything from the wrong ones forgets them when it is started again)", p.id, t.config.ClusterID, said, t.config.ID, uid)}
}

// maybeStray reports whether the sender of a hello may be a stray, although it was
// taken for the peer. While peers are at odds, any may be one. A full member knows the
// uid as soon as any other member that talks to us.
func (t *Transport) maybeStray(h *hello) bool {
	nameless := h.uid() == (core.UID{}) && !h.Rejoined
	if t.UID() != (core.UID{}) {
		return nameless
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.atOdds || nameless && t.hearsay.Heard()
}

// ofOthers returns the peers that have named another uid than this. t.mu must be
// held.
func (t *Transport) ofOthers(uid core.UID) (others []*peer) {
	for _, id := range t.hearsay.Others(uid) {
		if p := t.now().peer(id); p != nil {
			others = append(others, p)
		}
	}
	return others
}
