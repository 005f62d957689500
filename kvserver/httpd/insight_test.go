package httpd

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/recorder"
	"raftkv/raft"
)

// Goal (I12, I8): the page and its files come with the strictest policy, name no other
// origin, evaluate nothing and store nothing, and everything that they ask for is a route.
// Method: the files as they are served; their texts are searched for what the policy
// forbids, and for addresses.
func TestThePageKeepsToItsNode(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !slices.Contains(strings.Split(page.Policy, "; "), part) {
			t.Errorf("the policy does not say %s", part)
		}
	}
	total := 0
	for _, name := range page.Names {
		path := pagePath + strings.TrimPrefix(name, page.Start)
		a := ask(s, "GET", path, "")
		wantStatus(t, a, 200)
		for header, want := range map[string]string{
			"Content-Security-Policy": page.Policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "", "Content-Encoding": "",
		} {
			if got := a.header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
		for _, never := range []string{
			"innerHTML", "outerHTML", "eval(", "new Function", "document.write", "insertAdjacentHTML", "style=", "<script>", "<style", "javascript:", "srcdoc",
			"localStorage", "sessionStorage", "indexedDB", "document.cookie", "console.", "import(", "sendBeacon", "postMessage", "setHTML", "DOMParser", "createContextualFragment",
		} {
			if strings.Contains(a.body, never) {
				t.Errorf("%s holds %q", path, never)
			}
		}
		// The name of a vocabulary is asked of nobody, and an address that is put together
		// begins with the scheme of the page.
		for _, found := range regexp.MustCompile("//[^/\\s\"'`]+|https?:").FindAllString(regexp.MustCompile(`(?m)^\s*//.*$| // .*$`).ReplaceAllString(a.body, ""), -1) {
			if found != "//www.w3.org" && found != "http:" && found != "//${address}" {
				t.Errorf("%s names %q", path, found)
			}
		}
		for _, found := range regexp.MustCompile(`(?:href|src)="([^"#]+)"|from "\./([^"]+)"|(?:ask|askJSON|lines)\(["\x60]([^?"\x60$]+)`).FindAllStringSubmatch(a.body, -1) {
			asked := found[1] + found[2] + found[3]
			if !slices.ContainsFunc(Routes(), func(r Route) bool {
				return strings.TrimSuffix(r.Path, "{key}") == asked || slices.Contains(page.Names, asked)
			}) {
				t.Errorf("%s asks for %q, which is no route", path, asked)
			}
		}
		if lines := strings.Count(a.body, "\n"); lines > 300 {
			t.Errorf("%s has %d lines", path, lines)
		}
		total += len(ask(s, "GET", path, "", "Accept-Encoding", "gzip, br").body)
	}
	if a := ask(s, "GET", "/ui/page.go", ""); a.status != 404 || !strings.Contains(a.body, "begins at /ui/") {
		t.Errorf("a file that there is not: %d %s", a.status, a.body)
	}
	if total > 60<<10 {
		t.Errorf("the page takes %d bytes on the wire, and should take 60 KiB at most", total)
	}
	t.Logf("%d bytes on the wire", total)
}

// Goal: a browser that has a file asks whether it is still right, and is told so without
// the file; a file that it takes packed is the same file.
// Method: each file plain, packed, with the tag that it came with, and with another.
func TestThePageIsKeptByBrowsers(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, name := range page.Names {
		path := pagePath + strings.TrimPrefix(name, page.Start)
		plain, packed := ask(s, "GET", path, ""), ask(s, "GET", path, "", "Accept-Encoding", "br, gzip")
		unpacked, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(unpacked); err != nil || string(content) != plain.body || packed.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: packed it is another file (%v)", path, err)
		}
		if packed.header.Get("Etag") == plain.header.Get("Etag") || plain.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: a cache may take one form for the other", path)
		}
		for _, one := range []answer{plain, packed} {
			accept := one.header.Get("Content-Encoding")
			again := ask(s, "GET", path, "", "If-None-Match", `"x", W/`+one.header.Get("Etag"), "Accept-Encoding", accept)
			wantStatus(t, again, 304)
			if again.body != "" || again.header.Get("Etag") != one.header.Get("Etag") || again.header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: %v %q", path, again.header, again.body)
			}
			wantStatus(t, ask(s, "GET", path, "", "If-None-Match", `"another"`, "Accept-Encoding", accept), 200)
		}
	}
}

