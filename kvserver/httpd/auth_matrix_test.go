package httpd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/txn"
)

// asker is one identity of the matrix, as the model knows it.
type asker struct {
	name, token string
	unknown     bool // the token opens nothing
	right       auth.Right
	prefix      string // of keys, or of locks
}

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
	case a.right != right:
		return false
	}
	return !onKeys(right) && !onLocks(right) || strings.HasPrefix(on, a.prefix)
}

func onKeys(right auth.Right) bool { return right >= auth.Read && right <= auth.Delete }

func onLocks(right auth.Right) bool { return right == auth.Acquire || right == auth.Observe }

// askers makes the identities of the matrix: none, wrong, expired, disabled, each right
// alone on its own prefix and on a foreign one, admin.
func askers(t *testing.T, s *testServer) (all []asker) {
	t.Helper()
	root := newIdentity(t, s, "root", "root0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	all = append(all, asker{name: "admin", token: root, right: auth.Admin}, asker{name: "none", unknown: true})
	_, wrong := testToken(t, "wrong000")
	late := newIdentity(t, s, "late", "late0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	id, again := testToken(t, "late0001")
	change(t, s, &person, auth.Change{Action: auth.CreateToken, Name: "late", Token: &auth.Token{ID: id, Hash: auth.HashOf(again), Expires: 1}})
	off := newIdentity(t, s, "off", "off00000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	change(t, s, &person, auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "off", Rules: []auth.Rule{{Rights: auth.RightsOf(auth.Admin)}}, Disabled: true}})
	all = append(all, asker{name: "wrong", token: wrong, unknown: true}, asker{name: "no token", token: "rkt1_x", unknown: true},
		asker{name: "expired", token: again, unknown: true}, asker{name: "disabled", token: off, unknown: true},
		asker{name: "cut off", token: late[:len(late)-1], unknown: true})
	for _, right := range auth.Grantable() {
		for i, prefix := range []string{"a/", "foreign/"} {
			rule := auth.Rule{Rights: auth.RightsOf(right)}
			switch {
			case onKeys(right):
				rule.Space, rule.Text = auth.Keys, prefix
			case onLocks(right):
				rule.Space, rule.Text = auth.Locks, prefix
			case right == auth.Admin:
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
	on     string // the key, or the prefix that is listed
	target string
	body   string
	header []string
	judged bool // the log judges it once more, so that one who may ask may be refused
}

// calls returns the requests of a route: about keys inside and outside of the prefix.
func calls(r Route) (all []call) {
	target, body, header := goodRequest(r)
	if r.Path == "/v1/auth/state" {
		body = strings.Replace(body, "observe", "enforce", 1)
	}
	c := call{name: r.Method + " " + r.Path, right: r.Right, target: target, body: body, header: header,
		judged: r.Right == auth.Known && r.Method != "GET" || r.Right == auth.Auth && r.Method != "GET"}
	switch r.Path {
	case "/v1/kv/{key}":
		for _, key := range []string{"a/1", "a", "b", "a%2F1"} {
			k := c
			k.target, k.on = strings.Replace(target, "/k", "/"+key, 1), strings.Replace(key, "%2F", "/", 1)
			k.target = strings.Replace("/v1/kv/"+key, "?", "", 1)
			if r.Method == "POST" {
				k.target += "?op=append"
			}
			all = append(all, k)
		}
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
			for _, q := range []struct{ query, on string }{{"?prefix=a/", "a/"}, {"?prefix=a", "a"}, {"?prefix=&all", ""}, {"?from=a/&to=a/5", "a/"}, {"?from=a/&all", ""}, {"?prefix=b&at_most=1&partial", "b"}} {
				k := c
				k.target, k.on = "/v1/kv"+q.query, q.on
				all = append(all, k)
			}
			break
		}
		for _, q := range []struct{ query, on string }{
			{"", ""}, {"?prefix=a/", "a/"}, {"?prefix=a", "a"}, {"?prefix=a/x&after=a/x1&limit=1", "a/x"}, {"?prefix=b", "b"}, {"?after=a/0&limit=1", ""},
			{"?prefix=a&keys_only", "a"}, {"?keys_only&limit=1", ""}, {"?prefix=a/&keys_only&consistency=stale", "a/"},
			{"?from=a/&to=a/5", "a/"}, {"?from=a/1", ""}, {"?from=b&to=c", "b"},
		} {
			for _, accept := range []string{api.MediaJSON, api.MediaNDJSON} {
				k := c
				k.target, k.on, k.header = target+q.query, q.on, []string{"Accept", accept}
				all = append(all, k)
			}
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

// Goal (S1): every route and every kind of frame answers every kind of caller as the
// table says, whatever state the node is in; planted bugs 1 and 2. A route or a kind that
// is added comes into the matrix by itself, or fails it.
// Method: a generated matrix of routes, kinds, callers, keys and states of the node,
// against a model of a few lines.
func TestTheMatrixOfRightsIsKept(t *testing.T) {
	rows := 0
	for _, state := range []string{"leads", "no leader", "stopped"} {
		// In a bubble the answers that are held back cost nothing.
		inBubble(t, func(t *testing.T) { rows += matrixIn(t, state) })
	}
	if rows < 2000 {
		t.Errorf("void: %d rows", rows)
	}
	t.Logf("%d rows", rows)
}

// matrixIn is the matrix in one state of the node. It returns the number of rows.
func matrixIn(t *testing.T, state string) (rows int) {
	log := fakelog.New("n1")
	s, err := wired(settings{Config: kvserver.Config{
		NodeID: "n1", ClusterID: "c1", Consensus: log, ApplyCh: log.ApplyCh, Level: 3, ClientAddr: func(string) string { return "" },
		LeaderWait: time.Millisecond, RequestTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	}, AllowedHosts: []string{"kv", "example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	all := askers(t, s)
	switch state {
	case "no leader":
		log.SetLeader("")
	case "stopped":
		s.Server.Close()
	}
	for _, r := range Routes() {
		for _, c := range calls(r) {
			for _, a := range all {
				rows++
				header := slices.Clone(c.header)
				if a.token != "" {
					header = append(header, "Authorization", "Bearer "+a.token)
				}
				wantRow(t, state+": "+a.name+": "+c.name+" "+c.target, a, c, askCut(s, r.Method, c.target, c.body, header...))
			}
		}
	}
	for _, path := range []string{"/", "/v1/nothing", "/v1/kv/a?x=1", "/v1/auth/nothing"} {
		if a := ask(s, "GET", path, ""); a.status != 401 {
			t.Errorf("%s: GET %s without a token: %d", state, path, a.status)
		}
	}
	if state == "leads" {
		rows += frameRows(t, s, all)
	}
	return rows
}

// askCut is ask for answers that may be cut off, as a backup is by a node that stops.
func askCut(s *testServer, method, target, body string, header ...string) (a answer) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			a = answer{status: 200, header: http.Header{}}
		} else if p != nil {
			panic(p)
		}
	}()
	// In a bubble: a watch has no end of its own.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return askCtx(ctx, s, method, target, body, header...)
}

// wantRow compares an answer with the model.
func wantRow(t *testing.T, name string, a asker, c call, got answer) {
	t.Helper()
	switch may := a.may(c.right, c.on); {
	case a.unknown && !may:
		// The request's id is drawn at random, and may look like the name of a node.
		body := strings.ReplaceAll(got.body, got.header.Get(api.HeaderRequestID), "")
		if got.status != 401 || got.header.Get("Www-Authenticate") != "Bearer" || got.header.Get(api.HeaderNode) != "" || strings.Contains(body, "n1") {
			t.Errorf("%s: answered %d %v %s", name, got.status, got.header, got.body)
		}
	case !may:
		if got.status != 403 || !strings.Contains(got.body, c.right.String()) && got.body != "" {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	case got.status == 401, got.status == 403 && !(c.judged && a.right != auth.Admin):
		t.Errorf("%s: answered %d %s", name, got.status, got.body)
	}
}

// rawClerk is a Clerk's connection, frame by frame.
type rawClerk struct {
	conn   net.Conn
	frames *clerkwire.FrameReader
	last   uint32
}

// dialRaw upgrades a connection with a token, and returns the status if that is refused.
func dialRaw(t *testing.T, s *testServer, token string) (*rawClerk, int) {
	t.Helper()
	conn, err := servePipes(t, s).Dial(t.Context(), "kv:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	request := "GET " + clerkwire.Path + " HTTP/1.1\r\nHost: kv\r\nConnection: Upgrade\r\nUpgrade: " + clerkwire.Protocol2 + "\r\n"
	if token != "" {
		request += "Authorization: Bearer " + token + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	early := bufio.NewReader(conn)
	response, err := http.ReadResponse(early, &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		response.Body.Close()
		return nil, response.StatusCode
	}
	return &rawClerk{conn: conn, frames: clerkwire.NewFrameReader(conn, early, clerkwire.Answers2)}, 101
}

// askFrame sends a request and returns why it was refused, "" if it was not, and the
// answer's body.
func askFrame[M clerkwire.Message](t *testing.T, c *rawClerk, kind clerkwire.Kind, m M) (api.Code, []byte) {
	t.Helper()
	c.last++
	if _, err := c.conn.Write(clerkwire.AppendFrame(nil, kind, c.last, m)); err != nil {
		t.Fatal(err)
	}
	h, err := c.frames.Next()
	if err != nil {
		t.Fatal(err)
	}
	body, err := c.frames.Body(h)
	if err != nil || h.Number != c.last {
		t.Fatalf("%+v, %v", h, err)
	}
	if h.Kind != clerkwire.KindRefused {
		return "", slices.Clone(body)
	}
	var refused clerkwire.Refused
	if err := refused.Parse(body); err != nil {
		t.Fatal(err)
	}
	return refused.Code, nil
}

// frameCalls are the requests of Clerks, by kind, about a key or a prefix.
var frameCalls = map[clerkwire.Kind]struct {
	right auth.Right
	ask   func(t *testing.T, c *rawClerk, session uint64, on string) api.Code
}{
	clerkwire.KindOpen: {auth.Known, func(t *testing.T, c *rawClerk, _ uint64, _ string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{})
		return code
	}},
	clerkwire.KindAuth: {auth.Known, nil}, // changes the caller: a test of its own
	clerkwire.KindGet: {auth.Read, func(t *testing.T, c *rawClerk, _ uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte(on)})
		return code
	}},
	clerkwire.KindList: {auth.List, func(t *testing.T, c *rawClerk, _ uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindList, clerkwire.List{Prefix: []byte(on), KeysOnly: len(on)%2 == 0})
		return code
	}},
	clerkwire.KindPut:    {auth.Write, writeFrame(clerkwire.KindPut)},
	clerkwire.KindAppend: {auth.Write, writeFrame(clerkwire.KindAppend)},
	clerkwire.KindDelete: {auth.Delete, writeFrame(clerkwire.KindDelete)},
	clerkwire.KindTxn: {auth.Write, func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		x := txn.Txn{Else: []txn.Op{{Kind: txn.Nested, Txn: &txn.Txn{Then: []txn.Op{{Kind: txn.Put, Span: txn.Key(on)}}}}}}
		code, _ := askFrame(t, c, clerkwire.KindTxn, clerkwire.Txn{Session: session, Seq: uint64(c.last) + 1, Body: x.Body(0)})
		return code
	}},
	clerkwire.KindDeleteRange: {auth.Delete, func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		s := txn.Prefix(on)
		d := txn.DeleteRange{From: s.From, To: s.To}
		code, _ := askFrame(t, c, clerkwire.KindDeleteRange, clerkwire.Txn{Session: session, Seq: uint64(c.last) + 1, Body: d.Body(0)})
		return code
	}},
	clerkwire.KindGrant: {auth.Lease, func(t *testing.T, c *rawClerk, session uint64, _ string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindGrant, clerkwire.Grant{Session: session, Seq: uint64(c.last) + 1, TTL: 60_000})
		return code
	}},
	clerkwire.KindKeepAlive: {auth.Lease, func(t *testing.T, c *rawClerk, _ uint64, _ string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindKeepAlive, clerkwire.KeepAlive{Leases: []int64{4711}})
		return code
	}},
	clerkwire.KindRevoke: {auth.Lease, func(t *testing.T, c *rawClerk, session uint64, _ string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindRevoke, clerkwire.Revoke{Session: session, Seq: uint64(c.last) + 1, Lease: 4711})
		return letIn(code)
	}},
	clerkwire.KindLeases: {auth.Lease, func(t *testing.T, c *rawClerk, _ uint64, on string) api.Code {
		m := clerkwire.Leases{Limit: 1}
		if len(on)%2 == 0 {
			m = clerkwire.Leases{Lease: 4711, Keys: true}
		}
		code, _ := askFrame(t, c, clerkwire.KindLeases, m)
		return letIn(code)
	}},
	clerkwire.KindTouch: {auth.Write, func(t *testing.T, c *rawClerk, _ uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindTouch, clerkwire.Touch{Key: []byte(on), TTL: 60_000})
		return letIn(code)
	}},
	clerkwire.KindAcquire: {auth.Acquire, func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		m := clerkwire.Acquire{Session: session, Seq: uint64(c.last) + 1, Lock: []byte(on), Lease: 4711, Limit: 1}
		if len(on)%2 == 0 {
			m = clerkwire.Acquire{Lock: []byte(on), Lease: 4711, Wait: 1}
		}
		code, _ := askFrame(t, c, clerkwire.KindAcquire, m)
		return letIn(code)
	}},
	clerkwire.KindRelease: {auth.Acquire, func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindRelease, clerkwire.Release{Session: session, Seq: uint64(c.last) + 1, Lock: []byte(on), Token: 4711})
		return letIn(code)
	}},
	clerkwire.KindLeaveQueue: {auth.Acquire, func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindLeaveQueue, clerkwire.LeaveQueue{Session: session, Seq: uint64(c.last) + 1, Lock: []byte(on), Lease: 4711})
		return letIn(code)
	}},
	clerkwire.KindPublish: {auth.Acquire, func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindPublish, clerkwire.Publish{Session: session, Seq: uint64(c.last) + 1, Lock: []byte(on), Token: 4711})
		return letIn(code)
	}},
	clerkwire.KindLocks: {auth.Observe, func(t *testing.T, c *rawClerk, _ uint64, on string) api.Code {
		m := clerkwire.Locks{Prefix: []byte(on)}
		if len(on)%2 == 0 {
			m = clerkwire.Locks{Lock: []byte(on)}
		}
		code, _ := askFrame(t, c, clerkwire.KindLocks, m)
		return letIn(code)
	}},
	clerkwire.KindWatch: {auth.Watch, func(t *testing.T, c *rawClerk, _ uint64, on string) api.Code {
		code, _ := askFrame(t, c, clerkwire.KindWatch, clerkwire.Watch{Prefixes: [][]byte{[]byte(on)}})
		if code == "" {
			endWatch(t, c)
		}
		return code
	}},
	// Those of a watch that was let in.
	clerkwire.KindSync:    {auth.Known, nil},
	clerkwire.KindCredit:  {auth.Known, nil},
	clerkwire.KindUnwatch: {auth.Known, nil},
}

