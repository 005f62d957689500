package kvserver

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"raftkv/kvserver/failure"
)

// readyTimeout bounds a readiness probe; who asks is mostly a load balancer,
// for which a late yes is a no.
const readyTimeout = time.Second

// serveLive says whether the process is worth keeping: it is not once the node
// has stopped, for only a restart can help it then.
func (s *Server) serveLive(x *exchange) error {
	if s.machine.Stopping() {
		return failure.Of(failure.Stopping, nil, "the node has stopped")
	}
	return x.answerText("ok\n")
}

// serveReady says whether a linearizable read would succeed here now, by doing
// what such a read does.
func (s *Server) serveReady(x *exchange) error {
	verbose, err := x.flag("verbose")
	if err != nil {
		return err
	}
	lines, err := s.ready(x.r.Context())
	if !verbose {
		lines = nil
	}
	if err != nil {
		x.answerError(err, lines)
		return nil
	}
	lines = append(lines, "ok")
	return x.answerText(strings.Join(lines, "\n") + "\n")
}

// ready runs the checks until one fails and returns a line for each.
func (s *Server) ready(parent context.Context) (lines []string, err error) {
	ctx, cancel := s.requestContext(parent)
	defer cancel()
	ctx, cancelReady := context.WithTimeout(ctx, readyTimeout)
	defer cancelReady()
	var index uint64
	checks := []struct {
		name string
		run  func() error
	}{
		{"serving", func() error {
			if s.machine.Stopping() {
				return failure.NodeStopping(nil)
			}
			return nil
		}},
		{"integrity", s.machine.Quarantined},
		{"leader", func() error {
			if s.config.Consensus.Status().Leader == "" {
				return failure.LeaderUnknown()
			}
			return nil
		}},
		{"read_index", func() (err error) {
			index, err = s.readIndexOnce(ctx)
			if errors.Is(err, failure.ReadTimeout) {
				return failure.Of(failure.NoLeader, err, "no majority confirmed the leader in time")
			}
			return err
		}},
		{"applied", func() error { return s.machine.AwaitApplied(ctx, index) }},
	}
	for _, check := range checks {
		if err := check.run(); err != nil {
			return append(lines, "[-]"+check.name+" failed: "+err.Error()), err
		}
		lines = append(lines, "[+]"+check.name+" ok")
	}
	return lines, nil
}

func (x *exchange) answerText(text string) error {
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.answer(http.StatusOK, []byte(text))
	return nil
}