// Goal: while identities are enforced the page itself comes without a token, what it asks
// for does not, and what it gathers is asked for with the viewer's token (security.md).
// Method: two peers note the tokens that they are shown, and refuse.
func TestThePageAsksWithTheViewersToken(t *testing.T) {
	shown := make(chan string, 20)
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			shown <- r.Header.Get("Authorization")
			w.WriteHeader(status)
		}
	}
	s, _ := newServer(t, func(c *settings) {
		c.Level, c.Peers = 3, []string{"n2", "n3"}
		c.ClientAddr = others(t, map[string]http.HandlerFunc{"n2": refuse(401), "n3": refuse(403)})
	})
	wantStatus(t, ask(s, "GET", "/v1/overview", ""), 200)
	for range 2 {
		if got := <-shown; got != "" {
			t.Errorf("while nobody has a token, peers are shown %q", got)
		}
	}
	token := newIdentity(t, s, "viewer", "viewer00", auth.Rule{Rights: auth.RightsOf(auth.Status)})
	root := newIdentity(t, s, "root", "root0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: auth.Enforcing})
	s.peers.cluster.overviews = shared[api.Overview]{} // the last one is still young
	wantStatus(t, ask(s, "GET", "/ui/", ""), 200)
	wantStatus(t, ask(s, "GET", "/ui/app.js", ""), 200)
	wantStatus(t, ask(s, "GET", "/v1/overview", ""), 401)
	wantStatus(t, ask(s, "GET", "/v1/explain", ""), 401)
	for _, path := range []string{"/v1/overview", "/v1/explain"} {
		a := ask(s, "GET", path, "", "Authorization", "Bearer "+token)
		wantStatus(t, a, 200)
		for range 2 {
			if got := <-shown; got != "Bearer "+token {
				t.Errorf("%s: a peer is shown %q", path, got)
			}
		}
		for _, want := range []string{"it does not know the token", "it does not grant the token the right status"} {
			if !strings.Contains(a.body, want) || strings.Contains(a.body, token) {
				t.Errorf("%s: %q is missing, or the token is there: %s", path, want, a.body)
			}
		}
	}
}

// Goal: what is gathered in the name of an identity of this node's own file, which the others do
// not know, is shown to such identities alone: they do not see what the others told somebody
// else, and nobody else sees the refusals. Method: an overview for one of each kind, at once one
// after the other, of a peer that knows one of the tokens.
func TestAnOverviewIsOfThoseWhoMaySeeIt(t *testing.T) {
	own, emergency := glass(t, "status")
	var known atomic.Pointer[string]
	s, _ := newServer(t, func(c *settings) {
		c.Level, c.Peers, c.Access.BreakGlass = 3, []string{"n2"}, own
		c.ClientAddr = others(t, map[string]http.HandlerFunc{"n2": func(w http.ResponseWriter, r *http.Request) {
			if token := known.Load(); token == nil || r.Header.Get("Authorization") != "Bearer "+*token {
				w.WriteHeader(401)
				return
			}
			if _, err := io.WriteString(w, `{"node":"n2","cluster":"c1","term":77}`); err != nil {
				t.Error(err)
			}
		}})
	})
	token := newIdentity(t, s, "viewer", "viewer00", auth.Rule{Rights: auth.RightsOf(auth.Status)})
	root := newIdentity(t, s, "root", "root0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: auth.Enforcing})
	known.Store(&token)
	for range 2 {
		for shown, sees := range map[string]bool{token: true, emergency: false} {
			a := ask(s, "GET", "/v1/overview", "", "Authorization", "Bearer "+shown)
			wantStatus(t, a, 200)
			if got := strings.Contains(a.body, `"term":77`); got != sees || strings.Contains(a.body, "does not know the token") == sees {
				t.Errorf("a viewer who may see n2: %v, is shown %s", sees, a.body)
			}
		}
	}
}

// Goal (I13): a node whose page is to show and not to write refuses every write of a
// browser, and tells the page; a program writes as ever; without a page there is none.
// Method: the three modes; a browser is known by the header Origin.
func TestThePageWritesWhereItMay(t *testing.T) {
	for _, c := range []struct {
		mode    page.Mode
		page    int
		refuses bool
	}{{page.Off, 404, true}, {page.ReadOnly, 200, true}, {page.On, 200, false}} {
		s, _ := newServer(t, func(set *settings) { set.page = c.mode })
		wantStatus(t, ask(s, "GET", "/ui/", ""), c.page)
		wantStatus(t, ask(s, "GET", "/ui/app.js", ""), c.page)
		own := []string{"Origin", "http://kv", "Sec-Fetch-Site", "same-origin"}
		for _, write := range []struct{ method, target, body string }{{"PUT", "b", "x"}, {"POST", "b?op=append", "x"}, {"DELETE", "b", ""}} {
			a := ask(s, write.method, "http://kv/v1/kv/"+write.target, write.body, own...)
			if refused := a.status == 403; refused != c.refuses || a.status >= 400 && !refused {
				t.Errorf("--ui=%s: a %s of a browser is answered with %d", c.mode, write.method, a.status)
			}
			if a.status == 403 && !strings.Contains(a.body, "--ui=on") {
				t.Errorf("it is not said what helps: %s", a.body)
			}
		}
		wantStatus(t, ask(s, "GET", "http://kv/v1/kv/none", "", own...), 404)
		wantStatus(t, ask(s, "PUT", "http://kv/v1/kv/program", "x"), 201)
		if told := strings.Contains(ask(s, "GET", "/v1/overview", "").body, `"page_writes":true`); told != (c.mode == page.On) {
			t.Errorf("--ui=%s: that it may write is told: %v", c.mode, told)
		}
	}
}

// Goal: what is gathered is gathered of all members, learners and replicas among them, and
// of the configured peers where nobody knows the members.
func TestAllMembersAreGathered(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.Peers = []string{"n2"} })
	x := &exchange{door: s.door}
	if g := s.door.gathering(x, &api.Status{}); !slices.Equal(g.peers, []string{"n2"}) {
		t.Errorf("without members %q are asked", g.peers)
	}
	members := &api.Members{Members: []api.Member{{ID: "n1", Role: "voter"}, {ID: "n3", Role: "learner"}, {ID: "n4", Role: "replica"}}}
	if g := s.door.gathering(x, &api.Status{Membership: members}); !slices.Equal(g.peers, []string{"n3", "n4"}) {
		t.Errorf("of n1, n3 and n4 %q are asked", g.peers)
	}
}

