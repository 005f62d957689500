package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/client"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

var (
	adminRule = auth.Rule{Rights: auth.RightsOf(auth.Admin)}
	onA       = auth.Rule{Space: auth.Keys, Text: "a/", Rights: auth.RightsOf(auth.Read, auth.List, auth.Write, auth.Delete)}
)

// enforced starts a server that enforces identities: root, which is admin, and user, which
// may do everything on a/.
func enforced(t *testing.T, more func(*settings)) (s *testServer, log *fakelog.Log, root, user string) {
	t.Helper()
	s, log = newServer(t, func(c *settings) {
		c.Level = 3
		if more != nil {
			more(c)
		}
	})
	root, user = enforce(t, s)
	return s, log, root, user
}

func enforce(t *testing.T, s *testServer) (root, user string) {
	t.Helper()
	root = newIdentity(t, s, "root", "root0000", adminRule)
	user = newIdentity(t, s, "user", "user0000", onA)
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: auth.Enforcing})
	return root, user
}

func revoke(t testing.TB, s *testServer, root, token string) {
	t.Helper()
	id, err := auth.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: id}})
}

// as is the header of a token.
func as(token string) []string { return []string{"Authorization", "Bearer " + token} }

// Goal (S6): when a revocation was answered, nothing is read by the token any more: not
// on a Clerk's connection that was made before (planted bug 3), not by a request that had
// come and was waiting for its read index, and not by a stream that has begun.
// Method: each of them, with the revocation in between.
func TestARevokedTokenReadsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, user := enforced(t, nil)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", "v", as(user)...), 201)
		c, _ := dialRaw(t, s, user)
		if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/1")}); code != "" {
			t.Fatalf("a get before: %s", code)
		}
		confirm := make(chan struct{})
		log.Mu.Lock()
		log.OnRead = func(ctx context.Context) (uint64, error) {
			select {
			case <-confirm:
				return log.Status().LastIndex, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		log.Mu.Unlock()
		waiting := []<-chan answer{}
		for _, target := range []string{"/v1/kv/a/1", "/v1/kv?prefix=a/"} {
			waiting = append(waiting, later(func() answer { return ask(s, "GET", target, "", as(user)...) }))
		}
		waiting = append(waiting, later(func() answer {
			return ask(s, "GET", "/v1/kv?prefix=a/", "", append(as(user), "Accept", api.MediaNDJSON)...)
		}))
		synctest.Wait()
		revoke(t, s, root, user)
		close(confirm)
		for i, w := range waiting {
			if a := <-w; a.status != 401 || strings.Contains(a.body, `"v"`) {
				t.Errorf("read %d that was waiting is answered %d %s", i, a.status, a.body)
			}
		}
		for _, consistency := range []clerkwire.Consistency{clerkwire.Linearizable, clerkwire.Stale} {
			if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/1"), Consistency: consistency}); code != api.CodeUnauthenticated {
				t.Errorf("a get on a connection from before: %q", code)
			}
			if code, _ := askFrame(t, c, clerkwire.KindList, clerkwire.List{Prefix: []byte("a/"), Consistency: consistency}); code != api.CodeUnauthenticated {
				t.Errorf("a list on a connection from before: %q", code)
			}
		}
		wantProblem(t, ask(s, "GET", "/v1/kv/a/1?consistency=stale", "", as(user)...), 401, api.CodeUnauthenticated, api.OutcomeNotApplied)
		p := (&exchange{door: s.door, r: nil, who: *callerOf(t, s, root)}).permit(auth.List, auth.KeysWith("", ""))
		if p.Still() != nil {
			t.Error("a stream of an admin ends")
		}
		newIdentityBy(t, s, callerOf(t, s, root), "other", "other000", adminRule)
		id, _ := auth.ParseToken(root)
		_, other := testToken(t, "other000")
		change(t, s, callerOf(t, s, other), auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: id}})
		if p.Still() == nil {
			t.Error("a stream of a token that was revoked goes on")
		}
		c.conn.Close()
	})
}

