package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
	"raftkv/raft/core"
)

// Goal: more writes or reads than allowed are refused with 429 after a short
// wait, nothing happens, and there is room again afterwards. Writes, deletes and
// reads do not take each other's room, and the probes need none.
// Method: hold as many as fit, one more of each, release.
func TestRequestsOverTheLimitAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.MaxInFlight = 2 })
		held := log.Held()
		var answered []<-chan answer
		for range 2 {
			answered = append(answered, later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") }))
		}
		synctest.Wait()
		began := time.Now()
		if p := wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 429, api.CodeOverloaded, api.OutcomeNotApplied); !p.Retryable {
			t.Error("overload is said not to be worth another try")
		}
		if took := time.Since(began); took != 500*time.Millisecond {
			t.Errorf("refused after %v", took)
		}
		deleted := later(func() answer { return ask(s, "DELETE", "/v1/kv/k", "") })
		synctest.Wait()
		wantProblem(t, ask(s, "DELETE", "/v1/kv/k", ""), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 404)
		for _, probe := range []string{"/readyz", "/livez", "/v1/status"} {
			wantStatus(t, ask(s, "GET", probe, ""), 200)
		}
		if log.Attempts() != 3 {
			t.Errorf("%d commands were proposed, want 3", log.Attempts())
		}
		for range 3 {
			log.Deliver((<-held).Command)
		}
		for _, a := range append(answered, deleted) {
			wantStatus(t, answer{status: (<-a).status / 100}, 2)
		}
		log.OnPropose = nil
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 201)

		log.OnRead = func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() }
		answered = nil
		for range 2 {
			answered = append(answered, later(func() answer { return ask(s, "GET", "/v1/kv/k", "") }))
		}
		synctest.Wait()
		wantProblem(t, ask(s, "GET", "/v1/kv/k", ""), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 200)
		for _, a := range answered {
			wantStatus(t, <-a, 504)
		}
	})
}

// Goal: a request that waits for room gets it when another leaves, the youngest first.
// One that comes when as many wait as may is refused at once, before the body is read.
// Method: one place, three requests that wait where two may.
func TestWaitingForRoomIsBoundedAndYoungestFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.MaxInFlight, c.MaxConnections = 1, 2 })
		held := log.Held()
		first := later(func() answer { return ask(s, "PUT", "/v1/kv/first", "v") })
		p := <-held
		elder := later(func() answer { return ask(s, "PUT", "/v1/kv/elder", "v") })
		time.Sleep(time.Millisecond)
		younger := later(func() answer { return ask(s, "PUT", "/v1/kv/younger", "v") })
		time.Sleep(time.Millisecond)
		began := time.Now()
		wantProblem(t, ask(s, "PUT", "/v1/kv/none", "v"), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		if took := time.Since(began); took != 0 {
			t.Errorf("refused after %v though nobody else may wait", took)
		}
		log.Deliver(p.Command)
		wantStatus(t, <-first, 201)
		p = <-held
		if c, _ := kv.DecodeCommand(p.Command); string(c.Key) != "younger" {
			t.Errorf("served %q next", c.Key)
		}
		wantProblem(t, <-elder, 429, api.CodeOverloaded, api.OutcomeNotApplied)
		log.Deliver(p.Command)
		wantStatus(t, <-younger, 201)
	})
}

// Goal: Retry-After is measured: it says when those that are here will have been
// served at the present pace.
// Method: ten writes a second for some seconds, then a stop with 25 in flight.
func TestRetryAfterIsMeasured(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.MaxInFlight = 25 })
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			wantStatus(t, answer{status: ask(s, "PUT", "/v1/kv/k", "v").status / 100}, 2)
		}
		held := log.Held()
		var answered []<-chan answer
		for range 25 {
			answered = append(answered, later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") }))
		}
		synctest.Wait()
		a := ask(s, "PUT", "/v1/kv/k", "v")
		wantProblem(t, a, 429, api.CodeOverloaded, api.OutcomeNotApplied)
		if after := a.header.Get("Retry-After"); after < "3" || after > "6" { // 25 at 10 a second, and the rate is falling
			t.Errorf("Retry-After is %s", after)
		}
		for range 25 {
			log.Deliver((<-held).Command)
		}
		for _, a := range answered {
			wantStatus(t, <-a, 200)
		}
	})
}

