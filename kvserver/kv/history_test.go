package kv

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/internal/truth"
)

// smallHistory are rules under which a history forgets all the time.
var smallHistory = rules{sessions: 4, lanes: 5, lanesTotal: 11, records: 40, events: 25, historyMin: 500}

// copied returns the store as a snapshot brings it to another server.
func copied(t *testing.T, s *Store) *Store {
	t.Helper()
	whole := written(t, s)
	again, err := restoreInto(newStore(s.rules), bytes.NewReader(whole), inTurn)
	if err != nil {
		t.Fatalf("a snapshot at index %d: %v", s.AppliedIndex(), err)
	}
	if !bytes.Equal(written(t, again), whole) {
		t.Fatal("what was restored is written as other bytes")
	}
	return again
}

// pair is what the random test runs: two stores, one of which goes through snapshots,
// and both models.
type pair struct {
	t           *testing.T
	here, there *Store
	plain       *model
	truth       *truth.Model
}

// apply applies one command to all, and compares the answers.
func (p *pair) apply(index uint64, c Command) Result {
	p.t.Helper()
	b := EncodeCommand(c)
	got, also := p.here.Apply(index, b), p.there.Apply(index, b)
	if !sameResult(got, also) {
		p.t.Fatalf("index %d, %+v: %+v, and behind a snapshot %+v", index, c, got, also)
	}
	switch c.Op {
	case OpSettings:
		p.truth.SetLimit(number(p.t, c))
		return got
	case OpForget:
		if p.truth.Forget(number(p.t, c)) != (got.Status == StatusOK) {
			p.t.Fatalf("index %d: forget %d gave %v; compacted is %d, revision %d", index, number(p.t, c), got.Status, p.truth.Compacted, p.truth.Revision)
		}
		return got
	}
	want := p.plain.apply(index, c)
	want.ID = c.ID
	if !sameResult(got, want) {
		p.t.Fatalf("index %d, %+v:\n store %+v\n model %+v", index, c, got, want)
	}
	if want.Status != StatusOK || want.Replayed {
		return got
	}
	if p.plain.many != nil && c.Op.onMany() {
		return got // the model has done it
	}
	switch c.Op {
	case OpPut:
		p.truth.Put(string(c.Key), string(c.Value))
	case OpAppend:
		p.truth.Append(string(c.Key), string(c.Value))
	case OpDelete:
		p.truth.Delete(string(c.Key))
	}
	return got
}

func number(t *testing.T, c Command) uint64 {
	t.Helper()
	f := read(c.Value[1:])
	n := f.Number()
	if f.Bad() {
		t.Fatal("no number")
	}
	return n
}

// compare compares everything that is kept with the model.
func (p *pair) compare(index uint64) {
	p.t.Helper()
	if p.here.Digest() != p.there.Digest() || p.here.Hash() != p.there.Hash() {
		p.t.Fatalf("index %d: behind a snapshot the state is another", index)
	}
	if diff := p.plain.difference(&p.here.state); diff != "" {
		p.t.Fatalf("index %d: %s", index, diff)
	}
	p.compareHistory(index)
}

// compareHistory compares the items and the history with the model of them.
func (p *pair) compareHistory(index uint64) {
	p.t.Helper()
	if p.here.Len() != len(p.truth.Items) {
		p.t.Fatalf("index %d: %d keys, the model has %d", index, p.here.Len(), len(p.truth.Items))
	}
	p.here.Ascend("", "", func(key string, i Item) bool {
		if got, want := plainItem(i, p.here.TieOf(key).Lease), p.truth.Items[key]; *got != want {
			p.t.Fatalf("index %d, %q: %+v, want %+v", index, key, *got, want)
		}
		return true
	})
	h := p.here.History()
	bytes, events := p.truth.Bytes()
	if h.Oldest() != p.truth.Oldest() || h.Revision() != p.truth.Revision || p.here.HistoryBytes() != bytes || p.here.HistoryEvents() != events {
		p.t.Fatalf("index %d: from %d to %d, %d bytes, %d events; want %d to %d, %d, %d", index, h.Oldest(), h.Revision(),
			p.here.HistoryBytes(), p.here.HistoryEvents(), p.truth.Oldest(), p.truth.Revision, bytes, events)
	}
	for after := h.Oldest() - 1; after <= h.Revision(); after++ {
		if got, want := fmt.Sprint(changesOf(h, after)), fmt.Sprint(spelled(p.truth.After(after, truth.Prefix("")))); got != want {
			p.t.Fatalf("index %d, behind revision %d:\n got %s\nwant %s", index, after, got, want)
		}
	}
	if h.Oldest() > 1 && h.Reaches(h.Oldest()-2) {
		p.t.Fatalf("index %d: a history from %d reaches %d", index, h.Oldest(), h.Oldest()-2)
	}
}

