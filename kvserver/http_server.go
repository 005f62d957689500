package kvserver

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Time-outs and limits of the client port. A client that is slower than these
// loses its connection, however many such clients there are.
const (
	// readHeaderTimeout is the most; see clientConn.hasten.
	readHeaderTimeout = time.Minute
	// readTimeout bounds the whole request, unless its body comes at bodyPace.
	readTimeout = 90 * time.Second
	// writeTimeout runs from the end of the header to the beginning of the
	// answer, so it must leave room for reading the body and for RequestTimeout.
	writeTimeout   = 2 * time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10

	// bodyGrace and bodyPace are how long a body may take, in either direction:
	// so long, and the longer the more has passed. For a request it is less; see
	// clientConn.hasten.
	bodyGrace = time.Minute
	bodyPace  = 64 << 10 // bytes per second

	// mostStreams bounds the lists that are being sent as lines: each keeps alive
	// what the store held when it began.
	mostStreams = 256
)

// bodyTime is how long a body of so many bytes may take.
func bodyTime(grace time.Duration, bytes int) time.Duration {
	return grace + time.Duration(bytes)*time.Second/bodyPace
}

// allowReading gives the client time to send more of a body of which so much
// has come.
func (x *exchange) allowReading(received int) {
	if x.began.IsZero() {
		x.began = time.Now()
	}
	// What serves in tests without a connection has no deadlines.
	_ = http.NewResponseController(x.w).SetReadDeadline(x.began.Add(bodyTime(x.server.bodyGrace, received) - connOf(x.r).hasten(x.server.bodyGrace)))
}

// allowWriting gives the client time to take so much of an answer.
func (x *exchange) allowWriting(length int) {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(bodyTime(x.server.answerGrace, length)))
}

// NewHTTPServer returns an http.Server for the handler with the limits that a
// port open to strangers needs. HTTP/2 is off: it multiplexes requests behind
// these time-outs and has nothing to offer to requests this small. The caller
// listens (see Server.Listener), serves and shuts down.
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
		ConnContext:                  keepConn,
		ConnState:                    noteState,
	}
}
