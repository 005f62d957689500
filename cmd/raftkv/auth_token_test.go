package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/raft/vfs"
)

// Goal: no command makes or ends a token that nobody meant: a rotation looks before whose token
// it is to take the place of; a file for a token is made before the token and takes the place
// of no other; and what no flag gives of an identity stays. Method: the commands, with what
// people mistype, and the lists of tokens behind them.
func TestNoTokenIsMadeOrEndedByMistake(t *testing.T) {
	dir := withoutToken(t)
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	nodes := startNodes(t, configs)
	t.Cleanup(func() { Must(t, nodes[0].Close()) })
	c := &commands{t: t, endpoints: nodes[0].Address()}
	rootFile := filepath.Join(dir, "root.token")
	if out := c.want(exit.Done, "auth", "init", "root", "--token-to", rootFile); out != "" {
		t.Errorf("with --token-to it prints %q", out)
	}
	info, err := os.Stat(rootFile)
	Must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %o, want 600", info.Mode().Perm())
	}
	root, err := os.ReadFile(rootFile)
	Must(t, err)
	c.tokenFile = rootFile
	c.want(exit.Done, "auth", "identity", "put", "svc", "--rule", `{"prefix":"svc/","rights":["read"]}`, "--limits", `{"requests_per_second":9}`)
	c.want(exit.Done, "auth", "identity", "put", "bob", "--rule", `{"rights":["admin"]}`)
	bob := strings.TrimSpace(c.want(exit.Done, "auth", "token", "create", "bob"))
	bobsID := bob[len("rkt1_") : len("rkt1_")+8]
	tokens := func() string { return c.want(exit.Done, "auth", "token", "list") }
	before := strings.Count(tokens(), "\n")
	for _, line := range [][]string{
		{"auth", "token", "rotate", "svc", bobsID}, {"auth", "token", "rotate", "bob", "xxxxxxxx"}, {"auth", "token", "rotate", "svc", "xxxxxxxx", "--token-to", filepath.Join(dir, "none")},
		{"auth", "token", "rotate", "none", bobsID},
	} {
		c.want(exit.Failed, line...)
	}
	c.want(exit.Usage, "auth", "token", "create", "svc", "--token-to", rootFile)
	c.want(exit.Usage, "auth", "token", "create", "svc", "--token-to", filepath.Join(dir, "no", "such"))
	c.want(exit.Failed, "auth", "token", "create", "nobody", "--token-to", filepath.Join(dir, "none"))
	if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("a file is left of a token that was not made: %v", err)
	}
	if again, err := os.ReadFile(rootFile); err != nil || string(again) != string(root) {
		t.Errorf("the admin's own token is %q, %v", again, err)
	}
	if after := tokens(); strings.Count(after, "\n") != before || !strings.Contains(after, bobsID) {
		t.Errorf("of %d lines there are now:\n%s", before, after)
	}
	c.want(exit.Done, "auth", "token", "rotate", "bob", bobsID, "--token-to", filepath.Join(dir, "bob.new"))
	if after := tokens(); strings.Count(after, "\n") != before || strings.Contains(after, bobsID) {
		t.Errorf("after a rotation the tokens are:\n%s", after)
	}
	c.want(exit.Done, "auth", "identity", "put", "svc", "--disabled")
	if svc := c.want(exit.Done, "auth", "identity", "get", "svc"); !strings.Contains(svc, "svc/") || !strings.Contains(svc, "requests_per_second") || !strings.Contains(svc, `"disabled":true`) {
		t.Errorf("an identity that was disabled has lost the rest: %s", svc)
	}
	c.want(exit.Done, "auth", "identity", "put", "svc", "--rule", `{"prefix":"other/","rights":["read"]}`)
	if svc := c.want(exit.Done, "auth", "identity", "get", "svc"); strings.Contains(svc, "svc/") || !strings.Contains(svc, "other/") || !strings.Contains(svc, `"disabled":true`) {
		t.Errorf("an identity with other rules is %s", svc)
	}
}

// commandsAsRoot returns commands that ask one node by the token of its first admin, and a
// directory for more tokens.
func commandsAsRoot(t *testing.T) (c *commands, dir string) {
	t.Helper()
	dir = withoutToken(t)
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	nodes := startNodes(t, configs)
	t.Cleanup(func() { Must(t, nodes[0].Close()) })
	c = &commands{t: t, endpoints: nodes[0].Address()}
	root := filepath.Join(dir, "root")
	c.want(exit.Done, "auth", "init", "root", "--token-to", root)
	c.tokenFile = root
	return c, dir
}

