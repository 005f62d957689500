package httpd

import (
	"net/http"

	"raftkv/kvserver/failure"
)

// serveMetrics shows the metrics to Prometheus; checkFirst has seen that there are any.
func (d *Door) serveMetrics(x *exchange) error {
	d.stampHeader(x.w.Header(), x.idHeader())
	x.conn.Serving()
	d.port.AllowWriting(x.w, scrapeBytes)
	x.answering(http.StatusOK, scrapeBytes)
	d.config.Metrics.ServeHTTP(x.w, x.r)
	return nil
}

// measures returns nil if there is anything to scrape.
func (d *Door) measures() error {
	if d.config.Metrics == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node measures nothing")
	}
	return nil
}

// scrapeBytes is about the length of an answer, from which the time follows that a
// client has to take it.
const scrapeBytes = 64 << 10
