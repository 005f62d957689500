package httpd

import (
	"net/http"
	"strings"
	"time"

	"raftkv/kvserver/failure"
)

// serveClerk hands the connection of a request over to the Upgrader. A request
// without an upgrade, or for an unknown protocol, is answered with the supported one.
func (d *Door) serveClerk(x *exchange) error {
	clerks := d.config.Clerks
	if clerks == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node serves no Clerks")
	}
	if !strings.EqualFold(x.r.Header.Get("Upgrade"), clerks.Protocol()) {
		return x.answerText(clerks.Protocol() + "\n")
	}
	serve, leave, err := clerks.Admit()
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
