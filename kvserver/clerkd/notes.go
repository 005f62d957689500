package clerkd

import (
	"fmt"

	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// addNote writes one thing that a watch hands out.
func (f *watched) addNote(to *clerkwire.Pieces, out *watch.Out) {
	n := clerkwire.Note{Revision: out.Revision}
	switch out.Kind {
	case watch.Item:
		n.Kind, n.Key, n.State = clerkwire.NoteItem, []byte(out.Key), f.state(&out.Item, out.Lease)
		if out.OfLock {
			n.Kind = clerkwire.NoteHolder
		}
	case watch.Synced:
		n.Kind, n.Items = clerkwire.NoteState, uint64(out.Items)
	case watch.Change:
		to.AddChange(out.Revision, len(out.Events), func(i int) clerkwire.Event { return f.event(out.Events[i]) })
		return
	case watch.Progress:
		n.Kind = clerkwire.NoteProgress
	case watch.Reset:
		n.Kind, n.Revision = clerkwire.NoteReset, out.Oldest
	default:
		panic(fmt.Sprintf("clerkd: there is no way to write the kind %d", out.Kind))
	}
	to.Add(&n)
}

// event describes one event. Operations have the same numbers in the store.
func (f *watched) event(e *kv.Event) clerkwire.Event {
	to := clerkwire.Event{Key: []byte(e.Key), Op: clerkwire.EventOp(e.Op)}
	switch {
	case e.Item.Version != 0:
		to.After = f.state(&e.Item, e.Lease)
	case e.OfLock(): // a release names the holder before
		to.After = f.state(&e.Prev, e.PrevLease)
	}
	if f.prev && e.Existed() && !e.OfLock() {
		to.HadPrev, to.Prev = true, f.state(&e.Prev, e.PrevLease)
	}
	return to
}

// state describes an item that is tied to a lease, or a holder of a lock.
func (f *watched) state(i *kv.Item, lease int64) clerkwire.State {
	s := clerkwire.State{Revision: i.Revision, Version: i.Version, Created: i.Creation(), Lease: uint64(lease)}
	if !f.keysOnly {
		s.Value = i.Value
	}
	return s
}
