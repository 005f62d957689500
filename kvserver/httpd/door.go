// Package httpd is the HTTP door: it turns requests into calls of the server and
// their results into answers. A door only translates; what is admitted, refused,
// waited for and retried is decided in package kvserver, for both doors.
//
// # Mental model
//
//	request ──► guard ──► router ──► dispatch ──► handler ──► kvserver.Server
//	            names,    method,    row of the     │              │
//	            framing   path       route: query,  ▼              ▼
//	                                 headers,    condition,    Get, List, Freeze, Write,
//	                                 class       body          Transfer, Backup, Status
//
// Everything that holds for a whole route stands in its row (routes.go) and is
// applied in dispatch, so that a new handler cannot forget it.
//
// A write that comes to a node which does not lead is carried to the leader by
// [Peers], one hop, and the leader's answer is passed on as it is. Peers also ask the
// other nodes for the digests of their states.
//
// An exchange is one request and its answer; it belongs to the goroutine that
// serves it.
//
// # Locks
//
// The door has none. Each connection to a leader has one (leaderConn.mu), which
// guards what was written on it and is not held while writing.
//
// # What it does not know
//
// The store, consensus, and Clerks: a connection that asks for another protocol is
// handed to an [Upgrader].
package httpd

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/httpd/requests"
	"raftkv/kvserver/port"
	"raftkv/kvserver/recorder"
)

// Config is what a Door is made of in addition to its server. The zero value is ready.
type Config struct {
	// AllowedHosts are the names, in addition to those of loopback and all addresses,
	// by which clients may reach this server; "*" stands for any. Requests to other
	// names are refused, so that no page on the web can reach a server through a
	// name of its own.
	AllowedHosts []string
	// Clerks takes over the connections that are upgraded. nil: none are.
	Clerks Upgrader
	// Forwarder carries writes to the leader that a second request of HTTP would cost
	// more. nil: all of them go over HTTP.
	Forwarder kvserver.Forwarder
	// Metrics answers scrapes at /metrics. nil: there is no such path.
	Metrics http.Handler
	// Recorder holds what happened on this node, for /v1/recorder. nil: there is no such
	// path.
	Recorder *recorder.Recorder
	// Observer is told of the requests, for measuring. nil: nothing is measured.
	Observer Observer
	// Page says whether there is a page at /ui/, and whether it may write.
	Page page.Mode
	// Strict is for how long browsers that came by TLS shall ask this host by TLS alone
	// (HSTS, RFC 6797). 0: they are told nothing.
	Strict time.Duration
	// Describe, if not nil, adds to /v1/status what others know of the node.
	Describe func(*api.Status)
}

// Upgrader takes over connections that begin as requests of HTTP and go on with
// another protocol.
type Upgrader interface {
	// Protocols are what a client can name in the header Upgrade.
	Protocols() []string
	// Admit takes in a connection of one of the protocols, or says why not. from is the
	// cluster of a node that forwards writes, nil for other clients; who is the caller of
	// the request. serve serves it until its end and closes it; leave must be called
	// after that, and where serve is not.
	Admit(protocol string, from *string, who kvserver.Caller) (serve func(net.Conn, *bufio.Reader), leave func(), err error)
}

// Observer is told of requests, for measuring.
type Observer interface {
	// Route returns what is to be called for each request of a route: enter, with the
	// bytes that the body is announced to have, and leave, with the status of the
	// answer, the bytes of its body and the time since enter. Both are safe for
	// concurrent use.
	Route(method, path string) (enter func(bytes int64), leave func(status, sent int, took time.Duration))
}

// Door serves HTTP. All methods are safe for concurrent use.
type Door struct {
	server  *kvserver.Server
	port    *port.Port
	peers   *Peers
	config  Config
	handler http.Handler

	nodeID, clusterID string
	nodeValue         []string // nodeID as a header holds it
	strictValue       []string // Config.Strict likewise; nil: browsers are told nothing
	stamped           atomic.Pointer[leaderStamp]
	maxValueBytes     int64
	logger            *slog.Logger
	trails            requests.Book // requests that did not go as usual
}

// New returns the HTTP face of a server, behind a port. Writes that belong to other
// nodes are carried there by peers.
func New(server *kvserver.Server, p *port.Port, peers *Peers, config Config) *Door {
	c := server.Config()
	d := &Door{
		server: server, port: p, peers: peers, config: config,
		nodeID: c.NodeID, nodeValue: []string{c.NodeID}, clusterID: c.ClusterID, maxValueBytes: c.MaxValueBytes, logger: c.Logger,
	}
	if config.Strict > 0 {
		d.strictValue = []string{fmt.Sprintf("max-age=%d", int64(config.Strict.Seconds()))}
	}
	d.handler = newGuard(d, newRouter(d))
	return d
}

// Server returns an http.Server for the client port, with the limits of
// port.NewServer. The contexts of its requests end with the server's lifetime.
func (d *Door) Server() *http.Server {
	server := port.NewServer(d.handler)
	server.BaseContext = func(net.Listener) context.Context { return d.server.BaseContext() }
	return server
}

// Handler returns the handler of the client port; see Server for what it should be
// served with.
func (d *Door) Handler() http.Handler { return d.handler }

// clerkPath is where connections of Clerks, and of nodes that forward, begin.
const clerkPath = "/v1/clerk"

// serveClerk hands the connection of a request over to the Upgrader. A request
// without an upgrade, or for an unknown protocol, is answered with the supported ones.
func (d *Door) serveClerk(x *exchange) error {
	clerks := d.config.Clerks
	if clerks == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node serves no Clerks")
	}
	protocols := clerks.Protocols()
	at := slices.IndexFunc(protocols, func(p string) bool { return strings.EqualFold(x.r.Header.Get("Upgrade"), p) })
	if at < 0 {
		return x.answerText(strings.Join(protocols, "\n") + "\n")
	}
	var from *string
	if x.r.Header.Get(api.HeaderForwarded) != "" {
		cluster := x.r.Header.Get(api.HeaderCluster)
		from = &cluster
	}
	serve, leave, err := clerks.Admit(protocols[at], from, x.who)
	if err != nil {
		return err
	}
	defer leave()
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return failure.Of(failure.InternalRead, err, "this connection cannot be upgraded")
	}
	x.answered = true
	// The connection is no request in flight; those on it count for themselves.
	x.letOut()
	if err := conn.SetDeadline(time.Time{}); err != nil { // those of HTTP
		conn.Close()
		return nil
	}
	serve(conn, buffered.Reader)
	return nil
}
