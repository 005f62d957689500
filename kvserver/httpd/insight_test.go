package httpd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/recorder"
)

// Goal: the page and its files come with the strictest policy, need no other origin and
// evaluate nothing, and everything that they ask for is a route.
// Method: the files as they are served; their texts are searched for what the policy
// forbids.
func TestThePageKeepsToItsNode(t *testing.T) {
	s, _ := newServer(t, nil)
	var asked []string
	for i, name := range page.Names {
		path := "/ui/"
		if i > 0 {
			path += name
		}
		a := ask(s, "GET", path, "")
		wantStatus(t, a, 200)
		for header, want := range map[string]string{
			"Content-Security-Policy": page.Policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := a.header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
		for _, never := range []string{"innerHTML", "outerHTML", "eval(", "new Function", "document.write", "insertAdjacentHTML", "style=", "https://", "<script>", "javascript:", "localStorage", "document.cookie"} {
			if strings.Contains(a.body, never) {
				t.Errorf("%s holds %q", path, never)
			}
		}
		for _, found := range regexp.MustCompile(`(?:href|src)="([^"]+)"|from "\./([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
			asked = append(asked, found[1]+found[2])
		}
		if lines := strings.Count(a.body, "\n"); lines > 300 {
			t.Errorf("%s has %d lines", path, lines)
		}
	}
	for _, name := range asked {
		known := slices.ContainsFunc(Routes(), func(r Route) bool { return r.Path == name || r.Path == "/ui/"+name })
		if !known && !strings.HasPrefix(name, "/v1/explain?") {
			t.Errorf("the page asks for %q, which is no route", name)
		}
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
// peer's address is not taken for it.
func TestTheOverviewIsOfAllNodes(t *testing.T) {
	var rounds atomic.Int64
	s, _ := newServer(t, func(c *settings) {
		c.Peers = []string{"n2", "n3", "n4", "n5"}
		c.ClientAddr = others(t, map[string]http.HandlerFunc{
			"n2": func(w http.ResponseWriter, _ *http.Request) {
				rounds.Add(1)
				json.NewEncoder(w).Encode(api.Status{Node: "n2", Cluster: c.ClusterID, Role: "follower"})
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
