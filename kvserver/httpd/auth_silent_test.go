package httpd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/membership"
	"raftkv/raft"
)

// noMembers is a log without a record of the members.
type noMembers struct{ *fakelog.Log }

func (noMembers) Reconfigure(*raft.Reconfiguration) {}

// silentPair is a pair that enforces identities, with the rules of `anonymous` on public/.
func silentPair(t *testing.T, change func(*settings)) (p *pair, root string) {
	t.Helper()
	p = newPairWith(t, func(c *settings) {
		c.Level, c.unmeasured, c.LeaderWait, c.RequestTimeout = 3, true, 100*time.Millisecond, 5*time.Second
		c.Membership = membership.New(membership.Config{Consensus: noMembers{c.Consensus.(*fakelog.Log)}})
		if change != nil {
			change(c)
		}
	})
	root, _ = enforce(t, p.leader)
	letNobody(t, p.leader, root)
	p.followerLog.Set(func(st *status) { st.Leader, st.Role = "n1", leaderRole })
	enforce(t, p.follower)
	letNobody(t, p.follower, root)
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/public/1", "v"), 201) // each has a log of its own
	p.followerLog.SetLeader("n2")
	if !p.leader.IsLink("n1", p.follower.LinkProof("n2")) {
		t.Fatal("void: the leader does not know the follower")
	}
	return p, root
}

// letNobody gives `anonymous` rules without limits.
func letNobody(t *testing.T, s *testServer, root string) {
	t.Helper()
	rules := []auth.Rule{
		{Space: auth.Keys, Text: "public/", Rights: auth.RightsOf(auth.Read, auth.List, auth.Watch, auth.Write, auth.Delete)},
		{Rights: auth.RightsOf(auth.Metrics)},
	}
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: auth.Anonymous, Rules: rules}})
}

// tells returns the first thing of the cluster that an answer tells, "" if none.
func (a answer) tells(more ...string) string {
	whole := fmt.Sprint(a.header, a.body)
	if id := a.header.Get(api.HeaderRequestID); !strings.HasPrefix(id, "n1-") && !strings.HasPrefix(id, "n2-") {
		whole = strings.ReplaceAll(whole, id, "") // its random letters may be those of a name
	}
	for _, name := range append([]string{api.HeaderNode, api.HeaderLeader, api.HeaderTerm, api.HeaderConfiguration, "n1", "n2", "term 3", `"term": 3`}, more...) {
		if strings.Contains(whole, name) {
			return name
		}
	}
	return ""
}

