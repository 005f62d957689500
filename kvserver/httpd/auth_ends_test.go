package httpd

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
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
	"raftkv/raft"
)

// anotherToken gives an identity one more token, which ends after a time; 0: never.
func anotherToken(t *testing.T, s *testServer, root, name, id string, ttl time.Duration) (token string) {
	t.Helper()
	parsed, token := testToken(t, id)
	k := &auth.Token{ID: parsed, Hash: auth.HashOf(token), Created: uint64(time.Now().Unix())}
	if ttl != 0 {
		k.Expires = uint64(time.Now().Add(ttl).Unix())
	}
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.CreateToken, Name: name, Token: k})
	return token
}

// openSession opens a Clerk's session.
func openSession(t *testing.T, c *rawClerk) uint64 {
	t.Helper()
	code, body := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{})
	var opened clerkwire.Opened
	if code != "" || opened.Parse(body) != nil {
		t.Fatalf("no session: %s", code)
	}
	return opened.Session
}

// Goal (S6): a token that expires ends all that its holder has: reads on a Clerk's connection
// that stands, watches of a Clerk and over HTTP, a list that is being sent as lines, and a
// backup; what another token has goes on.
// Method: each of them, and four seconds in which the token's time ends. The node follows a
// leader that is not there: nobody takes the token out of the table, so that it is the node's
// own clock that decides.
func TestAnExpiredTokenEndsWhatStands(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, nil)
		rights := auth.RightsOf(auth.Read, auth.List, auth.Watch, auth.Write)
		newIdentityBy(t, s, callerOf(t, s, root), "late", "first000", auth.Rule{Space: auth.Keys, Text: "a/", Rights: rights}, auth.Rule{Rights: auth.RightsOf(auth.Backup)})
		for i := range 4 {
			wantStatus(t, ask(s, "PUT", fmt.Sprint("/v1/kv/a/", i), strings.Repeat("x", 1<<20), as(root)...), 201)
		}
		late := anotherToken(t, s, root, "late", "late0000", 3*time.Second)
		log.SetLeader("n2")
		c, _ := dialRaw(t, s, late)
		get := func(consistency clerkwire.Consistency) (codes [3]api.Code) {
			codes[0], _ = askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/none"), Consistency: consistency})
			codes[1], _ = askFrame(t, c, clerkwire.KindList, clerkwire.List{Prefix: []byte("a/none"), Consistency: consistency})
			codes[2], _ = askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/none"), Pinned: clerkwire.Pinned{Set: true}})
			return codes
		}
		for _, consistency := range []clerkwire.Consistency{clerkwire.Linearizable, clerkwire.Stale} {
			if codes := get(consistency); codes != [3]api.Code{} {
				t.Fatalf("before: %q", codes)
			}
		}
		events, others := follow(t, s, anyTime+"prefix=a/new", as(late)...), follow(t, s, anyTime+"prefix=a/new", as(root)...)
		for _, w := range []*watching{events, others} {
			if open, mark := w.next(), w.next(); open.name != "open" || mark.name != "progress" {
				t.Fatalf("it begins with %+v, %+v", open, mark)
			}
		}
		w, _ := dialRaw(t, s, late)
		if code, _ := askFrame(t, w, clerkwire.KindWatch, clerkwire.Watch{Prefixes: [][]byte{[]byte("a/new")}, ProgressMs: 60_000}); code != "" {
			t.Fatal(code)
		}
		skipChanges(t, w)
		// What is sent: the first bytes are taken, and then nothing for a while.
		type sending struct {
			what string
			body *watching
			ends bool
		}
		var all []sending
		for target, accept := range map[string]string{"/v1/kv?prefix=a/": api.MediaNDJSON, "/v1/snapshot": "*/*"} {
			for token, ends := range map[string]bool{late: true, root: false} {
				all = append(all, sending{target, followBy(t, s, "GET", target, "", append(as(token), "Accept", accept)...), ends})
			}
		}
		for _, x := range all {
			if n, err := io.CopyN(io.Discard, x.body.lines, 100<<10); err != nil {
				t.Fatalf("%s: %d bytes: %v", x.what, n, err)
			}
		}
		time.Sleep(4 * time.Second)
		for _, x := range all {
			n, err := io.Copy(io.Discard, x.body.lines)
			if x.ends && (err == nil || n > 2<<20) || !x.ends && (err != nil || n < 3<<20) {
				t.Errorf("%s, whose token has expired: %v: %d more bytes, %v", x.what, x.ends, n, err)
			}
		}
		for _, consistency := range []clerkwire.Consistency{clerkwire.Linearizable, clerkwire.Stale} {
			for i, code := range get(consistency) {
				if code != api.CodeUnauthenticated {
					t.Errorf("read %d on a connection from before: %q", i, code)
				}
			}
		}
		log.Deliver(kv.EncodeCommand(kv.Command{Op: kv.OpPut, ID: kv.RequestID{Origin: 77, Number: 1}, Caller: callerOf(t, s, root).Author(), Key: []byte("a/new"), Value: []byte("v")}))
		if e := events.nextNamed("end"); !strings.Contains(e.data, string(api.CodeUnauthenticated)) {
			t.Errorf("the watch by HTTP was sent %+v", e)
		}
		if e := others.nextNamed("change"); e.id == "" {
			t.Errorf("the watch of another was sent %+v", e)
		}
		h, body := nextFrame(t, w)
		for h.Kind != clerkwire.KindEnded {
			h, body = nextFrame(t, w)
		}
		var ended clerkwire.Ended
		if h.Kind != clerkwire.KindEnded || ended.Parse(body) != nil || ended.Why.Code != api.CodeUnauthenticated {
			t.Errorf("the watch of the Clerk was sent %+v, %+v", h, ended)
		}
		c.conn.Close()
		w.conn.Close()
	})
}

