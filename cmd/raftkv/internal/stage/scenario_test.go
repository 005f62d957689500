package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/explain"
	"raftkv/raft/core"
)

// played plays a scenario in virtual time and returns its captions and what is told of it.
func played(t *testing.T, name string, then func(w *world)) (captions, told string, stories []explain.Story) {
	of, err := FindScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	inVirtualTime(t, func(t *testing.T) {
		w := newWorld(t, of.Nodes, false, of.Small)
		var said strings.Builder
		write := func(_ context.Context, id core.ID, key string, length int) error {
			if !w.ask(id, "PUT", "/v1/kv/"+strings.ReplaceAll(key, " ", "%20"), strings.Repeat("x", min(length, 1000))) {
				return errors.New("not acknowledged")
			}
			return nil
		}
		for _, id := range w.ids {
			w.stage.Node(id).AwaitLevel(t.Context()) // as dev does
		}
		if err := w.stage.Play(t.Context(), of, write, func(text string) { fmt.Fprintln(&said, text) }); err != nil {
			t.Errorf("the play ends with %v after\n%s", err, said.String())
		}
		if then != nil {
			then(w)
		}
		rings := w.end()
		stories = explain.Stories(rings, explain.Span{From: 0, To: explain.End(rings)})
		captions = said.String()
	})
	for _, s := range stories {
		told += fmt.Sprintf("%s (%s, %v): %s\n", s.Kind, s.Certainty, s.Culprits, strings.Join(s.Sentences, " "))
	}
	return captions, told, stories
}

// Goal (X5): in the play of Figure 8 an entry that is on two of five disks is overwritten,
// and explain tells that, which node was killed, and that somebody did it; the entry was
// acknowledged to nobody, and no node shows it afterwards.
// Method: the play as raftkv dev gives it, in virtual time.
func TestFigure8IsPlayedAndTold(t *testing.T) {
	captions, told, stories := played(t, "figure8", func(w *world) {
		for _, id := range w.ids {
			if w.ask(id, "GET", "/v1/kv/figure%208", "") || !w.ask(id, "GET", "/v1/kv/later%20term", "") {
				t.Errorf("%s shows the entry that was overwritten, or not the one that was committed", id)
			}
		}
	})
	if !strings.Contains(captions, `is asked to write "figure 8", and does not acknowledge it.`) || !strings.Contains(captions, `is asked to write "later term", and acknowledges it.`) {
		t.Errorf("the captions are\n%s", captions)
	}
	killed := ""
	for _, s := range stories {
		if s.Kind == explain.Staged && strings.Contains(s.Sentences[0], "killed") {
			killed = s.Culprits[0]
		}
	}
	dropped := slices.ContainsFunc(stories, func(s explain.Story) bool {
		return s.Kind == explain.TailDropped && s.Culprits[0] == killed && strings.Contains(s.Sentences[0], "none had been acknowledged")
	})
	if killed == "" || !dropped {
		t.Errorf("of %q is told\n%s", killed, told)
	}
}

// Goal (X5): every other play comes to its end, shows what its captions say, and explain
// tells what it is about, and that somebody did it.
// Method: each play as raftkv dev gives it, in virtual time. Of each it is known which story
// must be told, which captions are said, and which keys all nodes show afterwards, or none.
func TestPlaysShowWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		name         string
		want         explain.Kind
		did          string // what somebody did, to a culprit of the story
		says         string
		shown, never []string
	}{
		{"leader-crash", explain.LeaderEnded, "killed", "the votes of two of three are a majority", []string{"before", "after"}, nil},
		{"split-vote", explain.MajorityGone, "killed", "Each asks first who would vote for it", nil, nil},
		{"partition", explain.LeaderCutOff, "cut ways", `to write "smaller side", and does not acknowledge it.`, []string{"larger%20side"}, []string{"smaller%20side"}},
		{"snapshot", explain.SnapshotSent, "killed", "gets a snapshot (§7).", []string{"filling%200", "filling%2049"}, nil},
		{"rejoin", explain.Refused, "emptied the disk", "They refuse it, and it has ended.", []string{"before", "after"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			captions, told, stories := played(t, c.name, func(w *world) {
				for _, id := range w.ids {
					for _, key := range append(c.shown, c.never...) {
						if got, want := w.ask(id, "GET", "/v1/kv/"+key, ""), slices.Contains(c.shown, key); got != want {
							t.Errorf("%s shows %s: %v, want %v", id, key, got, want)
						}
					}
				}
			})
			if slices.ContainsFunc(stories, func(s explain.Story) bool { return s.Kind == explain.ClockJumped || s.Kind == explain.Disorder }) {
				t.Errorf("the events are put in a wrong order:\n%s", told)
			}
			if !strings.Contains(captions, c.says) {
				t.Errorf("nobody says %q in\n%s", c.says, captions)
			}
			about := slices.IndexFunc(stories, func(s explain.Story) bool { return s.Kind == c.want })
			if about < 0 || !slices.ContainsFunc(stories, func(s explain.Story) bool {
				return s.Kind == explain.Staged && strings.Contains(s.Sentences[0], c.did) && slices.Contains(stories[about].Culprits, s.Culprits[0])
			}) {
				t.Errorf("of %s by somebody who %s nothing is told in\n%s%s", c.want, c.did, told, captions)
			}
		})
	}
}

// Goal: what cannot be done to a node is refused with a sentence that says what can.
func TestFaultsThatCannotBeAreRefused(t *testing.T) {
	s := New(nil)
	s.Add("n1", nil)
	for _, c := range []struct {
		fault Fault
		says  string
	}{
		{Fault{Do: "explode", Node: "n1"}, "choose one of cut, go-on, hang"},
		{Fault{Do: "kill"}, "needs a node; choose one of n1"},
		{Fault{Do: "kill", Node: "n9"}, "there is no node \"n9\"; choose one of n1"},
		{Fault{Do: "cut", Node: "n1", To: "n9"}, "there is no node \"n9\""},
		{Fault{Do: "kill", Node: "n1"}, "does not run; start it first"},
		{Fault{Do: "slow", Node: "n1", Ms: 10_001}, "choose 0 to 10000"},
		{Fault{Do: "slow", Node: "n1", Ms: -1}, "choose 0 to 10000"},
		{Fault{Do: "lose", Node: "n1"}, "0 of 1 nodes run and have all their data"},
	} {
		if err := s.Do(c.fault); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.fault, err)
		}
	}
	if _, err := FindScenario("hamlet"); err == nil || !strings.Contains(err.Error(), "figure8, leader-crash") {
		t.Errorf("%v", err)
	}
}
