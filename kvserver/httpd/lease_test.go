package httpd

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// askJSON is ask with a body of JSON.
func askJSON(s *testServer, method, target, body string, header ...string) answer {
	return ask(s, method, target, body, append(header, "Content-Type", api.MediaJSON)...)
}

// read reads an answer's body into v.
func (a answer) read(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
}

func grant(t *testing.T, s *testServer, body string) int64 {
	t.Helper()
	a := askJSON(s, "POST", "/v1/leases", body)
	wantStatus(t, a, 201)
	var g api.Granted
	a.read(t, &g)
	return g.Lease
}

// Goal (L1, L2, L6, L7): over HTTP a lease is granted, kept, shown and ends, and its keys
// with it, in one change that watches see as expire; what has ended is 404 for ever.
// Method: virtual time; each call of docs/coordination.md, and a watch.
func TestTheLifeOfALease(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		id := grant(t, s, `{"ttl":"10s","note":"worker 7"}`)
		for _, key := range []string{"a", "b"} {
			wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/%s?lease=%d", key, id), key), 201)
		}
		a := ask(s, "GET", "/v1/kv/a", "")
		wantStatus(t, a, 200)
		if a.header.Get(api.HeaderLease) != fmt.Sprint(id) || a.header.Get(api.HeaderExpiresIn) != "9" {
			t.Errorf("a key of a lease: %v", a.header)
		}
		var page api.Page
		ask(s, "GET", "/v1/kv", "").read(t, &page)
		if page.Items[0].Lease != id {
			t.Errorf("a list: %+v", page.Items)
		}
		// Reads of the past and what was there before a write name the lease, too (H1).
		untied := ask(s, "PUT", "/v1/kv/a?prev", "a")
		if want := fmt.Sprintf(`"created":2,"lease":%d}}`, id); !strings.Contains(untied.body, want) {
			t.Errorf("before: %s", untied.body)
		}
		a = ask(s, "GET", "/v1/kv/a?at_revision=3", "", "Accept", api.MediaJSON)
		if a.header.Get(api.HeaderLease) != fmt.Sprint(id) || a.header.Get(api.HeaderExpiresIn) != "" || !strings.Contains(a.body, fmt.Sprintf(`"lease":%d}`, id)) {
			t.Errorf("the past: %v %s", a.header, a.body)
		}
		a = ask(s, "GET", "/v1/kv/a?at_revision=4", "", "Accept", api.MediaJSON)
		if a.header.Get(api.HeaderLease) != "" || strings.Contains(a.body, "lease") {
			t.Errorf("without: %v %s", a.header, a.body)
		}
		wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/a?lease=%d", id), "a"), 200)
		time.Sleep(8 * time.Second)
		var kept api.KeptAlive
		a = ask(s, "POST", fmt.Sprintf("/v1/leases/%d/keepalive", id), "")
		wantStatus(t, a, 200)
		if a.read(t, &kept); kept != (api.KeptAlive{Lease: id, TTLMs: 10_000, RemainingMs: 10_000}) {
			t.Errorf("kept: %+v", kept)
		}
		time.Sleep(9 * time.Second)
		var l api.Lease
		ask(s, "GET", fmt.Sprintf("/v1/leases/%d?keys", id), "").read(t, &l)
		if l.Note != "worker 7" || l.TTLMs != 10_000 || l.RemainingMs > 1000 || len(l.Keys) != 2 {
			t.Errorf("shown: %+v", l)
		}
		time.Sleep(3 * time.Second)
		w := follow(t, s, "prefix=&after=1")
		e := w.next()
		for !strings.Contains(e.data, "expire") {
			e = w.next()
		}
		if strings.Count(e.data, `"expire"`) != 2 {
			t.Errorf("the watch sees %+v", e)
		}
		wantProblem(t, ask(s, "GET", "/v1/kv/a", ""), 404, api.CodeKeyNotFound, "")
		wantProblem(t, ask(s, "GET", fmt.Sprintf("/v1/leases/%d", id), ""), 404, api.CodeLeaseNotFound, "")
		wantProblem(t, ask(s, "POST", fmt.Sprintf("/v1/leases/%d/keepalive", id), ""), 404, api.CodeLeaseNotFound, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "DELETE", fmt.Sprintf("/v1/leases/%d", id), ""), 404, api.CodeLeaseNotFound, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/c?lease=%d", id), "c"), 404, api.CodeLeaseNotFound, api.OutcomeNotApplied)
	})
}

// Goal (L9, L10): a TTL is of the last PUT; touch moves it without a revision; keep keeps
// it. Method: one key, by turns.
func TestTheTimeOfAKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		left := func(want string) {
			t.Helper()
			a := ask(s, "GET", "/v1/kv/k", "")
			if got := a.header.Get(api.HeaderExpiresIn); got != want || a.header.Get(api.HeaderLease) != "" {
				t.Errorf("%d, ends in %q, want %q", a.status, got, want)
			}
		}
		wantProblem(t, ask(s, "PUT", "/v1/kv/k?ttl=keep", "v"), 404, api.CodeKeyNotFound, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "POST", "/v1/kv/k?op=touch&ttl=5s", ""), 404, api.CodeKeyNotFound, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k?ttl=30s", "v"), 201)
		left("29")
		wantStatus(t, ask(s, "PUT", "/v1/kv/k?ttl=keep", "w"), 200)
		left("29")
		revision := s.Revision()
		a := ask(s, "POST", "/v1/kv/k?op=touch&ttl=90s", "")
		wantStatus(t, a, 200)
		if left("89"); s.Revision() != revision || !strings.Contains(a.body, fmt.Sprintf(`"revision":%d`, revision)) {
			t.Errorf("touched: %s, revision %d", a.body, s.Revision())
		}
		wantStatus(t, ask(s, "POST", "/v1/kv/k?op=append", "x"), 200)
		left("89")
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "x"), 200)
		left("")
		time.Sleep(2 * time.Minute)
		wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 200)
		id := grant(t, s, `{"ttl":"5s"}`)
		wantStatus(t, ask(s, "PUT", fmt.Sprintf("/v1/kv/k?lease=%d", id), "x"), 200)
		wantProblem(t, ask(s, "POST", "/v1/kv/k?op=touch&ttl=90s", ""), 412, api.CodePreconditionFailed, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "x"), 200)
		time.Sleep(10 * time.Second)
		wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 200)
	})
}

