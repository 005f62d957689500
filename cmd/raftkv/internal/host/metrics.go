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

// newRegistry returns a registry with the metrics of the process and the name of the
// node. All other parts of the node add their own.
func newRegistry(c Config) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		metrics.Shown(func(s *metrics.Scrape) {
			s.Show(instruments.buildInfo, 1, c.Build, runtime.Version())
			if c.DroppedLines != nil {
				s.Show(instruments.logLinesDropped, float64(c.DroppedLines()))
			}
			s.Show(instruments.nodeInfo, 1, string(c.ID), c.ClusterID)
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
