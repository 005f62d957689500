package httpd

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/port"
)

// AdminHandler returns what the operator of the machine may ask of the process
// beyond the cluster's service: profiles, and how much is logged. It belongs on
// a listener of its own that nobody else can reach, never on the client port: a
// profile stops nothing, but it costs time and shows memory. On TCP it serves admins alone
// as soon as identities are enforced; a socket in the file system says by its mode which users may
// connect.
//
//	GET /debug/pprof/…   the profiles of net/http/pprof
//	GET /v1/log-level    the least level that is logged
//	PUT /v1/log-level    changes it: debug, info, warn or error
//	POST /v1/reload      looks at the files of certificates now
//
// reload does the latter; it returns what is wrong with the files that are there, and what
// was in use goes on then. nil: there are none.
func (d *Door) AdminHandler(level *slog.LevelVar, reload func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", d.profile(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", d.profile(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", d.profile(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", d.profile(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", d.profile(pprof.Trace))
	answerLevel := func(x *exchange) error {
		return x.answerText(strings.ToLower(level.Level().String()) + "\n")
	}
	mux.HandleFunc("GET /v1/log-level", d.handle(answerLevel))
	mux.HandleFunc("PUT /v1/log-level", d.adminAct("PUT /v1/log-level", func(x *exchange) error {
		const limit = 64
		text, err := io.ReadAll(io.LimitReader(x.r.Body, limit))
		if err != nil {
			return failure.Of(failure.BadRequest, err, "the body ended before it was complete")
		}
		if err := level.UnmarshalText([]byte(strings.TrimSpace(string(text)))); err != nil {
			return failure.Of(failure.BadRequest, err, "the level is %.20q; choose debug, info, warn or error", text)
		}
		d.logger.Warn("the log level was changed", "level", level.Level().String())
		return answerLevel(x)
	}))
	mux.HandleFunc("POST /v1/reload", d.adminAct("POST /v1/reload", func(x *exchange) error {
		if reload != nil {
			if err := reload(); err != nil {
				return failure.Of(failure.Precondition, err, "nothing was changed: %s", err.Error())
			}
		}
		return x.answerText("the files of certificates in use are those that are there\n")
	}))
	guarded := d.operatorsOnly(newGuard(d, d.adminsOnly(mux)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stampSafety(w.Header()) // of answers that no exchange gives, too
		guarded.ServeHTTP(w, r)
	})
}

// profile is adminAct for a profile, which shows memory of the process. Package pprof answers
// by itself.
func (d *Door) profile(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.adminAct(r.Pattern, func(x *exchange) error {
			serve(profileAnswer{x.w, x}, x.r)
			return nil
		})(w, r)
	}
}

// profileAnswer is an answer by package pprof. It notes the status, for the audit.
type profileAnswer struct {
	http.ResponseWriter
	x *exchange
}

func (a profileAnswer) WriteHeader(status int) {
	a.x.answering(status, 0)
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a profileAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// adminAct is handle for an act of the admin port, which has a line in the audit.
func (d *Door) adminAct(action string, serve func(*exchange) error) http.HandlerFunc {
	return d.handle(func(x *exchange) error {
		x.act, x.begun = action, time.Now()
		if !isBySocket(x.r) {
			if err := x.authenticate(); err != nil {
				return err
			}
		}
		if a := d.server.Gate().Audit(); a != nil {
			if err := a.Reserve(); err != nil {
				return err
			}
			x.reserved = true
		}
		return serve(x)
	})
}

// isBySocket reports whether a request came by a socket in the file system, which only the
// user of this process and root can connect to.
func isBySocket(r *http.Request) bool {
	_, is := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return is
}

// operatorsOnly refuses what a page in a browser on this machine may have sent:
// a profile costs time, also if the page cannot read it. The client port lets
// pages of other sites send reads, whose answers the browser keeps from them.
// Here nothing but a loopback address, or its name, is served, and nothing that
// says that it comes from another site.
func (d *Door) operatorsOnly(next http.Handler) http.Handler {
	refuse := func(kind error, format string, args ...any) http.HandlerFunc {
		return d.handle(func(*exchange) error { return failure.Of(kind, nil, format, args...) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		origin := r.Header.Get("Origin")
		switch {
		case !isLoopbackName(r.Host):
			w.Header().Set("Connection", "close")
			refuse(failure.UnknownHost, "the admin port does not serve the host %.80q; use a loopback address, as 127.0.0.1, or localhost", r.Host)(w, r)
		case site != "" && site != "none" && site != "same-origin", origin != "" && origin != "http://"+r.Host:
			w.Header().Set("Connection", "close")
			refuse(failure.Forbidden, "a page of another site may not make a browser send this")(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isLoopbackName reports whether a host is this machine, as this machine calls
// it. A request without a host is of no browser.
func isLoopbackName(hostport string) bool {
	host := strings.ToLower(hostOf(hostport))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// NewAdminServer returns an http.Server for the handler. Only the time for a
// header is bounded: a profile takes as long as it was asked to.
func NewAdminServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: port.ReadHeaderTimeout, MaxHeaderBytes: port.MaxHeaderBytes}
}