// Goal (S6): a token whose time ends writes nothing more on a Clerk's connection that stands,
// though the log has not taken it out yet. Method: a write before, and one after, at the
// leader, whose log takes no change of identities.
func TestAnExpiredTokenWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, nil)
		late := anotherToken(t, s, root, "user", "late0000", 30*time.Second)
		log.Decide(func(p *raft.Proposal) {
			if c, err := kv.DecodeCommand(p.Command); err == nil && c.Op == kv.OpToken {
				p.Failed(io.ErrClosedPipe)
				return
			}
			log.Choose(p)
		})
		c, _ := dialRaw(t, s, late)
		session := openSession(t, c)
		for _, want := range []api.Code{"", api.CodeUnauthenticated} {
			if code := writeFrame(clerkwire.KindPut)(t, c, session, "a/1"); code != want {
				t.Errorf("a put is answered with %q, want %q", code, want)
			}
			time.Sleep(31 * time.Second)
		}
		if item := s.Machine().Get("a/1").Item; item.Version != 1 {
			t.Errorf("the key has version %d", item.Version)
		}
		c.conn.Close()
	})
}

// Goal (S9): an Idempotency-Key is its identity's: the same request under the same key by
// another identity is another request, and happens; by the same identity with its next token
// it is the same one, and happens once. So it is at the leader and through a node that
// forwards, on either road.
// Method: an append and a transaction with a key, by all of them; what was appended is counted.
func TestAnIdempotencyKeyAnswersNoOtherIdentity(t *testing.T) {
	overEachRoad(t, func(t *testing.T, frames bool) {
		leader := newServerOver(t, fakelog.New("n2"), func(c *settings) { c.Level = 3 })
		root, user := enforce(t, leader)
		address := strings.TrimPrefix(serveHTTP(t, leader).URL, "http://")
		s, log := newServer(t, func(c *settings) {
			c.Level, c.frames, c.LeaderWait, c.RequestTimeout = 3, frames, time.Minute, time.Minute
			c.ClientAddr = func(string) string { return address }
		})
		enforce(t, s)
		tokens := map[string]string{"user": user}
		for _, node := range []*testServer{leader, s} {
			tokens["other"] = newIdentityBy(t, node, callerOf(t, node, root), "other", "other000", onA)
			tokens["rotated"] = anotherToken(t, node, root, "user", "second00", 0)
		}
		log.SetLeader("n2")
		for i, ask1 := range []*testServer{leader, s} {
			key := fmt.Sprint("a/", i)
			for _, c := range []struct {
				by       string
				replayed bool
				value    string
			}{{"user", false, "x"}, {"user", true, "x"}, {"other", false, "xx"}, {"rotated", true, "xx"}, {"other", true, "xx"}} {
				header := append(as(tokens[c.by]), api.HeaderIdempotencyKey, fmt.Sprint("once-", i))
				a := ask(ask1, "POST", "/v1/kv/"+key+"?op=append", "x", header...)
				header[3] = fmt.Sprint("txn-", i)
				b := ask(ask1, "POST", txnPath, `{"then":[{"op":"append","key":"`+key+`-txn","text":"x"}]}`, append(header, "Content-Type", api.MediaJSON)...)
				for what, got := range map[string]answer{"an append": a, "a transaction": b} {
					if got.status != 200 || (got.header.Get(api.HeaderIdempotencyReplayed) == "true") != c.replayed {
						t.Errorf("%s by %s at node %d: %d, %v %s", what, c.by, i, got.status, got.header, got.body)
					}
				}
				if one, many := stored(leader, key), stored(leader, key+"-txn"); one != c.value || many != c.value {
					t.Errorf("after %s at node %d the keys are %q and %q, want %q", c.by, i, one, many, c.value)
				}
			}
			wantStatus(t, ask(ask1, "POST", "/v1/kv/"+key+"?op=append", "x", api.HeaderIdempotencyKey, fmt.Sprint("once-", i)), 401)
		}
	})
}

