package httpd

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Goal: the same of the refusals that come out of a handler: each has a number, a
// limit by name, and a way on.
// Method: the counts are filled by hand, and each kind of request is made.
func TestRefusalsOfHandlersNameTheLimit(t *testing.T) {
	s, log := newServer(t, nil)
	number := regexp.MustCompile(`\(limit \d+|\d+ bytes`)
	for name, c := range map[string]struct {
		class  kvserver.Class
		target string
		header []string
	}{
		"streams":  {kvserver.Streams, "/v1/kv", []string{"Accept", api.MediaNDJSON}},
		"backups":  {kvserver.Backups, "/v1/snapshot", nil},
		"records":  {kvserver.Records, "/v1/recorder", nil},
		"explains": {kvserver.Explains, "/v1/explain", nil},
		"scrapes":  {kvserver.Scrapes, "/metrics", nil},
		"patience": {kvserver.Patient, "/v1/kv/k?min_revision=9", nil},
	} {
		limit := s.Load(c.class).Limit
		for range limit {
			s.Enter(c.class, 0)
		}
		p := wantProblem(t, ask(s, "GET", c.target, "", c.header...), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		if !number.MatchString(p.Detail) || !strings.Contains(p.Detail, "retry after 1 s") {
			t.Errorf("%s: %q", name, p.Detail)
		}
		for range limit {
			s.Leave(c.class, 0)
		}
	}
	log.OnRead = func(context.Context) (uint64, error) { return 0, raft.ErrOverloaded }
	if p := wantProblem(t, ask(s, "GET", "/v1/kv/k", ""), 429, api.CodeOverloaded, api.OutcomeNotApplied); !strings.Contains(p.Detail, "retry after 1 s") {
		t.Errorf("reads at the leader: %q", p.Detail)
	}
}

// Goal: reads of the past, which cost much, have a bound of their own: one that finds no room
// waits for it and is then refused, with the limit, and reads of now are served meanwhile.
// Method: virtual time; all room is taken by hand, and given back.
func TestReadsOfThePastWaitForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "1"), 201)
		limit := s.Load(kvserver.Pasts).Limit
		for range limit {
			s.Enter(kvserver.Pasts, 0)
		}
		for _, target := range []string{"/v1/kv/k?at_revision=2", "/v1/kv?at_revision=2"} {
			p := wantProblem(t, ask(s, "GET", target, ""), 429, api.CodeOverloaded, api.OutcomeNotApplied)
			if !strings.Contains(p.Detail, fmt.Sprintf("too many reads of the past in flight (limit %d)", limit)) {
				t.Errorf("%s: %q", target, p.Detail)
			}
		}
		wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 200)
		answers := make(chan answer, 1)
		go func() { answers <- ask(s, "GET", "/v1/kv/k?at_revision=2", "") }()
		synctest.Wait()
		for range limit {
			s.Leave(kvserver.Pasts, 0)
		}
		wantStatus(t, <-answers, 200)
	})
}

// Goal: leadership is handed over by a POST without a body, and whoever sends a
// body that is no JSON is told how to write it.
// Method: no body at the leader and through a follower; a body of another type.
func TestLeadershipIsHandedOverWithoutABody(t *testing.T) {
	p := newPair(t)
	transfers := 0
	p.leaderLog.OnTransfer = func(_ context.Context, to raft.ID) error {
		transfers++
		if to != "" {
			t.Errorf("handed to %q", to)
		}
		p.leaderLog.SetLeader("n1")
		return nil
	}
	leads := func() {
		p.leaderLog.Set(func(st *raft.Status) {
			*st = fakelog.StatusOf("n2", core.Leader, 3)
			st.Peers = []core.PeerStatus{{ID: "n1"}}
		})
	}
	leads()
	wantStatus(t, send(t, "POST", p.url+"/v1/leader", ""), 200)
	leads()
	wantStatus(t, ask(p.leader, "POST", "/v1/leader", ""), 200)
	if transfers != 2 {
		t.Errorf("%d times handed over", transfers)
	}
	a := wantProblem(t, ask(p.leader, "POST", "/v1/leader", "to=n1"), 415, api.CodeUnsupportedMedia, api.OutcomeNotApplied)
	if !strings.Contains(a.Detail, `{"to":"n2"}`) {
		t.Errorf("it says %s", a.Detail)
	}
}

// Goal: a probe that looks for a node's health at the usual paths is told the right one.
// Method: those places.
func TestAPathThatIsNotThereSaysWhereHealthIs(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, path := range []string{"/health", "/healthz", "/status", "/"} {
		p := wantProblem(t, ask(s, "GET", path, ""), 404, api.CodeNotFound, api.OutcomeNotApplied)
		for _, want := range []string{"/livez", "/readyz", "/v1/status", "/v1/kv/"} {
			if !strings.Contains(p.Detail, want) {
				t.Errorf("%s: %q", path, p.Detail)
			}
		}
	}
}