// Goal: whoever has the right members alone hands leadership over and hears that it was done;
// without the right status nobody is told the leader, in words that name it; health needs no
// token, and names no node to those who have none. Method: one node that enforces identities, to
// which leadership goes from itself.
func TestLeadershipIsHandedOverByMembersAlone(t *testing.T) {
	c, dir := commandsAsRoot(t)
	mover := filepath.Join(dir, "mover")
	c.want(exit.Done, "auth", "identity", "put", "mover", "--rule", `{"rights":["members"]}`)
	c.want(exit.Done, "auth", "token", "create", "mover", "--token-to", mover)
	c.want(exit.Done, "auth", "state", "enforce")
	if out := c.want(exit.Done, "leader", "--to", "n1"); !strings.Contains(out, "n1  "+c.endpoints+"  term ") {
		t.Errorf("an admin hands it over: %q", out)
	}
	c.tokenFile = mover
	if out := c.want(exit.Done, "leader", "--to", "n1"); !strings.HasPrefix(out, "n1  term ") {
		t.Errorf("members hands it over: %q", out)
	}
	if out := c.want(exit.Denied, "leader"); !strings.Contains(out, "needs the right status") {
		t.Errorf("members asks who leads: %q", out)
	}
	c.tokenFile = ""
	if out := c.want(exit.Done, "health"); !strings.HasPrefix(out, "?  "+c.endpoints+"  ready") {
		t.Errorf("health without a token: %q", out)
	}
}

// Goal: a rule or limit that is mistyped is refused with wrong usage, in words that name the
// field and what it takes, and changes nothing; an empty --rule, as an unset variable leaves
// it, takes no rules away; an identity with as many sessions as it may have hears that they
// are of the cluster. Method: one node that enforces identities.
func TestMistypedRulesAndLimitsSayWhatToWrite(t *testing.T) {
	c, dir := commandsAsRoot(t)
	svc := filepath.Join(dir, "svc")
	c.want(exit.Done, "auth", "identity", "put", "svc", "--rule", `{"prefix":"svc/","rights":["read","write"]}`)
	before := c.want(exit.Done, "auth", "identity", "get", "svc")
	for _, wrong := range []struct{ flag, text, says string }{
		{"--rule", "", "is empty"},
		{"--rule", `{"prefix":"svc/","right":["read"]}`, `unknown field "right"; its fields are prefix,`},
		{"--rule", `{"prefix":"svc/","rights":"read"}`, `must be a list of names, such as ["read","list"]`},
		{"--rule", `{"prefix":7,"rights":["read"]}`, "the prefix of a rule is a number; it must be a string"},
		{"--rule", `7`, "it must be an object such as"},
		{"--rule", `{"rights":["read"]}`, "without prefix, key or lock cannot grant read"},
		{"--rule", `{"prefix":"svc/","rights":["status"]}`, "on a prefix or a key cannot grant status"},
		{"--rule", `{"lock":"a","rights":["read"]}`, "on locks cannot grant read"},
		{"--limits", `{"request_per_second":1}`, `unknown field "request_per_second"`},
		{"--limits", `{"requests_per_second":-1}`, "requests_per_second is the number -1; it must be a whole number"},
	} {
		said := c.want(exit.Usage, "auth", "identity", "put", "svc", wrong.flag, wrong.text)
		if !strings.Contains(said, wrong.says) || strings.Contains(said, "Go ") || strings.Contains(said, "json:") {
			t.Errorf("%s %s: %s; want %q", wrong.flag, wrong.text, said, wrong.says)
		}
	}
	if after := c.want(exit.Done, "auth", "identity", "get", "svc"); after != before {
		t.Errorf("the identity was %s and is %s", before, after)
	}
	c.want(exit.Done, "auth", "identity", "put", "svc", "--limits", `{"sessions":1}`)
	c.want(exit.Done, "auth", "token", "create", "svc", "--token-to", svc)
	c.want(exit.Done, "auth", "state", "enforce")
	c.tokenFile = svc
	c.want(exit.Done, "put", "svc/a", "1")
	if said := c.want(exit.Unavailable, "put", "svc/a", "2", "--timeout", "1s"); !strings.Contains(said, "the identity svc has 1 sessions of Clerks in the cluster (limit 1)") {
		t.Errorf("one session more than it may have: %s", said)
	}
}
