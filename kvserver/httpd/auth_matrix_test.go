package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// asker is one identity of the matrix, as the model knows it.
type asker struct {
	name, token string
	unknown     bool // the token opens nothing
	right       auth.Right
	prefix      string // of keys, or of locks
	glass       bool   // an identity of the node's file, which has all rights of such
	always      bool   // asks in every state of the node
	// lines are the header Authorization, if it is not that of the token.
	lines []string
}

// authorization returns the lines of the header Authorization.
func (a asker) authorization() []string {
	if a.lines == nil && a.token != "" {
		return []string{"Bearer " + a.token}
	}
	return a.lines
}

// ofGlass are the rights of the identity in the node's file: all that such may hold.
var ofGlass = auth.RightsOf(auth.Status, auth.Metrics, auth.Members, auth.Backup, auth.Auth)

// may is the model: whether an asker may use a right on everything that begins with
// on, or on the one key on.
func (a asker) may(right auth.Right, on string) bool {
	switch {
	case right == auth.Open:
		return true
	case a.unknown:
		return false
	case right == auth.Known, a.right == auth.Admin:
		return true
	case a.glass:
		return ofGlass.Has(right)
	case a.right != right:
		return false
	}
	return !onKeys(right) && !onLocks(right) || strings.HasPrefix(on, a.prefix)
}

func onKeys(right auth.Right) bool { return right >= auth.Read && right <= auth.Delete }

func onLocks(right auth.Right) bool { return right == auth.Acquire || right == auth.Observe }

// askers makes the identities of the matrix: none, wrong, expired, disabled, revoked, of an
// identity that was removed, in another scheme and twice, each right alone on its own prefix
// and on a foreign one, that of the node's own file, admin.
func askers(t *testing.T, s *testServer, ops string) (all []asker) {
	t.Helper()
	root := newIdentity(t, s, "root", "root0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	all = append(all, asker{name: "root", token: root, right: auth.Admin, always: true}, asker{name: "none", unknown: true, always: true},
		asker{name: "ops", token: ops, glass: true, always: true},
		asker{name: "another scheme", lines: []string{"Basic " + root}, unknown: true}, asker{name: "two lines", lines: []string{"Bearer " + root, "Bearer " + root}, unknown: true})
	for _, name := range []string{"revoked0", "removed0"} {
		token := newIdentity(t, s, name, name, auth.Rule{Rights: auth.RightsOf(auth.Admin)})
		all = append(all, asker{name: name, token: token, unknown: true, always: name == "revoked0"})
	}
	id, _ := testToken(t, "revoked0")
	change(t, s, &person, auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: id}})
	change(t, s, &person, auth.Change{Action: auth.DeleteIdentity, Name: "removed0"})
	_, wrong := testToken(t, "wrong000")
	late := newIdentity(t, s, "late", "late0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	id, again := testToken(t, "late0001")
	change(t, s, &person, auth.Change{Action: auth.CreateToken, Name: "late", Token: &auth.Token{ID: id, Hash: auth.HashOf(again), Expires: 1}})
	off := newIdentity(t, s, "off", "off00000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	change(t, s, &person, auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "off", Rules: []auth.Rule{{Rights: auth.RightsOf(auth.Admin)}}, Disabled: true}})
	all = append(all, asker{name: "wrong", token: wrong, unknown: true}, asker{name: "no token", token: "rkt1_x", unknown: true},
		asker{name: "expired", token: again, unknown: true, always: true}, asker{name: "disabled", token: off, unknown: true},
		asker{name: "cut off", token: late[:len(late)-1], unknown: true})
	for _, right := range auth.Grantable() {
		for i, prefix := range []string{"a/", "foreign/"} {
			rule := auth.Rule{Rights: auth.RightsOf(right)}
			switch {
			case onKeys(right):
				rule.Space, rule.Text = auth.Keys, prefix
			case onLocks(right):
				rule.Space, rule.Text = auth.Locks, prefix
			case right == auth.Admin, i > 0:
				continue
			}
			name := fmt.Sprintf("%s-%d", right, i)
			token := newIdentity(t, s, name, fmt.Sprintf("r%02d%05d", right, i), rule)
			all = append(all, asker{name: name, token: token, right: right, prefix: prefix})
		}
	}
	newIdentity(t, s, "abcd1234", "abcd1234")
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.SetState, State: auth.Enforcing})
	return all
}

// call is one request of the matrix.
type call struct {
	name   string
	right  auth.Right
	also   auth.Right // needed in addition; 0: none
	on     string     // the key, or the prefix that is listed
	act    bool       // it has a line in the audit, however it ends
	target string
	body   string
	header []string
	judged bool // the log judges it once more, so that a caller that may ask may be refused
}

