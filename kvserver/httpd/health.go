package httpd

import (
	"net/http"
	"strings"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/recorder"
)

// serveLive says whether the process is worth keeping.
func (d *Door) serveLive(x *exchange) error {
	if err := d.server.Live(); err != nil {
		return err
	}
	return x.answerText("ok\n")
}

// serveReady says whether a linearizable read would succeed here now.
func (d *Door) serveReady(x *exchange) error {
	verbose, err := x.flag("verbose")
	if err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	lines, err := d.server.Ready(ctx)
	if !verbose {
		lines = nil
	}
	if err != nil {
		x.answerError(err, lines)
		return nil
	}
	lines = append(lines, "ok")
	return x.answerText(strings.Join(lines, "\n") + "\n")
}

func (x *exchange) answerText(text string) error {
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.answer(http.StatusOK, []byte(text))
	return nil
}

// serveStatus tells what this node knows, without asking anybody.
func (d *Door) serveStatus(x *exchange) error {
	return x.answerJSON(http.StatusOK, d.status())
}

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

const (
	recorderPath = "/v1/recorder"
	// defaultEvents and maxEvents are how many events an answer holds. An event is a
	// line of 150 bytes or so, and 400 at most, so an answer has less than 4 MiB.
	defaultEvents, maxEvents = 5000, 10_000
	eventBytes               = 160
	// maxEventSeconds is a year.
	maxEventSeconds = 365 * 24 * 60 * 60
)

// serveRecorder shows the events of this node behind a number, or of the last seconds, as
// lines of JSON. It asks neither the leader nor the disk.
func (d *Door) serveRecorder(x *exchange) error {
	after, limit, err := x.eventRange()
	if err != nil {
		return err
	}
	if seconds, _ := x.number("seconds", 1, maxEventSeconds, 0); seconds > 0 {
		after = max(after, d.config.Recorder.Before(time.Duration(seconds)*time.Second))
	}
	rings := d.config.Recorder.After(after, limit)
	length := eventBytes
	for _, r := range rings {
		length += eventBytes * len(r.Events)
	}
	x.w.Header().Set("Content-Type", api.MediaNDJSON)
	x.begin(http.StatusOK, length)
	// An error here means that the client is gone, and there is nobody to tell.
	_ = recorder.WriteLines(pieces{x}, rings)
	return nil
}

// eventRange returns which events are asked for.
func (x *exchange) eventRange() (after uint64, limit int, err error) {
	after, err = x.number("after", 0, 1<<64-1, 0)
	if err != nil {
		return 0, 0, err
	}
	if _, err := x.number("seconds", 1, maxEventSeconds, 0); err != nil {
		return 0, 0, err
	}
	n, err := x.number("limit", 1, maxEvents, defaultEvents)
	return after, int(n), err
}

// checkRecorder refuses a request for events that no room would help.
func (x *exchange) checkRecorder() error {
	if x.door.config.Recorder == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node records nothing")
	}
	_, _, err := x.eventRange()
	return err
}
