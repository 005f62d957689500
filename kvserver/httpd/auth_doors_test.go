package httpd

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
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
	"raftkv/kvserver/txn"
	"raftkv/raft"
	"raftkv/raft/core"
)

// revocation is the entry of the log by which root revokes a token.
func revocation(t *testing.T, s *testServer, root, token string) []byte {
	t.Helper()
	id, err := auth.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return kv.EncodeCommand(kv.AuthCommand(callerOf(t, s, root).Author(), &auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: id}}))
}

// deliverTogether delivers commands that are applied before anybody can look between them.
func deliverTogether(log *fakelog.Log, commands ...[]byte) {
	batch := new(core.Batch)
	log.Set(func(st *status) {
		for _, c := range commands {
			st.LastIndex++
			batch.Entries = append(batch.Entries, raft.Entry{Index: st.LastIndex, Kind: raft.KindCommand, Data: c})
		}
		st.CommitIndex = st.LastIndex
	})
	log.ApplyCh <- raft.Batch{Batch: batch}
}

// lockWaiter makes a worker wait for the lock jobs behind root, with a body and a header of
// its own. It returns root's lock, the worker's token, and its answer.
func lockWaiter(t *testing.T, s *testServer, root, body string, header ...string) (held api.Acquired, worker string, waiting <-chan answer) {
	t.Helper()
	worker = newIdentityBy(t, s, callerOf(t, s, root), "worker", "worker00", auth.Rule{Space: auth.Locks, Text: "jobs", Rights: auth.RightsOf(auth.Acquire, auth.Lease)})
	a := ask(s, "POST", "/v1/locks/jobs", `{"ttl":"600s"}`, append(as(root), "Content-Type", api.MediaJSON)...)
	wantStatus(t, a, 200)
	a.read(t, &held)
	if strings.Contains(body, "LEASE") {
		var lease api.Granted
		ask(s, "POST", "/v1/leases", `{"ttl":"600s"}`, append(as(worker), "Content-Type", api.MediaJSON)...).read(t, &lease)
		body = strings.Replace(body, "LEASE", fmt.Sprint(lease.Lease), 1)
	}
	header = append(append(as(worker), "Content-Type", api.MediaJSON), header...)
	waiting = later(func() answer { return ask(s, "POST", "/v1/locks/jobs?wait=60s", body, header...) })
	synctest.Wait()
	if d := s.Machine().Describe(); d.LocksWaiting != 1 {
		t.Fatalf("void: %d wait", d.LocksWaiting)
	}
	return held, worker, waiting
}

// Goal (S6): a lock that was granted to a request whose token was revoked before it was
// answered is given back at once, and with it the lease that was made for it. What its client
// may come back to, with a lease of its own or a key, is not taken from another copy of the
// request, and the answer does not say that nothing happened.
// Method: the release of the holder and the revocation are applied together.
func TestALockThatIsGrantedBehindARevocationIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		body   string
		header []string
		status int
		held   int
	}{
		{`{"ttl":"3600s"}`, nil, 401, 0},
		{`{"ttl":"3600s"}`, []string{api.HeaderIdempotencyKey, "again"}, 504, 1},
		{`{"lease":LEASE}`, nil, 504, 1},
	} {
		inBubble(t, func(t *testing.T) {
			s, log, root, _ := enforced(t, nil)
			held, worker, waiting := lockWaiter(t, s, root, c.body, c.header...)
			release := kv.Release("jobs", held.Token)
			release.Caller = callerOf(t, s, root).Author()
			deliverTogether(log, kv.EncodeCommand(release), revocation(t, s, root, worker))
			synctest.Wait()
			a := <-waiting
			if wantStatus(t, a, c.status); strings.Contains(a.body, `"token"`) {
				t.Errorf("%s: a lock is given to a token that was revoked: %s", c.body, a.body)
			}
			if c.status == 504 && !strings.Contains(a.body, `"outcome": "unknown"`) {
				t.Errorf("%s: it is said that nothing happened: %s", c.body, a.body)
			}
			d := s.Machine().Describe()
			if int(d.LocksHeld) != c.held || d.LocksWaiting != 0 || int(d.Leases) != 1+c.held {
				t.Errorf("%s with %q: %d locks are held, %d wait, there are %d leases", c.body, c.header, d.LocksHeld, d.LocksWaiting, d.Leases)
			}
		})
	}
}

