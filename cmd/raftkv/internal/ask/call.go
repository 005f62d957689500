package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

const (
	// pace is for how long a question waits at one node before it goes to the next one, too.
	pace = 500 * time.Millisecond
	// probeLimit bounds the search for a node that answers, ahead of a change.
	probeLimit = 2 * time.Second
	// usualLimit stands for the time of a context that has no end.
	usualLimit = 10 * time.Second
	// leastShare is the shortest time that a node gets for a change, where there is so much: a
	// node holds a request for a second while nobody leads, and then says that nothing was done.
	leastShare = 1500 * time.Millisecond
	// reserve is what a node that lives leaves of the time for another one, where that can
	// repeat the change: leastShare, and a search for a node that answers.
	reserve = 2 * time.Second
	// maxAnswerBytes bounds an answer that is a success: all tokens of a cluster take more than
	// a megabyte.
	maxAnswerBytes = 16 << 20
)

// Call is a request that any node of a cluster can answer, since each passes on to the leader
// what it cannot do itself.
//
// A question goes to the next node as soon as one refuses it or is silent for a moment, and the
// first answer counts. A change goes to one node after the other, to one first that has just
// shown that it lives, and which has nearly all of the time. A second node gets the change only
// if the first refused it or was not reached. A change with an idempotency key repeats safely: a
// second node gets it also where the first did not report an outcome.
type Call struct {
	Method, Path string
	Body         []byte // JSON; nil: none
	Headers      []string
	// To is what the JSON of the answer is read into; nil: it is not looked at.
	To any
	// Check refuses an answer that was read into To; nil: all are taken.
	Check func() error
	// Elsewhere says of refusals that another node may decide otherwise, in addition to those of
	// which that is so for every call; nil: of no others.
	Elsewhere func(*RefusedError) bool
	// Code is the exit code of a refusal that holds for all nodes; nil: exit.Failed.
	Code func(*RefusedError) int
	// Sentence stands before the reasons of the nodes where none did it.
	Sentence string
}

// answer is what came of a call at one node.
type answer struct {
	at     int // in the list of the endpoints
	header http.Header
	body   []byte
	err    error
}

// round is a call under way.
type round struct {
	*Call
	endpoints []string
	failures  []error // by endpoint; nil: it was not asked, or has not answered yet
	header    http.Header
	err       error // how it ends, where one refusal holds for all nodes
}

// Make makes the call at the nodes until one has answered it or has refused it for all of them,
// and returns the header of the answer. A caller is refused where all nodes that answer say so:
// one alone may lag behind the table of identities.
func (c *Call) Make(ctx context.Context, endpoints []string) (http.Header, error) {
	r := &round{Call: c, endpoints: endpoints, failures: make([]error, len(endpoints))}
	if !changes(c.Method, c.Path) {
		race(ctx, len(endpoints), r.attempt, r.settles)
	} else {
		r.inTurn(ctx)
	}
	if r.header != nil || r.err != nil {
		return r.header, r.err
	}
	return nil, r.ended()
}

// inTurn makes a change at one node after the other.
func (r *round) inTurn(ctx context.Context) {
	enough := min(leastShare, timeLeft(ctx)*3/4)
	rest := make([]int, len(r.endpoints)) // the nodes that were not asked yet
	for i := range rest {
		rest[i] = i
	}
	repeats, lives := r.repeats(), true
	for k := 0; len(rest) > 0 && ctx.Err() == nil; k++ {
		if k > 0 && timeLeft(ctx) < enough {
			for _, at := range rest {
				r.failures[at] = errUnasked
			}
			return
		}
		if lives { // or no node has answered the last search
			lives = livingFirst(ctx, r.endpoints, rest)
		}
		at := rest[0]
		settled := r.settles(r.attemptFor(ctx, at, shareOf(timeLeft(ctx), len(rest), lives, repeats)))
		if settled || !repeats && MayBeDone(r.failures[at]) {
			return
		}
		rest = rest[1:]
	}
}

// errUnasked is why a node did not get a change.
var errUnasked = errors.New("was not asked, since the time was nearly over; a longer --timeout gives it some")

// repeats reports whether a node that gets the change once more, perhaps later, changes nothing
// and answers as if it were the first: a key names the change.
func (r *round) repeats() bool {
	for i := 0; i+1 < len(r.Headers); i += 2 {
		if r.Headers[i] == api.HeaderIdempotencyKey {
			return true
		}
	}
	return false
}

// shareOf returns how much of the time that is left one of n nodes gets for a change. A node
// that lives may be a slow leader; the others may as well be down.
func shareOf(left time.Duration, n int, lives, repeats bool) time.Duration {
	switch {
	case n == 1 || lives && !repeats || lives && left < 2*reserve:
		return left
	case lives:
		return left - reserve
	}
	return min(left, max(left/time.Duration(n), leastShare))
}

// attemptFor makes a change at one node, which has a share of the time. A change that does not
// repeat is not sent elsewhere once the node may have it, so from then on it has all of the time.
func (r *round) attemptFor(ctx context.Context, at int, share time.Duration) answer {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := time.AfterFunc(share, func() { cancel(context.DeadlineExceeded) })
	defer over.Stop()
	if !r.repeats() {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { over.Stop() }})
	}
	return r.attempt(ctx, at)
}

