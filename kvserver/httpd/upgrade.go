package httpd

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// serveClerk hands the connection of a request over to the Upgrader. A request
// without an upgrade, or for an unknown protocol, is answered with the supported ones.
func (d *Door) serveClerk(x *exchange) error {
	clerks := d.config.Clerks
	if clerks == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node serves no Clerks")
	}
	protocols := clerks.Protocols(x.r.Header.Get(api.HeaderForwarded) != "")
	at := slices.IndexFunc(protocols, func(p string) bool { return strings.EqualFold(x.r.Header.Get("Upgrade"), p) })
	if at < 0 {
		return x.answerText(strings.Join(protocols, "\n") + "\n")
	}
	serve, leave, err := clerks.Admit(protocols[at], x.r.Header.Get(api.HeaderCluster), x.who)
	if err != nil {
		return err
	}
	defer leave()
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return failure.Of(failure.InternalRead, err, "this connection cannot be upgraded")
	}
	x.answered = true
	if err := conn.SetDeadline(time.Time{}); err != nil { // those of HTTP
		conn.Close()
		return nil
	}
	serve(conn, buffered.Reader)
	return nil
}
