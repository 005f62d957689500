package httpd

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/raft"
	"raftkv/raft/core"
)

type status = raft.Status

const leaderRole = core.Leader

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// limitUser gives the identity user limits.
func limitUser(t *testing.T, s *testServer, root string, l auth.Limits) {
	t.Helper()
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "user", Rules: []auth.Rule{onA, {Space: auth.Keys, Text: "a/", Rights: auth.RightsOf(auth.Watch)}}, Limits: l}})
}

// Goal (S8, S16, S18): a write that was forwarded counts at the leader for the limits of the
// identity whose token it brings, on either road, and for nobody else's: not for the one
// whose request caused the connection between the nodes.
// Method: a leader that lets one identity make a request a minute, which comes first.
func TestAForwardedWriteCountsForItsOwnCaller(t *testing.T) {
	overEachRoad(t, func(t *testing.T, frames bool) {
		leader := newServerOver(t, fakelog.New("n2"), func(c *settings) { c.Level = 3 })
		root, user := enforce(t, leader)
		limitUser(t, leader, root, auth.Limits{RequestsPerSecond: 1})
		address := strings.TrimPrefix(serveHTTP(t, leader).URL, "http://")
		s, log := newServer(t, func(c *settings) {
			c.Level, c.frames, c.LeaderWait, c.RequestTimeout = 3, frames, time.Minute, time.Minute
			c.ClientAddr = func(string) string { return address }
		})
		enforce(t, s)
		log.SetLeader("n2")
		put := func(token string) answer { return ask(s, "PUT", "/v1/kv/a/1", "v", as(token)...) }
		put(user) // over frames it makes the connection, which is the node's
		refused := false
		for range 5 {
			wantStatus(t, answer{status: put(root).status / 100}, 2)
			if a := put(user); a.status == 429 {
				wantProblem(t, a, 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
				refused = true
			}
		}
		if !refused {
			t.Error("the leader lets the identity make any number of requests")
		}
		if err := leader.Gate().Enter(callerOf(t, leader, root), 0); err != nil {
			t.Error(err)
		}
		leader.Gate().Leave(callerOf(t, leader, root), 1)
	})
}

// Goal (S16): an identity has no more watches, connections and sessions than it may, is told
// so, and may have another one when one has ended; others are not touched.
// Method: one more of each than is allowed, over HTTP and by Clerks.
func TestAnIdentityHoldsNoMoreThanItMay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		limitUser(t, s, root, auth.Limits{Watches: 2, Sessions: 1})
		c, _ := dialRaw(t, s, user)
		watch := func() api.Code {
			code, _ := askFrame(t, c, clerkwire.KindWatch, clerkwire.Watch{Prefixes: [][]byte{[]byte("a/")}, ProgressMs: 60_000})
			return code
		}
		if code := watch(); code != "" {
			t.Fatal(code)
		}
		endWatch(t, c)
		w := follow(t, s, anyTime+"prefix=a/", as(user)...)
		w.next()
		if code := watch(); code != "" {
			t.Errorf("a second watch: %q", code)
		}
		first := c.last
		skipChanges(t, c)
		if code := watch(); code != api.CodeIdentityLimited {
			t.Errorf("a third watch: %q", code)
		}
		wantProblem(t, ask(s, "GET", "/v1/watch?prefix=a/", "", as(user)...), 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
		c.last, first = first, c.last
		endWatch(t, c)
		c.last = first
		if code := watch(); code != "" {
			t.Errorf("after one has ended: %q", code)
		}
		skipChanges(t, c)
		for i, want := range []api.Code{"", api.CodeIdentityLimited} {
			if code, _ := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{}); code != want {
				t.Errorf("session %d: %q, want %q", i+1, code, want)
			}
		}
		c.conn.Close()
		synctest.Wait()
		limitUser(t, s, root, auth.Limits{Connections: 2})
		one, _ := dialRaw(t, s, user) // in addition to that of the watch
		if _, status := dialRaw(t, s, user); status != 429 {
			t.Errorf("a third connection is answered with %d", status)
		}
		if other, status := dialRaw(t, s, root); status != 101 {
			t.Errorf("another identity is answered with %d", status)
		} else {
			other.conn.Close()
		}
		one.conn.Close()
		synctest.Wait()
		if two, status := dialRaw(t, s, user); status != 101 {
			t.Errorf("after one has ended it is answered with %d", status)
		} else {
			two.conn.Close()
		}
	})
}

