package flight

import (
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Config describes the node whose life is recorded.
type Config struct {
	FS      vfs.FS
	DataDir string
	Node    core.ID
	Members []core.ID
	Boot    uint64
	Anew    bool // the first boot of a directory that takes the place of one that was lost
	Build   string
	Tick    time.Duration // of consensus
	Logger  *slog.Logger
}

// Recording is a node's recorder with what feeds it. It is used in this order: Open,
// Watch, Close. The other methods are safe for concurrent use, except those that say
// which goroutine calls them. A nil Recording records nothing.
type Recording struct {
	config   Config
	recorder *recorder.Recorder
	flight   *recorder.Flight
	disk     *disk
	orderly  bool // the boot before ended in order

	saves, commits             usual
	timeouts, preVotes         wait
	slowestSave, slowestCommit slowest
	refused                    atomic.Uint64 // reads and writes that were refused for want of room
	places                     places

	stop, stopped chan struct{}
	running       bool
	watch         watch
}

// closeLimit bounds how long the end of a node waits for the recorder's last write.
const closeLimit = 500 * time.Millisecond

// Open reads what earlier boots left, and begins to record. It needs the disk only for
// that, and an error of the disk is no error of the node.
func Open(c Config) *Recording {
	names := make([]string, 0, len(c.Members))
	for _, id := range slices.Sorted(slices.Values(c.Members)) {
		names = append(names, string(id))
	}
	begun := time.Now()
	d := &disk{fs: c.FS, dir: directory(c.DataDir)}
	f, former := recorder.Load(d)
	r := &Recording{config: c, flight: f, disk: d, stop: make(chan struct{}), stopped: make(chan struct{})}
	r.recorder = recorder.New(recorder.Section{Node: string(c.Node), Boot: c.Boot, Tick: int64(c.Tick), Names: names, Build: c.Build}, former, begun)
	if n := len(former); n > 0 {
		r.orderly = former[n-1].Events[len(former[n-1].Events)-1].Kind == recorder.EndedInOrder
	}
	r.watch.begin(begun)
	return r
}

// Recorder returns the events.
func (r *Recording) Recorder() *recorder.Recorder {
	if r == nil {
		return nil
	}
	return r.recorder
}

// Started records the start of the process with what it found on its disk.
func (r *Recording) Started(state *core.State, cutBytes int64, passedOver bool) {
	e := recorder.Event{Kind: recorder.Started, Term: state.Term, Index: state.Snapshot.Index + uint64(len(state.Entries))}
	if r.orderly {
		e.A = 1
	}
	if r.config.Anew {
		e.B = 1
	}
	r.recorder.Record(e)
	if cutBytes > 0 {
		r.recorder.Record(recorder.Event{Kind: recorder.TornTail, A: cutBytes})
	}
	if passedOver {
		r.recorder.Record(recorder.Event{Kind: recorder.PassedOver})
	}
}

// Record records an event of a kind that has nothing to add but a reason.
func (r *Recording) Record(kind recorder.Kind, why recorder.Why) {
	r.Recorder().Record(recorder.Event{Kind: kind, Why: why})
}

// Staged records what somebody did to a node on the stage of raftkv dev; "": to all.
func (r *Recording) Staged(to core.ID, why recorder.Why) {
	if r != nil {
		r.recorder.Record(recorder.Event{Kind: recorder.Staged, Why: why, Peer: r.recorder.Peer(string(to))})
	}
}

// Watch begins to write the events to the disk, and to look at figures with look, which
// may say that there are none yet. It is called once.
func (r *Recording) Watch(look func() (Figures, bool)) {
	if r == nil {
		return
	}
	r.running = true
	go r.noteContinued(awaitContinue())
	go func() {
		defer close(r.stopped)
		defer r.disk.close()
		r.flight.Run(r.recorder, r.stop, func() { r.look(time.Now(), look) })
		if err := r.flight.Err(); err != nil {
			r.config.Logger.Debug("the last events of this node could not be written to its flight files", "error", err)
		}
	}()
}

// noteContinued records that this process was stopped by a signal and goes on, until the
// recording ends.
func (r *Recording) noteContinued(continued <-chan os.Signal, forget func()) {
	defer forget()
	for {
		select {
		case <-continued:
			r.Record(recorder.Continued, recorder.None)
		case <-r.stop:
			return
		}
	}
}

// Close writes what is new and ends the recording. It waits for the disk for half a
// second at most. It may be called again.
func (r *Recording) Close() {
	if r == nil {
		return
	}
	select {
	case <-r.stop:
		return
	default:
	}
	close(r.stop)
	if !r.running {
		r.disk.close() // else the goroutine does it
		return
	}
	select {
	case <-r.stopped:
	case <-time.After(closeLimit):
	}
}
