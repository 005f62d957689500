package metrics

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
)

// meter is the instruments of one route.
type meter struct {
	all          *Metrics
	method, path string

	now                         prometheus.Gauge
	requestBytes, responseBytes prometheus.Counter
	// byStatus holds the histograms of the statuses that were seen: those that never
	// come shall have no series.
	byStatus [maxStatus + 1]atomic.Pointer[prometheus.Observer]
}

// maxStatus is the last status that HTTP has room for.
const maxStatus = 999

// Route returns what measures the requests of one route; see httpd.Observer.
func (m *Metrics) Route(method, path string) (enter func(bytes int64), leave func(status, sent int, took time.Duration)) {
	r := &meter{
		all: m, method: method, path: path, now: m.requestsNow.WithLabelValues(path),
		requestBytes: m.requestBytes.WithLabelValues(path), responseBytes: m.responseBytes.WithLabelValues(path),
	}
	return r.enter, r.leave
}

// seconds returns the histogram of answers with a status.
func (r *meter) seconds(status int) prometheus.Observer {
	if known := r.byStatus[status].Load(); known != nil {
		return *known
	}
	found := r.all.requestSeconds.WithLabelValues(r.path, r.method, strconv.Itoa(status))
	r.byStatus[status].Store(&found)
	return found
}

// enter notes that a request has found its route.
func (r *meter) enter(bytes int64) {
	r.now.Inc()
	if bytes > 0 {
		r.requestBytes.Add(float64(bytes))
	}
}

// leave notes that a request has its answer.
func (r *meter) leave(status, sent int, took time.Duration) {
	r.now.Dec()
	r.responseBytes.Add(float64(sent))
	r.seconds(status).Observe(took.Seconds())
}

// clerkOps names the requests of Clerks.
var clerkOps = map[clerkwire.Kind]string{
	clerkwire.KindOpen: "open_session", clerkwire.KindGet: "get", clerkwire.KindList: "list",
	clerkwire.KindPut: "put", clerkwire.KindAppend: "append", clerkwire.KindDelete: "delete",
	clerkwire.KindForward: "forward", clerkwire.KindAuth: "auth",
	clerkwire.KindTxn: "txn", clerkwire.KindDeleteRange: "delete_range",
	clerkwire.KindGrant: "grant", clerkwire.KindKeepAlive: "keep_alive", clerkwire.KindRevoke: "revoke", clerkwire.KindLeases: "leases", clerkwire.KindTouch: "touch",
	clerkwire.KindAcquire: "acquire", clerkwire.KindRelease: "release", clerkwire.KindLeaveQueue: "leave_queue", clerkwire.KindPublish: "publish", clerkwire.KindLocks: "locks",
	clerkwire.KindWatch: "watch", clerkwire.KindSync: "sync",
}

// Clerk notes that a request of a Clerk has its answer.
func (m *Metrics) Clerk(kind clerkwire.Kind, took time.Duration) {
	m.clerkSeconds[kind].Observe(took.Seconds())
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

// Refused counts a request that ended with an error.
func (m *Metrics) Refused(err error) {
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

// Forwarded counts a write that was carried to the leader.
func (m *Metrics) Forwarded(err error) {
	result := hopLost
	switch {
	case err == nil:
		result = hopAnswered
	case errors.Is(err, failure.NoLeader), errors.Is(err, failure.Stopping):
		result = hopNotSent
	}
	m.forwarded[result].Inc()
}

// rejectionLabels are the labels of rejections.
func rejectionLabels() (labels []string) {
	for _, r := range rejections {
		labels = append(labels, r.label)
	}
	return labels
}
