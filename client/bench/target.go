package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
)

// ClerkTarget makes requests by a Clerk.
type ClerkTarget struct{ Clerk *client.Clerk }

// Do makes one request.
func (t ClerkTarget) Do(ctx context.Context, _ int, op Op, key string, value []byte) (failure string) {
	var err error
	switch op {
	case Put:
		_, err = t.Clerk.Put(ctx, key, value)
	case Append:
		_, err = t.Clerk.Append(ctx, key, value)
	case Delete:
		_, err = t.Clerk.Delete(ctx, key)
	case Get:
		_, err = t.Clerk.Get(ctx, key)
	case Stale:
		_, err = t.Clerk.Get(ctx, key, client.Stale())
	}
	if err == nil || errors.Is(err, client.ErrNotFound) {
		return ""
	}
	var e *client.Error
	if !errors.As(err, &e) {
		return "not_applied " + err.Error()
	}
	return failureName(string(e.Outcome), string(e.Code))
}

// failureName returns the words of Do for a failure: its outcome, and its code if
// it has one.
func failureName(outcome, code string) string {
	if code == "" {
		code = "no_answer"
	}
	if outcome == "" {
		outcome = string(api.OutcomeNotApplied)
	}
	return outcome + " " + code
}

// HTTPTarget makes requests over HTTP. Clients take the endpoints in turn and
// stay with theirs.
type HTTPTarget struct {
	endpoints []string
	client    *http.Client
}

// NewHTTPTarget returns a target with these endpoints, host:port or https://host:port each,
// verified by trust (nil: by the system's CAs), and at
// most conns connections to each.
func NewHTTPTarget(endpoints []string, conns int, trust *tls.Config) *HTTPTarget {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &HTTPTarget{endpoints: endpoints, client: &http.Client{
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, DisableCompression: true, TLSClientConfig: trust,
			MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns, MaxIdleConns: conns * len(endpoints),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes its connections.
func (t *HTTPTarget) Close() { t.client.CloseIdleConnections() }

// methods maps operations to HTTP requests.
var methods = map[Op]struct{ method, query string }{
	Put: {http.MethodPut, ""}, Append: {http.MethodPost, "?op=append"}, Delete: {http.MethodDelete, ""},
	Get: {http.MethodGet, ""}, Stale: {http.MethodGet, "?consistency=stale"},
}

// Do makes one request.
func (t *HTTPTarget) Do(ctx context.Context, client int, op Op, key string, value []byte) (failure string) {
	m := methods[op]
	var body io.Reader
	if op == Put || op == Append {
		body = bytes.NewReader(value)
	}
	address := t.endpoints[client%len(t.endpoints)] + "/v1/kv/" + url.PathEscape(key) + m.query
	if !strings.HasPrefix(address, "https://") {
		address = "http://" + address
	}
	request, err := http.NewRequestWithContext(ctx, m.method, address, body)
	if err != nil {
		return failureName("", "bad_endpoint")
	}
	request.GetBody = nil // so that it is never sent twice by itself
	response, err := t.client.Do(request)
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		return failureName(string(api.OutcomeNotApplied), "no_connection")
	}
	if err != nil {
		return failureName(string(api.OutcomeUnknown), "no_answer")
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	switch {
	case err != nil:
		return failureName(string(api.OutcomeUnknown), "no_answer")
	case response.Header.Get(api.HeaderRequestID) == "" && response.Header.Get(api.HeaderError) == "":
		return failureName(string(api.OutcomeUnknown), "no_node") // another server answers there
	case response.StatusCode >= 200 && response.StatusCode < 300,
		response.StatusCode == http.StatusNotFound && response.Header.Get(api.HeaderError) == string(api.CodeKeyNotFound):
		return ""
	}
	code, outcome, _ := strings.Cut(response.Header.Get(api.HeaderError), "; outcome=")
	return failureName(outcome, code)
}
