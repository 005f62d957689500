package stage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
)

// Fault is what somebody does to a node.
type Fault struct {
	// Do is one of the verbs of Verbs.
	Do   string  `json:"do"`
	Node core.ID `json:"node,omitempty"`
	// To is the other node of a way that is cut: Node is not heard there any more.
	To core.ID `json:"to,omitempty"`
	// Ms is by how many milliseconds a sync takes longer, up to maxSlow.
	Ms int `json:"ms,omitempty"`
}

const maxSlow = 10 * time.Second

// verb is one thing that can be done.
type verb struct {
	why recorder.Why // what the event says
	do  func(s *Stage, f Fault) error
}

var verbs = map[string]verb{
	"kill":   {recorder.StagedKill, func(s *Stage, f Fault) error { return s.Kill(f.Node) }},
	"stop":   {recorder.StagedStop, func(s *Stage, f Fault) error { return s.Stop(f.Node) }},
	"start":  {recorder.StagedStart, func(s *Stage, f Fault) error { return s.Start(f.Node) }},
	"lose":   {recorder.StagedLoss, func(s *Stage, f Fault) error { return s.Lose(f.Node) }},
	"rejoin": {recorder.StagedRejoin, func(s *Stage, f Fault) error { return s.Rejoin(f.Node) }},
	"pause":  {recorder.StagedPause, func(s *Stage, f Fault) error { return s.Pause(f.Node) }},
	"go-on":  {recorder.StagedGoOn, func(s *Stage, f Fault) error { return s.GoOn(f.Node) }},
	"cut":    {recorder.StagedCut, (*Stage).cut},
	"heal":   {recorder.StagedHeal, (*Stage).heal},
	"slow":   {recorder.StagedSlowDisk, func(s *Stage, f Fault) error { return s.Disk(f.Node, func(d *Disk) { d.Slow(f.slow()) }) }},
	"hang":   {recorder.StagedHungDisk, func(s *Stage, f Fault) error { return s.Disk(f.Node, (*Disk).Hang) }},
	"let-go": {recorder.StagedFreeDisk, func(s *Stage, f Fault) error {
		return s.Disk(f.Node, func(d *Disk) { d.Slow(0); d.Go() })
	}},
}

// Verbs returns all that can be done, sorted.
func Verbs() (all []string) {
	for v := range verbs {
		all = append(all, v)
	}
	slices.Sort(all)
	return all
}

func (f Fault) slow() time.Duration { return time.Duration(f.Ms) * time.Millisecond }

// Do does something to a node, and has it recorded by a node that runs, so that what is
// told afterwards is true: somebody did it.
func (s *Stage) Do(f Fault) error {
	v, known := verbs[f.Do]
	switch {
	case !known:
		return fmt.Errorf("nobody can do %.40q to a node; choose one of %s", f.Do, strings.Join(Verbs(), ", "))
	case f.Ms < 0 || f.slow() > maxSlow:
		return fmt.Errorf("ms is %d; choose 0 to %d", f.Ms, maxSlow.Milliseconds())
	case f.Node == "" && f.Do != "heal":
		return fmt.Errorf("to %s needs a node; choose one of %s", f.Do, list(s.Nodes()))
	}
	for _, id := range []core.ID{f.Node, f.To} {
		if id != "" && !slices.Contains(s.Nodes(), id) {
			return fmt.Errorf("there is no node %.40q; choose one of %s", id, list(s.Nodes()))
		}
	}
	if err := v.do(s, f); err != nil {
		return err
	}
	s.note(f.Node, v.why)
	return nil
}

func list(ids []core.ID) string {
	var names []string
	for _, id := range ids {
		names = append(names, string(id))
	}
	return strings.Join(names, ", ")
}

// note lets one node record what was done: another one than that to which it was done, if
// there is any, because that one may not get to it.
func (s *Stage) note(to core.ID, why recorder.Why) {
	ids := slices.DeleteFunc(s.Nodes(), func(id core.ID) bool { return id == to })
	if to != "" {
		ids = append(ids, to)
	}
	for _, id := range ids {
		if n := s.Node(id); n != nil {
			n.Staged(to, why)
			return
		}
	}
}

// cut cuts a node off from all others, or one way between two nodes.
func (s *Stage) cut(f Fault) error {
	if f.To == "" {
		return s.CutOff(f.Node)
	}
	s.Network.Shut(f.Node, f.To)
	return nil
}

// heal opens the ways of a node, or all of them.
func (s *Stage) heal(f Fault) error {
	if f.Node == "" {
		s.Network.OpenAll()
		return nil
	}
	for _, other := range s.Nodes() {
		s.Network.Open(f.Node, other)
		s.Network.Open(other, f.Node)
	}
	return nil
}