// Goal (S9): a Clerk's session is its identity's: another one's use of it, of a call that was
// made in it or of the next, is session_expired, changes nothing and shows nothing of it; the
// same identity goes on with its next token, and a call that it repeats happens once.
// Method: a session of one identity on the connections of all.
func TestASessionAnswersNoOtherIdentity(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		other := newIdentityBy(t, s, callerOf(t, s, root), "other", "other000", onA)
		rotated := anotherToken(t, s, root, "user", "second00", 0)
		var session uint64
		for _, c := range []struct {
			what, token string
			seq         uint64
			want        api.Code
			value       string
		}{
			{"its own", user, 1, "", "x"}, {"another, the same call", other, 1, api.CodeSessionExpired, "x"}, {"another, the next call", other, 2, api.CodeSessionExpired, "x"},
			{"an admin", root, 2, api.CodeSessionExpired, "x"}, {"its next token, the same call", rotated, 1, "", "x"}, {"its next token, the next call", rotated, 2, "", "xx"},
		} {
			conn, _ := dialRaw(t, s, c.token)
			if session == 0 {
				session = openSession(t, conn)
			}
			code, _ := askFrame(t, conn, clerkwire.KindAppend, clerkwire.Write{Session: session, Seq: c.seq, Key: []byte("a/1"), Value: []byte("x")})
			if got := stored(s, "a/1"); code != c.want || got != c.value {
				t.Errorf("%s: %q, and the key is %q; want %q and %q", c.what, code, got, c.want, c.value)
			}
			conn.conn.Close()
		}
	})
}

// badTokens are tokens that open nothing, by why, in a store that enforces identities.
func badTokens(t *testing.T, s *testServer, root string) map[string]string {
	t.Helper()
	by := callerOf(t, s, root)
	bad := map[string]string{"malformed": "rkt1_x", "cut off": root[:len(root)-1], "expired": "", "revoked": ""}
	_, bad["unknown"] = testToken(t, "unknown0")
	for _, name := range []string{"disabled", "removed0", "holder00"} {
		bad[name] = newIdentityBy(t, s, by, name, name, adminRule)
	}
	delete(bad, "holder00")
	bad["expired"] = anotherToken(t, s, root, "holder00", "expired0", time.Second)
	bad["revoked"] = anotherToken(t, s, root, "holder00", "revoked0", 0)
	revoke(t, s, root, bad["revoked"])
	change(t, s, by, auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "disabled", Rules: []auth.Rule{adminRule}, Disabled: true}})
	change(t, s, by, auth.Change{Action: auth.DeleteIdentity, Name: "removed0"})
	time.Sleep(2 * time.Second)
	return bad
}

