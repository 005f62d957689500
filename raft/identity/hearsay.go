package identity

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"raftkv/raft/core"
)

// A server that does not know its cluster's uid cannot tell a stray, a server of
// another cluster of the same name at a member's address, from the member. If the
// server is new or lost its disk, it remembers no peer either. But it hears which
// uid each peer names, and two members of one cluster never name different ones.

// Hearsay gathers which uids its peers name to a server that does not know its
// cluster's. The zero Hearsay has heard nothing. It must be used by one goroutine at
// a time.
//
// The danger is a server that counts in two clusters. It could vote in both, and
// confirm to one what the other then overwrites; the entries of two clusters under
// the same index and term would pass for the same. So the server talks only to
// servers that name one uid. From the first of them on it belongs to that cluster
// (Bind), because it may have promised something there.
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

// Heard reports whether any peer names a uid.
func (h *Hearsay) Heard() bool { return len(h.said) > 0 }

// Presume returns the uid by which this server judges its peers in a cluster of the
// given number of members, itself included; zero if it takes all of them. With
// atOdds it talks to nobody: its peers name different uids, and no majority of the
// members names the one to which this server belongs or may still belong. The server
// counts itself as a member that names none, so in a cluster of three only a
// corrected address ends this.
func (h *Hearsay) Presume(members int) (uid core.UID, atOdds bool) {
	count := map[core.UID]int{}
	for _, said := range h.said { // only counts
		count[said]++
	}
	var named core.UID           // by a majority
	for said, n := range count { // only one can be a majority's
		if 2*n > members {
			named = said
		}
	}
	switch {
	case len(count) > 1 && named == (core.UID{}):
		return h.bound, true
	case len(count) > 1 && h.bound != (core.UID{}) && h.bound != named:
		return h.bound, true
	case h.bound != (core.UID{}):
		return h.bound, false
	}
	return named, false
}

// Sole returns the only uid that peers name, zero if they name none or several.
func (h *Hearsay) Sole() (uid core.UID) {
	for _, id := range h.sources() {
		if said := h.said[id]; uid == (core.UID{}) {
			uid = said
		} else if uid != said {
			return core.UID{}
		}
	}
	return uid
}

// Others returns the peers that name another uid than this one, sorted.
func (h *Hearsay) Others(uid core.UID) (others []core.ID) {
	for _, id := range h.sources() {
		if h.said[id] != uid {
			others = append(others, id)
		}
	}
	return others
}

// String lists which peer names which uid, for people.
func (h *Hearsay) String() string {
	var all []string
	for _, id := range h.sources() {
		all = append(all, fmt.Sprintf("%s names %v", id, h.said[id]))
	}
	return strings.Join(all, ", ")
}

// sources returns the peers that name a uid, sorted.
func (h *Hearsay) sources() []core.ID { return slices.Sorted(maps.Keys(h.said)) }
