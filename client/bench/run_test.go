package bench

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"raftkv/tests/virtual"
)

// fakeTarget takes its time, which can be changed for a while.
type fakeTarget struct {
	mu      sync.Mutex
	took    time.Duration
	stalled func(since time.Duration) bool // while it is, requests wait for its end
	begun   time.Time
	asked   map[Op]int
	fail    string
}

func (f *fakeTarget) Do(_ context.Context, _ int, op Op, key string, value []byte) string {
	f.mu.Lock()
	f.asked[op]++
	failure := f.fail
	f.mu.Unlock()
	time.Sleep(f.took)
	for f.stalled != nil && f.stalled(time.Since(f.begun)) {
		time.Sleep(time.Millisecond)
	}
	if !strings.HasPrefix(key, "bench/") || len(value) != 10 {
		return "not_applied odd"
	}
	return failure
}

func newFakeTarget() *fakeTarget {
	return &fakeTarget{took: time.Millisecond, begun: time.Now(), asked: map[Op]int{}}
}

func mustMix(t *testing.T, text string) Mix {
	t.Helper()
	m, err := ParseMix(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Goal: a standstill of the servers shows in an open loop in every request that
// was due meanwhile. Method: a second of standstill in ten; a closed loop of the
// same clients runs for comparison and shows almost nothing.
func TestAnOpenLoopOmitsNothing(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		for _, rate := range []float64{0, 500} {
			f := newFakeTarget()
			f.stalled = func(since time.Duration) bool { return since >= 4*time.Second && since < 5*time.Second }
			r := Run(t.Context(), Config{
				Clients: 4, Keys: 10, ValueSize: 10, Mix: mustMix(t, "put=1"), Duration: 10 * time.Second, Rate: rate, Timeout: time.Minute,
			}, f)
			h := &r.ByOp[Put].Latency
			if rate == 0 {
				if p99 := h.Percentile(99); p99 > 2*time.Millisecond {
					t.Errorf("closed loop: p99 is %v", p99)
				}
				continue
			}
			if n := h.Count(); n < 4990 || n > 5001 {
				t.Errorf("%d requests, where 5000 were due", n)
			}
			// A tenth of all was due in the standstill and waited half a second on
			// the average.
			if p90, p99 := h.Percentile(89), h.Percentile(99); p90 > 300*time.Millisecond || p99 < 850*time.Millisecond {
				t.Errorf("p89 is %v, p99 %v", p90, p99)
			}
		}
	})
}

// Goal: the end of the context ends an open loop that is far behind, which waits
// for nothing and has all the work of the rest of its time before it.
func TestAnOpenLoopThatIsBehindCanBeEnded(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		r := Run(ctx, Config{
			Clients: 2, Keys: 10, ValueSize: 10, Mix: mustMix(t, "put=1"), Duration: 10 * time.Second, Rate: 100_000, Timeout: time.Second,
		}, newFakeTarget())
		if r.Elapsed > time.Second {
			t.Errorf("it went on for %v", r.Elapsed)
		}
	})
}

// Goal: the mix is drawn as it was asked for, all of the time is used, failures
// are counted by what they were, and preloading writes every key.
func TestRun(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		f := newFakeTarget()
		began, ended := false, false
		phases := map[string]bool{}
		r := Run(t.Context(), Config{
			Clients: 10, Keys: 200, ValueSize: 10, Mix: mustMix(t, "append=9,get=1"), Duration: 10 * time.Second, Warmup: time.Second,
			Timeout: time.Second, Preload: true,
			Progress: func(phase string, part float64) { phases[phase] = part >= 0 && part <= 1 },
			Begin:    func() { began = true }, End: func() { ended = began },
		}, f)
		if f.asked[Put] != 200 {
			t.Errorf("%d keys were preloaded", f.asked[Put])
		}
		appends, gets := r.ByOp[Append].Latency.Count(), r.ByOp[Get].Latency.Count()
		if n := appends + gets; n < 99_000 || n > 101_000 || gets < n*8/100 || gets > n*12/100 {
			t.Errorf("%d appends, %d gets", appends, gets)
		}
		if !ended || !phases["measuring"] || !phases["warming up"] {
			t.Errorf("%v %v", ended, phases)
		}
		f.fail = "unknown timeout"
		r = Run(t.Context(), Config{Clients: 1, Keys: 1, ValueSize: 10, Mix: mustMix(t, "get=1"), Duration: time.Second, Timeout: time.Second}, f)
		report := NewReport("Clerk", 1, Config{}, r)
		if report.Done() != 0 || len(report.Failures) != 1 || report.Failures[0].Code != "timeout" || report.Failures[0].Count < 990 {
			t.Errorf("%+v", report)
		}
	})
}

