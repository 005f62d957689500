package kvserver

import "github.com/prometheus/client_golang/prometheus"

// integrityMetrics shows what a server knows of its state being the others',
// read anew for each scrape.
type integrityMetrics struct{ server *Server }

var (
	integrityChecks = prometheus.NewDesc(metricsPrefix+"integrity_checks_total",
		"Comparisons of this node's state with the others' by result: ok, unknown, mismatch or diverged.", []string{"result"}, nil)
	integrityLastOK = prometheus.NewDesc(metricsPrefix+"integrity_last_ok_timestamp_seconds",
		"When this node's state was last found to be that of a majority, since the epoch.", nil, nil)
	integrityDiverged = prometheus.NewDesc(metricsPrefix+"integrity_diverged",
		"1 if this node found its state to be wrong and serves nothing.", nil, nil)
)

// Describe implements prometheus.Collector.
func (integrityMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- integrityChecks
	to <- integrityLastOK
	to <- integrityDiverged
}

// Collect implements prometheus.Collector. Before the first comparison that was
// ok the time of the last one is left out.
func (m integrityMetrics) Collect(to chan<- prometheus.Metric) {
	seen := m.server.machine.Integrity()
	for result, count := range seen.Checks { // each a series of its own
		to <- prometheus.MustNewConstMetric(integrityChecks, prometheus.CounterValue, float64(count), string(result))
	}
	if !seen.OKTime.IsZero() {
		to <- prometheus.MustNewConstMetric(integrityLastOK, prometheus.GaugeValue, float64(seen.OKTime.UnixMilli())/1000)
	}
	diverged := 0.0
	if seen.Fault != "" {
		diverged = 1
	}
	to <- prometheus.MustNewConstMetric(integrityDiverged, prometheus.GaugeValue, diverged)
}