// Goal (S6): a request that waits for a lock on a node that does not lead ends with its token,
// too. There nobody speaks for its identity, so its place is left, and the answer says so.
// Method: another node leads when the revocation comes.
func TestAWaitForALockEndsOnANodeThatFollows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, nil)
		_, worker, waiting := lockWaiter(t, s, root, `{"ttl":"3600s"}`)
		log.SetLeader("n2")
		before := log.Attempts()
		log.Deliver(revocation(t, s, root, worker))
		synctest.Wait()
		select {
		case a := <-waiting:
			wantProblem(t, a, 504, api.CodeTimeout, api.OutcomeUnknown)
		default:
			t.Fatal("it waits on behind its token")
		}
		if n := log.Attempts() - before; n != 0 {
			t.Errorf("a node that does not lead proposed %d commands", n)
		}
	})
}

// Goal (S5): acts on members, the level, settings, join tokens and leadership are decided where
// and when they are done: a token that was revoked while its request waited for a leader does
// nothing. Method: each route without a leader; the revocation; then this node leads.
func TestActsOnMembersAreDecidedByTheLeader(t *testing.T) {
	for _, c := range []struct {
		method, target, body string
		right                auth.Right
	}{
		{"POST", "/v1/members", `{"remove":["n9"]}`, auth.Members}, {"POST", "/v1/members?dry_run", `{"remove":["n9"]}`, auth.Members},
		{"DELETE", "/v1/members/n9", "", auth.Members}, {"POST", "/v1/members/n9?op=promote", "", auth.Members},
		{"GET", "/v1/members", "", auth.Members}, {"GET", "/v1/members/changes/x", "", auth.Members}, {"POST", "/v1/level", `{"raise":3}`, auth.Members},
		{"PUT", "/v1/cluster/settings", `{"wanted":3}`, auth.Members}, {"GET", "/v1/cluster/settings", "", auth.Members},
		{"POST", "/v1/join-tokens", `{}`, auth.JoinTokens}, {"GET", "/v1/join-tokens", "", auth.JoinTokens}, {"DELETE", "/v1/join-tokens/x", "", auth.JoinTokens},
		{"POST", "/v1/leader", `{}`, auth.Members},
	} {
		inBubble(t, func(t *testing.T) {
			s, log, root, _ := enforced(t, func(config *settings) {
				config.Membership, config.unmeasured, config.LeaderWait, config.RequestTimeout = membership.New(membership.Config{}), true, time.Minute, time.Minute
			})
			mover := newIdentityBy(t, s, callerOf(t, s, root), "mover", "mover000", auth.Rule{Rights: auth.RightsOf(c.right)})
			header := as(mover)
			if c.body != "" {
				header = append(header, "Content-Type", api.MediaJSON)
			}
			log.SetLeader("")
			act := later(func() answer { return ask(s, c.method, c.target, c.body, header...) })
			synctest.Wait()
			log.Deliver(revocation(t, s, root, mover))
			synctest.Wait()
			select {
			case a := <-act:
				t.Fatalf("void: %s %s does not wait for a leader: %d %s", c.method, c.target, a.status, a.body)
			default:
			}
			log.Set(func(st *status) { st.Leader, st.Role = "n1", leaderRole })
			if a := <-act; a.status != 401 {
				t.Errorf("%s %s behind the revocation: %d %s", c.method, c.target, a.status, a.body)
			}
		})
	}
}

// Goal (S5): what any node does, to hold the level at itself, is decided by all that was
// answered before. Method: the node waits for its read index while the token is revoked.
func TestAHoldHereIsDecidedByTheNewestTable(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, func(config *settings) {
			config.Membership, config.unmeasured = membership.New(membership.Config{}), true
		})
		mover := newIdentityBy(t, s, callerOf(t, s, root), "mover", "mover000", auth.Rule{Rights: auth.RightsOf(auth.Members)})
		confirm := make(chan struct{})
		log.Reading(waitFor(log, confirm))
		act := later(func() answer {
			return ask(s, "POST", "/v1/level?here", `{"hold":true}`, append(as(mover), "Content-Type", api.MediaJSON)...)
		})
		synctest.Wait()
		revoke(t, s, root, mover)
		close(confirm)
		if a := <-act; a.status != 401 {
			t.Errorf("behind the revocation: %d %s", a.status, a.body)
		}
	})
}

