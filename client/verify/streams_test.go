package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/client"
)

// story is a history of writes, and what three streams were brought of it: two of all
// keys, the second of which began with the state, and one of the keys that begin with k1.
type story struct {
	*streams
	whole, stated, narrow []client.WatchEvent
	items                 []client.Item
	after                 uint64 // that all have come to
}

func putChange(key, value string, revision, version, created uint64, prev *client.Item) client.Change {
	return client.Change{Op: client.ChangePut, Key: key, Item: client.Item{Key: key, Value: []byte(value), Revision: revision, Version: version, Created: created}, Prev: prev}
}

func changed(revision uint64, changes ...client.Change) client.WatchEvent {
	return client.WatchEvent{Kind: client.Changed, Revision: revision, Changes: changes}
}

func newStory() *story {
	s := &story{streams: newStreams("p/", 10), after: 20}
	s.answered(write{puts: map[string]string{"p/k1": "a"}}, 11)
	s.answered(write{puts: map[string]string{"p/k1": "b", "p/k2": "c"}}, 12)
	s.answered(write{deletes: []string{"p/k1"}}, 14)
	s.lost(write{puts: map[string]string{"p/k3": "d"}})
	s.lost(write{deletes: []string{"p/k2"}})
	first := putChange("p/k1", "a", 11, 1, 11, nil)
	second := putChange("p/k1", "b", 12, 2, 11, &first.Item)
	third := putChange("p/k2", "c", 12, 1, 12, nil)
	s.whole = []client.WatchEvent{
		changed(11, first), changed(12, second, third), {Kind: client.Progress, Revision: 13},
		changed(14, client.Change{Op: client.ChangeDelete, Key: "p/k1", Prev: &second.Item}),
		changed(15, putChange("p/k3", "d", 15, 1, 15, nil)),
		changed(16, client.Change{Op: client.ChangeDelete, Key: "p/k2", Prev: &third.Item}),
		{Kind: client.Progress, Revision: 20},
	}
	s.items = []client.Item{second.Item, third.Item}
	s.stated = append([]client.WatchEvent{{Kind: client.StateComplete, Revision: 13}}, apart(s.whole[3:]...)...)
	s.narrow = apart(s.whole[0], changed(12, second), s.whole[3], s.whole[6])
	return s
}

// apart are events whose changes can be changed without those of others.
func apart(events ...client.WatchEvent) (all []client.WatchEvent) {
	for _, e := range events {
		e.Changes = slices.Clone(e.Changes)
		all = append(all, e)
	}
	return all
}

func (s *story) tell() Report {
	for i, events := range [][]client.WatchEvent{s.whole, s.stated, s.narrow} {
		g := s.begin(fmt.Sprintf("watch %d", i), []string{"p/", "p/", "p/k1"}[i], true, 10)
		for _, e := range events {
			e.Changes = slices.Clone(e.Changes)
			s.take(g, &e, slices.Clone(s.items))
		}
	}
	return s.judge()
}

