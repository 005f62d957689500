package membership

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/raft/members"
)

// electionRest is for how long a new leader leaves the members as they are: an election is
// a sign that something is going on. maxLookGap is the longest time between two looks that
// counts as silence: a leader that was stopped itself has not seen which members were silent meanwhile.
// minDeadAfter and minReplaceAfter are the least that may be chosen for Settings.DeadAfter
// and ReplaceAfter, in milliseconds.
const (
	electionRest    = 10 * time.Minute
	maxLookGap      = 10 * time.Second
	minDeadAfter    = 10 * 60_000
	minReplaceAfter = 10_000
)

// What the autopilot does. The names are those of the status and the metrics.
const (
	ActionReplace       = "replace"        // a spare gets the place of a dead voter
	ActionRemoveVoter   = "remove_voter"   // a dead voter goes, where enough healthy ones remain
	ActionRemoveLearner = "remove_learner" // a dead learner or replica goes
)

// Actions lists what the autopilot does, in the order in which it looks for something to do.
var Actions = []string{ActionReplace, ActionRemoveVoter, ActionRemoveLearner}

// Action is one thing that the autopilot does with the members.
type Action struct {
	Kind   string
	Target members.ID // the dead one
	Spare  members.ID // that takes its place; None: nobody does
}

// String says the action to people.
func (a Action) String() string {
	switch a.Kind {
	case ActionReplace:
		return fmt.Sprintf("autopilot: %s votes in the place of %s, which is silent", a.Spare, a.Target)
	case ActionRemoveVoter:
		return fmt.Sprintf("autopilot: the voter %s is removed, which is silent", a.Target)
	}
	return fmt.Sprintf("autopilot: the member %s is removed, which has no vote and is silent", a.Target)
}

// ask returns the action as a change.
func (a Action) ask(v *View) Ask {
	ask := Ask{ID: fmt.Sprintf("autopilot-%d-%d", v.Term, v.Newest.Index)}
	if a.Kind == ActionReplace {
		ask.Replace = []Replacement{{Old: a.Target, New: a.Spare}}
	} else {
		ask.Remove = []members.ID{a.Target}
	}
	return ask
}

// Autopilot decides what a leader does with members that are dead. It is a plain value: it
// is told what the leader sees and what the time is, and it remembers for how long each
// member has been silent. It never lowers the number of voters below the one that is
// wanted, and it has at most one action at a time.
//
// The zero value has seen nothing. It is not safe for concurrent use.
type Autopilot struct {
	term   uint64
	seen   time.Time     // of the last look
	led    time.Duration // seen of this term
	silent map[occupant]time.Duration
}

// occupant is one stay of a member in the cluster: a name that comes again begins anew.
type occupant struct {
	id    members.ID
	added uint64
}

// Observe takes in what the leader sees at a time. It is called with every look, whether or
// not the autopilot is on; times do not go back.
func (a *Autopilot) Observe(now time.Time, v *View) {
	gap := min(now.Sub(a.seen), maxLookGap)
	if a.silent == nil || a.term != v.Term {
		*a = Autopilot{term: v.Term, silent: map[occupant]time.Duration{}}
		gap = 0
	}
	a.seen, a.led = now, a.led+gap
	silent := map[occupant]time.Duration{}
	if r := v.Newest.Record; r != nil {
		for i := range r.Members {
			m := &r.Members[i]
			if v.node(m.ID).Answers {
				continue
			}
			o := occupant{m.ID, m.Added}
			silence, before := a.silent[o]
			if before {
				silence += gap
			}
			silent[o] = silence
		}
	}
	a.silent = silent
}

// Silent returns for how long each silent member has been seen to be silent by this leader.
func (a *Autopilot) Silent() map[members.ID]time.Duration {
	silent := make(map[members.ID]time.Duration, len(a.silent))
	for o, long := range a.silent {
		silent[o.id] = long
	}
	return silent
}

