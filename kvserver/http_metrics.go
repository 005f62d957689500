package kvserver

import (
	"net/http"

	"raftkv/kvserver/failure"
)

// mostScrapes bounds the scrapes that are being answered. One Prometheus asks
// once in a while; a thousand at once must not take the processors from those
// who want to be served.
const mostScrapes = 4

// serveMetrics shows the metrics to Prometheus.
func (s *Server) serveMetrics(x *exchange) error {
	if s.config.Metrics == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node measures nothing")
	}
	if !s.scrapes.enter(0) {
		return s.overloadedAs(leastRetryAfter, "too many scrapes are being answered (limit %d)", mostScrapes)
	}
	defer s.scrapes.leave(0)
	s.stampHeader(x.w.Header(), x.id)
	connOf(x.r).serving()
	x.allowWriting(scrapeBytes)
	x.answered = true
	x.answering(http.StatusOK, scrapeBytes)
	s.config.Metrics.handler.ServeHTTP(x.w, x.r)
	return nil
}

// scrapeBytes is about the length of an answer. It gives a scrape the time that
// a client has for so many bytes.
const scrapeBytes = 64 << 10
