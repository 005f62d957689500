package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/port"
)

// exchange is one request and its answer. It is made anew for each request and never
// used again: net/http reads the header, which is cut from numbers and idValue, after
// the handler has returned.
type exchange struct {
	door  *Door
	route *route // nil: none was found, or it is the admin port
	w     http.ResponseWriter
	r     *http.Request
	conn  *port.Conn // nil: the request came without one, as in some tests
	// rawKey is the key in the path, as it was sent, for routes that have one.
	rawKey string
	id     string
	drawn  bool   // this node has drawn id, which begins with the node's own name
	lock   string // that the request asks for, "" if it does not
	act    string // what the request does, for the audit, where no route says it
	about  string // and what it is about, where no path says it
	// needs are of a request about several keys, for the audit, and lack is what its caller
	// lacks, if this node has refused it for that.
	needs access.Needs
	lack  *access.Lack
	// who makes the request; nobody until authenticate has looked.
	who kvserver.Caller
	// counted is set while the request counts for its caller's limits;
	// reserved is set when the audit has promised room for a line; silent when the answer
	// says nothing of the cluster; kept when a client may keep the answer and ask whether
	// it is still right.
	counted, reserved, silent, kept bool
	began                           time.Time         // when its body began to be read
	query                           map[string]string // the parameters given, each of which the route takes
	// repeated are the parameters that may be given several times.
	repeated map[string][]string
	// next is where a list goes on whose state is gone, "" if it is no such thing.
	next string
	// repeatable is set when the log would know a second copy of the request.
	repeatable bool
	relayed    *relayedAnswer      // by the leader, over HTTP
	forwarded  *kvserver.Forwarded // by the leader, as a command
	// answered is set once the answer's header is out; nothing can be said
	// differently from then on.
	answered bool
	// leave, if not nil, is told how the request was answered; see Observer.
	leave        func(status, sent int, took time.Duration)
	begun        time.Time // when it found its route
	status, sent int       // of the answer; 0 until it began
	// The following are for the trail: where this node put the command into the log, whom
	// the request was passed on to, and how it was refused.
	place   kvserver.Place
	passed  string
	code    api.Code
	outcome api.Outcome

	body    body      // of the request
	numbers numbers   // in the answer's header
	idValue [1]string // in the answer's header: id
}

// handle makes an http.HandlerFunc of a function that serves one request, or
// returns the error to answer with.
func (d *Door) handle(serve func(*exchange) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { d.serveWith(serve, w, r, "") }
}

// serveWith serves one request; see handle. rawKey is the key in its path, if any.
func (d *Door) serveWith(serve func(*exchange) error, w http.ResponseWriter, r *http.Request, rawKey string) {
	x := &exchange{door: d, w: w, r: r, conn: port.Of(r), rawKey: rawKey}
	x.id, x.drawn = d.requestID(r)
	x.who.Remote = r.RemoteAddr
	defer x.audited()
	defer x.measured()
	defer x.trailed()
	defer x.recoverPanic()
	if r.ContentLength == 0 {
		x.conn.Serving()
	}
	if err := serve(x); err != nil {
		x.answerError(err, nil)
	}
}

