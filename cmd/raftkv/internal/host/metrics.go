package host

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"raftkv/kvserver/metrics"
	"raftkv/raft"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
)

// metricsPrefix begins the name of every metric of ours.
const metricsPrefix = "raftkv_"

// newRegistry returns a registry with the metrics of the process and the name of the
// node. All other parts of the node add their own.
func newRegistry(c Config) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		shown(func(s *show) {
			s.gauge("build_info", "Always 1; the labels say what runs.", 1, "version", c.Build, "go", runtime.Version())
			if c.DroppedLines != nil {
				s.counter("log_lines_dropped_total", "Lines of the log that could not be written, because nobody reads it or its disk is full.", c.DroppedLines())
			}
			s.gauge("node_info", "Always 1; the labels say which node of which cluster this is.", 1, "node_id", string(c.ID), "cluster_id", c.ClusterID)
		}),
	)
	return registry
}

// disk returns the file system of the node's log, with the instruments that measure it.
func (n *Node) disk() vfs.FS {
	if n.config.unmeasured {
		return n.config.FS
	}
	return newTimedFS(n.config.FS, n.registry, &n.syncs)
}

// snapshots returns where snapshots for and of peers are kept, with its instruments.
func (n *Node) snapshots() wire.Snapshots {
	checked := checkedSnapshots{n.wal, n.snapshotLost}
	if n.config.unmeasured {
		return checked
	}
	return newTimedSnapshots(checked, n.registry)
}

// network returns the transport by which consensus sends, with its instruments.
func (n *Node) network() timedTransport {
	if n.config.unmeasured {
		return timedTransport{Transport: n.transport}
	}
	return newTimedTransport(n.transport, n.registry, n.config)
}

// observer returns the observer of consensus, nil if nothing is measured.
func (n *Node) observer() raft.Observer {
	if n.config.unmeasured {
		return nil
	}
	return newObserver(n, n.registry)
}

// measures returns the instruments of the service, nil if nothing is measured.
func (n *Node) measures() *metrics.Metrics {
	if n.config.unmeasured {
		return nil
	}
	return metrics.New(n.registry)
}

// shown is a collector that reads everything anew for each scrape. So a series that
// only a leader has is missing on a follower, instead of being stale or zero.
type shown func(*show)

// Describe implements prometheus.Collector. It names nothing, because the series come
// and go.
func (shown) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f shown) Collect(to chan<- prometheus.Metric) { f(&show{to}) }

// show writes the series of one scrape.
type show struct{ to chan<- prometheus.Metric }

// gauge shows a value that goes up and down. labels are names and values in turn.
func (s *show) gauge(name, help string, value float64, labels ...string) {
	s.series(prometheus.GaugeValue, name, help, value, labels)
}

// counter shows a value that only grows; the name ends in _total.
func (s *show) counter(name, help string, value uint64, labels ...string) {
	s.series(prometheus.CounterValue, name, help, float64(value), labels)
}

func (s *show) series(kind prometheus.ValueType, name, help string, value float64, labels []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	desc := prometheus.NewDesc(metricsPrefix+name, help, names, nil)
	s.to <- prometheus.MustNewConstMetric(desc, kind, value, values...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
