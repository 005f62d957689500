package httpd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
)

// listed follows the links of a list from its first page and returns all items
// and the number of pages.
func listed(t *testing.T, s *testServer, target string, header ...string) (items []api.Value, pages int) {
	t.Helper()
	for target != "" {
		a := ask(s, "GET", target, "", header...)
		if a.status != 200 || a.header.Get("Content-Type") != api.MediaJSON {
			t.Fatalf("GET %s: %d %s", target, a.status, a.body)
		}
		var p api.Page
		if err := json.Unmarshal([]byte(a.body), &p); err != nil {
			t.Fatalf("GET %s: %v in %s", target, err, a.body)
		}
		if a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) || a.header.Get(api.HeaderRevision) != fmt.Sprint(p.Revision) || a.header.Get(api.HeaderConsistency) == "" {
			t.Errorf("GET %s: header %v", target, a.header)
		}
		link := ""
		if p.Next != "" {
			link = "<" + p.Next + `>; rel="next"`
		}
		if got := a.header.Get("Link"); got != link {
			t.Errorf("GET %s: Link %q, want %q", target, got, link)
		}
		items = append(items, p.Items...)
		target = p.Next
		if pages++; pages > 10_000 {
			t.Fatal("the pages do not end")
		}
	}
	return items, pages
}

// streamed reads a list as lines.
func streamed(t *testing.T, s *testServer, target string) (items []api.Value) {
	t.Helper()
	a := ask(s, "GET", target, "", "Accept", api.MediaNDJSON)
	if a.status != 200 || a.header.Get("Content-Type") != api.MediaNDJSON || a.header.Get(api.HeaderRevision) == "" {
		t.Fatalf("GET %s: %d %v %s", target, a.status, a.header, a.body)
	}
	for line := range strings.Lines(a.body) {
		var v api.Value
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		items = append(items, v)
	}
	return items
}

