package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// conn is one connection to a server: many calls are pending on it, and answers
// come in any order.
type conn struct {
	net  net.Conn
	out  *clerkwire.Outbox
	from greeting
	// sweep is the interval at which overdue calls are looked for. A call is given
	// up after sweepsPerAttempt of them.
	sweep   time.Duration
	watches bool // the server speaks of watches here
	// configured is told which configuration of the members the server knows.
	configured func(api.ConfigurationNumber)

	mu      sync.Mutex // guards the fields below
	calls   map[uint32]*call
	sources map[uint32]*source   // watches that are in place
	kin     map[string][]*source // those of each kin, the eldest first
	heard   uint32               // age of the connection when something came last
	last    uint32               // number of the last call
	age     uint32               // sweeps so far
	sweeper *time.Timer
	sweeps  sync.WaitGroup // scheduled, or running
	swept   bool           // a sweep is scheduled
	away    bool           // the server takes no more requests here
	failed  error          // the reason why the connection has ended; nil while it stands
}

const (
	sweepsPerAttempt = 4
	// silence is how long nothing at all comes on a connection with watches before it is
	// given up. Servers send something every 15 s.
	silence = 30 * time.Second
)

// greeting is a server's description of itself when a connection begins.
type greeting struct {
	node, cluster, uid string
	leader, leaderAddr string
	configuration      api.ConfigurationNumber
}

var (
	errNotSent        = errors.New("the connection had ended before the request was sent")
	errAttemptTimeout = errors.New("no answer in time")
	errGoodbye        = errors.New("the server is going away")
	errSilent         = errors.New("it did not answer in time")
)

// errOldServer says that a server speaks protocol 1 only.
var errOldServer = errors.New("the server speaks " + clerkwire.Protocol + " only")

// open turns a connection into one of a Clerk, by one of the protocols and with a token
// unless that is "". Nothing but the reader may use the result's reader. The cause
// errOldServer says that the other protocol would do.
func open(c net.Conn, address, token, protocol string, attempt time.Duration) (*conn, *clerkwire.FrameReader, *Error) {
	request := "GET " + clerkwire.Path + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n"
	if token != "" {
		request += "Authorization: Bearer " + token + "\r\n"
	}
	request += "\r\n"
	if _, err := c.Write([]byte(request)); err != nil {
		return nil, nil, unreachable(address, err)
	}
	early := bufio.NewReaderSize(c, 4<<10)
	response, err := http.ReadResponse(early, &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil, nil, unreachable(address, err)
	}
	h := response.Header
	switch {
	case response.StatusCode == http.StatusOK && protocol != clerkwire.Protocol && speaksOld(response):
		return nil, nil, unreachable(address, errOldServer)
	case response.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(h.Get("Upgrade"), protocol):
		return nil, nil, notAClerk(address, response)
	}
	response.Body.Close() // an upgrade has none
	answers := clerkwire.Answers2
	if protocol == clerkwire.Protocol {
		answers = clerkwire.Answers
	}
	return &conn{
			net: c, out: clerkwire.NewOutbox(), calls: map[uint32]*call{}, sources: map[uint32]*source{}, kin: map[string][]*source{}, sweep: attempt / sweepsPerAttempt,
			watches: protocol != clerkwire.Protocol,
			from: greeting{
				node: h.Get(api.HeaderNode), cluster: h.Get(api.HeaderCluster), uid: h.Get(api.HeaderClusterUID),
				leader: h.Get(api.HeaderLeader), leaderAddr: h.Get(api.HeaderLeaderAddr),
				configuration: api.ParseConfigurationNumber(h.Get(api.HeaderConfiguration)),
			},
		},
		clerkwire.NewFrameReader(c, early, answers), nil
}

// speaksOld reports whether a server that did not upgrade names protocol 1 among those
// that it speaks. The connection is of no use behind that.
func speaksOld(response *http.Response) bool {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblemBytes))
	response.Body = io.NopCloser(bytes.NewReader(body)) // for whoever asks what else it is
	return err == nil && slices.Contains(strings.Fields(string(body)), clerkwire.Protocol)
}

