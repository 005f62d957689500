package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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
)

// Call is a request that any node of a cluster can answer, since each passes on to the leader
// what it cannot do itself.
//
// A question goes to the next node as soon as one refuses it or is silent for a moment, and the
// first answer counts. A change goes to one node after the other, those first that have just
// shown that they live, and each has its share of the time; so two nodes have the same change
// only where one of them has not told what became of it.
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
	// Once says that the change is another one each time: where a node may have made it, no
	// other is asked.
	Once bool
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
	order := livingFirst(ctx, r.endpoints)
	for k, at := range order {
		attempt, cancel := context.WithTimeout(ctx, timeLeft(ctx)/time.Duration(len(order)-k))
		settled := r.settles(r.attempt(attempt, at))
		cancel()
		if settled || r.Once && MayBeDone(r.failures[at]) {
			return
		}
	}
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
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxStatusBytes))
	if err != nil {
		err = unanswered(err, changes(r.Method, r.Path))
	}
	return answer{at, response.Header, body, err}
}

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

// livingFirst returns the order in which nodes are asked for a change: a node first that has
// just answered, whatever it said. So a node that is silent does not get the change.
func livingFirst(ctx context.Context, endpoints []string) []int {
	order := make([]int, len(endpoints))
	for i := range order {
		order[i] = i
	}
	if len(order) < 2 {
		return order
	}
	ctx, cancel := context.WithTimeout(ctx, min(probeLimit, timeLeft(ctx)/4))
	defer cancel()
	race(ctx, len(order), func(ctx context.Context, at int) answer {
		response, err := Node(ctx, endpoints[at], http.MethodGet, "/livez", nil)
		if err == nil {
			response.Body.Close()
		}
		return answer{at: at, err: err}
	}, func(a answer) bool {
		refused := (*RefusedError)(nil)
		if a.err != nil && !errors.As(a.err, &refused) {
			return false
		}
		order = slices.Insert(slices.Delete(order, a.at, a.at+1), 0, a.at)
		return true
	})
	return order
}

// race asks n nodes, each when those before it have failed or been silent for a moment, until an
// answer settles the question or all have answered. A silent one is waited for as long as there
// is time; but only for its share of that where another one has refused.
func race(ctx context.Context, n int, attempt func(ctx context.Context, at int) answer, settles func(answer) bool) {
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
			go func() { answers <- attempt(ctx, at) }()
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
