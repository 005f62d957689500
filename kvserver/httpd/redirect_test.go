package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Goal: a client that asks for ?redirect is sent to the leader with the very same request,
// and is served when there.
// Method: every kind of request at a follower, with keys that a careless
// redirect would change; the location is followed by net/http's client.
func TestRedirectSendsToTheLeader(t *testing.T) {
	p := newPair(t)
	leader := p.address.Load().(string)
	for _, key := range []string{"a", "a%2Fb//%2E%2E/..%00%ff/", "..", "a/../b", "%252F", "a%20b+c", "ä"} {
		stored := strings.NewReplacer("ä", "%C3%A4").Replace(key)
		for _, step := range []struct {
			method, query, body string
			status              int
		}{
			{"PUT", "?redirect", "v", 201}, {"POST", "?op=append&redirect=true", "+", 200}, {"GET", "?redirect=1", "", 200}, {"DELETE", "?redirect", "", 204},
		} {
			w := dialWire(t, p.url)
			w.send(rawRequest(step.method, "/v1/kv/"+stored+step.query, step.body))
			a := w.receive(step.method)
			location := a.header.Get("Location")
			if a.status != 307 || !strings.HasPrefix(location, "http://"+leader+"/v1/kv/") || a.header.Get(api.HeaderNode) != "n1" || a.header.Get(api.HeaderLeader) != "n2" {
				t.Fatalf("%s %s: %d, Location %q", step.method, key, a.status, location)
			}
			if p.leader.Machine().Describe().Keys != map[string]int{"PUT": 0}[step.method]+map[bool]int{true: 1}[step.method != "PUT"] {
				t.Fatalf("%s %s: the redirect itself did something", step.method, key)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			r, err := http.NewRequest(step.method, p.url+"/v1/kv/"+stored+step.query, strings.NewReader(step.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got := readAnswer(t, response)
			if got.status != step.status || got.header.Get(api.HeaderNode) != "n2" || step.method == "GET" && got.body != "v+" {
				t.Fatalf("%s %s, followed: %d %q", step.method, key, got.status, got.body)
			}
		}
	}
	if p.followerLog.Attempts() != 0 || p.leader.Machine().Describe().Keys != 0 {
		t.Error("some request went to another key than its own")
	}
}

// Goal: a name and password in the target, as a proxy may be sent them, are not
// handed to another server in the location.
func TestARedirectCarriesNoUser(t *testing.T) {
	p := newPair(t)
	w := dialWire(t, p.url)
	w.send("GET http://user:secret@localhost/v1/kv/a?redirect HTTP/1.1\r\nHost: localhost\r\n\r\n")
	a := w.receive("GET")
	if want := "http://" + p.address.Load().(string) + "/v1/kv/a?redirect"; a.status != 307 || a.header.Get("Location") != want {
		t.Errorf("%d, Location %q, want %q", a.status, a.header.Get("Location"), want)
	}
}

// Goal: without a leader, or while its address is not known, a redirect waits a
// moment and is then refused.
func TestARedirectNeedsALeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.SetLeader("n2") // whose address nobody knows
		began := time.Now()
		wantProblem(t, ask(s, "PUT", "/v1/kv/k?redirect", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		if took := time.Since(began); took < s.Config().LeaderWait {
			t.Errorf("refused after %v", took)
		}
		waiting := later(func() answer { return ask(s, "PUT", "/v1/kv/k?redirect", "v") })
		wantSilence(t, waiting)
		log.SetLeader("n1")
		wantStatus(t, <-waiting, 201)
	})
}

// Goal: a read with min_revision waits until this node's store has come so far,
// on any node and for any consistency, and no longer than a request may last.
// Method: a follower whose store is brought there step by step.
func TestMinRevisionWaitsForTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.SetLeader("n2")
		log.Deliver(fakelog.PutCommand("k", "1"))
		synctest.Wait()
		for _, consistency := range []string{"stale", "linearizable"} {
			wantStatus(t, ask(s, "GET", "/v1/kv/k?min_revision=1&consistency="+consistency, ""), 200)
			wantStatus(t, ask(s, "GET", "/v1/kv/k?min_revision=0&consistency="+consistency, ""), 200)
		}
		waiting := later(func() answer { return ask(s, "GET", "/v1/kv/k?min_revision=3&consistency=stale", "") })
		wantSilence(t, waiting)
		log.Deliver(fakelog.PutCommand("k", "2"))
		log.Deliver(nil) // an index that changes nothing
		wantSilence(t, waiting)
		log.Deliver(fakelog.PutCommand("k", "3"))
		if a := <-waiting; a.body != "3" || a.header.Get(api.HeaderRevision) != "3" {
			t.Errorf("%d %s", a.status, a.body)
		}
		began := time.Now()
		p := wantProblem(t, ask(s, "GET", "/v1/kv/k?min_revision=4", ""), 503, api.CodeBehind, api.OutcomeNotApplied)
		if took := time.Since(began); !p.Retryable || took != s.Config().RequestTimeout {
			t.Errorf("after %v: %+v", took, p)
		}
		waiting = later(func() answer { return ask(s, "GET", "/v1/kv/k?min_revision=18446744073709551615", "") })
		synctest.Wait()
		if got := s.Load(kvserver.Reads).Count; got != 0 {
			t.Errorf("%d reads that wait for a revision take room from others", got)
		}
		s.Close()
		wantProblem(t, <-waiting, 503, api.CodeStopping, api.OutcomeNotApplied)
	})
}