// calls returns the requests of a route: about keys inside and outside of the prefix.
func calls(r Route) (all []call) {
	target, body, header := goodRequest(r)
	if r.Path == "/v1/auth/state" {
		body = strings.Replace(body, "observe", "enforce", 1)
	}
	wants := wantRights[r.Method+" "+r.Path]
	c := call{name: r.Method + " " + r.Path, right: wants.right, act: wants.act, target: target, body: body, header: header,
		judged: strings.HasPrefix(r.Path, "/v1/auth/") && r.Method != "GET"}
	switch r.Path {
	case "/v1/kv/{key}":
		for _, key := range []string{"a/1", "a", "b", "a%2F1", "a%252F1"} {
			k := c
			k.target = "/v1/kv/" + key
			k.on, _ = url.PathUnescape(key)
			if r.Method == "POST" {
				k.target += "?op=append"
			}
			all = append(all, k)
		}
		all = append(all, onKeyCalls(c, r.Method)...)
	case lockPath:
		for _, name := range []string{"a%2F1", "a", "b"} {
			k := c
			k.target, k.on = strings.Replace(target, "abcd1234", name, 1), strings.Replace(name, "%2F", "/", 1)
			all = append(all, k)
		}
	case "/v1/locks":
		for _, prefix := range []string{"a/", "a", ""} {
			k := c
			k.target, k.on = target+"?prefix="+prefix, prefix
			all = append(all, k)
		}
	case txnPath:
		for _, q := range []struct {
			right    auth.Right
			on, body string
		}{
			{auth.Write, "a/1", `{"then":[{"op":"put","key":"a/1","text":"x"}]}`}, {auth.Write, "a", `{"else":[{"op":"append","key":"a","text":"x"}]}`},
			{auth.Delete, "a/1", `{"then":[{"op":"delete","key":"a/1"}]}`}, {auth.Delete, "a/", `{"else":[{"op":"delete","prefix":"a/"}]}`}, {auth.Delete, "a", `{"then":[{"op":"delete","prefix":"a"}]}`},
			{auth.Read, "a/1", `{"if":[{"key":"a/1","absent":true}]}`}, {auth.Read, "b", `{"then":[{"op":"get","key":"b"}]}`},
			{auth.List, "a/", `{"if":[{"prefix":"a/","count":0}]}`}, {auth.List, "", `{"then":[{"op":"list","from":"a/","to":"b"}]}`},
			{auth.Write, "b", `{"then":[{"op":"txn","else":[{"op":"txn","then":[{"op":"put","key":"b","text":"x"}]}]}]}`},
		} {
			k := c
			k.right, k.on, k.body = q.right, q.on, q.body
			all = append(all, k)
		}
	case "/v1/kv":
		if r.Method == "DELETE" {
			for _, q := range []struct{ query, on string }{{"?prefix=a/", "a/"}, {"?prefix=a", "a"}, {"?prefix=&all", ""}, {"?from=a/&to=a/5", "a/"}, {"?from=a/&all", ""}, {"?prefix=b&at_most=1&partial", "b"}, {"?prefix=a%2F", "a/"}, {"?prefix=a%252F", "a%2F"}} {
				k := c
				k.target, k.on = "/v1/kv"+q.query, q.on
				all = append(all, k)
			}
			k := c
			k.target, k.on, k.also = "/v1/kv?prefix=a/&prev", "a/", auth.List
			all = append(all, k)
			break
		}
		for _, q := range []struct{ query, on string }{
			{"", ""}, {"?prefix=a/", "a/"}, {"?prefix=a", "a"}, {"?prefix=a/x&after=a/x1&limit=1", "a/x"}, {"?prefix=b", "b"}, {"?after=a/0&limit=1", ""},
			{"?prefix=a&keys_only", "a"}, {"?keys_only&limit=1", ""}, {"?prefix=a/&keys_only&consistency=stale", "a/"},
			{"?from=a/&to=a/5", "a/"}, {"?from=a/1", ""}, {"?from=a/1&keys_only", ""}, {"?from=b&to=c", "b"},
			{"?prefix=a%2F", "a/"}, {"?prefix=a%252F", "a%2F"}, {"?prefix=a/&min_revision=1", "a/"},
		} {
			for _, accept := range []string{api.MediaJSON, api.MediaNDJSON} {
				k := c
				k.target, k.on, k.header = target+q.query, q.on, []string{"Accept", accept}
				all = append(all, k)
			}
		}
		for _, q := range []struct{ query, on string }{{"?prefix=a/&count_only", "a/"}, {"?count&limit=1", ""}, {"?prefix=b&pin", "b"}} {
			k := c
			k.target, k.on = target+q.query, q.on
			all = append(all, k)
		}
	case "/v1/watch":
		for _, q := range []struct{ query, on string }{{"?prefix=a/", "a/"}, {"?prefix=a", "a"}, {"?key=a/1", "a/1"}, {"?from=a/&to=a/5", "a/"}, {"?prefix=", ""}, {"?from=b", "b"}, {"?lock=a/1", "a/1"}, {"?lock=b", "b"}} {
			k := c
			if strings.HasPrefix(q.query, "?lock") {
				k.right = auth.Observe
			}
			k.target, k.on = target[:len("/v1/watch")]+q.query, q.on
			if r.Method == "POST" {
				values, _ := url.ParseQuery(q.query[1:])
				one := map[string]string{}
				for name := range values {
					one[name] = values.Get(name)
				}
				text, _ := json.Marshal(map[string]any{"selectors": []any{one}})
				k.target, k.body = target, string(text)
			}
			all = append(all, k)
		}
	case "/readyz":
		k := c
		k.target, k.right = target+"?verbose", auth.Status
		all = append(all, c, k)
	default:
		all = append(all, c)
	}
	return all
}

