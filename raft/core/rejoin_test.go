package core

import (
	"fmt"
	"strings"
	"testing"
)

// permutations returns all orders of the numbers 1 to n.
func permutations(n int) [][]string {
	if n == 0 {
		return [][]string{nil}
	}
	var all [][]string
	for _, shorter := range permutations(n - 1) {
		for place := range n {
			order := append([]string{}, shorter[:place]...)
			order = append(append(order, fmt.Sprint(n)), shorter[place:]...)
			all = append(all, order)
		}
	}
	return all
}

// tell runs a story in which servers are called A, B, … for every order of their
// IDs, and once for each of the links that the word LINK stands for.
func tell(t *testing.T, servers int, links []string, story string) {
	t.Helper()
	for _, order := range permutations(servers) {
		for _, link := range links {
			told := strings.ReplaceAll(story, "LINK", link)
			for i, id := range order {
				told = strings.ReplaceAll(told, string(rune('A'+i)), id)
			}
			s := &script{}
			for line := range strings.SplitSeq(strings.TrimSpace(told), "\n") {
				if line = strings.TrimSpace(line); line == "" {
					continue
				}
				if err := s.guarded(line); err != nil {
					t.Fatalf("order %v, %s: %s: %v\nbefore it:\n%s", order, link, line, err, s.output.String())
				}
			}
		}
	}
}

// Goal: a server that lost its disk is not misled by a leader that was replaced and
// does not know it, whoever has the first ID. Method: A leads term 1 and was cut off
// when B was elected and committed y with C. C loses its disk, and sees both, while
// A and B do not see each other, in all ways; then B is gone, and A stands.
func TestRejoin_TheOthersLeadInDifferentTerms(t *testing.T) {
	tell(t, 3, []string{"cut A-B", "cut A->B", "cut B->A"}, `
		new 3
		elect A
		propose A x
		settle
		cut A
		campaign B
		settle B C
		propose B y
		settle B C
		heal
		LINK
		wipe C
		tick C 1
		settle A C
		deliver C->B all
		deliver B->C all
		cut B
		tick A 2
		settle A C
		campaign A
		settle
		propose A z
		settle
		heal
		tick B 2
		settle
		campaign B
		settle`)
}

// Goal: likewise with five, of which three say that they lead, each in another term.
// Method: A, B and C led one after the other, and none was told of the next; D, which
// voted for B and C and holds what C committed, loses its disk and asks them all.
func TestRejoin_ThreeOfFiveLead(t *testing.T) {
	tell(t, 5, []string{"cut A-B", "cut A-C", "cut B-C", "cut A->C"}, `
		new 5
		elect A
		propose A x
		settle
		cut A
		campaign B
		settle B D E
		propose B y
		settle B D
		cut B
		campaign C
		settle C D E
		propose C z
		settle C D E
		heal
		cut A-B
		cut A-C
		cut B-C
		wipe D
		tick D 1
		settle D A
		settle D B
		settle D C
		settle D E
		tick D 2
		settle
		heal
		LINK
		cut C
		campaign A
		settle
		campaign B
		settle
		heal
		tick C 2
		settle`)
}

// Goal: full members that disagree about the term make no goal while nobody leads
// the latest. Method: B was elected in term 2 by C, which loses its disk; B is no
// leader any more when it is asked, and A says that it leads term 1.
func TestRejoin_ALaterTermWithoutALeaderMakesNoGoal(t *testing.T) {
	tell(t, 3, []string{"cut A-B", "cut A->B", "cut B->A"}, `
		new 3
		elect A
		propose A x
		settle
		cut A
		campaign B
		settle B C
		propose B y
		settle B C
		restart B
		heal
		LINK
		wipe C
		tick C 1
		settle A C
		deliver C->B all
		deliver B->C all
		cut B
		tick A 2
		settle A C
		campaign A
		settle
		propose A z
		settle`)
}

// Goal: a server that lost its disk is whole when its disk agrees with a leader's up
// to the goal, though that is not committed and the leader dies. Method: A's last
// entry reaches C again, and no news of its commitment; A dies, and B or C must lead.
func TestRejoin_TheLeaderDiesBeforeItsNewsArrive(t *testing.T) {
	s := &script{}
	for line := range strings.SplitSeq(`new 3
elect 1
propose 1 x
settle
cut 1->2
propose 1 y
wipe 3
tick 3 1
settle
tick 1 2
deliver 1->3 all
save 3
deliver 3->1 all
deliver 1->3
save 3
cut 1
campaign 3
settle`, "\n") {
		if err := s.guarded(line); err != nil && !strings.Contains(err.Error(), "nothing") && !strings.Contains(err.Error(), "no write") {
			t.Fatalf("%s: %v\n%s", line, err, s.output.String())
		}
	}
	t.Log(s.output.String())
	if third := s.server("3"); third.core.role != Leader {
		t.Errorf("server 3 holds all that it may have promised, and is %v, rejoining %+v", third.core.role, third.core.rejoining)
	}
}

// Goal: a server that lost its disk is no full member before its disk holds the log
// up to the goal, however many writes that takes: a crash between two of them would
// leave one that votes and lacks what it confirmed once. Method: a slow disk that
// takes one entry at a time, and a message with all four up to the goal.
func TestRejoin_TheDiskReachesTheGoalFirst(t *testing.T) {
	defer failOnPanic(t)
	s := newSubject(t, func(c *Config) { c.MaxWriteBytes = one }, inTerm(2), votedFor("1"), func(state *State) {
		state.Rejoining = Rejoining{On: true, Term: 2, Index: 4}
	})
	s.slowDisk = true
	s.receive("2", &AppendEntries{Term: 2, LeaderID: "2", Entries: entriesOf(1, 1, 1, 2, 2)})
	for saved := uint64(0); s.rejoining.On; saved++ {
		if w := s.underWay(); w == nil || !w.Rejoining.On || saved > 4 {
			t.Fatalf("with %d entries on the disk the write is %+v", s.durable, w)
		}
		s.save()
	}
	if w := s.underWay(); s.durable != 4 || w == nil || w.Rejoining.On {
		t.Fatalf("a full member with %d entries on the disk; the write is %+v", s.durable, w)
	}
}
