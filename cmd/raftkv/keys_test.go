package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/client"
	"raftkv/client/verify"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/raft/vfs"
)

// Goal: a verification that could do nothing does not report a linearizable cluster.
func TestAVerificationOfNothingFindsNothing(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		s := verifySettings{clerkSettings: clerkSettings{json: asJSON}}
		err := s.report(&out, verification{Verdict: verify.Linearizable})
		if ended := (*exit.Ending)(nil); !errors.As(err, &ended) || ended.Code != exit.Unavailable || !strings.Contains(out.String(), "undecided") {
			t.Errorf("JSON %v: %v, said %q", asJSON, err, out.String())
		}
	}
}

// Goal: a key stands in JSON as it was typed.
func TestJSONNamesKeysAsTheyAreTyped(t *testing.T) {
	var out strings.Builder
	if err := terminal.PrintJSON(&out, valueOf(client.Item{Key: "a&<b>"})); err != nil || !strings.Contains(out.String(), `"key":"a&<b>"`) {
		t.Errorf("%v: %s", err, out.String())
	}
}

// nowhere is an endpoint at which nothing listens.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Goal: a write with --if-revision 0, to which a script comes that found no
// revision, is refused before any server is asked; it must not happen without a
// condition.
// Method: every kind of write. Were it sent, it would end as unavailable.
func TestAConditionOnRevisionZeroIsNotNoCondition(t *testing.T) {
	for _, args := range [][]string{{"put", "k", "v"}, {"append", "k", "v"}, {"delete", "k"}} {
		var said strings.Builder
		args = append(args, "--if-revision", "0", "--timeout", "50ms", "--endpoints", nowhere(t))
		if code := run(args, io.Discard, &said); code != exit.Usage || !strings.Contains(said.String(), "--if-absent") {
			t.Errorf("%q: exit code %d, said %q", args, code, said.String())
		}
	}
}

// Goal: a bench that did nothing has the same exit code with --json as without.
func TestABenchThatDidNothingFailsWithJSONToo(t *testing.T) {
	for _, face := range [][]string{{"--json"}, nil} {
		args := append([]string{"bench", "--http", "--endpoints", nowhere(t), "--clients", "1", "--warmup", "0s", "--duration", "20ms", "--timeout", "100ms"}, face...)
		var out strings.Builder
		if code := run(args, &out, io.Discard); code != exit.Unavailable {
			t.Errorf("%q: exit code %d", args, code)
		}
		if face != nil && !json.Valid([]byte(out.String())) {
			t.Errorf("printed %q", out.String())
		}
	}
}

// Goal: status --watch --json prints JSON.
// Method: one picture of an endpoint at which nothing listens.
func TestAWatchedStatusIsJSONIfAskedFor(t *testing.T) {
	s := statusSettings{clerkSettings: clerkSettings{json: true, endpoints: nowhere(t), timeout: defaultClerkTimeout}}
	var out strings.Builder
	all, err := s.askAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.drawStatus(&out, all, status.Judge(all), nil, false); err != nil {
		t.Fatal(err)
	}
	var n status.Answer
	if err := json.Unmarshal([]byte(out.String()), &n); err != nil || n.Endpoint != s.endpoints || n.Error == "" {
		t.Errorf("printed %q: %v", out.String(), err)
	}
}