// others serves what other nodes answer, and makes their addresses known.
func others(t *testing.T, serve map[string]http.HandlerFunc) func(string) string {
	t.Helper()
	addresses := map[string]string{}
	for node, handler := range serve {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		addresses[node] = strings.TrimPrefix(server.URL, "http://")
	}
	return func(node string) string { return addresses[node] }
}

// Goal: an overview holds the status of each node that answers, and for each other one a
// sentence; many viewers cost one round; a node that hangs costs a second; a stranger at a
// peer's address is not taken for it. No status says the same twice, in its groups.
func TestTheOverviewIsOfAllNodes(t *testing.T) {
	var rounds atomic.Int64
	s, _ := newServer(t, func(c *settings) {
		c.Peers = []string{"n2", "n3", "n4", "n5"}
		c.ClientAddr = others(t, map[string]http.HandlerFunc{
			"n2": func(w http.ResponseWriter, _ *http.Request) {
				rounds.Add(1)
				json.NewEncoder(w).Encode(api.Status{Node: "n2", Cluster: c.ClusterID, Role: "follower", Groups: []api.Group{{ID: 1}}})
			},
			"n3": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"n4": func(w http.ResponseWriter, _ *http.Request) {
				json.NewEncoder(w).Encode(api.Status{Node: "n9", Cluster: "another"})
			},
		})
	})
	begun := time.Now()
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			var o api.Overview
			a := ask(s, "GET", "/v1/overview", "")
			if err := json.Unmarshal([]byte(a.body), &o); err != nil || a.status != 200 {
				t.Errorf("%d %v: %s", a.status, err, a.body)
				return
			}
			if strings.Contains(a.body, `"groups"`) {
				t.Errorf("each status stands there twice: %s", a.body)
			}
			var got []string
			for _, n := range o.Nodes {
				what := n.Error
				if n.Status != nil {
					what = "status of " + n.Status.Node
				}
				got = append(got, n.Node+": "+what)
			}
			want := []string{"n1: status of n1", "n2: status of n2", "n3: no answer in time", `n4: node "n9" of cluster "another" answers at its address`, "n5: it was not heard of yet"}
			if !slices.Equal(got, want) {
				t.Errorf("the overview is %q", got)
			}
		})
	}
	asking.Wait()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := rounds.Load(); n > 3 {
		t.Errorf("20 viewers at once cost %d rounds", n)
	}
}

