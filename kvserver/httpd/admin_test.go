package httpd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
)

// Goal: the operator changes at run time what is logged, and gets profiles, on
// the admin port and nowhere else.
// Method: the handler with a logger of its own; the same paths on the client's.
func TestTheAdminPortChangesTheLogLevelAndGivesProfiles(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	s, _ := newServer(t, func(c *settings) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	})
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = NewAdminServer(s.door.AdminHandler(level, nil))
	ts.Start()
	defer ts.Close()
	if a := send(t, "GET", ts.URL+"/v1/log-level", ""); a.status != 200 || a.body != "info\n" {
		t.Errorf("%d %q", a.status, a.body)
	}
	s.Config().Logger.Debug("unheard")
	if a := send(t, "PUT", ts.URL+"/v1/log-level", "DEBUG\n"); a.status != 200 || a.body != "debug\n" {
		t.Errorf("%d %q", a.status, a.body)
	}
	s.Config().Logger.Debug("heard")
	if said := out.String(); strings.Contains(said, "unheard") || !strings.Contains(said, "msg=heard") {
		t.Errorf("logged %s", said)
	}
	for _, bad := range []string{"", "loud", strings.Repeat("x", 10_000)} {
		wantProblem(t, send(t, "PUT", ts.URL+"/v1/log-level", bad), 400, api.CodeBadRequest, api.OutcomeNotApplied)
	}
	wantProblem(t, send(t, "PUT", ts.URL+"/v1/log-level", "warn", "Origin", "http://evil.example"), 403, api.CodeForbidden, api.OutcomeNotApplied)
	if level.Level() != slog.LevelDebug {
		t.Errorf("the level is %v", level.Level())
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		wantStatus(t, send(t, "GET", ts.URL+path, ""), 200)
		wantProblem(t, ask(s, "GET", path, ""), 404, api.CodeNotFound, api.OutcomeNotApplied)
	}
	wantProblem(t, ask(s, "PUT", "/v1/log-level", "debug"), 404, api.CodeNotFound, api.OutcomeNotApplied)
	wantStatus(t, send(t, "GET", ts.URL+"/v1/kv/k", ""), 404)
}

// Goal: no page in a browser on the operator's machine makes the process profile
// itself, or changes what it logs, whether by its own name or from its own site.
// Method: the headers that browsers send, with names of all kinds, on each path;
// a name that the client port takes is of no help.
func TestTheAdminPortServesNoPage(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.AllowedHosts = []string{"*"} })
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = NewAdminServer(s.door.AdminHandler(new(slog.LevelVar), nil))
	ts.Start()
	defer ts.Close()
	port := strings.TrimPrefix(ts.URL, "http://127.0.0.1")
	for _, c := range []struct {
		host   string
		header string
		want   int
	}{
		{"127.0.0.1" + port, "", 200}, {"localhost" + port, "", 200}, {"[::1]" + port, "", 200}, {"", "", 200},
		{"127.0.0.1" + port, "Sec-Fetch-Site: none", 200}, {"127.0.0.1" + port, "Sec-Fetch-Site: same-origin", 200}, {"localhost" + port, "Origin: http://localhost" + port, 200},
		{"evil.example" + port, "", 403}, {"kv" + port, "", 403}, {"10.0.0.1" + port, "", 403}, {"127.0.0.1.evil.example", "", 403}, {"localhost.evil", "", 403},
		{"127.0.0.1" + port, "Sec-Fetch-Site: cross-site", 403}, {"127.0.0.1" + port, "Sec-Fetch-Site: same-site", 403},
		{"127.0.0.1" + port, "Origin: http://evil.example", 403}, {"127.0.0.1" + port, "Origin: null", 403}, {"localhost" + port, "Origin: http://127.0.0.1" + port, 403},
	} {
		for _, path := range []string{"/v1/log-level", "/debug/pprof/", "/debug/pprof/cmdline"} {
			w := dialWire(t, ts.URL)
			raw := "GET " + path + " HTTP/1.1\r\nHost: " + c.host + "\r\n"
			if c.header != "" {
				raw += c.header + "\r\n"
			}
			w.send(raw + "\r\n")
			a := w.receive("GET")
			if a.status != c.want {
				t.Errorf("%s for host %q with %q: %d, want %d", path, c.host, c.header, a.status, c.want)
			}
			if c.want == 403 {
				wantProblem(t, a, 403, api.CodeForbidden, api.OutcomeNotApplied)
			}
		}
	}
}

// Goal: with identities enforced the admin port serves admins alone on TCP, and on a socket
// every process that can connect to it, without a token; a page is refused there, too. What is
// done has a line in the audit that says where it came from.
// Method: both kinds of listener over one server, with and without tokens.
func TestTheAdminPortOnASocketNeedsNoToken(t *testing.T) {
	file := &sink{}
	audit := access.NewAudit(access.AuditConfig{To: file})
	s, _ := newServer(t, func(c *settings) { c.Level, c.Access.Audit = 3, audit })
	root, user := enforce(t, s)
	handler := s.door.AdminHandler(new(slog.LevelVar), nil)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	bySocket := NewAdminServer(handler)
	go bySocket.Serve(l)
	defer bySocket.Close()
	byTCP := httptest.NewServer(handler)
	defer byTCP.Close()
	expired := anotherToken(t, s, root, "root", "expired0", -time.Minute)
	revoked := anotherToken(t, s, root, "root", "revoked0", 0)
	revoke(t, s, root, revoked)
	for _, c := range []struct {
		token string
		want  int
	}{{"", 401}, {"rkt1_x", 401}, {expired, 401}, {revoked, 401}, {user, 403}, {root, 200}} {
		header := []string{}
		if c.token != "" {
			header = as(c.token)
		}
		wantStatus(t, send(t, "PUT", byTCP.URL+"/v1/log-level", "info", header...), c.want)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	for _, c := range []struct {
		method, host, path, origin string
		want                       int
	}{
		{"PUT", "localhost", "/v1/log-level", "", 200}, {"GET", "localhost", "/debug/pprof/cmdline", "", 200},
		{"PUT", "evil.example", "/v1/log-level", "", 403}, {"PUT", "localhost", "/v1/log-level", "http://evil.example", 403},
	} {
		r, err := http.NewRequest(c.method, "http://"+c.host+c.path, strings.NewReader(map[string]string{"PUT": "info"}[c.method]))
		if err != nil {
			t.Fatal(err)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if wantStatus(t, readAnswer(t, response), c.want); t.Failed() {
			t.Fatalf("%+v", c)
		}
	}
	audit.Close()
	done := 0
	for _, line := range file.lines(t) {
		if line.Remote == "socket" && line.Action == "PUT /v1/log-level" && line.Outcome == string(api.OutcomeApplied) {
			done++
		}
	}
	if done != 1 {
		t.Errorf("the audit has %d lines of one act by the socket: %+v", done, file.lines(t))
	}
}