// notAClerk returns the error of an endpoint that answers but does not upgrade. A
// 4xx status says that the request is wrong, and a retry does not help. The
// statuses that ask for patience are exceptions.
func notAClerk(address string, response *http.Response) *Error {
	defer response.Body.Close() // the connection is of no use
	status, h := response.StatusCode, response.Header
	final := status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests
	code, _, _ := strings.Cut(h.Get(api.HeaderError), ";")
	if code == "" {
		e := stranger(address, fmt.Sprintf("answers %q and not like a server of this store", response.Status))
		e.final = final
		return e
	}
	var problem api.Problem
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblemBytes))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = "the server accepts no clerk now: " + response.Status
	}
	e := &Error{
		Code: api.Code(code), Outcome: api.OutcomeNotApplied, Node: h.Get(api.HeaderNode), Leader: problem.Leader, Term: problem.Term,
		RequestID: h.Get(api.HeaderRequestID), Detail: problem.Detail, final: final,
	}
	if e.Code == api.CodeUnauthenticated {
		e.short = wantsToken // such an answer names no node
	}
	return e
}

// maxProblemBytes bounds the part of a refusal that is read.
const maxProblemBytes = 64 << 10

// run moves frames until the connection ends.
func (c *conn) run(frames *clerkwire.FrameReader) {
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := c.out.Run(c.net); err != nil {
			c.fail(err)
		}
	})
	c.fail(c.read(frames))
	writing.Wait()
	c.sweeps.Wait()
}

// read takes answers until the connection ends, and returns the reason for the
// end.
func (c *conn) read(frames *clerkwire.FrameReader) error {
	for {
		h, err := frames.Next()
		if err != nil {
			return err
		}
		body, err := frames.Body(h)
		if err != nil {
			return err
		}
		drained := false
		switch h.Kind {
		case clerkwire.KindGoodbye:
			drained = c.sendAway()
		case clerkwire.KindConfiguration:
			c.hear()
			var m clerkwire.Configuration
			if err = m.Parse(body); err == nil {
				c.configured(api.ConfigurationNumber(m))
			}
		case clerkwire.KindChanges:
			err = c.changes(h.Number, body)
		default:
			drained, err = c.answered(h, body)
		}
		if err != nil {
			return err
		}
		if drained {
			return errGoodbye
		}
	}
}

// answered takes a frame that is the answer to a request, or the end of a watch.
func (c *conn) answered(h clerkwire.Header, body []byte) (drained bool, err error) {
	w, drained := c.pop(h)
	switch {
	case w != nil && h.Kind == clerkwire.KindWatching && w.feed != nil:
		feed := w.feed // w belongs to its caller from its end on
		if err := c.take(w, h, body); err != nil {
			return drained, err
		}
		c.opened(h.Number, feed.watching)
	case w != nil:
		return drained, c.take(w, h, body)
	case h.Kind == clerkwire.KindWatching:
		c.unwatch(h.Number) // nobody waits for it any more
	case h.Kind == clerkwire.KindEnded:
		return c.endOf(h.Number, body)
	}
	return drained, nil
}

// hear notes that something came.
func (c *conn) hear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = c.age
}

// take gives a call its answer and ends it.
func (c *conn) take(w *call, h clerkwire.Header, body []byte) error {
	var err error
	if h.Kind != clerkwire.KindRefused && h.Kind != w.kind.Answer() && !(h.Kind == clerkwire.KindEnded && w.kind == clerkwire.KindWatch) {
		err = fmt.Errorf("an answer of kind 0x%02x to a request of kind 0x%02x", uint8(h.Kind), uint8(w.kind))
	} else {
		err = w.take(h.Kind, body)
	}
	w.err = err
	w.done <- struct{}{}
	return err
}

// sendAway makes the connection take no more calls. It reports whether no call is
// pending.
func (c *conn) sendAway() (idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = true
	return c.idleLocked()
}

// idleLocked reports whether nothing is pending.
func (c *conn) idleLocked() bool { return len(c.calls) == 0 && len(c.sources) == 0 }