// Goal (S1, S8, S14): a frame `forward` is decided by the token in it and by nothing else: not
// by that of the connection, which is an admin's here. With a token that opens nothing it is
// 401 and names no node; with one for another range it is 403. Neither changes anything, and
// each has one line in the audit. A frame `auth` takes no such token, and the connection goes
// on with its own.
// Method: raw frames with every kind of bad token, and with a good one.
func TestAForwardedFrameIsDecidedByItsOwnToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &lineSink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		own, ops := glass(t, ofGlass.Names()...)
		s, log, root, user := enforced(t, func(c *settings) { c.Access.Audit, c.Access.BreakGlass = audit, own })
		defer audit.Close()
		commands := map[string]kv.Command{}
		for _, c := range []kv.Command{{Op: kv.OpPut, Key: []byte("b"), Value: []byte("v")}, {Op: kv.OpAppend, Key: []byte("b"), Value: []byte("v")}, {Op: kv.OpDelete, Key: []byte("b")}, {Op: kv.OpTouch, Key: []byte("b"), Tie: kv.Tie{TTL: 60_000}}, kv.Grant(0, 60_000, ""), kv.Release("b", 3)} {
			commands[c.Op.String()] = c
		}
		// Another node's connection, and that of a Clerk.
		link, _ := dialAs(t, s, asker{token: root}, api.HeaderForwarded, "n9", api.HeaderCluster, "c1", api.HeaderLink, s.Machine().Auth().LinkProof("c1", "n9", "n1"))
		c, _ := dialRaw(t, s, root)
		forward := func(token string, command kv.Command) (clerkwire.Refused, bool) {
			text := kv.EncodeCommand(command)
			m := clerkwire.Forward{RequestID: "n9-1", Left: time.Second, Token: []byte(token), Command: text, Sum: clerkwire.SumOf(text)}
			link.last++
			if _, err := link.conn.Write(clerkwire.AppendFrame(nil, clerkwire.KindForward, link.last, m)); err != nil {
				t.Fatal(err)
			}
			h, body := nextFrame(t, link)
			var refused clerkwire.Refused
			if h.Kind == clerkwire.KindRefused && refused.Parse(body) != nil {
				t.Fatal("the refusal cannot be read")
			}
			return refused, h.Kind == clerkwire.KindForwarded
		}
		tokens := badTokens(t, s, root)
		bad := slices.Sorted(maps.Keys(tokens))
		tokens["none"], tokens["another range"], tokens["of a node's file"] = "", user, ops
		file.take()
		for name, command := range commands {
			for why, token := range tokens {
				want := api.CodeUnauthenticated
				if why == "another range" || why == "of a node's file" {
					want = api.CodeForbidden
				}
				before, asked := contentOf(s), log.Attempts()
				refused, done := forward(token, command)
				if done || refused.Code != want || refused.Outcome != api.OutcomeNotApplied || refused.RequestID != "n9-1" || contentOf(s) != before || log.Attempts() != asked {
					t.Errorf("%s with a token that is %s: done: %v, %+v, after %d proposals", name, why, done, refused, log.Attempts()-asked)
				}
				if want == api.CodeUnauthenticated && (refused.Node != "" || refused.Leader != "" || refused.LeaderAddr != "" || refused.Term != 0) {
					t.Errorf("%s with a token that is %s: it names a node: %+v", name, why, refused)
				}
				if lines := file.take(); len(lines) != 1 || lines[0].Code != string(want) || lines[0].Outcome != "not_applied" || lines[0].RequestID != "n9-1" {
					t.Errorf("%s with a token that is %s: the lines are %+v", name, why, lines)
				}
			}
		}
		if _, done := forward(root, commands["put"]); !done || stored(s, "b") != "v" {
			t.Errorf("with a good token: %v, the key is %q", done, stored(s, "b"))
		}
		file.take()
		for _, why := range bad {
			if code, _ := askFrame(t, c, clerkwire.KindAuth, clerkwire.Auth{Token: []byte(tokens[why])}); code != api.CodeUnauthenticated {
				t.Errorf("a frame auth takes a token that is %s: %q", why, code)
			}
			if lines := file.take(); len(lines) != 1 || lines[0].Action != "auth" || lines[0].Code != string(api.CodeUnauthenticated) {
				t.Errorf("a frame auth with a token that is %s: the lines are %+v", why, lines)
			}
			if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("b")}); code != "" {
				t.Errorf("after it the connection is answered with %q", code)
			}
		}
		link.conn.Close()
		c.conn.Close()
	})
}

// Goal (S13): a token in the query is no token, on no route and under no name, and no digit of
// it comes back in the answer, is logged, or stands in the audit: a URL is kept by proxies,
// shells and browsers.
// Method: a good token as the value of parameters on all routes, with and without
// Authorization.
func TestATokenInTheQueryIsNoToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var logged bytes.Buffer
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, _, root, _ := enforced(t, func(c *settings) {
			c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c.Access.Audit = audit
		})
		shows := func(text string) bool {
			secret := root[len("rkt1_")+8:]
			for i := 0; i+6 <= len(secret); i++ {
				if strings.Contains(text, secret[i:i+6]) {
					return true
				}
			}
			return false
		}
		asked := 0
		for _, r := range Routes() {
			target, body, header := goodRequest(r)
			target = without(target)
			if r.Method == "POST" && r.Path == "/v1/kv/{key}" {
				target += "?op=append"
			}
			for _, parameter := range []string{"token=", "access_token=", "lock=a&token=", "Authorization=Bearer%20"} {
				name := r.Method + " " + r.Path + "?" + parameter
				for _, authorization := range [][]string{nil, {"Bearer " + root}} {
					asked++
					got := askCut(s, r.Method, with(target, parameter+root), body, authorization, header...)
					if wantRights[r.Method+" "+r.Path].right != auth.Open && authorization == nil && got.status != http.StatusUnauthorized {
						t.Errorf("%s: answered %d", name, got.status)
					}
					if shows(got.body + fmt.Sprint(got.header)) {
						t.Errorf("%s, with Authorization: %v: the answer shows the token: %d %v %s", name, authorization != nil, got.status, got.header, got.body)
					}
				}
			}
		}
		audit.Close()
		synctest.Wait()
		if shows(logged.String()) || shows(file.text.String()) || file.text.Len() == 0 || asked < 400 {
			t.Errorf("after %d requests the log shows the token: %v; the audit: %v", asked, shows(logged.String()), shows(file.text.String()))
		}
	})
}