// Goal: stories are made of what all nodes recorded; a node that gives nothing is named;
// text and JSON say the same.
func TestStoriesAreOfAllNodes(t *testing.T) {
	r := recorder.New(recorder.Section{Node: "n2", Boot: 1, Names: []string{"n1", "n2"}}, nil, time.Now())
	r.Record(recorder.Event{Kind: recorder.Quarantined, Index: 768})
	s, _ := newServer(t, func(c *settings) {
		c.Peers = []string{"n2", "n3"}
		c.ClientAddr = others(t, map[string]http.HandlerFunc{"n2": func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/v1/recorder" {
				t.Errorf("it is asked for %s", q.URL)
			}
			recorder.WriteLines(w, r.After(0, 10)) // the client is there
		}})
	})
	s.recorder.Record(recorder.Event{Kind: recorder.ClockJumped, A: int64(time.Hour)})
	asText := ask(s, "GET", "/v1/explain", "")
	asJSON := ask(s, "GET", "/v1/explain?seconds=600", "", "Accept", api.MediaJSON)
	for _, want := range []string{"n2 quarantined itself at index 768", "n1's wall clock jumped by +60 min", "it was not heard of yet"} {
		if !strings.Contains(asText.body, want) || !strings.Contains(asJSON.body, want) {
			t.Errorf("%q is missing in\n%s\n%s", want, asText.body, asJSON.body)
		}
	}
	if !strings.Contains(asJSON.body, `"kind":"clock_jumped"`) || !strings.Contains(asText.header.Get("Content-Type"), "text/plain") {
		t.Errorf("JSON is %s", asJSON.body)
	}
}

// Goal (I10): what happened is told within 2 s though one node hangs and one is gone, and
// both are named.
// Method: in virtual time, a node that takes the connection and says nothing, and one whose
// address refuses.
func TestExplainDoesNotWaitForANodeThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, func(c *settings) {
			c.Peers = []string{"n2", "n3"}
			c.ClientAddr = func(node string) string { return node + ":1" }
		})
		var ends []net.Conn
		s.peers.transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
			if address == "n3:1" {
				return nil, errors.New("connection refused")
			}
			ours, theirs := net.Pipe()
			ends = append(ends, theirs)
			go io.Copy(io.Discard, theirs)
			return ours, nil
		}
		s.recorder.Record(recorder.Event{Kind: recorder.ClockJumped, A: int64(time.Hour)})
		begun := time.Now()
		a := ask(s, "GET", "/v1/explain", "")
		wantStatus(t, a, 200)
		for _, want := range []string{"n2: no answer in time", "n3: no connection", "n1's wall clock jumped"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("%q is missing in %s", want, a.body)
			}
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, end := range ends {
			end.Close()
		}
	})
}

// Goal: of a node that recorded more than an answer holds, the newest events are gathered,
// too; a stranger's events are not taken for those of the node at whose address it answers.
// Method: a peer of 12,000 events, of which the last one is told; a peer that gives the ring
// of another node.
func TestAllEventsOfARightNodeAreGathered(t *testing.T) {
	long := recorder.New(recorder.Section{Node: "n2", Boot: 1, Names: []string{"n1", "n2"}}, nil, time.Now())
	for i := range uint64(12_000) {
		long.Record(recorder.Event{Kind: recorder.Campaign, Term: 1 + i%2}) // a kind of which each is an event
	}
	long.Record(recorder.Event{Kind: recorder.Quarantined, Index: 768})
	stranger := recorder.New(recorder.Section{Node: "n9", Boot: 1}, nil, time.Now())
	stranger.Record(recorder.Event{Kind: recorder.Quarantined, Index: 5})
	serve := func(r *recorder.Recorder) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			after, _ := strconv.ParseUint(q.URL.Query().Get("after"), 10, 64)
			limit, _ := strconv.Atoi(q.URL.Query().Get("limit"))
			recorder.WriteLines(w, r.After(after, limit)) // the client is there
		}
	}
	s, _ := newServer(t, func(c *settings) {
		c.Peers, c.patience = []string{"n2", "n3"}, time.Minute
		c.ClientAddr = others(t, map[string]http.HandlerFunc{"n2": serve(long), "n3": serve(stranger)})
	})
	a := ask(s, "GET", "/v1/explain", "")
	if !strings.Contains(a.body, "n2 quarantined itself at index 768") {
		t.Errorf("the newest event is not told: %.2000s", a.body)
	}
	if strings.Contains(a.body, "n9 quarantined") || !strings.Contains(a.body, `n3: node "n9" answers at its address`) {
		t.Errorf("a stranger is taken for n3: %.2000s", a.body)
	}
}

