package kvserver

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
)

// meter is the instruments of one route. A nil *meter measures nothing.
type meter struct {
	all   *Metrics
	route Route

	now                         prometheus.Gauge
	requestBytes, responseBytes prometheus.Counter
	// byCode holds the histograms of the codes that were seen: those that never
	// come shall have no series.
	byCode [mostCode + 1]atomic.Pointer[prometheus.Observer]
}

// mostCode is the last code that HTTP has room for.
const mostCode = 999

// meter returns the instruments of a route.
func (m *Metrics) meter(r Route) *meter {
	if m == nil {
		return nil
	}
	return &meter{
		all: m, route: r, now: m.requestsNow.WithLabelValues(r.Path),
		requestBytes: m.requestBytes.WithLabelValues(r.Path), responseBytes: m.responseBytes.WithLabelValues(r.Path),
	}
}

// seconds returns the histogram of answers with a code.
func (m *meter) seconds(code int) prometheus.Observer {
	if known := m.byCode[code].Load(); known != nil {
		return *known
	}
	found := m.all.requestSeconds.WithLabelValues(m.route.Path, m.route.Method, strconv.Itoa(code))
	m.byCode[code].Store(&found)
	return found
}

// passage is the measuring of one request on its route.
type passage struct {
	meter *meter // nil: it is not measured
	begun time.Time
	code  int // 0 until the answer began
	sent  int // bytes of the answer's body
}

// enter notes that a request has found its route.
func (m *meter) enter(x *exchange) {
	if m == nil {
		return
	}
	x.passage = passage{meter: m, begun: time.Now()}
	m.now.Inc()
	if x.r.ContentLength > 0 {
		m.requestBytes.Add(float64(x.r.ContentLength))
	}
}

// clientGone is the code of requests whose client did not wait for the answer,
// so that no alert takes its leaving for a failure of the server.
const clientGone = 499

// leave notes that a request has its answer.
func (x *exchange) leave() {
	p := &x.passage
	if p.meter == nil {
		return
	}
	code := p.code
	if x.r.Context().Err() != nil {
		code = clientGone
	}
	p.meter.now.Dec()
	p.meter.responseBytes.Add(float64(p.sent))
	p.meter.seconds(code).Observe(time.Since(p.begun).Seconds())
}

// answering notes how a request is answered.
func (x *exchange) answering(code, length int) {
	x.passage.code, x.passage.sent = code, length
}

// clerkOps names the requests of Clerks.
var clerkOps = map[clerkwire.Kind]string{
	clerkwire.KindOpen: "open_session", clerkwire.KindGet: "get", clerkwire.KindList: "list",
	clerkwire.KindPut: "put", clerkwire.KindAppend: "append", clerkwire.KindDelete: "delete",
}

// clerk notes that a request of a Clerk has its answer.
func (m *Metrics) clerk(kind clerkwire.Kind, took time.Duration) {
	if m != nil {
		m.clerkSeconds[kind].Observe(took.Seconds())
	}
}

// clerkReads notes that reads of a Clerk have their answers. Those that came
// together took as long as the first of them.
func (m *Metrics) clerkReads(reads []clerkRead, took time.Duration) {
	if m == nil {
		return
	}
	for i := range reads {
		kind := clerkwire.KindGet
		if reads[i].list != nil {
			kind = clerkwire.KindList
		}
		m.clerkSeconds[kind].Observe(took.Seconds())
	}
}

// rejections are the refusals that are counted by reason.
var rejections = []struct {
	kind  error
	label string
}{
	{failure.Overloaded, "overload"},
	{failure.Quota, "quota"},
	{failure.ValueTooLarge, "too_large"},
	{failure.NoLeader, "no_leader"},
	{failure.Behind, "behind"},
	{failure.Stopping, "stopping"},
	{failure.IdempotencyFull, "idempotency_full"},
}

// refused counts a request that ended with an error.
func (m *Metrics) refused(err error) {
	if m == nil {
		return
	}
	for i := range rejections {
		if errors.Is(err, rejections[i].kind) {
			m.rejected[i].Inc()
			return
		}
	}
}

// hop is what came of carrying a write to the leader.
type hop int

const (
	hopAnswered hop = iota
	hopNotSent
	hopLost
)

var hops = [...]string{hopAnswered: "answered", hopNotSent: "not_sent", hopLost: "lost"}

// hop counts a write that was carried to the leader.
func (m *Metrics) hop(err error) {
	if m == nil {
		return
	}
	result := hopLost
	switch {
	case err == nil:
		result = hopAnswered
	case errors.Is(err, failure.NoLeader), errors.Is(err, failure.Stopping):
		result = hopNotSent
	}
	m.forwarded[result].Inc()
}