// Goal: a Clerk's connection goes on with a new token, and not with one that opens
// nothing. Method: frames of kind auth.
func TestAConnectionTakesANewToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		c, _ := dialRaw(t, s, user)
		get := func() api.Code {
			code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("b")})
			return code
		}
		if code := get(); code != api.CodeForbidden {
			t.Errorf("before: %q", code)
		}
		for _, wrong := range []string{"", "x", root[:len(root)-1]} {
			if code, _ := askFrame(t, c, clerkwire.KindAuth, clerkwire.Auth{Token: []byte(wrong)}); code != api.CodeUnauthenticated {
				t.Errorf("the token %q is taken: %q", wrong, code)
			}
		}
		if code := get(); code != api.CodeForbidden {
			t.Errorf("after wrong tokens: %q", code)
		}
		if code, _ := askFrame(t, c, clerkwire.KindAuth, clerkwire.Auth{Token: []byte(root)}); code != "" {
			t.Errorf("a good token: %q", code)
		}
		if code := get(); code != "" {
			t.Errorf("after: %q", code)
		}
		c.conn.Close()
	})
}

// Goal (S5): a write that was let in before its token was revoked, and comes to its
// place in the log behind the revocation, is refused there, and its client hears that it
// did not happen. Method: the log keeps the proposal back.
func TestAWriteBehindARevocationIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, user := enforced(t, nil)
		log.Mu.Lock()
		held := make(chan *raft.Proposal, 1)
		log.OnPropose = func(p *raft.Proposal) {
			if c, err := kv.DecodeCommand(p.Command); err == nil && c.Op == kv.OpPut {
				held <- p
				return
			}
			log.Choose(p)
		}
		log.Mu.Unlock()
		put := later(func() answer { return ask(s, "PUT", "/v1/kv/a/1", "v", as(user)...) })
		p := <-held
		revoke(t, s, root, user)
		log.Choose(p)
		wantProblem(t, <-put, 403, api.CodeForbidden, api.OutcomeNotApplied)
		if got := stored(s, "a/1"); got != "(none)" {
			t.Errorf("the store has %q", got)
		}
	})
}

// claims are headers by which a client may say what it is not.
var claims = [][]string{
	{}, {api.HeaderForwarded, "n2", api.HeaderCluster, "c1"}, {"X-Forwarded-For", "127.0.0.1"}, {"Forwarded", "for=127.0.0.1"},
	{"Connection", "Authorization"}, {"X-Real-Ip", "127.0.0.1"}, {"Kv-Node", "n1"}, {"Via", "1.1 n1"}, {"Connection", "Authorization, Kv-Forwarded"}, {api.HeaderLink, "00"},
}

// Goal (S18): no header changes what a caller may do; planted bug 4.
// Method: the same requests with all kinds of claims.
func TestNoHeaderChangesARight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, _, user := enforced(t, nil)
		for _, claim := range claims {
			for _, c := range []struct {
				method, target string
				token          string
				want           int
			}{
				{"PUT", "/v1/kv/b", user, 403}, {"PUT", "/v1/kv/b", "", 401}, {"GET", "/v1/kv/b", user, 403}, {"DELETE", "/v1/kv/b", user, 403},
				{"PUT", "/v1/kv/a/1", "", 401}, {"GET", "/v1/auth/state", user, 403}, {"PUT", "/v1/auth/identities/x", "", 401}, {"POST", "/v1/leader", user, 403},
			} {
				header := append([]string{}, claim...)
				if c.token != "" {
					header = append(header, as(c.token)...)
				}
				if a := ask(s, c.method, c.target, "", header...); a.status != c.want {
					t.Errorf("%s %s with %v: %d, want %d", c.method, c.target, claim, a.status, c.want)
				}
			}
		}
	})
}

