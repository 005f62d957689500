package verify

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"raftkv/client"
)

// streams judges what watches were brought, by what was written: every revision once, in
// order and whole, none left out and none invented, with the items of that revision, and
// the same on every node. It is safe for concurrent use.
//
// What the writers heard and what the streams were brought are noted as they come. The
// judgement is made at the end: then the changes are gone through in the order of their
// revisions, on a plain map, and each must be what its write does to that map.
type streams struct {
	*ledger

	mu      sync.Mutex // guards the fields below
	prefix  string     // of all keys
	written map[uint64]write
	unknown map[string]write // writes whose outcome is not known, by the values they put
	doubted map[string]int   // deletes whose outcome is not known, by key
	from    uint64           // when nothing had been written
	newest  uint64           // revision of a write that was answered
	union   map[uint64]brought
	all     []*segment
}

// write is what a call puts, each key with a value that no other call writes, and what it
// deletes.
type write struct {
	puts    map[string]string
	deletes []string
}

// segment is what one stream was brought from a place on, without a gap.
type segment struct {
	name     string
	prefix   string // that it follows
	prev     bool   // its changes have what was there before
	from, to uint64 // what it was brought is everything behind from, up to to
	changes  []mark
	state    *mark // that it began with; nil: it began with changes
}

// brought is a change as the stream brought it that knows most of it.
type brought struct {
	changes []client.Change
	prev    bool // with what was there before
}

// mark is a sum over what a revision brought.
type mark struct{ revision, sum uint64 }

func newStreams(prefix string, from uint64) *streams {
	return &streams{
		ledger: newLedger(), prefix: prefix, written: map[uint64]write{}, unknown: map[string]write{}, doubted: map[string]int{},
		union: map[uint64]brought{}, from: from, newest: from,
	}
}

// answered notes a write that was done and has a revision.
func (s *streams) answered(w write, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = max(s.newest, revision)
	s.written[revision] = w
}

// lost notes a write whose outcome is not known.
func (s *streams) lost(w write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range w.puts { // each names the write
		s.unknown[value] = w
	}
	if len(w.puts) == 0 {
		for _, key := range w.deletes {
			s.doubted[key]++
		}
	}
}

// answeredUpTo returns the newest revision that a writer has heard of.
func (s *streams) answeredUpTo() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// begin begins a segment behind a revision, or with a state, which comes first.
func (s *streams) begin(name, prefix string, prev bool, after uint64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &segment{name: name, prefix: prefix, prev: prev, from: after, to: after}
	s.all = append(s.all, g)
	return g
}

// take notes an event of a segment; items are those of the state at a StateComplete.
func (s *streams) take(g *segment, e *client.WatchEvent, items []client.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case client.StateComplete:
		g.from, g.to, g.state = e.Revision, e.Revision, &mark{e.Revision, sumOfItems(items)}
		return
	case client.Progress:
		if e.Revision < g.to {
			s.fault("%s: the bookmark %d came behind revision %d (W1)", g.name, e.Revision, g.to)
		}
	case client.Changed:
		switch {
		case e.Revision == g.to:
			s.fault("%s: revision %d came twice, or behind its bookmark (W2, W6)", g.name, e.Revision)
		case e.Revision < g.to:
			s.fault("%s: revision %d came behind %d (W1)", g.name, e.Revision, g.to)
		}
		if len(e.Changes) == 0 {
			s.fault("%s: revision %d came without an event (W14)", g.name, e.Revision)
		}
		g.changes = append(g.changes, mark{e.Revision, sumOfChanges(e.Changes, g.prefix)})
		held := s.union[e.Revision]
		if more := len(e.Changes) - len(held.changes); more > 0 || more == 0 && !held.prev {
			s.union[e.Revision] = brought{e.Changes, g.prev}
		}
	}
	g.to = max(g.to, e.Revision)
}

// syncedBehind judges a Sync: revision is what it returned, newest what was answered before
// it was called.
func (s *streams) syncedBehind(name string, revision, newest uint64) {
	if revision < newest {
		s.fault("%s: a Sync returned %d, and a write of revision %d had been answered before (W6)", name, revision, newest)
	}
}

