package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"raftkv/kvserver/clerkwire"
)

// Metrics are the instruments of one server, and how all that is in their registry
// is shown. All methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	requestSeconds *prometheus.HistogramVec
	requestsNow    *prometheus.GaugeVec
	requestBytes   *prometheus.CounterVec
	responseBytes  *prometheus.CounterVec
	clerkSeconds   [clerkwire.KindUnwatch + 1]prometheus.Histogram // by the request's kind, as clerkOps
	rejected       []prometheus.Counter                            // as rejections
	forwarded      []prometheus.Counter                            // by hop

	proposals    []prometheus.Counter // by proposalEnd
	applySeconds prometheus.Histogram
	applyEntries prometheus.Histogram

	linearizable, stale prometheus.Counter // reads
	readIndexSeconds    prometheus.Histogram
	readIndexFailures   []prometheus.Counter // by readIndexFailure

	snapshotSeconds prometheus.Histogram // that a snapshot took to be written
	restoreSeconds  prometheus.Histogram // that a state took to be read
	handoverSeconds prometheus.Histogram // from the arrival of a release to the next holder
	lastRestore     prometheus.Gauge

	sessionReplays, keyReplays prometheus.Counter
	transacted                 []prometheus.Counter // as branches

	authRequests       []prometheus.Counter // by access.Result
	wouldDeny, limited *prometheus.CounterVec
}

// New makes the instruments and puts them into a registry, which must have none
// yet.
func New(registry *prometheus.Registry) *Metrics {
	t := &instruments
	m := &Metrics{
		registry:          registry,
		requestSeconds:    t.requestSeconds.Histograms(registry),
		requestsNow:       t.requestsNow.Gauges(registry),
		requestBytes:      t.requestBytes.Counters(registry),
		responseBytes:     t.responseBytes.Counters(registry),
		rejected:          t.rejected.Counts(registry),
		forwarded:         t.forwarded.Counts(registry),
		proposals:         t.proposals.Counts(registry),
		applySeconds:      t.applySeconds.Histogram(registry),
		applyEntries:      t.applyEntries.Histogram(registry),
		readIndexSeconds:  t.readIndexSeconds.Histogram(registry),
		readIndexFailures: t.readIndexFailures.Counts(registry),
		snapshotSeconds:   t.snapshotSeconds.Histogram(registry),
		restoreSeconds:    t.restoreSeconds.Histogram(registry),
		handoverSeconds:   t.handoverSeconds.Histogram(registry),
		lastRestore:       t.lastRestore.Gauges(registry).WithLabelValues(),
	}
	reads, replays := t.reads.Counts(registry), t.replays.Counts(registry)
	m.linearizable, m.stale = reads[0], reads[1]
	m.sessionReplays, m.keyReplays = replays[0], replays[1]
	m.transacted = t.transacted.Counts(registry)
	m.authRequests, m.wouldDeny, m.limited = t.authRequests.Counts(registry), t.wouldDeny.Counters(registry), t.limited.Counters(registry)
	clerks := t.clerkSeconds.Histograms(registry)
	for kind, op := range clerkOps {
		m.clerkSeconds[kind] = clerks.WithLabelValues(op).(prometheus.Histogram)
	}
	return m
}

// Handler answers scrapes with all that is in the registry.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true, ErrorHandling: promhttp.HTTPErrorOnError})
}
