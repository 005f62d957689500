package httpd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

// rawClerk is a Clerk's connection, frame by frame.
type rawClerk struct {
	conn   net.Conn
	frames *clerkwire.FrameReader
	last   uint32
	// refused is what the last request was answered that askFrame sent and that was refused.
	refused clerkwire.Refused
}

// dialRaw upgrades a connection with a token, and returns the status if that is refused.
func dialRaw(t *testing.T, s *testServer, token string) (*rawClerk, int) {
	t.Helper()
	return dialAs(t, s, asker{token: token})
}

// dialAs upgrades a connection with a caller's header Authorization, and with the rest of the
// header of another node if there is one.
func dialAs(t *testing.T, s *testServer, a asker, header ...string) (*rawClerk, int) {
	t.Helper()
	conn, err := servePipes(t, s).Dial(t.Context(), "kv:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	request := "GET " + clerkwire.Path + " HTTP/1.1\r\nHost: kv\r\nConnection: Upgrade\r\nUpgrade: " + clerkwire.Protocol2 + "\r\n"
	for _, line := range a.authorization() {
		request += "Authorization: " + line + "\r\n"
	}
	for i := 0; i < len(header); i += 2 {
		request += header[i] + ": " + header[i+1] + "\r\n"
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
	answers := clerkwire.Answers2
	if len(header) > 0 { // of another node
		answers = clerkwire.ForwardAnswers
	}
	return &rawClerk{conn: conn, frames: clerkwire.NewFrameReader(conn, early, answers)}, 101
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
	c.refused = clerkwire.Refused{}
	if err := c.refused.Parse(body); err != nil {
		t.Fatal(err)
	}
	return c.refused.Code, nil
}

// saysNothing checks that a refusal of the caller says nothing of the cluster.
func saysNothing(t *testing.T, name string, m clerkwire.Refused) {
	t.Helper()
	if m.Node != "" || m.Leader != "" || m.LeaderAddr != "" || m.Term != 0 || m.RequestID == "" || strings.Contains(m.RequestID, "n1-") || strings.Contains(m.Detail, "n2") {
		t.Errorf("%s: the refusal tells of the cluster: %+v", name, m)
	}
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
	clerkwire.KindGet: {auth.Read, oneOf(clerkwire.KindGet, func(on string) []clerkwire.Message {
		return []clerkwire.Message{
			clerkwire.Get{Key: []byte(on)}, clerkwire.Get{Key: []byte(on), Consistency: clerkwire.Stale}, clerkwire.Get{Key: []byte(on), Pinned: clerkwire.Pinned{Set: true}},
		}
	})},
	clerkwire.KindList: {auth.List, oneOf(clerkwire.KindList, func(on string) []clerkwire.Message {
		from, to := []byte(on), []byte(on+"\x00")
		return []clerkwire.Message{
			clerkwire.List{Prefix: from, KeysOnly: len(on)%2 == 0}, clerkwire.List{Prefix: from, After: []byte(on + "x"), Limit: 1, Consistency: clerkwire.Stale},
			clerkwire.List{More: &clerkwire.ListMore{From: from, To: to}}, clerkwire.List{More: &clerkwire.ListMore{From: from, To: to, CountOnly: true}},
			clerkwire.List{Prefix: from, More: &clerkwire.ListMore{Count: true}}, clerkwire.List{Prefix: from, More: &clerkwire.ListMore{Pinned: clerkwire.Pinned{Set: true}}},
		}
	})},
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
		var last api.Code
		for i, m := range []clerkwire.Watch{
			{Prefixes: [][]byte{[]byte(on)}}, {Keys: [][]byte{[]byte(on)}, KeysOnly: true}, {Ranges: []clerkwire.KeyRange{{From: []byte(on), To: []byte(on + "\x00")}}, Prev: true},
		} {
			code, _ := askFrame(t, c, clerkwire.KindWatch, m)
			if code == "" {
				endWatch(t, c)
			}
			if i > 0 && (code == api.CodeForbidden) != (last == api.CodeForbidden) {
				t.Errorf("a watch of %q, form %d, is answered with %q, and the one before with %q", on, i, code, last)
			}
			last = code
		}
		return last
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

// oneOf asks the same in several forms, all of which must be forbidden or none.
func oneOf(kind clerkwire.Kind, forms func(on string) []clerkwire.Message) func(t *testing.T, c *rawClerk, session uint64, on string) api.Code {
	return func(t *testing.T, c *rawClerk, _ uint64, on string) (last api.Code) {
		t.Helper()
		for i, m := range forms(on) {
			code, _ := askFrame(t, c, kind, m)
			if i > 0 && (code == api.CodeForbidden) != (last == api.CodeForbidden) {
				t.Errorf("a frame of kind 0x%02x on %q, form %d, is answered with %q, and the one before with %q", uint8(kind), on, i, code, last)
			}
			last = code
		}
		return last
	}
}

// connected is a caller with its Clerk's connection, and a session if it may have one.
type connected struct {
	asker
	conn    *rawClerk
	session uint64
}

// dialAll connects all callers whose tokens open something; the upgrade of the others is
// refused.
func dialAll(t *testing.T, s *testServer, all []asker) (clerks []connected) {
	t.Helper()
	for _, a := range all {
		c, status := dialAs(t, s, a)
		if (status == 101) == a.unknown || a.unknown && status != 401 {
			t.Errorf("%s: the upgrade is answered with %d", a.name, status)
		}
		if c == nil {
			continue
		}
		code, body := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{})
		var opened clerkwire.Opened
		switch {
		case a.glass && code == api.CodeForbidden: // the log knows no such identity
		case code != "" || opened.Parse(body) != nil:
			t.Fatalf("%s cannot open a session: %s", a.name, code)
		}
		clerks = append(clerks, connected{a, c, opened.Session})
	}
	return clerks
}

// frameRows is the part of the matrix that goes over Clerks' connections.
func (m *matrix) frameRows(t *testing.T, clerks []connected) (rows int) {
	t.Helper()
	for kind := range clerkwire.Requests2 {
		if _, known := frameCalls[kind]; !known {
			t.Errorf("what does a frame of kind 0x%02x need?", uint8(kind))
		}
	}
	about := []string{"a/1", "b", "a", "a/"}
	if m.state != "leads" {
		about = about[:2]
	}
	for _, a := range clerks {
		for kind, f := range frameCalls {
			for _, on := range about {
				if f.ask == nil || a.glass && kind == clerkwire.KindOpen {
					continue
				}
				rows++
				may := a.may(f.right, on)
				var before kv.Digest
				if !may {
					before = m.s.Machine().Freeze().Digest()
				}
				asked := m.log.Attempts()
				got := f.ask(t, a.conn, max(a.session, 1), on)
				name := fmt.Sprintf("%s: %s: a frame of kind 0x%02x on %q", m.state, a.name, uint8(kind), on)
				m.wantFrame(t, name, kind, may, got, m.file.take())
				if !may {
					saysNothing(t, name, a.conn.refused)
					m.wantUnchanged(t, name, before, asked)
				}
			}
		}
	}
	return rows
}

// actsOf are the kinds of frames each of which has a line in the audit, however it ends.
var actsOf = map[clerkwire.Kind]bool{
	clerkwire.KindPut: true, clerkwire.KindAppend: true, clerkwire.KindDelete: true, clerkwire.KindTxn: true, clerkwire.KindDeleteRange: true,
	clerkwire.KindGrant: true, clerkwire.KindRevoke: true, clerkwire.KindTouch: true,
	clerkwire.KindAcquire: true, clerkwire.KindRelease: true, clerkwire.KindLeaveQueue: true, clerkwire.KindPublish: true,
}

// wantFrame compares the answer to a frame with the model.
func (m *matrix) wantFrame(t *testing.T, name string, kind clerkwire.Kind, may bool, got api.Code, lines []access.Line) {
	t.Helper()
	forbidden := got == api.CodeForbidden
	switch {
	case m.state == "leads" && (got == "") != may, may && (forbidden || got == api.CodeUnauthenticated):
		t.Errorf("%s is answered with %q, which may be: %v", name, got, may)
	case !may && !forbidden: // which comes before all that a node says of itself
		t.Errorf("%s is answered with %q, and may not be", name, got)
	}
	for _, l := range lines {
		if l.Code != string(got) && got != "" || l.Node != "n1" || l.RequestID == "" {
			t.Errorf("%s is answered with %q, and has the line %+v", name, got, l)
		}
	}
	if kind == clerkwire.KindGet || kind == clerkwire.KindList || kind == clerkwire.KindWatch {
		return // which ask several times
	}
	least, most := 0, 0
	if forbidden || actsOf[kind] {
		least, most = 1, 1
	}
	if !forbidden && (m.state != "leads" || kind == clerkwire.KindAcquire) {
		least = 0 // it was not begun, or waits for a lock, which changes nothing
	}
	if len(lines) < least || len(lines) > most {
		t.Errorf("%s is answered with %q, and has %d lines in the audit, want %d: %+v", name, got, len(lines), most, lines)
	}
}
