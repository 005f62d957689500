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
	"raftkv/kvserver/txn"
	"raftkv/raft"
)

// Goal (S14): a refusal is answered as ever while the audit takes nothing, also where acts
// must have lines, and a line of it that could not be kept is counted. Method: refusals over
// HTTP and on a Clerk's connection, with a file that takes nothing and one that does.
func TestRefusalsWithoutALineAreCounted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Required: true})
		s, _, _, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		c, _ := dialRaw(t, s, user)
		refusals := func() {
			t.Helper()
			wantStatus(t, ask(s, "GET", "/v1/kv/a/1", ""), 401)
			wantStatus(t, ask(s, "GET", "/v1/kv/b", "", as(user)...), 403)
			if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("b")}); code != api.CodeForbidden {
				t.Fatalf("the Clerk is answered %q", code)
			}
			synctest.Wait()
		}
		file.fail(true)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", "v", as(user)...), 201) // its line is tried again
		synctest.Wait()
		refusals()
		if lost := audit.Lost(); lost != 3 {
			t.Errorf("%d lines are lost, want 3", lost)
		}
		file.fail(false)
		time.Sleep(time.Second)
		refusals()
		c.conn.Close()
		audit.Close()
		if kept, lost := len(file.lines(t)), audit.Lost(); kept != 4 || lost != 3 {
			t.Errorf("%d lines are kept, and %d lost; want 4 and 3", kept, lost)
		}
	})
}

// abouts are the parts of each line that say what it is about, as they are written.
func (s *sink) abouts(t *testing.T) (all []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.text.String()) {
		var parts map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &parts); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, name := range []string{"key", "key_base64", "keys", "keys_left_out"} {
			if part, has := parts[name]; has {
				text += fmt.Sprintf(" %s=%s", name, part)
			}
		}
		all = append(all, strings.TrimSpace(text))
	}
	return all
}

// wantAbouts compares them.
func wantAbouts(t *testing.T, file *sink, want []string) {
	t.Helper()
	if got := file.abouts(t); !slices.Equal(got, want) {
		t.Errorf("the lines are about\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Goal (S14): the line of a request about several keys or a range shows each of them by itself,
// ranges with both ends, and first the one for which the caller lacks a right, with that right.
// A name cannot pass for another one, or for two. Method: writes, removals and reads over HTTP,
// allowed and refused, and what their lines say.
func TestALineOfSeveralKeysNamesThem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		var want []string
		for _, r := range []struct {
			method, target, body, token string
			status                      int
			about                       string
		}{
			{"POST", "/v1/txn", `{"if":[{"key":"a/0","absent":true}],"then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/2","text":"x"},{"op":"get","key":"a/3"},
				{"op":"txn","then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/4","text":"x"}]}],"else":[{"op":"put","key":"a/5","text":"x"},{"op":"delete","key":"a/6"}]}`, user, 200,
				`key="a/1" keys=[{"key":"a/1"},{"key":"a/2"},{"key":"a/4"},{"key":"a/5"},{"key":"a/6"}]`},
			{"POST", "/v1/txn", `{"then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/2","text":"x"},{"op":"put","key":"a/3","text":"x"},{"op":"put","key":"a/4","text":"x"},{"op":"put","key":"b","text":"x"}]}`, user, 403,
				`key="b" keys=[{"key":"b","lacks":"write"},{"key":"a/1"},{"key":"a/2"},{"key":"a/3"},{"key":"a/4"}]`},
			{"POST", "/v1/txn", `{"then":[{"op":"put","key":"a/1","text":"x"},{"op":"delete","prefix":"b/"}]}`, user, 403,
				`key="b/" keys=[{"from":"b/","to":"b0","lacks":"delete"},{"key":"a/1"}]`},
			{"POST", "/v1/txn", `{"if":[{"key":"b","absent":true}],"then":[{"op":"put","key":"a/1","text":"x"}]}`, user, 403,
				`key="b" keys=[{"key":"b","lacks":"read"},{"key":"a/1"}]`},
			{"POST", "/v1/txn", `{"then":[{"op":"get","key":"a/1"},{"op":"get","key":"b"}]}`, user, 403,
				`key="b" keys=[{"key":"b","lacks":"read"},{"key":"a/1"}]`},
			{"POST", "/v1/txn", `{"then":[{"op":"put","key":"a/1, a/2","text":"x"},{"op":"put","key":"a/\"}","text":"x"}]}`, user, 200,
				`key="a/1, a/2" keys=[{"key":"a/1, a/2"},{"key":"a/\"}"}]`},
			{"POST", "/v1/txn", `{"then":[{"op":"put","key":"b","text":"x"}]}`, user, 403, `key="b"`},
			{"DELETE", "/v1/kv?from=a/1&to=a/3", "", user, 200, `key="a/1" keys=[{"from":"a/1","to":"a/3"}]`},
			{"DELETE", "/v1/kv?prefix=a", "", user, 403, `key="a" keys=[{"from":"a","to":"b","lacks":"delete"}]`},
			{"GET", "/v1/kv?prefix=a&after=a/1", "", user, 403, `key="a" keys=[{"from":"a/1\u0000","to":"b","lacks":"list"}]`},
			{"GET", "/v1/watch?prefix=a/&prefix=b/", "", user, 403, `key="a/" keys=[{"from":"a/","to":"a0","lacks":"watch"},{"from":"b/","to":"b0"}]`},
			{"DELETE", "/v1/kv?prefix=&all=true", "", root, 200, `keys=[{"from":"","to":""}]`},
			{"PUT", "/v1/kv/a%FF", "x", root, 201, `key_base64="Yf8="`},
		} {
			header := as(r.token)
			if r.method == "POST" {
				header = append(header, "Content-Type", api.MediaJSON)
			}
			wantStatus(t, ask(s, r.method, r.target, r.body, header...), r.status)
			want = append(want, r.about)
		}
		synctest.Wait()
		audit.Close()
		wantAbouts(t, file, want)
	})
}

