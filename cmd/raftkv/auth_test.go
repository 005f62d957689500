package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/raft/vfs"
)

// commands runs command lines against a cluster.
type commands struct {
	t         *testing.T
	endpoints string
	tokenFile string
}

// withoutToken lets the commands of a test find no token but one that they are given. It
// returns a directory for the test.
func withoutToken(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv(credential.Variable, "")
	t.Setenv(credential.FileVariable, "")
	return dir
}

// run runs one and returns its code and what it printed.
func (c *commands) run(args ...string) (code int, out string) {
	c.t.Helper()
	args = append(args, "--endpoints", c.endpoints)
	if c.tokenFile != "" {
		args = append(args, "--token-file", c.tokenFile)
	}
	var stdout, stderr bytes.Buffer
	code = run(args, &stdout, &stderr)
	if code != exit.Done {
		return code, stderr.String()
	}
	return code, stdout.String()
}

// want runs one that must end with a code, and returns what it printed.
func (c *commands) want(code int, args ...string) string {
	c.t.Helper()
	got, out := c.run(args...)
	if got != code {
		c.t.Errorf("%s: code %d, want %d: %s", strings.Join(args, " "), got, code, out)
	}
	return out
}

// Goal: a person sets a cluster up by the commands alone: the first admin, an identity, a
// token, states; what an identity lacks is told with code 14; a rotation and a revocation
// do what they say; an identity of a node's own file sees the status and no key.
// Method: the commands, against a cluster of three nodes in this process.
func TestIdentitiesByCommands(t *testing.T) {
	dir := withoutToken(t)
	var stdout, stderr bytes.Buffer
	glassToken := filepath.Join(dir, "glass.token")
	if code := run([]string{"auth", "file-entry", "ops", "--rights", "status,auth", "--token-to", glassToken}, &stdout, &stderr); code != exit.Done {
		t.Fatal(stderr.String())
	}
	glass := filepath.Join(dir, "auth.toml")
	Must(t, os.WriteFile(glass, stdout.Bytes(), 0o600))
	own, err := credential.ReadAuthFile(glass)
	Must(t, err)
	configs := testConfigs(t, vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable())
	for i := range configs {
		configs[i].Level, configs[i].Access.BreakGlass = 3, own
	}
	nodes := startNodes(t, configs)
	var endpoints []string
	for _, n := range nodes {
		t.Cleanup(func() { Must(t, n.Close()) })
		endpoints = append(endpoints, n.Address())
	}
	c := &commands{t: t, endpoints: strings.Join(endpoints, ",")}
	keep := func(name, token string) string {
		path := filepath.Join(dir, name)
		Must(t, os.WriteFile(path, []byte(token), 0o600))
		return path
	}
	root := keep("root", c.want(exit.Done, "auth", "init", "root"))
	c.tokenFile = root
	c.want(exit.Done, "auth", "identity", "put", "svc", "--rule", `{"prefix":"svc/","rights":["read","write"]}`)
	first := c.want(exit.Done, "auth", "token", "create", "svc", "--ttl", "1h", "--comment", "first")
	svc := keep("svc", first)
	c.want(exit.Done, "auth", "state", "observe")
	c.tokenFile = ""
	c.want(exit.Done, "put", "other", "value")
	c.tokenFile = root
	if out := c.want(exit.Done, "auth", "observe"); !strings.Contains(out, "anonymous write") && !strings.Contains(out, "anonymous known") {
		t.Errorf("observed: %q", out)
	}
	stdout.Reset()
	stderr.Reset()
	code := run([]string{"auth", "observe", "--endpoints", "127.0.0.1:1," + c.endpoints, "--token-file", root}, &stdout, &stderr)
	if code != exit.Unavailable || !strings.Contains(stderr.String(), "the list lacks 1 of 4 nodes: 127.0.0.1:1: ") || !strings.Contains(stdout.String(), "127.0.0.1:1  is not heard") || !strings.Contains(stdout.String(), "anonymous") {
		t.Errorf("observed where a node does not run: code %d, %s%s", code, stdout.String(), stderr.String())
	}
	c.want(exit.Done, "auth", "state", "enforce")
	if out := c.want(exit.Done, "auth", "state"); out != "enforce\n" {
		t.Errorf("the state: %q", out)
	}
	c.want(exit.Done, "auth", "check", "svc", "read", "--key", "svc/1")
	c.want(exit.Failed, "auth", "check", "svc", "list", "--prefix", "svc/")
	for _, last := range [][]string{{"delete", "root"}, {"put", "root", "--disabled"}} {
		if out := c.want(exit.Refused, append([]string{"auth", "identity"}, last...)...); !strings.Contains(out, "make another admin first (last_admin)") {
			t.Errorf("%v: %q", last, out)
		}
	}
	c.tokenFile = svc
	c.want(exit.Done, "put", "svc/1", "value")
	if out := c.want(exit.Done, "get", "svc/1"); strings.TrimSpace(out) != "value" {
		t.Errorf("read %q", out)
	}
	for _, denied := range [][]string{{"get", "other"}, {"list", "svc/"}, {"delete", "svc/1"}, {"auth", "identity", "list"}} {
		if out := c.want(exit.Denied, denied...); !strings.Contains(out, "needs the right") {
			t.Errorf("%v says %q", denied, out)
		}
	}
	id := first[len("rkt1_") : len("rkt1_")+8]
	today := time.Now().UTC().Format(time.DateOnly)
	if out := c.want(exit.Done, "auth", "token", "list"); !strings.Contains(out, id) || strings.Contains(out, "root") || !strings.Contains(out, today) || strings.Contains(out, " - ") {
		t.Errorf("one's own tokens, with their last use:\n%s", out)
	}
	var rotated, said bytes.Buffer
	if code := run([]string{"auth", "token", "rotate", "svc", id, "--endpoints", c.endpoints, "--token-file", root}, &rotated, &said); code != exit.Done || !strings.Contains(said.String(), "it was last used at "+today) {
		t.Errorf("a rotation: %d, %s", code, said.String())
	}
	next := keep("next", rotated.String())
	c.want(exit.Denied, "get", "svc/1")
	c.tokenFile = next
	c.want(exit.Done, "get", "svc/1")
	c.tokenFile = glassToken
	c.want(exit.Done, "status")
	c.want(exit.Denied, "get", "svc/1")
	c.want(exit.Done, "auth", "identity", "list")
	c.tokenFile = ""
	c.want(exit.Denied, "get", "svc/1")
	c.tokenFile = keep("broken", strings.Replace(first, "rkt1_", "rkt1_x", 1))
	if out := c.want(exit.Usage, "get", "svc/1"); strings.Contains(out, first[20:40]) || !strings.Contains(out, "holds no token") {
		t.Errorf("a broken token: %q", out)
	}
}