// Goal: what no watch may bring is found, each with the promise that it breaks (W1 to W4, W6
// to W8, W10, W14), and what one may bring is not, writes of unknown outcome included.
// Method: a small history with one thing wrong in it.
func TestWhatStreamsMayNotBring(t *testing.T) {
	if r := newStory().tell(); r.Verdict != Kept || r.Counts["changes"] != 5 || r.Counts["states"] != 1 {
		t.Fatalf("the story as it is: %+v", r)
	}
	for name, c := range map[string]struct {
		change  func(s *story)
		verdict Verdict
		says    string
	}{
		"one left out":               {func(s *story) { s.whole = slices.Delete(s.whole, 3, 4) }, Broken, "but revision 14"},
		"one left out of all":        {func(s *story) { s.answered(write{puts: map[string]string{"p/k4": "e"}}, 17) }, Broken, "(W3)"},
		"the last left out of one":   {func(s *story) { s.narrow = slices.Delete(s.narrow, 2, 3) }, Broken, "but revision 14"},
		"twice":                      {func(s *story) { s.whole = slices.Insert(s.whole, 3, s.whole[1]) }, Broken, "(W1)"},
		"twice in a row":             {func(s *story) { s.whole = slices.Insert(s.whole, 1, s.whole[0]) }, Broken, "(W2, W6)"},
		"in another order":           {func(s *story) { s.whole[0], s.whole[1] = s.whole[1], s.whole[0] }, Broken, "(W1)"},
		"behind its bookmark":        {func(s *story) { s.whole[2].Revision = 14 }, Broken, "(W2, W6)"},
		"a bookmark that goes back":  {func(s *story) { s.whole[2].Revision = 11 }, Broken, "bookmark 11"},
		"a change in two":            {func(s *story) { s.whole[1].Changes = s.whole[1].Changes[:1] }, Broken, "(W4)"},
		"a part of a change, by all": {func(s *story) { s.whole[1].Changes = s.whole[1].Changes[1:]; s.narrow = s.narrow[:1] }, Broken, "(W4)"},
		"without an event":           {func(s *story) { s.narrow[1].Changes = nil }, Broken, "(W14)"},
		"another value":              {func(s *story) { s.stated[2].Changes[0].Item.Value = []byte("z") }, Broken, "another revision 15"},
		"another value, by all": {func(s *story) {
			s.whole[0].Changes[0].Item.Value, s.narrow[0].Changes[0].Item.Value = []byte("z"), []byte("z")
		}, Broken, "(W8)"},
		"another version":             {func(s *story) { s.narrow[1].Changes[0].Item.Version = 3 }, Broken, "revision 12"},
		"another creation":            {func(s *story) { s.whole[4].Changes[0].Item.Created = 12 }, Broken, "(W8)"},
		"another former item":         {func(s *story) { s.whole[5].Changes[0].Prev = &s.items[0] }, Broken, "(W8)"},
		"a former item of nothing":    {func(s *story) { s.whole[4].Changes[0].Prev = &s.items[0] }, Broken, "(W8)"},
		"no former item":              {func(s *story) { s.whole[5].Changes[0].Prev = nil }, Broken, "there was no p/k2"},
		"a delete instead of a put":   {func(s *story) { s.whole[0].Changes[0].Op = client.ChangeDelete }, Broken, "revision 11"},
		"what nobody wrote":           {func(s *story) { s.whole = append(s.whole, changed(21, putChange("p/k9", "z", 21, 1, 21, nil))) }, Broken, "nobody wrote"},
		"a delete that nobody made":   {func(s *story) { s.whole = append(s.whole, changed(21, client.Change{Op: "delete", Key: "p/k3"})) }, Broken, "nobody wrote"},
		"an unknown write, twice":     {func(s *story) { s.whole = append(s.whole, changed(21, putChange("p/k3", "d", 21, 2, 15, nil))) }, Broken, "nobody wrote"},
		"a state with a key too few":  {func(s *story) { s.items = s.items[1:] }, Broken, "(W7)"},
		"a state with an old key":     {func(s *story) { s.items[0].Value = []byte("a") }, Broken, "(W7)"},
		"a Sync that is behind":       {func(s *story) { s.syncedBehind("watch 9", 13, s.answeredUpTo()) }, Broken, "(W6)"},
		"a Sync as it must be":        {func(s *story) { s.syncedBehind("watch 9", 14, s.answeredUpTo()) }, Kept, ""},
		"unknown and did not happen":  {func(s *story) { s.lost(write{puts: map[string]string{"p/k5": "q"}}) }, Kept, ""},
		"a stream that ends early":    {func(s *story) { s.narrow = s.narrow[:1] }, Kept, ""},
		"a stream without events":     {func(s *story) { s.narrow = s.narrow[3:] }, Broken, "(W3)"},
		"no stream over all":          {func(s *story) { s.whole = s.whole[:1] }, Undecided, "revision 12"},
		"a gap that a state does not": {func(s *story) { s.whole, s.stated = nil, nil }, Undecided, "revision 11"},
	} {
		s := newStory()
		c.change(s)
		r := s.tell()
		if text := strings.Join(r.Faults, "\n") + r.Missing; r.Verdict != c.verdict || !strings.Contains(text, c.says) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Goal: an end before its time is found, whatever shows it, and so are keys of a lease that
// do not go together, an end that is taken back, one that comes at once behind an outage, and
// a change that nobody made; what is in doubt is not judged (L1, L3, L6, L7, L9). Method:
// lives, each with one thing in it.
func TestWhatEndsMayNotDo(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	removes := func(keys ...string) (all []client.Change) {
		for _, key := range keys {
			all = append(all, client.Change{Op: "expire", Key: key})
		}
		return all
	}
	for name, c := range map[string]struct {
		happens func(e *ends, l *life)
		says    string // "": nothing
	}{
		"in time":                      {func(e *ends, l *life) { e.take(removes("a", "b"), at(2001)) }, ""},
		"late":                         {func(e *ends, l *life) { e.over(l, at(9000)); e.take(removes("a", "b"), at(9000)) }, ""},
		"early, by the watch":          {func(e *ends, l *life) { e.take(removes("a", "b"), at(1990)) }, "(L1)"},
		"early, by a read":             {func(e *ends, l *life) { e.over(l, at(1990)) }, "(L1)"},
		"early, though kept alive":     {func(e *ends, l *life) { e.extend(l, at(1500), 2*time.Second); e.over(l, at(2100)) }, "(L1)"},
		"early, and the answer behind": {func(e *ends, l *life) { e.over(l, at(2100)); e.extend(l, at(1500), 2*time.Second) }, "(L1)"},
		"an old answer":                {func(e *ends, l *life) { e.extend(l, at(-500), 2*time.Second); e.over(l, at(2001)) }, ""},
		"taken back":                   {func(e *ends, l *life) { e.over(l, at(2100)); e.extend(l, at(2200), 2*time.Second) }, "(L6)"},
		"one after the other":          {func(e *ends, l *life) { e.take(removes("a"), at(2001)); e.take(removes("b"), at(2001)) }, "(L7)"},
		"with another life":            {func(e *ends, l *life) { e.take(removes("a", "b", "c"), at(2001)) }, ""},
		"in doubt":                     {func(e *ends, l *life) { e.doubted(l); e.take(removes("a"), at(5)) }, ""},
		"over an outage":               {func(e *ends, l *life) { e.config.Outages.Add(at(1000), at(6000)); e.over(l, at(5900)) }, "(L3)"},
		"behind an outage":             {func(e *ends, l *life) { e.config.Outages.Add(at(1000), at(6000)); e.over(l, at(6100)) }, ""},
		"an outage before it":          {func(e *ends, l *life) { e.config.Outages.Add(at(-5000), at(-1)); e.over(l, at(2001)) }, ""},
		"a short outage":               {func(e *ends, l *life) { e.config.Outages.Add(at(1000), at(1900)); e.over(l, at(2001)) }, ""},
		"kept alive behind an outage": {func(e *ends, l *life) {
			e.config.Outages.Add(at(1000), at(6000))
			e.extend(l, at(6100), 2*time.Second)
			e.over(l, at(8200))
		}, ""},
		"seen to be touched": {func(e *ends, l *life) { e.take([]client.Change{{Op: client.ChangePut, Key: "a"}}, at(5)) }, "(L9)"},
	} {
		e := &ends{ledger: newLedger(), config: &Config{Outages: new(Outages)}, byKey: map[string]*life{}}
		l, other := &life{prefix: "l/"}, &life{prefix: "m/"}
		e.begin(l, "a", "b")
		e.begin(other, "c")
		e.wrote(l)
		e.take([]client.Change{{Op: client.ChangePut, Key: "a"}}, at(1))
		e.extend(l, at(0), 2*time.Second)
		c.happens(e, l)
		e.countShown()
		if r := e.report("ends seen"); (c.says != "") != (r.Verdict == Broken) || r.Found > 1 && name != "one after the other" || !strings.Contains(strings.Join(r.Faults, ""), c.says) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
