package clerkd

import (
	"fmt"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
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

// Goal: Clerks are counted as HTTP is. Method: one of each request, a copy of a
// write, a refusal.
func TestMetricsCountClerks(t *testing.T) {
	s, log := newServer(t, nil)
	c := upgrade(t, s)
	c.written(c.write(clerkwire.KindPut, "k", "1"), clerkwire.KindPut)
	c.seq-- // the same call again
	c.written(c.write(clerkwire.KindPut, "k", "1"), clerkwire.KindPut)
	c.written(c.write(clerkwire.KindAppend, "k", "2"), clerkwire.KindAppend)
	if got := c.get("k"); got != "12" {
		t.Fatalf("the value is %q", got)
	}
	c.want(askClerk(c, clerkwire.KindList, clerkwire.List{Consistency: clerkwire.Stale}), clerkwire.KindListed, new(clerkwire.Listed))
	log.SetLeader("")
	c.wantRefused(c.write(clerkwire.KindPut, "k", "3"), api.CodeNoLeader, api.OutcomeNotApplied)
	// What is counted when the answer has left may come a moment after it.
	deadline := time.Now().Add(20 * time.Second)
	for {
		f, wrong := scrape(t, s), ""
		for _, want := range []struct {
			family, label string
			value         float64
		}{
			{"clerk_request_duration_seconds", "op=open_session", 1},
			{"clerk_request_duration_seconds", "op=put", 2},
			{"clerk_request_duration_seconds", "op=append", 1},
			{"clerk_request_duration_seconds", "op=get", 1},
			{"clerk_request_duration_seconds", "op=list", 1},
			{"raft_proposals_total", "result=applied", 4},
			{"raft_reads_total", "mode=linearizable", 1},
			{"raft_reads_total", "mode=stale", 1},
			{"dedup_hits_total", "by=session", 1},
			{"requests_rejected_total", "reason=no_leader", 1},
		} {
			if got := value(f[metrics.Prefix+want.family], want.label); got != want.value {
				wrong += fmt.Sprintf("%s{%s} is %v, want %v; ", want.family, want.label, got, want.value)
			}
		}
		if pending := value(f[metrics.Prefix+"raft_proposals_pending"]); pending != 0 {
			wrong += fmt.Sprintf("%v proposals are pending", pending)
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
		time.Sleep(time.Millisecond)
	}
}