// onKeyCalls are more requests about one key, by what they may ask for.
func onKeyCalls(c call, method string) (all []call) {
	add := func(target, on string, also auth.Right, header ...string) {
		k := c
		k.target, k.on, k.also, k.header = "/v1/kv/"+target, on, also, append(slices.Clone(c.header), header...)
		all = append(all, k)
	}
	switch method {
	case "GET", "HEAD":
		add("a/1?min_revision=1", "a/1", 0)
		add("b?consistency=stale", "b", 0)
		add("b/canary?at_revision=1", "b/canary", 0)
	case "PUT":
		add("a/1?prev", "a/1", auth.Read)
		add("b/canary?prev", "b/canary", auth.Read)
		add("b/canary", "b/canary", 0, "If-None-Match", "*")
	case "POST":
		add("a/1?op=touch&ttl=1h", "a/1", 0)
		add("b/canary?op=touch&ttl=1h", "b/canary", 0)
		all[0].body, all[1].body = "", ""
	case "DELETE":
		add("a/1", "a/1", 0, "If-Match", `"77"`)
		add("b/canary?cas=77", "b/canary", 0)
		add("a/1?prev", "a/1", auth.Read)
	}
	return all
}

// Goal (S1, S4, S14): every route and every kind of frame answers every kind of caller as the
// table says, whatever state the node is in; planted bugs 1 and 2. A refusal names the right
// and says that nothing happened, and that is true; no answer shows what its caller may not
// read; each act and each refusal has exactly one line in the audit, and nothing else has
// one. A route or a kind that is added comes into the matrix by itself, or fails it.
// Method: a generated matrix of routes, kinds, callers, keys and states of the node, against a
// model of a few lines. The store holds values that no request sends.
func TestTheMatrixOfRightsIsKept(t *testing.T) {
	rows := 0
	for turn, state := range []string{"leads", "no leader", "follows", "full", "diverged", "restored", "stopped"} {
		// In a bubble the answers that are held back cost nothing.
		inBubble(t, func(t *testing.T) { rows += matrixIn(t, state, turn) })
	}
	if rows < 2000 {
		t.Errorf("void: %d rows", rows)
	}
	t.Logf("%d rows", rows)
}

// matrix is the matrix in one state of the node.
type matrix struct {
	s     *testServer
	log   *fakelog.Log
	state string
	file  *lineSink
}

// lineSink is a file of the audit that keeps its lines apart.
type lineSink struct {
	mu  sync.Mutex
	all []access.Line
}

func (s *lineSink) Write(b []byte) (int, error) {
	var l access.Line
	if err := json.Unmarshal(b, &l); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, l)
	return len(b), nil
}

// take returns the lines that came since it was called last.
func (s *lineSink) take() (all []access.Line) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	all, s.all = s.all, nil
	return all
}

// The values in the store, which no request sends.
const valueOfA, valueOfB, valueOfLock = "canary-a", "canary-b", "canary-lock"

