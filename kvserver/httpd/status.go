package httpd

import "net/http"

// serveStatus tells what this node knows, without asking anybody.
func (d *Door) serveStatus(x *exchange) error {
	status := d.server.Status()
	status.Limits.Connections = d.port.MaxConnections()
	status.Load.Connections.Open, status.Load.Connections.Evicted, status.Load.Connections.Refused = d.port.Counts()
	if d.config.Describe != nil {
		d.config.Describe(&status)
	}
	return x.answerJSON(http.StatusOK, status)
}