// Goal (S14): a refusal at the admin port names the identity that was refused, each profile has
// a line with its true outcome, and all answers there say what browsers and caches may not make
// of them. Method: a caller without a token, one that is no admin, and an admin.
func TestTheAdminPortNamesWhoAsked(t *testing.T) {
	file := &sink{}
	audit := access.NewAudit(access.AuditConfig{To: file})
	s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
	port := httptest.NewServer(s.door.AdminHandler(new(slog.LevelVar), nil))
	defer port.Close()
	for _, c := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/debug/pprof/heap", "", 401}, {"PUT", "/v1/log-level", user, 403}, {"GET", "/debug/pprof/cmdline", user, 403},
		{"GET", "/debug/pprof/cmdline", root, 200}, {"GET", "/debug/pprof/no-such", root, 404}, {"GET", "/nothing", root, 404},
	} {
		header := []string{}
		if c.token != "" {
			header = as(c.token)
		}
		a := send(t, c.method, port.URL+c.path, "", header...)
		wantStatus(t, a, c.status)
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.path, name, got, want)
			}
		}
	}
	audit.Close()
	var got []string
	for _, l := range file.lines(t) {
		got = append(got, fmt.Sprintf("%s|%s|%v|%s", l.Action, l.Identity, l.TokenID != "" && l.Remote != "", l.Outcome))
	}
	want := []string{
		"GET /debug/pprof/||false|not_applied", "PUT /v1/log-level|user|true|not_applied", "GET /debug/pprof/cmdline|user|true|not_applied",
		"GET /debug/pprof/cmdline|root|true|applied", "GET /debug/pprof/|root|true|",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the lines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Goal (section 6): wrong tokens in frames `auth` and `forward` slow down as those over HTTP do,
// 1 s after 20 in a minute, and hold up nothing else on the connection; a refusal of a token
// names no node, in its request's name either. Method: wrong tokens on both kinds of
// connection, and a read behind the last.
func TestWrongTokensInFramesSlowDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		_, wrong := testToken(t, "wrong000")
		clerk, _ := dialRaw(t, s, user)
		link, _ := dialAs(t, s, asker{token: root}, api.HeaderForwarded, "n9", api.HeaderCluster, "c1", api.HeaderLink, s.Machine().Auth().LinkProof("c1", "n9", "n1"))
		command := kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: []byte("a/1"), Value: []byte("v")})
		for _, c := range []struct {
			name string
			on   *rawClerk
			kind clerkwire.Kind
			m    func(token string) clerkwire.Message
		}{
			{"auth", clerk, clerkwire.KindAuth, func(token string) clerkwire.Message { return clerkwire.Auth{Token: []byte(token)} }},
			{"forward", link, clerkwire.KindForward, func(token string) clerkwire.Message {
				return clerkwire.Forward{RequestID: "n9-9", Left: 10 * time.Second, Token: []byte(token), Command: command, Sum: clerkwire.SumOf(command)}
			}},
		} {
			write := func(token string) {
				c.on.last++
				if _, err := c.on.conn.Write(clerkwire.AppendFrame(nil, c.kind, c.on.last, c.m(token))); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 22 {
				begun := time.Now()
				write(wrong)
				h, body := nextFrame(t, c.on)
				var refused clerkwire.Refused
				if h.Kind != clerkwire.KindRefused || refused.Parse(body) != nil || refused.Code != api.CodeUnauthenticated || strings.Contains(refused.RequestID, "n1") {
					t.Fatalf("%s: a wrong token is answered %+v, %+v", c.name, h, refused)
				}
				if took, want := time.Since(begun), time.Duration(i/20)*time.Second; took != want {
					t.Errorf("%s: wrong token %d is answered after %v, want %v", c.name, i+1, took, want)
				}
			}
			begun := time.Now()
			write(wrong)
			write(root)
			if h, _ := nextFrame(t, c.on); h.Number != c.on.last || h.Kind == clerkwire.KindRefused || time.Since(begun) != 0 {
				t.Errorf("%s: behind a wrong token %+v came after %v", c.name, h, time.Since(begun))
			}
			if h, _ := nextFrame(t, c.on); h.Kind != clerkwire.KindRefused {
				t.Errorf("%s: at last %+v came", c.name, h)
			}
			time.Sleep(2 * time.Minute) // the address is forgotten
		}
		clerk.conn.Close()
		link.conn.Close()
	})
}