// attempt makes the call at one node.
func (r *round) attempt(ctx context.Context, at int) answer {
	headers := r.Headers
	if r.Body != nil {
		headers = append(slices.Clone(headers), "Content-Type", api.MediaJSON)
	}
	response, err := Node(ctx, r.endpoints[at], r.Method, r.Path, bytes.NewReader(r.Body), headers...)
	if err != nil {
		return answer{at: at, err: err}
	}
	defer response.Body.Close()
	body, err := ReadAnswer(response)
	switch maybeDone := changes(r.Method, r.Path); {
	case err == errTooLong:
		err = &UnansweredError{err.Error(), err, maybeDone}
	case err != nil:
		err = unanswered(err, maybeDone)
	}
	return answer{at, response.Header, body, err}
}

// ReadAnswer reads the body of an answer that is a success.
func ReadAnswer(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if len(body) > maxAnswerBytes {
		return nil, errTooLong
	}
	return body, err
}

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxAnswerBytes>>20)

// settles takes an answer, and reports whether no other one is needed.
func (r *round) settles(a answer) bool {
	if a.err == nil {
		if a.err = r.read(a.body); a.err == nil {
			r.header = a.header
			return true
		}
	}
	r.failures[a.at] = a.err
	refused := (*RefusedError)(nil)
	if !errors.As(a.err, &refused) || refused.IsUnavailable() || refused.OfCaller() || r.Elsewhere != nil && r.Elsewhere(refused) {
		return false
	}
	code := exit.Failed
	if r.Code != nil {
		code = r.Code(refused)
	}
	r.failures[a.at] = nil // Final adds it
	reasons := r.reasons()
	r.err = reasons.Final(code, r.endpoints[a.at], a.err)
	return true
}

// read reads the body of an answer that is a success.
func (r *round) read(body []byte) error {
	if r.To == nil {
		return nil
	}
	if err := json.Unmarshal(body, r.To); err != nil {
		return &UnansweredError{"does not answer like a node: " + err.Error(), err, changes(r.Method, r.Path)}
	}
	if r.Check != nil {
		return r.Check()
	}
	return nil
}

func (r *round) reasons() *Reasons {
	var all Reasons
	for at, err := range r.failures {
		if err != nil {
			all.Add(r.endpoints[at], err)
		}
	}
	return &all
}

// ended is the error of a call that no node did.
func (r *round) ended() error {
	denied, others, unheard := 0, 0, 0
	for _, err := range r.failures {
		switch refused := (*RefusedError)(nil); {
		case !errors.As(err, &refused) || refused.Code == "":
			unheard++
		case refused.OfCaller():
			denied++
		default:
			others++
		}
	}
	reasons := r.reasons()
	switch {
	case denied > 0 && others > 0 && !slices.ContainsFunc(r.failures, MayBeDone):
		// Without the reasons as errors: the caller was not refused as a whole.
		return exit.With(exit.Unavailable, fmt.Errorf("%s%s", r.Sentence, reasons.Error()))
	case denied > 0 && others+unheard == 0:
		return reasons.Ended(exit.Failed, "")
	}
	return reasons.Ended(exit.Unavailable, r.Sentence)
}

// livingFirst puts a node to the front of those that are left for a change that has just
// answered, whatever it said, and reports whether there is one. So a node that is silent does
// not get the change.
func livingFirst(ctx context.Context, endpoints []string, rest []int) (lives bool) {
	if len(rest) < 2 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, min(probeLimit, timeLeft(ctx)/4))
	defer cancel()
	race(ctx, len(rest), func(ctx context.Context, at int) answer {
		response, err := Node(ctx, endpoints[rest[at]], http.MethodGet, "/livez", nil)
		if err == nil {
			response.Body.Close()
		}
		return answer{at: at, err: err}
	}, func(a answer) bool {
		refused := (*RefusedError)(nil)
		if a.err != nil && !errors.As(a.err, &refused) {
			return false
		}
		first := rest[a.at]
		copy(rest[1:], rest[:a.at])
		rest[0], lives = first, true
		return true
	})
	return lives
}

// race asks n nodes, each when those before it have failed or been silent for a moment, until an
// answer settles the question or all have answered. race waits for a silent node until the time
// is over, or, once another node has refused, for that node's share of the time. No attempt is
// left when it returns.
func race(ctx context.Context, n int, attempt func(ctx context.Context, at int) answer, settles func(answer) bool) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make(chan answer, n)
	share := timeLeft(ctx) / time.Duration(max(n, 1))
	timer := time.NewTimer(0) // for the first one
	defer timer.Stop()
	heard, patient := false, true
	for begun, ended := 0, 0; ended < n; {
		select {
		case a := <-answers:
			if settles(a) {
				return
			}
			ended++
			refused := (*RefusedError)(nil)
			heard = heard || errors.As(a.err, &refused) && refused.Code != ""
			if begun < n {
				timer.Reset(0)
			}
		case <-timer.C:
			if begun == n {
				patient = false
				break
			}
			at := begun
			attempts.Go(func() { answers <- attempt(ctx, at) })
			if begun++; begun < n {
				timer.Reset(min(pace, share/2))
			} else {
				timer.Reset(share)
			}
		}
		if heard && !patient && ended < n {
			cancel(errSilent)
		}
	}
}

// errSilent ends the question to a node that is not waited for any longer.
var errSilent = errors.New("it was silent while others had answered")

// timeLeft returns how long a context lasts.
func timeLeft(ctx context.Context) time.Duration {
	if until, ends := ctx.Deadline(); ends {
		return max(time.Until(until), 0)
	}
	return usualLimit
}
