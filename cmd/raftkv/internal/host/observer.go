package host

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/cmd/raftkv/internal/flight"
	"raftkv/raft"
	"raftkv/raft/core"
)

// observer is the raft.Observer of a node. It logs which node leads and why this one
// began or ceased to lead, and measures what consensus does. What it notes goes into the
// recording.
type observer struct {
	logger  *slog.Logger
	saves   prometheus.Histogram
	commits prometheus.Histogram
	ages    *logAges
	recent  *recent // commits
	*flight.Recording
}

// newObserver returns a node's observer and puts its measurements into the registry.
func newObserver(n *Node, registry *prometheus.Registry) observer {
	return observer{
		logger:    n.logger,
		ages:      &n.ages,
		recent:    &n.commits,
		Recording: n.recording,
		saves:     instruments.walSaveSeconds.Histogram(registry),
		commits:   instruments.commitSeconds.Histogram(registry),
	}
}

// Changed implements raft.Observer.
func (o observer) Changed(before, after *raft.Status) {
	about := []any{"term", after.Term}
	switch was, now := before.Counts, after.Counts; {
	case now.StalledDisk > was.StalledDisk:
		o.logger.Error("the disk hangs: leadership was given up", about...)
	case now.LostQuorum > was.LostQuorum:
		o.logger.Warn("no majority answers: leadership was given up", about...)
	case now.Transferred > was.Transferred:
		o.logger.Info("this node leads, because the leader before handed over", about...)
	case now.Elected > was.Elected:
		o.logger.Info("this node leads, because it was elected", about...)
	case before.Role == core.Leader && after.Role != core.Leader:
		o.logger.Info("another node took over leadership", about...)
	case after.Leader != core.None && (after.Leader != before.Leader || after.Term != before.Term):
		o.logger.Info("another node leads", append(about, "leader", string(after.Leader))...)
	case after.Leader == core.None && before.Leader != core.None:
		o.logger.Debug("no leader is known", about...)
	}
}

// Saved implements raft.Observer.
func (o observer) Saved(write *core.Write, took time.Duration) {
	o.saves.Observe(took.Seconds())
	o.ages.saved(write, time.Now())
	o.Recording.Saved(write, took)
}

// Committed implements raft.Observer.
func (o observer) Committed(took time.Duration) {
	o.commits.Observe(took.Seconds())
	o.recent.note(took)
	o.Recording.Committed(took)
}

// Delivered implements raft.Observer.
func (observer) Delivered(*core.Batch, time.Duration) {}