// Goal (S8, S18): the connections between nodes count as nobody's, on either road: an identity
// that has all the connections to the leader that it may writes through another node all the
// same. A client that says to be a node has no more connections than one that does not.
// A Clerk's connection is no request in flight.
// Method: an identity with one connection and one request in flight, which it uses up at the
// leader; writes through another node; then the claim of a node, with and without a proof.
func TestALinkBetweenNodesCountsAsNobodys(t *testing.T) {
	overEachRoad(t, func(t *testing.T, frames bool) {
		leader := newServerOver(t, fakelog.New("n2"), func(c *settings) { c.Level = 3 })
		root, user := enforce(t, leader)
		limitUser(t, leader, root, auth.Limits{Connections: 1, InFlight: 1})
		served := serveHTTP(t, leader)
		address := strings.TrimPrefix(served.URL, "http://")
		s, log := newServer(t, func(c *settings) {
			c.Level, c.frames, c.LeaderWait, c.RequestTimeout = 3, frames, time.Minute, time.Minute
			c.ClientAddr = func(string) string { return address }
		})
		enforce(t, s)
		log.SetLeader("n2")
		own, status := dialRaw(t, leader, user)
		if status != 101 {
			t.Fatalf("the identity's own connection is answered with %d", status)
		}
		if code, _ := askFrame(t, own, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/1")}); code != "" && code != api.CodeKeyNotFound {
			t.Errorf("its one request is refused: %q", code)
		}
		for i := range 3 {
			wantStatus(t, ask(s, "PUT", fmt.Sprint("/v1/kv/a/", i), "v", as(user)...), 201)
			wantStatus(t, ask(s, "PUT", fmt.Sprint("/v1/kv/b/", i), "v", as(root)...), 201)
		}
		viewer := newIdentityBy(t, leader, callerOf(t, leader, root), "viewer", "viewer00", auth.Rule{Rights: auth.RightsOf(auth.Status)})
		change(t, leader, callerOf(t, leader, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "viewer", Rules: []auth.Rule{{Rights: auth.RightsOf(auth.Status)}}, Limits: auth.Limits{Connections: 1}}})
		if _, status := dialRaw(t, leader, viewer); status != 101 {
			t.Fatalf("the viewer's own connection is answered with %d", status)
		}
		for range 2 { // what a node gathers in somebody's name
			if all := s.peers.askStatuses(gathering{peers: []string{"n2"}, token: auth.NewSecret(viewer)}); all[0].Error != "" {
				t.Errorf("a status in the name of a viewer: %s", all[0].Error)
			}
		}
		proof := s.LinkProof("n2")
		for _, claim := range [][]string{
			{}, {api.HeaderForwarded, "n1", api.HeaderCluster, "c1"}, {api.HeaderForwarded, "n1", api.HeaderCluster, "c1", api.HeaderLink, "0" + proof[1:] + "0"},
			{api.HeaderForwarded, "n2", api.HeaderCluster, "c1", api.HeaderLink, leader.LinkProof("n2")}, {api.HeaderLink, proof},
			{api.HeaderForwarded, "n3", api.HeaderCluster, "c1", api.HeaderLink, proof},
		} {
			a := send(t, "GET", served.URL+"/v1/kv/a/1", "", append(as(user), claim...)...)
			wantProblem(t, a, 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
		}
	})
}

// skipChanges reads what a watch begins with.
func skipChanges(t *testing.T, c *rawClerk) {
	t.Helper()
	if h, _ := nextFrame(t, c); h.Kind != clerkwire.KindChanges {
		t.Fatalf("a watch begins with %+v", h)
	}
}