// plainItem puts an item into the model's words, nil if there is none.
func plainItem(i Item, lease int64) *truth.Item {
	if i.Version == 0 {
		return nil
	}
	return &truth.Item{Value: string(i.Value), Revision: i.Revision, Version: i.Version, Created: i.Created, Lease: lease}
}

func changesOf(h History, after uint64) []string {
	var changes []truth.Change
	h.Scan(after, func(e *Event) bool {
		if n := len(changes); n == 0 || changes[n-1].Revision != e.Revision {
			changes = append(changes, truth.Change{Revision: e.Revision})
		}
		c := &changes[len(changes)-1]
		c.Events = append(c.Events, truth.Event{Op: strings.TrimSpace(e.Op.String() + " " + e.Op.Reason()), Key: e.Key, Item: plainItem(e.Item, e.Lease), Prev: plainItem(e.Prev, e.PrevLease)})
		return true
	})
	return spelled(changes)
}

func spelled(changes []truth.Change) (all []string) {
	item := func(i *truth.Item) string {
		if i == nil {
			return "none"
		}
		return fmt.Sprintf("%q r%d v%d c%d l%d", i.Value, i.Revision, i.Version, i.Created, i.Lease)
	}
	for _, c := range changes {
		for _, e := range c.Events {
			all = append(all, fmt.Sprintf("%d: %s %q %s, before %s", c.Revision, e.Op, e.Key, item(e.Item), item(e.Prev)))
		}
	}
	return all
}

// Goal: the history is what the rules say, and equal on every server, whatever way its
// state came there. Method: random traffic, settings and forgetting to two stores, of
// which one is replaced by its snapshot at random; both are compared with plain models,
// answer by answer and event by event. The level rises at the beginning or somewhere on
// the way.
func TestTheHistoryAgreesWithAPlainModel(t *testing.T) {
	forgot, gone, snapshots := 0, 0, 0
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 12))
		p := &pair{t: t, here: newStore(smallHistory), there: newStore(smallHistory), plain: newModel(smallHistory), truth: truth.New()}
		p.truth.MaxEvents = smallHistory.events
		g := &traffic{r: r}
		rises := uint64(1 + r.IntN(2)*r.IntN(300))
		var old History
		var oldChanges string
		for index := uint64(1); index <= 700; index++ {
			switch {
			case index == rises:
				for _, s := range []*Store{p.here, p.there} {
					if err := s.AdvanceLevel(index, LevelHistory); err != nil {
						t.Fatal(err)
					}
				}
				p.plain.revision = max(1, p.plain.revision)
				p.truth.Activate()
			case r.IntN(30) == 0 && index > rises:
				p.apply(index, Settings([]uint64{0, 500, 1000, 3000, MaxHistoryBytes}[r.IntN(5)]))
			case r.IntN(20) == 0 && index > rises:
				before := p.truth.Compacted
				p.apply(index, Forget(p.truth.Revision+2-min(p.truth.Revision, uint64(r.IntN(20)))))
				if p.truth.Compacted > before {
					forgot++
				}
			default:
				c := g.next(index)
				g.sent = append(g.sent, c)
				p.apply(index, c)
			}
			if r.IntN(25) == 0 {
				p.there = copied(t, p.there)
				snapshots++
			}
			if index < rises || index%7 != 0 {
				continue
			}
			p.compare(index)
			if old.Active() {
				if now := fmt.Sprint(changesOf(old, old.Oldest()-1)); now != oldChanges {
					t.Fatalf("seed %d: the history frozen at revision %d changed:\n%s\n%s", seed, old.Revision(), oldChanges, now)
				}
			}
			if r.IntN(4) == 0 {
				old = p.here.History()
				oldChanges = fmt.Sprint(changesOf(old, old.Oldest()-1))
			}
		}
		gone += len(p.truth.All) - len(p.truth.Kept())
	}
	if forgot < 50 || gone < 1000 || snapshots < 100 {
		t.Errorf("void: forgot %d times, %d changes gone, %d snapshots", forgot, gone, snapshots)
	}
}

