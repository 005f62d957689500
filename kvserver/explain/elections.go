package explain

import (
	"fmt"
	"slices"

	"raftkv/kvserver/recorder"
)

// splitVotes tells of terms in which several nodes campaigned and none won.
func (t *teller) splitVotes() {
	stood := map[uint64][]int{}
	var terms []uint64
	for i := range t.events {
		if e := &t.events[i]; e.Kind == recorder.Campaign && e.at >= t.from && e.at <= t.to {
			if stood[e.Term] == nil {
				terms = append(terms, e.Term)
			}
			stood[e.Term] = append(stood[e.Term], i)
		}
	}
	slices.Sort(terms)
	for _, term := range terms {
		won := slices.ContainsFunc(t.reigns, func(r reign) bool { return r.term == term })
		if len(stood[term]) < 2 || won {
			continue
		}
		s := Story{Kind: SplitVote, Certainty: Certain}
		evidence := slices.Clone(stood[term])
		votes := ""
		for n, i := range stood[term] {
			node := t.events[i].node
			s.Culprits = append(s.Culprits, node)
			given := t.all(t.events[i].at, t.events[i].at+10*second, func(e *event) bool {
				return e.Kind == recorder.VoteGranted && e.peer == node && e.Term == term
			})
			evidence = append(evidence, given...)
			if n > 0 {
				votes += ", "
			}
			votes += fmt.Sprintf("%s got %d %s", node, 1+len(given), plural(1+len(given), "vote", "votes"))
		}
		s.say("%s stood in term %d at once, and none won: %s.", list(s.Culprits), term, votes)
		t.tell(s, t.events[evidence[0]].at, t.events[evidence[len(stood[term])-1]].at, evidence...)
	}
}

// refusedVotes returns the votes that a candidate was refused for a reason.
func (t *teller) refusedVotes(why recorder.Why) map[string][]int {
	by := map[string][]int{}
	for i := range t.events {
		e := &t.events[i]
		if (e.Kind == recorder.VoteRefused || e.Kind == recorder.PreVoteRefused) && e.Why == why && e.at >= t.from && e.at <= t.to {
			by[e.peer] = append(by[e.peer], i)
		}
	}
	return by
}

// logsBehind tells of nodes that could not win because their logs were behind. That is certain
// where their own events are known, or those that refused leave no majority. A node that won
// the same term is not told of.
func (t *teller) logsBehind() {
	refused := t.refusedVotes(recorder.LogBehind)
	for _, node := range t.nodes {
		votes := slices.DeleteFunc(refused[node], func(i int) bool {
			return slices.ContainsFunc(t.reigns, func(r reign) bool { return r.leader == node && r.term == t.events[i].Term })
		})
		if len(votes) == 0 {
			continue
		}
		e := &t.events[votes[len(votes)-1]]
		s := Story{Kind: LogBehind, Culprits: []string{node}, Certainty: Likely}
		by := map[string]bool{}
		for _, i := range votes {
			if o := &t.events[i]; o.Term == e.Term && t.votes(o.node, o.at) {
				by[o.node] = true
			}
		}
		if voters := t.voters(e.at); voters-len(by) <= voters/2 || t.knows(node, e.at) {
			s.Certainty = Certain
		}
		s.say("%s could not win: its log ended at %s, %s's at %s.", node, t.position(node, e), e.node, fmt.Sprintf("%d@%d", e.A, e.B))
		t.tell(s, t.events[votes[0]].at, e.at, votes...)
	}
}

// position writes where a candidate's log ended, with the term if its own campaign is
// known.
func (t *teller) position(node string, refused *event) string {
	i := t.last(-unbound, refused.at, func(e *event) bool {
		return e.node == node && (e.Kind == recorder.PreVote || e.Kind == recorder.Campaign) && e.Index == refused.Index && e.Term == refused.Term
	})
	if i < 0 {
		return fmt.Sprint(refused.Index)
	}
	return fmt.Sprintf("%d@%d", refused.Index, t.events[i].A)
}

// tails tells of entries that were dropped. None of them was committed: a node asserts
// that, and so none was acknowledged.
func (t *teller) tails() {
	for _, i := range t.all(t.from, t.to, func(e *event) bool { return e.Kind == recorder.Truncated }) {
		e := &t.events[i]
		s := Story{Kind: TailDropped, Culprits: []string{e.node}, Certainty: Certain}
		entries := fmt.Sprintf("entries %d–%d", e.Index, e.A)
		if e.A == int64(e.Index) {
			entries = fmt.Sprintf("entry %d", e.Index)
		}
		s.say("%s dropped %s of term %d; none had been acknowledged.", e.node, entries, e.B)
		s.say("Requests that waited for them there ended with an unknown outcome, or were told that nothing happened.")
		t.tell(s, e.at, e.at, i)
	}
}

// snapshots tells of followers that got a snapshot in place of the log.
func (t *teller) snapshots() {
	for _, i := range t.all(t.from-10*minute, t.to, func(e *event) bool { return e.Kind == recorder.SnapshotSent }) {
		sent := &t.events[i]
		again := t.find(sent.at+1, t.to, func(e *event) bool {
			return e.Kind == recorder.SnapshotSent && e.node == sent.node && e.peer == sent.peer && e.Index == sent.Index
		})
		if again >= 0 {
			continue // the last attempt is told
		}
		taken := t.find(sent.at, unbound, func(e *event) bool {
			return e.Kind == recorder.SnapshotTaken && e.node == sent.node && e.peer == sent.peer && e.Index == sent.Index
		})
		s := Story{Kind: SnapshotSent, Culprits: []string{sent.peer}, Certainty: Certain}
		behind := sent.B - sent.A
		to := sent.at
		if taken < 0 {
			s.say("%s was %s entries behind what %s keeps, so a snapshot is on its way to it.", sent.peer, count(uint64(max(behind, 1))), sent.node)
		} else {
			to = t.events[taken].at
			s.say("%s was %s entries behind what %s keeps, so it got a snapshot in %s.", sent.peer, count(uint64(max(behind, 1))), sent.node, duration(to-sent.at))
		}
		t.tell(s, sent.at, to, i, taken)
	}
}
