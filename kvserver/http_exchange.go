package kvserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// exchange is one request and its answer.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string
	began  time.Time         // when its body began to be read
	query  map[string]string // the parameters given, each of which the route takes
	// repeatable is set when the log would know a second copy of the request.
	repeatable bool
	// answered is set once the answer's header is out; nothing can be said
	// differently from then on.
	answered bool
	passage  passage
}

// handle makes an http.HandlerFunc of a function that serves one request, or
// returns the error to answer with.
func (s *Server) handle(serve func(*exchange) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{server: s, w: w, r: r, id: s.requestID(r)}
		defer x.leave()
		defer x.recoverPanic()
		if r.ContentLength == 0 {
			connOf(r).serving()
		}
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
		x.answerError(failure.Of(failure.InternalRead, nil, "the server's log names the request"), nil)
		return
	}
	x.answerError(failure.Of(failure.Internal, nil, "the server's log names the request; the write may have happened"), nil)
}

// answer sends the header, which the caller has filled, and the body.
func (x *exchange) answer(status int, body []byte) {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.begin(status, len(body))
	// An error here means that the client is gone, and there is nobody to tell.
	_, _ = x.w.Write(body)
}

// begin sends the header of an answer whose body will have so many bytes, and
// gives the client the time that it may take to read them.
func (x *exchange) begin(status, length int) {
	x.server.stampHeader(x.w.Header(), x.id)
	connOf(x.r).serving()
	x.allowWriting(length)
	x.answered = true
	x.answering(status, length)
	x.w.WriteHeader(status)
}

// stampHeader sets what every answer says: who answers and what it knows.
func (s *Server) stampHeader(h http.Header, requestID string) {
	status := s.config.Consensus.Status()
	h.Set(api.HeaderNode, s.config.NodeID)
	h.Set(api.HeaderLeader, string(status.Leader))
	h.Set(api.HeaderTerm, strconv.FormatUint(status.Term, 10))
	h.Set(api.HeaderRequestID, requestID)
	// What was read a moment ago is not linearizable any more.
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// answerJSON sends a body of the types of package api.
func (x *exchange) answerJSON(status int, body any) error {
	x.w.Header().Set("Content-Type", api.MediaJSON)
	x.answer(status, encodeJSON(body, ""))
	return nil
}

// answerError sends err as a problem document. checks are the lines of a
// readiness probe, if any.
func (x *exchange) answerError(err error, checks []string) {
	x.server.config.Metrics.refused(err)
	k, problem := x.server.problem(err, x.id)
	problem.Checks = checks
	if x.repeatable && k.Outcome == api.OutcomeUnknown {
		problem.Retryable = true // the log knows the request again
	}
	stampError(x.w.Header(), k, err)
	x.answer(k.Status, encodeProblem(problem))
}

// problem describes an error.
func (s *Server) problem(err error, requestID string) (failure.Kind, api.Problem) {
	k := failure.KindOf(err)
	status := s.config.Consensus.Status()
	problem := api.Problem{
		Type:      "about:blank",
		Title:     k.Title,
		Status:    k.Status,
		Code:      k.Code,
		Outcome:   k.Outcome,
		Retryable: k.Retryable,
		Node:      s.config.NodeID,
		Leader:    string(status.Leader),
		Term:      status.Term,
		RequestID: requestID,
	}
	problem.Detail = failure.Detail(err)
	return k, problem
}

// encodeProblem writes a problem for people as well, who use curl.
func encodeProblem(p api.Problem) []byte { return encodeJSON(p, "  ") }

// encodeJSON writes one of the types of package api, and the end of a line.
func encodeJSON(v any, indent string) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // it is said to be no HTML, and a key with & should be readable
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("kvserver: a %T cannot be written as JSON: %v", v, err))
	}
	return text.Bytes()
}

// stampError sets the headers of an error.
func stampError(h http.Header, k failure.Kind, err error) {
	h.Set("Content-Type", api.MediaProblem)
	h.Set(api.HeaderError, k.Header())
	if after := failure.RetryIn(err); after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(after.Seconds())))
	}
}

// rawProblem is a whole answer for a connection whose request no handler has
// seen. The connection ends with it.
func (s *Server) rawProblem(err error) []byte {
	id := s.nextRequestID()
	k, problem := s.problem(err, id)
	body := encodeProblem(problem)
	h := http.Header{"Connection": {"close"}, "Content-Length": {strconv.Itoa(len(body))}}
	s.stampHeader(h, id)
	stampError(h, k, err)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", k.Status, http.StatusText(k.Status))
	_ = h.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
