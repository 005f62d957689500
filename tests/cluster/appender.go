package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// Appender appends unique tokens to one key, one after the other, and remembers
// how each ended. It never sends a token again whose outcome is not known; one
// that the answer called not applied, or that never left, is sent again.
type Appender struct {
	Key       string
	addresses []string      // of the nodes it tries, in turn
	next      int           // the one it tries now
	Limit     time.Duration // when it gives an attempt up

	mu        sync.Mutex // guards what follows
	sent      int        // tokens 1 to sent have been sent
	acked     []int
	unknown   []int
	Refusals  int               // answers and failed connections after which nothing had happened
	OnAck     func(term uint64) // called with the term of the leader that acknowledged
	surprises []string          // answers that say nothing of the outcome
}

// attemptLimit is when an attempt is given up. A node that knows no leader
// answers within a second.
const attemptLimit = 3 * time.Second

// TokenFormat is how an append writes a token, by its number.
const TokenFormat = "%07d\n"

// NewAppender returns an appender to a key that begins at the given address, counted
// from 0 and around.
func NewAppender(key string, addresses []string, first int) *Appender {
	return &Appender{Key: key, addresses: addresses, next: first % len(addresses), Limit: attemptLimit}
}

// Run appends until ctx ends. What is under way then is finished.
func (a *Appender) Run(ctx context.Context) {
	dialer := &net.Dialer{Timeout: time.Second}
	transport := &http.Transport{Proxy: nil, DialContext: dialer.DialContext, DisableCompression: true}
	defer transport.CloseIdleConnections()
	for token := 1; ctx.Err() == nil; token++ {
		a.mu.Lock()
		a.sent = token
		a.mu.Unlock()
		a.append(ctx, transport, token)
	}
}

// append sends one token until it is known to be there or may be.
func (a *Appender) append(ctx context.Context, transport *http.Transport, token int) {
	for {
		applied, known, term, surprise := a.attempt(transport, token)
		a.mu.Lock()
		switch {
		case applied:
			a.acked = append(a.acked, token)
			if a.OnAck != nil {
				a.OnAck(term)
			}
		case !known:
			a.unknown = append(a.unknown, token)
		default:
			a.Refusals++
		}
		if surprise != "" {
			a.surprises = append(a.surprises, surprise)
		}
		a.mu.Unlock()
		if applied {
			return
		}
		a.next = (a.next + 1) % len(a.addresses)
		if !known || ctx.Err() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// attempt sends the token to one node. known is false if it may or may not have
// been appended; term is the leader's if it was.
func (a *Appender) attempt(transport *http.Transport, token int) (applied, known bool, term uint64, surprise string) {
	ctx, cancel := context.WithTimeout(context.Background(), a.Limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+a.addresses[a.next]+"/v1/kv/"+a.Key+"?op=append", strings.NewReader(fmt.Sprintf(TokenFormat, token)))
	if err != nil {
		return false, true, 0, err.Error()
	}
	request.GetBody = nil // so that net/http never sends it twice by itself
	response, err := transport.RoundTrip(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false, true, 0, ""
	}
	if err != nil {
		return false, false, 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	verdict := response.Header.Get(api.HeaderError)
	switch {
	case response.StatusCode == 200 && err == nil:
		term, err := strconv.ParseUint(response.Header.Get(api.HeaderTerm), 10, 64)
		if err != nil {
			surprise = fmt.Sprintf("token %d: the answer names no term: %v", token, err)
		}
		return true, true, term, surprise
	case strings.HasSuffix(verdict, "outcome=not_applied"):
		if response.StatusCode != 503 {
			surprise = fmt.Sprintf("token %d: %d %s", token, response.StatusCode, body)
		}
		return false, true, 0, surprise
	case strings.HasSuffix(verdict, "outcome=unknown"):
		return false, false, 0, ""
	}
	return false, false, 0, fmt.Sprintf("token %d: status %d without an outcome: %s", token, response.StatusCode, body)
}

// Acknowledged returns how many tokens were acknowledged so far.
func (a *Appender) acknowledged() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.acked)
}

// Verify holds a value of the key against what was promised: tokens that were
// acknowledged are there once and in order, those whose outcome is not known at
// most once, others not at all.
func (a *Appender) verify(value string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.surprises) > 0 {
		return fmt.Errorf("%s: an answer without a known outcome: %s", a.Key, a.surprises[0])
	}
	place := map[int]int{}
	for i, text := range strings.SplitAfter(value, "\n") {
		if text == "" {
			continue
		}
		var token int
		if n, err := fmt.Sscanf(text, TokenFormat, &token); n != 1 || err != nil || fmt.Sprintf(TokenFormat, token) != text {
			return fmt.Errorf("%s: %q is no token", a.Key, text)
		}
		if before, twice := place[token]; twice {
			return fmt.Errorf("%s: token %d is there twice, at %d and %d", a.Key, token, before, i)
		}
		place[token] = i
	}
	last := -1
	for _, token := range a.acked {
		at, there := place[token]
		if !there {
			return fmt.Errorf("%s: token %d was acknowledged and is lost (%d acknowledged, %d there)", a.Key, token, len(a.acked), len(place))
		}
		if at < last {
			return fmt.Errorf("%s: token %d is out of order", a.Key, token)
		}
		last = at
		delete(place, token)
	}
	for _, token := range a.unknown {
		delete(place, token)
	}
	for token, at := range place {
		return fmt.Errorf("%s: token %d, at %d, is there though it was never acknowledged nor in doubt", a.Key, token, at)
	}
	return nil
}

