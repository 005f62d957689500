package httpd

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/explain"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/recorder"
)

// This file answers what asks how nodes are and were, rather than for their content:
// metrics and recorded events of this node; and for a person that looks at the whole
// cluster through one node the page, what all nodes say of themselves, and what happened.
// For these the node asks the others, and only while somebody looks.

const (
	// overviewAge is how old an overview may be that another viewer gets, too.
	overviewAge = 400 * time.Millisecond
	// explainAge is the same of stories, which cost more.
	explainAge = 2 * time.Second
	// askStatusTimeout and askRingTimeout bound the time that the others have to answer.
	askStatusTimeout = time.Second
	askRingTimeout   = 1500 * time.Millisecond // stories are to be there within 2 s
	// maxStatusBytes and maxRingBytes bound their answers.
	maxStatusBytes = 1 << 20
	maxRingBytes   = 8 << 20
	// defaultExplainSeconds and maxExplainSeconds are how far back is looked.
	defaultExplainSeconds, maxExplainSeconds = 600, 7 * 24 * 60 * 60
	// explainLeadIn is how much more than that is gathered: nodes record their leader
	// once a minute.
	explainLeadIn = 120
	// maxShownEvents bounds the events in an answer with stories; the newest are shown.
	maxShownEvents = 2000
)

// shared keeps answers for a moment, so that many viewers cost one round. The zero value is
// ready.
type shared[T any] struct {
	mu   sync.Mutex
	turn chan struct{}      // holds one while an answer is made: others wait for it
	kept map[uint64]kept[T] // belongs to whoever has the turn
}

type kept[T any] struct {
	answer T
	made   time.Time
}

// maxShared bounds the answers that are kept.
const maxShared = 4

// get returns the answer for a key, which is made by gather if there is none or it is older
// than age. It returns false if ctx ends while others make theirs.
func (s *shared[T]) get(ctx context.Context, key uint64, age time.Duration, gather func() T) (answer T, ok bool) {
	s.mu.Lock()
	if s.turn == nil {
		s.turn, s.kept = make(chan struct{}, 1), map[uint64]kept[T]{}
	}
	s.mu.Unlock()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return answer, false
	}
	defer func() { <-s.turn }()
	if k, is := s.kept[key]; is && time.Since(k.made) <= age {
		return k.answer, true
	}
	answer = gather()
	delete(s.kept, key)
	if len(s.kept) >= maxShared {
		oldest, at := uint64(0), time.Time{}
		for other, k := range s.kept { // the oldest is one, whatever the order
			if at.IsZero() || k.made.Before(at) {
				oldest, at = other, k.made
			}
		}
		delete(s.kept, oldest)
	}
	s.kept[key] = kept[T]{answer, time.Now()}
	return answer, true
}

// pagePath is where the page is; its files are behind it.
const pagePath = "/ui/"

// servePage serves the page, or one of its files. A browser may keep it, and asks each
// time whether it is still that of the program which runs.
func (d *Door) servePage(x *exchange) error {
	file, known := page.Open(cmp.Or(x.rawKey, page.Start))
	switch {
	case d.config.Page == page.Off:
		return failure.Of(failure.NoSuchPath, nil, "this node shows no page (--ui=off)")
	case !known:
		return failure.Of(failure.NoSuchPath, nil, "the page has no file of this name; it begins at %s", pagePath)
	}
	h := x.w.Header()
	h.Set("Content-Type", file.MediaType)
	h.Set("Content-Security-Policy", page.Policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept-Encoding")
	form := file.Plain
	if takesGzip(x.r.Header["Accept-Encoding"]) {
		form = file.Packed
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Etag", form.Tag)
	x.kept = true
	for _, tags := range x.r.Header["If-None-Match"] {
		if strings.Contains(tags, form.Tag) || strings.TrimSpace(tags) == "*" {
			h.Del("Content-Type")
			h.Del("Content-Encoding")
			x.answer(http.StatusNotModified, nil)
			return nil
		}
	}
	x.answer(http.StatusOK, form.Content)
	return nil
}

// takesGzip reports whether a client names gzip among the codings that it takes, without
// a weight: browsers give none. All others get a file as it is.
func takesGzip(accepted []string) bool {
	for _, line := range accepted {
		for coding := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				return true
			}
		}
	}
	return false
}