// Goal (S14): a Clerk's requests about several keys have the lines that those over HTTP have.
// Method: transactions that write and that read, removals and lists.
func TestAClerksLineOfSeveralKeysNamesThem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, ReadsToo: true})
		s, _, _, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		c, _ := dialRaw(t, s, user)
		session := openSession(t, c)
		on := func(kind txn.Kind, keys ...string) []byte {
			x := &txn.Txn{}
			for _, key := range keys {
				x.Then = append(x.Then, txn.Op{Kind: kind, Span: txn.Key(key)})
			}
			return x.Body(1 << 20)
		}
		removal := func(from, to string) []byte {
			d := txn.DeleteRange{From: from, To: to}
			return d.Body(0)
		}
		var want []string
		for i, r := range []struct {
			kind    clerkwire.Kind
			session uint64
			body    []byte
			about   string
		}{
			{clerkwire.KindTxn, session, on(txn.Put, "a/1", "a/2"), `key="a/1" keys=[{"key":"a/1"},{"key":"a/2"}]`},
			{clerkwire.KindTxn, session, on(txn.Put, "a/1", "a/2", "a/3", "a/4", "b"), `key="b" keys=[{"key":"b","lacks":"write"},{"key":"a/1"},{"key":"a/2"},{"key":"a/3"},{"key":"a/4"}]`},
			{clerkwire.KindTxn, 0, on(txn.Get, "a/1", "b"), `key="b" keys=[{"key":"b","lacks":"read"},{"key":"a/1"}]`},
			{clerkwire.KindTxn, 0, on(txn.Get, "a/1", "a/2"), `key="a/1" keys=[{"key":"a/1"},{"key":"a/2"}]`},
			{clerkwire.KindDeleteRange, session, removal("a/1", "a/3"), `key="a/1" keys=[{"from":"a/1","to":"a/3"}]`},
			{clerkwire.KindDeleteRange, session, removal("", ""), `keys=[{"from":"","to":"","lacks":"delete"}]`},
		} {
			m := clerkwire.Txn{Session: r.session, Body: r.body}
			if r.session != 0 {
				m.Seq = uint64(i) + 1
			}
			code, _ := askFrame(t, c, r.kind, m)
			if refused := strings.Contains(r.about, "lacks"); refused != (code == api.CodeForbidden) {
				t.Errorf("request %d is answered %q", i, code)
			}
			want = append(want, r.about)
		}
		askFrame(t, c, clerkwire.KindList, clerkwire.List{Prefix: []byte("a/"), Limit: 1})
		askFrame(t, c, clerkwire.KindList, clerkwire.List{More: &clerkwire.ListMore{From: []byte("b"), To: []byte("d")}})
		want = append(want, `key="a/" keys=[{"from":"a/","to":"a0"}]`, `key="b" keys=[{"from":"b","to":"d","lacks":"list"}]`)
		c.conn.Close()
		synctest.Wait()
		audit.Close()
		wantAbouts(t, file, want)
	})
}

