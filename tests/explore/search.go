package explore

import "fmt"

// World is one state of a system. W is the type itself and A that of its actions. A
// world never changes: Do leaves its receiver as it is.
type World[W, A any] interface {
	// Actions appends what may happen next, in an order that depends on the world
	// alone. With none the world is an end.
	Actions(to []A) []A
	// Do returns the world after one of its actions.
	Do(action A) W
	// Key returns the canonical form. Worlds with equal keys have equal futures, and
	// only one of them is looked at.
	Key() Key
	// Check returns the promise that is broken in this world, or was broken on the
	// last step towards it. end says that the world has no actions.
	Check(end bool) error
}

// Options say how a search is made. The zero Options visit everything.
type Options[W, A any] struct {
	States int           // end before there are more states than these; 0 means any number
	Stop   func() bool   // is asked now and then; true ends the search; may be nil
	Visit  func(W, bool) // is shown every state once, and whether it is an end; may be nil
	Done   func(W, A, W) // is shown every step: before, action, after; may be nil
}

// stopEvery is the number of steps between two questions of Options.Stop.
const stopEvery = 4096

// Result is what a search found.
type Result[A any] struct {
	States   int   // different states, the first one included
	Steps    int   // actions done
	Ends     int   // different states without actions
	Depth    int   // the longest way that was followed, in actions
	Complete bool  // nothing ended the search early
	Broken   error // the first promise that was found broken; nil if none was
	Trace    []A   // the way to it
}

// String says the counts in one line.
func (r *Result[A]) String() string {
	complete := "complete"
	if !r.Complete {
		complete = "stopped"
	}
	text := fmt.Sprintf("%d states, %d steps, %d ends, depth %d, %s", r.States, r.Steps, r.Ends, r.Depth, complete)
	if r.Broken != nil {
		text += fmt.Sprintf("; broken after %d actions: %v", len(r.Trace), r.Broken)
	}
	return text
}

// Search visits every state that first leads to, depth first, until a promise is
// broken. It holds one key for each state, and the worlds of one way.
func Search[W World[W, A], A any](first W, options Options[W, A]) Result[A] {
	s := search[W, A]{Options: options}
	s.enter(first)
	for len(s.way) > 0 && s.Broken == nil {
		top := &s.way[len(s.way)-1]
		if top.next == len(top.actions) {
			s.way = s.way[:len(s.way)-1]
			continue
		}
		if s.isOver() {
			return s.Result
		}
		action := top.actions[top.next]
		top.next++
		s.Steps++
		world := top.world.Do(action)
		if s.Done != nil {
			s.Done(top.world, action, world)
		}
		s.enter(world)
	}
	s.Complete = s.Broken == nil
	return s.Result
}

// search is the state of a Search.
type search[W World[W, A], A any] struct {
	Options[W, A]
	Result[A]
	seen seen
	way  []crossing[W, A]
}

// crossing is a world on the way, and how many of its actions have been followed.
type crossing[W, A any] struct {
	world   W
	actions []A
	next    int
}

// isOver reports whether a limit is reached.
func (s *search[W, A]) isOver() bool {
	return s.Options.States > 0 && s.Result.States >= s.Options.States || s.Stop != nil && s.Steps%stopEvery == 0 && s.Stop()
}

// enter goes on to a world, if it was not seen before.
func (s *search[W, A]) enter(world W) {
	if !s.seen.add(world.Key()) {
		return
	}
	s.Result.States++
	depth := len(s.way)
	s.Depth = max(s.Depth, depth)
	var room []A
	if depth < cap(s.way) { // the place may have been used before
		room = s.way[:depth+1][depth].actions[:0]
	}
	actions := world.Actions(room)
	end := len(actions) == 0
	if end {
		s.Ends++
	}
	if s.Broken = world.Check(end); s.Broken != nil {
		for i := range s.way {
			s.Trace = append(s.Trace, s.way[i].actions[s.way[i].next-1])
		}
		return
	}
	if s.Visit != nil {
		s.Visit(world, end)
	}
	s.way = append(s.way, crossing[W, A]{world: world, actions: actions})
}
