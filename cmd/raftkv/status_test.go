package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// Goal: a follower that is only asked later than its leader is not called ahead of
// it; one that stays ahead is. Method: two servers that answer as nodes; the
// leader's commit index rises with each answer, or does not.
func TestAFollowerThatWasAskedLaterIsNotAhead(t *testing.T) {
	for _, rises := range []bool{true, false} {
		var asked atomic.Uint64
		leader := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) {
			s := leading("n1", 3)
			s.Commit = 10
			if n := asked.Add(1); rises {
				s.Commit += 100 * (n - 1)
			}
			json.NewEncoder(w).Encode(s)
		})
		follower := leading("n1", 3)
		follower.Node, follower.Role, follower.Commit = "n2", "follower", 20
		var out, said strings.Builder
		code := run([]string{"status", "--endpoints", leader + "," + fakeNode(t, follower, nil)}, &out, &said)
		if want := map[bool]int{true: exit.Done, false: exit.Failed}[rises]; code != want || rises == strings.Contains(out.String(), "only up to 10") {
			t.Errorf("the leader's index rises %v: code %d, want %d: %s%s", rises, code, want, out.String(), said.String())
		}
	}
}

// Goal: what is no status is not taken for one: an error, another server's page,
// an answer that sends elsewhere. Every command that asks for one says what came.
func TestOnlyAStatusIsAStatus(t *testing.T) {
	problem := `{"type":"about:blank","title":"x","status":403,"detail":"this node does not serve the host; list it in --allowed-hosts","code":"forbidden","node":"n1","leader":"n1","term":3}`
	real := `{"node":"n1","cluster":"c1","role":"leader","leader":"n1","term":3}`
	for name, c := range map[string]struct {
		status     int
		body, says string
	}{
		"a refusal":              {403, problem, "--allowed-hosts"},
		"no room":                {429, strings.ReplaceAll(strings.ReplaceAll(problem, "forbidden", "overloaded"), "list it in --allowed-hosts", "too many connections"), "too many connections"},
		"a status with an error": {503, real, "not like a node"},
		"a status elsewhere":     {302, real, "not like a node"},
		"a web server":           {200, "<html>hello</html>", "not like a node"},
		"other JSON":             {200, `{"node":"n1","status":"green"}`, "not like a node"},
		"an unknown role":        {200, `{"node":"n1","cluster":"c1","role":"master"}`, "not like a node"},
	} {
		endpoint := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})
		for _, args := range [][]string{{"status"}, {"leader"}, {"health"}, {"snapshot", "save", t.TempDir() + "/x"}} {
			var out, said strings.Builder
			code := run(append(args, "--endpoints", endpoint), &out, &said)
			want := exit.Unavailable
			if c.status == 403 && args[0] != "health" {
				want = exit.Denied
			}
			if code != want || !strings.Contains(out.String()+said.String(), c.says) && args[0] != "leader" {
				t.Errorf("%s, %q: code %d: %s%s", name, args, code, out.String(), said.String())
			}
		}
	}
}

// Goal: a command to which no server answers says in one sentence which endpoints,
// what each said, and what to do; a name that nobody knows is not waited for.
func TestNobodyAnswers(t *testing.T) {
	one, two := nowhere(t), nowhere(t)
	for _, args := range [][]string{{"get", "k"}, {"put", "k", "v"}, {"list"}, {"bench"}, {"verify"}, {"delete", "--prefix", "k", "--yes"}} {
		var said strings.Builder
		code := run(append(args, "--endpoints", one+","+two, "--timeout", "1s"), io.Discard, &said)
		text := said.String()
		if code != exit.Unavailable || !strings.HasPrefix(text, "raftkv: no server answered within 1s: 127.0.0.1:") || !strings.Contains(text, "refuse connections. Does a cluster run there?") || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: code %d, said %q", args, code, text)
		}
	}
	begun := time.Now()
	var said strings.Builder
	code := run([]string{"get", "k", "--endpoints", "nosuchhost.invalid:8701", "--timeout", "1h"}, io.Discard, &said)
	if code != exit.Unavailable || !strings.Contains(said.String(), "nosuchhost.invalid:8701") || time.Since(begun) > 10*time.Minute {
		t.Errorf("an unknown name: code %d, said %q", code, said.String())
	}
}

// Goal: the variables of clients are read where no flag is given, and refused with
// their name.
func TestClientVariables(t *testing.T) {
	t.Setenv("RAFTKV_TIMEOUT", "60ms")
	t.Setenv("RAFTKV_ENDPOINTS", nowhere(t))
	var said strings.Builder
	if code := run([]string{"get", "k"}, io.Discard, &said); code != exit.Unavailable || !strings.Contains(said.String(), "within 60ms") {
		t.Errorf("code %d, said %q", code, said.String())
	}
	t.Setenv("RAFTKV_JSON", "true")
	var out strings.Builder
	if run([]string{"status"}, &out, io.Discard); !strings.HasPrefix(out.String(), "{") {
		t.Errorf("printed %q", out.String())
	}
	t.Setenv("RAFTKV_TIMEOUT", "5")
	said.Reset()
	if code := run([]string{"get", "k"}, io.Discard, &said); code != exit.Usage || !strings.Contains(said.String(), "RAFTKV_TIMEOUT") {
		t.Errorf("code %d, said %q", code, said.String())
	}
}