// Goal (S8): a write that was forwarded can do at the leader what its token can do there,
// no more and no less, on either road, whatever the client's headers say; the node that
// forwards may know less than the leader.
// Method: two nodes with one table; then the leader learns of a revocation first.
func TestAForwardedWriteBringsItsOwnToken(t *testing.T) {
	overEachRoad(t, func(t *testing.T, frames bool) {
		leader := newServerOver(t, fakelog.New("n2"), func(c *settings) { c.Level = 3 })
		root, user := enforce(t, leader)
		address := strings.TrimPrefix(serveHTTP(t, leader).URL, "http://")
		s, log := newServer(t, func(c *settings) {
			c.Level, c.frames, c.LeaderWait, c.RequestTimeout = 3, frames, time.Minute, time.Minute
			c.ClientAddr = func(string) string { return address }
		})
		enforce(t, s)
		log.SetLeader("n2")
		put := func(key, token string, header ...string) answer {
			return ask(s, "PUT", "/v1/kv/"+key, "v", append(header, as(token)...)...)
		}
		for i, claim := range claims {
			if len(claim) > 0 && claim[0] == api.HeaderForwarded {
				continue // it goes no further
			}
			key := fmt.Sprint("a/", i)
			wantStatus(t, put(key, user, claim...), 201)
			if got := stored(leader, key); got != "v" {
				t.Errorf("%v: the leader has %q", claim, got)
			}
		}
		if a := put("b", user); a.status != 403 {
			t.Errorf("a foreign key: %d", a.status)
		}
		wantStatus(t, ask(s, "DELETE", "/v1/kv/a/0", "", as(user)...), 204)
		// The node that forwards does not know yet.
		revoke(t, leader, root, user)
		wantProblem(t, put("a/late", user), 401, api.CodeUnauthenticated, api.OutcomeNotApplied)
		wantStatus(t, put("b", root), 201)
		change(t, leader, callerOf(t, leader, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "user", Rules: []auth.Rule{}}})
		if got := stored(leader, "a/late"); got != "(none)" {
			t.Errorf("the leader has %q", got)
		}
		// What changes identities travels, too, and is judged at the leader.
		wantStatus(t, ask(s, "PUT", "/v1/auth/identities/new", `{"rules":[]}`, append(as(root), "Content-Type", api.MediaJSON)...), 201)
	})
}

// Goal (S16): an identity beyond its limit is refused before it takes a place, is told
// when to come again, and others are not touched. Method: three requests where two a
// second are allowed, bodies of more bytes, and two at one time where one is.
func TestAnIdentityIsHeldToItsLimits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		limit := func(l auth.Limits) {
			change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "user", Rules: []auth.Rule{onA}, Limits: l}})
			time.Sleep(time.Minute) // virtual: the buckets fill
		}
		get := func(token string) int { return ask(s, "GET", "/v1/kv/a/1", "", as(token)...).status }
		limit(auth.Limits{RequestsPerSecond: 2})
		for i, want := range []int{404, 404, 429} {
			if got := get(user); got != want {
				t.Errorf("request %d: %d, want %d", i+1, got, want)
			}
		}
		a := ask(s, "GET", "/v1/kv/a/1", "", as(user)...)
		wantProblem(t, a, 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
		for range 10 {
			if got := get(root); got != 404 {
				t.Errorf("another identity: %d", got)
			}
		}
		time.Sleep(time.Second)
		if got := get(user); got != 404 {
			t.Errorf("a second later: %d", got)
		}
		limit(auth.Limits{BytesPerSecond: 10})
		for i, want := range []int{201, 429} {
			if got := ask(s, "PUT", fmt.Sprint("/v1/kv/a/b", i), "12345678", as(user)...).status; got != want {
				t.Errorf("8 bytes, time %d: %d, want %d", i+1, got, want)
			}
		}
		limit(auth.Limits{InFlight: 1})
		c := callerOf(t, s, user)
		if err := s.Gate().Enter(c, 0); err != nil {
			t.Fatal(err)
		}
		if got := get(user); got != 429 {
			t.Errorf("a second request in flight: %d", got)
		}
		s.Gate().Leave(c, 1)
		if got := get(user); got != 404 {
			t.Errorf("after it has left: %d", got)
		}
	})
}

// sink is a file of the audit that can be made to fail.
type sink struct {
	mu      sync.Mutex
	text    bytes.Buffer
	failing bool
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing {
		return 0, errors.New("no space left")
	}
	return s.text.Write(b)
}

func (s *sink) fail(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = yes
}

