package host

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// fsyncBuckets are the bounds of the histogram, in seconds: from the sync of a fast disk
// to one that hangs.
var fsyncBuckets = prometheus.ExponentialBuckets(0.000_05, 2, 18)

// diskMetrics shows the size of the log and its snapshots, and how much room the disk
// has.
func diskMetrics(log *wal.WAL, dataDir string) shown {
	return func(s *show) {
		w := log.Stats()
		s.gauge("wal_segments", "Segment files of the log, the spare one not counted.", float64(w.Segments))
		s.gauge("wal_size_bytes", "Size of the log's segment files.", float64(w.Bytes))
		s.counter("wal_append_bytes_total", "Bytes appended to the log, with headers and padding.", w.AppendedBytes)
		s.counter("wal_appended_entries_total", "Entries appended to the log.", w.Entries)
		s.counter("wal_batches_total", "Batches appended to the log; each costs one sync.", w.Batches)
		s.counter("wal_rolls_total", "Times that a segment of the log was used up.", w.Rolls)
		s.gauge("raft_snapshot_size_bytes", "Size of the newest snapshot's file; 0 if there is none.", float64(w.SnapshotBytes))
		s.gauge("wal_damaged_snapshots", "1 if a damaged snapshot was passed over when this node started.", truth(w.PassedOver != nil))
		if free, err := process.FreeBytes(dataDir); err == nil {
			s.gauge("disk_free_bytes", "Room for this process on the disk of the data directory.", float64(free))
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
	syncs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: metricsPrefix + "wal_fsync_duration_seconds", Help: "Time that the disk takes to make a file's data durable.", Buckets: fsyncBuckets,
	})
	registry.MustRegister(syncs)
	return timedFS{fsys, syncs, last}
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
