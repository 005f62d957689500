package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"raftkv/kvserver/api"
)

// nodeClient asks nodes over HTTP. It makes a connection for each question,
// since the next comes a second later, and follows nobody elsewhere: what another
// server says is no answer of the node.
var nodeClient = &http.Client{
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// maxStatusBytes bounds a status, and an error's body.
const maxStatusBytes = 1 << 20

// askNode makes a request to a node and returns an answer that is 200; the caller
// closes its body. Every other answer is an error that says what the node said.
func askNode(ctx context.Context, endpoint, method, path string, body io.Reader, headers ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+endpoint+path, body)
	if err != nil {
		return nil, errors.New("no address of the form host:port")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := nodeClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", lastCause(err))
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, problemOf(response)
	}
	return response, nil
}

// refusedError is what a node answered in place of what it was asked for.
type refusedError struct {
	status int
	code   api.Code // "" if it is no answer of a node
	text   string
}

func (e *refusedError) Error() string { return e.text }

// problemOf reads an error that a node answered with.
func problemOf(response *http.Response) error {
	var problem api.Problem
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatusBytes))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return &refusedError{response.StatusCode, "", fmt.Sprintf("answers %s, and not like a node", response.Status)}
	}
	return &refusedError{response.StatusCode, problem.Code, fmt.Sprintf("%s (%s)", problem.Detail, problem.Code)}
}

// lastCause returns the innermost error: the rest repeats the address.
func lastCause(err error) error {
	for {
		u, wraps := err.(interface{ Unwrap() error })
		if !wraps || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

// incoming is a long answer that a node sends. Reading fails if nothing comes for
// as long as the user waits.
type incoming struct {
	body    io.ReadCloser
	header  http.Header
	timeout time.Duration
	cancel  context.CancelFunc
	err     error // why reading ended, but for the end
}

// openStream asks a node for a long answer. It has the user's time to begin.
func (s *clerkSettings) openStream(ctx context.Context, endpoint, path string, headers ...string) (*incoming, error) {
	i := &incoming{timeout: s.timeout}
	ctx, i.cancel = context.WithCancel(ctx)
	patience := time.AfterFunc(s.timeout, i.cancel)
	response, err := askNode(ctx, endpoint, http.MethodGet, path, nil, headers...)
	if !patience.Stop() {
		if err == nil {
			response.Body.Close()
		}
		err = fmt.Errorf("no answer within %v", s.timeout)
	}
	if err != nil {
		i.cancel()
		return nil, err
	}
	i.body, i.header = response.Body, response.Header
	return i, nil
}

func (i *incoming) Read(p []byte) (int, error) {
	patience := time.AfterFunc(i.timeout, i.cancel)
	n, err := i.body.Read(p)
	if !patience.Stop() && err != nil {
		err = fmt.Errorf("nothing came for %v", i.timeout)
	}
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}

func (i *incoming) Close() error {
	defer i.cancel()
	return i.body.Close()
}
