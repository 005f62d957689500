package kvserver

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"raftkv/kvserver/machine"
)

// Server serves the store of one node. All methods are safe for concurrent use.
type Server struct {
	config  Config
	machine *machine.Machine // every request ends with its lifetime

	// writes are puts and appends. Deletes and reads have room of their own, so
	// that writes cannot keep them out; patient are reads that wait for a
	// revision, streams are lists that are being sent, backups the whole store,
	// scrapes are of the metrics.
	writes, deletes, reads, patient, streams, backups, scrapes admission

	bodies budget // memory for the bodies of writes
	// bodyGrace is for reading bodies, answerGrace for writing them; see bodyTime.
	bodyGrace, answerGrace time.Duration

	conns     *connections
	forwarder *forwarder
	handler   http.Handler
	requests  atomic.Uint64 // counts requests, for their names
	clerks    clerks
}

// New starts a server with the store in Config.Snapshot, which applyCh carries
// on from the index behind it. Close ends it. An error says which setting cannot
// be, or that the snapshot cannot be read.
func New(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
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
	}
	s.conns = newConnections(s)
	s.forwarder = newForwarder(config, s.conns.makeRoom)
	s.clerks.init(config)
	s.handler = newGuard(s, newRouter(s))
	s.machine, err = machine.Open(machine.Config{
		Consensus: config.Consensus, ApplyCh: config.ApplyCh, Snapshot: config.Snapshot, MaxStoreBytes: config.MaxStoreBytes,
		SnapshotBytes: config.SnapshotBytes, NodeID: config.NodeID, Peers: config.Peers,
		IntegrityInterval: config.IntegrityInterval, AskDigests: s.forwarder.askDigests,
		AsyncTimeout: config.RequestTimeout, ReplacedGrace: config.LeaderWait,
		Observer: config.Metrics, Logger: config.Logger,
	})
	if err != nil {
		return nil, err
	}
	if m := config.Metrics; m != nil {
		m.registry.MustRegister(storeMetrics{s}, integrityMetrics{s})
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
	s.machine.Close()
	s.closeClerks()
	s.forwarder.close()
}

// requestContext returns the context of one request: it ends with the client's,
// with the server's life, or after RequestTimeout. Its cause tells which.
func (s *Server) requestContext(parent context.Context) (context.Context, context.CancelFunc) {
	leaveGate(parent)
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(s.machine.Lifetime(), func() { end(context.Cause(s.machine.Lifetime())) })
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	return ctx, func() {
		unhook()
		cancel()
		end(nil)
	}
}

// nextRequestID names a request whose client did not.
func (s *Server) nextRequestID() string {
	return s.config.NodeID + "-" + strconv.FormatUint(s.machine.Origin()>>32, 36) + "-" + strconv.FormatUint(s.requests.Add(1), 36)
}