func (s *sink) lines(t *testing.T) (all []access.Line) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.text.String()) {
		var l access.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// Goal (S14): every act has exactly one line with its true outcome: writes, refusals,
// changes of identities, over HTTP and by Clerks; reads have none. With --audit-required
// nothing happens for which no line can be kept. The line of a new token says whose it is, and
// its id; that of a state, which. Method: a list of acts, and a file that
// takes nothing.
func TestEveryActHasOneLine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Required: true})
		s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		ask(s, "PUT", "/v1/kv/a/1", "secret value", append(as(user), api.HeaderRequestID, "one")...)
		ask(s, "GET", "/v1/kv/a/1", "", as(user)...)
		ask(s, "PUT", "/v1/kv/b", "secret value", as(user)...)
		ask(s, "GET", "/v1/kv/b", "", as(user)...)
		ask(s, "GET", "/v1/kv/a/1", "")
		ask(s, "PUT", "/v1/kv/a/1", "x", append(as(user), "If-None-Match", "*")...)
		var made api.AuthToken
		ask(s, "POST", "/v1/auth/tokens", `{"identity":"user"}`, append(as(root), "Content-Type", api.MediaJSON)...).read(t, &made)
		ask(s, "PUT", "/v1/auth/state", `{"state":"enforce"}`, append(as(root), "Content-Type", api.MediaJSON)...)
		c, _ := dialRaw(t, s, user)
		code, body := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{})
		var opened clerkwire.Opened
		if code != "" || opened.Parse(body) != nil {
			t.Fatal(code)
		}
		writeFrame(clerkwire.KindPut)(t, c, opened.Session, "a/2")
		writeFrame(clerkwire.KindDelete)(t, c, opened.Session, "b")
		c.conn.Close()
		synctest.Wait()
		want := []string{
			"put a/1 user applied ", "put b user not_applied forbidden", "get b user not_applied forbidden", "get a/1  not_applied unauthenticated",
			"put a/1 user not_applied precondition_failed", "POST /v1/auth/tokens user " + made.ID + " root applied ", "PUT /v1/auth/state enforce root applied ", "put a/2 user applied ", "delete b user not_applied forbidden",
		}
		var got []string
		for _, l := range file.lines(t) {
			got = append(got, fmt.Sprintf("%s %s %s %s %s", l.Action, l.Key, l.Identity, l.Outcome, l.Code))
			if l.Node != "n1" || l.RequestID == "" || l.Time.IsZero() || l.Identity != "" && l.TokenID == "" {
				t.Errorf("the line lacks something: %+v", l)
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the lines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if file.lines(t)[0].RequestID != "one" {
			t.Error("the request's own name is lost")
		}
		file.fail(true)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/3", "v", as(user)...), 201) // its line is tried again
		synctest.Wait()
		wantProblem(t, ask(s, "PUT", "/v1/kv/a/4", "v", as(user)...), 503, api.CodeAuditUnavailable, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "GET", "/v1/kv/a/3", "", as(user)...), 200)
		file.fail(false)
		time.Sleep(time.Second)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/4", "v", as(user)...), 201)
		audit.Close()
		if n := len(file.lines(t)); n != len(want)+2 || audit.Lost() != 0 {
			t.Errorf("%d lines, %d lost", n, audit.Lost())
		}
	})
}

