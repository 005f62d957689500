package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// Goal: commands about identities, tokens, members and the leader do what they are to do although
// the first node of --endpoints hangs, long before their time is over, and change nothing twice.
// Method: a node that hangs when it is first asked for something, and one that does everything.
func TestAHungNodeHidesNoOtherFromCommands(t *testing.T) {
	withoutToken(t)
	var mu sync.Mutex
	changes, seen := 0, map[string]bool{}
	hung := newObserved(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		again := seen[r.URL.Path]
		seen[r.URL.Path] = true
		mu.Unlock()
		// Questions to all nodes wait for each of them, and are not what this is about.
		if r.URL.Path == "/v1/status" || again && r.URL.Path == "/v1/auth/tokens" {
			refuses(503, api.CodeNoLeader)(w, r)
			return
		}
		hangs(w, r)
	})
	does := newObserved(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodGet {
			changes++
		}
		_, _ = io.WriteString(w, `{"name":"svc","rules":[],"token":"rkt1_it","leader":"n2","term":7}`)
	})
	for _, line := range []string{
		"auth state", "auth state observe", "auth token list", "auth token create svc", "auth token revoke abcd1234",
		"auth identity list", "auth identity put svc --disabled", "member list", "member token list", "member token create", "level", "leader --to n2",
	} {
		changes, seen = 0, map[string]bool{}
		var out, errs bytes.Buffer
		begun := time.Now()
		code := run(append(strings.Fields(line), "--timeout", "12s", "--endpoints", hung.address()+","+does.address()), &out, &errs)
		if took := time.Since(begun); code != exit.Done || took > 6*time.Second {
			t.Errorf("%s: code %d after %v: %s", line, code, took, errs.String())
		}
		if mu.Lock(); changes > 1 {
			t.Errorf("%s: %d changes", line, changes)
		}
		mu.Unlock()
	}
}

// Goal: an identity is changed as it is, or not at all: a node that cannot show it for the moment
// ends the command before the change; what another admin changes in between is not undone; and
// only where there is none nothing is kept, and then one that is made in between is not undone.
// Method: a node whose answers to the question and to the change are chosen.
func TestAPutUndoesNothingItHasNotSeen(t *testing.T) {
	withoutToken(t)
	for _, c := range []struct {
		name  string
		get   int
		code  api.Code
		moved int // how often the table has changed when the change comes
		exit  int
		puts  []string // conditions and bodies
	}{
		{"no leader", 503, api.CodeNoLeader, 0, exit.Unavailable, nil},
		{"a node behind", 503, api.CodeBehind, 0, exit.Unavailable, nil},
		{"a limit", 429, api.CodeIdentityLimited, 0, exit.Unavailable, nil},
		{"none", 404, api.CodeNotFound, 0, exit.Done, []string{`"1" {"rules":[{}]}`}},
		{"none, and made meanwhile", 404, api.CodeNotFound, 1, exit.Done, []string{`"1" {"rules":[{}]}`, `"2" {"rules":[{}]}`}},
		{"not shown", 403, api.CodeForbidden, 0, exit.Denied, nil},
		{"shown", 200, "", 0, exit.Done, []string{`"1" {"rules":[{}],"limits":{"watches":1},"disabled":true}`}},
		{"changed meanwhile", 200, "", 1, exit.Done, []string{`"1" {"rules":[{}],"limits":{"watches":1},"disabled":true}`, `"2" {"rules":[{}],"limits":{"watches":2},"disabled":true}`}},
	} {
		var puts []string
		gets := 0
		node := newObserved(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodGet:
				gets++
				w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprint(gets)))
				if c.get != 200 {
					refuses(c.get, c.code)(w, r)
					return
				}
				fmt.Fprintf(w, `{"name":"svc","rules":[],"limits":{"watches":%d},"disabled":true}`, gets)
			default:
				body, _ := io.ReadAll(r.Body)
				puts = append(puts, r.Header.Get("If-Match")+" "+string(body))
				if len(puts) <= c.moved {
					refuses(412, api.CodePreconditionFailed)(w, r)
				}
			}
		})
		var out, errs bytes.Buffer
		code := run([]string{"auth", "identity", "put", "svc", "--rule", "{}", "--endpoints", node.address()}, &out, &errs)
		if code != c.exit || fmt.Sprint(puts) != fmt.Sprint(c.puts) {
			t.Errorf("%s: code %d, changes %q; %s", c.name, code, puts, errs.String())
		}
	}
}

// Goal: a change of an identity of which one node has not told what became of it is not made
// again because another one refuses it: its outcome is unknown. Nobody has changed a table of
// revision 0, and no condition can name it.
// Method: a node that does not run, one that loses the answer, and one whose table has moved on;
// and a table of revision 0.
func TestAPutThatMayBeMadeIsNotMadeAgain(t *testing.T) {
	withoutToken(t)
	var puts, conditions atomic.Int32
	node := func(etag string, put http.HandlerFunc) *observed {
		return newObserved(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", etag)
			switch r.Method {
			case http.MethodGet:
				refuses(404, api.CodeNotFound)(w, r)
			default:
				_, _ = io.Copy(io.Discard, r.Body)
				puts.Add(1)
				if r.Header.Get("If-Match") != "" {
					conditions.Add(1)
				}
				put(w, r)
			}
		})
	}
	loses := node(`"7"`, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	moved := node(`"7"`, refuses(412, api.CodePreconditionFailed))
	var out, errs bytes.Buffer
	code := run([]string{"auth", "identity", "put", "svc", "--rule", "{}", "--endpoints", "127.0.0.1:1," + loses.address() + "," + moved.address()}, &out, &errs)
	if code != exit.Unknown || puts.Load() != 1 {
		t.Errorf("code %d after %d changes; %s", code, puts.Load(), errs.String())
	}
	conditions.Store(0)
	first := node(`"0"`, func(http.ResponseWriter, *http.Request) {})
	if code := run([]string{"auth", "identity", "put", "svc", "--rule", "{}", "--endpoints", first.address()}, &out, &errs); code != exit.Done || conditions.Load() != 0 {
		t.Errorf("code %d, %d conditions; %s", code, conditions.Load(), errs.String())
	}
}

// Goal: a token that was made by a request whose answer is lost is not printed as an empty line:
// the command names it and says how to end it. Method: a node that has made it already.
func TestATokenWhoseAnswerIsLostIsNamed(t *testing.T) {
	withoutToken(t)
	key := ""
	node := newObserved(t, func(w http.ResponseWriter, r *http.Request) {
		key = r.Header.Get(api.HeaderIdempotencyKey)
		_, _ = io.WriteString(w, `{"id":"abcd1234","identity":"svc"}`)
	})
	var out, errs bytes.Buffer
	code := run([]string{"auth", "token", "create", "svc", "--endpoints", node.address()}, &out, &errs)
	if code != exit.Failed || key == "" || out.Len() != 0 || !strings.Contains(errs.String(), "raftkv auth token revoke abcd1234") {
		t.Errorf("code %d, key %q: %q, %q", code, key, out.String(), errs.String())
	}
}