// sumOfChanges is a sum over the events whose keys have a prefix.
func sumOfChanges(changes []client.Change, prefix string) uint64 {
	h := fnv.New64a()
	for i := range changes {
		c := &changes[i]
		if strings.HasPrefix(c.Key, prefix) {
			fmt.Fprintf(h, "%q %q %s;", c.Op, c.Key, numbers(&c.Item))
		}
	}
	return h.Sum64()
}

func sumOfItems(items []client.Item) uint64 {
	slices.SortFunc(items, func(a, b client.Item) int { return cmp.Compare(a.Key, b.Key) })
	h := fnv.New64a()
	for i := range items {
		fmt.Fprintf(h, "%q %d %s;", items[i].Key, items[i].Revision, numbers(&items[i]))
	}
	return h.Sum64()
}

func numbers(i *client.Item) string { return fmt.Sprintf("%q %d %d", i.Value, i.Version, i.Created) }

// judge goes through all changes up to the last that was answered.
func (s *streams) judge() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.all {
		s.count("events", len(g.changes))
		s.count("streams", 1)
	}
	s.count("changes", len(s.union))
	if at := s.gap(s.newest); at != 0 {
		s.missing("no stream was brought revision %d: the history does not reach so far back, or the cluster was not there long enough", at)
		return s.report("events")
	}
	revisions := make([]uint64, 0, len(s.union)+len(s.written))
	for revision := range s.union { // sorted below
		revisions = append(revisions, revision)
	}
	for revision := range s.written { // sorted below
		if _, brought := s.union[revision]; !brought {
			revisions = append(revisions, revision)
		}
	}
	slices.Sort(revisions)
	states := s.statesByRevision()
	now := map[string]client.Item{}
	for _, revision := range revisions {
		for len(states) > 0 && states[0].from < revision {
			s.judgeState(states[0], now)
			states = states[1:]
		}
		s.judgeChange(revision, now)
	}
	for _, g := range states {
		s.judgeState(g, now)
	}
	for _, g := range s.all {
		s.judgeSegment(g, revisions)
	}
	return s.report("events")
}

// statesByRevision returns the segments that began with a state.
func (s *streams) statesByRevision() (all []*segment) {
	for _, g := range s.all {
		if g.state != nil {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(a.from, b.from) })
	return all
}

func (s *streams) judgeState(g *segment, now map[string]client.Item) {
	var items []client.Item
	for key, item := range now { // sorted by sumOfItems
		if strings.HasPrefix(key, g.prefix) {
			items = append(items, item)
		}
	}
	s.count("states", 1)
	if sumOfItems(items) != g.state.sum {
		s.fault("%s: the state at revision %d is not that of the store, which had %d keys then (W7)", g.name, g.from, len(items))
	}
}

// judgeChange compares what was brought of a revision with what its write does.
func (s *streams) judgeChange(revision uint64, now map[string]client.Item) {
	changes := s.union[revision].changes
	w, found := s.written[revision]
	if !found {
		w, found = s.doubtful(changes)
	}
	if !found {
		s.fault("revision %d was brought, %s, and nobody wrote that (W14)", revision, describeChanges(changes))
	}
	want := map[string]*client.Item{} // nil: a delete
	for key, value := range w.puts {
		was := now[key]
		item := client.Item{Key: key, Value: []byte(value), Revision: revision, Version: was.Version + 1, Created: was.Created}
		if was.Version == 0 {
			item.Created = revision
		}
		want[key] = &item
	}
	for _, key := range w.deletes {
		if _, puts := w.puts[key]; now[key].Version != 0 && !puts {
			want[key] = nil
		}
	}
	switch {
	case len(changes) == 0 && len(want) > 0:
		s.fault("the write of revision %d was answered, and no stream was brought it (W3)", revision)
	case len(changes) > 0 && len(changes) != len(want) && found:
		s.fault("revision %d has %d events, and its write makes %d: %s (W4)", revision, len(changes), len(want), describeChanges(changes))
	}
	for i := range changes {
		s.judgeEvent(revision, &changes[i], want, now, found)
	}
	for key, item := range want {
		if item != nil {
			now[key] = *item
		} else {
			delete(now, key)
		}
	}
}