// status is what this node knows, without asking anybody.
func (d *Door) status() api.Status {
	status := d.server.Status()
	status.Limits.Connections = d.port.MaxConnections()
	status.Load.Connections.Open, status.Load.Connections.Evicted, status.Load.Connections.Refused = d.port.Counts()
	status.Recorded = d.config.Recorder.Newest()
	if d.config.Describe != nil {
		d.config.Describe(&status)
	}
	status.Groups = []api.Group{{
		ID: api.OnlyGroup, Role: status.Role, Term: status.Term, Leader: status.Leader,
		Commit: status.Commit, Applied: status.Applied, Log: status.Log, Peers: status.Peers,
	}}
	return status
}

// serveOverview shows what all nodes say of themselves.
func (d *Door) serveOverview(x *exchange) error {
	return x.answerJSON(http.StatusOK, d.overview(x, overviewAge))
}

// overview is what all nodes say of themselves, in the name of a request's caller. It may be
// this old.
func (d *Door) overview(x *exchange, age time.Duration) api.Overview {
	all, ok := d.peers.gathered(x).overviews.get(x.r.Context(), 0, age, func() api.Overview {
		own := d.status()
		all := api.Overview{Node: d.nodeID, Cluster: d.clusterID, AtMs: time.Now().UnixMilli(), PageWrites: d.config.Page == page.On, Nodes: d.peers.askStatuses(d.gathering(x, &own))}
		all.Nodes = append(all.Nodes, api.OverviewNode{Node: d.nodeID, Status: &own})
		for i := range all.Nodes { // they say nothing that the page does not know, with each change
			if s := all.Nodes[i].Status; s != nil {
				s.Groups = nil
			}
		}
		slices.SortFunc(all.Nodes, func(a, b api.OverviewNode) int { return strings.Compare(a.Node, b.Node) })
		return all
	})
	if !ok {
		panic(http.ErrAbortHandler) // the client is gone
	}
	return all
}

// gathering returns all members but this node, as its status knows them, and the token of
// a request.
func (d *Door) gathering(x *exchange, own *api.Status) gathering {
	g := gathering{peers: d.peers.config.Peers, token: x.who.Token()}
	if own.Membership != nil && len(own.Membership.Members) > 0 {
		g.peers = nil
		for _, m := range own.Membership.Members {
			if m.ID != d.nodeID {
				g.peers = append(g.peers, m.ID)
			}
		}
	}
	return g
}

// serveExplain tells what happened in the cluster, as text or as JSON.
func (d *Door) serveExplain(x *exchange) error {
	seconds, err := x.explainSeconds()
	if err != nil {
		return err
	}
	status := d.server.Status()
	g := d.gathering(x, &status)
	told, ok := d.peers.gathered(x).stories.get(x.r.Context(), seconds, explainAge, func() api.Explained { return d.explain(g, int64(seconds)) })
	if !ok {
		panic(http.ErrAbortHandler) // the client is gone
	}
	if accepts(x.r.Header, api.MediaJSON) {
		return x.answerJSON(http.StatusOK, told)
	}
	return x.answerText(explainedText(told))
}

func (x *exchange) explainSeconds() (uint64, error) {
	return x.number("seconds", 1, maxExplainSeconds, defaultExplainSeconds)
}

// explain gathers what all nodes recorded and makes stories of it.
func (d *Door) explain(g gathering, seconds int64) api.Explained {
	rings, missing := d.peers.askRings(g, seconds+explainLeadIn)
	own := d.config.Recorder
	rings = append(rings, own.After(own.Before(time.Duration(seconds+explainLeadIn)*time.Second), recorder.Capacity)...)
	of := explain.Tell(rings, 1000*seconds, time.Now().UnixMilli())
	told := api.Explained{FromMs: of.Span.From, ToMs: of.Span.To, Missing: missing, Stories: []any{}, Events: []any{}}
	for _, s := range of.Stories {
		told.Stories = append(told.Stories, s)
	}
	for _, l := range of.Lines[max(0, len(of.Lines)-maxShownEvents):] {
		told.Events = append(told.Events, l)
	}
	return told
}

