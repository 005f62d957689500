package host

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/metrics"
	"raftkv/raft/core"
	"raftkv/raft/wire"
	"raftkv/tests/virtual"
)

// shownValue returns the value of a series as a scrape shows it, with its labels
// as they are written there; it fails if there is no such series.
func shownValue(t *testing.T, n *Node, series string) (value float64) {
	t.Helper()
	status, _, text := ask(t, n, "GET", "/metrics", "")
	if status != 200 {
		t.Fatalf("a scrape was answered with %d", status)
	}
	for line := range strings.Lines(text) {
		if number, is := strings.CutPrefix(line, metrics.Prefix+series+" "); is {
			if _, err := fmt.Sscan(number, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("%s shows no %s", n.config.ID, series)
	return 0
}

// Goal: the age of the oldest entry in memory is told within a hundredth of the
// time that is remembered, never as more than it is, and not at all where it is
// not known.
// Method: a log that is written for two hours, at paces that change, and
// forgotten in between.
func TestTheAgeOfTheLog(t *testing.T) {
	var a logAges
	now := time.Now()
	if _, known := a.oldest(1, now); known {
		t.Error("an age is known of an empty log")
	}
	came := map[uint64]time.Time{}
	last, first := uint64(41), uint64(1)
	for i := range 40_000 {
		now = now.Add(time.Duration(1+i%7*i%300) * time.Millisecond)
		var w core.Write
		for range i % 3 {
			last++
			came[last] = now
			w.Entries = append(w.Entries, core.NewEntry(last, 0, core.KindCommand, nil))
		}
		a.saved(&w, now)
		if i%1000 != 999 {
			continue
		}
		age, known := a.oldest(first, now)
		if known != (first > 41) {
			t.Fatalf("after %d writes it is known of entry %d: %v", i, first, known)
		}
		if known {
			true_, span := now.Sub(came[first]), now.Sub(came[max(first/2, 42)])
			if age > true_ || age < true_-span/100 {
				t.Fatalf("after %d writes entry %d is %v old, told as %v", i, first, true_, age)
			}
		}
		first = last / 2
		if len(a.marks) > maxLogMarks {
			t.Fatalf("%d marks are kept", len(a.marks))
		}
	}
	// A new leader puts other entries in the place of the last ones.
	a.saved(&core.Write{Entries: []core.Entry{core.NewEntry(last-10, 0, core.KindCommand, nil)}}, now.Add(time.Hour))
	if age, known := a.oldest(last-10, now.Add(time.Hour)); !known || age != 0 {
		t.Errorf("an entry that has come now is told to be %v old", age)
	}
	if _, known := a.oldest(last+1, now.Add(time.Hour)); known {
		t.Error("an age is known of a log that holds nothing")
	}
}

// Goal: heartbeats that come late are counted, those in time and those of
// another term are not; snapshots that were lost are counted.
// Method: a transport with no peer to reach, and a clock of the test's.
func TestLateHeartbeatsAndLostSnapshotsAreCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{ClusterID: "test", ID: "n1", Members: Members{"n1": l.Addr().String(), "n2": "127.0.0.1:1"}, ElectionTimeout: testElectionTimeout}
	unstarted, err := wire.New(wire.Config{
		ClusterID: c.ClusterID, ID: c.ID, Peers: c.Members.Others(c.ID), Listener: l, ClientAddr: "x:1", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unstarted.Close()
	registry := prometheus.NewRegistry()
	timed := newTimedTransport(unstarted, registry, c)
	virtual.Time(t, func(t *testing.T) {
		const beat = heartbeatTicks * testElectionTimeout / electionTicks
		lost := 0
		send := func(m core.Request) {
			timed.Send(core.Call{To: "n2", Request: m}, func(_ core.Call, reply core.Reply) {
				if reply == nil {
					lost++
				}
			})
		}
		for range 10 {
			send(&core.AppendEntries{Term: 1})
			time.Sleep(beat)
		}
		time.Sleep(3 * beat) // late once
		send(&core.AppendEntries{Term: 1})
		time.Sleep(time.Hour) // it did not lead
		send(&core.AppendEntries{Term: 3})
		send(&core.InstallSnapshot{Term: 3})
		if lost != 13 {
			t.Errorf("%d calls were told to be lost, want 13", lost)
		}
	})
	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{"raft_heartbeat_late_total": 1, "raft_snapshot_send_failures_total": 1, "raft_snapshot_send_duration_seconds": 0} {
		if got[metrics.Prefix+name] != want {
			t.Errorf("%s is %v, want %v", name, got[metrics.Prefix+name], want)
		}
	}
}
