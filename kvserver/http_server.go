package kvserver

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Time-outs and limits of the client port. A client that is slower than these
// loses its connection, however many such clients there are.
const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout bounds the whole request, body included.
	readTimeout = 30 * time.Second
	// writeTimeout runs from the end of the header to the end of the answer, so
	// it must leave room for reading the body and for RequestTimeout.
	writeTimeout   = 75 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// NewHTTPServer returns an http.Server for the handler with the limits that a
// port open to strangers needs. HTTP/2 is off: it multiplexes requests behind
// these time-outs and has nothing to offer to requests this small. The caller
// listens, serves and shuts down.
func NewHTTPServer(handler http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:                      handler,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            readHeaderTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		Protocols:                    &protocols,
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}
