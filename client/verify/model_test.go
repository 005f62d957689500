package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// told is one request of a history: when it was made and answered, and how.
type told struct {
	call, back int64
	asked      request
	heard      heard
}

func historyOf(all ...told) *History {
	h := newHistory()
	for i, o := range all {
		o.asked.key = "k"
		back := o.back
		if o.heard.unknown {
			back = never
		}
		h.byKey["k"] = append(h.byKey["k"], porcupine.Operation{ClientId: i, Input: o.asked, Call: o.call, Output: o.heard, Return: back})
	}
	return h
}

// Goal: what no store could have said is found, and what one could have said is
// not. Method: small histories, each with one thing in it.
func TestHistories(t *testing.T) {
	put1 := told{1, 2, request{action: put, value: "a"}, heard{revision: 5}}
	unknownPut := told{3, 0, request{action: put, value: "b"}, heard{unknown: true}}
	read := func(call, back int64, value string, revision uint64) told {
		return told{call, back, request{action: get}, heard{value: value, revision: revision}}
	}
	for name, c := range map[string]struct {
		history []told
		want    Verdict
	}{
		"a read of what was written":              {[]told{put1, read(3, 4, "a", 5)}, Linearizable},
		"a read of nothing after a write":         {[]told{put1, read(3, 4, "", 0)}, Violation},
		"a read of nothing beside a write":        {[]told{put1, read(1, 4, "", 0)}, Linearizable},
		"a stale read":                            {[]told{put1, {3, 4, request{action: put, value: "b"}, heard{revision: 6}}, read(5, 6, "a", 5)}, Violation},
		"reads that go back":                      {[]told{put1, unknownPut, read(4, 5, "b", 6), read(6, 7, "a", 5)}, Violation},
		"an unknown write that happened":          {[]told{put1, unknownPut, read(4, 5, "b", 6)}, Linearizable},
		"an unknown write that happened late":     {[]told{put1, unknownPut, read(4, 5, "a", 5), read(6, 7, "b", 6)}, Linearizable},
		"an unknown write that did not happen":    {[]told{put1, unknownPut, read(4, 5, "a", 5)}, Linearizable},
		"an unknown write before it was asked":    {[]told{put1, read(1, 2, "b", 6), unknownPut}, Violation},
		"a value of nobody":                       {[]told{put1, read(3, 4, "z", 6)}, Violation},
		"a revision of another write":             {[]told{put1, read(3, 4, "a", 9)}, Violation},
		"revisions that fall":                     {[]told{put1, {3, 4, request{action: put, value: "b"}, heard{revision: 4}}}, Violation},
		"an append":                               {[]told{put1, {3, 4, request{action: add, value: "b"}, heard{revision: 6}}, read(5, 6, "ab", 6)}, Linearizable},
		"an append that happened twice":           {[]told{put1, {3, 4, request{action: add, value: "b"}, heard{revision: 6}}, read(5, 6, "abb", 7)}, Violation},
		"an unknown append that happened twice":   {[]told{put1, {3, 0, request{action: add, value: "b"}, heard{unknown: true}}, read(5, 6, "abb", 7)}, Violation},
		"a delete":                                {[]told{put1, {3, 4, request{action: remove}, heard{}}, read(5, 6, "", 0)}, Linearizable},
		"a delete that found nothing":             {[]told{put1, {3, 4, request{action: remove}, heard{refused: true}}}, Violation},
		"a delete of nothing that found it":       {[]told{{3, 4, request{action: remove}, heard{}}}, Violation},
		"a swap that holds":                       {[]told{put1, {3, 4, request{action: swap, value: "b", expected: "a"}, heard{revision: 6}}, read(5, 6, "b", 6)}, Linearizable},
		"a swap that was refused and held":        {[]told{put1, {3, 4, request{action: swap, value: "b", expected: "a"}, heard{refused: true}}}, Violation},
		"a swap that was refused":                 {[]told{put1, {3, 4, request{action: swap, value: "b", expected: "x"}, heard{refused: true}}}, Linearizable},
		"two swaps on the same value":             {[]told{put1, {3, 4, request{action: swap, value: "b", expected: "a"}, heard{revision: 6}}, {3, 4, request{action: swap, value: "c", expected: "a"}, heard{revision: 7}}}, Violation},
		"an unknown swap that could not":          {[]told{put1, {3, 0, request{action: swap, value: "b", expected: "x"}, heard{unknown: true}}, read(5, 6, "a", 5)}, Linearizable},
		"an unknown swap that could not and did":  {[]told{put1, {3, 0, request{action: swap, value: "b", expected: "x"}, heard{unknown: true}}, read(5, 6, "b", 6)}, Violation},
		"a swap on nothing":                       {[]told{{3, 4, request{action: swap, value: "b"}, heard{revision: 1}}, read(5, 6, "b", 1)}, Linearizable},
		"a put whose revision is first read":      {[]told{unknownPut, read(4, 5, "b", 6), read(6, 7, "b", 6)}, Linearizable},
		"a put whose revision changes":            {[]told{unknownPut, read(4, 5, "b", 6), read(6, 7, "b", 7)}, Violation},
		"a refused write (not there) that shows":  {[]told{put1, read(5, 6, "refused", 6)}, Violation},
		"an acknowledged write that is lost":      {[]told{put1, {3, 4, request{action: add, value: "b"}, heard{revision: 6}}, read(5, 6, "a", 5)}, Violation},
		"an unknown delete that happened":         {[]told{put1, {3, 0, request{action: remove}, heard{unknown: true}}, read(5, 6, "", 0)}, Linearizable},
		"an unknown delete that did not happen":   {[]told{put1, {3, 0, request{action: remove}, heard{unknown: true}}, read(5, 6, "a", 5)}, Linearizable},
		"a write of the past after another's end": {[]told{put1, {3, 4, request{action: put, value: "b"}, heard{revision: 6}}, read(5, 6, "b", 6), read(7, 8, "a", 5)}, Violation},
	} {
		finding := historyOf(c.history...).Check(10*time.Second, nil)
		if finding.Verdict != c.want {
			t.Errorf("%s: %s, want %s", name, finding.Verdict, c.want)
		}
		if c.want != Violation {
			continue
		}
		var html strings.Builder
		err := finding.Draw(&html, Caption{Cluster: "c1", Endpoints: []string{"h:1"}, Clients: 3})
		if err != nil || !strings.Contains(html.String(), "<html") || finding.Key != "k" {
			t.Errorf("%s: the picture: %v, %d bytes", name, err, html.Len())
		}
		if !strings.HasSuffix(finding.Wrong(), ".") || !strings.Contains(finding.Wrong(), " was answered at ") {
			t.Errorf("%s: it says %q", name, finding.Wrong())
		}
	}
}