// Decision is what the autopilot makes of what it has seen.
type Decision struct {
	Due    bool // the action is to be made
	Action Action
	Plan   Plan // of the action
	// Waits says why nothing is done about the first silent member, where nothing is due; ""
	// if no member is silent. It stays the same for as long as the reason does.
	Waits string
}

// Next decides by what was observed last, which v must be. It changes nothing.
func (a *Autopilot) Next(v *View) (d Decision) {
	r := v.Newest.Record
	if r == nil || !r.Settings.Autopilot {
		return Decision{}
	}
	for _, kind := range Actions {
		for i := range r.Members {
			action, wanted, not := a.propose(v, kind, &r.Members[i])
			if wanted {
				if not = a.refuse(v, action.Target); not == "" {
					plan, err := Decide(*v, action.ask(v))
					if err == nil {
						return Decision{Due: true, Action: action, Plan: plan}
					}
					not = failure.Detail(err)
				}
				not = fmt.Sprintf("%s is silent, and nothing is done about it: %s", action.Target, not)
			}
			d.Waits = cmp.Or(d.Waits, not)
		}
	}
	return d
}

// propose returns what is to be done with a member by one kind of action. wanted is false
// if nothing is; then not says what is missing, "" if the action is none for it at all.
func (a *Autopilot) propose(v *View, kind string, m *members.Member) (action Action, wanted bool, not string) {
	r := v.Newest.Record
	silence, silent := a.silent[occupant{m.ID, m.Added}]
	votes := m.Role == members.Voter
	if !silent || m.Role == members.Leaving || votes == (kind == ActionRemoveLearner) {
		return Action{}, false, ""
	}
	action = Action{Kind: kind, Target: m.ID}
	after := time.Duration(r.Settings.DeadAfter) * time.Millisecond
	if kind == ActionReplace {
		after = time.Duration(r.Settings.ReplaceAfter) * time.Millisecond
	}
	if silence < after {
		return action, false, fmt.Sprintf("%s is silent, and has to be for %v before something is done about it", m.ID, after)
	}
	switch kind {
	case ActionReplace:
		if action.Spare = v.spare(m.ID); action.Spare == members.None {
			return action, false, fmt.Sprintf("%s is silent, and there is no spare that is ready to take its place", m.ID)
		}
	case ActionRemoveVoter:
		if healthy := len(v.healthy(without(r.Voters(), m.ID))); healthy < r.Settings.Wanted {
			return action, false, fmt.Sprintf("%s is silent, and stays a voter: without it %d voters are healthy, and %d are wanted", m.ID, healthy, r.Settings.Wanted)
		}
	}
	return action, true, ""
}

// spare returns the learner that takes the place of a voter: the first that is ready, that
// may be promoted, and that is not kept for another voter's place. None: there is none.
func (v *View) spare(dead members.ID) members.ID {
	r := v.Newest.Record
	for i := range r.Members {
		m := &r.Members[i]
		if m.Role != members.Learner || !m.Promote || !v.node(m.ID).Ready {
			continue
		}
		kept := r.Member(m.Replaces)
		if m.Replaces == dead || kept == nil || kept.Role != members.Voter {
			return m.ID
		}
	}
	return members.None
}

// refuse says why nothing may be done at this moment about a member, "" if it may.
func (a *Autopilot) refuse(v *View, target members.ID) string {
	if !v.Settled {
		return "another change of the members has not ended"
	}
	if a.led < electionRest {
		return fmt.Sprintf("this leader was elected less than %v ago", electionRest)
	}
	builds := map[string]bool{}
	for _, id := range v.ids() {
		n := v.node(id)
		if id != target && !n.Healthy && v.Newest.Record.Member(id).Role == members.Voter {
			return fmt.Sprintf("the voter %s is not healthy either", id)
		}
		if !n.Answers {
			continue
		}
		if n.Shown == nil {
			return fmt.Sprintf("%s has not said which program it runs", id)
		}
		builds[n.Shown.Build] = true
	}
	if len(builds) > 1 {
		return fmt.Sprintf("the members run different programs: %v", slices.Sorted(maps.Keys(builds)))
	}
	return ""
}
