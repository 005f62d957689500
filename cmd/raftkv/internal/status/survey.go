package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// Answer is what one endpoint answered.
type Answer struct {
	Endpoint string `json:"endpoint"`
	Error    string `json:"error,omitempty"`
	*api.Status

	err error // Error, as the question gave it
}

// AskAll asks all endpoints at the same time. A node has timeout to answer, and two
// seconds at most.
func AskAll(ctx context.Context, endpoints []string, timeout time.Duration) []Answer {
	ctx, cancel := context.WithTimeout(ctx, min(timeout, 2*time.Second))
	defer cancel()
	all := make([]Answer, len(endpoints))
	var asking sync.WaitGroup
	for i, e := range endpoints {
		asking.Go(func() { all[i] = askStatus(ctx, e) })
	}
	asking.Wait()
	return all
}

func askStatus(ctx context.Context, endpoint string) Answer {
	status, err := Fetch(ctx, endpoint)
	if err != nil {
		return Answer{Endpoint: endpoint, Error: err.Error(), err: err}
	}
	return status
}

// roles are what a node may say that it is.
var roles = []string{"leader", "follower", "candidate", "pre-candidate"}

// Fetch asks one node. What is no status, whatever its form, is an error.
func Fetch(ctx context.Context, endpoint string) (Answer, error) {
	response, err := ask.Node(ctx, endpoint, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, ask.MaxStatusBytes))
	status := Answer{Status: new(api.Status)}
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("no answer: %w", exit.LastCause(err))
	case json.Unmarshal(body, &status) != nil || status.Node == "" || status.Cluster == "" || !slices.Contains(roles, status.Role):
		return Answer{}, fmt.Errorf("answers %s, and not like a node", response.Status)
	}
	status.Endpoint, status.Error = endpoint, ""
	return status, nil
}

// settleTime is how long two nodes may lead, or a new leader know less than its
// followers, while leadership changes.
const settleTime = 500 * time.Millisecond

// Survey asks all nodes, and asks again what can be wrong for a moment only. The
// answers of one round are not of one moment: under load a follower's commit index
// may be beyond what its leader said a millisecond before. So the leaders are asked
// once more, at once and then when a change of leadership would be over; one that is
// still behind what a follower had said before is behind indeed.
func Survey(ctx context.Context, endpoints []string, timeout time.Duration) ([]Answer, Verdict) {
	all := AskAll(ctx, endpoints, timeout)
	v := Judge(all)
	for _, wait := range []time.Duration{0, settleTime} {
		if !v.mayPass || !sleep(ctx, wait) {
			break
		}
		again := AskAll(ctx, endpoints, timeout)
		mixed := slices.Clone(again)
		for i, n := range again {
			if all[i].Status != nil && n.Status != nil && n.Role != "leader" && all[i].Role != "leader" {
				mixed[i] = all[i]
			}
		}
		all, v = again, Judge(mixed)
	}
	return all, v
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