// Goal (S14): where the leader refuses a forwarded transaction, its line names first the range
// that it refused, whatever the node that passed it on knows. Method: a leader at which the
// caller may do less.
func TestTheLeadersLineNamesWhatItRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		files := map[string]*sink{"n1": {}, "n2": {}}
		audits := map[string]*access.Audit{}
		for id, file := range files {
			audits[id] = access.NewAudit(access.AuditConfig{To: file})
		}
		leader := newServerOver(t, fakelog.New("n2"), func(c *settings) { c.Level, c.Access.Audit = 3, audits["n2"] })
		root, _ := enforce(t, leader)
		less := auth.Rule{Space: auth.Keys, Text: "a/1", Rights: auth.RightsOf(auth.Write)}
		change(t, leader, callerOf(t, leader, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "user", Rules: []auth.Rule{less}}})
		address := strings.TrimPrefix(serveHTTP(t, leader).URL, "http://")
		s, log := newServer(t, func(c *settings) {
			c.Level, c.frames, c.LeaderWait, c.RequestTimeout, c.Access.Audit = 3, true, time.Minute, time.Minute, audits["n1"]
			c.ClientAddr = func(string) string { return address }
		})
		_, user := enforce(t, s)
		log.SetLeader("n2")
		body := `{"then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/2","text":"x"}]}`
		wantStatus(t, ask(s, "POST", "/v1/txn", body, append(as(user), "Content-Type", api.MediaJSON)...), 403)
		for _, a := range audits {
			a.Close()
		}
		wantAbouts(t, files["n1"], []string{`key="a/1" keys=[{"key":"a/1"},{"key":"a/2"}]`})
		wantAbouts(t, files["n2"], []string{`key="a/2" keys=[{"key":"a/2","lacks":"write"},{"key":"a/1"}]`})
	})
}

// Goal (S14): a transaction that the log refuses has what was refused first in its line, over
// HTTP and by a Clerk. Method: the caller's rules change behind the decision of the node and
// before the transaction comes to its place in the log.
func TestTheLineNamesWhatTheLogRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, log, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		c, _ := dialRaw(t, s, user)
		session := openSession(t, c)
		rules := func(text string) {
			rule := auth.Rule{Space: auth.Keys, Text: text, Rights: auth.RightsOf(auth.Write)}
			change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "user", Rules: []auth.Rule{rule}}})
		}
		x := txn.Txn{Then: []txn.Op{{Kind: txn.Put, Span: txn.Key("a/1")}, {Kind: txn.Put, Span: txn.Key("a/2")}}}
		body := `{"then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/2","text":"x"}]}`
		for _, send := range []func(){
			func() {
				wantStatus(t, ask(s, "POST", "/v1/txn", body, append(as(user), "Content-Type", api.MediaJSON)...), 403)
			},
			func() {
				if code, _ := askFrame(t, c, clerkwire.KindTxn, clerkwire.Txn{Session: session, Seq: 1, Body: x.Body(0)}); code != api.CodeForbidden {
					t.Errorf("the Clerk is answered %q", code)
				}
			},
		} {
			rules("a/")
			var held *raft.Proposal
			log.Decide(func(p *raft.Proposal) { held = p })
			done := make(chan struct{})
			go func() {
				defer close(done)
				send()
			}()
			synctest.Wait()
			log.Decide(nil)
			rules("a/1")
			log.Choose(held)
			<-done
		}
		c.conn.Close()
		synctest.Wait()
		audit.Close()
		about := `key="a/2" keys=[{"key":"a/2","lacks":"write"},{"key":"a/1"}]`
		wantAbouts(t, file, []string{about, about})
	})
}

