package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
	"raftkv/raft/vfs"
)

// Goal: lock and elect run a command while a lock is held, and end with its exit code or with
// the one that their help names: 11 when the lock is lost, and the command is ended then, 12
// when it is not got in time (K9 of a command). Method: a node at the level of locks, one
// command after the other; a command whose lease is revoked.
func TestLocksOnTheCommandLine(t *testing.T) {
	configs := testConfigs(t, vfs.NewCrashable())
	configs[0].Level = 3
	n := startNodes(t, configs)[0]
	type result struct {
		code int
		said string
	}
	call := func(args ...string) result {
		var out strings.Builder
		at := 1
		if args[0] == "lease" {
			at = 2
		}
		args = append(append(append([]string{}, args[:at]...), "--endpoints", n.Address()), args[at:]...)
		code := run(args, &out, &out)
		return result{code, out.String()}
	}
	for _, c := range []struct {
		args []string
		code int
		want string // a part of what is printed
	}{
		{[]string{"lock", "a", "--", "sh", "-c", `echo "$RAFTKV_LOCK $RAFTKV_TOKEN $RAFTKV_LEASE"`}, 0, "a 2 "},
		{[]string{"lock", "a", "--", "sh", "-c", "exit 7"}, 7, ""},
		{[]string{"lock", "a", "--", "sh", "-c", "kill -9 $$"}, 137, ""},
		{[]string{"lock", "a", "--", "/no/such/command"}, 1, "cannot be run"},
		{[]string{"lock", "a", "true"}, 2, "behind --"},
		{[]string{"lock", "a", "--limit", "0", "--", "true"}, 2, "limit of holders is 0"},
		{[]string{"elect", "e", "me", "--", "sh", "-c", "exit 5"}, 5, ""},
		{[]string{"elect", "e", "--", "true"}, 2, "behind --"},
		{[]string{"elect", "e", "me", "--observe"}, 2, "nothing else"},
	} {
		if got := call(c.args...); got.code != c.code || !strings.Contains(got.said, c.want) {
			t.Errorf("%q: exit code %d, printed\n%s", c.args, got.code, got.said)
		}
	}
	file := filepath.Join(t.TempDir(), "lease")
	t.Setenv("LEASE_FILE", file)
	ended := make(chan result, 1)
	go func() {
		ended <- call("lock", "a", "--ttl", "1s", "--", "sh", "-c", `echo "$RAFTKV_LEASE" >"$LEASE_FILE.new"; mv "$LEASE_FILE.new" "$LEASE_FILE"; exec sleep 600`)
	}()
	id := waitForFile(t, file)
	if got := call("lock", "a", "--wait", "0s", "--", "true"); got.code != 12 || !strings.Contains(got.said, "nothing was run") {
		t.Errorf("a held lock: exit code %d, printed\n%s", got.code, got.said)
	}
	if got := call("lease", "revoke", id); got.code != 0 {
		t.Errorf("exit code %d, printed\n%s", got.code, got.said)
	}
	if got := <-ended; got.code != 11 || !strings.Contains(got.said, "was lost") {
		t.Errorf("a lost lock: exit code %d, printed\n%s", got.code, got.said)
	}
}

// waitForFile waits until there is a file, and returns its first word.
func waitForFile(t *testing.T, name string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if content, err := os.ReadFile(name); err == nil {
			return strings.Fields(string(content))[0]
		}
	}
	t.Fatalf("there is no file %s", name)
	return ""
}

// waitUntilKept waits until somebody keeps a lease alive: it has more time left than before.
func waitUntilKept(t *testing.T, c *commands, lease string) {
	t.Helper()
	token, err := os.ReadFile(c.tokenFile)
	Must(t, err)
	for limit, before := time.Now().Add(20*time.Second), uint64(1<<62); ; time.Sleep(20 * time.Millisecond) {
		// By HTTP: two commands at one time share the words of one process.
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.endpoints+"/v1/leases/"+lease, nil)
		Must(t, err)
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		response, err := http.DefaultClient.Do(request)
		Must(t, err)
		var shown api.Lease
		Must(t, errors.Join(json.NewDecoder(response.Body).Decode(&shown), response.Body.Close()))
		if response.StatusCode != http.StatusOK {
			t.Fatalf("the lease is answered with %s", response.Status)
		}
		switch {
		case shown.RemainingMs > before:
			return
		case time.Now().After(limit):
			t.Fatalf("nobody keeps the lease %s alive", lease)
		}
		before = shown.RemainingMs
	}
}

// Goal: whoever keeps a lease by a token that was revoked hears that, and by the right exit code:
// lease keep by 14, lock by 11 because its command was ended, and elect says why it lost before it
// stands again, which ends it by 14.
// Method: one node that enforces identities, leases of a few seconds.
func TestARevokedTokenIsNamedWhereALeaseIsLost(t *testing.T) {
	c, dir := commandsAsRoot(t)
	c.want(exit.Done, "auth", "identity", "put", "svc", "--rule", `{"lock":"","rights":["acquire"]}`, "--rule", `{"rights":["status"]}`, "--rule", `{"prefix":"","rights":["lease"]}`)
	c.want(exit.Done, "auth", "state", "enforce")
	for _, row := range []struct {
		name string
		args func(lease string) []string
		code int
		says []string
	}{
		{"keep", func(lease string) []string { return []string{"lease", "keep", lease} }, exit.Denied, []string{"could not be kept alive", "The token of"}},
		{"lock", func(string) []string { return []string{"lock", "a", "--ttl", "2s"} }, exit.LockLost, []string{`the lock "a" was lost, and the command was ended: `, "The token of"}},
		{"elect", func(string) []string { return []string{"elect", "b", "me", "--ttl", "2s"} }, exit.Denied, []string{"standing again: ", "The token of"}},
	} {
		token := filepath.Join(dir, row.name)
		c.want(exit.Done, "auth", "token", "create", "svc", "--token-to", token)
		text, err := os.ReadFile(token)
		Must(t, err)
		as := []string{"--endpoints", c.endpoints, "--token-file", token}
		var out strings.Builder
		if code := run(append([]string{"lease", "grant", "4s"}, as...), &out, &out); code != exit.Done {
			t.Fatalf("%s: %s", row.name, out.String())
		}
		args := append(row.args(strings.TrimSpace(out.String())), as...)
		began := filepath.Join(dir, row.name+".began")
		if row.name != "keep" {
			args = append(args, "--", "sh", "-c", "echo begun >"+began+".new; mv "+began+".new "+began+"; exec sleep 600")
		}
		var said lockedBuffer
		ended := make(chan int, 1)
		go func() { ended <- run(args, &said, &said) }()
		if row.name == "keep" {
			waitUntilKept(t, c, args[2])
		} else {
			waitForFile(t, began)
		}
		c.want(exit.Done, "auth", "token", "revoke", string(text[len("rkt1_"):len("rkt1_")+8]))
		select {
		case code := <-ended:
			if code != row.code {
				t.Errorf("%s: code %d, want %d: %s", row.name, code, row.code, said.String())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not end", row.name)
		}
		for _, want := range row.says {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%s says %q, without %q", row.name, said.String(), want)
			}
		}
	}
}
