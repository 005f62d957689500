package kvserver

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
)

// AdminHandler returns what the operator of the machine may ask of the process
// beyond the cluster's service: profiles, and how much is logged. It belongs on
// a listener of its own that nobody else can reach, never on the client port: a
// profile stops nothing, but it costs time and shows memory.
//
//	GET /debug/pprof/…   the profiles of net/http/pprof
//	GET /v1/log-level    the least level that is logged
//	PUT /v1/log-level    changes it: debug, info, warn or error
func (s *Server) AdminHandler(level *slog.LevelVar) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	answerLevel := func(x *exchange) error {
		return x.answerText(strings.ToLower(level.Level().String()) + "\n")
	}
	mux.HandleFunc("GET /v1/log-level", s.handle(answerLevel))
	mux.HandleFunc("PUT /v1/log-level", s.handle(func(x *exchange) error {
		const most = 64
		text, err := io.ReadAll(io.LimitReader(x.r.Body, most))
		if err != nil {
			return fail(errBadRequest, err, "the body ended before it was complete")
		}
		if err := level.UnmarshalText([]byte(strings.TrimSpace(string(text)))); err != nil {
			return fail(errBadRequest, err, "the level is %.20q; choose debug, info, warn or error", text)
		}
		s.config.Logger.Warn("the log level was changed", "level", level.Level().String())
		return answerLevel(x)
	}))
	return newGuard(s, mux)
}

// NewAdminServer returns an http.Server for the handler. Only the time for a
// header is bounded: a profile takes as long as it was asked to.
func NewAdminServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout, MaxHeaderBytes: maxHeaderBytes}
}