// Goal: at the base level nothing of the history shows, neither in bytes nor in
// digests, and the level takes in what came before at no cost. Method: the same traffic
// to a store that stays and to one that is raised behind it; the bytes of the first are
// those of version 3, and items from before count as created at 1.
func TestTheLevelBeginsTheHistory(t *testing.T) {
	s := populated(t)
	before, sum := s.Digest(), s.sum
	if s.DigestVersion() != 1 || written(t, s)[len(snapshotMagic)] != 3 || s.Level() != LevelBase {
		t.Fatal("a store at the base level writes something else")
	}
	revision := s.Revision()
	if err := s.AdvanceLevel(s.AppliedIndex()+1, LevelHistory); err != nil {
		t.Fatal(err)
	}
	h := s.History()
	if s.sum != sum || s.Digest() == before || s.DigestVersion() != 2 || s.Revision() != revision || h.Oldest() != revision+1 || !h.Reaches(revision) || h.Reaches(revision-1) {
		t.Errorf("raised at revision %d it stands at %d, oldest %d", revision, s.Revision(), h.Oldest())
	}
	key := []byte("key9")
	old, _ := s.Get(key)
	put(s, "key9", "new")
	item, _ := s.Get(key)
	if old.Creation() != 1 || item.Creation() != 1 || item.Created != 0 {
		t.Errorf("created at %d, and overwritten at %d", old.Creation(), item.Created)
	}
	if whole := written(t, s); whole[len(snapshotMagic)] != 4 {
		t.Errorf("written in version %d", whole[len(snapshotMagic)])
	}
	fresh := NewAt(LevelHistory)
	if h := fresh.History(); fresh.Revision() != 1 || h.Oldest() != 1 || !h.Reaches(0) {
		t.Errorf("a fresh store stands at %d, its history begins at %d", fresh.Revision(), h.Oldest())
	}
	if r := put(fresh, "a", "1"); r.Revision != 2 {
		t.Errorf("the first change has revision %d", r.Revision)
	}
	if _, err := New().ApplyKnown(1, EncodeCommand(Settings(0))); err == nil {
		t.Error("a command of the level is applied before it is reached")
	}
	if err := New().AdvanceLevel(1, LevelMax+1); err == nil {
		t.Error("a level that nobody knows is taken in")
	}
	if !panics(func() { _ = NewAt(LevelHistory).AdvanceLevel(1, LevelBase) }) {
		t.Error("the level falls")
	}
}

// Goal: a state that begins with a copy has no history: bookmarks of the original mean
// nothing in it. Method: lift a copy, by nothing and by much.
func TestALiftedStoreHasNoHistory(t *testing.T) {
	for _, by := range []uint64{0, 1 << 40} {
		s := NewAt(LevelHistory)
		put(s, "a", "1")
		put(s, "a", "2")
		if err := s.Lift(by); err != nil {
			t.Fatal(err)
		}
		h := s.History()
		if h.Oldest() != 4+by || h.Reaches(2+by) || s.HistoryEvents() != 0 {
			t.Errorf("lifted by %d: revision %d, oldest %d, %d events", by, s.Revision(), h.Oldest(), s.HistoryEvents())
		}
		put(s, "a", "3")
		if again := copied(t, s); again.Digest() != s.Digest() {
			t.Error("it cannot be copied")
		}
	}
}

// Goal: what large values cost is bounded: a chunk does not keep many of them alive.
// Method: overwrite a value of 100 KiB many times under the least limit, and count what
// the chunks still hold.
func TestChunksDoNotKeepWhatIsGone(t *testing.T) {
	s := NewAt(LevelHistory)
	apply(s, Settings(MinHistoryBytes))
	value := string(make([]byte, 100<<10))
	for range 1000 {
		put(s, "k", value)
	}
	held := uint64(0)
	for _, c := range s.state.history.chunks {
		for i := range c.list {
			held += uint64(len(c.list[i].Prev.Value))
		}
	}
	if held > MinHistoryBytes+2*chunkCharge {
		t.Errorf("chunks hold %d bytes where %d are kept", held, s.HistoryBytes())
	}
	h := s.History()
	if h.Reaches(1) || !h.Reaches(h.Revision()-300) {
		t.Errorf("the history reaches from %d to %d", h.Oldest(), h.Revision())
	}
}

