package watch

import (
	"slices"

	"raftkv/kvserver/kv"
)

// What a state is made of: the keys that are selected, and then the holders of locks.

// stateOfKeys hands out the next keys that are selected. It looks at no others. size is about
// that of outs.
func (s *Stream) stateOfKeys() (outs []Out, size int) {
	for len(s.parts) > 0 && size < pieceBytes {
		part, whole := &s.parts[0], true
		s.view.AscendRange(part.From, part.To, func(key string, item kv.Item) bool {
			if size >= pieceBytes {
				part.From, whole = key, false
				return false
			}
			outs = append(outs, Out{Kind: Item, Revision: s.position, Key: key, Item: item, Lease: s.view.LeaseOf(key)})
			size += 64 + len(key) + len(item.Value)
			s.items++
			return true
		})
		if whole {
			s.parts = s.parts[1:]
		}
		size += 64 // a search
	}
	return outs, size
}

// stateOfLocks hands out the holders of the locks that are selected, and reports whether
// these are all. size is about that of outs.
func (s *Stream) stateOfLocks(outs []Out, size int) (all []Out, done bool) {
	for names := s.options.Selectors.Locks; s.locks < len(names) && size < pieceBytes; s.locks++ {
		name := names[s.locks]
		if slices.Contains(names[:s.locks], name) {
			continue // it was named before
		}
		for _, held := range s.view.HoldersOf(name) {
			outs = append(outs, Out{Kind: Item, Revision: s.position, Key: name, Item: held.Item, Lease: held.Lease, OfLock: true})
			size += 64 + len(name) + len(held.Item.Value)
			s.items++
		}
	}
	return outs, s.locks == len(s.options.Selectors.Locks)
}
