package kvserver

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"raftkv/kvserver/api"
)

// Goal: the operator changes at run time what is logged, and gets profiles, on
// the admin port and nowhere else.
// Method: the handler with a logger of its own; the same paths on the client's.
func TestTheAdminPortChangesTheLogLevelAndGivesProfiles(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	s, _ := newServer(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	})
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = NewAdminServer(s.AdminHandler(level))
	ts.Start()
	defer ts.Close()
	if a := send(t, "GET", ts.URL+"/v1/log-level", ""); a.status != 200 || a.body != "info\n" {
		t.Errorf("%d %q", a.status, a.body)
	}
	s.config.Logger.Debug("unheard")
	if a := send(t, "PUT", ts.URL+"/v1/log-level", "DEBUG\n"); a.status != 200 || a.body != "debug\n" {
		t.Errorf("%d %q", a.status, a.body)
	}
	s.config.Logger.Debug("heard")
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
