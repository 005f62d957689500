package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	sweep time.Duration

	mu      sync.Mutex // guards the fields below
	calls   map[uint32]*call
	last    uint32 // number of the last call
	age     uint32 // sweeps so far
	sweeper *time.Timer
	sweeps  sync.WaitGroup // scheduled, or running
	swept   bool           // a sweep is scheduled
	away    bool           // the server takes no more requests here
	failed  error          // the reason why the connection has ended; nil while it stands
}

const sweepsPerAttempt = 4

// greeting is a server's description of itself when a connection begins.
type greeting struct {
	node, cluster, uid string
	leader, leaderAddr string
}

var (
	errNotSent        = errors.New("the connection had ended before the request was sent")
	errAttemptTimeout = errors.New("no answer in time")
	errGoodbye        = errors.New("the server is going away")
	errSilent         = errors.New("it did not answer in time")
)

// open turns a connection into one of a Clerk, with a token unless that is "". Nothing but the reader may use
// the result's reader.
func open(c net.Conn, address, token string, attempt time.Duration) (*conn, *clerkwire.FrameReader, *Error) {
	request := "GET " + clerkwire.Path + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\nUpgrade: " + clerkwire.Protocol + "\r\n"
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
	if response.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(h.Get("Upgrade"), clerkwire.Protocol) {
		return nil, nil, notAClerk(address, response)
	}
	response.Body.Close() // an upgrade has none
	return &conn{
			net: c, out: clerkwire.NewOutbox(), calls: map[uint32]*call{}, sweep: attempt / sweepsPerAttempt,
			from: greeting{
				node: h.Get(api.HeaderNode), cluster: h.Get(api.HeaderCluster), uid: h.Get(api.HeaderClusterUID),
				leader: h.Get(api.HeaderLeader), leaderAddr: h.Get(api.HeaderLeaderAddr),
			},
		},
		clerkwire.NewFrameReader(c, early, clerkwire.Answers), nil
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
	return &Error{
		Code: api.Code(code), Outcome: api.OutcomeNotApplied, Node: h.Get(api.HeaderNode), Leader: problem.Leader, Term: problem.Term,
		RequestID: h.Get(api.HeaderRequestID), Detail: problem.Detail, final: final,
	}
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
		if h.Kind == clerkwire.KindGoodbye {
			if c.sendAway() {
				return errGoodbye
			}
			continue
		}
		w, drained := c.pop(h.Number)
		if w != nil {
			if err := c.take(w, h, body); err != nil {
				return err
			}
		}
		if drained {
			return errGoodbye
		}
	}
}

// take gives a call its answer and ends it.
func (c *conn) take(w *call, h clerkwire.Header, body []byte) error {
	var err error
	if h.Kind != clerkwire.KindRefused && h.Kind != w.kind.Answer() {
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
	return len(c.calls) == 0
}

// pop takes out a call; nil if no caller waits for it any more. The goroutine
// that takes a call out must end it. drained says that it was the last one on a
// connection that takes no more.
func (c *conn) pop(number uint32) (w *call, drained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w = c.calls[number]
	delete(c.calls, number)
	return w, c.away && len(c.calls) == 0
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
	if waits, _ := c.pop(number); waits == nil {
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
	for c.calls[c.last] != nil || c.last == 0 { // after four billion calls
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
	for _, w := range c.overdue() {
		w.err = errAttemptTimeout
		w.done <- struct{}{}
	}
}

func (c *conn) overdue() (all []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age++
	for number, w := range c.calls { // any order will do
		if c.age-w.age > sweepsPerAttempt {
			delete(c.calls, number)
			all = append(all, w)
		}
	}
	c.swept = len(c.calls) > 0 && c.failed == nil
	if c.swept {
		c.sweeps.Add(1)
		c.sweeper.Reset(c.sweep)
	}
	return all
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
	for _, w := range c.takeAll(cause) {
		w.err = cause
		w.done <- struct{}{}
	}
	c.out.Kill()
	c.net.Close()
}

func (c *conn) takeAll(cause error) (all []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return nil
	}
	c.failed = cause
	for number, w := range c.calls { // any order will do
		delete(c.calls, number)
		all = append(all, w)
	}
	if c.sweeper != nil && c.sweeper.Stop() {
		c.sweeps.Done()
	}
	return all
}
