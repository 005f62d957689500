package port

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Time-outs and limits of the client port. A client that is slower than these
// loses its connection, however many such clients there are.
const (
	// ReadHeaderTimeout is the longest time for a header; see Conn.hasten.
	ReadHeaderTimeout = time.Minute
	// readTimeout bounds the whole request, unless its body comes at bodyRate.
	readTimeout = 90 * time.Second
	// writeTimeout runs from the end of the header to the beginning of the
	// answer, so it must leave room for reading the body and for RequestTimeout.
	writeTimeout = 2 * time.Minute
	// IdleTimeout bounds the time between two requests.
	IdleTimeout = 2 * time.Minute
	// MaxHeaderBytes bounds the header of a request.
	MaxHeaderBytes = 32 << 10
)

// NewServer returns an http.Server for the handler with the limits that a
// port open to strangers needs. HTTP/2 is off: it multiplexes requests behind
// these time-outs and has nothing to offer to requests this small. The caller
// listens (see Port.Listener), serves and shuts down.
func NewServer(handler http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      handler,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            ReadHeaderTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  IdleTimeout,
		MaxHeaderBytes:               MaxHeaderBytes,
		Protocols:                    &protocols,
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnContext:                  keepConn,
		ConnState:                    noteState,
	}
}
