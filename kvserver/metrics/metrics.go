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
	clerkSeconds   [clerkwire.KindList + 1]prometheus.Histogram // by the request's kind, as clerkOps
	rejected       []prometheus.Counter                         // as rejections
	forwarded      []prometheus.Counter                         // by hop

	proposals    []prometheus.Counter // by proposalEnd
	applySeconds prometheus.Histogram
	applyEntries prometheus.Histogram

	linearizable, stale prometheus.Counter // reads
	readIndexSeconds    prometheus.Histogram
	readIndexFailures   []prometheus.Counter // by readIndexFailure

	snapshotSeconds prometheus.Histogram // that a snapshot took to be written
	restoreSeconds  prometheus.Histogram // that a state took to be read
	lastRestore     prometheus.Gauge

	sessionReplays, keyReplays prometheus.Counter
}

// New makes the instruments and puts them into a registry, which must have none
// yet.
func New(registry *prometheus.Registry) *Metrics {
	in, t := maker{registry}, &instruments
	m := &Metrics{
		registry:          registry,
		requestSeconds:    in.histograms(t.requestSeconds),
		requestsNow:       in.gauges(t.requestsNow),
		requestBytes:      in.counters(t.requestBytes),
		responseBytes:     in.counters(t.responseBytes),
		rejected:          in.counts(t.rejected),
		forwarded:         in.counts(t.forwarded),
		proposals:         in.counts(t.proposals),
		applySeconds:      in.histogram(t.applySeconds),
		applyEntries:      in.histogram(t.applyEntries),
		readIndexSeconds:  in.histogram(t.readIndexSeconds),
		readIndexFailures: in.counts(t.readIndexFailures),
		snapshotSeconds:   in.histogram(t.snapshotSeconds),
		restoreSeconds:    in.histogram(t.restoreSeconds),
		lastRestore:       in.gauges(t.lastRestore).WithLabelValues(),
	}
	reads, replays := in.counts(t.reads), in.counts(t.replays)
	m.linearizable, m.stale = reads[0], reads[1]
	m.sessionReplays, m.keyReplays = replays[0], replays[1]
	clerks := in.histograms(t.clerkSeconds)
	for kind, op := range clerkOps {
		m.clerkSeconds[kind] = clerks.WithLabelValues(op).(prometheus.Histogram)
	}
	return m
}

// Handler answers scrapes with all that is in the registry.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true, ErrorHandling: promhttp.HTTPErrorOnError})
}

// maker puts instruments into a registry.
type maker struct{ registry *prometheus.Registry }

func (m maker) counters(i Instrument) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: Prefix + i.Name, Help: i.Help}, i.Labels)
	m.registry.MustRegister(c)
	return c
}

// counts makes a counter for each of the known values of the label, in their order.
func (m maker) counts(i Instrument) (all []prometheus.Counter) {
	c := m.counters(i)
	for _, v := range i.Values {
		all = append(all, c.WithLabelValues(v))
	}
	return all
}

func (m maker) gauges(i Instrument) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: Prefix + i.Name, Help: i.Help}, i.Labels)
	m.registry.MustRegister(g)
	return g
}

func (m maker) histograms(i Instrument) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: Prefix + i.Name, Help: i.Help, Buckets: i.Buckets}, i.Labels)
	m.registry.MustRegister(h)
	return h
}

func (m maker) histogram(i Instrument) prometheus.Histogram {
	return m.histograms(i).WithLabelValues().(prometheus.Histogram)
}
