package clerkd

import (
	"fmt"

	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// appendNote writes one thing that a watch hands out.
func (f *watched) appendNote(dst []byte, out *watch.Out) []byte {
	n := clerkwire.Note{Revision: out.Revision}
	switch out.Kind {
	case watch.Item:
		n.Kind, n.Key, n.State = clerkwire.NoteItem, []byte(out.Key), f.state(&out.Item)
	case watch.Synced:
		n.Kind, n.Items = clerkwire.NoteState, uint64(out.Items)
	case watch.Change:
		n.Kind = clerkwire.NoteChange
		n.Events = make([]clerkwire.Event, len(out.Events))
		for i, e := range out.Events {
			n.Events[i] = f.event(e)
		}
	case watch.Progress:
		n.Kind = clerkwire.NoteProgress
	case watch.Reset:
		n.Kind, n.Revision = clerkwire.NoteReset, out.Oldest
	default:
		panic(fmt.Sprintf("clerkd: there is no way to write the kind %d", out.Kind))
	}
	return clerkwire.AppendNote(dst, &n)
}

// event describes one event. Operations have the same numbers in the store.
func (f *watched) event(e *kv.Event) clerkwire.Event {
	to := clerkwire.Event{Key: []byte(e.Key), Op: clerkwire.EventOp(e.Op)}
	if e.Item.Version != 0 {
		to.After = f.state(&e.Item)
	}
	if f.prev && e.Existed() {
		to.HadPrev, to.Prev = true, f.state(&e.Prev)
	}
	return to
}

// state describes an item.
func (f *watched) state(i *kv.Item) clerkwire.State {
	s := clerkwire.State{Revision: i.Revision, Version: i.Version, Created: i.Creation()}
	if !f.keysOnly {
		s.Value = i.Value
	}
	return s
}
