package httpd

import (
	"net/http"

	"raftkv/kvserver/failure"
)

// serveMetrics shows the metrics to Prometheus.
func (d *Door) serveMetrics(x *exchange) error {
	if d.config.Metrics == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node measures nothing")
	}
	d.stampHeader(x.w.Header(), x.idHeader())
	x.conn.Serving()
	d.port.AllowWriting(x.w, scrapeBytes)
	x.answering(http.StatusOK, scrapeBytes)
	d.config.Metrics.ServeHTTP(x.w, x.r)
	return nil
}

// scrapeBytes is about the length of an answer, from which the time follows that a
// client has to take it.
const scrapeBytes = 64 << 10
