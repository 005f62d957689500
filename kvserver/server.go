package kvserver

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// Server serves the store of one node. All methods are safe for concurrent use.
type Server struct {
	machine // every request ends with its life
	config  Config

	// writes are puts and appends. Deletes and reads have room of their own, so
	// that writes cannot keep them out; patient are reads that wait for a
	// revision, streams are lists that are being sent, backups the whole store,
	// scrapes are of the metrics.
	writes, deletes, reads, patient, streams, backups, scrapes admission

	bodies budget // memory for the bodies of writes
	// bodyGrace is for reading bodies, answerGrace for writing them; see bodyTime.
	bodyGrace, answerGrace time.Duration

	integrity integrity
	watched   chan struct{} // closed when the integrity is watched no more
	conns     *connections
	forwarder *forwarder
	tenures   tenures
	handler   http.Handler
	requests  atomic.Uint64 // counts requests, for their names
	clerks    clerks
	snapshots snapshotter
}

// New starts a server with the store in Config.Snapshot, which applyCh carries
// on from the index behind it. Close ends it. An error says which setting cannot
// be, or that the snapshot cannot be read.
func New(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	store := kv.New()
	if config.Snapshot != nil {
		begun := time.Now()
		if store, err = kv.Restore(config.Snapshot); err != nil {
			return nil, fmt.Errorf("loading the state from the snapshot: %w", err)
		}
		config.Metrics.restored(begun)
	}
	most, waiting := int64(config.MaxInFlight), max(config.MaxInFlight, config.MaxConnections)
	s := &Server{
		config:    config,
		writes:    admission{maxCount: most, maxBytes: config.MaxInFlightBytes, maxWaiting: waiting},
		deletes:   admission{maxCount: max(most/4, 1), maxWaiting: waiting},
		reads:     admission{maxCount: most, maxWaiting: waiting},
		patient:   admission{maxCount: most},
		streams:   admission{maxCount: mostStreams},
		backups:   admission{maxCount: mostBackups},
		scrapes:   admission{maxCount: mostScrapes},
		bodies:    budget{most: 2 * config.MaxInFlightBytes},
		bodyGrace: bodyGrace, answerGrace: bodyGrace,
		tenures: tenures{patience: config.LeaderWait},
	}
	s.conns = newConnections(s)
	s.forwarder = newForwarder(config, s.conns.makeRoom)
	s.clerks.init(config)
	s.quota = uint64(config.MaxStoreBytes)
	s.metrics = config.Metrics
	s.handler = newGuard(s, newRouter(s))
	s.afterBatch, s.ticks = s.snapshotIfDue, time.NewTicker(snapshotPoll).C
	s.machine.start(config.Consensus, config.ApplyCh, store)
	s.watched = make(chan struct{})
	go s.watchIntegrity()
	s.clerks.work.Go(s.watchClerks)
	if s.metrics != nil {
		s.metrics.registry.MustRegister(storeMetrics{s}, integrityMetrics{s})
	}
	return s, nil
}

// Handler returns the HTTP face of the server; see NewHTTPServer for the
// time-outs it should be served with.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends the server: requests that wait are answered (writes that were
// under way as unknown), new ones are refused, and the applier ends, after which
// applyCh is not read any more. It returns when the applier has ended. A
// snapshot that is being written is given up soon after. It does not stop
// consensus; that may be stopped before or after.
func (s *Server) Close() {
	s.end(failure.Stopping)
	<-s.applierDone
	<-s.watched
	s.closeClerks()
	s.forwarder.close()
}

// requestContext returns the context of one request: it ends with the client's,
// with the server's life, or after RequestTimeout. Its cause tells which.
func (s *Server) requestContext(parent context.Context) (context.Context, context.CancelFunc) {
	leaveGate(parent)
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(s.life, func() { end(context.Cause(s.life)) })
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	return ctx, func() {
		unhook()
		cancel()
		end(nil)
	}
}

// nextRequestID names a request whose client did not.
func (s *Server) nextRequestID() string {
	return s.config.NodeID + "-" + strconv.FormatUint(s.origin>>32, 36) + "-" + strconv.FormatUint(s.requests.Add(1), 36)
}
