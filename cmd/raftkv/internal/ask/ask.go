package ask

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
)

// Trust makes all further questions to endpoints with https:// be verified by a
// configuration. It must be called before the first question.
func Trust(config *tls.Config) {
	transport := nodeClient.Transport.(*http.Transport)
	transport.TLSClientConfig = config
}

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
			if request.URL.Scheme != "https" && !isLoopback(request.URL.Hostname()) {
				return nil, fmt.Errorf("the token is not sent to %s in clear, where others could read it; ask by TLS (--tls-ca)", request.URL.Host)
			}
			request.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := nodeClient.Do(request)
	var header tls.RecordHeaderError
	if errors.As(err, &header) || errors.Is(err, http.ErrSchemeMismatch) {
		return nil, errors.New("no answer by TLS: the port speaks in clear; write http:// in place of https://, if that is meant")
	}
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", exit.LastCause(err))
	}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		return nil, problemOf(response)
	}
	return response, nil
}

// RefusedError is what a node answered in place of what it was asked for.
type RefusedError struct {
	status int
	Code   api.Code // "" if it is no answer of a node
	text   string
}

func (e *RefusedError) Error() string { return e.text }

// IsUnavailable reports whether another node may do what this one could not.
func (e *RefusedError) IsUnavailable() bool {
	return e.Code == "" || e.status >= 500 && e.status != http.StatusNotImplemented
}

// IsGuard reports whether the request was refused because of the state that it met.
func (e *RefusedError) IsGuard() bool {
	return e.status == http.StatusConflict || e.status == http.StatusPreconditionFailed
}

// problemOf reads an error that a node answered with.
func problemOf(response *http.Response) error {
	var problem api.Problem
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxStatusBytes))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return &RefusedError{response.StatusCode, "", fmt.Sprintf("answers %s, and not like a node", response.Status)}
	}
	return &RefusedError{response.StatusCode, problem.Code, fmt.Sprintf("%s (%s)", problem.Detail, problem.Code)}
}
