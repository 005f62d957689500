package kvserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"raftkv/kvserver/kv"
)

// Server serves the store of one node. All methods are safe for concurrent use.
type Server struct {
	config    Config
	consensus Consensus

	// mu guards store: the applier holds it to apply a batch, readers share it.
	mu    sync.RWMutex
	store *kv.Store

	// origin is drawn anew each time the process starts, so that a command
	// proposed by an earlier life is never taken for one of this life.
	origin  uint64
	waiting waiters
	applied progress

	writes, reads admission
	forwarder     *forwarder
	handler       http.Handler
	requests      atomic.Uint64 // counts requests, for their names

	// life is cancelled, with errStopping as its cause, by Close and when the
	// node stops. Every request ends with it.
	life context.Context
	end  context.CancelCauseFunc
	// applierDone is closed when the applier has ended.
	applierDone chan struct{}
}

// New starts a server with an empty store, which applyCh fills from index 1.
// Close ends it. An error says which setting cannot be.
func New(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config:      config,
		consensus:   config.Consensus,
		store:       kv.New(),
		origin:      drawOrigin(),
		writes:      admission{maxCount: int64(config.MaxInFlight), maxBytes: config.MaxInFlightBytes},
		reads:       admission{maxCount: int64(config.MaxInFlight)},
		forwarder:   newForwarder(config),
		applierDone: make(chan struct{}),
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.handler = newRouter(s)
	go s.applyLoop()
	return s, nil
}

// Handler returns the HTTP face of the server; see NewHTTPServer for the
// time-outs it should be served with.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends the server: requests that wait are answered (writes that were
// under way as unknown), new ones are refused, and the applier ends, after which
// applyCh is not read any more. It returns when the applier has ended. It does
// not stop consensus; that may be stopped before or after.
func (s *Server) Close() {
	s.end(errStopping)
	<-s.applierDone
	s.forwarder.close()
}

// requestContext returns the context of one request: it ends with the client's,
// with the server's life, or after RequestTimeout. Its cause tells which.
func (s *Server) requestContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(s.life, func() { end(context.Cause(s.life)) })
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	return ctx, func() {
		unhook()
		cancel()
		end(nil)
	}
}

// stopping reports whether the server's life has ended.
func (s *Server) stopping() bool { return s.life.Err() != nil }

// nextRequestID names a request whose client did not.
func (s *Server) nextRequestID() string {
	return s.config.NodeID + "-" + strconv.FormatUint(s.origin>>32, 36) + "-" + strconv.FormatUint(s.requests.Add(1), 36)
}

func drawOrigin() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:])
		if origin := binary.LittleEndian.Uint64(b[:]); origin != 0 {
			return origin
		}
	}
}
