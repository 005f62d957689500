package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/api"
	"raftkv/raft/vfs"
)

// commandsThatAsk are the commands that ask a cluster, with arguments of which nothing is wrong.
// LINES and TXN stand for files that a command reads, NEW for one that it makes, ID for the id
// of an admin's token.
var commandsThatAsk = map[string]string{
	"get": "a", "put": "a v", "append": "a v", "delete": "a", "list": "a", "watch": "a", "export": "", "import": "LINES", "txn": "TXN",
	"status": "", "health": "", "leader": "", "explain": "", "bench": "--duration 100ms", "verify": "--duration 100ms", "snapshot save": "NEW",
	"level": "", "member list": "", "member plan": "--remove n9", "member add": "n9 --peer 127.0.0.1:1", "member remove": "n9", "member promote": "n9", "member demote": "n9", "member replace": "n9 --with n8",
	"member token create": "", "member token list": "", "member token drop": "abcd1234",
	"lease grant": "1m", "lease keep": "9", "lease revoke": "9", "lease list": "", "lease show": "9", "touch": "a --ttl 1m", "lock": "a -- true", "elect": "a v -- true",
	"auth init": "second", "auth state": "", "auth check": "svc read --key a", "auth observe": "",
	"auth identity list": "", "auth identity get": "svc", "auth identity put": "svc --rule {\"rights\":[\"status\"]}", "auth identity delete": "svc",
	"auth token list": "", "auth token create": "root", "auth token rotate": "root ID", "auth token revoke": "ID",
}

// commandsThatAskNobody need no cluster, or make one.
var commandsThatAskNobody = []string{
	"serve", "dev", "version", "snapshot inspect", "snapshot restore", "wal inspect", "recover", "auth file-entry",
	"cert ca", "cert node", "cert server", "cert client", "cert crl", "cert inspect",
}

// mayRun are commands that a token for other keys is not bad for.
var mayRun = []string{"auth token list"} // it shows one's own

// manyAddresses makes each connection come from another address of this machine: an address
// that shows many wrong tokens is answered slowly.
type manyAddresses struct {
	net.Listener
	n atomic.Int64
}

type addressedConn struct {
	net.Conn
	from net.Addr
}

func (c addressedConn) RemoteAddr() net.Addr { return c.from }

func (l *manyAddresses) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := l.n.Add(1)
	return addressedConn{conn, &net.TCPAddr{IP: net.IPv4(127, 0, byte(n>>8), byte(n)), Port: 1}}, nil
}