// Goal: a list holds every key of the prefix exactly once, in the order of its
// bytes, with its value, whatever the bytes, the prefix, the size of pages and
// the form.
// Method: keys of all byte values and of slashes, dots and percent signs; the
// links are followed as they are given. The whole is compared with what was
// written.
func TestListsHoldEveryKeyOnceInOrder(t *testing.T) {
	s, _ := newServer(t, nil)
	want := map[string]string{}
	put := func(key string) {
		want[key] = "value of " + key
		wantStatus(t, ask(s, "PUT", "/v1/kv/"+percent(key), want[key]), 201)
	}
	for b := range 256 {
		put(string([]byte{byte(b)}))
		put("a" + string([]byte{byte(b)}) + "z")
	}
	for _, key := range []string{"//", "a//b", "a/", "..", "../..", "%2F", "a%2Fb", "ä/ö", "\"quoted\"", "<>&\u2028", "a b+c", "\xc3\x28", strings.Repeat("k", 1024)} {
		put(key)
	}
	for _, prefix := range []string{"", "a", "a/", "\xff", "\x00", "%", "none", "..", "a\xff", "\xc3"} {
		var keys []string
		for key := range want {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		query := "/v1/kv?prefix=" + percent(prefix)
		check := func(name string, items []api.Value, withValues bool) {
			t.Helper()
			if len(items) != len(keys) {
				t.Fatalf("prefix %q, %s: %d items, want %d", prefix, name, len(items), len(keys))
			}
			for i, item := range items {
				if item.Name() != keys[i] || withValues != (string(item.Value) == want[keys[i]]) || withValues == (item.Value == nil) || item.Revision == 0 || item.Version != 1 {
					t.Fatalf("prefix %q, %s: item %d is %+v, want %q", prefix, name, i, item, keys[i])
				}
			}
		}
		for _, limit := range []string{"", "&limit=1", "&limit=7", "&limit=1000"} {
			items, pages := listed(t, s, query+limit)
			check("pages"+limit, items, true)
			if limit == "&limit=7" && pages != max(1, (len(keys)+6)/7) {
				t.Errorf("%d keys in %d pages of 7", len(keys), pages)
			}
		}
		items, _ := listed(t, s, query+"&keys_only&limit=50")
		check("keys only", items, false)
		check("stream", streamed(t, s, query), true)
		check("stream of keys", streamed(t, s, query+"&keys_only=true"), false)
		if len(keys) > 3 {
			after := streamed(t, s, query+"&limit=2&after="+url.QueryEscape(keys[1]))
			if len(after) != 2 || after[0].Name() != keys[2] || after[1].Name() != keys[3] {
				t.Errorf("prefix %q: after %q come %+v", prefix, keys[1], after)
			}
		}
	}
}

// Goal: a list of a range holds the keys from one on that are less than another one, in
// pages and as a stream, and a count is that of the whole range, whatever the page shows; at
// a revision of the past, too. Method: keys with a few bytes; the whole is compared with
// what was written.
func TestListsOfRangesAndCounts(t *testing.T) {
	s, _ := newServer(t, atLevel3)
	all := []string{"a", "a/1", "a/2", "a0", "b", "b\x00", "b\x00\x00", "c", "\xff"}
	for _, key := range all {
		wantStatus(t, ask(s, "PUT", "/v1/kv/"+percent(key), key), 201)
	}
	then := fmt.Sprintf("&at_revision=%d", len(all)+1)
	wantStatus(t, ask(s, "PUT", "/v1/kv/bb", "later"), 201)
	wantStatus(t, ask(s, "DELETE", "/v1/kv/a%2F2", ""), 204)
	now := append(slices.DeleteFunc(slices.Clone(all), func(key string) bool { return key == "a/2" }), "bb")
	for _, q := range [][2]string{{"a/", "a0"}, {"a/1", "a/1\x00"}, {"b", ""}, {"b\x00", "c"}, {"", "b"}, {"d", "e"}, {"\xff", ""}} {
		for at, keys := range map[string][]string{"": now, then: all} {
			var want []string
			for _, key := range keys {
				if key >= q[0] && (q[1] == "" || key < q[1]) {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			query := "/v1/kv?keys_only&from=" + url.QueryEscape(q[0]) + "&to=" + url.QueryEscape(q[1]) + at
			for _, more := range []string{"", "&limit=1", "&limit=2"} {
				items, _ := listed(t, s, query+more)
				wantKeys(t, query+more, items, want)
			}
			wantKeys(t, query, streamed(t, s, query), want)
			for more, shown := range map[string]int{"&count&limit=1": min(1, len(want)), "&count_only": 0, "&count&after=b": -1} {
				var p api.Page
				ask(s, "GET", query+more, "").read(t, &p)
				if p.Count == nil || *p.Count != len(want) || shown >= 0 && len(p.Items) != shown || strings.Contains(p.Next, "count") {
					t.Errorf("%s%s: %+v, want %d of %d", query, more, p, shown, len(want))
				}
			}
		}
	}
	for _, query := range []string{"prefix=a&from=a", "prefix=a&to=b", "from=b&to=b", "from=b&to=a", "count_only&limit=1"} {
		wantStatus(t, ask(s, "GET", "/v1/kv?"+query, ""), 400)
	}
	for _, query := range []string{"count", "count_only"} {
		wantStatus(t, ask(s, "GET", "/v1/kv?"+query, "", "Accept", api.MediaNDJSON), 400)
	}
}

func wantKeys(t *testing.T, query string, items []api.Value, want []string) {
	t.Helper()
	var got []string
	for _, item := range items {
		got = append(got, item.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", query, got, want)
	}
}

// Goal: a page has bounded bytes, however large the values are, and every value
// comes all the same.
// Method: values of a third of the bound, and one alone above it.
func TestPagesHaveBoundedBytes(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.MaxValueBytes = 4 << 20 })
	for i := range 9 {
		wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/k%d", i), strings.Repeat("x", api.MaxPageBytes/3)), 201)
	}
	wantStatus(t, ask(s, "PUT", "/v1/kv/k5", strings.Repeat("y", 3*api.MaxPageBytes)), 200)
	items, pages := listed(t, s, "/v1/kv?limit=1000")
	if len(items) != 9 || pages != 3 { // 0 to 3, 4 and 5, 6 to 8
		t.Errorf("%d items in %d pages", len(items), pages)
	}
	if _, pages := listed(t, s, "/v1/kv?limit=1000&keys_only"); pages != 1 {
		t.Errorf("keys only came in %d pages", pages)
	}
}

// Goal: a stream shows one moment, although writes go on while it is sent, and
// holds nobody up.
// Method: a client that reads nothing of a stream longer than all buffers; then
// every key is written again; then the client reads.
func TestAStreamIsFrozenAndHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, nil)
		const keys = 40
		old, new := strings.Repeat("o", 16<<10), strings.Repeat("n", 16<<10)
		for i := range keys {
			wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/%02d", i), old), 201)
		}
		response := streamOf(t, s)
		defer response.Body.Close()
		for i := range keys {
			wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/%02d", i), new), 200)
		}
		wantStatus(t, ask(s, "DELETE", "/v1/kv/00", ""), 204)
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		n := 0
		for ; lines.Scan(); n++ {
			var v api.Value
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil || v.Key != fmt.Sprintf("%02d", n) || string(v.Value) != old || v.Version != 1 {
				t.Fatalf("line %d: key %q, version %d, %v", n, v.Key, v.Version, err)
			}
		}
		if lines.Err() != nil || n != keys {
			t.Errorf("%d lines, %v", n, lines.Err())
		}
	})
}