// Goal (S1, section 3): at a node that follows, an answer to a stranger says nothing of the
// cluster either, though the leader, which knows the node that passes the request on, has said
// it: no node, leader, term or address, in the header or in the body, whatever becomes of it.
// Method: all routes that need no token, well formed and not, at a follower: with the leader,
// with one that is not reached, with one that does not lead any more, without one, and with what
// strangers may claim. A caller with a token is told the leader.
func TestAFollowerTellsAStrangerNothing(t *testing.T) {
	p, root := silentPair(t, nil)
	address := p.address.Load().(string)
	json := []string{"Content-Type", api.MediaJSON}
	type request struct {
		method, target, body string
		header               []string
	}
	requests := []request{
		{"POST", "/v1/join", `{"id":"n9"}`, json}, {"POST", "/v1/join", `{`, json}, {"POST", "/v1/join?x=1", `{}`, json}, {"POST", "/v1/join", `{}`, nil},
		{"POST", "/v1/join", `{"id":"n9"}`, append(as("rkt1_x"), json...)},
		{"POST", "/v1/join", `{"id":"n9"}`, append([]string{api.HeaderForwarded, "n9", api.HeaderCluster, "c1"}, json...)},
		{"POST", "/v1/join", `{"id":"n9"}`, append([]string{api.HeaderForwarded, "n9", api.HeaderCluster, "c2"}, json...)},
		{"POST", "/v1/join", `{"id":"n9"}`, append([]string{api.HeaderForwarded, "n9", api.HeaderCluster, "c1", api.HeaderLink, "00"}, json...)},
		{"POST", "/v1/join", `{"id":"n9"}`, append([]string{api.HeaderClusterUID, "00112233445566778899aabbccddeeff"}, json...)},
	}
	for _, r := range Routes() {
		if r.Right == auth.Open && !strings.HasPrefix(r.Path, "/v1/integrity") { // which names its node; see docs/security.md
			for _, c := range calls(r) {
				requests = append(requests, request{r.Method, c.target, c.body, c.header}, request{r.Method, c.target + "?x=1", c.body, c.header})
			}
		}
	}
	if len(requests) < 20 {
		t.Errorf("void: %d requests", len(requests))
	}
	for _, state := range []struct {
		name string
		set  func()
	}{
		{"with the leader", func() {}},
		{"whose leader is not reached", func() { p.address.Store("127.0.0.1:1") }},
		{"whose leader has no address", func() { p.address.Store("") }},
		{"whose leader leads no more", func() { p.address.Store(address); p.leaderLog.SetLeader("") }},
		{"without a leader", func() { p.followerLog.SetLeader("") }},
	} {
		state.set()
		for _, r := range requests {
			a := ask(p.follower, r.method, r.target, r.body, r.header...)
			if what := a.tells("127.0.0.1"); what != "" {
				t.Errorf("a node %s answers %s %s %s %v with %s: %d %v %s", state.name, r.method, r.target, r.body, r.header, what, a.status, a.header, a.body)
			}
			if a.header.Get(api.HeaderRequestID) == "" || strings.HasPrefix(a.body, "{") && !strings.Contains(a.body, `"detail": "`) {
				t.Errorf("a node %s answers %s %s with %d %v %s", state.name, r.method, r.target, a.status, a.header, a.body)
			}
			if length := a.header.Get("Content-Length"); r.method == "POST" && length != "" && length != fmt.Sprint(len(a.body)) {
				t.Errorf("%s %s: the length is %s, and %d bytes come", r.method, r.target, length, len(a.body))
			}
		}
		if state.name == "with the leader" {
			reached := p.reached.Load()
			a := ask(p.follower, "POST", "/v1/join", `{"id":"n9"}`, append(as(root), json...)...)
			if a.header.Get(api.HeaderNode) != "n2" || !strings.Contains(a.body, `"leader": "n2"`) || p.reached.Load() == reached || reached < 3 {
				t.Errorf("void: with a token the answer is %d %v %s; %d requests came to the leader", a.status, a.header, a.body, reached)
			}
		}
	}
}

// anonymousRequests are what those without a token may ask for where `anonymous` has rules, and
// how it ends.
var anonymousRequests = []struct {
	method, target, body string
	status               int
	header               []string
}{
	{"PUT", "/v1/kv/public/1", "v", 201, nil}, {"PUT", "/v1/kv/public/1", "v", 200, nil}, {"POST", "/v1/kv/public/1?op=append", "w", 200, nil},
	{"GET", "/v1/kv/public/1", "", 200, nil}, {"HEAD", "/v1/kv/public/1", "", 200, nil}, {"GET", "/v1/kv/public/1?consistency=stale", "", 200, nil},
	{"GET", "/v1/kv/public/1", "", 304, []string{"If-None-Match", "*"}}, {"GET", "/v1/kv/public/none", "", 404, nil}, {"GET", "/v1/kv/public/1?foo=1", "", 400, nil},
	{"GET", "/v1/kv?prefix=public/", "", 200, nil}, {"GET", "/v1/kv?prefix=public/", "", 200, []string{"Accept", api.MediaNDJSON}},
	{"POST", "/v1/txn", `{"then":[{"op":"put","key":"public/2","text":"x"}]}`, 200, []string{"Content-Type", api.MediaJSON}},
	{"PUT", "/v1/kv/public/1?cas=9999", "v", 412, nil}, {"PUT", "/v1/kv/public/1?prev", "v", 200, nil}, {"PUT", "/v1/kv/public/1?x=1", "v", 400, nil},
	{"PUT", "/v1/kv/public/3", "v", 201, []string{api.HeaderIdempotencyKey, "once"}}, {"PUT", "/v1/kv/public/3", "w", 422, []string{api.HeaderIdempotencyKey, "once"}},
	{"DELETE", "/v1/kv/public/3", "", 204, nil}, {"DELETE", "/v1/kv?prefix=public/", "", 200, nil},
	{"GET", "/v1/kv/secret", "", 401, nil}, {"PUT", "/v1/kv/secret", "v", 401, nil}, {"GET", "/v1/nothing", "", 404, nil}, {"PATCH", "/v1/kv/public/1", "", 405, nil},
	{"GET", "/v1/status", "", 401, nil}, {"PUT", "/v1/kv/public/1", "v", 503, []string{api.HeaderForwarded, "n9", api.HeaderCluster, "c2"}},
}

