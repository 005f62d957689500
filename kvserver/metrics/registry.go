package metrics

import "github.com/prometheus/client_golang/prometheus"

// The methods below make what an instrument describes and put it into a registry, which
// must not have it yet.

// Counters makes a counter for each combination of the labels' values.
func (i Instrument) Counters(registry *prometheus.Registry) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: Prefix + i.Name, Help: i.Help}, i.Labels)
	registry.MustRegister(c)
	return c
}

// Counter makes a counter without labels.
func (i Instrument) Counter(registry *prometheus.Registry) prometheus.Counter {
	return i.Counters(registry).WithLabelValues()
}

// Counts makes a counter for each of the known values of the label, in their order.
func (i Instrument) Counts(registry *prometheus.Registry) (all []prometheus.Counter) {
	c := i.Counters(registry)
	for _, v := range i.Values {
		all = append(all, c.WithLabelValues(v))
	}
	return all
}

// Gauges makes a gauge for each combination of the labels' values.
func (i Instrument) Gauges(registry *prometheus.Registry) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: Prefix + i.Name, Help: i.Help}, i.Labels)
	registry.MustRegister(g)
	return g
}

// Histograms makes a histogram for each combination of the labels' values.
func (i Instrument) Histograms(registry *prometheus.Registry) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: Prefix + i.Name, Help: i.Help, Buckets: i.Buckets}, i.Labels)
	registry.MustRegister(h)
	return h
}

// Histogram makes a histogram without labels.
func (i Instrument) Histogram(registry *prometheus.Registry) prometheus.Histogram {
	return i.Histograms(registry).WithLabelValues().(prometheus.Histogram)
}

// Shown is a collector that reads everything anew for each scrape. So a series that
// only a leader has is missing on a follower, instead of being stale or zero.
type Shown func(*Scrape)

// Describe implements prometheus.Collector. It names nothing, because the series come
// and go.
func (Shown) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f Shown) Collect(to chan<- prometheus.Metric) { f(&Scrape{to}) }

// Scrape takes the series of one scrape. It belongs to one goroutine.
type Scrape struct{ to chan<- prometheus.Metric }

// Show shows the value of a counter or gauge. labels are the values of its labels, in
// their order.
func (s *Scrape) Show(i Instrument, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if i.Kind == Counter {
		kind = prometheus.CounterValue
	}
	desc := prometheus.NewDesc(Prefix+i.Name, i.Help, i.Labels, nil)
	s.to <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
}

// Truth returns 1 for what is true and 0 for what is not.
func Truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
