package kvserver

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Metrics are the instruments of one server's request path, and how all that is
// in their registry is shown. A nil *Metrics measures nothing. Labels have few
// values: routes as they stand in Routes, never a path or a key.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler // answers a scrape

	requestSeconds *prometheus.HistogramVec // route, method, code
	requestsNow    *prometheus.GaugeVec     // route
	requestBytes   *prometheus.CounterVec   // route
	responseBytes  *prometheus.CounterVec   // route
	rejected       *prometheus.CounterVec   // reason
	forwarded      *prometheus.CounterVec   // result

	proposals     *prometheus.CounterVec // result
	pending       prometheus.Gauge
	applySeconds  prometheus.Histogram
	applyCommands prometheus.Histogram

	reads             *prometheus.CounterVec // mode
	readIndexSeconds  prometheus.Histogram
	readIndexFailures *prometheus.CounterVec // reason

	replays *prometheus.CounterVec // by
}

// metricsPrefix begins the name of every metric.
const metricsPrefix = "raftkv_"

// Buckets of the histograms, in seconds: from what a request takes on an idle
// node with a fast disk to the time-out of a request.
var (
	requestBuckets = prometheus.ExponentialBucketsRange(0.000_1, 12.8, 18)
	applyBuckets   = prometheus.ExponentialBucketsRange(0.000_002, 0.5, 14)
	batchBuckets   = prometheus.ExponentialBuckets(1, 2, 9) // up to maxApplyBatch
)

// NewMetrics makes the instruments and puts them into a registry, which must
// have none yet, and which GET /metrics will show with all else that is in it.
func NewMetrics(registry *prometheus.Registry) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricsPrefix + name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metricsPrefix + name, Help: help, Buckets: buckets}, labels)
		registry.MustRegister(h)
		return h
	}
	plain := func(h *prometheus.HistogramVec) prometheus.Histogram {
		return h.WithLabelValues().(prometheus.Histogram)
	}
	m := &Metrics{
		registry: registry,
		handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true, ErrorHandling: promhttp.HTTPErrorOnError}),

		requestSeconds: histogram("http_request_duration_seconds", "Time from the header of a request to the end of its answer. Code 499: the client was gone.", requestBuckets, "route", "method", "code"),
		requestsNow:    gauge("http_requests_in_flight", "Requests that are being served.", "route"),
		requestBytes:   counter("http_request_bytes_total", "Bytes of request bodies, as announced by their headers.", "route"),
		responseBytes:  counter("http_response_bytes_total", "Bytes of answer bodies.", "route"),
		rejected:       counter("requests_rejected_total", "Requests refused for the state of the node or cluster, by reason; none of them has changed anything.", "reason"),
		forwarded:      counter("forwarded_requests_total", "Writes carried to the leader on another node, by what came of it.", "result"),

		proposals:     counter("raft_proposals_total", "Commands proposed by this node, by how they ended.", "result"),
		pending:       gauge("raft_proposals_pending", "Commands proposed by this node whose end is not known yet.").WithLabelValues(),
		applySeconds:  plain(histogram("raft_apply_duration_seconds", "Time to apply one batch of committed commands to the store.", applyBuckets)),
		applyCommands: plain(histogram("raft_apply_batch_entries", "Log entries in one batch applied to the store.", batchBuckets)),

		reads:             counter("raft_reads_total", "Reads served by this node, by consistency.", "mode"),
		readIndexSeconds:  plain(histogram("raft_read_index_duration_seconds", "Time until a majority had confirmed the leader for a linearizable read.", requestBuckets)),
		readIndexFailures: counter("raft_read_index_failures_total", "Linearizable reads that no majority confirmed, by reason.", "reason"),

		replays: counter("dedup_hits_total", "Repeated requests answered from memory without being applied again, by what recognised them.", "by"),
	}
	m.showZeros()
	return m
}

// showZeros makes the series that alerts compare exist from the start: a counter
// that appears with its first event has no rate.
func (m *Metrics) showZeros() {
	for _, reason := range rejections {
		m.rejected.WithLabelValues(reason.label)
	}
	for _, result := range []string{"answered", "not_sent", "lost"} {
		m.forwarded.WithLabelValues(result)
	}
	for _, result := range []string{"applied", "not_leader", "dropped", "rejected", "timeout", "unknown"} {
		m.proposals.WithLabelValues(result)
	}
	for _, by := range []string{"session", "idempotency_key"} {
		m.replays.WithLabelValues(by)
	}
	for _, reason := range []string{"no_leader", "timeout", "overload", "stopping"} {
		m.readIndexFailures.WithLabelValues(reason)
	}
}