func (s *streams) judgeEvent(revision uint64, c *client.Change, want map[string]*client.Item, now map[string]client.Item, known bool) {
	item, wanted := want[c.Key]
	switch {
	case known && !wanted:
		s.fault("revision %d has an event of the key %s, and its write does not change it (W14)", revision, c.Key)
		return
	case known && (c.Op == client.ChangePut) != (item != nil):
		s.fault("revision %d brings a %s of the key %s, and its write did the other (W8)", revision, c.Op, c.Key)
	case known && item != nil && numbers(&c.Item) != numbers(item):
		s.fault("revision %d brings %s as %s, and it is %s (W8)", revision, c.Key, numbers(&c.Item), numbers(item))
	}
	was, there := now[c.Key]
	switch {
	case c.Prev == nil && there && s.union[revision].prev:
		s.fault("revision %d says that there was no %s before, and there was, of revision %d (W8)", revision, c.Key, was.Revision)
	case c.Prev != nil && (!there || c.Prev.Revision != was.Revision || numbers(c.Prev) != numbers(&was)):
		s.fault("revision %d says that %s was %s before, of revision %d, and it was %s, of revision %d (W8)",
			revision, c.Key, numbers(c.Prev), c.Prev.Revision, numbers(&was), was.Revision)
	}
	if !known { // go on from what is said
		if c.Op == client.ChangePut {
			now[c.Key] = c.Item
		} else {
			delete(now, c.Key)
		}
	}
}

// doubtful returns the write of unknown outcome that changes show, which it can do once.
func (s *streams) doubtful(changes []client.Change) (write, bool) {
	for i := range changes {
		if w, found := s.unknown[string(changes[i].Item.Value)]; found && changes[i].Op == client.ChangePut {
			for _, value := range w.puts {
				delete(s.unknown, value)
			}
			return w, true
		}
	}
	if len(changes) == 1 && changes[0].Op != client.ChangePut && s.doubted[changes[0].Key] > 0 {
		s.doubted[changes[0].Key]--
		return write{deletes: []string{changes[0].Key}}, true
	}
	return write{}, false
}

// gap returns where, behind the beginning and up to a revision, no stream of all keys was
// in place, so that nobody knows which writes of unknown outcome were done. 0: nowhere.
func (s *streams) gap(upTo uint64) (revision uint64) {
	whole := slices.DeleteFunc(slices.Clone(s.all), func(g *segment) bool { return g.prefix != s.prefix })
	slices.SortFunc(whole, func(a, b *segment) int { return cmp.Compare(a.from, b.from) })
	at := s.from
	for _, g := range whole {
		if g.from > at {
			break
		}
		at = max(at, g.to)
	}
	if at < upTo {
		return at + 1
	}
	return 0
}

// judgeSegment compares what a stream was brought with what all streams were.
func (s *streams) judgeSegment(g *segment, revisions []uint64) {
	next := 0
	for _, revision := range revisions {
		matches := slices.ContainsFunc(s.union[revision].changes, func(c client.Change) bool { return strings.HasPrefix(c.Key, g.prefix) })
		if revision <= g.from || revision > g.to || !matches {
			continue
		}
		if next == len(g.changes) || g.changes[next].revision != revision {
			s.fault("%s: it was brought everything behind %d up to %d but revision %d, %s (W3)", g.name, g.from, g.to, revision, describeChanges(s.union[revision].changes))
			return
		}
		if g.changes[next].sum != sumOfChanges(s.union[revision].changes, g.prefix) {
			s.fault("%s: it was brought another revision %d than other streams: they have %s (W4, W10)", g.name, revision, describeChanges(s.union[revision].changes))
		}
		next++
	}
}

// describeChanges says what a change did, in a few words.
func describeChanges(changes []client.Change) string {
	const shown = 3
	var all []string
	for i := range changes {
		if i == shown {
			all = append(all, fmt.Sprintf("and %d more", len(changes)-shown))
			break
		}
		all = append(all, fmt.Sprintf("%s %s %s", changes[i].Op, changes[i].Key, shorten(string(changes[i].Item.Value))))
	}
	return strings.Join(all, ", ")
}
