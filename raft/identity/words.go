package identity

import (
	"maps"
	"slices"

	"raftkv/raft/core"
)

// Verdict says what peers think of this server's data directory.
type Verdict struct {
	Why    Reason    // wiped, rolled-back, copied or replaced
	By     []core.ID // the peers that say so, sorted; at least one
	Detail string    // the sentence of the first of them
	// Majority says that a majority of all other servers is among By and knows the
	// cluster's uid. The verdict is then for good. Otherwise it ends this process
	// only, since it may be wrong: a new cluster cannot tell a member from a stray
	// that it has met in the member's place.
	Majority bool
}

// Words gathers what peers say against this server's data directory. Only words that
// count (Known.Credible) belong here. The zero Words holds none. It must be used by
// one goroutine at a time.
type Words struct{ by map[core.ID]word }

// word is what one peer says of our data directory.
type word struct {
	why    Reason
	detail string
	// knows says that the peer knows its cluster's uid. A peer that knows none may
	// have met a stray of another cluster in our place, and nobody can tell.
	knows bool
}

// Hear notes the last word of a peer: why it turns us down, its sentence for people,
// and whether it knows its cluster's uid.
func (w *Words) Hear(peer core.ID, why Reason, detail string, knows bool) {
	if w.by == nil {
		w.by = map[core.ID]word{}
	}
	w.by[peer] = word{why, detail, knows}
}

// TakeBack forgets the word of a peer, which talks to us after all.
func (w *Words) TakeBack(peer core.ID) { delete(w.by, peer) }

// Clear forgets all words.
func (w *Words) Clear() { clear(w.by) }

// Len returns the number of peers whose word counts.
func (w *Words) Len() int { return len(w.by) }

// Verdict returns what the words amount to in a cluster with the given number of
// other servers. It may only be asked if there is a word.
func (w *Words) Verdict(others int) Verdict {
	var v Verdict
	know := 0
	v.By = slices.Sorted(maps.Keys(w.by))
	for _, id := range v.By {
		if w.by[id].knows {
			know++
		}
	}
	first := w.by[v.By[0]]
	v.Why, v.Detail, v.Majority = first.why, first.detail, 2*know > others
	return v
}
