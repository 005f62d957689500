package kvserver

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Goal: every refusal for want of room tells people what the limit is, its
// number, and what they can do; a Clerk and a client of HTTP hear the same.
// Method: all of them, once, with the whole text.
func TestRefusalsNameTheLimitItsNumberAndWhatToDo(t *testing.T) {
	s, _ := newServer(t, func(c *Config) { c.MaxStoreBytes, c.MaxConnections, c.MaxInFlight = 10<<30, 8192, 1024 })
	x := &exchange{server: s, w: newRecorder()}
	detail := func(err error) string {
		if failure.Detail(err) == "" {
			t.Fatalf("%v has no text", err)
		}
		return failure.Detail(err)
	}
	full := &clerks{most: 6144, conns: make(map[*clerkConn]bool)}
	for range full.most {
		full.conns[new(clerkConn)] = true
	}
	bytes := &admission{maxCount: 10, maxBytes: 48 << 20, bytes: 48 << 20, count: 1}
	for _, c := range []struct {
		err  error
		want string
	}{
		{s.tooMany(&s.writes, "writes"), "too many writes in flight (limit 1024); retry after 1 s"},
		{s.tooMany(&s.deletes, "deletes"), "too many deletes in flight (limit 256); retry after 1 s"},
		{s.tooMany(bytes, "writes"), "too many bytes of writes in flight (48 MiB of 48 MiB); retry after 1 s"},
		{s.queueFull(&s.writes, "writes"), "the queue for writes is full (limit 8192); retry after 1 s"},
		{s.noMemory(), "no memory for another request body (0 bytes of 96 MiB in use); retry after 1 s"},
		{s.lagsBehind(20000), "this node's store is 20000 entries behind its log (limit 16384); retry after 1 s"},
		{s.storeFull(), "the store is full (quota 10 GiB, --max-store-bytes of the leader); delete something: reads and deletes still work"},
		{x.tooLarge(2_000_000), "the value has 2000000 bytes; this node takes 1048576 (--max-value-bytes)"},
		{x.tooLarge(-1), "the value has more than 1048576 bytes, the limit of this node (--max-value-bytes); send a smaller one"},
		{x.refused(kv.Result{Status: kv.StatusTooLong}), "with this the value would have more than 1048576 bytes, the limit of this node (--max-value-bytes)"},
		{x.refused(kv.Result{Status: kv.StatusQuota}), detail(s.storeFull())},
		{s.clerkRefused(kv.Result{Status: kv.StatusTooLong}), detail(s.growsTooLarge())},
		{s.clerkRefused(kv.Result{Status: kv.StatusQuota}), detail(s.storeFull())},
		{x.refused(kv.Result{Status: kv.StatusIdempotencyFull}), "the table of idempotency keys is full (limit 1048576), and none of them is older than 3600 s; retry later, or write without an Idempotency-Key"},
		{full.enter(new(clerkConn)), "too many connections of Clerks (limit 6144, three quarters of --max-connections); close some, or connect to another node"},
	} {
		if got := detail(c.err); got != c.want {
			t.Errorf("it says %q, want %q", got, c.want)
		}
	}
}

// Goal: the same of the refusals that come out of a handler: each has a number, a
// limit by name, and a way on.
// Method: the counts are filled by hand, and each kind of request is made.
func TestRefusalsOfHandlersNameTheLimit(t *testing.T) {
	s, log := newServer(t, nil)
	number := regexp.MustCompile(`\(limit \d+|\d+ bytes`)
	for name, c := range map[string]struct {
		fill   *admission
		target string
		header []string
	}{
		"streams":  {&s.streams, "/v1/kv", []string{"Accept", api.MediaNDJSON}},
		"backups":  {&s.backups, "/v1/snapshot", nil},
		"scrapes":  {&s.scrapes, "/metrics", nil},
		"patience": {&s.patient, "/v1/kv/k?min_revision=9", nil},
	} {
		for range c.fill.maxCount {
			c.fill.enter(0)
		}
		p := wantProblem(t, ask(s, "GET", c.target, "", c.header...), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		if !number.MatchString(p.Detail) || !strings.Contains(p.Detail, "retry after 1 s") {
			t.Errorf("%s: %q", name, p.Detail)
		}
		for range c.fill.maxCount {
			c.fill.leave(0)
		}
	}
	log.OnRead = func(context.Context) (uint64, error) { return 0, raft.ErrOverloaded }
	if p := wantProblem(t, ask(s, "GET", "/v1/kv/k", ""), 429, api.CodeOverloaded, api.OutcomeNotApplied); !strings.Contains(p.Detail, "retry after 1 s") {
		t.Errorf("reads at the leader: %q", p.Detail)
	}
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

// Goal: who looks for the health of a node at the usual places is told where it is.
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