// rejections are the refusals that are counted by reason.
var rejections = []struct {
	kind  error
	label string
}{
	{errOverloaded, "overload"},
	{errQuota, "quota"},
	{errValueTooLarge, "too_large"},
	{errNoLeader, "no_leader"},
	{errBehind, "behind"},
	{errStopping, "stopping"},
	{errIdempotencyFull, "idempotency_full"},
}

// passage is the measuring of one request on its route.
type passage struct {
	route, method string
	begun         time.Time
	code          int // 0 until the answer began
	sent          int // bytes of the answer's body
}

// enter notes that a request has found its route.
func (m *Metrics) enter(x *exchange, r Route) {
	if m == nil {
		return
	}
	x.passage = &passage{route: r.Path, method: r.Method, begun: time.Now()}
	m.requestsNow.WithLabelValues(r.Path).Inc()
	if x.r.ContentLength > 0 {
		m.requestBytes.WithLabelValues(r.Path).Add(float64(x.r.ContentLength))
	}
}

// clientGone is the code of requests whose client did not wait for the answer,
// so that no alert takes its leaving for a failure of the server.
const clientGone = 499

// leave notes that a request has its answer.
func (m *Metrics) leave(x *exchange) {
	p := x.passage
	if m == nil || p == nil {
		return
	}
	code := p.code
	if x.r.Context().Err() != nil {
		code = clientGone
	}
	m.requestsNow.WithLabelValues(p.route).Dec()
	m.responseBytes.WithLabelValues(p.route).Add(float64(p.sent))
	m.requestSeconds.WithLabelValues(p.route, p.method, strconv.Itoa(code)).Observe(time.Since(p.begun).Seconds())
}

// answering notes how a request is answered.
func (x *exchange) answering(code, length int) {
	if x.passage != nil {
		x.passage.code, x.passage.sent = code, length
	}
}

// refused counts a request that ended with an error.
func (m *Metrics) refused(err error) {
	if m == nil {
		return
	}
	for _, r := range rejections {
		if errors.Is(err, r.kind) {
			m.rejected.WithLabelValues(r.label).Inc()
			return
		}
	}
}

// hop counts a write that was carried to the leader.
func (m *Metrics) hop(err error) {
	if m == nil {
		return
	}
	result := "lost"
	switch {
	case err == nil:
		result = "answered"
	case errors.Is(err, errNoLeader), errors.Is(err, errStopping):
		result = "not_sent"
	}
	m.forwarded.WithLabelValues(result).Inc()
}

// proposed notes that a command was proposed.
func (m *Metrics) proposed() {
	if m != nil {
		m.pending.Inc()
	}
}

// settled counts the end of a proposal.
func (m *Metrics) settled(c kv.Command, result kv.Result, err error) {
	if m == nil {
		return
	}
	m.pending.Dec()
	if err == nil && result.Replayed {
		m.replayed(c)
	}
	ended := "unknown"
	switch {
	case err == nil && result.Status == kv.StatusOK:
		ended = "applied"
	case err == nil:
		ended = "rejected"
	case errors.Is(err, errNoLeader):
		ended = "not_leader"
	case errors.Is(err, errOverloaded), errors.Is(err, errStopping), errors.Is(err, errValueTooLarge):
		ended = "dropped"
	case errors.Is(err, errTimeout):
		ended = "timeout"
	}
	m.proposals.WithLabelValues(ended).Inc()
}

// replayed counts a command that was recognised as a copy.
func (m *Metrics) replayed(c kv.Command) {
	by := "session"
	if c.IdempotencyKey != "" {
		by = "idempotency_key"
	}
	m.replays.WithLabelValues(by).Inc()
}

// read counts a read that is served.
func (m *Metrics) read(consistency string) {
	if m != nil {
		m.reads.WithLabelValues(consistency).Inc()
	}
}

// confirmed notes how the question for a read index ended.
func (m *Metrics) confirmed(begun time.Time, err error) {
	if m == nil {
		return
	}
	reason := "no_leader"
	switch {
	case err == nil:
		m.readIndexSeconds.Observe(time.Since(begun).Seconds())
		return
	case errors.Is(err, errReadTimeout):
		reason = "timeout"
	case errors.Is(err, errOverloaded):
		reason = "overload"
	case errors.Is(err, errStopping):
		reason = "stopping"
	}
	m.readIndexFailures.WithLabelValues(reason).Inc()
}

// applied notes a batch of messages that went into the store.
func (m *Metrics) applied(batch []raft.ApplyMsg, begun time.Time) {
	if m == nil {
		return
	}
	m.applySeconds.Observe(time.Since(begun).Seconds())
	m.applyCommands.Observe(float64(len(batch)))
}