// Goal (S1 for people): every command that asks a cluster fails with bad credentials, by exit
// code 14 where the servers refuse the caller, and in words that say what is wrong and what to
// do; it changes nothing and shows no digit of a token: without a token, with one that is
// malformed, expired or revoked, with one that is for other keys, by a CA that is not the
// servers', in clear to a port of TLS, and at a peer port. Only health needs no token. A command
// that is added comes into the test, or fails it.
// Method: the tree of commands, against one node with TLS. Every command is run without a
// token and with that for other keys; the others take turns.
func TestCommandsWithBadCredentials(t *testing.T) {
	dir := withoutToken(t)
	keep := func(name, text string) string {
		path := filepath.Join(dir, name)
		Must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	must := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exit.Done {
			t.Fatalf("%v: %d, %s", args, code, errs.String())
		}
		return out.String()
	}
	pki, other := filepath.Join(dir, "pki"), filepath.Join(dir, "other")
	must("cert", "ca", "--dir", pki)
	must("cert", "ca", "--dir", other)
	must("cert", "node", "--dir", pki, "--cluster-id", "test", "--id", "n1", "--hosts", "127.0.0.1")
	c := testConfigs(t, vfs.NewCrashable())[0]
	settings := secure.ForDev(filepath.Join(pki, "node-n1.pem"), filepath.Join(pki, "node-n1-key.pem"), filepath.Join(pki, "ca.pem"))
	plan, err := settings.Plan("test", "n1", true)
	Must(t, err)
	c.Keys, err = secure.Open(plan, c.Logger)
	Must(t, err)
	c.Level, c.HTTP = 3, &manyAddresses{Listener: c.HTTP}
	n, err := host.New(c)
	Must(t, err)
	t.Cleanup(func() { Must(t, n.Close()) })
	Must(t, n.Start())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !n.AwaitServing(ctx) {
		t.Fatal("the node does not serve")
	}
	trusting := []string{"--endpoints", "https://" + n.Address(), "--tls-ca", filepath.Join(pki, "ca.pem")}
	admin := func(args ...string) string { t.Helper(); return must(append(args, trusting...)...) }
	root := admin("auth", "init", "root")
	asRoot := append(slices.Clone(trusting), "--token-file", keep("root", root))
	as := func(args ...string) string { t.Helper(); return must(append(args, asRoot...)...) }
	as("auth", "identity", "put", "svc", "--rule", `{"prefix":"other/","rights":["read","write"]}`)
	expired := as("auth", "token", "create", "svc", "--ttl", "1s")
	expires := time.Now().Add(1100 * time.Millisecond)
	revoked, foreign := as("auth", "token", "create", "svc"), as("auth", "token", "create", "svc")
	as("auth", "token", "revoke", revoked[5:13])
	as("auth", "state", "enforce")
	before := as("list")

	fill := strings.NewReplacer("LINES", keep("lines", `{"key":"a","text":"v"}`), "TXN", keep("txn", `{"then":[{"op":"put","key":"a","text":"v"}]}`), "NEW", filepath.Join(dir, "new"), "ID", root[5:13])
	var names []string
	walk(newRootCommand(), func(command *cobra.Command) {
		name := strings.TrimPrefix(command.CommandPath(), "raftkv ")
		if _, asks := commandsThatAsk[name]; asks == slices.Contains(commandsThatAskNobody, name) {
			t.Errorf("does the command %q ask a cluster?", name)
		} else if asks {
			names = append(names, name)
		}
	})
	if len(names) != len(commandsThatAsk) {
		t.Errorf("void: %d commands of %d", len(names), len(commandsThatAsk))
	}
	clear := []string{"--endpoints", n.Address(), "--token-file", keep("root", root)}
	peer := []string{"--endpoints", "https://" + c.Peer.Addr().String(), "--tls-ca", filepath.Join(pki, "ca.pem"), "--token-file", keep("root", root)}
	for turn, bad := range []struct {
		what, token string
		flags       []string // in place of the usual
		code        int
		says        []string // one of them
		turns       int      // every command, or every so-manieth
	}{
		{"no token", "", nil, exit.Denied, []string{"No token was sent: name a file with one by --token-file or RAFTKV_TOKEN_FILE"}, 1},
		{"a token for other keys", foreign, nil, exit.Denied, []string{"needs the right", "does not hold all"}, 1},
		{"a malformed token", "rkt1_x", nil, exit.Usage, []string{"holds no token"}, 5},
		{"a revoked token", revoked, nil, exit.Denied, []string{"bad (--token-file) is unknown there, has expired or was revoked"}, 5},
		{"another CA", "", append([]string{"--tls-ca", filepath.Join(other, "ca.pem")}, "--endpoints", "https://"+n.Address(), "--token-file", keep("root", root)), exit.Unavailable, []string{"ca.pem) does not hold the CA of these servers"}, 5},
		{"no TLS", "", clear, exit.Unavailable, []string{"can be asked by TLS alone: name the CA with --tls-ca or RAFTKV_TLS_CA"}, 5},
		{"a peer port", "", peer, exit.Unavailable, []string{"it is a peer port, and clients ask at the address of serve --http"}, 5},
		{"an expired token", expired, nil, exit.Denied, []string{"bad (--token-file) is unknown there, has expired or was revoked"}, 5},
	} {
		if bad.token == expired {
			time.Sleep(time.Until(expires))
		}
		for i, name := range names {
			if (i+turn)%bad.turns != 0 || bad.token == foreign && slices.Contains(mayRun, name) {
				continue
			}
			flags := bad.flags
			if flags == nil {
				flags = slices.Clone(trusting)
			}
			if bad.token != "" {
				flags = append(flags, "--token-file", keep("bad", bad.token))
			}
			line := slices.Concat(strings.Fields(name), flags, strings.Fields(fill.Replace(commandsThatAsk[name])))
			want, wanted := bad.code, bad.says
			if name == "health" && want == exit.Denied {
				want, wanted = exit.Done, []string{"ready"}
			}
			begun := time.Now()
			var out, errs bytes.Buffer
			code := run(line, &out, &errs)
			text := out.String() + errs.String()
			if says := slices.ContainsFunc(wanted, func(s string) bool { return strings.Contains(text, s) }); code != want || !says || strings.Contains(text, "oes a cluster run") {
				t.Errorf("raftkv %s with %s: code %d, want %d: %s", name, bad.what, code, want, text)
			}
			if took := time.Since(begun); took > 300*time.Millisecond {
				t.Logf("raftkv %s with %s: %v", name, bad.what, took)
			}
			for _, token := range []string{root, expired, revoked, foreign} {
				if strings.Contains(text, token[13:20]) {
					t.Errorf("raftkv %s with %s shows a token: %s", name, bad.what, text)
				}
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("there is a file of a backup that was not sent")
	}
	if after := as("list"); after != before {
		t.Errorf("the store had\n%sand has\n%s", before, after)
	}
	if state := as("auth", "identity", "list"); strings.Contains(state, "second") || strings.Count(state, "svc") < 1 {
		t.Errorf("the identities are %s", state)
	}
	atHome(t, n.Address(), keep, must)
}

// atHome runs commands whose endpoints, CA and token are in the user's profile: flags and
// variables win over it, and endpoints that are to be asked in clear are.
func atHome(t *testing.T, address string, keep func(name, text string) string, must func(args ...string) string) {
	t.Helper()
	Must(t, os.MkdirAll(filepath.Dir(credential.Profile()), 0o700))
	profile := filepath.Join("raftkv", "config.toml")
	keep(profile, "endpoints = \""+address+"\"\ntls-ca = \"../pki/ca.pem\"\ntoken-file = \"../root\"\n")
	if got := must("leader"); !strings.Contains(got, "https://"+address) {
		t.Errorf("with a profile: %q", got)
	}
	for _, c := range []struct {
		what     string
		args     []string
		variable string
		profile  string // in place of the other
		says     string
	}{
		{"other endpoints", []string{"--endpoints", "127.0.0.1:1"}, "", "", "no node answers, of 1 asked"},
		{"endpoints of a variable", nil, "127.0.0.1:1", "", "no node answers, of 1 asked"},
		{"endpoints in clear", []string{"--endpoints", "http://" + address}, "", "", "write https:// in place of http://"},
		{"another CA", []string{"--tls-ca", filepath.Join("other", "ca.pem")}, "", "", filepath.Join("other", "ca.pem")},
		{"a name that nobody knows", nil, "", "tls_ca = \"x\"\n", "there are endpoints, tls-ca, tls-cert, tls-key, token and token-file"},
		{"a CA that is not there", nil, "", "endpoints = \"" + address + "\"\ntls-ca = \"none.pem\"\n", filepath.Join(filepath.Dir(credential.Profile()), "none.pem")},
	} {
		if c.profile != "" {
			keep(profile, c.profile)
		}
		t.Setenv(endpointsVariable, c.variable)
		var out, errs bytes.Buffer
		if code := run(append([]string{"leader", "--timeout", "2s"}, c.args...), &out, &errs); code == exit.Done || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: code %d, %s; want %q", c.what, code, errs.String(), c.says)
		}
	}
}

// walk calls what for each command that does something.
func walk(command *cobra.Command, what func(*cobra.Command)) {
	for _, below := range command.Commands() {
		walk(below, what)
	}
	if command.Runnable() && !command.HasSubCommands() {
		what(command)
	}
}

// Goal: where each server was refused for what the caller can mend, nobody is sent to look for
// a majority. Method: the sentence for a CA that nobody knows, and for nodes without a leader.
func TestAMistakeOfTheCallerIsNoLostMajority(t *testing.T) {
	s := &clerkSettings{timeout: time.Second}
	said := s.explain(&client.Error{Code: api.CodeNoLeader, Refusals: []client.Refusal{{Address: "a:1", Err: x509.UnknownAuthorityError{}}}})
	if !strings.Contains(said, "--tls-ca") || strings.Contains(said, "majority") {
		t.Errorf("a CA that is not known: %s", said)
	}
	said = s.explain(&client.Error{Code: api.CodeNoLeader, Refusals: []client.Refusal{{Address: "a:1", Node: "n1", Code: api.CodeNoLeader, Reason: "knows no leader"}}})
	if !strings.Contains(said, "A majority of the nodes must run") {
		t.Errorf("no leader: %s", said)
	}
}
