package httpd

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/metrics"
)

// scrape returns the families of a server's registry by name.
func scrape(t *testing.T, s *testServer) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// value sums the series of a family that have the labels, written as name=value:
// counters and gauges by their value, histograms by their count.
func value(f *dto.MetricFamily, labels ...string) (sum float64) {
series:
	for _, m := range f.GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		for _, want := range labels {
			if !has[want] {
				continue series
			}
		}
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum
}

// Goal: each thing that is counted is counted once, under the right labels.
func TestMetricsCountWhatHappens(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.MaxStoreBytes = 100 })
	ask(s, "PUT", "/v1/kv/a", "1")
	ask(s, "PUT", "/v1/kv/a", "22", "Idempotency-Key", "x")
	ask(s, "PUT", "/v1/kv/a", "22", "Idempotency-Key", "x")
	ask(s, "GET", "/v1/kv/a", "")
	ask(s, "GET", "/v1/kv/nothing?consistency=stale", "")
	ask(s, "PUT", "/v1/kv/b", strings.Repeat("v", 200))
	ask(s, "PUT", "/v1/kv/a?cas=77", "1")

	f := scrape(t, s)
	for _, c := range []struct {
		family string
		labels []string
		want   float64
	}{
		{"http_request_duration_seconds", []string{"route=/v1/kv/{key}", "method=PUT", "code=201"}, 1},
		{"http_request_duration_seconds", []string{"route=/v1/kv/{key}", "method=PUT", "code=200"}, 2},
		{"http_request_duration_seconds", []string{"route=/v1/kv/{key}", "method=PUT", "code=507"}, 1},
		{"http_request_duration_seconds", []string{"route=/v1/kv/{key}", "method=PUT", "code=412"}, 1},
		{"http_request_duration_seconds", []string{"route=/v1/kv/{key}", "method=GET", "code=404"}, 1},
		{"http_requests_in_flight", []string{"route=/v1/kv/{key}"}, 0},
		{"http_request_bytes_total", []string{"route=/v1/kv/{key}"}, 1 + 2 + 2 + 200 + 1},
		{"requests_rejected_total", []string{"reason=quota"}, 1},
		{"requests_rejected_total", nil, 1},
		{"raft_proposals_total", []string{"result=applied"}, 3},
		{"raft_proposals_total", []string{"result=rejected"}, 2},
		{"raft_proposals_pending", nil, 0},
		{"raft_apply_batch_entries", nil, 5},
		{"raft_reads_total", []string{"mode=linearizable"}, 1},
		{"raft_reads_total", []string{"mode=stale"}, 1},
		{"raft_read_index_duration_seconds", nil, 1},
		{"dedup_hits_total", []string{"by=idempotency_key"}, 1},
		{"store_keys", nil, 1},
		{"store_size_bytes", nil, 3},
		{"quota_bytes", nil, 100},
		{"idempotency_records", nil, 1},
	} {
		family := f[metrics.Prefix+c.family]
		if family == nil {
			t.Errorf("there is no %s", c.family)
		} else if got := value(family, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.family, c.labels, got, c.want)
		}
	}
}

// Goal: operators see that states are compared, and at once when a node is
// fenced. Method: a node alone, which is always right, before and after a fault.
func TestMetricsShowIntegrity(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.IntegrityInterval = time.Millisecond })
	log.Deliver(fakelog.PutCommand("a", "1"))
	deadline := time.Now().Add(20 * time.Second)
	for s.Integrity().OKIndex == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the state is not compared")
		}
		time.Sleep(time.Millisecond)
	}
	f := scrape(t, s)
	if value(f[metrics.Prefix+"integrity_checks_total"], "result=ok") < 1 || value(f[metrics.Prefix+"integrity_last_ok_timestamp_seconds"]) < 1e9 || value(f[metrics.Prefix+"integrity_diverged"]) != 0 {
		t.Errorf("%v", f)
	}
	s.Machine().Quarantine("the test says so")
	if f := scrape(t, s); value(f[metrics.Prefix+"integrity_diverged"]) != 1 {
		t.Errorf("%v", f[metrics.Prefix+"integrity_diverged"])
	}
}

// Goal: whatever clients ask for, labels have few values, and no key or path is
// one of them.
func TestMetricsHaveBoundedLabels(t *testing.T) {
	s, _ := newServer(t, nil)
	before := 0
	for i := range 100 {
		key := "secret" + strings.Repeat("x", i)
		ask(s, "PUT", "/v1/kv/"+key, key)
		ask(s, "GET", "/v1/kv?prefix="+key, "")
		ask(s, "GET", "/"+key, "")
		ask(s, "BREW"+key, "/v1/kv/"+key, "")
		series := 0
		for name, f := range scrape(t, s) {
			series += len(f.GetMetric())
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if strings.Contains(l.GetValue(), "secret") {
						t.Fatalf("%s has a label %s=%q", name, l.GetName(), l.GetValue())
					}
				}
			}
		}
		if i == 0 {
			before = series
		}
		if series > before+2 { // 200 in addition to 201, and nothing else
			t.Fatalf("request %d made %d series of %d", i, series, before)
		}
	}
}

// Goal: a client that leaves is not counted as a failure of the server.
func TestAClientThatLeftIsNoFailure(t *testing.T) {
	s, log := newServer(t, nil)
	held := log.Held()
	ctx, leave := context.WithCancel(context.Background())
	done := make(chan answer)
	go func() { done <- askCtx(ctx, s, "PUT", "/v1/kv/a", "1") }()
	<-held
	leave()
	<-done
	f := scrape(t, s)[metrics.Prefix+"http_request_duration_seconds"]
	if got := value(f, "code=499"); got != 1 {
		t.Errorf("%v requests have the code 499, want 1: %v", got, f)
	}
	if got := value(f, "code=504"); got != 0 {
		t.Errorf("%v requests have the code 504, want none", got)
	}
}

// Goal: neither a scrape that hangs nor a thousand at once keep a request from
// being served.
func TestScrapesDisturbNobody(t *testing.T) {
	s, _ := newServer(t, nil)
	ts := serveHTTP(t, s)
	for range 2 * s.Load(kvserver.Scrapes).Limit { // they ask and never read
		conn, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost: " + ts.Listener.Addr().String() + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	var scrapes sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 1000 {
		scrapes.Go(func() {
			code := ask(s, "GET", "/metrics", "").status
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	client := &http.Client{Timeout: 10 * time.Second}
	for range 20 {
		response, err := client.Get(ts.URL + "/v1/kv/a?consistency=stale")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 404 {
			t.Fatalf("a request beside scrapes was answered with %d", response.StatusCode)
		}
	}
	scrapes.Wait()
	if codes[200] == 0 || codes[200]+codes[429] != 1000 {
		t.Errorf("scrapes were answered with %v", codes)
	}
	if got := ask(s, "GET", "/metrics", ""); got.status != 200 || !strings.Contains(got.body, metrics.Prefix+"store_keys") {
		t.Errorf("a scrape afterwards: %d\n%.300s", got.status, got.body)
	}
}

// Goal: a server without metrics works, and says that it has none.
func TestAServerMayMeasureNothing(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.unmeasured = true })
	if got := ask(s, "PUT", "/v1/kv/a", "1"); got.status != 201 {
		t.Errorf("a put was answered with %d", got.status)
	}
	if got := ask(s, "GET", "/metrics", ""); got.status != 404 || !strings.Contains(got.body, string(api.CodeNotFound)) {
		t.Errorf("a scrape was answered with %d %s", got.status, got.body)
	}
}
