package txn

import "sort"

// overlay is what a transaction has written so far, over a state that does not change.
type overlay struct {
	under State
	// drafts are the keys that were written to, in the order of that; byKey are the same
	// in the order of their bytes.
	drafts, byKey []*draft
	bytes         int // of keys and values that the state would hold now
	replaced      int // of keys and values that drafts replace or remove
	tieBytes      int
}

// draft is a key that was written to. Item has version 0 if it is gone.
type draft struct {
	Change
	own     bool // the value's array belongs to the transaction, with what is behind it
	written bool // an operation has put or deleted the key
	lives   Lives
}

// at returns where a key stands, or would stand, among the drafts.
func (v *overlay) at(key string) (place int, found bool) {
	place = sort.Search(len(v.byKey), func(i int) bool { return v.byKey[i].Key >= key })
	return place, place < len(v.byKey) && v.byKey[place].Key == key
}

// find returns a key's item as it is now.
func (v *overlay) find(key string) (Item, bool) {
	if at, drafted := v.at(key); drafted {
		i := v.byKey[at].Item
		return i, i.Version != 0
	}
	return v.under.Find(key)
}

// ascend calls fn for the keys of a range as they are now. What fn writes does not
// show in it, and it must not add drafts.
func (v *overlay) ascend(s Span, fn func(key string, item Item) bool) {
	at, _ := v.at(s.From)
	// before calls fn for the drafts that stand before a key, all of them for "".
	before := func(key string) bool {
		for ; at < len(v.byKey) && (key == "" || v.byKey[at].Key < key); at++ {
			d := v.byKey[at]
			if !s.holds(d.Key) {
				return false
			}
			if d.Item.Version != 0 && !fn(d.Key, d.Item) {
				return false
			}
		}
		return true
	}
	more := true
	v.under.Ascend(s.From, func(key string, item Item) bool {
		if !s.holds(key) {
			return false
		}
		if more = before(key); !more {
			return false
		}
		if at < len(v.byKey) && v.byKey[at].Key == key {
			return true // its turn comes before the next key
		}
		more = fn(key, item)
		return more
	})
	if more {
		before("")
	}
}

// draftOf returns the draft of a key, which is made if there is none yet.
func (v *overlay) draftOf(key string) *draft {
	at, drafted := v.at(key)
	if drafted {
		return v.byKey[at]
	}
	before, _ := v.under.Find(key)
	d := &draft{Change: Change{Key: key, Item: before, Before: before, Kept: before.Version != 0}, lives: v.under.Lives(key)}
	v.drafts = append(v.drafts, d)
	v.byKey = append(v.byKey, nil)
	copy(v.byKey[at+1:], v.byKey[at:])
	v.byKey[at] = d
	return d
}

// lives returns what a key is tied to as it is now.
func (v *overlay) lives(key string) Lives {
	if at, drafted := v.at(key); drafted {
		return v.byKey[at].lives
	}
	return v.under.Lives(key)
}

// tie ties a key to something else than before.
func (v *overlay) tie(d *draft, t Tie) {
	if d.lives.Tied {
		v.bytes -= v.tieBytes
	}
	d.Kept, d.Tie, d.lives = false, t, Lives{Tied: t != Tie{}, Lease: t.Lease}
	if d.lives.Tied {
		v.bytes += v.tieBytes
	}
}

// set puts an item under a key, which is gone if the item has version 0.
func (v *overlay) set(d *draft, i Item) {
	if !d.written && d.Before.Version != 0 {
		v.replaced += len(d.Key) + len(d.Before.Value)
	}
	d.written = true
	if d.Item.Version != 0 {
		v.bytes -= len(d.Key) + len(d.Item.Value)
	}
	if i.Version != 0 {
		v.bytes += len(d.Key) + len(i.Value)
	}
	d.Item = i
}

// changes returns the net changes, in the order in which their keys were written to
// first.
func (v *overlay) changes() (all []Change) {
	for _, d := range v.drafts {
		if d.Before.Version != 0 || d.Item.Version != 0 {
			d.Touched = !d.written
			all = append(all, d.Change)
		}
	}
	return all
}