// Goal: leadership can be handed over through any node, and the answer says who
// leads.
// Method: a transfer at the leader, by name and to whoever is fit, and through a
// follower; each way to fail.
func TestLeadershipIsHandedOver(t *testing.T) {
	json1 := []string{"Content-Type", "application/json; charset=utf-8"}
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		lead := func() {
			log.Set(func(st *raft.Status) {
				st.Leader, st.Role = "n1", core.Leader
				st.Peers = []core.PeerStatus{{ID: "n2"}, {ID: "n3"}}
			})
		}
		lead()
		asked := "?"
		log.OnTransfer = func(_ context.Context, to raft.ID) error {
			asked = string(to)
			go func() {
				time.Sleep(50 * time.Millisecond)
				log.SetLeader("n3")
			}()
			log.SetLeader("")
			return nil
		}
		for body, to := range map[string]string{`{"to":"n3"}`: "n3", `{}`: "", ` { "to" : "" } `: "", `{"to":null}`: ""} {
			lead()
			a := ask(s, "POST", "/v1/leader", body, json1...)
			var got api.Leader
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || got.Leader != "n3" || got.Term != 3 || asked != to {
				t.Errorf("%s: %d %s, asked for %q", body, a.status, a.body, asked)
			}
		}
		lead()
		asked = "?"
		if a := ask(s, "POST", "/v1/leader", `{"to":"n1"}`, json1...); a.status != 200 || !strings.Contains(a.body, `"leader":"n1"`) || asked != "?" {
			t.Errorf("to itself: %d %s, asked for %q", a.status, a.body, asked)
		}
		for _, c := range []struct {
			err     error
			status  int
			code    api.Code
			outcome api.Outcome
		}{
			{raft.ErrTransferFailed, 504, api.CodeTimeout, api.OutcomeUnknown},
			{raft.ErrTransferring, 503, api.CodeNoLeader, api.OutcomeNotApplied},
			{raft.ErrStopped, 504, api.CodeStopping, api.OutcomeUnknown},
			{errors.New("cannot lead"), 400, api.CodeBadRequest, api.OutcomeNotApplied},
			{context.DeadlineExceeded, 504, api.CodeTimeout, api.OutcomeUnknown},
		} {
			log.OnTransfer = func(ctx context.Context, _ raft.ID) error {
				if errors.Is(c.err, context.DeadlineExceeded) {
					<-ctx.Done()
					return ctx.Err()
				}
				return c.err
			}
			wantProblem(t, ask(s, "POST", "/v1/leader", `{"to":"n2"}`, json1...), c.status, c.code, c.outcome)
		}
		log.SetLeader("")
		wantProblem(t, ask(s, "POST", "/v1/leader", `{"to":"n2"}`, json1...), 503, api.CodeNoLeader, api.OutcomeNotApplied)
	})
	p := newPair(t)
	p.leaderLog.Set(func(st *raft.Status) { st.Peers = []core.PeerStatus{{ID: "n1"}, {ID: "n3"}} })
	a := send(t, "POST", p.url+"/v1/leader", `{"to":"n3"}`, json1...)
	if a.status != 200 || a.header.Get(api.HeaderNode) != "n2" || !strings.Contains(a.body, `"leader":"n3"`) {
		t.Errorf("through a follower: %d %s", a.status, a.body)
	}
	alone, _ := newServer(t, nil)
	wantProblem(t, ask(alone, "POST", "/v1/leader", `{}`, json1...), 400, api.CodeBadRequest, api.OutcomeNotApplied)
}