// matrixIn is the matrix in one state of the node. It returns the number of rows. A node that
// leads is asked by everybody; each of the other states has its own sixth of the rights.
func matrixIn(t *testing.T, state string, turn int) (rows int) {
	own, ops := glass(t, ofGlass.Names()...)
	m := &matrix{state: state, file: &lineSink{}}
	audit := access.NewAudit(access.AuditConfig{To: m.file})
	t.Cleanup(audit.Close)
	start := func(quota int64, messages ...raft.ApplyMsg) {
		m.log = fakelog.New("n1")
		for _, msg := range messages {
			m.log.DeliverSnapshot(msg)
		}
		config := settings{Config: kvserver.Config{
			NodeID: "n1", ClusterID: "c1", Consensus: m.log, ApplyCh: m.log.ApplyCh, Level: 3, ClientAddr: func(string) string { return "" }, MaxStoreBytes: quota,
			LeaderWait: time.Millisecond, RequestTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
		}, AllowedHosts: []string{"kv", "example.com"}}
		config.Access.BreakGlass, config.Access.Audit = own, audit
		var err error
		if m.s, err = wired(config); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.s.Close)
		synctest.Wait()
	}
	quota := int64(0)
	if state == "full" {
		quota = 4 << 10
	}
	start(quota)
	all := askers(t, m.s, ops)
	if state != "leads" {
		all = slices.DeleteFunc(all, func(a asker) bool { return !a.always && (a.unknown || int(a.right)%6 != turn%6) })
	}
	m.stock(t, all[0])
	if state == "restored" {
		var b bytes.Buffer
		if _, err := m.s.Machine().Freeze().WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		index := int(m.log.Status().LastIndex)
		start(0, raft.ApplyMsg{SnapshotValid: true, Snapshot: b.Bytes(), SnapshotTerm: 1, SnapshotIndex: index})
	}
	time.Sleep(time.Minute) // what has expired is taken out
	clerks := dialAll(t, m.s, all)
	switch state {
	case "no leader":
		m.log.SetLeader("")
	case "follows":
		m.log.SetLeader("n2")
	case "diverged":
		m.s.Machine().Quarantine("of a test")
	case "stopped":
		m.s.Server.Close()
	}
	synctest.Wait()
	m.file.take()
	if state != "stopped" { // which has ended its connections
		rows += m.frameRows(t, clerks)
	}
	for _, c := range clerks {
		if c.conn != nil {
			c.conn.conn.Close()
		}
	}
	m.file.take()
	for _, r := range Routes() {
		for i, c := range calls(r) {
			if i > 1 && state != "leads" {
				break // what is asked for is decided alike in every state
			}
			for _, a := range all {
				if i > 0 && a.unknown && !a.always {
					continue // for whom there is no difference
				}
				rows++
				m.row(t, r.Method, a, c)
			}
			if state == "leads" || state == "full" {
				m.stock(t, all[0])
			}
		}
	}
	for _, path := range []string{"/", "/v1/nothing", "/v1/kv/a?x=1", "/v1/auth/nothing"} {
		if a := ask(m.s, "GET", path, ""); a.status != 401 {
			t.Errorf("%s: GET %s without a token: %d", state, path, a.status)
		}
	}
	return rows
}

// stock puts the values into the store that are gone from it, and fills it if it is to be
// full.
func (m *matrix) stock(t *testing.T, admin asker) {
	t.Helper()
	for key, value := range map[string]string{"a/canary": valueOfA, "b/canary": valueOfB} {
		if stored(m.s, key) != value {
			wantStatus(t, answer{status: ask(m.s, "PUT", "/v1/kv/"+key, value, as(admin.token)...).status / 100}, 2)
		}
	}
	if _, found := m.s.Machine().Lock("b/canary"); !found {
		body := `{"ttl":"9000000s","text":"` + valueOfLock + `"}`
		wantStatus(t, ask(m.s, "POST", "/v1/locks/b%2Fcanary", body, append(as(admin.token), "Content-Type", api.MediaJSON)...), 200)
	}
	for i := 0; m.state == "full"; i++ {
		if ask(m.s, "PUT", fmt.Sprint("/v1/kv/full/", i), strings.Repeat("x", 1<<10), as(admin.token)...).status == 507 {
			break
		}
	}
	m.file.take()
}