// Goal (S1, section 3): an answer to a request without a token says nothing of the cluster where
// `anonymous` may do what is asked for: served, refused, at the leader and at a node that passes
// writes on, as commands and over HTTP. What clients go by is there: the status, the error, when
// to try again, and with ?redirect the address. With a token the node is named.
// Method: requests of all kinds at both nodes, and at a node whose leader is not reached.
func TestAnAnswerWithoutATokenSaysNothing(t *testing.T) {
	for _, frames := range []bool{false, true} {
		p, root := silentPair(t, func(c *settings) { c.frames = frames })
		if frames { // those without a token do not open a connection between nodes
			wantStatus(t, ask(p.follower, "PUT", "/v1/kv/first", "v", as(root)...), 201)
		}
		reached := p.reached.Load()
		for _, s := range []*testServer{p.leader, p.follower} {
			for _, r := range anonymousRequests {
				a := ask(s, r.method, r.target, r.body, r.header...)
				if wantStatus(t, a, r.status); a.tells("127.0.0.1") != "" {
					t.Errorf("%s answers %s %s with %s: %d %v %s", s.Config().NodeID, r.method, r.target, a.tells("127.0.0.1"), a.status, a.header, a.body)
				}
				if a.header.Get(api.HeaderRequestID) == "" || (a.status >= 400) != (a.header.Get(api.HeaderError) != "") {
					t.Errorf("%s answers %s %s with %d %v", s.Config().NodeID, r.method, r.target, a.status, a.header)
				}
				if s == p.leader || a.status >= 300 {
					continue
				}
				if named := ask(s, r.method, r.target, r.body, append(as(root), r.header...)...); named.header.Get(api.HeaderNode) == "" {
					t.Errorf("with a token %s %s is answered %d %v", r.method, r.target, named.status, named.header)
				}
			}
		}
		if came := p.reached.Load() - reached; came < 3 || frames != (came < 15) {
			t.Errorf("void: %d requests of HTTP came to the leader, with frames %v", came, frames)
		}
		sent := ask(p.follower, "PUT", "/v1/kv/public/1?redirect", "v")
		if wantStatus(t, sent, 307); !strings.HasPrefix(sent.header.Get("Location"), "http://"+p.address.Load().(string)) {
			t.Errorf("a client that asks for that is sent to %v", sent.header)
		}
		p.address.Store("127.0.0.1:1")
		p.leaderLog.SetLeader("")
		lost := wantSilentProblem(t, ask(p.follower, "PUT", "/v1/kv/public/1", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		if !lost.Retryable || strings.Contains(lost.Detail, "n2") || strings.Contains(lost.Detail, "127.0.0.1") {
			t.Errorf("a leader that is not reached: %+v", lost)
		}
	}
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, nil)
		letNobody(t, s, root)
		if a := ask(s, "GET", "/metrics", ""); a.status != 200 || a.header.Get(api.HeaderNode)+a.header.Get(api.HeaderLeader)+a.header.Get(api.HeaderTerm) != "" {
			t.Errorf("a scrape without a token: %d %v", a.status, a.header)
		}
	})
}