// Goal (S13): tokens, and keys and values of the store, show nowhere: not in the log at
// its lowest level, in problems, in the status, in metrics, in the audit (keys may), in
// commands and in snapshots. Method: canaries, over all calls of the matrix.
func TestSecretsShowNowhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var logged bytes.Buffer
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Keys: access.NoKeys})
		s, log, root, user := enforced(t, func(c *settings) {
			c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c.Access.Audit = audit
		})
		_, wrong := testToken(t, "canary00")
		const value, key = "canary-value", "a/canary-key"
		var said strings.Builder
		for _, token := range []string{root, user, wrong} {
			for _, r := range Routes() {
				for _, c := range calls(r) {
					if r.Path == "/v1/snapshot" || r.Path == "/v1/kv/{key}" && r.Method == "GET" {
						continue
					}
					a := askCut(s, r.Method, c.target, c.body, []string{"Bearer " + token}, c.header...)
					if r.Path != "/v1/auth/tokens" && r.Path != "/v1/kv" {
						said.WriteString(a.body)
					}
				}
			}
			ask(s, "PUT", "/v1/kv/"+key, value, as(token)...)
			ask(s, "PUT", "/v1/kv/b", value, as(token)...)
			if c, _ := dialRaw(t, s, token); c != nil {
				askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("b")})
				c.conn.Close()
			}
		}
		said.WriteString(ask(s, "GET", "/metrics", "", as(root)...).body)
		said.WriteString(ask(s, "GET", "/v1/status", "", as(root)...).body)
		audit.Close()
		var snapshot bytes.Buffer
		if _, err := s.Machine().Freeze().WriteTo(&snapshot); err != nil {
			t.Fatal(err)
		}
		for _, p := range log.Proposals {
			snapshot.Write(p.Command)
		}
		places := map[string]string{"the log": logged.String(), "answers": said.String(), "the audit": file.text.String(), "commands and snapshots": snapshot.String()}
		for where, text := range places {
			for _, token := range []string{root, user, wrong} {
				if secret := token[len("rkt1_")+8:]; strings.Contains(text, secret[:20]) || strings.Contains(text, token) {
					t.Errorf("a token shows in %s", where)
				}
			}
			if where != "commands and snapshots" && (strings.Contains(text, value) || strings.Contains(text, "canary-key")) {
				t.Errorf("a key or value shows in %s", where)
			}
		}
		if !strings.Contains(snapshot.String(), value) || file.text.Len() == 0 || said.Len() == 0 {
			t.Error("void: nothing was asked")
		}
	})
}

// Goal: a node that hears of no leader refuses stale reads after a while, for a token may
// have been revoked; before identities are enforced it goes on.
// Method: a node without a leader.
func TestStaleReadsEndWithoutALeader(t *testing.T) {
	for _, state := range []auth.State{auth.Observing, auth.Enforcing} {
		inBubble(t, func(t *testing.T) {
			s, log, root, user := enforced(t, func(c *settings) { c.StaleLimit = 10 * time.Second })
			change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: state})
			get := func() answer { return ask(s, "GET", "/v1/kv/a/1?consistency=stale", "", as(user)...) }
			wantStatus(t, get(), 404)
			log.SetLeader("")
			time.Sleep(9 * time.Second)
			wantStatus(t, get(), 404)
			time.Sleep(2 * time.Second)
			if state == auth.Observing {
				wantStatus(t, get(), 404)
				return
			}
			wantProblem(t, get(), 503, api.CodeBehind, api.OutcomeNotApplied)
			log.SetLeader("n2")
			time.Sleep(time.Second)
			wantStatus(t, get(), 404)
		})
	}
}

// Goal (S6): a node that hears its leader and applies nothing refuses stale reads of all kinds
// after a while, too, for a token may have been revoked in what it has not applied.
// Method: a node that does not apply what its leader has committed, and then does.
func TestStaleReadsEndOnANodeThatAppliesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, func(c *settings) { c.StaleLimit = 10 * time.Second })
		targets := map[string]int{
			"/v1/kv/a/1?consistency=stale": 404, "/v1/kv?consistency=stale": 200, "/v1/kv/a/1?at_revision=1": 404, "/v1/leases?consistency=stale": 200, "/v1/locks/x?consistency=stale": 404,
			"/v1/members?consistency=stale": 501, // this node has none
		}
		get := func(target string) answer { return ask(s, "GET", target, "", as(root)...) }
		wantStatus(t, get("/v1/kv?consistency=stale"), 200) // so it is confirmed
		log.Set(func(st *raft.Status) { st.LastIndex++ })
		time.Sleep(7 * time.Second) // the last confirmation is at most a quarter of the limit old
		for target, status := range targets {
			wantStatus(t, get(target), status)
		}
		time.Sleep(4 * time.Second)
		for target := range targets {
			wantProblem(t, get(target), 503, api.CodeBehind, api.OutcomeNotApplied)
		}
		log.Set(func(st *raft.Status) { st.LastIndex-- })
		log.Deliver(nil)
		time.Sleep(time.Second)
		for target, status := range targets {
			wantStatus(t, get(target), status)
		}
	})
}

