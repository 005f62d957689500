package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Report is a Result with the settings it was measured with, as JSON.
type Report struct {
	Face      string        `json:"face"` // clerk or http
	Clients   int           `json:"clients"`
	Conns     int           `json:"conns"`
	ValueSize int           `json:"value_size"`
	Keys      int           `json:"keys"`
	Mix       string        `json:"mix"`
	Rate      float64       `json:"rate,omitempty"` // asked for, per second; 0: closed loop
	Seconds   float64       `json:"seconds"`
	OpsPerSec float64       `json:"ops_per_second"` // done, of all kinds
	Ops       []OpReport    `json:"ops"`
	Failures  []FailedCount `json:"failures,omitempty"`
	CPU       *CPUReport    `json:"cpu,omitempty"`
	Host      *HostReport   `json:"host,omitempty"`
}

// OpReport is the result of one operation.
type OpReport struct {
	Op        Op      `json:"op"`
	Count     uint64  `json:"count"` // done
	OpsPerSec float64 `json:"ops_per_second"`
	MeanUs    float64 `json:"mean_us"`
	P50Us     float64 `json:"p50_us"`
	P90Us     float64 `json:"p90_us"`
	P99Us     float64 `json:"p99_us"`
	P999Us    float64 `json:"p99_9_us"`
	MaxUs     float64 `json:"max_us"`
}

// FailedCount is the number of times that an operation failed in one way.
type FailedCount struct {
	Op      Op     `json:"op"`
	Outcome string `json:"outcome"`
	Code    string `json:"code"`
	Count   int    `json:"count"`
}

// CPUReport is the processor time for one operation that was done.
type CPUReport struct {
	ServerUs float64 `json:"server_us_per_op"` // of all server processes together
	ClientUs float64 `json:"client_us_per_op"`
	Servers  []int   `json:"server_pids"`
}

// HostReport describes the load of this host while it measured. On a host that
// has other work the figures include that work.
type HostReport struct {
	Processors  int     `json:"processors"`
	Load        float64 `json:"load"`         // the average of the last minute, at the end
	IdlePercent float64 `json:"idle_percent"` // of all processors together, while it measured
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// NewReport sums up a result.
func NewReport(face string, conns int, c Config, r Result) Report {
	report := Report{
		Face: face, Clients: c.Clients, Conns: conns, ValueSize: c.ValueSize, Keys: c.Keys, Mix: c.Mix.String(),
		Rate: c.Rate, Seconds: r.Elapsed.Seconds(),
	}
	for _, op := range Ops {
		m := r.ByOp[op]
		if m == nil {
			continue
		}
		h := &m.Latency
		perSecond := float64(h.Count()) / r.Elapsed.Seconds()
		report.OpsPerSec += perSecond
		report.Ops = append(report.Ops, OpReport{
			Op: op, Count: h.Count(), OpsPerSec: perSecond, MeanUs: micros(h.Mean()),
			P50Us: micros(h.Percentile(50)), P90Us: micros(h.Percentile(90)), P99Us: micros(h.Percentile(99)),
			P999Us: micros(h.Percentile(99.9)), MaxUs: micros(h.Max()),
		})
		for _, what := range slices.Sorted(maps.Keys(m.Failures)) {
			outcome, code, _ := strings.Cut(what, " ")
			report.Failures = append(report.Failures, FailedCount{op, outcome, code, m.Failures[what]})
		}
	}
	return report
}

// Done returns the number of operations that were done.
func (r Report) Done() (n uint64) {
	for _, op := range r.Ops {
		n += op.Count
	}
	return n
}

// String returns the report for people.
func (r Report) String() string {
	var b strings.Builder
	loop := "closed loop"
	if r.Rate > 0 {
		loop = fmt.Sprintf("open loop of %.0f/s", r.Rate)
	}
	writeWrapped(&b, []string{
		r.Face, count(r.Clients, "client", "clients") + " on " + count(r.Conns, "connection", "connections"), loop,
		fmt.Sprintf("%d-byte values", r.ValueSize), fmt.Sprintf("%d keys", r.Keys), r.Mix, fmt.Sprintf("%.1f s", r.Seconds),
	})
	b.WriteString("\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "op\tdone\tops/s\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, o := range r.Ops {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t\n", o.Op, o.Count, o.OpsPerSec,
			readable(o.MeanUs), readable(o.P50Us), readable(o.P90Us), readable(o.P99Us), readable(o.P999Us), readable(o.MaxUs))
	}
	w.Flush() // to memory
	b.WriteString("\n")
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "%d × %s failed: %s, outcome %s\n", f.Count, f.Op, f.Code, f.Outcome)
	}
	if len(r.Failures) == 0 {
		b.WriteString("nothing failed\n")
	}
	if r.CPU != nil {
		fmt.Fprintf(&b, "CPU per operation: servers %.1f µs (%s), client %.1f µs\n", r.CPU.ServerUs, count(len(r.CPU.Servers), "process", "processes"), r.CPU.ClientUs)
	}
	if h := r.Host; h != nil {
		fmt.Fprintf(&b, "this host: load %.1f on %s, %.0f %% idle meanwhile\n", h.Load, count(h.Processors, "processor", "processors"), h.IdlePercent)
	}
	return b.String()
}

// writeWrapped writes parts with commas between, in lines that fit into a
// terminal.
func writeWrapped(b *strings.Builder, parts []string) {
	const columns = 80
	room := columns
	for i, part := range parts {
		if i < len(parts)-1 {
			part += ","
		}
		need := utf8.RuneCountInString(part)
		switch {
		case i > 0 && need+1 > room:
			b.WriteString("\n")
			room = columns
		case i > 0:
			b.WriteString(" ")
			room--
		}
		b.WriteString(part)
		room -= need
	}
	b.WriteString("\n")
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// readable writes microseconds for people, in three digits or more. Up to ten
// seconds the unit stays, so that a row can be compared.
func readable(us float64) string {
	switch ms := us / 1000; {
	case us < 1000:
		return fmt.Sprintf("%.0f µs", us)
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
}