// row asks one thing as one caller.
func (m *matrix) row(t *testing.T, method string, a asker, c call) {
	t.Helper()
	name := m.state + ": " + a.name + ": " + c.name + " " + c.target
	forbidden := !a.may(c.right, c.on)
	var before kv.Digest
	if forbidden {
		before = m.s.Machine().Freeze().Digest()
	}
	asked := m.log.Attempts()
	got := askCut(m.s, method, c.target, c.body, a.authorization(), c.header...)
	lines := m.file.take()
	wantRow(t, name, a, c, got)
	if forbidden {
		m.wantUnchanged(t, name, before, asked)
	}
	a.seesNoMore(t, name, got)
	refused := got.status == 401 || got.status == 403
	switch {
	case !refused && !c.act && len(lines) != 0, (refused || c.act) && len(lines) != 1:
		t.Errorf("%s: answered %d, with %d lines in the audit: %+v", name, got.status, len(lines), lines)
	case len(lines) == 1:
		code, outcome, _ := strings.Cut(got.header.Get(api.HeaderError), "; outcome=")
		if got.status < 400 {
			outcome = string(api.OutcomeApplied)
		}
		l := lines[0]
		// An outcome of a stream that was cut stands in no header.
		if l.Code != code || l.Outcome != outcome || l.RequestID != got.header.Get(api.HeaderRequestID) || l.Node != "n1" {
			t.Errorf("%s: answered %d %s %s, and the line in the audit is %+v", name, got.status, code, outcome, l)
		}
		if known := map[bool]string{true: "", false: a.name}[a.unknown]; l.Identity != known && c.right != auth.Open {
			t.Errorf("%s: the line in the audit names %q", name, l.Identity)
		}
	}
}

// wantUnchanged checks that a store is as it was, but for what the node does by itself.
func (m *matrix) wantUnchanged(t *testing.T, name string, before kv.Digest, asked int) {
	t.Helper()
	m.log.Mu.Lock()
	proposals := m.log.Proposals[asked:]
	m.log.Mu.Unlock()
	for _, p := range proposals {
		if c, err := kv.DecodeCommand(p.Command); err != nil || c.Op != kv.OpTick {
			t.Errorf("%s: the command %s was proposed (%v)", name, c.Op, err)
		}
	}
	if len(proposals) == 0 && m.s.Machine().Freeze().Digest() != before {
		t.Errorf("%s: the store has changed", name)
	}
}

// seesNoMore checks that an answer shows no value that its caller may not read.
func (a asker) seesNoMore(t *testing.T, name string, got answer) {
	t.Helper()
	if a.right == auth.Admin || a.right == auth.Backup || a.glass { // which see all of it
		return
	}
	text := got.body
	for _, lines := range got.header {
		text += strings.Join(lines, " ")
	}
	if !strings.Contains(text, "canary-") {
		return
	}
	for value, right := range map[string][]auth.Right{valueOfA: {auth.Read, auth.List, auth.Watch}, valueOfB: nil, valueOfLock: nil} {
		if strings.Contains(text, value) && !(slices.Contains(right, a.right) && a.prefix == "a/") {
			t.Errorf("%s: the answer shows the value %s: %s", name, value, text)
		}
	}
}

// askCut is ask for answers that may be cut off, as a backup is by a node that stops.
func askCut(s *testServer, method, target, body string, authorization []string, header ...string) (a answer) {
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			a = answer{status: 200, header: w.Header()}
		} else if p != nil {
			panic(p)
		}
	}()
	// In a bubble: a watch has no end of its own.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if method == "PUT" || method == "POST" {
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if len(authorization) > 0 {
		r.Header["Authorization"] = authorization
	}
	s.Handler().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String(), r.Header}
}

// wantRow compares an answer with the model.
func wantRow(t *testing.T, name string, a asker, c call, got answer) {
	t.Helper()
	said := got.header.Get(api.HeaderError)
	lacks := c.right // the right that the refusal names
	may := a.may(c.right, c.on)
	if may && c.also != 0 {
		lacks, may = c.also, a.may(c.also, c.on)
	}
	switch {
	case a.unknown && !may:
		// The request's id is drawn at random, and may look like the name of a node.
		body := strings.ReplaceAll(got.body, got.header.Get(api.HeaderRequestID), "")
		if got.status != 401 || said != "unauthenticated; outcome=not_applied" || got.header.Get("Www-Authenticate") != "Bearer" || got.header.Get(api.HeaderNode) != "" || strings.Contains(body, "n1") {
			t.Errorf("%s: answered %d %v %s", name, got.status, got.header, got.body)
		}
	case !may:
		if got.status != 403 || said != "forbidden; outcome=not_applied" || got.header.Get(api.HeaderNode)+got.header.Get(api.HeaderLeader)+got.header.Get(api.HeaderTerm)+got.header.Get("Location") != "" || !strings.Contains(got.body, "needs the right "+lacks.String()) && got.body != "" {
			t.Errorf("%s: answered %d %v %s", name, got.status, got.header, got.body)
		}
	case got.status == 401, got.status == 403 && !(c.judged && a.right != auth.Admin):
		t.Errorf("%s: answered %d %s", name, got.status, got.body)
	}
}