// Goal: whoever looks at what happened keeps nobody from the metrics, and the other way
// round; nodes that ask each other do not wait for each other's places.
// Method: all places of one class are taken, and each route is asked.
func TestExplanationsKeepNobodyFromTheMetrics(t *testing.T) {
	s, _ := newServer(t, nil)
	routes := map[kvserver.Class]string{kvserver.Scrapes: "/metrics", kvserver.Records: "/v1/recorder", kvserver.Explains: "/v1/explain"}
	for full := range routes {
		limit := s.Load(full).Limit
		for range limit {
			s.Enter(full, 0)
		}
		for class, path := range routes {
			want := 200
			if class == full {
				want = 429
			}
			wantStatus(t, ask(s, "GET", path, ""), want)
		}
		for range limit {
			s.Leave(full, 0)
		}
	}
}

// Goal: two viewers that ask for different times do not undo each other's answers, and whoever
// goes does not wait on.
func TestAnswersAreSharedByWhatWasAsked(t *testing.T) {
	var s shared[int]
	made := 0
	get := func(ctx context.Context, key uint64) bool {
		_, ok := s.get(ctx, key, time.Hour, func() int { made++; return made })
		return ok
	}
	for range 3 {
		get(t.Context(), 1)
		get(t.Context(), 2)
	}
	if made != 2 {
		t.Errorf("for two questions, asked in turn, %d answers were made", made)
	}
	for key := range uint64(20) {
		get(t.Context(), key)
	}
	if len(s.kept) > maxShared {
		t.Errorf("%d answers are kept", len(s.kept))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s.turn <- struct{}{} // somebody makes one
	if get(gone, 99) {
		t.Error("an answer was made for a client that is gone, while another one was made")
	}
	<-s.turn
}

// Goal: whatever goes wrong while the stories for the page are made ends neither the node nor
// the feed.
// Method: they are made of a recorder that is not there, which fails.
func TestStoriesThatFailEndNothing(t *testing.T) {
	s, _ := newServer(t, nil)
	feed := s.peers.cluster.feed
	if !feed.Turn("story", time.Now(), "", time.Second) {
		t.Fatal("there is no turn")
	}
	kept := s.door.config.Recorder
	s.door.config.Recorder = nil
	s.door.feedStories(&s.peers.cluster, gathering{})
	s.door.config.Recorder = kept
	if !feed.Turn("story", time.Now().Add(time.Minute), "", time.Second) {
		t.Error("the turn was not given back")
	}
	s.door.feedStories(&s.peers.cluster, gathering{})
	if feed.Result("story") != "" || len(s.peers.cluster.stories.turn) != 0 {
		t.Error("it does not go on")
	}
}

// Goal: a status never shows more applied than committed, or more committed than there is
// of the log, also while consensus still shows itself as it was before its last turn.
// Method: after two writes consensus shows what it was before them.
func TestAppliedIsNeverAboveCommitted(t *testing.T) {
	s, log := newServer(t, nil)
	for _, key := range []string{"a", "b"} {
		wantStatus(t, ask(s, "PUT", "/v1/kv/"+key, "v"), 201)
	}
	log.Set(func(now *raft.Status) { now.CommitIndex, now.LastIndex = 0, 0 })
	check := func(path string, of api.Status) {
		if of.Applied != 2 || of.Commit < of.Applied || of.Log.Last < of.Commit {
			t.Errorf("%s: applied %d, committed %d, the log ends at %d", path, of.Applied, of.Commit, of.Log.Last)
		}
	}
	var status api.Status
	if err := json.Unmarshal([]byte(ask(s, "GET", "/v1/status", "").body), &status); err != nil {
		t.Fatal(err)
	}
	check("/v1/status", status)
	var overview api.Overview
	if err := json.Unmarshal([]byte(ask(s, "GET", "/v1/overview", "").body), &overview); err != nil {
		t.Fatal(err)
	}
	check("/v1/overview", *overview.Nodes[0].Status)
	log.Set(func(now *raft.Status) { now.CommitIndex, now.LastIndex = 2, 2 })
}

// Goal (I14): no node has the routes by which raftkv dev breaks things, whatever its page
// may do.
func TestNodesHaveNoFaults(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, path := range []string{"/dev/faults", "/dev/state", "/dev/", "/panel.html"} {
		for _, method := range []string{"GET", "POST"} {
			wantProblem(t, ask(s, method, path, `{"do":"kill","node":"n1"}`), 404, api.CodeNotFound, api.OutcomeNotApplied)
		}
	}
}