// Goal: a mix is read as it is written, and refused with the reason.
func TestMixes(t *testing.T) {
	if m := mustMix(t, " put=90, get=10"); m.String() != "put=90,get=10" {
		t.Error(m)
	}
	for _, bad := range []string{"", "put", "put=", "put=0", "put=-1", "put=x", "swim=1", "put=1,put=2", "put=1,"} {
		if _, err := ParseMix(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// Goal: what never left this process is not called unknown.
// Method: a put to a port at which nobody listens any more.
func TestARefusedConnectionIsNoUnknownOutcome(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	target := NewHTTPTarget([]string{l.Addr().String()}, 1, nil)
	defer target.Close()
	if got := target.Do(t.Context(), 0, Put, "k", nil); got != "not_applied no_connection" {
		t.Errorf("it ended with %q", got)
	}
}

// Goal: what another server says is no operation that was done. Method: a web
// server that answers every request well, one that sends clients elsewhere, and
// one that says "no such key" with the wrong status.
func TestOnlyNodesAreMeasured(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header http.Header
		want   string
	}{
		"a web server":             {200, nil, "unknown no_node"},
		"a redirect":               {302, http.Header{"Location": {"/elsewhere"}}, "unknown no_node"},
		"no such key, and 500":     {500, http.Header{"Kv-Request-Id": {"n1-1"}, "Kv-Error": {"key_not_found"}}, "not_applied key_not_found"},
		"a node":                   {200, http.Header{"Kv-Request-Id": {"n1-1"}}, ""},
		"a node without the key":   {404, http.Header{"Kv-Request-Id": {"n1-1"}, "Kv-Error": {"key_not_found"}}, ""},
		"a node that has no room":  {429, http.Header{"Kv-Error": {"overloaded; outcome=not_applied"}}, "not_applied overloaded"},
		"a node without its error": {503, http.Header{"Kv-Request-Id": {"n1-1"}}, "not_applied no_answer"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			maps.Copy(w.Header(), c.header)
			w.WriteHeader(c.status)
		}))
		target := NewHTTPTarget([]string{server.Listener.Addr().String()}, 1, nil)
		if got := target.Do(t.Context(), 0, Get, "k", nil); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		target.Close()
		server.Close()
	}
}

// Goal: the report fits into 80 columns, and a row keeps its unit as long as its
// figures can be compared.
func TestTheReportFitsAndKeepsItsUnits(t *testing.T) {
	r := Report{
		Face: "Clerk", Clients: 100_000, Conns: 100_000, ValueSize: 1 << 20, Keys: 100_000_000, Mix: "put=1,append=1,delete=1,get=1,stale=1", Rate: 5000, Seconds: 10,
		Ops:  []OpReport{{Op: Put, Count: 1_000_000, OpsPerSec: 100_000, MeanUs: 99_999, P50Us: 56_080, P90Us: 101_000, P99Us: 340_000, P999Us: 1_380_000, MaxUs: 9_999_000}},
		Host: &HostReport{Processors: 2, Load: 12.3, IdlePercent: 4},
	}
	text := r.String()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, part := range []string{"56.1 ms", "101 ms", "340 ms", "1380 ms", "9999 ms", "load 12.3 on 2 processors, 4 % idle"} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}

// Goal: the processor time of this process is known and rises with work.
func TestCPU(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; {
		now, err := CPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatal("half a minute of work took no time")
		}
	}
	if _, err := CPU(1 << 30); err == nil {
		t.Error("a process that does not exist has used time")
	}
}
