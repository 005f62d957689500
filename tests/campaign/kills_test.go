package campaign

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var (
	leaderKills = flag.Int("leaderkills", 0, "how many leaders TestCampaignOfLeaderKills kills; 0 skips it")
	outages     = flag.Int("outages", 0, "how many times TestCampaignOfOutages kills all nodes at once; 0 skips it")
)

// takeoverLimit is the p50 that the time without acknowledged writes after a
// leader's death may have on two cores.
const takeoverLimit = 150 * time.Millisecond

// takeover catches the first append that a later leader acknowledges.
type takeover struct {
	term atomic.Uint64 // of the leader that dies; 0: nothing is waited for
	acks chan time.Time
}

// await calls end, which ends the leader of a term, and returns the time from
// then to the first acknowledgement by a leader of a later term.
func (w *takeover) await(t *testing.T, term uint64, end func()) time.Duration {
	t.Helper()
	w.acks = make(chan time.Time, 1)
	w.term.Store(term)
	begun := time.Now()
	end()
	select {
	case acked := <-w.acks:
		return acked.Sub(begun)
	case <-time.After(cluster.Patience):
		t.Fatal("no append was acknowledged any more")
		return 0
	}
}

// note takes an acknowledgement.
func (w *takeover) note(term uint64) {
	if of := w.term.Load(); of != 0 && term > of && w.term.CompareAndSwap(of, 0) {
		w.acks <- time.Now()
	}
}

// Goal: a killed leader is replaced in about a tenth of a second, and every
// acknowledged append is there exactly once and in order.
// Method: kill -9 the leader under appends, many times; measure from the kill to
// the first append that a later leader acknowledges.
func TestCampaignOfLeaderKills(t *testing.T) {
	if *leaderKills == 0 {
		t.Skip("say -leaderkills")
	}
	c := cluster.Start(t, 3)
	var next takeover
	var takeovers []time.Duration
	acknowledged, unknown := 0, 0
	for kill := range *leaderKills {
		l := cluster.StartLoad(fmt.Sprintf("kill%d", kill), 3, cluster.Addresses(c.Nodes), next.note)
		l.AwaitProgress(t, 100)
		leader := c.Leader()
		takeovers = append(takeovers, next.await(t, cluster.MustStatus(t, leader).Term, leader.Kill))
		l.AwaitProgress(t, 100)
		leader.Start()
		leader.AwaitServing()
		l.End()
		for _, s := range c.Nodes {
			l.Verify(t, s)
		}
		acknowledged, unknown = acknowledged+l.Acknowledged(), unknown+l.Unknown()
		if t.Failed() {
			return
		}
	}
	cluster.AwaitEqual(t, c)
	report(t, "leader killed", "from the kill to the next acknowledged append", takeovers, acknowledged, unknown)
	if p50 := percentile(takeovers, 50); p50 > takeoverLimit {
		t.Errorf("p50 is %v; the limit is %v", p50, takeoverLimit)
	}
}

// Goal: nothing acknowledged is lost when all nodes die at once.
// Method: kill -9 all three under load, start them, verify this round and all
// rounds before; many times.
func TestCampaignOfOutages(t *testing.T) {
	if *outages == 0 {
		t.Skip("say -outages")
	}
	c := cluster.Start(t, 3)
	var recoveries []time.Duration
	var rounds []*cluster.Load
	acknowledged, unknown := 0, 0
	for round := range *outages {
		l := cluster.StartLoad(fmt.Sprintf("outage%d", round), 8, cluster.Addresses(c.Nodes), nil)
		l.AwaitProgress(t, 50+round*13%200) // not always at the same moment
		c.KillAll()
		l.End()
		begun := time.Now()
		c.Start()
		recoveries = append(recoveries, time.Since(begun))
		rounds = append(rounds, l)
		l.Verify(t, c.Nodes[round%3])
		if t.Failed() {
			return
		}
		acknowledged, unknown = acknowledged+l.Acknowledged(), unknown+l.Unknown()
	}
	for _, l := range rounds {
		for _, s := range c.Nodes {
			l.Verify(t, s)
		}
	}
	cluster.AwaitEqual(t, c)
	report(t, "all nodes killed", "from the start of the processes until all serve", recoveries, acknowledged, unknown)
}

// report prints what a campaign measured.
func report(t *testing.T, event, measure string, took []time.Duration, acknowledged, unknown int) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s  %6s  %8s  %8s  %8s  %8s  %12s  %8s\n", "event", "times", "p50", "p90", "p99", "max", "acknowledged", "unknown")
	ms := func(percent int) string {
		return fmt.Sprintf("%.1f ms", float64(percentile(took, percent).Microseconds())/1000)
	}
	fmt.Fprintf(&b, "%-18s  %6d  %8s  %8s  %8s  %8s  %12d  %8d\n", event, len(took), ms(50), ms(90), ms(99), ms(100), acknowledged, unknown)
	fmt.Fprintf(&b, "(%s; nothing acknowledged was lost or doubled)", measure)
	t.Log("\n" + b.String())
}

// percentile returns the smallest value that the given percentage of them do not exceed.
func percentile(values []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