// Goal: an observed cluster serves what it would refuse, and says what that was; one
// whose identities are off looks at nothing. Method: the same requests in both states.
func TestObservingServesAndTells(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.Level = 3 })
	wantStatus(t, ask(s, "PUT", "/v1/kv/b", "v", as("nonsense")...), 201)
	root := newIdentity(t, s, "root", "root0000", adminRule)
	user := newIdentity(t, s, "user", "user0000", onA)
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: auth.Observing})
	wantStatus(t, ask(s, "GET", "/v1/kv/b", "", as(user)...), 200)
	wantStatus(t, ask(s, "GET", "/v1/kv/b", ""), 200)
	wantStatus(t, ask(s, "GET", "/v1/kv/a/1", "", as(user)...), 404)
	var state api.AuthState
	if err := json.Unmarshal([]byte(ask(s, "GET", "/v1/auth/state", "", as(root)...).body), &state); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(state.WouldDeny, ", "); state.State != "observe" || got != "anonymous read, user read" {
		t.Errorf("%+v", state)
	}
}

// Goal: the first admin is made on the node's own machine, while identities are off, and
// by nobody else. Method: requests that come from elsewhere, or through a proxy.
func TestTheFirstAdminIsMadeOnTheMachine(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.Level = 3 })
	body := `{"rules":[{"rights":["admin"]}]}`
	wantProblem(t, ask(s, "PUT", "/v1/auth/identities/root", body, "Content-Type", api.MediaJSON), 401, api.CodeUnauthenticated, api.OutcomeNotApplied)
	url := serveHTTP(t, s).URL
	for _, header := range [][]string{{"X-Forwarded-For", "10.0.0.1"}, {"Forwarded", "for=10.0.0.1"}, {"Via", "1.1 proxy"}} {
		wantStatus(t, send(t, "PUT", url+"/v1/auth/identities/root", body, append(header, "Content-Type", api.MediaJSON)...), 401)
	}
	wantStatus(t, send(t, "PUT", url+"/v1/auth/identities/root", body, "Content-Type", api.MediaJSON), 201)
	made := send(t, "POST", url+"/v1/auth/tokens", `{"identity":"root","ttl":"1h"}`, "Content-Type", api.MediaJSON, api.HeaderIdempotencyKey, "once")
	wantStatus(t, made, 201)
	again := send(t, "POST", url+"/v1/auth/tokens", `{"identity":"root","ttl":"1h"}`, "Content-Type", api.MediaJSON, api.HeaderIdempotencyKey, "once")
	var first, second api.AuthToken
	if json.Unmarshal([]byte(made.body), &first) != nil || json.Unmarshal([]byte(again.body), &second) != nil || first.Token == "" || second.Token != "" || first.ID != second.ID {
		t.Errorf("%s and %s", made.body, again.body)
	}
	wantStatus(t, send(t, "PUT", url+"/v1/auth/state", `{"state":"enforce"}`, append(as(first.Token), "Content-Type", api.MediaJSON)...), 200)
	wantStatus(t, send(t, "PUT", url+"/v1/auth/identities/other", body, "Content-Type", api.MediaJSON), 401)
	wantStatus(t, send(t, "GET", url+"/v1/auth/me", "", as(first.Token)...), 200)
	check := send(t, "POST", url+"/v1/auth/check", `{"identity":"root","right":"read","prefix":""}`, append(as(first.Token), "Content-Type", api.MediaJSON)...)
	var checked api.AuthChecked
	if err := json.Unmarshal([]byte(check.body), &checked); err != nil || !checked.Allowed || string(checked.Rule) != `{"rights":["admin"]}` {
		t.Errorf("%s", check.body)
	}
}