// Goal (S14): the line of a grant or an end of a lease says which lease, whoever named it: over
// HTTP, by a Clerk, and on both nodes where another one passes it on, as a command and over HTTP.
// Method: grants under a name that the client chose and without one, ends of both, and ends that
// are refused.
func TestALineAboutALeaseNamesIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		c, _ := dialRaw(t, s, root)
		session := openSession(t, c)
		var want []string
		about := func(lease int64) { want = append(want, fmt.Sprintf("key=%q", fmt.Sprint(lease))) }
		for i, asked := range []int64{0, 431} {
			code, body := askFrame(t, c, clerkwire.KindGrant, clerkwire.Grant{Session: session, Seq: uint64(2*i + 1), Lease: asked, TTL: 60_000})
			var granted clerkwire.Granted
			if err := granted.Parse(body); code != "" || err != nil || granted.Lease == 0 {
				t.Fatal(code, err, granted)
			}
			about(granted.Lease)
			if i == 1 { // once more, which is refused
				code, _ = askFrame(t, c, clerkwire.KindGrant, clerkwire.Grant{Session: session, Lane: 1, Seq: 1, Lease: asked, TTL: 60_000})
				if code != api.CodeLeaseExists {
					t.Errorf("a second lease %d: %q", asked, code)
				}
				about(asked)
			}
			if code, _ = askFrame(t, c, clerkwire.KindRevoke, clerkwire.Revoke{Session: session, Seq: uint64(2*i + 2), Lease: granted.Lease}); code != "" {
				t.Error(code)
			}
			about(granted.Lease)
		}
		other, _ := dialRaw(t, s, user) // which has no right to leases
		if code, _ := askFrame(t, other, clerkwire.KindRevoke, clerkwire.Revoke{Session: 1, Seq: 1, Lease: 99}); code != api.CodeForbidden {
			t.Errorf("the end of another's lease: %q", code)
		}
		about(99)
		a := ask(s, "POST", "/v1/leases", `{"ttl":"60s"}`, jsonAs(root)...)
		var granted api.Granted
		a.read(t, &granted)
		about(granted.Lease)
		wantStatus(t, ask(s, "DELETE", "/v1/leases/"+fmt.Sprint(granted.Lease), "", as(root)...), 204)
		about(granted.Lease)
		wantStatus(t, ask(s, "POST", "/v1/leases", `{"ttl":"60s","lease":77}`, jsonAs(user)...), 403) // before its body was read
		want = append(want, "")
		c.conn.Close()
		other.conn.Close()
		synctest.Wait()
		audit.Close()
		got := file.abouts(t)
		if len(got) > 0 && got[0] == "" { // of the session
			got = got[1:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("the lines are about\n%q, want\n%q", got, want)
		}
	})
	for _, frames := range []bool{false, true} {
		files, audits := map[string]*sink{"n1": {}, "n2": {}}, map[string]*access.Audit{}
		p, root := silentPair(t, func(c *settings) {
			audits[c.NodeID] = access.NewAudit(access.AuditConfig{To: files[c.NodeID]})
			c.frames, c.Access.Audit = frames, audits[c.NodeID]
		})
		var want []string
		for _, body := range []string{`{"ttl":"60s"}`, `{"ttl":"60s","lease":431}`} {
			var granted api.Granted
			a := ask(p.follower, "POST", "/v1/leases", body, append(jsonAs(root), api.HeaderRequestID, "lease")...)
			wantStatus(t, a, 201)
			a.read(t, &granted)
			path := "/v1/leases/" + fmt.Sprint(granted.Lease)
			wantStatus(t, ask(p.follower, "DELETE", path, "", append(as(root), api.HeaderRequestID, "lease")...), 204)
			want = append(want, fmt.Sprint(granted.Lease), fmt.Sprint(granted.Lease))
		}
		for _, id := range []string{"n1", "n2"} {
			audits[id].Close()
			var got []string
			for _, l := range files[id].lines(t) {
				if l.RequestID == "lease" {
					got = append(got, l.Key)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("frames %v: the lines of %s are about %q, want %q", frames, id, got, want)
			}
		}
	}
}
