package kvserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"

	"raftkv/kvserver/api"
)

// exchange is one request and its answer.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string
	query  map[string]string // the parameters given, each of which the route takes
	// answered is set once the answer's header is out; nothing can be said
	// differently from then on.
	answered bool
}

// handle makes an http.HandlerFunc of a function that serves one request, or
// returns the error to answer with.
func (s *Server) handle(serve func(*exchange) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{server: s, w: w, r: r, id: s.requestID(r)}
		defer x.recoverPanic()
		if err := serve(x); err != nil {
			x.answerError(err, nil)
		}
	}
}

// requestID returns the name that the client gave the request, or draws one.
func (s *Server) requestID(r *http.Request) string {
	id := r.Header.Get(api.HeaderRequestID)
	if len(id) == 0 || len(id) > api.MaxRequestIDBytes {
		return s.nextRequestID()
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return s.nextRequestID()
		}
	}
	return id
}

// recoverPanic answers for a handler that panicked. Handlers translate: they
// hold no lock and have changed nothing half-way when they fail, so the server
// can go on. What became of a write is not known here, and is said so. (A panic
// in the applier is not recovered by anyone.)
func (x *exchange) recoverPanic() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	x.server.config.Logger.Error("a request handler panicked",
		"request", x.id, "method", x.r.Method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if x.answered {
		panic(http.ErrAbortHandler)
	}
	if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
		x.answerError(fail(errInternalRead, nil, "the server's log names the request"), nil)
		return
	}
	x.answerError(fail(errInternal, nil, "the server's log names the request; the write may have happened"), nil)
}

// answer sends the header, which the caller has filled, and the body.
func (x *exchange) answer(status int, body []byte) {
	h := x.w.Header()
	x.stampHeader(h)
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.answered = true
	x.w.WriteHeader(status)
	// An error here means that the client is gone, and there is nobody to tell.
	_, _ = x.w.Write(body)
}

// stampHeader sets what every answer says: who answers and what it knows.
func (x *exchange) stampHeader(h http.Header) {
	status := x.server.consensus.Status()
	h.Set(api.HeaderNode, x.server.config.NodeID)
	h.Set(api.HeaderLeader, string(status.Leader))
	h.Set(api.HeaderTerm, strconv.FormatUint(status.Term, 10))
	h.Set(api.HeaderRequestID, x.id)
	// What was read a moment ago is not linearizable any more.
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// answerJSON sends a body of the types of package api.
func (x *exchange) answerJSON(status int, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("kvserver: a %T cannot be written as JSON: %v", body, err))
	}
	x.w.Header().Set("Content-Type", "application/json")
	x.answer(status, append(b, '\n'))
	return nil
}

// answerError sends err as a problem document. checks are the lines of a
// readiness probe, if any.
func (x *exchange) answerError(err error, checks []string) {
	k := kindOf(err)
	status := x.server.consensus.Status()
	problem := api.Problem{
		Type:      "about:blank",
		Title:     k.title,
		Status:    k.status,
		Code:      k.code,
		Outcome:   k.outcome,
		Retryable: k.retryable,
		Node:      x.server.config.NodeID,
		Leader:    string(status.Leader),
		Term:      status.Term,
		RequestID: x.id,
		Checks:    checks,
	}
	if f, ok := err.(*failure); ok {
		problem.Detail = f.detail
	}
	// The body is for people as well, who use curl.
	body, err := json.MarshalIndent(problem, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("kvserver: a problem cannot be written as JSON: %v", err))
	}
	h := x.w.Header()
	h.Set("Content-Type", api.MediaProblem)
	h.Set(api.HeaderError, errorHeader(k))
	if k.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(k.retryAfter.Seconds())))
	}
	x.answer(k.status, append(body, '\n'))
}

// errorHeader is the value of api.HeaderError.
func errorHeader(k kind) string {
	if k.outcome == "" {
		return string(k.code)
	}
	return string(k.code) + "; outcome=" + string(k.outcome)
}