// Goal: a Clerk brings its token, goes on with a new one when the old one opens nothing,
// tells what it lacks, and sends its token to nobody in clear but on this machine.
// Method: a Clerk of a node that enforces identities.
func TestAClerkBringsItsToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		pipes := servePipes(t, s)
		present, asked := user, 0
		config := client.Config{Endpoints: []string{"localhost:1"}, Dial: pipes.Dial, Token: func(context.Context) (string, error) {
			asked++
			return present, nil
		}}
		c, err := client.Dial(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Put(t.Context(), "a/1", []byte("v")); err != nil {
			t.Error(err)
		}
		if _, err := c.Put(t.Context(), "b", []byte("v")); !errors.Is(err, client.ErrForbidden) {
			t.Errorf("a foreign key: %v", err)
		}
		id, _ := testToken(t, "second00")
		_, second := testToken(t, "second00")
		change(t, s, callerOf(t, s, root), auth.Change{Action: auth.CreateToken, Name: "user", Token: &auth.Token{ID: id, Hash: auth.HashOf(second)}})
		revoke(t, s, root, user)
		present = second
		if item, err := c.Get(t.Context(), "a/1"); err != nil || string(item.Value) != "v" || asked != 2 {
			t.Errorf("after a rotation: %v, asked %d times", err, asked)
		}
		if _, err := c.Append(t.Context(), "a/1", []byte("w")); err != nil {
			t.Errorf("the session after a rotation: %v", err)
		}
		revoke(t, s, root, second)
		if _, err := c.Get(t.Context(), "a/1"); !errors.Is(err, client.ErrUnauthenticated) {
			t.Errorf("after a revocation: %v", err)
		}
		config.Endpoints = []string{"10.0.0.1:8701"}
		config.Dial = func(context.Context, string) (net.Conn, error) {
			t.Error("a connection is made on which the token would be sent in clear")
			return nil, errors.New("no")
		}
		if _, err := client.Dial(t.Context(), config); !errors.Is(err, client.ErrUnauthenticated) {
			t.Errorf("in clear: %v", err)
		}
	})
}

// Goal: a token that opens nothing is never taken for no token, though more may be
// granted to those. Method: anonymous may read.
func TestABadTokenIsNotAnonymous(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{
			Name: auth.Anonymous, Rules: []auth.Rule{{Space: auth.Keys, Text: "public/", Rights: auth.RightsOf(auth.Read)}},
		}})
		_, wrong := testToken(t, "wrong000")
		for _, c := range []struct {
			target, authorization string
			want                  int
		}{
			{"/v1/kv/public/1", "", 404}, {"/v1/kv/a/1", "", 401}, {"/v1/nothing", "", 404},
			{"/v1/kv/public/1", "Bearer " + wrong, 401}, {"/v1/kv/public/1", "Bearer", 401}, {"/v1/kv/public/1", "Basic " + user, 401},
			{"/v1/kv/public/1", "Bearer " + user, 403}, {"/v1/kv/a/1", "bearer " + user, 404}, {"/v1/nothing", "Bearer " + wrong, 401},
		} {
			header := []string{}
			if c.authorization != "" {
				header = []string{"Authorization", c.authorization}
			}
			if a := ask(s, "GET", c.target, "", header...); a.status != c.want {
				t.Errorf("%s with %.10q: %d, want %d", c.target, c.authorization, a.status, c.want)
			}
		}
	})
}

// Goal (S13): a node that cannot reach the leader logs no token (planted bug 10).
// Method: a leader at whose address nothing listens, and one that speaks nonsense, on
// either road, logged at the lowest level.
func TestAForwarderLogsNoToken(t *testing.T) {
	overEachRoad(t, func(t *testing.T, frames bool) {
		for _, address := range []string{"127.0.0.1:1", listener(t, func(conn net.Conn, _ *http.Request) {
			_, _ = conn.Write([]byte("HTTP/1.1 500 Nonsense\r\nContent-Length: 0\r\n\r\n"))
		})} {
			var mu sync.Mutex
			var logged bytes.Buffer
			s, log := newServer(t, func(c *settings) {
				c.Level, c.frames, c.LeaderWait, c.RequestTimeout = 3, frames, 10*time.Millisecond, time.Second
				c.ClientAddr = func(string) string { return address }
				c.Logger = slog.New(slog.NewJSONHandler(lockedWriter{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			_, user := enforce(t, s)
			log.SetLeader("n2")
			if a := ask(s, "PUT", "/v1/kv/a/1", "canary-value", as(user)...); a.status < 500 {
				t.Errorf("answered %d", a.status)
			}
			mu.Lock()
			text := logged.String()
			mu.Unlock()
			if text == "" {
				t.Error("void: nothing was logged")
			}
			if strings.Contains(text, user[13:40]) || strings.Contains(text, "canary") {
				t.Errorf("the log has the token:\n%s", text)
			}
		}
	})
}

// lockedWriter is a writer for several goroutines.
type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}
