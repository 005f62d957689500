package core

import "testing"

// Goal: an order to stand is obeyed in its own term only: one that comes late, of
// a leader that was replaced, must not depose the next (thesis 3.10).
// Method: a follower in term 5 gets orders of term 4 and of term 5.
func TestThesis3_10_TimeoutNow_OfAnEarlierTermIsPast(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, withPreVote, withCheckQuorum)
	s.append(AppendEntries{Term: 5, LeaderID: "3"})
	tag := s.receive("2", &TimeoutNow{Term: 4, LeaderID: "2"})
	s.want(Follower, 5)
	if reply, ok := s.answers[tag].(*TimeoutNowReply); !ok || reply.Term != 5 || s.leader != "3" {
		t.Errorf("answered %v, follows %q", s.answers[tag], s.leader)
	}
	s.receive("3", &TimeoutNow{Term: 5, LeaderID: "3"})
	s.want(Candidate, 6)
}

// Goal: servers that hand leadership on again and again do not hand it to each
// other: among equals it goes on in a circle. Method: each of three servers in turn
// leads two equal followers and hands over to nobody in particular.
func TestTransfer_AmongEqualsGoesOn(t *testing.T) {
	defer failOnPanic(t)
	for self, next := range map[ID]ID{"1": "2", "2": "3", "3": "1"} {
		s := newSubject(t, func(c *Config) { c.ID = self })
		for _, call := range s.campaigns() {
			s.giveBack(call, &RequestVoteReply{Term: s.currentTerm, VoteGranted: true})
		}
		s.want(Leader, 1)
		if got := s.mostComplete(); got != next {
			t.Errorf("%s hands over to %s, want %s", self, got, next)
		}
	}
}
