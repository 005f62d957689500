package kvserver

import (
	"context"
	"errors"
	"time"

	"raftkv/kvserver/failure"
)

// readyTimeout bounds a readiness probe. It is mostly a load balancer that asks, for
// which a late yes is a no.
const readyTimeout = time.Second

// Live returns nil while the process is worth keeping: it is not once the node has
// stopped, for only a restart can help it then.
func (s *Server) Live() error {
	if s.machine.Stopping() {
		return failure.Of(failure.Stopping, nil, "the node has stopped")
	}
	return nil
}

// Ready returns nil if a linearizable read would succeed here now, by doing what
// such a read does. It returns a line for each check, up to the one that fails.
func (s *Server) Ready(ctx context.Context) (lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var index uint64
	checks := []struct {
		name string
		run  func() error
	}{
		{"serving", func() error {
			if s.machine.Stopping() {
				return s.Serving()
			}
			return nil
		}},
		{"integrity", s.machine.Quarantined},
		{"leader", func() error {
			if leader, _ := s.leader(); leader == "" {
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
		{"applied", func() error {
			if err := s.machine.AwaitApplied(ctx, index); err != nil {
				return err
			}
			return s.caughtUp()
		}},
	}
	for _, check := range checks {
		if err := check.run(); err != nil {
			return append(lines, "[-]"+check.name+" failed: "+err.Error()), err
		}
		lines = append(lines, "[+]"+check.name+" ok")
	}
	return lines, nil
}