// Goal (S14): watches, transactions that write nothing, reads of the past and reads that were
// refused in the end have their one line where an audited prefix is met, with what they read;
// a watch has it as it begins. Method: each of them on two prefixes, through both doors.
func TestReadsThatLastAreAudited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Reads: "s/", ReadsToo: true})
		s, log, root, _ := enforced(t, func(c *settings) { c.Access.Audit = audit })
		put := ask(s, "PUT", "/v1/kv/s/1", "v", as(root)...)
		wantStatus(t, put, 201)
		wantStatus(t, ask(s, "PUT", "/v1/kv/t/1", "v", as(root)...), 201)
		c, _ := dialRaw(t, s, root)
		at := s.Machine().Revision()
		frame := func(kind clerkwire.Kind, m clerkwire.Message) func() {
			return func() {
				c.last++
				if _, err := c.conn.Write(clerkwire.AppendFrame(nil, kind, c.last, m)); err != nil {
					t.Fatal(err)
				}
				if h, _ := nextFrame(t, c); h.Kind == clerkwire.KindRefused || h.Number != c.last {
					t.Errorf("a frame 0x%02x is answered %+v", uint8(kind), h)
				}
				if kind == clerkwire.KindWatch {
					endWatch(t, c)
				}
			}
		}
		watch := func(query string) func() {
			return func() {
				w := follow(t, s, anyTime+query, as(root)...)
				w.next()
			}
		}
		body := func(text string) func() {
			return func() {
				wantStatus(t, ask(s, "POST", "/v1/watch", text, append(as(root), "Content-Type", api.MediaJSON)...), 400)
			}
		}
		get := func(key string) []byte {
			x := txn.Txn{If: []txn.Compare{}, Then: []txn.Op{{Kind: txn.Get, Span: txn.Key(key)}}}
			return x.Body(1 << 20)
		}
		pinned := clerkwire.Pinned{Set: true, At: at}
		for _, r := range []struct {
			name string
			read func()
			want string // the line, "" if none
		}{
			{"a watch by frame", frame(clerkwire.KindWatch, clerkwire.Watch{Prefixes: [][]byte{[]byte("s")}, ProgressMs: 60_000}), "watch s applied"},
			{"another by frame", frame(clerkwire.KindWatch, clerkwire.Watch{Prefixes: [][]byte{[]byte("t/")}, ProgressMs: 60_000}), ""},
			{"a watch", watch("prefix=s/"), "GET /v1/watch s/ applied"}, {"another watch", watch("prefix=t/"), ""},
			{"a watch by a body that cannot be", body(`{"selectors":[]}`), ""},
			{"a transaction", frame(clerkwire.KindTxn, clerkwire.Txn{Body: get("s/1")}), "txn s/1 applied"},
			{"another transaction", frame(clerkwire.KindTxn, clerkwire.Txn{Body: get("t/1")}), ""},
			{"a pinned get", frame(clerkwire.KindGet, clerkwire.Get{Key: []byte("s/1"), Pinned: pinned}), "get s/1 applied"},
			{"another pinned get", frame(clerkwire.KindGet, clerkwire.Get{Key: []byte("t/1"), Pinned: pinned}), ""},
			{"a pinned list", frame(clerkwire.KindList, clerkwire.List{More: &clerkwire.ListMore{From: []byte("a"), Pinned: pinned}}), "list a applied"},
			{"another pinned list", frame(clerkwire.KindList, clerkwire.List{Prefix: []byte("t"), More: &clerkwire.ListMore{Pinned: pinned}}), ""},
			{"a pinned get over HTTP", func() { wantStatus(t, ask(s, "GET", "/v1/kv/s/1?at_revision="+number(at), "", as(root)...), 200) }, "get s/1 applied"},
			{"a range over HTTP", func() { wantStatus(t, ask(s, "GET", "/v1/kv?from=a", "", as(root)...), 200) }, "GET /v1/kv a applied"},
		} {
			synctest.Wait()
			before := len(file.lines(t))
			r.read()
			synctest.Wait()
			got := ""
			for _, l := range file.lines(t)[before:] {
				got += fmt.Sprintf("%s %s %s", l.Action, l.Key, l.Outcome)
			}
			if got != r.want {
				t.Errorf("%s: the lines are %q, want %q", r.name, got, r.want)
			}
		}
		before := len(file.lines(t))
		confirm := make(chan struct{})
		log.Reading(waitFor(log, confirm))
		reader := newIdentityBy(t, s, callerOf(t, s, root), "reader", "reader00", auth.Rule{Space: auth.Keys, Text: "s/", Rights: auth.RightsOf(auth.Read)})
		late, _ := dialRaw(t, s, reader)
		late.last++
		if _, err := late.conn.Write(clerkwire.AppendFrame(nil, clerkwire.KindGet, late.last, clerkwire.Get{Key: []byte("s/1")})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		revoke(t, s, root, reader)
		close(confirm)
		if h, _ := nextFrame(t, late); h.Kind != clerkwire.KindRefused {
			t.Errorf("a revoked token reads: %+v", h)
		}
		synctest.Wait()
		if lines := file.lines(t)[before:]; len(lines) != 1 || lines[0].Key != "s/1" || lines[0].Identity != "reader" || lines[0].Code != string(api.CodeUnauthenticated) {
			t.Errorf("of a read that was refused when it had waited there are %+v", lines)
		}
		late.conn.Close()
		c.conn.Close()
		audit.Close()
	})
}