// Load is several appenders at work. They run until Stop, or End, is called.
type Load struct {
	Appenders []*Appender
	Stop      context.CancelFunc
	Running   sync.WaitGroup
}

// StartLoad starts n appenders on keys that begin with prefix. Each begins at
// another node.
func StartLoad(prefix string, n int, addresses []string, onAck func(term uint64)) *Load {
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{Stop: stop}
	for i := range n {
		a := NewAppender(fmt.Sprintf("%s-%d", prefix, i), addresses, i)
		a.OnAck = onAck
		l.Appenders = append(l.Appenders, a)
		l.Running.Go(func() { a.Run(ctx) })
	}
	return l
}

// End stops the appenders and waits for them.
func (l *Load) End() {
	l.Stop()
	l.Running.Wait()
}

// Acknowledged returns how many appends were acknowledged.
func (l *Load) Acknowledged() (n int) {
	for _, a := range l.Appenders {
		n += a.acknowledged()
	}
	return n
}

// Unknown returns how many appends ended without a known outcome.
func (l *Load) Unknown() (n int) {
	for _, a := range l.Appenders {
		a.mu.Lock()
		n += len(a.unknown)
		a.mu.Unlock()
	}
	return n
}

// AwaitProgress waits until n more appends are acknowledged.
func (l *Load) AwaitProgress(t *testing.T, n int) {
	t.Helper()
	want := l.Acknowledged() + n
	Eventually(t, Patience, func() error {
		if got := l.Acknowledged(); got < want {
			return fmt.Errorf("%d of %d appends are acknowledged", got, want)
		}
		return nil
	})
}

// Verify reads every key from a node and holds it against what was promised.
func (l *Load) Verify(t *testing.T, s *Node) {
	t.Helper()
	for _, a := range l.Appenders {
		status, _, value, err := s.Ask("GET", "/v1/kv/"+a.Key, "")
		if status == 404 {
			value = ""
		} else if err != nil || status != 200 {
			t.Fatalf("reading %s from %s: status %d, %v: %s", a.Key, s.ID, status, err, value)
		}
		if err := a.verify(value); err != nil {
			t.Errorf("%s: %v", s.ID, err)
		}
	}
}