// explainedText writes stories for people.
func explainedText(told api.Explained) string {
	var b strings.Builder
	for _, m := range told.Missing {
		fmt.Fprintf(&b, "%s: %s\n", m.Node, m.Error)
	}
	for _, s := range told.Stories {
		story := s.(explain.Story)
		fmt.Fprintf(&b, "%s  %s (%s)\n  %s\n", time.UnixMilli(story.From).UTC().Format("15:04:05.000 UTC"),
			strings.ReplaceAll(string(story.Kind), "_", " "), story.Certainty, strings.Join(story.Sentences, "\n  "))
	}
	return b.String()
}

// checkExplain refuses a request for stories that no room would help.
func (x *exchange) checkExplain() error {
	if x.door.config.Recorder == nil {
		return failure.Of(failure.NoSuchPath, nil, "this node records nothing")
	}
	_, err := x.explainSeconds()
	return err
}

// serveMetrics shows the metrics to Prometheus; checkFirst has seen that there are any.
func (d *Door) serveMetrics(x *exchange) error {
	d.stampHeader(x.w.Header(), x.idHeader())
	x.stampStrict()
	if x.silent {
		unstampNode(x.w.Header())
	}
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
	explainPath  = "/v1/explain"
	// defaultEvents and maxEvents are how many events an answer holds. An event is a
	// line of 150 bytes or so, and 400 at most, so an answer has less than 4 MiB.
	defaultEvents, maxEvents = 5000, 10_000
	eventBytes               = 160
	// maxEventSeconds is a year.
	maxEventSeconds = 365 * 24 * 60 * 60
)

// trailed keeps the request if it was slow, was refused for want of room or of a leader, or
// has an unknown outcome, for raftkv explain --request.
func (x *exchange) trailed() {
	if x.route == nil || x.status == 0 {
		return
	}
	writes := false
	switch x.route.Class {
	case kvserver.Writes, kvserver.Deletes:
		writes = true
	case kvserver.Reads:
	default:
		return
	}
	took := time.Since(x.begun)
	kept := x.status == http.StatusTooManyRequests || x.status >= http.StatusInternalServerError
	if !kept && (x.status >= http.StatusBadRequest || x.query["wait"] != "" || !x.door.trails.Slow(writes, took)) {
		return
	}
	t := api.RequestTrail{
		Node: x.door.nodeID, ID: x.id, Method: x.r.Method, AtMs: x.begun.UnixMilli(), EndedNs: int64(took),
		Leader: x.passed, Status: x.status, Code: x.code, Outcome: x.outcome,
	}
	// What was passed on had not happened here, wherever it was put before.
	if index, term, at := x.place.Get(); index != 0 && x.passed == "" {
		t.Index, t.Term, t.PlacedNs = index, term, max(at.UnixNano()-x.begun.UnixNano(), 0)
	}
	x.door.trails.Keep(t)
}

// serveTrails shows what this node keeps of the requests of a name.
func (d *Door) serveTrails(x *exchange, id string) error {
	return x.answerJSON(http.StatusOK, api.RequestTrails{Requests: append([]api.RequestTrail{}, d.trails.Of(id)...)})
}

// serveRecorder shows the events of this node behind a number, or of the last seconds, as
// lines of JSON. It asks neither the leader nor the disk.
func (d *Door) serveRecorder(x *exchange) error {
	if id, given := x.query["request"]; given {
		return d.serveTrails(x, id)
	}
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
	if id, given := x.query["request"]; given && (len(id) == 0 || len(id) > api.MaxRequestIDBytes) {
		return failure.Of(failure.BadRequest, nil, "the parameter request has %d bytes; the name of a request has 1 to %d", len(id), api.MaxRequestIDBytes)
	}
	_, _, err := x.eventRange()
	return err
}

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
	x.stampConfiguration()
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
	x.stampConfiguration()
	return x.answerJSON(http.StatusOK, d.status())
}
