package member

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"raftkv/kvserver/api"
)

// oneNode is the flags of a command that asks one node.
type oneNode string

func (oneNode) AddTo(*cobra.Command)         {}
func (o oneNode) Servers() ([]string, error) { return []string{string(o)}, nil }
func (oneNode) Limit() time.Duration         { return 5 * time.Second }
func (oneNode) JSON() bool                   { return false }

// node serves answers, and returns its address.
func node(t *testing.T, answer http.HandlerFunc) oneNode {
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return oneNode(strings.TrimPrefix(s.URL, "http://"))
}

// Goal: member list --watch shows the members again and again, and goes on while there is no
// leader. Method: a node that answers, has no leader, and answers again.
func TestTheMembersAreWatched(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	var asked atomic.Int32
	at := node(t, func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		switch n {
		case 2:
			w.Header().Set("Content-Type", api.MediaProblem)
			w.WriteHeader(503)
			fmt.Fprint(w, `{"status":503,"code":"no_leader","detail":"nobody leads","outcome":"not_applied"}`)
			return
		case 4:
			end()
		}
		fmt.Fprintf(w, `{"version":%d,"members":[{"id":"n1","role":"voter"}]}`, n)
	})
	var out, wrong bytes.Buffer
	c := &caller{Client: at, out: &out, err: &wrong, life: ctx, pause: time.Millisecond}
	if err := c.watch(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "version 1,") || !strings.Contains(got, "version 3,") || !strings.Contains(wrong.String(), "nobody leads") {
		t.Errorf("shown is %q, and said %q", got, wrong.String())
	}
}

// Goal: join tokens can be listed, without their secrets, and dropped, and changes of several
// kinds planned. Method: the commands, and what they ask a node.
func TestTokensAndPlansAreAskedFor(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	at := node(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(204)
		case r.Method == http.MethodGet:
			fmt.Fprintf(w, `{"tokens":[{"id":"abc","role":"learner","for":"n4","uses":2,"expires_unix_ms":%d}]}`, time.Now().Add(90*time.Minute).UnixMilli())
		default:
			fmt.Fprint(w, `{"before":{"voters":["n1"]}}`)
		}
	})
	run := func(arguments ...string) string {
		t.Helper()
		root := &cobra.Command{Use: "raftkv"}
		root.AddCommand(Commands(func() Client { return at })...)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(append([]string{"member"}, arguments...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%v: %v", arguments, err)
		}
		return out.String()
	}
	if got := run("token", "list"); !strings.Contains(got, "abc") || !strings.Contains(got, "n4") || !strings.Contains(got, "1h30m0s") && !strings.Contains(got, "1h29m") {
		t.Errorf("the tokens are shown as %q", got)
	}
	run("token", "drop", "abc", "d/f")
	run("plan", "--replace", "n3=n4", "--wanted", "5", "--even-if-alive")
	mu.Lock()
	defer mu.Unlock()
	want := []string{"GET /v1/join-tokens", "DELETE /v1/join-tokens/abc", "DELETE /v1/join-tokens/d%2Ff",
		`POST /v1/members?dry_run {"replace":{"n3":"n4"},"wanted":5,"even_if_alive":true}`}
	if strings.Join(asked, "; ") != strings.Join(want, "; ") {
		t.Errorf("asked for %q, not %q", asked, want)
	}
}

// Goal: a command waits for the end of a change as long as it may take, or as --wait says: not
// at all, or longer than that. What a node is asked to wait for ends before the command does.
// Method: a node at which a change ends when it was asked for three times; commands that may take
// five seconds, or a tenth of one.
func TestTheEndOfAChangeIsWaitedFor(t *testing.T) {
	var mu sync.Mutex
	var waits []string
	asked := 0
	at := node(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		state := api.ChangeJoint
		switch {
		case r.URL.Query().Has("dry_run"):
			fmt.Fprint(w, `{"change":"c1","version":7,"before":{"voters":["n1"]}}`)
			return
		case r.Method == http.MethodPost:
			waits, asked = append(waits, r.URL.Query().Get("wait")), 0
			w.WriteHeader(202)
		default:
			if asked++; asked == 3 {
				state = api.ChangeDone
			}
		}
		fmt.Fprintf(w, `{"change":"c1","state":%q}`, state)
	})
	for _, c := range []struct {
		limit            time.Duration
		wait, want, says string
		err              bool
	}{
		{5 * time.Second, "", "2.", "done", false},
		{5 * time.Second, "0s", "0s", "the change c1 goes on: it is joint", false},
		{100 * time.Millisecond, "30s", "5s", "done", false},
		{100 * time.Millisecond, "", "4", "the change c1 goes on: it is joint", true},
		{5 * time.Second, "100ms", "4", "the change c1 goes on: it is joint", true},
		{5 * time.Second, "-1s", "", "give a time", true},
	} {
		root := &cobra.Command{Use: "raftkv", SilenceUsage: true, SilenceErrors: true}
		root.AddCommand(Commands(func() Client { return hurried{at, c.limit} })...)
		var out bytes.Buffer
		root.SetOut(&out)
		arguments := []string{"member", "remove", "n3"}
		if c.wait != "" {
			arguments = append(arguments, "--wait", c.wait)
		}
		root.SetArgs(arguments)
		err := root.ExecuteContext(t.Context())
		said := fmt.Sprint(out.String(), err)
		if (err != nil) != c.err || !strings.Contains(said, c.says) {
			t.Errorf("with --wait %q and %v: %q", c.wait, c.limit, said)
		}
		mu.Lock()
		if len(waits) != 0 && !strings.HasPrefix(waits[0], c.want) || (len(waits) == 0) != (c.want == "") {
			t.Errorf("with --wait %q and %v the node was asked to wait %q", c.wait, c.limit, waits)
		}
		waits = nil
		mu.Unlock()
	}
}

// hurried is a command that may take this long.
type hurried struct {
	oneNode
	limit time.Duration
}

func (h hurried) Limit() time.Duration { return h.limit }