// Goal: what the log refuses of leases has its status and code, a repeated grant is one
// lease, and lists come in pages.
// Method: each once.
func TestAnswersAboutLeases(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		grant(t, s, `{"ttl":"60s","lease":-5}`)
		wantProblem(t, askJSON(s, "POST", "/v1/leases", `{"ttl":"60s","lease":-5}`), 409, api.CodeLeaseExists, api.OutcomeNotApplied)
		first := askJSON(s, "POST", "/v1/leases", `{"ttl":"60s"}`, api.HeaderIdempotencyKey, "one")
		again := askJSON(s, "POST", "/v1/leases", `{"ttl":"60s"}`, api.HeaderIdempotencyKey, "one")
		if first.body != again.body || again.header.Get(api.HeaderIdempotencyReplayed) != "true" {
			t.Errorf("%s, repeated %s", first.body, again.body)
		}
		wantProblem(t, askJSON(s, "POST", "/v1/leases", `{"ttl":"61s"}`, api.HeaderIdempotencyKey, "one"), 422, api.CodeIdempotencyMismatch, api.OutcomeNotApplied)
		for i := range 4096 {
			if a := ask(s, "PUT", fmt.Sprintf("/v1/kv/%d?lease=-5", i), ""); a.status != 201 {
				t.Fatalf("key %d: %d", i, a.status)
			}
		}
		wantProblem(t, ask(s, "PUT", "/v1/kv/more?lease=-5", ""), 409, api.CodeLeaseFull, api.OutcomeNotApplied)
		a := ask(s, "DELETE", "/v1/leases/-5", "")
		wantStatus(t, a, 204)
		if a.header.Get(api.HeaderDeleted) != "4096" {
			t.Errorf("%s keys went", a.header.Get(api.HeaderDeleted))
		}
		for i := range 5 {
			grant(t, s, fmt.Sprintf(`{"ttl":"60s","lease":%d}`, 100_000+i))
		}
		var ids []int64
		for next := "/v1/leases?limit=2"; next != ""; {
			var page api.LeasePage
			ask(s, "GET", next, "").read(t, &page)
			for _, l := range page.Leases {
				ids = append(ids, l.Lease)
			}
			next = page.Next
		}
		if len(ids) != 6 || ids[5] != 100_004 {
			t.Errorf("listed %v", ids)
		}
		var kept api.KeptAlives
		askJSON(s, "POST", "/v1/leases/keepalive", `{"leases":[100000,7,100001]}`).read(t, &kept)
		if fmt.Sprint(kept) != "{[100000 100001] [7]}" {
			t.Errorf("kept %v", kept)
		}
		wantProblem(t, ask(s, "PUT", "/v1/kv/k?ttl=5s&lease=7", ""), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "POST", "/v1/kv/k?op=append&ttl=5s", ""), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "POST", "/v1/kv/k?op=touch", ""), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "POST", "/v1/kv/k?op=touch&ttl=5s&prev=true", ""), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		synctest.Wait()
	})
}

// Goal: below level 3 leases and TTLs are 501 and change nothing.
// Method: a server at level 2.
func TestLeasesNeedTheirLevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		for _, a := range []answer{
			askJSON(s, "POST", "/v1/leases", `{"ttl":"15s"}`), ask(s, "PUT", "/v1/kv/k?ttl=5s", "v"), ask(s, "PUT", "/v1/kv/k?ttl=keep", "v"),
			ask(s, "PUT", "/v1/kv/k?lease=5", "v"), ask(s, "POST", "/v1/kv/k?op=touch&ttl=5s", ""), ask(s, "DELETE", "/v1/leases/5", ""),
			ask(s, "POST", "/v1/leases/5/keepalive", ""), ask(s, "GET", "/v1/leases", ""), ask(s, "GET", "/v1/leases/5", ""),
		} {
			wantProblem(t, a, 501, api.CodeNotActive, api.OutcomeNotApplied)
		}
		if log.Attempts() != 0 {
			t.Errorf("%d commands were proposed", log.Attempts())
		}
	})
}

// Goal (L11): keep-alives are served while puts fill all of their places, and a cluster
// that takes nothing else takes them.
// Method: two places for writes, whose puts the log holds; then a keep-alive.
func TestKeepAlivesHaveTheirOwnPlaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.Level, c.MaxInFlight = kv.LevelHistory, 2 })
		id := grant(t, s, `{"ttl":"60s"}`)
		log.Decide(func(p *raft.Proposal) {
			if c, err := kv.DecodeCommand(p.Command); err != nil || c.Op != kv.OpPut {
				log.Choose(p)
			}
		})
		var puts sync.WaitGroup
		for range 4 {
			puts.Go(func() { ask(s, "PUT", "/v1/kv/k", "v") })
		}
		synctest.Wait()
		begun := time.Now()
		wantStatus(t, ask(s, "POST", fmt.Sprintf("/v1/leases/%d/keepalive", id), ""), 200)
		if took := time.Since(begun); took > 50*time.Millisecond {
			t.Errorf("a keep-alive took %v", took)
		}
		puts.Wait()
	})
}