// Goal: txn reads a transaction from a file or the standard input, prints what came of it,
// and says by exit code 9 that the else branch was done; what cannot be is said before
// anything is asked. Method: a node at the level of transactions.
func TestTxnOnTheCommandLine(t *testing.T) {
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	n := startNodes(t, configs)[0]
	file := filepath.Join(t.TempDir(), "move.json")
	text := `{"if":[{"key":"a","absent":true}],"then":[{"op":"put","key":"a","text":"1"},{"op":"get","key":"a"}],"else":[{"op":"delete","key":"a","prev":true}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string // of the output, or a part of the error
	}{
		{[]string{file}, 0, `{"succeeded":true,"revision":2,"results":[{"version":1,"length":1},{"item":{"key":"a","text":"1","revision":2,"version":1,"created":2}}]}` + "\n"},
		{[]string{file}, 9, `{"succeeded":false,"failed":0,"revision":3,"results":[{"deleted":1,"prev":{"key":"a","text":"1","revision":2,"version":1,"created":2}}]}` + "\n"},
		{[]string{filepath.Join(t.TempDir(), "none")}, exit.Failed, "cannot open the file of the transaction"},
		{[]string{t.TempDir()}, 2, "is a directory; name a file"},
		{[]string{file, file}, 2, "accepts at most 1"},
	} {
		var out, errs strings.Builder
		code := run(append([]string{"txn", "--endpoints", n.Address()}, c.args...), &out, &errs)
		if text := out.String() + errs.String(); code != c.code || code != 0 && code != 9 && !strings.Contains(text, c.want) || (code == 0 || code == 9) && out.String() != c.want {
			t.Errorf("%q: exit code %d, printed\n%q\n%s", c.args, code, out.String(), errs.String())
		}
	}
}

// Goal: a shell is told the keys that begin as typed, the nodes and the values of flags,
// whichever way the endpoints and the token are given; no key that a line cannot show, and
// files where a value is to be typed. Method: what cobra's script of each shell asks for, of
// a node; where there is none a question waits a second, so none is asked here.
func TestShellsCompleteKeysNodesAndFlags(t *testing.T) {
	n := startNodes(t, testConfigs(t, vfs.NewCrashable()))[0]
	for _, key := range []string{"greeting", "great", "grim\a", "other"} {
		if code := run([]string{"put", key, "x", "--endpoints", n.Address()}, io.Discard, io.Discard); code != exit.Done {
			t.Fatalf("put %q: code %d", key, code)
		}
	}
	asked := func(args ...string) string {
		var out strings.Builder
		run(append([]string{"__complete"}, args...), &out, io.Discard)
		return out.String()
	}
	const noFiles, files = ":4\n", ":0\n"
	at := []string{"--endpoints", n.Address()}
	for _, c := range []struct {
		args []string
		want string
	}{
		{append([]string{"get"}, append(at, "gr")...), "great\ngreeting\n" + noFiles},
		{append([]string{"get"}, append(at, "greeting", "o")...), "other\n" + noFiles},
		{append([]string{"put"}, append(at, "gre")...), "great\ngreeting\n" + noFiles},
		{append([]string{"put"}, append(at, "greeting", "g")...), files},
		{append([]string{"delete"}, append(at, "x")...), noFiles},
		{append([]string{"leader"}, append(at, "--to", "")...), "n1\n" + noFiles},
		{[]string{"serve", "--log-level", ""}, "debug\ninfo\nwarn\nerror\n" + noFiles},
	} {
		if got := asked(c.args...); got != c.want {
			t.Errorf("%q is completed by\n%s, want\n%s", c.args, got, c.want)
		}
	}
	t.Setenv(endpointsVariable, n.Address())
	if got := asked("get", "gree"); got != "greeting\n"+noFiles {
		t.Errorf("with the endpoints in the environment:\n%s", got)
	}
	t.Setenv(trustVariable, filepath.Join(t.TempDir(), "none")) // there is no such file, so nobody is asked in clear
	if got := asked("get", "gree"); got != noFiles {
		t.Errorf("with a CA in the environment:\n%s", got)
	}
}

// Goal (D1, D2): delete --prefix removes the keys of the prefix and no others, in steps as
// large as can be, and none if --at-most says so. Method: a node at the level of removals
// of ranges.
func TestDeletePrefixOnTheCommandLine(t *testing.T) {
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	n := startNodes(t, configs)[0]
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: []string{n.Address()}})
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	for _, key := range []string{"a/1", "a/2", "a/3", "b"} {
		if _, err := clerk.Put(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--prefix", "a/", "--yes", "--at-most", "2"}, 1, "3 keys"},
		{[]string{"--prefix", "a/", "--yes"}, 0, "3 keys deleted, revision 6\n"},
		{[]string{"--prefix", "a/", "--yes", "--json"}, 0, `"deleted": 0`},
		{[]string{"b", "--at-most", "2"}, 2, "--prefix"},
		{[]string{"--prefix", "b", "--yes", "--at-most", "10001"}, 2, "10000"},
	} {
		var out, errs strings.Builder
		code := run(append([]string{"delete", "--endpoints", n.Address()}, c.args...), &out, &errs)
		if code != c.code || !strings.Contains(strings.ReplaceAll(out.String()+errs.String(), `":0`, `": 0`), c.want) {
			t.Errorf("%q: exit code %d, printed\n%q\n%s", c.args, code, out.String(), errs.String())
		}
	}
	if _, err := clerk.Get(t.Context(), "b"); err != nil {
		t.Errorf("b: %v", err)
	}
}

// Goal: leases and the ends of keys work from the command line, with the exit codes that
// its help names. Method: a node at the level of leases, one command after the other.
func TestLeasesOnTheCommandLine(t *testing.T) {
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	n := startNodes(t, configs)[0]
	for _, c := range []struct {
		line string
		code int
		want string // a part of what is printed
	}{
		{"lease grant 1m --id 7 --note worker", 0, "7\n"},
		{"lease grant 1m --id 7", 1, "a lease with this id is alive"},
		{"lease grant 0.5s", 2, "duration from 1s"},
		{"put a x --lease 7", 0, "created"},
		{"put a x --lease 8", 10, "there is no such lease"},
		{"put a x --lease 7 --ttl 30s", 2, "choose one of --ttl, --lease"},
		{"put b x --ttl 1h", 0, "created"},
		{"put b y --ttl keep", 0, "replaced"},
		{"touch b --ttl 2h", 0, ""},
		{"touch a --ttl 2h", 1, "keep that alive"},
		{"touch b", 2, "--ttl is missing"},
		{"lease list", 0, "7\t1m0s\t5"},
		{"lease show 7 --json", 0, `"note":"worker","keys":[{"key":"a"}]`},
		{"lease revoke 7", 0, ""},
		{"lease show 7", 10, "there is no lease 7"},
		{"lease keep 7", 10, "there is no lease 7"},
		{"lease revoke x", 2, "whole number"},
		{"get a", 1, "no such key"},
		{"get b", 0, "y"},
	} {
		var out strings.Builder
		code := run(append(strings.Fields(c.line), "--endpoints", n.Address()), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d, printed\n%s", c.line, code, out.String())
		}
	}
}