// Goal: writes are refused while the store is far behind the log, because they
// would only wait; deletes, reads and probes are not.
// Method: a commit index far ahead of what is applied.
func TestWritesAreRefusedWhileTheStoreIsFarBehind(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.Set(func(st *raft.Status) { st.CommitIndex = 1<<14 + 1 })
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "POST", "/v1/kv/k?op=append", "v"), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "DELETE", "/v1/kv/k", ""), 204)
		wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 404)
		wantStatus(t, ask(s, "GET", "/v1/status", ""), 200)
		log.Set(func(st *raft.Status) { st.CommitIndex = st.LastIndex })
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 201)
	})
}

// Goal: the bodies of all writes together are bounded; a body of unknown length
// counts for the longest.
// Method: hold one write that takes nearly all the room.
func TestBodiesInFlightAreBoundedTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.MaxValueBytes, c.MaxInFlightBytes = 1000, 1000 })
		held := log.Held()
		first := later(func() answer { return ask(s, "PUT", "/v1/kv/k", strings.Repeat("x", 990)) })
		p := <-held
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", strings.Repeat("x", 11)), 429, api.CodeOverloaded, api.OutcomeNotApplied)
		second := later(func() answer { return ask(s, "PUT", "/v1/kv/k", strings.Repeat("x", 10)) })
		q := <-held
		log.Deliver(p.Command)
		log.Deliver(q.Command)
		wantStatus(t, <-first, 201)
		wantStatus(t, <-second, 200)
	})
}

// Goal: /livez, /readyz and /v1/status tell the truth.
// Method: a healthy leader, then each way to be unready.
func TestHealthTellsTheTruth(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.Deliver(fakelog.PutCommand("k", "v"))
		if a := ask(s, "GET", "/livez", ""); a.status != 200 || a.body != "ok\n" {
			t.Errorf("/livez: %d %q", a.status, a.body)
		}
		if a := ask(s, "GET", "/readyz", ""); a.status != 200 || a.body != "ok\n" {
			t.Errorf("/readyz: %d %q", a.status, a.body)
		}
		all := "[+]serving ok\n[+]integrity ok\n[+]leader ok\n[+]read_index ok\n[+]applied ok\nok\n"
		if a := ask(s, "GET", "/readyz?verbose", ""); a.status != 200 || a.body != all || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("/readyz?verbose: %d %q", a.status, a.body)
		}

		began := time.Now()
		log.OnRead = func(context.Context) (uint64, error) { return 100, nil }
		p := wantProblem(t, ask(s, "GET", "/readyz?verbose", ""), 503, api.CodeBehind, api.OutcomeNotApplied)
		if len(p.Checks) != 5 || !strings.HasPrefix(p.Checks[4], "[-]applied failed: ") {
			t.Errorf("checks %q", p.Checks)
		}
		log.OnRead = func(context.Context) (uint64, error) { return 0, errors.New("no majority") }
		wantProblem(t, ask(s, "GET", "/readyz", ""), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		log.SetLeader("")
		if p := wantProblem(t, ask(s, "GET", "/readyz", ""), 503, api.CodeNoLeader, api.OutcomeNotApplied); p.Checks != nil {
			t.Errorf("checks that nobody asked for: %q", p.Checks)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("three probes took %v", took)
		}
		wantStatus(t, ask(s, "GET", "/livez", ""), 200)
		log.Stop()
		synctest.Wait()
		wantProblem(t, ask(s, "GET", "/livez", ""), 503, api.CodeStopping, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "GET", "/readyz", ""), 503, api.CodeStopping, api.OutcomeNotApplied)
	})
}

