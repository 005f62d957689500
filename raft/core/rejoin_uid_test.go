package core

import (
	"slices"
	"testing"
)

// Goal: a server that lost its disk makes its goal of answers of servers of one
// cluster only. What a stray says, of another cluster or of none yet, neither
// stands for a member's answer nor makes the goal, and when the member itself
// answers, there is a goal. Method: three servers, in every order of answers; the
// stray at 3's address leads a later term with a longer log. The write that has the goal
// names the cluster.
func TestRejoin_TheGoalIsOfOneCluster(t *testing.T) {
	ours, theirs := UID{1}, UID{2}
	two := RejoinReply{Term: 5, Leads: true, LastIndex: 9, UID: ours}
	three := RejoinReply{Term: 5, LastIndex: 8, UID: ours}
	for name, stray := range map[string]RejoinReply{
		"another cluster's leader":           {Term: 50, Leads: true, LastIndex: 900, UID: theirs},
		"another cluster's follower":         {Term: 50, LastIndex: 900, UID: theirs},
		"one without a uid":                  {Term: 1, LastIndex: 0},
		"another cluster's, coming back too": {Rejoining: true, Term: 3, UID: theirs},
	} {
		for _, strayFirst := range []bool{true, false} {
			s := newSubject(t, withUID(UID{9}), func(state *State) { state.Rejoining = Rejoining{On: true} })
			said := map[ID]RejoinReply{"2": two, "3": stray}
			answered := 0
			answer := func() {
				for range 2 * s.config.HeartbeatTicks {
					s.Tick()
				}
				s.run()
				calls := s.calls
				s.calls = nil
				slices.SortFunc(calls, func(a, b Call) int {
					if (a.To > b.To) == strayFirst {
						return -1
					}
					return 1
				})
				for _, call := range calls {
					if _, asks := call.Request.(*Rejoin); asks {
						reply := said[call.To]
						s.Returned(call, &reply)
						answered++
					}
				}
				s.run()
			}
			for range 4 {
				answer()
			}
			if goal := s.Status().Rejoining; !goal.On || goal.Term != 0 || answered < 4 {
				t.Fatalf("%s: after %d answers the goal is %+v", name, answered, goal)
			}
			if unheard := s.Status().RejoinUnheard; stray.UID == (UID{}) && !slices.Equal(unheard, []ID{"3"}) || stray.UID == theirs && len(unheard) == 0 {
				t.Errorf("%s: it waits for %v", name, unheard)
			}
			said["3"] = three
			for range 3 {
				answer()
			}
			if goal := s.Status().Rejoining; goal.Term != 5 || goal.Index != 9 {
				t.Errorf("%s: with both members the goal is %+v", name, goal)
			}
			for _, w := range s.writes {
				if goal := w.Rejoining.Term > 0; goal != (w.GoalUID == ours) {
					t.Errorf("%s: a write with the goal %+v is of the cluster %q", name, w.Rejoining, w.GoalUID)
				}
			}
			if len(s.writes) == 0 {
				t.Errorf("%s: the goal was not written", name)
			}
		}
	}
}