// requestID returns the name that the client gave the request, or draws one. A name that
// holds a token is none: it would come back in the answer, and stand in the audit.
func (d *Door) requestID(r *http.Request) (id string, drawn bool) {
	given := r.Header[api.HeaderRequestID]
	if len(given) == 0 || len(given[0]) == 0 || len(given[0]) > api.MaxRequestIDBytes {
		return d.server.NextRequestID(), true
	}
	id = given[0]
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return d.server.NextRequestID(), true
		}
	}
	if auth.Conceal(id) != id {
		return d.server.NextRequestID(), true
	}
	return id, false
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
	x.door.logger.Error("a request handler panicked",
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

// bufferBytes is how much of an answer net/http keeps until its handler has ended, if
// nobody flushes it. The length of an answer that is not longer is known then.
const bufferBytes = 2048

// answer sends the header, which the caller has filled, and the body.
func (x *exchange) answer(status int, body []byte) {
	// net/http counts what fits into its buffer, by itself. With 14 names the header of a
	// GET is a map of 16 places; the 15th made one of 32, and a GET 4 µs dearer.
	counted := len(body) <= bufferBytes && x.r.Method != http.MethodHead
	if !counted && status != http.StatusNoContent && status != http.StatusNotModified {
		x.stampNumber("Content-Length", uint64(len(body)))
	}
	x.begin(status, len(body))
	x.write(body)
}

// write writes the body of an answer. Where its caller has limits, the last byte leaves when
// the handler has ended, as a small body does: by then the request is counted out, and a client
// that has its answer may make the next one at once. An error means that the client is gone,
// and there is nobody to tell.
func (x *exchange) write(body []byte) {
	if last := len(body) - 1; x.counted && last >= bufferBytes {
		_, _ = x.w.Write(body[:last])
		body = body[last:]
	}
	_, _ = x.w.Write(body)
}

// begin sends the header of an answer with a body of this length, in bytes, and gives
// the client the time that it may take to read it.
func (x *exchange) begin(status, length int) {
	h := x.w.Header()
	x.flushNumbers(h)
	x.door.stampHeader(h, x.idHeader())
	x.stampStrict()
	x.stampAnswerer()
	if x.kept {
		h["Cache-Control"] = valueNoCache
	}
	if x.silent {
		unstampNode(h)
	}
	if x.conn.MustEnd() {
		h["Connection"] = valueClose
	}
	x.conn.Serving()
	x.door.port.AllowWriting(x.w, length)
	x.answering(status, length)
	x.w.WriteHeader(status)
}

// idHeader returns the request's name as a header holds it.
func (x *exchange) idHeader() []string {
	x.idValue[0] = x.id
	return x.idValue[:]
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
	x.lack = access.LackOf(err)
	x.answerRefusal(x.door.server.Refuse(err), checks)
}

// answerRefusal sends a refusal, of this node or of the leader, as a problem document.
func (x *exchange) answerRefusal(refusal kvserver.Refusal, checks []string) {
	if failure.OfCaller(refusal.Err) {
		x.keepSilent()
	}
	if x.silent {
		hideNode(&refusal)
	}
	if refusal.Err == failure.Unauthenticated {
		x.holdBack()
	}
	x.code, x.outcome = refusal.Code, refusal.Outcome
	problem := problemOf(refusal, x.id)
	problem.Checks = checks
	if refusal.Code == api.CodeRevisionGone {
		problem.Next = x.next
	}
	if refusal.Code == api.CodeLockHeld && x.lock != "" {
		problem.Holders = x.holders()
	}
	if x.repeatable && refusal.Outcome == api.OutcomeUnknown {
		problem.Retryable = true // the log knows the request again
	}
	stampError(x.w.Header(), refusal)
	x.answer(refusal.Status, encodeProblem(problem))
}

// problemOf writes a refusal as an api.Problem.
func problemOf(r kvserver.Refusal, requestID string) api.Problem {
	return api.Problem{
		Type: "about:blank", Title: r.Title, Status: r.Status, Code: r.Code, Outcome: r.Outcome, Retryable: r.Retryable,
		Detail: r.Detail, Node: r.Node, Leader: r.Leader, Term: r.Term, RequestID: requestID,
		Oldest: r.Oldest, Revision: r.Revision, Operation: r.Operation,
	}
}

// encodeProblem writes a problem with line breaks, for people with curl.
func encodeProblem(p api.Problem) []byte { return encodeJSON(p, "  ") }

// encodeJSON writes one of the types of package api, and the end of a line.
func encodeJSON(v any, indent string) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // it is said to be no HTML, and a key with & should be readable
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("httpd: a %T cannot be written as JSON: %v", v, err))
	}
	return text.Bytes()
}

// stampError sets the headers of an error.
func stampError(h http.Header, r kvserver.Refusal) {
	h.Set("Content-Type", api.MediaProblem)
	h.Set(api.HeaderError, r.Header())
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(r.RetryAfter.Seconds())))
	}
}

// Problem renders an error as a whole answer for a connection whose request no
// handler has seen. The connection ends with it. While identities are enforced it names
// no node, since no token was looked at.
func (d *Door) Problem(err error) []byte {
	id := d.server.NextRequestID()
	refusal := d.server.Describe(err)
	silent := d.server.Gate().State() == auth.Enforcing
	if silent {
		hideNode(&refusal)
		id = d.hideInName(id)
	}
	body := encodeProblem(problemOf(refusal, id))
	h := http.Header{"Connection": {"close"}, "Content-Length": {strconv.Itoa(len(body))}}
	d.stampHeader(h, []string{id})
	if silent {
		unstampNode(h)
	}
	stampError(h, refusal)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", refusal.Status, http.StatusText(refusal.Status))
	_ = h.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// clientGone is the status of requests whose client did not wait for the answer,
// so that no alert takes its leaving for a failure of the server.
const clientGone = 499

// answering notes how a request is answered: nothing can be said differently from
// now on.
func (x *exchange) answering(status, length int) {
	x.answered = true
	x.status, x.sent = status, length
}

// measured tells the observer that a request has its answer.
func (x *exchange) measured() {
	if x.leave == nil {
		return
	}
	status := x.status                                    // which the audit shows
	if context.Cause(x.r.Context()) == context.Canceled { // another cause is this server's
		status = clientGone
	}
	x.leave(status, x.sent, time.Since(x.begun))
}

// context returns the context of the request, for everything that it has to wait
// for; see kvserver.Server.Context.
func (x *exchange) context() (context.Context, context.CancelFunc) {
	x.conn.LeaveGate()
	return x.door.server.Context(x.r.Context())
}

// allowReading gives the client time to send more of a body, of which this number of
// bytes has come.
func (x *exchange) allowReading(received int) {
	if x.began.IsZero() {
		x.began = time.Now()
	}
	x.door.port.AllowReading(x.w, x.r, x.began, received)
}