// Goal: the status of a leader holds everything the contract names, and its only group says the
// same, also of what the node adds to it.
// Method: a status with two peers, one of them never heard of.
func TestStatusDescribesTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) {
			c.MaxStoreBytes = 1 << 20
			c.Describe = func(status *api.Status) { status.Disk.LogBytes, status.Log.CommitP99Seconds = 77, 0.25 }
		})
		log.Deliver(fakelog.PutCommand("key", "value"))
		synctest.Wait()
		log.Set(func(st *raft.Status) {
			st.FirstIndex, st.LastIndex, st.CommitIndex = 1, 5, 4
			st.Peers = []core.PeerStatus{{ID: "n2", MatchIndex: 4, NextIndex: 6, Pipelining: true, Inflight: 1, InflightBytes: 70}, {ID: "n3", NextIndex: 1, Installing: 9}}
			st.Counts = core.Counts{Elected: 4, Transferred: 3, LostQuorum: 2, StalledDisk: 1}
			st.Contacts = map[core.ID]time.Time{"n2": time.Now().Add(-20 * time.Millisecond)}
		})
		a := ask(s, "GET", "/v1/status", "")
		wantStatus(t, a, 200)
		var got api.Status
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		want := api.Status{
			Node: "n1", Cluster: "c1", Role: "leader", Term: 3, Leader: "n1", Commit: 4, Applied: 1, Build: "test",
			Log:   api.Log{First: 1, Last: 5, CommitP99Seconds: 0.25},
			Store: api.Store{Keys: 1, Bytes: 8, Revision: 1, Quota: 1 << 20}, Disk: api.Disk{LogBytes: 77},
			Changes: api.Changes{Elected: 4, Transferred: 3, LostQuorum: 2, StalledDisk: 1},
		}
		if len(got.Peers) != 2 || got.Peers[0] != (api.Peer{Node: "n2", Match: 4, Next: 6, Lag: 1, LastContactMs: 20, State: "pipeline", InflightMessages: 1, InflightBytes: 70}) ||
			got.Peers[1].LastContactMs != -1 || got.Peers[1].State != "snapshot" {
			t.Errorf("peers %+v", got.Peers)
		}
		if got.Load.ApplyLag != 3 || got.Load.Writes.Limit != 4096 || got.Limits.IdempotencySeconds != 3600 || got.Limits.ValueBytes != api.DefaultMaxValueBytes {
			t.Errorf("load %+v, limits %+v", got.Load, got.Limits)
		}
		group := api.Group{ID: 1, Role: "leader", Term: 3, Leader: "n1", Commit: 4, Applied: 1, Log: api.Log{First: 1, Last: 5, CommitP99Seconds: 0.25}, Peers: got.Peers}
		if !reflect.DeepEqual(got.Groups, []api.Group{group}) {
			t.Errorf("groups %+v, want one, %+v", got.Groups, group)
		}
		got.Peers, got.Groups, got.Load, got.Limits = nil, nil, api.Load{}, api.Limits{}
		gotText, _ := json.Marshal(got)
		wantText, _ := json.Marshal(want)
		if string(gotText) != string(wantText) {
			t.Errorf("status %s, want %s", gotText, wantText)
		}
	})
}

// Goal: a request that no room would help is told so, also when there is no room: it
// would else come again for nothing. Method: all places for streams, or for scrapes,
// are taken; then lists with a mistake each, and a scrape of a node that measures
// nothing.
func TestAMistakeIsToldBeforeALackOfRoom(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.unmeasured = true })
	for _, class := range []kvserver.Class{kvserver.Streams, kvserver.Scrapes} {
		for range s.Load(class).Limit {
			s.Enter(class, 0)
			defer s.Leave(class, 0)
		}
	}
	lines := []string{"Accept", api.MediaNDJSON}
	wantProblem(t, ask(s, "GET", "/v1/kv", "", lines...), 429, api.CodeOverloaded, api.OutcomeNotApplied)
	for _, query := range []string{
		"limit=0", "keys_only=maybe", "consistency=lease", "min_revision=-1", "redirect=maybe", "nonsense=1", "prefix=" + strings.Repeat("x", api.MaxKeyBytes+1),
	} {
		if a := ask(s, "GET", "/v1/kv?"+query, "", lines...); a.status != 400 && a.status != 414 {
			t.Errorf("a stream with %.20s is answered %d %s", query, a.status, a.body)
		}
	}
	wantProblem(t, ask(s, "GET", "/metrics", ""), 404, api.CodeNotFound, api.OutcomeNotApplied)
}

// Goal: a node that is quarantined says so until it is gone, also while it stops: that
// is what an operator must act on. Method: a quarantine, then the end.
func TestAQuarantinedNodeThatStopsSaysWhyItServesNothing(t *testing.T) {
	s, _ := newServer(t, nil)
	s.Machine().Quarantine("the test says so")
	s.Machine().End()
	for _, request := range []struct{ method, path string }{
		{"GET", "/v1/kv/k"}, {"GET", "/v1/kv/k?consistency=stale"}, {"PUT", "/v1/kv/k"}, {"GET", "/v1/kv"}, {"GET", "/readyz"},
	} {
		wantProblem(t, ask(s, request.method, request.path, ""), 503, api.CodeDiverged, api.OutcomeNotApplied)
	}
}