// Goal (S14, S18): what is forwarded has one line at the node that answered and one at the
// leader, with the same name and outcome, whatever the client's headers say; so have
// refusals; the wish to join, a reload and the log level have a line; so has a Clerk's read
// that was refused when it had waited. To keep a lease alive has none at either node.
// Method: two nodes with an audit each; each kind of act.
func TestTheAuditHasWhatOtherNodesAndTheOperatorDo(t *testing.T) {
	overEachRoad(t, func(t *testing.T, frames bool) {
		files := map[string]*sink{"n1": {}, "n2": {}}
		audits := map[string]*access.Audit{}
		for id, file := range files {
			audits[id] = access.NewAudit(access.AuditConfig{To: file})
		}
		leader := newServerOver(t, fakelog.New("n2"), func(c *settings) { c.Level, c.Access.Audit = 3, audits["n2"] })
		root, user := enforce(t, leader)
		limitUser(t, leader, root, auth.Limits{})
		address := strings.TrimPrefix(serveHTTP(t, leader).URL, "http://")
		s, log := newServer(t, func(c *settings) {
			c.Level, c.frames, c.LeaderWait, c.RequestTimeout, c.Access.Audit = 3, frames, time.Minute, time.Minute, audits["n1"]
			c.ClientAddr = func(string) string { return address }
		})
		enforce(t, s)
		log.SetLeader("n2")
		var want []string
		for i, claim := range claims {
			if len(claim) > 0 && claim[0] == api.HeaderForwarded {
				continue // it goes no further
			}
			id := fmt.Sprint("request-", i)
			header := append(append(as(user), api.HeaderRequestID, id), claim...)
			wantStatus(t, ask(s, "PUT", fmt.Sprint("/v1/kv/a/", i), "v", header...), 201)
			want = append(want, fmt.Sprintf("%s put a/%d user applied ", id, i))
		}
		revoke(t, leader, root, user)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/9", "v", append(as(user), api.HeaderRequestID, "late")...), 401)
		granted := ask(s, "POST", "/v1/leases", `{"ttl":"1m"}`, append(as(root), "Content-Type", api.MediaJSON, api.HeaderRequestID, "grant")...)
		wantStatus(t, granted, 201)
		var lease api.Granted
		granted.read(t, &lease)
		wantStatus(t, ask(s, "POST", fmt.Sprintf("/v1/leases/%d/keepalive", lease.Lease), "", as(root)...), 200)
		wantStatus(t, ask(s, "POST", "/v1/join", `{}`, "Content-Type", api.MediaJSON, api.HeaderRequestID, "join"), 501)
		admin := httptest.NewServer(s.door.AdminHandler(new(slog.LevelVar), nil))
		defer admin.Close()
		wantStatus(t, send(t, "POST", admin.URL+"/v1/reload", "", append(as(root), api.HeaderRequestID, "reload")...), 200)
		wantStatus(t, send(t, "PUT", admin.URL+"/v1/log-level", "info", append(as(root), api.HeaderRequestID, "level")...), 200)
		for _, a := range audits {
			a.Close()
		}
		lines := func(node string) (all []string) {
			for _, l := range files[node].lines(t) {
				all = append(all, fmt.Sprintf("%s %s %s %s %s %s", l.RequestID, strings.TrimPrefix(l.Action, "forward "), l.Key, l.Identity, l.Outcome, l.Code))
			}
			return all
		}
		for _, node := range []string{"n1", "n2"} {
			all := strings.Join(lines(node), "\n")
			for _, line := range want {
				if strings.Count(all, line) != 1 {
					t.Errorf("%s has %d lines %q of\n%s", node, strings.Count(all, line), line, all)
				}
			}
			if strings.Count(all, "late ") != 1 || !strings.Contains(all, "not_applied unauthenticated") {
				t.Errorf("%s: the refusal is not there once:\n%s", node, all)
			}
			if strings.Count(all, "grant ") < 1 || strings.Contains(all, "keepalive") || strings.Contains(all, "keep-alive") {
				t.Errorf("%s: of a lease there is\n%s", node, all)
			}
		}
		here := strings.Join(lines("n1"), "\n")
		for _, line := range []string{"join POST /v1/join   not_applied not_active", "reload POST /v1/reload  root applied ", "level PUT /v1/log-level  root applied "} {
			if strings.Count(here, line) != 1 {
				t.Errorf("no line %q in\n%s", line, here)
			}
		}
	})
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, log, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		c, _ := dialRaw(t, s, user)
		confirm := make(chan struct{})
		log.Reading(waitFor(log, confirm))
		for i, message := range []clerkwire.Message{clerkwire.Get{Key: []byte("a/1")}, clerkwire.List{Prefix: []byte("a/")}} {
			kind := []clerkwire.Kind{clerkwire.KindGet, clerkwire.KindList}[i]
			c.last++
			if _, err := c.conn.Write(clerkwire.AppendFrame(nil, kind, c.last, message)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		revoke(t, s, root, user)
		close(confirm)
		for range 2 {
			if h, _ := nextFrame(t, c); h.Kind != clerkwire.KindRefused {
				t.Errorf("answered with a frame of kind 0x%02x", uint8(h.Kind))
			}
		}
		c.conn.Close()
		audit.Close()
		var got []string
		for _, l := range file.lines(t) {
			got = append(got, l.Action+" "+l.Key+" "+l.Code)
		}
		if text := strings.Join(got, ", "); !strings.Contains(text, "get a/1 unauthenticated") || !strings.Contains(text, "list a/ unauthenticated") {
			t.Errorf("the lines are %s", text)
		}
	})
}