// pop takes out a call, whose answer has come; nil if no caller waits for it any more.
// The goroutine that takes a call out must end it. From the answer to a request for a
// watch on, what the watch brings goes into the call's feed. drained says that nothing is
// pending on a connection that takes no more.
func (c *conn) pop(h clerkwire.Header) (w *call, drained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = c.age
	w = c.calls[h.Number]
	delete(c.calls, h.Number)
	if w != nil && h.Kind == clerkwire.KindWatching && w.feed != nil {
		c.placeLocked(w.feed, h.Number)
	}
	return w, c.away && c.idleLocked()
}

// withdraw takes out a call whose caller waits no longer. It reports false if its end is
// about to come.
func (c *conn) withdraw(number uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waits := c.calls[number]
	delete(c.calls, number)
	return waits
}

// send sends a request and waits for the end of the call: an answer, or an error
// in it. It returns false if ctx ended first; the call then no longer belongs to
// the connection.
func send[M clerkwire.Message](ctx context.Context, c *conn, w *call, message M) (ended bool) {
	w.refused, w.err = nil, nil
	number, ok := c.push(w)
	if !ok {
		w.err = errNotSent
		return true
	}
	c.out.End(clerkwire.AppendFrame(c.out.Begin(), w.kind, number, message))
	select {
	case <-w.done:
		return true
	case <-ctx.Done():
	}
	if !c.withdraw(number) {
		<-w.done // it ended at the same moment
		return true
	}
	return false
}

// push adds a call to the pending ones and gives it its number.
func (c *conn) push(w *call) (number uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil || c.away {
		return 0, false
	}
	c.last++
	for c.calls[c.last] != nil || c.sources[c.last] != nil || c.last == 0 { // after four billion calls
		c.last++
	}
	w.number, w.age = c.last, c.age
	c.calls[c.last] = w
	if !c.swept {
		c.swept = true
		c.sweeps.Add(1)
		if c.sweeper == nil {
			c.sweeper = time.AfterFunc(c.sweep, c.sweepCalls)
		} else {
			c.sweeper.Reset(c.sweep)
		}
	}
	return c.last, true
}

// sweepCalls ends the calls that have waited too long. One timer for all calls
// costs less than one for each.
func (c *conn) sweepCalls() {
	defer c.sweeps.Done()
	all, silent := c.overdue()
	for _, w := range all {
		w.err = errAttemptTimeout
		w.done <- struct{}{}
	}
	if silent {
		c.fail(errSilent)
	}
}

// overdue takes out the calls that have waited too long. silent says that nothing has
// come for too long on a connection with watches.
func (c *conn) overdue() (all []*call, silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age++
	for number, w := range c.calls { // any order will do
		if c.age-w.age > sweepsPerAttempt {
			delete(c.calls, number)
			all = append(all, w)
		}
	}
	silent = len(c.sources) > 0 && time.Duration(c.age-c.heard)*c.sweep > silence
	c.swept = !c.idleLocked() && c.failed == nil
	if c.swept {
		c.sweeps.Add(1)
		c.sweeper.Reset(c.sweep)
	}
	return all, silent
}

// usable reports whether calls may be made on the connection.
func (c *conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed == nil && !c.away
}

// fail ends the connection and all calls on it. Only the first call has an
// effect.
func (c *conn) fail(cause error) {
	calls, feeds := c.takeAll(cause)
	for _, w := range calls {
		w.err = cause
		w.done <- struct{}{}
	}
	for _, f := range feeds {
		f.end(nil, cause)
	}
	c.out.Kill()
	c.net.Close()
}

func (c *conn) takeAll(cause error) (calls []*call, feeds []*feed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return nil, nil
	}
	c.failed = cause
	for number, w := range c.calls { // any order will do
		delete(c.calls, number)
		calls = append(calls, w)
	}
	for _, s := range c.sources {
		feeds = append(feeds, s.feeds...)
	}
	clear(c.sources)
	clear(c.kin)
	if c.sweeper != nil && c.sweeper.Stop() {
		c.sweeps.Done()
	}
	return calls, feeds
}