// letIn is the code of a request about a lease, lock or key that is not there: whoever hears that
// was let in.
func letIn(code api.Code) api.Code {
	switch code {
	case api.CodeLeaseNotFound, api.CodeKeyNotFound, api.CodeLockNotFound, api.CodeLockLost:
		return ""
	}
	return code
}

// endWatch ends the watch that was asked for last.
func endWatch(t *testing.T, c *rawClerk) {
	t.Helper()
	if _, err := c.conn.Write(clerkwire.AppendFrame(nil, clerkwire.KindUnwatch, c.last, clerkwire.Empty{})); err != nil {
		t.Fatal(err)
	}
	for {
		h, err := c.frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.frames.Body(h); err != nil || h.Kind == clerkwire.KindEnded {
			return
		}
	}
}

func writeFrame(kind clerkwire.Kind) func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
	return func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
		code, _ := askFrame(t, c, kind, clerkwire.Write{Session: session, Seq: uint64(c.last) + 1, Key: []byte(on)})
		return code
	}
}

// frameRows is the part of the matrix that goes over Clerks' connections.
func frameRows(t *testing.T, s *testServer, all []asker) (rows int) {
	t.Helper()
	for kind := range clerkwire.Requests2 {
		if _, known := frameCalls[kind]; !known {
			t.Errorf("what does a frame of kind 0x%02x need?", uint8(kind))
		}
	}
	for _, a := range all {
		c, status := dialRaw(t, s, a.token)
		if (status == 101) == a.unknown || a.unknown && status != 401 {
			t.Errorf("%s: the upgrade is answered with %d", a.name, status)
		}
		if c == nil {
			continue
		}
		code, body := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{})
		var opened clerkwire.Opened
		if code != "" || opened.Parse(body) != nil {
			t.Fatalf("%s cannot open a session: %s", a.name, code)
		}
		for kind, f := range frameCalls {
			for _, on := range []string{"a/1", "a", "b", "a/"} {
				if f.ask == nil {
					continue
				}
				rows++
				want := map[bool]api.Code{true: "", false: api.CodeForbidden}[a.may(f.right, on)]
				if got := f.ask(t, c, opened.Session, on); got != want {
					t.Errorf("%s: a frame of kind 0x%02x on %q is answered with %q, want %q", a.name, uint8(kind), on, got, want)
				}
			}
		}
		c.conn.Close()
	}
	return rows
}