// Goal: an endpoint list that is given and empty, as by a shell variable that is
// not set, is wrong usage. No command takes the default ports for it.
func TestAnEmptyEndpointListIsRefused(t *testing.T) {
	t.Setenv("RAFTKV_ENDPOINTS", nowhere(t))
	for _, args := range [][]string{{"get", "k"}, {"put", "k", "v"}, {"status"}, {"health"}, {"bench"}, {"snapshot", "save", t.TempDir() + "/x"}} {
		var said strings.Builder
		code := run(append(args, "--endpoints", "", "--timeout", "1s"), io.Discard, &said)
		if code != exit.Usage || !strings.Contains(said.String(), "--endpoints is empty") {
			t.Errorf("%q: code %d, said %q", args, code, said.String())
		}
	}
}

// Goal: an empty --data-dir of dev, as by a shell variable that is not set, is
// wrong usage and not the directory that the user happens to be in.
func TestDevRefusesAnEmptyDataDir(t *testing.T) {
	t.Chdir(t.TempDir())
	var said strings.Builder
	code := run([]string{"dev", "--data-dir", "", "--nodes", "8"}, io.Discard, &said)
	if code != exit.Usage || !strings.Contains(said.String(), "--data-dir is empty") {
		t.Errorf("code %d, said %q", code, said.String())
	}
}

// Goal: delete --prefix with an empty prefix, as by a shell variable that is not
// set, does not remove every key unasked.
func TestDeleteRefusesAnEmptyPrefixUnasked(t *testing.T) {
	var said strings.Builder
	code := run([]string{"delete", "--prefix", "", "--yes", "--endpoints", nowhere(t), "--timeout", "1s"}, io.Discard, &said)
	if code != exit.Usage || !strings.Contains(said.String(), "--prefix is empty") {
		t.Errorf("code %d, said %q", code, said.String())
	}
}

// Goal: health over nodes of two clusters is wrong usage, as status and leader are,
// even if every node is ready; its lines are aligned.
func TestHealthSeesTwoClusters(t *testing.T) {
	node := func(name, cluster, uid string) string {
		return fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(api.HeaderNode, name)
			w.Header().Set(api.HeaderRequestID, "r1")
			if r.URL.Path == "/v1/status" {
				fmt.Fprintf(w, `{"node":%q,"cluster":%q,"uid":%q,"role":"leader","leader":%q,"term":3}`, name, cluster, uid, name)
			}
		})
	}
	first := node("n1", "c1", "aa")
	for name, c := range map[string]struct {
		second, says string
		code         int
	}{
		"one cluster":    {node("node-2", "c1", "aa"), "", exit.Done},
		"another name":   {node("node-2", "c2", "bb"), "these endpoints belong to 2 clusters: c1 at " + first + "; c2 at ", exit.Usage},
		"another uid":    {node("node-2", "c1", "bb"), "c1 (uid bb) at ", exit.Usage},
		"no uid is said": {node("node-2", "c1", ""), "", exit.Done},
	} {
		var out, said strings.Builder
		code := run([]string{"health", "--endpoints", first + "," + c.second}, &out, &said)
		if code != c.code || !strings.Contains(said.String(), c.says) || strings.Count(out.String(), "ready\n") != 2 {
			t.Errorf("%s: code %d: %s%s", name, code, out.String(), said.String())
		}
		lines := strings.Split(out.String(), "\n")
		if strings.Index(lines[0], "127.") != strings.Index(lines[1], "127.") || strings.Index(lines[0], "ready") != strings.Index(lines[1], "ready") {
			t.Errorf("%s: not aligned:\n%s", name, out.String())
		}
	}
}

// Goal: every command that talks to a cluster refuses the same endpoints, in
// words, before it asks anybody.
func TestAllCommandsReadEndpointsInOneWay(t *testing.T) {
	for _, bad := range []string{"https://u@h:1", "https://a:1,b:1", "ftp://h:1", "h", ",", "u:p@h:1", "h:99999", "h:0", "h:1/v1", "::1:8701"} {
		for _, args := range [][]string{
			{"get", "k"}, {"put", "k", "v"}, {"append", "k", "v"}, {"delete", "k"}, {"list"}, {"status"}, {"leader"}, {"health"}, {"export"}, {"import", "-"},
			{"bench"}, {"bench", "--http"}, {"verify"}, {"snapshot", "save", t.TempDir() + "/x"},
		} {
			var said strings.Builder
			if code := run(append(args, "--endpoints", bad), io.Discard, &said); code != exit.Usage || !strings.Contains(said.String(), "endpoint") {
				t.Errorf("%q with %s: code %d, said %q", args, bad, code, said.String())
			}
		}
	}
}