// Goal (S8): while a node has not heard yet that identities are enforced, the leader takes what
// it passes on for requests of strangers, and does not name itself. That is a node's answer all
// the same: what was done is not of unknown outcome, and what a leader that was replaced has
// refused is tried again. Method: a leader that enforces, and a follower that does not.
func TestTheAnswerOfALeaderThatNamesNobodyIsTaken(t *testing.T) {
	p := newPairWith(t, func(c *settings) { c.Level, c.LeaderWait, c.RequestTimeout = 3, 100*time.Millisecond, 5*time.Second })
	root, _ := enforce(t, p.leader)
	letNobody(t, p.leader, root)
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/public/1", "v"), 201)
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/public/1?cas=9999", "v"), 412)
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/secret", "v"), 401)
	p.leaderLog.SetLeader("")
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/public/1", "v"), 503)
}

// Goal (S14): the name that a client gives its request stands in the answer and in the audit as
// it came, at every node, and whether or not its caller is told of the cluster: so nobody finds
// out by it what a node is called, and a line can be found. A name that the node draws does not
// begin with its own for such callers. Method: names that begin like the node's, over HTTP, in
// answers of all kinds, and in a command that another node passes on.
func TestTheNameOfARequestIsAsTheClientChose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		var want []string
		for _, id := range []string{"n1-abc", "n1-", "n1", "n2-abc", "n1-n1-x", "abc"} {
			for _, r := range []struct {
				method, target string
				header         []string
			}{
				{"PUT", "/v1/kv/a/1", nil}, {"PUT", "/v1/kv/a/1", as("rkt1_x")}, {"PUT", "/v1/kv/b", as(user)}, {"PUT", "/v1/kv/a/1", as(user)},
				{"GET", "/livez", nil}, {"GET", "/livez?x=1", nil}, {"POST", "/v1/join", append(as("x"), "Content-Type", api.MediaJSON)}, {"GET", "/livez", []string{"Content-Encoding", "gzip"}},
			} {
				a := ask(s, r.method, r.target, "{}", append([]string{api.HeaderRequestID, id}, r.header...)...)
				var p api.Problem
				_ = json.Unmarshal([]byte(a.body), &p)
				if got := a.header.Get(api.HeaderRequestID); got != id || a.status >= 400 && p.RequestID != id {
					t.Errorf("%s %s with the name %q is answered %d with the names %q and %q", r.method, r.target, id, a.status, got, p.RequestID)
				}
				if r.method != "GET" {
					want = append(want, id)
				}
			}
			time.Sleep(2 * time.Minute) // wrong tokens are slowed down
		}
		link, _ := dialAs(t, s, asker{token: root}, api.HeaderForwarded, "n9", api.HeaderCluster, "c1", api.HeaderLink, s.Machine().Auth().LinkProof("c1", "n9", "n1"))
		command := kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: []byte("a/1")})
		for _, token := range []string{root, "rkt1_x"} {
			askFrame(t, link, clerkwire.KindForward, clerkwire.Forward{RequestID: "n1-abc", Left: 1e9, Token: []byte(token), Command: command, Sum: clerkwire.SumOf(command)})
			want = append(want, "n1-abc")
		}
		link.conn.Close()
		if drawn := ask(s, "PUT", "/v1/kv/a/1", "v"); strings.Contains(fmt.Sprint(drawn.header, drawn.body), "n1") {
			t.Errorf("a stranger's request is named by the node: %v %s", drawn.header, drawn.body)
		}
		if drawn := ask(s, "PUT", "/v1/kv/a/1", "v", as(user)...); !strings.HasPrefix(drawn.header.Get(api.HeaderRequestID), "n1-") {
			t.Errorf("an identity's request has the name %q", drawn.header.Get(api.HeaderRequestID))
		}
		synctest.Wait()
		audit.Close()
		var got []string
		for _, l := range file.lines(t) {
			got = append(got, l.RequestID)
		}
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("the lines are of\n%q, want\n%q", got, want)
		}
	})
}
