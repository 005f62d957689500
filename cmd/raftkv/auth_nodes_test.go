package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// Goal: commands about identities, tokens, members and the leader do what they are to do although
// the first node of --endpoints hangs, long before their time is over, and change nothing twice.
// Method: a node that hangs, and one that does everything.
func TestAHungNodeHidesNoOtherFromCommands(t *testing.T) {
	withoutToken(t)
	hung := newObserved(t, hangs)
	var mu sync.Mutex
	changes := 0
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
		changes = 0
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
// only where there is none, or it is not shown, nothing is kept. Method: a node whose answers to
// the question and to the change are chosen.
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
		{"none", 404, api.CodeNotFound, 0, exit.Done, []string{` {"rules":[{}]}`}},
		{"not shown", 403, api.CodeForbidden, 0, exit.Done, []string{` {"rules":[{}]}`}},
		{"shown", 200, "", 0, exit.Done, []string{`"1" {"rules":[{}],"limits":{"watches":1},"disabled":true}`}},
		{"changed meanwhile", 200, "", 1, exit.Done, []string{`"1" {"rules":[{}],"limits":{"watches":1},"disabled":true}`, `"2" {"rules":[{}],"limits":{"watches":2},"disabled":true}`}},
	} {
		var puts []string
		gets := 0
		node := newObserved(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodGet && c.get != 200:
				refuses(c.get, c.code)(w, r)
			case r.Method == http.MethodGet:
				gets++
				w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprint(gets)))
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