// Goal (S7): a restored cluster keeps identities, tokens and the state: it enforces from its
// first answer on, and a token of the old cluster opens what it did. With --reset-auth it has
// none of them and enforces all the same: nobody is served but the identities of its nodes' own
// files. The right backup is enough for the backup. Method: a backup of a cluster that enforces,
// restored both ways, and a node on each directory.
func TestARestoreKeepsIdentitiesUnlessTold(t *testing.T) {
	dir := withoutToken(t)
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	n := startNodes(t, configs)[0]
	defer n.Close()
	at := func(n *host.Node, token string) *commands {
		return &commands{t: t, endpoints: n.Address(), tokenFile: token}
	}
	keep := func(name, text string) string {
		path := filepath.Join(dir, name)
		Must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	ops := filepath.Join(dir, "ops")
	var entry, said bytes.Buffer
	if code := run([]string{"auth", "file-entry", "ops", "--rights", "auth", "--token-to", ops}, &entry, &said); code != exit.Done {
		t.Fatal(said.String())
	}
	own, err := credential.ReadAuthFile(keep("auth.toml", entry.String()))
	Must(t, err)
	root := keep("root", at(n, "").want(exit.Done, "auth", "init", "root"))
	at(n, root).want(exit.Done, "put", "a", "v")
	at(n, root).want(exit.Done, "auth", "state", "enforce")
	at(n, root).want(exit.Done, "auth", "identity", "put", "keeper", "--rule", `{"rights":["backup"]}`)
	keeper := keep("keeper", at(n, root).want(exit.Done, "auth", "token", "create", "keeper"))
	file := filepath.Join(dir, "a.snapshot")
	at(n, keeper).want(exit.Done, "snapshot", "save", file)
	for _, reset := range []bool{false, true} {
		restored := testConfigs(t, vfs.OS{})[0]
		restored.ClusterID, restored.Access.BreakGlass = "restored", own
		args := []string{"snapshot", "restore", file, "--data-dir", restored.DataDir, "--id", "n1", "--cluster", "n1=127.0.0.1:1", "--cluster-id", "restored"}
		if reset {
			args = append(args, "--reset-auth")
		}
		wantLine(t, exit.Done, "", args...)
		again, err := host.New(restored)
		Must(t, err)
		Must(t, again.Start())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if !again.AwaitServing(ctx) {
			t.Errorf("with --reset-auth: %v: the restored node does not serve", reset)
		}
		cancel()
		at(again, "").want(exit.Denied, "get", "a")
		at(again, root).want(map[bool]int{false: exit.Done, true: exit.Denied}[reset], "get", "a")
		if out := at(again, ops).want(exit.Done, "auth", "state"); out != "enforce\n" {
			t.Errorf("with --reset-auth: %v: the state is %q", reset, out)
		}
		if out := at(again, ops).want(exit.Done, "auth", "identity", "list"); strings.Contains(out, "keeper") == reset {
			t.Errorf("with --reset-auth: %v: the identities are %q", reset, out)
		}
		Must(t, again.Close())
	}
}

// Goal: a change of identities whose answer was lost at one node is not said to be refused
// because another node refuses it: it ends by exit code 4. Method: two servers.
func TestALostAnswerIsNotHiddenByARefusal(t *testing.T) {
	withoutToken(t)
	lost := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		Must(t, err)
		conn.Close()
	}))
	defer lost.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(401)
		_, _ = io.WriteString(w, `{"code":"unauthenticated","outcome":"not_applied","detail":"no token"}`)
	}))
	defer refuses.Close()
	endpoints := strings.TrimPrefix(lost.URL, "http://") + "," + strings.TrimPrefix(refuses.URL, "http://")
	for _, args := range [][]string{
		{"auth", "token", "revoke", "8xUfa3Kp", "--endpoints", endpoints},
		{"leader", "--to", "n2", "--endpoints", endpoints},
	} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exit.Unknown || !strings.Contains(errs.String(), "not known whether it was done") {
			t.Errorf("%v: code %d, %s", args, code, errs.String())
		}
	}
}