// streamOf asks s for a stream of all that it has, in a bubble: nothing holds
// bytes on the way, and no time passes while anybody has something to do. So the
// stream can only end for the reason that a test gives.
func streamOf(t *testing.T, s *testServer) *http.Response {
	t.Helper()
	conn := servePipes(t, s).Open(t, rawRequest("GET", "/v1/kv", "", "Accept", api.MediaNDJSON))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// Goal: a client that stops reading a stream loses it, and sees that it is not
// whole.
// Method: a short grace; the client reads only when the server has given up.
func TestAStreamThatIsNotReadIsCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, nil)
		for i := range 40 {
			wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/%02d", i), strings.Repeat("o", 16<<10)), 201)
		}
		response := streamOf(t, s)
		defer response.Body.Close()
		time.Sleep(time.Minute - time.Second)
		if s.Load(kvserver.Streams).Count != 1 {
			t.Error("the stream was cut off too early")
		}
		time.Sleep(4 * time.Second)
		if s.Load(kvserver.Streams).Count != 0 {
			t.Error("the stream is still being sent")
		}
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
		}
		if lines.Err() == nil {
			t.Error("the stream ended as if it were whole")
		}
	})
}

// Goal: a stream that the server's end cuts short, or of a node that is found to be
// wrong meanwhile, is seen not to be whole.
// Method: more than all buffers on the way hold; it happens when the answer has begun.
func TestAStreamThatIsCutIsSeenToBe(t *testing.T) {
	for name, cut := range map[string]func(*testServer){
		"the server ends":     func(s *testServer) { s.Machine().End() },
		"the node is at odds": func(s *testServer) { s.Machine().Quarantine("the test says so") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, log := newServer(t, nil)
				fill(t, s, log, 40, 16<<10)
				response := streamOf(t, s)
				defer response.Body.Close()
				cut(s)
				if body, err := io.ReadAll(response.Body); err == nil {
					t.Errorf("the connection says that %d bytes are the whole answer", len(body))
				}
			})
		})
	}
}

// Goal: lists wait and choose like reads: consistency, a revision, the leader.
// Method: the same parameters as for GET.
func TestListsHaveTheConsistencyOfReads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.Deliver(fakelog.PutCommand("k", "v"))
		synctest.Wait()
		for consistency, want := range map[string]string{"": "linearizable", "&consistency=linearizable": "linearizable", "&consistency=stale": "stale"} {
			for _, accept := range []string{api.MediaJSON, api.MediaNDJSON} {
				a := ask(s, "GET", "/v1/kv?limit=1"+consistency, "", "Accept", accept)
				if a.status != 200 || a.header.Get(api.HeaderConsistency) != want || a.header.Get(api.HeaderRevision) != "1" || a.header.Get("Vary") != "Accept" {
					t.Errorf("%s as %s: %d %v", consistency, accept, a.status, a.header)
				}
			}
		}
		waiting := later(func() answer { return ask(s, "GET", "/v1/kv?min_revision=2&consistency=stale", "") })
		wantSilence(t, waiting)
		log.Deliver(fakelog.PutCommand("l", "w"))
		if a := <-waiting; a.status != 200 || !strings.Contains(a.body, `"key":"l"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// Goal: with text, a list shows values that are UTF-8 as text and others in base64, in pages
// and as a stream, and of what is past; the next page does so, too; what no flag is is 400.
// Method: values that JSON escapes, that are no text, none, and one longer than a piece.
func TestAListShowsTexts(t *testing.T) {
	s, _ := newServer(t, atLevel3)
	long := strings.Repeat("aé\"", 5000)
	values := []string{"plain", "\"\\\n<&>\u2028", "\xff", "", long}
	for i, value := range values {
		wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/%d", i), value), 201)
	}
	check := func(what string, items []api.Value) {
		t.Helper()
		if len(items) != len(values) {
			t.Fatalf("%s: %d items", what, len(items))
		}
		for i, item := range items {
			asText := item.Text != nil && *item.Text == values[i] && item.Value == nil
			asBytes := item.Text == nil && string(item.Value) == values[i]
			if text := i != 2; text && !asText || !text && !asBytes {
				t.Errorf("%s: item %d is %.80v", what, i, item)
			}
		}
	}
	for _, query := range []string{"/v1/kv?text&limit=2", "/v1/kv?text=true&limit=3&at_revision=6"} {
		items, _ := listed(t, s, query)
		check(query, items)
	}
	check("a stream", streamed(t, s, "/v1/kv?text"))
	a := ask(s, "GET", "/v1/kv?text&from=1&to=2", "")
	if want := `{"items":[{"key":"1","text":"\"\\\n<&>\u2028","revision":3,"version":1,"created":3}],"revision":6}`; a.body != want+"\n" && a.body != want {
		t.Errorf("a page is %s", a.body)
	}
	if items, _ := listed(t, s, "/v1/kv?text&keys_only"); items[0].Text != nil || items[0].Value != nil {
		t.Errorf("only keys: %+v", items[0])
	}
}
