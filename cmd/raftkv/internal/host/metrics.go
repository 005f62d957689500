package host

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/kvserver/metrics"
	"raftkv/raft"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
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

// diskMetrics shows the size of the log and its snapshots, and how much room the disk
// has.
func diskMetrics(log *wal.WAL, dataDir string) metrics.Shown {
	return func(s *metrics.Scrape) {
		w := log.Stats()
		s.Show(instruments.walSegments, float64(w.Segments))
		s.Show(instruments.walSizeBytes, float64(w.Bytes))
		s.Show(instruments.walAppendBytes, float64(w.AppendedBytes))
		s.Show(instruments.walAppendedEntries, float64(w.Entries))
		s.Show(instruments.walBatches, float64(w.Batches))
		s.Show(instruments.walRolls, float64(w.Rolls))
		s.Show(instruments.snapshotSizeBytes, float64(w.SnapshotBytes))
		s.Show(instruments.walDamagedSnapshots, metrics.Truth(w.PassedOver != nil))
		if free, err := process.FreeBytes(dataDir); err == nil {
			s.Show(instruments.diskFreeBytes, float64(free))
		}
	}
}

// timedFS is a file system whose syncs of files are timed.
type timedFS struct {
	vfs.FS
	syncs  prometheus.Histogram
	recent *recent
}

// newTimedFS returns fsys with a histogram of its syncs, which it puts into the
// registry. The syncs are noted in last, too.
func newTimedFS(fsys vfs.FS, registry *prometheus.Registry, last *recent) vfs.FS {
	return timedFS{fsys, instruments.walFsyncSeconds.Histogram(registry), last}
}

func (t timedFS) Create(name string) (vfs.File, error) { return t.timed(t.FS.Create(name)) }

func (t timedFS) Open(name string) (vfs.File, error) { return t.timed(t.FS.Open(name)) }

func (t timedFS) timed(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return timedFile{f, t}, nil
}

type timedFile struct {
	vfs.File
	on timedFS
}

// Sync implements vfs.File. A sync that failed is measured, too: it is often the one
// that hung.
func (f timedFile) Sync() error {
	begun := time.Now()
	err := f.File.Sync()
	took := time.Since(begun)
	f.on.syncs.Observe(took.Seconds())
	f.on.recent.noteAt(took, begun.Add(took))
	return err
}