// Goal: every single difference in the history shows in the digest. Method: change one
// thing of a copy in place.
func TestTheDigestShowsEveryDifferenceOfTheHistory(t *testing.T) {
	base := func() *Store {
		s := NewAt(LevelHistory)
		put(s, "a", "1")
		put(s, "b", "2")
		put(s, "a", "3")
		apply(s, Command{Op: OpDelete, Key: []byte("b")})
		return s
	}
	s := base()
	for name, change := range map[string]func(*Store){
		"limit":     func(s *Store) { s.historyLimit++ },
		"compacted": func(s *Store) { s.compacted++ },
		"level":     func(s *Store) { s.level++ },
		"created": func(s *Store) {
			at, item := s.look([]byte("a"))
			item.Created++
			s.items.replace(at.row, item)
		},
		"previous value":   func(s *Store) { s.state.history.at(2).Prev.Value = []byte("x") },
		"previous version": func(s *Store) { s.state.history.at(2).Prev.Version++ },
		"previous created": func(s *Store) { s.state.history.at(2).Prev.Created++ },
		"operation":        func(s *Store) { s.state.history.at(3).Op = EventPut },
		"revision":         func(s *Store) { s.state.history.at(1).Revision++ },
		"key":              func(s *Store) { s.state.history.at(1).Key = "c" },
		"event lost":       func(s *Store) { s.state.history.pop() },
	} {
		changed := base()
		change(changed)
		if changed.Hash() == s.Hash() {
			t.Errorf("%s: the hash does not show it", name)
		}
		var b bytes.Buffer
		if _, err := changed.WriteTo(&b); changed.Digest() == s.Digest() && err == nil {
			t.Errorf("%s: the digest does not show it", name)
		}
	}
}

// Goal: settings and forgetting refuse what cannot be, by content, on every server
// alike; a body of a later version stops the server. Method: bodies at the edges.
func TestSettingsAndForgettingAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		command Command
		want    Status
	}{
		"the least":         {Settings(MinHistoryBytes), StatusOK},
		"none":              {Settings(0), StatusOK},
		"too little":        {Settings(MinHistoryBytes - 1), StatusUnknownCommand},
		"too much":          {Settings(MaxHistoryBytes + 1), StatusUnknownCommand},
		"no body":           {Command{Op: OpSettings}, StatusUnknownCommand},
		"a body cut off":    {Command{Op: OpForget, Value: []byte{1}}, StatusUnknownCommand},
		"more than a body":  {Command{Op: OpForget, Value: []byte{1, 2, 0}}, StatusUnknownCommand},
		"with a key":        {Command{Op: OpForget, Key: []byte("k"), Value: []byte{1, 2}}, StatusUnknownCommand},
		"in a session":      {Command{Op: OpForget, Session: SessionCall{ID: 1, Seq: 1}, Value: []byte{1, 2}}, StatusUnknownCommand},
		"the present one":   {Forget(3), StatusOK},
		"beyond":            {Forget(4), StatusNotForgettable},
		"the first":         {Forget(1), StatusOK},
		"far beyond int64s": {Forget(1 << 63), StatusNotForgettable},
		"a lift too far":    {Raise(1 << 53), StatusUnknownCommand},
		"a lift with a key": {Command{Op: OpLift, Key: []byte("k"), Value: []byte{1, 2}}, StatusUnknownCommand},
	} {
		s := NewAt(LevelHistory)
		put(s, "a", "1")
		put(s, "a", "2")
		if r := apply(s, c.command); r.Status != c.want || r.Revision != 3 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	s := NewAt(LevelHistory)
	put(s, "a", "1")
	put(s, "a", "2")
	apply(s, Forget(3))
	if h := s.History(); apply(s, Forget(3)).Status != StatusNotForgettable || len(changesOf(h, 2)) != 1 {
		t.Error("to forget what came before 3 takes 3 with it, or can be done twice")
	}
	_, err := s.ApplyKnown(s.AppliedIndex()+1, EncodeCommand(Command{Op: OpForget, Value: []byte{2, 3}}))
	if err == nil {
		t.Error("a body of a later version is applied")
	}
}