// Goal: a picture says what is wrong, of which key and cluster, and begins at the
// error, in words that the page cannot be broken by.
func TestAPictureSaysWhatIsWrong(t *testing.T) {
	finding := historyOf(
		told{1, 2, request{action: put, value: "<b>"}, heard{revision: 5}},
		told{3, 4, request{action: add, value: "&c"}, heard{revision: 6}},
		told{5, 6, request{action: get}, heard{value: "<b>", revision: 5}},
	).Check(10*time.Second, nil)
	if wrong := finding.Wrong(); !strings.Contains(wrong, "get → <b> (revision 5)") || !strings.Contains(wrong, "append &c (revision 6)") {
		t.Errorf("it says %q", wrong)
	}
	var page strings.Builder
	if err := finding.Draw(&page, Caption{Cluster: "c<1", Endpoints: []string{"h:1"}, Clients: 3}); err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(page.String(), "<div id=\"legend\">")
	for _, part := range []string{"<title>key k is not linearizable</title>", "get → &lt;b&gt;", "cluster c&lt;1 at h:1", "3 clients", "prefers-color-scheme: dark"} {
		if !strings.Contains(head, part) {
			t.Errorf("the page's head does not say %q:\n%s", part, head)
		}
	}
	if !strings.Contains(page.String(), "#jump-link').dispatchEvent") {
		t.Error("the page does not begin at the error")
	}
}

// Goal: a search that cannot end in time says so and does not guess. Method: many
// appends of unknown outcome, of which a read shows one that nobody made last, and a delete that
// found nothing, for which each of them may matter.
func TestSearchesThatTakeTooLong(t *testing.T) {
	var all []told
	for i := range 40 {
		all = append(all, told{1, 0, request{action: add, value: string(rune('a' + i))}, heard{unknown: true}})
	}
	all = append(all,
		told{2, 3, request{action: remove}, heard{refused: true}},
		told{2, 3, request{action: get}, heard{value: "?", revision: 99}})
	if finding := historyOf(all...).Check(50*time.Millisecond, nil); finding.Verdict != Undecided || finding.Key != "k" {
		t.Errorf("%+v", finding.Verdict)
	}
}

// Goal: a stale read may show what is old, and nothing else. Method: one put, one
// append and one stale read that shows each of the things that it could.
func TestStaleReads(t *testing.T) {
	for name, c := range map[string]struct {
		read    staleRead
		removed bool
		want    Verdict
	}{
		"the newest value":                    {staleRead{9, heard{value: "a b ", revision: 6}, 0}, false, Linearizable},
		"an old value":                        {staleRead{9, heard{value: "a ", revision: 5}, 0}, false, Linearizable},
		"nothing":                             {staleRead{9, heard{}, 0}, false, Linearizable},
		"nothing, though it was seen":         {staleRead{9, heard{}, 5}, false, Violation},
		"nothing, seen and deleted":           {staleRead{9, heard{}, 5}, true, Linearizable},
		"what nobody wrote":                   {staleRead{9, heard{value: "z ", revision: 6}, 0}, false, Violation},
		"what was written later":              {staleRead{2, heard{value: "a b ", revision: 6}, 0}, false, Violation},
		"another revision":                    {staleRead{9, heard{value: "a ", revision: 7}, 0}, false, Violation},
		"an old value, asked for a newer one": {staleRead{9, heard{value: "a ", revision: 5}, 6}, false, Violation},
		"what it asked for":                   {staleRead{9, heard{value: "a b ", revision: 6}, 6}, false, Linearizable},
	} {
		all := []told{{1, 2, request{action: put, value: "a "}, heard{revision: 5}}, {3, 4, request{action: add, value: "b "}, heard{revision: 6}}}
		if c.removed {
			all = append(all, told{7, 8, request{action: remove}, heard{}})
		}
		h := historyOf(all...)
		h.stale["k"] = append(h.stale["k"], c.read)
		if finding := h.Check(10*time.Second, nil); finding.Verdict != c.want || (finding.Stale == "") != (c.want == Linearizable) {
			t.Errorf("%s: %s %q, want %s", name, finding.Verdict, finding.Stale, c.want)
		}
	}
}

// Goal: the planted lie is one: it tells a value that was replaced before the
// read was called, once.
func TestPlant(t *testing.T) {
	p := newPlant(100)
	a, b := heard{value: "a", revision: 1}, heard{value: "b", revision: 2}
	for i, step := range []struct {
		called, now int64
		truth, told heard
	}{
		{10, 20, a, a}, {30, 40, b, b}, {90, 110, b, b}, {120, 130, b, a}, {140, 150, b, b},
	} {
		if got := p.tell("k", step.called, step.now, step.truth); got != step.told {
			t.Errorf("step %d tells %+v", i, got)
		}
	}
}
