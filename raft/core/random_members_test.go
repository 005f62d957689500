package core

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"raftkv/raft/members"
)

// memberTally counts what happened to the members in a run.
type memberTally struct {
	taken             int // changes that a leader appended
	joint             int // of which to other voters
	truncatedJoint    int // joint configurations that were truncated from a disk
	electedJoint      int // elections by a joint configuration
	left              int // leaders that handed over because the final configuration left them out
	learnersInstalled int // snapshots sent to servers without a vote
	back              int // IDs that became members again
}

func (t *memberTally) add(o memberTally) {
	t.taken += o.taken
	t.joint += o.joint
	t.truncatedJoint += o.truncatedJoint
	t.electedJoint += o.electedJoint
	t.left += o.left
	t.learnersInstalled += o.learnersInstalled
	t.back += o.back
}

// countTruncated counts the joint configurations that a write takes off a disk.
func (o *oracles) countTruncated(disk []Entry, w *Write) {
	for _, e := range disk {
		if e.Kind != KindConfiguration || e.Index < w.From || len(w.Entries) > 0 && e.Index-w.From < uint64(len(w.Entries)) && w.Entries[e.Index-w.From].Term == e.Term {
			continue
		}
		if record, err := members.Decode(e.Data); err == nil && record.Joint() {
			o.truncatedJoint++
		}
	}
}

// drawChanges is drawTroubles for a cluster whose members change: one to four servers
// found it, the rest join, leave and come back. Disks are not lost in it: a server that
// rejoins asks the members of its static list.
func drawChanges(seed uint64) troubles {
	drawn := drawTroubles(seed)
	chance := rand.New(rand.NewPCG(seed, 7))
	drawn.servers = 4 + chance.IntN(4)
	drawn.founders = 1 + chance.IntN(4)
	drawn.changes = 5 + chance.IntN(30)
	drawn.wipe = 0
	drawn.more = 2 * steps // it takes many messages until servers come and go
	drawn.crash, drawn.cut = min(drawn.crash, 1), min(drawn.cut, 1)
	drawn.noop, drawn.preVote, drawn.checkQuorum = true, true, true
	return drawn
}

// Goal: §6: no sequence of changes, each of one to four servers, among all the troubles
// of TestRandomRuns, makes servers break a property of Figure 3 by the configuration in
// force, and when the trouble ends the members of the newest configuration agree and
// the change is over.
// Method: as TestRandomRuns; the oracles read the configurations from the logs. What is
// rare is counted: a run without it proves nothing.
func TestRandomChanges(t *testing.T) {
	if *seedFlag != 0 {
		t.Logf("seed %d: %+v", *seedFlag, drawChanges(*seedFlag))
		if _, err := drawChanges(*seedFlag).run(*seedFlag, t.Logf); err != nil {
			t.Fatal(err)
		}
		return
	}
	var total tally
	n := seeds() / 10
	for seed := uint64(1); seed <= uint64(n); seed++ {
		happened, err := drawChanges(seed).run(seed, nil)
		if err != nil {
			t.Fatalf("seed %d: %v\nreplay it with: go test ./raft/core -run TestRandomChanges -v -seed %d", seed, err, seed)
		}
		total.add(happened)
	}
	t.Logf("%d seeds: %+v", n, total)
	if m := total.memberTally; m.taken < 2*n || m.joint < n || m.left < n/5 || m.electedJoint < n/2 || m.truncatedJoint < n/50 || m.learnersInstalled < n/4 || m.back < n/4 {
		t.Fatalf("too little happened for this to mean anything: %+v", m)
	}
}

// change asks a leader for another membership: one to four differences.
func (x *chaos) change(s *server) {
	if s.core == nil || s.core.role != Leader {
		return
	}
	now := s.core.Configurations().Newest
	if now.Record == nil {
		x.input(s, func(r *Raft) { _, _, _ = r.Reconfigure(members.First(r.log.uid, 3, r.log.static.Voters()), 0) })
		return
	}
	wanted := now.Record.Clone()
	for range 1 + x.chance.IntN(4) {
		id := x.servers[x.chance.IntN(len(x.servers))].id
		words := []string{"voter", "voter", "learner", "remove"}
		_ = edit(&wanted, []string{words[x.chance.IntN(len(words))], string(id)})
	}
	x.input(s, func(r *Raft) {
		if _, _, err := r.Reconfigure(wanted, now.Index); err != nil {
			return
		}
		x.oracles.taken++
		if r.configuration.Joint {
			x.oracles.joint++
		}
		for _, p := range r.configuration.Places {
			if now.Record.Member(p.ID) == nil && removedBefore(now.Record, p.ID) {
				x.oracles.back++
			}
		}
	})
}

func removedBefore(r *members.Record, id ID) bool {
	for _, gone := range r.Removed {
		if gone.ID == id {
			return true
		}
	}
	return false
}

// remaining returns the servers that must come to agree: the members of the newest
// configuration that is committed anywhere.
func (x *chaos) remaining() []*server {
	var newest members.Version
	for _, s := range x.servers {
		if now := s.core.Configurations().Committed; now.Index > newest.Index {
			newest = now
		}
	}
	if newest.Record == nil {
		if x.drawn.founders > 0 {
			return x.servers[:x.drawn.founders]
		}
		return x.servers
	}
	var all []*server
	for _, m := range newest.Record.Members {
		all = append(all, x.server(m.ID))
	}
	return all
}

// String names what is counted by a server in a failure's message.
func (e edition) String() string {
	return fmt.Sprintf("entry %d: %s", e.Index, memberText(e.Configuration))
}