// historyParts returns the contents of a payload with a history.
func historyParts(t testing.TB) parts {
	s := NewAt(LevelHistory)
	put(s, "a", "1")
	apply(s, Command{Op: OpAppend, Key: []byte("a"), Value: []byte("2")})
	put(s, "b", "")
	apply(s, Command{Op: OpDelete, Key: []byte("a")})
	put(s, "a", "new")
	apply(s, Forget(3))
	return contentsOf(t, written(t, s))
}

// Goal: a history that no store wrote is refused, and one of a later version by name.
// Method: one change each, under the digest of what is read.
func TestWhatAHistoryMayNotHoldIsRefused(t *testing.T) {
	good := historyParts(t)
	if _, err := Restore(bytes.NewReader(historyPayload(good))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		section string
		content []byte
	}{
		"an unknown operation":    {"history", slices.Concat([]byte{9, 3, 1, 'a', 0}, good["history"])},
		"no operation":            {"history", slices.Concat([]byte{0, 3, 1, 'a', 0}, good["history"])},
		"a delete of nothing":     {"history", slices.Concat([]byte{2, 3, 1, 'a', 0}, good["history"])},
		"a revision twice":        {"history", slices.Concat(good["history"], []byte{1, 2, 1, 'a', 0})},
		"a revision to come":      {"history", slices.Concat(good["history"], []byte{1, 99, 1, 'a', 0})},
		"a put that did nothing":  {"history", slices.Concat(good["history"], []byte{1, 6, 1, 'x', 0})},
		"an event cut off":        {"history", good["history"][:len(good["history"])-1]},
		"the base level":          {"state", append(good["state"][:len(good["state"]):len(good["state"])][:5:5], 2, 4, 0, 0)},
		"a level to come":         {"state", append(good["state"][:5:5], 4, 4, 0, 0)},
		"a limit that is too low": {"state", append(good["state"][:5:5], 3, 4, 0, 5)},
	} {
		contents := maps.Clone(good)
		contents[c.section] = c.content
		if _, err := Restore(bytes.NewReader(historyPayload(contents))); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// historyPayload writes a payload of LevelHistory with these contents and the digest
// that belongs to them, as far as they can be read.
func historyPayload(contents parts) []byte {
	return payloadWith(payloads[1].version, payloads[1].sections, contents)
}

// FuzzHistory: arbitrary contents of the sections that a history changes, under the
// right lengths and the right digest. What is accepted has exactly the bytes that it
// was read from.
func FuzzHistory(f *testing.F) {
	good := historyParts(f)
	f.Add(good["state"], good["items"], good["history"])
	f.Add(good["state"], good["items"], good["history"][:len(good["history"])/2])
	f.Add(good["state"], []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, state, items, events []byte) {
		b := historyPayload(parts{"state": state, "items": items, "history": events})
		s, err := Restore(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := written(t, s); !bytes.Equal(again, b) {
			t.Fatalf("%x was read and written as %x", b, again)
		}
		h := s.History()
		if h.Oldest() <= h.Revision()+1 {
			changesOf(h, h.Oldest()-min(1, h.Oldest()))
		}
	})
}

// FuzzControl: any body of a command that changes no key has one answer, and bytes
// that are accepted are those that are written.
func FuzzControl(f *testing.F) {
	f.Add(byte(OpSettings), Settings(MinHistoryBytes).Value)
	f.Add(byte(OpForget), Forget(1).Value)
	f.Fuzz(func(t *testing.T, op byte, value []byte) {
		c := Command{Op: OpForget, Value: value}
		if op%2 == 0 {
			c.Op = OpSettings
		}
		s := NewAt(LevelHistory)
		put(s, "a", "1")
		r, err := s.ApplyKnown(2, EncodeCommand(c))
		if err != nil || r.Status != StatusOK {
			return
		}
		if want := body(number(t, c)); !bytes.Equal(want, value) {
			t.Fatalf("%x is accepted for %x", value, want)
		}
	})
}
