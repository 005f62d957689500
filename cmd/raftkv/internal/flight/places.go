package flight

import (
	"maps"
	"slices"
	"sync"

	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
	"raftkv/raft/members"
)

// places is what was recorded of the places of members.
type places struct {
	mu       sync.Mutex // guards the rest
	version  members.Version
	recorded map[core.ID]int64
	all      uint64 // the number of the event behind which all places were recorded last
}

// Placed records what has changed in the places of members since it was called last, and in the
// first call of a process the places of all. It is called on the loop of consensus.
func (r *Recording) Placed(v members.Version) {
	if r == nil || v.Record == nil {
		return
	}
	p := &r.places
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version = v
	r.recordPlaces()
}

// placeAgain records all places once more before the ring forgets them.
func (r *Recording) placeAgain() {
	p := &r.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.version.Record != nil && r.recorder.Newest()-p.all > recorder.Capacity/2 {
		p.recorded = nil
		r.recordPlaces()
	}
}

// recordPlaces records the places that are not recorded. r.places.mu is held.
func (r *Recording) recordPlaces() {
	p := &r.places
	if len(p.recorded) == 0 {
		p.all = r.recorder.Newest()
	}
	now := map[core.ID]int64{}
	for _, m := range p.version.Record.Members {
		now[m.ID] = placeOf(m)
	}
	for id := range p.recorded {
		if _, stays := now[id]; !stays {
			now[id] = recorder.NoPlace
		}
	}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if before, known := p.recorded[id]; !known || before != now[id] {
			r.recorder.Record(recorder.Event{Kind: recorder.Placed, Peer: r.recorder.Peer(string(id)), Index: p.version.Index, A: now[id]})
		}
	}
	p.recorded = now
}

func placeOf(m members.Member) int64 {
	switch votes := m.Role == members.Voter; {
	case votes && m.WasVoter:
		return recorder.VoterPlace
	case votes:
		return recorder.NewPlace
	case m.WasVoter:
		return recorder.OldPlace
	}
	return recorder.LearnerPlace
}
