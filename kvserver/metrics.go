package kvserver

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Metrics are the instruments of one server's request path, and how all that is
// in their registry is shown. A nil *Metrics measures nothing. Labels have few
// values: routes as they stand in Routes, never a path or a key.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler // answers a scrape

	requestSeconds *prometheus.HistogramVec                     // route, method, code
	requestsNow    *prometheus.GaugeVec                         // route
	requestBytes   *prometheus.CounterVec                       // route
	responseBytes  *prometheus.CounterVec                       // route
	clerkSeconds   [clerkwire.KindList + 1]prometheus.Histogram // by the request's kind, as clerkOps
	rejected       []prometheus.Counter                         // as rejections
	forwarded      []prometheus.Counter                         // by hop

	proposals     []prometheus.Counter // by proposalEnd
	applySeconds  prometheus.Histogram
	applyCommands prometheus.Histogram

	linearizable, stale prometheus.Counter // reads
	readIndexSeconds    prometheus.Histogram
	readIndexFailures   []prometheus.Counter // by readIndexFailure

	snapshotSeconds prometheus.Histogram // that a snapshot took to be written
	restoreSeconds  prometheus.Histogram // that a state took to be read
	lastRestore     prometheus.Gauge

	sessionReplays, keyReplays prometheus.Counter
}

// metricsPrefix begins the name of every metric.
const metricsPrefix = "raftkv_"

// Buckets of the histograms, in seconds: from what a request takes on an idle
// node with a fast disk to the time-out of a request.
var (
	requestBuckets  = prometheus.ExponentialBucketsRange(0.000_1, 12.8, 18)
	applyBuckets    = prometheus.ExponentialBucketsRange(0.000_002, 0.5, 14)
	snapshotBuckets = prometheus.ExponentialBuckets(0.001, 2, 20) // to a quarter of an hour
	batchBuckets    = prometheus.ExponentialBuckets(1, 2, 9)      // up to maxApplyBatch
)

// NewMetrics makes the instruments and puts them into a registry, which must
// have none yet, and which GET /metrics will show with all else that is in it.
// Counters exist from the start: one that appears with its first event has no
// rate, and alerts would miss that event.
func NewMetrics(registry *prometheus.Registry) *Metrics {
	in := maker{registry}
	m := &Metrics{
		registry: registry,
		handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true, ErrorHandling: promhttp.HTTPErrorOnError}),

		requestSeconds: in.histograms("http_request_duration_seconds", "Time from the header of a request to the end of its answer. Code 499: the client was gone.", requestBuckets, "route", "method", "code"),
		requestsNow:    in.gauges("http_requests_in_flight", "Requests that are being served.", "route"),
		requestBytes:   in.counters("http_request_bytes_total", "Bytes of request bodies, as announced by their headers.", "route"),
		responseBytes:  in.counters("http_response_bytes_total", "Bytes of answer bodies.", "route"),
		forwarded:      in.counts("forwarded_requests_total", "Writes carried to the leader on another node, by what came of it.", "result", hops[:]),

		proposals:     in.counts("raft_proposals_total", "Commands proposed by this node, by how they ended.", "result", proposalEnds[:]),
		applySeconds:  in.histogram("raft_apply_duration_seconds", "Time to apply one batch of committed commands to the store.", applyBuckets),
		applyCommands: in.histogram("raft_apply_batch_entries", "Log entries in one batch applied to the store.", batchBuckets),

		readIndexSeconds:  in.histogram("raft_read_index_duration_seconds", "Time until a majority had confirmed the leader for a linearizable read.", requestBuckets),
		readIndexFailures: in.counts("raft_read_index_failures_total", "Linearizable reads that no majority confirmed, by reason.", "reason", readIndexFailures[:]),
	}
	m.snapshotSeconds = in.histogram("raft_snapshot_create_duration_seconds", "Time to write a snapshot of the store to the disk.", snapshotBuckets)
	m.restoreSeconds = in.histogram("raft_snapshot_restore_duration_seconds", "Time to make the store of a snapshot, at the start of the node or when one came from the leader.", snapshotBuckets)
	m.lastRestore = in.gauges("raft_last_restore_duration_seconds", "How long that took the last time; 0 if there was no snapshot to start from.").WithLabelValues()
	var reasons []string
	for _, r := range rejections {
		reasons = append(reasons, r.label)
	}
	m.rejected = in.counts("requests_rejected_total", "Requests refused for the state of the node or cluster, by reason; none of them has changed anything.", "reason", reasons)
	reads := in.counts("raft_reads_total", "Reads served by this node, by consistency.", "mode", []string{api.ConsistencyLinearizable, api.ConsistencyStale})
	m.linearizable, m.stale = reads[0], reads[1]
	replays := in.counts("dedup_hits_total", "Repeated requests answered from memory without being applied again, by what recognised them.", "by", []string{"session", "idempotency_key"})
	m.sessionReplays, m.keyReplays = replays[0], replays[1]
	clerks := in.histograms("clerk_request_duration_seconds", "Time from the arrival of a Clerk's request to its answer, refusals after it was let in included.", requestBuckets, "op")
	for kind, op := range clerkOps {
		m.clerkSeconds[kind] = clerks.WithLabelValues(op).(prometheus.Histogram)
	}
	return m
}

// maker puts instruments into a registry.
type maker struct{ registry *prometheus.Registry }

func (m maker) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

// counts makes a counter for each value of a label, in their order.
func (m maker) counts(name, help, label string, values []string) (all []prometheus.Counter) {
	c := m.counters(name, help, label)
	for _, v := range values {
		all = append(all, c.WithLabelValues(v))
	}
	return all
}

func (m maker) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricsPrefix + name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m maker) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metricsPrefix + name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

func (m maker) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return m.histograms(name, help, buckets).WithLabelValues().(prometheus.Histogram)
}
