package wire

import (
	"fmt"
	"log/slog"
	"strings"

	"raftkv/raft/core"
)

// A server that does not know its cluster's uid cannot tell a stray, a server of
// another cluster of the same name at a member's address, from the member. It has
// no memory of it either, if it is new or lost its disk. But it hears which uid
// each peer names, and two members of one cluster never name different ones.

// Hearsay is what a server that does not know its cluster's uid has heard of it.
// The zero Hearsay has heard nothing. It has no effect of its own, and is used by
// one goroutine at a time.
//
// The danger is a server that counts in two clusters. It could vote in both, and
// confirm to the one what the other then overwrites; the entries of two clusters
// under the same index and term would pass for the same. So it talks to servers
// that name one uid only, and belongs to that one (Bind) from the first of them on:
// it may have promised something there.
type Hearsay struct {
	said  map[core.ID]core.UID // by the peers that named one last
	bound core.UID             // the cluster in which this server may have promised something; zero: none
}

// Bind says to which cluster this server belongs, because its directory holds
// something from it. Only the first uid counts.
func (h *Hearsay) Bind(uid core.UID) {
	if h.bound == (core.UID{}) {
		h.bound = uid
	}
}

// Hear notes the uid that a peer names, zero for none, and reports whether that is
// news.
func (h *Hearsay) Hear(peer core.ID, uid core.UID) bool {
	if h.said[peer] == uid {
		return false
	}
	if h.said == nil {
		h.said = map[core.ID]core.UID{}
	}
	if h.said[peer] = uid; uid == (core.UID{}) {
		delete(h.said, peer)
	}
	return true
}

// Presume returns the uid by which this server, one of so many members, judges its
// peers, zero if it takes all of them. With atOdds it talks to nobody: its peers
// name different uids, and no majority of the members names the one to which this
// server belongs or may still belong. A server counts itself as a member that names
// none, so in a cluster of three nothing but a mended address ends this.
func (h *Hearsay) Presume(members int) (uid core.UID, atOdds bool) {
	count := map[core.UID]int{}
	for _, said := range h.said {
		count[said]++
	}
	var most core.UID
	for said, n := range count {
		if 2*n > members {
			most = said
		}
	}
	switch {
	case len(count) > 1 && most == (core.UID{}):
		return h.bound, true
	case len(count) > 1 && h.bound != (core.UID{}) && h.bound != most:
		return h.bound, true
	case h.bound != (core.UID{}):
		return h.bound, false
	}
	return most, false
}

// sole returns the only uid that peers name, zero if they name none or several.
func (h *Hearsay) sole() (uid core.UID) {
	for _, id := range sortedIDs(h.said) {
		if said := h.said[id]; uid == (core.UID{}) {
			uid = said
		} else if uid != said {
			return core.UID{}
		}
	}
	return uid
}

// listed writes which peer names which uid, for people.
func (h *Hearsay) listed() string {
	var all []string
	for _, id := range sortedIDs(h.said) {
		all = append(all, fmt.Sprintf("%s names %v", id, h.said[id]))
	}
	return strings.Join(all, ", ")
}

// bindByMemory binds a server to the cluster of those with whom it talked in
// earlier processes, if its disk holds anything. An empty disk has promised nothing
// to anybody, whomever it met.
func (t *Transport) bindByMemory() {
	if t.standing() == (Standing{}) {
		return
	}
	for _, id := range sortedIDs(t.peers) {
		t.hearsay.Bind(t.config.Memory.Known(id).UID)
	}
}

// asking reports whether this server has no goal yet: it promises nothing to anybody.
func (t *Transport) asking() bool { return t.config.Life.Rejoined && t.standing().Term == 0 }

// presumed returns the uid by which this server judges its peers, zero if it takes
// all of them, and whether it talks to nobody (Hearsay.Presume).
func (t *Transport) presumed() (uid core.UID, atOdds bool) {
	if ours := t.UID(); ours != (core.UID{}) {
		return ours, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hearsay.Presume(len(t.peers) + 1)
}

// hearUID notes the uid that a peer names. While this server does not know its own,
// that may put it at odds with all, or end what there is with others. talk says that
// the peer wants to talk, and not only to refuse. The error is a *rejection: the
// peer belongs to another cluster than this server presumes its own to be.
func (t *Transport) hearUID(p *peer, said core.UID, talk bool) error {
	if t.UID() != (core.UID{}) {
		return nil
	}
	asking := t.asking()
	t.mu.Lock()
	if t.config.Life.Rejoined && !asking {
		t.hearsay.Bind(t.hearsay.sole()) // its goal was made of what these said
	}
	news := t.hearsay.Hear(p.id, said)
	uid, atOdds := t.hearsay.Presume(len(t.peers) + 1)
	if talk && !asking && !atOdds && (uid == (core.UID{}) || uid == said) {
		t.hearsay.Bind(said)
	}
	t.atOdds = atOdds
	if atOdds {
		clear(t.words) // nobody knows whose they were
		t.trial++
	}
	t.mute()
	listed, others := t.hearsay.listed(), t.ofOthers(uid)
	t.mu.Unlock()
	if atOdds && news {
		t.log.note(slog.LevelError, "at odds "+listed, "peers name different uids of this cluster, and this server knows none yet: it talks to nobody until a majority of the members names the same one; check the addresses of the peers, and which data directory each server has",
			"they say", listed, "belongs to", uid.String())
	}
	if atOdds || uid == (core.UID{}) {
		return nil
	}
	for _, other := range others {
		t.endLives(other, use{})
	}
	if said == (core.UID{}) || said == uid {
		return nil
	}
	return &rejection{reason: ReasonCluster, detail: fmt.Sprintf("server %q belongs to another cluster of the name %q: its uid is %v, and server %q, which knows none yet, has heard %v from those with whom it talks; check the addresses of the peers, and which data directory each server has (a server that never took anything from the wrong ones forgets them when it is started again)", p.id, t.config.ClusterID, said, t.config.ID, uid)}
}

// maybeStray reports whether the server whose hello this is may be a stray, although
// it was taken for the peer: nobody knows while peers are at odds, and a full member
// knows the uid as soon as any other does that talks to us.
func (t *Transport) maybeStray(h *hello) bool {
	if t.UID() != (core.UID{}) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.atOdds || h.uid() == (core.UID{}) && !h.Rejoined && len(t.hearsay.said) > 0
}

// ofOthers returns the peers that have named another uid than this. t.mu must be
// held.
func (t *Transport) ofOthers(uid core.UID) (others []*peer) {
	for _, id := range sortedIDs(t.hearsay.said) {
		if t.hearsay.said[id] != uid && t.peers[id] != nil {
			others = append(others, t.peers[id])
		}
	}
	return others
}