// Goal (S4): no answer tells whether a key is there to a caller without the right to it, nor
// does an error, a header or a link. Method: the same requests about a key that is there and
// one that is not, in a store that differs in nothing else.
func TestARefusalDoesNotTellWhetherAKeyIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		wantStatus(t, ask(s, "PUT", "/v1/kv/b/there", "v", as(root)...), 201)
		json := []string{"Content-Type", api.MediaJSON}
		for _, c := range []struct {
			method, target, body string
			header               []string
		}{
			{"GET", "/v1/kv/b/KEY", "", nil}, {"HEAD", "/v1/kv/b/KEY", "", nil}, {"PUT", "/v1/kv/b/KEY", "x", nil}, {"DELETE", "/v1/kv/b/KEY", "", nil},
			{"GET", "/v1/kv/b/KEY?consistency=stale", "", nil}, {"GET", "/v1/kv/b/KEY?wait=1s", "", []string{"If-None-Match", `"2"`}},
			{"PUT", "/v1/kv/b/KEY", "x", []string{"If-Match", `"2"`}}, {"PUT", "/v1/kv/b/KEY", "x", []string{"If-None-Match", "*"}},
			{"POST", "/v1/kv/b/KEY?op=append", "x", nil}, {"POST", "/v1/kv/b/KEY?op=touch&ttl=1m", "", nil}, {"PUT", "/v1/kv/b/KEY?prev", "x", nil},
			{"GET", "/v1/kv?prefix=b/KEY", "", nil}, {"GET", "/v1/kv?prefix=b/KEY&count_only", "", nil}, {"DELETE", "/v1/kv?prefix=b/KEY", "", nil},
			{"GET", "/v1/watch?key=b/KEY", "", nil}, {"POST", "/v1/txn", `{"if":[{"key":"b/KEY","absent":true}]}`, json},
			{"POST", "/v1/txn", `{"if":[{"key":"a/1","absent":true}],"then":[{"op":"get","key":"b/KEY"}]}`, json},
		} {
			said := func(key string) string {
				fill := strings.NewReplacer("KEY", key)
				a := ask(s, c.method, fill.Replace(c.target), fill.Replace(c.body), append(append(as(user), api.HeaderRequestID, "same"), c.header...)...)
				if a.status != 403 {
					t.Errorf("%s %s of %s is answered with %d", c.method, c.target, key, a.status)
				}
				next := key[:len(key)-1] + string(key[len(key)-1]+1) // the end of the range of a prefix
				return strings.NewReplacer(key, "KEY", next, "NEXT").Replace(fmt.Sprint(a.status, a.header, a.body))
			}
			if there, gone := said("there"), said("never"); there != gone {
				t.Errorf("%s %s: of a key that is there\n%s\nand of one that is not\n%s", c.method, c.target, there, gone)
			}
		}
	})
}
