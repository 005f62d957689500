package ask

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
)

// Trust makes all further questions to endpoints with https:// be verified by a
// configuration. It must be called before the first question.
func Trust(config *tls.Config) {
	transport := nodeClient.Transport.(*http.Transport)
	transport.TLSClientConfig = config.Clone()
	// A peer port refuses this protocol by name, and not for want of a certificate.
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
}

// mistake words errors that are the caller's to mend; nil: nobody does.
var mistake func(err error) string

// Word makes errors that are the caller's to mend be told in the words that source returns for
// them; "" means that an error is none. It belongs before the first request.
func Word(source func(err error) string) { mistake = source }

// Mistake is the error of a request that failed for what the caller can mend.
type Mistake struct {
	text string
	err  error
}

func (m *Mistake) Error() string { return m.text }

func (m *Mistake) Unwrap() error { return m.err }

// worded returns an error in words that say what the caller can do about it, if they are known.
func worded(err error) error {
	if mistake != nil {
		if text := mistake(err); text != "" {
			return &Mistake{text, err}
		}
	}
	return nil
}

// ErrTLSOnly says that a port takes nothing in clear.
var ErrTLSOnly = errors.New("the port can be asked by TLS alone")

// SaysTLSOnly reports whether the sentence of a server says so.
func SaysTLSOnly(detail string) bool { return strings.Contains(detail, "speaks TLS only") }

// nodeClient asks nodes over HTTP. It makes a connection for each question,
// since the next comes a second later, and follows nobody elsewhere: what another
// server says is no answer of the node.
var nodeClient = &http.Client{
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// MaxStatusBytes bounds a status, and an error's body.
const MaxStatusBytes = 1 << 20

// bearer returns the token that goes with every request; nil: none does.
var bearer func() (auth.Secret, error)

// Authorize makes every request of this process bring the token that source returns. It
// belongs before the first request.
func Authorize(source func() (auth.Secret, error)) { bearer = source }

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// CheckClear refuses an endpoint to which a token would go in clear, where others could read
// it.
func CheckClear(endpoint string) error {
	address := strings.TrimPrefix(endpoint, "http://")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if strings.HasPrefix(endpoint, "https://") || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("the token is not sent to %s in clear, where others could read it; ask by TLS: name the CA with --tls-ca or RAFTKV_TLS_CA", address)
}

// Node makes a request to a node, whose endpoint is host:port or https://host:port, and
// returns an answer that is a success; the caller closes its body. Every other answer is an
// error that says what the node said.
func Node(ctx context.Context, endpoint, method, path string, body io.Reader, headers ...string) (*http.Response, error) {
	if !strings.HasPrefix(endpoint, "https://") {
		endpoint = "http://" + endpoint
	}
	request, err := http.NewRequestWithContext(ctx, method, endpoint+path, body)
	if err != nil {
		return nil, errors.New("no address of the form host:port")
	}
	if bearer != nil {
		token, err := bearer()
		if err != nil {
			return nil, err
		}
		if !token.IsZero() {
			if err := CheckClear(endpoint); err != nil {
				return nil, err
			}
			request.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	connected := false // the request may have gone out
	request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}))
	changes := changes(method, path)
	response, err := nodeClient.Do(request)
	if err != nil {
		return nil, unanswered(err, changes && connected)
	}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		return nil, problemOf(response, changes)
	}
	return response, nil
}

// Where a POST asks and changes nothing: a path, and the query of others.
const (
	checkPath = "/v1/auth/check"
	dryRun    = "?dry_run"
)

// changes reports whether a request is to change something.
func changes(method, path string) bool {
	return method != http.MethodGet && !strings.HasPrefix(path, checkPath) && !strings.HasSuffix(path, dryRun)
}

// unanswered words the error of a request that got no answer. maybeDone says that the node may
// have done it all the same.
func unanswered(err error, maybeDone bool) error {
	if told := worded(err); told != nil {
		return told
	}
	text := "no answer: " + exit.LastCause(err).Error()
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) || errors.Is(err, http.ErrSchemeMismatch):
		text = "no answer by TLS: the port speaks in clear; write http:// in place of https://, if that is meant"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		text = "closes connections without an answer (is it a peer port? Clients ask at the address of serve --http)"
	}
	if maybeDone {
		text += "; it may have done what was asked"
	}
	return &UnansweredError{text, err, maybeDone}
}

// UnansweredError is the error of a request that got no answer.
type UnansweredError struct {
	text      string
	err       error
	maybeDone bool // a change was sent
}

func (e *UnansweredError) Error() string { return e.text }

func (e *UnansweredError) Unwrap() error { return e.err }

// MayBeDone reports whether an error leaves open if what was asked was done: that of Node, or
// one that has such an error in its tree.
func MayBeDone(err error) bool {
	switch e := err.(type) {
	case *UnansweredError:
		return e.maybeDone
	case *RefusedError:
		return e.unknown
	case interface{ Unwrap() error }:
		return MayBeDone(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), MayBeDone)
	}
	return false
}

// Final returns the refusal that ended a call for all nodes; nil if the call did not end so, or
// a node that was asked before may have done it.
func Final(err error) *RefusedError {
	for err != nil {
		if refused, is := err.(*RefusedError); is {
			return refused
		}
		one, is := err.(interface{ Unwrap() error }) // and not one of several reasons
		if !is {
			return nil
		}
		err = one.Unwrap()
	}
	return nil
}

// RefusedError is what a node answered in place of what it was asked for.
type RefusedError struct {
	status int
	Code   api.Code // "" if it is no answer of a node
	ETag   string   // of what the node has there; "" if it does not say
	text   string
	// unknown says that the node does not know whether a change was made, or will be.
	unknown bool
}

func (e *RefusedError) Error() string { return e.text }

// IsUnavailable reports whether another node may do what this one could not. Limits of
// identities and of load are those of each node; a store that is full is full everywhere.
func (e *RefusedError) IsUnavailable() bool {
	return e.Code == "" || e.status == http.StatusTooManyRequests ||
		e.status >= 500 && e.status != http.StatusNotImplemented && e.status != http.StatusInsufficientStorage
}

// OfCaller reports whether the node refused the caller, by what it knows of identities.
func (e *RefusedError) OfCaller() bool {
	return e.Code == api.CodeUnauthenticated || e.Code == api.CodeForbidden
}

// IsGuard reports whether the request was refused because of the state that it met.
func (e *RefusedError) IsGuard() bool {
	return e.status == http.StatusConflict || e.status == http.StatusPreconditionFailed
}

// problemOf reads an error that a node answered with; changes says that something was to be
// changed.
func problemOf(response *http.Response, changes bool) error {
	var problem api.Problem
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxStatusBytes))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return &RefusedError{status: response.StatusCode, text: fmt.Sprintf("answers %s, and not like a node", response.Status)}
	}
	if problem.Code == api.CodeBadRequest && SaysTLSOnly(problem.Detail) {
		if told := worded(ErrTLSOnly); told != nil {
			return told
		}
	}
	if problem.Code == api.CodeUnauthenticated {
		problem.Detail = "serves nobody without a good token"
	}
	return &RefusedError{
		status: response.StatusCode, Code: problem.Code, ETag: response.Header.Get("Etag"),
		text:    fmt.Sprintf("%s (%s)", problem.Detail, problem.Code),
		unknown: changes && problem.Outcome == api.OutcomeUnknown,
	}
}

// Refused returns the error of a caller whom servers refused by a code, for questions that did
// not go through Node.
func Refused(code api.Code, text string) *RefusedError { return &RefusedError{Code: code, text: text} }
