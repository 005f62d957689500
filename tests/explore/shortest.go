package explore

import "slices"

// Shortest visits states breadth first, so that the way to the first broken promise is
// as short as any. It holds all worlds of two depths: it is for what Search has found
// broken already.
func Shortest[W World[W, A], A any](first W, options Options[W, A]) Result[A] {
	b := breadth[W, A]{search: search[W, A]{Options: options}}
	b.reach(first, 0, nil)
	for len(b.next) > 0 && b.Broken == nil {
		present := b.next
		b.next = nil
		b.Depth++
		for i := range present {
			if b.follow(&present[i]); b.Broken != nil {
				break
			}
			if b.over {
				return b.Result
			}
			present[i].world, present[i].actions = *new(W), nil // not needed any more
		}
	}
	b.Complete = b.Broken == nil
	return b.Result
}

// breadth is the state of a Shortest.
type breadth[W World[W, A], A any] struct {
	search[W, A]
	ways []arrival[A] // how each state was reached; the first one has no way
	next []reached[W, A]
	over bool
}

// arrival is how a state was reached first.
type arrival[A any] struct {
	from   int // the state before, as its place in ways
	action A
}

// reached is a state whose actions have not been followed.
type reached[W, A any] struct {
	world   W
	actions []A
	place   int // in ways
}

// follow does all actions of a state.
func (b *breadth[W, A]) follow(from *reached[W, A]) {
	for i := range from.actions {
		if b.over = b.isOver(); b.over {
			return
		}
		b.Steps++
		if b.reach(from.world.Do(from.actions[i]), from.place, &from.actions[i]); b.Broken != nil {
			return
		}
	}
}

// reach takes in a world, if it was not seen before. action is nil for the first.
func (b *breadth[W, A]) reach(world W, from int, action *A) {
	if !b.seen.add(world.Key()) {
		return
	}
	b.Result.States++
	place := len(b.ways)
	arrived := arrival[A]{from: from}
	if action != nil {
		arrived.action = *action
	}
	b.ways = append(b.ways, arrived)
	actions := world.Actions(nil)
	end := len(actions) == 0
	if end {
		b.Ends++
	}
	if b.Broken = world.Check(end); b.Broken != nil {
		for place > 0 {
			b.Trace = append(b.Trace, b.ways[place].action)
			place = b.ways[place].from
		}
		slices.Reverse(b.Trace)
		return
	}
	if b.Visit != nil {
		b.Visit(world, end)
	}
	b.next = append(b.next, reached[W, A]{world, actions, place})
}
